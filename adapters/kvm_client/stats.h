/* SPDX-License-Identifier: MIT */
/*
 * stats.h - what is counted of VMs, where `mslot kvm` sees it.
 *
 * Without --stats nothing is counted that costs more than an addition.
 */
#ifndef ADAPTERS_KVM_CLIENT_STATS_H
#define ADAPTERS_KVM_CLIENT_STATS_H

#include "client.h"
#include "stats_format.h"

/* A record for a new VM: the command's, or memory of our own. Returns 0 or -ENOMEM. */
int stats_vm_begin(struct client_vm_stats **out);
void stats_vm_end(struct client_vm_stats *stats);
void stats_vcpu_made(struct client_vm_stats *stats);

/* Another number for each call, from 1 on, also in other processes that share the statistics. */
uint64_t stats_next_trace(void);

/* The figures of map and MMU, after a change. */
void stats_vm_memory(struct vm *vm);

/* A KVM_RUN that returned `ret`; vcpu->mutex held. */
void stats_ran(struct vcpu *vcpu, long ret);

#endif /* ADAPTERS_KVM_CLIENT_STATS_H */
