/* SPDX-License-Identifier: MIT */
/*
 * oracle_generator.c - random memory-slot requests; see oracle.h.
 *
 * Classes and their weights follow the recorded logs. A size that a kernel would accept
 * never exceeds BIG_PAGES pages, because a kernel allocates metadata for every page.
 */
#include "oracle.h"

#include <string.h>

#define PAGE UINT64_C(4096)
#define GPA_PAGES 512u /* ordinary slots crowd in 2 MiB, so that they collide */
#define SIZE_PAGES 16u
#define BIG_PAGES 1024u
#define HVA_BASE UINT64_C(0x200000000000)
#define HVA_PAGES 1024u
#define REFUSED_PAGES (UINT64_C(1) << 31) /* as many or more are refused */

enum class {
	CREATE,
	DELETE,
	MOVE,
	FLAGS,
	REHVA,
	RESIZE,
	RO_TOGGLE,
	DELETE_ABSENT,
	MIS_GPA,
	MIS_SIZE,
	MIS_HVA,
	BAD_FLAG,
	SLOT_LIMIT,
	AS_ID,
	HVA_NULL,
	HVA_UNMAPPED,
	HVA_EDGE,
	HVA_NONCANON,
	HVA_KERNEL,
	GPA_WRAP,
	GPA_MAX,
	SIZE_HUGE,
	RANDOM64,
};

static const struct {
	const char *name;
	unsigned int weight;
} classes[] = {
    [CREATE] = {"create", 350},
    [DELETE] = {"delete", 150},
    [MOVE] = {"move", 98},
    [FLAGS] = {"flags", 80},
    [REHVA] = {"rehva", 41},
    [RESIZE] = {"resize", 41},
    [RO_TOGGLE] = {"ro-toggle", 29},
    [DELETE_ABSENT] = {"delete-absent", 13},
    [MIS_GPA] = {"mis-gpa", 14},
    [MIS_SIZE] = {"mis-size", 13},
    [MIS_HVA] = {"mis-hva", 13},
    [BAD_FLAG] = {"badflag", 13},
    [SLOT_LIMIT] = {"slot-limit", 13},
    [AS_ID] = {"as_id", 12},
    [HVA_NULL] = {"hva-null", 13},
    [HVA_UNMAPPED] = {"hva-unmapped", 13},
    [HVA_EDGE] = {"hva-edge", 13},
    [HVA_NONCANON] = {"hva-noncanon", 14},
    [HVA_KERNEL] = {"hva-kernel", 14},
    [GPA_WRAP] = {"gpa-wrap", 13},
    [GPA_MAX] = {"gpa-max", 13},
    [SIZE_HUGE] = {"size-huge", 13},
    [RANDOM64] = {"random64", 14},
};

static uint64_t below(struct generator *g, uint64_t n)
{
	return rng_below(&g->rng, n);
}

static enum class pick_class(struct generator *g) {
	unsigned int total = 0, at; size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) total += classes[i].weight;
	at = (unsigned int)below(g, total);
	for (i = 0; at >= classes[i].weight; i++) at -= classes[i].weight;
	return (enum class)i;
}

static uint64_t some_hva(struct generator *g)
{
	return HVA_BASE + below(g, HVA_PAGES) * PAGE;
}

/* An ordinary request for a slot that may exist or not. */
static void make_create(struct generator *g, struct request *r)
{
	r->slot = (uint32_t)below(g, GENERATOR_SLOTS);
	r->flags = below(g, 2) == 0 ? 0 : (uint32_t)below(g, 4);
	r->gpa = below(g, GPA_PAGES) * PAGE;
	r->size = (1 + below(g, SIZE_PAGES)) * PAGE;
	r->hva = some_hva(g);
	if (below(g, 50) == 0)
		r->size = (1 + below(g, BIG_PAGES)) * PAGE;
	if (below(g, 50) == 0)
		r->gpa = below(g, GPA_PAGES * UINT64_C(32)) * PAGE;
	if (g->limits.nspaces > 1 && below(g, 4) == 0)
		r->slot |= (uint32_t)below(g, g->limits.nspaces) << 16;
}

/* A slot that exists, exactly as it is; a create where there is none. */
static void make_same(struct generator *g, struct request *r)
{
	char class[REQUEST_CLASS_BYTES];

	if (g->nlive == 0)
		return;
	memcpy(class, r->class, sizeof(class));
	*r = g->live[below(g, g->nlive)];
	memcpy(r->class, class, sizeof(class));
}

/* Changes of a slot that exists. */
static void alter_existing(struct generator *g, enum class class, struct request *r)
{
	make_same(g, r);
	switch (class) {
	case DELETE:
		r->size = 0;
		if (below(g, 4) == 0)
			r->flags ^= 2;
		if (below(g, 4) == 0)
			r->hva = 0;
		if (below(g, 8) == 0)
			r->gpa += below(g, PAGE);
		if (below(g, 8) == 0)
			r->hva += below(g, PAGE);
		break;
	case MOVE:
		r->gpa = below(g, GPA_PAGES) * PAGE;
		if (below(g, 4) == 0)
			r->flags ^= 1;
		break;
	case FLAGS:
		r->flags ^= below(g, 8) == 0 ? 0 : 1;
		break;
	case REHVA:
		r->hva = some_hva(g);
		break;
	case RESIZE:
		r->size = (1 + below(g, SIZE_PAGES)) * PAGE;
		break;
	default:
		r->flags ^= 2 | (uint32_t)below(g, 2);
	}
}

static uint64_t edge_of_hva(struct generator *g)
{
	return g->limits.hva_limit - below(g, 24) * PAGE;
}

static uint64_t edge_of_gpa(struct generator *g)
{
	if (below(g, 4) == 0)
		return UINT64_C(1) << (41 + below(g, 23));
	return g->limits.gpa_limit + below(g, 32) * PAGE - 16 * PAGE;
}

static uint64_t huge_size(struct generator *g)
{
	if (below(g, 4) == 0)
		return -(1 + below(g, 4)) * PAGE;
	return (REFUSED_PAGES << below(g, 21)) * PAGE + below(g, 3) * PAGE;
}

static void make_random64(struct generator *g, struct request *r)
{
	const uint64_t mask = below(g, 3) == 0 ? UINT64_MAX : ~(PAGE - 1);

	r->gpa = rng_next(&g->rng) & mask;
	r->size = rng_next(&g->rng) & mask;
	r->hva = rng_next(&g->rng) & mask;
	if (mask == UINT64_MAX) {
		r->slot = (uint32_t)rng_next(&g->rng);
		r->flags = (uint32_t)rng_next(&g->rng);
	}
}

/* One field of an ordinary request goes wrong, or close to a limit. */
static void spoil(struct generator *g, enum class class, struct request *r)
{
	static const uint32_t around_limit[] = {UINT32_MAX, 0, 1, 3, 4, 7, 7236};
	const uint32_t user = g->limits.user_slots;

	switch (class) {
	case DELETE_ABSENT:
		r->slot = 2000 + (uint32_t)below(g, 100);
		r->size = 0;
		break;
	case MIS_GPA:
		r->gpa += 1 + below(g, PAGE - 1);
		break;
	case MIS_SIZE:
		r->size += 1 + below(g, PAGE - 1);
		break;
	case MIS_HVA:
		r->hva += 1 + below(g, PAGE - 1);
		break;
	case BAD_FLAG:
		r->flags = below(g, 2) == 0 ? 4u << below(g, 30)
					    : (uint32_t)rng_next(&g->rng) | 4u << below(g, 30);
		break;
	case SLOT_LIMIT:
		r->slot = below(g, 8) == 0 ? 65535 : (user + around_limit[below(g, 7)]) & 0xffff;
		break;
	case AS_ID:
		r->slot |= (g->limits.nspaces + (uint32_t)below(g, 4)) << 16;
		break;
	case HVA_NULL:
		r->hva = below(g, 4) * PAGE;
		break;
	case HVA_UNMAPPED:
		r->hva = UINT64_C(0x100000000000) + below(g, 1u << 20) * PAGE;
		break;
	case HVA_EDGE:
		r->hva = edge_of_hva(g);
		break;
	case HVA_NONCANON:
		r->hva = UINT64_C(1) << (47 + below(g, 16));
		break;
	case HVA_KERNEL:
		r->hva = UINT64_C(0xffff888000000000) + below(g, 1u << 20) * PAGE;
		break;
	case GPA_WRAP:
		r->gpa = -(1 + below(g, 20)) * PAGE;
		break;
	case GPA_MAX:
		r->gpa = edge_of_gpa(g);
		break;
	case SIZE_HUGE:
		r->size = huge_size(g);
		break;
	default:
		make_random64(g, r);
	}
}

void generator_init(struct generator *g, uint64_t seed, const struct kernel_limits *limits)
{
	*g = (struct generator){.rng = {seed}, .limits = *limits};
}

void generator_reset(struct generator *g)
{
	g->nlive = 0;
}

void generator_next(struct generator *g, struct request *r)
{
	const enum class class = pick_class(g);

	*r = (struct request){0};
	strcpy(r->class, classes[class].name);
	make_create(g, r);
	if (class >= DELETE && class <= RO_TOGGLE)
		alter_existing(g, class, r);
	else if (class != CREATE)
		spoil(g, class, r);
	/* What a kernel might accept and pay for becomes what it refuses. */
	if (r->size > BIG_PAGES * PAGE && r->size < REFUSED_PAGES * PAGE)
		r->size |= UINT64_C(1) << 63;
}

void generator_note(struct generator *g, const struct request *r)
{
	size_t i;

	if (r->answer != 0)
		return;
	for (i = 0; i < g->nlive && g->live[i].slot != r->slot; i++)
		;
	if (r->size == 0) {
		if (i < g->nlive)
			g->live[i] = g->live[--g->nlive];
	} else if (i < g->nlive) {
		g->live[i] = *r;
	} else if (g->nlive < sizeof(g->live) / sizeof(g->live[0])) {
		g->live[g->nlive++] = *r;
	}
}
