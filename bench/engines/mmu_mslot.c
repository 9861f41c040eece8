/* SPDX-License-Identifier: MIT */
/*
 * mmu_mslot.c - the library's tables, through its public headers: their two forms, and five
 * more ways to use them.
 *
 *   mslot          reverse maps
 *   mslot-bitmaps  slot bitmaps
 *   invalidate     reverse maps; host memory goes between mslot_invalidate_begin() and its
 *                  end, after which nobody uses it any more, instead of after mslot_zap_hva()
 *   recreated      a control: slots that should be merged or split are deleted and created
 *   splitting      what a design whose tables are a processor's must do where logging begins:
 *                  put a table of single pages in the place of each large leaf
 *   apart          a control: two threads with a map each, who meet in the machine only
 *   unmapped       a control: nothing is ever mapped
 *
 * A thread has a vCPU, and with it a root of its own or the one for all. Each call is one section.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <mslot/guest.h>

#include "mmu_world.h"

/* ---- Worlds ------------------------------------------------------------------- */

static void destroy(void *world)
{
	struct mmu_world *const w = world;

	mslot_dirty_destroy(w->dirty);
	for (unsigned int i = 0; i < MMU_THREADS; i++)
		mslot_vcpu_destroy(w->vcpu[i]);
	for (unsigned int i = 0; i < MMU_THREADS; i++)
		mslot_root_destroy(w->root[i]);
	mslot_mmu_destroy(w->mmu);
	mslot_map_destroy(w->map);
	mslot_region_put(w->region);
	free(w->bitmap);
	free(w);
}

/* What the bench's shadow roots mean: the alias is only a number. */
static int walk(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		struct mslot_walk *out)
{
	const struct mmu_world *const w = ctx;

	(void)vcpu;
	(void)access;
	*out = (struct mslot_walk){.gpa = mmu_gpa(addr), .level = w->shape.leaf_level};
	return 0;
}

int mmu_world_renew(struct mmu_world *w, unsigned int root)
{
	const struct mslot_root_options opt = {
	    .kind = w->shape.shadow ? MSLOT_ROOT_SHADOW : MSLOT_ROOT_DIRECT,
	    .walk = w->shape.shadow ? walk : NULL,
	    .ctx = w,
	};
	struct mslot_root *const old = w->root[root];
	struct mslot_root *next;
	int ret = mslot_root_create(w->mmu, &opt, &next);

	if (ret < 0)
		return ret;
	w->root[root] = next;
	for (unsigned int i = 0; i < MMU_THREADS && ret == 0; i++)
		ret = mslot_vcpu_root_set(w->vcpu[i], mmu_world_root(w, i));
	return ret < 0 ? ret : mslot_root_destroy(old);
}

static int put_slots(struct mmu_world *w)
{
	const struct mmu_shape *const s = &w->shape;
	struct mslot_slot_def def = {.region = w->region};
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(w->map, &txn);

	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < s->nslots + (s->other_pages > 0) && ret >= 0; i++) {
		const uint64_t first = mmu_first_page(s, i);
		const uint64_t end =
		    i < s->nslots ? mmu_first_page(s, i + 1) : first + s->other_pages;

		def.key.id = (uint32_t)i;
		def.gpa = def.offset_bytes = first * MMU_PAGE;
		def.len_bytes = (end - first) * MMU_PAGE;
		ret = mslot_txn_create(txn, &def);
	}
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

static int make_vcpus(struct mmu_world *w)
{
	int ret = 0;

	for (unsigned int i = 0; i < MMU_THREADS && ret == 0; i++)
		ret = mslot_vcpu_create(w->map, NULL, &w->vcpu[i]);
	for (unsigned int i = 0; i < w->shape.nroots && ret == 0; i++)
		ret = mmu_world_renew(w, i);
	return ret;
}

static void *create(const struct mmu_shape *shape, enum mslot_mmu_form form, char why[BENCH_REASON])
{
	struct mmu_world *const w = calloc(1, sizeof(*w));
	const struct mslot_region_options host = {
	    .hva = shape->host,
	    .len_bytes = (shape->npages + shape->other_pages) * MMU_PAGE,
	    .fd = -1,
	};
	const struct mslot_mmu_options opt = {.form = form, .max_leaf_level = shape->leaf_level};
	int ret;

	if (w == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	w->shape = *shape;
	w->bitmap = calloc(shape->npages / 64 + 1, sizeof(*w->bitmap));
	ret = w->bitmap != NULL ? mslot_map_create(NULL, &w->map) : -ENOMEM;
	if (ret == 0)
		ret = mslot_region_create(&host, &w->region);
	if (ret == 0)
		ret = mslot_mmu_create(w->map, &opt, &w->mmu);
	if (ret == 0)
		ret = put_slots(w);
	if (ret == 0)
		ret = make_vcpus(w);
	if (ret == 0)
		return w;
	destroy(w);
	return bench_cannot(why, "a map with tables", -ret);
}

static void *create_reverse(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return create(shape, MSLOT_MMU_REVERSE_MAPS, why);
}

static void *create_bitmaps(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return create(shape, MSLOT_MMU_SLOT_BITMAPS, why);
}

static void *create_invalidate(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	struct mmu_world *const w = create_reverse(shape, why);

	if (w != NULL)
		w->invalidates = true;
	return w;
}

static void *create_small(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	struct mmu_shape small = *shape;

	small.leaf_level = 1;
	return create_reverse(&small, why);
}

/* ---- Hits --------------------------------------------------------------------- */

static uint64_t load(void *world, const uint64_t *addr, size_t n)
{
	struct mmu_world *const w = world;
	struct mslot_vcpu *const vcpu = w->vcpu[0];
	const struct mslot_snapshot *snap;
	uint64_t sum = 0, val;

	if (mslot_vcpu_enter(vcpu, &snap) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (mslot_vcpu_load64(vcpu, addr[i], &val) < 0)
			break;
		sum += val;
	}
	mslot_vcpu_leave(vcpu);
	return sum;
}

/* ---- Faults ------------------------------------------------------------------- */

static int fault(void *world, unsigned int thread, const struct mmu_addrs *a, uint64_t *sum)
{
	struct mmu_world *const w = world;
	struct mslot_vcpu *const vcpu = w->vcpu[thread];
	struct mslot_root *const root = mmu_world_root(w, thread);
	struct mslot_fault f = {.walk.level = w->shape.leaf_level,
				.access = a->write ? MSLOT_WRITE : MSLOT_READ};
	const struct mslot_snapshot *snap;
	struct mslot_translation t;
	int ret = mslot_vcpu_enter(vcpu, &snap);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < a->n && ret == 0; i++) {
		f.addr = a->addr[i];
		f.walk.gpa = mmu_gpa(a->addr[i]);
		ret = mslot_fault(vcpu, root, &f, &t);
		*sum += ret == 0 ? t.hva : 0;
	}
	mslot_vcpu_leave(vcpu);
	return ret;
}

static int zap(void *world, unsigned int thread, const struct mmu_addrs *a)
{
	struct mmu_world *const w = world;
	int ret = 0;

	for (size_t i = 0; i < a->n && ret >= 0; i++)
		ret = mslot_zap_page(w->vcpu[thread], mmu_world_root(w, thread), a->addr[i]);
	return ret < 0 ? ret : 0;
}

static int renew(void *world)
{
	struct mmu_world *const w = world;
	int ret = 0;

	for (unsigned int i = 0; i < w->shape.nroots && ret == 0; i++)
		ret = mmu_world_renew(w, i);
	return ret;
}

static int lookup(void *world, unsigned int thread, uint64_t addr, uint64_t *hva)
{
	struct mmu_world *const w = world;
	const struct mslot_snapshot *const snap = mslot_enter(w->map);
	struct mslot_translation t;
	const int ret = mslot_root_lookup(mmu_world_root(w, thread), addr, &t);

	mslot_leave(snap);
	if (ret == 0)
		*hva = t.hva;
	return ret == 0 ? 1 : ret == -ENOENT ? 0 : ret;
}

static int zap_all(void *world)
{
	struct mmu_world *const w = world;
	const struct mslot_range all = {0, (w->shape.npages + w->shape.other_pages) * MMU_PAGE};
	const int64_t ret = mslot_zap_gfn(w->mmu, 0, all);

	return ret < 0 ? (int)ret : 0;
}

static int stats(void *world, struct mslot_mmu_stats *out)
{
	mslot_mmu_stats_get(((struct mmu_world *)world)->mmu, out);
	return 0;
}

/* ---- A guest that writes, and a host that takes memory away ----------------------- */

static int store(void *world, struct mslot_range gpa, uint64_t val)
{
	struct mmu_world *const w = world;
	struct mslot_fault f = {.access = MSLOT_WRITE};
	const struct mslot_snapshot *snap;
	struct mslot_translation t;
	int ret = mslot_vcpu_enter(w->vcpu[0], &snap);

	if (ret < 0)
		return ret;
	for (f.addr = gpa.start; f.addr < gpa.start + gpa.len_bytes && ret == 0;
	     f.addr += MMU_PAGE) {
		if (mslot_vcpu_pending(w->vcpu[0]))
			ret = mslot_vcpu_poll(w->vcpu[0], &snap);
		if (ret == 0)
			ret = mslot_fault(w->vcpu[0], w->root[0], &f, &t);
		if (ret == 0)
			*(volatile uint64_t *)(uintptr_t)t.hva =
			    val; /* NOLINT(performance-no-int-to-ptr) */
	}
	mslot_vcpu_leave(w->vcpu[0]);
	return ret;
}

static int drop_chunk(struct mmu_world *w, char *host, uint64_t len_bytes)
{
	const struct mslot_range range = {(uintptr_t)host, len_bytes};
	int64_t ret =
	    w->invalidates ? mslot_invalidate_begin(w->mmu, range) : mslot_zap_hva(w->mmu, range);

	if (ret < 0)
		return (int)ret;
	ret = madvise(host, len_bytes, MADV_DONTNEED) < 0 ? -errno : 0;
	if (w->invalidates)
		mslot_invalidate_end(w->mmu, range);
	return (int)ret;
}

static int drop(void *world, struct mslot_range gpa, uint64_t chunk_bytes)
{
	struct mmu_world *const w = world;
	int ret = 0;

	for (uint64_t at = 0; at < gpa.len_bytes && ret == 0; at += chunk_bytes)
		ret = drop_chunk(w, w->shape.host + gpa.start + at, chunk_bytes);
	return ret;
}

/* ---- Apart -------------------------------------------------------------------- */

struct apart {
	struct mmu_world *world[MMU_THREADS];
};

static void apart_destroy(void *world)
{
	struct apart *const a = world;

	for (unsigned int i = 0; i < MMU_THREADS; i++) {
		if (a->world[i] != NULL)
			destroy(a->world[i]);
	}
	free(a);
}

static void *apart_create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	struct apart *const a = calloc(1, sizeof(*a));

	if (a == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	for (unsigned int i = 0; i < MMU_THREADS; i++)
		a->world[i] = create_reverse(shape, why);
	if (a->world[0] != NULL && a->world[1] != NULL)
		return a;
	apart_destroy(a);
	return NULL;
}

static int apart_fault(void *world, unsigned int thread, const struct mmu_addrs *addrs,
		       uint64_t *sum)
{
	return fault(((struct apart *)world)->world[thread], thread, addrs, sum);
}

static int apart_zap(void *world, unsigned int thread, const struct mmu_addrs *addrs)
{
	return zap(((struct apart *)world)->world[thread], thread, addrs);
}

static int apart_lookup(void *world, unsigned int thread, uint64_t addr, uint64_t *hva)
{
	return lookup(((struct apart *)world)->world[thread], thread, addr, hva);
}

/* ---- Nothing mapped -------------------------------------------------------------- */

static int64_t fill_nothing(void *world, unsigned int thread, struct mslot_range range)
{
	(void)world;
	(void)thread;
	return (int64_t)(range.len_bytes / MMU_PAGE);
}

/* ---- The engines -------------------------------------------------------------- */

#define COMMON                                                                                     \
	.destroy = destroy, .load = load, .fault = fault, .zap = zap, .renew = renew,              \
	.fill = mmu_world_fill, .zap_all = zap_all, .lookup = lookup, .store = store,              \
	.drop = drop, .stats = stats, .dirty = mmu_world_dirty, .mark = mmu_world_mark,            \
	.harvest = mmu_world_harvest

const struct mmu_engine mmu_reverse = {
    .name = "mslot",
    .parts = 1u << MMU_HITS | 1u << MMU_FAULTS | 1u << MMU_PAIRS | 1u << MMU_UNMAPS |
	     1u << MMU_EDITS | 1u << MMU_LOGGING | 1u << MMU_HARVESTS | 1u << MMU_FIGURES |
	     1u << MMU_STALLS,
    .create = create_reverse,
    .edit = mmu_world_edit,
    COMMON};
const struct mmu_engine mmu_bitmaps = {
    .name = "mslot-bitmaps",
    .parts = 1u << MMU_FAULTS | 1u << MMU_PAIRS | 1u << MMU_UNMAPS | 1u << MMU_EDITS |
	     1u << MMU_LOGGING | 1u << MMU_HARVESTS | 1u << MMU_FIGURES | 1u << MMU_STALLS,
    .create = create_bitmaps,
    .edit = mmu_world_edit,
    COMMON};
const struct mmu_engine mmu_invalidate = {.name = "invalidate",
					  .parts = 1u << MMU_UNMAPS,
					  .create = create_invalidate,
					  .edit = mmu_world_edit,
					  COMMON};
const struct mmu_engine mmu_recreated = {.name = "recreated",
					 .parts = 1u << MMU_EDITS,
					 .recreates = true,
					 .create = create_reverse,
					 .edit = mmu_world_recreate,
					 COMMON};
const struct mmu_engine mmu_splitting = {.name = "splitting",
					 .parts = 1u << MMU_LOGGING,
					 .splits = true,
					 .create = create_small,
					 .edit = mmu_world_split_leaves,
					 COMMON};
const struct mmu_engine mmu_apart = {.name = "apart",
				     .parts = 1u << MMU_PAIRS,
				     .create = apart_create,
				     .destroy = apart_destroy,
				     .fault = apart_fault,
				     .zap = apart_zap,
				     .lookup = apart_lookup};
const struct mmu_engine mmu_unmapped = {.name = "unmapped",
					.parts = 1u << MMU_HARVESTS,
					.create = create_reverse,
					.destroy = destroy,
					.edit = mmu_world_edit,
					.fill = fill_nothing,
					.stats = stats,
					.mark = mmu_world_mark,
					.harvest = mmu_world_harvest};
