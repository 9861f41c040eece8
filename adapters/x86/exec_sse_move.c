/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_move.c - moves between XMM registers, memory and general registers.
 *
 * Non-temporal forms are plain here. Rows with the same opcode and prefix differ in whether the
 * operand is a register or memory, since many of these instructions are another one then.
 */
#include "sse_exec.h"

#define LOW 0
#define HIGH 8

/* Loads of 16 bytes, or copies of a register. */
static enum step exec_load_aligned(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, src);
	return step;
}

static enum step exec_load_unaligned(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, false, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, src);
	return step;
}

static inline enum step store(struct cpu *cpu, const struct insn *insn, bool aligned)
{
	enum step step = sse_enter(cpu);

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return sse_store(cpu, insn, 16, aligned, sse_get(cpu, insn->reg));
	sse_set(cpu, insn->rm, sse_get(cpu, insn->reg));
	return STEP_NEXT;
}

static enum step exec_store_aligned(struct cpu *cpu, const struct insn *insn)
{
	return store(cpu, insn, true);
}

static enum step exec_store_unaligned(struct cpu *cpu, const struct insn *insn)
{
	return store(cpu, insn, false);
}

/* Scalars: from memory the rest becomes zero; between registers it stays. */
static inline enum step load_scalar(struct cpu *cpu, const struct insn *insn, unsigned int size)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, size, false, &src);

	if (step == STEP_NEXT)
		memcpy(&cpu->s.xmm[insn->reg], &src, insn->memory ? 16 : size);
	return step;
}

static inline enum step store_scalar(struct cpu *cpu, const struct insn *insn, unsigned int size)
{
	enum step step = sse_enter(cpu);
	__m128i val = sse_get(cpu, insn->reg);

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return sse_store(cpu, insn, size, false, val);
	memcpy(&cpu->s.xmm[insn->rm], &val, size);
	return STEP_NEXT;
}

static enum step exec_load_ss(struct cpu *cpu, const struct insn *insn)
{
	return load_scalar(cpu, insn, 4);
}

static enum step exec_load_sd(struct cpu *cpu, const struct insn *insn)
{
	return load_scalar(cpu, insn, 8);
}

static enum step exec_store_ss(struct cpu *cpu, const struct insn *insn)
{
	return store_scalar(cpu, insn, 4);
}

static enum step exec_store_sd(struct cpu *cpu, const struct insn *insn)
{
	return store_scalar(cpu, insn, 8);
}

/* Halves: 8 bytes from `from` of the source (memory has but one) to `to`; the other half stays. */
static inline enum step load_half(struct cpu *cpu, const struct insn *insn, unsigned int from,
				  unsigned int to)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 8, false, &src);
	uint8_t bytes[16];

	if (step != STEP_NEXT)
		return step;
	memcpy(bytes, &src, 16);
	memcpy(cpu->s.xmm[insn->reg].bytes + to, bytes + from, 8);
	return STEP_NEXT;
}

static enum step exec_load_low(struct cpu *cpu, const struct insn *insn)
{
	return load_half(cpu, insn, LOW, LOW);
}

static enum step exec_load_high(struct cpu *cpu, const struct insn *insn)
{
	return load_half(cpu, insn, LOW, HIGH);
}

static enum step exec_movhlps(struct cpu *cpu, const struct insn *insn)
{
	return load_half(cpu, insn, HIGH, LOW);
}

static enum step exec_store_high(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);

	if (step != STEP_NEXT)
		return step;
	return sse_store(cpu, insn, 8, false, _mm_srli_si128(sse_get(cpu, insn->reg), 8));
}

/* MOVQ: the upper half becomes zero between registers, too. */
static enum step exec_movq_load(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 8, false, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, _mm_move_epi64(src));
	return step;
}

static enum step exec_movq_store(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	__m128i val = sse_get(cpu, insn->reg);

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return sse_store(cpu, insn, 8, false, val);
	sse_set(cpu, insn->rm, _mm_move_epi64(val));
	return STEP_NEXT;
}

/* MOVD and MOVQ of general registers: insn->size is 4 or 8. */
static enum step exec_movd_load(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint64_t val = 0;

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		step = memory_load(cpu, operand_address(cpu, insn), insn->size, &val);
	else
		val = insn->size == 4 ? (uint32_t)cpu->s.gpr[insn->rm] : cpu->s.gpr[insn->rm];
	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, _mm_cvtsi64_si128((long long)val));
	return step;
}

static enum step exec_movd_store(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint64_t val = (uint64_t)_mm_cvtsi128_si64(sse_get(cpu, insn->reg));

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return memory_store(cpu, operand_address(cpu, insn), insn->size, val);
	cpu->s.gpr[insn->rm] = insn->size == 4 ? (uint32_t)val : val;
	return STEP_NEXT;
}

/* Sign bits into a general register. */
#define DEFINE_MASK(name)                                                                          \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		enum step step = sse_enter(cpu);                                                   \
		uint32_t val;                                                                      \
                                                                                                   \
		if (step != STEP_NEXT)                                                             \
			return step;                                                               \
		__asm__ volatile(#name " %1, %0" : "=r"(val) : "x"(sse_get(cpu, insn->rm)));       \
		cpu->s.gpr[insn->reg] = val;                                                       \
		return STEP_NEXT;                                                                  \
	}

DEFINE_MASK(movmskps)
DEFINE_MASK(movmskpd)
DEFINE_MASK(pmovmskb)

static enum step exec_pinsrw(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint64_t val = cpu->s.gpr[insn->memory ? 0 : insn->rm];

	if (step == STEP_NEXT && insn->memory)
		step = memory_load(cpu, operand_address(cpu, insn), 2, &val);
	if (step == STEP_NEXT)
		memcpy(cpu->s.xmm[insn->reg].bytes + 2 * (insn->imm & 7), &val, 2);
	return step;
}

static enum step exec_pextrw(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint16_t val;

	if (step != STEP_NEXT)
		return step;
	memcpy(&val, cpu->s.xmm[insn->rm].bytes + 2 * (insn->imm & 7), 2);
	cpu->s.gpr[insn->reg] = val;
	return STEP_NEXT;
}

/* Store the bytes from `first` on whose mask says so, up to the first one that is left out. */
static enum step store_run(struct cpu *cpu, uint64_t linear, const uint8_t *bytes, uint32_t mask,
			   unsigned int *first)
{
	unsigned int begin = *first, end = begin;

	while (end < 16 && (mask >> end & 1))
		end++;
	*first = end;
	return memory_write(cpu, linear + begin, end - begin, bytes + begin);
}

/* The bytes of ModRM.reg whose counterparts in ModRM.rm have bit 7 set go to DS:RDI. */
static enum step exec_maskmovdqu(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint32_t mask = (uint32_t)_mm_movemask_epi8(sse_get(cpu, insn->rm));
	uint64_t linear = cpu->s.gpr[CPU_RDI];
	void *host;

	if (step != STEP_NEXT)
		return step;
	if (insn->addr_size == 4)
		linear = (uint32_t)linear;
	if (insn->segment >= CPU_FS)
		linear += cpu->s.seg[insn->segment].base;
	/* All 16 bytes may be written before any is (X1), whatever the mask says. */
	step = memory_writable(cpu, linear, 16, &host);
	for (unsigned int i = 0; step == STEP_NEXT && i < 16;) {
		if (mask >> i & 1)
			step = store_run(cpu, linear, cpu->s.xmm[insn->reg].bytes, mask, &i);
		else
			i++;
	}
	return step;
}

/* SSE3: duplicates. */
static enum step exec_movddup(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 8, false, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, _mm_unpacklo_epi64(src, src));
	return step;
}

static enum step exec_movsldup(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, _mm_shuffle_epi32(src, 0xa0));
	return step;
}

static enum step exec_movshdup(struct cpu *cpu, const struct insn *insn)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, 16, true, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, _mm_shuffle_epi32(src, 0xf5));
	return step;
}

#define RM (SSE_REG | SSE_MEM)
#define A SSE_ALIGNED
#define W SSE_STORES
#define ROW_OF(opcode, prefix, name, exec, size, bytes, flags, feature)                            \
	{                                                                                          \
		name, exec, SSE_MAP_0F, opcode, prefix, SSE_NO_GROUP, SSE_NO_GROUP, size, bytes,   \
		    flags, feature                                                                 \
	}
#define ROW(opcode, prefix, name, exec, bytes, flags)                                              \
	ROW_OF(opcode, prefix, name, exec, 16, bytes, flags, SSE_2)
#define ROW_3(opcode, prefix, name, exec, bytes, flags)                                            \
	ROW_OF(opcode, prefix, name, exec, 16, bytes, flags, SSE_3)
/* The size is that of a general register. */
#define ROW_GPR(opcode, prefix, name, exec, bytes, flags)                                          \
	ROW_OF(opcode, prefix, name, exec, 0, bytes, flags, SSE_2)

static const struct sse_row rows[] = {
    ROW(0x10, 0x00, "movups", exec_load_unaligned, 16, RM),
    ROW(0x10, 0x66, "movupd", exec_load_unaligned, 16, RM),
    ROW(0x10, 0xf2, "movsd", exec_load_sd, 8, RM),
    ROW(0x10, 0xf3, "movss", exec_load_ss, 4, RM),
    ROW(0x11, 0x00, "movups", exec_store_unaligned, 16, RM | W),
    ROW(0x11, 0x66, "movupd", exec_store_unaligned, 16, RM | W),
    ROW(0x11, 0xf2, "movsd", exec_store_sd, 8, RM | W),
    ROW(0x11, 0xf3, "movss", exec_store_ss, 4, RM | W),
    ROW(0x12, 0x00, "movlps", exec_load_low, 8, SSE_MEM),
    ROW(0x12, 0x00, "movhlps", exec_movhlps, 8, SSE_REG),
    ROW(0x12, 0x66, "movlpd", exec_load_low, 8, SSE_MEM),
    ROW_3(0x12, 0xf2, "movddup", exec_movddup, 8, RM),
    ROW_3(0x12, 0xf3, "movsldup", exec_movsldup, 16, RM | A),
    ROW(0x13, 0x00, "movlps", exec_store_sd, 8, SSE_MEM | W),
    ROW(0x13, 0x66, "movlpd", exec_store_sd, 8, SSE_MEM | W),
    ROW(0x16, 0x00, "movhps", exec_load_high, 8, SSE_MEM),
    ROW(0x16, 0x00, "movlhps", exec_load_high, 8, SSE_REG),
    ROW(0x16, 0x66, "movhpd", exec_load_high, 8, SSE_MEM),
    ROW_3(0x16, 0xf3, "movshdup", exec_movshdup, 16, RM | A),
    ROW(0x17, 0x00, "movhps", exec_store_high, 8, SSE_MEM | W),
    ROW(0x17, 0x66, "movhpd", exec_store_high, 8, SSE_MEM | W),
    ROW(0x28, 0x00, "movaps", exec_load_aligned, 16, RM | A),
    ROW(0x28, 0x66, "movapd", exec_load_aligned, 16, RM | A),
    ROW(0x29, 0x00, "movaps", exec_store_aligned, 16, RM | A | W),
    ROW(0x29, 0x66, "movapd", exec_store_aligned, 16, RM | A | W),
    ROW(0x2b, 0x00, "movntps", exec_store_aligned, 16, SSE_MEM | A | W),
    ROW(0x2b, 0x66, "movntpd", exec_store_aligned, 16, SSE_MEM | A | W),
    ROW_GPR(0x50, 0x00, "movmskps", exec_movmskps, 0, SSE_REG | SSE_GPR_REG),
    ROW_GPR(0x50, 0x66, "movmskpd", exec_movmskpd, 0, SSE_REG | SSE_GPR_REG),
    ROW_GPR(0x6e, 0x66, "movd", exec_movd_load, 0, RM | SSE_GPR),
    ROW(0x6f, 0x66, "movdqa", exec_load_aligned, 16, RM | A),
    ROW(0x6f, 0xf3, "movdqu", exec_load_unaligned, 16, RM),
    ROW_GPR(0x7e, 0x66, "movd", exec_movd_store, 0, RM | W | SSE_GPR),
    ROW(0x7e, 0xf3, "movq", exec_movq_load, 8, RM),
    ROW(0x7f, 0x66, "movdqa", exec_store_aligned, 16, RM | A | W),
    ROW(0x7f, 0xf3, "movdqu", exec_store_unaligned, 16, RM | W),
    ROW_GPR(0xc4, 0x66, "pinsrw", exec_pinsrw, 2, RM | SSE_IMM8 | SSE_GPR),
    ROW_GPR(0xc5, 0x66, "pextrw", exec_pextrw, 0, SSE_REG | SSE_IMM8 | SSE_GPR_REG),
    ROW(0xd6, 0x66, "movq", exec_movq_store, 8, RM | W),
    ROW_GPR(0xd7, 0x66, "pmovmskb", exec_pmovmskb, 0, SSE_REG | SSE_GPR_REG),
    ROW(0xe7, 0x66, "movntdq", exec_store_aligned, 16, SSE_MEM | A | W),
    ROW_3(0xf0, 0xf2, "lddqu", exec_load_unaligned, 16, SSE_MEM),
    ROW(0xf7, 0x66, "maskmovdqu", exec_maskmovdqu, 0, SSE_REG),
};

const struct sse_table sse_move = {rows, sizeof(rows) / sizeof(rows[0])};
