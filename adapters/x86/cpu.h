/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - an x86-64 processor in long mode, interpreted, whose memory is an mslot map.
 *
 * A CPU runs guest code on the thread that calls cpu_run(). Every access to guest memory, the
 * walks of the guest's page tables and the fetches of its code included, goes through an mslot vCPU
 * and a direct root: translation cache, root, fault, slot. The CPU knows nothing of ioctls, files
 * or signals; what it cannot do by itself it reports as an exit, and the caller goes on.
 *
 * Covered: 64-bit mode at CPL 0 with 4-level page tables (4 KiB, 2 MiB, 1 GiB), the instructions in
 * docs/cpu.md, exceptions through the guest's IDT. Not covered: real, protected and compatibility
 * mode, other privilege levels, interrupt controllers. What is not covered ends in
 * CPU_EXIT_INTERNAL with the bytes and the address, never in a wrong result.
 *
 * Thread context: everything here belongs to the CPU's thread, but for cpu_attend().
 */
#ifndef ADAPTERS_X86_CPU_H
#define ADAPTERS_X86_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mslot/mmu.h>

struct cpu;

/* ---- State -------------------------------------------------------------- */

enum cpu_gpr {
	CPU_RAX,
	CPU_RCX,
	CPU_RDX,
	CPU_RBX,
	CPU_RSP,
	CPU_RBP,
	CPU_RSI,
	CPU_RDI,
	CPU_R8,
	CPU_R15 = 15,
};

/* In the order of their numbers in instructions. */
enum cpu_segment_name { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_SEGMENTS };

struct cpu_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, as after scaling */
	uint16_t selector;
	/* As in descriptors: type in bits 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, DB 14, G 15. */
	uint16_t attributes;
};

struct cpu_table {
	uint64_t base;
	uint16_t limit;
};

/* The model-specific registers that are kept; others are #GP. cpu_msr_get() knows their numbers. */
struct cpu_msrs {
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, tsc_offset, apic_base, misc_enable, mtrr_def_type;
};

struct cpu_xmm {
	_Alignas(16) uint8_t bytes[16];
};

/* The architectural state: plain data, the caller's between runs. */
struct cpu_state {
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags; /* always exact; bit 1 always set */
	struct cpu_segment seg[CPU_SEGMENTS], tr, ldt;
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
	uint64_t dr[8];
	struct cpu_msrs msr;
	struct cpu_xmm xmm[16];
	uint32_t mxcsr;
	uint16_t fcw, fsw;
	uint8_t ftw;             /* bit n: register n is not empty, as FXSAVE has it */
	uint8_t x87_opaque[128]; /* eight registers as FXSAVE has them; kept, never computed with */
};

/* A row of what the guest's CPUID answers. */
struct cpu_cpuid {
	uint32_t leaf, subleaf;
	bool by_subleaf; /* subleaf counts */
	uint32_t eax, ebx, ecx, edx;
};

/* ---- Making one --------------------------------------------------------- */

struct cpu_options {
	struct mslot_vcpu *vcpu; /* the caller's; its root is `root` (mslot_vcpu_root_set()) */
	struct mslot_root *root; /* direct, of the vCPU's map */
};

/*
 * cpu_create() - a CPU in the state after a reset (which it cannot run in: set a long-mode one).
 *   opt   options; copied; vcpu and root outlive the CPU
 *   out   receives the CPU; ended by cpu_destroy()
 * Returns 0, -EINVAL no vCPU or root, -ENOMEM.
 */
int cpu_create(const struct cpu_options *opt, struct cpu **out);

/* cpu_destroy() - end a CPU; NULL is allowed and does nothing. */
void cpu_destroy(struct cpu *cpu);

/*
 * cpu_state() - the registers, to read and to change between runs.
 * After a change call cpu_state_changed(): what was derived from control registers is forgotten.
 */
struct cpu_state *cpu_state(struct cpu *cpu);
void cpu_state_changed(struct cpu *cpu);

/*
 * cpu_cpuid_set() - what CPUID answers from now on.
 *   rows, n   copied
 * Returns 0, -ENOMEM (the old answers stay).
 */
int cpu_cpuid_set(struct cpu *cpu, const struct cpu_cpuid *rows, size_t n);

/*
 * cpu_msr_get(), cpu_msr_set() - as RDMSR and WRMSR at CPL 0, checks of values included.
 * Returns 0, -EINVAL no such register, or a value that WRMSR would refuse.
 */
int cpu_msr_get(struct cpu *cpu, uint32_t index, uint64_t *value);
int cpu_msr_set(struct cpu *cpu, uint32_t index, uint64_t value);

/* ---- Running ------------------------------------------------------------ */

enum cpu_exit_reason {
	CPU_EXIT_BUDGET,    /* the instructions asked for are done, or cpu_attend() was called */
	CPU_EXIT_IO,        /* IN, OUT, INS or OUTS */
	CPU_EXIT_MMIO,      /* an access to a page without a slot, or a write to a read-only one */
	CPU_EXIT_HLT,       /* RIP is behind it */
	CPU_EXIT_SHUTDOWN,  /* triple fault */
	CPU_EXIT_INTERNAL,  /* not covered; RIP is at the instruction, nothing of it is done */
	CPU_EXIT_HOST,      /* host memory behind a slot that cannot be accessed; as INTERNAL */
	CPU_EXIT_RING_FULL, /* the vCPU's dirty ring has no room; as INTERNAL */
	CPU_EXIT_ERROR,     /* the library said so, -ENOMEM; as INTERNAL */
};

#define CPU_INSN_MAX 15u

struct cpu_exit {
	enum cpu_exit_reason reason;
	union {
		/* RIP stays at the instruction until the next run. */
		struct {
			uint16_t port;
			uint8_t size_bytes; /* 1, 2 or 4 */
			bool in;
			uint32_t count; /* 1; of INS and OUTS up to what fits into data */
			uint8_t
			    data[1024]; /* OUT: what is written; IN: give it to cpu_complete() */
		} io;
		/*
		 * Up to 8 bytes; larger accesses exit several times. Reads: RIP stays, and data is
		 * given to cpu_complete(). Writes: the instruction is done.
		 */
		struct {
			uint64_t gpa;
			uint8_t size_bytes;
			bool write;
			uint8_t data[8];
		} mmio;
		struct {
			uint64_t rip;
			uint8_t bytes[CPU_INSN_MAX];
			uint8_t nbytes;  /* how many could be read */
			const char *why; /* static */
		} internal;
		struct {
			uint64_t hva;
		} host;
		int error; /* negative errno */
	};
};

/*
 * cpu_run() - run guest code until it exits.
 *   budget   instructions; about so many are done at most; an exception counts as one, too
 *   exit     receives why it stopped
 * What the last exit left pending (IN, a read of MMIO, further parts of an MMIO write) is completed
 * first, also with a full dirty ring; budget 0 does only that, and then returns CPU_EXIT_BUDGET
 * (CPU_EXIT_RING_FULL where there was nothing, or host memory is being changed). Requests to the
 * vCPU (mslot_vcpu_pending()) are answered within. Inside no section when called and when it
 * returns.
 */
void cpu_run(struct cpu *cpu, uint64_t budget, struct cpu_exit *exit);

/*
 * cpu_complete() - the data of an IN, or of a read of MMIO, that cpu_run() exited for.
 *   data   as many bytes as were asked for; without this call they are zero
 */
void cpu_complete(struct cpu *cpu, const void *data);

/*
 * cpu_attend() - make a running cpu_run() look at its vCPU's requests, and return
 * CPU_EXIT_BUDGET if `leave`. Any thread, also in signal handlers and in kick callbacks.
 */
void cpu_attend(struct cpu *cpu, bool leave);

/*
 * cpu_host_fault() - for handlers of SIGSEGV and SIGBUS: was it the guest's access?
 *   hva   the address that could not be accessed
 * Does not return if the calling thread is in cpu_run() and a slot of its section has that host
 * address: cpu_run() returns CPU_EXIT_HOST then. The handler must have been installed with
 * SA_NODEFER. Returns otherwise.
 */
void cpu_host_fault(const void *hva);

/* ---- Looking ------------------------------------------------------------ */

/*
 * cpu_translate() - what the guest's tables say of a linear address, without changing them.
 *   gpa, writable   receive the answer
 * Returns 0, -ENOENT not mapped. Outside sections.
 */
int cpu_translate(struct cpu *cpu, uint64_t linear, uint64_t *gpa, bool *writable);

struct cpu_counters {
	uint64_t instructions;
	uint64_t tlb_misses;     /* walks of the guest's page tables */
	uint64_t blocks_decoded; /* runs of instructions decoded, again after changes included */
	uint64_t exceptions;     /* delivered through the IDT */
};

/* cpu_counters_get() - read the counters. Any thread; each is right by itself. */
void cpu_counters_get(const struct cpu *cpu, struct cpu_counters *out);

#endif /* ADAPTERS_X86_CPU_H */
