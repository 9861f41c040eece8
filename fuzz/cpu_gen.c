/* SPDX-License-Identifier: MIT */
/*
 * cpu_gen.c - random blocks of instructions, and the registers that they begin with.
 *
 * A block is one to BLOCK_UNITS units: an instruction of a cell, with what it needs around it (a
 * return address for RET). Memory operands are aimed at the data by their displacement, from
 * registers that still have the value they began with; `known` says which. Branches go forward
 * only, to a unit. Behind an instruction that leaves flags undefined comes a CMP, so that nothing
 * depends on them; at the end of a block they are left out of the comparison instead.
 *
 * What must not be generated: FS, which is the process's own; unaligned operands of locked
 * instructions (some kernels punish them by a pause), POPF of TF and AC.
 */
#include "cpu_diff.h"

#include <string.h>

#include "exec.h"
#include "table.h"

struct gen {
	struct rng *rng;
	struct block_case *out;
	uint64_t at;    /* where the block will be */
	uint32_t known; /* registers that have their first value */
	/* Displacements of branches that wait for their target. */
	struct {
		unsigned int at, size, unit;
	} wait[2 * BLOCK_UNITS];
	unsigned int nwait;
};

/* What an instruction's prefixes and ModRM will be. */
struct shape {
	uint8_t rex, modrm, sib, segment;
	bool has_rex, has_sib, addr32;
	unsigned int disp_bytes;
	uint64_t target; /* linear */
	bool relative;   /* to the end of the instruction */
	bool rbp_based;
	int64_t disp;
};

static void put(struct gen *gen, uint64_t val, unsigned int n)
{
	memcpy(gen->out->bytes + gen->out->nbytes, &val, n);
	gen->out->nbytes += n;
}

static unsigned int pick(struct gen *gen, unsigned int n)
{
	return (unsigned int)rng_below(gen->rng, n);
}

/* ---- The state before --------------------------------------------------- */

static uint64_t interesting(struct rng *rng)
{
	static const uint64_t edges[] = {0,
					 1,
					 2,
					 0x7f,
					 0x80,
					 0xff,
					 0x100,
					 0x7fff,
					 0x8000,
					 0xffff,
					 0x10000,
					 0x7fffffff,
					 0x80000000u,
					 0xffffffffu,
					 UINT64_C(0x100000000),
					 INT64_MAX,
					 UINT64_C(1) << 63,
					 UINT64_MAX};
	uint64_t val;

	switch (rng_below(rng, 4)) {
	case 0:
		return rng_next(rng);
	case 1:
		return rng_next(rng) >> rng_below(rng, 64);
	default:
		val = edges[rng_below(rng, sizeof(edges) / sizeof(edges[0]))];
		return rng_chance(rng, 30) ? 0 - val : val;
	}
}

static uint64_t pointer(struct rng *rng)
{
	uint64_t at = DATA_BASE + rng_below(rng, DATA_WRITABLE);

	return rng_chance(rng, 70) ? at & ~UINT64_C(15) : at;
}

/* Two floats or a double that are worth a try. */
static uint64_t interesting_float(struct rng *rng)
{
	static const uint32_t singles[] = {
	    0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
	    0x7f800001, 0xffbfffff, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
	    0xcf000000, 0x5f000000, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000001, 0x3effffff};
	static const uint64_t doubles[] = {0,
					   UINT64_C(1) << 63,
					   UINT64_C(0x3ff0000000000000),
					   UINT64_C(0xbff0000000000000),
					   UINT64_C(0x7ff0000000000000),
					   UINT64_C(0xfff0000000000000),
					   UINT64_C(0x7ff8000000000000),
					   UINT64_C(0x7ff0000000000001),
					   1,
					   UINT64_C(0x000fffffffffffff),
					   UINT64_C(0x0010000000000000),
					   UINT64_C(0x7fefffffffffffff),
					   UINT64_C(0x41dfffffffc00000),
					   UINT64_C(0xc1e0000000000000),
					   UINT64_C(0x43e0000000000000),
					   UINT64_C(0x3fe0000000000000),
					   UINT64_C(0x3ff8000000000000),
					   UINT64_C(0x4004000000000000),
					   UINT64_C(0x36a0000000000000),
					   UINT64_C(0x380fffffffffffff),
					   UINT64_C(0x47efffffe0000000)};
	uint64_t low = singles[rng_below(rng, sizeof(singles) / sizeof(singles[0]))];
	uint64_t high = singles[rng_below(rng, sizeof(singles) / sizeof(singles[0]))];

	switch (rng_below(rng, 6)) {
	case 0:
		return rng_next(rng);
	case 1: /* of like size, so that sums round */
		return (rng_next(rng) & UINT64_C(0x801fffffffffffff)) |
		       UINT64_C(0x3ff0000000000000);
	case 2:
		return (rng_next(rng) & UINT64_C(0x80ffffff80ffffff)) |
		       UINT64_C(0x3f0000003f000000);
	case 3:
		return doubles[rng_below(rng, sizeof(doubles) / sizeof(doubles[0]))];
	default:
		return low | high << 32;
	}
}

static uint32_t random_mxcsr(struct rng *rng)
{
	uint32_t mxcsr = 0x1f80;

	if (rng_chance(rng, 20))
		mxcsr = (uint32_t)rng_next(rng) & 0x1f80;
	if (rng_chance(rng, 50))
		mxcsr |= (uint32_t)rng_next(rng) & 0x603f;
	if (rng_chance(rng, 30))
		mxcsr |= (uint32_t)rng_next(rng) & 0x8040;
	return mxcsr;
}

static void random_fx(struct rng *rng, struct fx_image *fx)
{
	memset(fx, 0, sizeof(*fx));
	fx->fcw = 0x037f;
	if (rng_chance(rng, 30)) {
		fx->fcw = (uint16_t)((rng_next(rng) & 0x1f3f) | 0x40);
		fx->fsw = (uint16_t)(rng_next(rng) & 0x7f00);
		fx->ftw = (uint8_t)rng_next(rng);
		for (unsigned int i = 0; i < 8; i++)
			for (unsigned int j = 0; j < 10; j++)
				fx->st[i][j] = (uint8_t)rng_next(rng);
	}
	fx->mxcsr = random_mxcsr(rng);
	for (unsigned int i = 0; i < 16; i++) {
		uint64_t val[2];

		for (unsigned int j = 0; j < 2; j++)
			val[j] = rng_chance(rng, 60) ? interesting_float(rng) : interesting(rng);
		memcpy(fx->xmm[i], val, 16);
	}
}

static void random_state(struct rng *rng, struct diff_state *out)
{
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int kind = (unsigned int)rng_below(rng, 100);

		if (kind < 40)
			out->gpr[i] = pointer(rng);
		else if (kind < 60)
			out->gpr[i] = rng_below(rng, 128) - 64;
		else
			out->gpr[i] = interesting(rng);
	}
	out->gpr[CPU_RSP] = DATA_BASE + 0x800 + (rng_below(rng, 0x2000) & ~UINT64_C(7));
	if (rng_chance(rng, 5))
		out->gpr[CPU_RSP] += rng_below(rng, 0x2000);
	for (unsigned int i = CPU_RBP; i <= CPU_RDI; i++)
		if (rng_chance(rng, 80))
			out->gpr[i] = pointer(rng);
	if (rng_chance(rng, 60))
		out->gpr[CPU_RCX] = rng_below(rng, 40);
	/* So that divisions do not only overflow. */
	if (rng_chance(rng, 40))
		out->gpr[CPU_RDX] =
		    rng_chance(rng, 50) ? 0 : (uint64_t)((int64_t)out->gpr[0] >> 63);
	out->rflags = 0x202 | (rng_next(rng) & 0x8d5) | (rng_chance(rng, 15) ? FLAG_DF : 0);
	out->gs_base = 0;
	random_fx(rng, &out->fx);
}

/* ---- Memory operands ---------------------------------------------------- */

/* Instructions that lock the bus. */
static bool locks(const struct cell *cell)
{
	return cell->lock || cell->insn.exec == exec_xchg_mem;
}

static uint64_t choose_target(struct gen *gen, const struct cell *cell)
{
	unsigned int size = cell->mem_bytes ? cell->mem_bytes : 1, kind = pick(gen, 100);
	uint64_t at = rng_below(gen->rng, DATA_WRITABLE - 512);

	if (locks(cell) || (cell->aligned && kind < 90))
		return DATA_BASE + (at & ~(uint64_t)(size < 16 ? size - 1 : 15));
	if (kind < 45)
		at &= ~UINT64_C(15);
	else if (kind < 70)
		at = 4096 * (1 + at / 4096 % 2) - 1 - rng_below(gen->rng, size);
	else if (kind < 74)
		at = DATA_WRITABLE - size + rng_below(gen->rng, 4096);
	else if (kind < 77)
		at = DATA_BYTES - rng_below(gen->rng, size + 1);
	return DATA_BASE + at;
}

static int64_t narrow(const struct shape *shape, uint64_t val)
{
	return shape->addr32 ? (int64_t)(int32_t)val : (int64_t)val;
}

/* Base, index and displacement that give the target; false: not with these registers. */
static bool try_registers(struct gen *gen, struct shape *shape)
{
	const uint64_t *gpr = gen->out->before.gpr;
	unsigned int base = pick(gen, 16), index = pick(gen, 16), scale = pick(gen, 4);
	bool sib = (base & 7) == 4 || rng_chance(gen->rng, 40);
	uint64_t sum = gpr[base];

	if (!(gen->known >> base & 1) || (sib && index != CPU_RSP && !(gen->known >> index & 1)))
		return false;
	if (sib && index != CPU_RSP)
		sum += gpr[index] << scale;
	shape->disp = narrow(shape, shape->target - sum);
	if (shape->disp != (int32_t)shape->disp)
		return false;
	shape->rex |= (uint8_t)(base >> 3);
	shape->has_sib = sib;
	if (sib) {
		shape->rex |= (uint8_t)(index >> 3 << 1);
		shape->sib = (uint8_t)(scale << 6 | (index & 7) << 3 | (base & 7));
	}
	shape->modrm |= sib ? 4 : base & 7;
	if (shape->disp == 0 && (base & 7) != 5)
		return true;
	shape->disp_bytes = shape->disp == (int8_t)shape->disp ? 1 : 4;
	shape->modrm |= shape->disp_bytes == 1 ? 0x40 : 0x80;
	return true;
}

static void shape_memory(struct gen *gen, const struct cell *cell, struct shape *shape)
{
	unsigned int kind = pick(gen, 100);

	shape->addr32 = rng_chance(gen->rng, 6);
	shape->target = choose_target(gen, cell);
	if (rng_chance(gen->rng, 5) && gen->out->nunits == 0) {
		shape->segment = 0x65;
		gen->out->before.gs_base = rng_below(gen->rng, DATA_BASE / 2) & ~UINT64_C(15);
		shape->target -= gen->out->before.gs_base;
	}
	for (unsigned int i = 0; kind < 70 && i < 8; i++)
		if (try_registers(gen, shape))
			return;
	shape->disp_bytes = 4;
	if (kind < 85) {
		shape->modrm |= 4;
		shape->has_sib = true;
		shape->sib = (uint8_t)(pick(gen, 4) << 6 | 0x25);
		shape->disp = (int64_t)shape->target;
		return;
	}
	shape->modrm |= 5;
	shape->relative = true;
}

/* ---- One instruction ---------------------------------------------------- */

static uint64_t random_immediate(struct gen *gen, unsigned int bytes)
{
	return bytes == 1 ? rng_next(gen->rng) : interesting(gen->rng);
}

/* What the operand in memory should be, now and then, for the instruction to do something. */
static void fix_memory(struct gen *gen, const struct cell *cell, uint64_t at)
{
	const uint64_t *gpr = gen->out->before.gpr;
	struct fixup *fix = &gen->out->fix;
	exec_fn *exec = cell->insn.exec;
	struct fx_image image;
	uint64_t val[2] = {interesting_float(gen->rng), interesting_float(gen->rng)};

	if (gen->out->has_fix)
		return;
	fix->at = at;
	fix->n = 16;
	if (cell->map == MAP_0F && cell->opcode == 0xae && cell->reg == 1) {
		random_fx(gen->rng, &image);
		memcpy(fix->bytes, &image, sizeof(image));
		fix->n = offsetof(struct fx_image, rest);
	} else if (cell->map == MAP_0F && cell->opcode == 0xae && cell->reg == 2) {
		val[0] = rng_chance(gen->rng, 95) ? random_mxcsr(gen->rng) : rng_next(gen->rng);
		val[0] &= ~(UINT64_C(1) << 17); /* a bit that AMD has and we have not */
		memcpy(fix->bytes, val, 16);
		fix->n = 4;
	} else if (exec == exec_cmpxchg || exec == exec_cmpxchg8b_16b) {
		if (rng_chance(gen->rng, 50))
			return;
		memcpy(fix->bytes, &gpr[CPU_RAX], 8);
		memcpy(fix->bytes + cell->insn.size, &gpr[CPU_RDX], 8);
	} else if (rng_chance(gen->rng, 30)) {
		memcpy(fix->bytes, val, 16);
	} else {
		return;
	}
	if (at < DATA_BASE || at + fix->n > DATA_BASE + DATA_WRITABLE)
		return;
	gen->out->has_fix = true;
}

static void shape_cell(struct gen *gen, const struct cell *cell, struct shape *shape)
{
	uint8_t reg = (uint8_t)(cell->reg >= 0 ? cell->reg : (int)pick(gen, 8));

	*shape = (struct shape){.rex = cell->wide ? 8 : 0};
	shape->modrm = (uint8_t)(reg << 3);
	if (rng_chance(gen->rng, 50))
		shape->rex |= (uint8_t)pick(gen, 8);
	if (cell->form == FORM_REG) {
		shape->modrm |= (uint8_t)(0xc0 | (cell->rm >= 0 ? cell->rm : (int)pick(gen, 8)));
	} else if (cell->form == FORM_MEM) {
		shape->rex &= 0xc; /* B and X are the operand's */
		shape_memory(gen, cell, shape);
	} else if (cell->insn.memory) {
		shape->addr32 = cell->imm_bytes == 4;
	}
	shape->has_rex = shape->rex || rng_chance(gen->rng, 10);
}

static void put_prefixes(struct gen *gen, const struct cell *cell, const struct shape *shape)
{
	static const uint8_t idle[] = {0x26, 0x2e, 0x36, 0x3e};

	if (rng_chance(gen->rng, 4))
		put(gen, idle[pick(gen, 4)], 1);
	if (shape->addr32)
		put(gen, 0x67, 1);
	if (shape->segment)
		put(gen, shape->segment, 1);
	if (cell->lock)
		put(gen, 0xf0, 1);
	if (cell->vex) {
		uint8_t vex[3];

		/* RORX has no third register, and wants to hear so. */
		vex_bytes(cell, shape->rex & 7, cell->map == MAP_0F38 ? (uint8_t)pick(gen, 16) : 0,
			  vex);
		put(gen, (uint64_t)(vex[0] | vex[1] << 8 | vex[2] << 16), 3);
		put(gen, cell->opcode, 1);
		return;
	}
	if (cell->prefix)
		put(gen, cell->prefix, 1);
	if (shape->has_rex)
		put(gen, 0x40 | shape->rex, 1);
	if (cell->map != MAP_ONE)
		put(gen, 0x0f, 1);
	if (cell->map == MAP_0F38 || cell->map == MAP_0F3A)
		put(gen, cell->map == MAP_0F38 ? 0x38 : 0x3a, 1);
	put(gen, cell->opcode, 1);
}

/* The instruction, with `imm` for its immediate. */
static void put_cell(struct gen *gen, const struct cell *cell, struct shape *shape, uint64_t imm)
{
	put_prefixes(gen, cell, shape);
	if (cell->form != FORM_PLAIN)
		put(gen, shape->modrm, 1);
	if (shape->has_sib)
		put(gen, shape->sib, 1);
	if (shape->relative)
		shape->disp = narrow(shape, shape->target -
						(gen->at + gen->out->nbytes + 4 + cell->imm_bytes));
	put(gen, (uint64_t)shape->disp, shape->disp_bytes);
	put(gen, imm, cell->imm_bytes);
}

/* ---- Branches and the like ---------------------------------------------- */

static void wait_for(struct gen *gen, unsigned int size, unsigned int unit)
{
	gen->wait[gen->nwait].at = gen->out->nbytes - size;
	gen->wait[gen->nwait].size = size;
	gen->wait[gen->nwait].unit = unit;
	gen->nwait++;
}

/* lea reg, [rip + unit]; push reg */
static void push_target(struct gen *gen, unsigned int reg, unsigned int unit)
{
	put(gen, reg & 8 ? 0x4c : 0x48, 1);
	put(gen, 0x8d, 1);
	put(gen, 5 | (reg & 7) << 3, 1);
	put(gen, 0, 4);
	wait_for(gen, 4, unit);
	if (reg & 8)
		put(gen, 0x41, 1);
	put(gen, 0x50 | (reg & 7), 1);
	gen->known &= ~(1u << reg | 1u << CPU_RSP);
}

/* Does the cell need more than itself? Then its bytes are there. */
static bool put_special(struct gen *gen, const struct cell *cell, struct unit *unit)
{
	exec_fn *exec = cell->insn.exec;
	unsigned int next = gen->out->nunits + 1 + pick(gen, 2), reg = pick(gen, 3);
	struct shape shape = {.rex = cell->wide ? 8 : 0, .has_rex = cell->wide};

	if (exec == exec_popf) {
		put(gen, 0x68, 1);
		put(gen, (rng_next(gen->rng) & 0x200cd5) | 0x202, 4);
		unit->main = gen->out->nbytes;
		put_cell(gen, cell, &shape, 0);
		return true;
	}
	if (exec == exec_ret || exec == exec_ret_imm) {
		push_target(gen, reg, next);
		unit->main = gen->out->nbytes;
		put_cell(gen, cell, &shape, 8 * pick(gen, 4));
	} else if (exec == exec_jmp_rm || exec == exec_call_rm) {
		push_target(gen, reg, next);
		unit->main = gen->out->nbytes;
		shape.modrm = (uint8_t)(cell->reg << 3);
		if (cell->form == FORM_REG) {
			shape.modrm |= (uint8_t)(0xc0 | reg);
		} else {
			shape.modrm |= 4;
			shape.has_sib = true;
			shape.sib = 0x24;
		}
		put_cell(gen, cell, &shape, 0);
	} else {
		return false;
	}
	unit->branches = true;
	return true;
}

static bool is_branch(const struct cell *cell)
{
	exec_fn *exec = cell->insn.exec;

	if (exec == exec_call_rel || exec == exec_jmp_rel || exec == exec_loop ||
	    exec == exec_loope || exec == exec_loopne || exec == exec_jrcxz)
		return true;
	return (cell->map == MAP_ONE && (cell->opcode & 0xf0) == 0x70) ||
	       (cell->map == MAP_0F && (cell->opcode & 0xf0) == 0x80);
}

/* A flag that documents do not define must not decide anything later: cmp reg, reg. */
static void put_compare(struct gen *gen)
{
	put(gen, 0x48 | (pick(gen, 2) << 2) | pick(gen, 2), 1);
	put(gen, 0x39, 1);
	put(gen, 0xc0 | pick(gen, 64), 1);
}

/* Registers that the instruction may have changed, whichever it was. */
static uint32_t maybe_changed(const struct insn *insn)
{
	uint32_t set = 1u << CPU_RAX | 1u << CPU_RCX | 1u << CPU_RDX | 1u << CPU_RSP |
		       1u << CPU_RSI | 1u << CPU_RDI;

	if (insn->reg < 16)
		set |= 1u << insn->reg;
	if (insn->rm < 16)
		set |= 1u << insn->rm;
	if (insn->exec == exec_enter || insn->exec == exec_leave)
		set |= 1u << CPU_RBP;
	return set;
}

static void put_plain(struct gen *gen, const struct cell *cell, struct unit *unit)
{
	exec_fn *exec = cell->insn.exec;
	uint64_t imm = random_immediate(gen, cell->imm_bytes);
	struct shape shape;

	if ((exec == exec_shld_cl || exec == exec_shrd_cl) && cell->insn.size == 2) {
		put(gen, 0xb1, 1); /* more than 16 bits are undefined altogether */
		put(gen, pick(gen, 17), 1);
	} else if ((exec == exec_shld_imm || exec == exec_shrd_imm) && cell->insn.size == 2) {
		imm = pick(gen, 17);
	} else if (exec == exec_enter) {
		imm &= 0xff00ff;
	}
	if (cell->form == FORM_PLAIN && cell->insn.memory && cell->imm_bytes >= 4)
		imm = choose_target(gen, cell);
	shape_cell(gen, cell, &shape);
	if (is_branch(cell))
		shape.addr32 = false;
	unit->main = gen->out->nbytes;
	if (shape.target && !(gen->known ^ 0xffff))
		fix_memory(gen, cell,
			   shape.target + (shape.segment ? gen->out->before.gs_base : 0));
	put_cell(gen, cell, &shape, imm);
	if (is_branch(cell)) {
		unit->branches = true;
		wait_for(gen, cell->imm_bytes, gen->out->nunits + 1 + pick(gen, 2));
	}
}

static void gen_unit(struct gen *gen, struct cell *cell, bool last)
{
	struct block_case *out = gen->out;
	struct unit *unit = &out->unit[out->nunits];
	uint64_t undefined;
	struct insn insn;

	*unit = (struct unit){.cell = cell, .at = out->nbytes};
	if (!put_special(gen, cell, unit))
		put_plain(gen, cell, unit);
	if (decode(out->bytes + unit->main, CPU_INSN_MAX, &insn) <= 0)
		insn = cell->insn;
	undefined = insn_undefined_flags(
	    &insn, gen->known >> CPU_RCX & 1 ? (uint8_t)out->before.gpr[CPU_RCX] : 0xff);
	gen->known &= ~maybe_changed(&insn);
	if (cell->vex)
		gen->known &= ~(1u << (insn.imm & 15));
	out->nunits++;
	if (last)
		out->undefined = undefined;
	else if (undefined)
		put_compare(gen);
}

static void resolve(struct gen *gen)
{
	struct block_case *out = gen->out;

	for (unsigned int i = 0; i < gen->nwait; i++) {
		unsigned int unit = gen->wait[i].unit, from = gen->wait[i].at + gen->wait[i].size;
		unsigned int target = unit < out->nunits ? out->unit[unit].at : out->nbytes;
		int32_t disp = (int32_t)(target - from);

		memcpy(out->bytes + gen->wait[i].at, &disp, gen->wait[i].size);
	}
}

static bool is_fxsave(const struct cell *cell)
{
	return cell->map == MAP_0F && cell->opcode == 0xae && cell->reg == 0 &&
	       cell->form == FORM_MEM;
}

void gen_block(struct rng *rng, struct cells *cells, uint64_t at, struct block_case *out)
{
	struct gen gen = {.rng = rng, .out = out, .at = at, .known = 0xffff};
	unsigned int n =
	    rng_chance(rng, 40) ? 1 : 2 + (unsigned int)rng_below(rng, BLOCK_UNITS - 1);

	out->nbytes = out->nunits = 0;
	out->has_fix = false;
	random_state(rng, &out->before);
	memset(out->bytes, 0xcc, sizeof(out->bytes));
	while (out->nunits < n) {
		struct cell *cell = &cells->rows[rng_below(rng, cells->n)];

		/* What it writes may differ (MXCSR_MASK): nothing comes behind it. */
		if (is_fxsave(cell))
			n = out->nunits + 1;
		gen_unit(&gen, cell, out->nunits + 1 == n);
	}
	resolve(&gen);
}

/* ---- Random bytes ------------------------------------------------------- */

static bool is_any_branch(const struct insn *insn)
{
	exec_fn *exec = insn->exec;

	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int size = 0; size < 4; size++)
			if (exec == exec_jcc[i].reg[size])
				return true;
	return exec == exec_call_rel || exec == exec_jmp_rel || exec == exec_loop ||
	       exec == exec_loope || exec == exec_loopne || exec == exec_jrcxz ||
	       exec == exec_ret || exec == exec_ret_imm || exec == exec_jmp_rm ||
	       exec == exec_call_rm || exec == exec_popf;
}

bool gen_bytes(struct rng *rng, struct block_case *out)
{
	static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0x67, 0x2e, 0x65, 0xf0, 0x48};
	struct insn insn;
	unsigned int n = 0;
	int len;

	out->nbytes = out->nunits = 0;
	out->has_fix = false;
	memset(out->bytes, 0xcc, sizeof(out->bytes));
	while (n < 6 && rng_chance(rng, 40))
		out->bytes[n++] = prefixes[rng_below(rng, sizeof(prefixes))];
	if (rng_chance(rng, 40))
		out->bytes[n++] = (uint8_t)(0x40 | rng_below(rng, 16));
	if (rng_chance(rng, 10)) {
		out->bytes[n++] = 0xc4;
		out->bytes[n++] = (uint8_t)(0xe0 | rng_range(rng, 1, 3));
		out->bytes[n++] = (uint8_t)rng_next(rng);
		out->bytes[n++] = (uint8_t)rng_range(rng, 0xf0, 0xf7);
	} else if (rng_chance(rng, 60)) {
		out->bytes[n++] = 0x0f;
		if (rng_chance(rng, 30))
			out->bytes[n++] = rng_chance(rng, 50) ? 0x38 : 0x3a;
	}
	for (; n < CPU_INSN_MAX; n++)
		out->bytes[n] = (uint8_t)rng_next(rng);
	len = decode(out->bytes, CPU_INSN_MAX, &insn);
	if (len <= 0 || !insn_is_harmless(&insn) || is_any_branch(&insn))
		return false;
	if (insn.segment == CPU_FS)
		return false;
	if (insn.memory && (insn.lock || insn.exec == exec_xchg_mem))
		return false;
	if ((insn.exec == exec_shld_imm || insn.exec == exec_shrd_imm ||
	     insn.exec == exec_shld_cl || insn.exec == exec_shrd_cl) &&
	    insn.size == 2)
		return false;
	random_state(rng, &out->before);
	memset(out->bytes + len, 0xcc, sizeof(out->bytes) - (size_t)len);
	out->nbytes = (unsigned int)len;
	out->nunits = 1;
	out->unit[0] = (struct unit){.cell = NULL};
	out->undefined = insn_undefined_flags(&insn, (uint8_t)out->before.gpr[CPU_RCX]);
	return true;
}
