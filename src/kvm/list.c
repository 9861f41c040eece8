/* SPDX-License-Identifier: MIT */
/*
 * list.c - several KVM memory-slot requests as one change.
 *
 * Data: a scan reads each entry exactly once (the caller's memory may change under
 * us), checks it, and turns it into at most one edit of a transaction. An entry that
 * changes nothing makes no edit, so that it cannot be blamed for an overlap that
 * another entry causes; `entry_of_edit` leads from edits back to entries.
 *
 * Which entry is to blame: the first that breaks a rule on its own (1 to 12, pads,
 * the label invalidate_slot, a slot named before); if none does, the one that the
 * commit blames.
 */
#include <mslot/kvm.h>

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "kvm/request.h"
#include "map/wait.h"
#include "map/vcpus.h"
#include "map/writer.h"

static_assert(sizeof(struct mslot_kvm_region_entry) == 64, "the proposed layout");
static_assert(sizeof(struct mslot_kvm_region_list) == 8, "the proposed layout");

struct list_scan {
	struct mslot_map *map;
	struct mslot_txn *txn;
	const struct mslot_kvm_region_list *list;
	uint32_t nent, flags; /* of the header */
	uint32_t nscanned;    /* entries read: all, or up to the failed one */
	uint32_t nedits;
	uint32_t failed; /* entry to blame, or MSLOT_NO_EDIT */
	bool waits;      /* an edit does */
	uint64_t *names; /* slot number << 32 | entry, of the entries read */
	uint32_t *entry_of_edit;
};

static bool pad_is_zero(const struct mslot_kvm_region_entry *entry)
{
	for (size_t i = 0; i < sizeof(entry->pad); i++) {
		if (entry->pad[i])
			return false;
	}
	return true;
}

static int scan_entry(struct list_scan *scan, uint32_t index,
		      const struct mslot_kvm_region_entry *entry)
{
	const struct kvm_request req = {
	    .key = kvm_key(entry->slot),
	    .flags = entry->flags,
	    .valid_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY,
	    .gpa = entry->guest_phys_addr,
	    .len_bytes = entry->memory_size,
	    .hva = entry->userspace_addr,
	};
	struct kvm_plan plan;
	int err;

	err = kvm_request_plan(scan->map, &req, &plan);
	if (err)
		return err;
	if (!pad_is_zero(entry))
		return -EINVAL;
	if (entry->invalidate_slot !=
	    (plan.change == KVM_CHANGE_DELETE || plan.change == KVM_CHANGE_MOVE))
		return -EINVAL;
	if (plan.change == KVM_CHANGE_NONE)
		return 0;
	err = kvm_request_add(scan->map, scan->txn, &req, &plan);
	if (err < 0)
		return err;
	scan->entry_of_edit[scan->nedits++] = index;
	scan->waits |= plan.waits;
	return 0;
}

static int scan_entries(struct list_scan *scan)
{
	for (uint32_t i = 0; i < scan->nent; i++) {
		struct mslot_kvm_region_entry entry;
		int err;

		memcpy(&entry, &scan->list->entries[i], sizeof(entry));
		/* The compiler must not read the caller's memory again after the checks. */
		atomic_signal_fence(memory_order_seq_cst);
		scan->names[i] = (uint64_t)entry.slot << 32 | i;
		scan->nscanned = i + 1;
		err = scan_entry(scan, i, &entry);
		if (err) {
			scan->failed = err == -ENOMEM ? MSLOT_NO_EDIT : i;
			return err;
		}
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The first entry read that names a slot which an earlier one named, or MSLOT_NO_EDIT. */
static uint32_t first_duplicate(struct list_scan *scan)
{
	uint32_t first = MSLOT_NO_EDIT;

	qsort(scan->names, scan->nscanned, sizeof(scan->names[0]), compare_names);
	for (uint32_t i = 1; i < scan->nscanned; i++) {
		if (scan->names[i] >> 32 == scan->names[i - 1] >> 32 &&
		    (uint32_t)scan->names[i] < first)
			first = (uint32_t)scan->names[i];
	}
	return first;
}

static int scan_and_commit(struct list_scan *scan)
{
	struct mslot_commit_result result;
	uint32_t duplicate;
	int err;

	err = scan_entries(scan);
	duplicate = first_duplicate(scan);
	/* MSLOT_NO_EDIT is above every entry. */
	if (duplicate < scan->failed) {
		scan->failed = duplicate;
		return -EINVAL;
	}
	if (err || scan->nedits == 0)
		return err;
	err = kvm_commit(scan->txn, scan->waits, 0, &result);
	if (err && result.failed_edit != MSLOT_NO_EDIT)
		scan->failed = scan->entry_of_edit[result.failed_edit];
	return err;
}

static int check_header(const struct list_scan *scan, size_t list_bytes)
{
	struct mslot_map_options opt;

	if (list_bytes < sizeof(*scan->list))
		return -EFAULT;
	if (scan->nent > (list_bytes - sizeof(*scan->list)) / sizeof(scan->list->entries[0]))
		return -EFAULT;
	mslot_map_options_get(scan->map, &opt);
	if (scan->nent > opt.max_edits)
		return -E2BIG;
	return scan->flags & ~MSLOT_KVM_LIST_EXCLUSIVE ? -EINVAL : 0;
}

static int list_apply(struct list_scan *scan, size_t list_bytes)
{
	int err;

	err = check_header(scan, list_bytes);
	if (err || scan->nent == 0)
		return err;
	scan->names =
	    mem_alloc(scan->nent * (sizeof(scan->names[0]) + sizeof(scan->entry_of_edit[0])));
	if (!scan->names)
		return -ENOMEM;
	scan->entry_of_edit = (uint32_t *)(scan->names + scan->nent);
	err = mslot_txn_begin(scan->map, &scan->txn);
	if (!err) {
		err = scan_and_commit(scan);
		mslot_txn_abort(scan->txn);
	}
	mem_free(scan->names);
	return err;
}

/* The header, once: the caller's memory may change. */
static void read_header(struct list_scan *scan, size_t list_bytes)
{
	struct mslot_kvm_region_list header;

	if (list_bytes < sizeof(header))
		return;
	memcpy(&header, scan->list, sizeof(header));
	atomic_signal_fence(memory_order_seq_cst);
	scan->nent = header.nent;
	scan->flags = header.flags;
}

static int list_commit(struct list_scan *scan, size_t list_bytes)
{
	int err = map_write_begin(scan->map);

	if (err)
		return err;
	err = list_apply(scan, list_bytes);
	map_write_end(scan->map);
	return err;
}

/* With the vCPUs out, before the writer mutex is taken: one may want it in its section. */
static int list_commit_exclusive(struct list_scan *scan, size_t list_bytes)
{
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = map_exclude(scan->map, UINT64_MAX);
	if (err)
		return err;
	err = list_commit(scan, list_bytes);
	map_readmit(scan->map);
	return err;
}

int mslot_kvm_set_user_memory_region_list(struct mslot_map *map,
					  const struct mslot_kvm_region_list *list,
					  size_t list_bytes, __u32 *failed_entry)
{
	struct list_scan scan = {.map = map, .list = list, .failed = MSLOT_NO_EDIT};
	int err;

	read_header(&scan, list_bytes);
	err = scan.flags & MSLOT_KVM_LIST_EXCLUSIVE ? list_commit_exclusive(&scan, list_bytes)
						    : list_commit(&scan, list_bytes);
	if (!err && scan.waits)
		map_synchronize(map);
	if (err && failed_entry)
		*failed_entry = scan.failed;
	return err;
}
