/* SPDX-License-Identifier: MIT */
/*
 * txn_compare.c - ask the library and the naive map the same questions.
 */
#include "txn_twin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SEGS 12u

bool twin_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("MISMATCH: ", stdout);
	vfprintf(stdout, fmt, ap);
	fputc('\n', stdout);
	va_end(ap);
	return false;
}

static void print_slot(char *buf, size_t size, const struct naive_slot *slot)
{
	if (!slot)
		(void)snprintf(buf, size, "(none)");
	else
		(void)snprintf(buf, size,
			       "%u:%u gpa %#" PRIx64 " len %#" PRIx64 " region %d+%#" PRIx64
			       " flags %u",
			       slot->key.space, slot->key.id, slot->gpa, slot->len, slot->region,
			       slot->offset, slot->flags);
}

void twin_print_map(FILE *f, const struct naive_map *map)
{
	fprintf(f, "naive map: generation %" PRIu64 ", %zu slots\n", map->generation, map->n);
	for (size_t i = 0; i < map->n; i++) {
		char text[160];

		print_slot(text, sizeof(text), &map->slots[i]);
		fprintf(f, "  %s\n", text);
	}
}

void twin_print_txn(FILE *f, const struct naive_map *map, const struct twin_txn *txn)
{
	static const char *const kinds[] = {"?",     "create", "delete",  "redefine", "move",
					    "flags", "resize", "replace", "split",    "merge"};

	for (size_t i = 0; i < txn->n; i++) {
		const struct mslot_edit *e = &txn->edits[i];
		size_t kind = (unsigned int)e->kind <= MSLOT_EDIT_MERGE ? e->kind : 0;

		fprintf(f,
			"  edit %zu: %s(%u) edit_flags %u key %u:%u gpa %#" PRIx64 " len %#" PRIx64
			" region %d+%#" PRIx64 " flags %u",
			i, kinds[kind], e->kind, e->edit_flags, e->def.key.space, e->def.key.id,
			e->def.gpa, e->def.len_bytes, naive_region_of(map, e->def.region),
			e->def.offset_bytes, e->def.flags);
		for (size_t k = 0; k < e->nparts; k++)
			fprintf(f, " part %u@%#" PRIx64, e->parts[k].id, e->parts[k].gpa);
		fputc('\n', f);
	}
}

/* Does the library's slot say what the naive one says? Both may be absent. */
static bool same_slot(const struct mslot_slot *slot, const struct naive_slot *want,
		      const struct naive_map *map)
{
	struct mslot_slot_info info;

	if (!slot || !want)
		return !slot && !want;
	memset(&info, 0xff, sizeof(info));
	mslot_slot_info_get(slot, &info);
	return info.key.space == want->key.space && info.key.id == want->key.id &&
	       info.gpa == want->gpa && info.len_bytes == want->len &&
	       info.hva == naive_hva(map, want) && info.offset_bytes == want->offset &&
	       info.region == map->regions[want->region].handle && info.flags == want->flags &&
	       info.is_private == (want->key.id >= map->opt.max_user_slots);
}

static bool slot_fail(const char *what, uint32_t space, uint64_t at, const struct mslot_slot *slot,
		      const struct naive_slot *want)
{
	struct mslot_slot_info info = {0};
	char text[160];

	if (slot)
		mslot_slot_info_get(slot, &info);
	print_slot(text, sizeof(text), want);
	return twin_fail("%s at %u:%#" PRIx64 ": library %s %u:%u gpa %#" PRIx64 " len %#" PRIx64
			 " offset %#" PRIx64 " flags %u; naive %s",
			 what, space, at, slot ? "" : "(none)", info.key.space, info.key.id,
			 info.gpa, info.len_bytes, info.offset_bytes, info.flags, text);
}

static bool cmp_address(const struct mslot_snapshot *snap, const struct naive_map *map,
			uint32_t space, uint64_t gpa, struct mslot_hint *hint)
{
	const struct naive_slot *want = naive_find(map, space, gpa);
	const struct mslot_slot *got = mslot_find(snap, space, gpa);

	if (!same_slot(got, want, map))
		return slot_fail("mslot_find", space, gpa, got, want);
	got = mslot_find_hint(snap, space, gpa, hint);
	if (!same_slot(got, want, map))
		return slot_fail("mslot_find_hint", space, gpa, got, want);
	want = naive_nearest(map, space, gpa, MSLOT_AT_OR_BELOW);
	got = mslot_find_nearest(snap, space, gpa, MSLOT_AT_OR_BELOW);
	if (!same_slot(got, want, map))
		return slot_fail("mslot_find_nearest below", space, gpa, got, want);
	want = naive_nearest(map, space, gpa, MSLOT_AT_OR_ABOVE);
	got = mslot_find_nearest(snap, space, gpa, MSLOT_AT_OR_ABOVE);
	if (!same_slot(got, want, map))
		return slot_fail("mslot_find_nearest above", space, gpa, got, want);
	return true;
}

/* One hint for the whole run: it has seen every snapshot of every map. */
static struct mslot_hint old_hint;

bool cmp_borders(const struct mslot_snapshot *snap, const struct naive_map *map, uint32_t space,
		 uint64_t gpa, uint64_t len)
{
	for (uint64_t around = 0; around < 3; around++)
		if (!cmp_address(snap, map, space, gpa + around - 1, &old_hint) ||
		    !cmp_address(snap, map, space, gpa + len + around - 1, &old_hint))
			return false;
	return true;
}

/* ---- Iteration ---------------------------------------------------------- */

static uint64_t last_byte(struct mslot_range range)
{
	uint64_t last = range.start + (range.len_bytes - 1);

	return last < range.start ? UINT64_MAX : last;
}

static bool cmp_iter_gpa(const struct mslot_snapshot *snap, const struct naive_map *map,
			 uint32_t space, struct mslot_range range)
{
	struct mslot_iter iter;
	const struct mslot_slot *got;

	memset(&iter, 0x5a, sizeof(iter));
	mslot_iter_gpa(&iter, snap, space, range);
	for (size_t i = 0; i < map->n && range.len_bytes; i++) {
		const struct naive_slot *want = &map->slots[i];

		if (want->key.space != space || want->gpa > last_byte(range) ||
		    want->gpa + (want->len - 1) < range.start)
			continue;
		got = mslot_iter_next(&iter);
		if (!same_slot(got, want, map))
			return slot_fail("mslot_iter_gpa", space, range.start, got, want);
	}
	got = mslot_iter_next(&iter);
	if (got || mslot_iter_next(&iter))
		return slot_fail("mslot_iter_gpa past its end", space, range.start, got, NULL);
	return true;
}

static const struct naive_map *sort_map; /* qsort() has no context */

static int by_hva(const void *pa, const void *pb)
{
	const struct naive_slot *a = *(const struct naive_slot *const *)pa;
	const struct naive_slot *b = *(const struct naive_slot *const *)pb;
	uint64_t ha = naive_hva(sort_map, a), hb = naive_hva(sort_map, b);

	if (ha != hb)
		return ha < hb ? -1 : 1;
	if (a->key.space != b->key.space)
		return a->key.space < b->key.space ? -1 : 1;
	return a->key.id < b->key.id ? -1 : a->key.id > b->key.id;
}

/* The slots that show a range of host bytes, in order; to be freed. */
static const struct naive_slot **naive_by_hva(const struct naive_map *map, struct mslot_range range,
					      size_t *nslots)
{
	const struct naive_slot **want = calloc(map->n + 1, sizeof(const struct naive_slot *));
	size_t n = 0;

	if (!want)
		abort();
	for (size_t i = 0; i < map->n && range.len_bytes; i++) {
		uint64_t hva = naive_hva(map, &map->slots[i]);

		if (hva <= last_byte(range) && hva + (map->slots[i].len - 1) >= range.start)
			want[n++] = &map->slots[i];
	}
	sort_map = map;
	qsort(want, n, sizeof(*want), by_hva);
	*nslots = n;
	return want;
}

#define HVA_SLOTS 4u

/* Those at one host byte: all are counted, and as many written as there is room for. */
static bool cmp_find_hva(const struct mslot_snapshot *snap, const struct naive_map *map,
			 uint64_t hva)
{
	const struct mslot_slot *got[HVA_SLOTS + 1];
	size_t n, room, found, i;
	const struct naive_slot **want = naive_by_hva(map, (struct mslot_range){hva, 1}, &n);
	bool ok = true;

	for (room = 0; room <= HVA_SLOTS && ok; room++) {
		memset(got, 0, sizeof(got));
		found = mslot_find_hva(snap, hva, room ? got : NULL, room);
		if (found != n)
			ok = twin_fail("mslot_find_hva %#" PRIx64 ": library %zu, naive %zu", hva,
				       found, n);
		for (i = 0; i <= HVA_SLOTS && ok; i++) {
			const struct naive_slot *next = i < room && i < n ? want[i] : NULL;

			if (!same_slot(got[i], next, map))
				ok = slot_fail("mslot_find_hva", 0, hva, got[i], next);
		}
	}
	free(want);
	return ok;
}

static bool cmp_iter_hva(const struct mslot_snapshot *snap, const struct naive_map *map,
			 struct mslot_range range)
{
	size_t n;
	const struct naive_slot **want = naive_by_hva(map, range, &n);
	const struct mslot_slot *got;
	struct mslot_iter iter;
	bool ok = true;

	memset(&iter, 0xa5, sizeof(iter));
	mslot_iter_hva(&iter, snap, range);
	for (size_t i = 0; i < n + 2 && ok; i++) {
		const struct naive_slot *next = i < n ? want[i] : NULL;

		got = mslot_iter_next(&iter);
		if (!same_slot(got, next, map))
			ok = slot_fail("mslot_iter_hva", 0, range.start, got, next);
	}
	free(want);
	return ok;
}

/* ---- Translation -------------------------------------------------------- */

static bool cmp_translate(const struct mslot_snapshot *snap, const struct naive_map *map,
			  const struct mslot_span *span, size_t nseg)
{
	struct iovec got[SEGS + 1], want[SEGS + 1];
	int n_got, n_want;

	memset(got, 0x77, sizeof(got));
	n_want = naive_translate(map, span, want, nseg);
	n_got = mslot_translate(snap, span, got, nseg);
	if (n_got != n_want)
		return twin_fail("mslot_translate %u:%#" PRIx64 "+%#" PRIx64
				 " access %d nseg %zu: library %d, naive %d",
				 span->space, span->gpa, span->len_bytes, (int)span->access, nseg,
				 n_got, n_want);
	for (int i = 0; i < n_got; i++)
		if (got[i].iov_base != want[i].iov_base || got[i].iov_len != want[i].iov_len)
			return twin_fail("mslot_translate %u:%#" PRIx64 "+%#" PRIx64
					 " segment %d: library %p+%#zx, naive %p+%#zx",
					 span->space, span->gpa, span->len_bytes, i,
					 got[i].iov_base, got[i].iov_len, want[i].iov_base,
					 want[i].iov_len);
	return true;
}

/* ---- A whole snapshot --------------------------------------------------- */

/* An address near something: a random byte in or next to a random slot. */
static uint64_t near_gpa(struct rng *rng, const struct naive_map *map, uint32_t *space)
{
	const struct naive_slot *slot;

	*space = (uint32_t)rng_below(rng, map->opt.nspaces);
	if (map->n == 0 || rng_chance(rng, 3))
		return rng_next(rng) >> rng_below(rng, 64);
	slot = &map->slots[rng_below(rng, map->n)];
	*space = slot->key.space;
	return slot->gpa + rng_below(rng, slot->len + slot->len / 4) - slot->len / 8;
}

static uint64_t random_len(struct rng *rng, const struct naive_map *map)
{
	uint64_t page = UINT64_C(1) << map->opt.page_shift;
	const struct naive_slot *slot;

	if (map->n == 0 || rng_chance(rng, 10))
		return rng_below(rng, 8) == 0 ? rng_next(rng) : rng_below(rng, 4 * page);
	slot = &map->slots[rng_below(rng, map->n)];
	if (rng_chance(rng, 30))
		return slot->len;
	return rng_below(rng, slot->len * 3 + 1);
}

static bool cmp_random(struct rng *rng, const struct mslot_snapshot *snap,
		       const struct naive_map *map)
{
	struct mslot_span span = {.access = rng_chance(rng, 50) ? MSLOT_WRITE : MSLOT_READ};
	struct mslot_range range;
	uint32_t space;

	span.gpa = near_gpa(rng, map, &span.space);
	if (rng_chance(rng, 40))
		span.gpa &= ~((UINT64_C(1) << map->opt.page_shift) - 1);
	span.len_bytes = random_len(rng, map);
	if (rng_chance(rng, 1))
		span.space = map->opt.nspaces;
	if (!cmp_translate(snap, map, &span, rng_chance(rng, 30) ? rng_below(rng, 4) : SEGS))
		return false;
	if (!cmp_address(snap, map, span.space, span.gpa, &old_hint))
		return false;
	range.start = near_gpa(rng, map, &space);
	range.len_bytes = random_len(rng, map);
	if (!cmp_iter_gpa(snap, map, space, range))
		return false;
	if (map->n) {
		const struct naive_slot *slot = &map->slots[rng_below(rng, map->n)];

		range.start = naive_hva(map, slot) + rng_below(rng, slot->len);
		range.len_bytes = rng_chance(rng, 50) ? 1 : random_len(rng, map);
	}
	return cmp_find_hva(snap, map, range.start) && cmp_iter_hva(snap, map, range);
}

static bool cmp_ids(struct rng *rng, const struct mslot_snapshot *snap, const struct naive_map *map)
{
	for (size_t i = 0; i <= map->n; i++) {
		/* The last round asks for an id that may or may not be there. */
		struct mslot_key key = {(uint32_t)rng_below(rng, map->opt.nspaces + 1u),
					(uint32_t)rng_below(rng, 64)};
		const struct naive_slot *want;
		const struct mslot_slot *got;

		if (i < map->n)
			key = map->slots[i].key;
		want = i < map->n ? &map->slots[i] : naive_find_id(map, key);
		got = mslot_find_id(snap, key);
		if (!same_slot(got, want, map))
			return slot_fail("mslot_find_id", key.space, key.id, got, want);
	}
	return true;
}

static bool cmp_counts(const struct mslot_snapshot *snap, const struct naive_map *map)
{
	if (mslot_snapshot_generation(snap) != map->generation)
		return twin_fail("generation: library %" PRIu64 ", naive %" PRIu64,
				 mslot_snapshot_generation(snap), map->generation);
	if (mslot_snapshot_npages(snap) != naive_npages(map))
		return twin_fail("npages: library %" PRIu64 ", naive %" PRIu64,
				 mslot_snapshot_npages(snap), naive_npages(map));
	for (uint32_t space = 0; space <= map->opt.nspaces; space++)
		if (mslot_snapshot_nslots(snap, space) != naive_nslots(map, space))
			return twin_fail("nslots of space %u: library %" PRIu64 ", naive %" PRIu64,
					 space, mslot_snapshot_nslots(snap, space),
					 naive_nslots(map, space));
	return true;
}

bool cmp_snapshot(struct rng *rng, const struct mslot_snapshot *snap, const struct naive_map *map)
{
	struct mslot_range all = {0, UINT64_MAX};

	if (!cmp_counts(snap, map) || !cmp_ids(rng, snap, map))
		return false;
	for (uint32_t space = 0; space <= map->opt.nspaces; space++)
		if (!cmp_iter_gpa(snap, map, space, all))
			return false;
	if (rng_chance(rng, 20) && !cmp_iter_hva(snap, map, all))
		return false;
	for (unsigned int i = 0; i < 3; i++)
		if (!cmp_random(rng, snap, map))
			return false;
	return true;
}

/* ---- Differences -------------------------------------------------------- */

static void print_diffs(const struct mslot_diff *got, const struct naive_diff *want)
{
	for (size_t i = 0; i < got->nsegs; i++)
		printf("  library: kind %u %u:%#" PRIx64 "+%#" PRIx64 " moved %u from %#" PRIx64
		       "\n",
		       got->segs[i].kind, got->segs[i].space, got->segs[i].gpa,
		       got->segs[i].len_bytes, got->segs[i].moved, got->segs[i].origin_gpa);
	for (size_t i = 0; i < want->n; i++)
		printf("  naive:   kind %u %u:%#" PRIx64 "+%#" PRIx64 " moved %u from %#" PRIx64
		       "\n",
		       want->segs[i].kind, want->segs[i].space, want->segs[i].gpa,
		       want->segs[i].len, want->segs[i].moved, want->segs[i].origin_gpa);
}

static bool same_seg(const struct mslot_diff_seg *got, const struct naive_seg *want,
		     const struct naive_map *before, const struct naive_map *after)
{
	return got->kind == want->kind && got->space == want->space && got->gpa == want->gpa &&
	       got->len_bytes == want->len && got->moved == want->moved &&
	       (!want->moved || got->origin_gpa == want->origin_gpa) &&
	       same_slot(got->before, want->before, before) &&
	       same_slot(got->after, want->after, after);
}

bool cmp_diff(const struct mslot_diff *diff, const struct naive_map *before,
	      const struct naive_map *after)
{
	static struct naive_diff want; /* memory kept for the next call */
	size_t n;

	if (mslot_snapshot_generation(diff->before) != before->generation ||
	    mslot_snapshot_generation(diff->after) != after->generation)
		return twin_fail("diff of generations %" PRIu64 " and %" PRIu64
				 ", expected %" PRIu64 " and %" PRIu64,
				 mslot_snapshot_generation(diff->before),
				 mslot_snapshot_generation(diff->after), before->generation,
				 after->generation);
	naive_diff_make(before, after, &want);
	n = diff->nsegs < want.n ? diff->nsegs : want.n;
	for (size_t i = 0; i < n; i++) {
		if (same_seg(&diff->segs[i], &want.segs[i], before, after)) {
			tally.by_diff_kind[want.segs[i].kind]++;
			continue;
		}
		print_diffs(diff, &want);
		return twin_fail("diff segment %zu differs", i);
	}
	if (diff->nsegs != want.n) {
		print_diffs(diff, &want);
		return twin_fail("diff has %zu segments, naive %zu", diff->nsegs, want.n);
	}
	tally.segs += n;
	return true;
}
