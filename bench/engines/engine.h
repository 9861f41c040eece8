/* SPDX-License-Identifier: MIT */
/*
 * engine.h - one kind of guest memory map, as `mslot bench` sees it: mslot itself, the
 * designs it is compared with, and what Debian ships of others. None of them is ever used
 * by the library.
 *
 * An engine holds its loops itself, so that each lookup is compiled the way a user of that
 * engine would have it, without an indirect call around it. A lookup's answer is a token:
 * a number that names the slot found, 0 for none; what it is is the engine's business (the
 * address of its record of the slot, as a rule). Loops return the sum of all tokens modulo
 * 2^64, and the runner compares that with the sum of token_of() over what it knows to be
 * there, so that an engine cannot be fast by being wrong.
 *
 * All functions return 0 or a negative errno where they return int. A function that an
 * engine cannot offer is NULL, and the cases that need it leave the engine out.
 */
#ifndef MSLOT_BENCH_ENGINE_H
#define MSLOT_BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_PAGE UINT64_C(4096)

/* A slot, of space 0. gpa, len_bytes and hva are multiples of ENGINE_PAGE; len_bytes > 0. */
struct engine_slot {
	uint32_t id;    /* below the limit given to create() */
	uint32_t flags; /* 0 or 1: log dirty pages */
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t hva; /* only a number unless the engine says `real_memory` */
};

struct engine_map; /* each engine's own */

struct engine_visitor {
	void *ctx;
	void (*visit)(void *ctx, uint64_t gpa, uint64_t len_bytes);
};

/*
 * The part of a slot that shows a host range, to the visitor. Both are not empty and touch.
 */
static inline void engine_visit(const struct engine_visitor *v, const struct engine_slot *slot,
				uint64_t hva, uint64_t len_bytes)
{
	const uint64_t end = hva + len_bytes, slot_end = slot->hva + slot->len_bytes;
	const uint64_t from = hva > slot->hva ? hva : slot->hva;

	v->visit(v->ctx, slot->gpa + (from - slot->hva), (end < slot_end ? end : slot_end) - from);
}

struct engine {
	const char *name; /* "array" */
	const char *what; /* one line for people */
	/* Why the engine cannot be used on this machine, or NULL when it can. NULL: always can. */
	const char *(*absent)(void);
	/* Version of what was measured, for people; NULL: that of mslot. */
	const char *(*version)(void);
	uint64_t max_slots; /* 0: no limit below 2^22 */
	bool real_memory;   /* hva must be mapped memory of the process */
	bool overlaps_hva;  /* several slots may show the same host memory */
	bool stops_readers; /* edits beside readers are not safe: its users stop them first */
	bool first_cpu;     /* measured on CPU 0, if the process may run there */

	/* An empty map for ids below `limit`; NULL without memory. One writer at a time. */
	struct engine_map *(*create)(uint32_t limit);
	void (*destroy)(struct engine_map *map);

	/*
	 * Edits, each published to readers when the function returns. fill() makes the map hold
	 * exactly these slots in one publish, whatever it held before; slots need not be sorted.
	 * batch_flags() sets the flags of n slots in one publish.
	 */
	int (*insert)(struct engine_map *map, const struct engine_slot *slot);
	int (*remove)(struct engine_map *map, uint32_t id);
	int (*move)(struct engine_map *map, uint32_t id, uint64_t gpa);
	int (*set_flags)(struct engine_map *map, uint32_t id, uint32_t flags);
	int (*fill)(struct engine_map *map, const struct engine_slot *slots, size_t n);
	int (*batch_flags)(struct engine_map *map, const struct engine_slot *slots, size_t n);

	/*
	 * Wait until nothing of the edits before is left to do for threads of the engine's own.
	 * NULL: it has none.
	 */
	void (*settle)(struct engine_map *map);

	/* The token of the slot with this id, 0 for none; valid until the next edit. */
	uint64_t (*token_of)(struct engine_map *map, uint32_t id);

	/*
	 * The flags of the slot with this id as readers see them, 0 without one. NULL: slots have
	 * no flags, or nobody can be asked for them.
	 */
	uint32_t (*flags_of)(struct engine_map *map, uint32_t id);

	/* Lookups of n addresses inside one read section; any thread. */
	uint64_t (*find)(struct engine_map *map, const uint64_t *gpa, size_t n);
	/* The same, where each address waits for the answer before it. */
	uint64_t (*find_dependent)(struct engine_map *map, const uint64_t *gpa, size_t n);
	/* The same with the caller's hint, or the engine's own cache of the last slot. */
	uint64_t (*find_local)(struct engine_map *map, const uint64_t *gpa, size_t n);
	/* The same, each lookup in a read section of its own (a fresh snapshot each). */
	uint64_t (*find_section)(struct engine_map *map, const uint64_t *gpa, size_t n);
	/* All slots at each of n host addresses; sum over all slots found. */
	uint64_t (*find_hva)(struct engine_map *map, const uint64_t *hva, size_t n);
	uint64_t (*find_id)(struct engine_map *map, const uint32_t *id, size_t n);

	/*
	 * Slots that overlap guest pages [gpa, gpa + len_bytes), and the slots at host pages
	 * [hva, hva + len_bytes): how many. The lookup side of map and unmap.
	 */
	uint64_t (*count_gpa)(struct engine_map *map, uint64_t gpa, uint64_t len_bytes);
	uint64_t (*count_hva)(struct engine_map *map, uint64_t hva, uint64_t len_bytes);

	/*
	 * For `mslot bench mmu`, each in a read section of its own: the host address of a guest
	 * byte, 0 where there is no slot; and, slot by slot, the guest bytes that show a host
	 * range, for which it returns the number of slots.
	 */
	uint64_t (*translate)(struct engine_map *map, uint64_t gpa);
	uint64_t (*visit_hva)(struct engine_map *map, uint64_t hva, uint64_t len_bytes,
			      const struct engine_visitor *visitor);

	/*
	 * Bytes that readers can reach of the map as it is (slots, indexes and second copies), but
	 * not what the engine keeps beside it, nor allocator slack.
	 */
	uint64_t (*memory)(struct engine_map *map);
	/* Called by a thread before its first and after its last lookup; NULL: nothing to do. */
	void (*thread_begin)(void);
	void (*thread_end)(void);
};

extern const struct engine engine_mslot, engine_mslot_avx2, engine_mslot_scalar;
extern const struct engine engine_array, engine_two_sets;
extern const struct engine engine_kernel, engine_dpdk_vhost, engine_vm_memory;

#endif /* MSLOT_BENCH_ENGINE_H */
