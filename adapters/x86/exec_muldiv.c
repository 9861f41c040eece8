/* SPDX-License-Identifier: MIT */
/*
 * exec_muldiv.c - MUL IMUL DIV IDIV.
 *
 * Of products CF and OF say whether the upper half counts; the other flags are undefined, and here
 * what the host leaves. Quotients leave flags alone (undefined, too).
 */
#include "alu.h"
#include "operand.h"

/* ---- IMUL with a destination -------------------------------------------- */

ALU_TWO(16, imul, "imul")
ALU_TWO(32, imul, "imul")
ALU_TWO(64, imul, "imul")

#define IMUL(bits)                                                                                 \
	static enum step imul_rr_##bits(struct cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
		uint##bits##_t b = register_get_##bits(cpu, insn, insn->reg);                      \
                                                                                                   \
		a = imul_##bits(&cpu->s.rflags, a, b);                                             \
		register_set_##bits(cpu, insn, insn->rm, a);                                       \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step imul_rm_##bits(struct cpu *cpu, const struct insn *insn)                  \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->reg);                      \
		uint64_t b;                                                                        \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &b);     \
                                                                                                   \
		if (step)                                                                          \
			return step;                                                               \
		a = imul_##bits(&cpu->s.rflags, a, (uint##bits##_t)b);                             \
		register_set_##bits(cpu, insn, insn->reg, a);                                      \
		return STEP_NEXT;                                                                  \
	}

IMUL(16)
IMUL(32)
IMUL(64)

const struct exec_forms exec_imul_reg_rm = {
    .reg = {NULL, imul_rr_16, imul_rr_32, imul_rr_64},
    .mem = {NULL, imul_rm_16, imul_rm_32, imul_rm_64},
};

enum step exec_imul_imm(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *flags = &cpu->s.rflags, val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	switch (insn->size) {
	case 2:
		val = imul_16(flags, (uint16_t)val, (uint16_t)insn->imm);
		break;
	case 4:
		val = imul_32(flags, (uint32_t)val, (uint32_t)insn->imm);
		break;
	default:
		val = imul_64(flags, val, insn->imm);
	}
	register_set(cpu, insn, insn->reg, insn->size, val);
	return STEP_NEXT;
}

/* ---- Accumulator pairs -------------------------------------------------- */

/* Of bytes the pair is AX; of more it is the accumulator and (R)DX. */
static void pair_set(struct cpu *cpu, const struct insn *insn, uint64_t low, uint64_t high)
{
	if (insn->size == 1) {
		register_set_16(cpu, insn, CPU_RAX, (uint16_t)((low & 0xff) | high << 8));
		return;
	}
	register_set(cpu, insn, CPU_RAX, insn->size, low);
	register_set(cpu, insn, CPU_RDX, insn->size, high);
}

/*
 * NAME_BITS(rflags, a, b, high): the low half of a * b, and the high one, of bytes both in the low.
 * LAHF needs AX, so the low half moves away before, which leaves flags alone.
 */
#define MULTIPLY(bits, name, mnemonic)                                                             \
	static uint64_t name##_##bits(uint64_t *rflags, uint64_t a, uint64_t b, uint64_t *high)    \
	{                                                                                          \
		uint64_t low, up = 0;                                                              \
                                                                                                   \
		__asm__(mnemonic " %[b]\n\tmov %%rax, %[low]\n\t" ALU_TAKE                         \
			: "+&a"(a), "+&d"(up), [low] "=&r"(low)                                    \
			: [b] "r"((uint##bits##_t)b)                                               \
			: "cc");                                                                   \
		flags_take(rflags, (uint16_t)a, FLAGS_ARITHMETIC);                                 \
		*high = up;                                                                        \
		return low;                                                                        \
	}

ALU_SIZES(MULTIPLY, mul, "mul")
ALU_SIZES(MULTIPLY, imul_wide, "imul")

typedef uint64_t multiply_fn(uint64_t *rflags, uint64_t a, uint64_t b, uint64_t *high);

static enum step multiply(struct cpu *cpu, const struct insn *insn, multiply_fn *const by_size[4])
{
	uint64_t low, high, val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	low = by_size[__builtin_ctz(insn->size)](&cpu->s.rflags, cpu->s.gpr[CPU_RAX], val, &high);
	if (insn->size == 1)
		high = low >> 8 & 0xff;
	pair_set(cpu, insn, low, high);
	return STEP_NEXT;
}

enum step exec_mul(struct cpu *cpu, const struct insn *insn)
{
	static multiply_fn *const by_size[4] = {mul_8, mul_16, mul_32, mul_64};

	return multiply(cpu, insn, by_size);
}

enum step exec_imul(struct cpu *cpu, const struct insn *insn)
{
	static multiply_fn *const by_size[4] = {imul_wide_8, imul_wide_16, imul_wide_32,
						imul_wide_64};

	return multiply(cpu, insn, by_size);
}

/* ---- Division ----------------------------------------------------------- */

/* The pair as one number; `low` and `high` have insn->size bytes each. */
static void pair_get(const struct cpu *cpu, const struct insn *insn, uint64_t *low, uint64_t *high)
{
	uint64_t mask = insn->size == 8 ? ~0ull : (1ull << 8 * insn->size) - 1;

	*low = cpu->s.gpr[CPU_RAX] & mask;
	*high = (insn->size == 1 ? cpu->s.gpr[CPU_RAX] >> 8 : cpu->s.gpr[CPU_RDX]) & mask;
}

enum step exec_div(struct cpu *cpu, const struct insn *insn)
{
	uint64_t low, high, divisor;
	enum step step = rm_get(cpu, insn, insn->size, &divisor);

	if (step)
		return step;
	pair_get(cpu, insn, &low, &high);
	/* Also where it is 0: the quotient does not fit. */
	if (high >= divisor)
		return raise_plain(cpu, VECTOR_DE);
	if (insn->size == 8) {
		__asm__("divq %[by]" : "+a"(low), "+d"(high) : [by] "r"(divisor) : "cc");
	} else {
		uint64_t val = high << 8 * insn->size | low;

		low = val / divisor;
		high = val % divisor;
	}
	pair_set(cpu, insn, low, high);
	return STEP_NEXT;
}

static uint64_t sign_extended(uint64_t val, unsigned int size)
{
	unsigned int unused = 64 - 8 * size;

	return (uint64_t)((int64_t)(val << unused) >> unused);
}

/* Divides magnitudes; the remainder has the dividend's sign. */
enum step exec_idiv(struct cpu *cpu, const struct insn *insn)
{
	unsigned int size = insn->size;
	uint64_t low, high, divisor, limit;
	unsigned __int128 magnitude, quotient;
	bool negative, opposite;
	enum step step = rm_get(cpu, insn, size, &divisor);

	if (step)
		return step;
	divisor = sign_extended(divisor, size);
	pair_get(cpu, insn, &low, &high);
	high = sign_extended(high, size);
	magnitude = (unsigned __int128)(int64_t)high << 8 * size | low;
	negative = high >> 63;
	opposite = negative != (divisor >> 63);
	if (negative)
		magnitude = -magnitude;
	if (divisor >> 63)
		divisor = -divisor;
	if (!divisor)
		return raise_plain(cpu, VECTOR_DE);
	quotient = magnitude / divisor;
	limit = 1ull << (8 * size - 1);
	if (quotient > limit || (quotient == limit && !opposite))
		return raise_plain(cpu, VECTOR_DE);
	low = (uint64_t)quotient;
	high = (uint64_t)(magnitude % divisor);
	pair_set(cpu, insn, opposite ? -low : low, negative ? -high : high);
	return STEP_NEXT;
}
