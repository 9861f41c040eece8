/* SPDX-License-Identifier: MIT */
/*
 * runner.h - what is measured, of whom, and where the results go.
 *
 * For each case, layout and number of slots every engine gets a map of its own with the
 * same slots. Then, repetition by repetition, each engine runs in turn: what disturbs the
 * machine for a while disturbs all of them. In its turn an engine does the same work twice and
 * only the second time counts, because the engines before it have taken the caches; work that
 * takes longer than BENCH_WARM_NS warms them itself. The first repetition, in which cases
 * choose how much to do, is not counted at all. Answers are compared with what is known of the
 * slots before anything is timed (address by address), while it is timed (their sum) and after
 * edits; one wrong answer ends the run.
 */
#ifndef MSLOT_BENCH_RUNNER_H
#define MSLOT_BENCH_RUNNER_H

#include <sched.h>

#include "engines/engines.h"
#include "layout.h"
#include "rng.h"

#define BENCH_MAX_REPETITIONS 1000u
/* A repetition that takes longer is left out, with a note. */
#define BENCH_LIMIT_NS UINT64_C(20000000000)
/* Repetitions of an engine whose first one took longer than BENCH_SLOW_NS. */
#define BENCH_SLOW_NS UINT64_C(2000000000)
#define BENCH_SLOW_REPETITIONS 3u
#define BENCH_WARM_NS UINT64_C(100000000)

/* One engine while one case is measured. */
struct bench_subject {
	const struct engine *engine;
	const struct bench_set *set;
	const struct bench_set *other; /* CASE_OTHER: as many other slots */
	const struct bench_bare_call *bare_call;
	struct engine_map *map; /* NULL in a case with CASE_EMPTY */
	uint64_t *token;        /* by index of the slot, valid until the next edit */
	uint32_t *flags;        /* of each slot now */
	struct rng rng;
	unsigned int repetition; /* 0: not counted, and not twice */
	size_t nlookups;         /* addresses of a trail that are used: fewer for the slowest */
	size_t npasses;
	char why[256]; /* after BENCH_FAILED or BENCH_SKIPPED */
};

enum bench_outcome { BENCH_OK, BENCH_SKIPPED, BENCH_FAILED };

#define CASE_EMPTY (1u << 0) /* makes its own maps, empty at first */
#define CASE_ONCE (1u << 1)  /* repetitions would all be equal */
#define CASE_OTHER (1u << 2)
#define CASE_BARE (1u << 3)    /* without any slot: of bench_bare_call */
#define CASE_EDITS (1u << 4)   /* leaves the same slots, but tokens change */
#define CASE_2021 (1u << 5)    /* of the group "table2021" */
#define CASE_QUICK (1u << 6)   /* measured where no case is named */
#define CASE_THREADS (1u << 7) /* of two threads at once; CASE_EDITS: one of them edits */
#define CASE_DIRTY (1u << 8)   /* of the group "dirty": has engines and sizes of its own */
#define CASE_MMU (1u << 9)     /* of the group "mmu": the same */

struct bench_group;

struct bench_case {
	const char *name;
	const char *what;
	const char *unit;
	const char *second; /* name of the second value's row, or NULL, */
	const char *second_what;
	unsigned int flags;
	bool (*offered)(const struct engine *engine);
	enum bench_outcome (*run)(struct bench_subject *s, double value[2]);
	/* CASE_DIRTY, CASE_MMU: instead of the two above. Takes all turns of `npoints` tables'
	 * points. */
	int (*group)(const struct bench_group *g);
	size_t npoints;
};

extern const struct bench_case bench_cases[];
extern const size_t bench_ncases;

struct bench_row {
	const char *name;
	const char *what;
	const char *engine;
	const char *layout;
	const char *axis; /* what `slots` counts, in small letters; NULL: slots */
	uint64_t slots;
	double value; /* median */
	double min;
	double max;
	const char *unit;
	unsigned int repetitions; /* that were counted */
};

struct bench_sink {
	void *ctx;
	void (*row)(void *ctx, const struct bench_row *row);
	/* No row, and why; only what says which is set. */
	void (*skipped)(void *ctx, const struct bench_row *row, const char *why);
	void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
};

struct bench_plan {
	const struct bench_case *const *cases;
	size_t ncases;
	const enum bench_layout *layout;
	size_t nlayouts;
	const uint64_t *slots;
	size_t nslots;
	const struct engine *const *engine; /* none of them absent */
	size_t nengines;
	const struct bench_bare_call *bare_call; /* ends with a NULL engine */
	unsigned int repetitions;
	bool quick; /* the group "mmu": small sizes, for a look at whether all of it works */
};

/* A case that takes its turns itself: see group.h. */
struct bench_group {
	const struct bench_case *c;
	const struct bench_sink *sink;
	unsigned int repetitions;
	bool quick;
	char *why;      /* as in bench_run() */
	uint64_t *done; /* repetitions of points, for progress */
	uint64_t total;
};

/* The reason why an engine has no part in a case for which it lacks functions. */
extern const char bench_not_offered[];

#define BENCH_WHY 384u

/* 0, or -1 with a message in `why` where an engine failed or gave a wrong answer. */
int bench_run(const struct bench_plan *plan, const struct bench_sink *sink, char why[BENCH_WHY]);

/* What this machine needs for the least that a lookup does; number 0 is the L1 load. */
extern const size_t bench_nfloors;
void bench_floor(size_t which, struct bench_row *row, unsigned int repetitions);

/* Median, lowest and highest of n > 0 values, which are sorted. */
void bench_summarize(struct bench_row *row, double *value, size_t n);

/* This thread to CPU 0, if it may run there; *all: where it was. */
bool bench_go_to_first_cpu(cpu_set_t *all);

/* ---- For the cases ----------------------------------------------------------- */

/* Sets s->why; both return what their name says. */
enum bench_outcome bench_failed(struct bench_subject *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum bench_outcome bench_skipped(struct bench_subject *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Ask the map of s for all tokens again, and compare lookups of every kind it offers with
 * them, one by one; the flags of all slots, too.
 */
enum bench_outcome bench_verify(struct bench_subject *s, struct engine_map *map,
				const struct bench_set *set);

/* Compare the flags of each slot with what they should be now. */
enum bench_outcome bench_verify_flags(struct bench_subject *s, struct engine_map *map,
				      const struct bench_set *set);

/*
 * Whether edits do what they say, before they are timed: change a slot, and look at its flags;
 * move a slot above all others and back, and look at both places each time.
 */
enum bench_outcome bench_check_change(struct bench_subject *s);
enum bench_outcome bench_check_move(struct bench_subject *s, size_t slot);

/*
 * Change a slot in one published edit: flip its flags, or put it where it is once more where
 * slots have no flags. 0 or -errno.
 */
int bench_change(struct bench_subject *s, size_t slot);

#endif /* MSLOT_BENCH_RUNNER_H */
