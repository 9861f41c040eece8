/* SPDX-License-Identifier: MIT */
/*
 * vm.c - VMs: what they are made of, and the calls that are not about memory.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>

#include <mslot/kvm_ioctl.h>

#include "faults.h"
#include "fds.h"
#include "stats.h"
#include "trace.h"

/* ---- Create and destroy ------------------------------------------------- */

static int make_parts(struct vm *vm)
{
	const struct mslot_map_options map_options = {.nspaces = CLIENT_SPACES};
	const struct mslot_root_options root_options = {.kind = MSLOT_ROOT_DIRECT, .levels = 4};
	int err;

	/* DELETE and MOVE wait for vCPUs, which enter rarely. Of all VMs the first decides. */
	(void)mslot_fence_readers();
	err = mslot_map_create(&map_options, &vm->map);
	if (!err)
		err = mslot_mmu_create(vm->map, NULL, &vm->mmu);
	if (!err)
		err = mslot_root_create(vm->mmu, &root_options, &vm->root);
	if (!err)
		err = stats_vm_begin(&vm->stats);
	return err;
}

int vm_create(struct object **out)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int err;

	if (!vm)
		return -ENOMEM;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->slots_lock, NULL);
	faults_install();
	err = make_parts(vm);
	if (!err) {
		vm->object = object_new(OBJECT_VM, vm);
		err = vm->object ? 0 : -ENOMEM;
	}
	if (err) {
		vm_destroy(vm);
		return err;
	}
	vm->trace = trace_begin();
	*out = vm->object;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	struct vcpu *vcpu;

	while (vm->vcpus) {
		vcpu = vm->vcpus;
		vm->vcpus = vcpu->next;
		vcpu_destroy(vcpu);
	}
	trace_end(vm->trace);
	if (vm->stats) {
		stats_vm_memory(vm);
		stats_vm_end(vm->stats);
	}
	mslot_root_destroy(vm->root);
	if (vm->mmu)
		mslot_mmu_destroy(vm->mmu);
	mslot_map_destroy(vm->map);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->slots_lock);
	free(vm);
}

/* ---- Calls -------------------------------------------------------------- */

static long create_vcpu(void *body, void *arg)
{
	struct vm *vm = body;
	const uint32_t id = (uint32_t)(uintptr_t)arg;
	long ret = -EINVAL;

	if ((uintptr_t)arg >= CLIENT_MAX_VCPU_IDS)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (vm->nvcpus < CLIENT_MAX_VCPUS && (!vm->vcpu_ids || id < vm->vcpu_ids))
		ret = vcpu_create(vm, id);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

/* There are no interrupts; what it changes is that HLT waits instead of telling the program. */
static long create_irqchip(void *body, void *arg)
{
	struct vm *vm = body;
	long ret = 0;

	(void)arg;
	pthread_mutex_lock(&vm->lock);
	if (vm->irqchip)
		ret = -EEXIST;
	else if (vm->nvcpus > 0)
		ret = -EINVAL;
	else
		vm->irqchip = true;
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

/* Where a processor without real mode would keep what it needs for it: ours does not. */
static long set_tss_addr(void *body, void *arg)
{
	(void)body;
	return (uintptr_t)arg > UINT32_MAX - 3 * CLIENT_PAGE + 1 ? -EINVAL : 0;
}

static long set_identity_map_addr(void *body, void *arg)
{
	struct vm *vm = body;
	long ret;

	(void)arg;
	pthread_mutex_lock(&vm->lock);
	ret = vm->nvcpus > 0 ? -EINVAL : 0;
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static long set_nr_mmu_pages(void *body, void *arg)
{
	struct vm *vm = body;

	if ((uintptr_t)arg < 64)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	vm->mmu_pages = (uint64_t)(uintptr_t)arg;
	mslot_mmu_limit_set(vm->mmu, vm->mmu_pages);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

static long get_nr_mmu_pages(void *body, void *arg)
{
	struct mslot_mmu_stats stats;
	struct vm *vm = body;

	(void)arg;
	mslot_mmu_stats_get(vm->mmu, &stats);
	return (long)(stats.max_tables & INT32_MAX);
}

/* Once, but again with the same number. */
static long limit_vcpu_ids(struct vm *vm, const struct kvm_enable_cap *cap)
{
	long ret = -EINVAL;

	if (cap->flags || cap->args[0] > CLIENT_MAX_VCPU_IDS)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (!vm->vcpu_ids || vm->vcpu_ids == cap->args[0]) {
		vm->vcpu_ids = (uint32_t)cap->args[0];
		ret = 0;
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static long enable_cap(void *body, void *arg)
{
	const struct kvm_enable_cap *cap = arg;

	/* How long a halted vCPU spins: ours never does. */
	if (cap->cap == KVM_CAP_HALT_POLL)
		return cap->flags || cap->args[0] != (uint32_t)cap->args[0] ? -EINVAL : 0;
	if (cap->cap == KVM_CAP_MAX_VCPU_ID)
		return limit_vcpu_ids(body, cap);
	return memory_enable_cap(body, cap);
}

const struct call vm_calls[] = {
    {KVM_SET_USER_MEMORY_REGION, true, false, memory_set_region},
    {KVM_GET_DIRTY_LOG, true, false, memory_get_log},
    {KVM_CLEAR_DIRTY_LOG, true, false, memory_clear_log},
    {KVM_RESET_DIRTY_RINGS, false, false, memory_reset_rings},
    {KVM_CREATE_VCPU, false, false, create_vcpu},
    {KVM_CHECK_EXTENSION, false, false, system_check_extension},
    {KVM_ENABLE_CAP, true, false, enable_cap},
    {KVM_CREATE_IRQCHIP, false, false, create_irqchip},
    {KVM_SET_TSS_ADDR, false, false, set_tss_addr},
    {KVM_SET_IDENTITY_MAP_ADDR, true, false, set_identity_map_addr},
    {KVM_SET_NR_MMU_PAGES, false, false, set_nr_mmu_pages},
    {KVM_GET_NR_MMU_PAGES, false, false, get_nr_mmu_pages},
    {(uint32_t)MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, false, false, memory_set_region_list},
    {0, false, false, NULL},
};
