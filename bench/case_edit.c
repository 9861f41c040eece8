/* SPDX-License-Identifier: MIT */
/*
 * case_edit.c - cases of one thread that edits, sets up or measures memory; see cases.h.
 *
 * Loops of edits end after so many or after so long, whichever comes first, so that the
 * slow engines take part with fewer edits and the fast ones are timed for long enough.
 *
 * The clock is the CPU time of all threads, because an engine may leave a part of an edit to a
 * thread of its own. No other thread of the process is at work then: what other engines left to
 * theirs was done before their turn ended.
 */
#include "cases.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define EDITS 20000u
#define LONG_NS UINT64_C(50000000)
#define SETUP_NS UINT64_C(3000000)
#define BATCH 64u
#define CHECK_EVERY 16u
#define ESTIMATE_FROM_NS UINT64_C(500000000)

static enum bench_outcome failed(struct bench_subject *s, const char *what, int ret)
{
	return bench_failed(s, "%s: %s", what, strerror(-ret));
}

/* The clock, with all that was left to other threads. */
static uint64_t settled_ns(struct bench_subject *s)
{
	if (s->engine->settle != NULL)
		s->engine->settle(s->map);
	return clock_process_ns();
}

enum bench_outcome case_edit(struct bench_subject *s, double value[2])
{
	uint64_t end, begin;
	size_t n = 0;

	if (s->repetition == 0 && bench_check_change(s) != BENCH_OK)
		return BENCH_FAILED;
	/* CPU time is a system call: whether the time is up the wall clock tells. */
	begin = settled_ns(s);
	end = clock_wall_ns() + LONG_NS;
	while (n < EDITS && (n % CHECK_EVERY != 0 || clock_wall_ns() < end)) {
		const int ret = bench_change(s, rng_below(&s->rng, s->set->nslots));

		if (ret < 0)
			return failed(s, "an edit", ret);
		n++;
	}
	*value = (double)(settled_ns(s) - begin) / (double)n;
	return BENCH_OK;
}

enum bench_outcome case_batch(struct bench_subject *s, double value[2])
{
	const size_t nslots = s->set->nslots, n = nslots < BATCH ? nslots : BATCH;
	uint64_t elapsed = 0, rest;
	size_t nbatches = 0;

	settled_ns(s);
	while (nbatches < EDITS / BATCH && elapsed < LONG_NS) {
		const size_t first = rng_below(&s->rng, nslots);
		struct engine_slot slot[BATCH];
		uint64_t begin;
		int ret;

		for (size_t i = 0; i < n; i++) {
			const size_t k = (first + i) % nslots;

			s->flags[k] ^= 1u;
			slot[i] = s->set->slot[k];
			slot[i].flags = s->flags[k];
		}
		begin = clock_process_ns();
		ret = s->engine->batch_flags(s->map, slot, n);
		elapsed += clock_process_ns() - begin;
		if (ret < 0)
			return failed(s, "batch_flags()", ret);
		if (s->repetition == 0 && nbatches == 0 &&
		    bench_verify_flags(s, s->map, s->set) != BENCH_OK)
			return BENCH_FAILED;
		nbatches++;
	}
	rest = clock_process_ns();
	elapsed += settled_ns(s) - rest;
	*value = (double)elapsed / (double)nbatches;
	return BENCH_OK;
}

/* Pairs of replacements, so that the map holds the first set again in the end. */
enum bench_outcome case_replace(struct bench_subject *s, double value[2])
{
	const struct bench_set *const set[] = {s->other, s->set};
	uint64_t elapsed = 0, rest;
	size_t n = 0;

	settled_ns(s);
	while (n < 2 || (elapsed < SETUP_NS && n < EDITS)) {
		const uint64_t begin = clock_process_ns();

		for (size_t i = 0; i < 2; i++, n++) {
			const int ret = s->engine->fill(s->map, set[i]->slot, set[i]->nslots);

			if (ret < 0)
				return failed(s, "fill()", ret);
			if (s->repetition == 0 && n == 0 &&
			    bench_verify(s, s->map, s->other) != BENCH_OK)
				return BENCH_FAILED;
		}
		elapsed += clock_process_ns() - begin;
	}
	rest = clock_process_ns();
	elapsed += settled_ns(s) - rest;
	*value = (double)elapsed / (double)n / 1e6;
	return BENCH_OK;
}

/* ---- Setup ------------------------------------------------------------------ */

/* All slots one by one; gives up where the whole would take too long. */
static enum bench_outcome insert_all(struct bench_subject *s, struct engine_map *map)
{
	const uint64_t begin = clock_wall_ns();
	const size_t n = s->set->nslots;

	for (size_t i = 0; i < n; i++) {
		const int ret = s->engine->insert(map, &s->set->slot[i]);
		uint64_t elapsed;

		if (ret < 0)
			return failed(s, "insert()", ret);
		if (i % CHECK_EVERY != CHECK_EVERY - 1)
			continue;
		elapsed = clock_wall_ns() - begin;
		/* What is left costs at least as much a slot as what is done. */
		if (elapsed > ESTIMATE_FROM_NS &&
		    (double)elapsed / (double)(i + 1) * (double)n > (double)BENCH_LIMIT_NS)
			return bench_skipped(s, "one repetition would take more than %.0f s",
					     (double)BENCH_LIMIT_NS / 1e9);
	}
	return BENCH_OK;
}

static enum bench_outcome fill_all(struct bench_subject *s, struct engine_map *map)
{
	const int ret = s->engine->fill(map, s->set->slot, s->set->nslots);

	return ret < 0 ? failed(s, "fill()", ret) : BENCH_OK;
}

/*
 * Fill new maps until enough was timed; making and ending a map is not, and with the end goes
 * what an engine's own thread has not freed by then.
 */
static enum bench_outcome
run_setup(struct bench_subject *s,
	  enum bench_outcome (*setup)(struct bench_subject *, struct engine_map *), double *value)
{
	enum bench_outcome outcome = BENCH_OK;
	uint64_t elapsed = 0, begin;
	size_t n = 0;

	while (outcome == BENCH_OK && (n == 0 || (elapsed < SETUP_NS && n < EDITS / 10))) {
		struct engine_map *const map = s->engine->create((uint32_t)s->set->nslots);

		if (map == NULL)
			return bench_failed(s, "cannot create a map");
		begin = clock_process_ns();
		outcome = setup(s, map);
		elapsed += clock_process_ns() - begin;
		if (outcome == BENCH_OK && s->repetition == 0 && n == 0)
			outcome = bench_verify(s, map, s->set);
		s->engine->destroy(map);
		n++;
	}
	*value = (double)elapsed / (double)n / 1e6;
	return outcome;
}

enum bench_outcome case_setup(struct bench_subject *s, double value[2])
{
	return run_setup(s, insert_all, value);
}

enum bench_outcome case_setup_one(struct bench_subject *s, double value[2])
{
	return run_setup(s, fill_all, value);
}

enum bench_outcome case_memory(struct bench_subject *s, double value[2])
{
	const uint64_t bytes = s->engine->memory(s->map);

	*value = (double)bytes;
	return bytes > 0 ? BENCH_OK : bench_failed(s, "memory() is 0 with slots in the map");
}

/* ---- Moves ------------------------------------------------------------------ */

size_t case_moved_slot(const struct bench_subject *s)
{
	return s->set->nslots / 2;
}

enum bench_outcome case_move_inactive(struct bench_subject *s, double value[2])
{
	const struct engine_slot *const slot = &s->set->slot[case_moved_slot(s)];
	uint64_t end, begin;
	size_t n = 0;

	if (s->repetition == 0 && bench_check_move(s, case_moved_slot(s)) != BENCH_OK)
		return BENCH_FAILED;
	/* CPU time is a system call: whether the time is up the wall clock tells. */
	begin = settled_ns(s);
	end = clock_wall_ns() + LONG_NS;
	while (n < EDITS && (n % CHECK_EVERY != 0 || clock_wall_ns() < end)) {
		int ret = s->engine->move(s->map, slot->id, s->set->gpa_end);

		if (ret == 0)
			ret = s->engine->move(s->map, slot->id, slot->gpa);
		if (ret < 0)
			return failed(s, "move()", ret);
		n += 2;
	}
	*value = (double)(settled_ns(s) - begin) / (double)n;
	return BENCH_OK;
}

enum bench_outcome case_bare_call(struct bench_subject *s, double value[2])
{
	*value = s->bare_call->ns();
	return *value > 0 ? BENCH_OK : bench_failed(s, "the bare call cannot be measured");
}
