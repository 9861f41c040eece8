/* SPDX-License-Identifier: MIT */
/*
 * logged.c - the hot paths of one slot of 512 MiB, whose memory is there: stores and leases with
 * and without a log, looks at the log, and accesses through a root.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "hot_paths.h"

#define LOGGED_BYTES (UINT64_C(512) << 20)
#define HIT_PAGES 128u /* half of the entries of a vCPU's cache */

/* ---- Dirty pages and leases ------------------------------------------------- */

static uint64_t store(struct world *w, size_t n)
{
	uint64_t done = 0;
	size_t k;

	for (k = 0; k < n; k++)
		done += mslot_store(w->snap, (struct mslot_addr){0, k * PAGE}, 8, k) == 0;
	return done;
}

static uint64_t lease(struct world *w, size_t n)
{
	const struct mslot_span span = {.access = MSLOT_WRITE, .gpa = PAGE, .len_bytes = PAGE};
	struct mslot_lease *taken;
	uint64_t done = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		done += mslot_lease_take(w->snap, &span, NULL, &taken) == 0;
		mslot_lease_put(taken);
	}
	return done;
}

static uint64_t harvest(struct world *w, size_t n)
{
	struct mslot_dirty_batch *batch;
	size_t k;

	for (k = 0; k < n; k++) {
		if (mslot_dirty_get(w->dirty, &batch) < 0)
			return 0;
		mslot_dirty_ack(batch);
	}
	return n;
}

/* A look at a log. It holds no snapshot, so that the reclaimer has no part in it, as in a harvest.
 */
static uint64_t log_keep(struct world *w, size_t n)
{
	static uint64_t bitmap[LOGGED_BYTES / PAGE / 64];
	const struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
	size_t k;

	for (k = 0; k < n; k++)
		if (mslot_kvm_get_dirty_log(w->map, &log) < 0)
			return 0;
	return n;
}

/* KVM's log of the slot too, which get does not clear. */
static void log_for_kvm(struct world *w)
{
	const struct kvm_enable_cap manual = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					      .args = {1}};
	struct mslot_txn *txn = begin(w);

	if (mslot_kvm_enable_cap(w->map, &manual))
		die("mslot_kvm_enable_cap", -EINVAL);
	commit(txn, mslot_txn_set_flags(txn, (struct mslot_key){0, 0}, MSLOT_LOG_DIRTY));
}

/* One page in a hundred, in every part of the slot. */
static void mark_some(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	uint64_t gpa;

	for (gpa = 0; gpa < LOGGED_BYTES; gpa += 100 * PAGE)
		mslot_mark_dirty(snap, (struct mslot_addr){0, gpa}, PAGE);
	mslot_leave(snap);
}

/* In a section; once before, so that memory is there. */
static void run_inside(struct world *w, const char *path, body_fn *body, body_fn *before)
{
	w->snap = mslot_enter(w->map);
	if (before)
		before(w, LOOKUPS);
	run(path, "scalar", "read", body, w, LOOKUPS);
	mslot_leave(w->snap);
}

static void logged_init(struct world *w)
{
	const struct mslot_map_options opt = {.simd = MSLOT_SIMD_SCALAR};
	struct mslot_region_options ropt = {.len_bytes = LOGGED_BYTES, .fd = -1};
	struct mslot_slot_def def = {.len_bytes = LOGGED_BYTES};
	struct mslot_txn *txn;
	int err;

	memset(w, 0, sizeof(*w));
	w->nslots = 1;
	w->host = mmap(NULL, LOGGED_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->host == MAP_FAILED)
		die("mmap", -errno);
	ropt.hva = w->host;
	err = mslot_map_create(&opt, &w->map);
	if (!err)
		err = mslot_region_create(&ropt, &w->region);
	if (err)
		die("map", err);
	def.region = w->region;
	txn = begin(w);
	commit(txn, mslot_txn_create(txn, &def));
}

static void logged_fini(struct world *w)
{
	int err = mslot_map_destroy(w->map);

	if (err)
		die("mslot_map_destroy", err);
	mslot_region_put(w->region);
	munmap(w->host, LOGGED_BYTES);
}

void run_dirty(struct world *w)
{
	int err;

	logged_init(w);
	run_inside(w, "store-unlogged", store, store);
	run_inside(w, "lease", lease, lease);
	err = mslot_dirty_create(w->map, NULL, &w->dirty);
	if (err)
		die("mslot_dirty_create", err);
	run_inside(w, "store-dirty", store, store);
	harvest(w, 2);
	run_inside(w, "store-clean", store, NULL);
	run_inside(w, "lease-logged", lease, lease);
	mark_some(w);
	harvest(w, 3);
	log_for_kvm(w);
	log_keep(w, 2);
	run("log-keep-clean", "scalar", "write", log_keep, w, 1);
	mark_some(w);
	run("log-keep-dirty", "scalar", "write", log_keep, w, 1);
	err = mslot_dirty_destroy(w->dirty);
	if (err)
		die("mslot_dirty_destroy", err);
	logged_fini(w);
}

/* ---- Accesses through a root ------------------------------------------------- */

static uint64_t load_hits(struct world *w, size_t n)
{
	uint64_t done = 0, val;
	size_t k;

	for (k = 0; k < n; k++)
		done += mslot_vcpu_load64(w->vcpu, k % HIT_PAGES * PAGE, &val) == 0;
	return done;
}

static uint64_t store_hits(struct world *w, size_t n)
{
	uint64_t done = 0;
	size_t k;

	for (k = 0; k < n; k++)
		done += mslot_vcpu_store64(w->vcpu, k % HIT_PAGES * PAGE, k) == 0;
	return done;
}

/* Of more pages than the cache has entries for; the root has them. */
static uint64_t load_misses(struct world *w, size_t n)
{
	uint64_t done = 0, val;
	size_t k;

	for (k = 0; k < n; k++)
		done += mslot_vcpu_load64(w->vcpu, k * PAGE, &val) == 0;
	return done;
}

static uint64_t enter_vcpu(struct world *w, size_t n)
{
	const struct mslot_snapshot *snap;
	uint64_t done = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		done += mslot_vcpu_enter(w->vcpu, &snap) == 0;
		mslot_vcpu_leave(w->vcpu);
	}
	return done;
}

void run_guest(struct world *w)
{
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_snapshot *snap;
	struct mslot_root *root;
	struct mslot_mmu *mmu;
	int err;

	logged_init(w);
	err = mslot_mmu_create(w->map, NULL, &mmu);
	if (!err)
		err = mslot_root_create(mmu, &opt, &root);
	if (!err)
		err = mslot_vcpu_create(w->map, NULL, &w->vcpu);
	if (!err)
		err = mslot_vcpu_root_set(w->vcpu, root);
	if (err)
		die("vCPU", err);
	enter_vcpu(w, 1);
	run("vcpu-section", "scalar", "read", enter_vcpu, w, LOOKUPS);
	err = mslot_vcpu_enter(w->vcpu, &snap);
	if (err)
		die("mslot_vcpu_enter", err);
	load_misses(w, LOOKUPS);
	run("load64-miss", "scalar", "read", load_misses, w, LOOKUPS);
	store_hits(w, HIT_PAGES);
	run("load64-hit", "scalar", "read", load_hits, w, LOOKUPS);
	run("store64-hit", "scalar", "read", store_hits, w, LOOKUPS);
	mslot_vcpu_leave(w->vcpu);
	err = mslot_vcpu_destroy(w->vcpu);
	if (!err)
		err = mslot_root_destroy(root);
	if (!err)
		err = mslot_mmu_destroy(mmu);
	if (err)
		die("mslot_mmu_destroy", err);
	logged_fini(w);
}

/* ---- Faults ------------------------------------------------------------------ */

static uint64_t fault_pages(struct world *w, size_t n)
{
	struct mslot_fault fault = {.access = MSLOT_WRITE};
	uint64_t done = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		fault.addr = k * PAGE;
		done += mslot_fault(w->vcpu, w->root, &fault, NULL) == 0;
	}
	return done;
}

/* What the MMU listens to and has nothing to do for: the slot is split, and merged again. */
static uint64_t split_and_merge(struct world *w, size_t n)
{
	const struct mslot_part part = {.id = 1, .gpa = LOGGED_BYTES / 2};
	struct mslot_txn *txn;
	size_t k;

	for (k = 0; k < n; k++) {
		txn = begin(w);
		if (k % 2)
			commit(txn, mslot_txn_merge(txn, (struct mslot_key){0, 0}, &part, 1));
		else
			commit(txn, mslot_txn_split(txn, (struct mslot_key){0, 0}, &part, 1));
	}
	return n;
}

/* Leaves of one page, wherever the host memory is. */
void run_mmu(struct world *w)
{
	const struct mslot_mmu_options mmu_opt = {.max_leaf_level = 1};
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_snapshot *snap;
	struct mslot_mmu *mmu;
	int err;

	logged_init(w);
	err = mslot_mmu_create(w->map, &mmu_opt, &mmu);
	if (!err)
		err = mslot_root_create(mmu, &opt, &w->root);
	if (!err)
		err = mslot_vcpu_create(w->map, NULL, &w->vcpu);
	if (!err)
		err = mslot_vcpu_enter(w->vcpu, &snap);
	if (err)
		die("vCPU", err);
	run("fault-install", "scalar", "write", fault_pages, w, LOOKUPS);
	run("fault-hit", "scalar", "read", fault_pages, w, LOOKUPS);
	mslot_vcpu_leave(w->vcpu);
	split_and_merge(w, 2);
	run("commit-mmu", "scalar", "write", split_and_merge, w, 64);
	err = mslot_vcpu_destroy(w->vcpu);
	if (!err)
		err = mslot_root_destroy(w->root);
	if (!err)
		err = mslot_mmu_destroy(mmu);
	if (err)
		die("mslot_mmu_destroy", err);
	logged_fini(w);
}
