/* SPDX-License-Identifier: MIT */
/*
 * exec_stack.c - PUSH, POP, PUSHF, POPF, ENTER and LEAVE. The segment registers' are in
 * exec_system.c.
 */
#include "operand.h"

#define PUSH(bits)                                                                                 \
	static enum step push_reg_##bits(struct cpu *cpu, const struct insn *insn)                 \
	{                                                                                          \
		return memory_push(cpu, (bits) / 8, cpu->s.gpr[insn->rm]);                         \
	}                                                                                          \
	static enum step push_mem_##bits(struct cpu *cpu, const struct insn *insn)                 \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &val);   \
                                                                                                   \
		return step ? step : memory_push(cpu, (bits) / 8, val);                            \
	}

PUSH(16)
PUSH(64)

const struct exec_forms exec_push_rm = {
    .reg = {NULL, push_reg_16, NULL, push_reg_64},
    .mem = {NULL, push_mem_16, NULL, push_mem_64},
};

/* POP RSP: what was read wins over the increment. */
#define POP(bits)                                                                                  \
	static enum step pop_reg_##bits(struct cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_pop(cpu, (bits) / 8, &val);                                \
                                                                                                   \
		if (!step)                                                                         \
			register_set_##bits(cpu, insn, insn->rm, (uint##bits##_t)val);             \
		return step;                                                                       \
	}

POP(16)
POP(64)

/*
 * An address with RSP in it has RSP behind the pop. RSP itself changes when the store is done.
 */
/* Of an access to the stack that is not a push or a pop of memory.c: #SS, not #GP. */
static enum step stack_step(struct cpu *cpu, enum step step)
{
	if (step == STEP_EXCEPTION && cpu->exception.non_canonical)
		cpu->exception.vector = VECTOR_SS;
	return step;
}

static enum step pop_mem(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *rsp = &cpu->s.gpr[CPU_RSP];
	uint64_t behind = insn->base == CPU_RSP ? insn->size : 0, val;
	enum step step = memory_load(cpu, *rsp, insn->size, &val);

	if (step)
		return stack_step(cpu, step);
	step = memory_store(cpu, operand_address_at(cpu, insn, behind), insn->size, val);
	if (!step)
		*rsp += insn->size;
	return step;
}

const struct exec_forms exec_pop_rm = {
    .reg = {NULL, pop_reg_16, NULL, pop_reg_64},
    .mem = {NULL, pop_mem, NULL, pop_mem},
};

enum step exec_push_imm(struct cpu *cpu, const struct insn *insn)
{
	return memory_push(cpu, insn->size, insn->imm);
}

/* ---- Flags -------------------------------------------------------------- */

#define FLAGS_ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define FLAGS_POPPED                                                                               \
	(FLAGS_ARITHMETIC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID)

enum step exec_pushf(struct cpu *cpu, const struct insn *insn)
{
	return memory_push(cpu, insn->size, cpu->s.rflags & ~(uint64_t)(FLAG_RF | FLAG_VM));
}

enum step exec_popf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t mask = insn->size == 2 ? FLAGS_POPPED & 0xffff : FLAGS_POPPED, val;
	enum step step = memory_pop(cpu, insn->size, &val);

	if (!step)
		cpu->s.rflags = (cpu->s.rflags & ~(mask | FLAG_RF)) | (val & mask) | FLAG_FIXED;
	return step;
}

/* ---- Frames ------------------------------------------------------------- */

/* The frames of outer functions are copied for a level other than 0: up to 31. */
enum step exec_enter(struct cpu *cpu, const struct insn *insn)
{
	unsigned int size = insn->size, level = insn->imm >> 16 & 31, i;
	uint64_t *gpr = cpu->s.gpr;
	uint64_t rsp = gpr[CPU_RSP] - size, rbp = gpr[CPU_RBP], frame = rsp, val;
	enum step step = memory_store(cpu, rsp, size, rbp);

	for (i = 1; !step && i < level; i++) {
		rbp -= size;
		step = memory_load(cpu, rbp, size, &val);
		if (step)
			break;
		rsp -= size;
		step = memory_store(cpu, rsp, size, val);
	}
	if (!step && level) {
		rsp -= size;
		step = memory_store(cpu, rsp, size, frame);
	}
	rsp -= insn->imm & 0xffff;
	/* The processor makes sure that the new stack can be written to. */
	if (!step) {
		void *host;

		step = memory_writable(cpu, rsp, size, &host);
	}
	if (step)
		return stack_step(cpu, step);
	gpr[CPU_RSP] = rsp;
	register_set(cpu, insn, CPU_RBP, size, frame);
	return STEP_NEXT;
}

enum step exec_leave(struct cpu *cpu, const struct insn *insn)
{
	uint64_t rbp = cpu->s.gpr[CPU_RBP], val;
	enum step step = memory_load(cpu, rbp, insn->size, &val);

	if (step)
		return stack_step(cpu, step);
	cpu->s.gpr[CPU_RSP] = rbp + insn->size;
	register_set(cpu, insn, CPU_RBP, insn->size, val);
	return STEP_NEXT;
}
