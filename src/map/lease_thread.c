/* SPDX-License-Identifier: MIT */
/*
 * lease_thread.c - where records come from: the threads' caches and their registry.
 *
 * A thread that takes its first lease adopts the cache of one that has ended, or gets a new
 * one; more records come in blocks. A cache is on the list for ever, until it is an orphan
 * with all records free (lease_record.h has the data and the invariants).
 *
 * Lock order: a map's holds_lock, then `registry`, then the reclaimer's lock. Nothing is
 * waited for inside `registry`, no read section is entered there, and liburcu's registration
 * neither: a reader may want it within a section.
 */
#include "map/lease_record.h"

#include <errno.h>
#include <time.h>

#include "base/alloc.h"
#include "map/lease.h"

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct lease_thread *threads;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

_Thread_local struct lease_thread *lease_cache;

void lease_registry_lock(void)
{
	pthread_mutex_lock(&registry);
}

void lease_registry_unlock(void)
{
	pthread_mutex_unlock(&registry);
}

uint64_t lease_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

struct mslot_lease *lease_iter_next(struct lease_iter *it)
{
	if (!it->begun) {
		it->begun = true;
		it->thread = threads;
		it->block = threads ? threads->blocks : NULL;
	}
	while (it->thread) {
		if (it->block && it->i < LEASE_BLOCK_RECORDS)
			return &it->block->rec[it->i++];
		it->i = 0;
		if (it->block)
			it->block = it->block->next;
		if (it->block)
			continue;
		it->thread = it->thread->next;
		it->block = it->thread ? it->thread->blocks : NULL;
	}
	return NULL;
}

/* Put what other threads gave back on the plain list. By the owner, or for an orphan. */
static void take_remote(struct lease_thread *cache)
{
	struct mslot_lease *rec, *next;

	/* Acquire: the holders' last look at the records. Pairs with give_back(). */
	rec = atomic_exchange_explicit(&cache->remote, NULL, memory_order_acquire);
	for (; rec; rec = next) {
		next = atomic_load_explicit(&rec->next, memory_order_relaxed);
		atomic_store_explicit(&rec->next, cache->free, memory_order_relaxed);
		cache->free = rec;
	}
}

static bool all_free(const struct lease_thread *cache)
{
	const struct lease_block *block;
	const struct mslot_lease *rec;
	uint64_t n = 0;

	for (rec = cache->free; rec; n++)
		rec = atomic_load_explicit(&rec->next, memory_order_relaxed);
	for (block = cache->blocks; block; block = block->next)
		n -= LEASE_BLOCK_RECORDS;
	return n == 0;
}

/*
 * Free the orphans that no lease is left of. Whoever gave a record back touches neither it
 * nor the cache once it is on a list. Registry locked.
 */
static void free_orphans(void)
{
	struct lease_thread **link = &threads, *cache;
	struct lease_block *block;

	while ((cache = *link) != NULL) {
		if (cache->orphan)
			take_remote(cache);
		if (!cache->orphan || !all_free(cache)) {
			link = &cache->next;
			continue;
		}
		*link = cache->next;
		while ((block = cache->blocks) != NULL) {
			cache->blocks = block->next;
			mem_free(block);
		}
		mem_free(cache);
	}
}

void lease_sweep(void)
{
	lease_registry_lock();
	free_orphans();
	lease_registry_unlock();
}

/* The thread ends. A take in a later destructor of the thread gets another cache. */
static void abandon(void *arg)
{
	struct lease_thread *cache = arg;

	lease_cache = NULL;
	lease_registry_lock();
	cache->orphan = true;
	free_orphans();
	lease_registry_unlock();
}

void lease_thread_drop(void)
{
	if (!lease_cache)
		return;
	pthread_setspecific(key, NULL);
	abandon(lease_cache);
}

static void make_key(void)
{
	have_key = pthread_key_create(&key, abandon) == 0;
}

static struct lease_thread *adopt(void)
{
	struct lease_thread *cache;

	lease_registry_lock();
	for (cache = threads; cache && !cache->orphan; cache = cache->next)
		;
	if (cache)
		cache->orphan = false;
	lease_registry_unlock();
	return cache;
}

static struct lease_thread *create(void)
{
	struct lease_thread *cache = mem_alloc_aligned(64, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->free = NULL;
	cache->blocks = NULL;
	cache->orphan = false;
	atomic_init(&cache->remote, NULL);
	lease_registry_lock();
	cache->next = threads;
	threads = cache;
	lease_registry_unlock();
	return cache;
}

static int attach(void)
{
	struct lease_thread *cache;

	pthread_once(&key_once, make_key);
	if (!have_key)
		return -ENOMEM;
	cache = adopt();
	if (!cache)
		cache = create();
	if (!cache)
		return -ENOMEM;
	if (pthread_setspecific(key, cache)) {
		abandon(cache);
		return -ENOMEM;
	}
	lease_cache = cache;
	return 0;
}

static int add_block(struct lease_thread *cache)
{
	struct lease_block *block = mem_alloc_aligned(LEASE_BLOCK_BYTES, sizeof(*block));
	unsigned int i;

	if (!block)
		return -ENOMEM;
	block->owner = cache;
	for (i = 0; i < LEASE_BLOCK_RECORDS; i++) {
		struct mslot_lease *rec = &block->rec[i];

		atomic_init(&rec->state, 0);
		atomic_init(&rec->next,
			    i + 1 < LEASE_BLOCK_RECORDS ? &block->rec[i + 1] : cache->free);
	}
	lease_registry_lock();
	block->next = cache->blocks;
	cache->blocks = block;
	lease_registry_unlock();
	cache->free = &block->rec[0];
	return 0;
}

int lease_refill(void)
{
	struct lease_thread *cache;
	int err = lease_cache ? 0 : attach();

	if (err)
		return err;
	cache = lease_cache;
	if (!cache->free)
		take_remote(cache);
	return cache->free ? 0 : add_block(cache);
}

void lease_before_fork(void)
{
	lease_registry_lock();
}

/*
 * In the child there is one thread: what is not active is free, whatever list another
 * thread was just putting it on, and the caches of others are orphans.
 */
static void reclaim_records(struct lease_thread *cache)
{
	struct lease_block *block;
	unsigned int i;

	cache->orphan = cache != lease_cache;
	cache->free = NULL;
	atomic_store_explicit(&cache->remote, NULL, memory_order_relaxed);
	for (block = cache->blocks; block; block = block->next)
		for (i = 0; i < LEASE_BLOCK_RECORDS; i++) {
			struct mslot_lease *rec = &block->rec[i];
			uint64_t state = atomic_load_explicit(&rec->state, memory_order_relaxed);

			if (state & LEASE_ACTIVE)
				continue;
			atomic_store_explicit(&rec->next, cache->free, memory_order_relaxed);
			cache->free = rec;
		}
}

void lease_after_fork(bool child)
{
	struct lease_thread *cache;

	for (cache = threads; child && cache; cache = cache->next)
		reclaim_records(cache);
	lease_registry_unlock();
}
