/* SPDX-License-Identifier: MIT */
/*
 * D1 and D2 by KVM's calls: two writers, one who gets (and, in turns of some hundred rounds,
 * clears) slot by slot, a consumer of the library's own beside it, and a storm of edits. A slot's
 * bitmap means something only while the slot stays: the layout rests during a round.
 */
#include <errno.h>
#include <string.h>

#include <mslot/kvm.h>

#include "stress/dirty_world.h"

/* Who writes: the library's ways to write, or stores of vCPUs through their roots. */
#ifdef TRANSLATED
#define NAME "D1_kvm_log_of_translated_writes"
#else
#define NAME "D1_kvm_log_loses_no_page"
#endif

static struct dirty_world world;
static struct dirty_image image, pre;
static uint64_t seen[DIRTY_PAGES], rounds, cleared;

static void set_mode(bool clear)
{
	struct kvm_enable_cap cap = {
	    .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	    .args = {clear ? KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE : 0},
	};

	CHECK_OK(mslot_kvm_enable_cap(world.map, &cap));
}

static void visit(const struct dirty_slot *slot, bool clear)
{
	uint64_t bitmap[DIRTY_PAGES / 64];
	struct kvm_dirty_log get = {.slot = slot->id, .dirty_bitmap = bitmap};
	struct kvm_clear_dirty_log mask = {
	    .slot = slot->id, .num_pages = slot->n, .dirty_bitmap = bitmap};
	uint32_t i, page, w;

	memset(bitmap, 0xa5, sizeof(bitmap));
	CHECK_OK(mslot_kvm_get_dirty_log(world.map, &get));
	if (clear)
		CHECK_OK(mslot_kvm_clear_dirty_log(world.map, &mask));
	for (i = 0, page = slot->page; i < slot->n; i++, page++) {
		if (bitmap[i / 64] >> i % 64 & 1 || seen[page] != world.epoch[page])
			dirty_copy(&world, &image, page, 1);
		seen[page] = world.epoch[page];
		for (w = 0; w < DIRTY_WRITERS; w++)
			CHECK(image.word[w][page] >= pre.word[w][page],
			      "page %u was written and not reported (D2)", page);
	}
}

static void round_of(bool clear)
{
	uint32_t i;

	CHECK_OK(pthread_rwlock_rdlock(&world.layout));
	dirty_completed(&world, &pre);
	for (i = 0; i < DIRTY_SLOTS; i++)
		if (world.slots[i].n)
			visit(&world.slots[i], clear);
	CHECK_OK(pthread_rwlock_unlock(&world.layout));
	rounds++;
	cleared += clear;
}

static void log_rounds(struct stress_thread *self)
{
	bool clear = false;

	while (stress_running() || !self->ops) {
		round_of(clear);
		if (rng_chance(&self->rng, 5)) {
			clear = !clear;
			set_mode(clear);
		}
		stress_linger(self);
		self->ops++;
	}
}

static void consume(struct stress_thread *self)
{
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty;

	CHECK_OK(mslot_dirty_create(world.map, NULL, &dirty));
	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_dirty_get(dirty, &batch));
		mslot_dirty_ack(batch);
		stress_linger(self);
		self->ops++;
	}
	CHECK_OK(mslot_dirty_destroy(dirty));
}

static void write_pages(struct stress_thread *self)
{
#ifdef TRANSLATED
	dirty_run_vcpu(&world, self, self->index);
#else
	while (stress_running() || !self->ops)
		dirty_write(&world, self, self->index);
#endif
}

static void change_layout(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		dirty_change(&world, self, NULL);
		stress_linger(self);
	}
}

int main(void)
{
	uint32_t i;

	stress_begin(NAME);
	dirty_world_init(&world, NULL, MSLOT_LOG_DIRTY);
#ifdef TRANSLATED
	dirty_world_translate(&world);
#endif
	for (i = 0; i < DIRTY_WRITERS; i++)
		stress_spawn("writer", write_pages, NULL);
	stress_spawn("layout", change_layout, NULL);
	stress_spawn("kvm log", log_rounds, NULL);
	stress_spawn("consumer", consume, NULL);
	stress_run();
	round_of(false);
	dirty_completed(&world, &pre);
	round_of(true);
	CHECK(rounds > cleared && cleared > 0, "a mode was not tried");
	dirty_world_fini(&world);
	return stress_end();
}
