/* SPDX-License-Identifier: MIT */
/*
 * stress.h - what the stress programs share: threads with a seed, a clock, step
 * barriers, random delays in the library's named windows, and failing.
 *
 * A program is named after the guarantee that it tries to break. Its main() calls
 * stress_begin(), spawns threads whose loops ask stress_running(), calls stress_run()
 * and returns stress_end(). It fails when a check fails, when some thread did nothing, or
 * when a window that the program answers for (windows.c) was never entered.
 *
 * MSLOT_STRESS_MS   how long stress_run() lets the threads loop (default 1500); without
 *                   it MSLOT_TEST_SCALE scales the default by that many percent
 * MSLOT_STRESS_SEED the seed to use instead of a fresh one; each program prints its seed
 */
#ifndef MSLOT_TESTS_STRESS_H
#define MSLOT_TESTS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <mslot/txn.h>

#include "rng.h"

#define STRESS_THREADS 16
#define STRESS_AGES 33

struct stress_thread {
	pthread_t thread;
	void (*run)(struct stress_thread *self);
	const char *name;
	unsigned int index; /* rising from 0 in the order of spawning */
	struct rng rng;
	uint64_t ops; /* counted by run(); 0 at the end is a failure */
	uint64_t ages[STRESS_AGES];
	void *arg;
};

void stress_begin(const char *name);
/* Start a thread; it waits for stress_run(). */
struct stress_thread *stress_spawn(const char *name, void (*run)(struct stress_thread *self),
				   void *arg);
bool stress_running(void);
/* Have stress_run() go on, within limits, until `what` says so; it is asked now and then. */
void stress_until(bool (*what)(void));
/* Let the threads run until time is up and join them. */
void stress_run(void);
/* Print what was done. Returns main()'s result. */
int stress_end(void);

/* Length of a fixed amount of work under MSLOT_TEST_SCALE; at least 1. */
uint64_t stress_scaled(uint64_t n);
uint64_t stress_seed(void);
/* For programs that count allocations or calls of the system. */
void stress_no_delays(void);

/* Print and end the program at once, whatever other threads do. */
_Noreturn void stress_fail(const char *where, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define STRESS_TEXT_(n) #n
#define STRESS_TEXT(n) STRESS_TEXT_(n)
#define STRESS_HERE __FILE__ ":" STRESS_TEXT(__LINE__)
#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			stress_fail(STRESS_HERE, #cond, __VA_ARGS__);                              \
	} while (0)
#define CHECK_OK(call)                                                                             \
	do {                                                                                       \
		int check_err_ = (call);                                                           \
		if (check_err_)                                                                    \
			stress_fail(STRESS_HERE, #call, "returned %d", check_err_);                \
	} while (0)

/* A number that only rises and that threads wait for. */
struct stress_step {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t reached;
};

#define STRESS_STEP_INIT                                                                           \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                             \
	}
void stress_step_reach(struct stress_step *step, uint64_t n);
void stress_step_wait(struct stress_step *step, uint64_t n);

/* ---- Sections under watch ------------------------------------------------- */

/*
 * A read section with an oracle: the snapshot must show every commit of which
 * stress_committed() told before the entry (R2), must not have been reclaimed while
 * inside (R3), no grace period that began inside may end there (R3), and it must be
 * unchanged at the end.
 */
struct stress_section {
	struct mslot_map *map;
	const struct mslot_snapshot *snap;
	uint64_t generation;
	uint64_t serial;
	uint64_t grace; /* windows_begun() inside */
};

void stress_enter(struct stress_section *sec, struct mslot_map *map);
void stress_leave(struct stress_section *sec, struct stress_thread *self);
/* Inside a section: sometimes let others run for a while, so that commits overtake it. */
void stress_linger(struct stress_thread *self);
/*
 * Without a section: until whatever died right after this generation was freed or given
 * to holds, so that a hold on it has to prove itself; or until the run is over.
 */
void stress_outlive(struct mslot_map *map, uint64_t generation);
/* A commit of this generation has returned. */
void stress_committed(uint64_t generation);
/* The highest generation told of. */
uint64_t stress_newest(void);

#endif /* MSLOT_TESTS_STRESS_H */
