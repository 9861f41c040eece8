/* SPDX-License-Identifier: MIT */
#include "stress/lent.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

/* More than the limit of retired memory, holds and transactions together can reach. */
#define LENT_MOST 20000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lent *idle;
static uint64_t pieces;
static _Atomic uint64_t created, released;

static void stamp(struct lent *lent, uint64_t life)
{
	uint64_t page;

	for (page = 0; page < LENT_PAGES; page++)
		*(uint64_t *)(void *)(lent->hva + page * LENT_PAGE) = life;
}

static void release(void *ctx, const struct mslot_region_options *opt)
{
	struct lent *lent = ctx;
	uint64_t life = opt->fd_offset;

	CHECK(atomic_load(&lent->current) == life && atomic_exchange(&lent->living, 0) == 1,
	      "life %" PRIu64 " released twice (L2)", life);
	CHECK(atomic_load(&lent->sharers) == 0, "released before its creator put it (L2)");
	stamp(lent, 0);
	if (lent->number % 2)
		CHECK_OK(mprotect(lent->hva, opt->len_bytes, PROT_NONE));
	atomic_fetch_add(&released, 1);
	pthread_mutex_lock(&lock);
	lent->next = idle;
	idle = lent;
	pthread_mutex_unlock(&lock);
	/* A wait that ends before the callback does will notice. */
	sched_yield();
	atomic_store(&lent->finished, life);
}

static struct lent *take(void)
{
	struct lent *lent;
	uint64_t number;

	pthread_mutex_lock(&lock);
	lent = idle;
	if (lent)
		idle = lent->next;
	else
		CHECK(++pieces <= LENT_MOST, "regions are not released (L2)");
	number = pieces;
	pthread_mutex_unlock(&lock);
	if (lent)
		return lent;
	lent = calloc(1, sizeof(*lent));
	if (!lent)
		abort();
	lent->number = number;
	lent->hva = mmap(NULL, LENT_PAGES * LENT_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(lent->hva != MAP_FAILED, "out of memory");
	return lent;
}

struct lent *lent_create(void)
{
	struct lent *lent = take();
	struct mslot_region_options opt = {
	    .hva = lent->hva,
	    .len_bytes = LENT_PAGES * LENT_PAGE,
	    .fd = -1,
	    .release = release,
	    .ctx = lent,
	};

	lent->life = atomic_fetch_add(&created, 1) + 1;
	opt.fd_offset = lent->life;
	CHECK_OK(mprotect(lent->hva, opt.len_bytes, PROT_READ | PROT_WRITE));
	stamp(lent, lent->life);
	atomic_store(&lent->current, lent->life);
	atomic_store(&lent->sharers, 1);
	atomic_store(&lent->living, 1);
	CHECK_OK(mslot_region_create(&opt, &lent->region));
	return lent;
}

void lent_get(struct lent *lent)
{
	CHECK(atomic_fetch_add(&lent->sharers, 1) > 0, "shared by nobody");
}

void lent_put(struct lent *lent)
{
	struct mslot_region *region;

	if (!lent)
		return;
	/* Once the count is zero the piece may get another life at any time. */
	region = lent->region;
	if (atomic_fetch_sub(&lent->sharers, 1) == 1)
		mslot_region_put(region);
}

bool lent_finished(const struct lent *lent, uint64_t life)
{
	return atomic_load(&lent->finished) >= life;
}

uint64_t lent_touch(const struct mslot_slot *slot)
{
	struct mslot_region_options opt;
	struct mslot_slot_info info;
	const struct lent *lent;
	uint64_t off, found;

	mslot_slot_info_get(slot, &info);
	mslot_region_options_get(info.region, &opt);
	lent = opt.ctx;
	CHECK(atomic_load(&lent->current) == opt.fd_offset && atomic_load(&lent->living) == 1,
	      "life %" PRIu64 " reached after its release (L2)", opt.fd_offset);
	for (off = 0; off < info.len_bytes; off += LENT_PAGE) {
		found = *(const volatile uint64_t *)(uintptr_t)(info.hva + off);
		CHECK(found == opt.fd_offset,
		      "memory of life %" PRIu64 ", not %" PRIu64 ", reached (L2)", found,
		      opt.fd_offset);
	}
	return opt.fd_offset;
}

uint64_t lent_created(void)
{
	return atomic_load(&created);
}

uint64_t lent_released(void)
{
	return atomic_load(&released);
}
