/* SPDX-License-Identifier: MIT */
/*
 * client.h - programs that were written for /dev/kvm, served without it: what the parts share.
 *
 *   shim.c, shim_look.c     the functions of libc that a preloaded program calls
 *   fds.c                   which file descriptors are ours, and what they mean
 *   dispatch.c              ioctl: tables of calls by kind of descriptor
 *   system.c, vm.c, vcpu.c  the calls, by kind
 *   memory.c                slots, dirty logs, rings
 *   state.c, msrs.c, cpuid.c  a vCPU's registers between KVM's structs and the processor's
 *   run.c                   KVM_RUN
 *   signals.c, faults.c     signals during calls; SIGSEGV and SIGBUS
 *   stats.c, trace.c        what `mslot kvm --stats` and `--trace` ask for
 *
 * Data. A descriptor is a memfd, so that numbers, duplicates, inheritance and mmap() are the
 * kernel's. fds.c maps numbers to objects: what KVM has as an open file. A VM owns its vCPUs until
 * it ends itself, as in KVM; a vCPU's object only keeps its VM.
 *
 * Invariants
 *   C1 an object lives as long as a descriptor means it, a call uses it, or it is the VM of a
 *      vCPU's object; its calls answer EIO in another address space than that which made it
 *   C2 no thread is inside a section of the library outside KVM_RUN, nor while it sleeps in HLT
 *   C3 locks are taken in the order vcpu.mutex, vm.lock, vm.slots_lock; none of the last two is
 *      taken inside a section: who holds slots_lock may wait for vCPUs to come out; signals are
 *      held while any of them is
 *   C4 memory of the program is read and written by user.c alone, which cannot fault; but for the
 *      pages of a vCPU's descriptor, which are ours as well
 */
#ifndef ADAPTERS_KVM_CLIENT_CLIENT_H
#define ADAPTERS_KVM_CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mslot/kvm.h>
#include <mslot/mmu.h>

#define CLIENT_MAX_VCPUS 1024u
#define CLIENT_MAX_VCPU_IDS 4096u
#define CLIENT_MAX_RING_BYTES 1048576u
#define CLIENT_SPACES 2u /* as KVM on x86: the second one is that of SMM */
#define CLIENT_MAX_CPUID 256u
#define CLIENT_PAGE 4096u
#define CLIENT_RUN_PAGES 3u /* kvm_run, data of I/O, coalesced MMIO (never used) */
#define CLIENT_PHYSICAL_BITS 48u

struct cpu;
struct client_vm_stats;
struct client_trace;

enum object_kind { OBJECT_SYSTEM, OBJECT_VM, OBJECT_VCPU };

/* An open file. Its memory is never given back, only reused: fds_get() relies on that. */
struct object {
	_Atomic uint32_t refs;
	enum object_kind kind;
	uint64_t mm; /* fds_mm() when it was made */
	void *body;  /* struct vm or struct vcpu; NULL: OBJECT_SYSTEM */
	struct object *next_free;
};

struct vm {
	struct object *object;
	struct mslot_map *map;
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	pthread_mutex_t lock; /* what follows */
	struct vcpu *vcpus;
	uint32_t nvcpus;
	uint32_t vcpu_ids; /* ids are below it; 0: CLIENT_MAX_VCPU_IDS */
	bool irqchip;
	uint64_t mmu_pages;
	_Atomic uint32_t ring_bytes;   /* 0: no rings; changed before the first vCPU */
	pthread_mutex_t slots_lock;    /* slots and their dirty logs stay as they are */
	struct client_vm_stats *stats; /* shared with `mslot kvm`, or our own */
	struct client_trace *trace;    /* slots_lock; NULL: none */
};

struct vcpu {
	struct vm *vm;
	struct vcpu *next; /* of the VM */
	uint32_t id;
	struct cpu *cpu;
	struct mslot_vcpu *handle;
	int spare_fd; /* what the descriptor's memory is mapped from until it is given out */
	char *pages;  /* those of the descriptor, mapped once more: kvm_run, data, ... */
	size_t ring_bytes;
	struct kvm_run *run;
	char *ring;
	pthread_mutex_t mutex; /* one call at a time; what follows */
	uint32_t mp_state;
	bool ran;              /* KVM_RUN has run guest code: its CPUID stays */
	bool said;             /* an instruction that is not covered was told of */
	uint8_t pending;       /* what the program has to complete: enum vcpu_pending */
	uint64_t callers_mask; /* of the thread whose call it is */
	bool sigmask_set;      /* by KVM_SET_SIGNAL_MASK */
	uint64_t sigmask;      /* that one; the kernel's bits */
	uint64_t budget;       /* instructions between two looks at signals */
	struct kvm_cpuid_entry2 *cpuid;
	uint32_t ncpuid;
	struct kvm_fpu fpu;                            /* what the processor does not keep */
	uint64_t counted_instructions, counted_misses; /* as far as the statistics have them */
};

/* OTHER: nothing of the program, but the processor may have more to tell of an MMIO write. */
enum vcpu_pending { PENDING_NONE, PENDING_IO_IN, PENDING_MMIO_READ, PENDING_OTHER };

/* ---- Calls -------------------------------------------------------------- */

/*
 * client_open() - a descriptor of the system: what open("/dev/kvm") gives.
 *   flags   of open(); O_CLOEXEC counts
 * Returns the descriptor, -EMFILE, -ENFILE, -ENOMEM.
 */
int client_open(int flags);

/*
 * kvm_client_ioctl() - a call for an object, during which signals are held.
 *   object    of fds_get(), which stays the caller's
 *   request   KVM_...; bits above 32 do not count
 *   arg       as for ioctl()
 * Returns what ioctl() returns, or a negative errno.
 */
long kvm_client_ioctl(struct object *object, unsigned long request, unsigned long arg);

/* kvm_client_serve() - the same for who holds signals; `mask` is the thread's own one. */
long kvm_client_serve(struct object *object, unsigned long request, unsigned long arg,
		      uint64_t mask);

/* ---- Bodies ------------------------------------------------------------- */

/* A call's function: `arg` is a copy of the program's struct, or the argument itself. */
typedef long call_fn(void *body, void *arg);

/* A row of a table of calls. */
struct call {
	uint32_t request;
	bool in, out; /* the struct is copied from, to the program; neither: fn gets the argument */
	call_fn *fn;
};

/* Each ends with a row whose fn is NULL. */
extern const struct call system_calls[], vm_calls[], vcpu_calls[];

long system_check_extension(void *body, void *arg);

/* vm_create() - a VM of its own object, which has one reference. Returns 0 or -errno. */
int vm_create(struct object **out);
void vm_destroy(struct vm *vm);

/* vcpu_create() - a vCPU and a descriptor for it. vm->lock held. Returns that or -errno. */
int vcpu_create(struct vm *vm, uint32_t id);
void vcpu_destroy(struct vcpu *vcpu);

long vcpu_run(void *body, void *arg);

/* The calls of memory.c. */
long memory_set_region(void *body, void *arg);
long memory_set_region_list(void *body, void *arg);
long memory_get_log(void *body, void *arg);
long memory_clear_log(void *body, void *arg);
long memory_reset_rings(void *body, void *arg);
long memory_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap);

/* Those of state.c, msrs.c and cpuid.c. */
long state_get_regs(void *body, void *arg);
long state_set_regs(void *body, void *arg);
long state_get_sregs(void *body, void *arg);
long state_set_sregs(void *body, void *arg);
long state_get_fpu(void *body, void *arg);
long state_set_fpu(void *body, void *arg);
long state_translate(void *body, void *arg);
long msrs_index_list(void *body, void *arg);
long msrs_feature_list(void *body, void *arg);
long msrs_get_features(void *body, void *arg);
long msrs_get(void *body, void *arg);
long msrs_set(void *body, void *arg);
long msrs_tsc_khz(void *body, void *arg);
long cpuid_supported(void *body, void *arg);
long cpuid_get(void *body, void *arg);
long cpuid_set(void *body, void *arg);

/* ---- Memory of the program (user.c) ------------------------------------- */

/* A member behind a pointer of the program's, which need not be aligned. */
#define USER_MEMBER(type, user, member) ((void *)((uintptr_t)(user) + offsetof(type, member)))

/* Each returns 0, or -EFAULT: a part is not there. */
int user_read(void *to, const void *from, size_t len_bytes);
int user_write(void *to, const void *from, size_t len_bytes);

#endif /* ADAPTERS_KVM_CLIENT_CLIENT_H */
