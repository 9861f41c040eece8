/* SPDX-License-Identifier: MIT */
/*
 * signals.c - signals while guest code runs; see signals.h.
 *
 * Each call holds and releases: by the kernel's own calls and sets of 64 bits, which cost a quarter
 * of what libc's functions do.
 */
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"
#include "fds.h"

#define BIT(sig) (UINT64_C(1) << ((sig)-1))
/* What an access or an instruction raises, also the library's own checks; and the one by which libc
 * sets user ids, for which another thread waits. The one of pthread_cancel(3) is held. */
#define SYNCHRONOUS                                                                                \
	(BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGABRT))
#define SETXID BIT(33)
#define HELD (~(SYNCHRONOUS | SETXID))

static void set_mask(int how, uint64_t mask, uint64_t *old)
{
	syscall(SYS_rt_sigprocmask, how, &mask, old, sizeof(mask));
}

void signals_hold(struct signals_hold *hold)
{
	/* A thread's first section changes the mask through libc, which never blocks its own. */
	mslot_thread_init();
	set_mask(SIG_SETMASK, HELD, &hold->old);
	hold->wanted = 0;
}

struct signals_hold signals_of_run(const struct vcpu *vcpu, uint64_t old)
{
	return (struct signals_hold){.old = old,
				     .wanted = HELD & ~(vcpu->sigmask_set ? vcpu->sigmask : old)};
}

void signals_release(const struct signals_hold *hold)
{
	const int saved_errno = errno;

	set_mask(SIG_SETMASK, hold->old, NULL);
	errno = saved_errno;
}

static bool ignored(int sig)
{
	struct sigaction action;

	if (faults_libc_sigaction(sig, NULL, &action))
		return false;
	if (action.sa_handler == SIG_IGN)
		return true;
	return action.sa_handler == SIG_DFL &&
	       (sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH || sig == SIGCONT);
}

/* Let the kernel drop one that is ignored: only a blocked one waits. */
static void drop(int sig)
{
	set_mask(SIG_UNBLOCK, BIT(sig), NULL);
	set_mask(SIG_BLOCK, BIT(sig), NULL);
}

bool signals_pending(const struct signals_hold *hold)
{
	uint64_t pending = 0;
	bool found = false;
	int sig;

	if (syscall(SYS_rt_sigpending, &pending, sizeof(pending)))
		return false;
	for (pending &= hold->wanted; pending; pending &= pending - 1) {
		sig = __builtin_ctzll(pending) + 1;
		if (ignored(sig))
			drop(sig);
		else
			found = true;
	}
	return found;
}

void signals_wait(const struct signals_hold *hold)
{
	struct pollfd poll_for = {.events = POLLIN};

	while (!signals_pending(hold)) {
		/* A descriptor tells of signals without taking them, whoever blocks them. */
		poll_for.fd = (int)syscall(SYS_signalfd4, -1, &hold->wanted, sizeof(hold->wanted),
					   SFD_CLOEXEC);
		if (poll_for.fd < 0) {
			syscall(SYS_poll, NULL, 0, 1);
			continue;
		}
		/* Not libc's function, in which a thread can be cancelled. */
		syscall(SYS_poll, &poll_for, 1, -1);
		fds_close_own(poll_for.fd);
	}
}
