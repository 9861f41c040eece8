/* SPDX-License-Identifier: MIT */
/*
 * descriptor.c - the guest's descriptor tables, and the mode that segments make.
 *
 * Reads and checks; who loads a segment register changes registers afterwards (X1).
 */
#include "memory.h"
#include "system.h"

static struct cpu_segment segment_of(uint16_t selector, uint64_t low)
{
	uint32_t limit = (uint32_t)((low & 0xffff) | (low >> 32 & 0xf0000));
	uint16_t attributes = low >> 40 & 0xf0ff;

	return (struct cpu_segment){
	    .base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000),
	    .limit = attributes & SEGMENT_G ? limit << 12 | 0xfff : limit,
	    .selector = selector,
	    .attributes = attributes,
	};
}

enum step descriptor_read(struct cpu *cpu, uint16_t selector, struct descriptor *out)
{
	const bool local = selector & 4;
	uint64_t base = local ? cpu->s.ldt.base : cpu->s.gdt.base;
	uint32_t limit = local ? cpu->s.ldt.limit : cpu->s.gdt.limit;
	uint32_t offset = selector & 0xfff8u;
	uint64_t low;
	enum step step;

	if (offset + 7 > limit || (local && !(cpu->s.ldt.attributes & SEGMENT_P)))
		return raise_error(cpu, VECTOR_GP, selector & 0xfffcu);
	step = memory_read_system(cpu, base + offset, sizeof(low), &low);
	if (step == STEP_NEXT)
		*out = (struct descriptor){segment_of(selector, low), base + offset, low};
	return step;
}

enum step descriptor_use(struct cpu *cpu, struct descriptor *descriptor)
{
	const uint8_t type = (uint8_t)(descriptor->low >> 40 | SEGMENT_ACCESSED);

	if (descriptor->segment.attributes & SEGMENT_ACCESSED)
		return STEP_NEXT;
	descriptor->segment.attributes |= SEGMENT_ACCESSED;
	return memory_write(cpu, descriptor->linear + 5, 1, &type);
}

enum step code_descriptor(struct cpu *cpu, uint16_t selector, uint32_t external,
			  struct descriptor *out)
{
	const uint32_t error = (selector & 0xfffcu) | external;
	enum step step;
	uint16_t attributes;

	if (!(selector & 0xfffc))
		return raise_error(cpu, VECTOR_GP, external);
	step = descriptor_read(cpu, selector, out);
	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		cpu->exception.error |= external;
	if (step != STEP_NEXT)
		return step;
	attributes = out->segment.attributes;
	if (!(attributes & SEGMENT_S) || !(attributes & SEGMENT_CODE) || attributes & SEGMENT_DPL)
		return raise_error(cpu, VECTOR_GP, error);
	if (!(attributes & SEGMENT_P))
		return raise_error(cpu, VECTOR_NP, error);
	return STEP_NEXT;
}

const char *mode_covered(const struct cpu *cpu)
{
	const struct cpu_segment *code = &cpu->s.seg[CPU_CS];

	if (!(cpu->s.cr0 & CR0_PE) || !(cpu->s.cr0 & CR0_PG) || !(cpu->s.efer & EFER_LMA))
		return "not in long mode";
	if (!(code->attributes & SEGMENT_L))
		return "compatibility mode";
	if (code->selector & 3)
		return "user mode";
	if (cpu->s.cr4 & CR4_LA57)
		return "five levels of page tables";
	return NULL;
}
