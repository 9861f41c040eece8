/* SPDX-License-Identifier: MIT */
/*
 * exception.c - exceptions: raising, delivery through the IDT, double and triple faults.
 *
 * An instruction's function returns what these return; the run loop delivers.
 *
 * Protocol of a delivery: gate, code segment, stack (of the TSS, where the gate says so), frame;
 * registers change after the last access, so that what goes wrong before is an exception at the
 * same instruction. What is raised within a delivery is combined with what was being delivered:
 * one after the other, a double fault, or the end.
 */
#include <stddef.h>

#include "exec.h"
#include "memory.h"
#include "system.h"

#define GATE_INTERRUPT 14u
#define GATE_TRAP 15u
#define TSS_IST 36u

enum step raise_plain(struct cpu *cpu, enum vector vector)
{
	cpu->exception = (struct exception){.vector = (uint8_t)vector};
	return STEP_EXCEPTION;
}

enum step raise_error(struct cpu *cpu, enum vector vector, uint32_t error)
{
	cpu->exception =
	    (struct exception){.vector = (uint8_t)vector, .has_error = true, .error = error};
	return STEP_EXCEPTION;
}

enum step raise_page_fault(struct cpu *cpu, uint64_t linear, uint32_t error)
{
	cpu->exception = (struct exception){
	    .vector = VECTOR_PF, .has_error = true, .error = error, .cr2 = linear};
	return STEP_EXCEPTION;
}

enum step exit_internal(struct cpu *cpu, const char *why)
{
	cpu->exit->reason = CPU_EXIT_INTERNAL;
	cpu->exit->internal.why = why;
	return STEP_EXIT;
}

/* ---- Through the IDT ------------------------------------------------------ */

struct gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t ist, type;
	bool present;
};

/* The bit in error codes that says: not by an instruction that asked for it. */
static uint32_t external(const struct exception *exception)
{
	return exception->software ? 0 : 1;
}

static enum step read_gate(struct cpu *cpu, const struct exception *exception, struct gate *out)
{
	const uint32_t error = exception->vector * 8u + 2 + external(exception);
	const uint32_t offset = exception->vector * 16u;
	uint64_t word[2];
	enum step step;

	if (offset + 15 > cpu->s.idt.limit)
		return raise_error(cpu, VECTOR_GP, error);
	step = memory_read_system(cpu, cpu->s.idt.base + offset, sizeof(word), word);
	if (step != STEP_NEXT)
		return step;
	*out = (struct gate){
	    .offset = (word[0] & 0xffff) | (word[0] >> 32 & 0xffff0000) | word[1] << 32,
	    .selector = (uint16_t)(word[0] >> 16),
	    .ist = word[0] >> 32 & 7,
	    .type = word[0] >> 40 & 0x1f,
	    .present = word[0] >> 47 & 1,
	};
	if (out->type != GATE_INTERRUPT && out->type != GATE_TRAP)
		return raise_error(cpu, VECTOR_GP, error);
	return out->present ? STEP_NEXT : raise_error(cpu, VECTOR_NP, error);
}

static enum step find_stack(struct cpu *cpu, const struct exception *exception, unsigned int ist,
			    uint64_t *rsp)
{
	uint32_t offset = TSS_IST + (ist - 1) * 8;

	*rsp = cpu->s.gpr[CPU_RSP];
	if (ist == 0)
		return STEP_NEXT;
	if (offset + 7 > cpu->s.tr.limit)
		return raise_error(cpu, VECTOR_TS,
				   (cpu->s.tr.selector & 0xfffcu) | external(exception));
	return memory_read_system(cpu, cpu->s.tr.base + offset, sizeof(*rsp), rsp);
}

static enum step write_frame(struct cpu *cpu, const struct exception *exception, uint64_t *rsp)
{
	/* Of a fault, the instruction is to be executed again: without its breakpoint. */
	uint64_t flags = cpu->s.rflags | (exception->trap ? 0 : FLAG_RF);
	const uint64_t frame[6] = {
	    exception->error,
	    exception->trap ? cpu->next_rip : cpu->s.rip,
	    cpu->s.seg[CPU_CS].selector,
	    flags,
	    cpu->s.gpr[CPU_RSP],
	    cpu->s.seg[CPU_SS].selector,
	};
	unsigned int skip = exception->has_error ? 0 : 1;
	unsigned int size = (unsigned int)sizeof(frame) - skip * 8;
	enum step step;

	*rsp = (*rsp & ~UINT64_C(15)) - size;
	step = memory_write(cpu, *rsp, size, frame + skip);
	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		cpu->exception = (struct exception){
		    .vector = VECTOR_SS, .has_error = true, .error = external(exception)};
	return step;
}

/* Its tables and stacks are memory: reading them from devices is nothing that anybody does. */
static enum step no_mmio(struct cpu *cpu, enum step step)
{
	if (!cpu->mmio.nwrite && !cpu->mmio.waiting)
		return step;
	cpu->mmio.nwrite = cpu->mmio.ndone = 0;
	cpu->mmio.waiting = false;
	return exit_internal(cpu, "an exception whose tables or stack are MMIO");
}

static enum step deliver_one(struct cpu *cpu, const struct exception *exception)
{
	struct descriptor code;
	struct gate gate;
	uint64_t rsp;
	enum step step = read_gate(cpu, exception, &gate);

	if (step == STEP_NEXT)
		step = code_descriptor(cpu, gate.selector, external(exception), &code);
	if (step == STEP_NEXT && !(code.segment.attributes & SEGMENT_L))
		step = raise_error(cpu, VECTOR_GP, (gate.selector & 0xfffcu) | external(exception));
	if (step == STEP_NEXT)
		step = find_stack(cpu, exception, gate.ist, &rsp);
	if (step == STEP_NEXT && !canonical(gate.offset))
		step = raise_error(cpu, VECTOR_GP, external(exception));
	if (step == STEP_NEXT)
		step = descriptor_use(cpu, &code);
	if (step == STEP_NEXT)
		step = write_frame(cpu, exception, &rsp);
	step = no_mmio(cpu, step);
	if (step != STEP_NEXT)
		return step;
	cpu->s.seg[CPU_CS] = code.segment;
	cpu->s.seg[CPU_CS].selector = gate.selector & 0xfffc;
	cpu->s.gpr[CPU_RSP] = rsp;
	cpu->s.rip = gate.offset;
	cpu->s.rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
	if (gate.type == GATE_INTERRUPT)
		cpu->s.rflags &= ~(uint64_t)FLAG_IF;
	return STEP_NEXT;
}

/* ---- Of two exceptions ---------------------------------------------------- */

static bool is_fault(const struct exception *exception, enum vector vector)
{
	return exception->vector == vector && !exception->software;
}

/* INT n is none, whatever its vector: nothing went wrong yet. */
static bool contributory(const struct exception *exception)
{
	if (exception->software)
		return false;
	switch (exception->vector) {
	case VECTOR_DE:
	case VECTOR_TS:
	case VECTOR_NP:
	case VECTOR_SS:
	case VECTOR_GP:
		return true;
	default:
		return false;
	}
}

/* What comes of cpu->exception, raised while `first` was being delivered; false: the end. */
static bool combine(struct cpu *cpu, const struct exception *first)
{
	bool second_pf = is_fault(&cpu->exception, VECTOR_PF);
	bool second = contributory(&cpu->exception);

	if (is_fault(first, VECTOR_DF))
		return false;
	if ((contributory(first) && second) ||
	    (is_fault(first, VECTOR_PF) && (second || second_pf)))
		cpu->exception = (struct exception){
		    .vector = VECTOR_DF, .has_error = true, .cr2 = cpu->exception.cr2};
	return true;
}

enum step exception_deliver(struct cpu *cpu)
{
	for (;;) {
		const struct exception current = cpu->exception;
		enum step step;

		if (is_fault(&current, VECTOR_PF))
			cpu->s.cr2 = current.cr2;
		step = deliver_one(cpu, &current);
		/* Of two page faults it is the second one's, also where they are a double fault. */
		if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_PF)
			cpu->s.cr2 = cpu->exception.cr2;
		if (step == STEP_EXCEPTION && !combine(cpu, &current)) {
			cpu->exit->reason = CPU_EXIT_SHUTDOWN;
			return STEP_EXIT;
		}
		if (step == STEP_EXCEPTION)
			continue;
		/* To be tried again, it is the one that was tried now. */
		cpu->exception = current;
		if (step == STEP_NEXT)
			__atomic_store_n(&cpu->counters.exceptions, cpu->counters.exceptions + 1,
					 __ATOMIC_RELAXED);
		return step;
	}
}
