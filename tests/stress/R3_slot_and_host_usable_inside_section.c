/* SPDX-License-Identifier: MIT */
/*
 * R3 and L2: the memory behind slots is mapped and filled before its commit and unmapped
 * in `release`. Readers write and read it inside sections and holds; a page that went
 * too early faults. Holds are put by other threads than took them. Every region is
 * released exactly once.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stress/world.h"

#define SLOTS 4
#define BYTES (2 * WORLD_PAGE)
#define MAILBOXES 4

struct memory {
	uint64_t magic; /* differs from region to region; in every page */
	uint64_t scribble;
};

struct tracked {
	uint64_t magic;
	_Atomic uint32_t released;
};

static struct mslot_map *map;
static _Atomic uint64_t created, released, magics;
static _Atomic(struct mslot_hold *) mailbox[MAILBOXES];

static void unmap(void *ctx, const struct mslot_region_options *opt)
{
	struct tracked *tracked = ctx;
	const struct memory *first = opt->hva;

	CHECK(first->magic == tracked->magic, "release of another region's memory");
	CHECK(atomic_fetch_add(&tracked->released, 1) == 0, "released twice (L2)");
	CHECK_OK(munmap(opt->hva, opt->len_bytes));
	free(tracked);
	atomic_fetch_add(&released, 1);
}

static struct mslot_region *fresh_region(void)
{
	struct tracked *tracked = calloc(1, sizeof(*tracked));
	struct mslot_region_options opt = {
	    .len_bytes = BYTES,
	    .fd = -1,
	    .release = unmap,
	    .ctx = tracked,
	};
	struct mslot_region *region;
	uint64_t off;

	CHECK(tracked, "out of memory");
	opt.hva = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(opt.hva != MAP_FAILED, "out of memory");
	tracked->magic = atomic_fetch_add(&magics, 1) + 1;
	for (off = 0; off < BYTES; off += WORLD_PAGE)
		((struct memory *)((char *)opt.hva + off))->magic = tracked->magic;
	CHECK_OK(mslot_region_create(&opt, &region));
	atomic_fetch_add(&created, 1);
	return region;
}

/* Replace one slot's memory, or all slots' by one region's, or move two past each other. */
static void replace_memory(struct stress_thread *self)
{
	struct mslot_region *region;
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	uint32_t id, from, to;

	while (stress_running() || !self->ops) {
		region = fresh_region();
		from = (uint32_t)rng_below(&self->rng, SLOTS);
		to = rng_chance(&self->rng, 25) ? SLOTS : from + 1;
		CHECK_OK(mslot_txn_begin(map, &txn));
		for (id = from; id < to; id++)
			CHECK(mslot_txn_replace(txn, (struct mslot_key){.id = id}, region, 0) >= 0,
			      "replace");
		if (rng_chance(&self->rng, 10)) {
			/* The creator's reference ends before the slots take theirs. */
			mslot_region_put(region);
			region = NULL;
		}
		if (rng_chance(&self->rng, 10)) {
			mslot_txn_abort(txn);
		} else {
			CHECK_OK(mslot_txn_commit(txn, NULL, &result));
			stress_committed(result.generation);
		}
		mslot_region_put(region);
		self->ops++;
	}
}

static void use(const struct mslot_snapshot *snap, struct rng *rng)
{
	uint32_t id = (uint32_t)rng_below(rng, SLOTS);
	struct mslot_span span = {.access = MSLOT_WRITE, .gpa = id * BYTES, .len_bytes = BYTES};
	struct memory *first, *second;
	struct iovec seg[2];
	uint64_t magic, val;

	CHECK(mslot_translate(snap, &span, seg, 2) == 1, "a slot is gone");
	CHECK(seg[0].iov_len == BYTES, "length");
	first = seg[0].iov_base;
	second = (struct memory *)((char *)seg[0].iov_base + WORLD_PAGE);
	magic = first->magic;
	__atomic_store_n(&first->scribble, magic, __ATOMIC_RELAXED);
	CHECK_OK(
	    mslot_store(snap, (struct mslot_addr){.gpa = span.gpa + WORLD_PAGE + 8}, 8, magic));
	CHECK_OK(mslot_load(snap, (struct mslot_addr){.gpa = span.gpa + 8}, 8, &val));
	CHECK(val == magic, "another region's memory at the same place");
	CHECK(second->magic == magic && first->magic == magic, "the memory changed");
}

static void read_sections(struct stress_thread *self)
{
	struct stress_section sec;
	unsigned int i;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, map);
		for (i = 0; i < 4; i++) {
			use(sec.snap, &self->rng);
			stress_linger(self);
		}
		stress_leave(&sec, self);
		self->ops++;
	}
}

/* Take a hold, use it, swap it for the one in a mailbox, use that and put it. */
static void trade_holds(struct stress_thread *self)
{
	struct stress_section sec;
	struct mslot_hold *hold;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, map);
		CHECK_OK(mslot_hold(sec.snap, "R3", &hold));
		stress_leave(&sec, self);
		if (rng_chance(&self->rng, 30))
			stress_outlive(map, sec.generation);
		use(mslot_hold_snapshot(hold), &self->rng);
		hold = atomic_exchange(&mailbox[rng_below(&self->rng, MAILBOXES)], hold);
		if (hold)
			use(mslot_hold_snapshot(hold), &self->rng);
		mslot_hold_put(hold);
		self->ops++;
	}
}

static void set_up(void)
{
	struct mslot_txn *txn;
	uint32_t id;

	/* Low enough to use memory again soon, high enough for commits to overtake readers. */
	CHECK_OK(
	    mslot_map_create(&(struct mslot_map_options){.retired_limit_bytes = 1 << 20}, &map));
	CHECK_OK(mslot_txn_begin(map, &txn));
	for (id = 0; id < SLOTS; id++) {
		struct mslot_slot_def def = {
		    .key = {.id = id},
		    .gpa = id * BYTES,
		    .len_bytes = BYTES,
		    .region = fresh_region(),
		};

		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
		mslot_region_put(def.region);
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

int main(void)
{
	unsigned int i;

	stress_begin("R3_slot_and_host_usable_inside_section");
	set_up();
	stress_spawn("writer", replace_memory, NULL);
	stress_spawn("writer", replace_memory, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("holder", trade_holds, NULL);
	stress_spawn("holder", trade_holds, NULL);
	stress_run();
	for (i = 0; i < MAILBOXES; i++)
		mslot_hold_put(atomic_exchange(&mailbox[i], NULL));
	CHECK_OK(mslot_map_destroy(map));
	CHECK(atomic_load(&created) == atomic_load(&released),
	      "%" PRIu64 " created, %" PRIu64 " released (L2)", atomic_load(&created),
	      atomic_load(&released));
	return stress_end();
}
