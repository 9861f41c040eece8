/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - vCPUs: what they are made of, and the calls that are neither registers nor KVM_RUN.
 *
 * A vCPU's descriptor is a memfd of three pages, as KVM's can be mapped, and from page
 * KVM_DIRTY_LOG_PAGE_OFFSET on its dirty ring, if there is one. The library puts the ring's entries
 * there itself.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cpu.h>

#include "fds.h"
#include "stats.h"

#define RING_AT ((size_t)KVM_DIRTY_LOG_PAGE_OFFSET * CLIENT_PAGE)

#define APIC_BASE_BSP (UINT64_C(1) << 8)

_Static_assert(sizeof(struct kvm_run) <= CLIENT_PAGE, "kvm_run is the first page");

/* ---- Create and destroy ------------------------------------------------- */

static void attend(void *cpu)
{
	cpu_attend(cpu, false);
}

/* Called when the library wants the vCPU's thread; the CPU is there before anybody runs it. */
static void kick(void *ctx)
{
	const struct vcpu *vcpu = ctx;

	attend(vcpu->cpu);
}

/* As the program maps them; not through shim.c. */
static void *map_pages(int fd, size_t offset, size_t len_bytes)
{
	void *at = (void *)syscall(SYS_mmap, NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				   fd, (off_t)offset);

	return at == MAP_FAILED ? NULL : at;
}

static int make_pages(struct vcpu *vcpu)
{
	const size_t bytes =
	    vcpu->ring_bytes ? RING_AT + vcpu->ring_bytes : (size_t)CLIENT_RUN_PAGES * CLIENT_PAGE;

	vcpu->spare_fd = fds_memfd(OBJECT_VCPU, bytes, true);
	if (vcpu->spare_fd < 0)
		return vcpu->spare_fd;
	vcpu->pages = map_pages(vcpu->spare_fd, 0, (size_t)CLIENT_RUN_PAGES * CLIENT_PAGE);
	if (vcpu->pages && vcpu->ring_bytes)
		vcpu->ring = map_pages(vcpu->spare_fd, RING_AT, vcpu->ring_bytes);
	if (!vcpu->pages || (vcpu->ring_bytes && !vcpu->ring))
		return -ENOMEM;
	vcpu->run = (struct kvm_run *)(void *)vcpu->pages;
	return 0;
}

static int make_processor(struct vcpu *vcpu)
{
	const struct mslot_vcpu_options opt = {
	    .kick = kick, .ctx = vcpu, .ring_memory = vcpu->ring};
	struct cpu_options cpu_options = {.root = vcpu->vm->root};
	int err = mslot_vcpu_create(vcpu->vm->map, &opt, &vcpu->handle);

	if (!err)
		err = mslot_vcpu_root_set(vcpu->handle, vcpu->vm->root);
	cpu_options.vcpu = vcpu->handle;
	if (!err)
		err = cpu_create(&cpu_options, &vcpu->cpu);
	if (!err && vcpu->id != 0)
		cpu_state(vcpu->cpu)->msr.apic_base &= ~APIC_BASE_BSP;
	return err;
}

/* What memory and processor are made of; the descriptor stays in spare_fd. */
static struct vcpu *make(struct vm *vm, uint32_t id, int *err)
{
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));

	*err = -ENOMEM;
	if (!vcpu)
		return NULL;
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->spare_fd = -1;
	vcpu->ring_bytes = atomic_load(&vm->ring_bytes);
	vcpu->budget = 4096;
	vcpu->fpu.fcw = 0x37f;
	vcpu->fpu.mxcsr = 0x1f80;
	vcpu->mp_state =
	    vm->irqchip && id != 0 ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	pthread_mutex_init(&vcpu->mutex, NULL);
	*err = make_pages(vcpu);
	if (!*err)
		*err = make_processor(vcpu);
	if (*err) {
		if (vcpu->spare_fd >= 0)
			fds_close_own(vcpu->spare_fd);
		vcpu_destroy(vcpu);
		return NULL;
	}
	return vcpu;
}

static bool id_taken(const struct vm *vm, uint32_t id)
{
	for (const struct vcpu *vcpu = vm->vcpus; vcpu; vcpu = vcpu->next)
		if (vcpu->id == id)
			return true;
	return false;
}

int vcpu_create(struct vm *vm, uint32_t id)
{
	struct object *object;
	struct vcpu *vcpu;
	int err, fd;

	if (id_taken(vm, id))
		return -EEXIST;
	vcpu = make(vm, id, &err);
	if (!vcpu)
		return err;
	fd = vcpu->spare_fd;
	vcpu->spare_fd = -1;
	object = object_new(OBJECT_VCPU, vcpu);
	if (object)
		object_get(vm->object);
	err = object ? fds_attach(fd, object) : -ENOMEM;
	if (err) {
		fds_close_own(fd);
		if (object)
			object_put(object);
		vcpu_destroy(vcpu);
		return err;
	}
	vcpu->next = vm->vcpus;
	vm->vcpus = vcpu;
	vm->nvcpus++;
	stats_vcpu_made(vm->stats);
	return fd;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	cpu_destroy(vcpu->cpu);
	mslot_vcpu_destroy(vcpu->handle);
	if (vcpu->pages)
		syscall(SYS_munmap, vcpu->pages, (size_t)CLIENT_RUN_PAGES * CLIENT_PAGE);
	if (vcpu->ring)
		syscall(SYS_munmap, vcpu->ring, vcpu->ring_bytes);
	pthread_mutex_destroy(&vcpu->mutex);
	free(vcpu->cpuid);
	free(vcpu);
}

/* ---- Calls -------------------------------------------------------------- */

static long get_mp_state(void *body, void *arg)
{
	const struct vcpu *vcpu = body;

	*(struct kvm_mp_state *)arg = (struct kvm_mp_state){.mp_state = vcpu->mp_state};
	return 0;
}

static long set_mp_state(void *body, void *arg)
{
	const uint32_t state = ((const struct kvm_mp_state *)arg)->mp_state;
	struct vcpu *vcpu = body;

	switch (state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	/* None of these runs: the last two wait for another vCPU's interrupt, which never comes. */
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_AP_RESET_HOLD:
		if (vcpu->vm->irqchip)
			break;
		return -EINVAL;
	default:
		return -EINVAL;
	}
	vcpu->mp_state = state;
	return 0;
}

/* A set of the kernel's size, 8 bytes; none gives the thread's own back. */
static long set_signal_mask(void *body, void *arg)
{
	struct kvm_signal_mask head = {.len = 0};
	struct vcpu *vcpu = body;
	uint64_t set = 0;

	if (!arg) {
		vcpu->sigmask_set = false;
		return 0;
	}
	if (user_read(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.len != sizeof(set))
		return -EINVAL;
	if (user_read(&set, USER_MEMBER(struct kvm_signal_mask, arg, sigset), sizeof(set)))
		return -EFAULT;
	vcpu->sigmask = set;
	vcpu->sigmask_set = true;
	return 0;
}

const struct call vcpu_calls[] = {
    {KVM_RUN, false, false, vcpu_run},
    {KVM_GET_REGS, false, true, state_get_regs},
    {KVM_SET_REGS, true, false, state_set_regs},
    {KVM_GET_SREGS, false, true, state_get_sregs},
    {KVM_SET_SREGS, true, false, state_set_sregs},
    {KVM_GET_FPU, false, true, state_get_fpu},
    {KVM_SET_FPU, true, false, state_set_fpu},
    {KVM_GET_MSRS, false, false, msrs_get},
    {KVM_SET_MSRS, false, false, msrs_set},
    {KVM_SET_CPUID2, false, false, cpuid_set},
    {KVM_GET_CPUID2, false, false, cpuid_get},
    {KVM_GET_MP_STATE, false, true, get_mp_state},
    {KVM_SET_MP_STATE, true, false, set_mp_state},
    {KVM_SET_SIGNAL_MASK, false, false, set_signal_mask},
    {KVM_TRANSLATE, true, true, state_translate},
    {KVM_GET_TSC_KHZ, false, false, msrs_tsc_khz},
    {0, false, false, NULL},
};
