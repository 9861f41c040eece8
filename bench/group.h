/* SPDX-License-Identifier: MIT */
/*
 * group.h - turns of the cases of `mslot bench dirty` and `mslot bench mmu`, whose engines are in
 * engines/dirty_engines.h and engines/mmu_engines.h.
 *
 * As in runner.h all engines of a point (a kind of work at a size) are there at once and run in
 * turn, repetition by repetition; the first one does not count, and in the others the second time
 * counts. What takes GROUP_SLOW_NS warms itself and is repeated less often. Every measurement
 * looks at what the engine said and did, and a wrong answer ends the run.
 */
#ifndef MSLOT_BENCH_GROUP_H
#define MSLOT_BENCH_GROUP_H

#include "runner.h"

#define GROUP_SLOW_NS UINT64_C(150000000)
#define GROUP_TURNS 8u /* engines of a point at most */

struct group_turn {
	struct bench_row row;
	bool first_cpu;
	const void *engine; /* of one of the kinds in engines/ */
	void *world;        /* NULL: no part in it, for the reason in `why` */
	void *ctx;          /* the case's */
	enum bench_outcome (*measure)(struct group_turn *t, double *value);
	void (*destroy)(void *world);
	char why[256];
	double *value;
	size_t nvalues;
	bool slow;        /* a measurement took GROUP_SLOW_NS: fewer of them, */
	unsigned int few; /* at most so many */
};

/* A turn of a case; slots, layout and axis are those of the point. */
struct group_turn group_turn_of(const struct bench_group *g, const char *engine,
				const struct bench_row *point);

/* All repetitions and the rows; worlds are destroyed. 0, or -1 with a message in g->why. */
int group_take_turns(const struct bench_group *g, struct group_turn *turn, size_t n);

/* Set t->why; both return what their name says. */
enum bench_outcome group_failed(struct group_turn *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum bench_outcome group_skipped(struct group_turn *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The median of n > 0 numbers, which are sorted. */
double group_median(double *value, size_t n);

#endif /* MSLOT_BENCH_GROUP_H */
