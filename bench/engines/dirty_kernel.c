/* SPDX-License-Identifier: MIT */
/*
 * dirty_kernel.c - harvests of the real kernel's KVM, of a VM without a vCPU.
 *
 * Nobody writes to that guest. Pages become dirty all the same: with
 * KVM_DIRTY_LOG_INITIALLY_SET all of them when logging goes on, and those that shall be clean are
 * cleared by their mask; then manual protection is switched off for a get that clears.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "dirty_engines.h"

#define DEVICE "/dev/kvm"

struct world {
	int vm;
	void *host;
	const struct harvest_shape *shape;
};

static void destroy(void *world)
{
	struct world *const w = world;

	if (w->vm >= 0)
		close(w->vm);
	if (w->host != NULL)
		munmap(w->host, w->shape->npages * DIRTY_PAGE);
	free(w);
}

static int call(const struct world *w, unsigned long request, const void *arg)
{
	return ioctl(w->vm, request, arg) < 0 ? -errno : 0;
}

static int set_slot(const struct world *w, uint32_t flags)
{
	const struct kvm_userspace_memory_region region = {
	    .flags = flags,
	    .memory_size = w->shape->npages * DIRTY_PAGE,
	    .userspace_addr = (uintptr_t)w->host,
	};

	return call(w, KVM_SET_USER_MEMORY_REGION, &region);
}

static int set_manual(const struct world *w, uint64_t bits)
{
	const struct kvm_enable_cap cap = {
	    .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	    .args = {bits},
	};

	return call(w, KVM_ENABLE_CAP, &cap);
}

static int get(const struct world *w, void *out)
{
	return call(w, KVM_GET_DIRTY_LOG, &(struct kvm_dirty_log){.dirty_bitmap = out});
}

static int clear(const struct world *w, const void *mask)
{
	const struct kvm_clear_dirty_log log = {
	    .num_pages = (uint32_t)w->shape->npages,
	    .dirty_bitmap = (void *)(uintptr_t)mask,
	};

	return call(w, KVM_CLEAR_DIRTY_LOG, &log);
}

static void *create(const struct harvest_shape *shape, char why[BENCH_REASON])
{
	const int kvm = open(DEVICE, O_RDWR | O_CLOEXEC);
	struct world *w;
	int ret;

	if (kvm < 0)
		return bench_cannot(why, DEVICE ": open", errno);
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		close(kvm);
		return bench_cannot(why, "memory", ENOMEM);
	}
	w->shape = shape;
	w->vm = ioctl(kvm, KVM_CREATE_VM, 0UL);
	ret = w->vm < 0 ? -errno : 0;
	close(kvm);
	if (ret == 0)
		w->host = bench_host(shape->npages * DIRTY_PAGE, why);
	if (ret == 0 && w->host != NULL)
		ret = set_slot(w, 0);
	if (ret == 0 && w->host != NULL)
		return w;
	if (ret < 0)
		bench_cannot(why, DEVICE ": a VM with such a slot", -ret);
	destroy(w);
	return NULL;
}

static int soil(void *world)
{
	struct world *const w = world;
	int ret = set_manual(w, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);

	if (ret == 0)
		ret = set_slot(w, 0);
	if (ret == 0)
		ret = set_slot(w, KVM_MEM_LOG_DIRTY_PAGES);
	if (ret == 0 && w->shape->ndirty < w->shape->npages)
		ret = clear(w, w->shape->clean);
	if (ret == 0 && w->shape->kind == HARVEST_GET)
		ret = set_manual(w, 0);
	return ret;
}

static int64_t harvest(void *world, uint64_t *out)
{
	struct world *const w = world;
	const uint64_t begin = clock_wall_ns();
	const int ret = w->shape->kind == HARVEST_CLEAR ? clear(w, w->shape->bitmap) : get(w, out);

	return ret < 0 ? ret : (int64_t)(clock_wall_ns() - begin);
}

static int rest(void *world, uint64_t *out)
{
	return get(world, out);
}

const struct harvester harvest_kernel = {.name = "kernel",
					 .kinds = 1u << HARVEST_GET | 1u << HARVEST_KEEP |
						  1u << HARVEST_CLEAR,
					 .first_cpu = true,
					 .create = create,
					 .soil = soil,
					 .harvest = harvest,
					 .rest = rest,
					 .destroy = destroy};
