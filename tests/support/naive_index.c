/* SPDX-License-Identifier: MIT */
#include "naive_index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "naive_index: out of memory\n");
		abort();
	}
	return p;
}

void nindex_init(struct naive_index *naive)
{
	*naive = (struct naive_index){NULL, 0};
}

void nindex_fini(struct naive_index *naive)
{
	free(naive->entry);
	nindex_init(naive);
}

void nindex_copy(struct naive_index *to, const struct naive_index *from)
{
	to->n = from->n;
	to->entry = must(malloc((from->n + 1) * sizeof(*to->entry)));
	if (from->n > 0)
		memcpy(to->entry, from->entry, from->n * sizeof(*to->entry));
}

static int order(const struct index_entry *a, uint64_t start, uint64_t tie)
{
	if (a->start != start)
		return a->start < start ? -1 : 1;
	return a->tie < tie ? -1 : a->tie > tie;
}

size_t nindex_lower(const struct naive_index *naive, uint64_t start, uint64_t tie)
{
	size_t lo = 0, hi = naive->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (order(&naive->entry[mid], start, tie) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Merge the sorted edits into a new array. */
static int merge(const struct naive_index *naive, bool ties, const struct index_edit *edits,
		 size_t n, struct naive_index *out)
{
	size_t i = 0, j;

	for (j = 0; j < n; j++) {
		const struct index_entry *e = &edits[j].entry;
		bool exists;

		if (!ties && e->tie != 0)
			return -EINVAL;
		if (j > 0 && order(&edits[j - 1].entry, e->start, e->tie) >= 0)
			return -EINVAL;
		while (i < naive->n && order(&naive->entry[i], e->start, e->tie) < 0)
			out->entry[out->n++] = naive->entry[i++];
		exists = i < naive->n && order(&naive->entry[i], e->start, e->tie) == 0;
		i += exists;
		if (edits[j].op == INDEX_PUT) {
			if (e->end <= e->start)
				return -EINVAL;
			out->entry[out->n++] = *e;
		} else if (!exists) {
			return -EINVAL;
		}
	}
	while (i < naive->n)
		out->entry[out->n++] = naive->entry[i++];
	return 0;
}

int nindex_apply(struct naive_index *naive, bool ties, const struct index_edit *edits, size_t n)
{
	struct naive_index out = {must(malloc((naive->n + n + 1) * sizeof(*out.entry))), 0};
	int ret = merge(naive, ties, edits, n, &out);

	if (ret) {
		nindex_fini(&out);
		return ret;
	}
	nindex_fini(naive);
	*naive = out;
	return 0;
}

bool nindex_get(const struct naive_index *naive, uint64_t start, uint64_t tie,
		struct index_entry *out)
{
	size_t i = nindex_lower(naive, start, tie);

	if (i == naive->n || order(&naive->entry[i], start, tie) != 0)
		return false;
	*out = naive->entry[i];
	return true;
}

struct index_swap nindex_swap(const struct naive_index *naive, const struct index_edit *edits,
			      size_t n)
{
	struct index_range *cut = malloc((n + 1) * sizeof(*cut));
	struct index_range *put = malloc((n + 1) * sizeof(*put));
	struct index_swap swap = {.cut = cut, .put = put};
	struct index_entry old;

	if (!cut || !put)
		abort();
	for (size_t i = 0; i < n; i++) {
		const struct index_entry *e = &edits[i].entry;

		if (nindex_get(naive, e->start, e->tie, &old))
			cut[swap.ncut++] = (struct index_range){old.start, old.end, old.item};
		if (edits[i].op == INDEX_PUT)
			put[swap.nput++] = (struct index_range){e->start, e->end, e->item};
	}
	return swap;
}

void nindex_swap_fini(struct index_swap *swap)
{
	free((void *)(uintptr_t)swap->cut);
	free((void *)(uintptr_t)swap->put);
}

void *nindex_find(const struct naive_index *naive, uint64_t at)
{
	size_t i = nindex_lower(naive, at, UINT64_MAX);

	if (i < naive->n && naive->entry[i].start == at)
		return naive->entry[i].item;
	if (i == 0 || naive->entry[i - 1].end <= at)
		return NULL;
	return naive->entry[i - 1].item;
}

bool nindex_below(const struct naive_index *naive, uint64_t at, struct index_entry *out)
{
	size_t i = nindex_lower(naive, at, UINT64_MAX);

	if (i < naive->n && naive->entry[i].start == at)
		i++;
	if (i == 0)
		return false;
	*out = naive->entry[i - 1];
	return true;
}

bool nindex_above(const struct naive_index *naive, uint64_t at, struct index_entry *out)
{
	size_t i = nindex_lower(naive, at, 0);

	if (i == naive->n)
		return false;
	*out = naive->entry[i];
	return true;
}

size_t nindex_overlap(const struct naive_index *naive, size_t pos, uint64_t start, uint64_t end)
{
	if (start >= end)
		return naive->n;
	for (; pos < naive->n; pos++)
		if (naive->entry[pos].start < end && naive->entry[pos].end > start)
			break;
	return pos;
}

bool nindex_entry_equal(const struct index_entry *a, const struct index_entry *b)
{
	return a->start == b->start && a->end == b->end && a->tie == b->tie && a->item == b->item;
}

const char *nindex_compare(const struct naive_index *naive, const struct index_root *root)
{
	const char *why = index_check(root);
	struct index_cursor cur;
	struct index_entry e;
	size_t i = 0;

	if (why)
		return why;
	if (root->count != naive->n)
		return "the tree's count differs";
	index_cursor_init(&cur, root, 0, UINT64_MAX);
	while (index_cursor_next(&cur, &e)) {
		if (i == naive->n)
			return "the tree has more entries";
		if (!nindex_entry_equal(&e, &naive->entry[i++]))
			return "the tree has another entry";
	}
	return i == naive->n ? NULL : "the tree has fewer entries";
}

static bool same(bool got, const struct index_entry *e, bool want, const struct index_entry *w)
{
	return got == want && (!got || nindex_entry_equal(e, w));
}

static bool finders_agree(const struct naive_index *naive, const struct index_root *root,
			  uint64_t at)
{
	enum index_simd simd, best = root->kind == INDEX_RADIX ? index_simd_best() : INDEX_SCALAR;

	if (root->kind == INDEX_RADIX && at >= INDEX_RADIX_LIMIT)
		return true;
	for (simd = INDEX_SCALAR; simd <= best; simd++)
		if (index_finder((enum index_kind)root->kind, simd)(root, at) !=
		    nindex_find(naive, at))
			return false;
	return true;
}

const char *nindex_check_point(const struct naive_index *naive, const struct index_root *root,
			       uint64_t at, uint64_t tie)
{
	struct index_entry e, w;
	bool got;

	if (!root->ties && at < UINT64_MAX && index_find(root, at) != nindex_find(naive, at))
		return "index_find() differs";
	if (!root->ties && at < UINT64_MAX && !finders_agree(naive, root, at))
		return "a finder of index_finder() differs";
	got = index_get(root, at, tie, &e);
	if (!same(got, &e, nindex_get(naive, at, tie, &w), &w))
		return "index_get() differs";
	got = index_below(root, at, &e);
	if (!same(got, &e, nindex_below(naive, at, &w), &w))
		return "index_below() differs";
	got = index_above(root, at, &e);
	if (!same(got, &e, nindex_above(naive, at, &w), &w))
		return "index_above() differs";
	return NULL;
}

const char *nindex_check_range(const struct naive_index *naive, const struct index_root *root,
			       uint64_t start, uint64_t end)
{
	size_t i = nindex_overlap(naive, 0, start, end);
	struct index_cursor cur;
	struct index_entry e;
	bool any = index_first_overlap(root, start, end, &e);

	if (!same(any, &e, i < naive->n, i < naive->n ? &naive->entry[i] : NULL))
		return "index_first_overlap() differs";
	if (index_first_overlap(root, start, end, NULL) != any)
		return "index_first_overlap() without a place for it differs";
	index_cursor_init(&cur, root, start, end);
	while (index_cursor_next(&cur, &e)) {
		if (i == naive->n || !nindex_entry_equal(&e, &naive->entry[i]))
			return "the cursor's entry differs";
		i = nindex_overlap(naive, i + 1, start, end);
	}
	if (i != naive->n)
		return "the cursor stops early";
	index_cursor_init(&cur, root, start, end);
	for (i = nindex_overlap(naive, 0, start, end); i < naive->n;
	     i = nindex_overlap(naive, i + 1, start, end))
		if (index_cursor_item(&cur) != naive->entry[i].item)
			return "the cursor's item differs";
	return index_cursor_item(&cur) ? "the cursor has an item too many" : NULL;
}

int nindex_collect_change(void *ctx, bool in_a, const struct index_entry *entry)
{
	struct nindex_changes *c = ctx;

	if (c->n == c->room) {
		c->room = c->room ? 2 * c->room : 64;
		c->change = must(realloc(c->change, c->room * sizeof(*c->change)));
	}
	c->change[c->n++] = (struct nindex_change){in_a, *entry};
	return 0;
}

void nindex_changes_fini(struct nindex_changes *changes)
{
	free(changes->change);
	*changes = (struct nindex_changes){0};
}

/* Append the entries of `from` that are not in `other`. */
static void only_in(const struct naive_index *from, const struct naive_index *other, bool in_a,
		    struct nindex_changes *out)
{
	struct index_entry twin;
	size_t i;

	for (i = 0; i < from->n; i++)
		if (!nindex_get(other, from->entry[i].start, from->entry[i].tie, &twin) ||
		    !nindex_entry_equal(&twin, &from->entry[i]))
			nindex_collect_change(out, in_a, &from->entry[i]);
}

/* Are the changes of one side in `got` those in `want`, in the same order? */
static bool side_agrees(const struct nindex_changes *got, const struct nindex_changes *want,
			bool in_a)
{
	size_t i, j = 0;

	for (i = 0; i < got->n; i++) {
		if (got->change[i].in_a != in_a)
			continue;
		if (j == want->n ||
		    !nindex_entry_equal(&got->change[i].entry, &want->change[j].entry))
			return false;
		j++;
	}
	return j == want->n;
}

bool nindex_diff_agrees(const struct naive_index *a, const struct index_root *root_a,
			const struct naive_index *b, const struct index_root *root_b)
{
	struct nindex_changes got = {0}, gone = {0}, come = {0};
	bool ok;

	only_in(a, b, true, &gone);
	only_in(b, a, false, &come);
	ok = index_diff(root_a, root_b, nindex_collect_change, &got) == 0 &&
	     side_agrees(&got, &gone, true) && side_agrees(&got, &come, false);
	nindex_changes_fini(&got);
	nindex_changes_fini(&gone);
	nindex_changes_fini(&come);
	return ok;
}

int nindex_by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (struct pool_link *const *)a;
	uintptr_t y = (uintptr_t) * (struct pool_link *const *)b;

	return x < y ? -1 : x > y;
}

void nindex_nodes_add_list(struct nindex_nodes *set, struct pool_link *list)
{
	for (; list; list = list->next) {
		if (set->n == set->room) {
			set->room = set->room ? 2 * set->room : 64;
			set->node =
			    must(realloc(set->node, set->room * sizeof(struct pool_link *)));
		}
		set->node[set->n++] = list;
	}
	if (set->n > 0)
		qsort(set->node, set->n, sizeof(struct pool_link *), nindex_by_address);
}

void nindex_nodes_add_tree(struct nindex_nodes *set, const struct index_root *root)
{
	struct pool_link *list = NULL;

	index_collect(root, &list);
	nindex_nodes_add_list(set, list);
}

void nindex_nodes_fini(struct nindex_nodes *set)
{
	free(set->node);
	*set = (struct nindex_nodes){0};
}

/* Is the node at *pos, which then moves on? */
static bool take(const struct nindex_nodes *set, size_t *pos, const struct pool_link *node)
{
	if (*pos == set->n || set->node[*pos] != node)
		return false;
	(*pos)++;
	return true;
}

bool nindex_nodes_accounts(const struct nindex_nodes *before, const struct nindex_nodes *retired,
			   const struct nindex_nodes *created, const struct nindex_nodes *after)
{
	size_t r = 0, c = 0, a = 0, i;

	for (i = 0; i < before->n; i++) {
		while (c < created->n && created->node[c] < before->node[i])
			if (!take(after, &a, created->node[c++]))
				return false;
		/* A node cannot be old and new, nor live on after it was retired. */
		if (c < created->n && created->node[c] == before->node[i])
			return false;
		if (!take(retired, &r, before->node[i]) && !take(after, &a, before->node[i]))
			return false;
	}
	for (; c < created->n; c++)
		if (!take(after, &a, created->node[c]))
			return false;
	return r == retired->n && a == after->n;
}

void nindex_free_list(struct pool *pool, struct pool_link *list)
{
	struct pool_link *next;

	for (; list; list = next) {
		next = list->next;
		memset(list, 0xa5, pool_node_bytes(list));
		pool_free(pool, list);
	}
}

uint64_t nindex_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}
