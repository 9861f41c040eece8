/* SPDX-License-Identifier: MIT */
/*
 * fds.h - which file descriptors are ours.
 *
 * Thread context: any thread; also in the child of a fork or a vfork.
 */
#ifndef ADAPTERS_KVM_CLIENT_FDS_H
#define ADAPTERS_KVM_CLIENT_FDS_H

#include "client.h"

/* Another number in each address space; never 0. */
uint64_t fds_mm(void);
/* Is this the child of a vfork, which has our memory, but descriptors and handlers of its own? */
bool fds_vforked(void);

/* An object with one reference; NULL: no memory. */
struct object *object_new(enum object_kind kind, void *body);
struct object *object_get(struct object *object);
/* The last reference ends what the object is for. */
void object_put(struct object *object);

/*
 * fds_memfd() - a descriptor that means nothing yet.
 *   len_bytes   of memory behind it
 * Returns it, or -errno.
 */
int fds_memfd(enum object_kind kind, size_t len_bytes, bool cloexec);

/* Close a descriptor that means nothing: not through the function of this name that shim.c has. */
void fds_close_own(int fd);

/* fds_attach() - from now on `fd` means the object, whose reference goes over. 0 or -EMFILE. */
int fds_attach(int fd, struct object *object);

/* The object that fd means, with a reference for the caller; NULL: it is not ours. */
struct object *fds_get(int fd);
/* Is it ours? One load. */
bool fds_ours(int fd);
/* One that came through exec: a descriptor of the system becomes ours again, others answer EIO. */
struct object *fds_adopt(int fd);

/*
 * fds_forget() - fd is going to be closed.
 * Returns its object, whose reference is the caller's now, or NULL. Not in the child of a vfork,
 * which has descriptors of its own, but this table.
 */
struct object *fds_forget(int fd);

/* A duplicate was made: `to` means what `from` means. Returns 0, or -EMFILE: it means nothing. */
int fds_duplicated(int from, int to);

/* Numbers below this one may be ours. */
int fds_end(void);

#endif /* ADAPTERS_KVM_CLIENT_FDS_H */
