/* SPDX-License-Identifier: MIT */
/* pair.c - two threads, their processors, and which runs count; see pair.h. */
#include "pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "clock.h"

#define RUNS 5u /* that count */
#define TOO_LONG_NS UINT64_C(300000000)

struct worker {
	const struct pair_work *work;
	unsigned int thread;
	cpu_set_t place;
	atomic_uint *ready;
	int ret;
	uint64_t begin_ns, end_ns, ran_ns;
};

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
	w->ret = w->work->run(w->work->ctx, w->thread);
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
static bool ran_together(const struct worker w[2], unsigned int at_once, double *ns)
{
	const uint64_t begin = w[0].begin_ns < w[1].begin_ns ? w[0].begin_ns : w[1].begin_ns;
	const uint64_t end = w[0].end_ns > w[1].end_ns ? w[0].end_ns : w[1].end_ns;

	*ns = (double)(end - begin);
	return (w[0].ran_ns + w[1].ran_ns) * 100 >= (end - begin) * (100 + at_once);
}

/* Both at once; *together: it counts. */
static enum bench_outcome run_two(struct group_turn *t, const struct pair_work *pair,
				  const cpu_set_t place[2], double *ns, bool *together)
{
	struct worker w[2];
	atomic_uint ready = 0;
	pthread_t other;
	int ret;

	for (unsigned int i = 0; i < 2; i++)
		w[i] =
		    (struct worker){.work = pair, .thread = i, .place = place[i], .ready = &ready};
	ret = pthread_create(&other, NULL, work, &w[0]);
	if (ret != 0)
		return group_failed(t, "cannot start a thread: %s", strerror(ret));
	work(&w[1]);
	pthread_join(other, NULL);
	*together = ran_together(w, pair->at_once, ns);
	ret = w[0].ret < 0 ? w[0].ret : w[1].ret;
	if (ret < 0)
		return group_failed(t, "work of a thread: %s", strerror(-ret));
	return pair->after(pair->ctx);
}

enum bench_outcome pair_measure(struct group_turn *t, const struct pair_work *pair, double *ns)
{
	const uint64_t begin = clock_wall_ns();
	enum bench_outcome outcome = BENCH_OK;
	cpu_set_t all, place[2];
	double value[RUNS];
	bool together = false;
	size_t n = 0;

	if (!find_places(place))
		return group_skipped(t, "the process may run on one CPU, and two threads need two");
	sched_getaffinity(0, sizeof(all), &all);
	while (outcome == BENCH_OK && n < RUNS && clock_wall_ns() - begin < TOO_LONG_NS) {
		if (pair->before != NULL)
			outcome = pair->before(pair->ctx);
		if (outcome == BENCH_OK)
			outcome = run_two(t, pair, place, &value[n], &together);
		n += outcome == BENCH_OK && together;
	}
	sched_setaffinity(0, sizeof(all), &all);
	if (outcome == BENCH_OK && n > 0)
		*ns = group_median(value, n);
	else if (outcome == BENCH_OK)
		return group_skipped(t, "the two threads did not run at the same time: busy "
					"machine");
	return outcome;
}
