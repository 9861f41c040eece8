/* SPDX-License-Identifier: MIT */
/*
 * root.c - roots: their tops, addresses and lookups.
 *
 * A root's top belongs to a zap generation: mslot_zap_all() counts the MMU's generation up, and
 * tops of older ones map nothing any more. The next fault puts a new top in its place, and retires
 * the old one with all that is below it.
 */
#include <errno.h>

#include "access/tlb.h"
#include "access/vcpu.h"
#include "base/alloc.h"
#include "mmu/mmu.h"

#define DEFAULT_LEVELS 4u
#define MAX_LEVELS 5u

int root_page(const struct mslot_root *root, uint64_t addr, uint64_t *page)
{
	unsigned int bits = root->levels * TABLE_BITS + root->mmu->page_shift;
	uint64_t above;

	if (root->opt.kind == MSLOT_ROOT_DIRECT) {
		if (bits < 64 && addr >> bits)
			return -EINVAL;
	} else if (bits < 64) {
		/* Sign-extended, as processors have it. */
		above = addr >> (bits - 1);
		if (above && above != UINT64_MAX >> (bits - 1))
			return -EINVAL;
		addr &= (UINT64_C(1) << bits) - 1;
	}
	*page = addr >> root->mmu->page_shift;
	return 0;
}

int root_walk(struct mslot_root *root, struct mslot_vcpu *vcpu, struct mslot_fault *fault)
{
	int err;

	/* The section may not end meanwhile: the caller has host addresses of it. */
	vcpu->depth++;
	err = root->opt.walk(root->opt.ctx, vcpu, fault->addr, fault->access, &fault->walk);
	vcpu->depth--;
	return err;
}

static uint64_t generation(const struct mslot_root *root)
{
	/* seq_cst: pairs with mslot_zap_all(). */
	return atomic_load_explicit(&root->mmu->zap_generation, memory_order_seq_cst);
}

struct mmu_table *root_top(const struct mslot_root *root)
{
	/*
	 * seq_cst: the publish before the look of a zapper without reverse maps, as a fault's top
	 * before its recheck. Pairs with root_make_top().
	 */
	struct mmu_table *top = atomic_load_explicit(&root->top, memory_order_seq_cst);

	return top && top->generation == generation(root) ? top : NULL;
}

struct mmu_table *root_make_top(struct mslot_root *root)
{
	struct mmu_table *top, *old;

	for (;;) {
		old = atomic_load_explicit(&root->top, memory_order_acquire);
		if (old && old->generation == generation(root))
			return old;
		top = table_create(root->mmu, root->opt.space, root->opt.kind == MSLOT_ROOT_SHADOW,
				   root->levels, 0);
		if (!top)
			return NULL;
		top->generation = generation(root);
		/* seq_cst: before the recheck of the fault. Pairs with root_top(). */
		if (!atomic_compare_exchange_strong_explicit(
			&root->top, &old, top, memory_order_seq_cst, memory_order_relaxed))
			table_free(top);
		else if (old)
			table_retire(old);
	}
}

int mslot_root_create(struct mslot_mmu *mmu, const struct mslot_root_options *opt,
		      struct mslot_root **out)
{
	struct mslot_root *root;

	if (opt->kind != MSLOT_ROOT_DIRECT && opt->kind != MSLOT_ROOT_SHADOW)
		return -EINVAL;
	if (opt->levels && opt->levels != DEFAULT_LEVELS && opt->levels != MAX_LEVELS)
		return -EINVAL;
	if (opt->space >= mmu->map->opt.nspaces)
		return -EINVAL;
	root = mem_zalloc(sizeof(*root));
	if (!root)
		return -ENOMEM;
	root->mmu = mmu;
	root->opt = *opt;
	root->levels = opt->levels ? opt->levels : DEFAULT_LEVELS;
	atomic_init(&root->stamp, 1);
	pthread_mutex_lock(&mmu->roots_lock);
	root->next = mmu->roots;
	if (root->next)
		root->next->prev = root;
	mmu->roots = root;
	pthread_mutex_unlock(&mmu->roots_lock);
	count_add(&mmu->counters, COUNT_ROOTS, 1);
	*out = root;
	return 0;
}

int mslot_root_destroy(struct mslot_root *root)
{
	struct mslot_mmu *mmu;
	struct mmu_table *top;

	if (!root)
		return 0;
	/* Acquire: what its vCPUs did. Pairs with root_put(). */
	if (atomic_load_explicit(&root->vcpus, memory_order_acquire) > 0)
		return -EBUSY;
	mmu = root->mmu;
	pthread_mutex_lock(&mmu->roots_lock);
	if (root->prev)
		root->prev->next = root->next;
	else
		mmu->roots = root->next;
	if (root->next)
		root->next->prev = root->prev;
	pthread_mutex_unlock(&mmu->roots_lock);
	count_sub(&mmu->counters, COUNT_ROOTS, 1);
	top = atomic_load_explicit(&root->top, memory_order_acquire);
	if (top)
		table_retire(top);
	mem_free(root);
	return 0;
}

uint64_t mslot_root_stamp(const struct mslot_root *root)
{
	/* Acquire: before the walk of the guest's tables. Pairs with mslot_zap_page(). */
	return atomic_load_explicit(&root->stamp, memory_order_acquire);
}

static void root_put(struct mslot_root *root)
{
	atomic_fetch_sub_explicit(&root->vcpus, 1, memory_order_release);
}

int mslot_vcpu_root_set(struct mslot_vcpu *vcpu, struct mslot_root *root)
{
	if (root && root->mmu->map != vcpu->map)
		return -EINVAL;
	if (root == vcpu->root)
		return 0;
	if (root)
		atomic_fetch_add_explicit(&root->vcpus, 1, memory_order_relaxed);
	if (vcpu->root)
		root_put(vcpu->root);
	vcpu->root = root;
	vcpu->root_put = root_put;
	tlb_flush(&vcpu->head);
	return 0;
}

int mslot_root_lookup(struct mslot_root *root, uint64_t addr, struct mslot_translation *out)
{
	struct mmu_table *table = root_top(root);
	uint64_t page, entry, offset, bytes;
	unsigned int level;

	if (root_page(root, addr, &page))
		return -EINVAL;
	for (level = root->levels; table; level--) {
		/* Acquire: what a table or leaf is made of. Pairs with table_link(), install(). */
		entry = atomic_load_explicit(&table->entry[table_index(level, page)],
					     memory_order_acquire);
		if (entry_is_leaf(entry)) {
			bytes = level_pages(level) << root->mmu->page_shift;
			offset = addr & (bytes - 1);
			*out = (struct mslot_translation){
			    .hva = entry_hva(entry) + offset,
			    .len_bytes = bytes - offset,
			    .level = level,
			    .writable = (entry & ENTRY_WRITABLE) != 0,
			};
			return 0;
		}
		table = entry_table(entry);
	}
	return -ENOENT;
}
