/* SPDX-License-Identifier: MIT */
/*
 * kvm_guest.h - a VM made through KVM's ioctls: memory, page tables, a vCPU in 64-bit mode.
 *
 * Who includes it defines guest_call(fd, request, arg): ioctl() itself, or the client's function.
 *
 *   guest-physical    what
 *   0 - 2 MiB         slot 0; page tables at 0x1000, code at GUEST_CODE, stack below 0x30000
 *   elsewhere         nothing: MMIO
 * Linear addresses below 1 GiB are the same.
 */
#ifndef MSLOT_TESTS_KVM_GUEST_H
#define MSLOT_TESTS_KVM_GUEST_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/kvm.h>

#define GUEST_BYTES UINT64_C(0x200000)
#define GUEST_CODE UINT64_C(0x10000)
#define GUEST_DATA UINT64_C(0x40000)
#define GUEST_HOLE UINT64_C(0x300000)

struct kvm_guest {
	int dev, vm, vcpu;
	unsigned char *ram;
	struct kvm_run *run;
	size_t run_bytes;
};

static inline struct kvm_userspace_memory_region
guest_slot(const struct kvm_guest *g, uint32_t id, uint64_t gpa, uint64_t len_bytes, uint32_t flags)
{
	return (struct kvm_userspace_memory_region){
	    .slot = id,
	    .flags = flags,
	    .guest_phys_addr = gpa,
	    .memory_size = len_bytes,
	    .userspace_addr = (uintptr_t)g->ram,
	};
}

/* RAM with page tables; 0 or a negative number. */
static inline long guest_make_ram(struct kvm_guest *g)
{
	struct kvm_userspace_memory_region region;
	uint64_t *table;

	g->ram =
	    mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->ram == MAP_FAILED)
		return -1;
	table = (uint64_t *)(void *)(g->ram + 0x1000);
	table[0] = 0x2003;
	table[512] = 0x3003;
	for (uint64_t i = 0; i < 512; i++)
		table[1024 + i] = i << 21 | 0x83;
	region = guest_slot(g, 0, 0, GUEST_BYTES, 0);
	return guest_call(g->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static inline long guest_long_mode(int vcpu)
{
	const struct kvm_segment code = {
	    .limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	const struct kvm_segment data = {
	    .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	struct kvm_sregs sregs;
	long ret = guest_call(vcpu, KVM_GET_SREGS, &sregs);

	if (ret)
		return ret;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.cr3 = 0x1000;
	sregs.cr4 |= 0x620;
	sregs.cr0 = 0x80000033;
	sregs.efer |= 0x500;
	return guest_call(vcpu, KVM_SET_SREGS, &sregs);
}

/* RIP and RSP for another run; RAX, RBX and the others are 0. */
static inline long guest_restart(int vcpu, uint64_t rip)
{
	struct kvm_regs regs = {.rip = rip, .rsp = 0x30000, .rflags = 2};

	return guest_call(vcpu, KVM_SET_REGS, &regs);
}

static inline void guest_code(struct kvm_guest *g, const void *bytes, size_t len)
{
	memcpy(g->ram + GUEST_CODE, bytes, len);
}

#define guest_asm(g, ...)                                                                          \
	guest_code(g, (const unsigned char[]){__VA_ARGS__},                                        \
		   sizeof((const unsigned char[]){__VA_ARGS__}))

#endif /* MSLOT_TESTS_KVM_GUEST_H */
