/* SPDX-License-Identifier: MIT */
/*
 * migrate_memory.c - the source's host memory: made full of noise, unmapped when the map lets
 * go of it, and copied while others write it.
 *
 * Data: source.memory, all memory there ever was, and source.gone, what was unmapped since the
 * destination was told last.
 *
 * Invariants:
 *   1 Memory is unmapped by the release callback of its region and nowhere else.
 *   2 An id is never used again, so that a page on its way cannot land in other memory.
 */
#include "migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/rng.h"
#include "cli.h"

#define WORD sizeof(uint64_t)

int source_fail(struct source *s, const char *what, int err)
{
	pthread_mutex_lock(&s->lock);
	if (!atomic_load(&s->failed)) {
		if (err != 0)
			snprintf(s->why, sizeof(s->why), "%s: %s", what, strerror(-err));
		else
			snprintf(s->why, sizeof(s->why), "%s", what);
		atomic_store(&s->failed, true);
	}
	pthread_mutex_unlock(&s->lock);
	/* Whoever waits for the other must find out. */
	pthread_mutex_lock(&s->pace.lock);
	pthread_cond_broadcast(&s->pace.moved);
	pthread_mutex_unlock(&s->pace.lock);
	return -1;
}

static void release_memory(void *ctx, const struct mslot_region_options *opt)
{
	struct memory *const m = ctx;
	struct source *const s = m->source;

	munmap(opt->hva, opt->len_bytes);
	pthread_mutex_lock(&s->lock);
	if (m->released++ == 0) {
		m->next_gone = s->gone;
		s->gone = m;
	}
	pthread_mutex_unlock(&s->lock);
}

/* No page is like another or empty: one that was never sent differs for sure. */
static void fill(uint8_t *host, uint64_t len_bytes, uint64_t seed)
{
	struct rng rng = {seed};

	for (uint64_t at = 0; at < len_bytes; at += WORD) {
		const uint64_t word = rng_next(&rng);

		memcpy(host + at, &word, WORD);
	}
}

static struct memory *memory_new(struct source *s, uint64_t len_bytes, uint8_t *host)
{
	struct memory *const m = cli_alloc(1, sizeof(*m));

	pthread_mutex_lock(&s->lock);
	*m = (struct memory){
	    .id = (uint32_t)s->nmemory, .len_bytes = len_bytes, .host = host, .source = s};
	s->memory = cli_grow(s->memory, s->nmemory, &s->cap, sizeof(struct memory *));
	s->memory[s->nmemory++] = m;
	pthread_mutex_unlock(&s->lock);
	return m;
}

struct memory *memory_create(struct source *s, uint64_t len_bytes, struct mslot_region **region)
{
	uint8_t *const host =
	    mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mslot_region_options opt = {
	    .hva = host, .len_bytes = len_bytes, .fd = -1, .release = release_memory};
	struct memory *m;
	int err;

	if (host == MAP_FAILED) {
		source_fail(s, "the guest's memory does not fit into this machine", 0);
		return NULL;
	}
	/* For speed alone; whether it works does not matter. */
	(void)madvise(host, len_bytes, MADV_HUGEPAGE);
	m = memory_new(s, len_bytes, host);
	fill(host, len_bytes, s->o->seed + m->id);
	opt.ctx = m;
	err = mslot_region_create(&opt, region);
	if (err == 0)
		return m;
	munmap(host, len_bytes);
	m->released = 1;
	source_fail(s, "mslot_region_create()", err);
	return NULL;
}

struct memory *memory_of(const struct mslot_region *region)
{
	struct mslot_region_options opt;

	mslot_region_options_get(region, &opt);
	return opt.ctx;
}

struct memory *memory_take_gone(struct source *s)
{
	struct memory *m;

	pthread_mutex_lock(&s->lock);
	do {
		m = s->gone;
		if (m != NULL)
			s->gone = m->next_gone;
	} while (m != NULL && !m->told);
	pthread_mutex_unlock(&s->lock);
	return m;
}

int memory_fini(struct source *s)
{
	bool once = true;

	for (size_t i = 0; i < s->nmemory; i++) {
		once &= s->memory[i]->released == 1;
		free(s->memory[i]);
	}
	free(s->memory);
	s->memory = NULL;
	s->nmemory = 0;
	return once ? 0 : source_fail(s, "a region was not released exactly once", 0);
}

void memory_copy_page(void *to, const uint8_t *from)
{
	const _Atomic uint64_t *const word = (const _Atomic uint64_t *)(const void *)from;
	uint64_t *const out = to;

	/* Relaxed: what a writer stores meanwhile it marks afterwards, for the next harvest. */
	for (size_t i = 0; i < MIGRATE_PAGE / WORD; i++)
		out[i] = atomic_load_explicit(&word[i], memory_order_relaxed);
}

void memory_store(uint8_t *to, uint64_t len_bytes, uint64_t val)
{
	_Atomic uint64_t *const word = (_Atomic uint64_t *)(void *)to;

	/* Relaxed: whoever stores marks afterwards, which orders the stores. */
	for (uint64_t i = 0; i < len_bytes / WORD; i++)
		atomic_store_explicit(&word[i], val + i, memory_order_relaxed);
}
