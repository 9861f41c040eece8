/* SPDX-License-Identifier: MIT */
#include "naive_dirty.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SHIFT 12
#define RING_MIN_BYTES 4096u
#define RING_MAX_BYTES (65536u * 16u)

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "naive_dirty: out of memory\n");
		abort();
	}
	return p;
}

void ndirty_init(struct naive_dirty *d, uint32_t nspaces, uint32_t max_user_slots)
{
	*d = (struct naive_dirty){.nspaces = nspaces, .max_user_slots = max_user_slots};
}

void ndirty_fini(struct naive_dirty *d)
{
	for (size_t i = 0; i < d->nslots; i++)
		free(d->slot[i].dirty);
	free(d->slot);
	ndirty_init(d, 0, 0);
}

static struct naive_dirty_slot *find(struct naive_dirty *d, uint32_t slot)
{
	for (size_t i = 0; i < d->nslots; i++) {
		if (d->slot[i].slot == slot)
			return &d->slot[i];
	}
	return NULL;
}

static struct naive_dirty_slot *add(struct naive_dirty *d, uint32_t slot)
{
	d->slot = must(realloc(d->slot, (d->nslots + 1) * sizeof(*d->slot)));
	d->slot[d->nslots] = (struct naive_dirty_slot){.slot = slot};
	return &d->slot[d->nslots++];
}

void ndirty_region(struct naive_dirty *d, const struct kvm_userspace_memory_region *region)
{
	struct naive_dirty_slot *s = find(d, region->slot);

	if (region->memory_size == 0) {
		free(s->dirty);
		*s = d->slot[--d->nslots];
		return;
	}
	if (s == NULL)
		s = add(d, region->slot);
	s->flags = region->flags;
	s->gpa = region->guest_phys_addr;
	s->npages = region->memory_size >> PAGE_SHIFT;
	if (!(s->flags & KVM_MEM_LOG_DIRTY_PAGES)) {
		free(s->dirty);
		s->dirty = NULL;
	} else if (s->dirty == NULL && !d->ring) {
		s->dirty = must(malloc(s->npages * sizeof(*s->dirty)));
		for (uint64_t page = 0; page < s->npages; page++)
			s->dirty[page] = d->initially;
	}
}

void ndirty_write(struct naive_dirty *d, uint32_t slot, uint64_t page)
{
	struct naive_dirty_slot *const s = find(d, slot);

	if (s != NULL && s->dirty != NULL && page < s->npages)
		s->dirty[page] = true;
}

static int enable_ring(struct naive_dirty *d, uint32_t bytes)
{
	if (bytes == 0 || (bytes & (bytes - 1)) != 0 || bytes < RING_MIN_BYTES)
		return -EINVAL;
	if (bytes > RING_MAX_BYTES)
		return -E2BIG;
	if (d->ring)
		return -EINVAL;
	d->ring = true;
	return 0;
}

int ndirty_enable_cap(struct naive_dirty *d, const struct kvm_enable_cap *cap)
{
	const uint64_t bits = cap->args[0];

	switch (cap->cap) {
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		/* The kernel keeps 32 bits of the size, and does not look at the flags. */
		return enable_ring(d, (uint32_t)bits);
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (cap->flags != 0 || (bits != 0 && bits != 1 && bits != 3))
			return -EINVAL;
		d->manual = bits & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
		d->initially = bits & KVM_DIRTY_LOG_INITIALLY_SET;
		return 0;
	default:
		return -EINVAL;
	}
}

/* The checks that come before a slot is looked for. */
static int check_ids(const struct naive_dirty *d, uint32_t slot)
{
	if (d->ring)
		return -ENXIO;
	if (slot >> 16 >= d->nspaces || (slot & 0xffff) >= d->max_user_slots)
		return -EINVAL;
	return 0;
}

int ndirty_get(struct naive_dirty *d, const struct kvm_dirty_log *log)
{
	uint64_t *const word = log->dirty_bitmap;
	const int ret = check_ids(d, log->slot);
	struct naive_dirty_slot *s;

	if (ret < 0)
		return ret;
	s = find(d, log->slot);
	if (s == NULL || s->dirty == NULL)
		return -ENOENT;
	memset(word, 0, (s->npages + 63) / 64 * sizeof(*word));
	for (uint64_t page = 0; page < s->npages; page++) {
		if (s->dirty[page])
			word[page / 64] |= UINT64_C(1) << (page % 64);
		if (!d->manual)
			s->dirty[page] = false;
	}
	return 0;
}

int ndirty_clear(struct naive_dirty *d, const struct kvm_clear_dirty_log *log)
{
	const uint64_t *const word = log->dirty_bitmap;
	const uint64_t first = log->first_page, n = log->num_pages;
	const int ret = check_ids(d, log->slot);
	struct naive_dirty_slot *s;

	if (ret < 0)
		return ret;
	if (first % 64 != 0)
		return -EINVAL;
	s = find(d, log->slot);
	if (s == NULL || s->dirty == NULL)
		return -ENOENT;
	if (first > s->npages || n > s->npages - first)
		return -EINVAL;
	if (n % 64 != 0 && first + n != s->npages)
		return -EINVAL;
	for (uint64_t i = 0; i < n; i++) {
		if (word[i / 64] >> (i % 64) & 1)
			s->dirty[first + i] = false;
	}
	return 0;
}
