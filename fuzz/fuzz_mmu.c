/* SPDX-License-Identifier: MIT */
/*
 * fuzz_mmu.c - translation tables: the steps of the model test (tests/model/mmu_twin.h), chosen by
 * the input and with allocations that fail.
 *
 * The first bytes choose the mode and the form; then each step draws what it does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "model/mmu_twin.h"

#define MAX_STEPS 64u
#define MODES 8u /* the first ones: maps with hundreds of slots take too long */

struct twin_tally tally; /* what txn_compare.c counts */

/* A byte or two a choice; more only where more values are asked for. */
static uint64_t draw(void *ctx, uint64_t n)
{
	unsigned int bytes = 1;

	while (bytes < 8 && n > UINT64_C(1) << (8 * bytes))
		bytes++;
	return in_uint(ctx, bytes) % n;
}

static void scarce_begin(void *ctx)
{
	(void)fuzz_alloc_fail(ctx);
}

static bool scarce_end(void *ctx)
{
	(void)ctx;
	return fuzz_alloc_heal();
}

static void require(struct mmu_world *w, bool good)
{
	if (good)
		return;
	mmu_print_log(w);
	fuzz_fail("the model test's steps disagree");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t live = alloc_live();
	struct input in = {data, size};
	static struct mmu_world w;
	struct mmu_mode mode;
	uint8_t how;

	memset(&w, 0, sizeof(w));
	how = in_u8(&in);
	mode = mmu_modes[how % MODES];
	mode.form = how & 0x80 ? MSLOT_MMU_SLOT_BITMAPS : MSLOT_MMU_REVERSE_MAPS;
	if (!mode.max_leaf_level)
		mode.max_leaf_level = NMMU_LEVELS;
	w.mode = &mode;
	w.draw = draw;
	w.ctx = &in;
	w.scarce_begin = scarce_begin;
	w.scarce_end = scarce_end;
	require(&w, mmu_world_begin(&w));
	for (unsigned int i = 0; i < MAX_STEPS && in.left; i++) {
		/* What the generator of transactions does is two bytes' choice. */
		rng_init(&w.rng, in_uint(&in, 2));
		require(&w, mmu_step(&w));
	}
	require(&w, mmu_world_end(&w));
	FUZZ_REQUIRE(alloc_live() == live);
	return 0;
}
