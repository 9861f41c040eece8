/* SPDX-License-Identifier: MIT */
/*
 * table_one.c - the opcodes of one byte.
 *
 * What 64-bit mode has taken away (06, 27, 60 ...) is exec_ud(). Prefixes and 0F never come here.
 * A row that is all zero is not covered.
 */
#include "table.h"

#define M OPC_MODRM

/* What the processor refuses. */
#define UD                                                                                         \
	{                                                                                          \
		.exec = exec_ud, .size = SIZE_D                                                    \
	}
#define UD_MODRM                                                                                   \
	{                                                                                          \
		.exec = exec_ud, .flags = M, .size = SIZE_D                                        \
	}

/* The six opcodes of ADD, OR ..., from `first` on; CMP is without LOCK. */
#define ALU(first, number, with_lock)                                                              \
	[(first)] = {.forms = &exec_alu_rm_reg[number],                                            \
		     .locked = (with_lock),                                                        \
		     .flags = M,                                                                   \
		     .size = SIZE_B,                                                               \
		     .op = (number)},                                                              \
	[(first) + 1] = {.forms = &exec_alu_rm_reg[number],                                        \
			 .locked = (with_lock),                                                    \
			 .flags = M,                                                               \
			 .op = (number)},                                                          \
	[(first) +                                                                                 \
	    2] = {.forms = &exec_alu_reg_rm[number], .flags = M | OPC_SWAP, .size = SIZE_B},       \
	[(first) + 3] = {.forms = &exec_alu_reg_rm[number], .flags = M | OPC_SWAP},                \
	[(first) + 4] = {.forms = &exec_alu_rm_imm[number],                                        \
			 .flags = OPC_ACC,                                                         \
			 .size = SIZE_B,                                                           \
			 .imm = IMM_SB},                                                           \
	[(first) + 5] = {.forms = &exec_alu_rm_imm[number], .flags = OPC_ACC, .imm = IMM_Z}

#define GROUP1_ROW(number, with_lock, size_rule, imm_rule)                                         \
	[(number)] = {.forms = &exec_alu_rm_imm[number],                                           \
		      .locked = (with_lock),                                                       \
		      .flags = M,                                                                  \
		      .size = (size_rule),                                                         \
		      .imm = (imm_rule),                                                           \
		      .op = (number)}
#define GROUP1(name, size_rule, imm_rule)                                                          \
	static const struct opcode name[8] = {                                                     \
	    GROUP1_ROW(0, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(1, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(2, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(3, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(4, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(5, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(6, exec_alu_locked_imm, size_rule, imm_rule),                               \
	    GROUP1_ROW(7, NULL, size_rule, imm_rule),                                              \
	}

GROUP1(group1_b, SIZE_B, IMM_SB);
GROUP1(group1_z, SIZE_V, IMM_Z);
GROUP1(group1_sb, SIZE_V, IMM_SB);

#define SHIFT_ROW(number, kind, size_rule, imm_rule)                                               \
	[(number)] = {.forms = &(kind)[number],                                                    \
		      .flags = M,                                                                  \
		      .size = (size_rule),                                                         \
		      .imm = (imm_rule),                                                           \
		      .op = (number)}
#define GROUP2(name, kind, size_rule, imm_rule)                                                    \
	static const struct opcode name[8] = {                                                     \
	    SHIFT_ROW(0, kind, size_rule, imm_rule), SHIFT_ROW(1, kind, size_rule, imm_rule),      \
	    SHIFT_ROW(2, kind, size_rule, imm_rule), SHIFT_ROW(3, kind, size_rule, imm_rule),      \
	    SHIFT_ROW(4, kind, size_rule, imm_rule), SHIFT_ROW(5, kind, size_rule, imm_rule),      \
	    SHIFT_ROW(6, kind, size_rule, imm_rule), SHIFT_ROW(7, kind, size_rule, imm_rule),      \
	}

GROUP2(group2_b_imm, exec_shift_imm, SIZE_B, IMM_B);
GROUP2(group2_v_imm, exec_shift_imm, SIZE_V, IMM_B);
GROUP2(group2_b_one, exec_shift_one, SIZE_B, IMM_NONE);
GROUP2(group2_v_one, exec_shift_one, SIZE_V, IMM_NONE);
GROUP2(group2_b_cl, exec_shift_cl, SIZE_B, IMM_NONE);
GROUP2(group2_v_cl, exec_shift_cl, SIZE_V, IMM_NONE);

#define GROUP3(name, size_rule, imm_rule)                                                          \
	static const struct opcode name[8] = {                                                     \
	    {.forms = &exec_test_rm_imm, .flags = M, .size = (size_rule), .imm = (imm_rule)},      \
	    {.forms = &exec_test_rm_imm, .flags = M, .size = (size_rule), .imm = (imm_rule)},      \
	    {.forms = &exec_not,                                                                   \
	     .locked = exec_unary_locked,                                                          \
	     .flags = M,                                                                           \
	     .size = (size_rule),                                                                  \
	     .op = UNARY_NOT},                                                                     \
	    {.forms = &exec_neg,                                                                   \
	     .locked = exec_unary_locked,                                                          \
	     .flags = M,                                                                           \
	     .size = (size_rule),                                                                  \
	     .op = UNARY_NEG},                                                                     \
	    {.exec = exec_mul, .flags = M, .size = (size_rule)},                                   \
	    {.exec = exec_imul, .flags = M, .size = (size_rule)},                                  \
	    {.exec = exec_div, .flags = M, .size = (size_rule)},                                   \
	    {.exec = exec_idiv, .flags = M, .size = (size_rule)},                                  \
	}

GROUP3(group3_b, SIZE_B, IMM_SB);
GROUP3(group3_v, SIZE_V, IMM_Z);

#define INC_DEC(size_rule)                                                                         \
	{.forms = &exec_inc,                                                                       \
	 .locked = exec_unary_locked,                                                              \
	 .flags = M,                                                                               \
	 .size = (size_rule),                                                                      \
	 .op = UNARY_INC},                                                                         \
	{                                                                                          \
		.forms = &exec_dec, .locked = exec_unary_locked, .flags = M, .size = (size_rule),  \
		.op = UNARY_DEC                                                                    \
	}

#define SIX_UD_MODRM UD_MODRM, UD_MODRM, UD_MODRM, UD_MODRM, UD_MODRM, UD_MODRM

static const struct opcode group4[8] = {INC_DEC(SIZE_B), SIX_UD_MODRM};

static const struct opcode group5[8] = {
    INC_DEC(SIZE_V),
    {.exec = exec_call_rm, .flags = M | OPC_ENDS, .size = SIZE_N},
    {.exec = exec_call_far, .flags = M | OPC_ENDS | OPC_MEM},
    {.exec = exec_jmp_rm, .flags = M | OPC_ENDS, .size = SIZE_N},
    {.exec = exec_jmp_far, .flags = M | OPC_ENDS | OPC_MEM},
    {.forms = &exec_push_rm, .flags = M, .size = SIZE_S},
    UD_MODRM,
};

static const struct opcode group1a[8] = {
    {.forms = &exec_pop_rm, .flags = M, .size = SIZE_S},
    SIX_UD_MODRM,
    UD_MODRM,
};

static const struct opcode group11_b[8] = {
    {.forms = &exec_mov_rm_imm, .flags = M, .size = SIZE_B, .imm = IMM_SB},
    SIX_UD_MODRM,
    {.exec = NULL}, /* XABORT */
};

static const struct opcode group11_v[8] = {
    {.forms = &exec_mov_rm_imm, .flags = M, .imm = IMM_Z},
    SIX_UD_MODRM,
    {.exec = NULL}, /* XBEGIN */
};

#define XCHG_ACC                                                                                   \
	{                                                                                          \
		.forms = &exec_xchg, .flags = OPC_OPREG | OPC_ACC                                  \
	}

#define FOUR(...) __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define EIGHT(...) FOUR(__VA_ARGS__), FOUR(__VA_ARGS__)

#define JCC(cc)                                                                                    \
	{                                                                                          \
		.forms = &exec_jcc[cc], .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_SB           \
	}
#define PUSH_REG                                                                                   \
	{                                                                                          \
		.forms = &exec_push_rm, .flags = OPC_OPREG, .size = SIZE_S                         \
	}
#define POP_REG                                                                                    \
	{                                                                                          \
		.forms = &exec_pop_rm, .flags = OPC_OPREG, .size = SIZE_S                          \
	}
#define MOV_REG_IMM(size_rule)                                                                     \
	{                                                                                          \
		.forms = &exec_mov_rm_imm, .flags = OPC_OPREG, .size = (size_rule), .imm = IMM_V   \
	}
#define FLAG(name)                                                                                 \
	{                                                                                          \
		.exec = (name), .size = SIZE_D                                                     \
	}
#define STRING(name, size_rule)                                                                    \
	{                                                                                          \
		.exec = (name), .flags = OPC_ENDS_REP, .size = (size_rule)                         \
	}
#define LOOP(name)                                                                                 \
	{                                                                                          \
		.exec = (name), .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_SB                   \
	}
#define IN_OUT(name, size_rule, imm_rule, number)                                                  \
	{                                                                                          \
		.exec = (name), .flags = OPC_ENDS, .size = (size_rule), .imm = (imm_rule),         \
		.op = (number)                                                                     \
	}

const struct opcode table_one[256] = {
    ALU(0x00, 0, exec_alu_locked_reg),
    ALU(0x08, 1, exec_alu_locked_reg),
    ALU(0x10, 2, exec_alu_locked_reg),
    ALU(0x18, 3, exec_alu_locked_reg),
    ALU(0x20, 4, exec_alu_locked_reg),
    ALU(0x28, 5, exec_alu_locked_reg),
    ALU(0x30, 6, exec_alu_locked_reg),
    ALU(0x38, 7, NULL),
    [0x06] = UD,
    [0x07] = UD,
    [0x0e] = UD,
    [0x16] = UD,
    [0x17] = UD,
    [0x1e] = UD,
    [0x1f] = UD,
    [0x27] = UD,
    [0x2f] = UD,
    [0x37] = UD,
    [0x3f] = UD,
    [0x50] = EIGHT(PUSH_REG),
    [0x58] = EIGHT(POP_REG),
    [0x60] = UD,
    [0x61] = UD,
    [0x63] = {.forms = &exec_movsxd, .flags = M, .src_size = 4},
    [0x68] = {.exec = exec_push_imm, .size = SIZE_S, .imm = IMM_Z},
    [0x69] = {.exec = exec_imul_imm, .flags = M, .imm = IMM_Z},
    [0x6a] = {.exec = exec_push_imm, .size = SIZE_S, .imm = IMM_SB},
    [0x6b] = {.exec = exec_imul_imm, .flags = M, .imm = IMM_SB},
    [0x6c] = {.exec = exec_ins, .flags = OPC_ENDS, .size = SIZE_B},
    [0x6d] = {.exec = exec_ins, .flags = OPC_ENDS, .size = SIZE_Z},
    [0x6e] = {.exec = exec_outs, .flags = OPC_ENDS, .size = SIZE_B},
    [0x6f] = {.exec = exec_outs, .flags = OPC_ENDS, .size = SIZE_Z},
    [0x70] = JCC(0),
    JCC(1),
    JCC(2),
    JCC(3),
    JCC(4),
    JCC(5),
    JCC(6),
    JCC(7),
    JCC(8),
    JCC(9),
    JCC(10),
    JCC(11),
    JCC(12),
    JCC(13),
    JCC(14),
    JCC(15),
    [0x80] = {.group = group1_b},
    [0x81] = {.group = group1_z},
    [0x82] = UD,
    [0x83] = {.group = group1_sb},
    [0x84] = {.forms = &exec_test_rm_reg, .flags = M, .size = SIZE_B},
    [0x85] = {.forms = &exec_test_rm_reg, .flags = M},
    [0x86] = {.forms = &exec_xchg, .locked = exec_xchg_mem, .flags = M, .size = SIZE_B},
    [0x87] = {.forms = &exec_xchg, .locked = exec_xchg_mem, .flags = M},
    [0x88] = {.forms = &exec_mov_rm_reg, .flags = M, .size = SIZE_B},
    [0x89] = {.forms = &exec_mov_rm_reg, .flags = M},
    [0x8a] = {.forms = &exec_mov_reg_rm, .flags = M | OPC_SWAP, .size = SIZE_B},
    [0x8b] = {.forms = &exec_mov_reg_rm, .flags = M | OPC_SWAP},
    [0x8c] = {.exec = exec_mov_from_seg, .flags = M},
    [0x8d] = {.forms = &exec_lea, .flags = M | OPC_MEM},
    [0x8e] = {.exec = exec_mov_to_seg, .flags = M | OPC_ENDS},
    [0x8f] = {.group = group1a},
    [0x90] = {.exec = exec_nop_or_xchg, .flags = OPC_OPREG | OPC_ACC},
    [0x91] = XCHG_ACC,
    XCHG_ACC,
    XCHG_ACC,
    FOUR(XCHG_ACC),
    [0x98] = {.exec = exec_cbw},
    [0x99] = {.exec = exec_cwd},
    [0x9a] = UD,
    [0x9c] = {.exec = exec_pushf, .size = SIZE_S},
    [0x9d] = {.exec = exec_popf, .flags = OPC_ENDS, .size = SIZE_S},
    [0x9e] = FLAG(exec_sahf),
    [0x9f] = FLAG(exec_lahf),
    [0xa0] = {.forms = &exec_mov_reg_rm, .flags = OPC_ACC, .size = SIZE_B, .imm = IMM_MOFFS},
    [0xa1] = {.forms = &exec_mov_reg_rm, .flags = OPC_ACC, .imm = IMM_MOFFS},
    [0xa2] = {.forms = &exec_mov_rm_reg, .flags = OPC_ACC, .size = SIZE_B, .imm = IMM_MOFFS},
    [0xa3] = {.forms = &exec_mov_rm_reg, .flags = OPC_ACC, .imm = IMM_MOFFS},
    [0xa4] = STRING(exec_movs, SIZE_B),
    STRING(exec_movs, SIZE_V),
    [0xa6] = STRING(exec_cmps, SIZE_B),
    STRING(exec_cmps, SIZE_V),
    [0xa8] = {.forms = &exec_test_rm_imm, .flags = OPC_ACC, .size = SIZE_B, .imm = IMM_SB},
    [0xa9] = {.forms = &exec_test_rm_imm, .flags = OPC_ACC, .imm = IMM_Z},
    [0xaa] = STRING(exec_stos, SIZE_B),
    STRING(exec_stos, SIZE_V),
    [0xac] = STRING(exec_lods, SIZE_B),
    STRING(exec_lods, SIZE_V),
    [0xae] = STRING(exec_scas, SIZE_B),
    STRING(exec_scas, SIZE_V),
    [0xb0] = EIGHT(MOV_REG_IMM(SIZE_B)),
    [0xb8] = EIGHT(MOV_REG_IMM(SIZE_V)),
    [0xc0] = {.group = group2_b_imm},
    [0xc1] = {.group = group2_v_imm},
    [0xc2] = {.exec = exec_ret_imm, .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_W},
    [0xc3] = {.exec = exec_ret, .flags = OPC_ENDS, .size = SIZE_N},
    [0xc6] = {.group = group11_b},
    [0xc7] = {.group = group11_v},
    [0xc8] = {.exec = exec_enter, .size = SIZE_S, .imm = IMM_WB},
    [0xc9] = {.exec = exec_leave, .size = SIZE_S},
    [0xca] = {.exec = exec_ret_far, .flags = OPC_ENDS, .imm = IMM_W},
    [0xcb] = {.exec = exec_ret_far, .flags = OPC_ENDS},
    [0xcc] = {.exec = exec_int3, .flags = OPC_ENDS, .size = SIZE_D},
    [0xcd] = {.exec = exec_int, .flags = OPC_ENDS, .size = SIZE_D, .imm = IMM_B},
    [0xce] = UD,
    [0xcf] = {.exec = exec_iret, .flags = OPC_ENDS},
    [0xd0] = {.group = group2_b_one},
    [0xd1] = {.group = group2_v_one},
    [0xd2] = {.group = group2_b_cl},
    [0xd3] = {.group = group2_v_cl},
    [0xd4] = UD,
    [0xd5] = UD,
    [0xd6] = UD,
    [0xd7] = {.exec = exec_xlat, .size = SIZE_B},
    [0xe0] = LOOP(exec_loopne),
    LOOP(exec_loope),
    LOOP(exec_loop),
    LOOP(exec_jrcxz),
    [0xe4] = IN_OUT(exec_in, SIZE_B, IMM_B, 0),
    IN_OUT(exec_in, SIZE_Z, IMM_B, 0),
    [0xe6] = IN_OUT(exec_out, SIZE_B, IMM_B, 0),
    IN_OUT(exec_out, SIZE_Z, IMM_B, 0),
    [0xe8] = {.exec = exec_call_rel, .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_D},
    [0xe9] = {.exec = exec_jmp_rel, .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_D},
    [0xea] = UD,
    [0xeb] = {.exec = exec_jmp_rel, .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_SB},
    [0xec] = IN_OUT(exec_in, SIZE_B, IMM_NONE, 1),
    IN_OUT(exec_in, SIZE_Z, IMM_NONE, 1),
    [0xee] = IN_OUT(exec_out, SIZE_B, IMM_NONE, 1),
    IN_OUT(exec_out, SIZE_Z, IMM_NONE, 1),
    [0xf1] = {.exec = NULL}, /* INT1 */
    [0xf4] = {.exec = exec_hlt, .flags = OPC_ENDS, .size = SIZE_D},
    [0xf5] = FLAG(exec_cmc),
    [0xf6] = {.group = group3_b},
    [0xf7] = {.group = group3_v},
    [0xf8] = FLAG(exec_clc),
    FLAG(exec_stc),
    FLAG(exec_cli),
    FLAG(exec_sti),
    FLAG(exec_cld),
    FLAG(exec_std),
    [0xfe] = {.group = group4},
    [0xff] = {.group = group5},
};
