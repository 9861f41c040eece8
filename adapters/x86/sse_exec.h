/* SPDX-License-Identifier: MIT */
/*
 * sse_exec.h - how SSE instructions are executed: by the host's own, on copies of the operands.
 *
 * An operation is a function of two values that holds one instruction of the host. The functions
 * here fetch the operands, check what the processor checks (CR0, CR4, alignment), run the
 * operation, and store. Operations on floating point run under the guest's MXCSR with all
 * exceptions masked; what they raise is then compared with the guest's mask.
 *
 * Invariant: the host's MXCSR is the host's again before any of this returns, and no operation ever
 * raises an exception in the host.
 */
#ifndef ADAPTERS_X86_SSE_EXEC_H
#define ADAPTERS_X86_SSE_EXEC_H

#include <string.h>

#include <emmintrin.h>

#include "sse.h"

#define SSE_INLINE static inline __attribute__((always_inline))

#define SSE_CR0_EM (1u << 2)
#define SSE_CR0_TS (1u << 3)
#define SSE_CR4_OSFXSR (1u << 9)
#define SSE_CR4_OSXMMEXCPT (1u << 10)

#define MXCSR_FLAGS 0x3fu
#define MXCSR_MASKS 0x1f80u
#define MXCSR_VALID 0xffffu
#define MXCSR_FTZ (1u << 15)

/* What becomes of the destination; `imm` for operations that have an immediate byte. */
typedef __m128i sse_op(__m128i dst, __m128i src, unsigned int imm);

enum step sse_refuse(struct cpu *cpu);
enum step sse_general_protection(struct cpu *cpu);

/* Whether the guest may use SSE at all. */
SSE_INLINE enum step sse_enter(struct cpu *cpu)
{
	if (__builtin_expect(
		(cpu->s.cr0 & (SSE_CR0_EM | SSE_CR0_TS)) != 0 || !(cpu->s.cr4 & SSE_CR4_OSFXSR), 0))
		return sse_refuse(cpu);
	return STEP_NEXT;
}

SSE_INLINE __m128i sse_get(const struct cpu *cpu, unsigned int reg)
{
	return _mm_load_si128((const __m128i *)(const void *)&cpu->s.xmm[reg]);
}

SSE_INLINE void sse_set(struct cpu *cpu, unsigned int reg, __m128i val)
{
	_mm_store_si128((__m128i *)(void *)&cpu->s.xmm[reg], val);
}

/* Fetch `size` bytes from guest memory; what is above them is zero. */
enum step sse_load(struct cpu *cpu, const struct insn *insn, unsigned int size, bool aligned,
		   __m128i *out);
enum step sse_store(struct cpu *cpu, const struct insn *insn, unsigned int size, bool aligned,
		    __m128i val);

/* The operand that ModRM.rm names: a register, or `size` bytes of memory. With sse_enter(). */
SSE_INLINE enum step sse_source(struct cpu *cpu, const struct insn *insn, unsigned int size,
				bool aligned, __m128i *out)
{
	enum step step = sse_enter(cpu);

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return sse_load(cpu, insn, size, aligned, out);
	*out = sse_get(cpu, insn->rm);
	return STEP_NEXT;
}

/* dst = op(dst, src). */
SSE_INLINE enum step sse_binary(struct cpu *cpu, const struct insn *insn, unsigned int size,
				bool aligned, sse_op *op)
{
	__m128i src = _mm_setzero_si128();
	enum step step = sse_source(cpu, insn, size, aligned, &src);

	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, op(sse_get(cpu, insn->reg), src, (uint8_t)insn->imm));
	return step;
}

SSE_INLINE uint32_t sse_host_mxcsr(void)
{
	uint32_t val;

	__asm__ volatile("stmxcsr %0" : "=m"(val));
	return val;
}

SSE_INLINE void sse_host_mxcsr_set(uint32_t val)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(val));
}

/* Where some exception is not masked. */
enum step sse_compute_unmasked(struct cpu *cpu, sse_op *op, __m128i *dst, __m128i src,
			       unsigned int imm);

/* *dst = op(*dst, src) under the guest's MXCSR; leaves *dst where it raises #XM. */
SSE_INLINE enum step sse_compute(struct cpu *cpu, sse_op *op, __m128i *dst, __m128i src,
				 unsigned int imm)
{
	uint32_t host, flags;

	if (__builtin_expect((~cpu->s.mxcsr & MXCSR_MASKS) != 0, 0))
		return sse_compute_unmasked(cpu, op, dst, src, imm);
	host = sse_host_mxcsr();
	sse_host_mxcsr_set(cpu->s.mxcsr);
	*dst = op(*dst, src, imm);
	flags = sse_host_mxcsr();
	sse_host_mxcsr_set(host);
	cpu->s.mxcsr = flags;
	return STEP_NEXT;
}

SSE_INLINE enum step sse_float_binary(struct cpu *cpu, const struct insn *insn, unsigned int size,
				      bool aligned, sse_op *op)
{
	__m128i src = _mm_setzero_si128(), dst;
	enum step step = sse_source(cpu, insn, size, aligned, &src);

	if (step != STEP_NEXT)
		return step;
	dst = sse_get(cpu, insn->reg);
	step = sse_compute(cpu, op, &dst, src, (uint8_t)insn->imm);
	if (step == STEP_NEXT)
		sse_set(cpu, insn->reg, dst);
	return step;
}

/* An operation that is one instruction of the host. */
#define SSE_OP(name, text)                                                                         \
	SSE_INLINE __m128i op_##name(__m128i dst, __m128i src, unsigned int imm)                   \
	{                                                                                          \
		(void)imm;                                                                         \
		__asm__ volatile(text " %1, %0" : "+x"(dst) : "x"(src));                           \
		return dst;                                                                        \
	}

/*
 * The same for instructions that have their immediate in the code: one of the host's for each value
 * of it, in a switch. SSE_CASES_16(text, "0x3") are those from 0x30 on.
 */
#define SSE_CASE(text, high, low)                                                                  \
	case high##low:                                                                            \
		__asm__ volatile(text " $" #high #low ", %1, %0" : "+x"(dst) : "x"(src));          \
		break;
/* `one` is SSE_CASE, or a macro like it. */
#define SSE_EACH_4(one, text, high)                                                                \
	one(text, high, 0) one(text, high, 1) one(text, high, 2) one(text, high, 3)
#define SSE_EACH_8(one, text, high)                                                                \
	SSE_EACH_4(one, text, high)                                                                \
	one(text, high, 4) one(text, high, 5) one(text, high, 6) one(text, high, 7)
#define SSE_EACH_16(one, text, high)                                                               \
	SSE_EACH_8(one, text, high)                                                                \
	one(text, high, 8) one(text, high, 9) one(text, high, a) one(text, high, b)                \
	    one(text, high, c) one(text, high, d) one(text, high, e) one(text, high, f)
#define SSE_CASES_4(text, high) SSE_EACH_4(SSE_CASE, text, high)
#define SSE_CASES_8(text, high) SSE_EACH_8(SSE_CASE, text, high)
#define SSE_CASES_16(text, high) SSE_EACH_16(SSE_CASE, text, high)

#define SSE_OP_IMM(name, mask, cases)                                                              \
	static __m128i op_##name(__m128i dst, __m128i src, unsigned int imm)                       \
	{                                                                                          \
		switch (imm & (mask)) {                                                            \
			cases                                                                      \
		}                                                                                  \
		return dst;                                                                        \
	}

#endif /* ADAPTERS_X86_SSE_EXEC_H */
