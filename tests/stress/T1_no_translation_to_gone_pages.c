/* SPDX-License-Identifier: MIT */
/*
 * T1: after a commit and mslot_wait() no vCPU and no root reaches a page that was removed or
 * remapped. Four vCPUs and one that is made anew all the time load and store through direct and
 * shadow roots of both forms. Others edit the map, invalidate host ranges, change the guest's
 * tables, zap, protect, age, and keep the tables few. Each page that an access finds must be one
 * that its place showed; what has gone is poison (mmu_world.h). Now and then all rests, and both
 * MMUs are compared with the map.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "stress/mmu_world.h"

#define SHADOW_PAGES (MMU_UNITS * 512u)
#define NEWCOMER (MMU_VCPUS - 1) /* the word of the page that it stores to */

static struct mmu_world world;
static _Atomic uint64_t too_old, refused;

/* What the guest's tables said when this thread walked them last. */
static _Thread_local struct {
	union mmu_guest_unit unit;
	bool is_new;
} walked;

void mmu_walked(union mmu_guest_unit unit)
{
	walked.unit = unit;
	walked.is_new = true;
}

struct guest {
	struct mslot_vcpu *vcpu;
	unsigned int form, word;
	struct mslot_root *root;
	bool shadow;
	uint32_t window;             /* pages or places from here on are accessed often */
	uint64_t done;               /* commits that had returned before the section began */
	uint32_t told[SHADOW_PAGES]; /* where the last access that went well found the page */
};

/* ---- Accesses ---- */

static uint64_t done_now(void)
{
	/* Acquire: pairs with the commit that tells. */
	return atomic_load_explicit(&world.done, memory_order_acquire);
}

static uint32_t place_of(uint64_t gpa)
{
	uint64_t frame = gpa / MMU_PAGE;

	return (uint32_t)((frame >> 27) * MMU_ISLAND_PLACES + frame % MMU_ISLAND_PLACES);
}

/* Where the access of a page was, of a shadow root. */
static uint32_t shadow_place(struct guest *g, uint32_t page, const struct mmu_seen *seen)
{
	uint32_t place = walked.is_new ? mmu_shadow_place(walked.unit, page) : g->told[page];
	struct mslot_mmio mmio;

	if (!seen->err)
		g->told[page] = place;
	if (seen->err != -ENOENT)
		return place;
	CHECK_OK(mslot_vcpu_mmio(g->vcpu, &mmio));
	return place_of(mmio.gpa);
}

static int load_or_store(struct guest *g, struct stress_thread *self, uint64_t addr,
			 struct mmu_seen *seen)
{
	if (seen->access == MSLOT_READ)
		return mslot_vcpu_load64(g->vcpu, addr, &seen->word);
	return mslot_vcpu_store64(g->vcpu, addr + 8 * (1 + g->word), rng_next(&self->rng) >> 8);
}

/* By the function that the accesses call: only of direct roots, nothing is to be kept. */
static int fault_in(struct guest *g, uint64_t addr, struct mmu_seen *seen)
{
	struct mslot_fault fault = {.addr = addr, .access = seen->access};
	struct mslot_translation found;
	int err = mslot_fault(g->vcpu, g->root, &fault, &found);

	if (!err)
		seen->word = __atomic_load_n((uint64_t *)(uintptr_t)found.hva, __ATOMIC_RELAXED);
	return err;
}

static uint32_t any_page(struct guest *g, struct stress_thread *self)
{
	uint32_t n = g->shadow ? SHADOW_PAGES : MMU_PLACES;

	if (rng_chance(&self->rng, 80))
		return (g->window + (uint32_t)rng_below(&self->rng, 32)) % n;
	return (uint32_t)rng_below(&self->rng, n);
}

/* Returns false where the section must end first. */
static bool access_one(struct guest *g, struct stress_thread *self)
{
	uint32_t page = any_page(g, self);
	uint64_t addr = g->shadow ? mmu_shadow_addr(page) : mmu_place_gpa(page);
	struct mmu_seen seen = {
	    .done = g->done,
	    .place = page,
	    .access = rng_chance(&self->rng, 40) ? MSLOT_WRITE : MSLOT_READ,
	};

	walked.is_new = false;
	if (!g->shadow && rng_chance(&self->rng, 10))
		seen.err = fault_in(g, addr, &seen);
	else
		seen.err = load_or_store(g, self, addr, &seen);
	if (g->shadow) {
		seen.place = shadow_place(g, page, &seen);
		seen.guest_readonly = walked.is_new && walked.unit.readonly;
	}
	/* The store's page is in the cache now, and stays there in this section. */
	if (!seen.err && seen.access == MSLOT_WRITE)
		CHECK_OK(mslot_vcpu_load64(g->vcpu, addr, &seen.word));
	if (!mmu_world_judge(&world, &seen))
		atomic_fetch_add_explicit(&too_old, 1, memory_order_relaxed);
	if (seen.err == -EAGAIN)
		atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
	self->ops++;
	return seen.err != -EAGAIN;
}

static void prefault_some(struct guest *g, struct stress_thread *self)
{
	uint64_t addr = g->shadow ? mmu_shadow_addr((uint32_t)rng_below(&self->rng, SHADOW_PAGES))
				  : mmu_place_gpa((uint32_t)rng_below(&self->rng, MMU_PLACES));
	struct mslot_range range = {addr, rng_range(&self->rng, 1, 64) * MMU_PAGE};
	int64_t n = mslot_prefault(g->vcpu, g->root, range,
				   rng_chance(&self->rng, 50) ? MSLOT_WRITE : MSLOT_READ);

	CHECK(n >= 0 || n == -EAGAIN, "prefaulting gave %" PRId64, n);
}

static void run_section(struct guest *g, struct stress_thread *self, unsigned int n)
{
	const struct mslot_snapshot *snap;

	g->done = done_now();
	CHECK_OK(mslot_vcpu_enter(g->vcpu, &snap));
	while (n-- && access_one(g, self)) {
		if (n % 64 == 32)
			stress_linger(self);
		/* Not always: what was asked for in this section must not change it. */
		if (!mslot_vcpu_pending(g->vcpu) || !rng_chance(&self->rng, 30))
			continue;
		g->done = done_now();
		CHECK_OK(mslot_vcpu_poll(g->vcpu, &snap));
	}
	if (rng_chance(&self->rng, 5))
		prefault_some(g, self);
	mslot_vcpu_leave(g->vcpu);
}

static void choose_root(struct guest *g, struct stress_thread *self)
{
	g->shadow = rng_chance(&self->rng, 40);
	g->root = g->shadow ? world.shadow[g->form]
			    : world.direct[g->form][rng_below(&self->rng, MMU_ROOTS)];
	CHECK_OK(mslot_vcpu_root_set(g->vcpu, g->root));
}

static void run_batch(struct guest *g, struct stress_thread *self)
{
	unsigned int i;

	CHECK_OK(pthread_rwlock_rdlock(&world.calm));
	if (rng_chance(&self->rng, 10))
		g->window = (uint32_t)rng_below(&self->rng, MMU_PLACES) / 32 * 32;
	for (i = 0; i < 2; i++)
		run_section(g, self, (unsigned int)rng_range(&self->rng, 1, 64));
	CHECK_OK(pthread_rwlock_unlock(&world.calm));
}

static void run_vcpu(struct stress_thread *self)
{
	static struct guest guests[MMU_VCPUS];
	struct guest *g = &guests[self->index];

	*g = (struct guest){.form = self->index % MMU_FORMS, .word = self->index};
	CHECK_OK(mslot_vcpu_create(world.map, NULL, &g->vcpu));
	choose_root(g, self);
	while (stress_running() || !self->ops) {
		run_batch(g, self);
		if (rng_chance(&self->rng, 10))
			choose_root(g, self);
	}
	CHECK_OK(mslot_vcpu_destroy(g->vcpu));
}

/* vCPUs, and every other time roots, that do not live long. */
static void run_short_lives(struct stress_thread *self)
{
	static struct guest guest;
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT, .levels = 5};
	struct mslot_root *root;
	struct guest *g = &guest;

	while (stress_running() || !self->ops) {
		*g = (struct guest){.form = (unsigned int)rng_below(&self->rng, MMU_FORMS),
				    .word = NEWCOMER};
		root = NULL;
		CHECK_OK(mslot_vcpu_create(world.map, NULL, &g->vcpu));
		if (rng_chance(&self->rng, 50)) {
			CHECK_OK(mslot_root_create(world.mmu[g->form], &opt, &root));
			g->root = root;
			CHECK_OK(mslot_vcpu_root_set(g->vcpu, root));
		} else {
			choose_root(g, self);
		}
		run_batch(g, self);
		CHECK_OK(mslot_vcpu_destroy(g->vcpu));
		CHECK_OK(mslot_root_destroy(root));
	}
}

/* ---- Those who take away ---- */

/*
 * Four of the six slots that there are first: one of them has small leaves, and its chunk goes,
 * also where a short run on a busy machine has time for little else.
 */
static void edit(struct stress_thread *self)
{
	bool deletes = self->arg != NULL;

	while (stress_running() || !self->ops) {
		mmu_world_edit(&world, self, deletes && self->ops < 4 ? MMU_DELETE : MMU_ANY_EDIT);
		stress_linger(self);
	}
}

static void invalidate(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		mmu_world_invalidate(&world, self);
		stress_linger(self);
		self->ops++;
	}
}

/* A guest changes its tables, and says so to both MMUs. */
static void change_guest(struct stress_thread *self)
{
	union mmu_guest_unit unit = {.word = 0};
	uint32_t page, i, u;

	while (stress_running() || !self->ops) {
		CHECK_OK(pthread_rwlock_rdlock(&world.calm));
		u = (uint32_t)rng_below(&self->rng, MMU_UNITS);
		unit.place = (uint32_t)rng_below(&self->rng, MMU_PLACES);
		unit.level = 1;
		unit.readonly = rng_chance(&self->rng, 20);
		if (rng_chance(&self->rng, 50)) {
			unit.place = unit.place / 512 * 512;
			unit.level = 2;
		}
		atomic_store_explicit(&world.guest[u], unit.word, memory_order_relaxed);
		for (page = u * 512; page < u * 512 + 512; page++)
			for (i = 0; i < MMU_FORMS; i++)
				mslot_zap_page(NULL, world.shadow[i], mmu_shadow_addr(page));
		CHECK_OK(pthread_rwlock_unlock(&world.calm));
		self->ops++;
		stress_linger(self);
	}
}

static struct mslot_range any_hva(struct stress_thread *self)
{
	uint64_t n = rng_range(&self->rng, 1, 600);
	uint64_t page = rng_below(&self->rng, MMU_REGIONS * MMU_REGION_PAGES - n);

	return (struct mslot_range){(uintptr_t)world.host + page * MMU_PAGE, n * MMU_PAGE};
}

static int64_t age_some(struct stress_thread *self, struct mslot_mmu *mmu)
{
	struct mslot_age age = {
	    .hva = any_hva(self),
	    .what = (uint32_t)rng_range(&self->rng, 1, MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY),
	};

	return rng_chance(&self->rng, 50) ? mslot_age(mmu, &age) : mslot_test_age(mmu, &age);
}

static int64_t zap_some(struct stress_thread *self, struct mslot_mmu *mmu, unsigned int form)
{
	static const uint64_t limits[] = {1, 1, 1, 0};
	uint32_t place = (uint32_t)rng_below(&self->rng, MMU_PLACES);
	uint64_t n = rng_range(&self->rng, 1, 600) * MMU_PAGE;

	switch (rng_below(&self->rng, 8)) {
	case 0:
		return mslot_zap_gfn(mmu, 0, (struct mslot_range){mmu_place_gpa(place), n});
	case 1:
		return mslot_zap_hva(mmu, any_hva(self));
	case 2:
		if (rng_chance(&self->rng, 20))
			mslot_zap_all(mmu);
		return 0;
	case 3:
		return mslot_zap_page(NULL, world.direct[form][rng_below(&self->rng, MMU_ROOTS)],
				      mmu_place_gpa(place));
	case 4:
		mslot_mmu_limit_set(mmu, limits[rng_below(&self->rng, 4)]);
		return 0;
	case 5:
		return age_some(self, mmu);
	case 6:
		return mslot_write_protect(
		    mmu, (struct mslot_key){0, (uint32_t)rng_below(&self->rng, 64)}, NULL);
	default:
		return mslot_mmu_sync(mmu);
	}
}

static void zap(struct stress_thread *self)
{
	unsigned int form;
	int64_t n;

	while (stress_running() || !self->ops) {
		CHECK_OK(pthread_rwlock_rdlock(&world.calm));
		form = (unsigned int)rng_below(&self->rng, MMU_FORMS);
		n = zap_some(self, world.mmu[form], form);
		CHECK(n >= 0 || n == -ENOENT, "a zap gave %" PRId64, n);
		CHECK_OK(pthread_rwlock_unlock(&world.calm));
		stress_linger(self);
		self->ops++;
	}
}

static void compare(struct stress_thread *self)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	while (stress_running() || !self->ops) {
		mmu_world_compare(&world);
		nanosleep(&pause, NULL);
		self->ops++;
	}
}

/* All pages through all roots, and one root more: more tables than the least limit allows. */
static void fill_roots(unsigned int form)
{
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};
	struct mslot_root *root, *last;
	struct guest g = {.form = form};
	const struct mslot_snapshot *snap;
	uint32_t i, island;

	mslot_mmu_limit_set(world.mmu[form], 1);
	CHECK_OK(mslot_root_create(world.mmu[form], &opt, &last));
	CHECK_OK(mslot_vcpu_create(world.map, NULL, &g.vcpu));
	CHECK_OK(mslot_vcpu_enter(g.vcpu, &snap));
	for (i = 0; i <= MMU_ROOTS; i++) {
		root = i < MMU_ROOTS ? world.direct[form][i] : last;
		for (island = 0; island < MMU_ISLANDS; island++) {
			struct mslot_range all = {mmu_place_gpa(island * MMU_ISLAND_PLACES),
						  MMU_ISLAND_PLACES * MMU_PAGE};

			CHECK(mslot_prefault(g.vcpu, root, all, MSLOT_WRITE) > 0, "nothing there");
		}
	}
	mslot_vcpu_leave(g.vcpu);
	CHECK_OK(mslot_vcpu_destroy(g.vcpu));
	CHECK_OK(mslot_root_destroy(last));
}

int main(void)
{
	unsigned int i;

	stress_begin("T1_no_translation_to_gone_pages");
	mmu_world_init(&world);
	for (i = 0; i < MMU_FORMS; i++)
		fill_roots(i);
	for (i = 0; i < MMU_VCPUS; i++)
		stress_spawn("vcpu", run_vcpu, NULL);
	stress_spawn("newcomers", run_short_lives, NULL);
	stress_spawn("edits", edit, &world);
	stress_spawn("edits", edit, NULL);
	stress_spawn("host", invalidate, NULL);
	stress_spawn("guest", change_guest, NULL);
	stress_spawn("zapper", zap, NULL);
	stress_spawn("compare", compare, NULL);
	stress_run();
	mmu_world_fini(&world);
	printf("  %" PRIu64 " accesses refused, %" PRIu64 " too long ago to judge\n",
	       atomic_load(&refused), atomic_load(&too_old));
	return stress_end();
}
