/* SPDX-License-Identifier: MIT */
/*
 * D1 and D2: two writers, three consumers, and slots that are split, merged, moved, resized,
 * deleted with and without a final harvest, made again. What a harvest does not report must
 * be what the consumer has; in the end it must have everything.
 *
 * The third consumer nacks a quarter of its batches without copying anything, and is ended and
 * made again now and then.
 */
#include <errno.h>
#include <string.h>

#include "stress/dirty_world.h"

/* Who writes: the library's ways to write, or stores of vCPUs through their roots. */
#ifdef TRANSLATED
#define NAME "D1_translated_writes_are_reported"
#else
#define NAME "D1_no_dirty_page_lost"
#endif

#define CONSUMERS 3u

struct consumer {
	struct mslot_dirty *dirty;
	struct dirty_image image, pre;
	uint64_t pages;
	bool fickle;
	char name[16];
};

static struct dirty_world world;
static struct consumer consumers[CONSUMERS];

static void open_consumer(struct consumer *c)
{
	const struct mslot_dirty_options opt = {
	    .tag = c->name,
	    .flags = MSLOT_DIRTY_INITIALLY_SET,
	};

	CHECK_OK(mslot_dirty_create(world.map, &opt, &c->dirty));
}

/* One harvest. `copy` false: its pages were not sent after all. */
static void harvest(struct consumer *c, bool copy)
{
	struct mslot_dirty_batch *batch;
	struct mslot_dirty_run run;

	dirty_completed(&world, &c->pre);
	CHECK_OK(mslot_dirty_get(c->dirty, &batch));
	if (!copy) {
		mslot_dirty_nack(batch);
		return;
	}
	while (mslot_dirty_next(batch, &run)) {
		dirty_copy(&world, &c->image, dirty_page_at(&world, run.hva),
			   (uint32_t)(run.len_bytes / DIRTY_PAGE));
		c->pages += run.len_bytes / DIRTY_PAGE;
	}
	dirty_expect(&world, mslot_dirty_snapshot(batch), &c->image, &c->pre, c->name);
	mslot_dirty_ack(batch);
}

static void consume(struct stress_thread *self)
{
	struct consumer *c = self->arg;

	while (stress_running() || !self->ops) {
		harvest(c, !c->fickle || !rng_chance(&self->rng, 25));
		if (c->fickle && rng_chance(&self->rng, 1)) {
			/* Final harvests that are under way may still ask for it. */
			int err = mslot_dirty_destroy(c->dirty);

			CHECK(!err || err == -EBUSY, "destroy gave %d", err);
			if (!err)
				open_consumer(c);
		}
		stress_linger(self);
		self->ops++;
	}
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

/*
 * What is taken away: its final bits name every page in which an image is behind. The
 * images' owners go on meanwhile, so that only the first is asked: its thread is this one.
 */
static void taken(struct dirty_world *w, struct mslot_final *final)
{
	struct consumer *c = &consumers[0];
	struct mslot_final_range range;
	uint64_t bitmap[DIRTY_PAGES / 64 + 1];
	struct dirty_image now;
	uint32_t page, writer;
	size_t i;

	CHECK_OK(mslot_final_wait(final, -1));
	for (i = 0; i < mslot_final_count(final); i++) {
		memset(bitmap, 0, sizeof(bitmap));
		CHECK(mslot_final_get(final, i, c->dirty, &range, bitmap, sizeof(bitmap)) >= 0,
		      "no final bits");
		page = dirty_page_at(w, range.hva);
		for (uint32_t n = 0; n < range.len_bytes / DIRTY_PAGE; n++, page++) {
			/* Under another name already: its log is told of what is written now. */
			if (w->owner[page] != DIRTY_SLOTS)
				continue;
			dirty_copy(w, &now, page, 1);
			for (writer = 0; writer < DIRTY_WRITERS; writer++)
				CHECK(c->image.word[writer][page] == now.word[writer][page] ||
					  bitmap[n / 64] >> n % 64 & 1,
				      "page %u is gone, dirty and not told of", page);
		}
	}
	mslot_final_destroy(final);
}

static void change_layout(struct stress_thread *self)
{
	struct consumer *c = self->arg;

	while (stress_running() || !self->ops) {
		dirty_change(&world, self, taken);
		if (rng_chance(&self->rng, 5))
			harvest(c, true);
	}
}

int main(void)
{
	static const char *const names[CONSUMERS] = {"migration", "snapshot", "display"};
	struct dirty_image last;
	uint32_t i;

	stress_begin(NAME);
	dirty_world_init(&world, NULL, 0);
#ifdef TRANSLATED
	dirty_world_translate(&world);
#endif
	for (i = 0; i < CONSUMERS; i++) {
		strcpy(consumers[i].name, names[i]);
		open_consumer(&consumers[i]);
	}
	consumers[2].fickle = true;
	for (i = 0; i < DIRTY_WRITERS; i++)
		stress_spawn("writer", write_pages, NULL);
	stress_spawn("layout", change_layout, &consumers[0]);
	stress_spawn("snapshot", consume, &consumers[1]);
	stress_spawn("display", consume, &consumers[2]);
	stress_run();
	dirty_completed(&world, &last);
	for (i = 0; i < CONSUMERS; i++) {
		harvest(&consumers[i], true);
		const struct mslot_snapshot *snap = mslot_enter(world.map);

		dirty_expect(&world, snap, &consumers[i].image, &last, consumers[i].name);
		mslot_leave(snap);
		CHECK_OK(mslot_dirty_destroy(consumers[i].dirty));
	}
	dirty_world_fini(&world);
	return stress_end();
}
