/* SPDX-License-Identifier: MIT */
/*
 * migrate_change.c - the thread that changes the guest's memory map while it is copied.
 *
 * Data: pieces, the slots as this thread made them. A piece at home is where its memory began:
 * at memory.home plus its offset. Elsewhere it is parked, at an address that was never used.
 *
 *   1 Each turn commits one transaction that changes something, and pieces follow it.
 *   2 Homes and parked pieces never meet: homes are below PARK, and handed out once.
 *   3 A region belongs to its slots: the creator's reference is put once they exist.
 *   4 Memory that was plugged in goes as a whole, with all its pieces in one transaction.
 */
#include "migrate.h"

#include <errno.h>
#include <stdlib.h>

#include "bench/rng.h"
#include "cli.h"

#define MAX_PIECES 512u /* in all; splits stop there */
#define MAX_PLUGGED 16u
#define MAX_PARTS 4u /* that a split makes */
#define MAX_MOVED 3u /* pieces that a transaction moves */
#define PLUG_PAGES_MIN 16u
#define PLUG_PAGES 256u /* at most, of memory plugged in */
#define NBASE 8u        /* memory that is there from the beginning */
#define PLUG_HOME (UINT64_C(1) << 44)
#define PARK (UINT64_C(1) << 46)
#define WAIT_NS 1000000 /* for what an unplug removed */

struct piece {
	uint32_t id;
	struct memory *memory;
	uint64_t offset; /* in the memory */
	uint64_t len_bytes;
	uint64_t gpa;
};

struct changer {
	pthread_t thread;
	bool running;
	struct source *source;
	struct rng rng;
	struct piece piece[MAX_PIECES + MAX_PARTS];
	size_t npieces;
	struct memory *plugged[MAX_PLUGGED];
	size_t nplugged;
	bool id_used[MIGRATE_NSPACES][MIGRATE_MAX_IDS];
	uint64_t next_home[MIGRATE_NSPACES]; /* of plugged memory */
	uint64_t next_park;
};

static uint32_t space_of(const struct piece *p)
{
	return p->memory->space;
}

static struct mslot_key key_of(const struct piece *p)
{
	return (struct mslot_key){space_of(p), p->id};
}

static bool at_home(const struct piece *p)
{
	return p->gpa == p->memory->home + p->offset;
}

/* The lowest free id, so that ids are used again soon. */
static uint32_t take_id(struct changer *c, uint32_t space)
{
	_Atomic uint32_t *const limit = &c->source->id_limit[space];
	uint32_t id = 0;

	while (c->id_used[space][id])
		id++;
	c->id_used[space][id] = true;
	if (id >= atomic_load(limit))
		atomic_store(limit, id + 1);
	return id;
}

static void remove_piece(struct changer *c, size_t i)
{
	const struct piece *const p = &c->piece[i];

	c->id_used[space_of(p)][p->id] = false;
	c->piece[i] = c->piece[--c->npieces];
}

static int commit(struct changer *c, struct mslot_txn *txn)
{
	struct mslot_commit_result result;
	const int err = mslot_txn_commit(txn, NULL, &result);

	if (err == 0)
		return 0;
	mslot_txn_abort(txn);
	return source_fail(c->source, result.reason, err);
}

static struct mslot_txn *begin(struct changer *c)
{
	struct mslot_txn *txn = NULL;
	const int err = mslot_txn_begin(c->source->map, &txn);

	if (err != 0)
		source_fail(c->source, "mslot_txn_begin()", err);
	return txn;
}

/* ---- Changes: each returns 1 done, 0 not possible now, -1 failed -------------------- */

static int change_split(struct changer *c)
{
	struct piece *const p = &c->piece[rng_below(&c->rng, c->npieces)];
	const uint64_t npages = p->len_bytes / MIGRATE_PAGE;
	uint64_t nparts = 1 + rng_below(&c->rng, MAX_PARTS), step = npages / (nparts + 1);
	struct mslot_part part[MAX_PARTS];
	struct mslot_txn *txn;
	int err;

	if (step == 0 || c->npieces >= MAX_PIECES)
		return 0;
	txn = begin(c);
	if (txn == NULL)
		return -1;
	for (uint64_t i = 0; i < nparts; i++) {
		/* Anywhere in a stretch of its own. */
		const uint64_t page = step * (i + 1) - rng_below(&c->rng, i > 0 ? step : 1);

		part[i] =
		    (struct mslot_part){take_id(c, space_of(p)), p->gpa + page * MIGRATE_PAGE};
	}
	err = mslot_txn_split(txn, key_of(p), part, nparts);
	if (err < 0 || commit(c, txn) < 0)
		return -1;
	for (uint64_t i = 0; i < nparts; i++) {
		const uint64_t at = part[i].gpa - p->gpa;
		const uint64_t end = i + 1 < nparts ? part[i + 1].gpa - p->gpa : p->len_bytes;

		c->piece[c->npieces++] =
		    (struct piece){part[i].id, p->memory, p->offset + at, end - at, part[i].gpa};
	}
	p->len_bytes = part[0].gpa - p->gpa;
	return 1;
}

/* The piece that continues this one in memory and for the guest. */
static size_t find_next(const struct changer *c, const struct piece *p)
{
	for (size_t i = 0; i < c->npieces; i++) {
		const struct piece *const q = &c->piece[i];

		if (q->memory == p->memory && q->offset == p->offset + p->len_bytes &&
		    q->gpa == p->gpa + p->len_bytes)
			return i;
	}
	return c->npieces;
}

static int change_merge(struct changer *c)
{
	struct piece *const p = &c->piece[rng_below(&c->rng, c->npieces)];
	struct mslot_part part[MAX_PARTS];
	size_t next[MAX_PARTS], n = 0;
	struct piece whole = *p;
	struct mslot_txn *txn;

	for (; n < MAX_PARTS; n++) {
		next[n] = find_next(c, &whole);
		if (next[n] == c->npieces)
			break;
		part[n] = (struct mslot_part){.id = c->piece[next[n]].id};
		whole.len_bytes += c->piece[next[n]].len_bytes;
	}
	if (n == 0)
		return 0;
	txn = begin(c);
	if (txn == NULL || mslot_txn_merge(txn, key_of(p), part, n) < 0 || commit(c, txn) < 0)
		return -1;
	*p = whole;
	for (size_t i = 0; i < n; i++) {
		/* By id: removing one moves another. */
		for (size_t k = 0; k < c->npieces; k++) {
			if (space_of(&c->piece[k]) == whole.memory->space &&
			    c->piece[k].id == part[i].id) {
				remove_piece(c, k);
				break;
			}
		}
	}
	return 1;
}

static int change_move(struct changer *c)
{
	const size_t first = rng_below(&c->rng, c->npieces);
	size_t n = 1 + rng_below(&c->rng, MAX_MOVED);
	struct mslot_txn *txn = begin(c);

	if (txn == NULL)
		return -1;
	n = n < c->npieces ? n : c->npieces;
	for (size_t i = 0; i < n; i++) {
		struct piece *const p = &c->piece[(first + i) % c->npieces];

		if (at_home(p)) {
			p->gpa = c->next_park;
			c->next_park += p->len_bytes;
		} else {
			p->gpa = p->memory->home + p->offset;
		}
		if (mslot_txn_move(txn, key_of(p), p->gpa) < 0)
			return -1;
	}
	return commit(c, txn) < 0 ? -1 : 1;
}

/* One slot for all of some new memory. */
static int add_memory(struct changer *c, uint32_t space, uint64_t home, uint64_t len_bytes)
{
	struct mslot_region *region;
	struct memory *const m = memory_create(c->source, len_bytes, &region);
	struct mslot_txn *const txn = m != NULL ? begin(c) : NULL;
	struct mslot_slot_def def = {.gpa = home, .len_bytes = len_bytes};
	int ret = -1;

	if (txn == NULL)
		return -1;
	m->space = space;
	m->home = home;
	def.key = (struct mslot_key){space, take_id(c, space)};
	def.region = region;
	if (mslot_txn_create(txn, &def) >= 0)
		ret = commit(c, txn);
	mslot_region_put(region);
	if (ret == 0)
		c->piece[c->npieces++] = (struct piece){def.key.id, m, 0, len_bytes, home};
	return ret;
}

static int change_plug(struct changer *c)
{
	const uint32_t space = (uint32_t)rng_below(&c->rng, MIGRATE_NSPACES);
	const uint64_t npages =
	    PLUG_PAGES_MIN + rng_below(&c->rng, PLUG_PAGES - PLUG_PAGES_MIN + 1);

	if (c->nplugged == MAX_PLUGGED || c->npieces >= MAX_PIECES)
		return 0;
	if (add_memory(c, space, c->next_home[space], npages * MIGRATE_PAGE) < 0)
		return -1;
	c->next_home[space] += PLUG_PAGES * MIGRATE_PAGE;
	c->plugged[c->nplugged++] = c->piece[c->npieces - 1].memory;
	return 1;
}

static int change_unplug(struct changer *c)
{
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	struct memory *m;
	size_t which;
	int err = 0;

	if (c->nplugged == 0)
		return 0;
	which = rng_below(&c->rng, c->nplugged);
	m = c->plugged[which];
	txn = begin(c);
	if (txn == NULL)
		return -1;
	for (size_t i = c->npieces; i > 0 && err >= 0; i--) {
		if (c->piece[i - 1].memory != m)
			continue;
		err = mslot_txn_delete(txn, key_of(&c->piece[i - 1]));
		remove_piece(c, i - 1);
	}
	err = err < 0 ? err : mslot_txn_commit(txn, NULL, &result);
	if (err < 0)
		return source_fail(c->source, "unplugging memory", err);
	c->plugged[which] = c->plugged[--c->nplugged];
	/* Copying may hold the memory for long; the release callback comes when it may. */
	err = mslot_wait(c->source->map, result.generation, WAIT_NS);
	return err == 0 || err == -ETIMEDOUT ? 1 : source_fail(c->source, "mslot_wait()", err);
}

/* ---- The thread ----------------------------------------------------------------------- */

static int change_once(struct changer *c)
{
	static int (*const change[NCHANGES])(struct changer *) = {
	    [CHANGE_SPLIT] = change_split,   [CHANGE_MERGE] = change_merge,
	    [CHANGE_MOVE] = change_move,     [CHANGE_PLUG] = change_plug,
	    [CHANGE_UNPLUG] = change_unplug,
	};
	/* Memory comes and goes less often than slots change. */
	static const enum change_kind lot[] = {
	    CHANGE_SPLIT, CHANGE_SPLIT, CHANGE_SPLIT, CHANGE_MERGE, CHANGE_MERGE, CHANGE_MERGE,
	    CHANGE_MERGE, CHANGE_MOVE,  CHANGE_MOVE,  CHANGE_MOVE,  CHANGE_PLUG,  CHANGE_UNPLUG};
	enum change_kind kind;
	int ret = 0;

	while (ret == 0) {
		kind = lot[rng_below(&c->rng, sizeof(lot) / sizeof(lot[0]))];
		ret = change[kind](c);
	}
	if (ret > 0)
		c->source->result->nchanges[kind]++;
	return ret;
}

/* Wait for leave to change something; false: the end. */
static bool may_go_on(struct changer *c)
{
	struct pace *const p = &c->source->pace;
	bool go;

	pthread_mutex_lock(&p->lock);
	while (!p->stop && p->done >= p->allowed)
		pthread_cond_wait(&p->moved, &p->lock);
	go = !p->stop;
	pthread_mutex_unlock(&p->lock);
	return go;
}

static void *changer_main(void *arg)
{
	struct changer *const c = arg;
	struct pace *const p = &c->source->pace;

	while (may_go_on(c)) {
		if (change_once(c) < 0) {
			/* Where nobody has said why. */
			source_fail(c->source, "an edit was refused", 0);
			break;
		}
		pthread_mutex_lock(&p->lock);
		p->done++;
		pthread_cond_broadcast(&p->moved);
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static int add_base(struct changer *c)
{
	const uint64_t npages = c->source->o->size_bytes / MIGRATE_PAGE;
	uint64_t home[MIGRATE_NSPACES] = {0};

	for (uint64_t i = 0; i < NBASE; i++) {
		const uint32_t space = (uint32_t)(i % MIGRATE_NSPACES);
		const uint64_t len = (npages * (i + 1) / NBASE - npages * i / NBASE) * MIGRATE_PAGE;

		if (add_memory(c, space, home[space], len) < 0)
			return -1;
		home[space] += len;
	}
	return 0;
}

int changer_start(struct source *s)
{
	struct changer *const c = cli_alloc(1, sizeof(*c));
	int err;

	s->changer = c;
	c->source = s;
	c->rng.state = s->o->seed;
	c->next_park = PARK;
	for (size_t i = 0; i < MIGRATE_NSPACES; i++)
		c->next_home[i] = PLUG_HOME;
	if (add_base(c) < 0)
		return -1;
	err = pthread_create(&c->thread, NULL, changer_main, c);
	if (err != 0)
		return source_fail(s, "pthread_create()", -err);
	c->running = true;
	return 0;
}

int changer_stop(struct source *s)
{
	struct changer *const c = s->changer;

	if (c != NULL && c->running) {
		pthread_mutex_lock(&s->pace.lock);
		s->pace.stop = true;
		pthread_cond_broadcast(&s->pace.moved);
		pthread_mutex_unlock(&s->pace.lock);
		pthread_join(c->thread, NULL);
	}
	free(c);
	s->changer = NULL;
	return atomic_load(&s->failed) ? -1 : 0;
}

void pace_allow(struct pace *p, uint64_t allowed)
{
	pthread_mutex_lock(&p->lock);
	p->allowed = allowed > p->allowed ? allowed : p->allowed;
	pthread_cond_broadcast(&p->moved);
	pthread_mutex_unlock(&p->lock);
}

int pace_wait(struct source *s)
{
	struct pace *const p = &s->pace;

	pthread_mutex_lock(&p->lock);
	while (p->done < p->allowed && !atomic_load(&s->failed))
		pthread_cond_wait(&p->moved, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return atomic_load(&s->failed) ? -1 : 0;
}
