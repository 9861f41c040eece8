/* SPDX-License-Identifier: MIT */
/*
 * lease_in_flight.c - L1 with the kernel as the one who writes: reads into leased guest memory
 * while its slots are deleted and its regions put, whose release unmaps them. No read may
 * fail or go elsewhere, no release come before its completion, and a wait names the holder.
 *
 * Two programs: with WITH_URING the reads are io_uring's, else those of a thread of their own.
 * The first part reads from a pipe, so that the read is in flight for as long as the test
 * likes; the second from a file, past the page cache where the file system lets it.
 */
#ifdef WITH_URING
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <liburing.h>
#pragma GCC diagnostic pop
#endif

#include "lease_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 200u
#define FILE_PAGES 64u
#define READ_PAGES 6u
#define DEPTH 4u /* reads in flight */

/* ---- Memory that goes when it is released -------------------------------- */

struct memory {
	char *hva;
	_Atomic unsigned int releases;
	_Atomic bool in_flight;
};

static void unmap(void *ctx, const struct mslot_region_options *opt)
{
	struct memory *m = ctx;

	if (atomic_load(&m->in_flight))
		abort(); /* released before the completion */
	(void)munmap(opt->hva, opt->len_bytes);
	atomic_fetch_add(&m->releases, 1);
}

static struct mslot_region *map_memory(struct memory *m)
{
	struct mslot_region_options opt = {
	    .len_bytes = PAGES(READ_PAGES), .fd = -1, .release = unmap, .ctx = m};
	struct mslot_region *region;

	atomic_store(&m->releases, 0);
	atomic_store(&m->in_flight, false);
	m->hva =
	    mmap(NULL, opt.len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(m->hva != MAP_FAILED);
	opt.hva = m->hva;
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	return region;
}

/* ---- Reads --------------------------------------------------------------- */

/* One read into the memory of a lease; `done` is its result. */
struct reading {
	struct mslot_lease *lease;
	int fd;
	off_t offset; /* -1: no such thing in a pipe */
	ssize_t done;
#ifndef WITH_URING
	pthread_t thread;
#endif
};

#ifdef WITH_URING
static struct io_uring ring;

static int reads_init(void)
{
	return io_uring_queue_init(DEPTH, &ring, 0);
}

static void reads_fini(void)
{
	io_uring_queue_exit(&ring);
}

static void start(struct reading *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	const struct iovec *iov;
	size_t n;

	assert_non_null(sqe);
	iov = mslot_lease_iov(r->lease, &n);
	io_uring_prep_readv(sqe, r->fd, iov, (unsigned int)n, (__u64)r->offset);
	io_uring_sqe_set_data(sqe, r);
	assert_int_equal(io_uring_submit(&ring), 1);
}

/* Returns one that is complete. */
static struct reading *complete(struct reading *oldest)
{
	struct io_uring_cqe *cqe;
	struct reading *r;

	(void)oldest;
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	r = io_uring_cqe_get_data(cqe);
	r->done = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return r;
}
#else
static int reads_init(void)
{
	return 0;
}

static void reads_fini(void)
{
}

static void *read_it(void *arg)
{
	struct reading *r = arg;
	size_t n;
	const struct iovec *iov = mslot_lease_iov(r->lease, &n);

	r->done = r->offset < 0 ? readv(r->fd, iov, (int)n) : preadv(r->fd, iov, (int)n, r->offset);
	return NULL;
}

static void start(struct reading *r)
{
	assert_int_equal(pthread_create(&r->thread, NULL, read_it, r), 0);
}

static struct reading *complete(struct reading *oldest)
{
	assert_int_equal(pthread_join(oldest->thread, NULL), 0);
	return oldest;
}
#endif

/* Two slots side by side that show the memory back to front, leased as one span. */
static struct mslot_lease *lease_memory(struct mslot_map *map, struct mslot_region *region)
{
	const uint64_t half = READ_PAGES / 2;

	put_slot(map, def_of(1, 16, half, region, half));
	put_slot(map, def_of(2, 16 + half, half, region, 0));
	return lease_now(map, 16, READ_PAGES, "disk");
}

static uint64_t take_away(struct mslot_map *map, struct mslot_region *region)
{
	drop_slot(map, 1);
	drop_slot(map, 2);
	mslot_region_put(region);
	return generation_of(map);
}

static bool shows(const struct mslot_lease *lease, const char *want)
{
	size_t n;
	const struct iovec *iov = mslot_lease_iov(lease, &n);
	bool same = true;

	for (size_t i = 0; i < n; want += iov[i].iov_len, i++)
		same &= memcmp(iov[i].iov_base, want, iov[i].iov_len) == 0;
	return same;
}

/* ---- From a pipe --------------------------------------------------------- */

static void the_wait_names_the_read_and_release_waits_for_it(void **state)
{
	static char data[READ_PAGES * 4096];
	struct mslot_map *map = make_map(NULL);
	struct mslot_lease_holder holder;
	struct mslot_region *region;
	struct reading r = {.offset = -1};
	struct memory m;
	uint64_t generation;
	int ends[2];

	(void)state;
	memset(data, 0xa5, sizeof(data));
	assert_int_equal(pipe(ends), 0);
	region = map_memory(&m);
	r.lease = lease_memory(map, region);
	r.fd = ends[0];
	atomic_store(&m.in_flight, true);
	start(&r);
	generation = take_away(map, region);
	assert_int_equal(mslot_wait(map, generation, 20000000), -ETIMEDOUT);
	assert_int_equal(mslot_lease_holders(map, &holder, 1), 1);
	assert_string_equal(holder.tag, "disk");
	assert_int_equal(holder.removed, 1);
	assert_int_equal(holder.span.gpa, PAGES(16));
	assert_int_equal(holder.span.len_bytes, PAGES(READ_PAGES));
	assert_int_equal(m.releases, 0);
	/* What a pipe takes at once, a reader gets at once. */
	assert_int_equal(write(ends[1], data, sizeof(data)), sizeof(data));
	assert_ptr_equal(complete(&r), &r);
	atomic_store(&m.in_flight, false);
	assert_int_equal(r.done, sizeof(data));
	assert_true(shows(r.lease, data));
	assert_int_equal(mslot_wait(map, generation, 0), -ETIMEDOUT);
	mslot_lease_put(r.lease);
	assert_int_equal(mslot_wait(map, generation, -1), 0);
	assert_int_equal(m.releases, 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* ---- From a file --------------------------------------------------------- */

static int make_file(char *content)
{
	char name[] = "mslot-lease-XXXXXX";
	int fd = mkstemp(name), direct;

	assert_true(fd >= 0);
	for (size_t i = 0; i < PAGES(FILE_PAGES); i++)
		content[i] = (char)(i % 251 + i / 4096);
	assert_int_equal(write(fd, content, PAGES(FILE_PAGES)), PAGES(FILE_PAGES));
	assert_int_equal(fsync(fd), 0);
	direct = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	(void)unlink(name);
	if (direct < 0) {
		printf("no O_DIRECT here: reads go through the page cache\n");
		return fd;
	}
	(void)close(fd);
	return direct;
}

static void finish_one(struct reading *r, struct memory *m, const char *content)
{
	atomic_store(&m->in_flight, false);
	assert_int_equal(r->done, PAGES(READ_PAGES));
	assert_true(shows(r->lease, content + r->offset));
	mslot_lease_put(r->lease);
}

static void reads_go_on_while_their_memory_leaves_the_map(void **state)
{
	static char content[FILE_PAGES * 4096];
	struct mslot_map *map = make_map(NULL);
	struct reading r[DEPTH];
	struct memory m[DEPTH];
	int fd = make_file(content), err;

	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < DEPTH; i++) {
			struct mslot_region *region = map_memory(&m[i]);

			r[i] = (struct reading){
			    .lease = lease_memory(map, region),
			    .fd = fd,
			    .offset = (off_t)PAGES((round + i * 13) % (FILE_PAGES - READ_PAGES)),
			};
			atomic_store(&m[i].in_flight, true);
			start(&r[i]);
			(void)take_away(map, region);
		}
		err = mslot_wait(map, generation_of(map), 0);
		assert_int_equal(err, -ETIMEDOUT);
		for (size_t i = 0; i < DEPTH; i++) {
			struct reading *done = complete(&r[i]);

			finish_one(done, &m[done - r], content);
		}
		assert_int_equal(mslot_wait(map, generation_of(map), -1), 0);
		for (size_t i = 0; i < DEPTH; i++)
			assert_int_equal(m[i].releases, 1);
	}
	(void)close(fd);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_wait_names_the_read_and_release_waits_for_it),
	    cmocka_unit_test(reads_go_on_while_their_memory_leaves_the_map),
	};
	int err = reads_init();

	if (err) {
		printf("SKIP: io_uring_setup() is refused here: %s\n", strerror(-err));
		return 77;
	}
	err = cmocka_run_group_tests_name("lease_in_flight", tests, NULL, NULL);
	reads_fini();
	return err;
}
