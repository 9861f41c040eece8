/* SPDX-License-Identifier: MIT */
/*
 * dirty_world.h - memory whose pages count the writes to them, in slots that change all
 * the time: what the programs that try to lose dirty pages share.
 *
 * One region of PAGES pages. A page has a word for each writer, who numbers its writes: there is
 * that of the last one to this page; `completed` has it as soon as the write is over. A consumer's
 * image has what it copied last. A page that a harvest reports clean may not be behind (D2); when
 * all is over nothing may be (D1).
 *
 * One thread changes the layout. No page is in two slots at once.
 */
#ifndef MSLOT_TESTS_DIRTY_WORLD_H
#define MSLOT_TESTS_DIRTY_WORLD_H

#include <mslot/dirty.h>
#include <mslot/mslot.h>

#include "stress/stress.h"

#define DIRTY_PAGES 256u
#define DIRTY_PAGE UINT64_C(4096)
#define DIRTY_GFNS (4u * DIRTY_PAGES)
#define DIRTY_WRITERS 2u
#define DIRTY_SLOTS 48u
#define DIRTY_IDS 20000u

/* What is in a page. */
struct dirty_page {
	uint64_t word[DIRTY_WRITERS];
};

/* What somebody knows of all pages. */
struct dirty_image {
	uint64_t word[DIRTY_WRITERS][DIRTY_PAGES];
};

struct dirty_slot {
	uint32_t id;
	uint32_t gfn, page, n; /* n == 0: does not exist */
	uint32_t flags;
};

struct dirty_world {
	struct mslot_map *map;
	struct mslot_region *region;
	unsigned char *host;
	_Atomic uint64_t completed[DIRTY_WRITERS][DIRTY_PAGES];
	uint64_t written[DIRTY_WRITERS]; /* of the writer: its last number */

	/* With dirty_world_translate(): an MMU of each form, whose root the writer's vCPU has. */
	struct mslot_mmu *mmu[DIRTY_WRITERS];
	struct mslot_root *root[DIRTY_WRITERS];
	_Atomic uint64_t hits, misses;

	/* Of the thread that changes the layout. */
	struct dirty_slot slots[DIRTY_SLOTS];
	uint32_t owner[DIRTY_PAGES]; /* slot, DIRTY_SLOTS for none */
	uint32_t next_id;
	uint32_t flags;   /* of new slots */
	uint64_t done[8]; /* edits by kind */
	/* Of each page, how often its logging has begun; layout lock. */
	uint64_t epoch[DIRTY_PAGES];

	/* Held for reading by whoever needs a layout that stays, and for a change of it. */
	pthread_rwlock_t layout;
};

void dirty_world_init(struct dirty_world *world, const struct mslot_map_options *opt,
		      uint32_t flags);
void dirty_world_fini(struct dirty_world *world);

/* Write to a page in one of the library's ways; none if no slot shows it. */
void dirty_write(struct dirty_world *world, struct stress_thread *self, uint32_t writer);

/* Have an MMU of its own for each writer, the first with reverse maps, the second with bitmaps. */
void dirty_world_translate(struct dirty_world *world);
/* Write to a page by a vCPU's store, inside its section, through the root of this writer. */
void dirty_store(struct dirty_world *world, struct stress_thread *self, uint32_t writer,
		 struct mslot_vcpu *vcpu);
/* A vCPU of this writer that does nothing else, until the end of the run. */
void dirty_run_vcpu(struct dirty_world *world, struct stress_thread *self, uint32_t writer);

/* Change the layout at random. `taken` is told of what goes, before it comes back; may be NULL. */
void dirty_change(struct dirty_world *world, struct stress_thread *self,
		  void (*taken)(struct dirty_world *world, struct mslot_final *final));

/* Which writes are over: before a harvest. */
void dirty_completed(const struct dirty_world *world, struct dirty_image *out);
/* Copy pages [page, page + n) to an image, as somebody who migrates them. */
void dirty_copy(const struct dirty_world *world, struct dirty_image *image, uint32_t page,
		uint32_t n);
/* The page of the region at a host address. */
uint32_t dirty_page_at(const struct dirty_world *world, uint64_t hva);
/* Fail unless the image of every page that the snapshot shows is as new as `than`. */
void dirty_expect(const struct dirty_world *world, const struct mslot_snapshot *snap,
		  const struct dirty_image *image, const struct dirty_image *than, const char *who);

#endif /* MSLOT_TESTS_DIRTY_WORLD_H */
