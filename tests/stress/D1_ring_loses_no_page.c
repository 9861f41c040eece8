/* SPDX-License-Identifier: MIT */
/*
 * D1 and D2 with dirty rings: two vCPUs write, one of them now and then without its handle, one
 * collects, resets, copies and reads the bitmap, another resets too, and the layout changes.
 * Pages travel by ring, whatever becomes of their slots; what is in no ring is in the bitmap,
 * for which the layout rests. Few writes and edits come between two rounds, so that no later write
 * hides what was lost; in some rounds there is no limit. vCPUs whose rings are full wait for the
 * collector, and now and then one is ended and made again.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "stress/dirty_world.h"

/* Who writes: the library's ways to write, or stores of vCPUs through their roots. */
#ifdef TRANSLATED
#define NAME "D1_ring_of_translated_writes"
#else
#define NAME "D1_ring_loses_no_page"
#endif

#define RING_BYTES 4096u

static struct dirty_world world;
static struct dirty_image image, pre;
static uint64_t seen[DIRTY_PAGES], pushed, found;
static struct mslot_vcpu *vcpus[DIRTY_WRITERS];
static _Atomic uint64_t full, lives;
/* Held by whoever collects, through a round, and where a vCPU ends. */
static pthread_mutex_t handles = PTHREAD_MUTEX_INITIALIZER;

static _Atomic uint64_t rounds; /* of the collector */
#define BURST 16u

/* How much a thread did since the last round. */
struct pace {
	uint64_t round;
	unsigned int n;
};

/* May the thread do more in this round? If not, others have a turn. */
static bool may_go_on(struct pace *pace, unsigned int limit)
{
	uint64_t now = atomic_load_explicit(&rounds, memory_order_relaxed);

	if (now != pace->round)
		*pace = (struct pace){.round = now};
	if (pace->n++ < limit || now % BURST == 0)
		return true;
	sched_yield();
	return false;
}

/* ---- vCPUs ---------------------------------------------------------------- */

static void make_vcpu(unsigned int i)
{
	CHECK_OK(mslot_vcpu_create(world.map, NULL, &vcpus[i]));
	/* There is none, but of translated writes. */
	if (world.root[i])
		CHECK_OK(mslot_vcpu_root_set(vcpus[i], world.root[i]));
}

/* A write inside the vCPU's section. */
static void write_inside(struct stress_thread *self, struct mslot_vcpu *vcpu)
{
	if (world.root[self->index] && rng_chance(&self->rng, 80))
		dirty_store(&world, self, self->index, vcpu);
	else
		dirty_write(&world, self, self->index);
}

static void renew(unsigned int i)
{
	CHECK_OK(pthread_mutex_lock(&handles));
	CHECK_OK(mslot_vcpu_destroy(vcpus[i]));
	make_vcpu(i);
	CHECK_OK(pthread_mutex_unlock(&handles));
	atomic_fetch_add_explicit(&lives, 1, memory_order_relaxed);
}

/* Some writes in one section, polled if somebody asks. */
static void run_section(struct stress_thread *self, struct mslot_vcpu *vcpu, unsigned int n)
{
	const struct mslot_snapshot *snap;
	int err = mslot_vcpu_enter(vcpu, &snap);

	if (err) {
		CHECK(err == -ENOSPC, "entering returned %d", err);
		atomic_fetch_add_explicit(&full, 1, memory_order_relaxed);
		sched_yield();
		return;
	}
	while (n--) {
		write_inside(self, vcpu);
		if (!mslot_vcpu_pending(vcpu))
			continue;
		err = mslot_vcpu_poll(vcpu, &snap);
		CHECK(!err || err == -ENOSPC, "polling returned %d", err);
		if (err)
			break;
	}
	mslot_vcpu_leave(vcpu);
}

static void run_vcpu(struct stress_thread *self)
{
	struct pace pace = {0};

	while (stress_running() || !self->ops) {
		if (!may_go_on(&pace, 4))
			continue;
		if (self->index && rng_chance(&self->rng, 10))
			dirty_write(&world, self, self->index);
		run_section(self, vcpus[self->index], (unsigned int)rng_range(&self->rng, 1, 16));
		if (pace.n <= 4 && rng_chance(&self->rng, 3))
			renew(self->index);
	}
}

/* ---- Collecting ----------------------------------------------------------- */

/* What all rings have, into the image, after a reset. Returns the number of pages. */
static size_t collect(struct stress_thread *self)
{
	static struct mslot_ring_page pages[DIRTY_WRITERS * RING_BYTES / 16];
	size_t n = 0, i;
	int got;

	for (i = 0; i < DIRTY_WRITERS; i++) {
		got = mslot_vcpu_collect(vcpus[i], &pages[n], RING_BYTES / 16);
		CHECK(got >= 0, "collecting returned %d", got);
		n += (size_t)got;
	}
	if (self)
		stress_linger(self);
	CHECK(mslot_ring_reset(world.map) >= 0, "not reset");
	for (i = 0; i < n; i++)
		dirty_copy(&world, &image, dirty_page_at(&world, pages[i].hva), 1);
	pushed += n;
	return n;
}

static void visit(const struct dirty_slot *slot)
{
	uint64_t bitmap[DIRTY_PAGES / 64] = {0};
	struct kvm_dirty_log get = {.slot = slot->id, .dirty_bitmap = bitmap};
	uint32_t i, page, w;

	CHECK_OK(mslot_kvm_get_dirty_log(world.map, &get));
	for (i = 0, page = slot->page; i < slot->n; i++, page++) {
		bool dirty = bitmap[i / 64] >> i % 64 & 1;

		if (dirty || seen[page] != world.epoch[page])
			dirty_copy(&world, &image, page, 1);
		found += dirty;
		seen[page] = world.epoch[page];
		for (w = 0; w < DIRTY_WRITERS; w++)
			CHECK(image.word[w][page] >= pre.word[w][page],
			      "page %u of writer %u was written and not reported (D2)", page, w);
	}
}

/* A round that says of every page of the map what it is worth. */
static void round_of(struct stress_thread *self)
{
	uint32_t i;

	CHECK_OK(pthread_rwlock_rdlock(&world.layout));
	dirty_completed(&world, &pre);
	collect(self);
	for (i = 0; i < DIRTY_SLOTS; i++)
		if (world.slots[i].n)
			visit(&world.slots[i]);
	CHECK_OK(pthread_rwlock_unlock(&world.layout));
}

static void collect_rounds(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		CHECK_OK(pthread_mutex_lock(&handles));
		/* While the layout changes, and while it rests. */
		if (rng_chance(&self->rng, 60))
			collect(self);
		else
			round_of(self);
		CHECK_OK(pthread_mutex_unlock(&handles));
		/* Long enough for a ring to be full, where nobody heeds the pace. */
		do
			sched_yield();
		while (rng_chance(&self->rng, self->ops % BURST ? 50 : 97));
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
		self->ops++;
	}
}

static void reset_too(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		CHECK(mslot_ring_reset(world.map) >= 0, "not reset");
		stress_linger(self);
		self->ops++;
	}
}

static void change_layout(struct stress_thread *self)
{
	struct pace pace = {0};

	while (stress_running() || !self->ops) {
		if (!may_go_on(&pace, 2))
			continue;
		dirty_change(&world, self, NULL);
		stress_linger(self);
	}
}

int main(void)
{
	uint32_t i;

	stress_begin(NAME);
	dirty_world_init(&world, NULL, MSLOT_LOG_DIRTY);
	CHECK_OK(mslot_ring_enable(world.map, RING_BYTES, MSLOT_RING_WITH_BITMAP));
#ifdef TRANSLATED
	dirty_world_translate(&world);
#endif
	for (i = 0; i < DIRTY_WRITERS; i++) {
		make_vcpu(i);
		stress_spawn("vcpu", run_vcpu, NULL);
	}
	stress_spawn("layout", change_layout, NULL);
	stress_spawn("collector", collect_rounds, NULL);
	stress_spawn("resetter", reset_too, NULL);
	stress_run();
	round_of(NULL);
	printf("  %" PRIu64 " pages by ring, %" PRIu64 " by bitmap, %" PRIu64
	       " times full, %" PRIu64 " vCPUs renewed\n",
	       pushed, found, atomic_load(&full), atomic_load(&lives));
	for (i = 0; i < DIRTY_WRITERS; i++)
		CHECK_OK(mslot_vcpu_destroy(vcpus[i]));
	dirty_world_fini(&world);
	return stress_end();
}
