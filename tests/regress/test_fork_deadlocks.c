/* SPDX-License-Identifier: MIT */
/*
 * test_fork_deadlocks.c - fork() while other threads are in the middle of everything.
 *
 * Each scenario once closed a circle of waits through the fork handlers: a reader that
 * wants a lock inside its section, a listener that commits to another map or creates one,
 * a listener that forks itself. A scenario runs until FORKS forks are done; a circle shows
 * as the time limit of the test.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mslot/mslot.h>

#include "base/sanitize.h"

#define FORKS 40u
#define PAGE 4096u

static struct mslot_map *map, *mirror;
static struct mslot_region *region;
static _Alignas(PAGE) char ram[PAGE];
static _Atomic bool over;
static _Atomic unsigned long holds, commits, forks;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct mslot_map *new_map(void)
{
	struct mslot_slot_def def = {.key = {0, 1}, .len_bytes = PAGE, .region = region};
	struct mslot_map *made;
	struct mslot_txn *txn;

	CHECK(mslot_map_create(NULL, &made) == 0);
	CHECK(mslot_txn_begin(made, &txn) == 0);
	CHECK(mslot_txn_create(txn, &def) == 0);
	CHECK(mslot_txn_commit(txn, NULL, NULL) == 0);
	return made;
}

/* One commit that changes the slot's flags. */
static void flip(struct mslot_map *which)
{
	static _Thread_local uint32_t flags;
	struct mslot_txn *txn;
	int err;

	flags ^= MSLOT_LOG_DIRTY;
	CHECK(mslot_txn_begin(which, &txn) == 0);
	CHECK(mslot_txn_set_flags(txn, (struct mslot_key){0, 1}, flags) == 0);
	err = mslot_txn_commit(txn, NULL, NULL);
	/* A mirror in a callback may meet its own limit, and cannot wait there. */
	CHECK(err == 0 || (err == -EDEADLK && which == mirror));
	if (err)
		mslot_txn_abort(txn);
}

static void fork_once(void)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	atomic_fetch_add(&forks, 1);
}

static void *hold_in_sections(void *arg)
{
	const struct mslot_snapshot *snap;
	struct mslot_hold *hold;

	while (!atomic_load(&over)) {
		snap = mslot_enter(map);
		CHECK(mslot_hold(snap, "reader", &hold) == 0);
		mslot_leave(snap);
		mslot_hold_put(hold);
		atomic_fetch_add(&holds, 1);
	}
	return arg;
}

static void *commit_in_sections(void *arg)
{
	const struct mslot_snapshot *snap;
	int err;

	while (!atomic_load(&over)) {
		struct mslot_txn *txn;

		snap = mslot_enter(map);
		CHECK(mslot_txn_begin(map, &txn) == 0);
		err = mslot_txn_commit(txn, NULL, NULL);
		mslot_leave(snap);
		CHECK(err == 0 || err == -EDEADLK);
		if (err)
			mslot_txn_abort(txn);
		atomic_fetch_add(&holds, 1);
	}
	return arg;
}

static void *commit_all_the_time(void *arg)
{
	while (!atomic_load(&over)) {
		flip(map);
		atomic_fetch_add(&commits, 1);
	}
	return arg;
}

/* Commits are only needed while somebody forks; one that forks itself must go on. */
static void *commit_until_forked(void *arg)
{
	while (atomic_load(&forks) < FORKS) {
		flip(map);
		atomic_fetch_add(&commits, 1);
	}
	return arg;
}

static void mirror_commit(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	flip(mirror);
}

static void create_and_destroy_later(void *ctx, const struct mslot_diff *diff)
{
	struct mslot_map **made = ctx;

	(void)diff;
	if (!*made)
		CHECK(mslot_map_create(NULL, made) == 0);
}

static void fork_in_callback(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	fork_once();
}

struct scenario {
	const char *name;
	void (*on_commit)(void *ctx, const struct mslot_diff *diff);
	void *(*reader)(void *arg);
	bool callback_forks;
};

static void run(const struct scenario *s)
{
	struct mslot_listener_ops ops = {.commit = s->on_commit};
	struct mslot_listener *listener = NULL;
	struct mslot_map *made = NULL;
	pthread_t reader, writer;

	map = new_map();
	mirror = new_map(); /* the younger map comes first in the handlers' list */
	atomic_store(&over, false);
	atomic_store(&holds, 0);
	atomic_store(&commits, 0);
	atomic_store(&forks, 0);
	if (s->on_commit)
		CHECK(mslot_listener_add(map, &ops, &made, 0, &listener) == 0);
	CHECK(pthread_create(&reader, NULL, s->reader, NULL) == 0);
	CHECK(pthread_create(&writer, NULL,
			     s->callback_forks ? commit_until_forked : commit_all_the_time,
			     NULL) == 0);
	while (!s->callback_forks && atomic_load(&forks) < FORKS) {
		fork_once();
		/* The next map is created in the next callback. */
		if (made)
			CHECK(mslot_map_destroy(
				  __atomic_exchange_n(&made, NULL, __ATOMIC_SEQ_CST)) == 0);
	}
	if (s->callback_forks)
		CHECK(pthread_join(writer, NULL) == 0);
	atomic_store(&over, true);
	if (!s->callback_forks)
		CHECK(pthread_join(writer, NULL) == 0);
	CHECK(pthread_join(reader, NULL) == 0);
	CHECK(mslot_listener_remove(listener) == 0);
	CHECK(mslot_map_destroy(made) == 0);
	CHECK(mslot_map_destroy(map) == 0);
	CHECK(mslot_map_destroy(mirror) == 0);
	printf("%s: %lu forks, %lu commits, %lu sections\n", s->name, forks, commits, holds);
	CHECK(forks >= FORKS && commits > 0 && holds > 0);
}

int main(void)
{
	static const struct scenario scenarios[] = {
	    {"a reader takes holds in its sections", NULL, hold_in_sections, false},
	    {"a reader commits in its sections", NULL, commit_in_sections, false},
	    {"a listener commits to a younger map", mirror_commit, hold_in_sections, false},
	    {"a listener creates a map", create_and_destroy_later, hold_in_sections, false},
	    {"a listener forks", fork_in_callback, commit_in_sections, true},
	};
	struct mslot_region_options opt = {.hva = ram, .len_bytes = PAGE, .fd = -1};
	size_t i;

#ifdef MSLOT_TSAN
	printf("skipped: ThreadSanitizer allows no fork() beside other threads\n");
	return 77;
#endif
	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK(mslot_region_create(&opt, &region) == 0);
	for (i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++)
		run(&scenarios[i]);
	mslot_region_put(region);
	return 0;
}
