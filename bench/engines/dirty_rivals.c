/* SPDX-License-Identifier: MIT */
/*
 * dirty_rivals.c - what back-ends write by hand: a reference count for the memory of an I/O, with
 * an atomic operation or with a mutex, and a bitmap of dirty pages, as QEMU has one. None of them
 * looks an address up or knows edits; that is the part that the library's figures include.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "dirty_engines.h"

/* ---- A count a region ------------------------------------------------------------ */

struct counted {
	_Alignas(128) uint64_t count;
	pthread_mutex_t lock;
	_Alignas(128) char *host;
};

static void *counted_create(enum lease_kind kind, char why[BENCH_REASON])
{
	struct counted *const c = aligned_alloc(128, sizeof(*c));

	(void)kind;
	if (c == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	*c = (struct counted){.host = (char *)c};
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

static void counted_destroy(void *world)
{
	struct counted *const c = world;

	pthread_mutex_destroy(&c->lock);
	free(c);
}

static uint64_t counted_left(void *world)
{
	return __atomic_load_n(&((struct counted *)world)->count, __ATOMIC_RELAXED);
}

/* The address that an I/O gets, which the compiler must not know. */
static uint64_t shows(const struct counted *c)
{
	const char *host = c->host;

	__asm__ volatile("" : "+r"(host) : : "memory");
	return host == (const char *)c;
}

static uint64_t refcount_cycle(void *world, size_t n)
{
	struct counted *const c = world;
	uint64_t right = 0;

	for (size_t i = 0; i < n; i++) {
		__atomic_fetch_add(&c->count, 1, __ATOMIC_ACQUIRE);
		right += shows(c);
		__atomic_fetch_sub(&c->count, 1, __ATOMIC_RELEASE);
	}
	return right;
}

static void add_locked(struct counted *c, uint64_t n)
{
	pthread_mutex_lock(&c->lock);
	c->count += n;
	pthread_mutex_unlock(&c->lock);
}

static uint64_t mutex_cycle(void *world, size_t n)
{
	struct counted *const c = world;
	uint64_t right = 0;

	for (size_t i = 0; i < n; i++) {
		add_locked(c, 1);
		right += shows(c);
		add_locked(c, UINT64_MAX);
	}
	return right;
}

const struct lease_engine lease_refcount = {.name = "refcount",
					    .create = counted_create,
					    .cycle = refcount_cycle,
					    .left = counted_left,
					    .destroy = counted_destroy};
const struct lease_engine lease_mutex = {.name = "mutex",
					 .create = counted_create,
					 .cycle = mutex_cycle,
					 .left = counted_left,
					 .destroy = counted_destroy};

/* ---- A bitmap -------------------------------------------------------------------- */

struct bitmap {
	uint64_t npages;
	enum mark_op op;
	bool logged;
	const struct harvest_shape *shape;
	unsigned char *host; /* of marks */
	uint64_t words[];
};

static struct bitmap *bitmap_create(uint64_t npages, char why[BENCH_REASON])
{
	struct bitmap *const b = calloc(1, sizeof(*b) + npages / 8);

	if (b == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	b->npages = npages;
	return b;
}

static void bitmap_destroy(void *world)
{
	struct bitmap *const b = world;

	if (b->host != NULL)
		munmap(b->host, b->npages * DIRTY_PAGE);
	free(b);
}

/* Read a word and clear it; words without a bit are left alone. */
static inline uint64_t take_word(uint64_t *word)
{
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0)
		return 0;
	return __atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL);
}

static void *mark_create(enum mark_op op, bool logged, char why[BENCH_REASON])
{
	struct bitmap *const b = bitmap_create(MARK_PAGES, why);

	if (b == NULL)
		return NULL;
	b->op = op;
	b->logged = logged;
	b->host = bench_host(MARK_PAGES * DIRTY_PAGE, why);
	if (b->host != NULL)
		return b;
	free(b);
	return NULL;
}

static inline void write_page(struct bitmap *b, size_t page, const unsigned char *buf)
{
	uint64_t val;

	if (b->op == MARK_WRITE) {
		memcpy(b->host + page * DIRTY_PAGE, buf, DIRTY_PAGE);
	} else if (b->op == MARK_STORE) {
		memcpy(&val, buf, sizeof(val));
		__atomic_store_n((uint64_t *)(void *)(b->host + mark_place(page)), val,
				 __ATOMIC_SEQ_CST);
	}
}

/* A look first, where the bit is set as a rule. */
static int bitmap_pass(void *world, unsigned char val)
{
	struct bitmap *const b = world;
	unsigned char buf[DIRTY_PAGE];

	memset(buf, val, b->op == MARK_WRITE ? sizeof(buf) : sizeof(uint64_t));
	for (size_t i = 0; i < MARK_PAGES; i++) {
		const uint64_t bit = UINT64_C(1) << i % 64;

		write_page(b, i, buf);
		if (b->logged && !(__atomic_load_n(&b->words[i / 64], __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(&b->words[i / 64], bit, __ATOMIC_RELEASE);
	}
	return 0;
}

static int fetch_or_pass(void *world, unsigned char val)
{
	struct bitmap *const b = world;
	unsigned char buf[DIRTY_PAGE];

	memset(buf, val, b->op == MARK_WRITE ? sizeof(buf) : sizeof(uint64_t));
	for (size_t i = 0; i < MARK_PAGES; i++) {
		write_page(b, i, buf);
		if (b->logged)
			__atomic_fetch_or(&b->words[i / 64], UINT64_C(1) << i % 64,
					  __ATOMIC_RELEASE);
	}
	return 0;
}

static unsigned char mark_byte(void *world, size_t page)
{
	return ((struct bitmap *)world)->host[mark_place(page)];
}

static int64_t mark_harvest(void *world)
{
	struct bitmap *const b = world;
	int64_t n = 0;

	for (size_t i = 0; i < MARK_PAGES / 64; i++)
		n += __builtin_popcountll(take_word(&b->words[i]));
	return n;
}

#define ALL_OPS (1u << MARK_STORE | 1u << MARK_PAGE | 1u << MARK_WRITE)

const struct mark_engine mark_bitmap = {.name = "bitmap",
					.ops = ALL_OPS,
					.create = mark_create,
					.pass = bitmap_pass,
					.byte = mark_byte,
					.harvest = mark_harvest,
					.destroy = bitmap_destroy};
const struct mark_engine mark_fetch_or = {.name = "fetch-or",
					  .ops = ALL_OPS,
					  .create = mark_create,
					  .pass = fetch_or_pass,
					  .byte = mark_byte,
					  .harvest = mark_harvest,
					  .destroy = bitmap_destroy};

/* ---- Harvests of it, and of the machine -------------------------------------------- */

static void *harvest_create(const struct harvest_shape *shape, char why[BENCH_REASON])
{
	struct bitmap *const b = bitmap_create(shape->npages, why);

	if (b != NULL)
		b->shape = shape;
	return b;
}

static int soil(void *world)
{
	struct bitmap *const b = world;

	memcpy(b->words, b->shape->bitmap, b->npages / 8);
	return 0;
}

static int64_t bitmap_harvest(void *world, uint64_t *out)
{
	struct bitmap *const b = world;
	const uint64_t begin = clock_wall_ns();

	for (uint64_t i = 0; i < b->npages / 64; i++)
		out[i] = take_word(&b->words[i]);
	return (int64_t)(clock_wall_ns() - begin);
}

static int rest(void *world, uint64_t *out)
{
	struct bitmap *const b = world;

	memcpy(out, b->words, b->npages / 8);
	return 0;
}

static int64_t scan(void *world, uint64_t *out)
{
	struct bitmap *const b = world;
	const uint64_t begin = clock_wall_ns();
	uint64_t any = 0;

	(void)out;
	for (uint64_t i = 0; i < b->npages / 64; i++)
		any |= b->words[i];
	__asm__ volatile("" : : "r"(any));
	return (int64_t)(clock_wall_ns() - begin);
}

static int64_t copy(void *world, uint64_t *out)
{
	struct bitmap *const b = world;
	const uint64_t begin = clock_wall_ns();

	memcpy(out, b->words, b->npages / 8);
	__asm__ volatile("" : : "r"(out) : "memory");
	return (int64_t)(clock_wall_ns() - begin);
}

#define ALL_KINDS                                                                                  \
	(1u << HARVEST_GET | 1u << HARVEST_KEEP | 1u << HARVEST_CLEAR | 1u << HARVEST_BATCH)
#define HARVESTS .create = harvest_create, .soil = soil, .rest = rest, .destroy = bitmap_destroy

const struct harvester harvest_bitmap = {.name = "bitmap",
					 .kinds = 1u << HARVEST_GET | 1u << HARVEST_BATCH,
					 .harvest = bitmap_harvest,
					 HARVESTS};
const struct harvester harvest_scan = {
    .name = "scan", .kinds = ALL_KINDS, .floor = true, .harvest = scan, HARVESTS};
const struct harvester harvest_copy = {
    .name = "copy", .kinds = ALL_KINDS, .floor = true, .harvest = copy, HARVESTS};
