/* SPDX-License-Identifier: MIT */
/*
 * state.c - registers between KVM's structs and the processor's.
 *
 * An unusable segment is one that is not present. What the processor cannot be is EINVAL: the
 * checks of KVM, and its own limits where those are narrower (no interrupts to be injected).
 */
#include "client.h"

#include <errno.h>
#include <string.h>

#include <cpu.h>

#include "state.h"

#define CR0_PE (UINT64_C(1) << 0)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)
#define CR4_PAE (UINT64_C(1) << 5)
#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)
#define EFER_KNOWN (UINT64_C(0xd01))
#define APIC_BASE_RESERVED (UINT64_C(0x6ff))
/* VME to OSXMMEXCPT: what the processor's CPUID offers. */
#define CR4_KNOWN (UINT64_C(0x7ff))

/* ---- General registers -------------------------------------------------- */

long state_get_regs(void *body, void *arg)
{
	const struct cpu_state *s = cpu_state(((struct vcpu *)body)->cpu);
	struct kvm_regs *regs = arg;

	regs->rax = s->gpr[CPU_RAX];
	regs->rbx = s->gpr[CPU_RBX];
	regs->rcx = s->gpr[CPU_RCX];
	regs->rdx = s->gpr[CPU_RDX];
	regs->rsi = s->gpr[CPU_RSI];
	regs->rdi = s->gpr[CPU_RDI];
	regs->rsp = s->gpr[CPU_RSP];
	regs->rbp = s->gpr[CPU_RBP];
	memcpy(&regs->r8, &s->gpr[CPU_R8], 8 * sizeof(s->gpr[0]));
	regs->rip = s->rip;
	regs->rflags = s->rflags;
	return 0;
}

long state_set_regs(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct cpu_state *s = cpu_state(vcpu->cpu);
	const struct kvm_regs *regs = arg;

	s->gpr[CPU_RAX] = regs->rax;
	s->gpr[CPU_RBX] = regs->rbx;
	s->gpr[CPU_RCX] = regs->rcx;
	s->gpr[CPU_RDX] = regs->rdx;
	s->gpr[CPU_RSI] = regs->rsi;
	s->gpr[CPU_RDI] = regs->rdi;
	s->gpr[CPU_RSP] = regs->rsp;
	s->gpr[CPU_RBP] = regs->rbp;
	memcpy(&s->gpr[CPU_R8], &regs->r8, 8 * sizeof(s->gpr[0]));
	s->rip = regs->rip;
	s->rflags = regs->rflags | 2;
	cpu_state_changed(vcpu->cpu);
	return 0;
}

_Static_assert(offsetof(struct kvm_regs, r15) == offsetof(struct kvm_regs, r8) + 56,
	       "r8 to r15 follow each other");

/* ---- System registers --------------------------------------------------- */

static struct kvm_segment from_segment(const struct cpu_segment *seg)
{
	const uint16_t a = seg->attributes;

	return (struct kvm_segment){
	    .base = seg->base,
	    .limit = seg->limit,
	    .selector = seg->selector,
	    .type = a & 0xf,
	    .s = a >> 4 & 1,
	    .dpl = a >> 5 & 3,
	    .present = a >> 7 & 1,
	    .avl = a >> 12 & 1,
	    .l = a >> 13 & 1,
	    .db = a >> 14 & 1,
	    .g = a >> 15 & 1,
	    .unusable = !(a >> 7 & 1),
	};
}

static struct cpu_segment to_segment(const struct kvm_segment *seg)
{
	const unsigned int present = seg->present && !seg->unusable;

	return (struct cpu_segment){
	    .base = seg->base,
	    .limit = seg->limit,
	    .selector = seg->selector,
	    .attributes =
		(uint16_t)((seg->type & 0xfu) | (seg->s & 1u) << 4 | (seg->dpl & 3u) << 5 |
			   present << 7 | (seg->avl & 1u) << 12 | (seg->l & 1u) << 13 |
			   (seg->db & 1u) << 14 | (seg->g & 1u) << 15),
	};
}

static struct kvm_dtable from_table(const struct cpu_table *table)
{
	return (struct kvm_dtable){.base = table->base, .limit = table->limit};
}

long state_get_sregs(void *body, void *arg)
{
	const struct cpu_state *s = cpu_state(((struct vcpu *)body)->cpu);
	struct kvm_sregs *sregs = arg;

	*sregs = (struct kvm_sregs){
	    .cs = from_segment(&s->seg[CPU_CS]),
	    .ds = from_segment(&s->seg[CPU_DS]),
	    .es = from_segment(&s->seg[CPU_ES]),
	    .fs = from_segment(&s->seg[CPU_FS]),
	    .gs = from_segment(&s->seg[CPU_GS]),
	    .ss = from_segment(&s->seg[CPU_SS]),
	    .tr = from_segment(&s->tr),
	    .ldt = from_segment(&s->ldt),
	    .gdt = from_table(&s->gdt),
	    .idt = from_table(&s->idt),
	    .cr0 = s->cr0,
	    .cr2 = s->cr2,
	    .cr3 = s->cr3,
	    .cr4 = s->cr4,
	    .cr8 = s->cr8,
	    .efer = s->efer,
	    .apic_base = s->msr.apic_base,
	};
	return 0;
}

static bool sregs_possible(const struct kvm_sregs *sregs)
{
	if (sregs->efer & EFER_LME && sregs->cr0 & CR0_PG) {
		if (!(sregs->cr4 & CR4_PAE) || !(sregs->efer & EFER_LMA) ||
		    sregs->cr3 >> CLIENT_PHYSICAL_BITS)
			return false;
	} else if (sregs->efer & EFER_LMA || sregs->cs.l) {
		return false;
	}
	if (sregs->cr0 >> 32 || (sregs->cr0 & CR0_NW && !(sregs->cr0 & CR0_CD)) ||
	    (sregs->cr0 & CR0_PG && !(sregs->cr0 & CR0_PE)))
		return false;
	for (size_t i = 0; i < sizeof(sregs->interrupt_bitmap) / sizeof(sregs->interrupt_bitmap[0]);
	     i++)
		if (sregs->interrupt_bitmap[i])
			return false;
	if (sregs->apic_base & APIC_BASE_RESERVED || sregs->apic_base >> CLIENT_PHYSICAL_BITS)
		return false;
	return !(sregs->cr4 & ~CR4_KNOWN) && !(sregs->efer & ~EFER_KNOWN) &&
	       !(sregs->cr8 & ~UINT64_C(0xf));
}

long state_set_sregs(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct cpu_state *s = cpu_state(vcpu->cpu);
	const struct kvm_sregs *sregs = arg;

	if (!sregs_possible(sregs))
		return -EINVAL;
	s->seg[CPU_CS] = to_segment(&sregs->cs);
	s->seg[CPU_DS] = to_segment(&sregs->ds);
	s->seg[CPU_ES] = to_segment(&sregs->es);
	s->seg[CPU_FS] = to_segment(&sregs->fs);
	s->seg[CPU_GS] = to_segment(&sregs->gs);
	s->seg[CPU_SS] = to_segment(&sregs->ss);
	s->tr = to_segment(&sregs->tr);
	s->ldt = to_segment(&sregs->ldt);
	s->gdt = (struct cpu_table){sregs->gdt.base, sregs->gdt.limit};
	s->idt = (struct cpu_table){sregs->idt.base, sregs->idt.limit};
	s->cr0 = sregs->cr0;
	s->cr2 = sregs->cr2;
	s->cr3 = sregs->cr3;
	s->cr4 = sregs->cr4;
	s->cr8 = sregs->cr8;
	s->efer = sregs->efer;
	s->msr.apic_base = sregs->apic_base;
	cpu_state_changed(vcpu->cpu);
	return 0;
}

/* ---- Floating point ----------------------------------------------------- */

long state_get_fpu(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	const struct cpu_state *s = cpu_state(vcpu->cpu);
	struct kvm_fpu *fpu = arg;

	*fpu = vcpu->fpu;
	_Static_assert(sizeof(fpu->fpr) == sizeof(s->x87_opaque), "eight registers");
	_Static_assert(sizeof(fpu->xmm) == sizeof(s->xmm), "sixteen registers");
	memcpy(fpu->fpr, s->x87_opaque, sizeof(fpu->fpr));
	memcpy(fpu->xmm, s->xmm, sizeof(fpu->xmm));
	fpu->fcw = s->fcw;
	fpu->fsw = s->fsw;
	fpu->mxcsr = s->mxcsr;
	return 0;
}

long state_set_fpu(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct cpu_state *s = cpu_state(vcpu->cpu);
	const struct kvm_fpu *fpu = arg;

	vcpu->fpu = *fpu;
	memcpy(s->x87_opaque, fpu->fpr, sizeof(fpu->fpr));
	memcpy(s->xmm, fpu->xmm, sizeof(fpu->xmm));
	s->fcw = fpu->fcw;
	s->fsw = fpu->fsw;
	s->mxcsr = fpu->mxcsr & 0xffff;
	return 0;
}

/* ---- Translation -------------------------------------------------------- */

long state_translate(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct kvm_translation *t = arg;
	uint64_t gpa = UINT64_MAX;
	bool writable = false;

	if (!(cpu_state(vcpu->cpu)->cr0 & CR0_PG)) {
		gpa = t->linear_address;
		t->valid = 1;
	} else {
		t->valid = cpu_translate(vcpu->cpu, t->linear_address, &gpa, &writable) == 0;
	}
	t->physical_address = t->valid ? gpa : UINT64_MAX;
	t->writeable = 1;
	t->usermode = 0;
	return 0;
}

/* ---- Around KVM_RUN ----------------------------------------------------- */

void state_to_run(struct vcpu *vcpu)
{
	const struct cpu_state *s = cpu_state(vcpu->cpu);

	vcpu->run->if_flag = (s->rflags >> 9 & 1) != 0;
	vcpu->run->cr8 = s->cr8;
	vcpu->run->apic_base = s->msr.apic_base;
	vcpu->run->flags = 0;
	vcpu->run->ready_for_interrupt_injection = vcpu->vm->irqchip || vcpu->run->if_flag;
}

int state_from_run(struct vcpu *vcpu)
{
	struct cpu_state *s = cpu_state(vcpu->cpu);

	if (vcpu->run->kvm_valid_regs || vcpu->run->kvm_dirty_regs)
		return -EINVAL;
	if (vcpu->vm->irqchip)
		return 0;
	if (vcpu->run->cr8 & ~UINT64_C(0xf))
		return -EINVAL;
	s->cr8 = vcpu->run->cr8;
	return 0;
}
