/* SPDX-License-Identifier: MIT */
/*
 * exec_msr.c - model-specific registers, the time-stamp counter, bases of FS and GS.
 *
 * A row of the table is a register that keeps what it is given, and what that may be. Those with a
 * life of their own are cases of the functions.
 */
#include <errno.h>

#include <x86intrin.h>

#include "exec.h"
#include "memory.h"
#include "system.h"

enum msr {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_UCODE_REV = 0x8b,
	MSR_MTRR_CAP = 0xfe,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_EFER = (int)0xc0000080,
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_FMASK,
	MSR_FS_BASE = (int)0xc0000100,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
	MSR_TSC_AUX,
};

/* Write combining, and no ranges: memory types mean nothing here. */
#define MTRR_CAP 0x400u
#define UCODE_REV (UINT64_C(1) << 32)

enum msr_rule { ANY, CANONICAL, LOW_HALF, MEMORY_TYPES, DEF_TYPE, APIC };

struct msr_row {
	uint32_t index;
	enum msr_rule rule;
	size_t offset; /* in struct cpu_state */
};

#define ROW(number, rule, member)                                                                  \
	{                                                                                          \
		(uint32_t)(number), rule, offsetof(struct cpu_state, member)                       \
	}

static const struct msr_row rows[] = {
    ROW(MSR_APIC_BASE, APIC, msr.apic_base),
    ROW(MSR_SYSENTER_CS, ANY, msr.sysenter_cs),
    ROW(MSR_SYSENTER_ESP, CANONICAL, msr.sysenter_esp),
    ROW(MSR_SYSENTER_EIP, CANONICAL, msr.sysenter_eip),
    ROW(MSR_MISC_ENABLE, ANY, msr.misc_enable),
    ROW(MSR_PAT, MEMORY_TYPES, msr.pat),
    ROW(MSR_MTRR_DEF_TYPE, DEF_TYPE, msr.mtrr_def_type),
    ROW(MSR_STAR, ANY, msr.star),
    ROW(MSR_LSTAR, CANONICAL, msr.lstar),
    ROW(MSR_CSTAR, CANONICAL, msr.cstar),
    ROW(MSR_FMASK, ANY, msr.fmask),
    ROW(MSR_FS_BASE, CANONICAL, seg[CPU_FS].base),
    ROW(MSR_GS_BASE, CANONICAL, seg[CPU_GS].base),
    ROW(MSR_KERNEL_GS_BASE, CANONICAL, msr.kernel_gs_base),
    ROW(MSR_TSC_AUX, LOW_HALF, msr.tsc_aux),
};

static uint64_t *find(struct cpu *cpu, uint32_t index, enum msr_rule *rule)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].index == index) {
			*rule = rows[i].rule;
			return (uint64_t *)(void *)((char *)&cpu->s + rows[i].offset);
		}
	return NULL;
}

/* UC, WC, WT, WP, WB; in PAT also UC-. */
static bool memory_type(uint64_t type, bool pat)
{
	return type <= 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

static bool acceptable(const struct cpu *cpu, enum msr_rule rule, uint64_t value)
{
	switch (rule) {
	case CANONICAL:
		return canonical(value);
	case LOW_HALF:
		return value >> 32 == 0;
	case MEMORY_TYPES:
		for (unsigned int i = 0; i < 64; i += 8)
			if (!memory_type(value >> i & 0xff, true))
				return false;
		return true;
	case DEF_TYPE:
		return !(value & ~UINT64_C(0xcff)) && memory_type(value & 0xff, false);
	case APIC:
		return !(value & (0x2ff | ~cpu->gpa_mask));
	default:
		return true;
	}
}

static int set_efer(struct cpu *cpu, uint64_t value)
{
	if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
		return -EINVAL;
	if (cpu->s.cr0 & CR0_PG && (value ^ cpu->s.efer) & EFER_LME)
		return -EINVAL;
	cpu->s.efer = (value & ~EFER_LMA) | (cpu->s.efer & EFER_LMA);
	memory_flush(cpu);
	return 0;
}

int cpu_msr_get(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	enum msr_rule rule;
	const uint64_t *kept = find(cpu, index, &rule);

	if (kept) {
		*value = *kept;
		return 0;
	}
	switch ((int)index) {
	case MSR_TSC:
		*value = __rdtsc() + cpu->s.msr.tsc_offset;
		return 0;
	case MSR_UCODE_REV:
		*value = UCODE_REV;
		return 0;
	case MSR_MTRR_CAP:
		*value = MTRR_CAP;
		return 0;
	case MSR_EFER:
		*value = cpu->s.efer;
		return 0;
	default:
		return -EINVAL;
	}
}

int cpu_msr_set(struct cpu *cpu, uint32_t index, uint64_t value)
{
	enum msr_rule rule;
	uint64_t *kept = find(cpu, index, &rule);

	if (kept) {
		if (!acceptable(cpu, rule, value))
			return -EINVAL;
		*kept = value;
		return 0;
	}
	switch ((int)index) {
	case MSR_TSC:
		cpu->s.msr.tsc_offset = value - __rdtsc();
		return 0;
	case MSR_UCODE_REV:
		return 0;
	case MSR_EFER:
		return set_efer(cpu, value);
	default:
		return -EINVAL;
	}
}

/* ---- Instructions --------------------------------------------------------- */

static void set_pair(struct cpu *cpu, uint64_t value)
{
	cpu->s.gpr[CPU_RAX] = (uint32_t)value;
	cpu->s.gpr[CPU_RDX] = value >> 32;
}

enum step exec_rdmsr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value;

	(void)insn;
	if (cpu_msr_get(cpu, (uint32_t)cpu->s.gpr[CPU_RCX], &value))
		return raise_error(cpu, VECTOR_GP, 0);
	set_pair(cpu, value);
	return STEP_NEXT;
}

enum step exec_wrmsr(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = (uint32_t)cpu->s.gpr[CPU_RAX] | cpu->s.gpr[CPU_RDX] << 32;

	(void)insn;
	if (cpu_msr_set(cpu, (uint32_t)cpu->s.gpr[CPU_RCX], value))
		return raise_error(cpu, VECTOR_GP, 0);
	return STEP_NEXT;
}

enum step exec_rdtsc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	set_pair(cpu, __rdtsc() + cpu->s.msr.tsc_offset);
	return STEP_NEXT;
}

enum step exec_rdtscp(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	set_pair(cpu, __rdtsc() + cpu->s.msr.tsc_offset);
	cpu->s.gpr[CPU_RCX] = (uint32_t)cpu->s.msr.tsc_aux;
	return STEP_NEXT;
}

/* There are no counters. */
enum step exec_rdpmc(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	return raise_error(cpu, VECTOR_GP, 0);
}

enum step exec_swapgs(struct cpu *cpu, const struct insn *insn)
{
	uint64_t base = cpu->s.seg[CPU_GS].base;

	(void)insn;
	cpu->s.seg[CPU_GS].base = cpu->s.msr.kernel_gs_base;
	cpu->s.msr.kernel_gs_base = base;
	return STEP_NEXT;
}

enum step exec_fsgsbase(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *base = &cpu->s.seg[insn->op & 1 ? CPU_GS : CPU_FS].base;
	uint64_t *reg = &cpu->s.gpr[insn->rm];
	const uint64_t mask = insn->size == 8 ? UINT64_MAX : UINT32_MAX;

	if (!(cpu->s.cr4 & CR4_FSGSBASE))
		return raise_plain(cpu, VECTOR_UD);
	if (insn->op < 2) {
		*reg = *base & mask;
		return STEP_NEXT;
	}
	if (!canonical(*reg & mask))
		return raise_error(cpu, VECTOR_GP, 0);
	*base = *reg & mask;
	return STEP_NEXT;
}
