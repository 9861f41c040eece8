/* SPDX-License-Identifier: MIT */
/*
 * shim_look.c - the functions of libc by which a program looks whether there is a /dev/kvm.
 *
 * There is one, and everybody may read and write it: as /dev/null, with the numbers of KVM's
 * device.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim.h"

#define TWIN "/dev/null"
#define MAJOR 10u
#define MINOR 232u

/* ---- May it be opened? -------------------------------------------------- */

static int may(int mode)
{
	if (!(mode & X_OK))
		return 0;
	errno = EACCES;
	return -1;
}

EXPORT int access(const char *path, int mode)
{
	return is_device(path) ? may(mode) : LIBC(access)(path, mode);
}

EXPORT int euidaccess(const char *path, int mode)
{
	return is_device(path) ? may(mode) : LIBC(euidaccess)(path, mode);
}

EXPORT int eaccess(const char *path, int mode)
{
	return is_device(path) ? may(mode) : LIBC(eaccess)(path, mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	return is_device(path) ? may(mode) : LIBC(faccessat)(dir, path, mode, flags);
}

/* ---- What is it? -------------------------------------------------------- */

#define LOOK(name, type)                                                                           \
	EXPORT int name(const char *path, struct type *st)                                         \
	{                                                                                          \
		const bool ours = is_device(path);                                                 \
		const int ret = LIBC(name)(ours ? TWIN : path, st);                                \
                                                                                                   \
		if (ours && ret == 0)                                                              \
			st->st_rdev = makedev(MAJOR, MINOR);                                       \
		return ret;                                                                        \
	}

#define LOOK_AT(name, type)                                                                        \
	EXPORT int name(int dir, const char *path, struct type *st, int flags)                     \
	{                                                                                          \
		const bool ours = is_device(path);                                                 \
		const int ret = LIBC(name)(dir, ours ? TWIN : path, st, flags);                    \
                                                                                                   \
		if (ours && ret == 0)                                                              \
			st->st_rdev = makedev(MAJOR, MINOR);                                       \
		return ret;                                                                        \
	}

LOOK(stat, stat)
LOOK(stat64, stat64)
LOOK(lstat, stat)
LOOK(lstat64, stat64)
LOOK_AT(fstatat, stat)
LOOK_AT(fstatat64, stat64)

EXPORT int statx(int dir, const char *path, int flags, unsigned int mask, struct statx *st)
{
	const bool ours = is_device(path);
	const int ret = LIBC(statx)(dir, ours ? TWIN : path, flags, mask, st);

	if (ours && ret == 0) {
		st->stx_rdev_major = MAJOR;
		st->stx_rdev_minor = MINOR;
	}
	return ret;
}
