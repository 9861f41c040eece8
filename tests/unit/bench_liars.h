/* SPDX-License-Identifier: MIT */
/* bench_liars.h - the engines of test_bench.c, and what its tests must reach of them. */
#ifndef MSLOT_TEST_BENCH_LIARS_H
#define MSLOT_TEST_BENCH_LIARS_H

#include "bench/runner.h"

/* CPU time of an edit of "lazy", in a thread of its own. */
#define LAZY_NS 5000u

/* Calls of the bare call of "mslot" so far; each takes 10.5 ns and as many more. */
extern unsigned int bare_calls;

/* What the engines of the group "dirty" do wrong. */
enum dirty_fault {
	DIRTY_HONEST,
	LEASES_SHOW_NOTHING, /* once */
	LEASES_STAY,
	MARKS_UNLOGGED, /* pages of a slot that nobody looks at */
	MARKS_FAIL,
	MARKS_WITHOUT_WRITES,
	MARKS_LOSE_ONE,
	HARVESTS_FAIL,
	HARVESTS_MISS_A_PAGE, /* the last one */
	HARVESTS_ADD_A_PAGE,
	HARVESTS_LEAVE_A_PAGE,
};

extern enum dirty_fault dirty_fault;

/* What the engine of the group "mmu" does wrong. */
enum mmu_liar {
	MMU_HONEST,
	LOADS_OF_OTHERS,
	FAULTS_ELSEWHERE,  /* of one page */
	FAULTS_OF_NOTHING, /* all of them: no leaf is made */
	FAULTS_FAIL,
	FAULTS_MISCOUNTED,
	ZAPS_LEAVE_ONE,
	ZAPS_NOTHING,
	FILLS_LESS,
	STORES_LESS,     /* but for the last page */
	STORES_UNMAPPED, /* without a table */
	DROPS_MORE,
	DROPS_LESS,
	DROPS_STAY_MAPPED,
	EDITS_CONTROL,
	LOGGING_SPLITS,
	LOGGING_LOSES_ONE,
	MAPPED_HARVESTS_LOSE, /* a page */
	DELETES_NOTHING,
	TABLES_FOR_NOTHING,
};

extern enum mmu_liar mmu_liar;

/* Leaves the calling thread, and those it starts, one CPU. */
void one_cpu_for_all(void);

#endif /* MSLOT_TEST_BENCH_LIARS_H */
