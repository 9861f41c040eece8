/* SPDX-License-Identifier: MIT */
/*
 * table_vex.c - the integer opcodes behind a VEX prefix. Vectors are not covered.
 */
#include "table.h"

#define ROW(function, number)                                                                      \
	{                                                                                          \
		.exec = (function), .flags = OPC_MODRM, .size = SIZE_Y, .op = (number)             \
	}

/* F5 and F7 are four instructions each, by prefix: none, 66, F3, F2. */
static const struct opcode row_f5[4] = {
    ROW(exec_bzhi, 0),
    {.exec = NULL},
    ROW(exec_pext, 0),
    ROW(exec_pdep, 0),
};
static const struct opcode row_f7[4] = {
    ROW(exec_bextr, 0),
    ROW(exec_shift_plain, PLAIN_SHL),
    ROW(exec_shift_plain, PLAIN_SAR),
    ROW(exec_shift_plain, PLAIN_SHR),
};
static const struct opcode group17[8] = {
    {.exec = NULL},
    ROW(exec_lowest_bit, LOWEST_RESET),
    ROW(exec_lowest_bit, LOWEST_MASK),
    ROW(exec_lowest_bit, LOWEST_ISOLATE),
};
static const struct opcode andn = ROW(exec_andn, 0);
static const struct opcode mulx = ROW(exec_mulx, 0);
static const struct opcode row_f3 = {.group = group17};
static const struct opcode rorx = {
    .exec = exec_shift_plain,
    .flags = OPC_MODRM,
    .size = SIZE_Y,
    .imm = IMM_B,
    .op = PLAIN_ROR,
};

const struct opcode *table_vex_find(enum opcode_map map, unsigned int pp, uint8_t opcode)
{
	if (map == MAP_0F3A)
		return pp == 3 && opcode == 0xf0 ? &rorx : NULL;
	if (map != MAP_0F38)
		return NULL;
	switch (opcode) {
	case 0xf2:
		return pp == 0 ? &andn : NULL;
	case 0xf3:
		return pp == 0 ? &row_f3 : NULL;
	case 0xf5:
		return &row_f5[pp];
	case 0xf6:
		return pp == 3 ? &mulx : NULL;
	case 0xf7:
		return &row_f7[pp];
	default:
		return NULL;
	}
}
