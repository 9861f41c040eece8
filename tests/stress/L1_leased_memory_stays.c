/* SPDX-License-Identifier: MIT */
/*
 * L1: real memory (lent.h) in slots that writers delete, replace, move, split and shrink
 * while takers lease it, use it with no section open, and hand some leases to threads that
 * put them. Memory that is released too early is wiped or faults. A wait that is content
 * means that no lease is left on what its commit took away, and that the callbacks that it
 * promises have returned; one that times out names a holder. At the end each region was
 * released exactly once.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <mslot/lease.h>

#include "stress/lent.h"

#define WRITERS 2u
#define TAKERS 3u
#define SLOTS 4u /* of a writer, side by side */
#define KEPT 40u /* of a taker: more than a block of records */
#define MAILBOXES 16u
#define PAGES(n) ((uint64_t)(n)*LENT_PAGE)
#define ALL (WRITERS * SLOTS * LENT_PAGES)

static struct mslot_map *map;

/* A lease, and what its memory showed when it was taken. */
struct held {
	struct mslot_lease *lease;
	uint64_t lives[LENT_PAGES * SLOTS];
	size_t npages;
};

static pthread_mutex_t mail_lock = PTHREAD_MUTEX_INITIALIZER;
static struct held mail[MAILBOXES];

enum way { SETTLED, TIMED_OUT, REFUSED, SEVERAL, HANDED_OVER, INTACT_CHANGE, WAYS };
static const char *const way_names[WAYS] = {"settled",          "timed out",   "refused by NOWAIT",
					    "several segments", "handed over", "kept its memory"};
static _Atomic uint64_t ways[WAYS];

static void count(enum way way)
{
	atomic_fetch_add_explicit(&ways[way], 1, memory_order_relaxed);
}

/* ---- Those who take ------------------------------------------------------ */

static void use(struct held *held, bool first)
{
	size_t nseg, i, page = 0;
	const struct iovec *iov = mslot_lease_iov(held->lease, &nseg);
	uint64_t off, life;

	for (i = 0; i < nseg; i++)
		for (off = 0; off < iov[i].iov_len; off += LENT_PAGE, page++) {
			life = *(volatile uint64_t *)(void *)((char *)iov[i].iov_base + off);
			if (first)
				held->lives[page] = life;
			CHECK(life && life == held->lives[page],
			      "memory of life %" PRIu64 " is %" PRIu64 " under a lease (L1)",
			      held->lives[page], life);
		}
	held->npages = page;
	if (nseg > 1 && first)
		count(SEVERAL);
}

static bool take(struct stress_thread *self, struct held *held)
{
	const uint64_t gfn = rng_below(&self->rng, ALL);
	struct mslot_span span = {
	    .access = MSLOT_WRITE,
	    .gpa = PAGES(gfn),
	    .len_bytes = PAGES(1 + rng_below(&self->rng, 2 * LENT_PAGES)),
	};
	struct stress_section sec;
	int err;

	stress_enter(&sec, map);
	err = mslot_lease_take(sec.snap, &span, "taker", &held->lease);
	CHECK(err == 0 || err == -ENOENT, "take returned %d", err);
	stress_leave(&sec, self);
	if (!err)
		use(held, true);
	return !err;
}

static void put(struct held *held)
{
	use(held, false);
	mslot_lease_put(held->lease);
	held->lease = NULL;
}

/* Leave a lease to somebody else, and put what somebody else left. */
static void swap_mail(struct stress_thread *self, struct held *held)
{
	const uint64_t box = rng_below(&self->rng, MAILBOXES);
	struct held other;

	pthread_mutex_lock(&mail_lock);
	other = mail[box];
	mail[box] = *held;
	pthread_mutex_unlock(&mail_lock);
	*held = other;
	count(HANDED_OVER);
}

static void take_leases(struct stress_thread *self)
{
	struct held kept[KEPT] = {{.lease = NULL}};
	size_t i;

	while (stress_running() || self->ops < KEPT) {
		i = rng_below(&self->rng, rng_chance(&self->rng, 50) ? 4 : KEPT);
		if (kept[i].lease && rng_chance(&self->rng, 40))
			swap_mail(self, &kept[i]);
		if (kept[i].lease)
			put(&kept[i]);
		else if (take(self, &kept[i]))
			self->ops++;
		stress_linger(self);
	}
	for (i = 0; i < KEPT; i++)
		if (kept[i].lease)
			put(&kept[i]);
}

/* Threads that come and go: their caches are adopted, or freed when all is put. */
static void *take_a_few(void *arg)
{
	struct stress_thread *self = arg;
	struct held held = {.lease = NULL};
	unsigned int i;

	for (i = 0; i < 8; i++)
		if (take(self, &held)) {
			if (i % 2)
				swap_mail(self, &held);
			if (held.lease)
				put(&held);
		}
	return NULL;
}

static void come_and_go(struct stress_thread *self)
{
	pthread_t thread;

	while (stress_running() || !self->ops) {
		CHECK_OK(pthread_create(&thread, NULL, take_a_few, self));
		CHECK_OK(pthread_join(thread, NULL));
		self->ops++;
	}
}

/* ---- Those who commit ---------------------------------------------------- */

static _Atomic unsigned int writing = WRITERS;

struct writer {
	struct stress_thread *self;
	uint32_t first; /* id of the first of its slots */
	struct lent *shown[SLOTS];
	uint64_t life[SLOTS];
};

static struct mslot_slot_def def_of(uint32_t id, struct lent *lent)
{
	return (struct mslot_slot_def){
	    .key = {.id = id},
	    .gpa = PAGES(id * LENT_PAGES),
	    .len_bytes = PAGES(LENT_PAGES),
	    .region = lent->region,
	};
}

static int commit(struct mslot_txn *txn, uint32_t flags, uint64_t *generation)
{
	const struct mslot_commit_options opt = {.flags = flags};
	struct mslot_commit_result result;
	int err = mslot_txn_commit(txn, &opt, &result);

	CHECK(err == 0 || (err == -EBUSY && flags), "%d: %s", err, result.reason);
	if (err) {
		mslot_txn_abort(txn);
		count(REFUSED);
	}
	*generation = result.generation;
	return err;
}

/* Nothing that is gone may be leased from before: nobody else edits these frames. */
static void expect_no_holder(uint32_t id, uint64_t generation)
{
	struct mslot_lease_holder holder[256];
	size_t n = mslot_lease_holders(map, holder, 256), i;

	for (i = 0; i < n && i < 256; i++)
		CHECK(!(holder[i].generation < generation &&
			holder[i].span.gpa < PAGES((id + 1) * LENT_PAGES) &&
			holder[i].span.gpa + holder[i].span.len_bytes > PAGES(id * LENT_PAGES)),
		      "waited, but the memory is leased since generation %" PRIu64 " (L1)",
		      holder[i].generation);
}

/* Some holder that is not this one's business may have gone: only somebody must be named. */
static void wait_for(struct writer *w, uint32_t id, struct lent *gone, uint64_t life,
		     uint64_t generation)
{
	static const int64_t timeouts[] = {0, 100000, 3000000, -1};
	int err = mslot_wait(map, generation, timeouts[rng_below(&w->self->rng, 4)]);

	CHECK(err == 0 || err == -ETIMEDOUT, "mslot_wait() returned %d", err);
	if (err) {
		count(TIMED_OUT);
		return;
	}
	count(SETTLED);
	expect_no_holder(id, generation);
	CHECK(lent_finished(gone, life), "waited, but life %" PRIu64 " is not released (L1)", life);
}

/* Delete a slot or show other memory in it; the old one is put before or after. */
static void change(struct writer *w, uint32_t i)
{
	struct rng *rng = &w->self->rng;
	struct lent *old = w->shown[i], *fresh = rng_chance(rng, 70) ? lent_create() : NULL;
	const uint64_t life = w->life[i];
	const bool early = rng_chance(rng, 50);
	const struct mslot_key key = {.id = w->first + i};
	struct mslot_slot_def def;
	struct mslot_txn *txn;
	uint64_t generation;

	CHECK_OK(mslot_txn_begin(map, &txn));
	if (fresh && old) {
		CHECK_OK(mslot_txn_replace(txn, key, fresh->region, 0));
	} else if (fresh) {
		def = def_of(key.id, fresh);
		CHECK_OK(mslot_txn_create(txn, &def));
	} else if (old) {
		CHECK_OK(mslot_txn_delete(txn, key));
	}
	if (commit(txn, rng_chance(rng, 30) ? MSLOT_COMMIT_NOWAIT : 0, &generation)) {
		lent_put(fresh);
		return;
	}
	w->shown[i] = fresh;
	w->life[i] = fresh ? fresh->life : 0;
	if (old && early)
		lent_put(old);
	if (old && !early) {
		stress_linger(w->self);
		lent_put(old);
	}
	if (old && rng_chance(rng, 20))
		wait_for(w, key.id, old, life, generation);
}

/* A split and the merge that undoes it take nothing away: no wait is delayed by a lease. */
static void keep(struct writer *w, uint32_t i)
{
	const struct mslot_key key = {.id = w->first + i};
	const struct mslot_part part = {.id = 100 + key.id, .gpa = PAGES(key.id * LENT_PAGES + 1)};
	struct mslot_txn *txn;
	uint64_t generation;

	if (!w->shown[i])
		return;
	CHECK_OK(mslot_txn_begin(map, &txn));
	CHECK_OK(mslot_txn_split(txn, key, &part, 1));
	CHECK_OK(commit(txn, MSLOT_COMMIT_NOWAIT, &generation));
	CHECK_OK(mslot_txn_begin(map, &txn));
	CHECK_OK(mslot_txn_merge(txn, key, &part, 1));
	CHECK_OK(commit(txn, MSLOT_COMMIT_NOWAIT, &generation));
	count(INTACT_CHANGE);
}

static void write_on(struct stress_thread *self)
{
	struct writer *w = self->arg;
	uint32_t i;

	w->self = self;
	while (stress_running() || self->ops < 100) {
		i = (uint32_t)rng_below(&self->rng, SLOTS);
		if (rng_chance(&self->rng, 10))
			keep(w, i);
		else
			change(w, i);
		self->ops++;
	}
	for (i = 0; i < SLOTS; i++)
		lent_put(w->shown[i]);
	atomic_fetch_sub(&writing, 1);
}

/* Empties the mailboxes, in the end of those that the takers left there. */
static void deliver(struct stress_thread *self)
{
	struct held held;
	uint64_t box;

	while (stress_running() || atomic_load(&writing) || !self->ops) {
		box = self->ops++ % MAILBOXES;
		pthread_mutex_lock(&mail_lock);
		held = mail[box];
		mail[box].lease = NULL;
		pthread_mutex_unlock(&mail_lock);
		if (held.lease)
			put(&held);
		sched_yield();
	}
}

static void ask_on(struct stress_thread *self)
{
	struct mslot_lease_holder holder[8];
	struct mslot_map_stats stats;
	size_t n, i;

	while (stress_running() || !self->ops) {
		n = mslot_lease_holders(map, holder, 8);
		for (i = 0; i < n && i < 8; i++) {
			CHECK(strcmp(holder[i].tag, "taker") == 0, "tag '%s'", holder[i].tag);
			CHECK(holder[i].span.gpa < PAGES(ALL) &&
				  holder[i].span.len_bytes <= PAGES(2 * LENT_PAGES),
			      "a span that nobody took");
			CHECK(i == 0 || holder[i - 1].generation <= holder[i].generation,
			      "not the oldest first");
		}
		CHECK_OK(mslot_map_stats_get(map, &stats));
		self->ops++;
		sched_yield();
	}
}

static void tear_down(void)
{
	const char *why = "";
	unsigned int i;

	for (i = 0; i < MAILBOXES; i++)
		if (mail[i].lease) {
			CHECK(mslot_map_destroy(map) == -EBUSY, "destroyed under a lease (L1)");
			put(&mail[i]);
		}
	CHECK(mslot_lease_holders(map, NULL, 0) == 0, "leases are left");
	CHECK(mslot_check_map(map, &why) == 0, "%s", why);
	CHECK_OK(mslot_map_destroy(map));
	CHECK(lent_created() == lent_released(), "%" PRIu64 " created, %" PRIu64 " released (L2)",
	      lent_created(), lent_released());
	printf("  %" PRIu64 " regions", lent_created());
	for (i = 0; i < WAYS; i++) {
		CHECK(ways[i], "never: %s", way_names[i]);
		printf(", %s %" PRIu64, way_names[i], ways[i]);
	}
	putchar('\n');
}

int main(void)
{
	static struct writer writers[WRITERS];
	unsigned int i;

	stress_begin("L1_leased_memory_stays");
	CHECK_OK(mslot_map_create(NULL, &map));
	for (i = 0; i < WRITERS; i++) {
		writers[i].first = i * SLOTS;
		stress_spawn("writer", write_on, &writers[i]);
	}
	for (i = 0; i < TAKERS; i++)
		stress_spawn("taker", take_leases, NULL);
	stress_spawn("comer", come_and_go, NULL);
	stress_spawn("asker", ask_on, NULL);
	stress_spawn("postman", deliver, NULL);
	stress_run();
	tear_down();
	return stress_end();
}
