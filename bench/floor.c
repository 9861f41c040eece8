/* SPDX-License-Identifier: MIT */
/*
 * floor.c - what this machine needs for the least that any lookup does: a load whose address
 * is the load before, from the L1 and from the L2 cache, and a branch that was not predicted.
 */
#include "runner.h"

#include <stdlib.h>

#include "clock.h"

#define LOADS 4000000u
#define BRANCHES 1000000u
#define LINE 64u
#define L1_NODES 64u   /* 4 KiB */
#define L2_NODES 4096u /* 256 KiB: more than any L1 cache, within any L2 cache */

struct node {
	_Alignas(LINE) struct node *next;
};

/* One cycle through all nodes, in random order so that nothing is fetched ahead. */
static void link_nodes(struct node *node, size_t n)
{
	struct rng rng = {n};

	for (size_t i = 0; i < n; i++)
		node[i].next = &node[i];
	for (size_t i = n - 1; i > 0; i--) {
		const size_t k = rng_below(&rng, i);
		struct node *const next = node[i].next;

		node[i].next = node[k].next;
		node[k].next = next;
	}
}

static double chase(struct node *node, size_t n)
{
	struct node *at = node;
	uint64_t begin;

	link_nodes(node, n);
	for (size_t i = 0; i < n; i++)
		at = at->next;
	begin = clock_cpu_ns();
	for (size_t i = 0; i < LOADS; i++) {
		at = at->next;
		/* The compiler may not know the chain. */
		__asm__ volatile("" : "+r"(at));
	}
	return (double)(clock_cpu_ns() - begin) / LOADS;
}

static double l1_once(void)
{
	static struct node node[L1_NODES];

	return chase(node, L1_NODES);
}

static double l2_once(void)
{
	static struct node node[L2_NODES];

	return chase(node, L2_NODES);
}

#ifdef __x86_64__
/* Time of BRANCHES branches, each taken where its bit of `pattern` is set. */
static double branches(const uint8_t *pattern)
{
	const uint64_t begin = clock_cpu_ns();

	for (size_t i = 0; i < BRANCHES; i++) {
		/* In assembler, so that it stays a branch. */
		__asm__ goto("testb $1, %0\n\tjz %l1" : : "r"(pattern[i]) : "cc" : even);
		__asm__ volatile("");
	even:
		__asm__ volatile("");
	}
	return (double)(clock_cpu_ns() - begin);
}

/* Random branches against branches never taken; one in two of the random ones is missed. */
static double mispredict_once(void)
{
	uint8_t *const pattern = bench_alloc(BRANCHES, 1);
	struct rng rng = {BRANCHES};
	double always, random;

	branches(pattern);
	always = branches(pattern);
	for (size_t i = 0; i < BRANCHES; i++)
		pattern[i] = (uint8_t)(rng_next(&rng) >> 63);
	random = branches(pattern);
	free(pattern);
	return random > always ? (random - always) / (BRANCHES / 2.0) : 0;
}
#endif

static const struct {
	const char *name;
	const char *what;
	double (*once)(void);
} floors[] = {
    {"floor", "one dependent load from the L1 cache", l1_once},
    {"floor-l2", "one dependent load from the L2 cache", l2_once},
#ifdef __x86_64__
    {"floor-mispredict", "one mispredicted branch", mispredict_once},
#endif
};

const size_t bench_nfloors = sizeof(floors) / sizeof(floors[0]);

void bench_floor(size_t which, struct bench_row *row, unsigned int repetitions)
{
	double *const value = bench_alloc(repetitions, sizeof(*value));

	floors[which].once();
	for (unsigned int i = 0; i < repetitions; i++)
		value[i] = floors[which].once();
	*row = (struct bench_row){
	    .name = floors[which].name,
	    .what = floors[which].what,
	    .engine = "machine",
	    .layout = "none",
	    .unit = "ns/op",
	};
	bench_summarize(row, value, repetitions);
	free(value);
}
