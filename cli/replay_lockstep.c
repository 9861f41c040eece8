/* SPDX-License-Identifier: MIT */
/*
 * replay_lockstep.c - every published step is looked at by every reader.
 *
 * Protocol: 1. the writer publishes one step; 2. it raises `step` and waits; 3. each
 * reader enters, looks at every probe of the group, leaves, and raises `arrived`;
 * 4. the last one wakes the writer, which counts a hole if anyone missed a probe.
 * The probes are RAM before and after the group, so a miss is a hole and nothing else.
 */
#include "replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct lockstep {
	struct mslot_map *map;
	const struct plan_probe *probe;
	size_t nprobes;
	uint32_t nreaders;
	bool stop;
	_Atomic uint32_t step;
	_Atomic uint32_t arrived;
	_Atomic uint32_t missed; /* readers that missed a probe in this step */
};

static bool misses_any(const struct lockstep *l)
{
	const struct mslot_snapshot *const snap = mslot_enter(l->map);
	bool missed = false;

	for (size_t i = 0; i < l->nprobes; i++)
		missed |= mslot_find(snap, l->probe[i].space, l->probe[i].gpa) == NULL;
	mslot_leave(snap);
	return missed;
}

static void *reader_main(void *arg)
{
	struct lockstep *const l = arg;

	for (uint32_t seen = 0;; seen++) {
		turn_wait(&l->step, seen);
		if (l->stop)
			return NULL;
		if (misses_any(l))
			atomic_fetch_add_explicit(&l->missed, 1, memory_order_relaxed);
		/* Release: the miss before the arrival. Pairs with turn_wait() in probe_step(). */
		if (atomic_fetch_add_explicit(&l->arrived, 1, memory_order_acq_rel) + 1 ==
		    l->nreaders)
			turn_wake(&l->arrived);
	}
}

static void next_step(struct lockstep *l)
{
	/* Release: probes and counters before the step. Pairs with turn_wait() in reader_main(). */
	atomic_fetch_add_explicit(&l->step, 1, memory_order_release);
	turn_wake(&l->step);
}

/* Let every reader probe what is published now. Returns whether one missed RAM. */
static bool probe_step(struct lockstep *l)
{
	uint32_t arrived;

	atomic_store_explicit(&l->missed, 0, memory_order_relaxed);
	atomic_store_explicit(&l->arrived, 0, memory_order_relaxed);
	next_step(l);
	while ((arrived = atomic_load_explicit(&l->arrived, memory_order_acquire)) < l->nreaders)
		turn_wait(&l->arrived, arrived);
	return atomic_load_explicit(&l->missed, memory_order_relaxed) > 0;
}

static int run_groups(const struct replay *r, struct engine *e, struct lockstep *l,
		      struct replay_result *out, struct lines_fault *fault)
{
	struct plan_walk walk = {0};
	uint64_t generation = 0;
	int ret = 0;

	for (size_t g = 0; g < r->trace->ngroups && ret == 0; g++) {
		plan_walk_next(&walk, r->trace, g);
		l->probe = walk.probe;
		l->nprobes = walk.nprobes;
		for (size_t step = 0; step < engine_nsteps(e, g); step++) {
			ret = engine_step(e, g, step, fault);
			if (ret < 0)
				break;
			if (engine_generation(e) == generation)
				continue;
			generation = engine_generation(e);
			out->published++;
			out->holes += probe_step(l);
		}
		progress_update(r->progress, r->trace->name, g, r->trace->ngroups);
	}
	plan_walk_fini(&walk);
	return ret;
}

int lockstep_run(const struct replay *r, struct replay_result *out, struct lines_fault *fault)
{
	pthread_t *const thread = cli_alloc(r->nreaders, sizeof(*thread));
	struct lockstep l = {0};
	struct lines_fault ignored;
	struct engine e;
	int ret;

	ret = engine_init(&e, r, fault);
	if (ret < 0) {
		free(thread);
		return ret;
	}
	l.map = e.map;
	for (; l.nreaders < r->nreaders && ret == 0; l.nreaders += ret == 0)
		ret = pthread_create(&thread[l.nreaders], NULL, reader_main, &l);
	if (ret != 0)
		ret = lines_expected_not(fault, 0, "a reader thread", strerror(ret));
	else
		ret = run_groups(r, &e, &l, out, fault);
	l.stop = true;
	next_step(&l);
	for (uint32_t i = 0; i < l.nreaders; i++)
		pthread_join(thread[i], NULL);
	free(thread);
	if (engine_fini(&e, ret < 0 ? &ignored : fault) < 0)
		ret = -1;
	return ret;
}
