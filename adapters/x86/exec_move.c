/* SPDX-License-Identifier: MIT */
/*
 * exec_move.c - MOV MOVZX MOVSX MOVSXD LEA XCHG BSWAP MOVBE XLAT, sign extensions, and what does
 * nothing.
 */
#include "alu.h"
#include "operand.h"

/* ---- MOV ---------------------------------------------------------------- */

#define MOV(bits)                                                                                  \
	static enum step mov_rr_##bits(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		register_set_##bits(cpu, insn, insn->rm,                                           \
				    register_get_##bits(cpu, insn, insn->reg));                    \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step mov_ri_##bits(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		register_set_##bits(cpu, insn, insn->rm, (uint##bits##_t)insn->imm);               \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step mov_rm_##bits(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (bits) / 8, &val);   \
                                                                                                   \
		if (!step)                                                                         \
			register_set_##bits(cpu, insn, insn->reg, (uint##bits##_t)val);            \
		return step;                                                                       \
	}                                                                                          \
	static enum step mov_mr_##bits(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		return memory_store(cpu, operand_address(cpu, insn), (bits) / 8,                   \
				    register_get_##bits(cpu, insn, insn->reg));                    \
	}                                                                                          \
	static enum step mov_mi_##bits(struct cpu *cpu, const struct insn *insn)                   \
	{                                                                                          \
		return memory_store(cpu, operand_address(cpu, insn), (bits) / 8, insn->imm);       \
	}

ALU_SIZES(MOV)

#define FOUR(prefix)                                                                               \
	{                                                                                          \
		prefix##_8, prefix##_16, prefix##_32, prefix##_64                                  \
	}

const struct exec_forms exec_mov_rm_reg = {.reg = FOUR(mov_rr), .mem = FOUR(mov_mr)};
const struct exec_forms exec_mov_reg_rm = {.reg = FOUR(mov_rr), .mem = FOUR(mov_rm)};
const struct exec_forms exec_mov_rm_imm = {.reg = FOUR(mov_ri), .mem = FOUR(mov_mi)};

/* ---- MOVZX, MOVSX, MOVSXD ----------------------------------------------- */

/* The register form's operands are not swapped: reg is written. */
#define EXTEND(name, from, from_type, to, to_type)                                                 \
	static enum step name##from##_r_##to(struct cpu *cpu, const struct insn *insn)             \
	{                                                                                          \
		from_type val = (from_type)register_get_##from(cpu, insn, insn->rm);               \
                                                                                                   \
		register_set_##to(cpu, insn, insn->reg, (uint##to##_t)(to_type)val);               \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step name##from##_m_##to(struct cpu *cpu, const struct insn *insn)             \
	{                                                                                          \
		uint64_t val;                                                                      \
		enum step step = memory_load(cpu, operand_address(cpu, insn), (from) / 8, &val);   \
                                                                                                   \
		if (!step)                                                                         \
			register_set_##to(cpu, insn, insn->reg,                                    \
					  (uint##to##_t)(to_type)(from_type)val);                  \
		return step;                                                                       \
	}

#define ZERO_EXTEND(from, to) EXTEND(movzx, from, uint##from##_t, to, uint##to##_t)
#define SIGN_EXTEND(from, to) EXTEND(movsx, from, int##from##_t, to, int##to##_t)

ZERO_EXTEND(8, 16)
ZERO_EXTEND(8, 32)
ZERO_EXTEND(8, 64)
ZERO_EXTEND(16, 16)
ZERO_EXTEND(16, 32)
ZERO_EXTEND(16, 64)
SIGN_EXTEND(8, 16)
SIGN_EXTEND(8, 32)
SIGN_EXTEND(8, 64)
SIGN_EXTEND(16, 16)
SIGN_EXTEND(16, 32)
SIGN_EXTEND(16, 64)
SIGN_EXTEND(32, 32)
SIGN_EXTEND(32, 64)

#define EXTEND_FORMS(name)                                                                         \
	{                                                                                          \
		.reg = {NULL, name##_r_16, name##_r_32, name##_r_64},                              \
		.mem = {NULL, name##_m_16, name##_m_32, name##_m_64},                              \
	}

const struct exec_forms exec_movzx8 = EXTEND_FORMS(movzx8);
const struct exec_forms exec_movzx16 = EXTEND_FORMS(movzx16);
const struct exec_forms exec_movsx8 = EXTEND_FORMS(movsx8);
const struct exec_forms exec_movsx16 = EXTEND_FORMS(movsx16);
/* With a prefix of 0x66 it moves 16 bits. */
const struct exec_forms exec_movsxd = {
    .reg = {NULL, movsx16_r_16, movsx32_r_32, movsx32_r_64},
    .mem = {NULL, movsx16_m_16, movsx32_m_32, movsx32_m_64},
};

/* ---- LEA ---------------------------------------------------------------- */

/* The offset: without the segment's base. */
#define LEA(bits)                                                                                  \
	static enum step lea_##bits(struct cpu *cpu, const struct insn *insn)                      \
	{                                                                                          \
		register_set_##bits(cpu, insn, insn->reg,                                          \
				    (uint##bits##_t)operand_offset(cpu, insn, 0));                 \
		return STEP_NEXT;                                                                  \
	}

LEA(16)
LEA(32)
LEA(64)

const struct exec_forms exec_lea = {.mem = {NULL, lea_16, lea_32, lea_64}};

/* ---- XCHG --------------------------------------------------------------- */

#define XCHG(bits)                                                                                 \
	static enum step xchg_##bits(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
                                                                                                   \
		register_set_##bits(cpu, insn, insn->rm,                                           \
				    register_get_##bits(cpu, insn, insn->reg));                    \
		register_set_##bits(cpu, insn, insn->reg, a);                                      \
		return STEP_NEXT;                                                                  \
	}

ALU_SIZES(XCHG)

/* Locked with or without the prefix. */
enum step exec_xchg_mem(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val = register_get(cpu, insn, insn->reg, insn->size);
	struct update upd;
	bool done = false;
	enum step step = update_open(cpu, insn, insn->size, &upd);

	while (!step && !done)
		step = update_exchange(cpu, &upd, insn->size, val, &done);
	if (!step)
		register_set(cpu, insn, insn->reg, insn->size, upd.val);
	return step;
}

const struct exec_forms exec_xchg = {
    .reg = FOUR(xchg),
    .mem = {exec_xchg_mem, exec_xchg_mem, exec_xchg_mem, exec_xchg_mem},
};

/* 90: exchanges with R8 only; with itself it does nothing, not even to the upper half. */
enum step exec_nop_or_xchg(struct cpu *cpu, const struct insn *insn)
{
	if (insn->rm == CPU_RAX)
		return STEP_NEXT;
	return exec_xchg.reg[__builtin_ctz(insn->size)](cpu, insn);
}

/* ---- Others ------------------------------------------------------------- */

enum step exec_nop(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	return STEP_NEXT;
}

enum step exec_fence(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	__asm__ volatile("mfence" ::: "memory");
	return STEP_NEXT;
}

/* A cache line is flushed as a byte of it is read. */
enum step exec_flush(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val;

	return memory_load(cpu, operand_address(cpu, insn), 1, &val);
}

static uint64_t byte_swapped(uint64_t val, unsigned int size)
{
	switch (size) {
	case 2:
		return __builtin_bswap16((uint16_t)val);
	case 4:
		return __builtin_bswap32((uint32_t)val);
	default:
		return __builtin_bswap64(val);
	}
}

/* Of 16 bits: undefined; processors clear them. */
enum step exec_bswap(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val = register_get(cpu, insn, insn->rm, insn->size);

	val = insn->size == 2 ? 0 : byte_swapped(val, insn->size);
	register_set(cpu, insn, insn->rm, insn->size, val);
	return STEP_NEXT;
}

enum step exec_movbe_load(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val;
	enum step step = memory_load(cpu, operand_address(cpu, insn), insn->size, &val);

	if (!step)
		register_set(cpu, insn, insn->reg, insn->size, byte_swapped(val, insn->size));
	return step;
}

enum step exec_movbe_store(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val = register_get(cpu, insn, insn->reg, insn->size);

	return memory_store(cpu, operand_address(cpu, insn), insn->size,
			    byte_swapped(val, insn->size));
}

enum step exec_xlat(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = cpu->s.gpr[CPU_RBX] + (uint8_t)cpu->s.gpr[CPU_RAX], val;
	enum step step;

	if (insn->addr_size == 4)
		linear = (uint32_t)linear;
	if (insn->segment >= CPU_FS)
		linear += cpu->s.seg[insn->segment].base;
	step = memory_load(cpu, linear, 1, &val);
	if (!step)
		cpu->s.gpr[CPU_RAX] = (cpu->s.gpr[CPU_RAX] & ~0xffull) | val;
	return step;
}

/* CBW, CWDE, CDQE: the half of the accumulator fills it. */
enum step exec_cbw(struct cpu *cpu, const struct insn *insn)
{
	uint64_t rax = cpu->s.gpr[CPU_RAX];

	switch (insn->size) {
	case 2:
		rax = (uint64_t)(int8_t)rax;
		break;
	case 4:
		rax = (uint64_t)(int16_t)rax;
		break;
	default:
		rax = (uint64_t)(int32_t)rax;
	}
	register_set(cpu, insn, CPU_RAX, insn->size, rax);
	return STEP_NEXT;
}

/* CWD, CDQ, CQO: the accumulator's sign fills RDX. */
enum step exec_cwd(struct cpu *cpu, const struct insn *insn)
{
	uint64_t rax = cpu->s.gpr[CPU_RAX];
	bool negative = rax >> (8 * insn->size - 1) & 1;

	register_set(cpu, insn, CPU_RDX, insn->size, negative ? ~0ull : 0);
	return STEP_NEXT;
}
