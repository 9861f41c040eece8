/* SPDX-License-Identifier: MIT */
/*
 * test_engine_peers.c - the engines of the benchmark that wrap what others made: random edits
 * of each against a list, with every answer and every errno compared. A peer that this machine
 * lacks is skipped and says why; the program is skipped when all are.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "engines/engine.h"
#include "engines/kernel.h"
#include "rng.h"

#define NIDS 48u
#define PAGES 256u /* of guest memory that slots are put into; so crowded that many collide */
#define LEN_MAX 8u
#define STEPS 600u
#define NGPA 512u

/* The list: slot[id], of which len_bytes is 0 for an id without a slot. */
struct list {
	struct engine_slot slot[NIDS];
};

struct world {
	const struct engine *engine;
	struct engine_map *map;
	struct list list;
	struct rng rng;
	uint64_t hva; /* LEN_MAX mapped pages */
	size_t done, refused;
};

static bool wraps(uint64_t gpa, uint64_t len_bytes)
{
	return len_bytes == 0 || gpa + len_bytes < gpa;
}

static bool collides(const struct list *list, uint32_t id, uint64_t gpa, uint64_t len_bytes)
{
	for (uint32_t i = 0; i < NIDS; i++) {
		const struct engine_slot *const s = &list->slot[i];

		if (i != id && s->len_bytes > 0 && gpa < s->gpa + s->len_bytes &&
		    s->gpa < gpa + len_bytes)
			return true;
	}
	return false;
}

static bool exists(const struct list *list, uint32_t id)
{
	return id < NIDS && list->slot[id].len_bytes > 0;
}

static uint32_t list_find(const struct list *list, uint64_t gpa)
{
	for (uint32_t i = 0; i < NIDS; i++) {
		const struct engine_slot *const s = &list->slot[i];

		if (s->len_bytes > 0 && gpa >= s->gpa && gpa - s->gpa < s->len_bytes)
			return i;
	}
	return NIDS;
}

static int list_insert(struct list *list, const struct engine_slot *s)
{
	if (s->id >= NIDS || exists(list, s->id) || wraps(s->gpa, s->len_bytes))
		return -EINVAL;
	if (collides(list, s->id, s->gpa, s->len_bytes))
		return -EEXIST;
	list->slot[s->id] = *s;
	return 0;
}

static int list_remove(struct list *list, uint32_t id)
{
	if (!exists(list, id))
		return -EINVAL;
	list->slot[id].len_bytes = 0;
	return 0;
}

static int list_move(struct list *list, uint32_t id, uint64_t gpa)
{
	if (!exists(list, id) || wraps(gpa, list->slot[id].len_bytes))
		return -EINVAL;
	if (collides(list, id, gpa, list->slot[id].len_bytes))
		return -EEXIST;
	list->slot[id].gpa = gpa;
	return 0;
}

static uint64_t some_gpa(struct rng *rng)
{
	/* Now and then the last page of all: whatever starts there ends beyond. */
	return rng_chance(rng, 1) ? UINT64_MAX - (ENGINE_PAGE - 1)
				  : rng_below(rng, PAGES) * ENGINE_PAGE;
}

static struct engine_slot some_slot(struct world *w)
{
	return (struct engine_slot){
	    .id = (uint32_t)rng_below(&w->rng, NIDS + 2), /* two of them too high */
	    .flags = (uint32_t)rng_below(&w->rng, 2),
	    .gpa = some_gpa(&w->rng),
	    .len_bytes = rng_below(&w->rng, LEN_MAX + 1) * ENGINE_PAGE,
	    .hva = w->hva,
	};
}

/* All slots of a new list at once; sometimes one of them twice, which must change nothing. */
static void step_fill(struct world *w)
{
	struct list next = {.slot = {{.id = 0}}};
	struct engine_slot slots[NIDS + 1];
	const size_t wanted = rng_below(&w->rng, NIDS + 1);
	size_t n = 0;

	for (size_t i = 0; i < wanted; i++) {
		slots[n] = some_slot(w);
		if (list_insert(&next, &slots[n]) == 0)
			n++;
	}
	if (n > 0 && rng_chance(&w->rng, 30)) {
		slots[n] = slots[rng_below(&w->rng, n)];
		assert_int_equal(w->engine->fill(w->map, slots, n + 1), -EINVAL);
		w->refused++;
		return;
	}
	assert_int_equal(w->engine->fill(w->map, slots, n), 0);
	w->list = next;
	w->done++;
}

static void step(struct world *w)
{
	const struct engine *const e = w->engine;
	const struct engine_slot s = some_slot(w);
	int expected, got;

	switch (rng_below(&w->rng, 20)) {
	case 0 ... 8:
		expected = list_insert(&w->list, &s);
		got = e->insert(w->map, &s);
		break;
	case 9 ... 12:
		expected = list_remove(&w->list, s.id);
		got = e->remove(w->map, s.id);
		break;
	case 13 ... 17:
		expected = list_move(&w->list, s.id, s.gpa);
		got = e->move(w->map, s.id, s.gpa);
		break;
	case 18:
		if (!e->set_flags)
			return;
		expected = exists(&w->list, s.id) ? 0 : -EINVAL;
		got = e->set_flags(w->map, s.id, s.flags);
		break;
	default:
		if (e->fill)
			step_fill(w);
		return;
	}
	assert_int_equal(got, expected);
	if (got == 0)
		w->done++;
	else
		w->refused++;
}

/* Tokens are of the slots that there are, and no two slots have the same. */
static void check_tokens(struct world *w)
{
	uint64_t token[NIDS];

	for (uint32_t i = 0; i < NIDS; i++) {
		token[i] = w->engine->token_of(w->map, i);
		assert_int_equal(token[i] != 0, exists(&w->list, i));
		for (uint32_t k = 0; k < i && token[i]; k++)
			assert_true(token[k] != token[i]);
	}
	assert_true(w->engine->token_of(w->map, NIDS) == 0);
}

static void check_lookups(struct world *w)
{
	const struct engine *const e = w->engine;
	uint64_t gpa[NGPA], sum = 0;

	for (size_t i = 0; i < NGPA; i++) {
		/* Ends of pages as often as not, and beyond all slots. */
		gpa[i] = rng_below(&w->rng, PAGES + 2 * LEN_MAX) * ENGINE_PAGE;
		gpa[i] += rng_chance(&w->rng, 50) ? ENGINE_PAGE - 1 : 0;
		const uint32_t id = list_find(&w->list, gpa[i]);
		const uint64_t token = id < NIDS ? e->token_of(w->map, id) : 0;

		assert_true(e->find(w->map, &gpa[i], 1) == token);
		assert_true(e->find_dependent(w->map, &gpa[i], 1) == token);
		assert_true(e->find_section(w->map, &gpa[i], 1) == token);
		sum += token;
	}
	assert_true(e->find(w->map, gpa, NGPA) == sum);
	assert_true(e->find_dependent(w->map, gpa, NGPA) == sum);
	assert_true(e->find_section(w->map, gpa, NGPA) == sum);
	assert_true(e->find(w->map, gpa, 0) == 0);
}

/* Skips with the reason where the peer is absent. */
static void random_edits(const struct engine *engine, uint64_t seed)
{
	struct world w = {.engine = engine};
	const char *const why = engine->absent ? engine->absent() : NULL;
	void *memory;

	if (why) {
		printf("skipped: %s: %s\n", engine->name, why);
		skip();
	}
	printf("%s: version %s\n", engine->name, engine->version());
	memory = mmap(NULL, LEN_MAX * ENGINE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(memory != MAP_FAILED);
	w.hva = (uintptr_t)memory;
	rng_init(&w.rng, seed);
	w.map = engine->create(NIDS);
	assert_non_null(w.map);
	for (size_t i = 0; i < STEPS; i++) {
		step(&w);
		if (engine->find) {
			check_tokens(&w);
			check_lookups(&w);
		}
	}
	/* Neither all fine nor all wrong: a step that always fails would find nothing. */
	assert_in_range(w.done, STEPS / 4, STEPS);
	assert_in_range(w.refused, STEPS / 10, STEPS);
	engine->destroy(w.map);
	assert_int_equal(munmap(memory, LEN_MAX * ENGINE_PAGE), 0);
}

static void vm_memory_random_edits_vs_list(void **state)
{
	(void)state;
	random_edits(&engine_vm_memory, 1);
}

static void dpdk_vhost_random_edits_vs_list(void **state)
{
	(void)state;
	random_edits(&engine_dpdk_vhost, 2);
}

static void kernel_random_edits_vs_list(void **state)
{
	(void)state;
	random_edits(&engine_kernel, 3);
}

static void kernel_bare_call_costs_something(void **state)
{
	const double ns = bench_kernel_bare_call_ns();

	(void)state;
	if (engine_kernel.absent()) {
		assert_true(ns < 0);
		skip();
	}
	assert_true(ns > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vm_memory_random_edits_vs_list),
	    cmocka_unit_test(dpdk_vhost_random_edits_vs_list),
	    cmocka_unit_test(kernel_random_edits_vs_list),
	    cmocka_unit_test(kernel_bare_call_costs_something),
	};
	const struct engine *const engines[] = {&engine_vm_memory, &engine_dpdk_vhost,
						&engine_kernel};
	size_t nabsent = 0;
	int failed;

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		nabsent += engines[i]->absent && engines[i]->absent();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed || nabsent < sizeof(engines) / sizeof(engines[0]) ? failed : 77;
}
