/* SPDX-License-Identifier: MIT */
/*
 * vm.h - a small virtual machine of /dev/kvm for programs that test or measure what serves it.
 *
 * RAM from guest-physical 0, the first GiB of linear addresses mapped to themselves, 64-bit mode,
 * code of the program's at CLIENT_CODE. What fails ends the program with status 1 and says what.
 */
#ifndef MSLOT_TESTS_CLIENTS_VM_H
#define MSLOT_TESTS_CLIENTS_VM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_PAGE 4096u
#define CLIENT_CODE 0x4000u
#define CLIENT_MAX_VCPUS_USED 4u
#define CLIENT_SKIPPED 77

struct client_vcpu {
	int fd;
	struct kvm_run *run;
};

struct client_vm {
	int fd;
	struct client_vcpu vcpu[CLIENT_MAX_VCPUS_USED];
	uint8_t *ram;
};

struct client_code {
	const char *begin, *end;
};

/* Ends the program with status 77 where /dev/kvm cannot be opened. RAM is slot 0. */
void client_vm_create(struct client_vm *vm, unsigned int nvcpus, size_t ram_bytes,
		      const struct client_code *code);

/* Memory of the process that is there already. */
void *client_memory(size_t len_bytes);

struct client_slot {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	void *host;
	uint64_t len_bytes; /* 0 deletes */
};

void client_set_slot(struct client_vm *vm, const struct client_slot *slot);

/* What the guest finds in registers when it begins at an offset of its code. */
struct client_start {
	uint64_t offset;
	uint64_t rcx, rsi, rdi;
};

void client_start(struct client_vcpu *vcpu, const struct client_start *start);

/* KVM_RUN; returns why it stopped. */
uint32_t client_run(struct client_vcpu *vcpu);

/* Any request; returns what the call returns, which is not negative. */
int client_call(int fd, const char *name, unsigned long request, uintptr_t arg);
#define CLIENT_CALL(fd, request, arg) client_call(fd, #request, request, (uintptr_t)(arg))

#endif /* MSLOT_TESTS_CLIENTS_VM_H */
