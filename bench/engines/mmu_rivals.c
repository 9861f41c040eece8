/* SPDX-License-Identifier: MIT */
/*
 * mmu_rivals.c - beside what the library's tables are measured.
 *
 * plain and lookup load words at guest addresses without any tables: by adding the host address of
 * guest byte 0, the least that a translation can be, and by mslot_load(), which looks the slot up.
 *
 * array and two-sets are the slot designs of array.c and two_sets.c. Their page table is one flat
 * array of a word a page, so that what differs is the slot design: a fault reads the word, asks the
 * slots for the host address (last slot first, as KVM does) and writes the word; when host memory
 * goes, the slots that show it are asked for, and their words are cleared. There is no lock, no
 * reverse map, no allocation and nobody to be told: each of these would cost a real one more, and
 * so it is they who are favoured. As in 2021, array looks for host addresses in all slots.
 *
 * memory has no slots and no tables: what the host's own memory takes of each row.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine.h"
#include "mmu_world.h"

/* The first word of a page, by its host address. */
static void put_word(uint64_t hva, uint64_t val)
{
	*(volatile uint64_t *)(uintptr_t)hva = val; /* NOLINT(performance-no-int-to-ptr) */
}

static int take_away(char *host, uint64_t len_bytes)
{
	return madvise(host, len_bytes, MADV_DONTNEED) < 0 ? -errno : 0;
}

/* ---- plain and memory ----------------------------------------------------------- */

static void *plain_create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	struct mmu_shape *const s = malloc(sizeof(*s));

	if (s == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	*s = *shape;
	return s;
}

static uint64_t plain_load(void *world, const uint64_t *addr, size_t n)
{
	const char *const host = ((struct mmu_shape *)world)->host;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += atomic_load_explicit(
		    (const _Atomic uint64_t *)(const void *)(host + addr[i]), memory_order_relaxed);
	return sum;
}

static int memory_store(void *world, struct mslot_range gpa, uint64_t val)
{
	const uint64_t host = (uintptr_t)((struct mmu_shape *)world)->host;

	for (uint64_t at = gpa.start; at < gpa.start + gpa.len_bytes; at += MMU_PAGE)
		put_word(host + at, val);
	return 0;
}

static int memory_drop(void *world, struct mslot_range gpa, uint64_t chunk_bytes)
{
	char *const host = ((struct mmu_shape *)world)->host + gpa.start;
	int ret = 0;

	for (uint64_t at = 0; at < gpa.len_bytes && ret == 0; at += chunk_bytes)
		ret = take_away(host + at, chunk_bytes);
	return ret;
}

static int memory_zap_all(void *world)
{
	(void)world;
	return 0;
}

const struct mmu_engine mmu_plain = {.name = "plain",
				     .parts = 1u << MMU_HITS,
				     .tableless = true,
				     .create = plain_create,
				     .destroy = free,
				     .load = plain_load};
const struct mmu_engine mmu_memory = {.name = "memory",
				      .parts = 1u << MMU_UNMAPS,
				      .tableless = true,
				      .create = plain_create,
				      .destroy = free,
				      .zap_all = memory_zap_all,
				      .store = memory_store,
				      .drop = memory_drop};

/* ---- lookup --------------------------------------------------------------------- */

static void *lookup_create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return mmu_reverse.create(shape, why);
}

static void lookup_destroy(void *world)
{
	mmu_reverse.destroy(world);
}

static uint64_t lookup_load(void *world, const uint64_t *addr, size_t n)
{
	struct mmu_world *const w = world;
	const struct mslot_snapshot *const snap = mslot_enter(w->map);
	uint64_t sum = 0, val;

	for (size_t i = 0; i < n; i++) {
		if (mslot_load(snap, (struct mslot_addr){0, addr[i]}, 8, &val) < 0)
			break;
		sum += val;
	}
	mslot_leave(snap);
	return sum;
}

const struct mmu_engine mmu_lookup = {.name = "lookup",
				      .parts = 1u << MMU_HITS,
				      .create = lookup_create,
				      .destroy = lookup_destroy,
				      .load = lookup_load};

/* ---- array and two-sets ----------------------------------------------------------- */

struct flat {
	const struct engine *engine;
	struct engine_map *map;
	struct mmu_shape shape;
	uint64_t *table; /* host address of each guest page, or 0 */
};

static void flat_destroy(void *world)
{
	struct flat *const f = world;

	if (f->map != NULL)
		f->engine->destroy(f->map);
	if (f->engine->thread_end != NULL)
		f->engine->thread_end();
	free(f->table);
	free(f);
}

static int flat_slots(struct flat *f)
{
	const struct mmu_shape *const s = &f->shape;
	struct engine_slot *const slot = calloc(s->nslots, sizeof(*slot));
	int ret = slot != NULL ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < s->nslots && ret == 0; i++) {
		const uint64_t first = mmu_first_page(s, i), end = mmu_first_page(s, i + 1);

		slot[i] = (struct engine_slot){.id = (uint32_t)i,
					       .gpa = first * MMU_PAGE,
					       .len_bytes = (end - first) * MMU_PAGE,
					       .hva = (uintptr_t)s->host + first * MMU_PAGE};
	}
	if (ret == 0)
		ret = f->engine->fill(f->map, slot, s->nslots);
	free(slot);
	return ret;
}

static void *flat_create(const struct engine *engine, const struct mmu_shape *shape,
			 char why[BENCH_REASON])
{
	struct flat *const f = calloc(1, sizeof(*f));
	int ret;

	if (f == NULL)
		return bench_cannot(why, "memory", ENOMEM);
	f->engine = engine;
	f->shape = *shape;
	if (engine->thread_begin != NULL)
		engine->thread_begin();
	f->map = engine->create((uint32_t)shape->nslots);
	f->table = calloc(shape->npages, sizeof(*f->table));
	ret = f->map != NULL && f->table != NULL ? flat_slots(f) : -ENOMEM;
	if (ret == 0)
		return f;
	flat_destroy(f);
	return bench_cannot(why, "slots", -ret);
}

static void *array_create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return flat_create(&engine_array, shape, why);
}

static void *two_sets_create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return flat_create(&engine_two_sets, shape, why);
}

static int flat_store(void *world, struct mslot_range gpa, uint64_t val)
{
	struct flat *const f = world;

	for (uint64_t at = gpa.start; at < gpa.start + gpa.len_bytes; at += MMU_PAGE) {
		uint64_t *const entry = &f->table[at / MMU_PAGE];

		if (*entry == 0)
			*entry = f->engine->translate(f->map, at);
		if (*entry == 0)
			return -ENOENT;
		put_word(*entry, val);
	}
	return 0;
}

static void flat_clear(void *ctx, uint64_t gpa, uint64_t len_bytes)
{
	struct flat *const f = ctx;

	for (uint64_t at = gpa; at < gpa + len_bytes; at += MMU_PAGE)
		f->table[at / MMU_PAGE] = 0;
}

static int flat_drop(void *world, struct mslot_range gpa, uint64_t chunk_bytes)
{
	struct flat *const f = world;
	const struct engine_visitor clear = {.ctx = f, .visit = flat_clear};
	char *const host = f->shape.host + gpa.start;
	int ret = 0;

	for (uint64_t at = 0; at < gpa.len_bytes && ret == 0; at += chunk_bytes) {
		f->engine->visit_hva(f->map, (uintptr_t)host + at, chunk_bytes, &clear);
		ret = take_away(host + at, chunk_bytes);
	}
	return ret;
}

static int flat_zap_all(void *world)
{
	struct flat *const f = world;

	flat_clear(f, 0, f->shape.npages * MMU_PAGE);
	return 0;
}

static int flat_lookup(void *world, unsigned int thread, uint64_t addr, uint64_t *hva)
{
	struct flat *const f = world;
	const uint64_t entry = f->table[addr / MMU_PAGE];

	(void)thread;
	if (entry == 0)
		return 0;
	*hva = entry + addr % MMU_PAGE;
	return 1;
}

#define FLAT                                                                                       \
	.parts = 1u << MMU_UNMAPS, .destroy = flat_destroy, .zap_all = flat_zap_all,               \
	.lookup = flat_lookup, .store = flat_store, .drop = flat_drop

const struct mmu_engine mmu_array = {.name = "array", .create = array_create, FLAT};
const struct mmu_engine mmu_two_sets = {.name = "two-sets", .create = two_sets_create, FLAT};
