/* SPDX-License-Identifier: MIT */
/*
 * mmu_world.c - memory that says who it is, what was shown when, and comparing.
 */
#include "stress/mmu_world.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "stress/mmu_edits.h"

#define PAGES (MMU_REGIONS * MMU_REGION_PAGES)
#define WORDS (1u + MMU_VCPUS)

/* Why a page is poisoned. */
#define AWAY_UNSHOWN 1u
#define AWAY_INVALID 2u

/* ---- Addresses ---- */

uint64_t mmu_place_gpa(uint32_t place)
{
	/* Islands are a table of level 3 apart. */
	uint64_t frame = ((uint64_t)(place / MMU_ISLAND_PLACES) << 27) + place % MMU_ISLAND_PLACES;

	return frame * MMU_PAGE;
}

uint64_t mmu_shadow_addr(uint32_t page)
{
	return (((uint64_t)(page / 512) << 27) + page % 512) * MMU_PAGE;
}

uint32_t mmu_shadow_place(union mmu_guest_unit unit, uint32_t page)
{
	return (unit.place + page % 512) % MMU_PLACES;
}

uint64_t mmu_identity(uint32_t page)
{
	return UINT64_C(0x1d00000000000000) + page;
}

/* ---- Poison ---- */

static uint64_t *page_words(const struct mmu_world *world, uint32_t page)
{
	return (uint64_t *)(void *)(world->host + page * MMU_PAGE);
}

static void protect(struct mmu_world *world, uint32_t page, int prot)
{
	CHECK_OK(mprotect(page_words(world, page), MMU_PAGE, prot));
	world->none[page] = prot == PROT_NONE;
}

/* host lock held. */
static void send_away(struct mmu_world *world, uint32_t page, unsigned int why, bool none)
{
	uint64_t *word = page_words(world, page);
	unsigned int i;

	if (!world->away[page]) {
		for (i = 0; i < WORDS; i++)
			__atomic_store_n(&word[i], MMU_POISON, __ATOMIC_RELAXED);
		if (none)
			protect(world, page, PROT_NONE);
	}
	world->away[page] |= (unsigned char)why;
}

/* host lock held. */
static void bring_back(struct mmu_world *world, uint32_t page, unsigned int why)
{
	uint64_t *word = page_words(world, page), found;
	unsigned int i;

	if (!world->away[page])
		return;
	world->away[page] &= (unsigned char)~why;
	if (world->away[page])
		return;
	if (world->none[page])
		protect(world, page, PROT_READ | PROT_WRITE);
	for (i = 0; i < WORDS; i++) {
		found = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
		CHECK(found == MMU_POISON,
		      "word %u of page %u was stored to while it was away: %" PRIx64 " (T1)", i,
		      page, found);
	}
	for (i = 1; i < WORDS; i++)
		__atomic_store_n(&word[i], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&word[0], mmu_identity(page), __ATOMIC_RELAXED);
}

/* Which pages a layout shows. */
static void mark_shown(const struct mmu_slot *slots, unsigned char *shown)
{
	uint32_t i;

	memset(shown, 0, PAGES);
	for (i = 0; i < MMU_SLOTS; i++)
		memset(&shown[slots[i].page], 1, slots[i].n);
}

static void bring_back_shown(struct mmu_world *world, const struct mmu_slot *slots)
{
	unsigned char shown[PAGES];
	uint32_t page;

	mark_shown(slots, shown);
	CHECK_OK(pthread_mutex_lock(&world->host_lock));
	for (page = 0; page < PAGES; page++)
		if (shown[page])
			bring_back(world, page, AWAY_UNSHOWN);
	CHECK_OK(pthread_mutex_unlock(&world->host_lock));
}

/* After a wait: nobody can come to what the layout does not show. */
static void send_away_unshown(struct mmu_world *world, struct stress_thread *self)
{
	unsigned char shown[PAGES];
	bool none = rng_chance(&self->rng, 10);
	uint32_t page;

	mark_shown(world->slots, shown);
	CHECK_OK(pthread_mutex_lock(&world->host_lock));
	for (page = 0; page < PAGES; page++)
		if (!shown[page])
			send_away(world, page, AWAY_UNSHOWN, none && page % 64 < 4);
	CHECK_OK(pthread_mutex_unlock(&world->host_lock));
}

void mmu_world_invalidate(struct mmu_world *world, struct stress_thread *self)
{
	uint32_t n = (uint32_t)rng_range(&self->rng, 1, rng_chance(&self->rng, 20) ? 600 : 8);
	uint32_t first = (uint32_t)rng_below(&self->rng, PAGES - n), i;
	const struct mslot_range range = {(uintptr_t)page_words(world, first), n * MMU_PAGE};
	bool none = rng_chance(&self->rng, 10);

	for (i = 0; i < MMU_FORMS; i++)
		CHECK_OK(mslot_invalidate_begin(world->mmu[i], range));
	CHECK_OK(pthread_mutex_lock(&world->host_lock));
	for (i = 0; i < n; i++)
		send_away(world, first + i, AWAY_INVALID, none && i < 4);
	CHECK_OK(pthread_mutex_unlock(&world->host_lock));
	stress_linger(self);
	CHECK_OK(pthread_mutex_lock(&world->host_lock));
	for (i = 0; i < n; i++)
		bring_back(world, first + i, AWAY_INVALID);
	CHECK_OK(pthread_mutex_unlock(&world->host_lock));
	for (i = 0; i < MMU_FORMS; i++)
		mslot_invalidate_end(world->mmu[i], range);
}

/* ---- History ---- */

/* What the next generation will show. Relaxed: the publish, or the lock, has the order. */
static void tell(struct mmu_world *world, const struct mmu_slot *slots, uint64_t generation)
{
	_Atomic uint32_t *shown = world->shown[generation % MMU_GENERATIONS];
	uint32_t place, i, k, flag;

	for (place = 0; place < MMU_PLACES; place++)
		atomic_store_explicit(&shown[place], 0, memory_order_relaxed);
	for (i = 0; i < MMU_SLOTS; i++) {
		flag = slots[i].flags & MSLOT_READONLY ? MMU_SHOWN_READONLY : 0;
		for (k = 0; k < slots[i].n; k++)
			atomic_store_explicit(&shown[slots[i].place + k],
					      MMU_SHOWN | flag | (slots[i].page + k),
					      memory_order_relaxed);
	}
	/* Release: pairs with mmu_world_judge(). */
	atomic_store_explicit(&world->coming, generation, memory_order_release);
}

static bool explains(uint32_t shown, const struct mmu_seen *seen)
{
	bool write = seen->access == MSLOT_WRITE;

	switch (seen->err) {
	case -ENOENT:
		return !shown;
	case -EACCES:
		return write && shown && (shown & MMU_SHOWN_READONLY || seen->guest_readonly);
	default:
		if (!shown || (write && (shown & MMU_SHOWN_READONLY || seen->guest_readonly)))
			return false;
		return seen->word == mmu_identity(shown & ~(MMU_SHOWN | MMU_SHOWN_READONLY));
	}
}

bool mmu_world_judge(struct mmu_world *world, const struct mmu_seen *seen)
{
	/* Acquire: what was told of these generations. Pairs with tell(). */
	uint64_t last = atomic_load_explicit(&world->coming, memory_order_acquire), g;
	uint32_t shown;

	if (seen->err == -EAGAIN)
		return true;
	CHECK(!seen->err || seen->err == -ENOENT || seen->err == -EACCES, "an access gave %d",
	      seen->err);
	for (g = seen->done; g <= last && last - seen->done < MMU_GENERATIONS - 1; g++) {
		shown = atomic_load_explicit(&world->shown[g % MMU_GENERATIONS][seen->place],
					     memory_order_relaxed);
		if (explains(shown, seen))
			return true;
	}
	atomic_thread_fence(memory_order_acquire);
	last = atomic_load_explicit(&world->coming, memory_order_relaxed);
	CHECK(last - seen->done >= MMU_GENERATIONS - 1,
	      "place %u: %s gave %d and %" PRIx64 ", which no generation from %" PRIu64
	      " to %" PRIu64 " explains (T1)",
	      seen->place, seen->access == MSLOT_WRITE ? "a store" : "a load", seen->err,
	      seen->word, seen->done, last);
	return false;
}

/* ---- Edits ---- */

/* edit lock held. */
static bool commit(struct mmu_world *world, struct mslot_txn *txn, const struct mmu_slot *next)
{
	struct mslot_commit_result result;
	uint64_t generation = atomic_load_explicit(&world->done, memory_order_relaxed) + 1;
	int err;

	bring_back_shown(world, next);
	tell(world, next, generation);
	err = mslot_txn_commit(txn, NULL, &result);
	CHECK(!err, "a commit gave %d: %s", err, result.reason);
	memcpy(world->slots, next, sizeof(world->slots));
	/* Nothing changes where a slot is replaced by itself. */
	CHECK(result.generation + 1 >= generation && result.generation <= generation,
	      "generation %" PRIu64 ", not %" PRIu64, result.generation, generation);
	/* Release: pairs with whoever begins a section. */
	atomic_store_explicit(&world->done, result.generation, memory_order_release);
	return true;
}

void mmu_world_edit(struct mmu_world *world, struct stress_thread *self, unsigned int kind)
{
	struct mmu_slot next[MMU_SLOTS];
	struct mslot_txn *txn;
	bool done = false;

	if (kind == MMU_ANY_EDIT)
		kind = (unsigned int)rng_below(&self->rng, MMU_EDITS);
	CHECK_OK(mslot_txn_begin(world->map, &txn));
	CHECK_OK(pthread_mutex_lock(&world->edit));
	memcpy(next, world->slots, sizeof(next));
	if (mmu_edit(world, self, txn, next, kind) && mmu_layout_valid(next)) {
		done = commit(world, txn, next);
		world->edits[kind]++;
		self->ops++;
	} else {
		mslot_txn_abort(txn);
	}
	/* Not always: a removal may also lie behind later commits when it is waited for. */
	if (done && rng_chance(&self->rng, 40)) {
		CHECK_OK(mslot_wait(world->map, atomic_load(&world->done), -1));
		send_away_unshown(world, self);
	}
	CHECK_OK(pthread_mutex_unlock(&world->edit));
}

/* ---- Comparing ---- */

static void compare_root(struct mmu_world *world, struct mslot_root *root)
{
	const _Atomic uint32_t *shown = world->shown[atomic_load(&world->done) % MMU_GENERATIONS];
	const struct mslot_snapshot *snap = mslot_enter(world->map);
	struct mslot_translation found;
	uint32_t place, now;
	int err;

	for (place = 0; place < MMU_PLACES; place++) {
		err = mslot_root_lookup(root, mmu_place_gpa(place), &found);
		CHECK(!err || err == -ENOENT, "a lookup gave %d", err);
		if (err)
			continue;
		now = atomic_load_explicit(&shown[place], memory_order_relaxed);
		CHECK(now, "place %u is translated and shows nothing (T1)", place);
		CHECK(!(found.writable && now & MMU_SHOWN_READONLY),
		      "place %u is writable and read-only", place);
		CHECK(found.hva ==
			  (uintptr_t)page_words(world, now & ~(MMU_SHOWN | MMU_SHOWN_READONLY)),
		      "place %u is translated to another page than it shows (T1)", place);
	}
	mslot_leave(snap);
}

void mmu_world_compare(struct mmu_world *world)
{
	const char *why = "";
	uint32_t i, k;

	CHECK_OK(pthread_rwlock_wrlock(&world->calm));
	CHECK_OK(pthread_mutex_lock(&world->edit));
	for (i = 0; i < MMU_FORMS; i++) {
		CHECK(mslot_check_mmu(world->mmu[i], &why) == 0, "form %u: %s", i, why);
		for (k = 0; k < MMU_ROOTS; k++)
			compare_root(world, world->direct[i][k]);
	}
	CHECK_OK(pthread_mutex_unlock(&world->edit));
	CHECK_OK(pthread_rwlock_unlock(&world->calm));
}

/* ---- Begin and end ---- */

/* What the tables of a guest say: read by vCPUs as they walk. */
static int walk(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		struct mslot_walk *out)
{
	struct mmu_world *world = ctx;
	uint32_t page = (uint32_t)((addr >> 39) * 512 + addr / MMU_PAGE % 512);
	union mmu_guest_unit unit = {
	    .word = atomic_load_explicit(&world->guest[page / 512], memory_order_relaxed)};

	(void)vcpu;
	(void)access;
	*out = (struct mslot_walk){
	    .gpa = mmu_place_gpa(mmu_shadow_place(unit, page)) + addr % MMU_PAGE,
	    .level = unit.level,
	    .guest_readonly = unit.readonly,
	};
	mmu_walked(unit);
	return 0;
}

static void make_roots(struct mmu_world *world, uint32_t i)
{
	const struct mslot_mmu_options opt = {.form = (enum mslot_mmu_form)i};
	const struct mslot_root_options direct = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_root_options shadow = {
	    .kind = MSLOT_ROOT_SHADOW, .walk = walk, .ctx = world};
	uint32_t k;

	CHECK_OK(mslot_mmu_create(world->map, &opt, &world->mmu[i]));
	for (k = 0; k < MMU_ROOTS; k++)
		CHECK_OK(mslot_root_create(world->mmu[i], &direct, &world->direct[i][k]));
	CHECK_OK(mslot_root_create(world->mmu[i], &shadow, &world->shadow[i]));
}

static void make_memory(struct mmu_world *world)
{
	const uint64_t large = 512 * MMU_PAGE;
	struct mslot_region_options opt = {.len_bytes = MMU_REGION_PAGES * MMU_PAGE, .fd = -1};
	unsigned char *at = mmap(NULL, PAGES * MMU_PAGE + large, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t i;

	CHECK(at != MAP_FAILED, "out of memory");
	/* For the end of the process to unmap. */
	world->host = (unsigned char *)(((uintptr_t)at + large - 1) & ~(uintptr_t)(large - 1));
	for (i = 0; i < PAGES; i++)
		*page_words(world, i) = mmu_identity(i);
	for (i = 0; i < MMU_REGIONS; i++) {
		opt.hva = page_words(world, i * MMU_REGION_PAGES);
		CHECK_OK(mslot_region_create(&opt, &world->regions[i]));
	}
}

void mmu_world_init(struct mmu_world *world)
{
	pthread_rwlockattr_t attr;
	struct mmu_slot next[MMU_SLOTS] = {{0}};
	struct mslot_txn *txn;
	uint32_t i;

	CHECK_OK(pthread_rwlockattr_init(&attr));
	CHECK_OK(
	    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
	CHECK_OK(pthread_rwlock_init(&world->calm, &attr));
	CHECK_OK(pthread_mutex_init(&world->edit, NULL));
	CHECK_OK(pthread_mutex_init(&world->host_lock, NULL));
	make_memory(world);
	CHECK_OK(mslot_map_create(NULL, &world->map));
	for (i = 0; i < MMU_FORMS; i++)
		make_roots(world, i);
	for (i = 0; i < MMU_UNITS; i++)
		world->guest[i] = (union mmu_guest_unit){.place = i * 512, .level = 2}.word;
	CHECK_OK(mslot_txn_begin(world->map, &txn));
	mmu_first_layout(world, txn, next);
	CHECK(mmu_layout_valid(next), "the first layout is none");
	commit(world, txn, next);
}

void mmu_world_fini(struct mmu_world *world)
{
	struct mslot_mmu_stats stats;
	const char *why = "";
	uint32_t i, k;

	mmu_world_compare(world);
	for (i = 0; i < MMU_FORMS; i++) {
		mslot_mmu_stats_get(world->mmu[i], &stats);
		printf("  form %u: %" PRIu64 " faults, %" PRIu64 " installed, %" PRIu64
		       " retries, %" PRIu64 " zapped, %" PRIu64 " splits, %" PRIu64
		       " collapses, %" PRIu64 " evicted\n",
		       i, stats.faults, stats.installed, stats.retries, stats.zapped, stats.splits,
		       stats.collapses, stats.evicted);
		for (k = 0; k < MMU_ROOTS; k++)
			CHECK_OK(mslot_root_destroy(world->direct[i][k]));
		CHECK_OK(mslot_root_destroy(world->shadow[i]));
		CHECK_OK(mslot_mmu_destroy(world->mmu[i]));
	}
	CHECK(mslot_check_map(world->map, &why) == 0, "%s", why);
	CHECK_OK(mslot_map_destroy(world->map));
	for (i = 0; i < MMU_REGIONS; i++)
		mslot_region_put(world->regions[i]);
	for (i = 0; i < MMU_EDITS; i++)
		printf("%s%" PRIu64, i ? " " : "  edits by kind: ", world->edits[i]);
	printf("\n");
}
