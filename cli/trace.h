/* SPDX-License-Identifier: MIT */
/*
 * trace.h - a recorded stream of memory-slot requests.
 *
 * Lines that begin with '#' and empty lines are comments. Every other line is one request:
 *   time_s tx as_id slot flags gpa size hva kind [HOLE=bytes]
 * Requests of equal tx form a group: what the VMM asked for because of one change of its
 * own map. HOLE marks a request after which guest RAM that exists before and after the
 * group was missing.
 */
#ifndef MSLOT_CLI_TRACE_H
#define MSLOT_CLI_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "lines.h"

enum trace_kind {
	TRACE_ADD,   /* a new slot, or an existing one at another gpa */
	TRACE_DEL,   /* size is 0 */
	TRACE_FLAGS, /* an existing slot, only the flags differ */
};

struct trace_op {
	enum trace_kind kind;
	uint64_t time_ns; /* UINT64_MAX: later than that */
	uint32_t space;
	uint32_t id;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
	uint64_t hole; /* bytes; 0: none recorded */
	uint64_t tx;
	unsigned long line;
};

struct trace_group {
	size_t first;
	size_t nops;
};

struct trace {
	const char *path;
	char *name; /* the file's name without directory and ending */
	struct trace_op *op;
	size_t nops;
	struct trace_group *group;
	size_t ngroups;
	size_t nholes;    /* requests with HOLE */
	uint32_t nspaces; /* highest as_id + 1 */
	uint64_t hva_lo;  /* all slots lie in [hva_lo, hva_hi) */
	uint64_t hva_hi;
};

/* Returns 0, or -1 with *fault filled in and *t empty. `path` must outlive *t. */
int trace_read(struct trace *t, const char *path, struct lines_fault *fault);
void trace_free(struct trace *t);

/* Digits, or digits, a point and digits: seconds, as nanoseconds; UINT64_MAX where too many. */
bool trace_seconds(const char *text, uint64_t *ns);

#endif /* MSLOT_CLI_TRACE_H */
