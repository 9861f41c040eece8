/* SPDX-License-Identifier: MIT */
/*
 * lent.h - real memory lent to maps, which shows when it is used too late.
 *
 * Each piece of memory has one life from lent_create() to its release callback, with a
 * number of its own that stands in every page. The callback wipes it, takes some of the memory
 * away altogether, and leaves it to a later life. A release of another life, a second one,
 * or one while the creator's reference exists, fails.
 */
#ifndef MSLOT_TESTS_LENT_H
#define MSLOT_TESTS_LENT_H

#include "stress/stress.h"

#define LENT_PAGE UINT64_C(4096)
#define LENT_PAGES 4u

struct lent {
	struct mslot_region *region; /* the creator's reference, while somebody shares it */
	char *hva;
	uint64_t life;
	_Atomic uint64_t current;  /* the same, for the callback to compare */
	_Atomic uint64_t finished; /* the last life whose callback came to its end */
	_Atomic uint32_t sharers;  /* of the creator's reference */
	_Atomic uint32_t living;
	uint64_t number;
	struct lent *next;
};

/* A new region, its reference shared by the caller alone. */
struct lent *lent_create(void);
/* Another sharer, by one who is a sharer. */
void lent_get(struct lent *lent);
/* The last sharer puts the region. NULL does nothing. */
void lent_put(struct lent *lent);
/* Has the callback of a life come to its end? */
bool lent_finished(const struct lent *lent, uint64_t life);
/* Fails unless all memory that the slot shows is of one living region. Returns its life. */
uint64_t lent_touch(const struct mslot_slot *slot);

uint64_t lent_created(void);
uint64_t lent_released(void);

#endif /* MSLOT_TESTS_LENT_H */
