/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_shuffle.c - shuffles and shifts that take an immediate byte.
 *
 * The host's instructions have the byte in their code; here the shuffles are therefore written out,
 * and the shifts are the host's forms that take the count from a register.
 */
#include "sse_exec.h"

SSE_OP(psrlw, "psrlw")
SSE_OP(psraw, "psraw")
SSE_OP(psllw, "psllw")
SSE_OP(psrld, "psrld")
SSE_OP(psrad, "psrad")
SSE_OP(pslld, "pslld")
SSE_OP(psrlq, "psrlq")
SSE_OP(psllq, "psllq")

#define DEFINE_SHIFT(name)                                                                         \
	static enum step exec_##name##_imm(struct cpu *cpu, const struct insn *insn)               \
	{                                                                                          \
		enum step step = sse_enter(cpu);                                                   \
                                                                                                   \
		if (step == STEP_NEXT)                                                             \
			sse_set(cpu, insn->rm,                                                     \
				op_##name(sse_get(cpu, insn->rm),                                  \
					  _mm_cvtsi32_si128((int)(uint8_t)insn->imm), 0));         \
		return step;                                                                       \
	}

DEFINE_SHIFT(psrlw)
DEFINE_SHIFT(psraw)
DEFINE_SHIFT(psllw)
DEFINE_SHIFT(psrld)
DEFINE_SHIFT(psrad)
DEFINE_SHIFT(pslld)
DEFINE_SHIFT(psrlq)
DEFINE_SHIFT(psllq)

/* 16 bytes of `pair`, from byte `first` on. */
static __m128i window(__m128i low, __m128i high, unsigned int first)
{
	uint8_t bytes[48] = {0};
	__m128i out;

	_mm_storeu_si128((__m128i *)(void *)bytes, low);
	_mm_storeu_si128((__m128i *)(void *)(bytes + 16), high);
	memcpy(&out, bytes + (first < 32 ? first : 32), 16);
	return out;
}

static enum step exec_psrldq(struct cpu *cpu, const struct insn *insn)
{
	unsigned int by = (uint8_t)insn->imm;
	enum step step = sse_enter(cpu);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->rm, window(sse_get(cpu, insn->rm), _mm_setzero_si128(), by));
	return step;
}

static enum step exec_pslldq(struct cpu *cpu, const struct insn *insn)
{
	unsigned int by = (uint8_t)insn->imm;
	enum step step = sse_enter(cpu);

	if (step == STEP_NEXT)
		sse_set(
		    cpu, insn->rm,
		    window(_mm_setzero_si128(), sse_get(cpu, insn->rm), 16 - (by < 16 ? by : 16)));
	return step;
}

static enum step exec_palignr(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, window(src, sse_get(cpu, insn->reg), (uint8_t)insn->imm));
	return step;
}

static enum step exec_pshufd(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint32_t in[4], out[4];

	if (step != STEP_NEXT)
		return step;
	memcpy(in, &src, 16);
	for (unsigned int i = 0; i < 4; i++)
		out[i] = in[insn->imm >> 2 * i & 3];
	memcpy(&cpu->s.xmm[insn->reg], out, 16);
	return step;
}

/* `first` is the first of the four words that are shuffled. */
static enum step shuffle_words(struct cpu *cpu, const struct insn *insn, unsigned int first)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint16_t in[8], out[8];

	if (step != STEP_NEXT)
		return step;
	memcpy(in, &src, 16);
	memcpy(out, &src, 16);
	for (unsigned int i = 0; i < 4; i++)
		out[first + i] = in[first + (insn->imm >> 2 * i & 3)];
	memcpy(&cpu->s.xmm[insn->reg], out, 16);
	return step;
}

static enum step exec_pshuflw(struct cpu *cpu, const struct insn *insn)
{
	return shuffle_words(cpu, insn, 0);
}

static enum step exec_pshufhw(struct cpu *cpu, const struct insn *insn)
{
	return shuffle_words(cpu, insn, 4);
}

static enum step exec_shufps(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint32_t in[2][4], out[4];

	if (step != STEP_NEXT)
		return step;
	memcpy(in[0], &cpu->s.xmm[insn->reg], 16);
	memcpy(in[1], &src, 16);
	for (unsigned int i = 0; i < 4; i++)
		out[i] = in[i >> 1][insn->imm >> 2 * i & 3];
	memcpy(&cpu->s.xmm[insn->reg], out, 16);
	return step;
}

static enum step exec_shufpd(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint64_t in[2][2], out[2];

	if (step != STEP_NEXT)
		return step;
	memcpy(in[0], &cpu->s.xmm[insn->reg], 16);
	memcpy(in[1], &src, 16);
	for (unsigned int i = 0; i < 2; i++)
		out[i] = in[i][insn->imm >> i & 1];
	memcpy(&cpu->s.xmm[insn->reg], out, 16);
	return step;
}

#define RM (SSE_REG | SSE_MEM | SSE_ALIGNED)
#define ROW(map, opcode, prefix, name, exec, group, flags, feature)                                \
	{                                                                                          \
		name, exec, map, opcode, prefix, group, SSE_NO_GROUP, 16, 0, (flags) | SSE_IMM8,   \
		    feature                                                                        \
	}
#define SHUFFLE(opcode, prefix, name)                                                              \
	ROW(SSE_MAP_0F, opcode, prefix, #name, exec_##name, SSE_NO_GROUP, RM, SSE_2)
#define SHIFT(opcode, group, name)                                                                 \
	ROW(SSE_MAP_0F, opcode, 0x66, #name, exec_##name##_imm, group, SSE_REG, SSE_2)

static const struct sse_row rows[] = {
    SHUFFLE(0x70, 0x66, pshufd),
    SHUFFLE(0x70, 0xf2, pshuflw),
    SHUFFLE(0x70, 0xf3, pshufhw),
    SHIFT(0x71, 2, psrlw),
    SHIFT(0x71, 4, psraw),
    SHIFT(0x71, 6, psllw),
    SHIFT(0x72, 2, psrld),
    SHIFT(0x72, 4, psrad),
    SHIFT(0x72, 6, pslld),
    SHIFT(0x73, 2, psrlq),
    ROW(SSE_MAP_0F, 0x73, 0x66, "psrldq", exec_psrldq, 3, SSE_REG, SSE_2),
    SHIFT(0x73, 6, psllq),
    ROW(SSE_MAP_0F, 0x73, 0x66, "pslldq", exec_pslldq, 7, SSE_REG, SSE_2),
    SHUFFLE(0xc6, 0x00, shufps),
    SHUFFLE(0xc6, 0x66, shufpd),
    ROW(SSE_MAP_0F3A, 0x0f, 0x66, "palignr", exec_palignr, SSE_NO_GROUP, RM, SSSE_3),
};

const struct sse_table sse_shuffle = {rows, sizeof(rows) / sizeof(rows[0])};
