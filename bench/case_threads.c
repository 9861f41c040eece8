/* SPDX-License-Identifier: MIT */
/*
 * case_threads.c - cases of two threads, by the wall clock; see cases.h.
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
#define LEAST_EDITS 100u
#define LONG_NS UINT64_C(100000000)
#define CONCURRENT_NS UINT64_C(40000000)
#define PACE_NS UINT64_C(1000000)
#define CHUNK 1024u
#define CHECKED 16u

enum reader_state { READER_STARTING, READER_READY, READER_GO, READER_STOP };

struct reader {
	const struct bench_subject *s;
	pthread_t thread;
	atomic_int state;
	uint64_t nlookups;
	uint64_t elapsed_ns; /* of them */
	uint64_t missed;     /* checked lookups that found nothing */
	uint64_t sum;
};

static enum bench_outcome failed(struct bench_subject *s, const char *what, int ret)
{
	return bench_failed(s, "%s: %s", what, strerror(-ret));
}

/* ---- Readers ---------------------------------------------------------------- */

static bool stopped(struct reader *r)
{
	return atomic_load_explicit(&r->state, memory_order_relaxed) == READER_STOP;
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
	while (!stopped(r))
		r->sum += r->s->engine->find_section(r->s->map, addr, CHECKED);
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
		r->elapsed_ns += clock_wall_ns() - begin;
		r->nlookups += CHUNK;
		for (size_t i = 0; i < CHECKED; i++)
			r->missed += e->find_section(r->s->map, &addr[k + i], 1) == 0;
	}
	reader_end(r);
	return NULL;
}

/* Whole trails without a writer: the sum is known. */
static void *counted_main(void *arg)
{
	struct reader *const r = arg;
	const struct engine *const e = r->s->engine;
	const uint64_t *const addr = r->s->set->trail[TRAIL_RANDOM].addr;
	uint64_t begin;

	reader_begin(r);
	begin = clock_wall_ns();
	while (r->elapsed_ns < CONCURRENT_NS / 4) {
		r->sum += e->find_section(r->s->map, addr, r->s->nlookups);
		r->nlookups += r->s->nlookups;
		r->elapsed_ns = clock_wall_ns() - begin;
	}
	reader_end(r);
	return NULL;
}

/* Returns when the thread is at its loop. */
static int reader_start(struct reader *r, const struct bench_subject *s, void *(*main)(void *))
{
	int ret;

	*r = (struct reader){.s = s};
	ret = pthread_create(&r->thread, NULL, main, r);
	if (ret != 0)
		return -ret;
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

static int ns_compare(const void *pa, const void *pb)
{
	const uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a > b) - (a < b);
}

/* Edits, each timed; their number, or -errno. */
static int time_edits(struct bench_subject *s, uint64_t *ns)
{
	const uint64_t begin = clock_wall_ns();
	uint64_t from = begin;
	size_t n = 0;

	while (n < EDITS && (n < LEAST_EDITS || from - begin < LONG_NS)) {
		const int ret = bench_change(s, rng_below(&s->rng, s->set->nslots));
		const uint64_t now = clock_wall_ns();

		if (ret < 0)
			return ret;
		ns[n++] = now - from;
		from = now;
	}
	return (int)n;
}

/*
 * A quantile of single edits and not their mean: an edit that waits for the reader shows,
 * a thread that loses its CPU to another program does not.
 */
static enum bench_outcome run_busy(struct bench_subject *s, size_t percent, double *value)
{
	uint64_t ns[EDITS];
	struct reader r;
	enum bench_outcome outcome;
	int n = reader_start(&r, s, busy_main);

	if (n < 0)
		return failed(s, "cannot start a reader", n);
	reader_go(&r);
	n = time_edits(s, ns);
	outcome = reader_stop(&r, s);
	if (n < 0)
		return failed(s, "an edit", n);
	qsort(ns, (size_t)n, sizeof(ns[0]), ns_compare);
	*value = (double)ns[(size_t)n * percent / 100];
	return outcome;
}

enum bench_outcome case_edit_busy(struct bench_subject *s, double value[2])
{
	return run_busy(s, 50, value);
}

enum bench_outcome case_edit_busy_p99(struct bench_subject *s, double value[2])
{
	return run_busy(s, 99, value);
}

enum bench_outcome case_move_active(struct bench_subject *s, double value[2])
{
	struct reader r;
	enum bench_outcome outcome, stop;
	const int ret = reader_start(&r, s, area_main);

	if (ret < 0)
		return failed(s, "cannot start a reader", ret);
	reader_go(&r);
	outcome = case_move_loop(s, clock_wall_ns, value);
	stop = reader_stop(&r, s);
	return outcome == BENCH_OK ? stop : outcome;
}

/* ---- Readers beside a writer --------------------------------------------------- */

/* Edits for CONCURRENT_NS, one every `pace_ns` (0: without a pause); their number or -errno. */
static int64_t edit_for_a_while(struct bench_subject *s, uint64_t pace_ns, uint64_t *elapsed_ns)
{
	const uint64_t begin = clock_wall_ns();
	int64_t n = 0;

	do {
		const int ret = bench_change(s, rng_below(&s->rng, s->set->nslots));

		if (ret < 0)
			return ret;
		n++;
		if (pace_ns > 0) {
			const uint64_t next = begin + (uint64_t)n * pace_ns;
			const struct timespec at = {.tv_sec = (time_t)(next / 1000000000u),
						    .tv_nsec = (long)(next % 1000000000u)};

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		}
		*elapsed_ns = clock_wall_ns() - begin;
	} while (*elapsed_ns < CONCURRENT_NS);
	return n;
}

static enum bench_outcome run_concurrent(struct bench_subject *s, uint64_t pace_ns, double value[2])
{
	struct reader r;
	enum bench_outcome outcome;
	uint64_t elapsed_ns = 0;
	int64_t n = reader_start(&r, s, timed_main);

	if (n < 0)
		return failed(s, "cannot start a reader", (int)n);
	reader_go(&r);
	n = edit_for_a_while(s, pace_ns, &elapsed_ns);
	outcome = reader_stop(&r, s);
	if (n < 0)
		return failed(s, "an edit", (int)n);
	if (outcome == BENCH_OK && r.nlookups == 0)
		return bench_failed(s, "the reader never ran");
	value[0] = (double)r.elapsed_ns / (double)r.nlookups;
	value[1] = (double)elapsed_ns / (double)n;
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
	const uint64_t expected = sum * (r->nlookups / s->nlookups);

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
		*value += (double)r[i].elapsed_ns / (double)r[i].nlookups / 2;
		if (outcome == BENCH_OK)
			outcome = check_counted(s, &r[i]);
	}
	return ret < 0 ? failed(s, "cannot start a reader", ret) : outcome;
}
