/* SPDX-License-Identifier: MIT */
/*
 * fuzz_kvm_ioctl.c - ioctls of the KVM client in any order, with any arguments.
 *
 * There is no twin: nothing may crash or leak, each errno is one that the table of requests has
 * for it, and maps and MMUs stay whole. Guest code is a few instructions in RAM that is full of
 * HLT otherwise, so that each run ends. Slots show memory of ours, or none: what a program gives to
 * its guest the guest may write to.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <mslot/kvm_ioctl.h>

#include "client.h"
#include "fds.h"
#include "fuzz.h"

#define MAX_FDS 12u
#define MAX_OPS 48u
#define RAM_BYTES UINT64_C(0x40000)
#define BUFFER_BYTES 8192u

/* What an argument is made of. */
enum shape { NUMBER, BYTES, REGION, LIST, SREGS, REGS };

#define ERRNOS_MAX 5u

struct request {
	unsigned long request;
	enum shape shape;
	int errnos[ERRNOS_MAX]; /* beside EFAULT, which each that takes a struct may have */
};

static const struct request dev_requests[] = {
    {KVM_CHECK_EXTENSION, NUMBER, {0}},
    {KVM_GET_API_VERSION, NUMBER, {EINVAL}},
    {KVM_CREATE_VM, NUMBER, {EINVAL}},
    {KVM_GET_VCPU_MMAP_SIZE, NUMBER, {EINVAL}},
    {KVM_GET_SUPPORTED_CPUID, BYTES, {E2BIG}},
    {KVM_GET_MSR_INDEX_LIST, BYTES, {E2BIG}},
    {KVM_GET_MSR_FEATURE_INDEX_LIST, BYTES, {E2BIG}},
    {KVM_GET_MSRS, BYTES, {E2BIG}},
};

static const struct request vm_requests[] = {
    {KVM_SET_USER_MEMORY_REGION, REGION, {EINVAL, EEXIST}},
    {KVM_SET_USER_MEMORY_REGION, REGION, {EINVAL, EEXIST}},
    {MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, LIST, {EINVAL, EEXIST, E2BIG, ENOMEM}},
    {KVM_GET_DIRTY_LOG, BYTES, {EINVAL, ENOENT, ENXIO}},
    {KVM_CLEAR_DIRTY_LOG, BYTES, {EINVAL, ENOENT, ENXIO}},
    {KVM_RESET_DIRTY_RINGS, NUMBER, {EINVAL}},
    {KVM_CREATE_VCPU, NUMBER, {EINVAL, EEXIST}},
    {KVM_CHECK_EXTENSION, NUMBER, {0}},
    {KVM_ENABLE_CAP, BYTES, {EINVAL, E2BIG}},
    {KVM_CREATE_IRQCHIP, NUMBER, {EINVAL, EEXIST}},
    {KVM_SET_TSS_ADDR, NUMBER, {EINVAL}},
    {KVM_SET_IDENTITY_MAP_ADDR, BYTES, {EINVAL}},
    {KVM_SET_NR_MMU_PAGES, NUMBER, {EINVAL}},
    {KVM_GET_NR_MMU_PAGES, NUMBER, {0}},
};

static const struct request vcpu_requests[] = {
    {KVM_RUN, NUMBER, {EINVAL, EINTR, EFAULT, ENOMEM}},
    {KVM_RUN, NUMBER, {EINVAL, EINTR, EFAULT, ENOMEM}},
    {KVM_GET_REGS, BYTES, {0}},
    {KVM_SET_REGS, REGS, {0}},
    {KVM_GET_SREGS, BYTES, {0}},
    {KVM_SET_SREGS, SREGS, {EINVAL}},
    {KVM_GET_FPU, BYTES, {0}},
    {KVM_SET_FPU, BYTES, {0}},
    {KVM_GET_MSRS, BYTES, {E2BIG}},
    {KVM_SET_MSRS, BYTES, {E2BIG}},
    {KVM_SET_CPUID2, BYTES, {E2BIG, EINVAL}},
    {KVM_GET_CPUID2, BYTES, {E2BIG}},
    {KVM_GET_MP_STATE, BYTES, {0}},
    {KVM_SET_MP_STATE, BYTES, {EINVAL}},
    {KVM_SET_SIGNAL_MASK, BYTES, {EINVAL}},
    {KVM_TRANSLATE, BYTES, {0}},
    {KVM_GET_TSC_KHZ, NUMBER, {0}},
};

#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

struct world {
	struct input in;
	int fd[MAX_FDS];
	uint32_t nfds;
};

/* RAM, then address space without memory; and a buffer whose end is the end of its memory. */
static uint8_t *ram;
static uint8_t *buffer;

/* ---- Arguments ---------------------------------------------------------- */

static void fill(struct input *in, void *to, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes && in->left > 0; i++)
		((uint8_t *)to)[i] = in_u8(in);
}

static void fill_region(struct input *in, struct kvm_userspace_memory_region *region)
{
	const uint32_t choice = in_u8(in);

	*region = (struct kvm_userspace_memory_region){
	    .slot = in_below(in, 4) | (choice & 1) << 16,
	    .flags = in_below(in, 5),
	    .guest_phys_addr = in_below(in, 80) * UINT64_C(0x1000),
	    .memory_size = in_below(in, 65) * UINT64_C(0x1000),
	    .userspace_addr = (uintptr_t)ram + in_below(in, 65) * UINT64_C(0x1000),
	};
	if (choice >= 0xf0)
		region->guest_phys_addr = in_uint(in, 8);
	if (choice >= 0xd0 && choice < 0xf0)
		/* Nothing of ours is up there. */
		region->userspace_addr = in_uint(in, 8) | UINT64_C(1) << 47;
	if (choice >= 0xe0 && choice < 0xf0)
		region->memory_size = in_uint(in, 8);
}

static void fill_list(struct input *in, struct mslot_kvm_region_list *list)
{
	struct kvm_userspace_memory_region region;

	list->nent = in_below(in, 5);
	for (uint32_t i = 0; i < list->nent; i++) {
		fill_region(in, &region);
		list->entries[i] = (struct mslot_kvm_region_entry){
		    .slot = region.slot,
		    .flags = region.flags,
		    .guest_phys_addr = region.guest_phys_addr,
		    .memory_size = region.memory_size,
		    .userspace_addr = region.userspace_addr,
		    .invalidate_slot = in_u8(in) & 1,
		};
	}
	if (in_chance(in, 16))
		list->nent = (uint32_t)in_uint(in, 4);
}

/* Long mode, with something wrong now and then. */
static void fill_sregs(struct input *in, struct kvm_sregs *sregs)
{
	sregs->cs = (struct kvm_segment){.type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	sregs->ss = (struct kvm_segment){.type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	sregs->cr3 = 0x1000;
	sregs->cr4 = 0x620;
	sregs->cr0 = 0x80000033;
	sregs->efer = 0x500;
	if (in_chance(in, 96))
		fill(in, (uint8_t *)sregs + in_below(in, 156) * 2u, 1 + in_below(in, 8));
}

/* A buffer that holds what `shape` says; its address. */
static unsigned long make_argument(struct world *w, enum shape shape)
{
	const uint8_t choice = in_u8(&w->in);
	uint8_t *at = buffer;

	if (choice < 8)
		return choice < 4 ? 0 : 8;
	memset(buffer, 0, BUFFER_BYTES);
	switch (shape) {
	case NUMBER:
		return choice < 0xe0 ? (uint64_t)in_u8(&w->in) >> (choice & 7) : in_uint(&w->in, 8);
	case REGION:
		fill_region(&w->in, (void *)at);
		break;
	case LIST:
		fill_list(&w->in, (void *)at);
		break;
	case SREGS:
		fill_sregs(&w->in, (void *)at);
		break;
	case REGS:
		*(struct kvm_regs *)(void *)at =
		    (struct kvm_regs){.rip = 0x4000 + in_below(&w->in, 32), .rsp = 0x30000};
		((struct kvm_regs *)(void *)at)->rax = in_uint(&w->in, 3);
		break;
	case BYTES:
	default:
		fill(&w->in, at, 4 + choice % 32u);
	}
	/* The end of the struct may be where no memory is. */
	if (choice < 16) {
		at = buffer + BUFFER_BYTES - choice;
		memmove(at, buffer, choice);
	}
	return (uintptr_t)at;
}

/* ---- Runs --------------------------------------------------------------- */

/* Instructions that each end, or go on with HLT. */
static const uint8_t snippets[][8] = {
    {0xee, 0xf4},                                     /* out %al,(%dx) */
    {0xed, 0xf4},                                     /* in (%dx),%eax */
    {0x48, 0x8b, 0x00, 0xf4},                         /* mov (%rax),%rax */
    {0x48, 0x89, 0x00, 0xf4},                         /* mov %rax,(%rax) */
    {0x48, 0x89, 0x04, 0x25, 0xff, 0x0f, 0x02, 0x00}, /* across a page */
    {0x0f, 0xa2, 0xf4},                               /* cpuid */
    {0x0f, 0x0b, 0xf4},                               /* ud2 */
    {0x0f, 0x20, 0xc0, 0xf4},                         /* mov %cr0,%rax */
    {0xf4},
};

static void make_ram(void)
{
	uint64_t *const table = (uint64_t *)(void *)(ram + 0x1000);

	memset(ram, 0xf4, RAM_BYTES);
	memset(ram + 0x1000, 0, 0x3000);
	table[0] = 0x2003;
	table[512] = 0x3003;
	table[1024] = 0x83;
	table[1025] = UINT64_C(1) << 52 | 0x83;
	for (uint32_t i = 0; i < COUNT(snippets); i++)
		memcpy(ram + 0x4000 + i * 8u, snippets[i], sizeof(snippets[i]));
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* With an irqchip HLT sleeps: a signal is pending, which ends the run before it begins. */
static void before_run(struct world *w, struct object *object)
{
	struct vcpu *vcpu = object->body;
	const struct itimerval limit = {.it_value = {.tv_sec = 1}};

	/* What is not covered is not news here. */
	vcpu->said = true;
	vcpu->run->immediate_exit = in_chance(&w->in, 48);
	vcpu->run->kvm_valid_regs = in_chance(&w->in, 8);
	if (vcpu->vm->irqchip) {
		vcpu->sigmask = 0;
		vcpu->sigmask_set = true;
		raise(SIGUSR1);
	} else {
		vcpu->sigmask_set = false;
		setitimer(ITIMER_REAL, &limit, NULL);
	}
}

static void after_run(void)
{
	const struct itimerval none = {.it_value = {.tv_sec = 0}};

	setitimer(ITIMER_REAL, &none, NULL);
}

/* ---- Operations --------------------------------------------------------- */

static bool allowed(const struct request *r, long err)
{
	for (uint32_t i = 0; i < ERRNOS_MAX; i++)
		if (r->errnos[i] && r->errnos[i] == err)
			return true;
	return r->shape != NUMBER && err == EFAULT;
}

static bool makes_fd(const struct request *r)
{
	return r->request == KVM_CREATE_VM || r->request == KVM_CREATE_VCPU;
}

static void close_fd(int fd)
{
	struct object *object = fds_forget(fd);

	FUZZ_REQUIRE(object && close(fd) == 0);
	object_put(object);
}

static void call(struct world *w, struct object *object, const struct request *r)
{
	const unsigned long arg = make_argument(w, r->shape);
	const bool runs = object->kind == OBJECT_VCPU && r->request == KVM_RUN;
	long ret;

	if (runs)
		before_run(w, object);
	ret = kvm_client_ioctl(object, r->request | (in_chance(&w->in, 32) ? ~0ul << 32 : 0), arg);
	if (runs)
		after_run();
	if (ret < 0 && !allowed(r, -ret))
		fuzz_fail("request %#lx: %s", r->request, strerror((int)-ret));
	if (ret < 0 || !makes_fd(r))
		return;
	if (w->nfds < MAX_FDS)
		w->fd[w->nfds++] = (int)ret;
	else
		close_fd((int)ret);
}

static void operate(struct world *w)
{
	static const struct {
		const struct request *requests;
		uint32_t n;
	} tables[] = {[OBJECT_SYSTEM] = {dev_requests, COUNT(dev_requests)},
		      [OBJECT_VM] = {vm_requests, COUNT(vm_requests)},
		      [OBJECT_VCPU] = {vcpu_requests, COUNT(vcpu_requests)}};
	const uint32_t i = in_below(&w->in, w->nfds);
	struct object *object = fds_get(w->fd[i]);
	const uint32_t choice = in_u8(&w->in);
	const struct request *r;

	FUZZ_REQUIRE(object);
	r = &tables[object->kind].requests[choice % tables[object->kind].n];
	if (choice >= 0xfc && i > 0) {
		close_fd(w->fd[i]);
		w->fd[i] = w->fd[--w->nfds];
	} else if (choice >= 0xf8) {
		FUZZ_REQUIRE(kvm_client_ioctl(object, _IO(KVMIO, 0xfd), choice) == -ENOTTY);
	} else {
		call(w, object, r);
	}
	object_put(object);
}

static void check_vm(int fd)
{
	struct object *object = fds_get(fd);
	const char *why = "";
	struct vm *vm;

	if (object->kind == OBJECT_VM) {
		vm = object->body;
		fuzz_check_map(vm->map);
		if (mslot_check_mmu(vm->mmu, &why))
			fuzz_fail("mslot_check_mmu: %s", why);
	}
	object_put(object);
}

static void setup(void)
{
	const struct sigaction act = {.sa_handler = on_alarm};
	sigset_t set;

	ram = mmap(NULL, 2 * RAM_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	buffer = mmap(NULL, 2 * BUFFER_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FUZZ_REQUIRE(ram != MAP_FAILED && buffer != MAP_FAILED);
	FUZZ_REQUIRE(mprotect(ram, RAM_BYTES, PROT_READ | PROT_WRITE) == 0);
	FUZZ_REQUIRE(mprotect(buffer, BUFFER_BYTES, PROT_READ | PROT_WRITE) == 0);
	FUZZ_REQUIRE(sigaction(SIGALRM, &act, NULL) == 0 && sigaction(SIGUSR1, &act, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {.in = {data, size}, .nfds = 3};
	struct request create = {.request = KVM_CREATE_VM};

	if (!ram)
		setup();
	make_ram();
	w.fd[0] = client_open(O_CLOEXEC);
	for (uint32_t i = 0; i < 2; i++, create.request = KVM_CREATE_VCPU) {
		struct object *object = fds_get(w.fd[i]);

		FUZZ_REQUIRE(object);
		w.fd[i + 1] = (int)kvm_client_ioctl(object, create.request, 0);
		FUZZ_REQUIRE(w.fd[i + 1] >= 0);
		object_put(object);
	}
	for (uint32_t i = 0; i < MAX_OPS && w.in.left > 0; i++)
		operate(&w);
	for (uint32_t i = 0; i < w.nfds; i++)
		check_vm(w.fd[i]);
	while (w.nfds > 0)
		close_fd(w.fd[--w.nfds]);
	return 0;
}
