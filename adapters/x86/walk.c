/* SPDX-License-Identifier: MIT */
/*
 * walk.c - linear to guest-physical: the guest's four levels of tables, and the TLB before them.
 *
 * Invariants.
 * W1 An entry of a table is changed only by a compare-and-exchange with what was read, through a
 *   translation for writing, so that pages of tables are logged as others; if it fails the walk
 *   begins anew.
 * W2 Nothing is changed before all levels were found and permit the access.
 * W3 A TLB entry has a tag for each kind of access that needs no walk: writes only with the
 *   leaf's dirty bit set, data of users not at all while SMAP is on (RFLAGS.AC decides anew
 *   each time).
 */
#include <string.h>

#include "memory.h"

#define ENTRY_P (UINT64_C(1) << 0)
#define ENTRY_RW (UINT64_C(1) << 1)
#define ENTRY_US (UINT64_C(1) << 2)
#define ENTRY_A (UINT64_C(1) << 5)
#define ENTRY_D (UINT64_C(1) << 6)
#define ENTRY_PS (UINT64_C(1) << 7)
#define ENTRY_NX (UINT64_C(1) << 63)
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

#define CR0_WP (UINT64_C(1) << 16)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define EFER_NXE (UINT64_C(1) << 11)
#define RFLAGS_AC (UINT64_C(1) << 18)

/* A walk under way: the entries found, from level 4 down to the leaf. */
struct path {
	uint64_t gpa[5], entry[5]; /* by level */
	unsigned int leaf;
};

static enum step fault(struct cpu *cpu, uint64_t linear, enum walk_access access, uint32_t error)
{
	if (access == WALK_WRITE)
		error |= PF_WRITE;
	if (access == WALK_FETCH && (cpu->s.efer & EFER_NXE || cpu->s.cr4 & CR4_SMEP))
		error |= PF_FETCH;
	return raise_page_fault(cpu, linear, error);
}

static bool is_leaf(unsigned int level, uint64_t entry)
{
	return level == 1 || (level < 4 && entry & ENTRY_PS);
}

/* Bits of an entry that must be zero. */
static uint64_t reserved_bits(const struct cpu *cpu, unsigned int level, uint64_t entry)
{
	uint64_t bits = ENTRY_ADDRESS & ~cpu->gpa_mask;

	if (!(cpu->s.efer & EFER_NXE))
		bits |= ENTRY_NX;
	if (level == 4 || (level == 3 && cpu->no_gib_pages))
		bits |= ENTRY_PS;
	else if (level > 1 && entry & ENTRY_PS)
		/* Below the address of a large page, but for PAT in bit 12. */
		bits |= ((UINT64_C(1) << (12 + 9 * (level - 1))) - 1) & ~UINT64_C(0x1fff);
	return bits;
}

static enum step find_path(struct cpu *cpu, uint64_t linear, enum walk_access access,
			   struct path *path)
{
	uint64_t table = cpu->s.cr3 & ENTRY_ADDRESS;

	for (unsigned int level = 4;; level--) {
		uint64_t gpa = table + (linear >> (12 + 9 * (level - 1)) & 511) * 8;
		void *host;
		enum step step = reach(cpu, gpa, MSLOT_READ, &host);
		uint64_t entry;

		if (step != STEP_NEXT)
			return step;
		if (!host)
			return fault(cpu, linear, access, 0);
		entry = __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
		if (!(entry & ENTRY_P))
			return fault(cpu, linear, access, 0);
		if (entry & reserved_bits(cpu, level, entry))
			return fault(cpu, linear, access, PF_PRESENT | PF_RESERVED);
		path->gpa[level] = gpa;
		path->entry[level] = entry;
		path->leaf = level;
		if (is_leaf(level, entry))
			return STEP_NEXT;
		table = entry & ENTRY_ADDRESS;
	}
}

static void judge(const struct cpu *cpu, uint64_t linear, const struct path *path,
		  struct walk_leaf *out)
{
	uint64_t all = ~UINT64_C(0), any = 0;
	uint64_t below = (UINT64_C(1) << (12 + 9 * (path->leaf - 1))) - 1;

	for (unsigned int level = path->leaf; level <= 4; level++) {
		all &= path->entry[level];
		any |= path->entry[level];
	}
	out->gpa = (path->entry[path->leaf] & ENTRY_ADDRESS & ~below) | (linear & below);
	out->large = path->leaf > 1;
	out->user = all & ENTRY_US;
	out->writable = all & ENTRY_RW || !(cpu->s.cr0 & CR0_WP);
	out->dirty = path->entry[path->leaf] & ENTRY_D;
	out->executable = !(any & ENTRY_NX) && !(out->user && cpu->s.cr4 & CR4_SMEP);
}

static bool permitted(const struct cpu *cpu, const struct walk_leaf *leaf, enum walk_access access)
{
	if (access == WALK_FETCH)
		return leaf->executable;
	if (leaf->user && cpu->s.cr4 & CR4_SMAP &&
	    (access == WALK_SYSTEM || !(cpu->s.rflags & RFLAGS_AC)))
		return false;
	return access != WALK_WRITE || leaf->writable;
}

/* Returns STEP_NEXT with `same` false if an entry is another one by now. */
static enum step set_bits(struct cpu *cpu, uint64_t gpa, uint64_t entry, uint64_t bits, bool *same)
{
	void *host;
	enum step step = reach(cpu, gpa, MSLOT_WRITE, &host);

	/* Tables in read-only memory stay as they are, as with KVM. */
	if (step == STEP_NEXT && host)
		*same = __atomic_compare_exchange_n((uint64_t *)host, &entry, entry | bits, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return step;
}

static enum step note_use(struct cpu *cpu, const struct path *path, bool write, bool *same)
{
	for (unsigned int level = 4; level >= path->leaf && *same; level--) {
		uint64_t bits = ENTRY_A;
		enum step step;

		if (write && level == path->leaf)
			bits |= ENTRY_D;
		if ((path->entry[level] & bits) == bits)
			continue;
		step = set_bits(cpu, path->gpa[level], path->entry[level], bits, same);
		if (step != STEP_NEXT)
			return step;
	}
	return STEP_NEXT;
}

enum step walk(struct cpu *cpu, uint64_t linear, enum walk_access access, bool change,
	       struct walk_leaf *out)
{
	struct path path = {.leaf = 4};
	bool same = true;

	do {
		enum step step = find_path(cpu, linear, access, &path);

		if (step != STEP_NEXT)
			return step;
		judge(cpu, linear, &path, out);
		if (!change)
			break;
		if (!permitted(cpu, out, access))
			return fault(cpu, linear, access, PF_PRESENT);
		same = true;
		step = note_use(cpu, &path, access == WALK_WRITE, &same);
		if (step != STEP_NEXT)
			return step;
		out->dirty |= access == WALK_WRITE;
	} while (!same);
	return STEP_NEXT;
}

/* ---- The TLB -------------------------------------------------------------- */

static uint64_t tag_of(const struct cpu *cpu, uint64_t linear)
{
	return (linear & ~UINT64_C(0xfff)) | cpu->tlb_epoch;
}

static void tlb_fill(struct cpu *cpu, uint64_t linear, const struct walk_leaf *leaf)
{
	struct cpu_tlb_entry *entry = &cpu->tlb[(linear >> 12) % CPU_TLB_ENTRIES];
	uint64_t tag = tag_of(cpu, linear);
	bool data = !(leaf->user && cpu->s.cr4 & CR4_SMAP);

	entry->read_tag = data ? tag : 0;
	entry->write_tag = data && leaf->writable && leaf->dirty ? tag : 0;
	entry->fetch_tag = leaf->executable ? tag : 0;
	entry->delta = leaf->gpa - linear;
	cpu->tlb_large |= leaf->large;
}

enum step translate(struct cpu *cpu, uint64_t linear, enum walk_access access, uint64_t *gpa)
{
	const struct cpu_tlb_entry *entry = &cpu->tlb[(linear >> 12) % CPU_TLB_ENTRIES];
	uint64_t tag = access == WALK_WRITE   ? entry->write_tag
		       : access == WALK_FETCH ? entry->fetch_tag
					      : entry->read_tag;
	struct walk_leaf leaf;
	enum step step;

	if (tag == tag_of(cpu, linear)) {
		*gpa = linear + entry->delta;
		return STEP_NEXT;
	}
	if (!canonical(linear)) {
		raise_error(cpu, VECTOR_GP, 0);
		cpu->exception.non_canonical = true;
		return STEP_EXCEPTION;
	}
	__atomic_store_n(&cpu->counters.tlb_misses, cpu->counters.tlb_misses + 1, __ATOMIC_RELAXED);
	step = walk(cpu, linear, access, true, &leaf);
	if (step != STEP_NEXT)
		return step;
	tlb_fill(cpu, linear, &leaf);
	*gpa = leaf.gpa;
	return STEP_NEXT;
}

void memory_flush(struct cpu *cpu)
{
	cpu->code_tag = 0;
	cpu->tlb_large = false;
	if (++cpu->tlb_epoch > 0xfff) {
		memset(cpu->tlb, 0, sizeof(cpu->tlb));
		cpu->tlb_epoch = 1;
	}
}

void memory_flush_page(struct cpu *cpu, uint64_t linear)
{
	/* Of a large page there may be any number of entries. */
	if (cpu->tlb_large) {
		memory_flush(cpu);
		return;
	}
	cpu->code_tag = 0;
	cpu->tlb[(linear >> 12) % CPU_TLB_ENTRIES] = (struct cpu_tlb_entry){0};
}
