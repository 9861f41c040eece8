/* SPDX-License-Identifier: MIT */
/*
 * shim.c - the functions of libc that a preloaded program calls for /dev/kvm.
 *
 * Each looks whether it concerns one of our descriptors, or the path /dev/kvm, and is libc's own
 * otherwise. A descriptor is ours no more before it is closed: the next one of that number may be
 * another thread's at once. Signals are held while tables and objects change: handlers of the
 * program may call any of these functions, and need not return.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"
#include "fds.h"
#include "shim.h"
#include "signals.h"

static int result_of(long ret)
{
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

/* ---- open --------------------------------------------------------------- */

static int open_device(int flags)
{
	struct signals_hold hold;
	int fd;

	signals_hold(&hold);
	fd = client_open(flags);
	signals_release(&hold);
	return result_of(fd);
}

/* open() has a mode only where a file may be made. */
#define MODE_OF(flags, mode)                                                                       \
	do {                                                                                       \
		if ((flags) & (O_CREAT | __O_TMPFILE)) {                                           \
			va_list ap_;                                                               \
			va_start(ap_, flags);                                                      \
			(mode) = va_arg(ap_, mode_t);                                              \
			va_end(ap_);                                                               \
		}                                                                                  \
	} while (0)

/* libc has each function under two names, and so has whoever stands between. */
#define DEFINE_OPEN(name)                                                                          \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
                                                                                                   \
		MODE_OF(flags, mode);                                                              \
		return is_device(path) ? open_device(flags) : LIBC(name)(path, flags, mode);       \
	}
#define DEFINE_OPENAT(name)                                                                        \
	EXPORT int name(int dir, const char *path, int flags, ...)                                 \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
                                                                                                   \
		MODE_OF(flags, mode);                                                              \
		return is_device(path) ? open_device(flags) : LIBC(name)(dir, path, flags, mode);  \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* What a program calls that was compiled with -D_FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return is_device(path) ? open_device(flags) : LIBC(__open_2)(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return is_device(path) ? open_device(flags) : LIBC(__open64_2)(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return is_device(path) ? open_device(flags) : LIBC(__openat_2)(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return is_device(path) ? open_device(flags) : LIBC(__openat64_2)(dir, path, flags);
}

/* ---- ioctl and mmap ----------------------------------------------------- */

/* What the kernel answers for a descriptor of any kind. */
static bool is_for_all(unsigned long request)
{
	const uint32_t number = (uint32_t)request;

	return number == FIOCLEX || number == FIONCLEX || number == FIONBIO;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct signals_hold hold;
	struct object *object;
	unsigned long arg;
	va_list ap;
	long ret;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if ((!fds_ours(fd) && _IOC_TYPE(request) != KVMIO) || is_for_all(request))
		return LIBC(ioctl)(fd, request, arg);
	signals_hold(&hold);
	object = fds_get(fd);
	if (!object)
		object = fds_adopt(fd);
	if (object) {
		ret = kvm_client_serve(object, request, arg, hold.old);
		object_put(object);
	}
	signals_release(&hold);
	return object ? result_of(ret) : LIBC(ioctl)(fd, request, arg);
}

/* May it be mapped so? Returns 0 or -errno. */
static int check_map(int fd, size_t len_bytes, int prot, int flags, off_t offset)
{
	const off_t ring = (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * (off_t)CLIENT_PAGE;
	struct object *object = flags & MAP_ANONYMOUS ? NULL : fds_get(fd);
	const struct vcpu *vcpu;
	int err = 0;

	if (!object)
		return 0;
	vcpu = object->body;
	if (object->kind != OBJECT_VCPU)
		err = -ENODEV;
	else if (vcpu && vcpu->ring_bytes && offset < ring + (off_t)vcpu->ring_bytes &&
		 (size_t)offset + len_bytes > (size_t)ring &&
		 (prot & PROT_EXEC || (flags & MAP_TYPE) == MAP_PRIVATE))
		err = -EINVAL;
	object_put(object);
	return err;
}

#define DEFINE_MMAP(name, offset_type)                                                             \
	EXPORT void *name(void *at, size_t len_bytes, int prot, int flags, int fd,                 \
			  offset_type offset)                                                      \
	{                                                                                          \
		const int err = check_map(fd, len_bytes, prot, flags, offset);                     \
                                                                                                   \
		if (err) {                                                                         \
			errno = -err;                                                              \
			return MAP_FAILED;                                                         \
		}                                                                                  \
		return LIBC(name)(at, len_bytes, prot, flags, fd, offset);                         \
	}

DEFINE_MMAP(mmap, off_t)
DEFINE_MMAP(mmap64, off64_t)

/* ---- close and dup ------------------------------------------------------ */

EXPORT int close(int fd)
{
	struct signals_hold hold;
	struct object *object;
	int ret;

	if (!fds_ours(fd))
		return LIBC(close)(fd);
	signals_hold(&hold);
	object = fds_forget(fd);
	/* Not libc's function, in which a thread can be cancelled. */
	ret = (int)syscall(SYS_close, fd);
	if (object) {
		const int saved_errno = errno;

		object_put(object);
		errno = saved_errno;
	}
	signals_release(&hold);
	return ret;
}

static void forget_range(unsigned int first, unsigned int last)
{
	const int end = fds_end();
	struct signals_hold hold;
	struct object *object;

	signals_hold(&hold);
	for (unsigned int fd = first; fd <= last && (int)fd < end; fd++) {
		object = fds_forget((int)fd);
		if (object)
			object_put(object);
	}
	signals_release(&hold);
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	/* With CLOSE_RANGE_UNSHARE other threads keep theirs: the table stays, as theirs. */
	if (first <= last && !flags)
		forget_range(first, last);
	return LIBC(close_range)(first, last, flags);
}

EXPORT void closefrom(int first)
{
	forget_range(first < 0 ? 0 : (unsigned int)first, ~0u);
	LIBC(closefrom)(first);
}

/* `to` is a duplicate of `from` now, or -1. */
static int duplicated(int from, int to)
{
	struct signals_hold hold;
	int err;

	if (to < 0 || to == from || (!fds_ours(from) && !fds_ours(to)))
		return to;
	signals_hold(&hold);
	err = fds_duplicated(from, to);
	signals_release(&hold);
	if (err) {
		fds_close_own(to);
		errno = EMFILE;
		return -1;
	}
	return to;
}

EXPORT int dup(int from)
{
	return duplicated(from, LIBC(dup)(from));
}

EXPORT int dup2(int from, int to)
{
	return duplicated(from, LIBC(dup2)(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
	return duplicated(from, LIBC(dup3)(from, to, flags));
}

#define DEFINE_FCNTL(name)                                                                         \
	EXPORT int name(int fd, int cmd, ...)                                                      \
	{                                                                                          \
		unsigned long arg;                                                                 \
		va_list ap;                                                                        \
		int ret;                                                                           \
                                                                                                   \
		va_start(ap, cmd);                                                                 \
		arg = va_arg(ap, unsigned long);                                                   \
		va_end(ap);                                                                        \
		ret = LIBC(name)(fd, cmd, arg);                                                    \
		return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? duplicated(fd, ret) : ret;       \
	}

DEFINE_FCNTL(fcntl)
DEFINE_FCNTL(fcntl64)

/* ---- Signals ------------------------------------------------------------ */

static bool is_fault(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS;
}

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return is_fault(sig) ? faults_sigaction(sig, act, old)
			     : faults_libc_sigaction(sig, act, old);
}

static sighandler_t handle_fault(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

	sigemptyset(&act.sa_mask);
	return faults_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	return is_fault(sig) ? handle_fault(sig, handler, SA_RESTART) : LIBC(signal)(sig, handler);
}

/* Its older name. */
sighandler_t bsd_signal(int sig, sighandler_t handler);

EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

/* What signal() is in a program that was compiled for System V or ISO C alone. */
EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return is_fault(sig) ? handle_fault(sig, handler, (int)(SA_RESETHAND | SA_NODEFER))
			     : LIBC(__sysv_signal)(sig, handler);
}

static __attribute__((constructor)) void loaded(void)
{
	faults_trust();
}
