/* SPDX-License-Identifier: MIT */
/*
 * trace.h - the stream of slots of a VM, as `mslot replay` reads it.
 *
 * The first VM that has slots goes to the file that the command was told, the n-th one to that
 * name with ".n". Only requests that changed something are in it; a list of requests is one group.
 */
#ifndef ADAPTERS_KVM_CLIENT_TRACE_H
#define ADAPTERS_KVM_CLIENT_TRACE_H

#include "client.h"

/* NULL: no trace was asked for, or no memory. */
struct client_trace *trace_begin(void);
void trace_end(struct client_trace *trace);

/* Requests that took effect together; the first ones make the file. vm->slots_lock held. */
void trace_regions(struct client_trace *trace, const struct kvm_userspace_memory_region *regions,
		   uint32_t n);

#endif /* ADAPTERS_KVM_CLIENT_TRACE_H */
