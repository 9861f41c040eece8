/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_convert.c - conversions between floats, doubles and integers.
 *
 * Those with a general register on one side pass its value in the low half of an operand. All run
 * under the guest's MXCSR.
 */
#include "sse_exec.h"

/* Between XMM registers: opcode, prefix, name, bytes of memory, packed and 16 bytes */
#define LIST_PACKED(X)                                                                             \
	X(0x5a, 0x00, cvtps2pd, 8, false)                                                          \
	X(0x5a, 0x66, cvtpd2ps, 16, true)                                                          \
	X(0x5a, 0xf2, cvtsd2ss, 8, false)                                                          \
	X(0x5a, 0xf3, cvtss2sd, 4, false)                                                          \
	X(0x5b, 0x00, cvtdq2ps, 16, true)                                                          \
	X(0x5b, 0x66, cvtps2dq, 16, true)                                                          \
	X(0x5b, 0xf3, cvttps2dq, 16, true)                                                         \
	X(0xe6, 0x66, cvttpd2dq, 16, true)                                                         \
	X(0xe6, 0xf2, cvtpd2dq, 16, true)                                                          \
	X(0xe6, 0xf3, cvtdq2pd, 8, false)

#define DEFINE_PACKED(opcode, prefix, name, bytes, aligned)                                        \
	SSE_OP(name, #name)                                                                        \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_float_binary(cpu, insn, bytes, aligned, op_##name);                     \
	}

LIST_PACKED(DEFINE_PACKED)

/* From a general register or memory, insn->size bytes. */
static inline enum step from_integer(struct cpu *cpu, const struct insn *insn, sse_op *op)
{
	enum step step = sse_enter(cpu);
	uint64_t val = 0;
	__m128i dst;

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		step = memory_load(cpu, operand_address(cpu, insn), insn->size, &val);
	else
		val = cpu->s.gpr[insn->rm];
	if (step != STEP_NEXT)
		return step;
	dst = sse_get(cpu, insn->reg);
	step = sse_compute(cpu, op, &dst, _mm_cvtsi64_si128((long long)val), 0);
	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, dst);
	return step;
}

#define DEFINE_FROM(name, text, type)                                                              \
	SSE_INLINE __m128i op_##name(__m128i dst, __m128i src, unsigned int imm)                   \
	{                                                                                          \
		type val = (type)_mm_cvtsi128_si64(src);                                           \
                                                                                                   \
		(void)imm;                                                                         \
		__asm__ volatile(text " %1, %0" : "+x"(dst) : "r"(val));                           \
		return dst;                                                                        \
	}

DEFINE_FROM(cvtsi2sdl, "cvtsi2sdl", int32_t)
DEFINE_FROM(cvtsi2sdq, "cvtsi2sdq", int64_t)
DEFINE_FROM(cvtsi2ssl, "cvtsi2ssl", int32_t)
DEFINE_FROM(cvtsi2ssq, "cvtsi2ssq", int64_t)

static enum step exec_cvtsi2sd(struct cpu *cpu, const struct insn *insn)
{
	if (insn->size == 8)
		return from_integer(cpu, insn, op_cvtsi2sdq);
	return from_integer(cpu, insn, op_cvtsi2sdl);
}

static enum step exec_cvtsi2ss(struct cpu *cpu, const struct insn *insn)
{
	if (insn->size == 8)
		return from_integer(cpu, insn, op_cvtsi2ssq);
	return from_integer(cpu, insn, op_cvtsi2ssl);
}

/* To a general register; `bytes` of memory. */
static inline enum step to_integer(struct cpu *cpu, const struct insn *insn, unsigned int bytes,
				   sse_op *op)
{
	__m128i src = _mm_setzero_si128(), dst = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, bytes, false, &src);

	if (step == STEP_NEXT)
		step = sse_compute(cpu, op, &dst, src, 0);
	if (step == STEP_NEXT)
		cpu->s.gpr[insn->reg] = (uint64_t)_mm_cvtsi128_si64(dst);
	return step;
}

#define DEFINE_TO_SIZE(name, text, type)                                                           \
	SSE_INLINE __m128i op_##name(__m128i dst, __m128i src, unsigned int imm)                   \
	{                                                                                          \
		type val;                                                                          \
                                                                                                   \
		(void)dst, (void)imm;                                                              \
		__asm__ volatile(text " %1, %0" : "=r"(val) : "x"(src));                           \
		return _mm_cvtsi64_si128((long long)val);                                          \
	}
#define DEFINE_TO(name, bytes)                                                                     \
	DEFINE_TO_SIZE(name##l, #name "l", uint32_t)                                               \
	DEFINE_TO_SIZE(name##q, #name "q", uint64_t)                                               \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		if (insn->size == 8)                                                               \
			return to_integer(cpu, insn, bytes, op_##name##q);                         \
		return to_integer(cpu, insn, bytes, op_##name##l);                                 \
	}

DEFINE_TO(cvttsd2si, 8)
DEFINE_TO(cvttss2si, 4)
DEFINE_TO(cvtsd2si, 8)
DEFINE_TO(cvtss2si, 4)

#define RM (SSE_REG | SSE_MEM)
#define ROW(opcode, prefix, name, size, bytes, flags)                                              \
	{#name,        exec_##name, SSE_MAP_0F, opcode,       prefix, SSE_NO_GROUP,                \
	 SSE_NO_GROUP, size,        bytes,      RM | (flags), SSE_2},
#define ROW_PACKED(opcode, prefix, name, bytes, aligned)                                           \
	ROW(opcode, prefix, name, 16, bytes, (aligned) ? SSE_ALIGNED : 0)

static const struct sse_row rows[] = {
    ROW(0x2a, 0xf2, cvtsi2sd, 0, 0, SSE_GPR) ROW(0x2a, 0xf3, cvtsi2ss, 0, 0, SSE_GPR)
	ROW(0x2c, 0xf2, cvttsd2si, 0, 8, SSE_GPR_REG) ROW(0x2c, 0xf3, cvttss2si, 0, 4, SSE_GPR_REG)
	    ROW(0x2d, 0xf2, cvtsd2si, 0, 8, SSE_GPR_REG)
		ROW(0x2d, 0xf3, cvtss2si, 0, 4, SSE_GPR_REG) LIST_PACKED(ROW_PACKED)};

const struct sse_table sse_convert = {rows, sizeof(rows) / sizeof(rows[0])};
