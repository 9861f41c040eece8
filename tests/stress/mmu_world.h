/* SPDX-License-Identifier: MIT */
/*
 * mmu_world.h - memory whose pages say who they are, in slots that change all the time, and two
 * MMUs, one of each form, that translate to it.
 *
 * Host memory. REGIONS regions; the first word of a page is its identity, or POISON while nobody
 * may come there: since it left the map (after mslot_wait()) or while its host range is being
 * invalidated. All of a poisoned page is poison, so that a stray store is found as well, when
 * the page comes back; sometimes it is PROT_NONE.
 *
 * Guest memory. ISLANDS of two large units each, far apart, so that tables are many. `place`
 * counts the frames of all islands.
 *
 * History. What each place showed in the last MMU_GENERATIONS generations, and may be showing in
 * the next. An access is right if what it found was shown by a generation between the last commit
 * that had returned before its section began (`done`) and the newest one that had been tried by
 * its end (`coming`).
 *
 * Locks: calm, edit, host, in this order. calm: for reading by whoever faults or zaps, for writing
 * by who compares it all. edit: commits. host: poison.
 */
#ifndef MSLOT_TESTS_MMU_WORLD_H
#define MSLOT_TESTS_MMU_WORLD_H

#include <mslot/mslot.h>

#include "stress/stress.h"

#define MMU_PAGE UINT64_C(4096)
#define MMU_REGIONS 3u
#define MMU_REGION_PAGES 1024u
#define MMU_ISLANDS 6u
#define MMU_ISLAND_PLACES 1024u
#define MMU_PLACES (MMU_ISLANDS * MMU_ISLAND_PLACES)
#define MMU_SLOTS 40u
#define MMU_GENERATIONS 64u
#define MMU_FORMS 2u
#define MMU_ROOTS 4u  /* direct ones of each MMU */
#define MMU_UNITS 2u  /* of 512 pages, in a shadow root */
#define MMU_VCPUS 4u  /* words of a page, beside its identity */
#define MMU_EDITS 10u /* kinds */

#define MMU_POISON UINT64_C(0x6b6b6b6b6b6b6b6b)

/* What a place shows: 0, or this of a region's page. */
#define MMU_SHOWN (UINT32_C(1) << 31)
#define MMU_SHOWN_READONLY (UINT32_C(1) << 30)

struct mmu_slot {
	uint32_t id, place, n; /* n == 0: does not exist */
	uint32_t page;         /* of all regions; the slot's are in one */
	uint32_t flags;
};

/* What a guest's tables say of a unit of a shadow root. */
union mmu_guest_unit {
	struct {
		uint32_t place; /* of the first page */
		uint16_t level;
		uint16_t readonly;
	};
	uint64_t word;
};

struct mmu_world {
	struct mslot_map *map;
	struct mslot_region *regions[MMU_REGIONS];
	unsigned char *host; /* of the first region; the others follow */
	struct mslot_mmu *mmu[MMU_FORMS];
	struct mslot_root *direct[MMU_FORMS][MMU_ROOTS], *shadow[MMU_FORMS];
	_Atomic uint64_t guest[MMU_UNITS];

	pthread_rwlock_t calm;
	pthread_mutex_t edit;
	struct mmu_slot slots[MMU_SLOTS];
	uint32_t next_id;
	uint64_t edits[MMU_EDITS];
	_Atomic uint64_t done, coming;
	_Atomic uint32_t shown[MMU_GENERATIONS][MMU_PLACES];

	pthread_mutex_t host_lock;
	unsigned char away[MMU_REGIONS * MMU_REGION_PAGES]; /* bits: why it is poisoned */
	unsigned char none[MMU_REGIONS * MMU_REGION_PAGES]; /* PROT_NONE */
};

void mmu_world_init(struct mmu_world *world);
/* Compares all, and ends it. */
void mmu_world_fini(struct mmu_world *world);

uint64_t mmu_place_gpa(uint32_t place);
/* Address in a shadow root of a page of its units, and what the guest's tables say of it. */
uint64_t mmu_shadow_addr(uint32_t page);
uint32_t mmu_shadow_place(union mmu_guest_unit unit, uint32_t page);
/* Called where a vCPU walks the guest's tables; the program's. */
void mmu_walked(union mmu_guest_unit unit);

/* Kinds of edits that are asked for. */
#define MMU_DELETE 1u
#define MMU_ANY_EDIT MMU_EDITS
/* An edit, and what goes is poisoned now and then. edit lock taken inside. */
void mmu_world_edit(struct mmu_world *world, struct stress_thread *self, unsigned int kind);
/* A host range is invalidated, poisoned, and comes back. */
void mmu_world_invalidate(struct mmu_world *world, struct stress_thread *self);
/* Check both MMUs, and each direct root against the map. calm taken for writing inside. */
void mmu_world_compare(struct mmu_world *world);

/* ---- What an access may find ---- */

struct mmu_seen {
	uint64_t done; /* before the section began */
	uint32_t place;
	enum mslot_access access;
	int err;       /* what the access returned */
	uint64_t word; /* of a load: the page's identity */
	bool guest_readonly;
};

uint64_t mmu_identity(uint32_t page);
/* Fail if nothing that was shown explains it. Returns false if it is too long ago to say. */
bool mmu_world_judge(struct mmu_world *world, const struct mmu_seen *seen);

#endif /* MSLOT_TESTS_MMU_WORLD_H */
