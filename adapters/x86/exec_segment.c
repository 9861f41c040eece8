/* SPDX-License-Identifier: MIT */
/*
 * exec_segment.c - segment registers and descriptor tables.
 *
 * In 64-bit mode a segment is little more than checks when it is loaded, and the bases of FS and
 * GS. All of this is at CPL 0.
 */
#include <string.h>

#include "memory.h"
#include "operand.h"
#include "system.h"

#define TYPE_LDT 2u
#define TYPE_TSS 9u
#define TYPE_TSS_BUSY 11u
#define TYPE_CALL_GATE 12u
#define TYPE_BUSY_BIT 2u

/* ---- Registers ------------------------------------------------------------ */

static bool is_null(uint16_t selector)
{
	return !(selector & 0xfffc);
}

/* A writable data segment of this privilege. */
static enum step check_stack(struct cpu *cpu, const struct descriptor *desc)
{
	uint16_t attributes = desc->segment.attributes, selector = desc->segment.selector;

	if (selector & 3 || !(attributes & SEGMENT_S) || attributes & SEGMENT_CODE ||
	    !(attributes & SEGMENT_WRITABLE) || attributes & SEGMENT_DPL)
		return raise_error(cpu, VECTOR_GP, selector & 0xfffcu);
	if (!(attributes & SEGMENT_P))
		return raise_error(cpu, VECTOR_SS, selector & 0xfffcu);
	return STEP_NEXT;
}

/* Data, or code that can be read. */
static enum step check_data(struct cpu *cpu, const struct descriptor *desc)
{
	uint16_t attributes = desc->segment.attributes, selector = desc->segment.selector;
	bool code = attributes & SEGMENT_CODE;

	if (!(attributes & SEGMENT_S) || (code && !(attributes & SEGMENT_WRITABLE)) ||
	    (!(code && attributes & SEGMENT_CONFORMING) &&
	     (selector & 3) > (attributes & SEGMENT_DPL) >> 5))
		return raise_error(cpu, VECTOR_GP, selector & 0xfffcu);
	if (!(attributes & SEGMENT_P))
		return raise_error(cpu, VECTOR_NP, selector & 0xfffcu);
	return STEP_NEXT;
}

enum step segment_find(struct cpu *cpu, enum cpu_segment_name name, uint16_t selector,
		       struct cpu_segment *out)
{
	struct descriptor desc;
	enum step step;

	if (is_null(selector)) {
		if (name == CPU_SS && selector != 0)
			return raise_error(cpu, VECTOR_GP, 0);
		*out = (struct cpu_segment){.selector = selector};
		return STEP_NEXT;
	}
	step = descriptor_read(cpu, selector, &desc);
	if (step == STEP_NEXT)
		step = name == CPU_SS ? check_stack(cpu, &desc) : check_data(cpu, &desc);
	if (step == STEP_NEXT)
		step = descriptor_use(cpu, &desc);
	if (step == STEP_NEXT)
		*out = desc.segment;
	return step;
}

/* A selector into rm: 16 bits of memory, or all of a register. */
static enum step store_selector(struct cpu *cpu, const struct insn *insn, uint16_t selector)
{
	if (insn->memory)
		return memory_store(cpu, operand_address(cpu, insn), 2, selector);
	register_set(cpu, insn, insn->rm, insn->size, selector);
	return STEP_NEXT;
}

enum step exec_mov_from_seg(struct cpu *cpu, const struct insn *insn)
{
	if (insn->reg >= CPU_SEGMENTS)
		return raise_plain(cpu, VECTOR_UD);
	return store_selector(cpu, insn, cpu->s.seg[insn->reg].selector);
}

enum step exec_mov_to_seg(struct cpu *cpu, const struct insn *insn)
{
	struct cpu_segment segment;
	uint64_t selector;
	enum step step;

	if (insn->reg >= CPU_SEGMENTS || insn->reg == CPU_CS)
		return raise_plain(cpu, VECTOR_UD);
	step = rm_get(cpu, insn, 2, &selector);
	if (step == STEP_NEXT)
		step = segment_find(cpu, insn->reg, (uint16_t)selector, &segment);
	if (step == STEP_NEXT)
		cpu->s.seg[insn->reg] = segment;
	return step;
}

enum step exec_push_seg(struct cpu *cpu, const struct insn *insn)
{
	return memory_push(cpu, insn->size, cpu->s.seg[insn->op].selector);
}

/* RSP moves last: the descriptor may be in memory that the host refuses (X1). */
enum step exec_pop_seg(struct cpu *cpu, const struct insn *insn)
{
	const uint64_t rsp = cpu->s.gpr[CPU_RSP];
	struct cpu_segment segment;
	uint64_t selector;
	enum step step = memory_load(cpu, rsp, insn->size, &selector);

	if (step == STEP_EXCEPTION && cpu->exception.non_canonical)
		cpu->exception.vector = VECTOR_SS;
	if (step == STEP_NEXT)
		step = segment_find(cpu, insn->op, (uint16_t)selector, &segment);
	if (step != STEP_NEXT)
		return step;
	cpu->s.seg[insn->op] = segment;
	cpu->s.gpr[CPU_RSP] = rsp + insn->size;
	return STEP_NEXT;
}

/* ---- Tables --------------------------------------------------------------- */

static enum step store_table(struct cpu *cpu, const struct insn *insn, struct cpu_table table)
{
	uint8_t bytes[10];

	memcpy(bytes, &table.limit, 2);
	memcpy(bytes + 2, &table.base, 8);
	return memory_write(cpu, operand_address(cpu, insn), sizeof(bytes), bytes);
}

static enum step load_table(struct cpu *cpu, const struct insn *insn, struct cpu_table *out)
{
	struct cpu_table table = {0};
	uint8_t bytes[10];
	enum step step = memory_read(cpu, operand_address(cpu, insn), sizeof(bytes), bytes);

	if (step != STEP_NEXT)
		return step;
	memcpy(&table.limit, bytes, 2);
	memcpy(&table.base, bytes + 2, 8);
	if (!canonical(table.base))
		return raise_error(cpu, VECTOR_GP, 0);
	*out = table;
	return STEP_NEXT;
}

enum step exec_sgdt(struct cpu *cpu, const struct insn *insn)
{
	return store_table(cpu, insn, cpu->s.gdt);
}

enum step exec_sidt(struct cpu *cpu, const struct insn *insn)
{
	return store_table(cpu, insn, cpu->s.idt);
}

enum step exec_lgdt(struct cpu *cpu, const struct insn *insn)
{
	return load_table(cpu, insn, &cpu->s.gdt);
}

enum step exec_lidt(struct cpu *cpu, const struct insn *insn)
{
	return load_table(cpu, insn, &cpu->s.idt);
}

/* ---- LDT and TSS ---------------------------------------------------------- */

/* A descriptor of 16 bytes of the GDT, of a type. */
static enum step system_descriptor(struct cpu *cpu, uint16_t selector, unsigned int type,
				   struct descriptor *out)
{
	const uint32_t error = selector & 0xfffcu;
	uint64_t high;
	enum step step;

	if (selector & 4 || (selector & 0xfff8u) + 15 > cpu->s.gdt.limit)
		return raise_error(cpu, VECTOR_GP, error);
	step = descriptor_read(cpu, selector, out);
	if (step == STEP_NEXT)
		step = memory_read_system(cpu, out->linear + 8, sizeof(high), &high);
	if (step != STEP_NEXT)
		return step;
	if ((out->segment.attributes & (SEGMENT_S | SEGMENT_TYPE)) != type || high >> 40 & 0x1f)
		return raise_error(cpu, VECTOR_GP, error);
	if (!(out->segment.attributes & SEGMENT_P))
		return raise_error(cpu, VECTOR_NP, error);
	out->segment.base |= high << 32;
	return canonical(out->segment.base) ? STEP_NEXT : raise_error(cpu, VECTOR_GP, error);
}

enum step exec_sldt(struct cpu *cpu, const struct insn *insn)
{
	return store_selector(cpu, insn, cpu->s.ldt.selector);
}

enum step exec_str(struct cpu *cpu, const struct insn *insn)
{
	return store_selector(cpu, insn, cpu->s.tr.selector);
}

enum step exec_lldt(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	uint64_t selector;
	enum step step = rm_get(cpu, insn, 2, &selector);

	desc.segment.selector = (uint16_t)selector;
	if (step == STEP_NEXT && !is_null((uint16_t)selector))
		step = system_descriptor(cpu, (uint16_t)selector, TYPE_LDT, &desc);
	if (step == STEP_NEXT)
		cpu->s.ldt = desc.segment;
	return step;
}

enum step exec_ltr(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	uint64_t selector;
	uint8_t type;
	enum step step = rm_get(cpu, insn, 2, &selector);

	if (step != STEP_NEXT)
		return step;
	if (is_null((uint16_t)selector))
		return raise_error(cpu, VECTOR_GP, 0);
	step = system_descriptor(cpu, (uint16_t)selector, TYPE_TSS, &desc);
	if (step != STEP_NEXT)
		return step;
	desc.segment.attributes |= TYPE_BUSY_BIT;
	type = (uint8_t)desc.segment.attributes;
	step = memory_write(cpu, desc.linear + 5, 1, &type);
	if (step == STEP_NEXT)
		cpu->s.tr = desc.segment;
	return step;
}

/* ---- Questions ------------------------------------------------------------ */

/* What a question found: `visible` with the descriptor, or not. */
static enum step look(struct cpu *cpu, const struct insn *insn, struct descriptor *desc,
		      bool *visible)
{
	uint16_t attributes;
	uint64_t selector;
	enum step step = rm_get(cpu, insn, 2, &selector);

	*visible = false;
	if (step != STEP_NEXT || is_null((uint16_t)selector))
		return step;
	step = descriptor_read(cpu, (uint16_t)selector, desc);
	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		return STEP_NEXT;
	if (step != STEP_NEXT)
		return step;
	attributes = desc->segment.attributes;
	*visible = (selector & 3) <= (attributes & SEGMENT_DPL) >> 5 ||
		   (attributes & (SEGMENT_S | SEGMENT_CODE | SEGMENT_CONFORMING)) ==
		       (SEGMENT_S | SEGMENT_CODE | SEGMENT_CONFORMING);
	return STEP_NEXT;
}

static enum step answer(struct cpu *cpu, bool yes)
{
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAG_ZF) | (yes ? FLAG_ZF : 0);
	return STEP_NEXT;
}

enum step exec_verr(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	bool visible;
	enum step step = look(cpu, insn, &desc, &visible);
	uint16_t attributes = desc.segment.attributes;

	if (step != STEP_NEXT)
		return step;
	return answer(cpu, visible && attributes & SEGMENT_S &&
			       (!(attributes & SEGMENT_CODE) || attributes & SEGMENT_WRITABLE));
}

enum step exec_verw(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	bool visible;
	enum step step = look(cpu, insn, &desc, &visible);
	uint16_t attributes = desc.segment.attributes;

	if (step != STEP_NEXT)
		return step;
	return answer(cpu, visible && attributes & SEGMENT_S && !(attributes & SEGMENT_CODE) &&
			       attributes & SEGMENT_WRITABLE);
}

static bool has_limit(uint16_t attributes)
{
	unsigned int type = attributes & SEGMENT_TYPE;

	return attributes & SEGMENT_S || type == TYPE_LDT || type == TYPE_TSS ||
	       type == TYPE_TSS_BUSY;
}

enum step exec_lar(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	bool visible;
	enum step step = look(cpu, insn, &desc, &visible);
	uint16_t attributes = desc.segment.attributes;

	if (step != STEP_NEXT)
		return step;
	visible =
	    visible && (has_limit(attributes) || (attributes & SEGMENT_TYPE) == TYPE_CALL_GATE);
	if (visible)
		register_set(cpu, insn, insn->reg, insn->size, desc.low >> 32 & 0xf0ff00);
	return answer(cpu, visible);
}

enum step exec_lsl(struct cpu *cpu, const struct insn *insn)
{
	struct descriptor desc = {0};
	bool visible;
	enum step step = look(cpu, insn, &desc, &visible);

	if (step != STEP_NEXT)
		return step;
	visible = visible && has_limit(desc.segment.attributes);
	if (visible)
		register_set(cpu, insn, insn->reg, insn->size, desc.segment.limit);
	return answer(cpu, visible);
}
