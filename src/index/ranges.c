/* SPDX-License-Identifier: MIT */
/*
 * ranges.c - see ranges.h. An update decides for each edit which part it is for, and then
 * hands each part its edits.
 */
#include "index/ranges.h"

#include <errno.h>

#include "base/alloc.h"

/* Edits on the stack; and how many ranges an update may move from `rest` to `apart`. */
#define SMALL 8u
#define MOVES 8u
/* Beyond this many edits nothing moves. */
#define MOVES_MAX_EDITS 64u

struct plan {
	struct index_batch *batch;
	const struct index_ranges *in;
	const struct index_edit *edits;
	size_t n;
	struct index_edit *apart, *rest; /* sorted as index_apply() wants them */
	size_t napart, nrest;
	uint64_t reach; /* the largest end that is put apart so far */
	unsigned int nmoves;
};

void index_ranges_init(struct index_ranges *ranges, enum index_kind kind,
		       uint64_t (*tie_of)(const void *item))
{
	index_root_init(&ranges->apart, kind, false);
	index_root_init(&ranges->rest, INDEX_TREE, true);
	ranges->tie_of = tie_of;
}

static bool get_apart(const struct index_ranges *ranges, uint64_t start, uint64_t tie,
		      struct index_entry *out)
{
	return index_get(&ranges->apart, start, 0, out) && ranges->tie_of(out->item) == tie;
}

bool index_ranges_get(const struct index_ranges *ranges, uint64_t start, uint64_t tie,
		      struct index_entry *out)
{
	if (!get_apart(ranges, start, tie, out))
		return index_get(&ranges->rest, start, tie, out);
	out->tie = tie;
	return true;
}

/* ---- Updates ---- */

/* The edit of a key, or NULL. */
static const struct index_edit *edit_of(const struct plan *plan, uint64_t start, uint64_t tie)
{
	size_t low = 0, high = plan->n, mid;
	const struct index_entry *e;

	while (low < high) {
		mid = low + (high - low) / 2;
		e = &plan->edits[mid].entry;
		if (e->start < start || (e->start == start && e->tie < tie))
			low = mid + 1;
		else
			high = mid;
	}
	if (low == plan->n)
		return NULL;
	e = &plan->edits[low].entry;
	return e->start == start && e->tie == tie ? &plan->edits[low] : NULL;
}

/* Does a range overlap one that is apart and stays? Its own key does not count. */
static bool overlaps_apart(const struct plan *plan, const struct index_entry *range)
{
	const struct index_edit *edit;
	struct index_cursor cur;
	struct index_entry hit;

	if (!index_first_overlap(&plan->in->apart, range->start, range->end, NULL))
		return false;
	index_cursor_init(&cur, &plan->in->apart, range->start, range->end);
	while (index_cursor_next(&cur, &hit)) {
		hit.tie = plan->in->tie_of(hit.item);
		if (hit.start == range->start && hit.tie == range->tie)
			continue;
		edit = edit_of(plan, hit.start, hit.tie);
		if (!edit || edit->op == INDEX_PUT)
			return true;
	}
	return false;
}

/*
 * Add an edit of the part without ties, at its place. Of two with one start, which differ
 * in what was their tie, one removes and the other puts: together they put.
 */
static void add_apart(struct plan *plan, enum index_op op, const struct index_entry *entry)
{
	size_t i = plan->napart;
	struct index_edit edit = {.op = op, .entry = *entry};

	edit.entry.tie = 0;
	while (i > 0 && plan->apart[i - 1].entry.start > entry->start)
		i--;
	if (i > 0 && plan->apart[i - 1].entry.start == entry->start) {
		if (op == INDEX_PUT)
			plan->apart[i - 1] = edit;
		return;
	}
	for (size_t k = plan->napart; k > i; k--)
		plan->apart[k] = plan->apart[k - 1];
	plan->apart[i] = edit;
	plan->napart++;
}

static void add_rest(struct plan *plan, enum index_op op, const struct index_entry *entry)
{
	size_t i = plan->nrest;

	while (i > 0 && (plan->rest[i - 1].entry.start > entry->start ||
			 (plan->rest[i - 1].entry.start == entry->start &&
			  plan->rest[i - 1].entry.tie > entry->tie)))
		i--;
	for (size_t k = plan->nrest; k > i; k--)
		plan->rest[k] = plan->rest[k - 1];
	plan->rest[i] = (struct index_edit){.op = op, .entry = *entry};
	plan->nrest++;
}

static int plan_edit(struct plan *plan, const struct index_edit *edit)
{
	const struct index_entry *e = &edit->entry;
	struct index_entry old;
	bool in_apart = get_apart(plan->in, e->start, e->tie, &old);
	bool in_rest = !in_apart && index_get(&plan->in->rest, e->start, e->tie, NULL);

	if (edit->op == INDEX_REMOVE) {
		if (in_apart)
			add_apart(plan, INDEX_REMOVE, e);
		else if (in_rest)
			add_rest(plan, INDEX_REMOVE, e);
		return in_apart || in_rest ? 0 : -EINVAL;
	}
	if (in_rest) {
		add_rest(plan, INDEX_PUT, e);
	} else if ((in_apart && e->end <= old.end) ||
		   (e->start >= plan->reach && !overlaps_apart(plan, e))) {
		add_apart(plan, INDEX_PUT, e);
		plan->reach = e->end > plan->reach ? e->end : plan->reach;
	} else {
		add_rest(plan, INDEX_PUT, e);
		if (in_apart)
			add_apart(plan, INDEX_REMOVE, e);
	}
	return 0;
}

/* Move a range of `rest`, which has no edit of its own, if it overlaps nothing apart any more. */
static void move_apart(struct plan *plan, const struct index_entry *range)
{
	size_t i;

	if (edit_of(plan, range->start, range->tie) || overlaps_apart(plan, range))
		return;
	for (i = 0; i < plan->napart; i++)
		if (plan->apart[i].op == INDEX_PUT && plan->apart[i].entry.start < range->end &&
		    plan->apart[i].entry.end > range->start)
			return;
	for (i = 0; i < plan->nrest; i++)
		if (plan->rest[i].entry.start == range->start &&
		    plan->rest[i].entry.tie == range->tie)
			return;
	add_apart(plan, INDEX_PUT, range);
	add_rest(plan, INDEX_REMOVE, range);
	plan->nmoves++;
}

/* What `removed` hid may go apart now. */
static void move_uncovered(struct plan *plan, const struct index_edit *edit)
{
	struct index_entry old, hit;
	struct index_cursor cur;
	unsigned int looked = 0;

	if (edit->op != INDEX_REMOVE ||
	    !get_apart(plan->in, edit->entry.start, edit->entry.tie, &old))
		return;
	index_cursor_init(&cur, &plan->in->rest, old.start, old.end);
	while (looked++ < MOVES && plan->nmoves < MOVES && index_cursor_next(&cur, &hit))
		move_apart(plan, &hit);
}

/* The parts see other edits than these, so that what is refused must be seen here. */
static bool edits_valid(const struct plan *plan)
{
	const uint64_t limit = plan->in->apart.kind == INDEX_RADIX ? INDEX_RADIX_LIMIT : UINT64_MAX;
	const struct index_entry *e, *before = NULL;
	size_t i;

	for (i = 0; i < plan->n; i++, before = e) {
		e = &plan->edits[i].entry;
		if (before && (e->start < before->start ||
			       (e->start == before->start && e->tie <= before->tie)))
			return false;
		if (plan->edits[i].op == INDEX_PUT && (e->end <= e->start || e->end > limit))
			return false;
	}
	return true;
}

static int plan_all(struct plan *plan)
{
	size_t i;
	int err = edits_valid(plan) ? 0 : -EINVAL;

	for (i = 0; i < plan->n && !err; i++)
		err = plan_edit(plan, &plan->edits[i]);
	for (i = 0; i < plan->n && !err; i++)
		if (plan->in->rest.count > 0 && plan->n <= MOVES_MAX_EDITS)
			move_uncovered(plan, &plan->edits[i]);
	return err;
}

int index_ranges_apply(struct index_batch *batch, const struct index_ranges *in,
		       const struct index_edit *edits, size_t n, struct index_ranges *out)
{
	struct index_edit small[2][SMALL + MOVES], *mem = NULL;
	struct plan plan = {
	    .batch = batch,
	    .in = in,
	    .edits = edits,
	    .n = n,
	    .apart = small[0],
	    .rest = small[1],
	};
	struct index_ranges next = {.tie_of = in->tie_of};
	int err;

	if (n > SMALL) {
		mem = mem_alloc(2 * (n + MOVES) * sizeof(*mem));
		if (!mem)
			return -ENOMEM;
		plan.apart = mem;
		plan.rest = mem + n + MOVES;
	}
	err = plan_all(&plan);
	if (!err)
		err = index_apply(batch, &in->apart, plan.apart, plan.napart, &next.apart);
	if (!err)
		err = index_apply(batch, &in->rest, plan.rest, plan.nrest, &next.rest);
	mem_free(mem);
	if (!err)
		*out = next;
	return err;
}

static bool is_cut(const struct index_swap *swap, uint64_t start)
{
	size_t low = 0, high = swap->ncut, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (swap->cut[mid].start < start)
			low = mid + 1;
		else
			high = mid;
	}
	return low < swap->ncut && swap->cut[low].start == start;
}

/* Does a range overlap one that is apart and stays? */
static bool overlaps_staying(const struct index_ranges *in, const struct index_swap *swap,
			     const struct index_range *put)
{
	struct index_cursor cur;
	struct index_entry hit;

	if (!index_first_overlap(&in->apart, put->start, put->end, NULL))
		return false;
	index_cursor_init(&cur, &in->apart, put->start, put->end);
	while (index_cursor_next(&cur, &hit))
		if (!is_cut(swap, hit.start))
			return true;
	return false;
}

/* With all ranges apart now: will they be? */
static bool all_stay_apart(const struct index_ranges *in, const struct index_swap *swap)
{
	const struct index_range *put = swap->put, *end = put + swap->nput;
	const struct index_range *cut = swap->cut, *cut_end = cut + swap->ncut;
	bool all_go = swap->ncut == in->apart.count;
	uint64_t from = 0;

	for (; put < end; put++) {
		if (put->start < from)
			return false;
		from = put->end;
		while (cut < cut_end && cut->end <= put->start)
			cut++;
		/* Where one was that goes nothing else is. */
		if (all_go || (cut < cut_end && put->start >= cut->start && put->end <= cut->end))
			continue;
		if (overlaps_staying(in, swap, put))
			return false;
	}
	return true;
}

int index_ranges_replace(struct index_batch *batch, const struct index_ranges *in,
			 const struct index_swap *swap, struct index_ranges *out)
{
	struct index_ranges next = {.rest = in->rest, .tie_of = in->tie_of};
	size_t n = swap->ncut + swap->nput;
	struct index_edit small[SMALL], *edits = small;
	int err;

	if (in->rest.count == 0 && all_stay_apart(in, swap)) {
		err = index_replace(batch, &in->apart, swap, &next.apart);
		if (!err)
			*out = next;
		return err;
	}
	if (n > SMALL) {
		edits = mem_alloc(n * sizeof(*edits));
		if (!edits)
			return -ENOMEM;
	}
	n = index_swap_edits(swap, in->tie_of, edits);
	err = index_ranges_apply(batch, in, edits, n, out);
	if (edits != small)
		mem_free(edits);
	return err;
}

/* ---- Iteration ---- */

static void load_apart(struct index_ranges_cursor *cur)
{
	cur->has[0] = index_cursor_next(&cur->apart, &cur->next[0]);
	if (cur->has[0])
		cur->next[0].tie = cur->tie_of(cur->next[0].item);
}

void index_ranges_cursor_init(struct index_ranges_cursor *cur, const struct index_ranges *ranges,
			      uint64_t start, uint64_t end)
{
	cur->tie_of = ranges->tie_of;
	index_cursor_init(&cur->apart, &ranges->apart, start, end);
	load_apart(cur);
	cur->has[1] = false;
	if (ranges->rest.count > 0) {
		index_cursor_init(&cur->rest, &ranges->rest, start, end);
		cur->has[1] = index_cursor_next(&cur->rest, &cur->next[1]);
	}
}

bool index_ranges_cursor_next(struct index_ranges_cursor *cur, struct index_entry *out)
{
	const struct index_entry *a = &cur->next[0], *b = &cur->next[1];

	if (!cur->has[0] && !cur->has[1])
		return false;
	if (cur->has[0] &&
	    (!cur->has[1] || a->start < b->start || (a->start == b->start && a->tie < b->tie))) {
		*out = *a;
		load_apart(cur);
	} else {
		*out = *b;
		cur->has[1] = index_cursor_next(&cur->rest, &cur->next[1]);
	}
	return true;
}

const char *index_ranges_check(const struct index_ranges *ranges)
{
	const char *why = index_check(&ranges->apart);
	struct index_cursor cur;
	struct index_entry entry;
	uint64_t end = 0;

	if (!why)
		why = index_check(&ranges->rest);
	if (why)
		return why;
	index_cursor_init(&cur, &ranges->apart, 0, INDEX_RADIX_LIMIT);
	while (index_cursor_next(&cur, &entry)) {
		if (entry.start < end)
			return "ranges: two that are apart overlap";
		end = entry.end;
		if (index_get(&ranges->rest, entry.start, ranges->tie_of(entry.item), NULL))
			return "ranges: one is in both parts";
	}
	return NULL;
}
