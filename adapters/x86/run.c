/* SPDX-License-Identifier: MIT */
/*
 * run.c - the loop: blocks, exits, requests, the budget.
 *
 * Protocol of cpu_run().
 * 1 enter the vCPU's section; what was asked of it before is answered by that. With a full dirty
 *   ring only for 2, and out again
 * 2 complete what the last exit left: IN and OUT; further parts of a write of MMIO; an instruction
 *   that waited for a read of MMIO is executed alone, and its list of reads dropped (X4)
 * 3 for each block: look at `attention` and the budget, compare the block, execute it
 * 4 leave the section
 *
 * Invariants.
 * R1 cpu->s.rip is at an instruction's first byte whenever anything that may stop it runs: an exit
 *   has nothing to roll back, and a jump out of a host fault neither.
 * R2 Between a request's attention bit and the poll that answers it at most one block runs, or 256
 *   iterations of a string instruction.
 * R3 While an instruction is under way `running` is the thread's CPU; the signal handler jumps only
 *   if the address is one of a slot in the section's snapshot.
 * R4 Exceptions count as instructions where the budget is concerned: a handler that cannot even be
 *   fetched raises the next one, and nothing would ever retire.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "exec.h"
#include "memory.h"
#include "system.h"

#define ITERATIONS_MAX 256u
#define DR6_BS (UINT64_C(1) << 14)

/* Read by signal handlers: without a call, which might allocate. */
static __thread __attribute__((__tls_model__("initial-exec"))) struct cpu *running;

/* ---- Requests ------------------------------------------------------------- */

void cpu_attend(struct cpu *cpu, bool leave)
{
	/* Release: what the caller did before is seen by the loop. Pairs with attend(). */
	atomic_fetch_or_explicit(&cpu->attention, leave ? ATTEND_LEAVE : ATTEND_REQUEST,
				 memory_order_release);
}

/* Returns false with the exit filled in. */
static bool poll(struct cpu *cpu)
{
	int err = mslot_vcpu_poll(cpu->vcpu, &cpu->snap);

	/* Nothing that came from the old section is used again (X2). */
	cpu->code_tag = 0;
	if (err == 0)
		return true;
	cpu->exit->reason = err == -ENOSPC ? CPU_EXIT_RING_FULL : CPU_EXIT_ERROR;
	cpu->exit->error = err;
	return false;
}

static bool attend(struct cpu *cpu)
{
	/* Acquire: pairs with cpu_attend(). */
	uint32_t what = atomic_exchange_explicit(&cpu->attention, 0, memory_order_acquire);

	if (what & ATTEND_REQUEST && !poll(cpu)) {
		/* The request to leave is still to be answered. */
		if (what & ATTEND_LEAVE)
			cpu_attend(cpu, true);
		return false;
	}
	if (what & ATTEND_LEAVE) {
		cpu->exit->reason = CPU_EXIT_BUDGET;
		return false;
	}
	return true;
}

/* What is no instruction, but may happen for ever without one (R4). */
static void charge(struct cpu *cpu)
{
	if (cpu->end)
		cpu->end--;
}

/* The host's memory is being changed: come out of the section, let others work. */
static bool retry(struct cpu *cpu)
{
	charge(cpu);
	cpu->retry = false;
	cpu->retried = true;
	cpu->mmio.nwrite = 0;
	cpu->mmio.next_done = 0;
	if (!poll(cpu))
		return false;
	sched_yield();
	return true;
}

/* What has to be looked at before the next block; returns false with the exit filled in. */
static bool look_up(struct cpu *cpu)
{
	/*
	 * An instruction that waited for its reads is what comes first, whatever else is wanted;
	 * unless it has to wait for host memory, too.
	 */
	if (cpu->mmio.ndone && !cpu->retried)
		return true;
	if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0 && !attend(cpu))
		return false;
	if (cpu->counters.instructions < cpu->end)
		return true;
	cpu->exit->reason = CPU_EXIT_BUDGET;
	return false;
}

/* ---- What instructions return --------------------------------------------- */

/* Returns false with the exit filled in. */
static bool deliver(struct cpu *cpu)
{
	cpu->mmio.nwrite = cpu->mmio.ndone = cpu->mmio.next_done = 0;
	for (;;) {
		enum step step = exception_deliver(cpu);

		charge(cpu);
		if (step == STEP_NEXT)
			return true;
		/* Whoever leaves here raises it again. */
		if (step != STEP_AGAIN || !retry(cpu) || !look_up(cpu))
			return false;
	}
}

/* Of an instruction that retired: its reads of MMIO are over, its writes begin. */
static bool retire_mmio(struct cpu *cpu)
{
	cpu->mmio.ndone = cpu->mmio.next_done = 0;
	return !mmio_next_write(cpu);
}

/* After a step other than STEP_NEXT. Returns false if that is an exit. */
static bool settle(struct cpu *cpu, enum step step)
{
	switch (step) {
	case STEP_EXCEPTION:
		return deliver(cpu);
	case STEP_AGAIN:
		return cpu->retry ? retry(cpu) : true;
	case STEP_EXIT_NEXT:
		cpu->s.rip = cpu->next_rip;
		cpu->mmio.nwrite = cpu->mmio.ndone = 0;
		return false;
	default:
		cpu->mmio.nwrite = 0;
		return false;
	}
}

/* ---- Blocks --------------------------------------------------------------- */

static void count(struct cpu *cpu, uint64_t done)
{
	__atomic_store_n(&cpu->counters.instructions, cpu->counters.instructions + done,
			 __ATOMIC_RELAXED);
}

/* Iterations of a string instruction, until something else is to be looked at. */
__attribute__((noinline)) static enum step iterate(struct cpu *cpu, const struct insn *insn,
						   uint64_t *done)
{
	enum step step = STEP_AGAIN;

	while (step == STEP_AGAIN && !cpu->retry && !cpu->code_changed && *done < ITERATIONS_MAX &&
	       atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0) {
		step = insn->exec(cpu, insn);
		*done += step <= STEP_AGAIN;
	}
	if (step == STEP_NEXT)
		cpu->s.rip = cpu->next_rip;
	return step;
}

/* A block ends early, with `done` instructions retired and this one having returned `step`. */
__attribute__((noinline)) static enum step leave_block(struct cpu *cpu, const struct insn *insn,
						       uint64_t done, enum step step,
						       unsigned int limit)
{
	done += step == STEP_EXIT_NEXT;
	if (step == STEP_EXCEPTION && cpu->exception.non_canonical && insn->segment == CPU_SS)
		cpu->exception.vector = VECTOR_SS;
	if (step == STEP_AGAIN && !cpu->retry) {
		uint64_t more = 1;

		if (limit > 1)
			step = iterate(cpu, insn, &more);
		done += more;
	}
	count(cpu, done);
	return step;
}

/* Execute up to `limit` instructions of a block. */
static inline enum step run_block(struct cpu *cpu, const struct block *block, unsigned int limit)
{
	const struct insn *insn = block->insn;
	unsigned int n = block->ninsns < limit ? block->ninsns : limit;
	const struct insn *end = insn + n;
	uint64_t rip = cpu->s.rip;
	enum step step;

	cpu->code_changed = false;
	for (;;) {
		rip += insn->len;
		cpu->next_rip = rip;
		step = insn->exec(cpu, insn);
		if (__builtin_expect(step != STEP_NEXT, 0))
			break;
		/* Only the last instruction of a block may have changed it. */
		if (++insn == end) {
			cpu->s.rip = cpu->next_rip;
			count(cpu, n);
			return STEP_NEXT;
		}
		cpu->s.rip = rip;
		if (__builtin_expect(cpu->code_changed, 0))
			break;
	}
	return leave_block(cpu, insn, (unsigned int)(insn - block->insn), step, limit);
}

/* Whether the next instruction is to be executed alone. */
static inline bool is_special(const struct cpu *cpu)
{
	return cpu->mmio.ndone || cpu->s.rflags & FLAG_TF;
}

/* A single step that is due; returns false with the exit filled in, and it is due still. */
static bool trap_deliver(struct cpu *cpu)
{
	if (cpu->trap.pending && cpu->trap.rip == cpu->s.rip) {
		cpu->s.dr[6] |= DR6_BS;
		cpu->exception = (struct exception){.vector = VECTOR_DB, .trap = true};
		cpu->next_rip = cpu->s.rip;
		if (!deliver(cpu))
			return false;
	}
	cpu->trap.pending = false;
	return true;
}

/*
 * An instruction retired, or an iteration: its accesses to MMIO, then its single step. Returns
 * false with the exit filled in.
 */
static bool retire(struct cpu *cpu, bool trap)
{
	cpu->trap.pending = trap;
	cpu->trap.rip = cpu->s.rip;
	if ((cpu->mmio.ndone || cpu->mmio.nwrite) && !retire_mmio(cpu))
		return false;
	return !trap || trap_deliver(cpu);
}

/* After a block that was left early; returns false with the exit filled in. */
static bool look_back(struct cpu *cpu, enum step step, bool trap)
{
	if (step != STEP_NEXT && (step != STEP_AGAIN || cpu->retry))
		return settle(cpu, step);
	return retire(cpu, trap);
}

/* One round; returns false with the exit filled in. */
static inline bool run_some(struct cpu *cpu)
{
	const bool special = is_special(cpu);
	const struct block *block;
	enum step step = STEP_NEXT;
	bool trap;

	if (__builtin_expect(atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0 ||
				 cpu->counters.instructions >= cpu->end,
			     0) &&
	    !look_up(cpu))
		return false;
	block = block_hit(cpu);
	if (__builtin_expect(!block, 0))
		step = block_find(cpu, &block);
	trap = special && cpu->s.rflags & FLAG_TF;
	if (__builtin_expect(step == STEP_NEXT, 1))
		step = run_block(cpu, block, __builtin_expect(special, 0) ? 1 : BLOCK_INSNS);
	if (__builtin_expect(step != STEP_NEXT || cpu->code_changed || special, 0))
		return look_back(cpu, step, trap);
	return true;
}

/* Finish what waits for its port; returns false with the exit filled in. */
static bool resume_io(struct cpu *cpu)
{
	const bool trap = cpu->s.rflags & FLAG_TF;
	enum step step;

	for (;;) {
		cpu->next_rip = cpu->s.rip + cpu->io.insn.len;
		step = io_complete(cpu);
		if (step != STEP_AGAIN || !cpu->retry)
			break;
		/* Otherwise it waits on: the data are there, and are given once only. */
		if (!retry(cpu) || !look_up(cpu))
			return false;
	}
	if (step == STEP_EXIT) {
		cpu->mmio.nwrite = 0;
		return false;
	}
	cpu->io.pending = false;
	if (step == STEP_EXCEPTION)
		return settle(cpu, step);
	if (step == STEP_NEXT) {
		cpu->s.rip = cpu->next_rip;
		count(cpu, 1);
	}
	return retire(cpu, trap);
}

/* What the last exit left; returns false with the exit filled in. */
static bool resume(struct cpu *cpu)
{
	cpu->retried = false;
	cpu->mmio.waiting = false;
	cpu->mmio.next_done = 0;
	if (cpu->mmio.ndone && cpu->mmio.rip != cpu->s.rip)
		cpu->mmio.ndone = 0;
	if (mmio_next_write(cpu) || !trap_deliver(cpu))
		return false;
	if (cpu->io.pending && cpu->io.rip == cpu->s.rip)
		return resume_io(cpu);
	cpu->io.pending = false;
	return true;
}

/* ---- Running -------------------------------------------------------------- */

/* Apart from cpu_run(): where setjmp() is called, registers are not for variables. */
__attribute__((noinline)) static void loop(struct cpu *cpu, uint64_t budget)
{
	const char *why = mode_covered(cpu);

	if (!resume(cpu))
		return;
	if (why) {
		exit_internal(cpu, why);
		return;
	}
	if (cpu->ring_full)
		budget = 0;
	cpu->end = cpu->counters.instructions + budget;
	if (cpu->end < budget)
		cpu->end = UINT64_MAX;
	while (run_some(cpu))
		;
}

/* Whether the last exit left something to complete, or a retry in this run does. */
static bool left_something(const struct cpu *cpu)
{
	return cpu->io.pending || cpu->mmio.ndone || cpu->mmio.nwrite;
}

/* Also with a full ring if `reserved`. Returns false with the exit filled in. */
static bool enter(struct cpu *cpu, bool reserved)
{
	int err = mslot_vcpu_enter(cpu->vcpu, &cpu->snap);

	cpu->ring_full = err == -ENOSPC && reserved;
	if (cpu->ring_full)
		err = mslot_vcpu_enter_reserved(cpu->vcpu, &cpu->snap);
	cpu->code_tag = 0;
	cpu->retry = false;
	if (err == 0) {
		if (mslot_vcpu_pending(cpu->vcpu))
			cpu_attend(cpu, false);
		return true;
	}
	cpu->exit->reason = err == -ENOSPC ? CPU_EXIT_RING_FULL : CPU_EXIT_ERROR;
	cpu->exit->error = err;
	return false;
}

/* Of a run that was only to complete something; whoever wanted no more is told that it is done. */
static void ring_full_exit(struct cpu *cpu, uint64_t budget)
{
	struct cpu_exit *exit = cpu->exit;

	if (exit->reason == CPU_EXIT_BUDGET && budget) {
		exit->reason = CPU_EXIT_RING_FULL;
		exit->error = -ENOSPC;
	} else if (exit->reason == CPU_EXIT_RING_FULL && !budget && !left_something(cpu)) {
		exit->reason = CPU_EXIT_BUDGET;
	}
}

static void host_fault_exit(struct cpu *cpu)
{
	cpu->mmio.nwrite = cpu->mmio.next_write = 0;
	cpu->exit->reason = CPU_EXIT_HOST;
	cpu->exit->host.hva = cpu->host_fault_hva;
}

/* What was done must not be undone when the bytes of the instruction cannot be read. */
static void internal_exit(struct cpu *cpu, const char *why)
{
	struct cpu_exit *exit = cpu->exit, scratch;
	uint8_t bytes[CPU_INSN_MAX] = {0};
	uint8_t n = 0;

	cpu->exit = &scratch;
	if (setjmp(cpu->host_fault) == 0)
		n = block_bytes(cpu, bytes);
	cpu->exit = exit;
	cpu->retry = false;
	exit->reason = CPU_EXIT_INTERNAL;
	exit->internal.rip = cpu->s.rip;
	exit->internal.why = why;
	exit->internal.nbytes = n;
	memcpy(exit->internal.bytes, bytes, sizeof(bytes));
}

void cpu_run(struct cpu *cpu, uint64_t budget, struct cpu_exit *exit)
{
	cpu->exit = exit;
	if (!enter(cpu, left_something(cpu)))
		return;
	running = cpu;
	if (setjmp(cpu->host_fault) == 0)
		loop(cpu, budget);
	else
		host_fault_exit(cpu);
	if (cpu->ring_full)
		ring_full_exit(cpu, budget);
	if (exit->reason == CPU_EXIT_INTERNAL)
		internal_exit(cpu, exit->internal.why);
	running = NULL;
	cpu->code_first = cpu->code_bytes = 0;
	cpu->snap = NULL;
	mslot_vcpu_leave(cpu->vcpu);
}

void cpu_complete(struct cpu *cpu, const void *data)
{
	if (cpu->mmio.waiting) {
		struct mmio_part *part = &cpu->mmio.done[cpu->mmio.ndone - 1];

		memcpy(part->data, data, part->size_bytes);
	} else if (cpu->io.pending) {
		memcpy(cpu->io.data, data, cpu->io.nbytes);
	}
}

void cpu_host_fault(const void *hva)
{
	struct cpu *cpu = running;

	if (!cpu || mslot_find_hva(cpu->snap, (uintptr_t)hva, NULL, 0) == 0)
		return;
	cpu->host_fault_hva = (uintptr_t)hva;
	longjmp(cpu->host_fault, 1);
}

int cpu_translate(struct cpu *cpu, uint64_t linear, uint64_t *gpa, bool *writable)
{
	struct cpu_exit scratch;
	struct walk_leaf leaf;
	volatile int err = -ENOENT;

	if (!canonical(linear) || mode_covered(cpu))
		return err;
	cpu->exit = &scratch;
	if (!enter(cpu, true)) {
		cpu->exit = NULL;
		return err;
	}
	running = cpu;
	if (setjmp(cpu->host_fault) == 0 &&
	    walk(cpu, linear, WALK_READ, false, &leaf) == STEP_NEXT) {
		*gpa = leaf.gpa;
		*writable = leaf.writable;
		err = 0;
	}
	running = NULL;
	cpu->retry = false;
	cpu->exit = NULL;
	cpu->snap = NULL;
	mslot_vcpu_leave(cpu->vcpu);
	return err;
}

void cpu_counters_get(const struct cpu *cpu, struct cpu_counters *out)
{
	const struct cpu_counters *from = &cpu->counters;

	out->instructions = __atomic_load_n(&from->instructions, __ATOMIC_RELAXED);
	out->tlb_misses = __atomic_load_n(&from->tlb_misses, __ATOMIC_RELAXED);
	out->blocks_decoded = __atomic_load_n(&from->blocks_decoded, __ATOMIC_RELAXED);
	out->exceptions = __atomic_load_n(&from->exceptions, __ATOMIC_RELAXED);
}
