/* SPDX-License-Identifier: MIT */
/* fuzz_kvm_log.c - the dirty log of the map of fuzz_kvm.c, against one bool a page. */
#include "fuzz_kvm_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/access.h>

#include "fuzz.h"
#include "kvm_log.h"

static void write_pages(struct input *in, struct mslot_map *map, struct naive_dirty *dirty,
			const struct naive_dirty_slot *slot)
{
	const uint64_t first = in_u8(in) % slot->npages;
	const uint64_t rest = slot->npages - first, n = 1 + in_u8(in) % (rest < 200 ? rest : 200);
	const struct mslot_snapshot *snap = mslot_enter(map);

	mslot_mark_dirty(snap, (struct mslot_addr){slot->slot >> 16, slot->gpa + (first << 12)},
			 n << 12);
	mslot_leave(snap);
	for (uint64_t i = 0; i < n; i++)
		ndirty_write(dirty, slot->slot, first + i);
}

static void enable(struct input *in, struct mslot_map *map, struct naive_dirty *dirty)
{
	struct kvm_enable_cap cap;
	int err, want;

	log_choose_cap(in, &cap);
	want = ndirty_enable_cap(dirty, &cap);
	err = mslot_kvm_enable_cap(map, &cap);
	if (err != want)
		fuzz_fail("capability %u: %d, not %d", cap.cap, err, want);
}

/* What the twin answers to a get, and that the library said the same. */
static void compare_get(const struct log_call *call, const struct log_slot *slot,
			struct naive_dirty *dirty)
{
	const size_t words = (size_t)slot->npages / 64 + 1;
	uint64_t *mine = calloc(words, sizeof(*mine)), *theirs = calloc(words, sizeof(*theirs));
	const struct kvm_dirty_log log = {.slot = slot->number, .dirty_bitmap = theirs};

	if (!mine || !theirs)
		abort();
	FUZZ_REQUIRE(ndirty_get(dirty, &log) == 0);
	log_copy(call, slot, mine);
	FUZZ_REQUIRE(memcmp(mine, theirs, words * sizeof(*mine)) == 0);
	free(mine);
	free(theirs);
}

static void ask(struct input *in, struct mslot_map *map, struct naive_dirty *dirty, bool inside)
{
	uint32_t known[64];
	struct log_slot slot = {0};
	struct mslot_map_options opt;
	struct log_call call;
	size_t n = 0;
	int err;

	while (n < dirty->nslots && n < sizeof(known) / sizeof(known[0])) {
		known[n] = dirty->slot[n].slot;
		n++;
	}
	slot.number = log_choose_number(in, known, n);
	for (size_t i = 0; i < dirty->nslots; i++)
		if (dirty->slot[i].slot == slot.number) {
			slot.logged = dirty->slot[i].dirty != NULL;
			slot.npages = dirty->slot[i].npages;
		}
	if (slot.npages > KVM_LOG_MAX_PAGES)
		return;
	mslot_map_options_get(map, &opt);
	log_choose(&call, in, &opt, &slot);
	(void)fuzz_alloc_fail(in);
	err = log_ask(&call, map);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(call.want == 0);
		err = log_ask(&call, map);
	}
	if (err != (inside ? -EDEADLK : call.want))
		fuzz_fail("%s: %d, not %d", call.clear ? "clear" : "get", err, call.want);
	if (err == 0 && call.clear) {
		call.of.dirty_bitmap = call.words;
		FUZZ_REQUIRE(ndirty_clear(dirty, &call.of) == 0);
	} else if (err == 0) {
		compare_get(&call, &slot, dirty);
	}
	log_end(&call);
}

void kvm_log_step(struct input *in, struct mslot_map *map, struct naive_dirty *dirty, bool inside)
{
	const uint8_t how = in_u8(in);

	if (how < 0x10)
		enable(in, map, dirty);
	else if (how < 0x80 && dirty->nslots > 0)
		write_pages(in, map, dirty, &dirty->slot[how % dirty->nslots]);
	else
		ask(in, map, dirty, inside);
}
