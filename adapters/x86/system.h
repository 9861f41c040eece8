/* SPDX-License-Identifier: MIT */
/*
 * system.h - what the run loop and the system instructions share.
 */
#ifndef ADAPTERS_X86_SYSTEM_H
#define ADAPTERS_X86_SYSTEM_H

#include "x86.h"

#define CR0_PE (UINT64_C(1) << 0)
#define CR0_MP (UINT64_C(1) << 1)
#define CR0_EM (UINT64_C(1) << 2)
#define CR0_TS (UINT64_C(1) << 3)
#define CR0_ET (UINT64_C(1) << 4)
#define CR0_NE (UINT64_C(1) << 5)
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_AM (UINT64_C(1) << 18)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)

#define CR4_TSD (UINT64_C(1) << 2)
#define CR4_PAE (UINT64_C(1) << 5)
#define CR4_LA57 (UINT64_C(1) << 12)
#define CR4_FSGSBASE (UINT64_C(1) << 16)
#define CR4_PCIDE (UINT64_C(1) << 17)
#define CR4_OSXSAVE (UINT64_C(1) << 18)

#define EFER_SCE (UINT64_C(1) << 0)
#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)
#define EFER_NXE (UINT64_C(1) << 11)

/* struct cpu_segment's attributes. */
#define SEGMENT_TYPE 0xfu
#define SEGMENT_ACCESSED (1u << 0)
#define SEGMENT_WRITABLE (1u << 1) /* of data; of code: readable */
#define SEGMENT_CONFORMING (1u << 2)
#define SEGMENT_CODE (1u << 3)
#define SEGMENT_S (1u << 4)
#define SEGMENT_DPL (3u << 5)
#define SEGMENT_P (1u << 7)
#define SEGMENT_L (1u << 13)
#define SEGMENT_DB (1u << 14)
#define SEGMENT_G (1u << 15)

/* A descriptor, found and taken apart. */
struct descriptor {
	struct cpu_segment segment; /* selector included */
	uint64_t linear;            /* where it is in memory */
	uint64_t low;               /* its first eight bytes */
};

/*
 * descriptor_read() - the GDT's or LDT's entry for a selector that is not null.
 *   out   receives it
 * Returns STEP_NEXT; #GP with the selector beyond the table; or what reading memory returns.
 */
enum step descriptor_read(struct cpu *cpu, uint16_t selector, struct descriptor *out);

/* descriptor_use() - set the accessed bit, in memory and in out->segment. */
enum step descriptor_use(struct cpu *cpu, struct descriptor *descriptor);

/*
 * code_descriptor() - check a selector as a jump's, call's, return's or gate's to 64-bit code at
 * CPL 0.
 *   external   bits to add to error codes
 */
enum step code_descriptor(struct cpu *cpu, uint16_t selector, uint32_t external,
			  struct descriptor *out);

/*
 * segment_find() - what loading a selector into SS or a data segment register gives: checks, and
 * the accessed bit.
 */
enum step segment_find(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector,
		       struct cpu_segment *out);

/* mode_covered() - NULL if the CPU is in 64-bit mode at CPL 0; or a static text saying why not. */
const char *mode_covered(const struct cpu *cpu);

/* cpuid_row() - the row that answers, or NULL. */
const struct cpu_cpuid *cpuid_row(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf);

/* io_complete() - finish the IN, OUT, INS or OUTS that is pending; as an instruction's function. */
enum step io_complete(struct cpu *cpu);

#endif /* ADAPTERS_X86_SYSTEM_H */
