/* SPDX-License-Identifier: MIT */
/* faults.c - SIGSEGV and SIGBUS; see faults.h. */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cpu.h>

#include "fds.h"

static struct {
	pthread_mutex_t
	    lock; /* changes; the handler reads without, as the kernel's table is read */
	bool installed;
	bool trusted;               /* whoever installs a handler goes through faults_sigaction() */
	struct sigaction behind[2]; /* the program's: of SIGSEGV, of SIGBUS */
} faults = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef int sigaction_fn(int sig, const struct sigaction *act, struct sigaction *old);

int faults_libc_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	static sigaction_fn *_Atomic real;
	sigaction_fn *fn = real;

	if (!fn) {
		fn = (sigaction_fn *)dlsym(RTLD_NEXT, "sigaction");
		if (!fn)
			abort();
		real = fn;
	}
	return fn(sig, act, old);
}

/* The calling thread's copy under way, and where it goes on when memory is not there. */
struct copy {
	jmp_buf failed;
	uintptr_t to, from;
	size_t len_bytes;
};

static _Thread_local struct copy *copying;

/* Not a handler's own access that happened to come in the middle of the copy. */
static bool is_copied(const void *addr)
{
	const struct copy *copy = copying;

	return copy && ((uintptr_t)addr - copy->to < copy->len_bytes ||
			(uintptr_t)addr - copy->from < copy->len_bytes);
}

/*
 * Beyond these the processor may raise the signal without an address, which is nobody's then. What
 * is there with longer addresses is copied by the kernel.
 */
static bool has_plain_addresses(const struct copy *copy)
{
	const uintptr_t end = (UINT64_C(1) << 47) - copy->len_bytes;

	return copy->to < end && copy->from < end;
}

bool faults_copy(void *to, const void *from, size_t len_bytes)
{
	struct copy copy = {.to = (uintptr_t)to, .from = (uintptr_t)from, .len_bytes = len_bytes};

	if (!__atomic_load_n(&faults.trusted, __ATOMIC_RELAXED) ||
	    !__atomic_load_n(&faults.installed, __ATOMIC_ACQUIRE) || !has_plain_addresses(&copy))
		return false;
	if (_setjmp(copy.failed)) {
		copying = NULL;
		return false;
	}
	copying = &copy;
	/* For the handler, which runs on this thread: set before the first byte, until the last. */
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(to, from, len_bytes);
	atomic_signal_fence(memory_order_seq_cst);
	copying = NULL;
	return true;
}

static int index_of(int sig)
{
	return sig == SIGSEGV ? 0 : sig == SIGBUS ? 1 : -1;
}

/* The access comes again when we return, and then the signal does what it does by default. */
static void give_up(int sig, const siginfo_t *info)
{
	const struct sigaction plain = {.sa_handler = SIG_DFL};

	faults_libc_sigaction(sig, &plain, NULL);
	if (info->si_code <= 0)
		raise(sig);
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction *const behind = &faults.behind[sig == SIGBUS];
	const struct sigaction action = *behind;
	sigset_t mask = action.sa_mask, old;

	if (!(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	if (!(action.sa_flags & SA_SIGINFO) &&
	    (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)) {
		give_up(sig, info);
		return;
	}
	if ((unsigned int)action.sa_flags & SA_RESETHAND)
		*behind = (struct sigaction){.sa_handler = SIG_DFL};
	if (!(action.sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	pthread_sigmask(SIG_BLOCK, &mask, &old);
	if (action.sa_flags & SA_SIGINFO)
		action.sa_sigaction(sig, info, context);
	else
		action.sa_handler(sig);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	const int saved_errno = errno;

	/* Of the kernel, not of somebody who sends signals: does not return if it is the guest's.
	 */
	if (info->si_code > 0) {
		if (is_copied(info->si_addr))
			_longjmp(copying->failed, 1);
		cpu_host_fault(info->si_addr);
	}
	pass_on(sig, info, context);
	errno = saved_errno;
}

/* Ours, on the stack that the program chose for its own. */
static int install_one(int sig, int stack_flag)
{
	struct sigaction action = {
	    .sa_sigaction = on_fault,
	    .sa_flags = SA_SIGINFO | SA_NODEFER | stack_flag,
	};

	sigemptyset(&action.sa_mask);
	return faults_libc_sigaction(sig, &action, NULL);
}

void faults_install(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS};

	struct sigaction now;

	pthread_mutex_lock(&faults.lock);
	for (size_t i = 0; i < 2; i++) {
		faults_libc_sigaction(signals[i], NULL, &now);
		/* Another one came by a way that we do not see. */
		if (faults.installed && now.sa_sigaction == on_fault)
			continue;
		faults.behind[i] = now;
		install_one(signals[i], now.sa_flags & SA_ONSTACK);
	}
	__atomic_store_n(&faults.installed, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&faults.lock);
}

void faults_trust(void)
{
	__atomic_store_n(&faults.trusted, true, __ATOMIC_RELAXED);
}

int faults_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	const int i = index_of(sig);
	struct sigaction copy, was;
	sigset_t all, mask;

	if (i < 0 || !__atomic_load_n(&faults.installed, __ATOMIC_ACQUIRE) || fds_vforked())
		return faults_libc_sigaction(sig, act, old);
	if (act)
		copy = *act;
	/* No handler that calls this runs while the lock is held. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &mask);
	pthread_mutex_lock(&faults.lock);
	was = faults.behind[i];
	if (act) {
		faults.behind[i] = copy;
		install_one(sig, copy.sa_flags & SA_ONSTACK);
	}
	pthread_mutex_unlock(&faults.lock);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (old)
		*old = was;
	return 0;
}
