/* SPDX-License-Identifier: MIT */
/*
 * migrate_guest.c - the guest of `mslot migrate-demo`: threads that write its memory.
 *
 * Data: writers, each a vCPU that writes random places in each of the four ways (enum
 * write_kind), some writes a millisecond; and one device, which gets write leases from the
 * writers and stores through them some time later, whatever happened to the slots meanwhile.
 *
 *   1 A place is looked up in the section in which it is written, or leased.
 *   2 Memory is stored to by words, atomically: the copying thread and other writers are there.
 *   3 The device answers jobs in the order in which they came.
 *
 * --break mark:N: each writer leaves out mslot_write_end() after every N-th of its writes
 * through host addresses, as a back-end with a bug would.
 */
#include "migrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/rng.h"
#include "cli.h"

#define BURST 16u        /* writes of a writer in a turn */
#define TURN_NS 1000000  /* between turns */
#define JOBS 256u        /* that the device may have to do */
#define JOB_NS 20000000u /* at most, from lease to store */
#define COPY_WORDS 16u   /* of a WRITE_COPY, at most */
#define HOST_MAX 256u    /* bytes of a WRITE_HOST */
#define LEASE_PAGES 4u
#define HOT_PART 16u /* most writes go to this part of a slot */
#define TRIES 64u    /* random ids until one is a slot */

struct job {
	struct mslot_lease *lease;
	uint64_t due_ns;
	uint64_t val;
};

struct device {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t came; /* a job, or stop */
	struct job job[JOBS];
	size_t head, njobs;
	bool stop; /* no job comes any more: what is there is due now */
	struct source *source;
};

struct writer {
	pthread_t thread;
	struct guest *guest;
	struct mslot_vcpu *vcpu;
	struct rng rng;
	_Atomic uint64_t nwrites; /* the writer adds, others read */
	uint64_t nkind[NWRITES];
	uint64_t ndropped;
};

struct guest {
	struct source *source;
	struct device device;
	struct writer *writer;
	unsigned int nstarted;
	atomic_bool stop;
};

/* A place to write, in one slot. */
struct place {
	struct mslot_addr at; /* aligned to 8 bytes */
	uint64_t page_left;   /* bytes from there to the end of its page */
	uint64_t left;        /* to the end of its slot */
};

/* ---- The device -------------------------------------------------------------------- */

static bool device_full(struct device *d)
{
	bool full;

	pthread_mutex_lock(&d->lock);
	full = d->njobs == JOBS;
	pthread_mutex_unlock(&d->lock);
	return full;
}

/* Hand a lease over; false: there is no room after all. */
static bool device_submit(struct device *d, const struct job *job)
{
	bool room;

	pthread_mutex_lock(&d->lock);
	room = d->njobs < JOBS;
	if (room)
		d->job[(d->head + d->njobs++) % JOBS] = *job;
	pthread_cond_signal(&d->came);
	pthread_mutex_unlock(&d->lock);
	return room;
}

/* Wait until the first job is due; false: there is none and there will be none. */
static bool device_take(struct device *d, struct job *job)
{
	bool taken = false;

	pthread_mutex_lock(&d->lock);
	while (!taken && (d->njobs > 0 || !d->stop)) {
		const uint64_t due = d->njobs > 0 ? d->job[d->head].due_ns : 0;

		if (d->njobs == 0) {
			pthread_cond_wait(&d->came, &d->lock);
		} else if (d->stop || due <= cli_now_ns()) {
			*job = d->job[d->head];
			d->head = (d->head + 1) % JOBS;
			d->njobs--;
			taken = true;
		} else {
			const struct timespec until = {(time_t)(due / 1000000000u),
						       (long)(due % 1000000000u)};

			pthread_cond_timedwait(&d->came, &d->lock, &until);
		}
	}
	pthread_mutex_unlock(&d->lock);
	return taken;
}

static void *device_main(void *arg)
{
	struct device *const d = arg;
	struct job job;

	while (device_take(d, &job)) {
		size_t n;
		const struct iovec *const seg = mslot_lease_iov(job.lease, &n);

		for (size_t i = 0; i < n; i++)
			memory_store(seg[i].iov_base, seg[i].iov_len, job.val + i);
		mslot_lease_put(job.lease);
	}
	return NULL;
}

static int device_start(struct device *d, struct source *s)
{
	pthread_condattr_t attr;
	int err;

	d->source = s;
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->came, &attr);
	pthread_condattr_destroy(&attr);
	err = pthread_create(&d->thread, NULL, device_main, d);
	return err != 0 ? source_fail(s, "pthread_create()", -err) : 0;
}

static void device_stop(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_signal(&d->came);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	pthread_cond_destroy(&d->came);
	pthread_mutex_destroy(&d->lock);
}

/* ---- Writers ------------------------------------------------------------------------ */

/* A random place in a random slot: mostly in the slot's hot part. */
static bool choose(struct writer *w, const struct mslot_snapshot *snap, struct place *p)
{
	struct source *const s = w->guest->source;
	const uint32_t space = (uint32_t)rng_below(&w->rng, MIGRATE_NSPACES);
	const struct mslot_slot *slot = NULL;
	struct mslot_slot_info info;
	uint64_t words;

	for (unsigned int i = 0; i < TRIES && slot == NULL; i++) {
		const uint32_t limit = atomic_load(&s->id_limit[space]);
		const struct mslot_key key = {space, (uint32_t)rng_below(&w->rng, limit)};

		slot = mslot_find_id(snap, key);
	}
	if (slot == NULL)
		return false;
	mslot_slot_info_get(slot, &info);
	words = info.len_bytes / sizeof(uint64_t);
	if (rng_below(&w->rng, 4) != 0)
		words /= HOT_PART;
	p->at.space = space;
	p->at.gpa = info.gpa + rng_below(&w->rng, words) * sizeof(uint64_t);
	p->page_left = MIGRATE_PAGE - p->at.gpa % MIGRATE_PAGE;
	p->left = info.gpa + info.len_bytes - p->at.gpa;
	return true;
}

static uint64_t u64_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int write_copy(struct writer *w, const struct mslot_snapshot *snap, const struct place *p)
{
	uint64_t nwords = 1 + rng_below(&w->rng, COPY_WORDS);
	struct mslot_addr at = p->at;
	int err = 0;

	/* By words, which are stored whole; across the border of two pages, now and then. */
	nwords = u64_least(nwords, p->left / sizeof(uint64_t));
	for (; nwords > 0 && err == 0; nwords--) {
		const uint64_t word = rng_next(&w->rng);

		err = mslot_write(snap, at, &word, sizeof(word));
		at.gpa += sizeof(word);
	}
	return err;
}

static int write_host(struct writer *w, const struct mslot_snapshot *snap, const struct place *p)
{
	const struct migrate_options *const o = w->guest->source->o;
	const struct mslot_span span = {p->at.space, MSLOT_WRITE, p->at.gpa,
					u64_least(HOST_MAX, p->page_left)};
	struct iovec seg;
	const int n = mslot_write_begin(snap, &span, &seg, 1);

	if (n < 0)
		return n;
	memory_store(seg.iov_base, seg.iov_len, rng_next(&w->rng));
	if (o->broken == MIGRATE_BREAK_MARK && w->nkind[WRITE_HOST] % o->mark_every == 0)
		w->ndropped++;
	else
		mslot_write_end(snap, &span);
	return 0;
}

static int write_atomic(struct writer *w, const struct mslot_snapshot *snap, const struct place *p)
{
	uint64_t expected;
	int ret;

	if (rng_below(&w->rng, 2) == 0)
		return mslot_store(snap, p->at, 8, rng_next(&w->rng));
	ret = mslot_load(snap, p->at, 8, &expected);
	if (ret == 0)
		ret = mslot_cmpxchg(snap, p->at, 8, &expected, expected + 1);
	return ret < 0 ? ret : 0;
}

static int write_lease(struct writer *w, const struct mslot_snapshot *snap, const struct place *p)
{
	struct device *const d = &w->guest->device;
	const struct mslot_span span = {
	    p->at.space, MSLOT_WRITE, p->at.gpa,
	    u64_least((1 + rng_below(&w->rng, LEASE_PAGES)) * MIGRATE_PAGE, p->left)};
	struct job job;
	int err;

	if (device_full(d))
		return 0;
	err = mslot_lease_take(snap, &span, "device", &job.lease);
	if (err != 0)
		return err;
	job.val = rng_next(&w->rng);
	job.due_ns = cli_now_ns() + rng_below(&w->rng, JOB_NS);
	if (!device_submit(d, &job))
		mslot_lease_put(job.lease);
	return 0;
}

static int write_once(struct writer *w, const struct mslot_snapshot *snap)
{
	static int (*const way[NWRITES])(struct writer *, const struct mslot_snapshot *,
					 const struct place *) = {
	    [WRITE_COPY] = write_copy,
	    [WRITE_HOST] = write_host,
	    [WRITE_ATOMIC] = write_atomic,
	    [WRITE_LEASE] = write_lease,
	};
	/* The device is slower than a processor. */
	const uint64_t lot = rng_below(&w->rng, 16);
	const enum write_kind kind = lot == 0 ? WRITE_LEASE : (enum write_kind)(lot % WRITE_LEASE);
	struct place p;
	int err;

	if (!choose(w, snap, &p))
		return 0;
	w->nkind[kind]++;
	err = way[kind](w, snap, &p);
	atomic_fetch_add_explicit(&w->nwrites, 1, memory_order_relaxed);
	return err;
}

/* A section: some writes, with safe points where somebody asks for one. */
static int write_burst(struct writer *w)
{
	const struct mslot_snapshot *snap;
	int err = mslot_vcpu_enter(w->vcpu, &snap);

	if (err != 0)
		return err;
	for (unsigned int i = 0; i < BURST && err == 0; i++) {
		if (mslot_vcpu_pending(w->vcpu))
			err = mslot_vcpu_poll(w->vcpu, &snap);
		if (err == 0)
			err = write_once(w, snap);
	}
	mslot_vcpu_leave(w->vcpu);
	return err;
}

static void *writer_main(void *arg)
{
	static const struct timespec turn = {0, TURN_NS};
	struct writer *const w = arg;
	int err = 0;

	while (err == 0 && !atomic_load(&w->guest->stop)) {
		err = write_burst(w);
		nanosleep(&turn, NULL);
	}
	if (err != 0)
		source_fail(w->guest->source, "a writer", err);
	return NULL;
}

static int writer_start(struct guest *g, struct writer *w, unsigned int number)
{
	int err = mslot_vcpu_create(g->source->map, NULL, &w->vcpu);

	if (err != 0)
		return source_fail(g->source, "mslot_vcpu_create()", err);
	w->guest = g;
	w->rng.state = g->source->o->seed ^ (UINT64_C(0x5eed) + number) << 32;
	err = pthread_create(&w->thread, NULL, writer_main, w);
	if (err == 0)
		return 0;
	mslot_vcpu_destroy(w->vcpu);
	return source_fail(g->source, "pthread_create()", -err);
}

/* ---- All of them ---------------------------------------------------------------------- */

int guest_start(struct source *s)
{
	struct guest *const g = cli_alloc(1, sizeof(*g));

	g->source = s;
	g->writer = cli_alloc(s->o->nwriters, sizeof(*g->writer));
	if (device_start(&g->device, s) < 0) {
		free(g->writer);
		free(g);
		return -1;
	}
	s->guest = g;
	for (; g->nstarted < s->o->nwriters; g->nstarted++) {
		if (writer_start(g, &g->writer[g->nstarted], g->nstarted) < 0)
			return -1;
	}
	return 0;
}

uint64_t guest_progress(const struct guest *g)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < g->nstarted; i++)
		least = u64_least(
		    least, atomic_load_explicit(&g->writer[i].nwrites, memory_order_relaxed));
	return least;
}

int guest_stop(struct source *s)
{
	struct guest *const g = s->guest;
	int err = 0;

	if (g == NULL)
		return 0;
	atomic_store(&g->stop, true);
	for (unsigned int i = 0; i < g->nstarted; i++)
		pthread_join(g->writer[i].thread, NULL);
	device_stop(&g->device);
	for (unsigned int i = 0; i < g->nstarted; i++) {
		const int ret = mslot_vcpu_destroy(g->writer[i].vcpu);

		err = ret != 0 ? ret : err;
		s->result->marks_dropped += g->writer[i].ndropped;
		for (size_t kind = 0; kind < NWRITES; kind++)
			s->result->nwrites[kind] += g->writer[i].nkind[kind];
	}
	s->guest = NULL;
	free(g->writer);
	free(g);
	return err != 0 ? source_fail(s, "mslot_vcpu_destroy()", err) : 0;
}
