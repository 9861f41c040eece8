/* SPDX-License-Identifier: MIT */
/*
 * exec_control.c - control and debug registers, caches, CPUID.
 *
 * What the processor refuses is #GP, by value or because CPUID does not offer it. A value that asks
 * for what is not covered, hardware breakpoints, is an exit.
 */
#include "memory.h"
#include "operand.h"
#include "system.h"

#define CR0_KEPT                                                                                   \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)
/* VME to OSXMMEXCPT and UMIP: of those nothing but TSD, DE and PAE means anything here. */
#define CR4_ALWAYS UINT64_C(0xfff)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define CR4_DE (UINT64_C(1) << 3)
#define CR3_NO_FLUSH (UINT64_C(1) << 63)
#define DR7_ENABLES 0xffu

/* Whether CPUID offers something; without any rows all that is covered. */
static bool offers(const struct cpu *cpu, uint32_t leaf, bool in_ebx, unsigned int bit)
{
	const struct cpu_cpuid *row;

	if (cpu->ncpuid == 0)
		return true;
	row = cpuid_row(cpu, leaf, 0);
	return row && (in_ebx ? row->ebx : row->ecx) >> bit & 1;
}

static enum step set_cr0(struct cpu *cpu, uint64_t val)
{
	if (val >> 32 || (val & CR0_PG && !(val & CR0_PE)) || (val & CR0_NW && !(val & CR0_CD)) ||
	    !(val & CR0_PG))
		return raise_error(cpu, VECTOR_GP, 0);
	val = (val & CR0_KEPT) | CR0_ET;
	if (val != cpu->s.cr0)
		memory_flush(cpu);
	cpu->s.cr0 = val;
	return STEP_NEXT;
}

static enum step set_cr3(struct cpu *cpu, uint64_t val)
{
	if (cpu->s.cr4 & CR4_PCIDE)
		val &= ~CR3_NO_FLUSH;
	if (val & ~cpu->gpa_mask)
		return raise_error(cpu, VECTOR_GP, 0);
	cpu->s.cr3 = val;
	memory_flush(cpu);
	return STEP_NEXT;
}

static uint64_t cr4_allowed(const struct cpu *cpu)
{
	uint64_t allowed = CR4_ALWAYS;

	allowed |= offers(cpu, 7, true, 0) ? CR4_FSGSBASE : 0;
	allowed |= offers(cpu, 1, false, 17) ? CR4_PCIDE : 0;
	allowed |= offers(cpu, 1, false, 26) ? CR4_OSXSAVE : 0;
	allowed |= offers(cpu, 7, true, 7) ? CR4_SMEP : 0;
	allowed |= offers(cpu, 7, true, 20) ? CR4_SMAP : 0;
	return allowed;
}

static enum step set_cr4(struct cpu *cpu, uint64_t val)
{
	if (val & ~cr4_allowed(cpu) || !(val & CR4_PAE))
		return raise_error(cpu, VECTOR_GP, 0);
	if (val & ~cpu->s.cr4 & CR4_PCIDE && cpu->s.cr3 & 0xfff)
		return raise_error(cpu, VECTOR_GP, 0);
	/* Even the same value may be what a guest flushes with. */
	cpu->s.cr4 = val;
	memory_flush(cpu);
	return STEP_NEXT;
}

enum step exec_mov_to_cr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val = cpu->s.gpr[insn->rm];

	switch (insn->reg) {
	case 0:
		return set_cr0(cpu, val);
	case 2:
		cpu->s.cr2 = val;
		return STEP_NEXT;
	case 3:
		return set_cr3(cpu, val);
	case 4:
		return set_cr4(cpu, val);
	case 8:
		if (val > 15)
			return raise_error(cpu, VECTOR_GP, 0);
		cpu->s.cr8 = val;
		return STEP_NEXT;
	default:
		return raise_plain(cpu, VECTOR_UD);
	}
}

enum step exec_mov_from_cr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *to = &cpu->s.gpr[insn->rm];

	switch (insn->reg) {
	case 0:
		*to = cpu->s.cr0;
		break;
	case 2:
		*to = cpu->s.cr2;
		break;
	case 3:
		*to = cpu->s.cr3;
		break;
	case 4:
		*to = cpu->s.cr4;
		break;
	case 8:
		*to = cpu->s.cr8;
		break;
	default:
		return raise_plain(cpu, VECTOR_UD);
	}
	return STEP_NEXT;
}

/* DR4 and DR5 are DR6 and DR7, unless CR4.DE says that they are nothing. */
static bool debug_register(const struct cpu *cpu, const struct insn *insn, unsigned int *number)
{
	*number = insn->reg;
	if (insn->reg > 7 || ((insn->reg == 4 || insn->reg == 5) && cpu->s.cr4 & CR4_DE))
		return false;
	if (insn->reg == 4 || insn->reg == 5)
		*number += 2;
	return true;
}

enum step exec_mov_from_dr(struct cpu *cpu, const struct insn *insn)
{
	unsigned int number;

	if (!debug_register(cpu, insn, &number))
		return raise_plain(cpu, VECTOR_UD);
	cpu->s.gpr[insn->rm] = cpu->s.dr[number];
	return STEP_NEXT;
}

enum step exec_mov_to_dr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val = cpu->s.gpr[insn->rm];
	unsigned int number;

	if (!debug_register(cpu, insn, &number))
		return raise_plain(cpu, VECTOR_UD);
	if (number >= 6 && val >> 32)
		return raise_error(cpu, VECTOR_GP, 0);
	if (number == 7 && val & DR7_ENABLES)
		return exit_internal(cpu, "hardware breakpoints");
	if (number == 6)
		val = (val & 0xe00f) | 0xffff0ff0;
	if (number == 7)
		val = (val & 0xffff2bff) | 0x400;
	cpu->s.dr[number] = val;
	return STEP_NEXT;
}

enum step exec_smsw(struct cpu *cpu, const struct insn *insn)
{
	if (insn->memory)
		return memory_store(cpu, operand_address(cpu, insn), 2, cpu->s.cr0 & 0xffff);
	register_set(cpu, insn, insn->rm, insn->size, cpu->s.cr0);
	return STEP_NEXT;
}

enum step exec_lmsw(struct cpu *cpu, const struct insn *insn)
{
	uint64_t val;
	enum step step = rm_get(cpu, insn, 2, &val);

	/* PE can be set only, and it is. */
	if (step == STEP_NEXT)
		cpu->s.cr0 = (cpu->s.cr0 & ~UINT64_C(0xe)) | (val & 0xe);
	return step;
}

enum step exec_clts(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->s.cr0 &= ~CR0_TS;
	return STEP_NEXT;
}

/* ---- Caches --------------------------------------------------------------- */

enum step exec_invlpg(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_address(cpu, insn);

	if (canonical(linear))
		memory_flush_page(cpu, linear);
	return STEP_NEXT;
}

enum step exec_invpcid(struct cpu *cpu, const struct insn *insn)
{
	uint64_t type = cpu->s.gpr[insn->reg], descriptor[2];
	enum step step;

	if (!offers(cpu, 7, true, 10))
		return raise_plain(cpu, VECTOR_UD);
	step = memory_read(cpu, operand_address(cpu, insn), sizeof(descriptor), descriptor);
	if (step != STEP_NEXT)
		return step;
	if (type > 3 || (type < 2 && descriptor[0] >> 12) ||
	    (type < 2 && descriptor[0] && !(cpu->s.cr4 & CR4_PCIDE)) ||
	    (type == 0 && !canonical(descriptor[1])))
		return raise_error(cpu, VECTOR_GP, 0);
	memory_flush(cpu);
	return STEP_NEXT;
}

enum step exec_wbinvd(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	return STEP_NEXT;
}

/* ---- What else ------------------------------------------------------------ */

enum step exec_hlt(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu->exit->reason = CPU_EXIT_HLT;
	return STEP_EXIT_NEXT;
}

static enum step set_ac(struct cpu *cpu, bool set)
{
	if (!offers(cpu, 7, true, 20))
		return raise_plain(cpu, VECTOR_UD);
	cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)FLAG_AC) | (set ? FLAG_AC : 0);
	return STEP_NEXT;
}

enum step exec_clac(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return set_ac(cpu, false);
}

enum step exec_stac(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return set_ac(cpu, true);
}

enum step exec_cpuid(struct cpu *cpu, const struct insn *insn)
{
	uint32_t leaf = (uint32_t)cpu->s.gpr[CPU_RAX], subleaf = (uint32_t)cpu->s.gpr[CPU_RCX];
	const struct cpu_cpuid *row = cpuid_row(cpu, leaf, subleaf);

	(void)insn;
	cpu->s.gpr[CPU_RAX] = row ? row->eax : 0;
	cpu->s.gpr[CPU_RBX] = row ? row->ebx : 0;
	cpu->s.gpr[CPU_RCX] = row ? row->ecx : 0;
	cpu->s.gpr[CPU_RDX] = row ? row->edx : 0;
	/* Bit 27 tells what CR4 says now. */
	if (row && row->leaf == 1)
		cpu->s.gpr[CPU_RCX] = (cpu->s.gpr[CPU_RCX] & ~(UINT64_C(1) << 27)) |
				      (cpu->s.cr4 & CR4_OSXSAVE ? UINT64_C(1) << 27 : 0);
	return STEP_NEXT;
}

/* XCR0 says x87 and SSE, which is all there is. */
enum step exec_xgetbv(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (!(cpu->s.cr4 & CR4_OSXSAVE))
		return raise_plain(cpu, VECTOR_UD);
	if ((uint32_t)cpu->s.gpr[CPU_RCX] != 0)
		return raise_error(cpu, VECTOR_GP, 0);
	cpu->s.gpr[CPU_RAX] = 3;
	cpu->s.gpr[CPU_RDX] = 0;
	return STEP_NEXT;
}

enum step exec_xsetbv(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (!(cpu->s.cr4 & CR4_OSXSAVE))
		return raise_plain(cpu, VECTOR_UD);
	if ((uint32_t)cpu->s.gpr[CPU_RCX] != 0 || (uint32_t)cpu->s.gpr[CPU_RAX] != 3 ||
	    (uint32_t)cpu->s.gpr[CPU_RDX] != 0)
		return raise_error(cpu, VECTOR_GP, 0);
	return STEP_NEXT;
}
