/* SPDX-License-Identifier: MIT */
/*
 * mmu_engines.h - what the cases of `mslot bench mmu` compare: the library's tables in their two
 * forms, and what a part of the work costs elsewhere. An engine holds its loops itself, as those of
 * engine.h do.
 *
 * A world is guest memory from address 0 on, shown by slots one behind the other; guest byte g is
 * host byte shape.host + g, whatever edits did to the slots. Addresses of a shadow root are
 * aliases: what is below MMU_ALIAS of them is the guest-physical address.
 *
 * create() returns NULL with a reason in `why` where the engine cannot do that here; functions
 * that return int give 0 or -errno unless they say more. Functions of parts that an engine has not
 * may be NULL. Host memory is touched by load(), store() and drop() only.
 */
#ifndef MSLOT_BENCH_MMU_ENGINES_H
#define MSLOT_BENCH_MMU_ENGINES_H

#include <stdbool.h>
#include <stddef.h>

#include <mslot/mmu.h>

#include "host.h"

#define MMU_PAGE UINT64_C(4096)
#define MMU_ALIAS (UINT64_C(1) << 40)
#define MMU_THREADS 2u

static inline uint64_t mmu_gpa(uint64_t addr)
{
	return addr & (MMU_ALIAS - 1);
}

/* What an engine takes part in, and the functions that this needs beside create() and destroy(). */
enum mmu_part {
	MMU_HITS,    /* load */
	MMU_FAULTS,  /* fault, zap, renew, lookup, fill */
	MMU_PAIRS,   /* fault, zap, lookup: by two threads */
	MMU_UNMAPS,  /* store, drop, reset, lookup */
	MMU_EDITS,   /* edit, fault, fill, lookup, stats */
	MMU_LOGGING, /* edit, fault, fill, stats, dirty */
	MMU_HARVESTS,
	MMU_FIGURES, /* fill, zap_all, lookup, stats */
	MMU_STALLS,  /* edit, fault, zap, fill, lookup, stats */
};

struct mmu_shape {
	char *host;           /* aligned to 1 GiB */
	uint64_t npages;      /* of all slots together */
	uint64_t nslots;      /* of npages / nslots pages each, the last one of the rest, too */
	uint64_t other_pages; /* of one more slot behind them; 0: there is none */
	uint32_t leaf_level;  /* the largest leaf that may be made */
	uint32_t nroots;      /* 1, or one for each thread */
	bool shadow;
};

static inline uint64_t mmu_first_page(const struct mmu_shape *s, uint64_t slot)
{
	return slot == s->nslots ? s->npages : slot * (s->npages / s->nslots);
}

struct mmu_addrs {
	const uint64_t *addr;
	size_t n;
	bool write;
};

enum mmu_edit {
	MMU_MERGE, /* all slots become one, */
	MMU_SPLIT, /* and that nslots again */
	MMU_LOG_ON,
	MMU_LOG_OFF,
	MMU_CONSUME, /* somebody harvests from now on */
	MMU_DELETE,  /* the first slot goes, */
	MMU_CREATE,  /* and comes back */
};

struct mmu_engine {
	const char *name;
	unsigned int parts; /* bit part: it takes part */
	bool tableless;     /* a floor: it only does to host memory what the others do */
	bool recreates;     /* a control: edits delete and create, so all pages fault again */
	bool splits;        /* large leaves become small ones where logging begins */
	void *(*create)(const struct mmu_shape *shape, char why[BENCH_REASON]);
	void (*destroy)(void *world);

	/* The sum of the words at n addresses, which are cached if the engine has a cache. */
	uint64_t (*load)(void *world, const uint64_t *addr, size_t n);

	/* Fault at each address, as a thread, in one section; *sum of the host addresses. */
	int (*fault)(void *world, unsigned int thread, const struct mmu_addrs *a, uint64_t *sum);
	/* The thread's root forgets these addresses. */
	int (*zap)(void *world, unsigned int thread, const struct mmu_addrs *a);
	/* Other roots, empty ones, for the same threads. */
	int (*renew)(void *world);
	/* Map a range of the thread's root; how many pages are mapped then, or -errno. */
	int64_t (*fill)(void *world, unsigned int thread, struct mslot_range range);
	/* All guest memory is forgotten, in all roots. */
	int (*zap_all)(void *world);
	/* What the thread's root has there: 1 and the host address, or 0. */
	int (*lookup)(void *world, unsigned int thread, uint64_t addr, uint64_t *hva);

	/* The guest writes a word to each page of a range, which it has not touched before. */
	int (*store)(void *world, struct mslot_range gpa, uint64_t val);
	/* The host takes memory away, `chunk_bytes` at a time. */
	int (*drop)(void *world, struct mslot_range gpa, uint64_t chunk_bytes);

	int (*edit)(void *world, enum mmu_edit edit);
	int (*stats)(void *world, struct mslot_mmu_stats *out);
	/* Pages that are dirty for whoever asks for the log of the first slot; none is afterwards.
	 */
	int64_t (*dirty)(void *world);
	/* A device writes to these pages. */
	int (*mark)(void *world, const struct mmu_addrs *a);
	/* Harvest and acknowledge: the time in ns, or -errno; *pages that were dirty. */
	int64_t (*harvest)(void *world, uint64_t *pages);
};

extern const struct mmu_engine *const mmu_engines[];
extern const size_t nmmu_engines;

extern const struct mmu_engine mmu_reverse, mmu_bitmaps, mmu_invalidate, mmu_recreated;
extern const struct mmu_engine mmu_splitting, mmu_apart, mmu_unmapped;
extern const struct mmu_engine mmu_plain, mmu_lookup, mmu_array, mmu_two_sets, mmu_memory;

#endif /* MSLOT_BENCH_MMU_ENGINES_H */
