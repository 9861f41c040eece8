/* SPDX-License-Identifier: MIT */
/*
 * decode.c - bytes -> struct insn.
 *
 * Data: a cursor over the bytes, which yields zeros behind their end and remembers that it did;
 * the prefixes seen; the row of the opcode (table.h, sse.h).
 *
 * Invariants.
 * D1 No byte behind the n given is read. What is decoded from the zeros is thrown away.
 * D2 The result depends on the bytes only, and the first `len` of them alone give it again.
 * D3 What an instruction's function reads of struct insn is set for every row; all else is zero
 *    (registers of absent operands: NO_REG).
 */
#include <errno.h>
#include <string.h>

#include "sse.h"
#include "table.h"

struct cursor {
	const uint8_t *bytes;
	unsigned int n, at;
	bool beyond;
};

struct prefixes {
	uint8_t rex;       /* the byte, or 0 */
	uint8_t mandatory; /* what chooses among SSE instructions and the like */
	uint8_t segment;
	bool operand_size;
};

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

static uint8_t peek(const struct cursor *cur)
{
	return cur->at < cur->n ? cur->bytes[cur->at] : 0;
}

static uint8_t next_byte(struct cursor *cur)
{
	uint8_t byte = peek(cur);

	if (cur->at >= cur->n)
		cur->beyond = true;
	else
		cur->at++;
	return byte;
}

/* Little-endian, zero-extended. */
static uint64_t next_bytes(struct cursor *cur, unsigned int nbytes)
{
	uint64_t val = 0;
	unsigned int i;

	for (i = 0; i < nbytes; i++)
		val |= (uint64_t)next_byte(cur) << (8 * i);
	return val;
}

static uint64_t next_signed(struct cursor *cur, unsigned int nbytes)
{
	uint64_t val = next_bytes(cur, nbytes);

	switch (nbytes) {
	case 1:
		return (uint64_t)(int64_t)(int8_t)val;
	case 2:
		return (uint64_t)(int64_t)(int16_t)val;
	case 4:
		return (uint64_t)(int64_t)(int32_t)val;
	default:
		return val;
	}
}

/* One legacy prefix; false: the byte is none. */
static bool legacy_prefix(uint8_t byte, struct prefixes *pre, struct insn *insn)
{
	switch (byte) {
	case 0x26: /* without meaning in 64-bit mode; as branch hints, too */
	case 0x2e:
	case 0x36:
	case 0x3e:
		return true;
	case 0x64:
		pre->segment = CPU_FS;
		return true;
	case 0x65:
		pre->segment = CPU_GS;
		return true;
	case 0x66:
		pre->operand_size = true;
		return true;
	case 0x67:
		insn->addr_size = 4;
		return true;
	case 0xf0:
		insn->lock = 1;
		return true;
	case 0xf2:
	case 0xf3:
		insn->rep = byte;
		return true;
	default:
		return false;
	}
}

/* Returns the first byte that is no prefix. A REX counts only directly before the opcode. */
static uint8_t decode_prefixes(struct cursor *cur, struct prefixes *pre, struct insn *insn)
{
	for (;;) {
		uint8_t byte = next_byte(cur);

		if ((byte & 0xf0) == 0x40) {
			pre->rex = byte;
			continue;
		}
		if (!legacy_prefix(byte, pre, insn)) {
			if (insn->rep)
				pre->mandatory = insn->rep;
			else if (pre->operand_size)
				pre->mandatory = 0x66;
			insn->rex = pre->rex;
			insn->opsize_prefix = pre->operand_size;
			return byte;
		}
		pre->rex = 0;
	}
}

/* Base, index and scale of a SIB byte; true: there is no base, but a displacement of 4 bytes. */
static bool decode_sib(struct cursor *cur, uint8_t mod, uint8_t rex, struct insn *insn)
{
	uint8_t sib = next_byte(cur);
	uint8_t index = (uint8_t)((sib >> 3 & 7) | (rex & REX_X ? 8 : 0));

	if (index != CPU_RSP)
		insn->index = index;
	insn->scale_shift = sib >> 6;
	if (mod == 0 && (sib & 7) == 5)
		return true;
	insn->base = (uint8_t)((sib & 7) | (rex & REX_B ? 8 : 0));
	return false;
}

static void decode_memory(struct cursor *cur, uint8_t modrm, const struct prefixes *pre,
			  struct insn *insn)
{
	uint8_t mod = modrm >> 6, rm = modrm & 7;
	unsigned int disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	insn->memory = 1;
	insn->segment = pre->segment;
	if (rm == 4) {
		if (decode_sib(cur, mod, pre->rex, insn))
			disp_bytes = 4;
	} else if (mod == 0 && rm == 5) {
		insn->rip_relative = 1;
		disp_bytes = 4;
	} else {
		insn->base = (uint8_t)(rm | (pre->rex & REX_B ? 8 : 0));
	}
	if (pre->segment < CPU_FS && (insn->base == CPU_RSP || insn->base == CPU_RBP))
		insn->segment = CPU_SS;
	if (disp_bytes)
		insn->disp = (int64_t)next_signed(cur, disp_bytes);
}

static void decode_modrm(struct cursor *cur, const struct prefixes *pre, bool always_register,
			 struct insn *insn)
{
	uint8_t modrm = next_byte(cur);

	insn->reg = (uint8_t)((modrm >> 3 & 7) | (pre->rex & REX_R ? 8 : 0));
	if (modrm >= 0xc0 || always_register)
		insn->rm = (uint8_t)((modrm & 7) | (pre->rex & REX_B ? 8 : 0));
	else
		decode_memory(cur, modrm, pre, insn);
}

/* Operand size in bytes; 0: not covered. */
static uint8_t operand_size(enum size_rule rule, const struct prefixes *pre)
{
	bool wide = pre->rex & REX_W;

	switch (rule) {
	case SIZE_B:
		return 1;
	case SIZE_W:
		return 2;
	case SIZE_D:
		return 4;
	case SIZE_Q:
		return 8;
	case SIZE_X:
		return 16;
	case SIZE_V:
		return wide ? 8 : pre->operand_size ? 2 : 4;
	case SIZE_Z:
		return pre->operand_size ? 2 : 4;
	case SIZE_S:
		return !wide && pre->operand_size ? 2 : 8;
	case SIZE_N:
		return !wide && pre->operand_size ? 0 : 8;
	case SIZE_Y:
	default:
		return wide ? 8 : 4;
	}
}

static void decode_immediate(struct cursor *cur, enum imm_rule rule, struct insn *insn)
{
	switch (rule) {
	case IMM_NONE:
		break;
	case IMM_B:
		insn->imm = next_byte(cur);
		break;
	case IMM_SB:
		insn->imm = next_signed(cur, 1);
		break;
	case IMM_W:
		insn->imm = next_bytes(cur, 2);
		break;
	case IMM_Z:
		insn->imm = next_signed(cur, insn->size == 2 ? 2 : 4);
		break;
	case IMM_V:
		insn->imm = next_signed(cur, insn->size);
		break;
	case IMM_D:
		insn->imm = next_signed(cur, 4);
		break;
	case IMM_MOFFS:
		insn->disp = (int64_t)next_bytes(cur, insn->addr_size);
		insn->memory = 1;
		insn->rm = NO_REG;
		break;
	case IMM_WB:
		insn->imm = next_bytes(cur, 3);
		break;
	}
}

/* The row that counts, behind groups; NULL: not covered. */
static const struct opcode *resolve(const struct opcode *row, uint8_t modrm, uint8_t mandatory)
{
	while (row) {
		if (row->find)
			row = row->find(modrm, mandatory);
		else if (row->group)
			row = &row->group[modrm >> 3 & 7];
		else
			break;
	}
	return row && (row->exec || row->forms) ? row : NULL;
}

static exec_fn *choose_exec(const struct opcode *row, const struct insn *insn)
{
	if (insn->lock)
		return insn->memory && row->locked ? row->locked : exec_ud;
	if ((row->flags & OPC_MEM) && !insn->memory)
		return exec_ud;
	if ((row->flags & OPC_REG) && insn->memory)
		return exec_ud;
	if (row->exec)
		return row->exec;
	/* Sizes of forms are 1, 2, 4 and 8. */
	return (insn->memory ? row->forms->mem : row->forms->reg)[__builtin_ctz(insn->size)];
}

static int decode_integer(struct cursor *cur, const struct opcode *row, uint8_t opcode,
			  const struct prefixes *pre, struct insn *insn)
{
	if (row && (row->group || row->find) && cur->at >= cur->n)
		cur->beyond = true;
	row = resolve(row, peek(cur), pre->mandatory);
	if (!row)
		return -ENOSYS;
	insn->size = operand_size(row->size, pre);
	if (!insn->size)
		return -ENOSYS;
	insn->op = row->op;
	insn->src_size = row->src_size ? row->src_size : insn->size;
	if (row->flags & OPC_MODRM)
		decode_modrm(cur, pre, row->flags & OPC_PLAIN, insn);
	if (row->flags & OPC_OPREG)
		insn->reg = insn->rm = (uint8_t)((opcode & 7) | (pre->rex & REX_B ? 8 : 0));
	if (row->flags & OPC_ACC) {
		insn->reg = CPU_RAX;
		if (!(row->flags & OPC_OPREG))
			insn->rm = CPU_RAX;
	}
	if (row->imm == IMM_MOFFS || !(row->flags & OPC_MODRM))
		insn->segment = pre->segment; /* for string instructions and XLAT, too */
	decode_immediate(cur, row->imm, insn);
	if ((row->flags & OPC_SWAP) && !insn->memory) {
		uint8_t reg = insn->reg;

		insn->reg = insn->rm;
		insn->rm = reg;
	}
	insn->exec = choose_exec(row, insn);
	if (!insn->exec)
		return -ENOSYS;
	insn->ends_block = (row->flags & OPC_ENDS) || insn->exec == exec_ud ||
			   ((row->flags & OPC_ENDS_REP) && insn->rep);
	return 0;
}

static void decode_sse(struct cursor *cur, const struct sse_row *row, const struct prefixes *pre,
		       struct insn *insn)
{
	insn->size = row->size ? row->size : operand_size(SIZE_Y, pre);
	insn->src_size = (uint8_t)row->mem_bytes;
	if (!(row->flags & SSE_NO_MODRM))
		decode_modrm(cur, pre, false, insn);
	if (row->flags & SSE_IMM8)
		insn->imm = next_byte(cur);
	insn->exec = insn->lock ? exec_ud : row->exec;
	insn->ends_block = insn->exec == exec_ud;
}

static const enum sse_map sse_map_of[] = {
    [MAP_ONE] = SSE_MAP_ONE_BYTE,
    [MAP_0F] = SSE_MAP_0F,
    [MAP_0F38] = SSE_MAP_0F38,
    [MAP_0F3A] = SSE_MAP_0F3A,
};

/*
 * C4 or C5 is read. The third register goes into `imm`, of what has no immediate. Prefixes before
 * VEX that it contains itself are #UD, as is a length of vectors.
 */
static int decode_vex(struct cursor *cur, bool three, struct prefixes *pre, struct insn *insn)
{
	bool refused = pre->rex || pre->mandatory || insn->lock;
	uint8_t first = next_byte(cur), last = three ? next_byte(cur) : first;
	uint8_t opcode = next_byte(cur), third = ~last >> 3 & 15;
	enum opcode_map map = MAP_0F;
	int err;

	pre->rex = first & 0x80 ? 0 : REX_R;
	if (three) {
		pre->rex |= (uint8_t)((first & 0x40 ? 0 : REX_X) | (first & 0x20 ? 0 : REX_B) |
				      (last & 0x80 ? REX_W : 0));
		map = (first & 31) == 2 ? MAP_0F38 : (first & 31) == 3 ? MAP_0F3A : MAP_ONE;
	}
	pre->operand_size = false;
	insn->rep = insn->opsize_prefix = insn->lock = 0;
	err = decode_integer(cur, table_vex_find(map, last & 3, opcode), opcode, pre, insn);
	if (err)
		return err;
	if (map == MAP_0F38)
		insn->imm = third;
	if (refused || last & 4 || (map == MAP_0F3A && third)) {
		insn->exec = exec_ud;
		insn->ends_block = 1;
	}
	return 0;
}

static int decode_opcode(struct cursor *cur, struct insn *insn)
{
	struct prefixes pre = {.segment = CPU_DS};
	uint8_t opcode = decode_prefixes(cur, &pre, insn);
	enum opcode_map map = MAP_ONE;
	const struct sse_row *sse;
	int err;

	if (opcode == 0xc4 || opcode == 0xc5)
		return decode_vex(cur, opcode == 0xc4, &pre, insn);
	if (opcode == 0x0f) {
		map = MAP_0F;
		opcode = next_byte(cur);
		if (opcode == 0x38 || opcode == 0x3a) {
			map = opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			opcode = next_byte(cur);
		}
	}
	sse = sse_lookup(sse_map_of[map], opcode, pre.mandatory, peek(cur));
	if (sse) {
		decode_sse(cur, sse, &pre, insn);
		return 0;
	}
	err = decode_integer(cur, table_find(map, pre.mandatory, opcode), opcode, &pre, insn);
	/* Whether SSE has it may depend on a byte that is not there. */
	if (err && cur->at >= cur->n)
		cur->beyond = true;
	return err;
}

int decode(const uint8_t *bytes, unsigned int n, struct insn *out)
{
	struct cursor cur = {.bytes = bytes, .n = n < CPU_INSN_MAX ? n : CPU_INSN_MAX};
	struct insn insn = {
	    .addr_size = 8,
	    .reg = NO_REG,
	    .rm = NO_REG,
	    .base = NO_REG,
	    .index = NO_REG,
	    .segment = CPU_DS,
	};
	int err = decode_opcode(&cur, &insn);

	if (cur.beyond) {
		if (cur.n < CPU_INSN_MAX)
			return 0;
		/* Too long: the processor gives up before it looks at what it would be. */
		insn.exec = exec_gp;
		insn.ends_block = 1;
		err = 0;
	}
	if (err)
		return err;
	insn.len = (uint8_t)cur.at;
	*out = insn;
	return insn.len;
}
