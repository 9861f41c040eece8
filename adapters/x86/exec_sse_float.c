/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_float.c - arithmetic and compares of floats and doubles, packed and scalar.
 *
 * Each line of a list is an instruction. All but the approximations (RCP, RSQRT) run under the
 * guest's MXCSR: sse_compute().
 */
#include "sse_exec.h"
#include "exec.h"

/* opcode, prefix, name, bytes of memory, packed (its memory is aligned), feature */
#define LIST_ARITHMETIC(X)                                                                         \
	X(0x51, 0x00, sqrtps, 16, true, SSE_2)                                                     \
	X(0x51, 0x66, sqrtpd, 16, true, SSE_2)                                                     \
	X(0x51, 0xf2, sqrtsd, 8, false, SSE_2)                                                     \
	X(0x51, 0xf3, sqrtss, 4, false, SSE_2)                                                     \
	X(0x58, 0x00, addps, 16, true, SSE_2)                                                      \
	X(0x58, 0x66, addpd, 16, true, SSE_2)                                                      \
	X(0x58, 0xf2, addsd, 8, false, SSE_2)                                                      \
	X(0x58, 0xf3, addss, 4, false, SSE_2)                                                      \
	X(0x59, 0x00, mulps, 16, true, SSE_2)                                                      \
	X(0x59, 0x66, mulpd, 16, true, SSE_2)                                                      \
	X(0x59, 0xf2, mulsd, 8, false, SSE_2)                                                      \
	X(0x59, 0xf3, mulss, 4, false, SSE_2)                                                      \
	X(0x5c, 0x00, subps, 16, true, SSE_2)                                                      \
	X(0x5c, 0x66, subpd, 16, true, SSE_2)                                                      \
	X(0x5c, 0xf2, subsd, 8, false, SSE_2)                                                      \
	X(0x5c, 0xf3, subss, 4, false, SSE_2)                                                      \
	X(0x5d, 0x00, minps, 16, true, SSE_2)                                                      \
	X(0x5d, 0x66, minpd, 16, true, SSE_2)                                                      \
	X(0x5d, 0xf2, minsd, 8, false, SSE_2)                                                      \
	X(0x5d, 0xf3, minss, 4, false, SSE_2)                                                      \
	X(0x5e, 0x00, divps, 16, true, SSE_2)                                                      \
	X(0x5e, 0x66, divpd, 16, true, SSE_2)                                                      \
	X(0x5e, 0xf2, divsd, 8, false, SSE_2)                                                      \
	X(0x5e, 0xf3, divss, 4, false, SSE_2)                                                      \
	X(0x5f, 0x00, maxps, 16, true, SSE_2)                                                      \
	X(0x5f, 0x66, maxpd, 16, true, SSE_2)                                                      \
	X(0x5f, 0xf2, maxsd, 8, false, SSE_2)                                                      \
	X(0x5f, 0xf3, maxss, 4, false, SSE_2)                                                      \
	X(0x7c, 0x66, haddpd, 16, true, SSE_3)                                                     \
	X(0x7c, 0xf2, haddps, 16, true, SSE_3)                                                     \
	X(0x7d, 0x66, hsubpd, 16, true, SSE_3)                                                     \
	X(0x7d, 0xf2, hsubps, 16, true, SSE_3)                                                     \
	X(0xd0, 0x66, addsubpd, 16, true, SSE_3)                                                   \
	X(0xd0, 0xf2, addsubps, 16, true, SSE_3)

#define DEFINE(opcode, prefix, name, bytes, packed, feature)                                       \
	SSE_OP(name, #name)                                                                        \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_float_binary(cpu, insn, bytes, packed, op_##name);                      \
	}

LIST_ARITHMETIC(DEFINE)

/* They raise nothing, and MXCSR has no say in them. */
#define DEFINE_APPROXIMATION(name, bytes, packed)                                                  \
	SSE_OP(name, #name)                                                                        \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_binary(cpu, insn, bytes, packed, op_##name);                            \
	}

DEFINE_APPROXIMATION(rsqrtps, 16, true)
DEFINE_APPROXIMATION(rsqrtss, 4, false)
DEFINE_APPROXIMATION(rcpps, 16, true)
DEFINE_APPROXIMATION(rcpss, 4, false)

/* Of the predicate's byte the upper five bits are ignored. */
#define DEFINE_COMPARE(name, bytes, packed)                                                        \
	SSE_OP_IMM(name, 7u, SSE_CASES_8(#name, 0x0))                                              \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_float_binary(cpu, insn, bytes, packed, op_##name);                      \
	}

DEFINE_COMPARE(cmpps, 16, true)
DEFINE_COMPARE(cmppd, 16, true)
DEFINE_COMPARE(cmpsd, 8, false)
DEFINE_COMPARE(cmpss, 4, false)

/* Compares that set flags: the operation returns them in place of a value. */
#define FLAGS_COMPARED (FLAG_CF | FLAG_PF | FLAG_ZF)
#define FLAGS_CLEARED (FLAG_OF | FLAG_SF | FLAG_AF)

static inline enum step compare(struct cpu *cpu, const struct insn *insn, unsigned int bytes,
				sse_op *op)
{
	__m128i src = _mm_setzero_si128(), dst;
	enum step step = sse_source(cpu, insn, bytes, false, &src);

	if (step != STEP_NEXT)
		return step;
	dst = sse_get(cpu, insn->reg);
	step = sse_compute(cpu, op, &dst, src, 0);
	if (step == STEP_NEXT)
		cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)(FLAGS_COMPARED | FLAGS_CLEARED)) |
				((uint32_t)_mm_cvtsi128_si32(dst) & FLAGS_COMPARED);
	return step;
}

#define DEFINE_FLAGS(name, bytes)                                                                  \
	SSE_INLINE __m128i op_##name(__m128i dst, __m128i src, unsigned int imm)                   \
	{                                                                                          \
		uint32_t flags;                                                                    \
                                                                                                   \
		(void)imm;                                                                         \
		__asm__ volatile(#name " %2, %1\n\tlahf\n\tmovzbl %%ah, %0"                        \
				 : "=a"(flags)                                                     \
				 : "x"(dst), "x"(src)                                              \
				 : "cc");                                                          \
		return _mm_cvtsi32_si128((int)flags);                                              \
	}                                                                                          \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return compare(cpu, insn, bytes, op_##name);                                       \
	}

DEFINE_FLAGS(ucomiss, 4)
DEFINE_FLAGS(ucomisd, 8)
DEFINE_FLAGS(comiss, 4)
DEFINE_FLAGS(comisd, 8)

#define ROW(opcode, prefix, name, bytes, packed, feature)                                          \
	ROW_FLAGS(opcode, prefix, name, bytes, (packed) ? SSE_ALIGNED : 0, feature)
#define ROW_FLAGS(opcode, prefix, name, bytes, flags, feature)                                     \
	{#name,        exec_##name,  SSE_MAP_0F, opcode, prefix,                                   \
	 SSE_NO_GROUP, SSE_NO_GROUP, 16,         bytes,  SSE_REG | SSE_MEM | (flags),              \
	 feature},

static const struct sse_row arithmetic[] = {LIST_ARITHMETIC(ROW)};

static const struct sse_row compares[] = {
    ROW(0x2e, 0x00, ucomiss, 4, false, SSE_2) ROW(0x2e, 0x66, ucomisd, 8, false, SSE_2)
	ROW(0x2f, 0x00, comiss, 4, false, SSE_2) ROW(0x2f, 0x66, comisd, 8, false, SSE_2)
	    ROW(0x52, 0x00, rsqrtps, 16, true, SSE_2) ROW(0x52, 0xf3, rsqrtss, 4, false, SSE_2)
		ROW(0x53, 0x00, rcpps, 16, true, SSE_2) ROW(0x53, 0xf3, rcpss, 4, false, SSE_2)
		    ROW_FLAGS(0xc2, 0x00, cmpps, 16, SSE_IMM8 | SSE_ALIGNED, SSE_2)
			ROW_FLAGS(0xc2, 0x66, cmppd, 16, SSE_IMM8 | SSE_ALIGNED, SSE_2)
			    ROW_FLAGS(0xc2, 0xf2, cmpsd, 8, SSE_IMM8, SSE_2)
				ROW_FLAGS(0xc2, 0xf3, cmpss, 4, SSE_IMM8, SSE_2)};

const struct sse_table sse_arithmetic = {arithmetic, sizeof(arithmetic) / sizeof(arithmetic[0])};
const struct sse_table sse_compare = {compares, sizeof(compares) / sizeof(compares[0])};
