/* SPDX-License-Identifier: MIT */
/*
 * EXCLUSIVE commits with any timeout, ordinary commits, waits, and vCPUs that enter, poll and
 * leave; some live for a few sections only. Always: from the first callback of an EXCLUSIVE
 * commit to the last no vCPU is inside, a section sees nothing of it change, and what the
 * callbacks stored without atomics is there in every later section.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include <mslot/mslot.h>

#include "stress/stress.h"

#define PAGE UINT64_C(4096)
#define NVCPUS 3u
#define WRITERS 3u /* the last one's commits are ordinary */

static struct mslot_map *map;
static struct mslot_region *region;
static struct {
	_Alignas(64) _Atomic bool inside;
} flag[NVCPUS + 1];
/* Plain: written in callbacks of EXCLUSIVE commits, read in sections of vCPUs. */
static struct {
	uint64_t begun, done;
} ledger;
static _Thread_local bool exclusive;
static _Atomic uint64_t commits, timeouts;

static void check_nobody(void)
{
	unsigned int i;

	if (!exclusive)
		return;
	/* Relaxed: the library owes us the order. */
	for (i = 0; i <= NVCPUS; i++)
		CHECK(!atomic_load_explicit(&flag[i].inside, memory_order_relaxed),
		      "vCPU %u is inside during an EXCLUSIVE commit", i);
}

static int prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	check_nobody();
	if (exclusive)
		ledger.begun++;
	return 0;
}

static void commit(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	if (exclusive)
		ledger.done++;
	check_nobody();
}

/* Move the writer's slot to and fro. */
static int move(struct stress_thread *self, const struct mslot_commit_options *opt)
{
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	uint64_t gpa = self->index * 8 * PAGE + (self->ops % 2 ? PAGE : 0);
	int err;

	CHECK_OK(mslot_txn_begin(map, &txn));
	CHECK(mslot_txn_move(txn, (struct mslot_key){0, self->index}, gpa) == 0, "no edit");
	err = mslot_txn_commit(txn, opt, &result);
	if (err)
		mslot_txn_abort(txn);
	else
		stress_committed(result.generation);
	return err;
}

static void write_exclusively(struct stress_thread *self)
{
	static const int64_t timeouts_ns[] = {0, 20000, 1000000, -1};
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_EXCLUSIVE};
	int err;

	exclusive = true;
	while (stress_running() || !self->ops) {
		opt.timeout_ns = timeouts_ns[rng_below(&self->rng, 4)];
		err = move(self, &opt);
		CHECK(!err || (err == -ETIMEDOUT && opt.timeout_ns >= 0), "returned %d", err);
		atomic_fetch_add_explicit(err ? &timeouts : &commits, 1, memory_order_relaxed);
		self->ops += !err;
		stress_linger(self);
	}
}

static void write_and_wait(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		CHECK_OK(move(self, NULL));
		self->ops++;
		if (rng_chance(&self->rng, 20))
			CHECK_OK(
			    mslot_wait(map, stress_newest(),
				       rng_chance(&self->rng, 50) ? -1 : INT64_C(60000000000)));
	}
}

/* The thread is inside: look around, and say so meanwhile. */
static void stay(struct stress_thread *self, unsigned int n, struct mslot_vcpu *vcpu, uint64_t told)
{
	uint64_t begun;

	atomic_store_explicit(&flag[n].inside, true, memory_order_relaxed);
	begun = ledger.begun;
	CHECK(ledger.done == begun, "inside amid EXCLUSIVE commit %" PRIu64, begun);
	CHECK(mslot_vcpu_find(vcpu, 0, 7 * PAGE), "the slot that stays is gone");
	stress_linger(self);
	CHECK(ledger.begun == begun, "an EXCLUSIVE commit began inside");
	CHECK(told <= stress_newest(), "told of less");
	atomic_store_explicit(&flag[n].inside, false, memory_order_relaxed);
	self->ops++;
}

static void enter(struct stress_thread *self, unsigned int n, struct mslot_vcpu *vcpu)
{
	uint64_t told = stress_newest(), polls = rng_below(&self->rng, 4);
	const struct mslot_snapshot *snap;

	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	CHECK(mslot_snapshot_generation(snap) >= told, "entered an old snapshot");
	stay(self, n, vcpu, told);
	while (polls--) {
		told = stress_newest();
		CHECK_OK(mslot_vcpu_poll(vcpu, &snap));
		CHECK(mslot_snapshot_generation(snap) >= told, "polled an old snapshot");
		stay(self, n, vcpu, told);
	}
	mslot_vcpu_leave(vcpu);
}

static void run_vcpu(struct stress_thread *self)
{
	unsigned int n = *(unsigned int *)self->arg;
	struct mslot_vcpu *vcpu;

	CHECK_OK(mslot_vcpu_create(map, NULL, &vcpu));
	while (stress_running() || !self->ops)
		enter(self, n, vcpu);
	CHECK_OK(mslot_vcpu_destroy(vcpu));
}

static void run_short_lives(struct stress_thread *self)
{
	struct mslot_vcpu *vcpu;
	unsigned int i;

	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_vcpu_create(map, NULL, &vcpu));
		for (i = 0; i < 3; i++)
			enter(self, NVCPUS, vcpu);
		CHECK_OK(mslot_vcpu_destroy(vcpu));
	}
}

static void make_world(void)
{
	struct mslot_region_options opt = {.len_bytes = 64 * PAGE, .fd = -1};
	struct mslot_slot_def def = {.len_bytes = PAGE};
	struct mslot_txn *txn;
	uint32_t id;

	CHECK_OK(mslot_map_create(NULL, &map));
	CHECK_OK(mslot_region_create(&opt, &region));
	CHECK_OK(mslot_txn_begin(map, &txn));
	def.region = region;
	for (id = 0; id <= WRITERS; id++) {
		def.key.id = id;
		/* Threads number from 0, writers first; the last slot is never moved. */
		def.gpa = id < WRITERS ? id * 8 * PAGE : 7 * PAGE;
		CHECK(mslot_txn_create(txn, &def) >= 0, "no edit");
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

/* Both ways an EXCLUSIVE commit can end. */
static bool saw_both(void)
{
	return atomic_load(&commits) > 0 && atomic_load(&timeouts) > 0;
}

int main(void)
{
	static const struct mslot_listener_ops ops = {.prepare = prepare, .commit = commit};
	static unsigned int number[NVCPUS];
	struct mslot_listener *listener;
	unsigned int i;

	stress_begin("vcpu_exclusive_no_vcpu_inside");
	make_world();
	CHECK_OK(mslot_listener_add(map, &ops, NULL, 0, &listener));
	for (i = 0; i + 1 < WRITERS; i++)
		stress_spawn("exclusive", write_exclusively, NULL);
	stress_spawn("writer", write_and_wait, NULL);
	for (i = 0; i < NVCPUS; i++) {
		number[i] = i;
		stress_spawn("vcpu", run_vcpu, &number[i]);
	}
	stress_spawn("newcomers", run_short_lives, NULL);
	stress_until(saw_both);
	stress_run();
	CHECK(ledger.begun == ledger.done && ledger.done > 0, "no EXCLUSIVE commit");
	CHECK(atomic_load(&timeouts) > 0, "no EXCLUSIVE commit ran out of time");
	printf("  %" PRIu64 " EXCLUSIVE commits, %" PRIu64 " out of time\n", atomic_load(&commits),
	       atomic_load(&timeouts));
	CHECK_OK(mslot_listener_remove(listener));
	mslot_region_put(region);
	CHECK_OK(mslot_map_destroy(map));
	return stress_end();
}
