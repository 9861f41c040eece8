/* SPDX-License-Identifier: MIT */
/*
 * windows.c - delays, the coverage of windows, the clock of grace periods.
 *
 * Everything shared is relaxed and, for readers, without read-modify-write: the hook may
 * not bring order between threads that the library owes them.
 */
#include "stress/windows.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/perturb.h"
#include "rng.h"
#include "stress/stress.h"

/*
 * Each window, and the programs that always enter it, by how their names begin: there it may not
 * be missing. Some enter it no sooner than when they take their world down, after the run.
 */
#define WINDOW(point, by) [PERTURB_##point] = {#point, by, ""}
#define WINDOW_AT_END(point, by, at_end) [PERTURB_##point] = {#point, by, at_end}
static const struct {
	const char *name, *by, *at_end;
} windows[PERTURB_POINTS] = {
    WINDOW(READER_ENTERED, "R1 R2 R3 W1 W2 W4 W5 L2"),
    WINDOW(SNAPSHOT_LOADED, "R1 R2 R3 W1 W2 W4 W5 L2"),
    WINDOW(READER_LEAVING, "R1 R2 R3 W1 W2 W4 W5 L2"),
    WINDOW(BEFORE_PREPARE, "R1 R2 R3 W1 W2 W3 W4 W5 L2"),
    WINDOW(BEFORE_ABORT, "R1 W1"),
    WINDOW(BEFORE_UNDO, "R1 W1 L2"),
    WINDOW(BEFORE_PUBLISH, "R1 R2 R3 W1 W2 W3 W4 W5 L2"),
    WINDOW(POINTER_PUBLISHED, "R1 R2 R3 W1 W2 W3 W4 W5 L2"),
    WINDOW(AFTER_PUBLISH, "R1 R2 R3 W1 W2 W3 W4 W5 L2"),
    WINDOW(BEFORE_RETIRE, "R1 R2 R3 W1 W2 W3 W4 W5 L2"),
    WINDOW(GRACE_BEGINS, "R1 R3 W1 W4 W5 L2"),
    WINDOW(GRACE_OVER, "R1 R3 W1 W4 W5 L2"),
    WINDOW(AT_LIMIT, "W5"),
    WINDOW(BEFORE_RECLAIM, "R1 R3 W1 W4 W5 L2"),
    WINDOW(BEFORE_RECLAIMED, "R1 R3 W1 W4 W5 L2"),
    WINDOW_AT_END(REGION_AT_ZERO, "R1 R3 W1 L2", "R1 W1"),
    WINDOW_AT_END(BEFORE_RELEASE, "R1 R3 W1 L2", "R1 W1"),
    WINDOW(HOLD_REGISTER, "R1 R3 W5 L2"),
    WINDOW(HOLD_PUT, "R1 R3 W5 L2"),
    WINDOW(HOLD_INHERIT, "R1 W5 L2"),
    WINDOW(WAIT_LOOKED, "W4 W5"),
    WINDOW(WAIT_UNREACHABLE, "W1 W4 W5 L2 L1"),
    WINDOW(LEASE_FILLED, "L1 L2 D1"),
    WINDOW(LEASE_ENDED, "L1 L2 D1"),
    WINDOW(LEASE_SEEN, "L1 L2"),
    WINDOW(REGION_PARKED, "L1 L2"),
    WINDOW(WAIT_SETTLED, "W1 W4 W5 L1 L2"),
    WINDOW(MARK_LIVE_LOADED, "D1"),
    WINDOW(HARVEST_SWAPPED, "D1"),
    WINDOW(VCPU_INSIDE, "vcpu"),
    WINDOW(VCPU_ANSWERED, "vcpu"),
    WINDOW(VCPU_OUT, "vcpu"),
    WINDOW(VCPU_ASKED, "vcpu"),
    WINDOW(VCPUS_ASKED, "vcpu"),
    WINDOW(GATE_CLOSED, "vcpu"),
    WINDOW(GATE_WATCHED, "vcpu"),
    WINDOW(EXCLUDED, "vcpu"),
    WINDOW(RING_CLAIMED, "D1_ring"),
    WINDOW(RING_FILLED, "D1_ring"),
    WINDOW(RING_ADMITTED, "D1_ring"),
    WINDOW(RING_COLLECTED, "D1_ring"),
    WINDOW(RING_GIVEN, "D1_ring"),
    WINDOW(RING_RESET, "D1_ring"),
    WINDOW(DEFERRED_BREAK, "T1"),
    WINDOW(FAULT_RESOLVED, "T1"),
    WINDOW(FAULT_WALKED, "T1"),
    WINDOW(FAULT_LOCKED, "T1"),
    WINDOW(SLOT_CLAIMED, "T1"),
    WINDOW(FAULT_AGAIN, "T1"),
    WINDOW(LEAF_BUSY, "T1"),
    WINDOW(LEAF_SEEN, "T1"),
    WINDOW(LEAF_TAKEN, "T1"),
    WINDOW(HEAD_LOCKED, "T1"),
    WINDOW(CHUNK_DIES, "T1"),
    WINDOW(TABLE_UNLINKED, "T1"),
    WINDOW(TABLE_TAKEN_APART, "T1"),
    WINDOW(TABLE_EVICTED, "T1"),
    WINDOW(TABLE_QUEUE_LOCKED, "T1"),
    WINDOW(INVALIDATION_BEGUN, "T1"),
    WINDOW(INVALIDATION_ENDING, "T1"),
};

static const char *program;
static _Atomic bool entered[PERTURB_POINTS];
static _Atomic uint64_t begun, over;
static _Thread_local uint64_t own_grace;
static _Thread_local struct rng delays;

/*
 * Mostly nothing, sometimes a short spin, rarely another thread's turn: long enough to
 * let others into the window, short enough to keep the pressure up.
 */
static void delay(enum perturb_point point)
{
	uint64_t draw = rng_next(&delays) ^ (uint64_t)point;
	volatile unsigned int spin;

	if (draw % 16 == 0)
		sched_yield();
	else if (draw % 16 < 4)
		for (spin = 0; spin < (draw >> 32) % 400; spin++)
			;
}

static void note_over(uint64_t grace)
{
	uint64_t seen = atomic_load_explicit(&over, memory_order_relaxed);

	while (seen < grace && !atomic_compare_exchange_weak_explicit(
				   &over, &seen, grace, memory_order_relaxed, memory_order_relaxed))
		;
}

static void hook(enum perturb_point point)
{
	if (!atomic_load_explicit(&entered[point], memory_order_relaxed))
		atomic_store_explicit(&entered[point], true, memory_order_relaxed);
	if (point == PERTURB_GRACE_BEGINS)
		own_grace = atomic_fetch_add_explicit(&begun, 1, memory_order_relaxed) + 1;
	else if (point == PERTURB_GRACE_OVER)
		note_over(own_grace);
	delay(point);
}

void windows_begin(const char *name, uint64_t seed)
{
	unsigned int i;

	program = name;
	for (i = 0; i < PERTURB_POINTS; i++)
		CHECK(windows[i].by && windows[i].by[0], "nobody answers for window %u", i);
	windows_thread(seed);
	perturb_hook = hook;
}

void windows_thread(uint64_t seed)
{
	rng_init(&delays, seed);
}

void windows_off(void)
{
	perturb_hook = NULL;
}

/* Does the program answer for a window? */
static bool answers_for(const char *by)
{
	size_t n;

	for (; *by; by += n + (by[n] == ' ')) {
		n = strcspn(by, " ");
		if (strncmp(program, by, n) == 0)
			return true;
	}
	return false;
}

bool windows_all_entered(void)
{
	unsigned int i;

	for (i = 0; i < PERTURB_POINTS; i++)
		if (!atomic_load_explicit(&entered[i], memory_order_relaxed) && perturb_hook &&
		    answers_for(windows[i].by) && !answers_for(windows[i].at_end))
			return false;
	return true;
}

bool windows_missed(void)
{
	bool missed = false;
	unsigned int i, n = 0;

	for (i = 0; i < PERTURB_POINTS; i++) {
		if (entered[i]) {
			n++;
		} else if (perturb_hook && answers_for(windows[i].by)) {
			fprintf(stderr, "%s: FAILED: window %s never entered\n", program,
				windows[i].name);
			missed = true;
		}
	}
	printf("  %u of %u windows, %" PRIu64 " grace periods\n", n, PERTURB_POINTS,
	       windows_begun());
	return missed;
}

uint64_t windows_begun(void)
{
	return atomic_load_explicit(&begun, memory_order_relaxed);
}

uint64_t windows_over(void)
{
	return atomic_load_explicit(&over, memory_order_relaxed);
}
