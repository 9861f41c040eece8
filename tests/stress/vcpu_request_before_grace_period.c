/* SPDX-License-Identifier: MIT */
/*
 * Every vCPU keeps a value that it loads once and uses until it is told to flush, as a cached
 * translation would be. Askers make a new value, ask, wait for a grace period, and say
 * that older ones are gone. Always: no section uses a value that is gone, also not of a vCPU
 * that registers meanwhile; and a vCPU that stays inside until it is kicked delays nobody for ever.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include <mslot/mslot.h>

#include "access/vcpu.h"
#include "map/writer.h"
#include "stress/stress.h"

#define PAGE UINT64_C(4096)
#define NVCPUS 2u
#define ASKERS 2u

static struct mslot_map *map;
static struct mslot_region *region;
static _Atomic uint64_t newest, gone;

struct guest {
	struct mslot_vcpu *vcpu;
	uint64_t cached; /* 0: nothing */
	_Atomic bool kicked;
};

static void kick(void *ctx)
{
	/* Relaxed: the library's request has the order. */
	atomic_store_explicit(&((struct guest *)ctx)->kicked, true, memory_order_relaxed);
}

/* Just entered: the hint goes with everything else that is cached. */
static void notice_flush(struct guest *g)
{
	if (g->vcpu->hint.serial == 0)
		g->cached = 0;
	CHECK(mslot_vcpu_find(g->vcpu, 0, 0), "no slot");
}

static void use(struct guest *g)
{
	uint64_t said = atomic_load_explicit(&gone, memory_order_relaxed);

	if (!g->cached)
		g->cached = atomic_load_explicit(&newest, memory_order_relaxed);
	CHECK(g->cached > said,
	      "value %" PRIu64 " is used, though those up to %" PRIu64 " are gone", g->cached,
	      said);
}

static void run_sections(struct stress_thread *self, struct guest *g, unsigned int n)
{
	const struct mslot_snapshot *snap;

	while (n--) {
		CHECK_OK(mslot_vcpu_enter(g->vcpu, &snap));
		notice_flush(g);
		use(g);
		stress_linger(self);
		use(g);
		if (rng_chance(&self->rng, 30)) {
			CHECK_OK(mslot_vcpu_poll(g->vcpu, &snap));
			notice_flush(g);
			use(g);
		}
		mslot_vcpu_leave(g->vcpu);
		self->ops++;
	}
}

static void run_vcpu(struct stress_thread *self)
{
	struct guest g = {0};

	CHECK_OK(mslot_vcpu_create(map, NULL, &g.vcpu));
	while (stress_running() || !self->ops)
		run_sections(self, &g, 16);
	CHECK_OK(mslot_vcpu_destroy(g.vcpu));
}

static void run_short_lives(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		struct guest g = {0};

		CHECK_OK(mslot_vcpu_create(map, NULL, &g.vcpu));
		run_sections(self, &g, 3);
		CHECK_OK(mslot_vcpu_destroy(g.vcpu));
	}
}

/* In guest code until a kick, and by then all that was gone before the section still is. */
static void run_until_kicked(struct stress_thread *self)
{
	static struct guest g;
	struct mslot_vcpu_options opt = {.kick = kick, .ctx = &g};
	const struct mslot_snapshot *snap;
	bool overtaken = false;

	CHECK_OK(mslot_vcpu_create(map, &opt, &g.vcpu));
	CHECK_OK(mslot_vcpu_enter(g.vcpu, &snap));
	while (stress_running() || !self->ops) {
		notice_flush(&g);
		while (!atomic_load_explicit(&g.kicked, memory_order_relaxed) && stress_running()) {
			use(&g);
			sched_yield();
		}
		/* Before the look: a kick that comes in between is for a request that it finds. */
		atomic_store_explicit(&g.kicked, false, memory_order_seq_cst);
		if (!mslot_vcpu_pending(g.vcpu) && stress_running()) {
			/* The entry was faster than whoever kicks for what it answered: once an
			 * entry. */
			CHECK(!overtaken, "kicked for nothing");
			overtaken = true;
			continue;
		}
		CHECK_OK(mslot_vcpu_poll(g.vcpu, &snap));
		overtaken = false;
		self->ops++;
	}
	mslot_vcpu_leave(g.vcpu);
	CHECK_OK(mslot_vcpu_destroy(g.vcpu));
}

/* Values up to `value` are gone. Relaxed: the grace period has the order. */
static void say_gone(uint64_t value)
{
	uint64_t seen = atomic_load_explicit(&gone, memory_order_relaxed);

	while (seen < value && !atomic_compare_exchange_weak_explicit(
				   &gone, &seen, value, memory_order_relaxed, memory_order_relaxed))
		;
}

/*
 * The first one of a thread waits as long as it takes, so that the window behind the gate is
 * entered on a busy machine too; the others give up after a while.
 */
static void commit_exclusively(struct stress_thread *self, bool first)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_EXCLUSIVE, .timeout_ns = 1000000};
	struct mslot_txn *txn;
	int err;

	if (first)
		opt.timeout_ns = -1;
	CHECK_OK(mslot_txn_begin(map, &txn));
	CHECK(mslot_txn_move(txn, (struct mslot_key){0, self->index + 1},
			     (self->index + 1) * 8 * PAGE + self->ops % 2 * PAGE) == 0,
	      "no edit");
	err = mslot_txn_commit(txn, &opt, NULL);
	CHECK(!err || (!first && err == -ETIMEDOUT), "returned %d", err);
	if (err)
		mslot_txn_abort(txn);
}

static void ask_and_wait(struct stress_thread *self)
{
	uint64_t value;

	while (stress_running() || !self->ops) {
		value = atomic_fetch_add_explicit(&newest, 1, memory_order_relaxed);
		map_flush(map);
		say_gone(value);
		if (!self->ops || rng_chance(&self->rng, 10))
			commit_exclusively(self, !self->ops);
		self->ops++;
		stress_linger(self);
	}
}

static void make_world(void)
{
	struct mslot_region_options opt = {.len_bytes = 64 * PAGE, .fd = -1};
	struct mslot_slot_def def = {.len_bytes = PAGE};
	struct mslot_txn *txn;
	uint32_t id;

	atomic_store(&newest, 1);
	CHECK_OK(mslot_map_create(NULL, &map));
	CHECK_OK(mslot_region_create(&opt, &region));
	CHECK_OK(mslot_txn_begin(map, &txn));
	def.region = region;
	for (id = 0; id <= ASKERS; id++) {
		def.key.id = id;
		def.gpa = id * 8 * PAGE;
		CHECK(mslot_txn_create(txn, &def) >= 0, "no edit");
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

int main(void)
{
	unsigned int i;

	stress_begin("vcpu_request_before_grace_period");
	make_world();
	for (i = 0; i < ASKERS; i++)
		stress_spawn("asker", ask_and_wait, NULL);
	for (i = 0; i < NVCPUS; i++)
		stress_spawn("vcpu", run_vcpu, NULL);
	stress_spawn("newcomers", run_short_lives, NULL);
	stress_spawn("guest", run_until_kicked, NULL);
	stress_run();
	printf("  %" PRIu64 " values gone\n", atomic_load(&gone));
	mslot_region_put(region);
	CHECK_OK(mslot_map_destroy(map));
	return stress_end();
}
