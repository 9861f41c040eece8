/* SPDX-License-Identifier: MIT */
/*
 * case_threads.c - cases of two threads, by the wall clock; see cases.h.
 *
 * What is reported is a quantile of single edits, of single moves there and back, or of chunks
 * of lookups, never their mean: an edit that waits for the reader shows, a thread that loses
 * its CPU to another program for some milliseconds does not.
 *
 * While a writer edits, tokens are not known and sums cannot be compared. But no slot ever
 * goes in these cases (flags flip; the slot that moves is not asked for alone), so readers
 * check one by one, between what is timed, that a lookup finds something; the map is
 * verified slot by slot afterwards.
 */
#include "cases.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define EDITS 2000u
#define ROUND 32u         /* edits between two looks at whether the reader runs */
#define LEAST_PROGRESS 8u /* of the reader in a round, in its own rounds of lookups */
#define LONG_NS UINT64_C(100000000)
#define TOO_LONG_NS UINT64_C(1000000000)
#define CONCURRENT_NS UINT64_C(40000000)
#define PACE_NS UINT64_C(1000000)
#define CHUNK 1024u
#define CHECKED 16u
#define SAMPLES_MAX 65536u

enum reader_state { READER_STARTING, READER_READY, READER_GO, READER_STOP };

struct reader {
	const struct bench_subject *s;
	pthread_t thread;
	atomic_int state;
	_Atomic uint64_t progress; /* grows while the thread runs */
	uint64_t *ns; /* of each chunk, SAMPLES_MAX at most; NULL where nothing is timed */
	size_t nchunks;
	uint64_t missed; /* checked lookups that found nothing */
	uint64_t sum;
};

static enum bench_outcome failed(struct bench_subject *s, const char *what, int ret)
{
	return bench_failed(s, "%s: %s", what, strerror(-ret));
}

static int ns_compare(const void *pa, const void *pb)
{
	const uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a > b) - (a < b);
}

static double quantile(uint64_t *ns, size_t n, size_t percent)
{
	const size_t at = n * percent / 100;

	qsort(ns, n, sizeof(*ns), ns_compare);
	return (double)ns[at];
}

/* ---- Readers ---------------------------------------------------------------- */

static bool stopped(struct reader *r)
{
	return atomic_load_explicit(&r->state, memory_order_relaxed) == READER_STOP;
}

static void proceed(struct reader *r)
{
	const uint64_t n = atomic_load_explicit(&r->progress, memory_order_relaxed);

	atomic_store_explicit(&r->progress, n + 1, memory_order_relaxed);
}

static void reader_begin(struct reader *r)
{
	if (r->s->engine->thread_begin != NULL)
		r->s->engine->thread_begin();
	atomic_store(&r->state, READER_READY);
	while (atomic_load(&r->state) == READER_READY)
		;
}

static void reader_end(struct reader *r)
{
	if (r->s->engine->thread_end != NULL)
		r->s->engine->thread_end();
}

/* One lookup a section, back to back, one in CHECKED checked by itself; until told to stop. */
static void *busy_main(void *arg)
{
	struct reader *const r = arg;
	const struct engine *const e = r->s->engine;
	const uint64_t *const addr = r->s->set->trail[TRAIL_RANDOM].addr;

	reader_begin(r);
	for (size_t k = 0; !stopped(r); k = (k + CHECKED) % BENCH_ADDRESSES) {
		r->missed += e->find_section(r->s->map, &addr[k], 1) == 0;
		r->sum += e->find_section(r->s->map, &addr[k + 1], CHECKED - 1);
		proceed(r);
	}
	reader_end(r);
	return NULL;
}

/* Lookups of the slot that moves, here and gone. */
static void *area_main(void *arg)
{
	struct reader *const r = arg;
	const struct engine_slot *const slot = &r->s->set->slot[case_moved_slot(r->s)];
	uint64_t addr[CHECKED];

	for (size_t k = 0; k < CHECKED; k++)
		addr[k] = slot->gpa + k * ENGINE_PAGE % slot->len_bytes;
	reader_begin(r);
	while (!stopped(r)) {
		r->sum += r->s->engine->find_section(r->s->map, addr, CHECKED);
		proceed(r);
	}
	reader_end(r);
	return NULL;
}

/* Timed chunks, and checked lookups between them, until told to stop. */
static void *timed_main(void *arg)
{
	struct reader *const r = arg;
	const struct engine *const e = r->s->engine;
	const uint64_t *const addr = r->s->set->trail[TRAIL_RANDOM].addr;

	reader_begin(r);
	for (size_t k = 0; !stopped(r); k = (k + CHUNK) % BENCH_ADDRESSES) {
		const uint64_t begin = clock_wall_ns();

		r->sum += e->find_section(r->s->map, &addr[k], CHUNK);
		if (r->nchunks < SAMPLES_MAX)
			r->ns[r->nchunks++] = clock_wall_ns() - begin;
		proceed(r);
		for (size_t i = 0; i < CHECKED; i++)
			r->missed += e->find_section(r->s->map, &addr[k + i], 1) == 0;
	}
	reader_end(r);
	return NULL;
}

/* The same chunk again and again without a writer: the sum is known. */
static void *counted_main(void *arg)
{
	struct reader *const r = arg;
	const struct engine *const e = r->s->engine;
	const uint64_t *const addr = r->s->set->trail[TRAIL_RANDOM].addr;
	uint64_t begin, from, now;

	reader_begin(r);
	begin = from = clock_wall_ns();
	do {
		r->sum += e->find_section(r->s->map, addr, r->s->nlookups);
		now = clock_wall_ns();
		r->ns[r->nchunks++] = now - from;
		from = now;
	} while (now - begin < CONCURRENT_NS / 4 && r->nchunks < SAMPLES_MAX);
	reader_end(r);
	return NULL;
}

/* Returns when the thread is at its loop. */
static int reader_start(struct reader *r, const struct bench_subject *s, void *(*main)(void *))
{
	int ret;

	*r = (struct reader){.s = s};
	if (main == timed_main || main == counted_main)
		r->ns = bench_alloc(SAMPLES_MAX, sizeof(*r->ns));
	ret = pthread_create(&r->thread, NULL, main, r);
	if (ret != 0) {
		free(r->ns);
		return -ret;
	}
	while (atomic_load(&r->state) == READER_STARTING)
		;
	return 0;
}

static void reader_go(struct reader *r)
{
	atomic_store(&r->state, READER_GO);
}

static enum bench_outcome reader_stop(struct reader *r, struct bench_subject *s)
{
	atomic_store(&r->state, READER_STOP);
	pthread_join(r->thread, NULL);
	if (r->missed == 0)
		return BENCH_OK;
	return bench_failed(s, "%llu lookups missed a slot that is always there",
			    (unsigned long long)r->missed);
}

/* ---- Edits beside a reader ---------------------------------------------------- */

/* Flags of any slot. */
static int edit_once(struct bench_subject *s)
{
	return bench_change(s, rng_below(&s->rng, s->set->nslots));
}

/* One slot away and back. */
static int move_twice(struct bench_subject *s)
{
	const struct engine_slot *const slot = &s->set->slot[case_moved_slot(s)];
	const int ret = s->engine->move(s->map, slot->id, s->set->gpa_end);

	return ret < 0 ? ret : s->engine->move(s->map, slot->id, slot->gpa);
}

/* One round of edits, each timed. 0 or -errno. */
static int time_round(struct bench_subject *s, int (*edit)(struct bench_subject *), uint64_t *ns)
{
	uint64_t from = clock_wall_ns();

	for (size_t i = 0; i < ROUND; i++) {
		const int ret = edit(s);
		const uint64_t now = clock_wall_ns();

		if (ret < 0)
			return ret;
		ns[i] = now - from;
		from = now;
	}
	return 0;
}

/* Rounds of edits that count: those in which the reader ran all the time, or nearly. Their number
 * or -errno. */
static int time_edits(struct bench_subject *s, struct reader *r,
		      int (*edit)(struct bench_subject *), uint64_t *ns)
{
	const uint64_t begin = clock_wall_ns();
	uint64_t elapsed = 0;
	size_t n = 0;

	while (n + ROUND <= EDITS && (n == 0 ? elapsed < TOO_LONG_NS : elapsed < LONG_NS)) {
		const uint64_t before = atomic_load_explicit(&r->progress, memory_order_relaxed);
		const int ret = time_round(s, edit, &ns[n]);

		if (ret < 0)
			return ret;
		if (atomic_load_explicit(&r->progress, memory_order_relaxed) >=
		    before + LEAST_PROGRESS)
			n += ROUND;
		elapsed = clock_wall_ns() - begin;
	}
	return (int)n;
}

/* A quantile of edits beside a reader. */
static enum bench_outcome run_busy(struct bench_subject *s, void *(*main)(void *),
				   int (*edit)(struct bench_subject *), size_t percent,
				   double *value)
{
	uint64_t ns[EDITS];
	struct reader r;
	enum bench_outcome outcome;
	int n = reader_start(&r, s, main);

	if (n < 0)
		return failed(s, "cannot start a reader", n);
	reader_go(&r);
	n = time_edits(s, &r, edit, ns);
	outcome = reader_stop(&r, s);
	if (n < 0)
		return failed(s, "an edit", n);
	if (n == 0)
		return bench_skipped(s, "the reader had no CPU of its own");
	*value = quantile(ns, (size_t)n, percent);
	return outcome;
}

enum bench_outcome case_edit_busy(struct bench_subject *s, double value[2])
{
	return run_busy(s, busy_main, edit_once, 50, value);
}

enum bench_outcome case_edit_busy_p99(struct bench_subject *s, double value[2])
{
	return run_busy(s, busy_main, edit_once, 99, value);
}

enum bench_outcome case_move_active(struct bench_subject *s, double value[2])
{
	const enum bench_outcome outcome = run_busy(s, area_main, move_twice, 50, value);

	*value /= 2;
	return outcome;
}

/* ---- Readers beside a writer --------------------------------------------------- */

static void sleep_until(uint64_t ns)
{
	const struct timespec at = {.tv_sec = (time_t)(ns / 1000000000u),
				    .tv_nsec = (long)(ns % 1000000000u)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static bool ran(struct reader *r)
{
	return atomic_load_explicit(&r->progress, memory_order_relaxed) > 0;
}

/*
 * Edits for CONCURRENT_NS, longer where the reader has not run by then, one every `pace_ns`
 * (0: without a pause); their number or -errno.
 */
static int64_t edit_for_a_while(struct bench_subject *s, struct reader *r, uint64_t pace_ns,
				uint64_t *ns)
{
	const uint64_t begin = clock_wall_ns();
	uint64_t now = begin;
	size_t n = 0;

	do {
		const uint64_t from = now;
		const int ret = edit_once(s);

		if (ret < 0)
			return ret;
		now = clock_wall_ns();
		ns[n % SAMPLES_MAX] = now - from;
		n++;
		if (pace_ns > 0) {
			sleep_until(begin + n * pace_ns);
			now = clock_wall_ns();
		}
	} while (now - begin < (ran(r) ? CONCURRENT_NS : TOO_LONG_NS));
	return (int64_t)(n < SAMPLES_MAX ? n : SAMPLES_MAX);
}

static enum bench_outcome run_concurrent(struct bench_subject *s, uint64_t pace_ns, double value[2])
{
	uint64_t *const ns = bench_alloc(SAMPLES_MAX, sizeof(*ns));
	struct reader r;
	enum bench_outcome outcome;
	int64_t n = reader_start(&r, s, timed_main);

	if (n < 0) {
		free(ns);
		return failed(s, "cannot start a reader", (int)n);
	}
	reader_go(&r);
	n = edit_for_a_while(s, &r, pace_ns, ns);
	outcome = reader_stop(&r, s);
	if (n < 0)
		outcome = failed(s, "an edit", (int)n);
	else if (outcome == BENCH_OK && r.nchunks == 0)
		outcome = bench_skipped(s, "the reader had no CPU of its own");
	if (outcome == BENCH_OK) {
		value[0] = quantile(r.ns, r.nchunks, 50) / CHUNK;
		value[1] = quantile(ns, (size_t)n, 50);
	}
	free(r.ns);
	free(ns);
	return outcome;
}

enum bench_outcome case_concurrent_rw(struct bench_subject *s, double value[2])
{
	return run_concurrent(s, 0, value);
}

enum bench_outcome case_concurrent_paced(struct bench_subject *s, double value[2])
{
	return run_concurrent(s, PACE_NS, value);
}

/* ---- Two readers ---------------------------------------------------------------- */

static enum bench_outcome check_counted(struct bench_subject *s, const struct reader *r)
{
	const uint64_t sum = case_expected(s, TRAIL_RANDOM, s->nlookups);
	const uint64_t expected = sum * r->nchunks;

	if (r->sum == expected)
		return BENCH_OK;
	return bench_failed(s, "wrong answers while timed: the sum is 0x%llx, expected 0x%llx",
			    (unsigned long long)r->sum, (unsigned long long)expected);
}

enum bench_outcome case_concurrent_2r(struct bench_subject *s, double value[2])
{
	struct reader r[2];
	enum bench_outcome outcome = BENCH_OK;
	size_t n = 0;
	int ret = 0;

	s->nlookups = CHUNK * 4;
	*value = 0;
	while (n < 2 && ret == 0) {
		ret = reader_start(&r[n], s, counted_main);
		n += ret == 0;
	}
	for (size_t i = 0; i < n; i++)
		reader_go(&r[i]);
	for (size_t i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		*value += quantile(r[i].ns, r[i].nchunks, 50) / (double)s->nlookups / 2;
		if (outcome == BENCH_OK)
			outcome = check_counted(s, &r[i]);
		free(r[i].ns);
	}
	return ret < 0 ? failed(s, "cannot start a reader", ret) : outcome;
}
