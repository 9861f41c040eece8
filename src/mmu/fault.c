/* SPDX-License-Identifier: MIT */
/*
 * fault.c - making a root translate an address, as the newest snapshot says.
 *
 * Steps, begun anew (TRY_AGAIN) whenever something turns out to have changed:
 *   1 resolve: sequence of invalidations, current snapshot, slot, largest leaf allowed
 *   2 walk: down to the entry, making tables on the way; a leaf that is there already is used
 *   3 under the guard: look at the current snapshot again; at the invalidations; make the entry
 *     BUSY; frame, reverse map or bitmap; then the leaf
 *   4 for a write to a logged page: mark it; then the permission, in the vCPU's cache only
 * Memory is allocated in 1 and 2, and between two tries of 3, never with a guard held.
 *
 * All four accesses of mmu.h's M3 are sequentially consistent: the publish, the zapper's look at
 * the directory and the head, our lock of the head, and our look at the snapshot under it.
 */
#include <errno.h>
#include <sched.h>

#include "access/locate.h"
#include "access/tlb.h"
#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "mmu/fault.h"
#include "mmu/rmap.h"

#define TRY_AGAIN 1

struct fault {
	/* What is asked. */
	struct mslot_mmu *mmu;
	struct mslot_vcpu *vcpu;
	struct mslot_root *root;
	uint64_t page; /* in the root */
	uint64_t gfn;
	unsigned int guest_level;
	uint64_t stamp;
	bool write, guest_readonly, shadow;

	/* 1: what the snapshot says. */
	const struct mslot_snapshot *snap;
	const struct mslot_slot *slot;
	uint64_t seq;
	unsigned int level;
	unsigned int most; /* level at most; lowered by an invalidation nearby */
	bool unasked;      /* writes need nobody's knowledge */

	/* 2: where. */
	struct mmu_table *table;
	unsigned int i;
	uint64_t entry;
	uint64_t index; /* with slot bitmaps: of the slot */
	bool alone;     /* of a page, for the vCPU's cache: not what the root has */

	struct rmap_list *spare;
	bool made; /* a table */
};

/* ---- 1: resolve ------------------------------------------------------------- */

/* Host address of a frame of a slot. */
static uint64_t frame_hva(const struct mslot_slot *slot, uint64_t gfn)
{
	return slot->hva + ((gfn - slot->base_gfn) << slot->page_shift);
}

/* Does the slot have all frames [gfn, gfn + npages)? */
static bool slot_covers(const struct mslot_slot *slot, uint64_t gfn, uint64_t npages)
{
	return gfn >= slot->base_gfn && npages <= slot->npages &&
	       gfn - slot->base_gfn <= slot->npages - npages;
}

/* First frame of the leaf of a level that would have the page. */
static uint64_t leaf_gfn(const struct fault *f, unsigned int level)
{
	return f->gfn - (f->page & (level_pages(level) - 1));
}

static unsigned int largest_level(const struct fault *f)
{
	unsigned int level = f->mmu->max_level, shift = f->mmu->page_shift;
	uint64_t n, gfn;

	if (f->slot->log)
		return 1;
	level = level < f->most ? level : f->most;
	if (f->shadow && f->guest_level < level)
		level = f->guest_level;
	for (; level > 1; level--) {
		n = level_pages(level);
		gfn = leaf_gfn(f, level);
		if (gfn % n == 0 && slot_covers(f->slot, gfn, n) &&
		    (frame_hva(f->slot, gfn) >> shift) % n == 0)
			break;
	}
	return level;
}

static int resolve(struct fault *f)
{
	struct mslot_mmu *mmu = f->mmu;

	/* Acquire: what was done to the host memory. Pairs with mslot_invalidate_end(). */
	f->seq = atomic_load_explicit(&mmu->inv.seq, memory_order_acquire);
	f->snap = rcu_load(&mmu->map->snapshot);
	f->slot =
	    mslot_find_hint(f->snap, f->root->opt.space, f->gfn << mmu->page_shift, &f->vcpu->hint);
	if (!f->slot) {
		count_add(&mmu->counters, COUNT_MMIO, 1);
		return -ENOENT;
	}
	if (f->write && (f->guest_readonly || f->slot->flags & MSLOT_READONLY))
		return -EACCES;
	f->unasked = !f->guest_readonly && !(f->slot->flags & MSLOT_READONLY) && !f->slot->log;
	f->level = largest_level(f);
	PERTURB(FAULT_RESOLVED);
	return 0;
}

/* Under the guard of a leaf of a level: does the current snapshot say the same of all its pages? */
static bool still_true(const struct fault *f, unsigned int level)
{
	/* seq_cst: pairs with rcu_publish() in commit_publish(). */
	const struct mslot_snapshot *now =
	    atomic_load_explicit(&f->mmu->map->snapshot, memory_order_seq_cst);
	uint64_t gfn = leaf_gfn(f, level);
	const struct mslot_slot *slot;

	if (now == f->snap)
		return true;
	slot = mslot_find(now, f->root->opt.space, f->gfn << f->mmu->page_shift);
	if (!slot || slot->region != f->slot->region ||
	    frame_hva(slot, f->gfn) != frame_hva(f->slot, f->gfn))
		return false;
	if ((slot->flags ^ f->slot->flags) & MSLOT_READONLY || !slot->log != !f->slot->log)
		return false;
	if (f->mmu->bitmaps && slot_name_of(slot) != slot_name_of(f->slot))
		return false;
	return slot_covers(slot, gfn, level_pages(level));
}

/* Under the guard: is host memory of the leaf being invalidated? Returns 0, TRY_AGAIN or -EAGAIN.
 */
static int check_invalidation(struct fault *f, unsigned int level)
{
	struct mmu_invalidation *inv = &f->mmu->inv;
	uint64_t start, last, first;

	/* seq_cst: count, then range, then sequence. Pairs with mslot_invalidate_begin(). */
	if (atomic_load_explicit(&inv->count, memory_order_seq_cst) > 0) {
		first = frame_hva(f->slot, leaf_gfn(f, level));
		start = atomic_load_explicit(&inv->start, memory_order_seq_cst);
		last = atomic_load_explicit(&inv->last, memory_order_seq_cst);
		if (first <= last &&
		    first + ((level_pages(level) << f->mmu->page_shift) - 1) >= start) {
			if (level > 1) {
				f->most = level - 1;
				return TRY_AGAIN;
			}
			count_add(&f->mmu->counters, COUNT_INVALIDATED, 1);
			return -EAGAIN;
		}
	}
	/* Acquire: pairs with mslot_invalidate_end(). */
	return atomic_load_explicit(&inv->seq, memory_order_acquire) != f->seq ? TRY_AGAIN : 0;
}

/* ---- 2: walk ---------------------------------------------------------------- */

/* Put an empty table where nothing is. Returns 0, TRY_AGAIN or -ENOMEM. */
static int make_below(struct fault *f, struct mmu_table *table, unsigned int i)
{
	unsigned int level = table->level - 1u;
	uint64_t npages = level_pages(level) * TABLE_ENTRIES;
	struct mmu_table *below =
	    table_create(f->mmu, table->space, table->shadow, level, f->page & ~(npages - 1));

	if (!below)
		return -ENOMEM;
	f->made = true;
	if (table_link(table, i, 0, below))
		return 0;
	table_free(below);
	return TRY_AGAIN;
}

/*
 * The entry for the leaf to be, or a leaf above it. A leaf takes the place of a table, but not of
 * one with tables below: that would not end. Returns 0 or -ENOMEM.
 */
static int walk_down(struct fault *f)
{
	struct mmu_table *table = root_make_top(f->root), *below;

	if (!table)
		return -ENOMEM;
	for (;;) {
		f->table = table;
		f->i = table_index(table->level, f->page);
		f->entry = table_entry(table, f->i);
		below = entry_table(f->entry);
		if (entry_is_leaf(f->entry) ||
		    (table->level <= f->level && (!below || !table_has_tables(below))))
			return 0;
		if (below)
			table = below;
		else if (make_below(f, table, f->i) == -ENOMEM)
			return -ENOMEM;
	}
}

/* ---- 3: install ------------------------------------------------------------- */

/* The guard of the leaf to be, with room for it. Returns 0 or -ENOMEM, not locked. */
static int prepare_guard(struct fault *f, _Atomic uint64_t **head)
{
	struct mslot_mmu *mmu = f->mmu;

	*head = NULL;
	if (!mmu->bitmaps) {
		*head = frames_make(&mmu->frames[f->root->opt.space], leaf_gfn(f, f->table->level),
				    f->table->level);
		return *head ? 0 : -ENOMEM;
	}
	f->index = slots_index(mmu, slot_name_of(f->slot));
	/* Not there: the slot is gone, which the recheck will find. */
	return f->index == SLOT_ANY || slotbits_reserve(f->table, f->index) ? 0 : -ENOMEM;
}

/* A large leaf keeps the protection of the small ones whose place it takes. */
static uint64_t leaf_bits(const struct fault *f)
{
	const struct mmu_table *below = entry_table(f->entry);
	uint64_t bits = ENTRY_LEAF | ENTRY_ACCESSED, entry;
	unsigned int i;

	if (f->unasked)
		bits |= ENTRY_WRITABLE;
	for (i = 0; below && i < TABLE_ENTRIES; i++) {
		/* seq_cst: pairs with the visit of mslot_write_protect(), small leaves first. */
		entry = atomic_load_explicit(&below->entry[i], memory_order_seq_cst);
		if (entry_is_leaf(entry))
			bits |= entry & (ENTRY_PROTECTED | ENTRY_DIRTY);
	}
	if (bits & ENTRY_PROTECTED)
		bits &= ~ENTRY_WRITABLE;
	return f->write ? bits | ENTRY_DIRTY : bits;
}

/*
 * With slot bitmaps, under the guard: say that the table maps the slot, then recheck; then that the
 * slot has its index still, since an index is given before the publish; and last that it is still
 * said: a commit that took the name away has forgotten it, and one later may have given name and
 * index again.
 */
static bool claim_slot(const struct fault *f)
{
	if (f->index == SLOT_ANY)
		return false;
	slotbits_set(f->table, f->index);
	PERTURB(SLOT_CLAIMED);
	return still_true(f, f->table->level) &&
	       slots_index(f->mmu, slot_name_of(f->slot)) == f->index &&
	       slotbits_test_all(f->table, f->index);
}

/* Has the guest changed its tables since they were walked, and told us? */
static bool stamp_is_old(const struct fault *f)
{
	/* seq_cst: pairs with mslot_zap_page(). */
	return f->stamp && f->stamp != atomic_load_explicit(&f->root->stamp, memory_order_seq_cst);
}

/* Guard held. Returns 0, TRY_AGAIN or -EAGAIN. */
static int install_guarded(struct fault *f, struct guard *guard)
{
	struct mmu_table *table = f->table;
	uint64_t gfn = leaf_gfn(f, table->level), leaf;
	int err;

	if (guard->value & HEAD_DEAD ||
	    !(f->mmu->bitmaps ? claim_slot(f) : still_true(f, table->level)))
		return TRY_AGAIN;
	err = check_invalidation(f, table->level);
	if (err)
		return err;
	if (guard->head && rmap_needs_list(guard->value) && !f->spare)
		return TRY_AGAIN;
	leaf = frame_hva(f->slot, gfn) | leaf_bits(f);
	/* seq_cst: the entry before the look at the stamp. Pairs with mslot_zap_page(). */
	if (!atomic_compare_exchange_strong_explicit(&table->entry[f->i], &f->entry, ENTRY_BUSY,
						     memory_order_seq_cst, memory_order_relaxed))
		return TRY_AGAIN;
	if (stamp_is_old(f)) {
		/* Release: whose table it was. */
		atomic_store_explicit(&table->entry[f->i], f->entry, memory_order_release);
		return -EAGAIN;
	}
	if (f->shadow)
		atomic_store_explicit(&table->gfn[f->i], gfn, memory_order_relaxed);
	if (guard->head)
		guard->value = rmap_add(f->mmu, guard->value, rmap_leaf(table, f->i), &f->spare);
	PERTURB(LEAF_BUSY);
	/* Release: frame and host page before the leaf. Pairs with whoever loads entries. */
	atomic_store_explicit(&table->entry[f->i], leaf, memory_order_release);
	f->entry = leaf;
	return 0;
}

static int install(struct fault *f)
{
	struct mmu_table *below = entry_table(f->entry);
	_Atomic uint64_t *head;
	struct guard guard;
	bool needs_list;
	int err = prepare_guard(f, &head);

	if (err)
		return err;
	PERTURB(FAULT_WALKED);
	guard_lock(&guard, head, f->table);
	PERTURB(FAULT_LOCKED);
	err = install_guarded(f, &guard);
	needs_list = head && !(guard.value & HEAD_DEAD) && rmap_needs_list(guard.value);
	guard_unlock(&guard);
	if (err == TRY_AGAIN && needs_list && !f->spare) {
		f->spare = rmap_list_create(f->mmu, guard.value);
		return f->spare ? TRY_AGAIN : -ENOMEM;
	}
	if (err)
		return err;
	count_add(&f->mmu->counters, COUNT_INSTALLED, 1);
	if (below) {
		count_add(&f->mmu->counters, COUNT_COLLAPSES, 1);
		table_retire(below);
	}
	return 0;
}

/* ---- A leaf that is there --------------------------------------------------- */

/* Does the leaf show what the slot says, and no more than the guest's own leaf? */
static bool leaf_agrees(const struct fault *f, uint64_t entry)
{
	unsigned int level = f->table->level;

	if (f->shadow && level > f->guest_level)
		return false;
	/* Modulo 2^64: a leaf may begin before the slot does, after a split. */
	return entry_hva(entry) ==
	       frame_hva(f->slot, f->gfn) - (f->page % level_pages(level) << f->mmu->page_shift);
}

/* May a write make the whole leaf writable? Otherwise it is allowed for its page alone. */
static bool may_upgrade(const struct fault *f, uint64_t entry)
{
	unsigned int level = f->table->level;

	return f->unasked && !(level > 1 && entry & ENTRY_PROTECTED) &&
	       slot_covers(f->slot, leaf_gfn(f, level), level_pages(level)) && still_true(f, level);
}

/* Guard held: note the access in the leaf. Returns 0, TRY_AGAIN or -EAGAIN. */
static int use_guarded(struct fault *f)
{
	_Atomic uint64_t *at = &f->table->entry[f->i];
	uint64_t entry = atomic_load_explicit(at, memory_order_acquire), next;

	if (!entry_is_leaf(entry) || !leaf_agrees(f, entry) ||
	    (f->shadow && table_gfn(f->table, f->i) != leaf_gfn(f, f->table->level)))
		return TRY_AGAIN;
	if (stamp_is_old(f))
		return -EAGAIN;
	do {
		next = entry | ENTRY_ACCESSED;
		if (f->guest_readonly)
			next &= ~ENTRY_WRITABLE;
		if (f->write)
			next |= ENTRY_DIRTY;
		if (f->write && !(next & ENTRY_WRITABLE) && may_upgrade(f, entry))
			next = (next | ENTRY_WRITABLE) & ~ENTRY_PROTECTED;
		/* Nobody else takes it out, or changes more than what it notes. */
	} while (!atomic_compare_exchange_weak_explicit(at, &entry, next, memory_order_relaxed,
							memory_order_relaxed));
	f->entry = next;
	return 0;
}

/* Of a direct root a leaf that needs no change of permission can be used as it is. */
static bool use_as_is(struct fault *f)
{
	uint64_t bits = ENTRY_ACCESSED | (f->write ? ENTRY_DIRTY : 0);

	if (f->shadow || (f->write && !(f->entry & ENTRY_WRITABLE) && f->unasked))
		return false;
	if (!leaf_note(&f->table->entry[f->i], f->entry, bits))
		return false;
	f->entry |= bits;
	return true;
}

/* Is the leaf, or was it, of the frames that a leaf for the fault would have? */
static bool leaf_is_ours(const struct fault *f)
{
	unsigned int level = f->table->level;

	return !f->shadow ||
	       (level <= f->guest_level && table_gfn(f->table, f->i) == leaf_gfn(f, level));
}

/*
 * A large leaf of which a commit that is under way will take a part, but has not yet. It is not
 * ours to take, since the other pages shall not fault (T2), and a fault does not wait for commits:
 * the vCPU's cache gets this page alone. The flush of any later commit finds it there.
 * Returns 0, TRY_AGAIN or -EAGAIN.
 */
static int use_alone(struct fault *f)
{
	/* No guard: what begins after this look waits for our section. */
	int err = check_invalidation(f, 1);

	if (err)
		return err;
	f->entry = frame_hva(f->slot, f->gfn) | ENTRY_LEAF;
	f->alone = true;
	return 0;
}

/* The leaf is of another frame, or about to be zapped, or newer than what we resolved. */
static int use_other(struct fault *f)
{
	if (rcu_load(&f->mmu->map->snapshot) != f->snap)
		return TRY_AGAIN;
	if (f->table->level > 1 && leaf_is_ours(f))
		return use_alone(f);
	/* Somebody else does. */
	if (!leaf_take(f->table, f->i))
		sched_yield();
	return TRY_AGAIN;
}

static int use_leaf(struct fault *f)
{
	struct mslot_mmu *mmu = f->mmu;
	_Atomic uint64_t *head = NULL;
	struct guard guard;
	int err = TRY_AGAIN;

	if (!leaf_agrees(f, f->entry))
		return use_other(f);
	if (use_as_is(f))
		return 0;
	if (!mmu->bitmaps)
		head = frames_find(&mmu->frames[f->root->opt.space], leaf_gfn(f, f->table->level),
				   f->table->level);
	if (mmu->bitmaps || head) {
		guard_lock(&guard, head, f->table);
		err = guard.value & HEAD_DEAD ? TRY_AGAIN : use_guarded(f);
		guard_unlock(&guard);
	}
	/* The same host page by way of another frame: the guest's tables have changed. */
	if (err == TRY_AGAIN && !leaf_is_ours(f) && !leaf_take(f->table, f->i))
		sched_yield();
	return err;
}

/* ---- The whole -------------------------------------------------------------- */

static int fault_once(struct fault *f)
{
	int err = walk_down(f);

	if (err)
		return err;
	return entry_is_leaf(f->entry) ? use_leaf(f) : install(f);
}

/* Until there is a leaf. `marks`: this is a write that somebody logs. Returns 0 or what is wrong.
 */
static int fault_resolved(struct fault *f, bool marks)
{
	struct mslot_addr at = {.space = f->root->opt.space, .gpa = f->gfn << f->mmu->page_shift};
	int err;

	for (;;) {
		err = resolve(f);
		/* Before the stores, as ring.c wants it. */
		if (!err && f->write && marks && f->slot->log)
			err = access_will_write(f->snap, at, 1);
		if (!err)
			err = fault_once(f);
		if (err != TRY_AGAIN)
			break;
		count_add(&f->mmu->counters, COUNT_RETRIES, 1);
		PERTURB(FAULT_AGAIN);
	}
	if (!err) {
		count_add(&f->mmu->counters, COUNT_FAULTS, 1);
		if (f->write && marks)
			access_wrote(f->snap, f->slot, at.gpa, 1);
	}
	return err;
}

static unsigned int found_level(const struct fault *f)
{
	return f->alone ? 1 : f->table->level;
}

/* What the caller may do with the leaf, and its vCPU's cache. */
static void tell(const struct fault *f, uint64_t addr, struct mslot_translation *out)
{
	uint64_t page = page_bytes(f->mmu->page_shift);
	uint64_t bytes = level_pages(found_level(f)) << f->mmu->page_shift;
	uint64_t offset = addr & (bytes - 1);
	bool whole = f->entry & ENTRY_WRITABLE && f->entry & ENTRY_DIRTY && !f->guest_readonly;

	if (f->vcpu->root == f->root)
		tlb_fill(&f->vcpu->head, addr, entry_hva(f->entry) + offset, f->write || whole);
	if (!out)
		return;
	*out = (struct mslot_translation){
	    .hva = entry_hva(f->entry) + offset,
	    .len_bytes = f->write && !whole ? page - (addr & (page - 1)) : bytes - offset,
	    .level = found_level(f),
	    .writable = f->write || whole,
	};
}

static int fault_init(struct fault *f, struct mslot_vcpu *vcpu, struct mslot_root *root,
		      const struct mslot_fault *fault)
{
	struct mslot_mmu *mmu = root->mmu;

	if (vcpu_running() != vcpu || vcpu->map != mmu->map)
		return -EINVAL;
	*f = (struct fault){
	    .mmu = mmu,
	    .vcpu = vcpu,
	    .root = root,
	    .shadow = root->opt.kind == MSLOT_ROOT_SHADOW,
	    .write = fault->access == MSLOT_WRITE,
	    .most = LEAF_LEVELS,
	};
	if (root_page(root, fault->addr, &f->page))
		return -EINVAL;
	f->gfn = f->page;
	if (!f->shadow)
		return 0;
	if (fault->walk.level < 1 || fault->walk.level > LEAF_LEVELS)
		return -EINVAL;
	f->stamp = fault->stamp;
	f->gfn = fault->walk.gpa >> mmu->page_shift;
	f->guest_level = fault->walk.level;
	f->guest_readonly = fault->walk.guest_readonly != 0;
	return 0;
}

int fault_page(struct mslot_vcpu *vcpu, struct mslot_root *root, const struct mslot_fault *fault,
	       bool marks, struct mslot_translation *out)
{
	struct fault f;
	int err = fault_init(&f, vcpu, root, fault);

	if (err)
		return err;
	err = fault_resolved(&f, marks);
	rmap_list_free(f.mmu, f.spare);
	if (!err && marks)
		tell(&f, fault->addr, out);
	else if (!err)
		out->len_bytes = level_pages(found_level(&f)) << f.mmu->page_shift;
	/* A fault that is refused may have made some, too. */
	if (f.made)
		evict_excess(f.mmu);
	return err;
}

int mslot_fault(struct mslot_vcpu *vcpu, struct mslot_root *root, const struct mslot_fault *fault,
		struct mslot_translation *out)
{
	return fault_page(vcpu, root, fault, true, out);
}
