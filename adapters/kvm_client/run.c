/* SPDX-License-Identifier: MIT */
/*
 * run.c - KVM_RUN: guest code on the thread that calls, until it exits or a signal comes.
 *
 *   1 complete what the last exit left to the program: data of IN, of a read of MMIO
 *   2 immediate_exit: EINTR, kvm_run as it is
 *   3 not runnable: sleep until a signal
 *   4 run for a while, look at signals, again; a while is between about 10 and 20 us
 *   5 tell in kvm_run why it ended
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cpu.h>

#include "signals.h"
#include "state.h"
#include "stats.h"

#define BUDGET_MIN 256u
#define BUDGET_MAX (1u << 20)
#define SLICE_NS 20000u

#define DATA_AT CLIENT_PAGE /* of I/O, from the beginning of kvm_run */

/* ---- Exits -------------------------------------------------------------- */

static long exit_io(struct vcpu *vcpu, const struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = exit->io.in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = exit->io.size_bytes;
	run->io.port = exit->io.port;
	run->io.count = exit->io.count;
	run->io.data_offset = DATA_AT;
	vcpu->pending = exit->io.in ? PENDING_IO_IN : PENDING_OTHER;
	if (!exit->io.in)
		memcpy(vcpu->pages + DATA_AT, exit->io.data,
		       (size_t)exit->io.size_bytes * exit->io.count);
	return 0;
}

static long exit_mmio(struct vcpu *vcpu, const struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = exit->mmio.gpa;
	run->mmio.len = exit->mmio.size_bytes;
	run->mmio.is_write = exit->mmio.write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	vcpu->pending = exit->mmio.write ? PENDING_OTHER : PENDING_MMIO_READ;
	if (exit->mmio.write)
		memcpy(run->mmio.data, exit->mmio.data, exit->mmio.size_bytes);
	return 0;
}

static void say_internal(struct vcpu *vcpu, const struct cpu_exit *exit)
{
	char bytes[3 * CPU_INSN_MAX + 1] = "", text[512];
	int n;

	if (vcpu->said)
		return;
	vcpu->said = true;
	for (unsigned int i = 0; i < exit->internal.nbytes && i < CPU_INSN_MAX; i++)
		snprintf(bytes + 3 * i, 4, " %02x", exit->internal.bytes[i]);
	n = snprintf(text, sizeof(text),
		     "mslot kvm: vCPU %u cannot go on at RIP 0x%" PRIx64
		     ": %s; the bytes there:%s\n",
		     vcpu->id, exit->internal.rip, exit->internal.why,
		     bytes[0] != '\0' ? bytes : " not readable");
	/* Not libc's function, in which a thread can be cancelled. */
	syscall(SYS_write, STDERR_FILENO, text, (size_t)n);
}

/* In KVM's layout: flags, then the number of bytes and the bytes. */
static long exit_internal(struct vcpu *vcpu, const struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;
	unsigned char *const insn = (unsigned char *)&run->internal.data[1];

	say_internal(vcpu, exit);
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->internal.ndata = exit->internal.nbytes > 0 ? 3 : 1;
	memset(run->internal.data, 0, sizeof(run->internal.data));
	if (exit->internal.nbytes > 0) {
		run->internal.data[0] = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
		insn[0] = exit->internal.nbytes;
		memcpy(insn + 1, exit->internal.bytes, exit->internal.nbytes);
	}
	return 0;
}

/* Returns what KVM_RUN returns; 1: go on. */
static long give_exit(struct vcpu *vcpu, const struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	switch (exit->reason) {
	case CPU_EXIT_BUDGET:
		return 1;
	case CPU_EXIT_IO:
		return exit_io(vcpu, exit);
	case CPU_EXIT_MMIO:
		return exit_mmio(vcpu, exit);
	case CPU_EXIT_HLT:
		if (vcpu->vm->irqchip) {
			vcpu->mp_state = KVM_MP_STATE_HALTED;
			return 1;
		}
		run->exit_reason = KVM_EXIT_HLT;
		return 0;
	case CPU_EXIT_SHUTDOWN:
		run->exit_reason = KVM_EXIT_SHUTDOWN;
		return 0;
	case CPU_EXIT_INTERNAL:
		return exit_internal(vcpu, exit);
	case CPU_EXIT_RING_FULL:
		run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
		return 0;
	case CPU_EXIT_HOST:
		run->exit_reason = KVM_EXIT_UNKNOWN;
		return -EFAULT;
	case CPU_EXIT_ERROR:
	default:
		run->exit_reason = KVM_EXIT_UNKNOWN;
		return exit->error < 0 ? exit->error : -ENOMEM;
	}
}

/* ---- Running ------------------------------------------------------------ */

static long interrupted(struct vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_INTR;
	return -EINTR;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* As many instructions as take between half a slice and a slice. */
static void adapt(struct vcpu *vcpu, uint64_t took_ns)
{
	if (took_ns > SLICE_NS && vcpu->budget > BUDGET_MIN)
		vcpu->budget /= 2;
	else if (took_ns < SLICE_NS / 2 && vcpu->budget < BUDGET_MAX)
		vcpu->budget *= 2;
}

/*
 * What the program has put where the last exit said. Returns 1, or what KVM_RUN returns: there is
 * more of the same. A full ring is for the next run to tell.
 */
static long complete(struct vcpu *vcpu)
{
	struct cpu_exit exit;

	if (vcpu->pending == PENDING_NONE)
		return 1;
	if (vcpu->pending == PENDING_IO_IN)
		cpu_complete(vcpu->cpu, vcpu->pages + DATA_AT);
	else if (vcpu->pending == PENDING_MMIO_READ)
		cpu_complete(vcpu->cpu, vcpu->run->mmio.data);
	vcpu->pending = PENDING_NONE;
	if (!vcpu->run->immediate_exit)
		return 1;
	cpu_run(vcpu->cpu, 0, &exit);
	return exit.reason == CPU_EXIT_RING_FULL ? 1 : give_exit(vcpu, &exit);
}

static long run_guest(struct vcpu *vcpu, const struct signals_hold *hold)
{
	uint64_t begin = 0, end;
	struct cpu_exit exit;
	long ret;

	/* A mask of KVM's own may let signals through that the thread has blocked for long. */
	if (vcpu->sigmask_set && signals_pending(hold))
		return interrupted(vcpu);
	for (;;) {
		if (vcpu->mp_state != KVM_MP_STATE_RUNNABLE) {
			signals_wait(hold);
			return interrupted(vcpu);
		}
		cpu_run(vcpu->cpu, vcpu->budget, &exit);
		ret = give_exit(vcpu, &exit);
		if (ret <= 0)
			return ret;
		if (signals_pending(hold))
			return interrupted(vcpu);
		/* The first slice of a run only begins to measure. */
		end = now_ns();
		if (begin)
			adapt(vcpu, end - begin);
		begin = end;
	}
}

static long run_held(struct vcpu *vcpu, const struct signals_hold *hold)
{
	long ret;

	if (vcpu->mp_state == KVM_MP_STATE_UNINITIALIZED) {
		if (vcpu->run->immediate_exit)
			return -EINTR;
		signals_wait(hold);
		return interrupted(vcpu);
	}
	ret = state_from_run(vcpu);
	if (ret)
		return ret;
	ret = complete(vcpu);
	if (ret <= 0)
		return ret;
	if (vcpu->run->immediate_exit)
		return -EINTR;
	vcpu->ran = true;
	return run_guest(vcpu, hold);
}

long vcpu_run(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	const struct signals_hold hold = signals_of_run(vcpu, vcpu->callers_mask);
	long ret;

	if (arg)
		return -EINVAL;
	ret = run_held(vcpu, &hold);
	state_to_run(vcpu);
	stats_ran(vcpu, ret);
	return ret;
}
