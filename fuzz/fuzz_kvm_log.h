/* SPDX-License-Identifier: MIT */
/* fuzz_kvm_log.h - a call of the dirty log, or a write, of fuzz_kvm.c. */
#ifndef MSLOT_FUZZ_FUZZ_KVM_LOG_H
#define MSLOT_FUZZ_FUZZ_KVM_LOG_H

#include "input.h"
#include "naive_dirty.h"

struct mslot_map;

/* The log of longer slots is left alone, and `dirty` has it that they have none. */
#define KVM_LOG_MAX_PAGES 70000u

/* `dirty` knows the slots of the map; `inside`: the thread is in a read section. */
void kvm_log_step(struct input *in, struct mslot_map *map, struct naive_dirty *dirty, bool inside);

#endif /* MSLOT_FUZZ_FUZZ_KVM_LOG_H */
