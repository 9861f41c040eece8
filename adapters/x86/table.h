/* SPDX-License-Identifier: MIT */
/*
 * table.h - rows of the opcode tables: what decode() has to know of an opcode.
 *
 * A row says how the bytes behind the opcode are read, which sizes the operands have, and which
 * function does the work: one for all (`exec`), or one of `forms` by kind and size of the operand.
 * A row without either is not covered; rows that the processor refuses have exec_ud().
 */
#ifndef ADAPTERS_X86_TABLE_H
#define ADAPTERS_X86_TABLE_H

#include "exec.h"

/* Operand sizes. "Prefix" is 0x66, W the bit of REX. */
enum size_rule {
	SIZE_V, /* 4; prefix 2; W 8 */
	SIZE_B, /* 1 */
	SIZE_Z, /* 4; prefix 2 */
	SIZE_S, /* of the stack: 8; prefix 2 */
	SIZE_N, /* near branches: 8; prefix: not covered, since processors differ */
	SIZE_Y, /* 4; W 8 */
	SIZE_W, /* 2 */
	SIZE_D, /* 4 */
	SIZE_Q, /* 8 */
	SIZE_X, /* 16 */
};

/* What follows behind ModRM. */
enum imm_rule {
	IMM_NONE,
	IMM_B,     /* a byte, zero-extended */
	IMM_SB,    /* a byte, sign-extended */
	IMM_W,     /* two bytes, zero-extended */
	IMM_Z,     /* 2 or 4 bytes by operand size, sign-extended */
	IMM_V,     /* as many as the operand has */
	IMM_D,     /* four bytes, sign-extended */
	IMM_MOFFS, /* the address of the operand, of address size */
	IMM_WB,    /* two bytes and one, the latter in bits 16-23 (ENTER) */
};

#define OPC_MODRM (1u << 0)
#define OPC_SWAP                                                                                   \
	(1u << 1)              /* the register operand is the first: rm and reg change places if   \
				* both are registers, so that rm is always written to */
#define OPC_OPREG (1u << 2)    /* bits 0-2 of the opcode are the register (rm and reg) */
#define OPC_ENDS (1u << 3)     /* ends a block */
#define OPC_ENDS_REP (1u << 4) /* ends a block if repeated */
#define OPC_MEM (1u << 5)      /* #UD with a register operand */
#define OPC_REG (1u << 6)      /* #UD with a memory operand */
#define OPC_ACC (1u << 8)      /* reg is RAX; rm, too, if nothing else says what it is */
#define OPC_PLAIN (1u << 7)    /* mod is ignored: always a register (MOV CR) */

struct opcode {
	exec_fn *exec;
	const struct exec_forms *forms;
	exec_fn *locked;            /* with LOCK and a memory operand; NULL: #UD */
	const struct opcode *group; /* eight rows by ModRM.reg, of which one counts instead */
	/* The row by the whole of ModRM; NULL: not covered. */
	const struct opcode *(*find)(uint8_t modrm, uint8_t prefix);
	uint16_t flags;
	uint8_t size, imm; /* enum size_rule, enum imm_rule */
	uint8_t op;        /* into insn.op */
	uint8_t src_size;  /* into insn.src_size */
};

/* The opcode maps. */
enum opcode_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

/*
 * table_find() - the row of an integer or system opcode.
 *   prefix   0, 0x66, 0xf2 or 0xf3: the mandatory one, where it chooses the instruction
 *            (0xf2 and 0xf3 before 0x66)
 * Returns NULL where there is none.
 */
const struct opcode *table_find(enum opcode_map map, uint8_t prefix, uint8_t opcode);

/*
 * table_vex_find() - the row of an integer opcode behind a VEX prefix.
 *   pp   of the prefix: 0 none, 1 66, 2 F3, 3 F2
 * Returns NULL where there is none.
 */
const struct opcode *table_vex_find(enum opcode_map map, unsigned int pp, uint8_t opcode);

/* The tables, by file; 256 rows each. */
extern const struct opcode table_one[256], table_0f[256];

#endif /* ADAPTERS_X86_TABLE_H */
