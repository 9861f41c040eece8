/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - what the parts of `mslot migrate-demo` share.
 *
 * A guest moves from one process to another while its threads write and its memory map
 * changes. The source has a map, the memory that its slots show, writers (vCPUs and a device),
 * a thread that commits transactions, and the thread of migrate_source(), which harvests
 * dirty pages and sends them. The destination (migrate_destination()) knows nothing but what
 * it is told over a socket (migrate_wire.h).
 *
 *   M1 A page is named by the memory that it lies in and its offset there, never by its
 *      guest address: slots may be split, merged and moved while it is on its way.
 *   M2 Nobody but the transaction thread changes the map, and nobody but the thread of
 *      migrate_source() uses the socket.
 *   M3 What is compared at the end is memory, page by page, never what was tracked.
 */
#ifndef MSLOT_CLI_MIGRATE_H
#define MSLOT_CLI_MIGRATE_H

#include <mslot/mslot.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "progress.h"

#define MIGRATE_VERB "migrate-demo"
#define MIGRATE_PAGE UINT64_C(4096)
#define MIGRATE_NSPACES 2u
#define MIGRATE_MAX_IDS 1024u /* slots of a space */
#define MIGRATE_MAX_ROUNDS 60u
#define MIGRATE_MAX_WRITERS 64u

enum migrate_break {
	MIGRATE_SOUND,
	MIGRATE_BREAK_MARK,  /* a write through host addresses in mark_every is not marked */
	MIGRATE_BREAK_FLUSH, /* the last batch before the stop is acknowledged, not sent */
};

struct migrate_options {
	uint64_t size_bytes;
	unsigned int nwriters;
	uint64_t ntransactions;
	unsigned int nrounds;
	uint64_t seed;
	enum migrate_break broken;
	const char *break_text; /* as given */
	uint64_t mark_every;
	bool json;
	bool quiet;
	const char *svg;
};

/* A round of copying; the one behind the last round is made while the guest stands. */
struct migrate_round {
	uint64_t dirty_pages;  /* reported by its harvest */
	uint64_t sent_pages;   /* of these */
	uint64_t ns;           /* from the harvest until the next one may begin */
	uint64_t send_ns;      /* of these, from the first page to the last */
	double dirty_per_s;    /* reported pages over the time since the harvest before */
	uint64_t transactions; /* since the beginning */
};

enum change_kind { CHANGE_SPLIT, CHANGE_MERGE, CHANGE_MOVE, CHANGE_PLUG, CHANGE_UNPLUG, NCHANGES };

enum write_kind {
	WRITE_COPY,   /* mslot_write() */
	WRITE_HOST,   /* host addresses between mslot_write_begin() and mslot_write_end() */
	WRITE_ATOMIC, /* mslot_store(), mslot_cmpxchg() */
	WRITE_LEASE,  /* a device, some time later, through a write lease */
	NWRITES
};

struct migrate_result {
	struct migrate_round round[MIGRATE_MAX_ROUNDS + 1];
	size_t nrounds; /* filled in so far, the stop included */
	uint64_t downtime_ns;
	uint64_t pages_sent;
	uint64_t pages_compared;
	uint64_t lost_pages;
	bool digest_equal;
	uint64_t marks_dropped; /* on purpose */
	uint64_t pages_kept;    /* not sent, on purpose */
	uint64_t nchanges[NCHANGES];
	uint64_t nwrites[NWRITES];
};

/* ---- Memory of the source ------------------------------------------------------- */

struct source;

/* Host memory that slots of the source show, all of it or pieces. */
struct memory {
	uint32_t id; /* never used again */
	uint32_t space;
	uint64_t home; /* guest address of its first byte unless moved */
	uint64_t len_bytes;
	uint8_t *host;
	struct source *source;
	bool told;             /* the destination knows it */
	unsigned int released; /* calls of the release callback: 1 in the end */
	struct memory *next_gone;
};

/* ---- Pace of transactions --------------------------------------------------------- */

/* The transaction thread works while done < allowed; the copying thread raises that. */
struct pace {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* either number, or stop */
	uint64_t allowed;
	uint64_t done;
	bool stop;
};

/* ---- The source -------------------------------------------------------------------- */

struct guest;
struct changer;

struct source {
	const struct migrate_options *o;
	struct migrate_result *result;
	struct progress *progress;
	int fd; /* socket to the destination */
	struct mslot_map *map;
	struct mslot_dirty *dirty;
	struct guest *guest;
	struct changer *changer;
	struct pace pace;
	_Atomic uint32_t id_limit[MIGRATE_NSPACES]; /* above all ids of a space; never falls */
	/* The lock covers all below; `failed` may be read without it. */
	pthread_mutex_t lock;
	struct memory **memory; /* all there ever was, by id */
	size_t nmemory;
	size_t cap;
	struct memory *gone; /* released, the destination does not know yet */
	atomic_bool failed;
	char why[160];
};

/* Remember what went wrong, if it is the first; any thread. Returns -1. */
int source_fail(struct source *s, const char *what, int err);

/*
 * New memory full of noise, and a region of it that the caller puts; NULL on failure. It
 * is unmapped when the map lets go of the region.
 */
struct memory *memory_create(struct source *s, uint64_t len_bytes, struct mslot_region **region);
/* The memory behind a region. */
struct memory *memory_of(const struct mslot_region *region);
/* Take one that was released and that the destination was told about; NULL: none. */
struct memory *memory_take_gone(struct source *s);
/* When the map is gone: was each released once? Frees the list. Returns 0 or -1. */
int memory_fini(struct source *s);

/* Copy a page that others may be writing. */
void memory_copy_page(void *to, const uint8_t *from);
/* Store words that others may be reading. */
void memory_store(uint8_t *to, uint64_t len_bytes, uint64_t val);

/* The guest's threads; each returns 0 or -1. */
int guest_start(struct source *s);
/* Writes that the slowest writer has made. */
uint64_t guest_progress(const struct guest *g);
/* Writers stop, then the device completes everything that it still has. */
int guest_stop(struct source *s);

/* The transaction thread; each returns 0 or -1. */
int changer_start(struct source *s);
int changer_stop(struct source *s);

/* Let the transaction thread get this far. */
void pace_allow(struct pace *p, uint64_t allowed);
/* Wait for it to get there; 0, or -1 when something has failed. */
int pace_wait(struct source *s);

/* ---- The whole ---------------------------------------------------------------------- */

/* Run the source on one end of the socket. Returns 0, or -1 with a message printed. */
int migrate_source(const struct migrate_options *o, int fd, struct progress *progress,
		   struct migrate_result *result);
/* Run the destination on the other end, to its end; returns the exit status. */
int migrate_destination(int fd);

/* ---- Comparison --------------------------------------------------------------------- */

/* A page of a map and what it holds. */
struct page_digest {
	uint64_t gpa;
	uint64_t digest;
	uint64_t space;
};

struct map_digest {
	struct page_digest *page; /* by rising (space, gpa) */
	size_t npages;
	uint64_t whole; /* over all of them and over the slots */
};

/* Nobody may write meanwhile. */
void digest_map(struct mslot_map *map, struct map_digest *out);
/* Pages that differ or that only one side has. */
uint64_t digest_compare(const struct map_digest *a, const struct map_digest *b);

/* ---- Drawing -------------------------------------------------------------------------- */

/* Draw the rounds to a file. Returns 0, or -1 with a message printed. */
int migrate_draw(const struct migrate_options *o, const struct migrate_result *result);

#endif /* MSLOT_CLI_MIGRATE_H */
