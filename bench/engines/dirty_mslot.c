/* SPDX-License-Identifier: MIT */
/*
 * dirty_mslot.c - the library's leases, marks and harvests, through its public headers.
 *
 * Each world is a map with one slot at address 0, of memory that is only address space until a
 * write touches it. Harvests of a consumer's own have HARVEST_BATCH; the others are KVM's calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mslot/mslot.h>

#include "clock.h"
#include "dirty_engines.h"

struct world {
	void *host;
	uint64_t len_bytes;
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_dirty *dirty; /* NULL: KVM's, or nobody looks */
	/* Of the kind of work that the world is for. */
	enum lease_kind lease;
	enum mark_op op;
	const struct harvest_shape *shape;
};

static const struct mslot_key key = {0, 0};

static void destroy(void *world)
{
	struct world *const w = world;

	mslot_dirty_destroy(w->dirty);
	mslot_map_destroy(w->map);
	mslot_region_put(w->region);
	if (w->host != NULL)
		munmap(w->host, w->len_bytes);
	free(w);
}

static int put_slot(struct world *w)
{
	const struct mslot_region_options opt = {
	    .hva = w->host, .len_bytes = w->len_bytes, .fd = -1};
	struct mslot_slot_def def = {.key = key, .len_bytes = w->len_bytes};
	struct mslot_txn *txn = NULL;
	int ret = mslot_region_create(&opt, &w->region);

	if (ret == 0)
		ret = mslot_txn_begin(w->map, &txn);
	if (ret < 0)
		return ret;
	def.region = w->region;
	ret = mslot_txn_create(txn, &def);
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

/* A map with its memory; where `own` with a slot that a consumer looks at if `logged`. */
static struct world *create(uint64_t len_bytes, bool own, bool logged, char why[BENCH_REASON])
{
	struct world *const w = calloc(1, sizeof(*w));
	int ret;

	if (w == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	w->len_bytes = len_bytes;
	w->host = bench_host(len_bytes, why);
	if (w->host == NULL) {
		free(w);
		return NULL;
	}
	ret = mslot_map_create(NULL, &w->map);
	if (ret == 0 && own)
		ret = put_slot(w);
	if (ret == 0 && logged)
		ret = mslot_dirty_create(w->map, NULL, &w->dirty);
	if (ret == 0)
		return w;
	destroy(w);
	return bench_cannot(why, "a map", -ret);
}

/* ---- Leases ------------------------------------------------------------------- */

static void *lease_create(enum lease_kind kind, char why[BENCH_REASON])
{
	struct world *const w = create(DIRTY_PAGE * 16, true, kind == LEASE_WRITE_LOGGED, why);

	if (w != NULL)
		w->lease = kind;
	return w;
}

static uint64_t lease_cycle(void *world, size_t n)
{
	struct world *const w = world;
	const struct mslot_snapshot *const snap = mslot_enter(w->map);
	const struct mslot_span span = {
	    .access = w->lease == LEASE_READ ? MSLOT_READ : MSLOT_WRITE,
	    .gpa = DIRTY_PAGE,
	    .len_bytes = DIRTY_PAGE,
	};
	const void *const expected = (char *)w->host + DIRTY_PAGE;
	struct mslot_lease *lease;
	uint64_t right = 0;

	for (size_t i = 0; i < n; i++) {
		if (mslot_lease_take(snap, &span, NULL, &lease) < 0)
			break;
		right += mslot_lease_iov(lease, NULL)->iov_base == expected;
		mslot_lease_put(lease);
	}
	mslot_leave(snap);
	return right;
}

static uint64_t lease_left(void *world)
{
	struct mslot_map_stats stats = {0};

	return mslot_map_stats_get(((struct world *)world)->map, &stats) == 0 ? stats.leases : 1;
}

const struct lease_engine lease_mslot = {.name = "mslot",
					 .create = lease_create,
					 .cycle = lease_cycle,
					 .left = lease_left,
					 .destroy = destroy};

/* ---- Marks -------------------------------------------------------------------- */

static void *mark_create(enum mark_op op, bool logged, char why[BENCH_REASON])
{
	struct world *const w = create(DIRTY_PAGE * MARK_PAGES, true, logged, why);

	if (w != NULL)
		w->op = op;
	return w;
}

static int store_all(const struct mslot_snapshot *snap, uint64_t val)
{
	int ret = 0;

	for (size_t i = 0; i < MARK_PAGES; i++)
		ret |= mslot_store(snap, (struct mslot_addr){0, mark_place(i)}, 8, val);
	return ret;
}

static void mark_all(const struct mslot_snapshot *snap)
{
	for (size_t i = 0; i < MARK_PAGES; i++)
		mslot_mark_dirty(snap, (struct mslot_addr){0, i * DIRTY_PAGE}, DIRTY_PAGE);
}

static int write_all(const struct mslot_snapshot *snap, const unsigned char *buf)
{
	int ret = 0;

	for (size_t i = 0; i < MARK_PAGES; i++)
		ret |= mslot_write(snap, (struct mslot_addr){0, i * DIRTY_PAGE}, buf, DIRTY_PAGE);
	return ret;
}

static int mark_pass(void *world, unsigned char val)
{
	struct world *const w = world;
	const struct mslot_snapshot *const snap = mslot_enter(w->map);
	unsigned char buf[DIRTY_PAGE];
	int ret = 0;

	if (w->op == MARK_STORE)
		ret = store_all(snap, val * UINT64_C(0x0101010101010101));
	else if (w->op == MARK_PAGE)
		mark_all(snap);
	else
		ret = write_all(snap, memset(buf, val, sizeof(buf)));
	mslot_leave(snap);
	return ret;
}

static unsigned char mark_byte(void *world, size_t page)
{
	return ((unsigned char *)((struct world *)world)->host)[mark_place(page)];
}

static int64_t mark_harvest(void *world)
{
	struct world *const w = world;
	struct mslot_dirty_batch *batch;
	int64_t n;

	if (w->dirty == NULL)
		return 0;
	n = mslot_dirty_get(w->dirty, &batch);
	if (n < 0)
		return n;
	n = (int64_t)mslot_dirty_pages(batch);
	mslot_dirty_ack(batch);
	return n;
}

const struct mark_engine mark_mslot = {.name = "mslot",
				       .ops = 1u << MARK_STORE | 1u << MARK_PAGE | 1u << MARK_WRITE,
				       .create = mark_create,
				       .pass = mark_pass,
				       .byte = mark_byte,
				       .harvest = mark_harvest,
				       .destroy = destroy};

/* ---- Harvests ----------------------------------------------------------------- */

static int set_manual(struct world *w, bool manual)
{
	const struct kvm_enable_cap cap = {
	    .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	    .args = {manual ? KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE : 0},
	};

	return mslot_kvm_enable_cap(w->map, &cap);
}

static void *harvest_create(const struct harvest_shape *shape, char why[BENCH_REASON])
{
	const bool own = shape->kind == HARVEST_BATCH;
	struct world *const w = create(shape->npages * DIRTY_PAGE, own, own, why);
	struct kvm_userspace_memory_region region = {.flags = KVM_MEM_LOG_DIRTY_PAGES};
	int ret = 0;

	if (w == NULL)
		return NULL;
	w->shape = shape;
	region.memory_size = w->len_bytes;
	region.userspace_addr = (uintptr_t)w->host;
	if (!own)
		ret = mslot_kvm_set_user_memory_region(w->map, &region);
	if (ret == 0 && !own)
		ret = set_manual(w, shape->kind != HARVEST_GET);
	if (ret == 0)
		return w;
	destroy(w);
	return bench_cannot(why, "a slot of that size", -ret);
}

static int get(struct world *w, void *out)
{
	return mslot_kvm_get_dirty_log(w->map, &(struct kvm_dirty_log){.dirty_bitmap = out});
}

static int clear(struct world *w, const void *mask)
{
	const struct kvm_clear_dirty_log log = {
	    .num_pages = (uint32_t)w->shape->npages,
	    .dirty_bitmap = (void *)(uintptr_t)mask,
	};

	return mslot_kvm_clear_dirty_log(w->map, &log);
}

static void mark_shape(struct world *w)
{
	const struct mslot_snapshot *const snap = mslot_enter(w->map);
	const struct harvest_shape *const shape = w->shape;
	uint64_t word;

	if (shape->ndirty == shape->npages)
		mslot_mark_dirty(snap, (struct mslot_addr){0, 0}, w->len_bytes);
	for (uint64_t i = 0; i < shape->npages / 64 && shape->ndirty < shape->npages; i++) {
		for (word = shape->bitmap[i]; word != 0; word &= word - 1) {
			const uint64_t page = i * 64 + (uint64_t)__builtin_ctzll(word);

			mslot_mark_dirty(snap, (struct mslot_addr){0, page * DIRTY_PAGE},
					 DIRTY_PAGE);
		}
	}
	mslot_leave(snap);
}

static int harvest_soil(void *world)
{
	struct world *const w = world;
	int ret = 0;

	/* What a harvest that keeps left. */
	if (w->shape->kind == HARVEST_KEEP)
		ret = clear(w, w->shape->bitmap);
	mark_shape(w);
	return ret;
}

/* Reading the batch is not a part of it. */
static int64_t take_batch(struct world *w, uint64_t *out)
{
	const size_t bytes = w->shape->npages / 8;
	struct mslot_dirty_batch *batch;
	uint64_t begin = clock_wall_ns(), elapsed;
	int64_t ret = mslot_dirty_get(w->dirty, &batch);

	elapsed = clock_wall_ns() - begin;
	if (ret < 0)
		return ret;
	ret = mslot_dirty_bitmap(batch, key, out, bytes);
	begin = clock_wall_ns();
	mslot_dirty_ack(batch);
	elapsed += clock_wall_ns() - begin;
	return ret < 0 ? ret : (int64_t)elapsed;
}

static int64_t harvest(void *world, uint64_t *out)
{
	struct world *const w = world;
	const uint64_t begin = clock_wall_ns();
	int ret;

	if (w->shape->kind == HARVEST_BATCH)
		return take_batch(w, out);
	ret = w->shape->kind == HARVEST_CLEAR ? clear(w, w->shape->bitmap) : get(w, out);
	return ret < 0 ? ret : (int64_t)(clock_wall_ns() - begin);
}

static int harvest_rest(void *world, uint64_t *out)
{
	struct world *const w = world;
	const int64_t ret = w->shape->kind == HARVEST_BATCH ? take_batch(w, out) : get(w, out);

	return ret < 0 ? (int)ret : 0;
}

const struct harvester harvest_mslot = {.name = "mslot",
					.kinds = 1u << HARVEST_GET | 1u << HARVEST_KEEP |
						 1u << HARVEST_CLEAR | 1u << HARVEST_BATCH,
					.create = harvest_create,
					.soil = harvest_soil,
					.harvest = harvest,
					.rest = harvest_rest,
					.destroy = destroy};
