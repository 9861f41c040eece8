/* SPDX-License-Identifier: MIT */
/*
 * cpuid.c - what CPUID can answer, and what it does answer for a vCPU.
 *
 * The features are those of the interpreter (docs/cpu.md), not the host's: a guest that looks sees
 * the same processor everywhere.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cpu.h>

/* Leaf 1, EDX: FPU PSE TSC MSR PAE CX8 SEP PGE CMOV PAT CLFSH FXSR SSE SSE2; leaf 1, ECX: SSE3,
 * CX16, and that there is a hypervisor. */
#define FEATURES_1D 0x0709a979u
#define FEATURES_1C (1u << 0 | 1u << 13 | 1u << 31)
/* Those of leaf 1 that leaf 0x80000001 repeats, SYSCALL, NX, 1 GiB pages, RDTSCP, long mode. */
#define FEATURES_X1D 0x2c100800u
#define FEATURES_X1C 1u

static const struct kvm_cpuid_entry2 supported[] = {
    {.function = 0, .eax = 7, .ebx = 0x756e6547, .edx = 0x49656e69, .ecx = 0x6c65746e},
    {.function = 1, .eax = 0x000506e3, .ebx = 0x800, .ecx = FEATURES_1C, .edx = FEATURES_1D},
    {.function = 7, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX},
    {.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d},
    {.function = 0x40000001},
    {.function = 0x80000000, .eax = 0x80000008},
    {.function = 0x80000001, .ecx = FEATURES_X1C, .edx = FEATURES_X1D},
    /* "mslot interpreter", as the brand's 48 bytes. */
    {.function = 0x80000002,
     .eax = 0x6f6c736d,
     .ebx = 0x6e692074,
     .ecx = 0x70726574,
     .edx = 0x65746572},
    {.function = 0x80000003, .eax = 0x72},
    {.function = 0x80000004},
    {.function = 0x80000008, .eax = 48u << 8 | CLIENT_PHYSICAL_BITS},
};

#define NSUPPORTED ((uint32_t)(sizeof(supported) / sizeof(supported[0])))

long cpuid_supported(void *body, void *arg)
{
	struct kvm_cpuid2 head = {.nent = 0};

	(void)body;
	if (user_read(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nent < NSUPPORTED)
		return -E2BIG;
	head.nent = NSUPPORTED;
	if (user_write(USER_MEMBER(struct kvm_cpuid2, arg, entries), supported, sizeof(supported)))
		return -EFAULT;
	return user_write(arg, &head, sizeof(head));
}

long cpuid_get(void *body, void *arg)
{
	const struct vcpu *vcpu = body;
	struct kvm_cpuid2 head = {.nent = 0};

	if (user_read(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nent < vcpu->ncpuid)
		return -E2BIG;
	if (vcpu->ncpuid && user_write(USER_MEMBER(struct kvm_cpuid2, arg, entries), vcpu->cpuid,
				       vcpu->ncpuid * sizeof(*vcpu->cpuid)))
		return -EFAULT;
	head.nent = vcpu->ncpuid;
	return user_write(arg, &head, sizeof(head));
}

static int give_to_cpu(struct vcpu *vcpu, const struct kvm_cpuid_entry2 *entries, uint32_t n)
{
	struct cpu_cpuid *rows = calloc(n + 1, sizeof(*rows));
	int err;

	if (!rows)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		rows[i] = (struct cpu_cpuid){
		    .leaf = entries[i].function,
		    .subleaf = entries[i].index,
		    .by_subleaf = entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		    .eax = entries[i].eax,
		    .ebx = entries[i].ebx,
		    .ecx = entries[i].ecx,
		    .edx = entries[i].edx,
		};
	err = cpu_cpuid_set(vcpu->cpu, rows, n);
	free(rows);
	return err;
}

/* After guest code has run it may be set again, but not changed. */
static int set_entries(struct vcpu *vcpu, struct kvm_cpuid_entry2 *entries, uint32_t n)
{
	int err = 0;

	if (vcpu->ran)
		return n == vcpu->ncpuid &&
			       (n == 0 || memcmp(entries, vcpu->cpuid, n * sizeof(*entries)) == 0)
			   ? 0
			   : -EINVAL;
	err = give_to_cpu(vcpu, entries, n);
	if (err)
		return err;
	free(vcpu->cpuid);
	vcpu->cpuid = entries;
	vcpu->ncpuid = n;
	return 1;
}

long cpuid_set(void *body, void *arg)
{
	struct kvm_cpuid_entry2 *entries;
	struct vcpu *vcpu = body;
	struct kvm_cpuid2 head = {.nent = 0};
	int ret;

	if (user_read(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nent > CLIENT_MAX_CPUID)
		return -E2BIG;
	entries = calloc(head.nent + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	ret = user_read(entries, USER_MEMBER(struct kvm_cpuid2, arg, entries),
			head.nent * sizeof(*entries));
	if (!ret)
		ret = set_entries(vcpu, entries, head.nent);
	/* 1: the vCPU has them now. */
	if (ret != 1)
		free(entries);
	return ret == 1 ? 0 : ret;
}
