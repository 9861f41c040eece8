/* SPDX-License-Identifier: MIT */
/*
 * exec_branch.c - near branches, software interrupts, and what the processor refuses.
 *
 * A branch stores its target in cpu->next_rip. A target that is not canonical is #GP at the branch,
 * before anything is pushed or popped.
 */
#include "condition.h"
#include "memory.h"
#include "operand.h"

static enum step branch(struct cpu *cpu, uint64_t target)
{
	if (__builtin_expect(!canonical(target), 0))
		return raise_error(cpu, VECTOR_GP, 0);
	cpu->next_rip = target;
	return STEP_NEXT;
}

/* ---- Jumps -------------------------------------------------------------- */

#define JCC(number)                                                                                \
	static enum step jcc_##number(struct cpu *cpu, const struct insn *insn)                    \
	{                                                                                          \
		if (!condition(cpu->s.rflags, number))                                             \
			return STEP_NEXT;                                                          \
		return branch(cpu, cpu->s.rip + insn->len + insn->imm);                            \
	}

CONDITIONS(JCC)

#define JCC_FORMS(number) {.reg = {NULL, NULL, NULL, jcc_##number}},

const struct exec_forms exec_jcc[16] = {CONDITIONS(JCC_FORMS)};

enum step exec_jmp_rel(struct cpu *cpu, const struct insn *insn)
{
	return branch(cpu, cpu->s.rip + insn->len + insn->imm);
}

enum step exec_jmp_rm(struct cpu *cpu, const struct insn *insn)
{
	uint64_t target;
	enum step step = rm_get(cpu, insn, 8, &target);

	return step ? step : branch(cpu, target);
}

/* The counter is RCX or, with addresses of 32 bits, ECX. */
static uint64_t counter(const struct cpu *cpu, const struct insn *insn)
{
	uint64_t rcx = cpu->s.gpr[CPU_RCX];

	return insn->addr_size == 4 ? (uint32_t)rcx : rcx;
}

static enum step loop_if(struct cpu *cpu, const struct insn *insn, bool yes)
{
	uint64_t left = counter(cpu, insn) - 1;
	enum step step = STEP_NEXT;

	if (insn->addr_size == 4)
		left = (uint32_t)left;
	if (yes && left)
		step = branch(cpu, cpu->s.rip + insn->len + insn->imm);
	if (!step)
		cpu->s.gpr[CPU_RCX] = left;
	return step;
}

enum step exec_loop(struct cpu *cpu, const struct insn *insn)
{
	return loop_if(cpu, insn, true);
}

enum step exec_loope(struct cpu *cpu, const struct insn *insn)
{
	return loop_if(cpu, insn, cpu->s.rflags & FLAG_ZF);
}

enum step exec_loopne(struct cpu *cpu, const struct insn *insn)
{
	return loop_if(cpu, insn, !(cpu->s.rflags & FLAG_ZF));
}

enum step exec_jrcxz(struct cpu *cpu, const struct insn *insn)
{
	if (counter(cpu, insn))
		return STEP_NEXT;
	return branch(cpu, cpu->s.rip + insn->len + insn->imm);
}

/* ---- Calls and returns -------------------------------------------------- */

static enum step call(struct cpu *cpu, const struct insn *insn, uint64_t target)
{
	enum step step;

	if (__builtin_expect(!canonical(target), 0))
		return raise_error(cpu, VECTOR_GP, 0);
	step = memory_push(cpu, 8, cpu->s.rip + insn->len);
	if (!step)
		cpu->next_rip = target;
	return step;
}

enum step exec_call_rel(struct cpu *cpu, const struct insn *insn)
{
	return call(cpu, insn, cpu->s.rip + insn->len + insn->imm);
}

enum step exec_call_rm(struct cpu *cpu, const struct insn *insn)
{
	uint64_t target;
	enum step step = rm_get(cpu, insn, 8, &target);

	return step ? step : call(cpu, insn, target);
}

/* RSP is put back where the target is refused. */
enum step exec_ret_imm(struct cpu *cpu, const struct insn *insn)
{
	uint64_t rsp = cpu->s.gpr[CPU_RSP], target;
	enum step step = memory_pop(cpu, 8, &target);

	if (step)
		return step;
	step = branch(cpu, target);
	cpu->s.gpr[CPU_RSP] = step ? rsp : rsp + 8 + insn->imm;
	return step;
}

enum step exec_ret(struct cpu *cpu, const struct insn *insn)
{
	return exec_ret_imm(cpu, insn);
}

/* ---- Exceptions --------------------------------------------------------- */

enum step exec_ud(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return raise_plain(cpu, VECTOR_UD);
}

enum step exec_gp(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return raise_error(cpu, VECTOR_GP, 0);
}

static enum step software_interrupt(struct cpu *cpu, uint8_t vector)
{
	cpu->exception = (struct exception){.vector = vector, .trap = true, .software = true};
	return STEP_EXCEPTION;
}

enum step exec_int3(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return software_interrupt(cpu, VECTOR_BP);
}

enum step exec_int(struct cpu *cpu, const struct insn *insn)
{
	return software_interrupt(cpu, (uint8_t)insn->imm);
}
