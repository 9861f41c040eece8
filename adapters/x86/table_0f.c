/* SPDX-License-Identifier: MIT */
/*
 * table_0f.c - the opcodes behind 0F, 0F 38 and 0F 3A, and table_find().
 *
 * SSE has tables of its own (sse.h), which decode() asks first. A row that is all zero is not
 * covered.
 */
#include "table.h"

#define M OPC_MODRM
#define UD                                                                                         \
	{                                                                                          \
		.exec = exec_ud, .size = SIZE_D                                                    \
	}
#define NOP                                                                                        \
	{                                                                                          \
		.exec = exec_nop, .flags = M                                                       \
	}
#define FOUR(...) __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define EIGHT(...) FOUR(__VA_ARGS__), FOUR(__VA_ARGS__)
#define UD_MODRM                                                                                   \
	{                                                                                          \
		.exec = exec_ud, .flags = M, .size = SIZE_D                                        \
	}

static const struct opcode group6[8] = {
    {.exec = exec_sldt, .flags = M},
    {.exec = exec_str, .flags = M},
    {.exec = exec_lldt, .flags = M | OPC_ENDS},
    {.exec = exec_ltr, .flags = M | OPC_ENDS},
    {.exec = exec_verr, .flags = M},
    {.exec = exec_verw, .flags = M},
    UD_MODRM,
    UD_MODRM,
};

static const struct opcode group7_mem[8] = {
    {.exec = exec_sgdt, .flags = M},
    {.exec = exec_sidt, .flags = M},
    {.exec = exec_lgdt, .flags = M},
    {.exec = exec_lidt, .flags = M},
    {.exec = exec_smsw, .flags = M},
    {.exec = NULL}, /* RSTORSSP */
    {.exec = exec_lmsw, .flags = M | OPC_ENDS},
    {.exec = exec_invlpg, .flags = M | OPC_ENDS},
};

static const struct opcode *find_group7(uint8_t modrm, uint8_t prefix)
{
	static const struct opcode ud = {.exec = exec_ud, .flags = M};
	static const struct opcode xgetbv = {.exec = exec_xgetbv, .flags = M};
	static const struct opcode xsetbv = {.exec = exec_xsetbv, .flags = M | OPC_ENDS};
	static const struct opcode clac = {.exec = exec_clac, .flags = M};
	static const struct opcode stac = {.exec = exec_stac, .flags = M};
	static const struct opcode swapgs = {.exec = exec_swapgs, .flags = M};
	static const struct opcode rdtscp = {.exec = exec_rdtscp, .flags = M};

	(void)prefix;
	if (modrm < 0xc0)
		return &group7_mem[modrm >> 3 & 7];
	switch (modrm) {
	case 0xca:
		return &clac;
	case 0xcb:
		return &stac;
	case 0xd0:
		return &xgetbv;
	case 0xd1:
		return &xsetbv;
	case 0xf8:
		return &swapgs;
	case 0xf9:
		return &rdtscp;
	case 0xc8: /* MONITOR, MWAIT: not offered */
	case 0xc9:
	case 0xc1: /* VMCALL, VMMCALL: whoever runs the guest has no use for them */
	case 0xd9:
		return &ud;
	default:
		/* SMSW and LMSW have register forms. */
		if ((modrm & 0x38) == 0x20 || (modrm & 0x38) == 0x30)
			return &group7_mem[modrm >> 3 & 7];
		return NULL;
	}
}

#define BIT(number, with_lock)                                                                     \
	{                                                                                          \
		.exec = exec_bit_imm, .locked = (with_lock), .flags = M, .imm = IMM_B,             \
		.op = (number)                                                                     \
	}

static const struct opcode group8[8] = {
    UD_MODRM,
    UD_MODRM,
    UD_MODRM,
    UD_MODRM,
    BIT(BIT_TEST, NULL),
    BIT(BIT_SET, exec_bit_imm),
    BIT(BIT_RESET, exec_bit_imm),
    BIT(BIT_COMPLEMENT, exec_bit_imm),
};

/* MOVNTI has no other meaning with a prefix. */
static const struct opcode *find_movnti(uint8_t modrm, uint8_t prefix)
{
	static const struct opcode movnti = {
	    .forms = &exec_mov_rm_reg, .flags = M | OPC_MEM, .size = SIZE_Y};
	static const struct opcode ud = {.exec = exec_ud, .flags = M};

	(void)modrm;
	return prefix ? &ud : &movnti;
}

/* CMPXCHG8B and CMPXCHG16B. RDRAND and RDSEED are not offered. */
static const struct opcode *find_group9(uint8_t modrm, uint8_t prefix)
{
	static const struct opcode cmpxchg = {
	    .exec = exec_cmpxchg8b_16b,
	    .locked = exec_cmpxchg8b_16b,
	    .flags = M | OPC_MEM,
	    .size = SIZE_Y,
	};
	static const struct opcode ud = {.exec = exec_ud, .flags = M};

	if ((modrm & 0x38) == 0x08)
		return &cmpxchg;
	if (modrm >= 0xc0 && (modrm & 0x30) == 0x30 && prefix != 0xf3)
		return &ud;
	return NULL;
}

/* What is left of group 15 without SSE's state: fences, flushes, bases of FS and GS. */
static const struct opcode *find_group15(uint8_t modrm, uint8_t prefix)
{
	static const struct opcode fence = {.exec = exec_fence, .flags = M};
	static const struct opcode flush = {.exec = exec_flush, .flags = M | OPC_MEM};
	static const struct opcode bases[4] = {
	    {.exec = exec_fsgsbase, .flags = M, .size = SIZE_Y, .op = 0},
	    {.exec = exec_fsgsbase, .flags = M, .size = SIZE_Y, .op = 1},
	    {.exec = exec_fsgsbase, .flags = M, .size = SIZE_Y, .op = 2},
	    {.exec = exec_fsgsbase, .flags = M, .size = SIZE_Y, .op = 3},
	};
	uint8_t reg = modrm >> 3 & 7;

	if (modrm >= 0xc0) {
		if (prefix == 0xf3 && reg < 4)
			return &bases[reg];
		return prefix == 0 && reg >= 5 ? &fence : NULL;
	}
	/* CLFLUSH; with 66 CLFLUSHOPT and CLWB. */
	if ((prefix == 0 && reg == 7) || (prefix == 0x66 && reg >= 6))
		return &flush;
	return NULL;
}

#define CMOV(cc)                                                                                   \
	{                                                                                          \
		.forms = &exec_cmovcc[cc], .flags = M | OPC_SWAP                                   \
	}
#define JCC(cc)                                                                                    \
	{                                                                                          \
		.forms = &exec_jcc[cc], .flags = OPC_ENDS, .size = SIZE_N, .imm = IMM_D            \
	}
#define SETCC(cc)                                                                                  \
	{                                                                                          \
		.forms = &exec_setcc[cc], .flags = M, .size = SIZE_B                               \
	}
#define SIXTEEN(row)                                                                               \
	row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7), row(8), row(9), row(10),   \
	    row(11), row(12), row(13), row(14), row(15)
#define BSWAP                                                                                      \
	{                                                                                          \
		.exec = exec_bswap, .flags = OPC_OPREG                                             \
	}
#define SEG(name, segment)                                                                         \
	{                                                                                          \
		.exec = (name), .size = SIZE_S, .op = (segment)                                    \
	}

const struct opcode table_0f[256] = {
    [0x00] = {.group = group6},
    [0x01] = {.find = find_group7},
    [0x02] = {.exec = exec_lar, .flags = M},
    [0x03] = {.exec = exec_lsl, .flags = M},
    [0x04] = UD,
    [0x05] = {.exec = exec_syscall, .flags = OPC_ENDS, .size = SIZE_Y},
    [0x06] = {.exec = exec_clts, .flags = OPC_ENDS, .size = SIZE_D},
    [0x07] = {.exec = exec_sysret, .flags = OPC_ENDS, .size = SIZE_Y},
    [0x08] = {.exec = exec_wbinvd, .size = SIZE_D},
    [0x09] = {.exec = exec_wbinvd, .size = SIZE_D},
    [0x0a] = UD,
    [0x0b] = UD,
    [0x0c] = UD,
    [0x0d] = {.exec = exec_nop, .flags = M | OPC_MEM},
    [0x18] = EIGHT(NOP),
    [0x20] = {.exec = exec_mov_from_cr, .flags = M | OPC_PLAIN, .size = SIZE_Q},
    [0x21] = {.exec = exec_mov_from_dr, .flags = M | OPC_PLAIN, .size = SIZE_Q},
    [0x22] = {.exec = exec_mov_to_cr, .flags = M | OPC_PLAIN | OPC_ENDS, .size = SIZE_Q},
    [0x23] = {.exec = exec_mov_to_dr, .flags = M | OPC_PLAIN | OPC_ENDS, .size = SIZE_Q},
    [0x30] = {.exec = exec_wrmsr, .flags = OPC_ENDS, .size = SIZE_D},
    [0x31] = {.exec = exec_rdtsc, .size = SIZE_D},
    [0x32] = {.exec = exec_rdmsr, .size = SIZE_D},
    [0x33] = {.exec = exec_rdpmc, .size = SIZE_D},
    [0x40] = SIXTEEN(CMOV),
    [0x80] = SIXTEEN(JCC),
    [0x90] = SIXTEEN(SETCC),
    [0xa0] = SEG(exec_push_seg, CPU_FS),
    SEG(exec_pop_seg, CPU_FS),
    {.exec = exec_cpuid, .size = SIZE_D},
    {.exec = exec_bit_reg, .flags = M, .op = BIT_TEST},
    {.exec = exec_shld_imm, .flags = M, .imm = IMM_B},
    {.exec = exec_shld_cl, .flags = M},
    [0xa8] = SEG(exec_push_seg, CPU_GS),
    SEG(exec_pop_seg, CPU_GS),
    [0xab] = {.exec = exec_bit_reg, .locked = exec_bit_reg, .flags = M, .op = BIT_SET},
    {.exec = exec_shrd_imm, .flags = M, .imm = IMM_B},
    {.exec = exec_shrd_cl, .flags = M},
    {.find = find_group15},
    {.forms = &exec_imul_reg_rm, .flags = M | OPC_SWAP},
    {.exec = exec_cmpxchg, .locked = exec_cmpxchg, .flags = M, .size = SIZE_B},
    {.exec = exec_cmpxchg, .locked = exec_cmpxchg, .flags = M},
    [0xb3] = {.exec = exec_bit_reg, .locked = exec_bit_reg, .flags = M, .op = BIT_RESET},
    [0xb6] = {.forms = &exec_movzx8, .flags = M, .src_size = 1},
    {.forms = &exec_movzx16, .flags = M, .src_size = 2},
    [0xb9] = {.exec = exec_ud, .flags = M},
    {.group = group8},
    {.exec = exec_bit_reg, .locked = exec_bit_reg, .flags = M, .op = BIT_COMPLEMENT},
    {.exec = exec_bsf, .flags = M},
    {.exec = exec_bsr, .flags = M},
    {.forms = &exec_movsx8, .flags = M, .src_size = 1},
    {.forms = &exec_movsx16, .flags = M, .src_size = 2},
    {.exec = exec_xadd, .locked = exec_xadd, .flags = M, .size = SIZE_B},
    {.exec = exec_xadd, .locked = exec_xadd, .flags = M},
    [0xc3] = {.find = find_movnti},
    [0xc7] = {.find = find_group9},
    [0xc8] = EIGHT(BSWAP),
    [0xff] = {.exec = exec_ud, .flags = M},
};

/* F3 0F: the opcode is another instruction with this prefix. */
static const struct opcode *find_f3(uint8_t opcode)
{
	static const struct opcode popcnt = {.exec = exec_popcnt, .flags = M};
	static const struct opcode tzcnt = {.exec = exec_tzcnt, .flags = M};
	static const struct opcode lzcnt = {.exec = exec_lzcnt, .flags = M};

	switch (opcode) {
	case 0xb8:
		return &popcnt;
	case 0xbc:
		return &tzcnt;
	case 0xbd:
		return &lzcnt;
	default:
		return &table_0f[opcode];
	}
}

static const struct opcode *find_0f38(uint8_t prefix, uint8_t opcode)
{
	static const struct opcode movbe_load = {.exec = exec_movbe_load, .flags = M | OPC_MEM};
	static const struct opcode movbe_store = {.exec = exec_movbe_store, .flags = M | OPC_MEM};
	static const struct opcode crc32[2] = {
	    {.exec = exec_crc32, .flags = M, .size = SIZE_Y, .src_size = 1},
	    {.exec = exec_crc32, .flags = M},
	};
	static const struct opcode adcx = {.exec = exec_adcx, .flags = M, .size = SIZE_Y};
	static const struct opcode adox = {.exec = exec_adox, .flags = M, .size = SIZE_Y};
	static const struct opcode invpcid = {
	    .exec = exec_invpcid, .flags = M | OPC_MEM | OPC_ENDS, .size = SIZE_Q};

	if (opcode == 0x82 && prefix == 0x66)
		return &invpcid;
	if (opcode == 0xf0 || opcode == 0xf1) {
		if (prefix == 0xf2)
			return &crc32[opcode - 0xf0];
		if (prefix != 0xf3)
			return opcode == 0xf0 ? &movbe_load : &movbe_store;
	}
	if (opcode == 0xf6 && prefix == 0x66)
		return &adcx;
	if (opcode == 0xf6 && prefix == 0xf3)
		return &adox;
	return NULL;
}

const struct opcode *table_find(enum opcode_map map, uint8_t prefix, uint8_t opcode)
{
	switch (map) {
	case MAP_ONE:
		return &table_one[opcode];
	case MAP_0F:
		return prefix == 0xf3 ? find_f3(opcode) : &table_0f[opcode];
	case MAP_0F38:
		return find_0f38(prefix, opcode);
	case MAP_0F3A:
	default:
		return NULL;
	}
}
