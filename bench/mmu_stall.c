/* SPDX-License-Identifier: MIT */
/*
 * mmu_stall.c - what a vCPU that faults on a slot of its own notices of the end of another one:
 * 64 GiB, mapped by leaves of single pages. No host memory is touched.
 *
 * A thread zaps and faults its pages in turn, without a pause, and notes by the wall clock what
 * each fault took (section and clock included). It does so for a while, then the other slot is
 * deleted, and then goes on until the memory of its tables is back or TOO_LONG_NS are over. Of some
 * deletions the one counts beside which the 99th percentile was lowest: others say what else the
 * machine did.
 */
#include "cases.h"
#include "mmu.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define PAGES (UINT64_C(16) << 20)
#define OTHER_PAGES 4096u
#define IDLE_NS UINT64_C(300000000)
#define TOO_LONG_NS UINT64_C(3000000000)
#define DELETIONS 5u

enum phase { IDLE, DELETING, FREEING, PHASES, STOP = PHASES };

/* How often each latency came: exact ones below EXACT, the rest together in steps of STEP. */
#define EXACT 16384u
#define STEP 256u
#define STEPS 16384u

struct latencies {
	uint32_t exact[EXACT];
	uint32_t step[STEPS];
	uint64_t n, max;
};

struct figures {
	double p50[PHASES], p99[PHASES], max[PHASES];
	double commit_ms;
	uint64_t faults[PHASES];
};

struct engine_figures {
	struct figures of[DELETIONS];
};

struct stall {
	struct mmu_point p;
	struct group_turn *t; /* who is measured */
	const uint64_t *addr; /* of the other slot's pages */
	_Atomic unsigned int phase;
	_Atomic bool begun, failed;
	struct latencies seen[PHASES];
};

/* ---- Latencies ---------------------------------------------------------------- */

static void note(struct latencies *l, uint64_t ns)
{
	const uint64_t step = ns / STEP;

	if (ns < EXACT)
		l->exact[ns]++;
	else
		l->step[step < STEPS ? step : STEPS - 1]++;
	l->n++;
	l->max = ns > l->max ? ns : l->max;
}

static double percentile(const struct latencies *l, unsigned int percent)
{
	const uint64_t wanted = l->n * percent / 100;
	uint64_t n = 0;

	for (size_t i = 0; i < EXACT; i++) {
		n += l->exact[i];
		if (n > wanted)
			return (double)i;
	}
	for (size_t i = 0; i < STEPS; i++) {
		n += l->step[i];
		if (n > wanted)
			return (double)(i * STEP);
	}
	return (double)l->max;
}

/* ---- The vCPU that faults ------------------------------------------------------- */

/* What waited for the deletion to begin or to end counts as its. */
static enum phase phase_of(unsigned int before, unsigned int after)
{
	return before == IDLE && after != IDLE ? DELETING : (enum phase)before;
}

static void *keep_faulting(void *arg)
{
	struct stall *const s = arg;
	const struct mmu_engine *const e = s->t->engine;
	unsigned int phase;

	for (size_t i = 0; (phase = atomic_load(&s->phase)) != STOP; i++) {
		const struct mmu_addrs one = {.addr = &s->addr[i % OTHER_PAGES], .n = 1};
		uint64_t begin, ns, sum = 0;
		int ret = e->zap(s->t->world, 1, &one);

		begin = clock_wall_ns();
		if (ret == 0)
			ret = e->fault(s->t->world, 1, &one, &sum);
		ns = clock_wall_ns() - begin;
		if (ret < 0 || sum != mmu_sum(&s->p.shape, &one))
			atomic_store(&s->failed, true);
		atomic_store(&s->begun, true);
		note(&s->seen[phase_of(phase, atomic_load(&s->phase))], ns);
	}
	return NULL;
}

/* ---- A deletion --------------------------------------------------------------- */

static uint64_t dead_tables(struct group_turn *t)
{
	struct mslot_mmu_stats stats = {0};

	return mmu_engine_of(t)->stats(t->world, &stats) < 0 ? 0 : stats.dead_tables;
}

static void wait_ns(uint64_t ns)
{
	const struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	nanosleep(&ts, NULL);
}

/* The phases, one after the other, while the thread runs. */
static int go_through(struct stall *s, bool quick, struct figures *f)
{
	struct group_turn *const t = s->t;
	uint64_t begin;
	int ret;

	while (!atomic_load(&s->begun))
		wait_ns(1000000);
	wait_ns(quick ? IDLE_NS / 10 : IDLE_NS);
	atomic_store(&s->phase, DELETING);
	begin = clock_wall_ns();
	ret = mmu_engine_of(t)->edit(t->world, MMU_DELETE);
	f->commit_ms = (double)(clock_wall_ns() - begin) / 1e6;
	atomic_store(&s->phase, FREEING);
	begin = clock_wall_ns();
	do
		wait_ns(1000000);
	while (ret == 0 && dead_tables(t) > 0 && clock_wall_ns() - begin < TOO_LONG_NS);
	atomic_store(&s->phase, STOP);
	return ret;
}

static enum bench_outcome delete_once(struct stall *s, bool quick, struct figures *f)
{
	pthread_t thread;
	int ret;

	memset(s->seen, 0, sizeof(s->seen));
	atomic_store(&s->phase, IDLE);
	atomic_store(&s->begun, false);
	atomic_store(&s->failed, false);
	ret = pthread_create(&thread, NULL, keep_faulting, s);
	if (ret != 0)
		return group_failed(s->t, "cannot start a thread: %s", strerror(ret));
	ret = go_through(s, quick, f);
	pthread_join(thread, NULL);
	if (ret < 0)
		return mmu_broken(s->t, "a deletion", ret);
	if (atomic_load(&s->failed))
		return group_failed(s->t, "a fault beside the deletion went wrong");
	for (unsigned int i = 0; i < PHASES; i++) {
		f->p50[i] = percentile(&s->seen[i], 50);
		f->p99[i] = percentile(&s->seen[i], 99);
		f->max[i] = (double)s->seen[i].max;
		f->faults[i] = s->seen[i].n;
	}
	return BENCH_OK;
}

/* A slot full of leaves is deleted, is gone, and comes back empty. */
static enum bench_outcome one_deletion(struct stall *s, bool quick, struct figures *f)
{
	struct group_turn *const t = s->t;
	const struct mslot_range all = mmu_all(&s->p.shape);
	enum bench_outcome outcome = mmu_fill(t, 0, all);
	int ret = 0;

	if (outcome == BENCH_OK)
		outcome = delete_once(s, quick, f);
	if (outcome == BENCH_OK)
		outcome = mmu_check_mapped(t, 0, all, false);
	if (outcome == BENCH_OK)
		ret = mmu_engine_of(t)->edit(t->world, MMU_CREATE);
	return ret < 0 ? mmu_broken(t, "a slot that comes back", ret) : outcome;
}

/* ---- Rows --------------------------------------------------------------------- */

struct column {
	const char *name, *what, *layout, *unit;
	enum phase phase;
	size_t offset; /* of a double in struct figures */
};

#define OF(field, phase) offsetof(struct figures, field) + (phase) * sizeof(double)

static const char stall_name[] = "mmu-delete-stall",
		  stall_what[] = "a fault beside the deletion of a slot that is all mapped";

/* In the order of their tables: engines are the rows of each. */
static const struct column columns[] = {
    {stall_name, stall_what, "idle-p50", "ns/op", IDLE, OF(p50, IDLE)},
    {stall_name, stall_what, "deleting-p50", "ns/op", DELETING, OF(p50, DELETING)},
    {stall_name, stall_what, "freeing-p50", "ns/op", FREEING, OF(p50, FREEING)},
    {stall_name, stall_what, "idle-p99", "ns/op", IDLE, OF(p99, IDLE)},
    {stall_name, stall_what, "deleting-p99", "ns/op", DELETING, OF(p99, DELETING)},
    {stall_name, stall_what, "freeing-p99", "ns/op", FREEING, OF(p99, FREEING)},
    {stall_name, stall_what, "idle-max", "ns/op", IDLE, OF(max, IDLE)},
    {stall_name, stall_what, "deleting-max", "ns/op", DELETING, OF(max, DELETING)},
    {stall_name, stall_what, "freeing-max", "ns/op", FREEING, OF(max, FREEING)},
    {"mmu-delete", "the commit that deletes this slot", "4-kib", "ms", DELETING, OF(commit_ms, 0)},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static double figure_of(const struct figures *f, const struct column *c)
{
	double value;

	memcpy(&value, (const char *)f + c->offset, sizeof(value));
	return value;
}

/* Not the growth: the best of that would be a deletion after a time that was idle but noisy. */
static double noticed(const struct figures *f)
{
	if (f->faults[DELETING] == 0 || f->faults[IDLE] == 0)
		return INFINITY;
	return f->p99[DELETING];
}

/* The value is the best deletion's; the others are beside it where they have one. */
static void put_row(const struct bench_group *g, const struct group_turn *t, const struct column *c,
		    const struct figures *f, size_t n)
{
	struct bench_row row = t->row;
	double value[DELETIONS];
	size_t best = 0, nvalues = 0;

	row.name = c->name;
	row.what = c->what;
	row.layout = c->layout;
	row.unit = c->unit;
	for (size_t i = 0; i < n; i++) {
		if (f[i].faults[c->phase] > 0)
			value[nvalues++] = figure_of(&f[i], c);
		best = noticed(&f[i]) < noticed(&f[best]) ? i : best;
	}
	if (f[best].faults[c->phase] == 0) {
		g->sink->skipped(g->sink->ctx, &row, "no fault fell into this time");
		return;
	}
	bench_summarize(&row, value, nvalues);
	row.value = figure_of(&f[best], c);
	g->sink->row(g->sink->ctx, &row);
}

/* ---- The case ----------------------------------------------------------------- */

static int report(const struct bench_group *g, const struct group_turn *t)
{
	snprintf(g->why, BENCH_WHY, "engine %s, case %s: %s", t->row.engine, g->c->name, t->why);
	return -1;
}

/* All deletions of an engine, to f[]; -1 with a message in g->why. */
static int run_engine(const struct bench_group *g, struct stall *s, struct figures *f, size_t n)
{
	struct group_turn *const t = s->t;
	enum bench_outcome outcome = BENCH_OK;

	t->world = mmu_engine_of(t)->create(&s->p.shape, t->why);
	for (size_t i = 0; i < n && t->world != NULL && outcome == BENCH_OK; i++) {
		g->sink->progress(g->sink->ctx, t->row.engine, *g->done, g->total);
		outcome = one_deletion(s, g->quick, &f[i]);
	}
	if (t->world == NULL)
		outcome = BENCH_FAILED;
	else
		mmu_engine_of(t)->destroy(t->world);
	return outcome == BENCH_OK ? 0 : report(g, t);
}

int mmu_delete_stall(const struct bench_group *g)
{
	const size_t n = g->repetitions < DELETIONS ? g->repetitions : DELETIONS;
	const uint64_t pages = mmu_size(g, PAGES, 65536);
	const struct bench_row point = {.axis = "mib", .slots = pages * MMU_PAGE >> 20};
	uint64_t *const addr = mmu_pages(pages, OTHER_PAGES, false);
	struct engine_figures *const f = bench_alloc(GROUP_TURNS, sizeof(*f));
	struct stall *const s = bench_alloc(1, sizeof(*s));
	struct group_turn turn[GROUP_TURNS];
	size_t nturns = 0;
	int ret;

	s->addr = addr;
	s->p.shape = (struct mmu_shape){
	    .npages = pages, .nslots = 1, .other_pages = OTHER_PAGES, .leaf_level = 1, .nroots = 1};
	ret = mmu_host_init(g, &s->p.shape);
	for (size_t i = 0; i < nmmu_engines && ret == 0; i++) {
		if ((mmu_engines[i]->parts >> MMU_STALLS & 1) == 0 || nturns == GROUP_TURNS)
			continue;
		turn[nturns] = group_turn_of(g, mmu_engines[i]->name, &point);
		turn[nturns].engine = mmu_engines[i];
		turn[nturns].ctx = &s->p;
		s->t = &turn[nturns];
		ret = run_engine(g, s, f[nturns++].of, n);
	}
	for (size_t column = 0; column < COLUMNS && ret == 0; column++) {
		for (size_t i = 0; i < nturns; i++)
			put_row(g, &turn[i], &columns[column], f[i].of, n);
	}
	*g->done += g->repetitions + 1;
	mmu_host_fini(&s->p.shape);
	free(addr);
	free(f);
	free(s);
	return ret;
}
