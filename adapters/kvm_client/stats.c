/* SPDX-License-Identifier: MIT */
/* stats.c - counters of VMs; see stats.h. */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cpu.h>

#include "fds.h"

static struct client_stats *shared;

static struct client_stats *map_shared(int fd)
{
	struct client_stats *stats = (void *)syscall(SYS_mmap, NULL, sizeof(*stats),
						     PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (stats == MAP_FAILED)
		return NULL;
	if (stats->magic == CLIENT_STATS_MAGIC)
		return stats;
	syscall(SYS_munmap, stats, sizeof(*stats));
	return NULL;
}

/*
 * The command's memory: by the path, which also a program has that closed all it inherited, or by
 * the descriptor, which also one has that became another user.
 */
static void open_shared(void)
{
	const char *const path = getenv(CLIENT_ENV_STATS), *slash;
	int fd;

	if (!path)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (fd >= 0) {
		shared = map_shared(fd);
		fds_close_own(fd);
		return;
	}
	slash = strrchr(path, '/');
	if (slash)
		shared = map_shared(atoi(slash + 1));
}

int stats_vm_begin(struct client_vm_stats **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct client_vm_stats *stats = NULL;
	uint64_t number = 0;

	pthread_once(&once, open_shared);
	if (shared) {
		number = atomic_fetch_add(&shared->nvms, 1) + 1;
		if (number <= CLIENT_STATS_VMS)
			stats = &shared->vm[number - 1];
	}
	if (!stats)
		stats = calloc(1, sizeof(*stats));
	if (!stats)
		return -ENOMEM;
	atomic_store(&stats->pid, (uint64_t)getpid());
	atomic_store(&stats->number, number);
	*out = stats;
	return 0;
}

static bool is_shared(const struct client_vm_stats *stats)
{
	return shared && stats >= shared->vm && stats < shared->vm + CLIENT_STATS_VMS;
}

void stats_vm_end(struct client_vm_stats *stats)
{
	if (!is_shared(stats))
		free(stats);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static void set(_Atomic uint64_t *to, uint64_t val)
{
	atomic_store_explicit(to, val, memory_order_relaxed);
}

uint64_t stats_next_trace(void)
{
	static _Atomic uint64_t own;

	return atomic_fetch_add(shared ? &shared->ntraces : &own, 1) + 1;
}

void stats_vcpu_made(struct client_vm_stats *stats)
{
	add(&stats->vcpus, 1);
}

static void count_slots(struct vm *vm)
{
	const struct mslot_snapshot *snap = mslot_enter(vm->map);
	uint64_t slots = 0;

	for (uint32_t space = 0; space < CLIENT_SPACES; space++)
		slots += mslot_snapshot_nslots(snap, space);
	set(&vm->stats->commits, mslot_snapshot_generation(snap));
	mslot_leave(snap);
	set(&vm->stats->slots, slots);
}

void stats_vm_memory(struct vm *vm)
{
	struct mslot_mmu_stats mmu;

	if (!is_shared(vm->stats))
		return;
	count_slots(vm);
	mslot_mmu_stats_get(vm->mmu, &mmu);
	set(&vm->stats->faults, mmu.faults);
	set(&vm->stats->mmio, mmu.mmio);
	set(&vm->stats->zapped, mmu.zapped);
	set(&vm->stats->flushes, mmu.flushes);
}

void stats_ran(struct vcpu *vcpu, long ret)
{
	struct client_vm_stats *const stats = vcpu->vm->stats;
	struct cpu_counters now;
	uint32_t reason;

	if (!is_shared(stats))
		return;
	reason = vcpu->run->exit_reason;
	if (ret == 0 && reason < CLIENT_STATS_EXITS)
		add(&stats->exit[reason], 1);
	else if (ret == -EINTR)
		add(&stats->interrupted, 1);
	else if (ret == -EFAULT)
		add(&stats->host_faults, 1);
	cpu_counters_get(vcpu->cpu, &now);
	add(&stats->instructions, now.instructions - vcpu->counted_instructions);
	add(&stats->tlb_misses, now.tlb_misses - vcpu->counted_misses);
	vcpu->counted_instructions = now.instructions;
	vcpu->counted_misses = now.tlb_misses;
	stats_vm_memory(vcpu->vm);
}
