/* SPDX-License-Identifier: MIT */
/*
 * reclaimer.c - the process's one reclaimer thread.
 *
 * It serves all maps: it waits for grace periods where a commit must not, works off the
 * queues of maps that ask for it, looks for leases of parked regions when one that counts was
 * put, and calls `release`. It starts with the first user (a
 * map or a region with a callback), and ends a second after the last one went.
 *
 * Invariants
 *   T1 `queue` lists the maps with map->queued, each once; `current` is the map being
 *      looked after outside the lock
 *   T2 releases are called in the order in which they were queued, with no lock held
 *   T3 every step that a waiter may wait for increments `events` under the lock
 *
 * Lock order: a map's writer mutex, its holds_lock, the registry of leases, then `lock`.
 * Nothing is locked inside `lock`.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/writer.h"

#define LINGER_NS UINT64_C(1000000000)
#define BATCHES_A_STEP 32u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;     /* for the thread */
static pthread_cond_t progress; /* for waiters */
static pthread_once_t conds_once = PTHREAD_ONCE_INIT;

static struct mslot_map *queue, **queue_tail = &queue;
static struct mslot_map *current;
static struct mslot_region *releases, **releases_tail = &releases;
static uint64_t releases_queued, releases_done;
static uint64_t events;
static uint64_t users;
static bool stirred; /* lease_rescan() is due */
static bool running;
static _Atomic(const void *) self; /* thread_token() of the thread */

int cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return err;
}

static void conds_init(void)
{
	(void)cond_init(&wake);
	(void)cond_init(&progress);
}

void cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns, int *err)
{
	struct timespec ts = {
	    .tv_sec = (time_t)(deadline_ns / UINT64_C(1000000000)),
	    .tv_nsec = (long)(deadline_ns % UINT64_C(1000000000)),
	};

	if (deadline_ns == UINT64_MAX)
		*err = pthread_cond_wait(cond, mutex);
	else
		*err = pthread_cond_timedwait(cond, mutex, &ts);
}

static void note_progress(void)
{
	events++;
	pthread_cond_broadcast(&progress);
}

/* Call the oldest queued release. `lock` held; dropped meanwhile. */
static void release_one(void)
{
	struct mslot_region *region = releases;

	releases = region->release_next;
	if (!releases)
		releases_tail = &releases;
	pthread_mutex_unlock(&lock);
	PERTURB(BEFORE_RELEASE);
	region->opt.release(region->opt.ctx, &region->opt);
	mem_free(region);
	pthread_mutex_lock(&lock);
	releases_done++;
	users--;
	note_progress();
}

/*
 * A non-urgent map is left to its next commit when a writer is at work, which commits
 * during the grace period show: taking turns at the mutex would cost that writer more than
 * the recycling is worth, and the memory would come back to it from another CPU's cache.
 */
static void look_after(struct mslot_map *map, bool urgent)
{
	uint64_t reclaimed, published, deferred;

	published = atomic_load_explicit(&map->published, memory_order_acquire);
	deferred = deferrals_take(map);
	if (deferred || published != atomic_load_explicit(&map->graced, memory_order_acquire)) {
		if (urgent)
			map_synchronize(map);
		else
			reclaim_synchronize(map);
	}
	/* No commit does this: it is worth taking turns. */
	if (deferred)
		deferrals_run(map, deferred);
	if (!urgent && published != atomic_load_explicit(&map->published, memory_order_relaxed))
		return;
	do {
		if (urgent)
			map_lock(map);
		else if (!map_trylock(map))
			return;
		reclaim_run(map, BATCHES_A_STEP);
		reclaimed = atomic_load_explicit(&map->reclaimed, memory_order_relaxed);
		map_unlock(map);
	} while (reclaimed < atomic_load_explicit(&map->graced, memory_order_relaxed));
}

static void serve_one(void)
{
	struct mslot_map *map = queue;
	bool urgent = map->urgent;

	queue = map->queue_next;
	if (!queue)
		queue_tail = &queue;
	map->queued = false;
	map->urgent = false;
	current = map;
	pthread_mutex_unlock(&lock);
	look_after(map, urgent);
	pthread_mutex_lock(&lock);
	current = NULL;
	note_progress();
}

/* `lock` held; dropped meanwhile. */
static void rescan(void)
{
	/* Before the scan: what comes during it asks for another. */
	stirred = false;
	pthread_mutex_unlock(&lock);
	lease_rescan();
	pthread_mutex_lock(&lock);
}

static void *reclaimer_main(void *arg)
{
	int err = 0;

	(void)arg;
	atomic_store_explicit(&self, thread_token(), memory_order_relaxed);
	pthread_mutex_lock(&lock);
	for (;;) {
		if (stirred)
			rescan();
		else if (releases)
			release_one();
		else if (queue)
			serve_one();
		else if (users > 0)
			cond_wait_until(&wake, &lock, UINT64_MAX, &err);
		else if (err != ETIMEDOUT)
			cond_wait_until(&wake, &lock, now_ns() + LINGER_NS, &err);
		else
			break;
		if (stirred || releases || queue || users > 0)
			err = 0;
	}
	running = false;
	atomic_store_explicit(&self, NULL, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/*
 * The application's signals stay with its own threads, but for those that an access of a
 * release callback itself raises: blocked, they would kill the process.
 */
static void block_signals(sigset_t *old)
{
	static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	sigset_t set;
	size_t i;

	sigfillset(&set);
	for (i = 0; i < sizeof(synchronous) / sizeof(*synchronous); i++)
		sigdelset(&set, synchronous[i]);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

/* `lock` held. */
static int start(void)
{
	pthread_attr_t attr;
	sigset_t old;
	pthread_t thread;
	int err;

	if (running)
		return 0;
	pthread_once(&conds_once, conds_init);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	block_signals(&old);
	err = pthread_create(&thread, &attr, reclaimer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		return -EAGAIN;
	running = true;
	return 0;
}

int reclaimer_get(void)
{
	int err;

	pthread_mutex_lock(&lock);
	err = start();
	if (!err)
		users++;
	pthread_mutex_unlock(&lock);
	return err;
}

void reclaimer_put(void)
{
	pthread_mutex_lock(&lock);
	if (--users == 0)
		pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

bool reclaimer_self(void)
{
	return atomic_load_explicit(&self, memory_order_relaxed) == thread_token();
}

static void enqueue(struct mslot_map *map)
{
	if (map->queued)
		return;
	map->queued = true;
	map->queue_next = NULL;
	*queue_tail = map;
	queue_tail = &map->queue_next;
}

void reclaimer_kick(struct mslot_map *map, bool urgent)
{
	pthread_mutex_lock(&lock);
	/* Only after a fork is there no thread; without memory for one the next kick retries. */
	(void)start();
	map->urgent = map->urgent || urgent;
	enqueue(map);
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

void reclaimer_release(struct mslot_region *region)
{
	pthread_mutex_lock(&lock);
	(void)start();
	region->release_next = NULL;
	*releases_tail = region;
	releases_tail = &region->release_next;
	releases_queued++;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

void reclaimer_stir(void)
{
	pthread_mutex_lock(&lock);
	(void)start();
	stirred = true;
	note_progress();
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

int reclaimer_wait(bool (*done)(struct mslot_map *map, uint64_t arg), struct mslot_map *map,
		   uint64_t arg, uint64_t deadline_ns)
{
	uint64_t seen;
	int err = 0;

	for (;;) {
		pthread_mutex_lock(&lock);
		seen = events;
		pthread_mutex_unlock(&lock);
		if (done(map, arg))
			return 0;
		PERTURB(WAIT_LOOKED);
		if (err == ETIMEDOUT || (deadline_ns != UINT64_MAX && now_ns() >= deadline_ns))
			return -ETIMEDOUT;
		pthread_mutex_lock(&lock);
		while (seen == events && err != ETIMEDOUT)
			cond_wait_until(&progress, &lock, deadline_ns, &err);
		pthread_mutex_unlock(&lock);
	}
}

static bool released(struct mslot_map *map, uint64_t target)
{
	bool done;

	(void)map;
	pthread_mutex_lock(&lock);
	done = releases_done >= target;
	pthread_mutex_unlock(&lock);
	return done;
}

int reclaimer_flush(uint64_t deadline_ns)
{
	uint64_t target;

	pthread_mutex_lock(&lock);
	/* In the child of a fork nobody may have asked for the thread yet. */
	if (releases)
		(void)start();
	target = releases_queued;
	pthread_mutex_unlock(&lock);
	return reclaimer_wait(released, NULL, target, deadline_ns);
}

static bool forgotten(struct mslot_map *map, uint64_t arg)
{
	struct mslot_map **link;
	bool busy;

	(void)arg;
	pthread_mutex_lock(&lock);
	for (link = &queue; *link && *link != map; link = &(*link)->queue_next)
		;
	if (*link) {
		*link = map->queue_next;
		if (!*link)
			queue_tail = link;
		map->queued = false;
	}
	busy = current == map;
	pthread_mutex_unlock(&lock);
	return !busy;
}

void reclaimer_forget(struct mslot_map *map)
{
	(void)reclaimer_wait(forgotten, map, 0, UINT64_MAX);
}

void reclaimer_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

/*
 * In the child every map on the list is queued again. One that was being destroyed is not
 * on the list, and its locks may be held by threads that are gone.
 */
static void empty_queue(void)
{
	for (; queue; queue = queue->queue_next)
		queue->queued = false;
	queue_tail = &queue;
}

void reclaimer_after_fork(bool child)
{
	if (child) {
		empty_queue();
		/*
		 * The thread is not in the child, unless a release callback forked; that
		 * callback's own release was finished by the parent's thread either way.
		 */
		running = reclaimer_self();
		if (!running)
			atomic_store_explicit(&self, NULL, memory_order_relaxed);
		conds_init();
		current = NULL;
		/* The parent's scan may not have begun. */
		stirred = true;
		if (!running) {
			struct mslot_region *region;
			uint64_t queued = 0;

			for (region = releases; region; region = region->release_next)
				queued++;
			users -= releases_queued - queued - releases_done;
			releases_done = releases_queued - queued;
		}
	}
	pthread_mutex_unlock(&lock);
}

void reclaimer_requeue(struct mslot_map *map)
{
	pthread_mutex_lock(&lock);
	enqueue(map);
	map->urgent = true;
	pthread_mutex_unlock(&lock);
}
