/* SPDX-License-Identifier: MIT */
/*
 * exec_bit.c - BT BTS BTR BTC; BSF BSR TZCNT LZCNT POPCNT; CRC32.
 *
 * A bit offset in a register reaches beyond a memory operand: the operand is moved by whole
 * operands, down for negative offsets. An immediate offset, or one into a register, is modulo the
 * operand's bits. Flags that are undefined stay as they are.
 */
#include "alu.h"
#include "operand.h"

/* ---- BT and others ------------------------------------------------------ */

static uint64_t changed_bit(uint8_t op, uint64_t val, uint64_t bit)
{
	switch (op) {
	case BIT_SET:
		return val | bit;
	case BIT_RESET:
		return val & ~bit;
	case BIT_COMPLEMENT:
		return val ^ bit;
	default:
		return val;
	}
}

static void flag_put(struct cpu *cpu, uint64_t flag, bool yes)
{
	cpu->s.rflags = yes ? cpu->s.rflags | flag : cpu->s.rflags & ~flag;
}

static enum step bit_memory(struct cpu *cpu, const struct insn *insn, uint64_t linear, uint64_t bit)
{
	unsigned int size = insn->size;
	struct update upd;
	bool done = false;
	enum step step;

	if (insn->op == BIT_TEST) {
		step = memory_load(cpu, linear, size, &upd.val);
		if (!step)
			flag_put(cpu, FLAG_CF, upd.val & bit);
		return step;
	}
	step = update_open_at(cpu, linear, size, &upd);
	while (!step && !done) {
		uint64_t old = upd.val, val = changed_bit(insn->op, old, bit);

		done = true;
		if (insn->lock)
			step = update_exchange(cpu, &upd, size, val, &done);
		else
			step = update_close(cpu, &upd, size, val);
		if (!step && done)
			flag_put(cpu, FLAG_CF, old & bit);
	}
	return step;
}

static enum step bit_register(struct cpu *cpu, const struct insn *insn, uint64_t bit)
{
	uint64_t old = register_get(cpu, insn, insn->rm, insn->size);

	flag_put(cpu, FLAG_CF, old & bit);
	if (insn->op != BIT_TEST)
		register_set(cpu, insn, insn->rm, insn->size, changed_bit(insn->op, old, bit));
	return STEP_NEXT;
}

enum step exec_bit_imm(struct cpu *cpu, const struct insn *insn)
{
	uint64_t bit = 1ull << (insn->imm & (8 * insn->size - 1u));

	if (!insn->memory)
		return bit_register(cpu, insn, bit);
	return bit_memory(cpu, insn, operand_address(cpu, insn), bit);
}

enum step exec_bit_reg(struct cpu *cpu, const struct insn *insn)
{
	unsigned int size = insn->size;
	uint64_t offset = register_get(cpu, insn, insn->reg, size);
	uint64_t bit = 1ull << (offset & (8 * size - 1));
	int64_t operands;

	if (!insn->memory)
		return bit_register(cpu, insn, bit);
	if (size == 2)
		operands = (int16_t)offset >> 4;
	else if (size == 4)
		operands = (int32_t)offset >> 5;
	else
		operands = (int64_t)offset >> 6;
	return bit_memory(cpu, insn, operand_address_at(cpu, insn, (uint64_t)operands * size), bit);
}

/* ---- Scans and counts --------------------------------------------------- */

/* Of 0: the register stays, but for the upper half of one of 32 bits, which is the host's matter.
 */
#define SCAN(name)                                                                                 \
	static uint64_t name(unsigned int size, uint64_t *rflags, uint64_t old, uint64_t val)      \
	{                                                                                          \
		uint16_t taken = (uint16_t)(*rflags << 8);                                         \
                                                                                                   \
		if (size == 2)                                                                     \
			__asm__("sahf\n\t" #name " %w[val], %w[old]\n\t" ALU_TAKE                  \
				: [old] "+&r"(old), "+&a"(taken)                                   \
				: [val] "r"(val)                                                   \
				: "cc");                                                           \
		else if (size == 4)                                                                \
			__asm__("sahf\n\t" #name " %k[val], %k[old]\n\t" ALU_TAKE                  \
				: [old] "+&r"(old), "+&a"(taken)                                   \
				: [val] "r"(val)                                                   \
				: "cc");                                                           \
		else                                                                               \
			__asm__("sahf\n\t" #name " %[val], %[old]\n\t" ALU_TAKE                    \
				: [old] "+&r"(old), "+&a"(taken)                                   \
				: [val] "r"(val)                                                   \
				: "cc");                                                           \
		flags_take(rflags, taken, FLAGS_ARITHMETIC & ~FLAG_OF);                            \
		return old;                                                                        \
	}

SCAN(bsf)
SCAN(bsr)

enum step exec_bsf(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *reg = &cpu->s.gpr[insn->reg], val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (!step)
		*reg = bsf(insn->size, &cpu->s.rflags, *reg, val);
	return step;
}

enum step exec_bsr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *reg = &cpu->s.gpr[insn->reg], val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (!step)
		*reg = bsr(insn->size, &cpu->s.rflags, *reg, val);
	return step;
}

/* CF: the source is 0; ZF: the count is. */
static void count_done(struct cpu *cpu, const struct insn *insn, uint64_t val, uint64_t count)
{
	flag_put(cpu, FLAG_CF, !val);
	flag_put(cpu, FLAG_ZF, !count);
	register_set(cpu, insn, insn->reg, insn->size, count);
}

enum step exec_tzcnt(struct cpu *cpu, const struct insn *insn)
{
	unsigned int bits = 8u * insn->size;
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (!step)
		count_done(cpu, insn, val, val ? (uint64_t)__builtin_ctzll(val) : bits);
	return step;
}

enum step exec_lzcnt(struct cpu *cpu, const struct insn *insn)
{
	unsigned int bits = 8u * insn->size;
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (!step)
		count_done(cpu, insn, val,
			   val ? (uint64_t)__builtin_clzll(val) - (64 - bits) : bits);
	return step;
}

enum step exec_popcnt(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->size, &val);

	if (step)
		return step;
	cpu->s.rflags &= ~(uint64_t)FLAGS_ARITHMETIC;
	flag_put(cpu, FLAG_ZF, !val);
	register_set(cpu, insn, insn->reg, insn->size, (uint64_t)__builtin_popcountll(val));
	return STEP_NEXT;
}

/* ---- CRC32 -------------------------------------------------------------- */

#define CASTAGNOLI 0x82f63b78u /* reflected */

/* The source has its own size, the register written is of 32 or 64 bits: the upper half is 0. */
enum step exec_crc32(struct cpu *cpu, const struct insn *insn)
{
	uint32_t crc = (uint32_t)cpu->s.gpr[insn->reg];
	uint64_t val;
	enum step step = rm_get(cpu, insn, insn->src_size, &val);
	unsigned int i, bits = 8u * insn->src_size;

	if (step)
		return step;
	for (i = 0; i < bits; i++) {
		uint32_t bit = (crc ^ (uint32_t)(val >> i)) & 1;

		crc = (crc >> 1) ^ (bit ? CASTAGNOLI : 0);
	}
	cpu->s.gpr[insn->reg] = crc;
	return STEP_NEXT;
}
