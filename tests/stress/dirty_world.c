/* SPDX-License-Identifier: MIT */
/*
 * dirty_world.c - writes, changes of the layout and images.
 */
#include "stress/dirty_world.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct mslot_key key_of(uint32_t id)
{
	return (struct mslot_key){.id = id};
}

static struct mslot_slot_def def_of(const struct dirty_world *world, const struct dirty_slot *slot)
{
	return (struct mslot_slot_def){
	    .key = key_of(slot->id),
	    .gpa = slot->gfn * DIRTY_PAGE,
	    .len_bytes = slot->n * DIRTY_PAGE,
	    .region = world->region,
	    .offset_bytes = slot->page * DIRTY_PAGE,
	    .flags = slot->flags,
	};
}

/* One that no slot has, and none had a short while ago. */
static uint32_t fresh_id(struct dirty_world *world)
{
	uint32_t i;

	do {
		world->next_id = (world->next_id + 1) % DIRTY_IDS;
		for (i = 0; i < DIRTY_SLOTS; i++)
			if (world->slots[i].n && world->slots[i].id == world->next_id)
				break;
	} while (i < DIRTY_SLOTS);
	return world->next_id;
}

static void own(struct dirty_world *world, const struct dirty_slot *slot, bool yes)
{
	uint32_t i;

	for (i = 0; i < slot->n; i++)
		world->owner[slot->page + i] = yes ? (uint32_t)(slot - world->slots) : DIRTY_SLOTS;
}

void dirty_world_init(struct dirty_world *world, const struct mslot_map_options *opt,
		      uint32_t flags)
{
	struct mslot_region_options region = {.len_bytes = DIRTY_PAGES * DIRTY_PAGE, .fd = -1};
	struct mslot_slot_def def;
	struct mslot_txn *txn;
	uint32_t i;

	memset(world, 0, sizeof(*world));
	world->flags = flags;
	CHECK_OK(pthread_rwlock_init(&world->layout, NULL));
	region.hva = mmap(NULL, region.len_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(region.hva != MAP_FAILED, "out of memory");
	world->host = region.hva;
	CHECK_OK(mslot_map_create(opt, &world->map));
	CHECK_OK(mslot_region_create(&region, &world->region));
	for (i = 0; i < DIRTY_PAGES; i++)
		world->owner[i] = DIRTY_SLOTS;
	CHECK_OK(mslot_txn_begin(world->map, &txn));
	for (i = 0; i < 8; i++) {
		world->slots[i] = (struct dirty_slot){
		    .id = i,
		    .gfn = i * DIRTY_PAGES / 2,
		    .page = i * DIRTY_PAGES / 8,
		    .n = DIRTY_PAGES / 8,
		    .flags = flags,
		};
		own(world, &world->slots[i], true);
		def = def_of(world, &world->slots[i]);
		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	}
	world->next_id = 8;
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

void dirty_world_fini(struct dirty_world *world)
{
	const char *why = "";
	uint32_t i;

	CHECK(mslot_check_map(world->map, &why) == 0, "%s", why);
	for (i = 0; i < DIRTY_WRITERS && world->mmu[i]; i++) {
		CHECK(mslot_check_mmu(world->mmu[i], &why) == 0, "%s", why);
		CHECK_OK(mslot_root_destroy(world->root[i]));
		CHECK_OK(mslot_mmu_destroy(world->mmu[i]));
	}
	CHECK_OK(mslot_map_destroy(world->map));
	mslot_region_put(world->region);
	CHECK_OK(munmap(world->host, DIRTY_PAGES * DIRTY_PAGE));
	CHECK_OK(pthread_rwlock_destroy(&world->layout));
	if (world->mmu[0])
		printf("stores that hit: %" PRIu64 ", that missed: %" PRIu64 "\n",
		       atomic_load(&world->hits), atomic_load(&world->misses));
	for (i = 0; i < 8; i++)
		printf("%s%" PRIu64, i ? " " : "edits by kind: ", world->done[i]);
	printf("\n");
}

/* ---- Writes ---- */

static uint64_t *word_at(void *host, uint32_t writer)
{
	return &((struct dirty_page *)host)->word[writer];
}

/* A device: it was given a lease, and the section is over when it stores. */
static bool write_by_lease(const struct mslot_snapshot *snap, const struct mslot_span *span,
			   struct stress_thread *self, uint32_t writer, uint64_t n)
{
	struct mslot_lease *lease;
	const struct iovec *iov;
	size_t segs;

	if (mslot_lease_take(snap, span, "device", &lease)) {
		mslot_leave(snap);
		return false;
	}
	mslot_leave(snap);
	iov = mslot_lease_iov(lease, &segs);
	CHECK(segs == 1 && iov->iov_len == DIRTY_PAGE, "a page in two parts");
	if (rng_chance(&self->rng, 30))
		sched_yield();
	__atomic_store_n(word_at(iov->iov_base, writer), n, __ATOMIC_RELAXED);
	mslot_lease_put(lease);
	return true;
}

static bool write_in_section(const struct mslot_snapshot *snap, const struct mslot_span *span,
			     struct stress_thread *self, uint32_t writer, uint64_t old, uint64_t n)
{
	struct mslot_addr at = {.gpa = span->gpa + offsetof(struct dirty_page, word[writer])};
	struct iovec seg;
	bool done;

	switch (rng_below(&self->rng, 4)) {
	case 0:
		done = mslot_store(snap, at, 8, n) == 0;
		break;
	case 1:
		done = mslot_write(snap, at, &n, sizeof(n)) == 0;
		break;
	case 2:
		done = mslot_cmpxchg(snap, at, 8, &old, n) == 1;
		break;
	default:
		done = mslot_write_begin(snap, span, &seg, 1) == 1;
		if (done) {
			stress_linger(self);
			__atomic_store_n(word_at(seg.iov_base, writer), n, __ATOMIC_RELAXED);
			mslot_write_end(snap, span);
		}
		break;
	}
	mslot_leave(snap);
	return done;
}

void dirty_write(struct dirty_world *world, struct stress_thread *self, uint32_t writer)
{
	uint32_t page = (uint32_t)rng_below(&self->rng, DIRTY_PAGES);
	_Atomic uint64_t *completed = &world->completed[writer][page];
	const struct mslot_snapshot *snap = mslot_enter(world->map);
	uint64_t hva = (uintptr_t)world->host + page * DIRTY_PAGE;
	struct mslot_span span = {.access = MSLOT_WRITE, .len_bytes = DIRTY_PAGE};
	uint64_t n = ++world->written[writer];
	const struct mslot_slot *slot;
	struct mslot_slot_info info;
	bool done;

	if (mslot_find_hva(snap, hva, &slot, 1) == 0) {
		mslot_leave(snap);
		return;
	}
	mslot_slot_info_get(slot, &info);
	span.gpa = info.gpa + (hva - info.hva);
	/* Here a whole change of the layout may pass. */
	stress_linger(self);
	done = rng_chance(&self->rng, 15)
		   ? write_by_lease(snap, &span, self, writer, n)
		   : write_in_section(snap, &span, self, writer,
				      atomic_load_explicit(completed, memory_order_relaxed), n);
	if (!done)
		return;
	/* Release: a harvest that begins now must know. Pairs with dirty_completed(). */
	atomic_store_explicit(completed, n, memory_order_release);
	self->ops++;
}

/* ---- Writes through roots ---- */

void dirty_world_translate(struct dirty_world *world)
{
	const struct mslot_mmu_options forms[DIRTY_WRITERS] = {
	    {.form = MSLOT_MMU_REVERSE_MAPS},
	    {.form = MSLOT_MMU_SLOT_BITMAPS},
	};
	const struct mslot_root_options direct = {.kind = MSLOT_ROOT_DIRECT};
	uint32_t i;

	for (i = 0; i < DIRTY_WRITERS; i++) {
		CHECK_OK(mslot_mmu_create(world->map, &forms[i], &world->mmu[i]));
		CHECK_OK(mslot_root_create(world->mmu[i], &direct, &world->root[i]));
	}
}

void dirty_store(struct dirty_world *world, struct stress_thread *self, uint32_t writer,
		 struct mslot_vcpu *vcpu)
{
	/* Where slots were made, and a few are moved back to: most stores find one. */
	uint64_t gfn = rng_below(&self->rng, rng_chance(&self->rng, 50) ? 64 : DIRTY_GFNS);
	uint64_t gpa = gfn * DIRTY_PAGE + offsetof(struct dirty_page, word[writer]);
	uint64_t n = ++world->written[writer];
	bool hit = mslot_vcpu_hit(vcpu, gpa, 8, MSLOT_WRITE) != NULL;
	int err = mslot_vcpu_store64(vcpu, gpa, n);
	const void *host;

	CHECK(!err || err == -ENOENT || err == -EACCES || err == -ENOSPC, "a store gave %d", err);
	if (err)
		return;
	/* The section did not end: what the store used is still in the cache. */
	host = mslot_vcpu_hit(vcpu, gpa, 8, MSLOT_WRITE);
	CHECK(host, "a store left no translation");
	/* Release: a harvest that begins now must know. Pairs with dirty_completed(). */
	atomic_store_explicit(&world->completed[writer][dirty_page_at(world, (uintptr_t)host)], n,
			      memory_order_release);
	atomic_fetch_add_explicit(hit ? &world->hits : &world->misses, 1, memory_order_relaxed);
	self->ops++;
}

static void store_a_few(struct dirty_world *world, struct stress_thread *self, uint32_t writer,
			struct mslot_vcpu *vcpu)
{
	uint64_t n = rng_range(&self->rng, 1, 32);
	const struct mslot_snapshot *snap;

	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	while (n--) {
		dirty_store(world, self, writer, vcpu);
		if (mslot_vcpu_pending(vcpu) && rng_chance(&self->rng, 50))
			CHECK_OK(mslot_vcpu_poll(vcpu, &snap));
		if (n % 8 == 0)
			stress_linger(self);
	}
	mslot_vcpu_leave(vcpu);
}

void dirty_run_vcpu(struct dirty_world *world, struct stress_thread *self, uint32_t writer)
{
	struct mslot_vcpu *vcpu;

	CHECK_OK(mslot_vcpu_create(world->map, NULL, &vcpu));
	CHECK_OK(mslot_vcpu_root_set(vcpu, world->root[writer]));
	while (stress_running() || !self->ops) {
		store_a_few(world, self, writer, vcpu);
		/* Without the handle; by leases, too. */
		if (rng_chance(&self->rng, 30))
			dirty_write(world, self, writer);
	}
	CHECK_OK(mslot_vcpu_destroy(vcpu));
}

/* ---- Changes ---- */

static struct dirty_slot *any_slot(struct dirty_world *world, struct stress_thread *self)
{
	uint32_t i = (uint32_t)rng_below(&self->rng, DIRTY_SLOTS), tries;

	for (tries = 0; tries < DIRTY_SLOTS; tries++, i = (i + 1) % DIRTY_SLOTS)
		if (world->slots[i].n)
			return &world->slots[i];
	return NULL;
}

static struct dirty_slot *free_slot(struct dirty_world *world)
{
	uint32_t i;

	for (i = 0; i < DIRTY_SLOTS; i++)
		if (!world->slots[i].n)
			return &world->slots[i];
	return NULL;
}

/* A change in progress: the slots as they will be. */
struct change {
	struct mslot_txn *txn;
	struct dirty_slot *a, *b;
	struct dirty_slot new_a, new_b;
};

static bool try_split(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	struct mslot_part part;
	uint32_t cut;

	c->b = free_slot(world);
	if (!c->b || c->a->n < 2)
		return false;
	cut = (uint32_t)rng_range(&self->rng, 1, c->a->n - 1);
	c->new_b = c->new_a;
	c->new_b.id = fresh_id(world);
	c->new_b.gfn += cut;
	c->new_b.page += cut;
	c->new_b.n -= cut;
	c->new_a.n = cut;
	part = (struct mslot_part){.id = c->new_b.id, .gpa = c->new_b.gfn * DIRTY_PAGE};
	return mslot_txn_split(c->txn, key_of(c->a->id), &part, 1) >= 0;
}

static bool try_merge(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	struct mslot_part part;
	uint32_t i;

	(void)self;
	/* Any two neighbours: once moved apart, few are. */
	for (i = 0; i < DIRTY_SLOTS * DIRTY_SLOTS; i++) {
		struct dirty_slot *a = &world->slots[i / DIRTY_SLOTS];
		struct dirty_slot *b = &world->slots[i % DIRTY_SLOTS];

		if (!a->n || !b->n || b->gfn != a->gfn + a->n || b->page != a->page + a->n ||
		    b->flags != a->flags)
			continue;
		c->a = a;
		c->b = b;
		c->new_a = *a;
		c->new_a.n += b->n;
		c->new_b = (struct dirty_slot){.n = 0};
		part = (struct mslot_part){.id = b->id};
		return mslot_txn_merge(c->txn, key_of(a->id), &part, 1) >= 0;
	}
	return false;
}

static bool try_move(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	(void)world;
	/* Often back to where what was one slot is neighbours again. */
	c->new_a.gfn = rng_chance(&self->rng, 50)
			   ? 2 * c->a->page
			   : (uint32_t)rng_below(&self->rng, DIRTY_GFNS - c->a->n);
	if (rng_chance(&self->rng, 50) && c->a->page + DIRTY_PAGES <= DIRTY_GFNS - c->a->n)
		c->new_a.gfn = c->a->page + DIRTY_PAGES;
	return mslot_txn_move(c->txn, key_of(c->a->id), c->new_a.gfn * DIRTY_PAGE) >= 0;
}

/* Cut pages off either end, or take back pages that no slot shows. */
static bool try_resize(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	struct dirty_slot *n = &c->new_a;

	if (rng_chance(&self->rng, 50)) {
		uint32_t less = (uint32_t)rng_below(&self->rng, n->n);

		if (rng_chance(&self->rng, 50)) {
			n->gfn += less;
			n->page += less;
		}
		n->n -= less;
	} else {
		while (n->gfn && n->page && world->owner[n->page - 1] == DIRTY_SLOTS) {
			n->gfn--;
			n->page--;
			n->n++;
		}
		while (n->page + n->n < DIRTY_PAGES && n->gfn + n->n < DIRTY_GFNS &&
		       world->owner[n->page + n->n] == DIRTY_SLOTS)
			n->n++;
	}
	return mslot_txn_resize(c->txn, key_of(n->id),
				(struct mslot_range){n->gfn * DIRTY_PAGE, n->n * DIRTY_PAGE}) >= 0;
}

static bool try_delete(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	(void)world;
	(void)self;
	c->new_a.n = 0;
	return mslot_txn_delete(c->txn, key_of(c->a->id)) >= 0;
}

/* The longest run of pages that no slot shows gets one. */
static bool try_create(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	uint32_t page, n;
	struct mslot_slot_def def;

	c->a = free_slot(world);
	if (!c->a)
		return false;
	c->new_a = (struct dirty_slot){.id = fresh_id(world), .flags = world->flags};
	for (page = 0; page < DIRTY_PAGES; page += n ? n : 1) {
		for (n = 0; page + n < DIRTY_PAGES && world->owner[page + n] == DIRTY_SLOTS; n++)
			;
		if (n > c->new_a.n) {
			c->new_a.page = page;
			c->new_a.n = n;
		}
	}
	if (!c->new_a.n)
		return false;
	c->new_a.gfn = (uint32_t)rng_below(&self->rng, DIRTY_GFNS - c->new_a.n);
	def = def_of(world, &c->new_a);
	return mslot_txn_create(c->txn, &def) >= 0;
}

static bool try_flags(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	(void)world;
	(void)self;
	c->new_a.flags ^= MSLOT_READONLY;
	return mslot_txn_set_flags(c->txn, key_of(c->a->id), c->new_a.flags) >= 0;
}

/* The same memory under another name: its log begins anew. */
static bool try_rename(struct dirty_world *world, struct stress_thread *self, struct change *c)
{
	struct mslot_slot_def def;

	(void)self;
	c->new_a.id = fresh_id(world);
	def = def_of(world, &c->new_a);
	return mslot_txn_delete(c->txn, key_of(c->a->id)) >= 0 &&
	       mslot_txn_create(c->txn, &def) >= 0;
}

static bool (*const tries[8])(struct dirty_world *world, struct stress_thread *self,
			      struct change *c) = {
    try_split, try_merge, try_move, try_resize, try_delete, try_create, try_flags, try_rename,
};

/* Take the change over: what goes first, because pages may change hands. */
static void adopt(struct dirty_world *world, const struct change *c, bool anew)
{
	uint32_t page;

	for (page = c->new_a.page; page < c->new_a.page + c->new_a.n; page++)
		world->epoch[page] += anew || world->owner[page] == DIRTY_SLOTS;
	own(world, c->a, false);
	if (c->b)
		own(world, c->b, false);
	*c->a = c->new_a;
	own(world, c->a, true);
	if (c->b) {
		*c->b = c->new_b;
		own(world, c->b, true);
	}
}

void dirty_change(struct dirty_world *world, struct stress_thread *self,
		  void (*taken)(struct dirty_world *world, struct mslot_final *final))
{
	uint32_t kind = (uint32_t)rng_below(&self->rng, 8);
	struct change c = {.a = any_slot(world, self)};
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {
	    .final = taken && rng_chance(&self->rng, 10) ? &final : NULL,
	};
	int err;

	if (!c.a) {
		kind = 5;
		c.a = &world->slots[0];
	}
	c.new_a = *c.a;
	CHECK_OK(mslot_txn_begin(world->map, &c.txn));
	CHECK_OK(pthread_rwlock_wrlock(&world->layout));
	if (tries[kind](world, self, &c)) {
		err = mslot_txn_commit(c.txn, &opt, NULL);
		CHECK(!err || err == -EEXIST, "edit %u gave %d", kind, err);
		if (!err) {
			c.txn = NULL;
			adopt(world, &c, tries[kind] == try_rename);
			world->done[kind]++;
			self->ops++;
		}
	}
	CHECK_OK(pthread_rwlock_unlock(&world->layout));
	mslot_txn_abort(c.txn);
	if (final)
		taken(world, final);
}

/* ---- Images ---- */

void dirty_completed(const struct dirty_world *world, struct dirty_image *out)
{
	uint32_t w, page;

	for (w = 0; w < DIRTY_WRITERS; w++)
		for (page = 0; page < DIRTY_PAGES; page++)
			out->word[w][page] =
			    atomic_load_explicit(&world->completed[w][page], memory_order_acquire);
}

void dirty_copy(const struct dirty_world *world, struct dirty_image *image, uint32_t page,
		uint32_t n)
{
	uint32_t w;

	for (; n; n--, page++)
		for (w = 0; w < DIRTY_WRITERS; w++)
			image->word[w][page] = __atomic_load_n(
			    word_at(world->host + page * DIRTY_PAGE, w), __ATOMIC_RELAXED);
}

uint32_t dirty_page_at(const struct dirty_world *world, uint64_t hva)
{
	return (uint32_t)((hva - (uintptr_t)world->host) / DIRTY_PAGE);
}

void dirty_expect(const struct dirty_world *world, const struct mslot_snapshot *snap,
		  const struct dirty_image *image, const struct dirty_image *than, const char *who)
{
	const struct mslot_slot *slot;
	struct mslot_slot_info info;
	struct mslot_iter iter;
	uint32_t page, n, w;

	mslot_iter_gpa(&iter, snap, 0, (struct mslot_range){0, UINT64_MAX});
	while ((slot = mslot_iter_next(&iter))) {
		mslot_slot_info_get(slot, &info);
		page = dirty_page_at(world, info.hva);
		for (n = (uint32_t)(info.len_bytes / DIRTY_PAGE); n; n--, page++)
			for (w = 0; w < DIRTY_WRITERS; w++)
				CHECK(image->word[w][page] >= than->word[w][page],
				      "%s: page %u of writer %u is at %" PRIu64 ", not %" PRIu64
				      ", and was not reported (D2)",
				      who, page, w, image->word[w][page], than->word[w][page]);
	}
}
