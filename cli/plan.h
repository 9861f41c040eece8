/* SPDX-License-Identifier: MIT */
/*
 * plan.h - what a trace means: the net edit of each group and the RAM that it keeps.
 *
 * Computed with a plain list of slots, independently of the library, before anything
 * is replayed. RAM is every byte that a slot covers, read-only ones included.
 */
#ifndef MSLOT_CLI_PLAN_H
#define MSLOT_CLI_PLAN_H

#include <mslot/txn.h>

#include "trace.h"

struct plan_slot {
	uint32_t space;
	uint32_t id;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
};

/* Slots by rising (space, id). */
struct plan_state {
	struct plan_slot *slot;
	size_t nslots;
	size_t cap;
};

/* What a group does to one (space, id) in all. */
struct plan_edit {
	enum mslot_edit_kind kind; /* CREATE, DELETE or REDEFINE */
	struct plan_slot slot;     /* DELETE: the slot as it was */
	unsigned long line;        /* of the group's last request for it */
};

struct plan_group {
	size_t first_edit;
	size_t nedits;
	size_t nchanges; /* requests of the group that change something */
};

/* Guest addresses [start, end) of a space. */
struct plan_range {
	uint32_t space;
	uint64_t start;
	uint64_t end;
};

struct plan_ranges {
	struct plan_range *range;
	size_t nranges;
	size_t cap;
};

struct plan {
	const struct trace *trace;
	struct plan_group *group; /* one for each group of the trace */
	struct plan_edit *edit;
	size_t nedits;
	size_t npublished;         /* groups with a net edit */
	size_t nchanges;           /* requests that change something */
	size_t max_slots;          /* most slots between two groups */
	struct plan_state final;   /* slots after the last group */
	struct plan_ranges always; /* RAM in every state from the first group on */
	struct plan_ranges some;   /* RAM after some group; ranges may overlap */
};

/* Returns 0, or -1 with *fault where a request contradicts the slots that exist. */
int plan_build(struct plan *p, const struct trace *t, struct lines_fault *fault);
void plan_free(struct plan *p);

struct plan_probe {
	uint32_t space;
	uint64_t gpa;
};

/* A walk over the groups that says where readers must look. */
struct plan_walk {
	struct plan_state before;
	struct plan_state after;
	struct plan_probe *probe;
	size_t nprobes;
	size_t cap;
};

/*
 * Advance over group g (rising from 0): the probes are the first byte, the middle and
 * the last byte of each piece that is RAM before and after the group; a piece lies
 * between consecutive slot borders before or after the group.
 */
void plan_walk_next(struct plan_walk *w, const struct trace *t, size_t g);
void plan_walk_fini(struct plan_walk *w);

#endif /* MSLOT_CLI_PLAN_H */
