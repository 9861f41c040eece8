/* SPDX-License-Identifier: MIT */
/* case_lookup.c - cases of one thread that only looks up; see cases.h. */
#include "cases.h"

#include "clock.h"

#define FEW 4096u /* addresses for the engines below */
#define SLOW_NS 2000u
#define LEAST_NS 1000000u /* of a repetition */
#define MOST_PASSES 16u

uint64_t case_expected(const struct bench_subject *s, enum bench_trail trail, size_t n)
{
	const uint32_t *const slot = s->set->trail[trail].slot;
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += slot[k] == BENCH_NO_SLOT ? 0 : s->token[slot[k]];
	return sum;
}

static enum bench_outcome check(struct bench_subject *s, uint64_t sum, uint64_t expected)
{
	if (sum == expected)
		return BENCH_OK;
	return bench_failed(s, "wrong answers while timed: the sum is 0x%llx, expected 0x%llx",
			    (unsigned long long)sum, (unsigned long long)expected);
}

/*
 * In the repetition that is not counted: an engine that searches linearly gets fewer
 * addresses, one that is done in no time gets several passes.
 */
static void adapt(struct bench_subject *s, uint64_t ns)
{
	const uint64_t all = ns * (BENCH_ADDRESSES / FEW);

	s->nlookups = ns > (uint64_t)FEW * SLOW_NS ? FEW : BENCH_ADDRESSES;
	s->npasses = all < LEAST_NS ? LEAST_NS / (all + 1) + 1 : 1;
	s->npasses = s->npasses > MOST_PASSES ? MOST_PASSES : s->npasses;
}

static enum bench_outcome run_trail(struct bench_subject *s, enum bench_trail trail,
				    uint64_t (*find)(struct engine_map *, const uint64_t *, size_t),
				    double *value)
{
	const uint64_t *const addr = s->set->trail[trail].addr;
	uint64_t begin = clock_cpu_ns(), sum = 0;

	if (s->repetition == 0) {
		find(s->map, addr, FEW);
		adapt(s, clock_cpu_ns() - begin);
	}
	begin = clock_cpu_ns();
	for (size_t i = 0; i < s->npasses; i++)
		sum += find(s->map, addr, s->nlookups);
	*value = (double)(clock_cpu_ns() - begin) / (double)(s->nlookups * s->npasses);
	return check(s, sum, s->npasses * case_expected(s, trail, s->nlookups));
}

enum bench_outcome case_lookup_random(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_RANDOM, s->engine->find, value);
}

enum bench_outcome case_lookup_dependent(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_RANDOM, s->engine->find_dependent, value);
}

enum bench_outcome case_lookup_local(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_LOCAL, s->engine->find_local, value);
}

enum bench_outcome case_lookup_sequential(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_SEQUENTIAL, s->engine->find, value);
}

enum bench_outcome case_lookup_miss(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_MISS, s->engine->find, value);
}

enum bench_outcome case_section(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_RANDOM, s->engine->find_section, value);
}

enum bench_outcome case_hva(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_HVA, s->engine->find_hva, value);
}

enum bench_outcome case_map(struct bench_subject *s, double value[2])
{
	return run_trail(s, TRAIL_PAGES, s->engine->find, value);
}

enum bench_outcome case_id(struct bench_subject *s, double value[2])
{
	const uint64_t begin = clock_cpu_ns();
	const uint64_t sum = s->engine->find_id(s->map, s->set->id, BENCH_ADDRESSES);

	*value = (double)(clock_cpu_ns() - begin) / BENCH_ADDRESSES;
	return check(s, sum, case_expected(s, TRAIL_RANDOM, BENCH_ADDRESSES));
}

/* ---- Host ranges ------------------------------------------------------------ */

static enum bench_outcome run_ranges(struct bench_subject *s, const struct bench_ranges *r,
				     double *value)
{
	const uint64_t begin = clock_cpu_ns();
	uint64_t sum = 0;

	for (size_t k = 0; k < r->n; k++)
		sum += s->engine->count_hva(s->map, r->start[k], r->len_bytes[k]);
	*value = (double)(clock_cpu_ns() - begin) / (double)r->n;
	return check(s, sum, r->nslots);
}

enum bench_outcome case_unmap(struct bench_subject *s, double value[2])
{
	return run_ranges(s, &s->set->unmap, value);
}

enum bench_outcome case_unmap_2m(struct bench_subject *s, double value[2])
{
	return run_ranges(s, &s->set->unmap2, value);
}
