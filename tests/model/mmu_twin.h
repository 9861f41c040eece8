/* SPDX-License-Identifier: MIT */
/*
 * mmu_twin.h - a map with an MMU, its naive twin, and the steps that both take.
 *
 *   mmu_world.c    modes, the map with its regions and first slots, roots, the end
 *   mmu_observe.c  what each root has, compared with the twin; counters; the checker
 *   mmu_faults.c   faults and prefaults
 *   mmu_vcpus.c    vCPUs, and what their guests' tables say
 *   mmu_zaps.c     zaps and write protection by guest addresses, the budget
 *   mmu_hva.c      zaps, invalidations and age by host addresses
 *   mmu_gen.c      edits of slots that large leaves fit
 *   mmu_edits.c    commits, and consumers of dirty pages
 *   mmu_cases.c    sequences of a few steps that went wrong once, or might
 *
 * All choices are drawn from one source: a generator (test_mmu_twin.c) or the bytes of a
 * fuzzer (fuzz/fuzz_mmu.c). Every function that returns bool prints what is wrong before it
 * returns false.
 *
 * Invariant: between steps the runs of each root are what mslot_root_lookup() found last,
 * each of them one leaf, and certain.
 */
#ifndef MSLOT_TESTS_MMU_TWIN_H
#define MSLOT_TESTS_MMU_TWIN_H

#include "naive_mmu.h"

#define MMU_REGIONS 4u
#define MMU_ROOTS 5u
#define MMU_VCPUS 2u
#define MMU_SEGMENTS 6u
#define MMU_RANGES 3u
#define MMU_FINE 64u
#define MMU_LOG_LINES 48u
/* Runs beyond which everything is zapped, so that steps stay cheap. */
#define MMU_MANY_RUNS 6000u

/* More than roots will have. */
#define MMU_MANY_TABLES 100000u

struct mmu_mode {
	const char *name;
	enum mslot_mmu_form form;
	uint32_t page_shift, nspaces;
	uint32_t nslots;       /* to begin with */
	uint32_t target;       /* that edits tend to */
	uint64_t unit_pages;   /* that slots have a few of */
	uint64_t window_pages; /* for each space */
	uint64_t region_pages;
	uint64_t base_gfn;
	uint32_t max_leaf_level;
	bool dirty;          /* with consumers; takes a struct for each page */
	uint32_t weight;     /* how often it is chosen */
	uint32_t most_steps; /* 0: no fewer than for others */
};

/* What a shadow root's guest has in its tables: contiguous addresses show contiguous frames. */
struct mmu_segment {
	uint64_t page, npages, gfn;
	uint32_t level;
	bool readonly;
};

struct mmu_world;

struct mmu_root {
	struct mslot_root *handle; /* NULL: there is none */
	const struct mmu_world *world;
	enum mslot_root_kind kind;
	uint32_t space, levels;
	bool stale; /* everything was zapped, and no fault has begun anew */
	struct nmmu_runs runs, was;
	uint64_t fine[MMU_FINE]; /* first pages of units of 1 GiB that had a single page */
	size_t nfine;            /* MMU_FINE + 1: too many to know */
	struct mmu_segment seg[MMU_SEGMENTS];
};

struct mmu_tally {
	uint64_t faults, refused[6], levels[NMMU_LEVELS + 1], prefaults, commits, quiet, zaps;
	uint64_t zapped, protects, ages, invalidations, harvests, splits, collapses, evicted;
	uint64_t checked, worlds, lookups, hits;
};
extern struct mmu_tally mmu_tally;

struct mmu_world {
	const struct mmu_mode *mode;
	uint64_t (*draw)(void *ctx, uint64_t n); /* 0 .. n-1 */
	void *ctx;
	struct rng rng; /* for transactions */
	struct mslot_map *map;
	struct mslot_mmu *mmu;
	struct naive_map naive, next;
	struct naive_region regions[MMU_REGIONS];
	struct twin_shape shape;
	struct twin_txn txn;
	struct twin_bits bits;
	struct mslot_dirty *dirty[TWIN_CONSUMERS]; /* [0] stays NULL */
	struct mslot_dirty_batch *batch[TWIN_CONSUMERS];
	struct nmmu_view view;
	struct mmu_root roots[MMU_ROOTS];
	struct mslot_vcpu *vcpus[MMU_VCPUS];
	int vcpu_root[MMU_VCPUS]; /* -1: none */
	int inside;               /* vCPU, or -1 */
	unsigned int steps_inside;
	struct mslot_range ranges[MMU_RANGES]; /* host invalidations under way; length 0: none */
	uint64_t hull_start, hull_end;         /* of all since there was none */
	uint64_t limit;                        /* as mslot_mmu_limit_set() was told */
	struct mslot_mmu_stats stats;          /* as they were last */
	unsigned int shift;
	/*
	 * Around calls that allocate: memory may run out from the first on; the second tells
	 * whether it did. May be NULL.
	 */
	void (*scarce_begin)(void *ctx);
	bool (*scarce_end)(void *ctx);
	char log[MMU_LOG_LINES][160];
	uint64_t nlog;
};

/* ---- Choices -------------------------------------------------------------- */

static inline uint64_t mmu_below(struct mmu_world *w, uint64_t n)
{
	return w->draw(w->ctx, n);
}

static inline bool mmu_chance(struct mmu_world *w, unsigned int percent)
{
	return w->draw(w->ctx, 100) < percent;
}

static inline void mmu_scarce_begin(struct mmu_world *w)
{
	if (w->scarce_begin)
		w->scarce_begin(w->ctx);
}

static inline bool mmu_scarce_end(struct mmu_world *w)
{
	return w->scarce_end && w->scarce_end(w->ctx);
}

/* Remember a line for when something goes wrong. Returns true. */
bool mmu_log(struct mmu_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mmu_print_log(const struct mmu_world *w);

/* ---- Worlds --------------------------------------------------------------- */

extern const struct mmu_mode mmu_modes[];
extern const size_t mmu_nmodes;

/* draw, ctx and mode are the caller's; everything else is made. */
bool mmu_world_begin(struct mmu_world *w);
bool mmu_world_end(struct mmu_world *w);
bool mmu_step(struct mmu_world *w);
bool mmu_root_step(struct mmu_world *w);
uint64_t mmu_addr(const struct mmu_world *w, const struct mmu_root *root, uint64_t page);
/* A frame where something is, or nearly: borders of slots and of large units are likely. */
uint64_t mmu_some_gfn(struct mmu_world *w, uint32_t space);
/* A root that exists, or NULL. */
struct mmu_root *mmu_some_root(struct mmu_world *w);

/* ---- Observing ------------------------------------------------------------ */

/* Compare everything; afterwards the runs are what was found. */
bool mmu_observe(struct mmu_world *w);
/* There may be a table of single pages around a page. */
void mmu_note_fine(struct mmu_root *root, uint64_t page);
/* Leaves of all roots are counted exactly: none is in a table that is on its way out. */
bool mmu_exact(struct mmu_world *w);
/* `got` leaves were counted, where the roots had `want`. */
bool mmu_counted(struct mmu_world *w, const char *what, int64_t got, uint64_t want);

/* ---- Faults (mmu_faults.c), vCPUs (mmu_vcpus.c) ------------------------------ */

bool mmu_fault_step(struct mmu_world *w);
bool mmu_prefault_step(struct mmu_world *w);
/* What was asked for, and what was answered; the twin follows. */
bool mmu_faulted(struct mmu_world *w, struct mmu_root *root, const struct mslot_fault *fault,
		 int err, const struct mslot_translation *out);
/* What the guest's tables say of a page; false: nothing. */
bool mmu_walk(const struct mmu_root *root, uint64_t page, struct mslot_walk *out);
void mmu_choose_segments(struct mmu_world *w, struct mmu_root *root);
bool mmu_guest_step(struct mmu_world *w);
bool mmu_vcpu_step(struct mmu_world *w);
/* To flush: pending may also mean that the reclaimer waits for dead tables, at any moment. */
bool mmu_asked(const struct mslot_vcpu *vcpu);
bool mmu_check_cache(struct mmu_world *w);
bool mmu_enter(struct mmu_world *w);
void mmu_leave(struct mmu_world *w);
/* An invalidation certainly, or perhaps, keeps a host page off. */
bool mmu_invalid(const struct mmu_world *w, uint64_t hva, uint64_t len, bool certainly);

/* ---- Zaps and the like (mmu_zaps.c, mmu_hva.c) -------------------------------- */

bool mmu_zap_page_step(struct mmu_world *w);
bool mmu_zap_gfn_step(struct mmu_world *w);
bool mmu_zap_hva_step(struct mmu_world *w);
bool mmu_zap_all_step(struct mmu_world *w);
bool mmu_protect_step(struct mmu_world *w);
bool mmu_age_step(struct mmu_world *w);
bool mmu_invalidate_step(struct mmu_world *w);
bool mmu_limit_step(struct mmu_world *w);

/* ---- Edits (mmu_edits.c) ---------------------------------------------------- */

bool mmu_edit_step(struct mmu_world *w);
/* An edit of large slots into w->txn (mmu_gen.c). */
void mmu_gen_edit(struct mmu_world *w);
/* The transaction in w->txn. */
bool mmu_commit(struct mmu_world *w);
bool mmu_dirty_step(struct mmu_world *w);
/* Everything that consumers have, ended. */
bool mmu_dirty_end(struct mmu_world *w);

/* ---- Cases (mmu_cases.c) ---------------------------------------------------- */

bool mmu_cases(void);

#endif /* MSLOT_TESTS_MMU_TWIN_H */
