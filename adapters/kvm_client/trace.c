/* SPDX-License-Identifier: MIT */
/*
 * trace.c - write the stream of slots of a VM; see trace.h.
 *
 * A line is written at once, with a call of its own: what a program did before it crashed is there.
 */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fds.h"
#include "stats.h"

struct client_trace {
	int fd; /* -1: it cannot be written */
	uint64_t begin_ns, group;
	/* Where each slot is, by (space, id): what a request means depends on it. */
	uint64_t *gpa;
};

#define NIDS (CLIENT_SPACES << 16)
#define NOT_THERE UINT64_MAX
#define NOT_OPEN (-2)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void put_text(const struct client_trace *trace, const char *text, size_t len_bytes)
{
	ssize_t n;

	while (len_bytes > 0) {
		n = syscall(SYS_write, trace->fd, text, len_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		len_bytes -= (size_t)n;
	}
}

/* Above what programs use, so that none is surprised by the number. */
static int open_high(const char *path)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			      0666);
	int high = fd < 0 ? -1 : (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);

	if (high < 0)
		return fd;
	fds_close_own(fd);
	return high;
}

static int open_file(const char *base, uint64_t number)
{
	char path[PATH_MAX];
	int n, fd;

	if (number <= 1)
		n = snprintf(path, sizeof(path), "%s", base);
	else
		n = snprintf(path, sizeof(path), "%s.%" PRIu64, base, number);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -1;
	fd = open_high(path);
	if (fd < 0)
		fprintf(stderr, "mslot kvm: cannot write the trace '%s': %s\n", path,
			strerror(errno));
	return fd;
}

struct client_trace *trace_begin(void)
{
	struct client_trace *trace;

	if (!getenv(CLIENT_ENV_TRACE))
		return NULL;
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return NULL;
	trace->fd = NOT_OPEN;
	trace->begin_ns = now_ns();
	return trace;
}

/* Returns whether there is a file to write to. */
static bool begin_file(struct client_trace *trace)
{
	static const char head[] = "# Written by mslot kvm.\n"
				   "# time_s tx as_id slot flags gpa size hva kind\n";
	const char *const base = getenv(CLIENT_ENV_TRACE);

	if (trace->fd != NOT_OPEN)
		return trace->fd >= 0;
	trace->fd = -1;
	trace->gpa = malloc(NIDS * sizeof(*trace->gpa));
	if (!trace->gpa || !base)
		return false;
	memset(trace->gpa, 0xff, NIDS * sizeof(*trace->gpa));
	trace->fd = open_file(base, stats_next_trace());
	put_text(trace, head, sizeof(head) - 1);
	return trace->fd >= 0;
}

void trace_end(struct client_trace *trace)
{
	if (!trace)
		return;
	if (trace->fd >= 0)
		fds_close_own(trace->fd);
	free(trace->gpa);
	free(trace);
}

static const char *kind_of(const struct client_trace *trace,
			   const struct kvm_userspace_memory_region *region)
{
	const uint64_t gpa = trace->gpa[region->slot % NIDS];

	if (region->memory_size == 0)
		return "DEL";
	return gpa == region->guest_phys_addr ? "FLAGS" : "ADD";
}

void trace_regions(struct client_trace *trace, const struct kvm_userspace_memory_region *regions,
		   uint32_t n)
{
	const uint64_t ns = now_ns() - trace->begin_ns;
	char line[256];
	int len;

	if (!begin_file(trace))
		return;
	for (uint32_t i = 0; i < n; i++) {
		const struct kvm_userspace_memory_region *const r = &regions[i];

		len = snprintf(line, sizeof(line),
			       "%" PRIu64 ".%09" PRIu64 " %" PRIu64
			       " %u %u 0x%x 0x%llx 0x%llx 0x%llx %s\n",
			       ns / 1000000000u, ns % 1000000000u, trace->group, r->slot >> 16,
			       r->slot & 0xffff, r->flags, r->guest_phys_addr, r->memory_size,
			       r->userspace_addr, kind_of(trace, r));
		if (len > 0)
			put_text(trace, line, (size_t)len);
		trace->gpa[r->slot % NIDS] = r->memory_size ? r->guest_phys_addr : NOT_THERE;
	}
	trace->group++;
}
