/* SPDX-License-Identifier: MIT */
/*
 * R4: while a writer stands still in a listener's commit() with the writer mutex held,
 * and the reclaimer in a grace period that a parked section keeps open, readers go on:
 * a fixed number of sections and lookups, without one allocation and, where seccomp is
 * available, without one system call (the filter would end the program).
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/sanitize.h"
#include "stress/world.h"

#define LOOKUPS UINT64_C(1000000)
#define READERS 2

static struct world world;
static struct stress_step step = STRESS_STEP_INIT;
enum { PARKED = 1, IN_COMMIT = 2, READ = 3 };

static _Atomic uint64_t readers_done;
static _Atomic uint64_t lookups;
static _Atomic bool stop_in_commit;
static int never[2]; /* a pipe into which nobody writes */

/* Holds the reclaimer's grace period open until the readers are done. */
static void park(struct stress_thread *self)
{
	struct stress_section sec;

	stress_enter(&sec, world.map);
	stress_step_reach(&step, PARKED);
	stress_step_wait(&step, READ);
	stress_leave(&sec, self);
	self->ops++;
}

static void stand_still(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	if (!atomic_load(&stop_in_commit))
		return;
	stress_step_reach(&step, IN_COMMIT);
	stress_step_wait(&step, READ);
}

static void write_slowly(struct stress_thread *self)
{
	stress_step_wait(&step, PARKED);
	/* A commit that the parked section keeps from being reclaimed: the reclaimer waits. */
	CHECK_OK(world_advance(&world, NULL));
	CHECK(mslot_wait(world.map, 2, 0) == -ETIMEDOUT, "the parked section does not count");
	atomic_store(&stop_in_commit, true);
	CHECK_OK(world_advance(&world, NULL));
	self->ops++;
}

#ifndef MSLOT_SANITIZED
#define ALLOW(nr)                                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1),                                           \
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From here on this thread may end, or sleep for ever, but do no other call. */
static bool forbid_calls(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    ALLOW(__NR_read),
	    ALLOW(__NR_write),
	    ALLOW(__NR_exit_group),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}
#else
static bool forbid_calls(void)
{
	return false; /* the sanitizer's runtime calls when it likes */
}
#endif

static uint64_t read_some(struct rng *rng, uint64_t n)
{
	struct mslot_hint hint = {0};
	struct mslot_span span = {.len_bytes = 2 * WORLD_PAGE};
	const struct mslot_snapshot *snap;
	struct iovec seg[2];
	struct mslot_iter iter;
	uint64_t done = 0;
	uint32_t place;

	while (done < n) {
		place = (uint32_t)rng_below(rng, world.nslots - 1);
		span.gpa = place * WORLD_PAGE;
		snap = mslot_enter(world.map);
		CHECK(mslot_find_hint(snap, 0, span.gpa, &hint), "a hole");
		CHECK(mslot_find_id(snap, (struct mslot_key){.id = place}), "no such id");
		CHECK(mslot_translate(snap, &span, seg, 2) == 2, "segments");
		mslot_iter_hva(&iter, snap, (struct mslot_range){0, UINT64_MAX});
		CHECK(mslot_iter_next(&iter), "no slot by hva");
		mslot_leave(snap);
		done += 4;
	}
	return done;
}

static void *reader_main(void *arg)
{
	struct rng *rng = arg;
	bool filtered;
	char byte;

	CHECK_OK(mslot_thread_init());
	stress_step_wait(&step, IN_COMMIT);
	filtered = forbid_calls();
	do
		atomic_fetch_add(&lookups, read_some(rng, stress_scaled(LOOKUPS)));
	while (stress_running());
	atomic_fetch_add(&readers_done, filtered ? 1001 : 1);
	/* A thread's end takes calls of the system: it stays until the program ends. */
	while (read(never[0], &byte, 1) < 0)
		;
	return NULL;
}

static bool watched;

static void watch(struct stress_thread *self)
{
	static struct rng rngs[READERS];
	pthread_t readers[READERS];
	uint64_t before, done;
	unsigned int i;

	for (i = 0; i < READERS; i++) {
		rng_init(&rngs[i], rng_next(&self->rng));
		CHECK_OK(pthread_create(&readers[i], NULL, reader_main, &rngs[i]));
	}
	stress_step_wait(&step, IN_COMMIT);
	before = alloc_attempts();
	while ((done = atomic_load(&readers_done)) % 1000 < READERS)
		;
	CHECK(alloc_attempts() == before, "%" PRIu64 " allocations in read sections",
	      alloc_attempts() - before);
	watched = done == READERS * 1001;
	if (watched)
		printf("  no system call (seccomp)\n");
	stress_step_reach(&step, READ);
	self->ops = atomic_load(&lookups);
}

int main(void)
{
	static const struct mslot_listener_ops ops = {.commit = stand_still};
	struct mslot_listener *listener;

	stress_begin("R4_readers_wait_free");
	/* Delays call the system. */
	stress_no_delays();
	CHECK_OK(pipe(never));
	world_init(&world, NULL, 1, 64);
	CHECK_OK(mslot_listener_add(world.map, &ops, NULL, 0, &listener));
	stress_spawn("parked", park, NULL);
	stress_spawn("writer", write_slowly, NULL);
	stress_spawn("lookups", watch, NULL);
	stress_run();
	CHECK_OK(mslot_listener_remove(listener));
	world_fini(&world);
	if (stress_end())
		return 1;
#ifndef MSLOT_SANITIZED
	if (!watched) {
		printf("skipped: seccomp is not available, so system calls were not watched\n");
		return 77;
	}
#endif
	return 0;
}
