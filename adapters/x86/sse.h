/* SPDX-License-Identifier: MIT */
/*
 * sse.h - what decode() has to know of the SSE instructions, and of the little of x87 there is.
 *
 * Rows are found by opcode map, opcode, mandatory prefix and ModRM. They are asked first: whatever
 * sse_lookup() does not know may be an integer instruction (POPCNT, CRC32, prefetches), and else is
 * not covered. The rows are in the files of their functions (exec_sse_*.c).
 */
#ifndef ADAPTERS_X86_SSE_H
#define ADAPTERS_X86_SSE_H

#include "x86.h"

enum sse_map { SSE_MAP_0F, SSE_MAP_0F38, SSE_MAP_0F3A, SSE_MAP_ONE_BYTE };

enum sse_feature { SSE_2, SSE_3, SSSE_3, SSE_4_1, SSE_4_2, SSE_FEATURES };

#define SSE_REG (1u << 0)        /* ModRM.rm may be a register */
#define SSE_MEM (1u << 1)        /* it may be memory */
#define SSE_IMM8 (1u << 2)       /* a byte follows */
#define SSE_ALIGNED (1u << 3)    /* #GP where its memory is not aligned to its size */
#define SSE_NO_MODRM (1u << 4)   /* the opcode is all */
#define SSE_ANY_PREFIX (1u << 5) /* 66, F2 and F3 say nothing */
#define SSE_STORES (1u << 6)     /* writes its memory operand */
#define SSE_GPR (1u << 7)        /* ModRM.rm as a register is a general one */
#define SSE_GPR_REG (1u << 8)    /* ModRM.reg is a general register */

#define SSE_NO_GROUP 8

struct sse_row {
	const char *name;
	exec_fn *exec;
	uint8_t map, opcode, prefix; /* prefix: 0, 0x66, 0xf2 or 0xf3 */
	uint8_t group;               /* ModRM.reg that this row is for, or SSE_NO_GROUP */
	uint8_t rm;         /* ModRM.rm of a register that this row is for, or SSE_NO_GROUP */
	uint8_t size;       /* of insn.size; 0: 4, with REX.W 8 */
	uint16_t mem_bytes; /* the memory operand's; 0: as size */
	uint16_t flags;     /* SSE_... */
	uint8_t feature;    /* enum sse_feature that the host must have */
};

/* Tables of rows, each sorted by map, opcode and prefix. */
struct sse_table {
	const struct sse_row *rows;
	size_t n;
};

extern const struct sse_table sse_integer, sse_shuffle, sse_arithmetic, sse_compare, sse_move,
    sse_convert, sse_four, sse_state;

/*
 * sse_lookup() - the row of an instruction.
 *   prefix   the mandatory one: the last of F2 and F3, else 0x66 if there is one, else 0
 *   modrm    the byte behind the opcode; any value where there is none
 * Returns NULL: not an SSE instruction, or not covered, or the host has none. Otherwise decode()
 * sets insn.exec, insn.size and insn.src_size (see sse_row), reads ModRM unless SSE_NO_MODRM, and
 * an immediate byte if SSE_IMM8. LOCK before any of them is #UD.
 */
const struct sse_row *sse_lookup(enum sse_map map, uint8_t opcode, uint8_t prefix, uint8_t modrm);

/* Does the host have it? */
bool sse_feature_there(enum sse_feature feature);

/* All tables, for tests: the i-th, or NULL. */
const struct sse_table *sse_table(unsigned int i);

#endif /* ADAPTERS_X86_SSE_H */
