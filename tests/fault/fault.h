/* SPDX-License-Identifier: MIT */
/*
 * fault.h - an operation of the library while memory runs out.
 *
 * Steps of one try, for each operation, world and n = 1, 2, 3 ..., once with the n-th
 * allocation failing alone and once with all that follow:
 *   1 build a world (world.c) and what the operation needs
 *   2 run the operation with the n-th allocation failing
 *   3 after an error: it is -ENOMEM, the world is as before to the last slot, every
 *     listener that prepared was aborted, in reverse, and the same operation gets through
 *   4 tear the world down: nothing is left allocated, each region was released once
 * The tries of an operation end when it no longer makes n allocations.
 */
#ifndef MSLOT_TESTS_FAULT_H
#define MSLOT_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mslot/mslot.h>

#define PAGE UINT64_C(4096)
#define MAX_LISTENERS 3u

/* What the map looks like when an operation meets it. */
struct shape {
	uint32_t nspaces;
	uint32_t nslots; /* of space 0; other spaces have two each */
	uint32_t nlisteners;
	bool held;    /* holds on older snapshots pin dead nodes */
	bool retired; /* dead nodes wait for a grace period */
};

struct world;

/* A listener that allocates in prepare(), so that it can fail after others have prepared. */
struct watcher {
	struct world *world;
	struct mslot_listener *listener;
	unsigned int index;
	struct mslot_hold *hold;
	struct mslot_diff *diff;
};

struct event {
	char what; /* p: prepared, v: vetoed, a: aborted, c: told of the commit */
	unsigned int index;
};

struct world {
	const struct shape *shape;
	struct mslot_map *map;
	struct mslot_region *owned; /* has a release callback */
	struct mslot_region *plain;
	unsigned int released;
	struct watcher watcher[MAX_LISTENERS];
	struct event event[4 * MAX_LISTENERS];
	size_t nevents;
	struct mslot_hold *hold[3]; /* the last is the operation's */

	/* The operation's own. */
	struct mslot_txn *txn;
	const struct mslot_snapshot *snap;
	void *result;
	bool late; /* there is a listener that is asked after the watchers, and may veto */
};

struct op {
	const char *name;
	const char *functions; /* of the public headers, that this tests; separated by spaces */
	void (*prepare)(struct world *w, const struct op *op); /* memory is there; may be NULL */
	int (*run)(struct world *w, const struct op *op);      /* is run again after a failure */
	void (*finish)(struct world *w, const struct op *op);  /* after success; may be NULL */
	unsigned int arg;
	bool commits; /* makes one generation */
	bool small;   /* does not look at the map: large worlds tell nothing new */
	int refused;  /* the operation always fails with this errno, memory or not */
};

extern const struct op ops[];
extern const size_t nops;

/* A function that never allocates, called once in a world without memory. */
struct quiet {
	const char *functions; /* separated by spaces */
	void (*run)(struct world *w);
};

extern const struct quiet quiets[];
extern const size_t nquiets;

/* Around statements that must not even ask for memory. */
void quiet_begin(void);
void quiet_end(void);

/* What the tables say of the functions of the headers in a directory; prints what is wrong. */
bool names_complete(const char *dir);

/* Thread creation fails while this is set. */
extern bool fault_no_threads;

/* ---- world.c ---- */

void world_init(struct world *w, const struct shape *shape);
void world_fini(struct world *w);
/* Make slots of more ids than the shape says: 64 pages at once, or 16 neighbours. */
#define BIG_ID 30000u
#define BIG_GFN UINT64_C(0x100000)
#define BIG_PAGES 64u
#define ROW_ID 30100u
#define ROW_GFN UINT64_C(0x101000)
#define ROW_SLOTS 16u
#define NEW_ID 20000u
#define NEW_GFN UINT64_C(0x102000)
#define PART_ID 22000u
void world_add_big(struct world *w);
void world_add_row(struct world *w);
/* An edit that this world allows, next to others of other blocks; NULL parts otherwise. */
struct mslot_edit world_edit(const struct world *w, enum mslot_edit_kind kind, uint32_t block,
			     struct mslot_part *part);
uint32_t world_blocks(const struct world *w);

/* Everything that can be seen of a map. */
struct picture {
	struct mslot_slot_info *slot;  /* by gpa, space after space */
	struct mslot_slot_info *shown; /* by hva */
	size_t n;
	uint64_t npages;
	struct mslot_map_stats stats;
};

void picture_take(struct picture *p, struct world *w);
/* Fails unless the world looks the same now. */
void picture_compare(const struct picture *p, struct world *w);
void picture_drop(struct picture *p);

/* ---- test_fault.c ---- */

/* Print what failed, with the operation, the world and the allocation, and end the program. */
_Noreturn void fault_fail(const char *where, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define FAULT_TEXT_(n) #n
#define FAULT_TEXT(n) FAULT_TEXT_(n)
#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fault_fail(__FILE__ ":" FAULT_TEXT(__LINE__) ": " #cond, __VA_ARGS__);     \
	} while (0)
#define CHECK_OK(call)                                                                             \
	do {                                                                                       \
		int check_err_ = (call);                                                           \
		if (check_err_ < 0)                                                                \
			fault_fail(__FILE__ ":" FAULT_TEXT(__LINE__) ": " #call, "returned %d",    \
				   check_err_);                                                    \
	} while (0)

#endif /* MSLOT_TESTS_FAULT_H */
