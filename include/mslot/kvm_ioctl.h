/* SPDX-License-Identifier: MIT */
/*
 * mslot/kvm_ioctl.h - what `mslot kvm` adds to the ioctls of /dev/kvm.
 *
 * For programs that speak to /dev/kvm, whether a kernel answers or `mslot kvm`. A kernel knows
 * none of this: there the capability is 0, and the call fails with ENOTTY.
 */
#ifndef MSLOT_KVM_IOCTL_H
#define MSLOT_KVM_IOCTL_H

#include <linux/kvm.h>
#include <mslot/kvm.h>

/* KVM_CHECK_EXTENSION: how many entries a list may have, or 0: there are no lists. */
#define MSLOT_KVM_CAP_REGION_LIST 0x6d736c74

/*
 * Of a VM: several requests as one change, as mslot_kvm_set_user_memory_region_list(); the errno
 * are its own. EFAULT where the list is not readable.
 */
#define MSLOT_KVM_SET_USER_MEMORY_REGION_LIST _IOW(KVMIO, 0xfe, struct mslot_kvm_region_list)

#endif /* MSLOT_KVM_IOCTL_H */
