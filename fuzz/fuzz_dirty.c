/* SPDX-License-Identifier: MIT */
/*
 * fuzz_dirty.c - dirty pages: edits, writes by every path, consumers, KVM's calls and final
 * harvests, against a struct a page (tests/support/dirty_bits.h).
 *
 * The first bytes choose the map; each step is an operation. What the twin says of leases: a
 * page that a write lease addresses is to be in every harvest until the lease is put, and in one
 * more; other pages that show its memory may be, and so may those whose logging begins later,
 * until somebody has waited for that.
 */
#include "fuzz_dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "kvm_log.h"
#include "map/lease.h"

#define MAX_STEPS 96u
#define REGION_PAGES UINT64_C(640)
#define REGION_SKIP_PAGES UINT64_C(20)
#define WINDOW_PAGES UINT64_C(600)

struct twin_tally tally; /* what txn_compare.c counts */

/* ---- Consumers --------------------------------------------------------------- */

static void choose_range(struct world *w, struct mslot_dirty_range *r)
{
	const uint8_t how = in_u8(&w->in);

	r->space = how % w->naive.opt.nspaces;
	r->range.start = w->shape.base_gpa + in_u8(&w->in) * 3 * w->page;
	r->range.len_bytes = (1 + in_u8(&w->in) * UINT64_C(2)) * w->page;
	if (how < 0xf0)
		return;
	if (how & 2)
		r->space += w->naive.opt.nspaces;
	if (how & 4)
		r->range.start += in_u8(&w->in);
	if (how & 8)
		r->range.len_bytes = in_uint(&w->in, 8);
}

static bool scope_valid(const struct world *w, const struct twin_scope *scope)
{
	for (size_t i = 0; i < scope->nranges; i++) {
		const struct mslot_dirty_range *r = &scope->ranges[i];

		if (r->space >= w->naive.opt.nspaces || !r->range.len_bytes ||
		    (r->range.start | r->range.len_bytes) % w->page ||
		    r->range.start + r->range.len_bytes < r->range.start)
			return false;
	}
	return true;
}

static void create(struct world *w, unsigned int c)
{
	const uint8_t how = in_u8(&w->in);
	struct twin_scope scope = {.exists = true, .fill = how & 1, .nranges = how >> 1 & 3u};
	struct mslot_dirty_options opt = {.ranges = scope.ranges, .nranges = scope.nranges};
	int err, want;

	opt.flags = how >= 0xf8 ? in_u8(&w->in) : scope.fill ? MSLOT_DIRTY_INITIALLY_SET : 0;
	scope.fill = opt.flags & MSLOT_DIRTY_INITIALLY_SET;
	opt.tag = how & 0x10 ? "fuzz" : NULL;
	for (size_t i = 0; i < scope.nranges; i++)
		choose_range(w, &scope.ranges[i]);
	want = opt.flags & ~MSLOT_DIRTY_INITIALLY_SET || !scope_valid(w, &scope) ? -EINVAL : 0;
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_create(w->map, &opt, &w->dirty[c]);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!w->dirty[c]);
		fuzz_check_map(w->map);
		err = mslot_dirty_create(w->map, &opt, &w->dirty[c]);
	}
	FUZZ_REQUIRE(err == want);
	if (err)
		return;
	w->bits.scope[c] = scope;
	twin_consumer_begins(&w->bits, c);
	w->settled = w->bits.last_number;
}

static void destroy(struct world *w, unsigned int c)
{
	int err;

	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_destroy(w->dirty[c]);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		fuzz_check_map(w->map);
		err = mslot_dirty_destroy(w->dirty[c]);
	}
	FUZZ_REQUIRE(err == 0);
	w->dirty[c] = NULL;
	w->batch[c] = NULL;
	twin_consumer_ends(&w->bits, c);
}

static void consumer_step(struct world *w)
{
	const unsigned int c = 1 + in_below(&w->in, TWIN_CONSUMERS - 1);

	if (w->dirty[c])
		destroy(w, c);
	else
		create(w, c);
}

void harvest(struct world *w, unsigned int c)
{
	struct mslot_dirty_batch *batch = NULL;
	int err;

	if (!w->dirty[c])
		return;
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_get(w->dirty[c], &batch);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!batch);
		err = mslot_dirty_get(w->dirty[c], &batch);
	}
	FUZZ_REQUIRE(err == 0);
	w->batch[c] = batch;
	if (!twin_compare_batch(&w->bits, c, batch))
		fuzz_fail("a harvest");
	mslot_dirty_rewind(batch);
	FUZZ_REQUIRE(mslot_dirty_next(batch, &(struct mslot_dirty_run){0}) ==
		     (mslot_dirty_pages(batch) > 0));
}

void end_batch(struct world *w, unsigned int c, bool ack)
{
	if (!w->batch[c])
		return;
	if (ack)
		mslot_dirty_ack(w->batch[c]);
	else
		mslot_dirty_nack(w->batch[c]);
	w->batch[c] = NULL;
	twin_batch_ends(&w->bits, c, ack);
}

/* Harvests inside a section would wait for themselves. */
static void inside_step(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_dirty *dirty;
	struct mslot_dirty_batch *batch;
	unsigned int c;

	FUZZ_REQUIRE(mslot_dirty_create(w->map, NULL, &dirty) == -EDEADLK);
	for (c = 1; c < TWIN_CONSUMERS; c++)
		if (w->dirty[c])
			FUZZ_REQUIRE(mslot_dirty_get(w->dirty[c], &batch) == -EDEADLK &&
				     mslot_dirty_destroy(w->dirty[c]) == -EDEADLK);
	/* An acknowledgement waits for nobody. */
	end_batch(w, 1 + in_below(&w->in, TWIN_CONSUMERS - 1), true);
	mslot_leave(snap);
}

/* ---- KVM's calls -------------------------------------------------------------- */

static void kvm_cap(struct world *w)
{
	struct kvm_enable_cap cap;
	int want;

	log_choose_cap(&w->in, &cap);
	want = ndirty_enable_cap(&w->modes, &cap);
	FUZZ_REQUIRE(mslot_kvm_enable_cap(w->map, &cap) == want);
	w->bits.scope[0].fill = w->modes.initially;
}

static void kvm_result(struct world *w, const struct log_call *call, const struct log_slot *slot,
		       size_t s)
{
	uint64_t *words;

	if (call->clear) {
		twin_kvm_cleared(&w->bits, s, call->of.first_page, call->of.num_pages, call->words);
		return;
	}
	words = calloc((size_t)slot->npages / 64 + 1, sizeof(*words));
	if (!words)
		abort();
	log_copy(call, slot, words);
	if (!twin_compare_bits(&w->bits, 0, s, words, "kvm get"))
		fuzz_fail("KVM_GET_DIRTY_LOG");
	free(words);
	if (!w->modes.manual)
		twin_kvm_got(&w->bits, s);
}

static void kvm_step(struct world *w)
{
	const struct naive_slot *slot;
	struct log_slot of = {0};
	struct log_call call;
	uint32_t known[64];
	size_t n = 0;
	int err;

	if (in_chance(&w->in, 24)) {
		kvm_cap(w);
		return;
	}
	for (size_t i = 0; i < w->naive.n && n < 64; i++)
		if (w->naive.slots[i].key.id <= 0xffff)
			known[n++] = w->naive.slots[i].key.space << 16 | w->naive.slots[i].key.id;
	of.number = log_choose_number(&w->in, known, n);
	slot = naive_find_id(&w->naive, (struct mslot_key){of.number >> 16, of.number & 0xffff});
	of.npages = slot ? twin_npages(&w->naive, slot) : 0;
	of.logged = slot && slot->flags & MSLOT_LOG_DIRTY;
	log_choose(&call, &w->in, &w->naive.opt, &of);
	(void)fuzz_alloc_fail(&w->in);
	err = log_ask(&call, w->map);
	if (fuzz_alloc_heal() && err == -ENOMEM)
		err = log_ask(&call, w->map);
	if (err != call.want)
		fuzz_fail("%s: %d, not %d", call.clear ? "clear" : "get", err, call.want);
	if (err == 0)
		kvm_result(w, &call, &of, (size_t)(slot - w->naive.slots));
	log_end(&call);
}

/* ---- Worlds -------------------------------------------------------------------- */

static void create_regions(struct world *w)
{
	static uint8_t *host;
	const size_t bytes = (size_t)((REGION_PAGES + NREGIONS * REGION_SKIP_PAGES) * LARGEST_PAGE);

	if (!host)
		host = mmap(NULL, bytes + LARGEST_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FUZZ_REQUIRE(host != MAP_FAILED);
	for (size_t i = 0; i < NREGIONS; i++) {
		const uint64_t hva =
		    ((uintptr_t)host + LARGEST_PAGE - 1) / LARGEST_PAGE * LARGEST_PAGE +
		    i * REGION_SKIP_PAGES * w->page;
		const struct mslot_region_options opt = {
		    .hva = (void *)(uintptr_t)hva, .len_bytes = REGION_PAGES * w->page, .fd = -1};

		w->regions[i] =
		    (struct naive_region){.hva = hva, .len = opt.len_bytes, .usable = true};
		FUZZ_REQUIRE(mslot_region_create(&opt, &w->regions[i].handle) == 0);
	}
}

static void world_init(struct world *w, uint8_t how)
{
	struct mslot_map_options opt = {
	    .nspaces = how & 1 ? 2 : 1,
	    .page_shift = how & 2 ? 14 : 12,
	    .max_user_slots = how & 4 ? 40 : 0,
	};

	FUZZ_REQUIRE(mslot_map_create(&opt, &w->map) == 0);
	mslot_map_options_get(w->map, &opt);
	w->page = UINT64_C(1) << opt.page_shift;
	create_regions(w);
	w->shape = (struct twin_shape){
	    .base_gpa = 16 * w->page,
	    .window_bytes = WINDOW_PAGES * w->page,
	    .unit_bytes = (how & 8 ? 7 : 60) * w->page,
	    .target = 6,
	};
	rng_init(&w->rng, how);
	naive_init(&w->naive, &opt, w->regions, NREGIONS);
	naive_init(&w->next, &opt, w->regions, NREGIONS);
	twin_bits_init(&w->bits, &w->naive);
	ndirty_init(&w->modes, opt.nspaces, opt.max_user_slots);
}

static void world_fini(struct world *w)
{
	for (unsigned int i = 0; i < HOLDS; i++)
		put_hold(&w->holds[i]);
	for (unsigned int i = 0; i < LEASES; i++)
		put_lease(&w->leases[i]);
	lease_thread_drop();
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		FUZZ_REQUIRE(mslot_dirty_destroy(w->dirty[c]) == 0);
	for (size_t i = 0; i < NREGIONS; i++)
		mslot_region_put(w->regions[i].handle);
	FUZZ_REQUIRE(mslot_map_destroy(w->map) == 0);
	twin_bits_fini(&w->bits);
	naive_fini(&w->naive);
	naive_fini(&w->next);
	ndirty_fini(&w->modes);
}

static void step(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	mark_leases(w);
	switch (how & 15) {
	case 0:
	case 1:
	case 2:
		edit_step(w);
		break;
	case 3:
	case 4:
		harvest(w, 1 + how / 16 % (TWIN_CONSUMERS - 1));
		break;
	case 5:
	case 6:
		end_batch(w, 1 + how / 16 % (TWIN_CONSUMERS - 1), how & 1);
		break;
	case 7:
		kvm_step(w);
		break;
	case 8:
		consumer_step(w);
		break;
	case 9:
		hold_step(w);
		break;
	case 10:
		lease_step(w);
		break;
	case 11:
		if (how >= 0x80)
			inside_step(w);
		else if (how >= 0x40)
			shuttle_step(w);
		else
			kvm_step(w);
		break;
	default:
		write_step(w);
		break;
	}
	fuzz_check_map(w->map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t live = alloc_live();
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	world_init(&w, in_u8(&w.in));
	for (unsigned int i = 0; i < MAX_STEPS && w.in.left; i++)
		step(&w);
	world_fini(&w);
	FUZZ_REQUIRE(alloc_live() == live);
	return 0;
}
