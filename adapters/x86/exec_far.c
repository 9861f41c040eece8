/* SPDX-License-Identifier: MIT */
/*
 * exec_far.c - transfers that load CS: IRET, far returns, calls and jumps, SYSCALL.
 *
 * From 64-bit code at CPL 0 to the same. What would go elsewhere is an exit before anything
 * changed.
 */
#include <string.h>

#include "memory.h"
#include "operand.h"
#include "system.h"

#define CALL_GATE 12u
/* VIF and VIP are not: there is no virtual-8086 mode. */
#define FLAGS_IRET                                                                                 \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_OF | \
	 FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID)

/* Words of 2, 4 or 8 bytes from the stack. */
static enum step peek(struct cpu *cpu, unsigned int size, unsigned int n, uint64_t *out)
{
	uint8_t bytes[40];
	enum step step = memory_read(cpu, cpu->s.gpr[CPU_RSP], n * size, bytes);

	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		return raise_error(cpu, VECTOR_SS, 0);
	for (unsigned int i = 0; i < n && step == STEP_NEXT; i++) {
		out[i] = 0;
		memcpy(&out[i], bytes + (size_t)i * size, size);
	}
	return step;
}

/* Where a far transfer goes; RPL is 0 where it is a return. */
static enum step target(struct cpu *cpu, uint16_t selector, uint64_t rip, struct descriptor *out)
{
	enum step step = code_descriptor(cpu, selector, 0, out);

	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP && selector & 0xfffc &&
	    descriptor_read(cpu, selector, out) == STEP_NEXT &&
	    (out->segment.attributes & (SEGMENT_S | SEGMENT_TYPE)) == CALL_GATE)
		return exit_internal(cpu, "a call gate");
	if (step != STEP_NEXT)
		return step;
	if (selector & 3)
		return raise_error(cpu, VECTOR_GP, selector & 0xfffcu);
	if (!(out->segment.attributes & SEGMENT_L))
		return exit_internal(cpu, "compatibility mode");
	if (out->segment.attributes & SEGMENT_DB)
		return raise_error(cpu, VECTOR_GP, selector & 0xfffcu);
	if (!canonical(rip))
		return raise_error(cpu, VECTOR_GP, 0);
	return descriptor_use(cpu, out);
}

enum step exec_iret(struct cpu *cpu, const struct insn *insn)
{
	struct cpu_segment stack;
	struct descriptor code;
	uint64_t word[5] = {0}, mask = FLAGS_IRET;
	enum step step;

	if (cpu->s.rflags & FLAG_NT)
		return raise_error(cpu, VECTOR_GP, 0);
	step = peek(cpu, insn->size, 5, word);
	if (step != STEP_NEXT)
		return step;
	if (word[1] & 3)
		return exit_internal(cpu, "user mode");
	step = target(cpu, (uint16_t)word[1], word[0], &code);
	if (step == STEP_NEXT)
		step = segment_find(cpu, CPU_SS, (uint16_t)word[4], &stack);
	if (step != STEP_NEXT)
		return step;
	if (insn->size == 2)
		mask &= 0xffff;
	cpu->next_rip = word[0];
	cpu->s.seg[CPU_CS] = code.segment;
	cpu->s.rflags = (cpu->s.rflags & ~mask) | (word[2] & mask);
	cpu->s.gpr[CPU_RSP] = word[3];
	cpu->s.seg[CPU_SS] = stack;
	return STEP_NEXT;
}

enum step exec_ret_far(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor code;
	uint64_t word[2] = {0};
	enum step step = peek(cpu, insn->size, 2, word);

	if (step != STEP_NEXT)
		return step;
	if (word[1] & 3)
		return exit_internal(cpu, "user mode");
	step = target(cpu, (uint16_t)word[1], word[0], &code);
	if (step != STEP_NEXT)
		return step;
	cpu->next_rip = word[0];
	cpu->s.seg[CPU_CS] = code.segment;
	cpu->s.gpr[CPU_RSP] += 2u * insn->size + insn->imm;
	return STEP_NEXT;
}

/* The far pointer in memory: an offset of the operand's size, then a selector. */
static enum step far_pointer(struct cpu *cpu, const struct insn *insn, struct descriptor *code,
			     uint64_t *rip)
{
	uint8_t bytes[10];
	uint16_t selector;
	enum step step =
	    memory_read(cpu, operand_address(cpu, insn), (unsigned int)insn->size + 2, bytes);

	if (step != STEP_NEXT)
		return step;
	*rip = 0;
	memcpy(rip, bytes, insn->size);
	memcpy(&selector, bytes + insn->size, 2);
	return target(cpu, selector, *rip, code);
}

enum step exec_jmp_far(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor code;
	uint64_t rip;
	enum step step = far_pointer(cpu, insn, &code, &rip);

	if (step != STEP_NEXT)
		return step;
	cpu->next_rip = rip;
	cpu->s.seg[CPU_CS] = code.segment;
	return STEP_NEXT;
}

enum step exec_call_far(struct cpu *cpu, const struct insn *insn)
{
	const uint64_t selector = cpu->s.seg[CPU_CS].selector;
	const uint64_t rsp = cpu->s.gpr[CPU_RSP] - 2u * insn->size;
	struct descriptor code;
	uint8_t frame[16];
	uint64_t rip;
	enum step step = far_pointer(cpu, insn, &code, &rip);

	if (step != STEP_NEXT)
		return step;
	memcpy(frame, &cpu->next_rip, insn->size);
	memcpy(frame + insn->size, &selector, insn->size);
	step = memory_write(cpu, rsp, 2u * insn->size, frame);
	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		return raise_error(cpu, VECTOR_SS, 0);
	if (step != STEP_NEXT)
		return step;
	cpu->next_rip = rip;
	cpu->s.seg[CPU_CS] = code.segment;
	cpu->s.gpr[CPU_RSP] = rsp;
	return STEP_NEXT;
}

/* From CPL 0 to CPL 0 is as good as from elsewhere; no descriptor is read. */
enum step exec_syscall(struct cpu *cpu, const struct insn *insn)
{
	uint16_t selector = cpu->s.msr.star >> 32 & 0xfffc;

	(void)insn;
	if (!(cpu->s.efer & EFER_SCE))
		return raise_plain(cpu, VECTOR_UD);
	cpu->s.gpr[CPU_RCX] = cpu->next_rip;
	cpu->s.gpr[CPU_R8 + 3] = cpu->s.rflags & ~(uint64_t)FLAG_RF;
	cpu->s.rflags = (cpu->s.rflags & ~(cpu->s.msr.fmask | FLAG_RF)) | FLAG_FIXED;
	cpu->s.seg[CPU_CS] =
	    (struct cpu_segment){.limit = UINT32_MAX, .selector = selector, .attributes = 0xa09b};
	cpu->s.seg[CPU_SS] = (struct cpu_segment){
	    .limit = UINT32_MAX, .selector = (uint16_t)(selector + 8), .attributes = 0xc093};
	cpu->next_rip = cpu->s.msr.lstar;
	return STEP_NEXT;
}

enum step exec_sysret(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (!(cpu->s.efer & EFER_SCE))
		return raise_plain(cpu, VECTOR_UD);
	return exit_internal(cpu, "user mode");
}
