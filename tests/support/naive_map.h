/* SPDX-License-Identifier: MIT */
/*
 * naive_map.h - the guest memory map done the slow and obvious way.
 *
 * Purpose: a twin for the library's map, written from the public headers alone. A
 * map is an array of slots, rebuilt for every transaction; every question is a
 * linear search. Nothing here knows how the library works.
 *
 * Invariants: slots[] is sorted by (space, gpa) and free of overlap within a space.
 */
#ifndef MSLOT_TESTS_NAIVE_MAP_H
#define MSLOT_TESTS_NAIVE_MAP_H

#include <stdbool.h>

#include <mslot/txn.h>

struct naive_region {
	struct mslot_region *handle;
	uint64_t hva, len;
	bool usable; /* its creator has not put it: edits may name it */
	bool odd;    /* slots on it are refused: only spoilt edits name it */
};

#define NAIVE_NO_REGION (-1)

struct naive_slot {
	struct mslot_key key;
	uint64_t gpa, len;
	int region; /* index in naive_map.regions, or NAIVE_NO_REGION */
	uint64_t offset;
	uint32_t flags;
};

struct naive_map {
	struct mslot_map_options opt; /* all fields filled in */
	uint64_t generation;
	const struct naive_region *regions; /* borrowed */
	size_t nregions;
	struct naive_slot *slots;
	size_t n, cap;
};

/* What a commit must answer. */
struct naive_outcome {
	int error;
	uint32_t failed_edit;
	bool changed; /* the content of the map differs afterwards */
};

void naive_init(struct naive_map *map, const struct mslot_map_options *opt,
		const struct naive_region *regions, size_t nregions);
void naive_fini(struct naive_map *map);
/* Make `to`, which is initialised, a copy of `from`. */
void naive_copy(struct naive_map *to, const struct naive_map *from);
void naive_add(struct naive_map *map, const struct naive_slot *slot);
void naive_remove(struct naive_map *map, size_t i);
void naive_sort(struct naive_map *map);

uint64_t naive_hva(const struct naive_map *map, const struct naive_slot *slot);
/* The usable region with this handle, or NAIVE_NO_REGION. */
int naive_region_of(const struct naive_map *map, const struct mslot_region *handle);
const struct naive_slot *naive_find(const struct naive_map *map, uint32_t space, uint64_t gpa);
const struct naive_slot *naive_find_id(const struct naive_map *map, struct mslot_key key);
const struct naive_slot *naive_nearest(const struct naive_map *map, uint32_t space, uint64_t gpa,
				       enum mslot_nearest which);
/* Does any slot but those of `except` (may be NULL) touch [gpa, gpa + len) of the space? */
bool naive_overlaps(const struct naive_map *map, uint32_t space, uint64_t gpa, uint64_t len,
		    const struct naive_slot *except);
bool naive_slot_equal(const struct naive_slot *a, const struct naive_slot *b);
uint64_t naive_npages(const struct naive_map *map);
uint64_t naive_nslots(const struct naive_map *map, uint32_t space);
/* What mslot_translate() must answer. */
int naive_translate(const struct naive_map *map, const struct mslot_span *span, struct iovec *seg,
		    size_t nseg);

/*
 * What mslot_txn_commit() must answer by checks 4 to 8 of its comment, as if no memory were
 * leased, and in *next
 * (initialised) the map afterwards, which is a copy of `map` unless `changed`.
 */
struct naive_outcome naive_commit(const struct naive_map *map, const struct mslot_edit *edits,
				  size_t n, const struct mslot_commit_options *opt,
				  struct naive_map *next);

#endif /* MSLOT_TESTS_NAIVE_MAP_H */
