/* SPDX-License-Identifier: MIT */
/*
 * pair.h - the same work by two threads at once, by the wall clock.
 *
 * The threads are on different processors. What counts is the time until both are done: a thread
 * that is fast because the other one sleeps meanwhile is not faster. A run counts when both had a
 * processor at once for a while: when their CPU time is that time and some percent more, of which
 * 100 would be two whole processors. (A mutex puts threads to sleep: there it cannot be many.)
 */
#ifndef MSLOT_BENCH_PAIR_H
#define MSLOT_BENCH_PAIR_H

#include "group.h"

struct pair_work {
	void *ctx;
	/* By the calling thread before each run, without the clock; NULL: nothing to do. */
	enum bench_outcome (*before)(void *ctx);
	/* By thread 0 and by thread 1; 0 or -errno. */
	int (*run)(void *ctx, unsigned int thread);
	unsigned int at_once; /* percent */
	/* After each run: was it done right? */
	enum bench_outcome (*after)(void *ctx);
};

/* The median of some runs, in ns; BENCH_SKIPPED where the threads could not run at once. */
enum bench_outcome pair_measure(struct group_turn *t, const struct pair_work *pair, double *ns);

#endif /* MSLOT_BENCH_PAIR_H */
