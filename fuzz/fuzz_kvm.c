/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kvm.c - KVM's memory-slot calls and the list of them against a table of slots.
 *
 * The twin checks a request in the order that mslot/kvm.h gives and turns it into at most
 * one edit; the final map is judged by the naive transaction. Lists come in memory that
 * ends where list_bytes says. After an error the map is as before and failed_entry names
 * the entry to blame. Between them pages are written, and the calls of the dirty log compared
 * with a bool a page (fuzz_kvm_log.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/kvm.h>

#include "../tests/model/txn_twin.h"
#include "base/alloc.h"
#include "fuzz.h"
#include "fuzz_kvm_log.h"
#include "map/writer.h"

#define MAX_CALLS 64u
#define MAX_ENTRIES 12u
#define PAGE UINT64_C(4096)
#define UNTOUCHED 0x5a5a5a5au

struct twin_tally tally; /* what txn_compare.c counts */

/* A request in one shape, and what the twin makes of it. */
struct request {
	struct mslot_kvm_region_entry e;
	uint32_t valid_flags;
	uint64_t memfd_offset;
};

enum change { CHANGE_NONE, CHANGE_CREATE, CHANGE_DELETE, CHANGE_MOVE, CHANGE_FLAGS };

struct world {
	struct input in;
	struct rng rng;
	struct mslot_map *map;
	struct naive_region region; /* all host addresses */
	struct naive_map naive, next;
	struct naive_dirty dirty;
	struct request req[MAX_ENTRIES];
	struct mslot_edit edits[MAX_ENTRIES];
	uint32_t entry_of_edit[MAX_ENTRIES];
	size_t nedits;
	bool waits;
	bool inside; /* a read section */
};

/* ---- The twin -------------------------------------------------------------- */

static struct mslot_key key_of(uint32_t slot)
{
	return (struct mslot_key){slot >> 16, slot & 0xffff};
}

/* Checks that all give -EINVAL, of the request alone. */
static bool request_valid(const struct world *w, const struct request *r)
{
	const struct mslot_map_options *opt = &w->naive.opt;
	const struct mslot_kvm_region_entry *e = &r->e;
	const struct mslot_key key = key_of(e->slot);

	if (key.id >= opt->max_user_slots || key.space >= opt->nspaces)
		return false;
	if (e->flags & ~r->valid_flags)
		return false;
	if (e->flags & MSLOT_GUEST_MEMFD &&
	    (e->flags != MSLOT_GUEST_MEMFD || r->memfd_offset % PAGE ||
	     r->memfd_offset + e->memory_size < r->memfd_offset))
		return false;
	if ((e->memory_size | e->guest_phys_addr | e->userspace_addr) % PAGE)
		return false;
	if (e->memory_size > opt->hva_limit || e->userspace_addr > opt->hva_limit ||
	    e->userspace_addr + e->memory_size > opt->hva_limit)
		return false;
	if (e->guest_phys_addr + e->memory_size < e->guest_phys_addr)
		return false;
	return e->memory_size / PAGE <= MSLOT_MAX_SLOT_PAGES;
}

/* The change that a request asks for, given the slot as it is; false is -EINVAL. */
static bool infer(const struct world *w, const struct request *r, enum change *change, bool *waits)
{
	const struct mslot_kvm_region_entry *e = &r->e;
	const struct naive_slot *old = naive_find_id(&w->naive, key_of(e->slot));

	*waits = false;
	*change = CHANGE_CREATE;
	if (e->memory_size == 0) {
		*change = CHANGE_DELETE;
		*waits = true;
		return old;
	}
	if (!old)
		return true;
	if ((old->flags | e->flags) & MSLOT_GUEST_MEMFD)
		return false;
	if (old->offset != e->userspace_addr || old->len != e->memory_size ||
	    (old->flags ^ e->flags) & MSLOT_READONLY)
		return false;
	*change = old->gpa != e->guest_phys_addr ? CHANGE_MOVE
		  : old->flags != e->flags       ? CHANGE_FLAGS
						 : CHANGE_NONE;
	*waits = *change == CHANGE_MOVE ||
		 (e->flags & MSLOT_LOG_DIRTY && !(old->flags & MSLOT_LOG_DIRTY));
	return true;
}

/* Append the edit of request i; false is -EINVAL. A list also checks label and pad. */
static bool plan(struct world *w, uint32_t i, bool list)
{
	const struct request *r = &w->req[i];
	const struct mslot_kvm_region_entry *e = &r->e;
	enum change change;
	bool waits;

	if (!request_valid(w, r) || !infer(w, r, &change, &waits))
		return false;
	for (size_t k = 0; list && k < sizeof(e->pad); k++)
		if (e->pad[k])
			return false;
	if (list && e->invalidate_slot != (change == CHANGE_DELETE || change == CHANGE_MOVE))
		return false;
	for (uint32_t k = 0; k < i; k++)
		if (w->req[k].e.slot == e->slot)
			return false;
	if (change == CHANGE_NONE)
		return true;
	w->edits[w->nedits] = (struct mslot_edit){
	    .kind = change == CHANGE_CREATE   ? MSLOT_EDIT_CREATE
		    : change == CHANGE_DELETE ? MSLOT_EDIT_DELETE
					      : MSLOT_EDIT_REDEFINE,
	    .def = {.key = key_of(e->slot),
		    .gpa = e->guest_phys_addr,
		    .len_bytes = e->memory_size,
		    .region = w->region.handle,
		    .offset_bytes = e->userspace_addr,
		    .flags = e->flags & ~MSLOT_GUEST_MEMFD},
	};
	w->entry_of_edit[w->nedits++] = i;
	w->waits |= waits;
	return true;
}

static struct naive_outcome judge(struct world *w, uint32_t n, bool list, int memfd_errno)
{
	struct naive_outcome out = {.failed_edit = MSLOT_NO_EDIT};

	w->nedits = 0;
	w->waits = false;
	for (uint32_t i = 0; i < n; i++)
		if (!plan(w, i, list))
			return (struct naive_outcome){.error = -EINVAL, .failed_edit = i};
	out = naive_commit(&w->naive, w->edits, w->nedits, NULL, &w->next);
	if (out.failed_edit != MSLOT_NO_EDIT)
		out.failed_edit = w->entry_of_edit[out.failed_edit];
	/* The memfd is looked at after the overlap and before the guest-physical limit. */
	if (memfd_errno && (out.error == 0 || out.error == -EINVAL))
		out = (struct naive_outcome){.error = memfd_errno, .failed_edit = MSLOT_NO_EDIT};
	if (out.error == 0 && w->nedits && w->waits && w->inside)
		out = (struct naive_outcome){.error = -EDEADLK, .failed_edit = MSLOT_NO_EDIT};
	return out;
}

/*
 * May a single call say -ENOMEM when an allocation fails? Not where a check of the request
 * or an overlap decides; a list needs memory before it looks at its entries.
 */
static bool memory_comes_first(const struct world *w, const struct naive_outcome *want)
{
	if (want->error == -EINVAL)
		return w->nedits > 0; /* beyond gpa_limit: the kernel allocates before it looks */
	return want->error != -EEXIST;
}

/* ---- Choices ---------------------------------------------------------------- */

static uint64_t odd_number(struct world *w)
{
	static const uint64_t odd[] = {UINT64_C(0x7ffffffff000),
				       UINT64_C(0x7fffffffe000),
				       UINT64_C(0x7ffffffff001),
				       UINT64_C(1) << 52,
				       (UINT64_C(1) << 52) - PAGE,
				       MSLOT_MAX_SLOT_PAGES * PAGE,
				       MSLOT_MAX_SLOT_PAGES * PAGE + PAGE,
				       UINT64_MAX - PAGE + 1,
				       UINT64_MAX,
				       1};
	const uint8_t how = in_u8(&w->in);

	return how < 0xc0 ? odd[how % 10u] : in_uint(&w->in, 8);
}

static uint64_t some_number(struct world *w, uint64_t base, uint32_t range)
{
	const uint8_t how = in_u8(&w->in);

	return how < 0xf4 ? base + how % range * PAGE : odd_number(w);
}

/* Mostly short; else with a log of several words, or of more than 512 pages. */
static uint64_t some_size(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	if (how >= 0xf4)
		return odd_number(w);
	return how < 0xd0 ? (1 + how % 6u) * PAGE : (60 + (how - 0xd0u) * UINT64_C(20)) * PAGE;
}

static uint32_t some_slot_number(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	if (how < 0xe0)
		return how % 12u | how / 12u % w->naive.opt.nspaces << 16;
	return how < 0xf8 ? (how & 1u) << 16 | (w->naive.opt.max_user_slots - (how >> 1 & 1u))
			  : (uint32_t)in_uint(&w->in, 4);
}

/* The request that would leave an existing slot as it is. */
static bool like_existing(struct world *w, struct mslot_kvm_region_entry *e)
{
	const struct naive_slot *slot;

	if (w->naive.n == 0)
		return false;
	slot = &w->naive.slots[in_u8(&w->in) % w->naive.n];
	e->slot = slot->key.space << 16 | slot->key.id;
	e->flags = slot->flags;
	e->guest_phys_addr = slot->gpa;
	e->memory_size = slot->len;
	e->userspace_addr = slot->offset;
	return true;
}

static void spoil(struct world *w, struct mslot_kvm_region_entry *e)
{
	switch (in_below(&w->in, 6)) {
	case 0:
		e->pad[in_below(&w->in, 31)] = in_u8(&w->in);
		break;
	case 1:
		e->invalidate_slot ^= in_u8(&w->in);
		break;
	case 2:
		e->flags = in_u8(&w->in);
		break;
	case 3:
		e->memory_size = odd_number(w);
		break;
	case 4:
		e->userspace_addr = odd_number(w);
		break;
	default:
		e->guest_phys_addr = odd_number(w);
		break;
	}
}

static void choose_request(struct world *w, struct request *r)
{
	const uint8_t how = in_u8(&w->in);
	struct mslot_kvm_region_entry *e = &r->e;

	*r = (struct request){.valid_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY};
	if (how & 3 && like_existing(w, e)) {
		switch (how >> 2 & 7) {
		case 0:
		case 1:
		case 2:
			e->memory_size = 0;
			e->invalidate_slot = 1;
			break;
		case 3:
		case 4:
		case 5:
			e->guest_phys_addr = some_number(w, 0, 48);
			e->invalidate_slot =
			    naive_find_id(&w->naive, key_of(e->slot))->gpa != e->guest_phys_addr;
			break;
		default:
			break;
		}
		if (how & 0x20)
			e->flags ^= MSLOT_LOG_DIRTY;
	} else {
		e->slot = some_slot_number(w);
		e->flags = how >> 2 & 3u;
		e->guest_phys_addr = some_number(w, 0, 48);
		e->memory_size = some_size(w);
		e->userspace_addr = some_number(w, UINT64_C(1) << 32, 24);
	}
	if (how >= 0xe0)
		spoil(w, e);
}

/* ---- Calls -------------------------------------------------------------------- */

static int call_single(struct world *w, const struct request *r, uint32_t memfd, bool second)
{
	const struct mslot_kvm_region_entry *e = &r->e;
	const struct kvm_userspace_memory_region one = {
	    .slot = e->slot,
	    .flags = e->flags,
	    .guest_phys_addr = e->guest_phys_addr,
	    .memory_size = e->memory_size,
	    .userspace_addr = e->userspace_addr,
	};
	struct mslot_kvm_userspace_memory_region2 two = {
	    .slot = e->slot,
	    .flags = e->flags,
	    .guest_phys_addr = e->guest_phys_addr,
	    .memory_size = e->memory_size,
	    .userspace_addr = e->userspace_addr,
	    .guest_memfd_offset = r->memfd_offset,
	    .guest_memfd = memfd,
	    .pad1 = memfd,
	};

	two.pad2[13] = memfd;
	return second ? mslot_kvm_set_user_memory_region2(w->map, &two)
		      : mslot_kvm_set_user_memory_region(w->map, &one);
}

static void tell_dirty(struct world *w, const struct mslot_edit *edit)
{
	const struct naive_slot *slot = naive_find_id(&w->naive, edit->def.key);
	struct kvm_userspace_memory_region region = {.slot = edit->def.key.space << 16 |
							     edit->def.key.id};

	if (slot) {
		region.flags = slot->flags;
		region.guest_phys_addr = slot->gpa;
		region.memory_size = slot->len;
		/* So long that nobody asks for its log. */
		if (slot->len / PAGE > KVM_LOG_MAX_PAGES)
			region.flags &= ~MSLOT_LOG_DIRTY;
	}
	ndirty_region(&w->dirty, &region);
}

/* The twin accepts what naive_commit() does not know: a slot with guest_memfd. */
static void accept(struct world *w, const struct naive_outcome *want, bool memfd)
{
	if (!want->changed)
		return;
	for (size_t i = 0; memfd && i < w->next.n; i++)
		if (w->next.slots[i].key.id == w->edits[0].def.key.id &&
		    w->next.slots[i].key.space == w->edits[0].def.key.space)
			w->next.slots[i].flags = MSLOT_GUEST_MEMFD;
	naive_copy(&w->naive, &w->next);
	for (size_t i = 0; i < w->nedits; i++)
		tell_dirty(w, &w->edits[i]);
}

static void do_single(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	const bool second = how & 1;
	const uint32_t memfd = how & 4 ? 0x7ffffff0u : 0; /* closed, or open */
	struct request *r = &w->req[0];
	struct naive_outcome want;
	bool with_memfd;
	int err;

	choose_request(w, r);
	if (second) {
		r->valid_flags |= MSLOT_GUEST_MEMFD;
		if (how & 2)
			r->e.flags |= how & 0x40 ? MSLOT_GUEST_MEMFD : 0;
		if (how & 2 && how & 0x80)
			r->e.flags = MSLOT_GUEST_MEMFD;
		r->memfd_offset = how & 8 ? some_number(w, 0, 8) : 0;
	}
	with_memfd = r->e.flags & MSLOT_GUEST_MEMFD && r->e.memory_size;
	want = judge(w, 1, false, with_memfd && memfd ? -EBADF : 0);
	(void)fuzz_alloc_fail(&w->in);
	err = call_single(w, r, memfd, second);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(memory_comes_first(w, &want));
		fuzz_check_map(w->map);
		err = call_single(w, r, memfd, second);
	}
	if (err != want.error)
		fuzz_fail("single call: %d, not %d", err, want.error);
	accept(w, &want, with_memfd);
}

/* What check_header() of the list must answer, from its documentation. */
static int judge_header(const struct world *w, const struct mslot_kvm_region_list *header,
			size_t list_bytes)
{
	if (list_bytes >= sizeof(*header) && header->flags & MSLOT_KVM_LIST_EXCLUSIVE && w->inside)
		return -EDEADLK;
	if (list_bytes < sizeof(*header) ||
	    (list_bytes - sizeof(*header)) / sizeof(header->entries[0]) < header->nent)
		return -EFAULT;
	if (header->nent > w->naive.opt.max_edits)
		return -E2BIG;
	return header->flags & ~MSLOT_KVM_LIST_EXCLUSIVE ? -EINVAL : 0;
}

/* A list in memory that ends where *bytes says; the header may lie, or reach beyond it. */
static struct mslot_kvm_region_list *choose_list(struct world *w, size_t *bytes,
						 struct mslot_kvm_region_list *header)
{
	const uint8_t how = in_u8(&w->in), odd = in_u8(&w->in);
	const uint32_t nent = how % (MAX_ENTRIES + 1);
	struct mslot_kvm_region_list *list;

	*bytes = sizeof(*header) + nent * sizeof(header->entries[0]);
	if (odd >= 0xe0 && odd & 2)
		*bytes -= 1 + odd % 8u;
	*header = (struct mslot_kvm_region_list){.nent = nent};
	if (odd >= 0xf0)
		header->nent += odd & 4 ? 1 : UINT32_MAX - 20;
	if (odd >= 0xe0 && odd & 8)
		header->flags = odd;
	list = malloc(*bytes);
	if (!list)
		abort();
	memcpy(list, header, *bytes < sizeof(*header) ? *bytes : sizeof(*header));
	for (uint32_t i = 0; i < nent; i++) {
		const size_t at = sizeof(*header) + i * sizeof(w->req[i].e);

		choose_request(w, &w->req[i]);
		memcpy((uint8_t *)list + at, &w->req[i].e,
		       *bytes - at < sizeof(w->req[i].e) ? *bytes - at : sizeof(w->req[i].e));
	}
	return list;
}

static void do_list(struct world *w)
{
	const uint8_t odd = in_u8(&w->in);
	uint32_t failed = UNTOUCHED, *where = odd & 1 ? NULL : &failed;
	struct mslot_kvm_region_list header, *list;
	struct naive_outcome want;
	size_t bytes;
	int err;

	list = choose_list(w, &bytes, &header);
	w->nedits = 0;
	want = (struct naive_outcome){
	    .error = judge_header(w, &header, bytes),
	    .failed_edit = MSLOT_NO_EDIT,
	};
	if (want.error == 0)
		want = judge(w, header.nent, true, 0);
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_kvm_set_user_memory_region_list(w->map, list, bytes, where);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!where || failed == MSLOT_NO_EDIT);
		failed = UNTOUCHED;
		fuzz_check_map(w->map);
		err = mslot_kvm_set_user_memory_region_list(w->map, list, bytes, where);
	}
	free(list);
	if (err != want.error || (where && failed != (want.error ? want.failed_edit : UNTOUCHED)))
		fuzz_fail("list: %d, failed entry %d; not %d and %d", err, (int)failed, want.error,
			  (int)want.failed_edit);
	accept(w, &want, false);
}

static void step(struct world *w)
{
	const struct mslot_snapshot *snap = NULL;
	const uint8_t how = in_u8(&w->in);

	w->inside = how >= 0xf0;
	if (w->inside) {
		/* Far from the limit at which any change inside a section is refused. */
		FUZZ_REQUIRE(mslot_wait(w->map, w->naive.generation, -1) == 0);
		snap = mslot_enter(w->map);
	}
	if ((how & 7) == 7)
		kvm_log_step(&w->in, w->map, &w->dirty, w->inside);
	else if (how & 1)
		do_single(w);
	else
		do_list(w);
	if (snap)
		mslot_leave(snap);
	snap = mslot_enter(w->map);
	FUZZ_REQUIRE(cmp_snapshot(&w->rng, snap, &w->naive));
	mslot_leave(snap);
	fuzz_check_map(w->map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	const uint64_t live = alloc_live();
	struct mslot_map_options opt = {0};
	uint8_t how;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	how = in_u8(&w.in);
	opt.nspaces = how & 1 ? 2 : 1;
	opt.max_user_slots = how & 2 ? 8 : 0;
	opt.max_slots = how & 4 ? 3 : 0;
	opt.max_pages = how & 8 ? 20 : 0;
	opt.gpa_limit = how & 0x10 ? 40 * PAGE : 0;
	opt.max_edits = how & 0x20 ? 4 : 0;
	rng_init(&w.rng, how);
	FUZZ_REQUIRE(mslot_map_create(&opt, &w.map) == 0);
	mslot_map_options_get(w.map, &opt);
	w.region = (struct naive_region){map_kvm_region(w.map), 0, UINT64_MAX, true, false};
	naive_init(&w.naive, &opt, &w.region, 1);
	naive_init(&w.next, &opt, &w.region, 1);
	ndirty_init(&w.dirty, opt.nspaces, opt.max_user_slots);
	for (unsigned int i = 0; i < MAX_CALLS && w.in.left; i++)
		step(&w);
	FUZZ_REQUIRE(mslot_map_destroy(w.map) == 0);
	FUZZ_REQUIRE(alloc_live() == live);
	naive_fini(&w.naive);
	naive_fini(&w.next);
	ndirty_fini(&w.dirty);
	return 0;
}
