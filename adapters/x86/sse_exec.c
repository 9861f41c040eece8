/* SPDX-License-Identifier: MIT */
/*
 * sse_exec.c - what all SSE instructions share and is not worth inlining: their memory operands,
 * and floating point where the guest does not mask an exception.
 *
 * An unmasked exception must not strike the host, so operations always run masked, and what the
 * processor would have done is told from the flags that they raise:
 *   1 invalid, denormal and division by zero are found before any result is computed: if one of
 * them is unmasked, they alone are recorded 2 underflow that is unmasked is raised by tiny results,
 * exact ones included, and flushing to zero does not apply: a second run with flushing says whether
 * a result was tiny
 */
#include "sse_exec.h"

#define BEFORE 0x07u /* IE, DE, ZE */
#define UNDERFLOW 0x10u
#define MASK_SHIFT 7

enum step sse_refuse(struct cpu *cpu)
{
	if ((cpu->s.cr0 & SSE_CR0_EM) || !(cpu->s.cr4 & SSE_CR4_OSFXSR))
		return raise_plain(cpu, VECTOR_UD);
	return raise_plain(cpu, VECTOR_NM);
}

enum step sse_general_protection(struct cpu *cpu)
{
	return raise_error(cpu, VECTOR_GP, 0);
}

static inline void copy(void *dst, const void *src, unsigned int size)
{
	switch (size) {
	case 16:
		memcpy(dst, src, 16);
		break;
	case 8:
		memcpy(dst, src, 8);
		break;
	case 4:
		memcpy(dst, src, 4);
		break;
	default:
		memcpy(dst, src, size);
	}
}

enum step sse_load(struct cpu *cpu, const struct insn *insn, unsigned int size, bool aligned,
		   __m128i *out)
{
	uint64_t linear = operand_address(cpu, insn);
	_Alignas(16) uint8_t bytes[16] = {0};
	enum step step = STEP_NEXT;
	const void *host;

	if (aligned && (linear & 15) != 0)
		return sse_general_protection(cpu);
	host = memory_hit(cpu, linear, size, MSLOT_READ);
	if (__builtin_expect(host != NULL, 1))
		copy(bytes, host, size);
	else
		step = memory_read(cpu, linear, size, bytes);
	*out = _mm_load_si128((const __m128i *)(const void *)bytes);
	return step;
}

enum step sse_store(struct cpu *cpu, const struct insn *insn, unsigned int size, bool aligned,
		    __m128i val)
{
	uint64_t linear = operand_address(cpu, insn);
	void *host;

	if (aligned && (linear & 15) != 0)
		return sse_general_protection(cpu);
	host = memory_hit(cpu, linear, size, MSLOT_WRITE);
	if (__builtin_expect(!host, 0))
		return memory_write(cpu, linear, size, &val);
	copy(host, &val, size);
	memory_stored(cpu, host, size);
	return STEP_NEXT;
}

/* What `op` raises under `mxcsr`, whose exceptions are all masked. */
static uint32_t raised(sse_op *op, uint32_t mxcsr, __m128i *dst, __m128i src, unsigned int imm)
{
	uint32_t host = sse_host_mxcsr(), flags;

	sse_host_mxcsr_set((mxcsr | MXCSR_MASKS) & ~MXCSR_FLAGS);
	*dst = op(*dst, src, imm);
	flags = sse_host_mxcsr() & MXCSR_FLAGS;
	sse_host_mxcsr_set(host);
	return flags;
}

enum step sse_compute_unmasked(struct cpu *cpu, sse_op *op, __m128i *dst, __m128i src,
			       unsigned int imm)
{
	uint32_t guest = cpu->s.mxcsr, unmasked = ~(guest >> MASK_SHIFT) & MXCSR_FLAGS;
	__m128i result = *dst, again = *dst;
	uint32_t flags;

	if (unmasked & UNDERFLOW)
		guest &= ~MXCSR_FTZ;
	flags = raised(op, guest, &result, src, imm);
	if (unmasked & UNDERFLOW)
		flags |= raised(op, guest | MXCSR_FTZ, &again, src, imm) & UNDERFLOW;
	if (flags & unmasked & BEFORE)
		flags &= BEFORE;
	cpu->s.mxcsr |= flags;
	if (!(flags & unmasked)) {
		*dst = result;
		return STEP_NEXT;
	}
	return raise_plain(cpu, cpu->s.cr4 & SSE_CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
}
