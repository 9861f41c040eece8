/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_twin.c - random edits, marks and harvests against pages kept one by one.
 *
 *   test-model-dirty_twin [SEED [STEPS]]
 *
 * Three consumers with random scopes, KVM's calls as a fourth, and final harvests. Each report
 * must have what was written and nothing that was not (dirty_bits.h says where it may have
 * more). Without STEPS it makes 300,000, scaled by MSLOT_TEST_SCALE (percent).
 */
#include "dirty_bits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/access.h>
#include <mslot/kvm.h>

#define DEFAULT_SEED UINT64_C(20240901)
#define DEFAULT_STEPS UINT64_C(300000)
#define STEPS_PER_MAP UINT64_C(1500)
#define NREGIONS 3u
#define REGION_PAGES UINT64_C(6000)
#define WINDOW_PAGES UINT64_C(4000)
#define MAX_SLOT_PAGES 8192u

struct dirty_world {
	struct rng rng;
	struct mslot_map *map;
	struct naive_map naive, next;
	struct naive_region regions[NREGIONS];
	struct twin_shape shape;
	struct twin_txn txn;
	struct twin_bits bits;
	struct mslot_dirty *dirty[TWIN_CONSUMERS]; /* [0] stays NULL */
	struct mslot_dirty_batch *batch[TWIN_CONSUMERS];
	bool manual;
	uint64_t page;
};

static struct {
	uint64_t commits, refused, marks, gets, acks, nacks, kvm_gets, clears, finals, final_ranges;
	uint64_t creates;
} done;

struct twin_tally tally; /* of txn_compare.c, which prints transactions here */
static uint64_t bitmap[MAX_SLOT_PAGES / 64], reported;

/* ---- Consumers ---------------------------------------------------------- */

static void choose_scope(struct dirty_world *w, struct twin_scope *scope)
{
	*scope = (struct twin_scope){.exists = true, .fill = rng_chance(&w->rng, 30)};
	scope->nranges = rng_below(&w->rng, TWIN_RANGES + 1);
	for (size_t i = 0; i < scope->nranges; i++) {
		struct mslot_dirty_range *r = &scope->ranges[i];

		r->space = (uint32_t)rng_below(&w->rng, w->naive.opt.nspaces);
		r->range.start = w->shape.base_gpa + rng_below(&w->rng, WINDOW_PAGES) * w->page;
		r->range.len_bytes = rng_range(&w->rng, 1, WINDOW_PAGES / 2) * w->page;
	}
}

static bool create_or_destroy(struct dirty_world *w)
{
	unsigned int c = (unsigned int)rng_range(&w->rng, 1, TWIN_CONSUMERS - 1);
	struct mslot_dirty_options opt = {0};
	struct twin_scope *scope = &w->bits.scope[c];

	if (w->dirty[c]) {
		if (mslot_dirty_destroy(w->dirty[c]))
			return twin_fail("mslot_dirty_destroy\n");
		w->dirty[c] = NULL;
		w->batch[c] = NULL;
		twin_consumer_ends(&w->bits, c);
		return true;
	}
	choose_scope(w, scope);
	opt.flags = scope->fill ? MSLOT_DIRTY_INITIALLY_SET : 0;
	opt.ranges = scope->ranges;
	opt.nranges = scope->nranges;
	if (mslot_dirty_create(w->map, &opt, &w->dirty[c]))
		return twin_fail("mslot_dirty_create\n");
	twin_consumer_begins(&w->bits, c);
	done.creates++;
	return true;
}

static bool get(struct dirty_world *w)
{
	unsigned int c = (unsigned int)rng_range(&w->rng, 1, TWIN_CONSUMERS - 1);

	if (!w->dirty[c])
		return true;
	if (mslot_dirty_get(w->dirty[c], &w->batch[c]))
		return twin_fail("mslot_dirty_get\n");
	done.gets++;
	return twin_compare_batch(&w->bits, c, w->batch[c]);
}

static bool end_batch(struct dirty_world *w, unsigned int c)
{
	bool ack = rng_chance(&w->rng, 60);

	if (!w->batch[c])
		return true;
	if (ack)
		mslot_dirty_ack(w->batch[c]);
	else
		mslot_dirty_nack(w->batch[c]);
	w->batch[c] = NULL;
	done.acks += ack;
	done.nacks += !ack;
	twin_batch_ends(&w->bits, c, ack);
	return true;
}

/* ---- KVM's calls -------------------------------------------------------- */

static bool set_mode(struct dirty_world *w)
{
	static const uint64_t modes[] = {0, 1, 3};
	const uint64_t bits = modes[rng_below(&w->rng, 3)];
	const struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					   .args = {bits}};

	w->manual = bits & 1;
	w->bits.scope[0].fill = bits == 3;
	return !mslot_kvm_enable_cap(w->map, &cap) || twin_fail("mslot_kvm_enable_cap\n");
}

static bool kvm_clear(struct dirty_world *w, size_t s, uint32_t number)
{
	uint64_t npages = twin_npages(&w->naive, &w->naive.slots[s]);
	struct kvm_clear_dirty_log log = {.slot = number, .dirty_bitmap = bitmap};

	log.first_page = rng_below(&w->rng, npages) / 64 * 64;
	log.num_pages = (uint32_t)(npages - log.first_page);
	for (size_t i = 0; i < sizeof(bitmap) / 8; i++)
		bitmap[i] = rng_next(&w->rng);
	done.clears++;
	if (mslot_kvm_clear_dirty_log(w->map, &log))
		return twin_fail("mslot_kvm_clear_dirty_log\n");
	twin_kvm_cleared(&w->bits, s, log.first_page, log.num_pages, bitmap);
	return true;
}

static bool kvm_get(struct dirty_world *w, size_t s, uint32_t number)
{
	const struct kvm_dirty_log log = {.slot = number, .dirty_bitmap = bitmap};

	memset(bitmap, 0xa5, sizeof(bitmap));
	done.kvm_gets++;
	if (mslot_kvm_get_dirty_log(w->map, &log))
		return twin_fail("mslot_kvm_get_dirty_log\n");
	if (!twin_compare_bits(&w->bits, 0, s, bitmap, "kvm get"))
		return false;
	if (!w->manual)
		twin_kvm_got(&w->bits, s);
	return true;
}

static bool kvm_call(struct dirty_world *w)
{
	size_t s = w->naive.n ? rng_below(&w->rng, w->naive.n) : 0;
	const struct naive_slot *slot = &w->naive.slots[s];

	if (rng_chance(&w->rng, 5))
		return set_mode(w);
	if (!w->naive.n || !(slot->flags & MSLOT_LOG_DIRTY) || slot->key.id > 0xffff ||
	    slot->key.id >= w->naive.opt.max_user_slots)
		return true;
	if (rng_chance(&w->rng, 40))
		return kvm_clear(w, s, slot->key.space << 16 | slot->key.id);
	return kvm_get(w, s, slot->key.space << 16 | slot->key.id);
}

/* ---- Marks and edits ---------------------------------------------------- */

static bool mark_some(struct dirty_world *w)
{
	size_t s = w->naive.n ? rng_below(&w->rng, w->naive.n) : 0;
	const struct naive_slot *slot = &w->naive.slots[s];
	const struct mslot_snapshot *snap;
	uint64_t first, n, npages;

	if (!w->naive.n)
		return true;
	npages = twin_npages(&w->naive, slot);
	first = rng_below(&w->rng, npages);
	n = rng_range(&w->rng, 1, rng_chance(&w->rng, 20) ? npages : 5);
	n = n < npages - first ? n : npages - first;
	snap = mslot_enter(w->map);
	mslot_mark_dirty(snap, (struct mslot_addr){slot->key.space, slot->gpa + first * w->page},
			 n * w->page);
	mslot_leave(snap);
	twin_mark(&w->bits, s, first, n);
	done.marks++;
	return true;
}

/* With a final harvest all batches end first: it waits for their holds. */
static bool edit(struct dirty_world *w)
{
	struct mslot_final *final = NULL;
	struct mslot_commit_options opt = {0};
	struct naive_outcome outcome;
	struct mslot_txn *txn;
	bool good;
	int err;

	gen_txn(&w->rng, &w->naive, &w->shape, &w->txn);
	if (rng_chance(&w->rng, 30)) {
		opt.final = &final;
		for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
			(void)end_batch(w, c);
	}
	outcome = naive_commit(&w->naive, w->txn.edits, w->txn.n, &opt, &w->next);
	if (mslot_txn_begin(w->map, &txn))
		abort();
	for (size_t i = 0; i < w->txn.n; i++)
		if (mslot_txn_add(txn, &w->txn.edits[i]) < 0)
			abort();
	err = mslot_txn_commit(txn, &opt, NULL);
	if (err)
		mslot_txn_abort(txn);
	if (err != outcome.error)
		return twin_fail("commit: %d, not %d\n", err, outcome.error);
	if (err || !outcome.changed) {
		done.refused += err != 0;
		return !final || twin_fail("a final harvest of nothing\n");
	}
	if (final && mslot_final_wait(final, -1))
		return twin_fail("mslot_final_wait\n");
	good = twin_follow(&w->bits, &w->next, &w->txn, final, w->dirty);
	done.commits++;
	done.finals += final != NULL;
	done.final_ranges += final ? mslot_final_count(final) : 0;
	mslot_final_destroy(final);
	naive_copy(&w->naive, &w->next);
	return good;
}

/* ---- Worlds ------------------------------------------------------------- */

static void world_begin(struct dirty_world *w, uint64_t seed)
{
	const struct mslot_map_options opt = {.nspaces = 2, .max_user_slots = 200};
	struct mslot_map_options full;

	memset(w, 0, sizeof(*w));
	rng_init(&w->rng, seed);
	if (mslot_map_create(&opt, &w->map))
		abort();
	mslot_map_options_get(w->map, &full);
	w->page = UINT64_C(1) << full.page_shift;
	w->shape = (struct twin_shape){
	    .base_gpa = 16 * w->page,
	    .window_bytes = WINDOW_PAGES * w->page,
	    .unit_bytes = (rng_chance(&w->rng, 50) ? 7 : 150) * w->page,
	    .target = 10,
	};
	for (size_t i = 0; i < NREGIONS; i++) {
		struct mslot_region_options region = {
		    .hva = (void *)(uintptr_t)(UINT64_C(0x7000000) * w->page + i * 100 * w->page),
		    .len_bytes = REGION_PAGES * w->page,
		    .fd = -1,
		};

		w->regions[i].hva = (uintptr_t)region.hva;
		w->regions[i].len = region.len_bytes;
		w->regions[i].usable = true;
		if (mslot_region_create(&region, &w->regions[i].handle))
			abort();
	}
	naive_init(&w->naive, &full, w->regions, NREGIONS);
	naive_init(&w->next, &full, w->regions, NREGIONS);
	twin_bits_init(&w->bits, &w->naive);
}

static bool world_end(struct dirty_world *w)
{
	bool good = true;

	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		good = good && !mslot_dirty_destroy(w->dirty[c]);
	for (size_t i = 0; i < NREGIONS; i++)
		mslot_region_put(w->regions[i].handle);
	good = good && !mslot_map_destroy(w->map);
	reported += w->bits.reported;
	twin_bits_fini(&w->bits);
	naive_fini(&w->naive);
	naive_fini(&w->next);
	return good || twin_fail("the map does not end\n");
}

static bool step_world(struct dirty_world *w)
{
	uint64_t dice = rng_below(&w->rng, 100);
	const char *why = "";

	if (dice < 45)
		return mark_some(w);
	if (dice < 62)
		return edit(w) && (!mslot_check_map(w->map, &why) || twin_fail("%s\n", why));
	if (dice < 74)
		return get(w);
	if (dice < 86)
		return end_batch(w, (unsigned int)rng_range(&w->rng, 1, TWIN_CONSUMERS - 1));
	if (dice < 97)
		return kvm_call(w);
	return create_or_destroy(w);
}

static bool run(uint64_t seed, uint64_t steps)
{
	static struct dirty_world w;
	uint64_t i;

	for (i = 0; i < steps; i++) {
		if (i % STEPS_PER_MAP == 0) {
			if (i > 0 && !world_end(&w))
				return false;
			world_begin(&w, seed + i);
		}
		if (!step_world(&w)) {
			printf("seed %" PRIu64 ", step %" PRIu64 "\n", seed, i);
			twin_print_txn(stdout, &w.naive, &w.txn);
			return false;
		}
	}
	return world_end(&w);
}

/* A run of some length must have seen everything: else the test is broken. */
static bool covered(uint64_t steps)
{
	return steps < 10000 ||
	       (done.commits && done.marks && done.gets && done.acks && done.nacks &&
		done.kvm_gets && done.clears && done.final_ranges && reported && done.creates) ||
	       twin_fail("some case never occurred\n");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : DEFAULT_SEED;
	const char *scale = getenv("MSLOT_TEST_SCALE");
	uint64_t steps = DEFAULT_STEPS * (scale ? strtoull(scale, NULL, 0) : 100) / 100;

	if (argc > 2)
		steps = strtoull(argv[2], NULL, 0);
	if (steps == 0)
		steps = 1;
	if (!run(seed, steps) || !covered(steps))
		return EXIT_FAILURE;
	printf("%" PRIu64 " steps: %" PRIu64 " commits, %" PRIu64 " refused, %" PRIu64
	       " marks; %" PRIu64 " consumers, %" PRIu64 " gets, %" PRIu64 " acks, %" PRIu64
	       " nacks; KVM %" PRIu64 " gets, %" PRIu64 " clears; %" PRIu64
	       " final harvests of %" PRIu64 " ranges; %" PRIu64 " pages reported\n",
	       steps, done.commits, done.refused, done.marks, done.creates, done.gets, done.acks,
	       done.nacks, done.kvm_gets, done.clears, done.finals, done.final_ranges, reported);
	return EXIT_SUCCESS;
}
