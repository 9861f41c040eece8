/* SPDX-License-Identifier: MIT */
/*
 * stats_format.h - the memory that `mslot kvm` shares with the programs that it runs.
 *
 * A head, then a record a VM, in a memfd of the command's. Programs count there while they
 * run, so that the figures are right however they end: exit(), _exit(), a signal. Children of a
 * fork have the same memory, and VMs of their own.
 */
#ifndef ADAPTERS_KVM_CLIENT_STATS_FORMAT_H
#define ADAPTERS_KVM_CLIENT_STATS_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

/* Names of environment variables: "/proc/PID/fd/N" of the memfd, and where a trace goes. */
#define CLIENT_ENV_STATS "MSLOT_KVM_STATS"
#define CLIENT_ENV_TRACE "MSLOT_KVM_TRACE"

#define CLIENT_STATS_MAGIC UINT64_C(0x316d766b746f6c73)
#define CLIENT_STATS_VMS 4096u
#define CLIENT_STATS_EXITS 64u

/* Counters; each is right by itself. */
struct client_vm_stats {
	_Atomic uint64_t number; /* from 1 on; 0: no VM */
	_Atomic uint64_t pid;
	_Atomic uint64_t vcpus;
	_Atomic uint64_t exit[CLIENT_STATS_EXITS]; /* by KVM_EXIT_... */
	_Atomic uint64_t interrupted;              /* KVM_RUN: EINTR */
	_Atomic uint64_t host_faults;              /* KVM_RUN: EFAULT */
	_Atomic uint64_t instructions;
	_Atomic uint64_t tlb_misses;
	/* Of the map and its MMU. */
	_Atomic uint64_t slots, commits, faults, mmio, zapped, flushes;
};

struct client_stats {
	uint64_t magic;
	_Atomic uint64_t nvms;    /* of which CLIENT_STATS_VMS have a record */
	_Atomic uint64_t ntraces; /* VMs that a trace was begun of */
	uint64_t unused[61];
	struct client_vm_stats vm[CLIENT_STATS_VMS];
};

#endif /* ADAPTERS_KVM_CLIENT_STATS_FORMAT_H */
