/* SPDX-License-Identifier: MIT */
/* kvm_client_fixture.h - the KVM client without its preloaded functions, and a VM in it. */
#ifndef MSLOT_TESTS_KVM_CLIENT_FIXTURE_H
#define MSLOT_TESTS_KVM_CLIENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "client.h"
#include "fds.h"

/* A struct of KVM's that ends in an array, with room for n entries of that. */
#define WITH_ENTRIES(type, entry, n)                                                               \
	union {                                                                                    \
		struct type head;                                                                  \
		unsigned char room[sizeof(struct type) + (n) * sizeof(struct entry)];              \
	}

/* ioctl() as shim.c has it; the negative errno instead of -1. */
static inline long call(int fd, unsigned long request, unsigned long arg)
{
	struct object *object = fds_get(fd);
	long ret;

	if (!object)
		return -EBADF;
	ret = kvm_client_ioctl(object, request, arg);
	object_put(object);
	return ret;
}

static inline void end(int fd)
{
	struct object *object = fds_forget(fd);

	assert_non_null(object);
	assert_int_equal(close(fd), 0);
	object_put(object);
}

#define guest_call(fd, request, arg) call(fd, request, (uintptr_t)(arg))

#include "kvm_guest.h"

static inline int make_dev(void)
{
	int fd = client_open(O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline int make_vcpu_fd(int vm, unsigned long id)
{
	long fd = call(vm, KVM_CREATE_VCPU, id);

	assert_true(fd >= 0);
	return (int)fd;
}

static inline struct kvm_run *map_run(int vcpu)
{
	struct kvm_run *run = mmap(NULL, (size_t)CLIENT_RUN_PAGES * CLIENT_PAGE,
				   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	assert_true(run != MAP_FAILED);
	return run;
}

/* ring_bytes: rings for its vCPUs; irqchip: HLT sleeps. */
static inline void guest_begin(struct kvm_guest *g, uint64_t ring_bytes, bool irqchip)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {ring_bytes}};

	g->dev = make_dev();
	g->vm = (int)call(g->dev, KVM_CREATE_VM, 0);
	assert_true(g->vm >= 0);
	if (ring_bytes)
		assert_int_equal(guest_call(g->vm, KVM_ENABLE_CAP, &cap), 0);
	if (irqchip)
		assert_int_equal(call(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	g->vcpu = make_vcpu_fd(g->vm, 0);
	g->run = map_run(g->vcpu);
	assert_int_equal(guest_make_ram(g), 0);
	assert_int_equal(guest_long_mode(g->vcpu), 0);
	assert_int_equal(guest_restart(g->vcpu, GUEST_CODE), 0);
}

static inline void guest_end(struct kvm_guest *g)
{
	end(g->vcpu);
	end(g->vm);
	end(g->dev);
	assert_int_equal(munmap(g->run, (size_t)CLIENT_RUN_PAGES * CLIENT_PAGE), 0);
	assert_int_equal(munmap(g->ram, GUEST_BYTES), 0);
}

static inline long run_vcpu(const struct kvm_guest *g)
{
	return call(g->vcpu, KVM_RUN, 0);
}

static inline struct kvm_regs regs_of(int vcpu)
{
	struct kvm_regs regs;

	assert_int_equal(guest_call(vcpu, KVM_GET_REGS, &regs), 0);
	return regs;
}

#endif /* MSLOT_TESTS_KVM_CLIENT_FIXTURE_H */
