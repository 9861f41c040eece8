/* SPDX-License-Identifier: MIT */
/*
 * kvm_log.h - KVM's calls of the dirty log made of a fuzzer's bytes, and what they must answer.
 *
 * A bitmap ends, and begins, where the call may go: one that is to be refused gets no memory at
 * all behind its pointer.
 */
#ifndef MSLOT_FUZZ_KVM_LOG_H
#define MSLOT_FUZZ_KVM_LOG_H

#include <mslot/kvm.h>

#include "input.h"

/* The slot that a call names, as the caller knows it. */
struct log_slot {
	uint32_t number;
	bool logged;
	uint64_t npages;
};

struct log_call {
	bool clear; /* else get */
	struct kvm_dirty_log get;
	struct kvm_clear_dirty_log of;
	uint64_t *words; /* the mask of a clear that succeeds */
	void *memory;    /* what dirty_bitmap points into */
	int want;        /* 0 or what is to be answered */
};

/* A slot number: one of `known`, or anything. */
uint32_t log_choose_number(struct input *in, const uint32_t *known, size_t n);
/* The rest of a call, for the slot that it names. */
void log_choose(struct log_call *call, struct input *in, const struct mslot_map_options *opt,
		const struct log_slot *slot);
/* May be called again after a failure. */
int log_ask(const struct log_call *call, struct mslot_map *map);
/* The bitmap that a get returned, aligned. */
void log_copy(const struct log_call *call, const struct log_slot *slot, uint64_t *words);
void log_end(struct log_call *call);

/* A request to switch between ways of logging; rings have calls of their own. */
void log_choose_cap(struct input *in, struct kvm_enable_cap *cap);

#endif /* MSLOT_FUZZ_KVM_LOG_H */
