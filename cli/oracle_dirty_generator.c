/* SPDX-License-Identifier: MIT */
/*
 * oracle_dirty_generator.c - random requests that concern dirty logs; see oracle_dirty.h.
 *
 * Each id has a range of guest addresses of its own: whether slots collide is what
 * oracle_generator.c asks. Most VMs set all bits of a new log, else there would be none.
 */
#include "oracle_dirty.h"

#include <string.h>

#define PAGE UINT64_C(4096)
#define RANGE (UINT64_C(1) << 26) /* of guest addresses, for each id */
#define HVA_BASE UINT64_C(0x200000000000)

enum class {
	CREATE,
	DELETE,
	MOVE,
	LOG_ON,
	LOG_OFF,
	SAME,
	MANUAL,
	MANUAL_ANY,
	CAP_OTHER,
	RING_BAD,
	RING,
	GET,
	GET_ID,
	GET_SPACE,
	CLEAR,
	CLEAR_END,
	CLEAR_ZERO,
	CLEAR_FIRST,
	CLEAR_ODD,
	CLEAR_BEYOND,
	CLEAR_HUGE,
	CLEAR_WRAP,
	CLEAR_ID,
	CLEAR_SPACE,
	CLEAR_MANY,
};

static const struct {
	const char *name;
	unsigned int weight;
} classes[] = {
    [CREATE] = {"create", 80},
    [DELETE] = {"delete", 30},
    [MOVE] = {"move", 50},
    [LOG_ON] = {"log-on", 60},
    [LOG_OFF] = {"log-off", 30},
    [SAME] = {"same", 15},
    [MANUAL] = {"manual", 25},
    [MANUAL_ANY] = {"manual-any", 25},
    [CAP_OTHER] = {"cap-other", 10},
    [RING_BAD] = {"ring-bad", 25},
    [RING] = {"ring", 5},
    [GET] = {"get", 250},
    [GET_ID] = {"get-id", 15},
    [GET_SPACE] = {"get-space", 15},
    [CLEAR] = {"clear", 150},
    [CLEAR_END] = {"clear-end", 80},
    [CLEAR_ZERO] = {"clear-zero", 20},
    [CLEAR_FIRST] = {"clear-first", 20},
    [CLEAR_ODD] = {"clear-odd", 25},
    [CLEAR_BEYOND] = {"clear-beyond", 25},
    [CLEAR_HUGE] = {"clear-huge", 15},
    [CLEAR_WRAP] = {"clear-wrap", 15},
    [CLEAR_ID] = {"clear-id", 10},
    [CLEAR_SPACE] = {"clear-space", 10},
    [CLEAR_MANY] = {"clear-many", 60},
};

static uint64_t below(struct dirty_generator *g, uint64_t n)
{
	return rng_below(&g->rng, n);
}

static enum class pick_class(struct dirty_generator *g) {
	unsigned int total = 0, at; size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) total += classes[i].weight;
	at = (unsigned int)below(g, total);
	for (i = 0; at >= classes[i].weight; i++) at -= classes[i].weight;
	return (enum class)i;
}

/* Sizes around the ends of words, and now and then of a page of bitmap. */
static uint64_t some_npages(struct dirty_generator *g)
{
	static const uint16_t edge[] = {1,   2,   63,  64,  65,  127,  128,  129,  191,
					192, 193, 255, 256, 257, 1023, 1025, 4095, 4097};

	if (below(g, 2) == 0)
		return 1 + below(g, 320);
	return edge[below(g, below(g, 8) == 0 ? 18 : 14)];
}

static uint32_t slot_of(const struct dirty_generator *g, size_t i)
{
	const uint32_t user = g->limits.user_slots;
	const uint32_t id[DIRTY_SLOTS] = {0, 1, 2, 7, 63, 64, 500, user / 2, user - 2, user - 1};

	/* Half of them in the last space, where there are several. */
	return id[i] | (i % 2 == 0 ? 0 : (g->limits.nspaces - 1) << 16);
}

static uint64_t some_gpa(struct dirty_generator *g, size_t i)
{
	return i * RANGE + below(g, 4096) * PAGE;
}

/* An id whose slot exists, where there is one; mostly one that logs, if `logs`. */
static size_t pick_existing(struct dirty_generator *g, bool logs)
{
	size_t i = below(g, DIRTY_SLOTS);

	for (size_t n = 0; n < 4 * DIRTY_SLOTS; n++, i = below(g, DIRTY_SLOTS)) {
		if (g->exists[i] && (!logs || g->live[i].flags & KVM_MEM_LOG_DIRTY_PAGES))
			break;
	}
	return i;
}

/* ---- Slots ----------------------------------------------------------------------- */

static void make_create(struct dirty_generator *g, struct dirty_request *r)
{
	size_t i = below(g, DIRTY_SLOTS);

	for (size_t n = 0; n < DIRTY_SLOTS && g->exists[i]; n++)
		i = (i + 1) % DIRTY_SLOTS;
	r->op = DIRTY_REGION;
	r->slot = slot_of(g, i);
	r->flags = below(g, 3) > 0 ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	if (below(g, 8) == 0)
		r->flags |= KVM_MEM_READONLY;
	r->x = some_gpa(g, i);
	r->y = some_npages(g) * PAGE;
	r->z = HVA_BASE + i * RANGE;
}

/* Changes of a slot that exists; a create where there is none. */
static void make_change(struct dirty_generator *g, enum class class, struct dirty_request *r)
{
	const size_t i = pick_existing(g, class == LOG_OFF);
	char name[REQUEST_CLASS_BYTES];

	make_create(g, r);
	if (!g->exists[i])
		return;
	memcpy(name, r->class, sizeof(name));
	*r = g->live[i];
	memcpy(r->class, name, sizeof(name));
	switch (class) {
	case DELETE:
		r->y = 0;
		break;
	case MOVE:
		r->x = some_gpa(g, i);
		if (below(g, 4) == 0)
			r->flags ^= KVM_MEM_LOG_DIRTY_PAGES;
		break;
	case LOG_ON:
		r->flags |= KVM_MEM_LOG_DIRTY_PAGES;
		break;
	case LOG_OFF:
		r->flags &= ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES;
		break;
	default:
		break;
	}
}

/* ---- Capabilities ------------------------------------------------------------------ */

static uint32_t ring_cap(struct dirty_generator *g)
{
	return below(g, 2) == 0 ? KVM_CAP_DIRTY_LOG_RING : KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
}

/*
 * Refused by every kernel. 4096 and 8192 bytes are not asked for: whether they hold the
 * entries that a kernel reserves depends on the processor.
 */
static void make_bad_ring(struct dirty_generator *g, struct dirty_request *r)
{
	r->slot = ring_cap(g);
	r->flags = below(g, 4) == 0 ? 1 : 0;
	switch (below(g, 4)) {
	case 0:
		r->x = UINT64_C(1) << below(g, 12);
		break;
	case 1:
		r->x = UINT64_C(1) << (21 + below(g, 30));
		break;
	case 2:
		r->x = (UINT64_C(1) << (14 + below(g, 7))) + 1 + below(g, 4096);
		break;
	default:
		r->x = below(g, 2) == 0 ? 0 : UINT64_C(0x300000000) | UINT64_C(1) << below(g, 12);
	}
}

static void make_cap(struct dirty_generator *g, enum class class, struct dirty_request *r)
{
	static const uint8_t good[] = {3, 3, 3, 3, 3, 1, 1, 0};

	r->op = DIRTY_CAP;
	r->slot = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
	switch (class) {
	case MANUAL:
		r->x = good[below(g, sizeof(good))];
		r->y = below(g, 8) == 0 ? rng_next(&g->rng) : 0;
		break;
	case MANUAL_ANY:
		r->x = below(g, 4);
		if (below(g, 2) == 0)
			r->flags = 1u << below(g, 32);
		if (below(g, 2) == 0)
			r->x |= UINT64_C(4) << below(g, 62);
		break;
	case CAP_OTHER:
		/* Obsolete, and of other architectures. */
		r->slot = below(g, 2) == 0 ? 166 : 225;
		r->x = below(g, 4);
		break;
	case RING_BAD:
		make_bad_ring(g, r);
		break;
	default:
		make_bad_ring(g, r);
		if (g->rings)
			r->x = UINT64_C(1) << (14 + below(g, 7)) | below(g, 2) << 32;
	}
}

/* ---- Logs ---------------------------------------------------------------------------- */

static uint32_t bad_id(struct dirty_generator *g)
{
	static const uint32_t around[] = {0, 1, 3, 4, 7, 7236};
	const uint32_t user = g->limits.user_slots;

	return below(g, 8) == 0 ? 65535 : (user + around[below(g, 6)]) & 0xffff;
}

static uint32_t bad_space(struct dirty_generator *g)
{
	return (g->limits.nspaces + (uint32_t)below(g, 0x10000 - g->limits.nspaces)) << 16;
}

static void make_get(struct dirty_generator *g, enum class class, struct dirty_request *r)
{
	r->op = DIRTY_GET;
	r->slot = slot_of(g, pick_existing(g, below(g, 8) > 0));
	if (class == GET_ID)
		r->slot = bad_id(g);
	if (class == GET_SPACE)
		r->slot = (r->slot & 0xffff) | bad_space(g);
}

static void fill_mask(struct dirty_generator *g, struct dirty_request *r)
{
	const uint64_t need = (r->y + 63) / 64;

	r->nwords = need < DIRTY_WORDS ? (uint32_t)need : 0;
	for (uint32_t i = 0; i < r->nwords; i++) {
		switch (below(g, 5)) {
		case 0:
			r->word[i] = 0;
			break;
		case 1:
			r->word[i] = UINT64_MAX;
			break;
		case 2:
			r->word[i] = UINT64_C(1) << below(g, 64);
			break;
		default:
			r->word[i] = rng_next(&g->rng) & rng_next(&g->rng);
		}
	}
}

/* One rule of a legal clear of `npages` pages goes wrong, or close to it. */
static void spoil_clear(struct dirty_generator *g, enum class class, uint64_t npages,
			struct dirty_request *r)
{
	switch (class) {
	case CLEAR_END:
		r->y = npages - r->x;
		break;
	case CLEAR_ZERO:
		r->x = below(g, npages / 64 + 3) * 64;
		r->y = 0;
		break;
	case CLEAR_FIRST:
		r->x += 1 + below(g, 63);
		break;
	case CLEAR_ODD:
		r->y = below(g, npages + 64);
		break;
	case CLEAR_BEYOND:
		r->x = below(g, npages / 64 + 4) * 64;
		r->y = below(g, 4) * 64 + npages % 64;
		break;
	case CLEAR_HUGE:
		r->x = below(g, 2) == 0 ? r->x : rng_next(&g->rng) & ~UINT64_C(63);
		r->y = below(g, 2) == 0 ? UINT32_MAX & ~UINT32_C(63) : (uint32_t)rng_next(&g->rng);
		break;
	case CLEAR_WRAP:
		/* first_page + num_pages is legal in 64 bits, or in 32. */
		r->x = below(g, 2) == 0 ? -(1 + below(g, 4)) * 64 : UINT64_C(1) << 32;
		r->y = below(g, 2) == 0 ? (-r->x + npages) & UINT32_MAX : r->y;
		break;
	case CLEAR_ID:
		r->slot = bad_id(g);
		break;
	case CLEAR_SPACE:
		r->slot = (r->slot & 0xffff) | bad_space(g);
		break;
	default:
		break;
	}
}

static void make_clear(struct dirty_generator *g, enum class class, struct dirty_request *r)
{
	const size_t i = pick_existing(g, below(g, 8) > 0);
	const uint64_t npages = g->exists[i] ? g->live[i].y / PAGE : 64;

	r->op = DIRTY_CLEAR;
	r->slot = slot_of(g, i);
	r->x = below(g, npages / 64 + 1) * 64;
	r->y = below(g, (npages - r->x) / 64 + 1) * 64;
	if (class == CLEAR && (r->y == 0 || below(g, 4) == 0))
		r->y = npages - r->x;
	spoil_clear(g, class, npages, r);
	if (class == CLEAR_MANY) {
		for (unsigned int n = 2 + (unsigned int)below(g, 3); n > 0; n--)
			spoil_clear(g, CLEAR_FIRST + (enum class)below(g, CLEAR_MANY - CLEAR_FIRST),
				    npages, r);
	}
	fill_mask(g, r);
}

/* ---- The whole ------------------------------------------------------------------------- */

void dirty_generator_init(struct dirty_generator *g, uint64_t seed,
			  const struct kernel_limits *limits)
{
	*g = (struct dirty_generator){.rng = {seed}, .limits = *limits};
}

void dirty_generator_reset(struct dirty_generator *g)
{
	memset(g->exists, 0, sizeof(g->exists));
	g->rings = below(g, 8) == 0;
	g->fresh = true;
}

void dirty_generator_next(struct dirty_generator *g, struct dirty_request *r)
{
	/* The mode first, mostly: a log that sets no bits tells little. */
	const enum class class = g->fresh && below(g, 8) > 0 ? MANUAL : pick_class(g);

	g->fresh = false;
	*r = (struct dirty_request){0};
	strcpy(r->class, classes[class].name);
	if (class == CREATE)
		make_create(g, r);
	else if (class <= SAME)
		make_change(g, class, r);
	else if (class <= RING)
		make_cap(g, class, r);
	else if (class <= GET_SPACE)
		make_get(g, class, r);
	else
		make_clear(g, class, r);
}

void dirty_generator_note(struct dirty_generator *g, const struct dirty_request *r)
{
	if (r->op != DIRTY_REGION || r->answer != 0)
		return;
	for (size_t i = 0; i < DIRTY_SLOTS; i++) {
		if (slot_of(g, i) != r->slot)
			continue;
		g->exists[i] = r->y > 0;
		g->live[i] = *r;
	}
}
