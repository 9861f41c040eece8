/* SPDX-License-Identifier: MIT */
/* layout.c - the layouts and trails of layout.h. */
#include "layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "rng.h"

#define PAGE ENGINE_PAGE
#define HUGE (UINT64_C(2) << 20)
#define NUMBERS_HVA (UINT64_C(1) << 44) /* only a number: nothing is mapped there */
#define BIG_BYTES (UINT64_C(64) << 30)
/* With NUMBERS_HVA, what a process can have of host addresses: engines check that. */
#define BIG_SUM (UINT64_C(3) << 45)
#define RANDOM_PLACE (16 * PAGE)
#define SEQUENTIAL_RUN 16u

const char *const bench_layout_name[LAYOUT_COUNT] = {"random", "contiguous", "skewed"};

void *bench_alloc(size_t n, size_t size)
{
	void *const p = calloc(n > 0 ? n : 1, size);

	if (p != NULL)
		return p;
	fputs("mslot bench: out of memory\n", stderr);
	exit(EXIT_FAILURE);
}

static uint32_t *permutation(size_t n, struct rng *rng)
{
	uint32_t *const v = bench_alloc(n, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (uint32_t)i;
	for (size_t i = n; i > 1; i--) {
		const size_t k = rng_below(rng, i);
		const uint32_t tmp = v[i - 1];

		v[i - 1] = v[k];
		v[k] = tmp;
	}
	return v;
}

/* ---- Slots ------------------------------------------------------------------ */

static void place_random(struct bench_set *set, struct rng *rng)
{
	uint64_t gpa = 0;

	for (size_t i = 0; i < set->nslots; i++) {
		gpa += rng_below(rng, 16) * PAGE;
		set->slot[i].gpa = gpa;
		set->slot[i].len_bytes = (1 + rng_below(rng, 16)) * PAGE;
		gpa += set->slot[i].len_bytes;
	}
	set->gpa_end = gpa;
}

static void place_contiguous(struct bench_set *set)
{
	for (size_t i = 0; i < set->nslots; i++) {
		set->slot[i].gpa = i * HUGE;
		set->slot[i].len_bytes = HUGE;
	}
	set->gpa_end = set->nslots * HUGE;
}

static void place_skewed(struct bench_set *set, struct rng *rng)
{
	uint64_t big = BIG_BYTES, gpa = 0;
	bool small = true;

	while ((set->nslots / 2 + 32) * big > BIG_SUM)
		big /= 2;
	for (size_t i = 0; i < set->nslots; small = !small) {
		size_t run = 8 + rng_below(rng, 25);

		for (; run > 0 && i < set->nslots; run--, i++) {
			gpa += small ? rng_below(rng, 4) * PAGE : 0;
			set->slot[i].gpa = gpa;
			set->slot[i].len_bytes = small ? PAGE : big;
			gpa += set->slot[i].len_bytes;
		}
		gpa = (gpa + HUGE - 1) / HUGE * HUGE;
	}
	set->gpa_end = gpa;
}

/* Bytes of the host place that a slot gets. */
static uint64_t place_bytes(const struct bench_set *set, size_t i)
{
	return set->layout == LAYOUT_RANDOM ? RANDOM_PLACE : set->slot[i].len_bytes;
}

static int place_host(struct bench_set *set, bool real_memory)
{
	uint64_t bytes = 0, hva = NUMBERS_HVA;

	for (size_t i = 0; i < set->nslots; i++)
		bytes += place_bytes(set, i);
	if (real_memory && set->layout == LAYOUT_RANDOM && bytes > 0) {
		void *const p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		set->mapped = p;
		hva = (uintptr_t)p;
	}
	set->hva_start = hva;
	for (size_t k = 0; k < set->nslots; k++) {
		set->slot[set->by_hva[k]].hva = hva;
		hva += place_bytes(set, set->by_hva[k]);
	}
	set->hva_end = hva;
	return 0;
}

static int choose_slots(struct bench_set *set, bool real_memory, struct rng *rng)
{
	uint32_t *const id = permutation(set->nslots, rng);

	set->slot = bench_alloc(set->nslots, sizeof(*set->slot));
	set->by_hva = permutation(set->nslots, rng);
	if (set->layout == LAYOUT_CONTIGUOUS)
		place_contiguous(set);
	else if (set->layout == LAYOUT_SKEWED)
		place_skewed(set, rng);
	else
		place_random(set, rng);
	for (size_t i = 0; i < set->nslots; i++)
		set->slot[i].id = id[i];
	free(id);
	return place_host(set, real_memory);
}

/* ---- Addresses -------------------------------------------------------------- */

static void put(struct bench_set *set, enum bench_trail trail, size_t k, uint64_t addr, size_t i)
{
	set->trail[trail].addr[k] = addr;
	set->trail[trail].slot[k] = (uint32_t)i;
}

static void choose_random(struct bench_set *set, struct rng *rng)
{
	size_t run = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++) {
		const size_t i = rng_below(rng, set->nslots);
		const struct engine_slot *const slot = &set->slot[i];
		const uint64_t at = rng_below(rng, slot->len_bytes);

		run = k % BENCH_LOCAL_RUN == 0 ? i : run;
		put(set, TRAIL_RANDOM, k, slot->gpa + at, i);
		put(set, TRAIL_HVA, k, slot->hva + at, i);
		put(set, TRAIL_LOCAL, k,
		    set->slot[run].gpa + rng_below(rng, set->slot[run].len_bytes), run);
		set->id[k] = slot->id;
	}
}

static void choose_miss(struct bench_set *set, struct rng *rng)
{
	for (size_t k = 0; k < BENCH_ADDRESSES; k++) {
		const size_t i = rng_below(rng, set->nslots);
		const uint64_t end = set->slot[i].gpa + set->slot[i].len_bytes;
		const uint64_t next = i + 1 < set->nslots ? set->slot[i + 1].gpa : end;
		const uint64_t addr = next > end ? end + rng_below(rng, next - end)
						 : set->gpa_end + rng_below(rng, set->gpa_end);

		put(set, TRAIL_MISS, k, addr, BENCH_NO_SLOT);
	}
}

/* All slots in guest order, `most` pages of each as far apart as they can be. */
static void choose_rising(struct bench_set *set, enum bench_trail trail, uint64_t most)
{
	size_t k = 0;

	while (k < BENCH_ADDRESSES) {
		for (size_t i = 0; i < set->nslots && k < BENCH_ADDRESSES; i++) {
			const uint64_t npages = set->slot[i].len_bytes / PAGE;
			const uint64_t step = npages > most ? npages / most : 1;

			for (uint64_t page = 0; page < npages && k < BENCH_ADDRESSES; page += step)
				put(set, trail, k++, set->slot[i].gpa + page * PAGE, i);
		}
	}
}

/* ---- Host ranges ------------------------------------------------------------ */

/* How many slots begin below an address. */
static size_t begin_below(const struct bench_set *set, uint64_t hva)
{
	size_t lo = 0, hi = set->nslots;

	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;

		if (set->slot[set->by_hva[mid]].hva < hva)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t bench_set_count_hva(const struct bench_set *set, uint64_t hva, uint64_t len_bytes)
{
	const size_t end = begin_below(set, hva + len_bytes);
	size_t first = begin_below(set, hva);

	/* Host places are distinct: of those that begin below only the last can reach here. */
	if (first > 0) {
		const struct engine_slot *const slot = &set->slot[set->by_hva[first - 1]];

		first -= slot->hva + slot->len_bytes > hva;
	}
	return end - first;
}

static void ranges_init(struct bench_ranges *r)
{
	r->start = bench_alloc(BENCH_ADDRESSES, sizeof(*r->start));
	r->len_bytes = bench_alloc(BENCH_ADDRESSES, sizeof(*r->len_bytes));
}

static void put_range(const struct bench_set *set, struct bench_ranges *r, uint64_t start,
		      uint64_t len_bytes)
{
	r->start[r->n] = start;
	r->len_bytes[r->n] = len_bytes;
	r->nslots += bench_set_count_hva(set, start, len_bytes);
	r->n++;
}

static void choose_ranges(struct bench_set *set)
{
	ranges_init(&set->unmap);
	ranges_init(&set->unmap2);
	while (set->unmap.n < BENCH_ADDRESSES) {
		for (size_t i = 0; i < set->nslots && set->unmap.n < BENCH_ADDRESSES; i++) {
			const struct engine_slot *const s = &set->slot[i];

			for (uint64_t at = 0; at < s->len_bytes && set->unmap.n < BENCH_ADDRESSES;
			     at += 2 * PAGE)
				put_range(set, &set->unmap, s->hva + at,
					  s->len_bytes - at > PAGE ? 2 * PAGE : PAGE);
		}
	}
	/* A 16th, because each may find many slots. */
	while (set->unmap2.n < BENCH_ADDRESSES / 16) {
		for (uint64_t hva = set->hva_start;
		     hva < set->hva_end && set->unmap2.n < BENCH_ADDRESSES / 16; hva += HUGE)
			put_range(set, &set->unmap2, hva, HUGE);
	}
}

/* ---- Both ------------------------------------------------------------------- */

int bench_set_init(struct bench_set *set, const struct bench_set_options *opt)
{
	struct rng rng = {opt->seed};
	int ret;

	*set = (struct bench_set){.layout = opt->layout, .nslots = opt->nslots};
	ret = choose_slots(set, opt->real_memory, &rng);
	if (ret < 0) {
		bench_set_fini(set);
		return ret;
	}
	set->id = bench_alloc(BENCH_ADDRESSES, sizeof(*set->id));
	for (size_t t = 0; t < TRAIL_COUNT; t++) {
		set->trail[t].addr = bench_alloc(BENCH_ADDRESSES, sizeof(uint64_t));
		set->trail[t].slot = bench_alloc(BENCH_ADDRESSES, sizeof(uint32_t));
	}
	if (set->nslots == 0)
		return 0;
	choose_random(set, &rng);
	choose_miss(set, &rng);
	choose_rising(set, TRAIL_SEQUENTIAL, SEQUENTIAL_RUN);
	choose_rising(set, TRAIL_PAGES, UINT64_MAX);
	choose_ranges(set);
	return 0;
}

void bench_set_fini(struct bench_set *set)
{
	if (set->mapped != NULL)
		munmap(set->mapped, set->hva_end - set->hva_start);
	for (size_t t = 0; t < TRAIL_COUNT; t++) {
		free(set->trail[t].addr);
		free(set->trail[t].slot);
	}
	free(set->unmap.start);
	free(set->unmap.len_bytes);
	free(set->unmap2.start);
	free(set->unmap2.len_bytes);
	free(set->id);
	free(set->by_hva);
	free(set->slot);
	*set = (struct bench_set){0};
}
