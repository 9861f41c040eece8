/* SPDX-License-Identifier: MIT */
/*
 * x86.h - the CPU from inside: what its parts share.
 *
 *   decode.c, table.c   bytes -> struct insn; knows no registers' values
 *   block.c             runs of decoded instructions, found by host address, compared on entry
 *   run.c               the loop: exits, requests, budget, delivery of exceptions
 *   memory.c, walk.c    linear address -> guest-physical -> host, loads and stores, MMIO
 *   exception.c         raising, delivery through the IDT, double and triple faults
 *   exec_*.c            the instructions, by kind
 *
 * Invariants.
 * X1 An instruction either retires or has no effect on registers: its function changes them only
 *   after its last access that can fail. Each iteration of a repeated string instruction counts as
 *   an instruction here. Memory may have been written when a later access of the same instruction
 *   fails only where hardware allows it, too.
 * X2 Host pointers live no longer than the section: nothing keeps one across mslot_vcpu_poll().
 *   (A block is found by a host address, which is only a number to compare.)
 * X3 Decoded instructions are executed only after their bytes were compared with memory on entry to
 *   their block, and a store into the running block's own bytes ends it after that instruction.
 * X4 Reads of MMIO: the instruction stops, and is executed again from its beginning when the data
 *   are there; what it had read before is repeated from `mmio.done`. Writes of MMIO are queued, and
 *   given to the caller after the instruction retired.
 */
#ifndef ADAPTERS_X86_X86_H
#define ADAPTERS_X86_X86_H

#include <setjmp.h>
#include <stdatomic.h>

#include <mslot/guest.h>

#include "cpu.h"

/* ---- Instructions ------------------------------------------------------- */

struct insn;

/* What an instruction's function returns. */
enum step {
	STEP_NEXT = 0,  /* retired; RIP goes behind it */
	STEP_AGAIN,     /* an iteration is done; RIP stays (string instructions) */
	STEP_EXCEPTION, /* cpu->exception says which; RIP stays */
	STEP_EXIT, /* cpu->exit says why; RIP stays: nothing is done, or I/O is to be completed */
	STEP_EXIT_NEXT, /* the same, but retired: RIP goes behind it (HLT) */
};

typedef enum step exec_fn(struct cpu *cpu, const struct insn *insn);

#define NO_REG 0xff

/* A decoded instruction. Registers are numbers 0-15. */
struct insn {
	exec_fn *exec;
	uint64_t imm;      /* sign- or zero-extended as the instruction says; for branches the
			    * displacement, sign-extended */
	int64_t disp;      /* of the memory operand; RIP-relative: see `rip_relative` */
	uint8_t len;       /* bytes */
	uint8_t size;      /* of the operands, bytes: 1, 2, 4, 8, 16 */
	uint8_t addr_size; /* 4 or 8 */
	uint8_t reg;       /* ModRM.reg with REX.R, or the register in the opcode */
	uint8_t rm;        /* ModRM.rm with REX.B where it is a register */
	uint8_t base, index, scale_shift; /* memory operand; NO_REG for none */
	uint8_t segment; /* of the memory operand, CPU_...; only FS and GS have a base, and SS says
			  * that it has RSP or RBP for its base */
	uint8_t memory;  /* nonzero: the ModRM operand is memory */
	uint8_t rex;     /* nonzero: there was a REX prefix (SPL, not AH, among byte registers) */
	uint8_t rep;     /* 0, 0xf2 or 0xf3 */
	uint8_t lock;
	uint8_t rip_relative; /* disp counts from the end of the instruction */
	uint8_t
	    ends_block;   /* may change RIP, paging, or what code is: always the last of a block */
	uint8_t op;       /* for functions that serve several opcodes: which one */
	uint8_t src_size; /* of the source, where it has another size (MOVZX) */
	uint8_t opsize_prefix; /* there was a 0x66 */
};

/*
 * decode() - one instruction.
 *   bytes, n   what is there, up to CPU_INSN_MAX
 *   out        receives it
 * Returns the length; 0: n bytes are not enough; -ENOSYS: not covered, or undefined (out->exec is
 * then a function that raises #UD if the processor would: undefined encodings return a length).
 */
int decode(const uint8_t *bytes, unsigned int n, struct insn *out);

/* ---- The CPU ------------------------------------------------------------ */

/* Exceptions. */
enum vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_XM = 19,
};

struct exception {
	uint8_t vector;
	bool has_error;
	bool trap; /* RIP to push is behind the instruction (INT3, INT n) */
	bool software;
	bool non_canonical; /* #GP of an address: #SS where the stack is meant */
	uint32_t error;
	uint64_t cr2; /* of a page fault */
};

/*
 * Linear page -> guest-physical page, of the guest's own tables. A tag is the page's address with
 * the epoch below it, so that a new epoch forgets all.
 */
#define CPU_TLB_ENTRIES 512u

struct cpu_tlb_entry {
	uint64_t read_tag, write_tag, fetch_tag;
	uint64_t delta; /* linear + delta = guest-physical */
};

/* Of one instruction: 64 bytes across a page, read and written. */
#define CPU_MMIO_PARTS 18u

struct mmio_part {
	uint64_t gpa;
	uint8_t size_bytes;
	uint8_t data[8];
};

struct block_cache;

struct cpu {
	struct cpu_state s; /* first */
	struct mslot_vcpu *vcpu;
	struct mslot_root *root;
	const struct mslot_snapshot *snap; /* of the section */

	/* While an instruction runs. */
	uint64_t next_rip; /* behind it; an instruction that ends a block stores its target here */
	struct exception exception;
	struct cpu_exit *exit;
	/* The running block's bytes in the host: stores into them end it (X3). */
	uintptr_t code_first, code_bytes;
	bool code_changed; /* end the block after this instruction, for whatever reason */
	bool retry;     /* STEP_AGAIN of a host invalidation: poll, execute it from its beginning */
	bool retried;   /* it happened in this run */
	bool ring_full; /* this run completes what the last exit left, and ends */

	/* counters.instructions at which the budget is used up; each exception takes one off. */
	uint64_t end;

	_Atomic uint32_t attention; /* ATTEND_...; anybody sets, the run loop clears */

	/* I/O and MMIO under way (X4). */
	struct {
		struct mmio_part done[CPU_MMIO_PARTS];  /* reads of the instruction at RIP */
		uint8_t ndone, next_done;               /* how many there are; the next to repeat */
		bool waiting;                           /* the last of done[] has no data yet */
		uint64_t rip;                           /* whose reads done[] has */
		struct mmio_part write[CPU_MMIO_PARTS]; /* not given to the caller yet */
		uint8_t nwrite, next_write;
	} mmio;
	struct {
		bool pending;
		uint64_t rip; /* of the instruction; another one by now: forget it */
		struct insn insn;
		uint32_t nbytes, count; /* of the data; of INS and OUTS, how many items */
		uint8_t data[1024];
	} io;

	/* A single step that has not been delivered: MMIO comes before it, or an exit came between.
	 */
	struct {
		bool pending;
		uint64_t rip; /* where; elsewhere by now: forget it */
	} trap;

	/* The page that instructions come from: its tag as in the TLB, or 0, and where it is. */
	uint64_t code_tag;
	const uint8_t *code_page;
	uint64_t gpa_mask; /* addresses that the guest's tables may have, as CPUID says */
	bool no_gib_pages; /* CPUID is there and does not offer them */

	uint64_t tlb_epoch; /* below a page, never 0 */
	bool tlb_large;     /* there are entries of large pages */
	struct cpu_tlb_entry tlb[CPU_TLB_ENTRIES];
	struct block_cache *blocks;
	struct cpu_cpuid *cpuid;
	size_t ncpuid;
	jmp_buf host_fault;
	uint64_t host_fault_hva;
	struct cpu_counters counters; /* written by the CPU's thread, with relaxed atomics */
};

#define ATTEND_REQUEST (1u << 0) /* the vCPU is asked to poll */
#define ATTEND_LEAVE (1u << 1)   /* return CPU_EXIT_BUDGET */

/* ---- Memory (memory.c) -------------------------------------------------- */
/*
 * All addresses are linear. Each returns STEP_NEXT, or what the instruction has to return:
 * STEP_EXCEPTION (page fault, non-canonical), STEP_EXIT (MMIO, full ring), or STEP_AGAIN with
 * cpu->retry (the host memory is being changed).
 */

/* Loads and stores, 1 to 64 bytes, aligned or not, in one page or two; values zero-extended. */
enum step memory_read(struct cpu *cpu, uint64_t linear, unsigned int size, void *out);
enum step memory_write(struct cpu *cpu, uint64_t linear, unsigned int size, const void *val);

/* The stack at RSP, which moves if they return STEP_NEXT: #SS where others raise #GP. */
enum step memory_push(struct cpu *cpu, unsigned int size, uint64_t val);
enum step memory_pop(struct cpu *cpu, unsigned int size, uint64_t *val);

/*
 * memory_writable() - host address of an operand that is read and written.
 *   host   receives it, or NULL: it is MMIO or crosses a page, so use memory_read() and
 *          memory_write() (no atomicity then); a page fault says "write" in either case
 */
enum step memory_writable(struct cpu *cpu, uint64_t linear, unsigned int size, void **host);

/*
 * memory_span() - for string instructions: host memory from `linear` on, up to the end of its page.
 *   host, len_bytes   receive it; host is NULL where it is MMIO
 */
enum step memory_span(struct cpu *cpu, uint64_t linear, enum mslot_access access, void **host,
		      uint64_t *len_bytes);

/* Tell of a store through a host pointer (X3). Inline, two instructions. */
static inline void memory_stored(struct cpu *cpu, const void *host, uint64_t len_bytes)
{
	if (__builtin_expect((uintptr_t)host - cpu->code_first + len_bytes - 1 <
				 cpu->code_bytes + len_bytes - 1,
			     0))
		cpu->code_changed = true;
}

/* Host address of a linear one if both caches have it and it is in one page; or NULL. */
static inline void *memory_hit(struct cpu *cpu, uint64_t linear, unsigned int size,
			       enum mslot_access access)
{
	const struct cpu_tlb_entry *entry = &cpu->tlb[(linear >> 12) % CPU_TLB_ENTRIES];
	uint64_t tag = access == MSLOT_WRITE ? entry->write_tag : entry->read_tag;

	if (__builtin_expect(tag != ((linear & ~0xfffull) | cpu->tlb_epoch) ||
				 (linear & 0xfff) + size > 0x1000,
			     0))
		return NULL;
	return mslot_vcpu_hit_page(cpu->vcpu, linear + entry->delta, access);
}

typedef uint16_t unaligned_u16 __attribute__((__may_alias__, __aligned__(1)));
typedef uint32_t unaligned_u32 __attribute__((__may_alias__, __aligned__(1)));
typedef uint64_t unaligned_u64 __attribute__((__may_alias__, __aligned__(1)));

/* Accesses of 1, 2, 4 or 8 bytes, of one host instruction each, so that aligned ones are atomic. */
static inline uint64_t host_load(const void *host, unsigned int size)
{
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)host;
	case 2:
		return *(const volatile unaligned_u16 *)host;
	case 4:
		return *(const volatile unaligned_u32 *)host;
	default:
		return *(const volatile unaligned_u64 *)host;
	}
}

static inline void host_store(void *host, unsigned int size, uint64_t val)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)host = (uint8_t)val;
		break;
	case 2:
		*(volatile unaligned_u16 *)host = (uint16_t)val;
		break;
	case 4:
		*(volatile unaligned_u32 *)host = (uint32_t)val;
		break;
	default:
		*(volatile unaligned_u64 *)host = val;
	}
}

static inline enum step memory_load(struct cpu *cpu, uint64_t linear, unsigned int size,
				    uint64_t *out)
{
	const void *host = memory_hit(cpu, linear, size, MSLOT_READ);

	if (__builtin_expect(!host, 0)) {
		*out = 0;
		return memory_read(cpu, linear, size, out);
	}
	*out = host_load(host, size);
	return STEP_NEXT;
}

static inline enum step memory_store(struct cpu *cpu, uint64_t linear, unsigned int size,
				     uint64_t val)
{
	void *host = memory_hit(cpu, linear, size, MSLOT_WRITE);

	if (__builtin_expect(!host, 0))
		return memory_write(cpu, linear, size, &val);
	host_store(host, size, val);
	memory_stored(cpu, host, size);
	return STEP_NEXT;
}

/* Forget translations: all, or those of a page. */
void memory_flush(struct cpu *cpu);
void memory_flush_page(struct cpu *cpu, uint64_t linear);

/* ---- Operands ----------------------------------------------------------- */

/* The linear address of the memory operand. */
static inline uint64_t operand_address(const struct cpu *cpu, const struct insn *insn)
{
	uint64_t addr = (uint64_t)insn->disp;

	if (insn->base != NO_REG)
		addr += cpu->s.gpr[insn->base];
	if (insn->index != NO_REG)
		addr += cpu->s.gpr[insn->index] << insn->scale_shift;
	if (insn->rip_relative)
		addr += cpu->s.rip + insn->len;
	if (__builtin_expect(insn->addr_size == 4, 0))
		addr = (uint32_t)addr;
	if (__builtin_expect(insn->segment >= CPU_FS, 0))
		addr += cpu->s.seg[insn->segment].base;
	return addr;
}

/* ---- Exceptions (exception.c) ------------------------------------------- */

/* Each returns STEP_EXCEPTION. */
enum step raise_plain(struct cpu *cpu, enum vector vector);
enum step raise_error(struct cpu *cpu, enum vector vector, uint32_t error);
enum step raise_page_fault(struct cpu *cpu, uint64_t linear, uint32_t error);

/* An exit for what is not covered; `why` is static. Returns STEP_EXIT. */
enum step exit_internal(struct cpu *cpu, const char *why);

/*
 * exception_deliver() - push the frame and go to the handler, with double and triple faults.
 * Returns STEP_NEXT, or STEP_EXIT with the exit filled in (shutdown, MMIO or host fault).
 */
enum step exception_deliver(struct cpu *cpu);

#endif /* ADAPTERS_X86_X86_H */
