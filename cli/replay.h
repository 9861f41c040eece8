/* SPDX-License-Identifier: MIT */
/* replay.h - what the parts of `mslot replay` share. */
#ifndef MSLOT_CLI_REPLAY_H
#define MSLOT_CLI_REPLAY_H

#include <stdatomic.h>

#include "plan.h"
#include "progress.h"

enum replay_as {
	REPLAY_KVM,          /* each request by itself, as a kernel gets them */
	REPLAY_TRANSACTIONS, /* each group as one transaction */
};

/* One trace applied in one way. */
struct replay {
	const struct trace *trace;
	const struct plan *plan;
	enum replay_as as;
	unsigned int nreaders;
	uint64_t free_ns; /* duration of the free-running phase */
	struct progress *progress;
};

struct replay_result {
	uint64_t published; /* steps of the lockstep phase */
	uint64_t holes;     /* of these, steps in which kept RAM was missed */
	uint64_t lookups;   /* of the free-running phase, as all below */
	uint64_t lookups_per_s;
	uint64_t missed; /* of these, at RAM of every state between groups, without a result */
	uint64_t commits;
	uint64_t commit_ns_median;
	uint64_t commit_ns_p99;
};

/* ---- Engine: a map and the two ways to change it -------------------------- */

struct engine {
	const struct replay *replay;
	struct mslot_map *map;
	struct mslot_region *region; /* covers all host addresses of the trace */
};

/* Each returns 0, or -1 with *fault filled in. */
int engine_init(struct engine *e, const struct replay *r, struct lines_fault *fault);
int engine_fini(struct engine *e, struct lines_fault *fault);
/* Steps of a group: its requests, or one where it has a net edit. */
size_t engine_nsteps(const struct engine *e, size_t g);
/* One step. */
int engine_step(struct engine *e, size_t g, size_t step, struct lines_fault *fault);
/* Delete the slots that the trace leaves, so that it can be replayed again. */
int engine_clear(struct engine *e, struct lines_fault *fault);
/* Commits that engine_clear() makes, and that a whole pass makes before it. */
uint64_t engine_nclear(const struct engine *e);
uint64_t engine_npass(const struct engine *e);
uint64_t engine_generation(struct engine *e);

/* ---- Turns: waiting for another thread's number to move ------------------- */

/* Wait until *word differs from `old`: a short spin, then sleep. */
void turn_wait(_Atomic uint32_t *word, uint32_t old);
/* Wake every sleeper; call after changing the word. */
void turn_wake(_Atomic uint32_t *word);

/* ---- Phases ---------------------------------------------------------------- */

int lockstep_run(const struct replay *r, struct replay_result *out, struct lines_fault *fault);
int freerun_run(const struct replay *r, struct replay_result *out, struct lines_fault *fault);

/* ---- Drawing ---------------------------------------------------------------- */

/* Draw the trace in both ways to a file. Returns 0, or -1 with a message printed. */
int replay_draw(const struct trace *t, const struct plan *p, const char *path);

#endif /* MSLOT_CLI_REPLAY_H */
