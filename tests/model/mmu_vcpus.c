/* SPDX-License-Identifier: MIT */
/* mmu_vcpus.c - vCPUs, and what the guests of shadow roots write to their tables. */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>

#include <mslot/guest.h>

#include "access/vcpu.h"

/* Steps in one section; commits inside leave memory behind, up to a limit (W5). */
#define MOST_STEPS_INSIDE 12u

bool mmu_asked(const struct mslot_vcpu *vcpu)
{
	return atomic_load_explicit(&vcpu->request, memory_order_acquire) & VCPU_FLUSH;
}

bool mmu_enter(struct mmu_world *w)
{
	const struct mslot_snapshot *snap;
	int vcpu, err;

	if (w->inside >= 0 && w->steps_inside++ > MOST_STEPS_INSIDE)
		mmu_leave(w);
	if (w->inside >= 0)
		return true;
	vcpu = (int)mmu_below(w, MMU_VCPUS);
	err = mslot_vcpu_enter(w->vcpus[vcpu], &snap);
	if (err)
		return twin_fail("mslot_vcpu_enter: %d\n", err);
	mmu_log(w, "enter %d", vcpu);
	w->inside = vcpu;
	w->steps_inside = 0;
	return !mmu_asked(w->vcpus[vcpu]) || twin_fail("asked right after entering\n");
}

void mmu_leave(struct mmu_world *w)
{
	if (w->inside < 0)
		return;
	mmu_log(w, "leave %d", w->inside);
	mslot_vcpu_leave(w->vcpus[w->inside]);
	w->inside = -1;
}

/* ---- What a vCPU has cached ----------------------------------------------------- */

static bool hit(const struct mslot_vcpu *vcpu, size_t i, uint64_t *addr)
{
	*addr = vcpu->head.tlb[i].read_tag & vcpu->head.page_mask;
	/* An empty entry has the tag of another one's page. */
	return (*addr >> vcpu->head.page_shift) % MSLOT_TLB_ENTRIES == i &&
	       mslot_vcpu_hit(vcpu, *addr, 1, MSLOT_READ);
}

static uint64_t nhits(const struct mslot_vcpu *vcpu)
{
	uint64_t addr, n = 0;

	for (size_t i = 0; i < MSLOT_TLB_ENTRIES; i++)
		n += hit(vcpu, i, &addr);
	return n;
}

/* May the page of the slot be written to unasked? Where it is logged, it has been marked. */
static bool may_write(const struct mmu_world *w, const struct naive_slot *slot, uint64_t gfn)
{
	const uint64_t page = gfn - (slot->gpa >> w->shift);

	if (slot->flags & MSLOT_READONLY)
		return false;
	return !nmmu_logged(&w->view, slot) || !w->mode->dirty ||
	       w->bits.pages[slot - w->naive.slots][page].pending;
}

/* T1: what the vCPU inside uses is what the map says, unless it is asked to forget it. */
bool mmu_check_cache(struct mmu_world *w)
{
	const struct mslot_vcpu *vcpu = w->inside >= 0 ? w->vcpus[w->inside] : NULL;
	const struct mmu_root *root;
	uint64_t addr;

	if (!vcpu || w->vcpu_root[w->inside] < 0 || mmu_asked(vcpu))
		return true;
	root = &w->roots[w->vcpu_root[w->inside]];
	for (size_t i = 0; i < MSLOT_TLB_ENTRIES; i++) {
		const uint64_t pages = UINT64_C(1) << (9 * root->levels);
		const struct naive_slot *slot;
		struct nmmu_run page;
		struct nmmu_at at = {.space = root->space};

		/* What a shadow root's guest meant then is not known. */
		if (root->kind == MSLOT_ROOT_SHADOW || !hit(vcpu, i, &addr))
			continue;
		mmu_tally.hits++;
		at.page = at.gfn = (addr >> w->shift) & (pages - 1);
		slot = nmmu_slot(&w->naive, root->space, at.gfn);
		if (!slot)
			return twin_fail("cached: no slot at %#" PRIx64 "\n", addr);
		page = nmmu_leaf(&w->naive, &at, 1);
		if (addr + vcpu->head.tlb[i].addend != nmmu_hva(&w->naive, &page))
			return twin_fail("cached: another host page at %#" PRIx64 "\n", addr);
		if (mslot_vcpu_hit(vcpu, addr, 1, MSLOT_WRITE) && !may_write(w, slot, at.gfn))
			return twin_fail("cached: writable at %#" PRIx64 "\n", addr);
	}
	return true;
}

static bool poll_vcpu(struct mmu_world *w)
{
	struct mslot_vcpu *vcpu = w->vcpus[w->inside];
	const uint64_t before = mmu_asked(vcpu) ? 0 : nhits(vcpu);
	const struct mslot_snapshot *snap;
	const int err = mslot_vcpu_poll(vcpu, &snap);

	mmu_log(w, "poll %d", w->inside);
	if (nhits(vcpu) != before)
		return twin_fail("poll: %" PRIu64 " pages cached, not %" PRIu64 "\n", nhits(vcpu),
				 before);
	if (err)
		return twin_fail("mslot_vcpu_poll: %d\n", err);
	if (mslot_snapshot_generation(snap) != w->naive.generation)
		return twin_fail("poll: not the newest snapshot\n");
	return !mmu_asked(vcpu) || twin_fail("asked right after polling\n");
}

static bool set_root(struct mmu_world *w)
{
	const int v = w->inside >= 0 ? w->inside : (int)mmu_below(w, MMU_VCPUS);
	struct mmu_root *root = mmu_chance(w, 80) ? mmu_some_root(w) : NULL;
	const int err = mslot_vcpu_root_set(w->vcpus[v], root ? root->handle : NULL);

	w->vcpu_root[v] = root ? (int)(root - w->roots) : -1;
	mmu_log(w, "vcpu %d root %d: %d", v, w->vcpu_root[v], err);
	return !err || twin_fail("mslot_vcpu_root_set: %d\n", err);
}

bool mmu_vcpu_step(struct mmu_world *w)
{
	switch (mmu_below(w, 4)) {
	case 0:
		return set_root(w);
	case 1:
		mmu_leave(w);
		return true;
	case 2:
		return w->inside < 0 || poll_vcpu(w);
	default:
		return mmu_enter(w);
	}
}

/* ---- Guests ------------------------------------------------------------------ */

static void choose_segment(struct mmu_world *w, const struct mmu_root *root, size_t i,
			   struct mmu_segment *seg)
{
	/* Far from each other, so that no large unit has two. */
	const uint64_t base = (i + 1) << 21, in = nmmu_level_pages(3) - 1;
	const bool high = i == MMU_SEGMENTS - 1;
	const uint64_t most = w->mode->unit_pages < 1u << 17 ? w->mode->unit_pages * 3 : 1u << 19;

	*seg = (struct mmu_segment){
	    .gfn = mmu_some_gfn(w, root->space),
	    .npages = 1 + mmu_below(w, mmu_chance(w, 50) ? most : 40),
	    .level = 1 + (uint32_t)mmu_below(w, NMMU_LEVELS),
	    .readonly = mmu_chance(w, 25),
	};
	if (mmu_chance(w, 30))
		seg->gfn &= ~(uint64_t)511;
	seg->page = base + (seg->gfn & in);
	if (mmu_chance(w, 20))
		seg->page ^= 1 + mmu_below(w, 600);
	if (high) /* sign-extended addresses */
		seg->page += (UINT64_C(1) << (9 * root->levels)) - (UINT64_C(1) << 30);
}

void mmu_choose_segments(struct mmu_world *w, struct mmu_root *root)
{
	for (size_t i = 0; i < MMU_SEGMENTS; i++)
		choose_segment(w, root, i, &root->seg[i]);
}

/* Every leaf of the pages that the guest had there. */
static bool forget_segment(struct mmu_world *w, struct mmu_root *root,
			   const struct mmu_segment *seg)
{
	for (;;) {
		const size_t k = nmmu_above(&root->runs, seg->page);
		struct nmmu_run run;

		if (k == root->runs.n || root->runs.run[k].page >= seg->page + seg->npages)
			return true;
		run = root->runs.run[k];
		if (mslot_zap_page(NULL, root->handle, mmu_addr(w, root, run.page)) != 1)
			return twin_fail("mslot_zap_page: nothing there\n");
		nmmu_cut(&root->runs, run.page, run.npages, true);
	}
}

bool mmu_guest_step(struct mmu_world *w)
{
	struct mmu_root *root = mmu_some_root(w);
	const size_t i = mmu_below(w, MMU_SEGMENTS);
	struct mmu_segment *seg;

	if (!root || root->kind == MSLOT_ROOT_DIRECT)
		return true;
	seg = &root->seg[i];
	if (mmu_chance(w, 70)) {
		if (!forget_segment(w, root, seg))
			return false;
	} else {
		for (size_t k = 0; k < root->runs.n; k++)
			root->runs.run[k].loose |=
			    root->runs.run[k].page < seg->page + seg->npages &&
			    seg->page < root->runs.run[k].page + root->runs.run[k].npages;
	}
	choose_segment(w, root, i, seg);
	return mmu_log(w,
		       "guest of root %d: segment %zu page %#" PRIx64 " n %#" PRIx64
		       " gfn %#" PRIx64 " level %u%s",
		       (int)(root - w->roots), i, seg->page, seg->npages, seg->gfn, seg->level,
		       seg->readonly ? " ro" : "");
}
