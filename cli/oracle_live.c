/* SPDX-License-Identifier: MIT */
/*
 * oracle_live.c - send the same random requests to a real kernel and to the library.
 *
 * The kernel's limits are asked for or probed with one-page slots, and the maps get the
 * same ones. The thread stays on CPU 0, where /dev/kvm answers many times faster.
 */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

#define BATCH 20000u /* requests to one VM */
#define PAGE UINT64_C(4096)

static int kernel_answer(int vm, const struct request *r)
{
	struct kvm_userspace_memory_region region = {
	    .slot = r->slot,
	    .flags = r->flags,
	    .guest_phys_addr = r->gpa,
	    .memory_size = r->size,
	    .userspace_addr = r->hva,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* Does the kernel take a page there? Leaves no slot behind. */
static bool takes_page(int vm, uint64_t gpa, uint64_t hva)
{
	struct request r = {.gpa = gpa, .size = PAGE, .hva = hva};

	if (kernel_answer(vm, &r) < 0)
		return false;
	r.size = 0;
	return kernel_answer(vm, &r) == 0;
}

/* The highest power of two below which a page may lie. */
static uint64_t probe_gpa_limit(int vm)
{
	uint64_t limit = UINT64_C(1) << 63;

	while (limit > PAGE && !takes_page(vm, limit - PAGE, 0))
		limit >>= 1;
	return limit;
}

/* The first page-aligned host address that no page may reach, by bisection. */
static uint64_t probe_hva_limit(int vm)
{
	uint64_t taken = 0, refused = UINT64_C(1) << 51; /* page numbers; the latter is 2^63 */

	while (refused - taken > 1) {
		const uint64_t mid = taken + (refused - taken) / 2;

		if (takes_page(vm, 0, mid * PAGE))
			taken = mid;
		else
			refused = mid;
	}
	return refused * PAGE;
}

int oracle_skip(const char *what, int err)
{
	cli_error("oracle", "skipped: %s%s%s", what, err != 0 ? ": " : "",
		  err != 0 ? strerror(err) : "");
	return CLI_SKIPPED;
}

static int query_limits(int kvm, struct kernel_limits *limits)
{
	const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int slots, spaces;

	if (vm < 0)
		return oracle_skip("KVM_CREATE_VM", errno);
	slots = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	spaces = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE);
	if (slots <= 0 || ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0) {
		close(vm);
		return oracle_skip("the kernel lacks KVM_CAP_NR_MEMSLOTS or KVM_CAP_READONLY_MEM",
				   0);
	}
	*limits = (struct kernel_limits){
	    .user_slots = (uint32_t)slots,
	    .nspaces = spaces > 0 ? (uint32_t)spaces : 1,
	    .gpa_limit = probe_gpa_limit(vm),
	    .hva_limit = probe_hva_limit(vm),
	};
	close(vm);
	return CLI_OK;
}

/* One VM and one map get the same requests. */
static int run_batch(struct verdict *v, int vm, struct generator *g, struct request *request,
		     size_t n)
{
	const struct mslot_map_options opt = {
	    .nspaces = g->limits.nspaces,
	    .max_user_slots = g->limits.user_slots,
	    .gpa_limit = g->limits.gpa_limit,
	    .hva_limit = g->limits.hva_limit,
	};
	struct mslot_map *map;
	int ret = mslot_map_create(&opt, &map);

	if (ret < 0) {
		cli_error("oracle", "cannot create a map: %s", strerror(-ret));
		return CLI_FAILED;
	}
	for (size_t i = 0; i < n; i++) {
		generator_next(g, &request[i]);
		request[i].answer = kernel_answer(vm, &request[i]);
		generator_note(g, &request[i]);
		verdict_check(v, map, "live", request, i);
	}
	ret = mslot_map_destroy(map);
	if (ret < 0)
		cli_error("oracle", "cannot destroy the map: %s", strerror(-ret));
	return ret < 0 ? CLI_FAILED : CLI_OK;
}

static void pin_to_cpu0(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		cli_error("oracle", "cannot stay on CPU 0 (%s): this will be slower",
			  strerror(errno));
}

static int run_batches(struct verdict *v, int kvm, struct generator *g, uint64_t nrequests,
		       struct progress *progress)
{
	struct request *const request = cli_alloc(BATCH, sizeof(*request));
	int status = CLI_OK;

	for (uint64_t done = 0; done < nrequests && status == CLI_OK;) {
		const uint64_t left = nrequests - done;
		const size_t n = left < BATCH ? (size_t)left : BATCH;
		const int vm = ioctl(kvm, KVM_CREATE_VM, 0);

		if (vm < 0) {
			cli_error("oracle", "KVM_CREATE_VM: %s", strerror(errno));
			status = CLI_FAILED;
			break;
		}
		generator_reset(g);
		status = run_batch(v, vm, g, request, n);
		close(vm);
		done += n;
		progress_update(progress, "live requests", done, nrequests);
	}
	progress_clear(progress);
	free(request);
	return status;
}

int oracle_open_kernel(int *kvm, struct kernel_limits *limits)
{
	int status;

	*kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (*kvm < 0)
		return oracle_skip("/dev/kvm", errno);
	pin_to_cpu0();
	status = query_limits(*kvm, limits);
	if (status != CLI_OK)
		close(*kvm);
	return status;
}

int oracle_live(struct verdict *v, uint64_t nrequests, uint64_t seed, struct progress *progress)
{
	struct kernel_limits limits;
	struct generator g;
	int kvm;
	int status = oracle_open_kernel(&kvm, &limits);

	if (status != CLI_OK)
		return status;
	generator_init(&g, seed, &limits);
	status = run_batches(v, kvm, &g, nrequests, progress);
	close(kvm);
	return status;
}
