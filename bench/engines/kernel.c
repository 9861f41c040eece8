/* SPDX-License-Identifier: MIT */
/*
 * kernel.c - the real kernel's KVM as an engine: one KVM_SET_USER_MEMORY_REGION an edit, on a
 * VM without a vCPU. It has no lookups (they happen inside the kernel only, which tells nobody
 * the flags of a slot either) and cannot publish
 * several edits at once, so that there is no fill and no batch either: set a map up by inserts.
 *
 * Data: beside the VM, the request that made each slot, because each later edit of a slot
 * repeats what does not change. request[id].memory_size is 0 for an id without a slot, and
 * otherwise what the kernel was told last with success.
 *
 * The thread that measures stays on CPU 0: on another one each call was 7 to 25 times slower
 * on the machine where this was written.
 *
 * hva must be mapped memory. The kernel does not touch it for an edit, so that one
 * MAP_NORESERVE mapping does, and any number of slots may show the same part of it.
 */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#define DEVICE "/dev/kvm"
/* What Linux on x86 has had since 5.12; absent() compares it with KVM_CAP_NR_MEMSLOTS. */
#define MAX_SLOTS 32764u
#define BATCHES 9
#define CALLS 20000

struct engine_map {
	int vm;
	uint32_t limit;
	struct kvm_userspace_memory_region request[];
};

/* A file descriptor of a new VM, or a negative errno; *call then names what failed. */
static int open_vm(const char **call)
{
	const int kvm = open(DEVICE, O_RDWR | O_CLOEXEC);
	int vm;

	*call = "open";
	if (kvm < 0)
		return -errno;
	*call = "KVM_CREATE_VM";
	vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	if (vm < 0)
		vm = -errno;
	close(kvm);
	return vm;
}

static int slots_of(int vm)
{
	return ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
}

static const char *absent(void)
{
	static char reason[96];
	const char *call;
	const int vm = open_vm(&call);
	int nslots;

	if (vm < 0) {
		snprintf(reason, sizeof(reason), DEVICE ": %s: %s", call, strerror(-vm));
		return reason;
	}
	nslots = slots_of(vm);
	close(vm);
	if (nslots >= (int)MAX_SLOTS)
		return NULL;
	snprintf(reason, sizeof(reason), DEVICE ": %d slots a VM, %u needed", nslots, MAX_SLOTS);
	return reason;
}

static const char *version(void)
{
	static char text[80];
	char release[64] = "";
	FILE *const f = fopen("/proc/sys/kernel/osrelease", "re");

	if (!f)
		return "Linux, release unknown";
	if (!fgets(release, sizeof(release), f))
		release[0] = '\0';
	fclose(f);
	release[strcspn(release, "\n")] = '\0';
	snprintf(text, sizeof(text), "Linux %s", release[0] ? release : "of an unknown release");
	return text;
}

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *const map =
	    calloc(1, sizeof(*map) + (size_t)limit * sizeof(map->request[0]));
	const char *call;

	if (!map)
		return NULL;
	map->limit = limit;
	map->vm = open_vm(&call);
	if (map->vm >= 0 && limit <= (uint32_t)slots_of(map->vm))
		return map;
	if (map->vm >= 0)
		close(map->vm);
	free(map);
	return NULL;
}

static void destroy(struct engine_map *map)
{
	close(map->vm);
	free(map);
}

static int set(struct engine_map *map, const struct kvm_userspace_memory_region *request)
{
	if (ioctl(map->vm, KVM_SET_USER_MEMORY_REGION, request) < 0)
		return -errno;
	map->request[request->slot] = *request;
	return 0;
}

static bool exists(const struct engine_map *map, uint32_t id)
{
	return id < map->limit && map->request[id].memory_size > 0;
}

static int insert(struct engine_map *map, const struct engine_slot *slot)
{
	const struct kvm_userspace_memory_region request = {
	    .slot = slot->id,
	    .flags = slot->flags ? KVM_MEM_LOG_DIRTY_PAGES : 0,
	    .guest_phys_addr = slot->gpa,
	    .memory_size = slot->len_bytes,
	    .userspace_addr = slot->hva,
	};

	/* To the kernel this would be a removal, or a change of the slot that is there. */
	if (slot->id >= map->limit || exists(map, slot->id) || slot->len_bytes == 0)
		return -EINVAL;
	return set(map, &request);
}

/* Named apart from remove() of <stdio.h>. */
static int remove_slot(struct engine_map *map, uint32_t id)
{
	struct kvm_userspace_memory_region request;

	if (!exists(map, id))
		return -EINVAL;
	request = map->request[id];
	request.memory_size = 0;
	return set(map, &request);
}

static int move(struct engine_map *map, uint32_t id, uint64_t gpa)
{
	struct kvm_userspace_memory_region request;

	if (!exists(map, id))
		return -EINVAL;
	request = map->request[id];
	request.guest_phys_addr = gpa;
	return set(map, &request);
}

static int set_flags(struct engine_map *map, uint32_t id, uint32_t flags)
{
	struct kvm_userspace_memory_region request;

	if (!exists(map, id))
		return -EINVAL;
	request = map->request[id];
	request.flags = flags ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	return set(map, &request);
}

const struct engine engine_kernel = {
    .name = "kernel",
    .what = "KVM of this machine's kernel, one ioctl an edit",
    .absent = absent,
    .version = version,
    .max_slots = MAX_SLOTS,
    .real_memory = true,
    .overlaps_hva = true,
    .first_cpu = true,
    .create = create,
    .destroy = destroy,
    .insert = insert,
    .remove = remove_slot,
    .move = move,
    .set_flags = set_flags,
};

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double bench_kernel_bare_call_ns(void)
{
	double took[BATCHES];
	const char *call;
	int vm;

	if (absent())
		return -1;
	vm = open_vm(&call);
	if (vm < 0)
		return -1;
	for (int i = 0; i < BATCHES; i++) {
		const double begin = thread_ns();

		for (int k = 0; k < CALLS; k++)
			slots_of(vm);
		took[i] = (thread_ns() - begin) / CALLS;
	}
	close(vm);
	qsort(took, BATCHES, sizeof(took[0]), by_value);
	return took[BATCHES / 2];
}
