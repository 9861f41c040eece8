/* SPDX-License-Identifier: MIT */
/*
 * exec_string.c - MOVS STOS LODS SCAS CMPS, once or repeated.
 *
 * One call does as many elements as host memory has in one piece, at most to the end (with DF: the
 * beginning) of a page of each operand, then moves the registers and returns STEP_AGAIN: the run
 * loop looks at requests between pieces. An element in two pages, or in MMIO, is a piece of its
 * own.
 *
 * Invariant. S1: after each piece the registers are those of the processor between two iterations.
 */
#include <string.h>

#include "alu.h"
#include "operand.h"

#define PAGE_BYTES 4096u

/* What the instruction has left to do. */
struct string {
	unsigned int size;
	bool down; /* DF */
	uint64_t count;
};

/* Elements of an operand in one piece; `low` is the first of them in the host, whatever DF. */
struct piece {
	uint8_t *low;
	uint64_t n;
};

static uint64_t address_mask(const struct insn *insn)
{
	return insn->addr_size == 4 ? 0xffffffffull : ~0ull;
}

static struct string string_begin(const struct cpu *cpu, const struct insn *insn)
{
	return (struct string){
	    .size = insn->size,
	    .down = cpu->s.rflags & FLAG_DF,
	    .count = insn->rep ? cpu->s.gpr[CPU_RCX] & address_mask(insn) : 1,
	};
}

static uint64_t source_address(const struct cpu *cpu, const struct insn *insn)
{
	uint64_t addr = cpu->s.gpr[CPU_RSI] & address_mask(insn);

	return insn->segment >= CPU_FS ? addr + cpu->s.seg[insn->segment].base : addr;
}

static uint64_t target_address(const struct cpu *cpu, const struct insn *insn)
{
	return cpu->s.gpr[CPU_RDI] & address_mask(insn);
}

static void advance(struct cpu *cpu, const struct insn *insn, uint8_t number, uint64_t by)
{
	uint64_t *reg = &cpu->s.gpr[number];

	*reg = (*reg + by) & address_mask(insn);
}

/* `n` elements are done. */
static enum step string_done(struct cpu *cpu, const struct insn *insn, const struct string *str,
			     uint64_t n, bool source, bool target)
{
	uint64_t by = n * str->size;

	if (str->down)
		by = -by;
	if (source)
		advance(cpu, insn, CPU_RSI, by);
	if (target)
		advance(cpu, insn, CPU_RDI, by);
	if (!insn->rep)
		return STEP_NEXT;
	advance(cpu, insn, CPU_RCX, -n);
	return str->count == n ? STEP_NEXT : STEP_AGAIN;
}

/* The piece at `linear`; n is 0: the next element has to be read or written by itself. */
static enum step piece_find(struct cpu *cpu, const struct string *str, uint64_t linear,
			    enum mslot_access access, struct piece *out)
{
	uint64_t offset = linear % PAGE_BYTES, len_bytes;
	void *host;
	enum step step;

	*out = (struct piece){0};
	/* Elements alone gain nothing, and those in two pages cannot. */
	if (str->count < 2 || offset + str->size > PAGE_BYTES)
		return STEP_NEXT;
	step = memory_span(cpu, linear, access, &host, &len_bytes);
	if (step || !host)
		return step;
	out->low = host;
	out->n = str->down ? offset / str->size + 1 : len_bytes / str->size;
	if (out->n > str->count)
		out->n = str->count;
	return STEP_NEXT;
}

/* Now that `n` is known, of the elements of two pieces. */
static void piece_cut(struct piece *piece, const struct string *str, uint64_t n)
{
	if (str->down)
		piece->low -= (n - 1) * str->size;
	piece->n = n;
}

/* The i-th element in the order of execution. */
static uint8_t *element_at(const struct piece *piece, const struct string *str, uint64_t i)
{
	return piece->low + (str->down ? piece->n - 1 - i : i) * str->size;
}

/* ---- MOVS --------------------------------------------------------------- */

/*
 * Element after element, each read after the one before was written: where the target begins within
 * the source, what was written is read again (that is how patterns are filled).
 */
static void copy(const struct piece *to, const struct piece *from, const struct string *str)
{
	uint64_t len_bytes = to->n * str->size, i;
	uintptr_t ahead = str->down ? (uintptr_t)from->low - (uintptr_t)to->low
				    : (uintptr_t)to->low - (uintptr_t)from->low;

	if (ahead == 0 || ahead >= len_bytes) {
		memmove(to->low, from->low, len_bytes);
		return;
	}
	for (i = 0; i < to->n; i++)
		host_store(element_at(to, str, i), str->size,
			   host_load(element_at(from, str, i), str->size));
}

static enum step move_one(struct cpu *cpu, const struct insn *insn, const struct string *str)
{
	uint64_t val;
	enum step step = memory_load(cpu, source_address(cpu, insn), str->size, &val);

	if (!step)
		step = memory_store(cpu, target_address(cpu, insn), str->size, val);
	return step ? step : string_done(cpu, insn, str, 1, true, true);
}

enum step exec_movs(struct cpu *cpu, const struct insn *insn)
{
	struct string str = string_begin(cpu, insn);
	struct piece from, to;
	uint64_t n;
	enum step step;

	if (!str.count)
		return STEP_NEXT;
	step = piece_find(cpu, &str, source_address(cpu, insn), MSLOT_READ, &from);
	if (step)
		return step;
	if (!from.n)
		return move_one(cpu, insn, &str);
	step = piece_find(cpu, &str, target_address(cpu, insn), MSLOT_WRITE, &to);
	if (step)
		return step;
	n = to.n < from.n ? to.n : from.n;
	if (!n)
		return move_one(cpu, insn, &str);
	piece_cut(&from, &str, n);
	piece_cut(&to, &str, n);
	copy(&to, &from, &str);
	memory_stored(cpu, to.low, n * str.size);
	return string_done(cpu, insn, &str, n, true, true);
}

/* ---- STOS, LODS --------------------------------------------------------- */

static void fill(const struct piece *to, unsigned int size, uint64_t val)
{
	uint64_t i;

	if (size == 1 || !val) {
		memset(to->low, (int)(val & 0xff), to->n * size);
		return;
	}
	for (i = 0; i < to->n; i++)
		host_store(to->low + i * size, size, val);
}

enum step exec_stos(struct cpu *cpu, const struct insn *insn)
{
	struct string str = string_begin(cpu, insn);
	uint64_t linear = target_address(cpu, insn);
	uint64_t val = register_get(cpu, insn, CPU_RAX, str.size);
	struct piece to;
	enum step step;

	if (!str.count)
		return STEP_NEXT;
	step = piece_find(cpu, &str, linear, MSLOT_WRITE, &to);
	if (step)
		return step;
	if (!to.n) {
		step = memory_store(cpu, linear, str.size, val);
		return step ? step : string_done(cpu, insn, &str, 1, false, true);
	}
	piece_cut(&to, &str, to.n);
	fill(&to, str.size, val);
	memory_stored(cpu, to.low, to.n * str.size);
	return string_done(cpu, insn, &str, to.n, false, true);
}

/* Nobody repeats it: one element a call. */
enum step exec_lods(struct cpu *cpu, const struct insn *insn)
{
	struct string str = string_begin(cpu, insn);
	uint64_t val;
	enum step step;

	if (!str.count)
		return STEP_NEXT;
	step = memory_load(cpu, source_address(cpu, insn), str.size, &val);
	if (step)
		return step;
	register_set(cpu, insn, CPU_RAX, str.size, val);
	return string_done(cpu, insn, &str, 1, true, false);
}

/* ---- SCAS, CMPS --------------------------------------------------------- */

static void compare(struct cpu *cpu, unsigned int size, uint64_t a, uint64_t b)
{
	uint64_t *flags = &cpu->s.rflags;

	switch (size) {
	case 1:
		(void)alu_cmp_8(flags, (uint8_t)a, (uint8_t)b);
		break;
	case 2:
		(void)alu_cmp_16(flags, (uint16_t)a, (uint16_t)b);
		break;
	case 4:
		(void)alu_cmp_32(flags, (uint32_t)a, (uint32_t)b);
		break;
	default:
		(void)alu_cmp_64(flags, a, b);
	}
}

/* Is a repeated comparison over after these two? F3 goes on while equal, F2 while not. */
static bool over(const struct insn *insn, uint64_t a, uint64_t b)
{
	return insn->rep && (insn->rep == 0xf3) != (a == b);
}

/* After comparing `a` and `b`, the n-th of this call. */
static enum step compared(struct cpu *cpu, const struct insn *insn, const struct string *str,
			  uint64_t n, uint64_t a, uint64_t b, bool source)
{
	enum step step;

	compare(cpu, str->size, a, b);
	step = string_done(cpu, insn, str, n, source, true);
	return over(insn, a, b) ? STEP_NEXT : step;
}

enum step exec_scas(struct cpu *cpu, const struct insn *insn)
{
	struct string str = string_begin(cpu, insn);
	uint64_t linear = target_address(cpu, insn), val = 0, i = 0;
	uint64_t acc = register_get(cpu, insn, CPU_RAX, str.size);
	struct piece in;
	enum step step;

	if (!str.count)
		return STEP_NEXT;
	step = piece_find(cpu, &str, linear, MSLOT_READ, &in);
	if (!step && !in.n) {
		step = memory_load(cpu, linear, str.size, &val);
		i = 1;
	}
	if (step)
		return step;
	if (in.n)
		piece_cut(&in, &str, in.n);
	while (i < in.n) {
		val = host_load(element_at(&in, &str, i), str.size);
		i++;
		if (over(insn, acc, val))
			break;
	}
	return compared(cpu, insn, &str, i, acc, val, false);
}

/* Source and target, one element each. */
static enum step compare_one(struct cpu *cpu, const struct insn *insn, const struct string *str)
{
	uint64_t a, b;
	enum step step = memory_load(cpu, source_address(cpu, insn), str->size, &a);

	if (!step)
		step = memory_load(cpu, target_address(cpu, insn), str->size, &b);
	return step ? step : compared(cpu, insn, str, 1, a, b, true);
}

enum step exec_cmps(struct cpu *cpu, const struct insn *insn)
{
	struct string str = string_begin(cpu, insn);
	struct piece first, second;
	uint64_t a = 0, b = 0, n, i = 0;
	enum step step;

	if (!str.count)
		return STEP_NEXT;
	step = piece_find(cpu, &str, source_address(cpu, insn), MSLOT_READ, &first);
	if (step)
		return step;
	step = piece_find(cpu, &str, target_address(cpu, insn), MSLOT_READ, &second);
	if (step)
		return step;
	n = first.n < second.n ? first.n : second.n;
	if (!n)
		return compare_one(cpu, insn, &str);
	piece_cut(&first, &str, n);
	piece_cut(&second, &str, n);
	while (i < n) {
		a = host_load(element_at(&first, &str, i), str.size);
		b = host_load(element_at(&second, &str, i), str.size);
		i++;
		if (over(insn, a, b))
			break;
	}
	return compared(cpu, insn, &str, i, a, b, true);
}
