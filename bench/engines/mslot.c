/* SPDX-License-Identifier: MIT */
/*
 * mslot.c - this library as an engine, through its public headers, once for each width of
 * vector instructions.
 *
 * A token is the address of the struct mslot_slot. Host addresses are numbers: one region
 * lends all of them, and a slot's offset in it is its hva. The engine knows which ids
 * exist, as the owner of a map does, so that fill() need not ask the map.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/map.h>
#include <mslot/txn.h>

#include "engine.h"

#define HOST_BYTES (UINT64_C(1) << 63)
#define SHOWN 16u /* slots at one host address that are asked for at once */

struct engine_map {
	struct mslot_map *map;
	struct mslot_region *region;
	uint32_t limit;
	bool *exists;   /* by id */
	uint32_t *seen; /* by id: the round of fill() that had it last */
	uint32_t round;
};

static void mslot_destroy(struct engine_map *m)
{
	if (m == NULL)
		return;
	mslot_map_destroy(m->map);
	mslot_region_put(m->region);
	free(m->exists);
	free(m->seen);
	free(m);
}

static struct engine_map *create(uint32_t limit, enum mslot_simd simd)
{
	const struct mslot_map_options opt = {
	    .max_user_slots = limit > 0 ? limit : 1,
	    /* fill() may delete and create that many. */
	    .max_edits = limit > (1u << 19) ? 2 * limit : 0,
	    .hva_limit = HOST_BYTES,
	    .simd = simd,
	};
	const struct mslot_region_options ropt = {.hva = NULL, .len_bytes = HOST_BYTES, .fd = -1};
	struct engine_map *const m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->limit = limit;
	m->exists = calloc((size_t)limit + 1, sizeof(*m->exists));
	m->seen = calloc((size_t)limit + 1, sizeof(*m->seen));
	if (m->exists != NULL && m->seen != NULL && mslot_map_create(&opt, &m->map) == 0 &&
	    mslot_region_create(&ropt, &m->region) == 0)
		return m;
	mslot_destroy(m);
	return NULL;
}

static struct engine_map *create_best(uint32_t limit)
{
	return create(limit, MSLOT_SIMD_BEST);
}

static struct engine_map *create_avx2(uint32_t limit)
{
	return create(limit, MSLOT_SIMD_AVX2);
}

static struct engine_map *create_scalar(uint32_t limit)
{
	return create(limit, MSLOT_SIMD_SCALAR);
}

static const char *avx2_absent(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return NULL;
#endif
	return "the processor has no AVX2";
}

/* ---- Edits ----------------------------------------------------------------- */

static struct mslot_slot_def def_of(const struct engine_map *m, const struct engine_slot *slot)
{
	return (struct mslot_slot_def){
	    .key = {.space = 0, .id = slot->id},
	    .gpa = slot->gpa,
	    .len_bytes = slot->len_bytes,
	    .region = m->region,
	    .offset_bytes = slot->hva,
	    .flags = slot->flags != 0 ? MSLOT_LOG_DIRTY : 0,
	};
}

/* Commit where adding the edits went well, abort where it or the commit did not. */
static int finish(struct mslot_txn *txn, int ret)
{
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

/* The library says ENOENT to an edit of a slot that is not there, the engines all EINVAL. */
static bool has(const struct engine_map *m, uint32_t id)
{
	return id < m->limit && m->exists[id];
}

static int mslot_insert(struct engine_map *m, const struct engine_slot *slot)
{
	const struct mslot_slot_def def = def_of(m, slot);
	const bool good = slot->id < m->limit && slot->flags <= 1 && !has(m, slot->id);
	struct mslot_txn *txn;
	int ret = good ? mslot_txn_begin(m->map, &txn) : -EINVAL;

	if (ret < 0)
		return ret;
	ret = finish(txn, mslot_txn_create(txn, &def));
	if (ret == 0)
		m->exists[slot->id] = true;
	return ret;
}

static int mslot_remove(struct engine_map *m, uint32_t id)
{
	struct mslot_txn *txn;
	int ret = has(m, id) ? mslot_txn_begin(m->map, &txn) : -EINVAL;

	if (ret < 0)
		return ret;
	ret = finish(txn, mslot_txn_delete(txn, (struct mslot_key){0, id}));
	if (ret == 0)
		m->exists[id] = false;
	return ret;
}

static int mslot_move(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	struct mslot_txn *txn;
	const int ret = has(m, id) ? mslot_txn_begin(m->map, &txn) : -EINVAL;

	return ret < 0 ? ret : finish(txn, mslot_txn_move(txn, (struct mslot_key){0, id}, gpa));
}

static uint32_t flag_bits(uint32_t flags)
{
	return flags != 0 ? MSLOT_LOG_DIRTY : 0;
}

static int mslot_set_flags(struct engine_map *m, uint32_t id, uint32_t flags)
{
	const struct mslot_key key = {0, id};
	struct mslot_txn *txn;
	const int ret = has(m, id) && flags <= 1 ? mslot_txn_begin(m->map, &txn) : -EINVAL;

	return ret < 0 ? ret : finish(txn, mslot_txn_set_flags(txn, key, flag_bits(flags)));
}

static int mslot_batch_flags(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(m->map, &txn);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < n && ret >= 0; i++) {
		const struct mslot_key key = {0, slots[i].id};

		ret = has(m, key.id) && slots[i].flags <= 1
			  ? mslot_txn_set_flags(txn, key, flag_bits(slots[i].flags))
			  : -EINVAL;
	}
	return finish(txn, ret);
}

/* What fill() puts in; ids that come twice are refused before the map sees them. */
static int put_all(struct mslot_txn *txn, struct engine_map *m, const struct engine_slot *slots,
		   size_t n)
{
	int ret = 0;

	for (size_t i = 0; i < n && ret >= 0; i++) {
		const struct mslot_slot_def def = def_of(m, &slots[i]);
		const uint32_t id = slots[i].id;

		if (id >= m->limit || m->seen[id] == m->round || slots[i].flags > 1)
			return -EINVAL;
		m->seen[id] = m->round;
		ret = m->exists[id] ? mslot_txn_redefine(txn, &def) : mslot_txn_create(txn, &def);
	}
	return ret;
}

static int mslot_fill(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(m->map, &txn);

	if (ret < 0)
		return ret;
	m->round++;
	ret = put_all(txn, m, slots, n);
	for (uint32_t id = 0; id < m->limit && ret >= 0; id++) {
		if (m->exists[id] && m->seen[id] != m->round)
			ret = mslot_txn_delete(txn, (struct mslot_key){0, id});
	}
	ret = finish(txn, ret);
	for (uint32_t id = 0; id < m->limit && ret == 0; id++)
		m->exists[id] = m->seen[id] == m->round;
	return ret;
}

/* What the edits retired is freed by the thread that reclaims. */
static void mslot_settle(struct engine_map *m)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	const uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	mslot_wait(m->map, generation, -1);
}

/* ---- Lookups --------------------------------------------------------------- */

static uint64_t mslot_token_of(struct engine_map *m, uint32_t id)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	const uint64_t token = (uintptr_t)mslot_find_id(snap, (struct mslot_key){0, id});

	mslot_leave(snap);
	return token;
}

static uint32_t mslot_flags_of(struct engine_map *m, uint32_t id)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	const struct mslot_slot *const slot = mslot_find_id(snap, (struct mslot_key){0, id});
	struct mslot_slot_info info = {0};

	if (slot != NULL)
		mslot_slot_info_get(slot, &info);
	mslot_leave(snap);
	return (info.flags & MSLOT_LOG_DIRTY) != 0;
}

static uint64_t find(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += (uintptr_t)mslot_find(snap, 0, gpa[k]);
	mslot_leave(snap);
	return sum;
}

static uint64_t find_dependent(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	uint64_t sum = 0, token = 0, none = 0;

	/* The compiler must not know that `none` is 0: the next address waits for the token. */
	__asm__ volatile("" : "+r"(none));
	for (size_t k = 0; k < n; k++) {
		token = (uintptr_t)mslot_find(snap, 0, gpa[k] + (token & none));
		sum += token;
	}
	mslot_leave(snap);
	return sum;
}

static uint64_t find_local(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	struct mslot_hint hint = {0};
	const struct mslot_slot *slot;
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		slot = mslot_hint_slot(snap, 0, gpa[k], &hint);
		if (!slot)
			slot = mslot_find_hint(snap, 0, gpa[k], &hint);
		sum += (uintptr_t)slot;
	}
	mslot_leave(snap);
	return sum;
}

static uint64_t find_section(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		const struct mslot_snapshot *const snap = mslot_enter(m->map);

		sum += (uintptr_t)mslot_find(snap, 0, gpa[k]);
		mslot_leave(snap);
	}
	return sum;
}

/* All slots at one host address. */
static inline uint64_t sum_at_hva(const struct mslot_snapshot *snap, uint64_t hva)
{
	const struct mslot_slot *slot[SHOWN];
	const size_t n = mslot_find_hva(snap, hva, slot, SHOWN);
	struct mslot_iter iter;
	uint64_t sum = 0;

	if (n <= SHOWN) {
		for (size_t i = 0; i < n; i++)
			sum += (uintptr_t)slot[i];
		return sum;
	}
	mslot_iter_hva(&iter, snap, (struct mslot_range){hva, 1});
	while ((slot[0] = mslot_iter_next(&iter)) != NULL)
		sum += (uintptr_t)slot[0];
	return sum;
}

static uint64_t find_hva(struct engine_map *m, const uint64_t *hva, size_t n)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += sum_at_hva(snap, hva[k]);
	mslot_leave(snap);
	return sum;
}

static uint64_t find_id(struct engine_map *m, const uint32_t *id, size_t n)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += (uintptr_t)mslot_find_id(snap, (struct mslot_key){0, id[k]});
	mslot_leave(snap);
	return sum;
}

/* How many slots are left, in the section that is then left. */
static inline uint64_t count_and_leave(const struct mslot_snapshot *snap, struct mslot_iter *iter)
{
	uint64_t n = 0;

	while (mslot_iter_next(iter) != NULL)
		n++;
	mslot_leave(snap);
	return n;
}

static uint64_t count_gpa(struct engine_map *m, uint64_t gpa, uint64_t len_bytes)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	struct mslot_iter iter;

	mslot_iter_gpa(&iter, snap, 0, (struct mslot_range){gpa, len_bytes});
	return count_and_leave(snap, &iter);
}

static uint64_t count_hva(struct engine_map *m, uint64_t hva, uint64_t len_bytes)
{
	const struct mslot_snapshot *const snap = mslot_enter(m->map);
	struct mslot_iter iter;

	mslot_iter_hva(&iter, snap, (struct mslot_range){hva, len_bytes});
	return count_and_leave(snap, &iter);
}

static uint64_t memory(struct engine_map *m)
{
	struct mslot_map_stats stats = {0};

	return mslot_map_stats_get(m->map, &stats) == 0 ? stats.reachable_bytes : 0;
}

static void thread_begin(void)
{
	mslot_thread_init();
}

#define OPERATIONS                                                                                 \
	.overlaps_hva = true, .destroy = mslot_destroy, .insert = mslot_insert,                    \
	.remove = mslot_remove, .move = mslot_move, .set_flags = mslot_set_flags,                  \
	.fill = mslot_fill, .batch_flags = mslot_batch_flags, .settle = mslot_settle,              \
	.token_of = mslot_token_of, .flags_of = mslot_flags_of, .find = find,                      \
	.find_dependent = find_dependent, .find_local = find_local, .find_section = find_section,  \
	.find_hva = find_hva, .find_id = find_id, .count_gpa = count_gpa, .count_hva = count_hva,  \
	.memory = memory, .thread_begin = thread_begin

const struct engine engine_mslot = {
    .name = "mslot",
    .what = "this library, the widest vector instructions there are",
    .create = create_best,
    OPERATIONS,
};

const struct engine engine_mslot_avx2 = {
    .name = "mslot-avx2",
    .what = "this library, AVX2 at most",
    .absent = avx2_absent,
    .create = create_avx2,
    OPERATIONS,
};

const struct engine engine_mslot_scalar = {
    .name = "mslot-scalar",
    .what = "this library without vector instructions",
    .create = create_scalar,
    OPERATIONS,
};
