/* SPDX-License-Identifier: MIT */
/*
 * cpu_cells.c - the instructions that our CPU has, found by asking decode() for every opcode with
 * every prefix, form of ModRM and its reg and rm that matter.
 *
 * What decodes to the same function, sizes and length is one cell. Nothing here knows the tables,
 * so that a new row is fuzzed without further ado. What user mode cannot execute, or what would
 * differ there for a good reason (CPUID), is named in a list.
 */
#include "cpu_diff.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec.h"
#include "sse.h"
#include "table.h"

/* Needs CPL 0, or reads what belongs to the process: segments, tables, clocks. */
static exec_fn *const excluded[] = {
    exec_ud,          exec_gp,        exec_int,         exec_cli,       exec_sti,
    exec_mov_from_cr, exec_mov_to_cr, exec_mov_from_dr, exec_mov_to_dr, exec_mov_from_seg,
    exec_mov_to_seg,  exec_pop_seg,   exec_rdmsr,       exec_wrmsr,     exec_rdtsc,
    exec_rdtscp,      exec_rdpmc,     exec_cpuid,       exec_hlt,       exec_in,
    exec_out,         exec_ins,       exec_outs,        exec_iret,      exec_ret_far,
    exec_call_far,    exec_jmp_far,   exec_sldt,        exec_str,       exec_lldt,
    exec_ltr,         exec_verr,      exec_verw,        exec_lar,       exec_lsl,
    exec_sgdt,        exec_sidt,      exec_lgdt,        exec_lidt,      exec_smsw,
    exec_lmsw,        exec_invlpg,    exec_clts,        exec_swapgs,    exec_wbinvd,
    exec_syscall,     exec_sysret,    exec_xgetbv,      exec_xsetbv,    exec_clac,
    exec_stac,        exec_invpcid,   exec_fsgsbase,
};

/* MOVSXD to 16 bits: some processors read two bytes, others four. */
static bool is_movsxd_16(const struct insn *insn)
{
	return insn->exec == exec_movsxd.reg[1] || insn->exec == exec_movsxd.mem[1];
}

bool insn_is_harmless(const struct insn *insn)
{
	for (size_t i = 0; i < sizeof(excluded) / sizeof(excluded[0]); i++)
		if (insn->exec == excluded[i])
			return false;
	return !is_movsxd_16(insn);
}

static bool with_excluded;

static bool is_cell(const struct insn *insn)
{
	return insn_is_harmless(insn) ||
	       (with_excluded && insn->exec != exec_ud && insn->exec != exec_gp);
}

/* Bits of CPUID that instructions need; what SSE needs is known to sse_lookup(). */
static bool host_has(const struct insn *insn)
{
	unsigned int a, b, c, d, ecx1, ebx7 = 0, ecx_ext = 0;

	__cpuid(1, a, b, ecx1, d);
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
		ebx7 = b;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		ecx_ext = c;
	if (insn->exec == exec_popcnt)
		return ecx1 & bit_POPCNT;
	if (insn->exec == exec_movbe_load || insn->exec == exec_movbe_store)
		return ecx1 & bit_MOVBE;
	if (insn->exec == exec_crc32)
		return ecx1 & bit_SSE4_2;
	if (insn->exec == exec_lzcnt)
		return ecx_ext & bit_LZCNT;
	if (insn->exec == exec_tzcnt || insn->exec == exec_andn || insn->exec == exec_bextr ||
	    insn->exec == exec_lowest_bit)
		return ebx7 & bit_BMI;
	if (insn->exec == exec_bzhi || insn->exec == exec_pdep || insn->exec == exec_pext ||
	    insn->exec == exec_mulx || insn->exec == exec_shift_plain)
		return ebx7 & bit_BMI2;
	if (insn->exec == exec_adcx || insn->exec == exec_adox)
		return ebx7 & bit_ADX;
	return true;
}

/* ---- Bytes -------------------------------------------------------------- */

unsigned int vex_bytes(const struct cell *cell, uint8_t rex, uint8_t third, uint8_t out[3])
{
	uint8_t pp = cell->prefix == 0x66 ? 1 : cell->prefix == 0xf3 ? 2 : cell->prefix ? 3 : 0;

	out[0] = 0xc4;
	out[1] = (uint8_t)((~rex & 7) << 5 | cell->map);
	out[2] = (uint8_t)(cell->wide << 7 | (~third & 15) << 3 | pp);
	return 3;
}

/* Everything up to the opcode, it included. */
static unsigned int put_opcode(const struct cell *cell, uint8_t *out)
{
	unsigned int n = 0;

	if (cell->lock)
		out[n++] = 0xf0;
	if (cell->vex) {
		n += vex_bytes(cell, 0, 0, out + n);
		out[n++] = cell->opcode;
		return n;
	}
	if (cell->prefix)
		out[n++] = cell->prefix;
	if (cell->wide)
		out[n++] = 0x48;
	if (cell->map != MAP_ONE)
		out[n++] = 0x0f;
	if (cell->map == MAP_0F38 || cell->map == MAP_0F3A)
		out[n++] = cell->map == MAP_0F38 ? 0x38 : 0x3a;
	out[n++] = cell->opcode;
	return n;
}

static uint8_t cell_modrm(const struct cell *cell)
{
	uint8_t reg = (uint8_t)(cell->reg < 0 ? 2 : cell->reg) << 3 & 0x38;

	if (cell->form == FORM_MEM)
		return reg | 3;
	return (uint8_t)(0xc0 | reg | (cell->rm < 0 ? 0 : cell->rm));
}

unsigned int cell_bytes(const struct cell *cell, uint8_t out[CPU_INSN_MAX])
{
	unsigned int n;

	memset(out, 0, CPU_INSN_MAX);
	n = put_opcode(cell, out);
	if (cell->form != FORM_PLAIN)
		out[n] = cell_modrm(cell);
	return cell->insn.len;
}

/* ---- Finding ------------------------------------------------------------ */

static const struct sse_row *cell_sse(const struct cell *cell)
{
	if (cell->vex)
		return NULL;
	return sse_lookup((enum sse_map)((cell->map + 3) % 4), cell->opcode, cell->prefix,
			  cell_modrm(cell));
}

static bool same(const struct cell *a, const struct cell *b)
{
	return a->insn.exec == b->insn.exec && a->insn.op == b->insn.op &&
	       a->insn.size == b->insn.size && a->insn.src_size == b->insn.src_size &&
	       a->imm_bytes == b->imm_bytes && cell_sse(a) == cell_sse(b);
}

/* Decode the cell and fill in what follows from it; false: there is no such instruction. */
static bool probe(struct cell *cell)
{
	uint8_t bytes[CPU_INSN_MAX];
	unsigned int before;

	memset(bytes, 0, sizeof(bytes));
	before = put_opcode(cell, bytes);
	if (cell->form != FORM_PLAIN)
		bytes[before++] = cell_modrm(cell);
	cell->insn.exec = NULL;
	if (decode(bytes, sizeof(bytes), &cell->insn) <= 0 || !is_cell(&cell->insn))
		return false;
	cell->imm_bytes = (uint8_t)(cell->insn.len - before);
	return true;
}

static bool is_string(const struct insn *insn)
{
	return insn->exec == exec_movs || insn->exec == exec_stos || insn->exec == exec_lods ||
	       insn->exec == exec_scas || insn->exec == exec_cmps;
}

/* Is it there already, with fewer prefixes? */
static bool known(const struct cells *cells, const struct cell *cell)
{
	for (size_t i = cells->n; i-- > 0;) {
		const struct cell *old = &cells->rows[i];

		if (old->map != cell->map || old->opcode != cell->opcode || old->vex != cell->vex)
			return false;
		if (old->form == cell->form && old->lock == cell->lock && same(old, cell) &&
		    (old->reg < 0 || old->reg == cell->reg) &&
		    (old->rm < 0 || old->rm == cell->rm) &&
		    (old->prefix == cell->prefix || !is_string(&cell->insn)))
			return true;
	}
	return false;
}

static int add(struct cells *cells, struct cell *cell, unsigned int *lacking)
{
	const struct sse_row *sse;
	struct cell *rows;

	if (!probe(cell) || known(cells, cell))
		return 0;
	if (!with_excluded && !host_has(&cell->insn)) {
		++*lacking;
		return 0;
	}
	if ((cells->n & (cells->n - 1)) == 0) {
		rows = realloc(cells->rows, (cells->n ? 2 * cells->n : 1) * sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		cells->rows = rows;
	}
	cell->mem_bytes = cell->insn.src_size ? cell->insn.src_size : cell->insn.size;
	sse = cell_sse(cell);
	cell->aligned = 0;
	if (sse) {
		cell->aligned = (sse->flags & SSE_ALIGNED) != 0;
		cell->mem_bytes = sse->mem_bytes ? sse->mem_bytes : cell->insn.size;
	}
	cell->runs = 0;
	cells->rows[cells->n++] = *cell;
	return 0;
}

/* Do all values of ModRM.reg (or, with `reg` given, of rm) mean the same? */
static bool all_same(const struct cell *cell, bool by_rm)
{
	struct cell first = *cell, other = *cell;

	for (int8_t i = 0; i < 8; i++) {
		struct cell *c = i == 0 ? &first : &other;
		bool there;

		if (by_rm)
			c->rm = i;
		else
			c->reg = i;
		there = probe(c);
		if (i > 0 && (there != (first.insn.exec != NULL && is_cell(&first.insn)) ||
			      (there && !same(&first, c))))
			return false;
	}
	return true;
}

static int add_form(struct cells *cells, struct cell *cell, unsigned int *lacking)
{
	int err = 0;

	cell->reg = cell->rm = -1;
	if (cell->form == FORM_PLAIN)
		return add(cells, cell, lacking);
	/* What is not there with one rm may be there with another. */
	if ((probe(cell) || cell->form == FORM_MEM) && all_same(cell, false) &&
	    (cell->form == FORM_MEM || all_same(cell, true)))
		return add(cells, cell, lacking);
	for (int8_t reg = 0; reg < 8 && !err; reg++) {
		cell->reg = reg;
		cell->rm = -1;
		if (cell->form == FORM_MEM || all_same(cell, true)) {
			err = add(cells, cell, lacking);
			continue;
		}
		for (int8_t rm = 0; rm < 8 && !err; rm++) {
			cell->rm = rm;
			err = add(cells, cell, lacking);
		}
	}
	return err;
}

/* A ModRM byte follows if its memory form shows up in what was decoded. */
static bool has_modrm(const struct cell *cell)
{
	struct cell c = *cell;
	uint8_t bytes[CPU_INSN_MAX];

	/* All of x87 has one; not all of its memory forms are there. */
	if (cell->map == MAP_ONE && (cell->opcode & 0xf8) == 0xd8)
		return true;
	c.form = FORM_MEM;
	c.rm = -1;
	for (int8_t reg = 0; reg < 8; reg++) {
		unsigned int n;
		struct insn insn;

		memset(bytes, 0, sizeof(bytes));
		c.reg = reg;
		n = put_opcode(&c, bytes);
		bytes[n] = cell_modrm(&c);
		if (decode(bytes, sizeof(bytes), &insn) > 0 && insn.memory && insn.base == CPU_RBX)
			return true;
		bytes[n] |= 0xc0;
		if (decode(bytes, sizeof(bytes), &insn) > 0 && insn.rm == CPU_RBX) {
			bytes[n] = (bytes[n] & 0x38) | 0xc5;
			if (decode(bytes, sizeof(bytes), &insn) > 0 && insn.rm == CPU_RBP)
				return true;
		}
	}
	return false;
}

static bool is_prefix(unsigned int map, unsigned int opcode)
{
	if (map == MAP_0F)
		return opcode == 0x38 || opcode == 0x3a;
	return map == MAP_ONE &&
	       (opcode == 0x0f || opcode == 0xc4 || opcode == 0xc5 || (opcode & 0xf0) == 0x40 ||
		(opcode & 0xe7) == 0x26 || (opcode >= 0x64 && opcode <= 0x67) || opcode == 0xf0 ||
		opcode == 0xf2 || opcode == 0xf3);
}

static int add_opcode(struct cells *cells, unsigned int map, unsigned int opcode, bool vex,
		      unsigned int *lacking)
{
	static const uint8_t variants[][2] = {{0, 0},    {0x66, 0}, {0, 1},    {0xf3, 0},
					      {0xf2, 0}, {0x66, 1}, {0xf3, 1}, {0xf2, 1}};
	int err = 0;

	for (unsigned int i = 0; i < 16 && !err; i++) {
		struct cell cell = {.map = (uint8_t)map,
				    .opcode = (uint8_t)opcode,
				    .prefix = variants[i % 8][0],
				    .wide = variants[i % 8][1],
				    .lock = i >= 8,
				    .vex = vex};

		if (!has_modrm(&cell)) {
			cell.form = FORM_PLAIN;
			err = add_form(cells, &cell, lacking);
			continue;
		}
		for (unsigned int form = FORM_MEM; form <= FORM_REG && !err; form++) {
			cell.form = (uint8_t)form;
			err = add_form(cells, &cell, lacking);
		}
	}
	return err;
}

int cells_find(bool all, struct cells *out, unsigned int *lacking)
{
	int err = 0;

	with_excluded = all;
	*out = (struct cells){0};
	*lacking = 0;
	for (unsigned int map = MAP_ONE; map <= MAP_0F3A && !err; map++)
		for (unsigned int opcode = 0; opcode < 256 && !err; opcode++)
			if (!is_prefix(map, opcode))
				err = add_opcode(out, map, opcode, false, lacking);
	for (unsigned int map = MAP_0F; map <= MAP_0F3A && !err; map++)
		for (unsigned int opcode = 0; opcode < 256 && !err; opcode++)
			err = add_opcode(out, map, opcode, true, lacking);
	return err;
}

const char *cell_kind(const struct cell *cell)
{
	if (cell_sse(cell))
		return "SSE";
	return insn_is_harmless(&cell->insn) || is_movsxd_16(&cell->insn) ? "general" : "system";
}

/* ---- Flags -------------------------------------------------------------- */

static uint64_t shift_undefined(const struct insn *insn, uint8_t count)
{
	unsigned int operation = insn->reg & 7, by = count & (insn->size == 8 ? 63 : 31);
	uint64_t flags = 0;

	if (count == 0xff)
		return operation < 4 ? FLAG_OF : FLAG_CF | FLAG_AF | FLAG_OF;
	if (by == 0)
		return 0;
	if (by != 1)
		flags |= FLAG_OF;
	if (operation >= 4)
		flags |= FLAG_AF;
	if (operation >= 4 && operation != 7 && by >= insn->size * 8u)
		flags |= FLAG_CF;
	return flags;
}

uint64_t insn_undefined_flags(const struct insn *insn, uint8_t count)
{
	const uint64_t all = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF;
	exec_fn *exec = insn->exec;

	for (unsigned int i = 0; i < 8; i++) {
		const struct exec_forms *imm = &exec_shift_imm[i], *cl = &exec_shift_cl[i];
		const struct exec_forms *one = &exec_shift_one[i];

		for (unsigned int size = 0; size < 4; size++) {
			if (exec == one->reg[size] || exec == one->mem[size])
				return shift_undefined(insn, 1);
			if (exec == imm->reg[size] || exec == imm->mem[size])
				return shift_undefined(insn, (uint8_t)insn->imm);
			if (exec == cl->reg[size] || exec == cl->mem[size])
				return shift_undefined(insn, count);
		}
	}
	if (exec == exec_shld_imm || exec == exec_shrd_imm)
		return insn->imm & 0x3f ? FLAG_AF | FLAG_OF : 0;
	if (exec == exec_shld_cl || exec == exec_shrd_cl)
		return FLAG_AF | FLAG_OF;
	if (exec == exec_mul || exec == exec_imul || exec == exec_imul_imm)
		return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
	for (unsigned int size = 0; size < 4; size++)
		if (exec == exec_imul_reg_rm.reg[size] || exec == exec_imul_reg_rm.mem[size])
			return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
	if (exec == exec_div || exec == exec_idiv)
		return all;
	if (exec == exec_bit_imm || exec == exec_bit_reg)
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	if (exec == exec_bsf || exec == exec_bsr)
		return all & ~(uint64_t)FLAG_ZF;
	if (exec == exec_tzcnt || exec == exec_lzcnt)
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	if (exec == exec_andn || exec == exec_lowest_bit || exec == exec_bzhi)
		return FLAG_AF | FLAG_PF;
	if (exec == exec_bextr)
		return FLAG_SF | FLAG_AF | FLAG_PF;
	return 0;
}
