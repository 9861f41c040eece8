/* SPDX-License-Identifier: MIT */
/*
 * hot_paths.c - the hot paths of the library, run one after the other for scripts/counts to
 * count their instructions under callgrind.
 *
 * Callgrind collects inside counted() only and dumps whenever that returns, so what this
 * file does elsewhere costs nothing, and the n-th dump belongs to the n-th line printed:
 *
 *   PATH VARIANT SLOTS KIND OPERATIONS
 *
 * The loop around the operations is counted with them, about nine instructions for a lookup.
 *
 * Nothing depends on the machine. Layouts come from fixed seeds, the width of the vector
 * instructions is said to the map, and retired memory is recycled by mslot_wait() where
 * this thread calls it: no map retires so much that its reclaimer thread would be asked.
 *
 * With --planted each operation costs some instructions more, and only the smallest maps
 * are looked at: what scripts/counts must notice.
 */
#include <errno.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hot_paths.h"
#include "rng.h"

#define REGION_HVA UINT64_C(0x100000000000) /* only a number: nothing is mapped there */
#define STRIDE_PAGES 16u                    /* pages of a slot, and of a gap, at most */
#define FAR (UINT64_C(1) << 33)             /* above every slot that is at home */

#define EDITS 256u
#define BATCH 64u
#define SETUP_SLOTS 4096u

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#ifdef __clang__
#define COMPILER "clang " TEXT(__clang_major__)
#else
#define COMPILER "gcc " TEXT(__GNUC__)
#endif

static const size_t sizes[] = {10, 509, 32764};

/* What --planted adds to each operation: rounds of two instructions; else 0. */
#define PLANTED_IN_READ 2u
#define PLANTED_IN_WRITE 256u
static size_t planted;

/* The function that callgrind collects in; it is not left by a jump. */
static uint64_t counted(body_fn *body, struct world *w, size_t n)
{
	const uint64_t done = body(w, n);
	size_t i;

	for (i = n * planted; i > 0; i--)
		__asm__ volatile("" ::: "memory");
	return done;
}

/* Volatile, so that no compiler inlines the function, or specialises it under another name. */
static uint64_t (*volatile count)(body_fn *body, struct world *w, size_t n) = counted;

_Noreturn void die(const char *what, int err)
{
	fprintf(stderr, "hot_paths: %s: %s\n", what, err ? strerror(-err) : "wrong answer");
	exit(1);
}

/* ---- Worlds ---------------------------------------------------------------- */

static void *array(size_t n, size_t bytes)
{
	void *p = calloc(n, bytes);

	if (!p)
		die("arrays", -ENOMEM);
	return p;
}

static void permute(uint32_t *v, size_t n, struct rng *rng)
{
	size_t i, k;
	uint32_t tmp;

	for (i = 0; i < n; i++)
		v[i] = (uint32_t)i;
	for (i = n; i > 1; i--) {
		k = rng_below(rng, i);
		tmp = v[i - 1];
		v[i - 1] = v[k];
		v[k] = tmp;
	}
}

/*
 * Slots of 1 to 16 pages behind gaps of as many, so that each can move by a page. Their ids
 * and their places in the region are random.
 */
static void choose_slots(struct world *w, struct rng *rng)
{
	uint32_t *id = array(w->nslots, sizeof(*id)), *place = array(w->nslots, sizeof(*place));
	uint64_t gpa = 0;
	size_t i;

	permute(id, w->nslots, rng);
	permute(place, w->nslots, rng);
	permute(w->order, w->nslots, rng);
	for (i = 0; i < w->nslots; i++) {
		gpa += rng_range(rng, 1, STRIDE_PAGES) * PAGE;
		w->home[i] = gpa;
		w->def[i] = (struct mslot_slot_def){
		    .key = {.space = 0, .id = id[i]},
		    .gpa = gpa,
		    .len_bytes = rng_range(rng, 1, STRIDE_PAGES) * PAGE,
		    .region = w->region,
		    .offset_bytes = (uint64_t)place[i] * STRIDE_PAGES * PAGE,
		};
		gpa += w->def[i].len_bytes;
	}
	free(id);
	free(place);
}

static void choose_addresses(struct world *w, struct rng *rng)
{
	const struct mslot_slot_def *one = &w->def[w->nslots / 2], *d;
	uint64_t at;
	size_t k;

	for (k = 0; k < LOOKUPS; k++) {
		d = &w->def[rng_below(rng, w->nslots)];
		at = rng_below(rng, d->len_bytes);
		w->gpa[k] = d->gpa + at;
		w->hva[k] = REGION_HVA + d->offset_bytes + at;
		w->key[k] = d->key;
		/* The last page of the gap below. */
		w->miss[k] = d->gpa - 1 - rng_below(rng, PAGE);
		w->inside[k] = one->gpa + rng_below(rng, one->len_bytes);
	}
}

static void world_init(struct world *w, size_t nslots, enum mslot_simd simd)
{
	const struct mslot_map_options opt = {.simd = simd, .retired_limit_bytes = 1u << 30};
	const struct mslot_region_options ropt = {
	    .hva = (void *)(uintptr_t)REGION_HVA,
	    .len_bytes = nslots * STRIDE_PAGES * PAGE,
	    .fd = -1,
	};
	struct rng rng;
	int err;

	memset(w, 0, sizeof(*w));
	w->nslots = nslots;
	w->def = array(nslots, sizeof(*w->def));
	w->home = array(nslots, sizeof(*w->home));
	w->order = array(nslots, sizeof(*w->order));
	err = mslot_map_create(&opt, &w->map);
	if (!err)
		err = mslot_region_create(&ropt, &w->region);
	if (err)
		die("map", err);
	rng_init(&rng, nslots);
	choose_slots(w, &rng);
	choose_addresses(w, &rng);
}

static void world_fini(struct world *w)
{
	int err = mslot_map_destroy(w->map);

	if (err)
		die("mslot_map_destroy", err);
	mslot_region_put(w->region);
	free(w->def);
	free(w->home);
	free(w->order);
}

static uint64_t generation_of(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

/* Everything that commits retired is free again. */
static void recycle(struct world *w)
{
	int err = mslot_wait(w->map, generation_of(w), -1);

	if (err)
		die("mslot_wait", err);
}

/* ---- Reading --------------------------------------------------------------- */

static uint64_t find_gpa(struct world *w, size_t n)
{
	uint64_t found = 0;
	size_t k;

	for (k = 0; k < n; k++)
		found += mslot_find(w->snap, 0, w->gpa[k]) != NULL;
	return found;
}

static uint64_t find_miss(struct world *w, size_t n)
{
	uint64_t missed = 0;
	size_t k;

	for (k = 0; k < n; k++)
		missed += mslot_find(w->snap, 0, w->miss[k]) == NULL;
	return missed;
}

static uint64_t find_hint(struct world *w, size_t n)
{
	const struct mslot_slot *slot;
	uint64_t found = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		slot = mslot_hint_slot(w->snap, 0, w->inside[k], &w->hint);
		if (!slot)
			slot = mslot_find_hint(w->snap, 0, w->inside[k], &w->hint);
		found += slot != NULL;
	}
	return found;
}

static uint64_t find_id(struct world *w, size_t n)
{
	uint64_t found = 0;
	size_t k;

	for (k = 0; k < n; k++)
		found += mslot_find_id(w->snap, w->key[k]) != NULL;
	return found;
}

static uint64_t find_hva(struct world *w, size_t n)
{
	const struct mslot_slot *slot;
	uint64_t found = 0;
	size_t k;

	for (k = 0; k < n; k++)
		found += mslot_find_hva(w->snap, w->hva[k], &slot, 1);
	return found;
}

static uint64_t section(struct world *w, size_t n)
{
	const struct mslot_snapshot *snap;
	uint64_t found = 0;
	size_t k;

	for (k = 0; k < n; k++) {
		snap = mslot_enter(w->map);
		found += mslot_find(snap, 0, w->gpa[k]) != NULL;
		mslot_leave(snap);
	}
	return found;
}

/* All slots once. */
static uint64_t iterate(struct world *w, size_t n)
{
	struct mslot_iter iter;
	uint64_t found = 0;

	(void)n;
	mslot_iter_gpa(&iter, w->snap, 0, (struct mslot_range){0, UINT64_MAX});
	while (mslot_iter_next(&iter))
		found++;
	return found;
}

/* ---- Writing --------------------------------------------------------------- */

void commit(struct mslot_txn *txn, int err)
{
	if (err >= 0)
		err = mslot_txn_commit(txn, NULL, NULL);
	if (err < 0)
		die("a transaction", err);
}

struct mslot_txn *begin(struct world *w)
{
	struct mslot_txn *txn;
	int err = mslot_txn_begin(w->map, &txn);

	if (err)
		die("mslot_txn_begin", err);
	return txn;
}

static struct mslot_slot_def *next_slot(struct world *w)
{
	struct mslot_slot_def *d = &w->def[w->order[w->next]];

	w->next = w->next + 1 < w->nslots ? w->next + 1 : 0;
	return d;
}

/* The next slot goes so far up from where it was created, or back. */
static int add_move(struct world *w, struct mslot_txn *txn, uint64_t distance)
{
	struct mslot_slot_def *d = next_slot(w);
	uint64_t home = w->home[d - w->def];

	d->gpa = d->gpa == home ? home + distance : home;
	return mslot_txn_move(txn, d->key, d->gpa);
}

/* n moves in transactions of `batch`. */
static uint64_t moves(struct world *w, size_t n, size_t batch, uint64_t distance)
{
	struct mslot_txn *txn;
	size_t done, i;
	int err;

	for (done = 0; done < n; done += batch) {
		txn = begin(w);
		for (i = 0, err = 0; i < batch && err >= 0; i++)
			err = add_move(w, txn, distance);
		commit(txn, err);
	}
	return done;
}

static uint64_t move_near(struct world *w, size_t n)
{
	return moves(w, n, 1, PAGE);
}

static uint64_t move_far(struct world *w, size_t n)
{
	return moves(w, n, 1, FAR);
}

static uint64_t move_batch(struct world *w, size_t n)
{
	return moves(w, n, BATCH, PAGE);
}

static uint64_t flip_flags(struct world *w, size_t n)
{
	struct mslot_slot_def *d;
	struct mslot_txn *txn;
	size_t done;

	for (done = 0; done < n; done++) {
		txn = begin(w);
		d = next_slot(w);
		d->flags ^= MSLOT_LOG_DIRTY;
		commit(txn, mslot_txn_set_flags(txn, d->key, d->flags));
	}
	return done;
}

/* What n commits before this one retired. */
static uint64_t recycle_flags(struct world *w, size_t n)
{
	recycle(w);
	return n;
}

static uint64_t setup_single(struct world *w, size_t n)
{
	struct mslot_txn *txn;
	size_t i;

	for (i = 0; i < n; i++) {
		txn = begin(w);
		commit(txn, mslot_txn_create(txn, &w->def[i]));
	}
	return i;
}

static uint64_t setup_at_once(struct world *w, size_t n)
{
	struct mslot_txn *txn = begin(w);
	int err = 0;
	size_t i;

	for (i = 0; i < n && err >= 0; i++)
		err = mslot_txn_create(txn, &w->def[i]);
	commit(txn, err);
	return i;
}

/* ---- The table ------------------------------------------------------------- */

/* A lookup, of which a map has as many as there are vector widths. */
struct read_path {
	const char *name;
	body_fn *body;
	bool own_section;
	bool all_slots; /* an operation is a slot */
};

static const struct read_path read_paths[] = {
    {"find", find_gpa, false, false},       {"find-miss", find_miss, false, false},
    {"find-hint", find_hint, false, false}, {"find-id", find_id, false, false},
    {"find-hva", find_hva, false, false},   {"section", section, true, false},
    {"iterate", iterate, false, true},
};

struct write_path {
	const char *name;
	body_fn *body;
	body_fn *before; /* not counted: the same, so that memory is warm, or what to recycle */
	size_t n;
	size_t min_slots; /* of a transaction, which names a slot once */
};

static const struct write_path write_paths[] = {
    {"move", move_near, move_near, EDITS, 1},
    {"move-far", move_far, move_far, EDITS, 1},
    {"flags", flip_flags, flip_flags, EDITS, 1},
    {"recycle", recycle_flags, flip_flags, EDITS, 1},
    {"move-batch-64", move_batch, move_batch, 8 * BATCH, BATCH},
};

void run(const char *path, const char *variant, const char *kind, body_fn *body, struct world *w,
	 size_t n)
{
	if (planted)
		planted = strcmp(kind, "read") == 0 ? PLANTED_IN_READ : PLANTED_IN_WRITE;
	if (count(body, w, n) != n)
		die(path, 0);
	printf("%s %s %zu %s %zu\n", path, variant, w->nslots, kind, n);
}

static void run_reads(struct world *w, const char *variant)
{
	const struct read_path *p;
	size_t i;

	for (i = 0; i < sizeof(read_paths) / sizeof(*read_paths); i++) {
		p = &read_paths[i];
		if (!p->own_section)
			w->snap = mslot_enter(w->map);
		/* Once before, so that nothing happens for the first time; and fills the hint. */
		p->body(w, 1);
		run(p->name, variant, "read", p->body, w, p->all_slots ? w->nslots : LOOKUPS);
		if (!p->own_section)
			mslot_leave(w->snap);
	}
}

static void run_writes(struct world *w)
{
	const struct write_path *p;
	uint64_t generation;
	size_t i;

	for (i = 0; i < sizeof(write_paths) / sizeof(*write_paths); i++) {
		p = &write_paths[i];
		if (w->nslots < p->min_slots)
			continue;
		generation = generation_of(w);
		p->before(w, p->n);
		if (generation_of(w) == generation)
			die("a commit that changed nothing", 0);
		if (p->body == p->before)
			recycle(w);
		run(p->name, "scalar", "write", p->body, w, p->n);
		recycle(w);
	}
}

static void run_setup(struct world *w, const char *path, body_fn *body)
{
	const char *why = NULL;

	world_init(w, SETUP_SLOTS, MSLOT_SIMD_SCALAR);
	run(path, "scalar", "write", body, w, SETUP_SLOTS);
	if (mslot_check_map(w->map, &why))
		die(why, 0);
	world_fini(w);
}

static void run_size(struct world *w, size_t nslots)
{
	world_init(w, nslots, MSLOT_SIMD_SCALAR);
	setup_at_once(w, nslots);
	run_reads(w, "scalar");
	run_writes(w);
	world_fini(w);

	world_init(w, nslots, MSLOT_SIMD_AVX2);
	setup_at_once(w, nslots);
	run_reads(w, "avx2");
	world_fini(w);
}

int main(int argc, char **argv)
{
	static struct world w;
	size_t i;

	if (argc > 2 || (argc == 2 && strcmp(argv[1], "--planted") != 0)) {
		fprintf(stderr, "usage: hot_paths [--planted]\n");
		return 2;
	}
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
	    !__builtin_cpu_supports("popcnt")) {
		printf("skipped: the processor, as this program sees it, has no AVX2\n");
		return 77;
	}
	printf("# " COMPILER ", glibc %s\n", gnu_get_libc_version());
	planted = argc == 2;
	run_size(&w, sizes[0]);
	if (planted)
		return 0;
	for (i = 1; i < sizeof(sizes) / sizeof(*sizes); i++)
		run_size(&w, sizes[i]);
	run_setup(&w, "setup-single", setup_single);
	run_setup(&w, "setup-at-once", setup_at_once);
	run_dirty(&w);
	run_guest(&w);
	run_mmu(&w);
	return 0;
}
