/* SPDX-License-Identifier: MIT */
/*
 * user.c - the program's memory as the kernel sees it: an address that is not there is an error.
 *
 * What is small is copied under the handler of SIGSEGV, for some nanoseconds; what that does not
 * manage, and what is large, by the kernel itself (by the number of the thread: a process whose
 * first thread has ended is not found by its own), which needs neither a handler nor its signal
 * unblocked. Where it may not (a sandbox that forbids the call), addresses are taken at their word.
 */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

/* Up to here the kernel's copy costs more for being called than for copying. */
#define SMALL_BYTES 1024u

typedef ssize_t copy_fn(pid_t pid, const struct iovec *ours, unsigned long nours,
			const struct iovec *theirs, unsigned long ntheirs, unsigned long flags);

static int copy(void *to, const void *from, size_t len_bytes, copy_fn *by_kernel, bool reading)
{
	const struct iovec at_to = {to, len_bytes};
	const struct iovec at_from = {(void *)(uintptr_t)from, len_bytes};
	const int saved_errno = errno;
	ssize_t n;
	int err = 0;

	if (len_bytes == 0 || (len_bytes <= SMALL_BYTES && faults_copy(to, from, len_bytes)))
		return 0;
	n = by_kernel(gettid(), reading ? &at_to : &at_from, 1, reading ? &at_from : &at_to, 1, 0);
	if (n < 0 && (errno == EPERM || errno == ENOSYS))
		memcpy(to, from, len_bytes);
	else if (n < 0 || (size_t)n != len_bytes)
		err = -EFAULT;
	errno = saved_errno;
	return err;
}

int user_read(void *to, const void *from, size_t len_bytes)
{
	return copy(to, from, len_bytes, process_vm_readv, true);
}

int user_write(void *to, const void *from, size_t len_bytes)
{
	return copy(to, from, len_bytes, process_vm_writev, false);
}
