/* SPDX-License-Identifier: MIT */
/*
 * layout.h - sets of slots to measure with, and addresses to look up in them.
 *
 * A set depends on its layout, its number of slots and its seed alone (and on where real
 * memory was mapped for it), so that all engines of a run get the same.
 */
#ifndef MSLOT_BENCH_LAYOUT_H
#define MSLOT_BENCH_LAYOUT_H

#include "engines/engine.h"

#define BENCH_ADDRESSES 65536u /* of each trail: 512 KiB, more than an L1 cache */
#define BENCH_LOCAL_RUN 64u    /* addresses of TRAIL_LOCAL that stay in one slot */

enum bench_layout {
	/* Slots of 1 to 16 pages, gaps of 0 to 15 pages. */
	LAYOUT_RANDOM,
	/* Slots of 2 MiB back to back. */
	LAYOUT_CONTIGUOUS,
	/*
	 * Runs of 8 to 32 slots of one page with gaps of 0 to 3 pages, and runs of 8 to 32
	 * slots of 64 GiB, in turn. Distinct host places of that size fit below 2^47 only up to
	 * about 1000 slots: with 4096 they have 32 GiB, with 32764 4 GiB.
	 */
	LAYOUT_SKEWED,
	LAYOUT_COUNT
};

extern const char *const bench_layout_name[LAYOUT_COUNT];

/* The orders in which addresses are asked for. */
enum bench_trail {
	TRAIL_RANDOM,     /* random bytes of random slots */
	TRAIL_LOCAL,      /* the same, BENCH_LOCAL_RUN in one slot */
	TRAIL_SEQUENTIAL, /* rising, at most 16 in a slot, from the first slot again at the end */
	TRAIL_PAGES,      /* every page of every slot, rising, from the first again at the end */
	TRAIL_MISS,       /* random bytes of gaps, above all slots where there is no gap */
	TRAIL_HVA,        /* the host addresses of TRAIL_RANDOM */
	TRAIL_COUNT
};

#define BENCH_NO_SLOT UINT32_MAX

struct bench_addresses {
	uint64_t *addr;
	uint32_t *slot; /* index of the slot at addr, or BENCH_NO_SLOT */
};

/* Host ranges as a host's memory manager takes them away. */
struct bench_ranges {
	uint64_t *start;
	uint64_t *len_bytes;
	size_t n;
	uint64_t nslots; /* slots that overlap them, summed over all */
};

struct bench_set {
	enum bench_layout layout;
	size_t nslots;
	struct engine_slot *slot; /* by rising gpa */
	uint32_t *by_hva;         /* indexes by rising hva */
	uint64_t gpa_end;         /* first guest byte above all slots */
	uint64_t hva_start, hva_end;
	void *mapped; /* real memory for [hva_start, hva_end), or NULL */
	struct bench_addresses trail[TRAIL_COUNT];
	uint32_t *id;               /* those of TRAIL_RANDOM */
	struct bench_ranges unmap;  /* two pages, slot by slot in guest order */
	struct bench_ranges unmap2; /* 2 MiB, by rising host address */
};

struct bench_set_options {
	enum bench_layout layout;
	size_t nslots;
	uint64_t seed;
	bool real_memory; /* LAYOUT_RANDOM only */
};

/* 0, or -errno where no real memory can be mapped. */
int bench_set_init(struct bench_set *set, const struct bench_set_options *opt);
void bench_set_fini(struct bench_set *set);

/* Slots of a set that overlap the host range, found by itself without any engine. */
uint64_t bench_set_count_hva(const struct bench_set *set, uint64_t hva, uint64_t len_bytes);

/* Zeroed memory, or a message and exit: a benchmark has nothing better to do. */
void *bench_alloc(size_t n, size_t size);

#endif /* MSLOT_BENCH_LAYOUT_H */
