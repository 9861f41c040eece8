/* SPDX-License-Identifier: MIT */
/*
 * oracle_dirty.h - the dirty-log half of `mslot oracle`: requests that concern dirty logging,
 * what a kernel answered, and files of such pairs.
 *
 * A log begins with the line
 *   seq,op,slot,flags,x,y,z,bitmap,ret,errno,class
 * and goes on with one request a line, seq counting from 0; `struct dirty_request` says
 * what the fields mean to each op. slot, flags and errno are decimal, x, y and z 0 or
 * hexadecimal with 0x, the bitmap `-` for none or words in hexadecimal without 0x, lowest
 * pages first, separated by `.`, each with `*N` behind it where it comes N times.
 *
 * Bits get into the logs without a guest: KVM_DIRTY_LOG_INITIALLY_SET sets all of a slot's
 * when its log is switched on, and only clears, gets and slots that go take them away.
 */
#ifndef MSLOT_CLI_ORACLE_DIRTY_H
#define MSLOT_CLI_ORACLE_DIRTY_H

#include <linux/kvm.h>

#include "oracle.h"

#define DIRTY_WORDS 66u                               /* of a request's bitmap: the largest slot */
#define DIRTY_MAX_BYTES (DIRTY_WORDS * 64u * 0x1000u) /* a larger slot is not asked for */
#define DIRTY_BUFFER_WORDS (DIRTY_WORDS + 8u)         /* where bitmaps are written to */
#define DIRTY_UNTOUCHED UINT64_C(0xa5a55a5a3cc3c33c)  /* what the buffer holds before */

enum dirty_op {
	DIRTY_VM,     /* a new VM, without slots; asks nothing */
	DIRTY_REGION, /* KVM_SET_USER_MEMORY_REGION: x gpa, y size, z hva */
	DIRTY_CAP,    /* KVM_ENABLE_CAP: slot is the capability, x args[0], y args[1] */
	DIRTY_GET,    /* KVM_GET_DIRTY_LOG: bitmap is what was returned */
	DIRTY_CLEAR,  /* KVM_CLEAR_DIRTY_LOG: x first_page, y num_pages, bitmap the mask */
	DIRTY_OPS,
};

struct dirty_request {
	enum dirty_op op;
	uint32_t slot;
	uint32_t flags;
	uint64_t x, y, z;
	uint32_t nwords; /* of the bitmap that are known */
	uint64_t word[DIRTY_WORDS];
	int answer; /* of the kernel: 0 or -errno */
	char class[REQUEST_CLASS_BYTES];
};

struct dirty_log {
	struct dirty_request *request;
	size_t nrequests;
	size_t cap;
};

/* Does the file begin like such a log? */
bool dirty_log_here(const char *path);
/* Returns 0, or -1 with *fault filled in and *log empty. */
int dirty_log_read(struct dirty_log *log, const char *path, struct lines_fault *fault);
void dirty_log_free(struct dirty_log *log);
void dirty_log_header(FILE *to);
/* One line of a log; without a newline. */
void dirty_log_line(FILE *to, const struct dirty_request *r, uint64_t seq);

/* ---- The two that answer ------------------------------------------------------- */

/* A request as the kernel's structures, with memory for its bitmap. */
struct dirty_call {
	struct kvm_userspace_memory_region region;
	struct kvm_enable_cap cap;
	struct kvm_dirty_log get;
	struct kvm_clear_dirty_log clear;
	uint64_t buffer[DIRTY_BUFFER_WORDS];
};

void dirty_call_init(struct dirty_call *call, const struct dirty_request *r);
/* How many words of the buffer a get has written. */
uint32_t dirty_call_words(const struct dirty_call *call);

/* The library's side of a VM. */
struct dirty_engine;

/* NULL where the map cannot be created: that is reported. */
struct dirty_engine *dirty_engine_create(const struct mslot_map_options *opt);
/* The answer of the library to the request that `call` was made of. */
int dirty_engine_answer(struct dirty_engine *e, enum dirty_op op, struct dirty_call *call);
/* Returns an exit status. */
int dirty_engine_destroy(struct dirty_engine *e);

/* ---- Verdict --------------------------------------------------------------------- */

/*
 * Send request[i] to the library and compare errno and bitmap with the kernel's. The first
 * mismatch is described with the earlier requests to the same slot and the capabilities.
 */
void dirty_check(struct verdict *v, struct dirty_engine *e, const char *source,
		 const struct dirty_request *request, size_t i);

/* ---- Generator --------------------------------------------------------------------- */

#define DIRTY_SLOTS 10u /* ids that are used */

/* Random requests that mostly concern slots that exist; needs the answers to know them. */
struct dirty_generator {
	struct rng rng;
	struct kernel_limits limits;
	struct dirty_request live[DIRTY_SLOTS]; /* requests that made the slots that exist */
	bool exists[DIRTY_SLOTS];
	bool fresh; /* this VM has got no request yet */
	bool rings; /* this VM may get a ring, and never have a bitmap again */
};

void dirty_generator_init(struct dirty_generator *g, uint64_t seed,
			  const struct kernel_limits *limits);
/* A new VM: no slots; the sequence of random numbers goes on. */
void dirty_generator_reset(struct dirty_generator *g);
void dirty_generator_next(struct dirty_generator *g, struct dirty_request *r);
/* Learn from the kernel's answer to the request just made. */
void dirty_generator_note(struct dirty_generator *g, const struct dirty_request *r);

/* ---- Sources ------------------------------------------------------------------------ */

struct dirty_live {
	const char *ask;    /* a log whose requests are sent; NULL: random ones */
	const char *record; /* the log to write; NULL: none */
	uint64_t nrequests;
	uint64_t seed;
};

/* Each returns an exit status; differences are in *v. */
int oracle_dirty_log(struct verdict *v, const char *path, struct progress *progress);
int oracle_dirty_live(struct verdict *v, const struct dirty_live *o, struct progress *progress);

#endif /* MSLOT_CLI_ORACLE_DIRTY_H */
