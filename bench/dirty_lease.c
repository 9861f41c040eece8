/* SPDX-License-Identifier: MIT */
/*
 * dirty_lease.c - leases of one thread, in its CPU time, and of two at once, by the wall clock.
 *
 * Two threads are on different processors and do the same number of leases each. What counts is the
 * time until both are done: a thread that is fast because the other one sleeps meanwhile is not
 * faster. A run counts when both had a processor at once for a while: when their CPU time is a
 * tenth more than that time. (A mutex puts threads to sleep: two whole processors are too much to
 * ask.)
 */
#include "cases.h"
#include "dirty.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "clock.h"

#define CYCLES 20000u
#define RUNS 5u /* of two threads that count */
#define TOO_LONG_NS UINT64_C(300000000)

static const char *const kind_name[LEASE_KINDS] = {"read", "write", "write-logged"};

struct worker {
	const struct lease_engine *engine;
	void *world;
	cpu_set_t place;
	atomic_uint *ready;
	uint64_t right, begin_ns, end_ns, ran_ns;
};

static enum bench_outcome check(struct dirty_turn *t, uint64_t right, uint64_t expected)
{
	const struct lease_engine *const e = t->engine;
	const uint64_t left = e->left(t->world);

	if (right != expected)
		return dirty_failed(t, "%llu of %llu leases showed the right memory",
				    (unsigned long long)right, (unsigned long long)expected);
	if (left != 0)
		return dirty_failed(t, "%llu leases are left", (unsigned long long)left);
	return BENCH_OK;
}

static enum bench_outcome measure_one(struct dirty_turn *t, double *value)
{
	const struct lease_engine *const e = t->engine;
	const uint64_t begin = clock_cpu_ns();
	const uint64_t right = e->cycle(t->world, CYCLES);

	*value = (double)(clock_cpu_ns() - begin) / CYCLES;
	return check(t, right, CYCLES);
}

/* ---- Two threads -------------------------------------------------------------- */

static void *work(void *arg)
{
	struct worker *const w = arg;
	uint64_t cpu;

	sched_setaffinity(0, sizeof(w->place), &w->place);
	atomic_fetch_add(w->ready, 1);
	while (atomic_load(w->ready) < 2)
		;
	cpu = clock_cpu_ns();
	w->begin_ns = clock_wall_ns();
	w->right = w->engine->cycle(w->world, CYCLES);
	w->end_ns = clock_wall_ns();
	w->ran_ns = clock_cpu_ns() - cpu;
	return NULL;
}

/* One CPU of those of this thread, and the others. */
static bool find_places(cpu_set_t place[2])
{
	size_t last = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(place[1]), &place[1]) != 0 || CPU_COUNT(&place[1]) < 2)
		return false;
	while (!CPU_ISSET(last, &place[1]))
		last--;
	CPU_ZERO(&place[0]);
	CPU_SET(last, &place[0]);
	CPU_CLR(last, &place[1]);
	return true;
}

/* Did they, and how long did both take? */
static bool ran_together(const struct worker w[2], uint64_t *ns)
{
	const uint64_t begin = w[0].begin_ns < w[1].begin_ns ? w[0].begin_ns : w[1].begin_ns;
	const uint64_t end = w[0].end_ns > w[1].end_ns ? w[0].end_ns : w[1].end_ns;

	*ns = end - begin;
	return (w[0].ran_ns + w[1].ran_ns) * 10 >= *ns * 11;
}

/* Both at once; *together: it counts. */
static enum bench_outcome run_two(struct dirty_turn *t, const cpu_set_t place[2], double *value,
				  bool *together)
{
	struct worker w[2];
	atomic_uint ready = 0;
	pthread_t thread;
	uint64_t ns;
	int ret;

	for (size_t i = 0; i < 2; i++)
		w[i] = (struct worker){
		    .engine = t->engine, .world = t->world, .place = place[i], .ready = &ready};
	ret = pthread_create(&thread, NULL, work, &w[0]);
	if (ret != 0)
		return dirty_failed(t, "cannot start a thread: %s", strerror(ret));
	work(&w[1]);
	pthread_join(thread, NULL);
	*together = ran_together(w, &ns);
	*value = (double)ns / CYCLES;
	return check(t, w[0].right + w[1].right, 2 * CYCLES);
}

static enum bench_outcome measure_two(struct dirty_turn *t, double *value)
{
	const uint64_t begin = clock_wall_ns();
	enum bench_outcome outcome = BENCH_OK;
	cpu_set_t all, place[2];
	double ns[RUNS];
	bool together = false;
	size_t n = 0;

	if (!find_places(place))
		return dirty_skipped(t, "the process may run on one CPU, and two threads need two");
	sched_getaffinity(0, sizeof(all), &all);
	while (outcome == BENCH_OK && n < RUNS && clock_wall_ns() - begin < TOO_LONG_NS) {
		outcome = run_two(t, place, &ns[n], &together);
		n += outcome == BENCH_OK && together;
	}
	sched_setaffinity(0, sizeof(all), &all);
	if (outcome == BENCH_OK && n > 0)
		*value = dirty_median(ns, n);
	else if (outcome == BENCH_OK)
		return dirty_skipped(t, "the two threads did not run at the same time: busy "
					"machine");
	return outcome;
}

int dirty_lease(const struct bench_group *g)
{
	struct dirty_turn turn[DIRTY_TURNS];
	int ret = 0;

	for (size_t i = 0; i < DIRTY_LEASE_POINTS && ret == 0; i++) {
		const enum lease_kind kind = (enum lease_kind)(i / 2);
		const struct bench_row point = {
		    .layout = kind_name[kind], .axis = "threads", .slots = i % 2 + 1};

		for (size_t k = 0; k < nlease_engines; k++) {
			const struct lease_engine *const e = lease_engines[k];

			turn[k] = dirty_turn_of(g, e->name, &point);
			turn[k].engine = e;
			turn[k].world = e->create(kind, turn[k].why);
			turn[k].measure = point.slots == 1 ? measure_one : measure_two;
			turn[k].destroy = e->destroy;
		}
		ret = dirty_take_turns(g, turn, nlease_engines);
	}
	return ret;
}
