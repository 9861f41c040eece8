/* SPDX-License-Identifier: MIT */
/*
 * bench_liars.c - the engines of test_bench.c, in the place of bench/engines/engines.c. All of
 * them are one plain list of slots by id, and each but the first has a fault of its own.
 */
#include "bench_liars.h"
#include "clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOW_NS 70000000

struct engine_map {
	uint32_t limit;
	struct engine_slot slot[]; /* by id; len_bytes 0: there is none */
};

/* ---- An honest list ----------------------------------------------------------- */

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *const m = calloc(1, sizeof(*m) + limit * sizeof(m->slot[0]));

	if (m != NULL)
		m->limit = limit;
	return m;
}

static void destroy(struct engine_map *m)
{
	free(m);
}

static int insert(struct engine_map *m, const struct engine_slot *slot)
{
	m->slot[slot->id] = *slot;
	return 0;
}

static int set_flags(struct engine_map *m, uint32_t id, uint32_t flags)
{
	m->slot[id].flags = flags;
	return 0;
}

static int move(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	/* Beside readers. */
	__atomic_store_n(&m->slot[id].gpa, gpa, __ATOMIC_RELAXED);
	return 0;
}

static int fill(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	memset(m->slot, 0, m->limit * sizeof(m->slot[0]));
	for (size_t i = 0; i < n; i++)
		m->slot[slots[i].id] = slots[i];
	return 0;
}

static uint64_t token_of(struct engine_map *m, uint32_t id)
{
	return m->slot[id].len_bytes > 0 ? (uint64_t)id + 1 : 0;
}

static uint32_t flags_of(struct engine_map *m, uint32_t id)
{
	return m->slot[id].flags;
}

static uint64_t find(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		for (uint32_t id = 0; id < m->limit; id++) {
			const uint64_t start = __atomic_load_n(&m->slot[id].gpa, __ATOMIC_RELAXED);

			sum += gpa[k] - start < m->slot[id].len_bytes ? id + 1 : 0;
		}
	}
	return sum;
}

static uint64_t find_hva(struct engine_map *m, const uint64_t *hva, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		for (uint32_t id = 0; id < m->limit; id++)
			sum += hva[k] - m->slot[id].hva < m->slot[id].len_bytes ? id + 1 : 0;
	}
	return sum;
}

static uint64_t find_id(struct engine_map *m, const uint32_t *id, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += token_of(m, id[k]);
	return sum;
}

static uint64_t count_hva(struct engine_map *m, uint64_t hva, uint64_t len_bytes)
{
	uint64_t n = 0;

	for (uint32_t id = 0; id < m->limit; id++)
		n += m->slot[id].hva < hva + len_bytes &&
		     hva < m->slot[id].hva + m->slot[id].len_bytes;
	return n;
}

static uint64_t memory(struct engine_map *m)
{
	return sizeof(*m) + m->limit * sizeof(m->slot[0]);
}

#define HONEST                                                                                     \
	.create = create, .destroy = destroy, .insert = insert, .token_of = token_of,              \
	.flags_of = flags_of, .memory = memory

/* ---- Faults ------------------------------------------------------------------- */

/* One by one it is right. */
static uint64_t find_lying(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	return find(m, gpa, n) + (n > 1);
}

static uint64_t find_wrong(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	return find(m, gpa, n) + n;
}

static uint64_t find_in_gaps(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	const uint64_t sum = find(m, gpa, n);

	return n == 1 && sum == 0 ? 1 : sum;
}

static bool is_reader(void)
{
	return gettid() != getpid();
}

/* In the reader's thread one lookup in 16 finds nothing. */
static uint64_t find_at_times(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	static _Thread_local uint64_t count;

	return n == 1 && is_reader() && ++count % 16 == 0 ? 0 : find(m, gpa, n);
}

static uint64_t find_lying_beside(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	return find(m, gpa, n) + is_reader();
}

static uint64_t find_hva_wrong(struct engine_map *m, const uint64_t *hva, size_t n)
{
	return find_hva(m, hva, n) + 1;
}

static uint64_t find_id_wrong(struct engine_map *m, const uint32_t *id, size_t n)
{
	return find_id(m, id, n) + 1;
}

static uint64_t find_id_lying(struct engine_map *m, const uint32_t *id, size_t n)
{
	return find_id(m, id, n) + (n > 1);
}

static uint64_t count_hva_wrong(struct engine_map *m, uint64_t hva, uint64_t len_bytes)
{
	return count_hva(m, hva, len_bytes) + 1;
}

static int fill_once(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	for (uint32_t id = 0; id < m->limit; id++) {
		if (m->slot[id].len_bytes > 0)
			return 0;
	}
	return fill(m, slots, n);
}

static int fill_most(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	fill(m, slots, n);
	m->slot[3].len_bytes = 0;
	return 0;
}

static int insert_most(struct engine_map *m, const struct engine_slot *slot)
{
	return slot->id == 3 ? 0 : insert(m, slot);
}

static int set_flags_losing(struct engine_map *m, uint32_t id, uint32_t flags)
{
	m->slot[id].flags = flags;
	m->slot[id].len_bytes = 0;
	return 0;
}

static int set_flags_of_nothing(struct engine_map *m, uint32_t id, uint32_t flags)
{
	(void)m;
	(void)id;
	(void)flags;
	return 0;
}

static int move_nothing(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	(void)m;
	(void)id;
	(void)gpa;
	return 0;
}

static int batch_of_nothing(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	(void)m;
	(void)slots;
	(void)n;
	return 0;
}

static int fill_without_memory(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	(void)m;
	(void)slots;
	(void)n;
	return -ENOMEM;
}

static int insert_slowly(struct engine_map *m, const struct engine_slot *slot)
{
	nanosleep(&(const struct timespec){.tv_nsec = SLOW_NS}, NULL);
	return insert(m, slot);
}

/* Every thread of the process on one CPU, until the engine's turn is over. */
static cpu_set_t all_cpus;

void one_cpu_for_all(void)
{
	cpu_set_t one;
	size_t first = 0;

	if (sched_getaffinity(0, sizeof(one), &one) != 0)
		return;
	if (CPU_COUNT(&one) > 1)
		all_cpus = one;
	while (!CPU_ISSET(first, &one))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void all_cpus_again(void)
{
	sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

/* Edits that another thread has not done LAZY_NS of work for. */
static size_t left;

static void *work_off(void *arg)
{
	const uint64_t end = clock_cpu_ns() + left * LAZY_NS;

	(void)arg;
	while (clock_cpu_ns() < end)
		;
	left = 0;
	return NULL;
}

static void settle(struct engine_map *m)
{
	pthread_t thread;

	(void)m;
	if (pthread_create(&thread, NULL, work_off, NULL) == 0)
		pthread_join(thread, NULL);
}

static int set_flags_lazily(struct engine_map *m, uint32_t id, uint32_t flags)
{
	left++;
	return set_flags(m, id, flags);
}

static int move_lazily(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	left++;
	return move(m, id, gpa);
}

static int fill_lazily(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	left++;
	return fill(m, slots, n);
}

static int batch_lazily(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	left++;
	for (size_t i = 0; i < n; i++)
		set_flags(m, slots[i].id, slots[i].flags);
	return 0;
}

static const char *is_gone(void)
{
	return "nobody has it";
}

static const char *version(void)
{
	return "7.1";
}

static const struct engine honest = {.name = "mslot",
				     .what = "a list",
				     .version = version,
				     HONEST,
				     .fill = fill,
				     .find = find,
				     .find_section = find,
				     .find_hva = find_hva,
				     .find_id = find_id,
				     .count_hva = count_hva,
				     .set_flags = set_flags,
				     .move = move};
static const struct engine lying = {
    .name = "lying", .what = "wrong sums", HONEST, .fill = fill, .find = find_lying};
static const struct engine wrong = {
    .name = "wrong", .what = "wrong answers", HONEST, .fill = fill, .find = find_wrong};
static const struct engine losing = {.name = "losing",
				     .what = "edits lose slots",
				     HONEST,
				     .fill = fill,
				     .set_flags = set_flags_losing};
static const struct engine full = {
    .name = "full", .what = "no memory", HONEST, .fill = fill_without_memory, .find = find};
static const struct engine slow = {.name = "slow",
				   .what = "an insert takes long",
				   .create = create,
				   .destroy = destroy,
				   .insert = insert_slowly};
static const struct engine small = {
    .name = "small", .what = "few slots", .max_slots = 9, HONEST, .fill = fill, .find = find};
static const struct engine real = {
    .name = "real", .what = "mapped memory", .real_memory = true, HONEST, .find = find};
static const struct engine stopping = {.name = "stopping",
				       .what = "no edit beside readers",
				       .stops_readers = true,
				       HONEST,
				       .fill = fill,
				       .find_section = find,
				       .set_flags = set_flags};
static const struct engine crowded = {.name = "crowded",
				      .what = "all threads on one CPU",
				      HONEST,
				      .fill = fill,
				      .find_section = find,
				      .set_flags = set_flags,
				      .thread_begin = one_cpu_for_all,
				      .thread_end = all_cpus_again};
static const struct engine idle = {.name = "idle",
				   .what = "edits do nothing",
				   HONEST,
				   .fill = fill,
				   .find_section = find,
				   .move = move_nothing,
				   .set_flags = set_flags_of_nothing,
				   .batch_flags = batch_of_nothing};
static const struct engine lazy = {.name = "lazy",
				   .what = "leaves its work to a thread",
				   HONEST,
				   .find = find,
				   .fill = fill_lazily,
				   .move = move_lazily,
				   .set_flags = set_flags_lazily,
				   .batch_flags = batch_lazily,
				   .settle = settle};

/* What each gets wrong is its name. */
static const struct engine gaps = {
    .name = "gaps", .what = "finds slots in gaps", HONEST, .fill = fill, .find = find_in_gaps};
static const struct engine at_times = {.name = "at-times",
				       .what = "misses one in 16",
				       HONEST,
				       .fill = fill,
				       .find_section = find_at_times,
				       .set_flags = set_flags};
static const struct engine lying_beside = {.name = "lying-beside",
					   .what = "wrong sums in a thread",
					   HONEST,
					   .fill = fill,
					   .find_section = find_lying_beside};
static const struct engine hva_wrong = {.name = "hva-wrong",
					.what = "wrong answers by host address",
					HONEST,
					.fill = fill,
					.find = find,
					.find_hva = find_hva_wrong};
static const struct engine id_wrong = {.name = "id-wrong",
				       .what = "wrong answers by id",
				       HONEST,
				       .fill = fill,
				       .find = find,
				       .find_id = find_id_wrong};
static const struct engine id_lying = {
    .name = "id-lying", .what = "wrong sums by id", HONEST, .fill = fill, .find_id = find_id_lying};
static const struct engine count_wrong = {.name = "count-wrong",
					  .what = "one slot too many",
					  HONEST,
					  .fill = fill,
					  .count_hva = count_hva_wrong};
static const struct engine fills_once = {
    .name = "fills-once", .what = "what is there stays", HONEST, .fill = fill_once, .find = find};
static const struct engine inserts_most = {.name = "inserts-most",
					   .what = "loses slot 3",
					   .create = create,
					   .destroy = destroy,
					   .insert = insert_most,
					   .token_of = token_of,
					   .fill = fill_most};
static const struct engine gone = {.name = "gone", .what = "absent", .absent = is_gone};

/* In the place of bench/engines/engines.c. */
const struct engine engine_mslot = {.name = "mslot"};
const struct engine *const bench_engines[] = {
    &honest,     &lying,        &wrong,     &losing,   &full,     &slow,
    &small,      &real,         &stopping,  &crowded,  &idle,     &gaps,
    &at_times,   &lying_beside, &hva_wrong, &id_wrong, &id_lying, &count_wrong,
    &fills_once, &inserts_most, &lazy,      &gone};
const size_t bench_nengines = sizeof(bench_engines) / sizeof(bench_engines[0]);

unsigned int bare_calls;

static double bare_call_ns(void)
{
	return 10.5 + ++bare_calls;
}

const struct bench_bare_call bench_bare_calls[] = {{&honest, bare_call_ns}, {0}};
