/* SPDX-License-Identifier: MIT */
/*
 * L2: real memory (lent.h) that slots, spaces and two maps share. Writers drop its references in
 * every way: commits, vetoed commits, transactions aborted at once or much later,
 * KVM's calls, creators that put before or after; holds and leases go on other threads.
 * Nobody who reaches a slot or has a lease finds its memory gone; when mslot_wait() is content, so
 * are the callbacks it promises; at the end each region was released exactly once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <mslot/kvm.h>
#include <mslot/lease.h>

#include "stress/lent.h"

#define MAPS 2u
#define WRITERS 3u
#define OWN 6u /* slots of a writer: two in each space of the first map, two in the second */
#define SLOT_PAGES 2u
#define CELLS 4u
#define KEPT 4u
#define LEAST 200u /* turns of a writer: enough for each way to be taken */

/* A writer's own slot, so that it knows what must be there. `life` 0: no slot. */
struct own {
	uint32_t map;
	struct mslot_key key;
	uint64_t home, gpa;
	uint64_t life, hva;
	uint32_t flags;
};

struct writer {
	struct stress_thread *self;
	struct own own[OWN];
	struct mslot_txn *open; /* to be aborted later */
	struct lent *late;      /* to be put later */
};

enum way { EARLY, LATE, ABORTED, LEFT_OPEN, VETOED, REPEATED, KVM_CALL, PROMISED, WAYS };
static const char *const way_names[WAYS] = {
    "put early", "put late",       "aborted",    "aborted later",
    "vetoed",    "veto withdrawn", "KVM's call", "promise kept",
};
static _Atomic uint64_t ways[WAYS];

static struct mslot_map *maps[MAPS];
static const uint32_t nspaces[MAPS] = {2, 1};
static struct rng veto_rngs[MAPS]; /* writer mutex of the map */
static struct writer writers[WRITERS];

/* Regions that all writers may use. */
static pthread_mutex_t cells_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lent *cells[CELLS];

static void count(enum way way)
{
	atomic_fetch_add_explicit(&ways[way], 1, memory_order_relaxed);
}

static int veto_some(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	return rng_chance(ctx, 10) ? -EPERM : 0;
}

/* Fresh memory, sometimes left for the others too, or memory that others have. */
static struct lent *pick(struct rng *rng)
{
	uint64_t cell = rng_below(rng, CELLS);
	struct lent *fresh = rng_chance(rng, 50) ? lent_create() : NULL, *old = NULL, *shared;

	pthread_mutex_lock(&cells_lock);
	shared = cells[cell];
	if (fresh && rng_chance(rng, 50)) {
		old = shared;
		cells[cell] = fresh;
		lent_get(fresh);
	} else if (!fresh && shared) {
		lent_get(shared);
	}
	pthread_mutex_unlock(&cells_lock);
	lent_put(old);
	if (fresh)
		return fresh;
	return shared ? shared : lent_create();
}

/* Commit, or abort after a veto, which another try may not meet. 0 or -EPERM. */
static int commit(struct writer *w, struct mslot_txn *txn, bool insist, uint64_t *generation)
{
	struct mslot_commit_result result;
	unsigned int tries = 0;
	int err;

	do {
		err = mslot_txn_commit(txn, NULL, &result);
		CHECK(err == 0 || err == -EPERM, "%d: %s", err, result.reason);
		if (!err && tries)
			count(REPEATED);
		tries++;
	} while (err && (insist || (tries < 3 && rng_chance(&w->self->rng, 50))));
	if (err) {
		count(VETOED);
		mslot_txn_abort(txn);
	} else {
		*generation = result.generation;
	}
	return err;
}

/* Add the edit that shows `lent` in a slot, or that deletes it for NULL. Returns its content. */
static struct own edit(struct mslot_txn *txn, const struct own *own, struct lent *lent,
		       uint64_t offset)
{
	struct own after = *own;
	int i;

	if (!lent) {
		i = mslot_txn_delete(txn, own->key);
		after.life = 0;
	} else if (own->life) {
		i = mslot_txn_replace(txn, own->key, lent->region, offset);
	} else {
		struct mslot_slot_def def = {
		    .key = own->key,
		    .gpa = own->home,
		    .len_bytes = SLOT_PAGES * LENT_PAGE,
		    .region = lent->region,
		    .offset_bytes = offset,
		};

		i = mslot_txn_create(txn, &def);
		after.gpa = own->home;
		after.flags = 0;
	}
	CHECK(i >= 0, "edit");
	if (lent) {
		after.life = lent->life;
		after.hva = (uint64_t)(uintptr_t)lent->hva + offset;
	}
	return after;
}

/* Edits to some of the own slots of one map; what they will be is in `after`. */
static void edit_some(struct writer *w, struct mslot_txn *txn, uint32_t map, struct lent *lent,
		      struct own after[OWN])
{
	struct rng *rng = &w->self->rng;
	unsigned int i;

	for (i = 0; i < OWN; i++) {
		bool delete = w->own[i].life && rng_chance(rng, 20);

		after[i] = w->own[i];
		if (w->own[i].map == map && rng_chance(rng, 60))
			after[i] = edit(txn, &w->own[i], delete ? NULL : lent,
					rng_below(rng, LENT_PAGES - SLOT_PAGES + 1) * LENT_PAGE);
	}
}

static void change(struct writer *w)
{
	struct rng *rng = &w->self->rng;
	uint32_t map = (uint32_t)rng_below(rng, MAPS);
	struct lent *lent = pick(rng);
	uint64_t generation, fate = rng_below(rng, 100);
	struct own after[OWN];
	struct mslot_txn *txn;
	unsigned int i;

	CHECK_OK(mslot_txn_begin(maps[map], &txn));
	edit_some(w, txn, map, lent, after);
	if (rng_chance(rng, 40)) {
		/* The transaction alone keeps it now, or what slots there are. */
		lent_put(lent);
		lent = NULL;
		count(EARLY);
	}
	if (fate < 10) {
		mslot_txn_abort(txn);
		count(ABORTED);
	} else if (fate < 20) {
		mslot_txn_abort(w->open);
		w->open = txn;
		count(LEFT_OPEN);
	} else if (commit(w, txn, false, &generation) == 0) {
		for (i = 0; i < OWN; i++)
			w->own[i] = after[i];
	}
	if (lent && rng_chance(rng, 50)) {
		lent_put(w->late);
		w->late = lent;
		count(LATE);
	} else {
		lent_put(lent);
	}
}

/* DELETE, MOVE or FLAGS of a slot that a transaction made. */
static void call_kvm(struct writer *w)
{
	struct rng *rng = &w->self->rng;
	struct own *own = &w->own[rng_below(rng, OWN)], after = *own;
	struct kvm_userspace_memory_region request = {
	    .slot = own->key.space << 16 | own->key.id,
	    .userspace_addr = own->hva,
	};
	int err;

	if (!own->life)
		return;
	switch (rng_below(rng, 3)) {
	case 0:
		after.life = 0;
		break;
	case 1:
		after.gpa = own->home + (own->gpa == own->home ? SLOT_PAGES * LENT_PAGE : 0);
		break;
	default:
		after.flags ^= KVM_MEM_LOG_DIRTY_PAGES;
	}
	request.guest_phys_addr = after.gpa;
	request.flags = after.flags;
	request.memory_size = after.life ? SLOT_PAGES * LENT_PAGE : 0;
	err = mslot_kvm_set_user_memory_region(maps[own->map], &request);
	CHECK(err == 0 || err == -EPERM, "KVM's call returned %d", err);
	if (!err)
		*own = after;
	count(KVM_CALL);
}

/* Show memory, or nothing, in one slot, whatever listeners say. Returns the generation. */
static uint64_t insist(struct writer *w, struct own *own, struct lent *lent)
{
	uint64_t generation = 0;
	struct mslot_txn *txn;
	struct own after;

	CHECK_OK(mslot_txn_begin(maps[own->map], &txn));
	after = edit(txn, own, lent, 0);
	CHECK_OK(commit(w, txn, true, &generation));
	*own = after;
	return generation;
}

static struct mslot_hold *hold_newest(struct stress_thread *self, uint32_t map)
{
	struct stress_section sec;
	struct mslot_hold *hold;

	stress_enter(&sec, maps[map]);
	CHECK_OK(mslot_hold(sec.snap, "L2", &hold));
	stress_leave(&sec, self);
	return hold;
}

/* Memory that nobody else knows, in both maps and out again: a wait for both says when. */
static void keep_promise(struct writer *w)
{
	static const int64_t timeouts[] = {-1, -1, 0, 1000000};
	struct rng *rng = &w->self->rng;
	struct own *first = &w->own[0], *second = &w->own[OWN - 1];
	struct lent *lent = lent_create();
	uint64_t life = lent->life, one, two;
	bool early = rng_chance(rng, 50), once = atomic_load(&ways[PROMISED]) > 0;
	struct mslot_hold *hold = NULL;
	int err;

	insist(w, first, lent);
	insist(w, second, lent);
	if (rng_chance(rng, 40))
		hold = hold_newest(w->self, first->map);
	if (early)
		lent_put(lent);
	one = insist(w, first, NULL);
	two = insist(w, second, NULL);
	if (!early)
		lent_put(lent);
	if (hold) {
		CHECK(mslot_wait(maps[first->map], one, 0) == -ETIMEDOUT, "a hold does not count");
		/* The same when the hold alone is left to wait for. */
		stress_outlive(maps[first->map], one - 1);
		CHECK(mslot_wait(maps[first->map], one, 0) == -ETIMEDOUT, "a hold does not count");
		CHECK(!lent_finished(lent, life), "released under a hold (L2)");
		mslot_hold_put(hold);
	}
	err = mslot_wait(maps[first->map], one, once ? timeouts[rng_below(rng, 4)] : -1);
	if (!err)
		err = mslot_wait(maps[second->map], two, once ? timeouts[rng_below(rng, 4)] : -1);
	CHECK(err == 0 || err == -ETIMEDOUT, "mslot_wait() returned %d", err);
	if (err)
		return;
	CHECK(lent_finished(lent, life), "waited, but life %" PRIu64 " is not released (L2)", life);
	count(PROMISED);
}

/* The own slots are as the last commit left them. */
static void look(struct writer *w, uint32_t map)
{
	struct stress_section sec;
	unsigned int i;

	stress_enter(&sec, maps[map]);
	for (i = 0; i < OWN; i++) {
		const struct own *own = &w->own[i];
		const struct mslot_slot *slot;

		if (own->map != map)
			continue;
		slot = mslot_find(sec.snap, own->key.space, own->gpa);
		CHECK((slot != NULL) == (own->life != 0), "slot %u is wrong", own->key.id);
		if (slot)
			CHECK(lent_touch(slot) == own->life, "not the memory committed");
	}
	stress_leave(&sec, w->self);
}

static void write_on(struct stress_thread *self)
{
	struct writer *w = self->arg;
	uint64_t draw;

	w->self = self;
	while (stress_running() || self->ops < LEAST) {
		/* Waiting takes time: mostly the first one's, so that the others commit. */
		draw = rng_below(&self->rng, self->index ? 1000 : 100);
		if (draw < 15)
			call_kvm(w);
		else if (draw < 20)
			keep_promise(w);
		else if (draw % 5)
			change(w);
		else
			look(w, (uint32_t)rng_below(&self->rng, MAPS));
		self->ops++;
	}
	mslot_txn_abort(w->open);
	lent_put(w->late);
}

static void touch_all(const struct mslot_snapshot *snap)
{
	const struct mslot_slot *slot;
	struct mslot_iter iter;

	mslot_iter_hva(&iter, snap, (struct mslot_range){0, UINT64_MAX});
	while ((slot = mslot_iter_next(&iter)))
		lent_touch(slot);
}

static void read_sections(struct stress_thread *self)
{
	struct stress_section sec;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, maps[rng_below(&self->rng, MAPS)]);
		touch_all(sec.snap);
		stress_linger(self);
		touch_all(sec.snap);
		stress_leave(&sec, self);
		self->ops++;
	}
}

/* Several holds for random times; some are taken on a snapshot that is held already. */
static void keep_holds(struct stress_thread *self)
{
	struct mslot_hold *kept[KEPT] = {NULL}, *next;
	unsigned int i;

	while (stress_running() || self->ops < KEPT) {
		i = (unsigned int)rng_below(&self->rng, KEPT);
		if (kept[i])
			touch_all(mslot_hold_snapshot(kept[i]));
		if (kept[i] && rng_chance(&self->rng, 30))
			CHECK_OK(mslot_hold(mslot_hold_snapshot(kept[i]), "L2", &next));
		else
			next = hold_newest(self, (uint32_t)rng_below(&self->rng, MAPS));
		mslot_hold_put(kept[i]);
		kept[i] = next;
		stress_linger(self);
		self->ops++;
	}
	for (i = 0; i < KEPT; i++)
		mslot_hold_put(kept[i]);
}

/* The pages of a lease show what they did when it was taken, with no section and no hold. */
static uint64_t lease_life(const struct mslot_lease *lease)
{
	size_t n;
	const struct iovec *iov = mslot_lease_iov(lease, &n);
	uint64_t life = *(volatile uint64_t *)iov->iov_base, off;

	CHECK(n == 1, "%zu segments", n);
	for (off = 0; off < iov->iov_len; off += LENT_PAGE)
		CHECK(life && *(volatile uint64_t *)(void *)((char *)iov->iov_base + off) == life,
		      "released under a lease (L2)");
	return life;
}

static struct mslot_lease *lease_some(struct stress_thread *self)
{
	const struct mslot_range all = {0, UINT64_MAX};
	struct mslot_lease *lease = NULL;
	const struct mslot_slot *slot;
	struct stress_section sec;
	struct mslot_slot_info info;
	struct mslot_iter iter;

	stress_enter(&sec, maps[rng_below(&self->rng, MAPS)]);
	mslot_iter_gpa(&iter, sec.snap, 0, all);
	while ((slot = mslot_iter_next(&iter)) && rng_chance(&self->rng, 60))
		;
	if (slot) {
		mslot_slot_info_get(slot, &info);
		CHECK_OK(mslot_lease_take(
		    sec.snap, &(struct mslot_span){.gpa = info.gpa, .len_bytes = info.len_bytes},
		    "L2", &lease));
	}
	stress_leave(&sec, self);
	return lease;
}

static void keep_leases(struct stress_thread *self)
{
	struct mslot_lease *kept[KEPT] = {NULL};
	uint64_t life[KEPT] = {0};
	unsigned int i;

	while (stress_running() || self->ops < KEPT) {
		i = (unsigned int)rng_below(&self->rng, KEPT);
		if (kept[i])
			CHECK(lease_life(kept[i]) == life[i], "released under a lease (L2)");
		mslot_lease_put(kept[i]);
		kept[i] = lease_some(self);
		if (kept[i])
			life[i] = lease_life(kept[i]);
		stress_linger(self);
		self->ops++;
	}
	for (i = 0; i < KEPT; i++)
		mslot_lease_put(kept[i]);
}

static void set_up(struct mslot_listener *listeners[MAPS])
{
	static const struct mslot_listener_ops ops = {.prepare = veto_some};
	uint32_t m, i, w;

	for (m = 0; m < MAPS; m++) {
		struct mslot_map_options opt = {
		    .nspaces = nspaces[m],
		    /* Soon enough to see early reuse, late enough to let commits overtake. */
		    .retired_limit_bytes = 256 << 10,
		};

		CHECK_OK(mslot_map_create(&opt, &maps[m]));
		rng_init(&veto_rngs[m], stress_seed() + m);
		CHECK_OK(mslot_listener_add(maps[m], &ops, &veto_rngs[m], 0, &listeners[m]));
	}
	for (w = 0; w < WRITERS; w++)
		for (i = 0; i < OWN; i++) {
			struct own *own = &writers[w].own[i];

			own->map = i / 4;
			own->key = (struct mslot_key){.space = i / 2 % 2, .id = 2 * w + i % 2};
			own->home = own->key.id * 2 * SLOT_PAGES * LENT_PAGE;
			own->gpa = own->home;
			if (own->map)
				own->key.space = 0;
		}
}

static void tear_down(struct mslot_listener *listeners[MAPS])
{
	const char *why = "";
	unsigned int i;

	for (i = 0; i < CELLS; i++)
		lent_put(cells[i]);
	for (i = 0; i < MAPS; i++) {
		CHECK(mslot_check_map(maps[i], &why) == 0, "%s", why);
		CHECK_OK(mslot_listener_remove(listeners[i]));
		CHECK_OK(mslot_map_destroy(maps[i]));
	}
	CHECK(lent_created() == lent_released(), "%" PRIu64 " created, %" PRIu64 " released (L2)",
	      lent_created(), lent_released());
	printf("  %" PRIu64 " regions", lent_created());
	for (i = 0; i < WAYS; i++) {
		CHECK(ways[i], "no reference ever: %s", way_names[i]);
		printf(", %s %" PRIu64, way_names[i], ways[i]);
	}
	putchar('\n');
}

int main(void)
{
	struct mslot_listener *listeners[MAPS];
	unsigned int i;

	stress_begin("L2_release_exactly_once");
	set_up(listeners);
	for (i = 0; i < WRITERS; i++)
		stress_spawn("writer", write_on, &writers[i]);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("holder", keep_holds, NULL);
	stress_spawn("holder", keep_holds, NULL);
	stress_spawn("lessee", keep_leases, NULL);
	stress_run();
	tear_down(listeners);
	return stress_end();
}
