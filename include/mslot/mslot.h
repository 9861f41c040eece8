/* SPDX-License-Identifier: MIT */
/*
 * mslot/mslot.h - guest memory map with lock-free readers and atomic transactions.
 *
 * Includes all other headers: the map, transactions, leases, access to guest memory, vCPUs
 * and their accesses through translation tables, dirty pages and KVM's calls.
 *
 * The map of guest-physical to host memory is an immutable snapshot. Readers enter, look
 * up, translate and leave; writers collect edits in a transaction, whose commit checks the
 * final map and publishes it with one store. Whoever caches translations is a listener
 * and receives the exact difference. Host memory is a region, which slots show.
 *
 * Errors are negative errno values; outputs are untouched on failure. The library never
 * prints, exits or sets errno. What it guarantees has short names:
 * R1: a snapshot is complete; a reader sees the map before a commit or after it.
 * R2: a section that is entered after a commit has returned shows it or a later one.
 * R3: what a snapshot shows, its slots and their host memory, stays usable until the
 *   section or hold ends.
 * R4: entering, looking up, translating and leaving are wait-free after the thread's
 *   first entry.
 * W1: a commit takes effect as a whole or not at all; a refused one names the edit to
 *   blame.
 * W2: all slots of all spaces change with one store.
 * W3: each effective commit adds 1 to the generation, others add nothing.
 * W4: below the limit of retired memory a commit never waits for readers.
 * W5: retired memory is bounded by retired_limit_bytes plus one commit; what holds
 *   pin comes on top.
 * L1: the memory of a lease stays until the lease is put, whatever is committed meanwhile.
 * L2: a region is released exactly once, when no reader, hold, lease or map can reach it.
 * D1: a write to a page whose logging is on is reported at least once by a harvest that
 *   completes later, whatever becomes of the slot, and to each consumer.
 * D2: a page reported clean holds no unreported write that completed before the harvest
 *   began.
 *
 * The child of a fork may go on using its copy of every map. A child of a fork made inside
 * a read section or in a listener callback may only exec or exit.
 */
#ifndef MSLOT_MSLOT_H
#define MSLOT_MSLOT_H

#include <mslot/access.h>
#include <mslot/dirty.h>
#include <mslot/guest.h>
#include <mslot/kvm.h>
#include <mslot/kvm_ioctl.h>
#include <mslot/lease.h>
#include <mslot/map.h>
#include <mslot/mmu.h>
#include <mslot/txn.h>
#include <mslot/vcpu.h>

#endif /* MSLOT_MSLOT_H */
