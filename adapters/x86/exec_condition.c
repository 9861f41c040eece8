/* SPDX-License-Identifier: MIT */
/*
 * exec_condition.c - SETcc and CMOVcc.
 *
 * CMOVcc reads its source whether it is true or not, and a destination of 32 bits is extended in
 * either case.
 */
#include "condition.h"
#include "operand.h"

#define SETCC(number)                                                                              \
	static enum step setcc_reg_##number(struct cpu *cpu, const struct insn *insn)              \
	{                                                                                          \
		register_set_8(cpu, insn, insn->rm, condition(cpu->s.rflags, number));             \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step setcc_mem_##number(struct cpu *cpu, const struct insn *insn)              \
	{                                                                                          \
		return memory_store(cpu, operand_address(cpu, insn), 1,                            \
				    condition(cpu->s.rflags, number));                             \
	}

CONDITIONS(SETCC)

#define CMOVCC_SIZE(number, bits)                                                                  \
	static enum step cmovcc_reg_##number##_##bits(struct cpu *cpu, const struct insn *insn)    \
	{                                                                                          \
		uint8_t from = condition(cpu->s.rflags, number) ? insn->reg : insn->rm;            \
                                                                                                   \
		register_set_##bits(cpu, insn, insn->rm, register_get_##bits(cpu, insn, from));    \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step cmovcc_mem_##number##_##bits(struct cpu *cpu, const struct insn *insn)    \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &val);   \
                                                                                                   \
		if (step)                                                                          \
			return step;                                                               \
		if (!condition(cpu->s.rflags, number))                                             \
			val = cpu->s.gpr[insn->reg];                                               \
		register_set_##bits(cpu, insn, insn->reg, (uint##bits##_t)val);                    \
		return STEP_NEXT;                                                                  \
	}

#define CMOVCC(number) CMOVCC_SIZE(number, 16) CMOVCC_SIZE(number, 32) CMOVCC_SIZE(number, 64)

CONDITIONS(CMOVCC)

#define SETCC_FORMS(number) {.reg = {setcc_reg_##number}, .mem = {setcc_mem_##number}},
#define CMOVCC_FORMS(number)                                                                       \
	{.reg = {NULL, cmovcc_reg_##number##_16, cmovcc_reg_##number##_32,                         \
		 cmovcc_reg_##number##_64},                                                        \
	 .mem = {NULL, cmovcc_mem_##number##_16, cmovcc_mem_##number##_32,                         \
		 cmovcc_mem_##number##_64}},

const struct exec_forms exec_setcc[16] = {CONDITIONS(SETCC_FORMS)};
const struct exec_forms exec_cmovcc[16] = {CONDITIONS(CMOVCC_FORMS)};
