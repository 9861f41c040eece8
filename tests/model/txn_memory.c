/* SPDX-License-Identifier: MIT */
/*
 * txn_memory.c - the regions of the model test. Their host addresses are made up:
 * the map never looks at the memory itself.
 */
#include "txn_world.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define RELEASE_TIMEOUT_S 60

static pthread_mutex_t release_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t release_cond = PTHREAD_COND_INITIALIZER;

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	struct world_region *state = ctx;

	(void)pthread_mutex_lock(&release_lock);
	/* A callback with the options of another region is not counted as one. */
	atomic_fetch_add(&state->releases, opt->ctx == ctx ? 1 : 100);
	(void)pthread_cond_broadcast(&release_cond);
	(void)pthread_mutex_unlock(&release_lock);
}

/* A put that nothing else waits for is carried out some time later. */
static unsigned int await_release(struct world_region *state)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RELEASE_TIMEOUT_S;
	(void)pthread_mutex_lock(&release_lock);
	while (atomic_load(&state->releases) == 0)
		if (pthread_cond_timedwait(&release_cond, &release_lock, &until) == ETIMEDOUT)
			break;
	(void)pthread_mutex_unlock(&release_lock);
	return atomic_load(&state->releases);
}

static bool create(struct world *w, uint64_t hva, uint64_t len, bool odd)
{
	size_t i = w->nregions;
	struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)hva,
	    .len_bytes = len,
	    .fd = -1,
	    .release = on_release,
	    .ctx = &w->region_state[i],
	};
	int rc;

	rc = mslot_region_create(&opt, &w->regions[i].handle);
	if (rc)
		return twin_fail("mslot_region_create: %d", rc);
	w->regions[i].hva = hva;
	w->regions[i].len = len;
	w->regions[i].usable = true;
	w->regions[i].odd = odd;
	w->region_state[i].world = w;
	w->nregions++;
	w->naive.nregions = w->next.nregions = w->nregions;
	return true;
}

static bool create_large(struct world *w)
{
	const struct mslot_map_options *opt = &w->naive.opt;
	uint64_t mask = (UINT64_C(1) << opt->page_shift) - 1;
	uint64_t len = w->shape.window_bytes / 2 + 16 * w->shape.unit_bytes;
	uint64_t room = (opt->hva_limit & ~mask) - len;

	/* Close together: slots of several regions share host addresses. */
	if (w->nregions % 3)
		return create(w, room & ~mask, len, false);
	return create(w, (room / 2 + rng_below(&w->rng, len)) & ~mask, len, false);
}

bool memory_create_all(struct world *w)
{
	const struct mslot_map_options *opt = &w->naive.opt;
	uint64_t page = UINT64_C(1) << opt->page_shift;
	uint64_t limit = opt->hva_limit & ~(page - 1);
	uint64_t beyond = limit + 6 * page > limit ? 8 * page : 3 * page - 1;

	/* The last one reaches beyond hva_limit, where that is not the end of all addresses. */
	return create_large(w) && create_large(w) && create_large(w) &&
	       create(w, page, 3 * page, false) &&               /* small */
	       create(w, 0x100 * page, 5 * page + 100, false) && /* not whole pages */
	       create(w, 0x200 * page + 512, 9 * page, true) &&  /* not aligned */
	       create(w, limit - 2 * page, beyond, true);
}

static bool shown(const struct world *w, size_t region)
{
	for (size_t i = 0; i < w->naive.n; i++)
		if (w->naive.slots[i].region == (int)region)
			return true;
	return false;
}

void memory_put(struct world *w, size_t i)
{
	w->region_state[i].put = true;
	w->region_state[i].shown_at_put = shown(w, i);
	w->regions[i].usable = false;
	mslot_region_put(w->regions[i].handle);
}

/* Now and then put a region whose slots live on, and create another one. */
bool memory_maybe(struct world *w)
{
	size_t i = rng_below(&w->rng, w->nregions);

	/* A transaction that is set aside names regions by handles that must stay usable. */
	if (w->pending || !rng_chance(&w->rng, 1))
		return true;
	if (w->nregions == WORLD_REGIONS)
		return true;
	if (w->regions[i].usable && !w->regions[i].odd)
		memory_put(w, i);
	return create_large(w);
}

bool memory_settle(struct world *w)
{
	int rc;

	for (size_t i = 0; i < w->nholds; i++)
		if (w->holds[i].copy.generation != w->naive.generation)
			hold_drop(w, i--);
	rc = mslot_wait(w->map, w->naive.generation, -1);
	if (rc)
		return twin_fail("mslot_wait: %d", rc);
	for (size_t i = 0; i < w->nregions; i++) {
		struct world_region *state = &w->region_state[i];
		unsigned int want = state->put && !shown(w, i), got;

		got = want && !state->shown_at_put ? await_release(state)
						   : atomic_load(&state->releases);
		if (got != want)
			return twin_fail("region %zu was released %u times, not %u", i, got, want);
	}
	return true;
}

void memory_put_half(struct world *w)
{
	for (size_t i = 0; i < w->nregions; i++)
		if (!w->region_state[i].put && rng_chance(&w->rng, 50))
			memory_put(w, i);
}

bool memory_check_end(struct world *w)
{
	for (size_t i = 0; i < w->nregions; i++) {
		unsigned int got = atomic_load(&w->region_state[i].releases);

		if (got != (w->region_state[i].put ? 1 : 0))
			return twin_fail("region %zu was released %u times by mslot_map_destroy()",
					 i, got);
		if (w->region_state[i].put)
			continue;
		mslot_region_put(w->regions[i].handle);
		if (await_release(&w->region_state[i]) != 1)
			return twin_fail("region %zu was not released once after its put", i);
	}
	tally.releases += w->nregions;
	return true;
}
