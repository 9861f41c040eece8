/* SPDX-License-Identifier: MIT */
/* oracle.h - what the parts of `mslot oracle` share. */
#ifndef MSLOT_CLI_ORACLE_H
#define MSLOT_CLI_ORACLE_H

#include <stdio.h>

#include <mslot/map.h>

#include "progress.h"
#include "request.h"
#include "bench/rng.h"

/* ---- Verdict: answers compared and counted ---------------------------------- */

struct verdict_class {
	char name[REQUEST_CLASS_BYTES];
	uint64_t requests;
	uint64_t accepted; /* by the kernel */
	uint64_t mismatches;
};

struct verdict {
	FILE *report; /* where mismatches are described */
	uint64_t requests;
	uint64_t mismatches;
	struct verdict_class *class;
	size_t nclasses;
	size_t cap;
};

/*
 * Send request[i] to the map and compare with the recorded answer. The first mismatch is
 * described with the earlier requests of the same slot or overlapping guest addresses.
 */
void verdict_check(struct verdict *v, struct mslot_map *map, const char *source,
		   const struct request *request, size_t i);
void verdict_fini(struct verdict *v);
/* Count one answer; returns true where the mismatch is one of those to be described. */
bool verdict_count(struct verdict *v, const char *class, bool accepted, bool equal);
/* Print to v->report where the mismatch that was counted last is the last described. */
void verdict_close_report(struct verdict *v);
/* `ok` or the name of an errno. */
const char *verdict_answer_name(int answer);

/* The answer of the library to a request. */
int verdict_answer(struct mslot_map *map, const struct request *r);

/* ---- Generator --------------------------------------------------------------- */

#define GENERATOR_SLOTS 48u /* ids that are used again and again */

/* The limits of the kernel that answers. */
struct kernel_limits {
	uint32_t user_slots;
	uint32_t nspaces;
	uint64_t gpa_limit;
	uint64_t hva_limit;
};

/* Random requests that mostly concern slots that exist; needs the answers to know them. */
struct generator {
	struct rng rng;
	struct kernel_limits limits;
	struct request live[GENERATOR_SLOTS + 2]; /* requests that made the slots that exist */
	size_t nlive;
};

void generator_init(struct generator *g, uint64_t seed, const struct kernel_limits *limits);
/* A new VM: no slots; the sequence of random numbers goes on. */
void generator_reset(struct generator *g);
void generator_next(struct generator *g, struct request *r);
/* Learn from the kernel's answer to the request just made. */
void generator_note(struct generator *g, const struct request *r);

/* ---- Sources ------------------------------------------------------------------ */

/* Each returns an exit status; differences are in *v. */
int oracle_log(struct verdict *v, const char *path, struct progress *progress);
int oracle_live(struct verdict *v, uint64_t nrequests, uint64_t seed, struct progress *progress);

/* Say that there is no kernel to ask, and why; err may be 0. Returns CLI_SKIPPED. */
int oracle_skip(const char *what, int err);
/* Open /dev/kvm, stay on CPU 0 and ask for the limits: CLI_OK, or the reason is printed. */
int oracle_open_kernel(int *kvm, struct kernel_limits *limits);

#endif /* MSLOT_CLI_ORACLE_H */
