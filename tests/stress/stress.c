/* SPDX-License-Identifier: MIT */
#include "stress/stress.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "map/snapshot.h"
#include "stress/windows.h"

#define WINDOWS_MS 10000u /* that a run goes on for a window that was not entered */

static struct stress_thread threads[STRESS_THREADS];
static unsigned int nthreads;
static const char *program;
static bool (*enough)(void);
static uint64_t seed;
static _Atomic bool stop;
static _Atomic uint64_t newest;
static struct stress_step gate = STRESS_STEP_INIT;
static uint64_t ran_ms;

void stress_fail(const char *where, const char *what, const char *format, ...)
{
	va_list args;

	flockfile(stderr);
	fprintf(stderr, "%s: FAILED at %s, seed %" PRIu64 "\n  %s: ", program, where, seed, what);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	fflush(stderr);
	_exit(1);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	char *end;
	uint64_t n;

	if (!text)
		return otherwise;
	n = strtoull(text, &end, 10);
	if (end == text || *end) {
		fprintf(stderr, "%s: %s must be a number, not '%s'\n", program, name, text);
		exit(1);
	}
	return n;
}

uint64_t stress_scaled(uint64_t n)
{
	uint64_t scaled = n * number("MSLOT_TEST_SCALE", 100) / 100;

	return scaled ? scaled : 1;
}

void stress_begin(const char *name)
{
#ifdef FENCED
	CHECK_OK(mslot_fence_readers());
#endif
	struct timespec ts;

	program = name;
	clock_gettime(CLOCK_REALTIME, &ts);
	seed = number("MSLOT_STRESS_SEED", (uint64_t)ts.tv_nsec ^ (uint64_t)ts.tv_sec << 20);
	windows_begin(name, seed);
}

uint64_t stress_seed(void)
{
	return seed;
}

void stress_no_delays(void)
{
	windows_off();
}

static void *main_of(void *arg)
{
	struct stress_thread *self = arg;

	windows_thread(seed + 1000 + self->index);
	stress_step_wait(&gate, 1);
	self->run(self);
	return NULL;
}

struct stress_thread *stress_spawn(const char *name, void (*run)(struct stress_thread *self),
				   void *arg)
{
	struct stress_thread *self = &threads[nthreads];

	CHECK(nthreads < STRESS_THREADS, "too many threads");
	*self = (struct stress_thread){.run = run, .name = name, .index = nthreads, .arg = arg};
	rng_init(&self->rng, seed + self->index);
	nthreads++;
	CHECK_OK(pthread_create(&self->thread, NULL, main_of, self));
	return self;
}

bool stress_running(void)
{
	return !atomic_load_explicit(&stop, memory_order_relaxed);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/*
 * On a busy machine a short run may be over before each thread had its turn: go on until the
 * windows were entered, and the program has what it wants to have seen; but not for ever, so that
 * what never happens is a failure.
 */
static void await_enough(void)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	const uint64_t end = now_ms() + WINDOWS_MS;

	while ((!windows_all_entered() || (enough && !enough())) && now_ms() < end)
		nanosleep(&pause, NULL);
}

void stress_until(bool (*what)(void))
{
	enough = what;
}

void stress_run(void)
{
	bool fixed = getenv("MSLOT_STRESS_MS") != NULL;
	uint64_t ms = number("MSLOT_STRESS_MS", 1500);
	uint64_t begin = now_ms();
	struct timespec ts;
	unsigned int i;

	if (!fixed)
		ms = stress_scaled(ms);
	ts.tv_sec = (time_t)(ms / 1000);
	ts.tv_nsec = (long)(ms % 1000) * 1000000;
	stress_step_reach(&gate, 1);
	nanosleep(&ts, NULL);
	await_enough();
	atomic_store(&stop, true);
	for (i = 0; i < nthreads; i++)
		CHECK_OK(pthread_join(threads[i].thread, NULL));
	ran_ms = now_ms() - begin;
}

static void print_ages(const struct stress_thread *t)
{
	unsigned int i;

	for (i = 0; i < STRESS_AGES; i++)
		if (t->ages[i])
			printf(" %s%" PRIu64 ":%" PRIu64, i == STRESS_AGES - 1 ? ">=" : "",
			       i ? UINT64_C(1) << (i - 1) : 0, t->ages[i]);
}

int stress_end(void)
{
	uint64_t ops = 0;
	bool idle = nthreads == 0, missed;
	unsigned int i;

	for (i = 0; i < nthreads; i++) {
		const struct stress_thread *t = &threads[i];

		printf("  %-10s %10" PRIu64, t->name, t->ops);
		print_ages(t);
		putchar('\n');
		ops += t->ops;
		idle |= t->ops == 0;
	}
	missed = windows_missed();
	/* scripts/stress reads this line. */
	printf("%s: %" PRIu64 " operations in %" PRIu64 " ms, seed %" PRIu64 "\n", program, ops,
	       ran_ms, seed);
	if (idle)
		fprintf(stderr, "%s: FAILED: a thread did nothing\n", program);
	return idle || missed;
}

void stress_step_reach(struct stress_step *step, uint64_t n)
{
	pthread_mutex_lock(&step->lock);
	if (step->reached < n)
		step->reached = n;
	pthread_cond_broadcast(&step->changed);
	pthread_mutex_unlock(&step->lock);
}

void stress_step_wait(struct stress_step *step, uint64_t n)
{
	pthread_mutex_lock(&step->lock);
	while (step->reached < n)
		pthread_cond_wait(&step->changed, &step->lock);
	pthread_mutex_unlock(&step->lock);
}

uint64_t stress_newest(void)
{
	return atomic_load_explicit(&newest, memory_order_acquire);
}

void stress_committed(uint64_t generation)
{
	uint64_t seen = atomic_load_explicit(&newest, memory_order_relaxed);

	/* Release: the commit before the word of it. Pairs with stress_newest(). */
	while (seen < generation &&
	       !atomic_compare_exchange_weak_explicit(&newest, &seen, generation,
						      memory_order_release, memory_order_relaxed))
		;
}

/*
 * Fails for a snapshot that a whole grace period has passed, by the library's account (the
 * first two) and by our own clock; the next one would give its memory away.
 */
static void check_alive(const struct stress_section *sec)
{
	uint64_t graced = atomic_load(&sec->map->graced);
	uint64_t reclaimed = atomic_load(&sec->map->reclaimed);
	uint64_t over = windows_over();

	CHECK(graced <= sec->generation,
	      "generation %" PRIu64 " entered, readers below %" PRIu64 " said to be gone (R3)",
	      sec->generation, graced);
	CHECK(reclaimed <= sec->generation,
	      "generation %" PRIu64 " still entered, but reclaimed up to %" PRIu64 " (R3)",
	      sec->generation, reclaimed);
	CHECK(over <= sec->grace,
	      "grace period %" PRIu64 " over, entered before %" PRIu64 " began (R3)", over,
	      sec->grace + 1);
}

void stress_enter(struct stress_section *sec, struct mslot_map *map)
{
	uint64_t told = stress_newest();

	sec->map = map;
	sec->snap = mslot_enter(map);
	sec->generation = mslot_snapshot_generation(sec->snap);
	sec->serial = sec->snap->serial;
	/* Inside the section: a grace period that begins after this look waits for us. */
	sec->grace = windows_begun();
	CHECK(sec->generation >= told, "entered %" PRIu64 " after %" PRIu64 " returned (R2)",
	      sec->generation, told);
	check_alive(sec);
}

void stress_leave(struct stress_section *sec, struct stress_thread *self)
{
	uint64_t age = atomic_load(&sec->map->published);
	unsigned int bucket = 0;

	check_alive(sec);
	CHECK(sec->snap->serial == sec->serial && sec->snap->generation == sec->generation,
	      "the snapshot changed inside the section (R3)");
	age = age > sec->generation ? age - sec->generation : 0;
	while (age >> bucket && bucket < STRESS_AGES - 1)
		bucket++;
	self->ages[bucket]++;
	mslot_leave(sec->snap);
}

void stress_outlive(struct mslot_map *map, uint64_t generation)
{
	while (atomic_load(&map->reclaimed) <= generation && stress_running())
		sched_yield();
}

void stress_linger(struct stress_thread *self)
{
	uint64_t turns = rng_chance(&self->rng, 20) ? rng_below(&self->rng, 32) : 0;

	while (turns--)
		sched_yield();
}
