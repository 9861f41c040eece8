/* SPDX-License-Identifier: MIT */
/*
 * case_threads.c - cases of two threads, by the wall clock; see cases.h.
 *
 * What is reported is a quantile of single edits, of single moves there and back, or of chunks
 * of lookups, never their mean: an edit that waits for the reader shows, a thread that loses
 * its CPU to another program for some milliseconds does not.
 *
 * Time counts only while both threads were at work. That is asked of the system: in a window of
 * the wall clock in which the reader had a processor for R and the writer for W, both had one
 * for R + W - wall at least. A window counts when that is half of W or more, so that a writer
 * which waits for readers counts and two threads on one processor, where it is 0, never do (the
 * wall clock is read first and last, so that no time of a thread is outside of it). A
 * writer that sleeps on purpose has next to no W: then the reader has to run half of the time.
 * The threads are kept on different processors, because a scheduler with other programs to run
 * may leave both on one for seconds.
 *
 * While a writer edits, tokens are not known and sums cannot be compared. But no slot ever
 * goes in these cases (flags flip; the slot that moves is not asked for alone), so readers
 * check one by one, between what is timed, that a lookup finds something; the map is
 * verified slot by slot afterwards.
 */
#include "cases.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define EDITS 2000u
#define ROUND_NS 20000u /* of edits, then a look at whether they count */
#define LEAST_EDITS 32u /* that count, of an engine that is fast enough */
#define LONG_NS UINT64_C(100000000)
#define TOO_LONG_NS UINT64_C(1000000000) /* to wait for windows that count */
#define CONCURRENT_NS UINT64_C(40000000)
#define WINDOW_NS UINT64_C(500000)
#define READERS_NS UINT64_C(2000000) /* of two readers: a window, too */
#define READERS_RUNS 3u
#define PACE_NS UINT64_C(1000000)
#define CHUNK 1024u
#define CHECKED 16u
#define SAMPLES_MAX (1u << 18) /* chunks of TOO_LONG_NS and more */

enum reader_state { READER_STARTING, READER_READY, READER_GO, READER_STOP };

/* CPUs of this thread as they were, one of them, and the others; no CPU: it has only one. */
struct places {
	cpu_set_t all, one, rest;
};

struct reader {
	const struct bench_subject *s;
	const cpu_set_t *place; /* where it runs; no CPU: anywhere */
	pthread_t thread;
	atomic_int state;
	clockid_t cpu; /* CPU time of the thread */
	uint64_t *ns;  /* of each chunk, SAMPLES_MAX at most; NULL where nothing is timed */
	atomic_size_t nchunks;
	uint64_t begin_ns, end_ns, ran_ns; /* of counted_main(): wall clock, CPU time */
	uint64_t missed;                   /* checked lookups that found nothing */
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

/* ---- Processors ------------------------------------------------------------- */

static void places_find(struct places *p)
{
	size_t last = CPU_SETSIZE;

	CPU_ZERO(&p->one);
	CPU_ZERO(&p->rest);
	if (sched_getaffinity(0, sizeof(p->all), &p->all) != 0 || CPU_COUNT(&p->all) < 2)
		return;
	while (!CPU_ISSET(last - 1, &p->all))
		last--;
	CPU_SET(last - 1, &p->one);
	p->rest = p->all;
	CPU_CLR(last - 1, &p->rest);
}

/* Without success a thread stays where it is, and windows tell whether that will do. */
static void go_to(const cpu_set_t *place)
{
	if (CPU_COUNT(place) > 0)
		sched_setaffinity(0, sizeof(*place), place);
}

/* To the CPUs of before: nothing to do where nothing was changed. */
static void places_leave(const struct places *p)
{
	if (CPU_COUNT(&p->rest) > 0)
		go_to(&p->all);
}

/* ---- Readers ---------------------------------------------------------------- */

static bool stopped(struct reader *r)
{
	return atomic_load_explicit(&r->state, memory_order_relaxed) == READER_STOP;
}

/* Release: the time before its number, for the writer that picks the chunks that count. */
static void put_chunk(struct reader *r, uint64_t ns)
{
	const size_t n = atomic_load_explicit(&r->nchunks, memory_order_relaxed);

	if (n == SAMPLES_MAX)
		return;
	r->ns[n] = ns;
	atomic_store_explicit(&r->nchunks, n + 1, memory_order_release);
}

static void reader_begin(struct reader *r)
{
	go_to(r->place);
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
		put_chunk(r, clock_wall_ns() - begin);
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
	uint64_t from, cpu;

	reader_begin(r);
	cpu = clock_cpu_ns();
	r->begin_ns = r->end_ns = clock_wall_ns();
	do {
		r->sum += e->find_section(r->s->map, addr, r->s->nlookups);
		from = r->end_ns;
		r->end_ns = clock_wall_ns();
		put_chunk(r, r->end_ns - from);
	} while (r->end_ns - r->begin_ns < READERS_NS && r->nchunks < SAMPLES_MAX);
	r->ran_ns = clock_cpu_ns() - cpu;
	reader_end(r);
	return NULL;
}

/* Returns when the thread is at its loop. */
static int reader_start(struct reader *r, const struct bench_subject *s, const cpu_set_t *place,
			void *(*main)(void *))
{
	int ret;

	*r = (struct reader){.s = s, .place = place};
	if (main == timed_main || main == counted_main)
		r->ns = bench_alloc(SAMPLES_MAX, sizeof(*r->ns));
	ret = pthread_create(&r->thread, NULL, main, r);
	if (ret != 0) {
		free(r->ns);
		return -ret;
	}
	/* Cannot fail: the thread is there until it is joined. */
	pthread_getcpuclockid(r->thread, &r->cpu);
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

/* ---- Windows that count -------------------------------------------------------- */

struct window {
	uint64_t wall, writer, reader; /* clocks at its begin */
};

static struct window window_begin(const struct reader *r)
{
	struct window w;

	w.wall = clock_wall_ns();
	w.reader = clock_ns(r->cpu);
	w.writer = clock_cpu_ns();
	return w;
}

/* Whether a window that ends now counts: see above. */
static bool window_counts(const struct reader *r, const struct window *w, bool paced)
{
	const uint64_t writer = clock_cpu_ns() - w->writer;
	const uint64_t reader = clock_ns(r->cpu) - w->reader;
	const uint64_t wall = clock_wall_ns() - w->wall;

	return paced ? reader >= wall / 2 : reader + writer / 2 >= wall;
}

static enum bench_outcome apart(struct bench_subject *s)
{
	return bench_skipped(s, "the two threads did not run at the same time: busy machine");
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

/* Edits for ROUND_NS, each timed, `most` of them: their number or -errno. */
static int time_round(struct bench_subject *s, int (*edit)(struct bench_subject *), uint64_t *ns,
		      size_t most)
{
	const uint64_t begin = clock_wall_ns();
	uint64_t now = begin;
	size_t n = 0;

	while (n < most && now - begin < ROUND_NS) {
		const uint64_t from = now;
		const int ret = edit(s);

		if (ret < 0)
			return ret;
		now = clock_wall_ns();
		ns[n++] = now - from;
	}
	return (int)n;
}

/* Edits in rounds that count; their number, 0 if there are too few, or -errno. */
static int time_edits(struct bench_subject *s, struct reader *r,
		      int (*edit)(struct bench_subject *), uint64_t *ns)
{
	const uint64_t begin = clock_wall_ns();
	uint64_t elapsed = 0;
	size_t n = 0, made = 0;

	while (n < EDITS && elapsed < (n < LEAST_EDITS ? TOO_LONG_NS : LONG_NS)) {
		const struct window w = window_begin(r);
		const int ret = time_round(s, edit, &ns[n], EDITS - n);

		if (ret < 0)
			return ret;
		made += (size_t)ret;
		n += window_counts(r, &w, false) ? (size_t)ret : 0;
		elapsed = clock_wall_ns() - begin;
	}
	/* An engine may be too slow for LEAST_EDITS: then most of its edits have to count. */
	return n >= LEAST_EDITS || n > made / 2 ? (int)n : 0;
}

/* A quantile of edits beside a reader. */
static enum bench_outcome run_busy(struct bench_subject *s, void *(*main)(void *),
				   int (*edit)(struct bench_subject *), size_t percent,
				   double *value)
{
	uint64_t ns[EDITS];
	struct places p;
	struct reader r;
	enum bench_outcome outcome;
	int n;

	if (s->repetition == 0 && edit == move_twice)
		outcome = bench_check_move(s, case_moved_slot(s));
	else
		outcome = s->repetition == 0 ? bench_check_change(s) : BENCH_OK;
	if (outcome != BENCH_OK)
		return outcome;
	places_find(&p);
	n = reader_start(&r, s, &p.one, main);
	if (n < 0)
		return failed(s, "cannot start a reader", n);
	go_to(&p.rest);
	reader_go(&r);
	n = time_edits(s, &r, edit, ns);
	places_leave(&p);
	outcome = reader_stop(&r, s);
	if (n < 0)
		return failed(s, "an edit", n);
	if (outcome != BENCH_OK)
		return outcome;
	if (n == 0)
		return apart(s);
	*value = quantile(ns, (size_t)n, percent);
	return BENCH_OK;
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

/* Times of edits and of the reader's chunks in windows that count. */
struct concurrent {
	struct reader r;
	uint64_t *ns;    /* of edits, SAMPLES_MAX at most */
	size_t nedits;   /* of windows that count */
	size_t nchunks;  /* the same: those chunks are moved to the front of r.ns */
	uint64_t counts; /* ns of the wall clock that count */
};

/* Edits for WINDOW_NS, or one and a pause; 0 or -errno. */
static int edit_in_window(struct bench_subject *s, struct concurrent *c, uint64_t pace_ns)
{
	const size_t before = atomic_load_explicit(&c->r.nchunks, memory_order_acquire);
	const struct window w = window_begin(&c->r);
	uint64_t now = w.wall;
	size_t n = c->nedits, after;

	do {
		const uint64_t from = now;
		const int ret = edit_once(s);

		if (ret < 0)
			return ret;
		now = clock_wall_ns();
		c->ns[n++] = now - from;
	} while (pace_ns == 0 && now - w.wall < WINDOW_NS && n < SAMPLES_MAX);
	if (pace_ns > 0)
		sleep_until(w.wall + pace_ns);
	after = atomic_load_explicit(&c->r.nchunks, memory_order_acquire);
	if (!window_counts(&c->r, &w, pace_ns > 0))
		return 0;
	/* Never further back than where the reader is: it writes beyond `after` only. */
	memmove(&c->r.ns[c->nchunks], &c->r.ns[before], (after - before) * sizeof(*c->r.ns));
	c->nchunks += after - before;
	c->nedits = n;
	c->counts += clock_wall_ns() - w.wall;
	return 0;
}

/* Windows until those that count are CONCURRENT_NS; 0 or -errno. */
static int edit_for_a_while(struct bench_subject *s, struct concurrent *c, uint64_t pace_ns)
{
	const uint64_t begin = clock_wall_ns();
	int ret = 0;

	while (ret == 0 && c->counts < CONCURRENT_NS && c->nedits < SAMPLES_MAX &&
	       clock_wall_ns() - begin < TOO_LONG_NS)
		ret = edit_in_window(s, c, pace_ns);
	return ret;
}

static bool enough(const struct concurrent *c)
{
	return c->nchunks > 0 && (c->nedits == SAMPLES_MAX || c->counts >= CONCURRENT_NS / 4);
}

static enum bench_outcome run_concurrent(struct bench_subject *s, uint64_t pace_ns, double value[2])
{
	struct concurrent c = {.ns = bench_alloc(SAMPLES_MAX, sizeof(*c.ns))};
	struct places p;
	enum bench_outcome outcome;
	int ret;

	if (s->repetition == 0 && bench_check_change(s) != BENCH_OK) {
		free(c.ns);
		return BENCH_FAILED;
	}
	places_find(&p);
	ret = reader_start(&c.r, s, &p.one, timed_main);
	if (ret < 0) {
		free(c.ns);
		return failed(s, "cannot start a reader", ret);
	}
	go_to(&p.rest);
	reader_go(&c.r);
	ret = edit_for_a_while(s, &c, pace_ns);
	places_leave(&p);
	outcome = reader_stop(&c.r, s);
	if (ret < 0)
		outcome = failed(s, "an edit", ret);
	else if (outcome == BENCH_OK && !enough(&c))
		outcome = apart(s);
	if (outcome == BENCH_OK) {
		value[0] = quantile(c.r.ns, c.nchunks, 50) / CHUNK;
		value[1] = quantile(c.ns, c.nedits, 50);
	}
	free(c.r.ns);
	free(c.ns);
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

/* Whether both had a processor at once for half of the time from the first to the last. */
static bool ran_together(const struct reader r[2])
{
	const uint64_t begin = r[0].begin_ns < r[1].begin_ns ? r[0].begin_ns : r[1].begin_ns;
	const uint64_t end = r[0].end_ns > r[1].end_ns ? r[0].end_ns : r[1].end_ns;

	return r[0].ran_ns + r[1].ran_ns >= (end - begin) * 3 / 2;
}

/* Both at once, and *together: at the same time. One value a pair. */
static enum bench_outcome run_readers(struct bench_subject *s, double *value, bool *together)
{
	struct places p;
	struct reader r[2];
	enum bench_outcome outcome = BENCH_OK;
	size_t n = 0;
	int ret = 0;

	places_find(&p);
	*value = 0;
	while (n < 2 && ret == 0) {
		ret = reader_start(&r[n], s, n == 0 ? &p.one : &p.rest, counted_main);
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
	*together = ret == 0 && ran_together(r);
	return ret < 0 ? failed(s, "cannot start a reader", ret) : outcome;
}

enum bench_outcome case_concurrent_2r(struct bench_subject *s, double value[2])
{
	const uint64_t begin = clock_wall_ns();
	enum bench_outcome outcome;
	double sum = 0, one = 0;
	size_t n = 0;

	s->nlookups = CHUNK * 4;
	do {
		bool together;

		outcome = run_readers(s, &one, &together);
		if (together) {
			sum += one;
			n++;
		}
	} while (outcome == BENCH_OK && n < READERS_RUNS && clock_wall_ns() - begin < TOO_LONG_NS);
	if (outcome != BENCH_OK)
		return outcome;
	if (n < READERS_RUNS)
		return apart(s);
	*value = sum / (double)n;
	return BENCH_OK;
}
