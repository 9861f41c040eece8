/* SPDX-License-Identifier: MIT */
/*
 * request.h - one KVM_SET_USER_MEMORY_REGION request, what a kernel answered, and files
 * of such pairs.
 *
 * A log begins with the line
 *   seq,slot,flags,gpa,size,hva,ret,errno,class
 * and goes on with one request a line, seq counting from 0: slot, flags and errno decimal,
 * gpa, size and hva 0 or hexadecimal with 0x, ret 0 or -1, class a word that says what the
 * generator meant.
 */
#ifndef MSLOT_CLI_REQUEST_H
#define MSLOT_CLI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lines.h"

#define REQUEST_CLASS_BYTES 48u

struct request {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
	int answer; /* of the kernel: 0 or -errno */
	char class[REQUEST_CLASS_BYTES];
};

struct request_log {
	struct request *request;
	size_t nrequests;
};

/* Returns 0, or -1 with *fault filled in and *log empty. */
int request_log_read(struct request_log *log, const char *path, struct lines_fault *fault);
void request_log_free(struct request_log *log);

/* Fields of this log and of oracle_dirty.h's: false where one is malformed. */
bool request_u32(const char *text, uint32_t *out);
bool request_address(const char *text, uint64_t *out);
/* ret and errno together: 0,0 or -1,errno. */
bool request_answer(const char *ret, const char *err, int *answer);
bool request_class(const char *text, char *out);

#endif /* MSLOT_CLI_REQUEST_H */
