/* SPDX-License-Identifier: MIT */
/*
 * quiet.c - the functions that never allocate: each runs in a world without memory, and
 * must not even ask for some.
 */
#include "fault.h"
#include "ops_mmu.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "map/lease.h"

#define HOST_PAGES 2u
#define HOST_GPA UINT64_C(0x300000000)

static _Alignas(4096) unsigned char host[HOST_PAGES * 4096];

void quiet_begin(void)
{
	alloc_count_nodes(true);
	alloc_fail_at(1, 1);
}

void quiet_end(void)
{
	const uint64_t attempts = alloc_attempts();

	alloc_fail_at(0, 0);
	alloc_count_nodes(false);
	CHECK(attempts == 0, "%u allocations", (unsigned int)attempts);
}

#define SEALED(statement)                                                                          \
	do {                                                                                       \
		quiet_begin();                                                                     \
		statement;                                                                         \
		quiet_end();                                                                       \
	} while (0)

/* ---- Maps and regions --------------------------------------------------- */

static void map_destroy(struct world *w)
{
	const struct mslot_map_options opt = {.nspaces = w->shape->nspaces};
	struct mslot_map *map;
	int err;

	CHECK_OK(mslot_map_create(&opt, &map));
	SEALED(err = mslot_map_destroy(map));
	CHECK_OK(err);
}

static void map_options_get(struct world *w)
{
	struct mslot_map_options opt;

	SEALED(mslot_map_options_get(w->map, &opt));
	CHECK(opt.nspaces == w->shape->nspaces, "%u spaces", opt.nspaces);
}

static void map_stats_get(struct world *w)
{
	struct mslot_map_stats stats;
	int err;

	SEALED(err = mslot_map_stats_get(w->map, &stats));
	CHECK_OK(err);
	CHECK(stats.generation > 0, "no commit");
}

static void check_map(struct world *w)
{
	const char *why = "";
	int err;

	SEALED(err = mslot_check_map(w->map, &why));
	CHECK(!err, "%s", why);
}

static void region_put(struct world *w)
{
	const struct mslot_region_options opt = {.len_bytes = PAGE, .fd = -1};
	struct mslot_region *region;

	(void)w;
	CHECK_OK(mslot_region_create(&opt, &region));
	SEALED(mslot_region_put(region));
}

static void region_options_get(struct world *w)
{
	struct mslot_region_options opt;

	SEALED(mslot_region_options_get(w->owned, &opt));
	CHECK(opt.ctx == &w->released, "another region");
}

/* ---- Sections and holds ------------------------------------------------- */

static void fence_readers(struct world *w)
{
	(void)w;
	/* The world has a map. */
	SEALED(CHECK(mslot_fence_readers() == -EBUSY, "not refused"));
}

static void thread_init(struct world *w)
{
	(void)w;
	SEALED(CHECK_OK(mslot_thread_init()));
}

static void enter_and_leave(struct world *w)
{
	SEALED(mslot_leave(mslot_enter(w->map)));
}

static void holds(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_holder holder[4];
	struct mslot_hold *hold;
	size_t n;

	CHECK_OK(mslot_hold(snap, "quiet", &hold));
	SEALED(CHECK(mslot_hold_snapshot(hold) == snap, "another snapshot"));
	mslot_leave(snap);
	SEALED(n = mslot_holders(w->map, holder, 4));
	CHECK(n == (w->shape->held ? 3 : 1), "%zu holds", n);
	SEALED(mslot_hold_put(hold));
}

static void leases(struct world *w)
{
	const struct mslot_span span = {.len_bytes = PAGE, .access = MSLOT_READ};
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_lease_holder holder;
	struct mslot_lease *lease;
	size_t n;

	CHECK_OK(mslot_lease_take(snap, &span, "quiet", &lease));
	SEALED((void)mslot_lease_iov(lease, &n));
	CHECK(n == 1, "%zu segments", n);
	SEALED(n = mslot_lease_holders(w->map, &holder, 1));
	CHECK(n == 1, "%zu leases", n);
	SEALED(mslot_lease_put(lease));
	/* The common case: the thread has a block. */
	SEALED(CHECK_OK(mslot_lease_take(snap, &span, "quiet", &lease)));
	mslot_lease_put(lease);
	mslot_leave(snap);
	lease_thread_drop();
}

static void wait_for_now(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	const uint64_t generation = mslot_snapshot_generation(snap);
	int err;

	mslot_leave(snap);
	SEALED(err = mslot_wait(w->map, generation, w->shape->held ? 0 : -1));
	/* Holds on older snapshots still reach what was removed. */
	CHECK((err == 0) == !w->shape->held, "returned %d", err);
}

/* ---- Looking ------------------------------------------------------------ */

static void look(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_hint hint = {0};
	struct mslot_slot_info info;
	const struct mslot_slot *slot;

	quiet_begin();
	slot = mslot_find(snap, 0, 0);
	CHECK(slot && slot == mslot_find_id(snap, (struct mslot_key){0, 0}), "no slot");
	mslot_slot_info_get(slot, &info);
	CHECK(mslot_find_hva(snap, info.hva, &slot, 1) > 0, "no slot at its own host address");
	CHECK(slot == mslot_find_hint(snap, 0, PAGE, &hint), "another slot by hint");
	CHECK(slot == mslot_find_nearest(snap, 0, 3 * PAGE, MSLOT_AT_OR_BELOW), "not nearest");
	mslot_slot_info_get(slot, &info);
	CHECK(info.len_bytes == 2 * PAGE, "another size");
	CHECK(mslot_snapshot_generation(snap) > 0, "no commit");
	CHECK(mslot_snapshot_nslots(snap, 0) == w->shape->nslots, "another number of slots");
	CHECK(mslot_snapshot_npages(snap) > 0, "no pages");
	quiet_end();
	mslot_leave(snap);
}

static int count_lines(void *ctx, const char *text, size_t len_bytes)
{
	unsigned int *lines = ctx;

	CHECK(len_bytes > 0 && text[len_bytes - 1] == '\n', "not a line");
	(*lines)++;
	return 0;
}

static void iterate(struct world *w)
{
	const struct mslot_span span = {.len_bytes = PAGE, .access = MSLOT_READ};
	const struct mslot_range all = {0, UINT64_MAX};
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_iter iter;
	struct iovec seg;
	unsigned int lines = 0;

	quiet_begin();
	mslot_iter_gpa(&iter, snap, 0, all);
	CHECK(mslot_iter_next(&iter), "no slot by gpa");
	mslot_iter_hva(&iter, snap, all);
	CHECK(mslot_iter_next(&iter), "no slot by hva");
	CHECK(mslot_translate(snap, &span, &seg, 1) == 1, "no translation");
	CHECK(!mslot_dump(snap, count_lines, &lines) && lines > 2, "%u lines", lines);
	quiet_end();
	mslot_leave(snap);
}

static void vcpu_sections(struct world *w)
{
	const struct mslot_snapshot *snap;
	struct mslot_vcpu *vcpu;

	CHECK_OK(mslot_vcpu_create(w->map, NULL, &vcpu));
	quiet_begin();
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	CHECK(mslot_vcpu_find(vcpu, 0, 0) == mslot_find(snap, 0, 0), "another slot");
	CHECK_OK(mslot_vcpu_poll(vcpu, &snap));
	CHECK(mslot_vcpu_pending(vcpu) == 0, "asked by nobody");
	CHECK_OK(mslot_vcpu_enter_reserved(vcpu, &snap));
	mslot_vcpu_leave(vcpu);
	mslot_vcpu_leave(vcpu);
	CHECK_OK(mslot_vcpu_destroy(vcpu));
	quiet_end();
}

/* What the cache has, and what it knows not to be there. */
static void guest_hits(struct world *w)
{
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_snapshot *snap;
	struct mslot_mmio mmio;
	struct mslot_root *root;
	struct mslot_vcpu *vcpu;
	struct mslot_mmu *mmu;
	uint64_t val;

	CHECK_OK(mslot_mmu_create(w->map, NULL, &mmu));
	CHECK_OK(mslot_root_create(mmu, &opt, &root));
	CHECK_OK(mslot_vcpu_create(w->map, NULL, &vcpu));
	CHECK_OK(mslot_vcpu_root_set(vcpu, root));
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	CHECK(mslot_vcpu_load64(vcpu, HOST_GPA, &val) == -ENOENT, "a slot");
	quiet_begin();
	CHECK(mslot_vcpu_hit(vcpu, HOST_GPA, 8, MSLOT_READ) == NULL, "a hit");
	CHECK(mslot_vcpu_load64(vcpu, HOST_GPA + 8, &val) == -ENOENT, "a slot");
	CHECK_OK(mslot_vcpu_mmio(vcpu, &mmio));
	CHECK(mmio.gpa == HOST_GPA + 8, "another address");
	quiet_end();
	mslot_vcpu_leave(vcpu);
	CHECK_OK(mslot_vcpu_destroy(vcpu));
	CHECK_OK(mslot_root_destroy(root));
	CHECK_OK(mslot_mmu_destroy(mmu));
}

/* ---- Ends --------------------------------------------------------------- */

static void ends(struct world *w)
{
	static const struct mslot_listener_ops deaf;
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_listener *listener;
	struct mslot_diff *diff;
	struct mslot_txn *txn;
	struct mslot_part part;
	struct mslot_edit edit = world_edit(w, MSLOT_EDIT_SPLIT, 0, &part);

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	for (int i = 0; i < 9; i++)
		CHECK_OK(mslot_txn_add(txn, &edit));
	SEALED(mslot_txn_abort(txn));
	CHECK_OK(mslot_diff_create(snap, snap, &diff));
	SEALED(mslot_diff_destroy(diff));
	mslot_leave(snap);
	CHECK_OK(mslot_listener_add(w->map, &deaf, NULL, 0, &listener));
	SEALED(CHECK_OK(mslot_listener_remove(listener)));
}

/* ---- Guest memory ------------------------------------------------------- */

static void access_all(const struct mslot_snapshot *snap)
{
	const struct mslot_addr at = {0, HOST_GPA}, last = {0, HOST_GPA + PAGE};
	const struct mslot_span span = {.gpa = HOST_GPA, .len_bytes = PAGE};
	struct iovec seg;
	unsigned char buf[64];
	uint64_t val = 0;

	memset(buf, 0x5a, sizeof(buf));
	CHECK_OK(mslot_write(snap, at, buf, sizeof(buf)));
	CHECK_OK(mslot_copy(snap, last, at, PAGE));
	CHECK_OK(mslot_read(snap, last, buf, sizeof(buf)));
	CHECK(buf[63] == 0x5a, "another byte");
	CHECK_OK(mslot_load(snap, last, 4, &val));
	CHECK(val == 0x5a5a5a5a, "another word");
	CHECK(mslot_cmpxchg(snap, last, 4, &val, 7) == 1, "not exchanged");
	CHECK_OK(mslot_store(snap, at, 8, 9));
	CHECK_OK(mslot_clear(snap, at, HOST_PAGES * PAGE));
	CHECK(host[0] == 0 && host[PAGE] == 0, "not cleared");
	CHECK(mslot_write_begin(snap, &span, &seg, 1) == 1, "not translated");
	mslot_write_end(snap, &span);
	mslot_mark_dirty(snap, last, PAGE);
}

static void guest_memory(struct world *w)
{
	const struct mslot_region_options opt = {.hva = host, .len_bytes = sizeof(host), .fd = -1};
	struct mslot_slot_def def = {.key = {0, NEW_ID},
				     .gpa = HOST_GPA,
				     .len_bytes = sizeof(host),
				     .flags = MSLOT_LOG_DIRTY};
	const struct mslot_snapshot *snap;
	struct mslot_txn *txn;

	CHECK_OK(mslot_region_create(&opt, &def.region));
	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_create(txn, &def));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	mslot_region_put(def.region);
	snap = mslot_enter(w->map);
	SEALED(access_all(snap));
	mslot_leave(snap);
}

/* ---- Dirty pages -------------------------------------------------------- */

static void dirty_pages(struct world *w)
{
	const struct mslot_key key = {0, 0};
	struct mslot_dirty_batch *batch;
	struct mslot_dirty_run run;
	struct mslot_dirty *dirty;
	uint64_t word = 0;

	CHECK_OK(mslot_dirty_create(w->map, NULL, &dirty));
	w->snap = mslot_enter(w->map);
	mslot_mark_dirty(w->snap, (struct mslot_addr){0, 0}, PAGE);
	mslot_leave(w->snap);
	w->nevents = 0;
	CHECK_OK(mslot_dirty_get(dirty, &batch));
	quiet_begin();
	CHECK(mslot_dirty_next(batch, &run) == 1 && mslot_dirty_next(batch, &run) == 0, "not one");
	mslot_dirty_rewind(batch);
	CHECK(mslot_dirty_pages(batch) == 1, "not one page");
	CHECK(mslot_dirty_bitmap(batch, key, &word, sizeof(word)) == 1 && word == 1, "not one bit");
	CHECK(mslot_dirty_snapshot(batch) != NULL, "no snapshot");
	mslot_dirty_nack(batch);
	quiet_end();
	CHECK_OK(mslot_dirty_get(dirty, &batch));
	SEALED(mslot_dirty_ack(batch));
	CHECK_OK(mslot_dirty_destroy(dirty));
	w->nevents = 0;
}

/* A vCPU writes a page, which is collected, and another, which goes with it. */
static void rings(struct world *w)
{
	const struct mslot_addr at = {0, 0}, next = {0, PAGE};
	const struct mslot_snapshot *snap;
	struct mslot_ring_entry *entries;
	struct mslot_ring_page page;
	struct mslot_vcpu *vcpu;
	struct mslot_txn *txn;

	CHECK_OK(mslot_ring_enable(w->map, PAGE, 0));
	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_set_flags(txn, (struct mslot_key){0, 0}, MSLOT_LOG_DIRTY));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	w->nevents = 0;
	CHECK_OK(mslot_vcpu_create(w->map, NULL, &vcpu));
	quiet_begin();
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	mslot_mark_dirty(snap, at, 1);
	mslot_vcpu_leave(vcpu);
	CHECK(mslot_vcpu_ring(vcpu, &entries) == 256, "another size");
	CHECK(mslot_vcpu_collect(vcpu, &page, 1) == 1 && page.gpa == 0, "another page");
	CHECK(mslot_ring_reset(w->map) == 1, "not one entry");
	CHECK(mslot_kvm_reset_dirty_rings(w->map) == 0, "an entry twice");
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	mslot_mark_dirty(snap, next, 1);
	mslot_vcpu_leave(vcpu);
	CHECK_OK(mslot_vcpu_destroy(vcpu));
	quiet_end();
}

static void final_harvest(struct world *w)
{
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = &final};
	struct mslot_txn *txn;
	int err;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_delete(txn, (struct mslot_key){0, 0}));
	CHECK_OK(mslot_txn_commit(txn, &opt, NULL));
	w->nevents = 0;
	quiet_begin();
	CHECK(mslot_final_count(final) == 0, "a slot that was not logged");
	err = mslot_final_wait(final, w->shape->held ? 0 : -1);
	CHECK((err == 0) == !w->shape->held, "returned %d", err);
	CHECK(mslot_final_get(final, 0, NULL, NULL, NULL, 0) == -EINVAL, "a range");
	mslot_final_destroy(final);
	quiet_end();
}

const struct quiet quiets[] = {
    {"mslot_map_destroy", map_destroy},
    {"mslot_map_options_get", map_options_get},
    {"mslot_map_stats_get", map_stats_get},
    {"mslot_check_map", check_map},
    {"mslot_region_put", region_put},
    {"mslot_region_options_get", region_options_get},
    {"mslot_fence_readers", fence_readers},
    {"mslot_thread_init", thread_init},
    {"mslot_enter mslot_leave", enter_and_leave},
    {"mslot_hold_snapshot mslot_hold_put mslot_holders", holds},
    {"mslot_lease_iov mslot_lease_put mslot_lease_holders", leases},
    {"mslot_wait", wait_for_now},
    {"mslot_find mslot_find_hint mslot_find_id mslot_find_hva mslot_find_nearest "
     "mslot_slot_info_get "
     "mslot_snapshot_generation mslot_snapshot_nslots mslot_snapshot_npages",
     look},
    {"mslot_iter_gpa mslot_iter_hva mslot_iter_next mslot_translate mslot_dump", iterate},
    {"mslot_vcpu_enter mslot_vcpu_enter_reserved mslot_vcpu_find mslot_vcpu_poll "
     "mslot_vcpu_pending mslot_vcpu_leave mslot_vcpu_destroy",
     vcpu_sections},
    {"mslot_vcpu_mmio", guest_hits},
    {"mslot_txn_abort mslot_diff_destroy mslot_listener_remove", ends},
    {"mslot_read mslot_write mslot_copy mslot_clear mslot_load mslot_store mslot_cmpxchg "
     "mslot_mark_dirty mslot_write_begin mslot_write_end",
     guest_memory},
    {"mslot_dirty_next mslot_dirty_rewind mslot_dirty_pages mslot_dirty_bitmap "
     "mslot_dirty_snapshot mslot_dirty_ack mslot_dirty_nack",
     dirty_pages},
    {"mslot_vcpu_ring mslot_vcpu_collect mslot_ring_reset mslot_kvm_reset_dirty_rings", rings},
    {"mslot_mmu_destroy mslot_mmu_limit_set mslot_mmu_stats_get mslot_check_mmu mslot_root_destroy "
     "mslot_vcpu_root_set mslot_root_lookup mslot_root_stamp mslot_zap_page mslot_zap_gfn "
     "mslot_zap_hva "
     "mslot_zap_all mslot_mmu_sync mslot_invalidate_begin mslot_invalidate_end mslot_age "
     "mslot_test_age mslot_write_protect",
     quiet_mmu},
    {"mslot_final_wait mslot_final_count mslot_final_get mslot_final_destroy", final_harvest},
};

const size_t nquiets = sizeof(quiets) / sizeof(*quiets);
