/* SPDX-License-Identifier: MIT */
/*
 * exec_alu.c - ADD OR ADC SBB AND SUB XOR CMP, and TEST.
 *
 * One function for each operation, size and kind of operands: NAME_KIND_BITS, where the kinds are
 *   rr  registers; rm is written        ri  register, immediate
 *   rm  register reg, memory            mr, mi  memory, register or immediate
 * Locked ones are computed and exchanged until nobody came between.
 */
#include "alu.h"
#include "operand.h"

#define REGISTER_RESULT(name, bits)                                                                \
	static enum step name##_rr_##bits(struct cpu *cpu, const struct insn *insn)                \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
		uint##bits##_t b = register_get_##bits(cpu, insn, insn->reg);                      \
                                                                                                   \
		a = alu_##name##_##bits(&cpu->s.rflags, a, b);                                     \
		register_set_##bits(cpu, insn, insn->rm, a);                                       \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step name##_ri_##bits(struct cpu *cpu, const struct insn *insn)                \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
                                                                                                   \
		a = alu_##name##_##bits(&cpu->s.rflags, a, (uint##bits##_t)insn->imm);             \
		register_set_##bits(cpu, insn, insn->rm, a);                                       \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step name##_rm_##bits(struct cpu *cpu, const struct insn *insn)                \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->reg);                      \
		uint64_t b;                                                                        \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &b);     \
                                                                                                   \
		if (step)                                                                          \
			return step;                                                               \
		a = alu_##name##_##bits(&cpu->s.rflags, a, (uint##bits##_t)b);                     \
		register_set_##bits(cpu, insn, insn->reg, a);                                      \
		return STEP_NEXT;                                                                  \
	}

#define MEMORY_RESULT(name, kind, source, bits)                                                    \
	static enum step name##_##kind##_##bits(struct cpu *cpu, const struct insn *insn)          \
	{                                                                                          \
		uint##bits##_t b = (uint##bits##_t)(source);                                       \
		uint64_t flags = cpu->s.rflags;                                                    \
		struct update upd;                                                                 \
		enum step step = update_open(cpu, insn, (bits) / 8, &upd);                         \
                                                                                                   \
		if (step)                                                                          \
			return step;                                                               \
		b = alu_##name##_##bits(&flags, (uint##bits##_t)upd.val, b);                       \
		step = update_close(cpu, &upd, (bits) / 8, b);                                     \
		if (!step)                                                                         \
			cpu->s.rflags = flags;                                                     \
		return step;                                                                       \
	}

#define WITH_RESULT(bits, name)                                                                    \
	REGISTER_RESULT(name, bits)                                                                \
	MEMORY_RESULT(name, mr, register_get_##bits(cpu, insn, insn->reg), bits)                   \
	MEMORY_RESULT(name, mi, insn->imm, bits)

/* CMP and TEST: flags only. */
#define FLAGS_REGISTER(bits, name, kind, first, second)                                            \
	static enum step name##_##kind##_##bits(struct cpu *cpu, const struct insn *insn)          \
	{                                                                                          \
		(void)alu_##name##_##bits(&cpu->s.rflags, register_get_##bits(cpu, insn, first),   \
					  (uint##bits##_t)(second));                               \
		return STEP_NEXT;                                                                  \
	}

/* `a` and `b` are expressions with `val`, what the memory has. */
#define FLAGS_MEMORY(bits, name, kind, a, b)                                                       \
	static enum step name##_##kind##_##bits(struct cpu *cpu, const struct insn *insn)          \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &val);   \
                                                                                                   \
		if (!step)                                                                         \
			(void)alu_##name##_##bits(&cpu->s.rflags, (uint##bits##_t)(a),             \
						  (uint##bits##_t)(b));                            \
		return step;                                                                       \
	}

#define FLAGS_ONLY(bits, name)                                                                     \
	FLAGS_REGISTER(bits, name, rr, insn->rm, register_get_##bits(cpu, insn, insn->reg))        \
	FLAGS_REGISTER(bits, name, ri, insn->rm, insn->imm)                                        \
	FLAGS_MEMORY(bits, name, rm, register_get_##bits(cpu, insn, insn->reg), val)               \
	FLAGS_MEMORY(bits, name, mr, val, register_get_##bits(cpu, insn, insn->reg))               \
	FLAGS_MEMORY(bits, name, mi, val, insn->imm)

ALU_SIZES(WITH_RESULT, add)
ALU_SIZES(WITH_RESULT, or)
ALU_SIZES(WITH_RESULT, adc)
ALU_SIZES(WITH_RESULT, sbb)
ALU_SIZES(WITH_RESULT, and)
ALU_SIZES(WITH_RESULT, sub)
ALU_SIZES(WITH_RESULT, xor)
ALU_SIZES(FLAGS_ONLY, cmp)
FLAGS_REGISTER(8, test, rr, insn->rm, register_get_8(cpu, insn, insn->reg))
FLAGS_REGISTER(16, test, rr, insn->rm, register_get_16(cpu, insn, insn->reg))
FLAGS_REGISTER(32, test, rr, insn->rm, register_get_32(cpu, insn, insn->reg))
FLAGS_REGISTER(64, test, rr, insn->rm, register_get_64(cpu, insn, insn->reg))
ALU_SIZES(FLAGS_REGISTER, test, ri, insn->rm, insn->imm)
FLAGS_MEMORY(8, test, mr, val, register_get_8(cpu, insn, insn->reg))
FLAGS_MEMORY(16, test, mr, val, register_get_16(cpu, insn, insn->reg))
FLAGS_MEMORY(32, test, mr, val, register_get_32(cpu, insn, insn->reg))
FLAGS_MEMORY(64, test, mr, val, register_get_64(cpu, insn, insn->reg))
ALU_SIZES(FLAGS_MEMORY, test, mi, val, insn->imm)

#define FOUR(prefix)                                                                               \
	{                                                                                          \
		prefix##_8, prefix##_16, prefix##_32, prefix##_64                                  \
	}
#define FORMS(name, registers, memory)                                                             \
	{                                                                                          \
		.reg = FOUR(name##_##registers), .mem = FOUR(name##_##memory)                      \
	}
#define OPERATIONS(registers, memory)                                                              \
	{                                                                                          \
		FORMS(add, registers, memory), FORMS(or, registers, memory),                       \
		    FORMS(adc, registers, memory), FORMS(sbb, registers, memory),                  \
		    FORMS(and, registers, memory), FORMS(sub, registers, memory),                  \
		    FORMS(xor, registers, memory), FORMS(cmp, registers, memory),                  \
	}

const struct exec_forms exec_alu_rm_reg[8] = OPERATIONS(rr, mr);
const struct exec_forms exec_alu_reg_rm[8] = OPERATIONS(rr, rm);
const struct exec_forms exec_alu_rm_imm[8] = OPERATIONS(ri, mi);
const struct exec_forms exec_test_rm_reg = FORMS(test, rr, mr);
const struct exec_forms exec_test_rm_imm = FORMS(test, ri, mi);

/* ---- Locked ------------------------------------------------------------- */

#define COMPUTE_SIZES(name)                                                                        \
	switch (size) {                                                                            \
	case 1:                                                                                    \
		return alu_##name##_8(flags, (uint8_t)a, (uint8_t)b);                              \
	case 2:                                                                                    \
		return alu_##name##_16(flags, (uint16_t)a, (uint16_t)b);                           \
	case 4:                                                                                    \
		return alu_##name##_32(flags, (uint32_t)a, (uint32_t)b);                           \
	default:                                                                                   \
		return alu_##name##_64(flags, a, b);                                               \
	}

static uint64_t compute(uint8_t op, unsigned int size, uint64_t *flags, uint64_t a, uint64_t b)
{
	switch (op) {
	case 0:
		COMPUTE_SIZES(add)
	case 1:
		COMPUTE_SIZES(or)
	case 2:
		COMPUTE_SIZES(adc)
	case 3:
		COMPUTE_SIZES(sbb)
	case 4:
		COMPUTE_SIZES(and)
	case 5:
		COMPUTE_SIZES(sub)
	default:
		COMPUTE_SIZES(xor)
	}
}

static enum step locked(struct cpu *cpu, const struct insn *insn, uint64_t source)
{
	struct update upd;
	uint64_t flags = cpu->s.rflags;
	bool done = false;
	enum step step = update_open(cpu, insn, insn->size, &upd);

	while (!step && !done) {
		uint64_t val;

		flags = cpu->s.rflags;
		val = compute(insn->op, insn->size, &flags, upd.val, source);
		step = update_exchange(cpu, &upd, insn->size, val, &done);
	}
	if (!step)
		cpu->s.rflags = flags;
	return step;
}

enum step exec_alu_locked_reg(struct cpu *cpu, const struct insn *insn)
{
	return locked(cpu, insn, register_get(cpu, insn, insn->reg, insn->size));
}

enum step exec_alu_locked_imm(struct cpu *cpu, const struct insn *insn)
{
	return locked(cpu, insn, insn->imm);
}
