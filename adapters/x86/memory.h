/* SPDX-License-Identifier: MIT */
/*
 * memory.h - what memory.c and walk.c share with the run loop and the system instructions.
 */
#ifndef ADAPTERS_X86_MEMORY_H
#define ADAPTERS_X86_MEMORY_H

#include "x86.h"

enum walk_access {
	WALK_READ,
	WALK_WRITE,
	WALK_FETCH,
	WALK_SYSTEM, /* the processor reads its own tables: never those of users (SMAP) */
};

/* What the guest's tables say of a linear address. */
struct walk_leaf {
	uint64_t gpa;
	bool writable; /* at CPL 0 as control registers are now */
	bool dirty;    /* the leaf says so */
	bool user;
	bool executable;
	bool large; /* more than 4 KiB */
};

/* The bits of an error code. */
#define PF_PRESENT (1u << 0)
#define PF_WRITE (1u << 1)
#define PF_RESERVED (1u << 3)
#define PF_FETCH (1u << 4)

/*
 * walk() - go through the guest's tables, once.
 *   change   set accessed and dirty bits; without, permissions for `access` are not checked either
 * Returns STEP_NEXT, STEP_EXCEPTION, or what reach() returns.
 */
enum step walk(struct cpu *cpu, uint64_t linear, enum walk_access access, bool change,
	       struct walk_leaf *out);

/* translate() - the guest-physical address, from the TLB or by a walk that fills it. */
enum step translate(struct cpu *cpu, uint64_t linear, enum walk_access access, uint64_t *gpa);

/*
 * reach() - guest-physical to host.
 *   host   receives the address, or NULL: there is no slot, or a read-only one for a write
 * Returns STEP_NEXT, STEP_EXIT (full ring, no memory), STEP_AGAIN with cpu->retry.
 */
enum step reach(struct cpu *cpu, uint64_t gpa, enum mslot_access access, void **host);

/* fetch_page() - host address of an instruction byte; an exit where it is MMIO. */
enum step fetch_page(struct cpu *cpu, uint64_t linear, const uint8_t **host);

/* mmio_next_write() - fill the exit with the next queued write; false: there is none left. */
bool mmio_next_write(struct cpu *cpu);

/* memory_read() of the processor's own tables: user pages are refused where SMAP is on. */
enum step memory_read_system(struct cpu *cpu, uint64_t linear, unsigned int size, void *out);

static inline bool canonical(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

#endif /* ADAPTERS_X86_MEMORY_H */
