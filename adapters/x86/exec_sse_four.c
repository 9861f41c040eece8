/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_four.c - what SSE4.1 and SSE4.2 add that is not plain arithmetic of packed integers.
 */
#include "sse_exec.h"
#include "exec.h"

#define FLAGS_ALL (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* ---- Blends: bytes of the source where the mask is set ------------------ */

static __m128i select_bytes(__m128i mask, __m128i yes, __m128i no)
{
	return _mm_or_si128(_mm_and_si128(mask, yes), _mm_andnot_si128(mask, no));
}

/* By the sign bits of XMM0. */
static enum step blend_by_sign(struct cpu *cpu, const struct insn *insn, __m128i mask)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, select_bytes(mask, src, sse_get(cpu, insn->reg)));
	return step;
}

static enum step exec_pblendvb(struct cpu *cpu, const struct insn *insn)
{
	return blend_by_sign(cpu, insn, _mm_cmplt_epi8(sse_get(cpu, 0), _mm_setzero_si128()));
}

static enum step exec_blendvps(struct cpu *cpu, const struct insn *insn)
{
	return blend_by_sign(cpu, insn, _mm_srai_epi32(sse_get(cpu, 0), 31));
}

static enum step exec_blendvpd(struct cpu *cpu, const struct insn *insn)
{
	__m128i signs = _mm_srai_epi32(sse_get(cpu, 0), 31);

	return blend_by_sign(cpu, insn, _mm_shuffle_epi32(signs, 0xf5));
}

/* By the bits of the immediate, one for each element. */
static enum step blend_by_imm(struct cpu *cpu, const struct insn *insn, unsigned int element)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint8_t bytes[16];

	if (step != STEP_NEXT)
		return step;
	memcpy(bytes, &src, 16);
	for (unsigned int i = 0; i < 16; i++)
		if (insn->imm >> i / element & 1)
			cpu->s.xmm[insn->reg].bytes[i] = bytes[i];
	return STEP_NEXT;
}

static enum step exec_blendps(struct cpu *cpu, const struct insn *insn)
{
	return blend_by_imm(cpu, insn, 4);
}

static enum step exec_blendpd(struct cpu *cpu, const struct insn *insn)
{
	return blend_by_imm(cpu, insn, 8);
}

static enum step exec_pblendw(struct cpu *cpu, const struct insn *insn)
{
	return blend_by_imm(cpu, insn, 2);
}

/* ---- Extending, testing, multiplying with an immediate ------------------ */

#define LIST_EXTEND(X)                                                                             \
	X(0x20, pmovsxbw, 8)                                                                       \
	X(0x21, pmovsxbd, 4)                                                                       \
	X(0x22, pmovsxbq, 2)                                                                       \
	X(0x23, pmovsxwd, 8)                                                                       \
	X(0x24, pmovsxwq, 4)                                                                       \
	X(0x25, pmovsxdq, 8)

#define LIST_EXTEND_ZERO(X)                                                                        \
	X(0x30, pmovzxbw, 8)                                                                       \
	X(0x31, pmovzxbd, 4)                                                                       \
	X(0x32, pmovzxbq, 2)                                                                       \
	X(0x33, pmovzxwd, 8)                                                                       \
	X(0x34, pmovzxwq, 4)                                                                       \
	X(0x35, pmovzxdq, 8)

#define DEFINE_EXTEND(opcode, name, bytes)                                                         \
	SSE_OP(name, #name)                                                                        \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_binary(cpu, insn, bytes, false, op_##name);                             \
	}

LIST_EXTEND(DEFINE_EXTEND)
LIST_EXTEND_ZERO(DEFINE_EXTEND)

static enum step exec_ptest(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128(), dst = sse_get(cpu, insn->reg);
	enum step step = sse_source(cpu, insn, 16, true, &src);
	uint64_t flags = 0;

	if (step != STEP_NEXT)
		return step;
	if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(dst, src), _mm_setzero_si128())) ==
	    0xffff)
		flags |= FLAG_ZF;
	if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_andnot_si128(dst, src), _mm_setzero_si128())) ==
	    0xffff)
		flags |= FLAG_CF;
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAGS_ALL) | flags;
	return STEP_NEXT;
}

static enum step exec_movntdqa(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, src);
	return step;
}

SSE_OP_IMM(mpsadbw, 7u, SSE_CASES_8("mpsadbw", 0x0))

static enum step exec_mpsadbw(struct cpu *cpu, const struct insn *insn)
{
	return sse_binary(cpu, insn, 16, true, op_mpsadbw);
}

/* ---- Floats with an immediate ------------------------------------------- */

#define CASES_EVERY(text)                                                                          \
	SSE_CASES_16(text, 0x0)                                                                    \
	SSE_CASES_16(text, 0x1)                                                                    \
	SSE_CASES_16(text, 0x2)                                                                    \
	SSE_CASES_16(text, 0x3)                                                                    \
	SSE_CASES_16(text, 0x4)                                                                    \
	SSE_CASES_16(text, 0x5)                                                                    \
	SSE_CASES_16(text, 0x6)                                                                    \
	SSE_CASES_16(text, 0x7)                                                                    \
	SSE_CASES_16(text, 0x8)                                                                    \
	SSE_CASES_16(text, 0x9)                                                                    \
	SSE_CASES_16(text, 0xa)                                                                    \
	SSE_CASES_16(text, 0xb)                                                                    \
	SSE_CASES_16(text, 0xc)                                                                    \
	SSE_CASES_16(text, 0xd)                                                                    \
	SSE_CASES_16(text, 0xe)                                                                    \
	SSE_CASES_16(text, 0xf)

SSE_OP_IMM(roundps, 15u, SSE_CASES_16("roundps", 0x0))
SSE_OP_IMM(roundpd, 15u, SSE_CASES_16("roundpd", 0x0))
SSE_OP_IMM(roundss, 15u, SSE_CASES_16("roundss", 0x0))
SSE_OP_IMM(roundsd, 15u, SSE_CASES_16("roundsd", 0x0))
SSE_OP_IMM(dpps, 0xffu, CASES_EVERY("dpps"))
SSE_OP_IMM(dppd, 0xffu, CASES_EVERY("dppd"))

#define DEFINE_FLOAT(name, bytes, packed)                                                          \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_float_binary(cpu, insn, bytes, packed, op_##name);                      \
	}

DEFINE_FLOAT(roundps, 16, true)
DEFINE_FLOAT(roundpd, 16, true)
DEFINE_FLOAT(roundss, 4, false)
DEFINE_FLOAT(roundsd, 8, false)
DEFINE_FLOAT(dpps, 16, true)
DEFINE_FLOAT(dppd, 16, true)

/* ---- Elements ----------------------------------------------------------- */

/* `size` bytes of ModRM.reg, from the element that the immediate says, to ModRM.rm. */
static enum step extract(struct cpu *cpu, const struct insn *insn, unsigned int size)
{
	enum step step = sse_enter(cpu);
	uint64_t val = 0;

	if (step != STEP_NEXT)
		return step;
	memcpy(&val, cpu->s.xmm[insn->reg].bytes + size * (insn->imm & (16 / size - 1)), size);
	if (insn->memory)
		return memory_store(cpu, operand_address(cpu, insn), size, val);
	cpu->s.gpr[insn->rm] = val;
	return STEP_NEXT;
}

static enum step exec_pextrb(struct cpu *cpu, const struct insn *insn)
{
	return extract(cpu, insn, 1);
}

static enum step exec_pextrw_store(struct cpu *cpu, const struct insn *insn)
{
	return extract(cpu, insn, 2);
}

static enum step exec_pextrd(struct cpu *cpu, const struct insn *insn)
{
	return extract(cpu, insn, insn->size);
}

static enum step exec_extractps(struct cpu *cpu, const struct insn *insn)
{
	return extract(cpu, insn, 4);
}

static enum step insert(struct cpu *cpu, const struct insn *insn, unsigned int size)
{
	enum step step = sse_enter(cpu);
	uint64_t val = cpu->s.gpr[insn->memory ? 0 : insn->rm];

	if (step == STEP_NEXT && insn->memory)
		step = memory_load(cpu, operand_address(cpu, insn), size, &val);
	if (step == STEP_NEXT)
		memcpy(cpu->s.xmm[insn->reg].bytes + size * (insn->imm & (16 / size - 1)), &val,
		       size);
	return step;
}

static enum step exec_pinsrb(struct cpu *cpu, const struct insn *insn)
{
	return insert(cpu, insn, 1);
}

static enum step exec_pinsrd(struct cpu *cpu, const struct insn *insn)
{
	return insert(cpu, insn, insn->size);
}

/* Bits 6-7 of the immediate choose the source's element, 4-5 its place, 0-3 what becomes zero. */
static enum step exec_insertps(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 4, false, &src);
	uint32_t in[4], out[4];

	if (step != STEP_NEXT)
		return step;
	memcpy(in, &src, 16);
	memcpy(out, &cpu->s.xmm[insn->reg], 16);
	out[insn->imm >> 4 & 3] = in[insn->memory ? 0 : insn->imm >> 6 & 3];
	for (unsigned int i = 0; i < 4; i++)
		if (insn->imm >> i & 1)
			out[i] = 0;
	memcpy(&cpu->s.xmm[insn->reg], out, 16);
	return STEP_NEXT;
}

/* ---- Strings ------------------------------------------------------------ */

#define STRING_CASE(text, high, low)                                                               \
	case high##low:                                                                            \
		__asm__ volatile(text " $" #high #low ", %[src], %[dst]\n\t"                       \
				      "lahf\n\tseto %%al\n\tmovdqa %%xmm0, %[mask]"                \
				 : "+a"(a), "+c"(c), [mask] "=x"(mask)                             \
				 : [dst] "x"(dst), [src] "x"(src), "d"(d)                          \
				 : "cc", "xmm0");                                                  \
		break;
#define STRING_CASES_16(text, high) SSE_EACH_16(STRING_CASE, text, high)

/* An explicit length, of which no more than 16 counts whatever its sign. */
static uint32_t string_length(uint64_t reg, unsigned int size)
{
	uint64_t len = size == 8 ? reg : (uint64_t)(int64_t)(int32_t)reg;

	if (len >> 63)
		len = 0 - len;
	return len > 16 ? 16 : (uint32_t)len;
}

/* Where instructions leave their mask in XMM0, and their index in RCX. */
struct string_result {
	__m128i mask;
	uint32_t index;
};

typedef uint32_t string_op(__m128i dst, __m128i src, uint32_t a, uint32_t d, unsigned int imm,
			   struct string_result *out);

static enum step string(struct cpu *cpu, const struct insn *insn, string_op *op, bool to_mask)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, false, &src);
	struct string_result result;
	uint32_t ax;

	if (step != STEP_NEXT)
		return step;
	ax = op(sse_get(cpu, insn->reg), src, string_length(cpu->s.gpr[CPU_RAX], insn->size),
		string_length(cpu->s.gpr[CPU_RDX], insn->size), insn->imm & 0x7f, &result);
	if (to_mask)
		sse_set(cpu, 0, result.mask);
	else
		cpu->s.gpr[CPU_RCX] = result.index;
	/* AH has the lower flags; AL says whether there was an overflow. */
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAGS_ALL) |
			(ax >> 8 & (FLAG_CF | FLAG_ZF | FLAG_SF)) | (ax & 1 ? FLAG_OF : 0);
	return STEP_NEXT;
}

#define DEFINE_STRING(name, to_mask)                                                               \
	static uint32_t op_##name(__m128i dst, __m128i src, uint32_t a, uint32_t d,                \
				  unsigned int imm, struct string_result *out)                     \
	{                                                                                          \
		__m128i mask = _mm_setzero_si128();                                                \
		uint32_t c = 0;                                                                    \
                                                                                                   \
		switch (imm) {                                                                     \
			STRING_CASES_16(#name, 0x0)                                                \
			STRING_CASES_16(#name, 0x1)                                                \
			STRING_CASES_16(#name, 0x2)                                                \
			STRING_CASES_16(#name, 0x3)                                                \
			STRING_CASES_16(#name, 0x4)                                                \
			STRING_CASES_16(#name, 0x5)                                                \
			STRING_CASES_16(#name, 0x6)                                                \
			STRING_CASES_16(#name, 0x7)                                                \
		}                                                                                  \
		*out = (struct string_result){.mask = mask, .index = c};                           \
		return a;                                                                          \
	}                                                                                          \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return string(cpu, insn, op_##name, to_mask);                                      \
	}

DEFINE_STRING(pcmpestrm, true)
DEFINE_STRING(pcmpestri, false)
DEFINE_STRING(pcmpistrm, true)
DEFINE_STRING(pcmpistri, false)

/* ---- Rows --------------------------------------------------------------- */

#define RM (SSE_REG | SSE_MEM)
#define ROW(map, opcode, name, exec, size, bytes, flags, feature)                                  \
	{                                                                                          \
		name, exec, map, opcode, 0x66, SSE_NO_GROUP, SSE_NO_GROUP, size, bytes, flags,     \
		    feature                                                                        \
	}
#define ROW_38(opcode, name, bytes, flags)                                                         \
	ROW(SSE_MAP_0F38, opcode, #name, exec_##name, 16, bytes, flags, SSE_4_1)
#define ROW_3A(opcode, name, bytes, flags)                                                         \
	ROW(SSE_MAP_0F3A, opcode, #name, exec_##name, 16, bytes, (flags) | SSE_IMM8, SSE_4_1)
#define ROW_GPR(opcode, name, exec, bytes, flags)                                                  \
	ROW(SSE_MAP_0F3A, opcode, name, exec, 0, bytes, (flags) | SSE_IMM8, SSE_4_1)
#define ROW_STRING(opcode, name)                                                                   \
	ROW(SSE_MAP_0F3A, opcode, #name, exec_##name, 0, 16, RM | SSE_IMM8, SSE_4_2)
#define ROW_EXTEND(opcode, name, bytes) ROW_38(opcode, name, bytes, RM),

static const struct sse_row rows[] = {
    ROW_38(0x10, pblendvb, 16, RM | SSE_ALIGNED),
    ROW_38(0x14, blendvps, 16, RM | SSE_ALIGNED),
    ROW_38(0x15, blendvpd, 16, RM | SSE_ALIGNED),
    ROW_38(0x17, ptest, 16, RM | SSE_ALIGNED),
    LIST_EXTEND(ROW_EXTEND) ROW_38(0x2a, movntdqa, 16, SSE_MEM | SSE_ALIGNED),
    LIST_EXTEND_ZERO(ROW_EXTEND) ROW_3A(0x08, roundps, 16, RM | SSE_ALIGNED),
    ROW_3A(0x09, roundpd, 16, RM | SSE_ALIGNED),
    ROW_3A(0x0a, roundss, 4, RM),
    ROW_3A(0x0b, roundsd, 8, RM),
    ROW_3A(0x0c, blendps, 16, RM | SSE_ALIGNED),
    ROW_3A(0x0d, blendpd, 16, RM | SSE_ALIGNED),
    ROW_3A(0x0e, pblendw, 16, RM | SSE_ALIGNED),
    ROW_GPR(0x14, "pextrb", exec_pextrb, 1, RM | SSE_STORES | SSE_GPR),
    ROW_GPR(0x15, "pextrw", exec_pextrw_store, 2, RM | SSE_STORES | SSE_GPR),
    ROW_GPR(0x16, "pextrd", exec_pextrd, 0, RM | SSE_STORES | SSE_GPR),
    ROW_GPR(0x17, "extractps", exec_extractps, 4, RM | SSE_STORES | SSE_GPR),
    ROW_GPR(0x20, "pinsrb", exec_pinsrb, 1, RM | SSE_GPR),
    ROW_3A(0x21, insertps, 4, RM),
    ROW_GPR(0x22, "pinsrd", exec_pinsrd, 0, RM | SSE_GPR),
    ROW_3A(0x40, dpps, 16, RM | SSE_ALIGNED),
    ROW_3A(0x41, dppd, 16, RM | SSE_ALIGNED),
    ROW_3A(0x42, mpsadbw, 16, RM | SSE_ALIGNED),
    ROW_STRING(0x60, pcmpestrm),
    ROW_STRING(0x61, pcmpestri),
    ROW_STRING(0x62, pcmpistrm),
    ROW_STRING(0x63, pcmpistri),
};

const struct sse_table sse_four = {rows, sizeof(rows) / sizeof(rows[0])};
