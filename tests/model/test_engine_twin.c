/* SPDX-License-Identifier: MIT */
/*
 * test_engine_twin.c - the engines of `mslot bench` that need nothing but this tree, each
 * against a plain list of slots: random valid and invalid edits, the result of each, and
 * after each all lookups at the edges of slots and at random. Then a thread that looks up
 * slots while others are edited.
 *
 *   test-model-engine_twin [SEED [EDITS]]
 *
 * Without EDITS it makes 10,000 edits an engine, scaled by MSLOT_TEST_SCALE (percent).
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/engine.h"
#include "engines/two_sets.h"
#include "rng.h"

static const struct engine *const engines[] = {&engine_mslot, &engine_mslot_scalar, &engine_array,
					       &engine_two_sets};

#define LIMIT 150u       /* ids: more than buckets of two_sets.c */
#define MAX_PAGES 24u    /* of a slot */
#define LOW_PAGES 3000u  /* where most slots are */
#define HOST_PAGES 4096u /* what they show */
#define SAMPLES 24u      /* addresses a comparison */
#define TOP (UINT64_C(1) << 52)
#define WINDOW (64u * ENGINE_PAGE) /* of one slot in the test with threads */

struct twin {
	const struct engine *engine;
	struct engine_map *map;
	struct engine_slot slot[LIMIT]; /* by id; len_bytes 0: there is none */
	uint64_t seed, edit;
	uint64_t host; /* HOST_PAGES of memory */
	struct rng rng;
};

static void fail(const struct twin *tw, const char *what)
{
	fprintf(stderr, "engine_twin: %s, edit %" PRIu64 " of seed %" PRIu64 ": %s\n",
		tw->engine->name, tw->edit, tw->seed, what);
	exit(1);
}

#define REQUIRE(tw, cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(tw, #cond);                                                           \
	} while (0)

/* ---- The list: what edits must answer ---------------------------------------- */

static bool has(const struct twin *tw, uint32_t id)
{
	return id < LIMIT && tw->slot[id].len_bytes;
}

static bool overlaps(const struct twin *tw, uint64_t gpa, uint64_t len_bytes, uint32_t except)
{
	for (uint32_t id = 0; id < LIMIT; id++) {
		const struct engine_slot *s = &tw->slot[id];

		if (id != except && s->len_bytes && s->gpa < gpa + len_bytes &&
		    gpa < s->gpa + s->len_bytes)
			return true;
	}
	return false;
}

static int expect_place(const struct twin *tw, uint32_t id, uint64_t gpa, uint64_t len_bytes)
{
	if (gpa % ENGINE_PAGE || gpa + len_bytes < gpa)
		return -EINVAL;
	if (overlaps(tw, gpa, len_bytes, id))
		return -EEXIST;
	return gpa + len_bytes > TOP ? -EINVAL : 0;
}

static int expect_insert(const struct twin *tw, const struct engine_slot *s)
{
	if (s->id >= LIMIT || s->flags > 1 || !s->len_bytes || s->len_bytes % ENGINE_PAGE ||
	    s->hva % ENGINE_PAGE || s->hva + s->len_bytes < s->hva)
		return -EINVAL;
	if (s->gpa % ENGINE_PAGE || s->gpa + s->len_bytes < s->gpa || has(tw, s->id))
		return -EINVAL;
	return expect_place(tw, LIMIT, s->gpa, s->len_bytes);
}

/* ---- Random slots ------------------------------------------------------------ */

static uint64_t random_gpa(struct twin *tw)
{
	if (rng_chance(&tw->rng, 90))
		return rng_below(&tw->rng, LOW_PAGES) * ENGINE_PAGE;
	return TOP - rng_below(&tw->rng, 300) * ENGINE_PAGE;
}

/* Host memory of its own for each id if the engine needs that, else anywhere. */
static uint64_t random_hva(struct twin *tw, uint32_t id)
{
	if (!tw->engine->overlaps_hva)
		return tw->host + (uint64_t)id * MAX_PAGES * ENGINE_PAGE;
	if (rng_chance(&tw->rng, 30))
		return tw->host + rng_below(&tw->rng, 4) * ENGINE_PAGE;
	return tw->host + rng_below(&tw->rng, HOST_PAGES - MAX_PAGES) * ENGINE_PAGE;
}

static struct engine_slot random_slot(struct twin *tw, uint32_t id)
{
	return (struct engine_slot){.id = id,
				    .flags = (uint32_t)rng_below(&tw->rng, 2),
				    .gpa = random_gpa(tw),
				    .len_bytes = rng_range(&tw->rng, 1, MAX_PAGES) * ENGINE_PAGE,
				    .hva = random_hva(tw, id)};
}

static void spoil(struct twin *tw, struct engine_slot *s)
{
	switch (rng_below(&tw->rng, 8)) {
	case 0:
		s->id = LIMIT + (uint32_t)rng_below(&tw->rng, 3);
		break;
	case 1:
		s->flags = 2;
		break;
	case 2:
		s->len_bytes = 0;
		break;
	case 3:
		s->len_bytes += 512;
		break;
	case 4:
		s->gpa += 8;
		break;
	case 5:
		s->hva += 1;
		break;
	case 6:
		s->gpa = (uint64_t)0 - s->len_bytes + rng_below(&tw->rng, 2) * ENGINE_PAGE;
		break;
	default:
		s->gpa = TOP - s->len_bytes + ENGINE_PAGE;
	}
}

/* ---- Comparing --------------------------------------------------------------- */

static uint64_t expect_at(struct twin *tw, uint64_t gpa)
{
	for (uint32_t id = 0; id < LIMIT; id++) {
		const struct engine_slot *s = &tw->slot[id];

		if (s->len_bytes && gpa - s->gpa < s->len_bytes)
			return tw->engine->token_of(tw->map, id);
	}
	return 0;
}

/* Near an edge of a slot, or anywhere. */
static uint64_t random_address(struct twin *tw, bool host)
{
	const struct engine_slot *s = &tw->slot[rng_below(&tw->rng, LIMIT)];
	const uint64_t start = host ? s->hva : s->gpa;

	if (!s->len_bytes)
		return host ? tw->host + rng_below(&tw->rng, HOST_PAGES * ENGINE_PAGE)
			    : random_gpa(tw) + rng_below(&tw->rng, ENGINE_PAGE);
	switch (rng_below(&tw->rng, 5)) {
	case 0:
		return start;
	case 1:
		return start + s->len_bytes - 1;
	case 2:
		return start + s->len_bytes;
	case 3:
		return start ? start - 1 : 0;
	default:
		return start + rng_below(&tw->rng, s->len_bytes);
	}
}

static void compare_tokens(struct twin *tw)
{
	uint64_t token[LIMIT], sum = 0;
	uint32_t ids[LIMIT + 1];

	for (uint32_t id = 0; id < LIMIT; id++) {
		token[id] = tw->engine->token_of(tw->map, id);
		REQUIRE(tw, (token[id] != 0) == has(tw, id));
		REQUIRE(tw, tw->engine->flags_of(tw->map, id) ==
				(has(tw, id) ? tw->slot[id].flags : 0));
		for (uint32_t other = 0; other < id; other++)
			REQUIRE(tw, !token[id] || token[id] != token[other]);
		ids[id] = id;
		sum += token[id];
	}
	ids[LIMIT] = LIMIT;
	REQUIRE(tw, tw->engine->token_of(tw->map, LIMIT) == 0);
	if (tw->engine->find_id)
		REQUIRE(tw, tw->engine->find_id(tw->map, ids, LIMIT + 1) == sum);
}

static void compare_gpa(struct twin *tw)
{
	const struct engine *e = tw->engine;
	uint64_t gpa[SAMPLES] = {0}, sum = 0;

	for (size_t i = 0; i < SAMPLES; i++) {
		/* Some more than once, for caches. */
		gpa[i] = i && rng_chance(&tw->rng, 30) ? gpa[i - 1] : random_address(tw, false);
		sum += expect_at(tw, gpa[i]);
		REQUIRE(tw, e->find(tw->map, &gpa[i], 1) == expect_at(tw, gpa[i]));
		if (e->find_local)
			REQUIRE(tw, e->find_local(tw->map, &gpa[i], 1) == expect_at(tw, gpa[i]));
	}
	REQUIRE(tw, e->find(tw->map, gpa, SAMPLES) == sum);
	REQUIRE(tw, e->find(tw->map, gpa, 0) == 0);
	if (e->find_dependent)
		REQUIRE(tw, e->find_dependent(tw->map, gpa, SAMPLES) == sum);
	if (e->find_local)
		REQUIRE(tw, e->find_local(tw->map, gpa, SAMPLES) == sum);
	if (e->find_section)
		REQUIRE(tw, e->find_section(tw->map, gpa, SAMPLES) == sum);
}

static void compare_hva(struct twin *tw)
{
	uint64_t hva[SAMPLES], sum = 0;

	for (size_t i = 0; i < SAMPLES; i++) {
		hva[i] = random_address(tw, true);
		for (uint32_t id = 0; id < LIMIT; id++) {
			if (hva[i] - tw->slot[id].hva < tw->slot[id].len_bytes)
				sum += tw->engine->token_of(tw->map, id);
		}
	}
	if (tw->engine->find_hva)
		REQUIRE(tw, tw->engine->find_hva(tw->map, hva, SAMPLES) == sum);
}

static void compare_counts(struct twin *tw)
{
	const struct engine *e = tw->engine;

	for (size_t i = 0; i < 6; i++) {
		const uint64_t most = rng_chance(&tw->rng, 20) ? 4000 : 60;
		const uint64_t len = (i ? rng_below(&tw->rng, most) : 0) * ENGINE_PAGE;
		const uint64_t gpa = random_address(tw, false) & ~(ENGINE_PAGE - 1);
		const uint64_t hva = random_address(tw, true) & ~(ENGINE_PAGE - 1);
		uint64_t by_gpa = 0, by_hva = 0;

		for (uint32_t id = 0; id < LIMIT; id++) {
			const struct engine_slot *s = &tw->slot[id];

			if (!len || !s->len_bytes)
				continue;
			by_gpa += s->gpa < gpa + len && gpa < s->gpa + s->len_bytes;
			by_hva += s->hva < hva + len && hva < s->hva + s->len_bytes;
		}
		if (e->count_gpa)
			REQUIRE(tw, e->count_gpa(tw->map, gpa, len) == by_gpa);
		if (e->count_hva)
			REQUIRE(tw, e->count_hva(tw->map, hva, len) == by_hva);
	}
}

static uint64_t part_hash(uint64_t gpa, uint64_t len)
{
	return (gpa ^ len << 20) * UINT64_C(0x9e3779b97f4a7c15);
}

static void add_part(void *ctx, uint64_t gpa, uint64_t len_bytes)
{
	*(uint64_t *)ctx += part_hash(gpa, len_bytes);
}

/* Where a guest byte is, and which guest bytes show a host range. */
static void compare_translations(struct twin *tw)
{
	const struct engine *e = tw->engine;

	for (size_t i = 0; i < 6 && e->translate && e->visit_hva; i++) {
		const uint64_t len = (1 + rng_below(&tw->rng, 60)) * ENGINE_PAGE;
		const uint64_t gpa = random_address(tw, false);
		const uint64_t hva = random_address(tw, true) & ~(ENGINE_PAGE - 1);
		uint64_t at = 0, expected = 0, sum = 0, n = 0;
		const struct engine_visitor visitor = {.ctx = &sum, .visit = add_part};

		for (uint32_t id = 0; id < LIMIT; id++) {
			const struct engine_slot *s = &tw->slot[id];
			const uint64_t from = s->hva > hva ? s->hva : hva;
			const uint64_t end =
			    s->hva + s->len_bytes < hva + len ? s->hva + s->len_bytes : hva + len;

			if (gpa - s->gpa < s->len_bytes)
				at = s->hva + (gpa - s->gpa);
			if (!s->len_bytes || from >= end)
				continue;
			expected += part_hash(s->gpa + (from - s->hva), end - from);
			n++;
		}
		REQUIRE(tw, e->translate(tw->map, gpa) == at);
		REQUIRE(tw, e->visit_hva(tw->map, hva, len, &visitor) == n);
		REQUIRE(tw, sum == expected);
	}
}

static void compare(struct twin *tw)
{
	uint64_t n = 0;

	for (uint32_t id = 0; id < LIMIT; id++)
		n += has(tw, id);
	compare_tokens(tw);
	compare_gpa(tw);
	compare_hva(tw);
	compare_counts(tw);
	compare_translations(tw);
	if (tw->engine->memory)
		REQUIRE(tw, tw->engine->memory(tw->map) > n * (sizeof(struct engine_slot) - 8));
	if (tw->engine == &engine_two_sets) {
		const char *why = two_sets_check(tw->map);

		if (why)
			fail(tw, why);
	}
}

/* ---- Edits ------------------------------------------------------------------- */

static void edit_insert(struct twin *tw)
{
	struct engine_slot s = random_slot(tw, (uint32_t)rng_below(&tw->rng, LIMIT));
	int expected;

	if (rng_chance(&tw->rng, 15))
		spoil(tw, &s);
	expected = expect_insert(tw, &s);
	REQUIRE(tw, tw->engine->insert(tw->map, &s) == expected);
	if (!expected)
		tw->slot[s.id] = s;
}

static void edit_remove(struct twin *tw, uint32_t id)
{
	const int expected = has(tw, id) ? 0 : -EINVAL;

	REQUIRE(tw, tw->engine->remove(tw->map, id) == expected);
	if (!expected)
		tw->slot[id].len_bytes = 0;
}

static void edit_move(struct twin *tw, uint32_t id)
{
	uint64_t gpa = random_gpa(tw);
	int expected = -EINVAL;

	/* To where it is, over a part of itself (either way), to the very top, or anywhere. */
	if (has(tw, id) && rng_chance(&tw->rng, 40))
		gpa = (tw->slot[id].gpa + rng_below(&tw->rng, 20) * ENGINE_PAGE) -
		      (tw->slot[id].gpa < 10 * ENGINE_PAGE ? 0 : 10 * ENGINE_PAGE);
	else if (has(tw, id) && rng_chance(&tw->rng, 10))
		gpa = TOP - tw->slot[id].len_bytes;
	if (rng_chance(&tw->rng, 5))
		gpa += 16;
	if (rng_chance(&tw->rng, 3))
		gpa = (uint64_t)0 - ENGINE_PAGE;
	if (has(tw, id))
		expected = expect_place(tw, id, gpa, tw->slot[id].len_bytes);
	REQUIRE(tw, tw->engine->move(tw->map, id, gpa) == expected);
	if (!expected)
		tw->slot[id].gpa = gpa;
}

static void edit_flags(struct twin *tw, uint32_t id)
{
	const uint32_t flags = (uint32_t)rng_below(&tw->rng, rng_chance(&tw->rng, 5) ? 4 : 2);
	const int expected = has(tw, id) && flags <= 1 ? 0 : -EINVAL;

	REQUIRE(tw, tw->engine->set_flags(tw->map, id, flags) == expected);
	if (!expected)
		tw->slot[id].flags = flags;
}

/* Make the list anew and give it to the engine in one go; first with a mistake, at times. */
static void edit_fill(struct twin *tw)
{
	struct engine_slot slots[LIMIT + 1];
	const size_t tries = rng_below(&tw->rng, LIMIT);
	size_t n = 0, at;

	memset(tw->slot, 0, sizeof(tw->slot));
	for (size_t i = 0; i < tries; i++) {
		const struct engine_slot s = random_slot(tw, (uint32_t)rng_below(&tw->rng, LIMIT));

		if (expect_insert(tw, &s))
			continue;
		tw->slot[s.id] = s;
		slots[n++] = s;
	}
	if (n > 1 && n < LIMIT && rng_chance(&tw->rng, 50)) {
		at = rng_below(&tw->rng, n - 1);
		slots[n] = slots[n - 1];
		if (rng_chance(&tw->rng, 50)) {
			slots[n].gpa = TOP - slots[n].len_bytes;
			slots[n].id = slots[at].id;
			if (!overlaps(tw, slots[n].gpa, slots[n].len_bytes, LIMIT))
				REQUIRE(tw, tw->engine->fill(tw->map, slots, n + 1) == -EINVAL);
		} else {
			for (slots[n].id = 0; has(tw, slots[n].id);)
				slots[n].id++;
			slots[n].gpa = slots[at].gpa;
			REQUIRE(tw, tw->engine->fill(tw->map, slots, n + 1) == -EEXIST);
		}
	}
	REQUIRE(tw, tw->engine->fill(tw->map, slots, n) == 0);
}

static void edit_batch_flags(struct twin *tw)
{
	struct engine_slot slots[LIMIT];
	size_t n = 0;

	for (uint32_t id = 0; id < LIMIT; id++) {
		if (!has(tw, id) || rng_chance(&tw->rng, 50))
			continue;
		tw->slot[id].flags ^= (uint32_t)rng_below(&tw->rng, 2);
		slots[n++] = tw->slot[id];
	}
	REQUIRE(tw, tw->engine->batch_flags(tw->map, slots, n) == 0);
	if (n && n < LIMIT) {
		slots[n] = slots[0];
		slots[n].id = LIMIT;
		REQUIRE(tw, tw->engine->batch_flags(tw->map, slots, n + 1) == -EINVAL);
	}
}

static void edit_any(struct twin *tw)
{
	uint32_t id = (uint32_t)rng_below(&tw->rng, LIMIT + 1);

	/* Mostly one that is there. */
	for (int i = 0; i < 8 && !has(tw, id); i++)
		id = (uint32_t)rng_below(&tw->rng, LIMIT + 1);
	/* Growth and decline take turns. */
	const uint64_t kind = rng_below(&tw->rng, tw->edit / 700 % 2 ? 100 : 70);
	if (kind < 30)
		edit_insert(tw);
	else if (kind < 48)
		edit_move(tw, id);
	else if (kind < 60)
		edit_flags(tw, id);
	else if (kind == 60)
		edit_fill(tw);
	else if (kind == 61 && tw->engine->batch_flags)
		edit_batch_flags(tw);
	else
		edit_remove(tw, id);
}

static void random_edits(struct twin *tw, uint64_t edits)
{
	tw->map = tw->engine->create(LIMIT);
	REQUIRE(tw, tw->map);
	rng_init(&tw->rng, tw->seed);
	compare(tw);
	for (tw->edit = 1; tw->edit <= edits; tw->edit++) {
		edit_any(tw);
		compare(tw);
	}
	tw->engine->destroy(tw->map);
}

/* ---- A reader beside the writer ------------------------------------------------ */

/*
 * Slot `id` is in window 2 * id of WINDOW bytes, and nothing is ever in the odd windows. The
 * writer leaves ids 3n alone, changes the flags of 3n + 1, and moves and recreates 3n + 2.
 */
struct threads {
	struct twin *tw;
	_Atomic uint64_t lookups;
	atomic_bool stop;
};

static struct engine_slot window_slot(const struct twin *tw, uint32_t id)
{
	return (struct engine_slot){.id = id,
				    .gpa = 2 * (uint64_t)id * WINDOW,
				    .len_bytes = MAX_PAGES * ENGINE_PAGE,
				    .hva = tw->host + (uint64_t)id * MAX_PAGES * ENGINE_PAGE};
}

static void look(const struct twin *tw, struct rng *rng)
{
	const struct engine *e = tw->engine;
	const uint32_t any = (uint32_t)rng_below(rng, LIMIT), id = any % 3 == 2 ? any - 1 : any;
	const struct engine_slot s = window_slot(tw, id);
	const uint64_t gpa = s.gpa + rng_below(rng, s.len_bytes);
	const uint64_t hva = s.hva + rng_below(rng, s.len_bytes);
	const uint64_t hole = s.gpa + WINDOW + rng_below(rng, WINDOW);
	const uint64_t moving = window_slot(tw, LIMIT - 1).gpa;

	REQUIRE(tw, e->find(tw->map, &gpa, 1) && !e->find(tw->map, &hole, 1));
	(void)e->find(tw->map, &moving, 1);
	if (e->find_dependent)
		REQUIRE(tw, e->find_dependent(tw->map, &gpa, 1));
	if (e->find_section)
		REQUIRE(tw, e->find_section(tw->map, &gpa, 1));
	if (e->find_local) {
		REQUIRE(tw, e->find_local(tw->map, &gpa, 1) && e->find_local(tw->map, &gpa, 1));
		REQUIRE(tw, !e->find_local(tw->map, &hole, 1));
		(void)e->find_local(tw->map, &moving, 1);
	}
	if (e->find_hva)
		REQUIRE(tw, e->find_hva(tw->map, &hva, 1));
	if (e->find_id)
		REQUIRE(tw, e->find_id(tw->map, &id, 1));
	if (e->count_gpa)
		REQUIRE(tw, e->count_gpa(tw->map, s.gpa, s.len_bytes) == 1);
	if (e->count_hva)
		REQUIRE(tw, e->count_hva(tw->map, s.hva, s.len_bytes) == 1);
}

static void *reader(void *ctx)
{
	struct threads *t = ctx;
	struct rng rng;

	rng_init(&rng, t->tw->seed + 1);
	if (t->tw->engine->thread_begin)
		t->tw->engine->thread_begin();
	while (!atomic_load(&t->stop)) {
		look(t->tw, &rng);
		atomic_fetch_add(&t->lookups, 1);
	}
	if (t->tw->engine->thread_end)
		t->tw->engine->thread_end();
	return NULL;
}

static void write_one(struct twin *tw)
{
	const struct engine *e = tw->engine;
	const uint32_t third = 3 * (uint32_t)rng_below(&tw->rng, LIMIT / 3);
	const struct engine_slot s = window_slot(tw, third + 2);
	const uint64_t room = WINDOW / ENGINE_PAGE - MAX_PAGES;

	switch (rng_below(&tw->rng, 3)) {
	case 0:
		REQUIRE(tw, !e->set_flags(tw->map, third + 1, (uint32_t)rng_below(&tw->rng, 2)));
		break;
	case 1:
		REQUIRE(tw, !e->move(tw->map, s.id,
				     s.gpa + rng_below(&tw->rng, room + 1) * ENGINE_PAGE));
		break;
	default:
		REQUIRE(tw, !e->remove(tw->map, s.id));
		REQUIRE(tw, !e->insert(tw->map, &s));
	}
}

static void reader_beside_writer(struct twin *tw, uint64_t edits)
{
	struct threads t = {.tw = tw};
	struct engine_slot slots[LIMIT];
	pthread_t thread;

	tw->map = tw->engine->create(LIMIT);
	REQUIRE(tw, tw->map);
	for (uint32_t id = 0; id < LIMIT; id++)
		slots[id] = window_slot(tw, id);
	REQUIRE(tw, !tw->engine->fill(tw->map, slots, LIMIT));
	REQUIRE(tw, !pthread_create(&thread, NULL, reader, &t));
	for (tw->edit = 1; tw->edit <= edits || atomic_load(&t.lookups) < edits; tw->edit++)
		write_one(tw);
	atomic_store(&t.stop, true);
	REQUIRE(tw, !pthread_join(thread, NULL));
	tw->engine->destroy(tw->map);
}

int main(int argc, char **argv)
{
	const char *scale = getenv("MSLOT_TEST_SCALE");
	const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t edits = 100 * (scale ? strtoull(scale, NULL, 0) : 100);
	void *host = mmap(NULL, HOST_PAGES * ENGINE_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (host == MAP_FAILED) {
		perror("engine_twin: mmap");
		return 1;
	}
	if (argc > 2)
		edits = strtoull(argv[2], NULL, 0);
	if (edits < 100)
		edits = 100;
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		static struct twin tw;

		tw = (struct twin){
		    .engine = engines[i], .seed = seed, .host = (uint64_t)(uintptr_t)host};
		random_edits(&tw, edits);
		memset(tw.slot, 0, sizeof(tw.slot));
		reader_beside_writer(&tw, edits / 4);
		printf("engine_twin: %s: %" PRIu64 " edits, seed %" PRIu64 "\n", tw.engine->name,
		       edits, seed);
	}
	munmap(host, HOST_PAGES * ENGINE_PAGE);
	return 0;
}
