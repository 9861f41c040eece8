/* SPDX-License-Identifier: MIT */
/*
 * logging.h - which slots are logged, and what becomes of their dirty bits in a commit.
 *
 * The layer above (src/dirty) says who wants to know (struct map_log); commits give each
 * new descriptor the view of its pages' bits (logging_give()), and collect what is taken
 * away (logging_collect()).
 */
#ifndef MSLOT_MAP_LOGGING_H
#define MSLOT_MAP_LOGGING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/txn.h>

#include "base/rcu.h"
#include "log/log.h"
#include "map/slot.h"

struct commit;

/* Frames that a consumer wants logged. */
struct log_range {
	uint32_t consumer; /* its set */
	uint32_t space;
	uint64_t first_gfn, end_gfn;
	bool fill; /* begins as dirty */
};

/* A map's part of dirty logging. */
struct map_log {
	/*
	 * Taken before the writer mutex, never inside it: a harvest waits for readers with it
	 * held, and a reader may be waiting for the writer mutex.
	 */
	pthread_mutex_t harvest_lock;
	uint64_t harvests; /* number of the last one; harvest lock */

	/* Writer mutex; consumers change it with the harvest lock held too. */
	struct log_range *ranges;
	size_t nranges;
	uint32_t consumers;            /* bit i: set i is taken */
	bool kvm_fill;                 /* KVM_DIRTY_LOG_INITIALLY_SET */
	_Atomic bool kvm_manual;       /* KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE */
	bool rings;                    /* vCPUs have rings */
	_Atomic bool ring_only;        /* and KVM's calls have no bitmap */
	_Atomic uint32_t ring_entries; /* of each ring; 0: none; stored under vcpus_lock too */
	bool ring_owed;                /* entries went with their vCPU; vcpus_lock */
	_Atomic uint64_t nfinals;      /* final harvests that exist */

	_Atomic uint64_t bytes; /* of all extents, those of older snapshots too */

	/*
	 * Generation of the last commit that began to log pages; 0 when no section and no hold is
	 * older than that and the write leases are noted.
	 */
	_Atomic uint64_t begun;
};

int logging_init(struct map_log *log);
void logging_fini(struct map_log *log);

/* ---- For commits; writer mutex held ---- */

/* Is a slot with these frames and flags to be logged, and for whom? sets == 0: it is not. */
struct log_wants logging_wants(const struct mslot_map *map, uint32_t space, uint64_t base_gfn,
			       uint64_t npages, uint32_t flags);

/* Views for all new descriptors. Returns 0 or -ENOMEM; views given so far are theirs. */
int logging_give(struct commit *c);

/* A range of pages that a commit takes away, and its bits. */
struct final_range {
	struct mslot_slot_info info; /* of the range; flags and class of the slot; own reference */
	struct log_view *view;
};

/* Implemented by commits, read by src/dirty. */
struct mslot_final {
	struct mslot_map *map;
	uint64_t generation; /* of the commit */
	_Atomic bool waited; /* nobody can write there any more */
	size_t nranges;
	struct final_range ranges[];
};

/* What the commit takes away of logged memory. Returns 0 or -ENOMEM. */
int logging_collect(struct commit *c, struct mslot_final **out);
/* Bytes of bitmaps for what the commit takes away of logged memory. */
uint64_t logging_taken_bytes(const struct commit *c);
/* Drop the views and region references. Writer mutex not needed. */
void logging_final_free(struct mslot_final *final);

/* ---- For waits and harvests ---- */

/*
 * Mark log pages of a slot dirty, after the data was stored. In a section of its own, because
 * the caller may be on a hold: a harvest must be able to wait for whoever has loaded what is live.
 */
static inline void logging_mark(const struct mslot_slot *slot, uint64_t first, uint64_t npages)
{
	rcu_enter();
	log_mark(slot->log, first, npages);
	rcu_leave();
}

/* Mark what of a checked span is logged. In the section or hold. */
void logging_mark_span(const struct mslot_snapshot *snap, const struct mslot_span *span);

/*
 * Mark the memory of every write lease that is active, through the slots of a snapshot that is
 * entered or held: the device may be writing. A harvest gives the one that it reports on, since
 * it is that one's pages of which an acknowledgement will clear bits.
 */
void logging_mark_write_leases(struct mslot_map *map, const struct mslot_snapshot *snap);

/*
 * The sections that were entered before commit `generation` have ended: if pages are
 * logged since then, note the write leases that are older than their log; again next time, as
 * long as there is a hold that is older.
 */
void logging_begun(struct mslot_map *map, uint64_t generation);

#endif /* MSLOT_MAP_LOGGING_H */
