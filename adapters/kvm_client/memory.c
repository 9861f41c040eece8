/* SPDX-License-Identifier: MIT */
/*
 * memory.c - slots, dirty logs and rings: the library's KVM calls, with memory of the program.
 *
 * Bitmaps go through memory of our own, since the program's may not be there. `slots_lock` keeps
 * the slot that its size was taken from.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/kvm_ioctl.h>

#include "client.h"
#include "stats.h"
#include "trace.h"

#define MAX_LIST_ENTRIES (1u << 20)

/* ---- Slots -------------------------------------------------------------- */

static uint64_t generation_of(struct vm *vm)
{
	const struct mslot_snapshot *snap = mslot_enter(vm->map);
	uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

long memory_set_region(void *body, void *arg)
{
	const struct kvm_userspace_memory_region *region = arg;
	struct vm *vm = body;
	uint64_t before = 0;
	int err;

	pthread_mutex_lock(&vm->slots_lock);
	if (vm->trace)
		before = generation_of(vm);
	err = mslot_kvm_set_user_memory_region(vm->map, region);
	if (vm->trace && !err && generation_of(vm) != before)
		trace_regions(vm->trace, region, 1);
	stats_vm_memory(vm);
	pthread_mutex_unlock(&vm->slots_lock);
	return err;
}

/* The program's list, copied. Returns NULL with *err set. */
static struct mslot_kvm_region_list *read_list(const void *from, size_t *bytes, int *err)
{
	struct mslot_kvm_region_list head = {.nent = 0}, *list;

	*err = user_read(&head, from, sizeof(head));
	if (!*err && head.nent > MAX_LIST_ENTRIES)
		*err = -E2BIG;
	if (*err)
		return NULL;
	*bytes = sizeof(head) + head.nent * sizeof(head.entries[0]);
	list = malloc(*bytes);
	*err = list ? user_read(list, from, *bytes) : -ENOMEM;
	if (*err) {
		free(list);
		return NULL;
	}
	/* Read twice: the program may have changed it. */
	list->nent = head.nent;
	/* What is one change to the program is one to its guests. */
	list->flags |= MSLOT_KVM_LIST_EXCLUSIVE;
	return list;
}

static void trace_list(struct vm *vm, const struct mslot_kvm_region_list *list)
{
	struct kvm_userspace_memory_region *regions = calloc(list->nent, sizeof(*regions));

	if (!regions)
		return;
	for (uint32_t i = 0; i < list->nent; i++)
		regions[i] = (struct kvm_userspace_memory_region){
		    .slot = list->entries[i].slot,
		    .flags = list->entries[i].flags,
		    .guest_phys_addr = list->entries[i].guest_phys_addr,
		    .memory_size = list->entries[i].memory_size,
		    .userspace_addr = list->entries[i].userspace_addr,
		};
	trace_regions(vm->trace, regions, list->nent);
	free(regions);
}

long memory_set_region_list(void *body, void *arg)
{
	struct mslot_kvm_region_list *list;
	struct vm *vm = body;
	size_t bytes;
	int err;

	list = read_list(arg, &bytes, &err);
	if (!list)
		return err;
	pthread_mutex_lock(&vm->slots_lock);
	err = mslot_kvm_set_user_memory_region_list(vm->map, list, bytes, NULL);
	if (!err && vm->trace && list->nent > 0)
		trace_list(vm, list);
	stats_vm_memory(vm);
	pthread_mutex_unlock(&vm->slots_lock);
	free(list);
	return err;
}

/* ---- Dirty logs --------------------------------------------------------- */

/* Bytes of a slot's bitmap, 0: there is no such slot. slots_lock held. */
static size_t bitmap_bytes(struct vm *vm, uint32_t slot)
{
	const struct mslot_key key = {.space = slot >> 16, .id = slot & 0xffff};
	const struct mslot_snapshot *snap = mslot_enter(vm->map);
	const struct mslot_slot *found = mslot_find_id(snap, key);
	struct mslot_slot_info info = {.len_bytes = 0};

	if (found)
		mslot_slot_info_get(found, &info);
	mslot_leave(snap);
	return (info.len_bytes / CLIENT_PAGE + 63) / 64 * 8;
}

long memory_get_log(void *body, void *arg)
{
	struct kvm_dirty_log log = *(const struct kvm_dirty_log *)arg;
	void *const to = log.dirty_bitmap;
	struct vm *vm = body;
	size_t bytes;
	int err;

	pthread_mutex_lock(&vm->slots_lock);
	bytes = bitmap_bytes(vm, log.slot);
	/* Without a slot the library says why before it looks at the bitmap. */
	log.dirty_bitmap = malloc(bytes + 8);
	err = log.dirty_bitmap ? mslot_kvm_get_dirty_log(vm->map, &log) : -ENOMEM;
	if (!err)
		err = user_write(to, log.dirty_bitmap, bytes);
	stats_vm_memory(vm);
	pthread_mutex_unlock(&vm->slots_lock);
	free(log.dirty_bitmap);
	return err;
}

long memory_clear_log(void *body, void *arg)
{
	struct kvm_clear_dirty_log log = *(const struct kvm_clear_dirty_log *)arg;
	const void *const from = log.dirty_bitmap;
	const size_t wanted = ((size_t)log.num_pages + 63) / 64 * 8;
	struct vm *vm = body;
	size_t bytes;
	int err = 0;

	pthread_mutex_lock(&vm->slots_lock);
	/* More than the slot has is refused before the bitmap is looked at. */
	bytes = bitmap_bytes(vm, log.slot);
	log.dirty_bitmap = calloc(1, wanted + 8);
	if (!log.dirty_bitmap)
		err = -ENOMEM;
	else if (wanted <= bytes)
		err = user_read(log.dirty_bitmap, from, wanted);
	if (err == -EFAULT) {
		/* Other errors come first: ask without a bitmap. */
		free(log.dirty_bitmap);
		log.dirty_bitmap = NULL;
		err = 0;
	}
	if (!err)
		err = mslot_kvm_clear_dirty_log(vm->map, &log);
	stats_vm_memory(vm);
	pthread_mutex_unlock(&vm->slots_lock);
	free(log.dirty_bitmap);
	return err;
}

long memory_reset_rings(void *body, void *arg)
{
	struct vm *vm = body;
	long n;

	(void)arg;
	pthread_mutex_lock(&vm->slots_lock);
	n = (long)mslot_kvm_reset_dirty_rings(vm->map);
	stats_vm_memory(vm);
	pthread_mutex_unlock(&vm->slots_lock);
	return n;
}

long memory_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap)
{
	const bool rings =
	    cap->cap == KVM_CAP_DIRTY_LOG_RING || cap->cap == KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	int err;

	pthread_mutex_lock(&vm->lock);
	pthread_mutex_lock(&vm->slots_lock);
	err = mslot_kvm_enable_cap(vm->map, cap);
	pthread_mutex_unlock(&vm->slots_lock);
	if (!err && rings)
		atomic_store(&vm->ring_bytes, (uint32_t)cap->args[0]);
	pthread_mutex_unlock(&vm->lock);
	return err;
}
