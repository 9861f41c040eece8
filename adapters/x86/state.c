/* SPDX-License-Identifier: MIT */
/*
 * state.c - a CPU's life, its registers after a reset, CPUID.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "exec.h"
#include "sse_exec.h"
#include "system.h"

#define GPA_BITS_DEFAULT 48u

static void reset(struct cpu_state *s)
{
	*s = (struct cpu_state){
	    .rip = 0xfff0,
	    .rflags = FLAG_FIXED,
	    .tr = {.limit = 0xffff, .attributes = 0x8b},
	    .ldt = {.limit = 0xffff, .attributes = 0x82},
	    .gdt = {.limit = 0xffff},
	    .idt = {.limit = 0xffff},
	    .cr0 = CR0_CD | CR0_NW | CR0_ET,
	    .msr = {.pat = 0x0007040600070406, .apic_base = 0xfee00900, .misc_enable = 1},
	    .mxcsr = 0x1f80,
	    .fcw = 0x37f,
	};
	for (unsigned int i = 0; i < CPU_SEGMENTS; i++)
		s->seg[i] = (struct cpu_segment){.limit = 0xffff, .attributes = 0x93};
	s->seg[CPU_CS] = (struct cpu_segment){
	    .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attributes = 0x9b};
	s->gpr[CPU_RDX] = 0x600;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
}

int cpu_create(const struct cpu_options *opt, struct cpu **out)
{
	struct cpu *cpu;

	if (!opt || !opt->vcpu || !opt->root)
		return -EINVAL;
	cpu = calloc(1, sizeof(*cpu));
	if (!cpu)
		return -ENOMEM;
	cpu->blocks = block_cache_create();
	if (!cpu->blocks) {
		free(cpu);
		return -ENOMEM;
	}
	cpu->vcpu = opt->vcpu;
	cpu->root = opt->root;
	cpu->tlb_epoch = 1;
	cpu->gpa_mask = (UINT64_C(1) << GPA_BITS_DEFAULT) - 1;
	reset(&cpu->s);
	*out = cpu;
	return 0;
}

void cpu_destroy(struct cpu *cpu)
{
	if (!cpu)
		return;
	block_cache_destroy(cpu->blocks);
	free(cpu->cpuid);
	free(cpu);
}

struct cpu_state *cpu_state(struct cpu *cpu)
{
	return &cpu->s;
}

void cpu_state_changed(struct cpu *cpu)
{
	cpu->s.rflags |= FLAG_FIXED;
	/* The host loads it as it is, and would fault. */
	cpu->s.mxcsr &= MXCSR_VALID;
	memory_flush(cpu);
}

/* ---- CPUID ---------------------------------------------------------------- */

static const struct cpu_cpuid *find_row(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < cpu->ncpuid; i++) {
		const struct cpu_cpuid *row = &cpu->cpuid[i];

		if (row->leaf == leaf && (!row->by_subleaf || row->subleaf == subleaf))
			return row;
	}
	return NULL;
}

/* Beyond the last leaf of a class AMD's processors answer zeroes, others as their last basic one.
 */
static bool answers_zero_beyond(const struct cpu_cpuid *vendor)
{
	return vendor->ecx == 0x444d4163 ||
	       vendor->ecx == 0x656e6975; /* AuthenticAMD, HygonGenuine */
}

const struct cpu_cpuid *cpuid_row(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	const struct cpu_cpuid *row = find_row(cpu, leaf, subleaf), *basic, *class;

	if (row)
		return row;
	basic = find_row(cpu, 0, 0);
	if (!basic || answers_zero_beyond(basic))
		return NULL;
	class = leaf >> 30 ? find_row(cpu, leaf & 0xc0000000, 0) : basic;
	if (class && leaf <= class->eax)
		return NULL;
	return find_row(cpu, basic->eax, subleaf);
}

int cpu_cpuid_set(struct cpu *cpu, const struct cpu_cpuid *rows, size_t n)
{
	struct cpu_cpuid *copy = malloc(n ? n * sizeof(*rows) : 1);
	const struct cpu_cpuid *sizes, *features;
	unsigned int bits = GPA_BITS_DEFAULT;

	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, rows, n * sizeof(*rows));
	free(cpu->cpuid);
	cpu->cpuid = copy;
	cpu->ncpuid = n;
	sizes = find_row(cpu, 0x80000008, 0);
	if (sizes && (sizes->eax & 0xff) >= 32 && (sizes->eax & 0xff) <= 52)
		bits = sizes->eax & 0xff;
	cpu->gpa_mask = (UINT64_C(1) << bits) - 1;
	features = find_row(cpu, 0x80000001, 0);
	cpu->no_gib_pages = features && !(features->edx >> 26 & 1);
	memory_flush(cpu);
	return 0;
}
