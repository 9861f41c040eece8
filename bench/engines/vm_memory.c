/* SPDX-License-Identifier: MIT */
/*
 * vm_memory.c - rust-vmm's crate vm-memory (Debian: librust-vm-memory-dev) as an engine: the
 * table of functions of the Rust library in vm_memory/, which holds the maps and the loops.
 * Without that library, only why: VM_MEMORY_ABSENT is then defined as the reason.
 *
 * What is measured: GuestMemoryAtomic<GuestMemoryMmap>. A snapshot is a counted reference to a
 * sorted vector of counted references to regions; a lookup is a binary search in it. An edit
 * copies the vector and counts every region once more; a move is a removal and an insertion
 * in one publish. A fill makes all regions anew and sorts them; they show one reserved
 * mapping, so that mmap() has no part in it. There is no lookup by host address or by id, no
 * cache of the last region, and no flag of a slot.
 *
 * Debian 12's compiler decides as much as the crate. rustc 1.63 makes of the binary search a
 * loop of conditional jumps, of which one in two is mispredicted at random addresses; rustc of
 * 2026 makes it branchless. ns per lookup with a snapshot each, N = 10 / 100 / 509 / 4096 / 32764,
 * first as Debian has it, then the same sources by rustc 1.95, then vm-memory 0.18 by a new
 * compiler on a machine with a floor of 1.4 ns instead of 1.1:
 *   26 / 46 / 63 / 99 / 168    15 / 22 / 32 / 51 to 83 / 147 to 200    14 / 18 / 23 / 38 / 95
 * The version that is printed names the compiler for that reason. Edits and fills do not differ:
 * insert 354 / 1300 / 6600 / 64k / 654k ns (there 287 / 1.7k / 7.7k / 61k / 672k; a removal takes
 * two thirds of it, a move the sum), fill 0.7 / 5.3 / 37 / 430 / 3900 us of slots in random
 * order (there 0.8 / 7.6 / 35 / 298 / 2667).
 */
#include "engine.h"

#ifdef VM_MEMORY_ABSENT

static const char *absent(void)
{
	return VM_MEMORY_ABSENT;
}

const struct engine engine_vm_memory = {
    .name = "vm-memory",
    .what = "rust-vmm: a sorted vector behind a counted snapshot",
    .absent = absent,
};

#else

/* vm_memory/src/lib.rs; its struct Slot is struct engine_slot. */
const char *vm_memory_crate_version(void);
struct engine_map *vm_memory_create(uint32_t limit);
void vm_memory_destroy(struct engine_map *map);
int vm_memory_insert(struct engine_map *map, const struct engine_slot *slot);
int vm_memory_remove(struct engine_map *map, uint32_t id);
int vm_memory_move(struct engine_map *map, uint32_t id, uint64_t gpa);
int vm_memory_fill(struct engine_map *map, const struct engine_slot *slots, size_t n);
uint64_t vm_memory_token_of(struct engine_map *map, uint32_t id);
uint64_t vm_memory_find(struct engine_map *map, const uint64_t *gpa, size_t n);
uint64_t vm_memory_find_dependent(struct engine_map *map, const uint64_t *gpa, size_t n,
				  uint64_t zero);
uint64_t vm_memory_find_section(struct engine_map *map, const uint64_t *gpa, size_t n);
uint64_t vm_memory_bytes(struct engine_map *map);

_Static_assert(sizeof(struct engine_slot) == 32 && offsetof(struct engine_slot, gpa) == 8,
	       "as struct Slot of lib.rs");

static int fill(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	static const struct engine_slot none;

	/* A slice of Rust has an address even when it is empty. */
	return vm_memory_fill(map, n ? slots : &none, n);
}

static uint64_t find_dependent(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	static const volatile uint64_t zero;

	return vm_memory_find_dependent(map, gpa, n, zero);
}

const struct engine engine_vm_memory = {
    .name = "vm-memory",
    .what = "rust-vmm: a sorted vector behind a counted snapshot",
    .version = vm_memory_crate_version,
    .create = vm_memory_create,
    .destroy = vm_memory_destroy,
    .overlaps_hva = true,
    .insert = vm_memory_insert,
    .remove = vm_memory_remove,
    .move = vm_memory_move,
    .fill = fill,
    .token_of = vm_memory_token_of,
    .find = vm_memory_find,
    .find_dependent = find_dependent,
    .find_section = vm_memory_find_section,
    .memory = vm_memory_bytes,
};

#endif
