/* SPDX-License-Identifier: MIT */
/* vm.c - a small virtual machine of /dev/kvm; see vm.h. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PML4_GPA 0x1000u
#define PDPT_GPA 0x2000u
#define PD_GPA 0x3000u

int client_call(int fd, const char *name, unsigned long request, uintptr_t arg)
{
	const int ret = ioctl(fd, request, arg);

	if (ret < 0) {
		perror(name);
		exit(1);
	}
	return ret;
}

static void *map(size_t len_bytes, int flags, int fd)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

void *client_memory(size_t len_bytes)
{
	return map(len_bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
}

void client_set_slot(struct client_vm *vm, const struct client_slot *slot)
{
	struct kvm_userspace_memory_region region = {
	    .slot = slot->slot,
	    .flags = slot->flags,
	    .guest_phys_addr = slot->gpa,
	    .memory_size = slot->len_bytes,
	    .userspace_addr = (uintptr_t)slot->host,
	};

	CLIENT_CALL(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void write_page_tables(uint8_t *ram)
{
	uint64_t *const pd = (uint64_t *)(void *)(ram + PD_GPA);
	const uint64_t pml4 = PDPT_GPA | 3, pdpt = PD_GPA | 3;

	memcpy(ram + PML4_GPA, &pml4, sizeof(pml4));
	memcpy(ram + PDPT_GPA, &pdpt, sizeof(pdpt));
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83; /* present, writable, 2 MiB */
}

static void enter_long_mode(struct client_vcpu *vcpu)
{
	const struct kvm_segment data = {.selector = 0x10,
					 .limit = 0xffffffff,
					 .type = 3,
					 .present = 1,
					 .s = 1,
					 .g = 1,
					 .db = 1};
	const struct kvm_segment code = {
	    .selector = 0x8, .limit = 0xffffffff, .type = 11, .present = 1, .s = 1, .g = 1, .l = 1};
	struct kvm_sregs sregs;

	CLIENT_CALL(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr0 = 0x80000011;
	sregs.cr3 = PML4_GPA;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cs = code;
	CLIENT_CALL(vcpu->fd, KVM_SET_SREGS, &sregs);
}

void client_start(struct client_vcpu *vcpu, const struct client_start *start)
{
	struct kvm_regs regs = {
	    .rip = CLIENT_CODE + start->offset,
	    .rcx = start->rcx,
	    .rsi = start->rsi,
	    .rdi = start->rdi,
	    .rflags = 2,
	};

	CLIENT_CALL(vcpu->fd, KVM_SET_REGS, &regs);
}

uint32_t client_run(struct client_vcpu *vcpu)
{
	int ret;

	do
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
	while (ret < 0 && errno == EINTR);
	if (ret < 0) {
		perror("KVM_RUN");
		exit(1);
	}
	return vcpu->run->exit_reason;
}

void client_vm_create(struct client_vm *vm, unsigned int nvcpus, size_t ram_bytes,
		      const struct client_code *code)
{
	const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	size_t run_bytes;

	if (kvm < 0) {
		perror("skipped: /dev/kvm");
		exit(CLIENT_SKIPPED);
	}
	vm->fd = CLIENT_CALL(kvm, KVM_CREATE_VM, 0);
	run_bytes = (size_t)CLIENT_CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	close(kvm);
	vm->ram = client_memory(ram_bytes);
	write_page_tables(vm->ram);
	memcpy(vm->ram + CLIENT_CODE, code->begin, (size_t)(code->end - code->begin));
	client_set_slot(vm, &(struct client_slot){.host = vm->ram, .len_bytes = ram_bytes});
	for (unsigned int i = 0; i < nvcpus; i++) {
		vm->vcpu[i].fd = CLIENT_CALL(vm->fd, KVM_CREATE_VCPU, i);
		vm->vcpu[i].run = map(run_bytes, MAP_SHARED, vm->vcpu[i].fd);
		enter_long_mode(&vm->vcpu[i]);
	}
}
