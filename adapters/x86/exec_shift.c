/* SPDX-License-Identifier: MIT */
/*
 * exec_shift.c - ROL ROR RCL RCR SHL SHR SAR, SHLD and SHRD.
 *
 * The host shifts, with the guest's flags in its own. A count of 0, after masking, leaves the flags
 * alone. Rotations change CF and OF only. What is undefined (AF; OF for counts above 1) is what the
 * host leaves.
 */
#include "alu.h"
#include "operand.h"

#define ROTATED (FLAG_CF | FLAG_OF)

static inline uint8_t masked(uint64_t count, unsigned int bits)
{
	return (uint8_t)(count & (bits == 64 ? 63 : 31));
}

/* Count is masked and not 0. SAHF puts the guest's flags but OF into the host's. */
#define SHIFT(bits, name, mnemonic, mask)                                                          \
	static inline uint##bits##_t name##_##bits(uint64_t *rflags, uint##bits##_t a,             \
						   uint8_t count)                                  \
	{                                                                                          \
		uint16_t taken = (uint16_t)(*rflags << 8);                                         \
                                                                                                   \
		__asm__("sahf\n\t" mnemonic " %%cl, %[a]\n\t" ALU_TAKE                             \
			: [a] "+&r"(a), "+&a"(taken)                                               \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		flags_take(rflags, taken, mask);                                                   \
		return a;                                                                          \
	}

ALU_SIZES(SHIFT, rol, "rol", ROTATED)
ALU_SIZES(SHIFT, ror, "ror", ROTATED)
ALU_SIZES(SHIFT, rcl, "rcl", ROTATED)
ALU_SIZES(SHIFT, rcr, "rcr", ROTATED)
ALU_SIZES(SHIFT, shl, "shl", FLAGS_ARITHMETIC)
ALU_SIZES(SHIFT, shr, "shr", FLAGS_ARITHMETIC)
ALU_SIZES(SHIFT, sar, "sar", FLAGS_ARITHMETIC)

/* A register of 32 bits is extended even if the count is 0. */
#define SHIFT_REGISTER(bits, name, kind, source)                                                   \
	static enum step name##_##kind##_##bits(struct cpu *cpu, const struct insn *insn)          \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
		uint8_t count = masked(source, bits);                                              \
                                                                                                   \
		if (count)                                                                         \
			a = name##_##bits(&cpu->s.rflags, a, count);                               \
		register_set_##bits(cpu, insn, insn->rm, a);                                       \
		return STEP_NEXT;                                                                  \
	}

#define SHIFT_REGISTERS(name)                                                                      \
	ALU_SIZES(SHIFT_REGISTER, name, one, 1)                                                    \
	ALU_SIZES(SHIFT_REGISTER, name, imm, insn->imm)                                            \
	ALU_SIZES(SHIFT_REGISTER, name, cl, cpu->s.gpr[CPU_RCX])

SHIFT_REGISTERS(rol)
SHIFT_REGISTERS(ror)
SHIFT_REGISTERS(rcl)
SHIFT_REGISTERS(rcr)
SHIFT_REGISTERS(shl)
SHIFT_REGISTERS(shr)
SHIFT_REGISTERS(sar)

/* ---- Memory ------------------------------------------------------------- */

#define BY_SIZE(name)                                                                              \
	static uint64_t name(unsigned int size, uint64_t *flags, uint64_t a, uint8_t count)        \
	{                                                                                          \
		switch (size) {                                                                    \
		case 1:                                                                            \
			return name##_8(flags, (uint8_t)a, count);                                 \
		case 2:                                                                            \
			return name##_16(flags, (uint16_t)a, count);                               \
		case 4:                                                                            \
			return name##_32(flags, (uint32_t)a, count);                               \
		default:                                                                           \
			return name##_64(flags, a, count);                                         \
		}                                                                                  \
	}

BY_SIZE(rol)
BY_SIZE(ror)
BY_SIZE(rcl)
BY_SIZE(rcr)
BY_SIZE(shl)
BY_SIZE(shr)
BY_SIZE(sar)

/* By their number in opcodes; 6 is SHL as well. */
static uint64_t (*const by_number[8])(unsigned int, uint64_t *, uint64_t, uint8_t) = {
    rol, ror, rcl, rcr, shl, shr, shl, sar,
};

static enum step shift_memory(struct cpu *cpu, const struct insn *insn, uint64_t source)
{
	unsigned int size = insn->size;
	uint8_t count = masked(source, 8 * size);
	uint64_t flags = cpu->s.rflags, val;
	struct update upd;
	enum step step = update_open(cpu, insn, size, &upd);

	if (step)
		return step;
	val = count ? by_number[insn->op](size, &flags, upd.val, count) : upd.val;
	step = update_close(cpu, &upd, size, val);
	if (!step)
		cpu->s.rflags = flags;
	return step;
}

static enum step mem_one(struct cpu *cpu, const struct insn *insn)
{
	return shift_memory(cpu, insn, 1);
}

static enum step mem_imm(struct cpu *cpu, const struct insn *insn)
{
	return shift_memory(cpu, insn, insn->imm);
}

static enum step mem_cl(struct cpu *cpu, const struct insn *insn)
{
	return shift_memory(cpu, insn, cpu->s.gpr[CPU_RCX]);
}

#define FORMS(name, kind)                                                                          \
	{                                                                                          \
		.reg = {name##_##kind##_8, name##_##kind##_16, name##_##kind##_32,                 \
			name##_##kind##_64},                                                       \
		.mem = {mem_##kind, mem_##kind, mem_##kind, mem_##kind},                           \
	}
#define OPERATIONS(kind)                                                                           \
	{                                                                                          \
		FORMS(rol, kind), FORMS(ror, kind), FORMS(rcl, kind), FORMS(rcr, kind),            \
		    FORMS(shl, kind), FORMS(shr, kind), FORMS(shl, kind), FORMS(sar, kind),        \
	}

const struct exec_forms exec_shift_one[8] = OPERATIONS(one);
const struct exec_forms exec_shift_imm[8] = OPERATIONS(imm);
const struct exec_forms exec_shift_cl[8] = OPERATIONS(cl);

/* ---- SHLD, SHRD --------------------------------------------------------- */

#define DOUBLE(bits, name, mnemonic)                                                               \
	static uint##bits##_t name##_##bits(uint64_t *rflags, uint##bits##_t a, uint##bits##_t b,  \
					    uint8_t count)                                         \
	{                                                                                          \
		uint16_t taken = (uint16_t)(*rflags << 8);                                         \
                                                                                                   \
		__asm__("sahf\n\t" mnemonic " %%cl, %[b], %[a]\n\t" ALU_TAKE                       \
			: [a] "+&r"(a), "+&a"(taken)                                               \
			: "c"(count), [b] "r"(b)                                                   \
			: "cc");                                                                   \
		flags_take(rflags, taken, FLAGS_ARITHMETIC);                                       \
		return a;                                                                          \
	}

DOUBLE(16, shld, "shld")
DOUBLE(32, shld, "shld")
DOUBLE(64, shld, "shld")
DOUBLE(16, shrd, "shrd")
DOUBLE(32, shrd, "shrd")
DOUBLE(64, shrd, "shrd")

static uint64_t shift_double(bool left, unsigned int size, uint64_t *flags, uint64_t a, uint64_t b,
			     uint8_t count)
{
	if (!count)
		return a;
	switch (size) {
	case 2:
		return left ? shld_16(flags, (uint16_t)a, (uint16_t)b, count)
			    : shrd_16(flags, (uint16_t)a, (uint16_t)b, count);
	case 4:
		return left ? shld_32(flags, (uint32_t)a, (uint32_t)b, count)
			    : shrd_32(flags, (uint32_t)a, (uint32_t)b, count);
	default:
		return left ? shld_64(flags, a, b, count) : shrd_64(flags, a, b, count);
	}
}

static enum step double_shift(struct cpu *cpu, const struct insn *insn, bool left, uint64_t source)
{
	unsigned int size = insn->size;
	uint8_t count = masked(source, 8 * size);
	uint64_t b = register_get(cpu, insn, insn->reg, size), flags = cpu->s.rflags, val;
	struct update upd;
	enum step step;

	if (!insn->memory) {
		val = register_get(cpu, insn, insn->rm, size);
		val = shift_double(left, size, &cpu->s.rflags, val, b, count);
		register_set(cpu, insn, insn->rm, size, val);
		return STEP_NEXT;
	}
	step = update_open(cpu, insn, size, &upd);
	if (step)
		return step;
	val = shift_double(left, size, &flags, upd.val, b, count);
	step = update_close(cpu, &upd, size, val);
	if (!step)
		cpu->s.rflags = flags;
	return step;
}

enum step exec_shld_imm(struct cpu *cpu, const struct insn *insn)
{
	return double_shift(cpu, insn, true, insn->imm);
}

enum step exec_shrd_imm(struct cpu *cpu, const struct insn *insn)
{
	return double_shift(cpu, insn, false, insn->imm);
}

enum step exec_shld_cl(struct cpu *cpu, const struct insn *insn)
{
	return double_shift(cpu, insn, true, cpu->s.gpr[CPU_RCX]);
}

enum step exec_shrd_cl(struct cpu *cpu, const struct insn *insn)
{
	return double_shift(cpu, insn, false, cpu->s.gpr[CPU_RCX]);
}
