/* SPDX-License-Identifier: MIT */
/*
 * system.c - the calls of /dev/kvm itself, and what it can do.
 */
#include <errno.h>

#include <mslot/kvm_ioctl.h>

#include "client.h"
#include "fds.h"

/* A capability that is not here is 0. */
static const struct {
	uint32_t cap;
	int value;
} capabilities[] = {
    {KVM_CAP_IRQCHIP, 1},
    {KVM_CAP_HLT, 1},
    {KVM_CAP_USER_MEMORY, 1},
    {KVM_CAP_SET_TSS_ADDR, 1},
    {KVM_CAP_EXT_CPUID, 1},
    {KVM_CAP_NR_VCPUS, CLIENT_MAX_VCPUS},
    {KVM_CAP_NR_MEMSLOTS, MSLOT_DEFAULT_USER_SLOTS},
    {KVM_CAP_MP_STATE, 1},
    {KVM_CAP_SYNC_MMU, 1},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1},
    {KVM_CAP_INTERNAL_ERROR_DATA, 1},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, 1},
    {KVM_CAP_GET_TSC_KHZ, 1},
    {KVM_CAP_MAX_VCPUS, CLIENT_MAX_VCPUS},
    {KVM_CAP_READONLY_MEM, 1},
    {KVM_CAP_ENABLE_CAP_VM, 1},
    {KVM_CAP_CHECK_EXTENSION_VM, 1},
    {KVM_CAP_MULTI_ADDRESS_SPACE, CLIENT_SPACES},
    {KVM_CAP_MAX_VCPU_ID, CLIENT_MAX_VCPU_IDS},
    {KVM_CAP_IMMEDIATE_EXIT, 1},
    {KVM_CAP_GET_MSR_FEATURES, 1},
    {KVM_CAP_HALT_POLL, 1},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
     KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET},
    {KVM_CAP_DIRTY_LOG_RING, CLIENT_MAX_RING_BYTES},
    {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, CLIENT_MAX_RING_BYTES},
    {KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 1},
    {MSLOT_KVM_CAP_REGION_LIST, 1 << 20},
};

long system_check_extension(void *body, void *arg)
{
	const uint32_t cap = (uint32_t)(uintptr_t)arg;

	(void)body;
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		if (capabilities[i].cap == cap && (uintptr_t)arg == cap)
			return capabilities[i].value;
	return 0;
}

static long get_api_version(void *body, void *arg)
{
	(void)body;
	return arg ? -EINVAL : KVM_API_VERSION;
}

static long get_vcpu_mmap_size(void *body, void *arg)
{
	(void)body;
	return arg ? -EINVAL : (long)(CLIENT_RUN_PAGES * CLIENT_PAGE);
}

static long create_vm(void *body, void *arg)
{
	struct object *object;
	int fd, err;

	(void)body;
	if (arg)
		return -EINVAL;
	fd = fds_memfd(OBJECT_VM, 0, true);
	if (fd < 0)
		return fd;
	err = vm_create(&object);
	if (err) {
		fds_close_own(fd);
		return err;
	}
	err = fds_attach(fd, object);
	if (err) {
		fds_close_own(fd);
		object_put(object);
		return err;
	}
	return fd;
}

const struct call system_calls[] = {
    {KVM_CHECK_EXTENSION, false, false, system_check_extension},
    {KVM_GET_API_VERSION, false, false, get_api_version},
    {KVM_CREATE_VM, false, false, create_vm},
    {KVM_GET_VCPU_MMAP_SIZE, false, false, get_vcpu_mmap_size},
    {KVM_GET_SUPPORTED_CPUID, false, false, cpuid_supported},
    {KVM_GET_MSR_INDEX_LIST, false, false, msrs_index_list},
    {KVM_GET_MSR_FEATURE_INDEX_LIST, false, false, msrs_feature_list},
    {KVM_GET_MSRS, false, false, msrs_get_features},
    {0, false, false, NULL},
};
