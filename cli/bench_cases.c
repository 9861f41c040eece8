/* SPDX-License-Identifier: MIT */
/* bench_cases.c - what `mslot bench` measures; see bench.h. */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "cli.h"
#include "histogram.h"
#include "rng.h"

#define EDITS 2000u
#define BATCH 64u
#define FLOOR_LOADS 4000000u
#define FLOOR_NODES 64u

static double failed(const char *what, int ret)
{
	cli_error("bench", "%s: %s", what, strerror(-ret));
	return -1;
}

/* The time per operation, or a failure where the answers do not add up. */
static double per_lookup(uint64_t begin, uint64_t sum, uint64_t expected)
{
	const uint64_t end = cli_thread_cpu_ns();

	if (sum == expected)
		return (double)(end - begin) / BENCH_ADDRESSES;
	cli_error("bench", "the timed lookups gave other slots than the verified ones");
	return -1;
}

/* ---- Lookups --------------------------------------------------------------- */

static double run_gpa(struct bench_fixture *f)
{
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	const uint64_t begin = cli_thread_cpu_ns();
	uint64_t sum = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++)
		sum += (uintptr_t)mslot_find(snap, 0, f->gpa[k]);
	mslot_leave(snap);
	return per_lookup(begin, sum, f->sum);
}

static double run_hva(struct bench_fixture *f)
{
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	const uint64_t begin = cli_thread_cpu_ns();
	struct mslot_iter iter;
	uint64_t sum = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++) {
		mslot_iter_hva(&iter, snap, (struct mslot_range){f->hva[k], 1});
		sum += (uintptr_t)mslot_iter_next(&iter);
	}
	mslot_leave(snap);
	return per_lookup(begin, sum, f->sum);
}

static double run_id(struct bench_fixture *f)
{
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	const uint64_t begin = cli_thread_cpu_ns();
	uint64_t sum = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++)
		sum += (uintptr_t)mslot_find_id(snap, (struct mslot_key){0, f->id[k]});
	mslot_leave(snap);
	return per_lookup(begin, sum, f->sum);
}

static double run_hint(struct bench_fixture *f)
{
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	const uint64_t begin = cli_thread_cpu_ns();
	struct mslot_hint hint = {0};
	uint64_t sum = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++)
		sum += (uintptr_t)mslot_find_hint(snap, 0, f->local[k], &hint);
	mslot_leave(snap);
	return per_lookup(begin, sum, f->local_sum);
}

static double run_section(struct bench_fixture *f)
{
	const uint64_t begin = cli_thread_cpu_ns();
	uint64_t sum = 0;

	for (size_t k = 0; k < BENCH_ADDRESSES; k++) {
		const struct mslot_snapshot *const snap = mslot_enter(f->map);

		sum += (uintptr_t)mslot_find(snap, 0, f->gpa[k]);
		mslot_leave(snap);
	}
	return per_lookup(begin, sum, f->sum);
}

/* ---- Edits ----------------------------------------------------------------- */

static uint64_t generation_of(struct mslot_map *map)
{
	const struct mslot_snapshot *const snap = mslot_enter(map);
	const uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

/* Flip LOG_DIRTY of n different slots in one published commit. */
static int flip(struct bench_fixture *f, size_t first, size_t n)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(f->map, &txn);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < n && ret >= 0; i++) {
		struct mslot_slot_def *const d = &f->def[(first + i) % f->nslots];

		d->flags ^= MSLOT_LOG_DIRTY;
		ret = mslot_txn_set_flags(txn, d->key, d->flags);
	}
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

/* EDITS / n commits of n edits each: nanoseconds a commit by the given clock. */
static double run_commits(struct bench_fixture *f, size_t n, uint64_t (*clock)(void))
{
	const size_t ncommits = EDITS / n, batch = n < f->nslots ? n : f->nslots;
	const uint64_t generation = generation_of(f->map);
	struct rng rng = {generation};
	const uint64_t begin = clock();
	uint64_t end;

	for (size_t i = 0; i < ncommits; i++) {
		const int ret = flip(f, rng_below(&rng, f->nslots), batch);

		if (ret < 0)
			return failed("cannot commit", ret);
	}
	end = clock();
	if (generation_of(f->map) == generation + ncommits)
		return (double)(end - begin) / (double)ncommits;
	cli_error("bench", "an edit was not published");
	return -1;
}

static double run_edit(struct bench_fixture *f)
{
	return run_commits(f, 1, cli_thread_cpu_ns);
}

static double run_batch(struct bench_fixture *f)
{
	return run_commits(f, BATCH, cli_thread_cpu_ns);
}

struct busy_reader {
	struct bench_fixture *f;
	atomic_uint state; /* 0 starting, 1 reading, 2 to stop */
	uint64_t missed;
};

static void *busy_reader_main(void *arg)
{
	struct busy_reader *const b = arg;

	atomic_store(&b->state, 1);
	for (size_t k = 0; atomic_load_explicit(&b->state, memory_order_relaxed) == 1; k++) {
		const struct mslot_snapshot *const snap = mslot_enter(b->f->map);

		b->missed += mslot_find(snap, 0, b->f->gpa[k % BENCH_ADDRESSES]) == NULL;
		mslot_leave(snap);
	}
	return NULL;
}

/* EDITS commits of one edit, each timed by the wall clock; 0 or -errno. */
static int time_commits(struct bench_fixture *f, struct histogram *h)
{
	struct rng rng = {generation_of(f->map)};

	for (size_t i = 0; i < EDITS; i++) {
		const uint64_t begin = cli_now_ns();
		const int ret = flip(f, rng_below(&rng, f->nslots), 1);

		if (ret < 0)
			return ret;
		histogram_add(h, cli_now_ns() - begin);
	}
	return 0;
}

/*
 * A quantile of single commits and not their mean: a commit that waits for the reader
 * shows, a thread that loses its CPU to another program does not.
 */
static double run_busy(struct bench_fixture *f, uint64_t percent)
{
	struct busy_reader b = {.f = f};
	struct histogram h = {0};
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, busy_reader_main, &b);

	if (ret != 0)
		return failed("cannot start a reader", -ret);
	while (atomic_load(&b.state) == 0)
		;
	ret = time_commits(f, &h);
	atomic_store(&b.state, 2);
	pthread_join(thread, NULL);
	if (ret < 0)
		return failed("cannot commit", ret);
	if (b.missed == 0)
		return (double)histogram_quantile(&h, percent, 100);
	cli_error("bench", "%llu lookups missed a slot that is always there",
		  (unsigned long long)b.missed);
	return -1;
}

static double run_busy_median(struct bench_fixture *f)
{
	return run_busy(f, 50);
}

static double run_busy_p99(struct bench_fixture *f)
{
	return run_busy(f, 99);
}

/* ---- Setup and memory ------------------------------------------------------ */

static double check_setup(struct bench_fixture *f, uint64_t begin)
{
	const uint64_t end = cli_thread_cpu_ns();
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	const uint64_t nslots = mslot_snapshot_nslots(snap, 0);

	mslot_leave(snap);
	if (nslots == f->nslots)
		return (double)(end - begin) / 1e6;
	cli_error("bench", "%llu slots after setting up %zu", (unsigned long long)nslots,
		  f->nslots);
	return -1;
}

static double run_setup_single(struct bench_fixture *f)
{
	const uint64_t begin = cli_thread_cpu_ns();

	for (size_t i = 0; i < f->nslots; i++) {
		struct mslot_txn *txn;
		int ret = mslot_txn_begin(f->map, &txn);

		if (ret < 0)
			return failed("cannot begin a transaction", ret);
		ret = mslot_txn_create(txn, &f->def[i]);
		if (ret >= 0)
			ret = mslot_txn_commit(txn, NULL, NULL);
		if (ret < 0) {
			mslot_txn_abort(txn);
			return failed("cannot create a slot", ret);
		}
	}
	return check_setup(f, begin);
}

static double run_setup_one(struct bench_fixture *f)
{
	const uint64_t begin = cli_thread_cpu_ns();

	return bench_fixture_fill(f) < 0 ? -1 : check_setup(f, begin);
}

static double run_memory(struct bench_fixture *f)
{
	struct mslot_map_stats stats;
	int ret;

	if (f->nslots > 0 && bench_fixture_fill(f) < 0)
		return -1;
	ret = mslot_map_stats_get(f->map, &stats);
	return ret < 0 ? failed("cannot read the counters", ret) : (double)stats.reachable_bytes;
}

/* ---- Floor ------------------------------------------------------------------ */

struct floor_node {
	_Alignas(64) struct floor_node *next;
};

double bench_floor(void)
{
	static struct floor_node node[FLOOR_NODES];
	const struct floor_node *volatile result;
	const struct floor_node *at = &node[0];
	uint64_t begin, end;

	/* 29 is odd: the chain visits every node before it repeats. */
	for (size_t i = 0; i < FLOOR_NODES; i++)
		node[i].next = &node[(i + 29) % FLOOR_NODES];
	begin = cli_thread_cpu_ns();
	for (size_t i = 0; i < FLOOR_LOADS; i++)
		at = at->next;
	end = cli_thread_cpu_ns();
	result = at;
	(void)result;
	return (double)(end - begin) / FLOOR_LOADS;
}

const struct bench_case bench_cases[] = {
    {"lookup-gpa", "slot at a random guest address", run_gpa, BENCH_NS_PER_OP, 0},
    {"lookup-hva", "slots at a random host address", run_hva, BENCH_NS_PER_OP, 0},
    {"lookup-id", "slot of a random id", run_id, BENCH_NS_PER_OP, 0},
    {"lookup-hint", "guest addresses that stay in a slot, with a hint", run_hint, BENCH_NS_PER_OP,
     0},
    {"section", "enter, look up a random guest address, leave", run_section, BENCH_NS_PER_OP, 0},
    {"edit", "publish one changed slot", run_edit, BENCH_NS_PER_OP, 0},
    {"edit-busy-reader", "the same while a thread always reads: median, wall clock",
     run_busy_median, BENCH_NS_PER_OP, 0},
    {"edit-busy-p99", "the same: 99th percentile", run_busy_p99, BENCH_NS_PER_OP, 0},
    {"batch64", "publish 64 changed slots at once (all where fewer)", run_batch, BENCH_NS_PER_OP,
     0},
    {"setup-single", "create all slots, one a transaction", run_setup_single, BENCH_MS, 1},
    {"setup-one-txn", "create all slots in one transaction", run_setup_one, BENCH_MS, 1},
    {"memory", "bytes reachable from the snapshot", run_memory, BENCH_BYTES, 1},
};

const size_t bench_ncases = sizeof(bench_cases) / sizeof(bench_cases[0]);
