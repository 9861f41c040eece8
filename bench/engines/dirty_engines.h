/* SPDX-License-Identifier: MIT */
/*
 * dirty_engines.h - what the cases of `mslot bench dirty` compare: leases, marks of writes, and
 * harvests, each of several engines. An engine holds its loops itself, as those of engine.h do.
 *
 * Create functions return NULL with a reason in `why` where the engine cannot do that here; the
 * others return -errno after an error. No engine may touch more of DIRTY_HOST_BYTES than it is
 * told to: that is address space.
 */
#ifndef MSLOT_BENCH_DIRTY_ENGINES_H
#define MSLOT_BENCH_DIRTY_ENGINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host.h"

#define DIRTY_PAGE UINT64_C(4096)

/* ---- Leases: host memory kept for I/O, one page of a slot ---- */

enum lease_kind { LEASE_READ, LEASE_WRITE, LEASE_WRITE_LOGGED, LEASE_KINDS };

struct lease_engine {
	const char *name;
	void *(*create)(enum lease_kind kind, char why[BENCH_REASON]);
	/* Take and put n times, by any thread; returns how often it showed the right memory. */
	uint64_t (*cycle)(void *world, size_t n);
	/* Leases that are not put. */
	uint64_t (*left)(void *world);
	void (*destroy)(void *world);
};

/* ---- Marks: writes to each page of a slot of MARK_PAGES pages ---- */

#define MARK_PAGES 512u

/* Where a store writes: at another place of each page, since equal ones share a set of the cache.
 */
static inline uint64_t mark_place(size_t page)
{
	return page * DIRTY_PAGE + page * 64 % DIRTY_PAGE;
}

enum mark_op { MARK_STORE, MARK_PAGE, MARK_WRITE, MARK_OPS }; /* 8 bytes, none, 4 KiB */

struct mark_engine {
	const char *name;
	unsigned int ops; /* bit op: it can do that */
	void *(*create)(enum mark_op op, bool logged, char why[BENCH_REASON]);
	/* Write to all pages, with bytes of `val`; 0 or -errno. */
	int (*pass)(void *world, unsigned char val);
	/* A byte of a page that the last pass wrote. */
	unsigned char (*byte)(void *world, size_t page);
	/* How many pages are dirty, or -errno; none is afterwards. */
	int64_t (*harvest)(void *world);
	void (*destroy)(void *world);
};

/* ---- Harvests: the dirty pages of one slot ---- */

enum harvest_kind {
	HARVEST_GET,   /* read and clear */
	HARVEST_KEEP,  /* read only */
	HARVEST_CLEAR, /* clear all, by a mask */
	HARVEST_BATCH, /* read and acknowledge, without a bitmap of the caller's */
	HARVEST_KINDS
};

struct harvest_shape {
	enum harvest_kind kind;
	uint64_t npages;        /* a multiple of 64 */
	uint64_t ndirty;        /* of them, */
	const uint64_t *bitmap; /* these */
	const uint64_t *clean;  /* and these not */
};

struct harvester {
	const char *name;
	unsigned int kinds; /* bit kind: it can do that */
	bool first_cpu;     /* measured on CPU 0, if the process may run there */
	bool floor;         /* says nothing of pages: the work of a machine on as many bytes */
	void *(*create)(const struct harvest_shape *shape, char why[BENCH_REASON]);
	/* Exactly the shape's pages become dirty, before the clock runs. */
	int (*soil)(void *world);
	/* Nanoseconds that it took, or -errno; what was read to `out`, but for HARVEST_CLEAR. */
	int64_t (*harvest)(void *world, uint64_t *out);
	/* What is dirty still. */
	int (*rest)(void *world, uint64_t *out);
	void (*destroy)(void *world);
};

extern const struct lease_engine *const lease_engines[];
extern const struct mark_engine *const mark_engines[];
extern const struct harvester *const harvesters[];
extern const size_t nlease_engines, nmark_engines, nharvesters;

extern const struct lease_engine lease_mslot, lease_refcount, lease_mutex;
extern const struct mark_engine mark_mslot, mark_bitmap, mark_fetch_or;
extern const struct harvester harvest_mslot, harvest_kernel, harvest_bitmap;
extern const struct harvester harvest_scan, harvest_copy;

#endif /* MSLOT_BENCH_DIRTY_ENGINES_H */
