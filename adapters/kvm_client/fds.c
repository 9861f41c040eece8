/* SPDX-License-Identifier: MIT */
/*
 * fds.c - file descriptors to objects; see fds.h.
 *
 * Data. A table of pointers in two levels. The structs of objects are never freed, only reused,
 * so that fds_get() may touch one that it found a moment ago: it takes a reference unless there
 * is none left, and looks whether the number still means it.
 *
 * Address spaces. A page that the kernel wipes in children has their number in it, so that fork()
 * is noticed by whatever way it was called, and vfork(), which shares the memory, is none. A child
 * has the numbers of its parent's descriptors; their objects answer EIO there, and ending the last
 * one ends nothing: the memory is the child's copy, which nobody uses.
 */
#include "fds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK 1024u
#define CHUNKS 1024u

static _Atomic(struct object *) *_Atomic chunks[CHUNKS];
static _Atomic int end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* chunks that come, unused */
static struct object *unused;

/* ---- Address spaces ----------------------------------------------------- */

static struct {
	_Atomic uint64_t *page; /* wiped by fork */
	_Atomic uint64_t last;  /* copied by it */
	_Atomic pid_t pid;      /* of the process with this table; a vfork's child has another */
} mm;

static void lock_for_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void unlock_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

static void mm_begin(void)
{
	void *page =
	    mmap(NULL, CLIENT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || madvise(page, CLIENT_PAGE, MADV_WIPEONFORK))
		abort();
	mm.page = page;
	pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
}

uint64_t fds_mm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t id;

	pthread_once(&once, mm_begin);
	id = atomic_load_explicit(mm.page, memory_order_relaxed);
	if (id == 0) {
		/* The first call in this address space; of two at once one is the first. */
		const uint64_t fresh = atomic_fetch_add(&mm.last, 1) + 1;

		atomic_store(&mm.pid, getpid());
		if (atomic_compare_exchange_strong(mm.page, &id, fresh))
			id = fresh;
	}
	return id;
}

bool fds_vforked(void)
{
	fds_mm();
	return getpid() != atomic_load(&mm.pid);
}

/* ---- Objects ------------------------------------------------------------ */

struct object *object_new(enum object_kind kind, void *body)
{
	struct object *object;

	pthread_mutex_lock(&lock);
	object = unused;
	if (object)
		unused = object->next_free;
	pthread_mutex_unlock(&lock);
	if (!object)
		object = calloc(1, sizeof(*object));
	if (!object)
		return NULL;
	object->kind = kind;
	object->body = body;
	object->mm = fds_mm();
	/* Release: what it is before anybody may take a reference. Pairs with try_get(). */
	atomic_store_explicit(&object->refs, 1, memory_order_release);
	return object;
}

struct object *object_get(struct object *object)
{
	atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
	return object;
}

/* Unless the last reference is gone. */
static bool try_get(struct object *object)
{
	uint32_t refs = atomic_load_explicit(&object->refs, memory_order_relaxed);

	while (refs > 0)
		if (atomic_compare_exchange_weak_explicit(
			&object->refs, &refs, refs + 1, memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

static void end_body(struct object *object)
{
	struct vcpu *vcpu = object->body;

	if (object->mm != fds_mm())
		return;
	if (object->kind == OBJECT_VM)
		vm_destroy(object->body);
	else if (object->kind == OBJECT_VCPU)
		object_put(vcpu->vm->object);
}

void object_put(struct object *object)
{
	/* Both: what others did with it before its end. */
	if (atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) != 1)
		return;
	end_body(object);
	pthread_mutex_lock(&lock);
	object->next_free = unused;
	unused = object;
	pthread_mutex_unlock(&lock);
}

/* ---- Descriptors -------------------------------------------------------- */

#define MEMFD_PATH "/memfd:"
#define DELETED " (deleted)"
#define TOKEN_DIGITS 16u
#define MEMFD_TEXT 64u

static const char *const memfd_name[] = {
    [OBJECT_SYSTEM] = "mslot-kvm", [OBJECT_VM] = "mslot-kvm-vm", [OBJECT_VCPU] = "mslot-kvm-vcpu"};

void fds_close_own(int fd)
{
	syscall(SYS_close, fd);
}

/* "/memfd:NAME-TOKEN": the token is another one after each exec(), but not after fork(). */
static void describe(char text[MEMFD_TEXT], enum object_kind kind)
{
	const unsigned char *const random = (const unsigned char *)getauxval(AT_RANDOM);
	uint64_t token = 0;

	if (random)
		memcpy(&token, random, sizeof(token));
	snprintf(text, MEMFD_TEXT, MEMFD_PATH "%s-%016" PRIx64, memfd_name[kind], token);
}

int fds_memfd(enum object_kind kind, size_t len_bytes, bool cloexec)
{
	char text[MEMFD_TEXT];
	int fd, err;

	describe(text, kind);
	fd = memfd_create(text + strlen(MEMFD_PATH),
			  MFD_ALLOW_SEALING | (cloexec ? MFD_CLOEXEC : 0));
	if (fd < 0)
		return -errno;
	/* Sealed: pages that we use do not go because the program truncates it. */
	if ((len_bytes > 0 && ftruncate(fd, (off_t)len_bytes)) ||
	    syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		err = -errno;
		fds_close_own(fd);
		return err;
	}
	return fd;
}

static _Atomic(struct object *) *place_of(int fd)
{
	_Atomic(struct object *) *chunk;

	if (fd < 0 || (unsigned int)fd >= CHUNK * CHUNKS)
		return NULL;
	chunk = atomic_load_explicit(&chunks[(unsigned int)fd / CHUNK], memory_order_acquire);
	return chunk ? &chunk[(unsigned int)fd % CHUNK] : NULL;
}

static _Atomic(struct object *) *make_place(int fd)
{
	const unsigned int i = (unsigned int)fd / CHUNK;

	if (fd < 0 || i >= CHUNKS)
		return NULL;
	pthread_mutex_lock(&lock);
	if (!atomic_load_explicit(&chunks[i], memory_order_relaxed))
		/* Release: the zeros. Pairs with place_of(). */
		atomic_store_explicit(&chunks[i], calloc(CHUNK, sizeof(**chunks)),
				      memory_order_release);
	if (fd >= atomic_load_explicit(&end, memory_order_relaxed))
		atomic_store_explicit(&end, fd + 1, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return place_of(fd);
}

int fds_end(void)
{
	return atomic_load_explicit(&end, memory_order_relaxed);
}

int fds_attach(int fd, struct object *object)
{
	_Atomic(struct object *) *place = make_place(fd);
	struct object *old;

	if (!place)
		return -EMFILE;
	/* Both: the object for fds_get(), and all that was done with what was there before. */
	old = atomic_exchange_explicit(place, object, memory_order_acq_rel);
	if (old)
		object_put(old);
	return 0;
}

bool fds_ours(int fd)
{
	_Atomic(struct object *) *place = place_of(fd);

	return place && atomic_load_explicit(place, memory_order_relaxed);
}

struct object *fds_get(int fd)
{
	_Atomic(struct object *) *place = place_of(fd);
	struct object *object;

	while (place) {
		object = atomic_load_explicit(place, memory_order_acquire);
		if (!object)
			return NULL;
		if (!try_get(object))
			continue;
		if (atomic_load_explicit(place, memory_order_acquire) == object)
			return object;
		object_put(object);
	}
	return NULL;
}

struct object *fds_forget(int fd)
{
	_Atomic(struct object *) *place = place_of(fd);

	if (!place || !atomic_load_explicit(place, memory_order_relaxed))
		return NULL;
	if (fds_vforked())
		return NULL;
	return atomic_exchange_explicit(place, NULL, memory_order_acq_rel);
}

int fds_duplicated(int from, int to)
{
	struct object *object = fds_get(from), *old;
	int err = 0;

	if (fds_vforked()) {
		if (object)
			object_put(object);
		return 0;
	}
	if (object) {
		err = fds_attach(to, object);
		if (err)
			object_put(object);
		return err;
	}
	old = fds_forget(to);
	if (old)
		object_put(old);
	return 0;
}

/*
 * What kind of memfd of ours is it, made before exec()? What was made since then is in the table,
 * or another thread is closing it: then the number must not mean anything afterwards.
 */
static int kind_of(int fd)
{
	char path[40], name[MEMFD_TEXT + 16], own[MEMFD_TEXT];
	size_t stem;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return -1;
	name[n] = '\0';
	for (int kind = OBJECT_SYSTEM; kind <= OBJECT_VCPU; kind++) {
		describe(own, (enum object_kind)kind);
		stem = strlen(own) - TOKEN_DIGITS;
		if ((size_t)n == strlen(own) + strlen(DELETED) && strncmp(name, own, stem) == 0)
			return strncmp(name, own, strlen(own)) != 0 ? kind : -1;
	}
	return -1;
}

struct object *fds_adopt(int fd)
{
	const int saved_errno = errno;
	const int kind = kind_of(fd);
	struct object *object = NULL;

	if (kind >= 0)
		object = object_new((enum object_kind)kind, NULL);
	if (object) {
		/* Not of this address space: no call gets at its body, which is not there. */
		object->mm = 0;
		if (fds_attach(fd, object))
			object_put(object);
		object = fds_get(fd);
	}
	errno = saved_errno;
	return object;
}

int client_open(int flags)
{
	struct object *object = object_new(OBJECT_SYSTEM, NULL);
	int fd, err;

	if (!object)
		return -ENOMEM;
	fd = fds_memfd(OBJECT_SYSTEM, 0, (flags & O_CLOEXEC) != 0);
	err = fd < 0 ? fd : fds_attach(fd, object);
	if (!err)
		return fd;
	object_put(object);
	if (fd >= 0)
		fds_close_own(fd);
	return err;
}
