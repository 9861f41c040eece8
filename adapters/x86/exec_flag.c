/* SPDX-License-Identifier: MIT */
/*
 * exec_flag.c - single flags, and their low byte in AH.
 */
#include "exec.h"

#define FLAGS_AH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)

enum step exec_lahf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t ah = (cpu->s.rflags & FLAGS_AH) | FLAG_FIXED;

	(void)insn;
	cpu->s.gpr[CPU_RAX] = (cpu->s.gpr[CPU_RAX] & ~0xff00ull) | ah << 8;
	return STEP_NEXT;
}

enum step exec_sahf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t ah = cpu->s.gpr[CPU_RAX] >> 8 & FLAGS_AH;

	(void)insn;
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAGS_AH) | ah;
	return STEP_NEXT;
}

#define FLAG(name, expression)                                                                     \
	enum step name(struct cpu *cpu, const struct insn *insn)                                   \
	{                                                                                          \
		uint64_t flags = cpu->s.rflags;                                                    \
                                                                                                   \
		(void)insn;                                                                        \
		cpu->s.rflags = (expression);                                                      \
		return STEP_NEXT;                                                                  \
	}

FLAG(exec_clc, flags & ~(uint64_t)FLAG_CF)
FLAG(exec_stc, flags | FLAG_CF)
FLAG(exec_cmc, flags ^ FLAG_CF)
FLAG(exec_cld, flags & ~(uint64_t)FLAG_DF)
FLAG(exec_std, flags | FLAG_DF)
FLAG(exec_cli, flags & ~(uint64_t)FLAG_IF)
FLAG(exec_sti, flags | FLAG_IF)
