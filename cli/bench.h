/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what the parts of `mslot bench` share.
 *
 * Layout "random": slots of 1 to 16 pages with gaps of 0 to 15 pages, ids and host
 * addresses in random order. Addresses to look up are random bytes of random slots, in
 * arrays larger than an L1 cache, and each answer was compared with the list of slots
 * before it is timed; while it is timed the sum of the answers is compared.
 */
#ifndef MSLOT_CLI_BENCH_H
#define MSLOT_CLI_BENCH_H

#include <stdbool.h>

#include <mslot/txn.h>

#define BENCH_ADDRESSES 65536u

struct bench_fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_slot_def *def; /* the slots; def[i].key.id is the id */
	size_t nslots;
	/* Random addresses; entry k is in def[index[k]]. */
	uint64_t *gpa;
	uint64_t *hva;
	uint32_t *id;
	uint32_t *index;
	uint64_t *local; /* guest addresses that stay in a slot for a while */
	uint64_t sum;    /* of the slots' addresses over index[] */
	uint64_t local_sum;
};

/* A map with n slots; 0 or -1 with a message on stderr. */
int bench_fixture_init(struct bench_fixture *f, size_t nslots);
/* The same without slots in the map. */
int bench_fixture_init_empty(struct bench_fixture *f, size_t nslots);
/* All slots in one transaction. */
int bench_fixture_fill(struct bench_fixture *f);
/* Compare every answer about every address; 0 or -1 with a message. */
int bench_fixture_verify(struct bench_fixture *f);
void bench_fixture_fini(struct bench_fixture *f);

enum bench_unit { BENCH_NS_PER_OP, BENCH_MS, BENCH_BYTES };

struct bench_case {
	const char *name;
	const char *what;
	/* One repetition: the value in the unit, or below 0 with a message. */
	double (*run)(struct bench_fixture *f);
	enum bench_unit unit;
	int empty; /* the case begins with an empty map */
};

extern const struct bench_case bench_cases[];
extern const size_t bench_ncases;

/* Nanoseconds of a load whose address is the load before: the machine's floor. */
double bench_floor(void);

#endif /* MSLOT_CLI_BENCH_H */
