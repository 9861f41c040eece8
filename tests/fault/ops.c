/* SPDX-License-Identifier: MIT */
/*
 * ops.c - the operations that allocate: every public function that can.
 */
#include "edit_by_verb.h"
#include "fault.h"
#include "ops_dirty.h"
#include "ops_mmu.h"
#include "ops_guest.h"

#include <errno.h>

#include "map/lease.h"

#define EDITS 64u
#define SPLIT_PARTS 48u
#define KVM_ID 25000u
#define KVM_GPA UINT64_C(0x200000000)
#define KVM_HVA UINT64_C(0x300000000000)
#define KVM_SLOTS 4u

/* ---- Maps, regions, holds ----------------------------------------------- */

static int run_map_create(struct world *w, const struct op *op)
{
	const struct mslot_map_options opt = {.nspaces = w->shape->nspaces};
	struct mslot_map *map;
	int err = mslot_map_create(&opt, &map);

	(void)op;
	if (!err)
		w->result = map;
	return err;
}

static void finish_map_create(struct world *w, const struct op *op)
{
	(void)op;
	CHECK_OK(mslot_map_destroy(w->result));
}

static int run_region_create(struct world *w, const struct op *op)
{
	const struct mslot_region_options opt = {.len_bytes = PAGE, .fd = -1};
	struct mslot_region *region;
	int err = mslot_region_create(&opt, &region);

	(void)op;
	if (!err)
		w->result = region;
	return err;
}

static void finish_region_create(struct world *w, const struct op *op)
{
	(void)op;
	mslot_region_put(w->result);
}

static void count_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	(void)opt;
}

static int run_region_released(struct world *w, const struct op *op)
{
	const struct mslot_region_options opt = {
	    .len_bytes = PAGE, .fd = -1, .release = count_release};
	struct mslot_region *region;
	int err = mslot_region_create(&opt, &region);

	(void)op;
	if (!err)
		w->result = region;
	return err;
}

static void enter(struct world *w, const struct op *op)
{
	(void)op;
	w->snap = mslot_enter(w->map);
}

static int run_hold(struct world *w, const struct op *op)
{
	struct mslot_hold *hold;
	int err = mslot_hold(w->snap, "fault", &hold);

	(void)op;
	if (!err)
		w->result = hold;
	return err;
}

static void finish_hold(struct world *w, const struct op *op)
{
	(void)op;
	CHECK(mslot_hold_snapshot(w->result) == w->snap, "another snapshot is held");
	mslot_leave(w->snap);
	mslot_hold_put(w->result);
}

/* ---- Leases ------------------------------------------------------------- */

/* The thread's first lease, of one slot, or of as many slots as lie side by side. */
static void prepare_lease(struct world *w, const struct op *op)
{
	lease_thread_drop();
	if (op->arg > 1)
		world_add_row(w);
	w->nevents = 0;
	w->snap = mslot_enter(w->map);
}

static int run_lease(struct world *w, const struct op *op)
{
	const struct mslot_span span = {
	    .access = MSLOT_WRITE,
	    .gpa = op->arg > 1 ? ROW_GFN * PAGE : 0,
	    .len_bytes = op->arg * PAGE,
	};
	struct mslot_lease *lease = NULL;
	int err = mslot_lease_take(w->snap, &span, "fault", &lease);

	CHECK(mslot_lease_holders(w->map, NULL, 0) == !err, "%d, but leases", err);
	CHECK(!err == (lease != NULL), "%d and a lease", err);
	if (!err)
		w->result = lease;
	return err;
}

static void finish_lease(struct world *w, const struct op *op)
{
	size_t n;

	(void)mslot_lease_iov(w->result, &n);
	CHECK(n == op->arg, "%zu segments", n);
	mslot_leave(w->snap);
	mslot_lease_put(w->result);
	lease_thread_drop();
}

/* ---- Collecting edits --------------------------------------------------- */

static int run_begin(struct world *w, const struct op *op)
{
	(void)op;
	return mslot_txn_begin(w->map, &w->txn);
}

static void finish_txn(struct world *w, const struct op *op)
{
	(void)op;
	mslot_txn_abort(w->txn);
}

static void begin(struct world *w)
{
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
}

/* How many edits are there before the one that is tested: at 2 and 8 their array grows. */
#define EDITS_BEFORE 2u

static void prepare_add(struct world *w, const struct op *op)
{
	(void)op;
	begin(w);
	for (uint32_t id = 0; id < EDITS_BEFORE; id++)
		CHECK_OK(mslot_txn_delete(w->txn, (struct mslot_key){0, id}));
}

static int run_add(struct world *w, const struct op *op)
{
	struct mslot_part part;
	struct mslot_edit edit =
	    world_edit(w, op->arg ? (enum mslot_edit_kind)op->arg : MSLOT_EDIT_SPLIT, 1, &part);
	int index = op->arg ? edit_by_verb(w->txn, &edit) : mslot_txn_add(w->txn, &edit);

	/* A failed call uses no index up. */
	CHECK(index < 0 || index == (int)EDITS_BEFORE, "edit %d", index);
	return index < 0 ? index : 0;
}

/* Over every growth of the array; begins again where it failed. */
static int run_add_many(struct world *w, const struct op *op)
{
	struct mslot_part part;
	struct mslot_edit edit = world_edit(w, MSLOT_EDIT_SPLIT, 0, &part);
	int index = 0;

	while (index >= 0 && index + 1 < (int)op->arg)
		index = mslot_txn_add(w->txn, &edit);
	return index < 0 ? index : 0;
}

/* ---- Commits ------------------------------------------------------------ */

static void prepare_one(struct world *w, const struct op *op)
{
	struct mslot_part part;
	struct mslot_edit edit = world_edit(w, (enum mslot_edit_kind)op->arg, 1, &part);

	begin(w);
	CHECK_OK(mslot_txn_add(w->txn, &edit));
}

/* As many blocks as there are get an edit of each kind in turn; then new slots. */
static void prepare_mixed(struct world *w, const struct op *op)
{
	struct mslot_part part;
	struct mslot_edit edit;

	begin(w);
	for (uint32_t i = 0; i < op->arg; i++) {
		enum mslot_edit_kind kind = (enum mslot_edit_kind)(1 + i % 9);

		if (i >= world_blocks(w))
			kind = MSLOT_EDIT_CREATE;
		edit = world_edit(w, kind, i, &part);
		CHECK_OK(mslot_txn_add(w->txn, &edit));
	}
}

/* Slots of every space at once: the deletes of the last ones leave empty indexes. */
static void prepare_every_space(struct world *w, const struct op *op)
{
	(void)op;
	begin(w);
	for (uint32_t space = 0; space < w->shape->nspaces; space++)
		for (uint32_t id = 0; id < 2; id++)
			CHECK_OK(mslot_txn_delete(w->txn, (struct mslot_key){space, id}));
}

/* All slots but each op->arg-th go: nodes merge and vanish at all levels. */
static void prepare_thin_out(struct world *w, const struct op *op)
{
	begin(w);
	for (uint32_t id = 0; id < w->shape->nslots; id++)
		if (id % op->arg)
			CHECK_OK(mslot_txn_delete(w->txn, (struct mslot_key){0, id}));
}

static void prepare_split_many(struct world *w, const struct op *op)
{
	struct mslot_part part[SPLIT_PARTS];

	(void)op;
	world_add_big(w);
	for (uint32_t i = 0; i < SPLIT_PARTS; i++)
		part[i] = (struct mslot_part){PART_ID + i, (BIG_GFN + 1 + i) * PAGE};
	begin(w);
	CHECK_OK(mslot_txn_split(w->txn, (struct mslot_key){0, BIG_ID}, part, SPLIT_PARTS));
	w->nevents = 0;
}

static void prepare_merge_many(struct world *w, const struct op *op)
{
	struct mslot_part part[ROW_SLOTS - 1];

	(void)op;
	world_add_row(w);
	for (uint32_t i = 0; i + 1 < ROW_SLOTS; i++)
		part[i] = (struct mslot_part){ROW_ID + ROW_SLOTS - 1 - i, 0};
	begin(w);
	CHECK_OK(mslot_txn_merge(w->txn, (struct mslot_key){0, ROW_ID}, part, ROW_SLOTS - 1));
	w->nevents = 0;
}

static int commit_with(struct world *w, const struct mslot_commit_options *opt)
{
	struct mslot_commit_result result = {.failed_edit = 77};
	const uint64_t before = mslot_snapshot_generation(w->snap);
	int err = mslot_txn_commit(w->txn, opt, &result);

	CHECK(result.failed_edit == MSLOT_NO_EDIT, "edit %u is blamed", result.failed_edit);
	CHECK(!err == (result.reason[0] == '\0'), "reason '%s' of %d", result.reason, err);
	CHECK(!err || result.generation == before, "generation %u",
	      (unsigned int)result.generation);
	return err;
}

/* Inside a section, which a commit may be. */
static int run_commit(struct world *w, const struct op *op)
{
	int err;

	(void)op;
	w->snap = mslot_enter(w->map);
	err = commit_with(w, NULL);
	mslot_leave(w->snap);
	return err;
}

static int run_dry(struct world *w, const struct op *op)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_DRY_RUN};
	int err;

	(void)op;
	w->snap = mslot_enter(w->map);
	opt.generation = mslot_snapshot_generation(w->snap);
	opt.flags |= MSLOT_COMMIT_IF_GENERATION;
	err = commit_with(w, &opt);
	mslot_leave(w->snap);
	return err;
}

/* With no time to wait: a gate that a failure left closed shows when it is run again. */
static int run_exclusive(struct world *w, const struct op *op)
{
	const struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_EXCLUSIVE};
	struct mslot_commit_result result = {.failed_edit = 77};
	int err = mslot_txn_commit(w->txn, &opt, &result);

	(void)op;
	CHECK(result.failed_edit == MSLOT_NO_EDIT, "edit %u is blamed", result.failed_edit);
	return err;
}

/* ---- vCPUs -------------------------------------------------------------- */

static int run_vcpu(struct world *w, const struct op *op)
{
	struct mslot_vcpu *vcpu;
	int err = mslot_vcpu_create(w->map, NULL, &vcpu);

	(void)op;
	if (!err)
		w->result = vcpu;
	return err;
}

static int run_vcpu_lent(struct world *w, const struct op *op)
{
	static _Alignas(4096) unsigned char memory[PAGE];
	const struct mslot_vcpu_options opt = {.ring_memory = memory};
	struct mslot_vcpu *vcpu;
	int err = mslot_vcpu_create(w->map, &opt, &vcpu);

	(void)op;
	if (!err)
		w->result = vcpu;
	return err;
}

static void finish_vcpu(struct world *w, const struct op *op)
{
	(void)op;
	CHECK_OK(mslot_vcpu_destroy(w->result));
}

/* ---- KVM ---------------------------------------------------------------- */

static struct kvm_userspace_memory_region kvm_region_of(uint32_t i)
{
	return (struct kvm_userspace_memory_region){
	    .slot = KVM_ID + i,
	    .guest_phys_addr = KVM_GPA + i * 4 * PAGE,
	    .memory_size = PAGE,
	    .userspace_addr = KVM_HVA + i * PAGE,
	};
}

static void prepare_kvm(struct world *w, const struct op *op)
{
	(void)op;
	for (uint32_t i = 0; i < KVM_SLOTS; i++) {
		struct kvm_userspace_memory_region region = kvm_region_of(i);

		CHECK_OK(mslot_kvm_set_user_memory_region(w->map, &region));
		w->nevents = 0;
	}
}

enum { KVM_CREATE = 1, KVM_DELETE, KVM_MOVE, KVM_LOG, KVM_OVERLAP, KVM_SPACE };

static struct kvm_userspace_memory_region kvm_request(unsigned int what)
{
	struct kvm_userspace_memory_region region =
	    kvm_region_of(what == KVM_CREATE || what >= KVM_OVERLAP ? 100 : 1);

	if (what == KVM_DELETE)
		region.memory_size = 0;
	else if (what == KVM_MOVE)
		region.guest_phys_addr += PAGE;
	else if (what == KVM_LOG)
		region.flags = MSLOT_LOG_DIRTY;
	else if (what == KVM_OVERLAP)
		region.guest_phys_addr = KVM_GPA;
	else if (what == KVM_SPACE)
		region.slot |= MSLOT_MAX_SPACES << 16;
	return region;
}

static int run_kvm(struct world *w, const struct op *op)
{
	struct kvm_userspace_memory_region region = kvm_request(op->arg);

	return mslot_kvm_set_user_memory_region(w->map, &region);
}

static int run_kvm2(struct world *w, const struct op *op)
{
	struct kvm_userspace_memory_region region = kvm_request(op->arg);
	struct mslot_kvm_userspace_memory_region2 region2 = {
	    .slot = region.slot,
	    .flags = region.flags,
	    .guest_phys_addr = region.guest_phys_addr,
	    .memory_size = region.memory_size,
	    .userspace_addr = region.userspace_addr,
	};

	return mslot_kvm_set_user_memory_region2(w->map, &region2);
}

/* Each kind of change, and then as many new slots as make the transaction grow. */
static int run_kvm_list(struct world *w, const struct op *op)
{
	static _Alignas(8) char bytes[sizeof(struct mslot_kvm_region_list) +
				      EDITS * sizeof(struct mslot_kvm_region_entry)];
	struct mslot_kvm_region_list *list = (struct mslot_kvm_region_list *)(void *)bytes;
	__u32 failed = 77;
	int err;

	for (uint32_t i = 0; i < op->arg; i++) {
		struct kvm_userspace_memory_region region =
		    i < 3 ? kvm_request(KVM_DELETE + i) : kvm_region_of(100 + i);

		list->entries[i] = (struct mslot_kvm_region_entry){
		    .slot = i < 3 ? KVM_ID + i : region.slot,
		    .flags = region.flags,
		    .guest_phys_addr = region.guest_phys_addr,
		    .memory_size = region.memory_size,
		    .userspace_addr = i < 3 ? KVM_HVA + i * PAGE : region.userspace_addr,
		    .invalidate_slot = i < 2,
		};
		if (i < 3)
			list->entries[i].guest_phys_addr =
			    KVM_GPA + i * 4 * PAGE + (i == 1 ? PAGE : 0);
	}
	list->nent = op->arg;
	err = mslot_kvm_set_user_memory_region_list(w->map, list, sizeof(bytes), &failed);
	CHECK(failed == (err ? MSLOT_NO_EDIT : 77), "entry %u is blamed", failed);
	return err;
}

/* ---- Differences and listeners ------------------------------------------ */

static void prepare_diff(struct world *w, const struct op *op)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);

	CHECK_OK(mslot_hold(snap, "before", &w->hold[2]));
	mslot_leave(snap);
	prepare_mixed(w, op);
	CHECK_OK(mslot_txn_commit(w->txn, NULL, NULL));
	w->nevents = 0;
	w->snap = mslot_enter(w->map);
}

static int run_diff(struct world *w, const struct op *op)
{
	struct mslot_diff *diff;
	int err = mslot_diff_create(mslot_hold_snapshot(w->hold[2]), w->snap, &diff);

	(void)op;
	if (!err)
		w->result = diff;
	return err;
}

static void finish_diff(struct world *w, const struct op *op)
{
	CHECK(((struct mslot_diff *)w->result)->nsegs >= op->arg / 2, "segments are missing");
	mslot_leave(w->snap);
	mslot_diff_destroy(w->result);
	/* The holds of the world go with it. */
}

struct newcomer {
	struct mslot_listener *listener;
	unsigned int prepared, committed;
};

static int newcomer_prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	((struct newcomer *)ctx)->prepared++;
	return 0;
}

static void newcomer_commit(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	((struct newcomer *)ctx)->committed++;
}

static int run_listen(struct world *w, const struct op *op)
{
	static const struct mslot_listener_ops callbacks = {.prepare = newcomer_prepare,
							    .commit = newcomer_commit};
	static struct newcomer newcomer;
	int err;

	newcomer = (struct newcomer){0};
	err = mslot_listener_add(w->map, &callbacks, &newcomer, op->arg, &newcomer.listener);
	CHECK(newcomer.prepared == newcomer.committed, "prepared and told of nothing");
	CHECK(newcomer.prepared == (!err && op->arg ? 1 : 0), "%d and %u", err, newcomer.prepared);
	if (!err)
		w->result = newcomer.listener;
	return err;
}

static void finish_listen(struct world *w, const struct op *op)
{
	(void)op;
	CHECK_OK(mslot_listener_remove(w->result));
}

/* ---- The table ---------------------------------------------------------- */

#define ADD(verb, edit_kind)                                                                       \
	{                                                                                          \
		.name = #verb, .functions = #verb, .prepare = prepare_add, .run = run_add,         \
		.finish = finish_txn, .arg = (edit_kind), .small = true,                           \
	}
#define COMMIT(what, fill, n)                                                                      \
	{                                                                                          \
		.name = "commit: " what, .functions = "mslot_txn_commit", .prepare = (fill),       \
		.run = run_commit, .arg = (n), .commits = true,                                    \
	}
#define KVM(what, function, call, n)                                                               \
	{                                                                                          \
		.name = "kvm: " what, .functions = #function, .prepare = prepare_kvm,              \
		.run = (call), .arg = (n), .commits = true,                                        \
	}

#define GUEST(name, function, access)                                                              \
	{                                                                                          \
		"guest: " name, #function, prepare_guest, run_guest, finish_guest, access, false,  \
		    true, 0                                                                        \
	}

const struct op ops[] = {
    {"map_create", "mslot_map_create", NULL, run_map_create, finish_map_create, 0, false, true, 0},
    {"region_create", "mslot_region_create", NULL, run_region_create, finish_region_create, 0,
     false, true, 0},
    {"region_create with release", "mslot_region_create", NULL, run_region_released,
     finish_region_create, 0, false, true, 0},
    {"hold", "mslot_hold", enter, run_hold, finish_hold, 0, false, true, 0},
    {"lease_take", "mslot_lease_take", prepare_lease, run_lease, finish_lease, 1, false, true, 0},
    {"lease_take of several slots", "mslot_lease_take", prepare_lease, run_lease, finish_lease,
     ROW_SLOTS, false, true, 0},
    {"txn_begin", "mslot_txn_begin", NULL, run_begin, finish_txn, 0, false, true, 0},
    ADD(mslot_txn_add, 0),
    ADD(mslot_txn_create, MSLOT_EDIT_CREATE),
    ADD(mslot_txn_delete, MSLOT_EDIT_DELETE),
    ADD(mslot_txn_redefine, MSLOT_EDIT_REDEFINE),
    ADD(mslot_txn_move, MSLOT_EDIT_MOVE),
    ADD(mslot_txn_set_flags, MSLOT_EDIT_SET_FLAGS),
    ADD(mslot_txn_resize, MSLOT_EDIT_RESIZE),
    ADD(mslot_txn_replace, MSLOT_EDIT_REPLACE),
    ADD(mslot_txn_split, MSLOT_EDIT_SPLIT),
    ADD(mslot_txn_merge, MSLOT_EDIT_MERGE),
    {"txn_add, 40 edits", "mslot_txn_add", prepare_add, run_add_many, finish_txn, 40, false, true,
     0},
    COMMIT("create", prepare_one, MSLOT_EDIT_CREATE),
    COMMIT("delete", prepare_one, MSLOT_EDIT_DELETE),
    COMMIT("redefine", prepare_one, MSLOT_EDIT_REDEFINE),
    COMMIT("move", prepare_one, MSLOT_EDIT_MOVE),
    COMMIT("set_flags", prepare_one, MSLOT_EDIT_SET_FLAGS),
    COMMIT("resize", prepare_one, MSLOT_EDIT_RESIZE),
    COMMIT("replace", prepare_one, MSLOT_EDIT_REPLACE),
    COMMIT("split", prepare_one, MSLOT_EDIT_SPLIT),
    COMMIT("merge", prepare_one, MSLOT_EDIT_MERGE),
    COMMIT("64 mixed edits", prepare_mixed, EDITS),
    COMMIT("edits of every space", prepare_every_space, 0),
    COMMIT("one slot in 16 stays", prepare_thin_out, 16),
    COMMIT("split into many parts", prepare_split_many, 0),
    COMMIT("merge of many slots", prepare_merge_many, 0),
    {"commit: dry run", "mslot_txn_commit", prepare_mixed, run_dry, finish_txn, EDITS, false, false,
     0},
    {"commit: exclusive", "mslot_txn_commit", prepare_mixed, run_exclusive, NULL, EDITS, true,
     false, 0},
    {"vcpu_create", "mslot_vcpu_create", NULL, run_vcpu, finish_vcpu, 0, false, true, 0},
    KVM("create", mslot_kvm_set_user_memory_region, run_kvm, KVM_CREATE),
    KVM("delete", mslot_kvm_set_user_memory_region, run_kvm, KVM_DELETE),
    KVM("move", mslot_kvm_set_user_memory_region, run_kvm, KVM_MOVE),
    KVM("log on", mslot_kvm_set_user_memory_region, run_kvm, KVM_LOG),
    {"kvm: overlap", "mslot_kvm_set_user_memory_region", prepare_kvm, run_kvm, NULL, KVM_OVERLAP,
     false, false, -EEXIST},
    /* Refused before memory is asked for. */
    {"kvm: no such space", "mslot_kvm_set_user_memory_region", prepare_kvm, run_kvm, NULL,
     KVM_SPACE, false, false, -EINVAL},
    KVM("create, version 2", mslot_kvm_set_user_memory_region2, run_kvm2, KVM_CREATE),
    KVM("delete, version 2", mslot_kvm_set_user_memory_region2, run_kvm2, KVM_DELETE),
    KVM("list of each kind", mslot_kvm_set_user_memory_region_list, run_kvm_list, KVM_SLOTS),
    KVM("list of 64", mslot_kvm_set_user_memory_region_list, run_kvm_list, EDITS),
    {"diff_create", "mslot_diff_create", prepare_diff, run_diff, finish_diff, EDITS, false, false,
     0},
    {"listener_add", "mslot_listener_add", NULL, run_listen, finish_listen, 0, false, true, 0},
    {"listener_add with replay", "mslot_listener_add", NULL, run_listen, finish_listen,
     MSLOT_LISTENER_REPLAY, false, false, 0},
    {"dirty_create", "mslot_dirty_create", prepare_consumers, run_dirty_create, finish_consumers, 0,
     true, false, 0},
    {"dirty_create beside another", "mslot_dirty_create", prepare_consumers, run_dirty_create,
     finish_consumers, 1, false, false, 0},
    {"dirty_create over many slots", "mslot_dirty_create", prepare_consumers, run_dirty_create_wide,
     finish_dirty_wide, 0, true, true, 0},
    /* The others log a part of it. */
    {"dirty_create over many more", "mslot_dirty_create", prepare_consumers, run_dirty_create_wide,
     finish_dirty_wide, 2, true, true, 0},
    {"dirty_destroy over many slots", "mslot_dirty_destroy", prepare_dirty_wide, run_dirty_destroy,
     finish_consumers, 0, true, true, 0},
    {"dirty_destroy", "mslot_dirty_destroy", prepare_dirty_destroy, run_dirty_destroy,
     finish_consumers, 1, true, false, 0},
    {"dirty_get", "mslot_dirty_get", prepare_dirty_get, run_dirty_get, finish_dirty_get, 1, false,
     true, 0},
    {"kvm: get the log", "mslot_kvm_get_dirty_log", prepare_kvm_log, run_kvm_get, finish_kvm_log, 0,
     false, true, 0},
    {"kvm: clear the log", "mslot_kvm_clear_dirty_log", prepare_kvm_log, run_kvm_clear,
     finish_kvm_log, 1, false, true, 0},
    {"ring_enable", "mslot_ring_enable", prepare_rings, run_ring_enable, finish_rings, 0, false,
     true, 0},
    {"kvm: rings", "mslot_kvm_enable_cap", prepare_rings, run_kvm_rings, finish_rings, 0, false,
     true, 0},
    {"vcpu_create with a ring", "mslot_vcpu_create", prepare_ring_vcpu, run_vcpu, finish_vcpu, 0,
     false, true, 0},
    {"vcpu_create with a ring of ours", "mslot_vcpu_create", prepare_ring_vcpu, run_vcpu_lent,
     finish_vcpu, 0, false, true, 0},
    {"commit: final harvest", "mslot_txn_commit", prepare_final, run_final, finish_final, 0, true,
     false, 0},
    {"commit: final harvest of many", "mslot_txn_commit", prepare_final_many, run_final,
     finish_final_many, 32, true, true, 0},
    {"commit: many logs begin", "mslot_txn_commit", prepare_log_many, run_commit, finish_log_many,
     32, true, true, 0},
    {"commit: merge of logged slots", "mslot_txn_commit", prepare_merge_logged, run_commit,
     finish_merge_logged, 0, true, true, 0},
    GUEST("load", mslot_vcpu_load, GUEST_LOAD),
    GUEST("store", mslot_vcpu_store, GUEST_STORE),
    GUEST("load64", mslot_vcpu_load, GUEST_LOAD64),
    GUEST("store64", mslot_vcpu_store, GUEST_STORE64),
    GUEST("read", mslot_vcpu_read, GUEST_READ),
    GUEST("write", mslot_vcpu_write, GUEST_WRITE),
    GUEST("cmpxchg", mslot_vcpu_cmpxchg, GUEST_CMPXCHG),
    GUEST("rmw", mslot_vcpu_rmw, GUEST_RMW),
    {"mmu_create", "mslot_mmu_create", NULL, run_mmu_create, finish_mmu_create, 0, false, true, 0},
    {"mmu_create, bitmaps", "mslot_mmu_create", NULL, run_mmu_create, finish_mmu_create,
     MMU_BITMAPS, false, true, 0},
    {"root_create", "mslot_root_create", prepare_mmu, run_root_create, finish_root_create, 0, false,
     true, 0},
    {"fault", "mslot_fault", prepare_fault, run_fault, finish_fault, 0, false, true, 0},
    {"fault, a second leaf", "mslot_fault", prepare_fault, run_fault, finish_fault, MMU_SECOND,
     false, true, 0},
    {"fault, bitmaps", "mslot_fault", prepare_fault, run_fault, finish_fault,
     MMU_BITMAPS | MMU_SECOND, false, true, 0},
    {"prefault", "mslot_prefault", prepare_fault, run_prefault, finish_fault, 0, false, true, 0},
    {"prefault, bitmaps", "mslot_prefault", prepare_fault, run_prefault, finish_fault, MMU_BITMAPS,
     false, true, 0},
    {"commit: an MMU listens", "mslot_txn_commit", prepare_mmu_commit, run_mmu_commit,
     finish_mmu_commit, 0, true, true, 0},
    {"commit: an MMU with lists listens", "mslot_txn_commit", prepare_mmu_commit, run_mmu_commit,
     finish_mmu_commit, MMU_SECOND, true, true, 0},
    {"commit: an MMU with bitmaps listens", "mslot_txn_commit", prepare_mmu_commit, run_mmu_commit,
     finish_mmu_commit, MMU_BITMAPS, true, true, 0},
};

const size_t nops = sizeof(ops) / sizeof(*ops);
