/* SPDX-License-Identifier: MIT */
/*
 * exec_bmi.c - the integer instructions with a VEX prefix (BMI1 and BMI2).
 *
 * insn->imm is the third register (RORX: the count). Computed without the host's instructions,
 * which it need not have. Flags that are undefined stay as they are.
 */
#include "operand.h"

static uint64_t third(struct cpu *cpu, const struct insn *insn)
{
	return register_get(cpu, insn, (uint8_t)insn->imm, insn->size);
}

/* Of a result: ZF and SF, CF as given, OF is 0. */
static void flags_logic(struct cpu *cpu, unsigned int size, uint64_t val, bool carry)
{
	uint64_t flags = cpu->s.rflags & ~(uint64_t)(FLAG_CF | FLAG_ZF | FLAG_SF | FLAG_OF);

	if (size == 4)
		val = (uint32_t)val;
	if (carry)
		flags |= FLAG_CF;
	if (!val)
		flags |= FLAG_ZF;
	if (val >> (8 * size - 1))
		flags |= FLAG_SF;
	cpu->s.rflags = flags;
}

enum step exec_andn(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	val &= ~third(cpu, insn);
	flags_logic(cpu, insn->size, val, false);
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* BLSR, BLSMSK, BLSI: the third register is written. */
enum step exec_lowest_bit(struct cpu *cpu, const struct insn *insn)
{
	uint64_t src, val;
	enum step step = rm_get(cpu, insn, insn->size, &src);
	bool carry = false;

	if (step)
		return step;
	switch (insn->op) {
	case LOWEST_RESET:
		val = src & (src - 1);
		carry = !src;
		break;
	case LOWEST_MASK:
		val = src ^ (src - 1);
		carry = !src;
		break;
	default:
		val = src & -src;
		carry = src;
	}
	flags_logic(cpu, insn->size, val, carry);
	register_set(cpu, insn, (uint8_t)insn->imm, insn->size, val);
	return STEP_NEXT;
}

enum step exec_bzhi(struct cpu *cpu, const struct insn *insn)
{
	unsigned int bits = 8u * insn->size, index = third(cpu, insn) & 0xff;
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	if (index < bits)
		val &= (1ull << index) - 1;
	flags_logic(cpu, insn->size, val, index >= bits);
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* SF stays: it is undefined. */
enum step exec_bextr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t control = third(cpu, insn), sign = cpu->s.rflags & FLAG_SF, val;
	unsigned int start = control & 0xff, len = control >> 8 & 0xff;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	val = start < 64 ? val >> start : 0;
	if (len < 64)
		val &= (1ull << len) - 1;
	flags_logic(cpu, insn->size, val, false);
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAG_SF) | sign;
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* PDEP: the third register's low bits go to where the mask has ones. */
enum step exec_pdep(struct cpu *cpu, const struct insn *insn)
{
	uint64_t src = third(cpu, insn), mask, val = 0;
	enum step step = rm_get(cpu, insn, insn->size, &mask);

	if (step)
		return step;
	for (; mask; mask &= mask - 1, src >>= 1)
		if (src & 1)
			val |= mask & -mask;
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* PEXT: its bits where the mask has ones, packed. */
enum step exec_pext(struct cpu *cpu, const struct insn *insn)
{
	uint64_t src = third(cpu, insn), mask, bit = 1, val = 0;
	enum step step = rm_get(cpu, insn, insn->size, &mask);

	if (step)
		return step;
	for (; mask; mask &= mask - 1, bit <<= 1)
		if (src & mask & -mask)
			val |= bit;
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* The high half last: it stays where both go to one register. */
enum step exec_mulx(struct cpu *cpu, const struct insn *insn)
{
	uint64_t a = register_get(cpu, insn, CPU_RDX, insn->size), b;
	enum step step = rm_get(cpu, insn, insn->size, &b);
	unsigned __int128 product;

	if (step)
		return step;
	product = (unsigned __int128)a * b;
	register_set(cpu, insn, (uint8_t)insn->imm, insn->size, (uint64_t)product);
	register_set(cpu, insn, insn->reg, insn->size, (uint64_t)(product >> 8 * insn->size));
	return STEP_NEXT;
}

/* RORX, SARX, SHLX, SHRX: without flags. */
enum step exec_shift_plain(struct cpu *cpu, const struct insn *insn)
{
	unsigned int bits = 8u * insn->size, count;
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	count = (uint8_t)(insn->op == PLAIN_ROR ? insn->imm : third(cpu, insn)) & (bits - 1);
	switch (insn->op) {
	case PLAIN_ROR:
		val = val >> count | (count ? val << (bits - count) : 0);
		break;
	case PLAIN_SAR:
		val = (uint64_t)((int64_t)(val << (64 - bits)) >> (64 - bits) >> count);
		break;
	case PLAIN_SHL:
		val <<= count;
		break;
	default:
		val >>= count;
	}
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}
