/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_kvm.c - KVM's dirty-log calls: what they return, clear and refuse.
 */
#include "kvm_calls.h"

#include <stdlib.h>

#include <mslot/access.h>
#include <mslot/dirty.h>

#include "base/bitmap.h"
#include "rng.h"

#define MANUAL KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
#define FILL KVM_DIRTY_LOG_INITIALLY_SET
#define MAX_WORDS 1026u

static int setup(void **state)
{
	*state = make_map(12, 2);
	return 0;
}

static int teardown(void **state)
{
	const char *why = "";

	if (mslot_check_map(*state, &why))
		fail_msg("mslot_check_map: %s", why);
	assert_int_equal(mslot_map_destroy(*state), 0);
	return 0;
}

static int enable(struct mslot_map *map, uint64_t bits)
{
	const struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					   .args = {bits}};

	return mslot_kvm_enable_cap(map, &cap);
}

static int get(struct mslot_map *map, uint32_t slot, void *bitmap)
{
	const struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};

	return mslot_kvm_get_dirty_log(map, &log);
}

static int clear(struct mslot_map *map, uint32_t slot, uint64_t first, uint32_t n, void *bitmap)
{
	const struct kvm_clear_dirty_log log = {
	    .slot = slot, .first_page = first, .num_pages = n, .dirty_bitmap = bitmap};

	return mslot_kvm_clear_dirty_log(map, &log);
}

static void mark(struct mslot_map *map, uint64_t gpa, uint64_t npages)
{
	const struct mslot_snapshot *snap = mslot_enter(map);

	mslot_mark_dirty(snap, (struct mslot_addr){0, gpa}, npages * P);
	mslot_leave(snap);
}

static void expect_word(struct mslot_map *map, uint32_t slot, uint64_t want)
{
	uint64_t word[2] = {~want, UINT64_C(0x123)};

	assert_int_equal(get(map, slot, word), 0);
	assert_true(word[0] == want);
	assert_true(word[1] == 0x123);
}

static const struct req logged = {1, LOG, 0x100000, 40 * P, HVA};

static void capabilities(void **state)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {MANUAL}};

	assert_int_equal(enable(*state, MANUAL), 0);
	assert_int_equal(enable(*state, MANUAL | FILL), 0);
	assert_int_equal(enable(*state, FILL), -EINVAL);
	assert_int_equal(enable(*state, 4), -EINVAL);
	assert_int_equal(enable(*state, MANUAL | 4), -EINVAL);
	assert_int_equal(enable(*state, UINT64_C(1) << 32), -EINVAL);
	cap.flags = 1;
	assert_int_equal(mslot_kvm_enable_cap(*state, &cap), -EINVAL);
	cap.flags = 0;
	cap.args[1] = 77;
	assert_int_equal(mslot_kvm_enable_cap(*state, &cap), 0);
	cap.cap = KVM_CAP_IRQCHIP;
	assert_int_equal(mslot_kvm_enable_cap(*state, &cap), -EINVAL);
	/* What was refused has changed nothing: still without initially set. */
	assert_set(*state, logged);
	expect_word(*state, 1, 0);
}

static void refusals_in_order(void **state)
{
	const struct req plain = {2, 0, 0x200000, 4 * P, HVA + 0x100000};
	const struct mslot_snapshot *snap;
	uint64_t word = 7;

	assert_set(*state, logged);
	assert_set(*state, plain);
	assert_int_equal(get(*state, 2u << 16 | 1, &word), -EINVAL);
	assert_int_equal(get(*state, 32764, &word), -EINVAL);
	assert_int_equal(get(*state, 3, &word), -ENOENT);
	assert_int_equal(get(*state, 1u << 16 | 1, &word), -ENOENT);
	assert_int_equal(get(*state, 2, &word), -ENOENT);
	assert_int_equal(get(*state, 2, NULL), -ENOENT);
	assert_int_equal(get(*state, 1, NULL), -EFAULT);

	assert_int_equal(clear(*state, 2u << 16 | 1, 1, 99, &word), -EINVAL);
	assert_int_equal(clear(*state, 3, 1, 0, &word), -EINVAL);
	assert_int_equal(clear(*state, 3, 64, 1000, &word), -ENOENT);
	assert_int_equal(clear(*state, 2, 0, 4, &word), -ENOENT);
	assert_int_equal(clear(*state, 1, 64, 0, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, 0, 41, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, 0, 64, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, 0, 39, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, UINT64_C(1) << 63, 64, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, -UINT64_C(64), 64, &word), -EINVAL);
	assert_int_equal(clear(*state, 1, 0, 40, NULL), -EFAULT);
	assert_int_equal(clear(*state, 1, 0, 0, NULL), 0);
	assert_int_equal(clear(*state, 1, 0, 40, &word), 0);

	snap = mslot_enter(*state);
	assert_int_equal(get(*state, 2u << 16, &word), -EDEADLK);
	assert_int_equal(clear(*state, 2u << 16, 0, 40, &word), -EDEADLK);
	mslot_leave(snap);
	assert_true(word == 7);
}

/* A consumer of the library's own does not make a log for KVM's calls. */
static void logged_by_a_consumer_alone(void **state)
{
	const struct req plain = {2, 0, 0x200000, 4 * P, HVA + 0x100000};
	struct mslot_dirty *dirty;
	uint64_t word;

	assert_set(*state, plain);
	assert_int_equal(mslot_dirty_create(*state, NULL, &dirty), 0);
	assert_int_equal(get(*state, 2, &word), -ENOENT);
	assert_int_equal(clear(*state, 2, 0, 4, &word), -ENOENT);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void a_lost_copy_loses_no_bits(void **state)
{
	assert_set(*state, logged);
	mark(*state, logged.gpa + 3 * P, 2);
	assert_int_equal(get(*state, 1, NULL), -EFAULT);
	expect_word(*state, 1, 0x18);
	expect_word(*state, 1, 0);
}

static void manual_get_keeps_and_clear_clears(void **state)
{
	uint64_t mask;

	assert_int_equal(enable(*state, MANUAL), 0);
	assert_set(*state, logged);
	mark(*state, logged.gpa, 8);
	expect_word(*state, 1, 0xff);
	expect_word(*state, 1, 0xff);
	mask = UINT64_C(0xffffff000000000f);
	assert_int_equal(clear(*state, 1, 0, 40, &mask), 0);
	expect_word(*state, 1, 0xf0);
	/* What is live and what a clear has put aside already, together. */
	mark(*state, logged.gpa + P, 1);
	expect_word(*state, 1, 0xf2);
	mask = 0;
	assert_int_equal(clear(*state, 1, 0, 40, &mask), 0);
	expect_word(*state, 1, 0xf2);
	assert_int_equal(enable(*state, 0), 0);
	expect_word(*state, 1, 0xf2);
	expect_word(*state, 1, 0);
	/* A clear works in the old mode as well. */
	mark(*state, logged.gpa, 3);
	mask = 2;
	assert_int_equal(clear(*state, 1, 0, 40, &mask), 0);
	expect_word(*state, 1, 5);
}

static void initially_set(void **state)
{
	struct req r = logged;
	uint64_t mask = ~UINT64_C(0);

	assert_set(*state, logged);
	assert_int_equal(enable(*state, MANUAL | FILL), 0);
	expect_word(*state, 1, 0);
	r.flags = 0;
	assert_set(*state, r);
	r.flags = LOG;
	assert_set(*state, r);
	expect_word(*state, 1, UINT64_C(0xffffffffff));
	assert_int_equal(clear(*state, 1, 0, 40, &mask), 0);
	r.gpa += 64 * P;
	assert_set(*state, r);
	expect_word(*state, 1, 0);
	assert_int_equal(enable(*state, 0), 0);
	assert_set(*state, (struct req){2, LOG, 0x800000, 3 * P, HVA});
	expect_word(*state, 2, 0);
}

/* Two parts of a split in one extent, whose KVM set comes with the first of them. */
static void initially_set_for_each_part(void **state)
{
	const struct mslot_part part = {.id = 2, .gpa = logged.gpa + 7 * P};
	const struct req plain = {1, 0, logged.gpa, logged.size, logged.hva};
	struct mslot_dirty *dirty;
	struct mslot_txn *txn;

	assert_set(*state, plain);
	assert_int_equal(mslot_dirty_create(*state, NULL, &dirty), 0);
	assert_int_equal(mslot_txn_begin(*state, &txn), 0);
	assert_int_equal(mslot_txn_split(txn, (struct mslot_key){0, 1}, &part, 1), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	assert_int_equal(enable(*state, MANUAL | FILL), 0);
	for (uint32_t id = 1; id <= 2; id++) {
		assert_int_equal(mslot_txn_begin(*state, &txn), 0);
		assert_int_equal(mslot_txn_set_flags(txn, (struct mslot_key){0, id}, LOG), 0);
		assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	}
	expect_word(*state, 1, 0x7f);
	expect_word(*state, 2, (UINT64_C(1) << 33) - 1);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void move_keeps_and_log_off_drops(void **state)
{
	struct req r = logged;

	assert_set(*state, r);
	mark(*state, r.gpa, 1);
	r.gpa += 8 * P;
	assert_set(*state, r);
	mark(*state, r.gpa + P, 1);
	expect_word(*state, 1, 3);
	mark(*state, r.gpa, 1);
	r.flags = 0;
	assert_set(*state, r);
	mark(*state, r.gpa + 2 * P, 1);
	r.flags = LOG;
	assert_set(*state, r);
	expect_word(*state, 1, 0);
	mark(*state, r.gpa, 1);
	assert_set(*state, (struct req){1, 0, r.gpa, 0, HVA});
	assert_set(*state, r);
	expect_word(*state, 1, 0);
}

static void a_consumer_and_kvm_do_not_hide_writes(void **state)
{
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty;

	assert_set(*state, logged);
	assert_int_equal(mslot_dirty_create(*state, NULL, &dirty), 0);
	mark(*state, logged.gpa, 2);
	expect_word(*state, 1, 3);
	assert_int_equal(mslot_dirty_get(dirty, &batch), 0);
	assert_int_equal(mslot_dirty_pages(batch), 2);
	mark(*state, logged.gpa + 5 * P, 1);
	mslot_dirty_ack(batch);
	assert_int_equal(mslot_dirty_get(dirty, &batch), 0);
	assert_int_equal(mslot_dirty_pages(batch), 1);
	mslot_dirty_ack(batch);
	expect_word(*state, 1, 0x20);
	/* The slot stays logged when the consumer goes, and when KVM's flag does. */
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	mark(*state, logged.gpa, 1);
	expect_word(*state, 1, 1);
}

/* ---- Every size --------------------------------------------------------- */

static const uint64_t sizes[] = {1, 63, 64, 65, 511, 512, 513, 65535, 65537};

static void compare(const uint64_t *bitmap, const bool *want, uint64_t npages, uint64_t words)
{
	for (uint64_t i = 0; i < words * 64; i++)
		assert_int_equal(bitmap_test(bitmap, i), i < npages && want[i]);
	assert_true(bitmap[words] == 0x5a5a5a5a5a5a5a5a);
}

static void mark_some(struct mslot_map *map, struct rng *rng, bool *want, uint64_t gpa,
		      uint64_t npages)
{
	for (int i = 0; i < 8; i++) {
		uint64_t first = rng_below(rng, npages), n = rng_range(rng, 1, 200);

		n = n < npages - first ? n : npages - first;
		mark(map, gpa + first * P, n);
		memset(want + first, true, n);
	}
}

/* Cut slot 1 and give the far part to slot 2, so that both share an extent; then join them. */
static void cut_and_join(struct mslot_map *map, uint64_t cut_gpa, bool join)
{
	const struct mslot_part part = {.id = 2, .gpa = cut_gpa};
	const struct mslot_key key = {0, 1};
	struct mslot_txn *txn;

	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	if (join)
		assert_int_equal(mslot_txn_merge(txn, key, &part, 1), 0);
	else
		assert_int_equal(mslot_txn_split(txn, key, &part, 1), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
}

static void clear_random(struct mslot_map *map, struct rng *rng, bool *want, uint64_t npages)
{
	static uint64_t mask[MAX_WORDS];
	uint64_t first = rng_below(rng, npages) / 64 * 64, n;

	n = rng_chance(rng, 50) ? npages - first : (npages - first) / 64 * 64;
	for (size_t i = 0; i < MAX_WORDS; i++)
		mask[i] = rng_next(rng);
	assert_int_equal(clear(map, 1, first, (uint32_t)n, mask), 0);
	for (uint64_t i = 0; i < n; i++)
		if (bitmap_test(mask, i))
			want[first + i] = false;
}

static void logs_at_every_size(void **state)
{
	static unsigned char memory[MAX_WORDS * 8 + 8];
	static uint64_t bitmap[MAX_WORDS];
	static bool want[65537];
	struct mslot_map *map = *state;
	struct rng rng;

	rng_init(&rng, 3);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t npages = sizes[i], words = bitmap_words(npages), cut;
		const struct req r = {1, LOG, 0x100000, npages * P, HVA + i * P};

		assert_set(map, r);
		memset(want, 0, sizeof(want));
		for (int round = 0; round < 12; round++) {
			/* Not aligned on purpose. */
			void *place = memory + round % 8;

			cut = npages > 1 ? rng_range(&rng, 1, npages - 1) : 0;
			if (cut)
				cut_and_join(map, r.gpa + cut * P, false);
			mark_some(map, &rng, want, r.gpa, npages);
			if (cut) {
				/* The neighbour's harvest takes nothing of ours. */
				assert_int_equal(enable(map, MANUAL), 0);
				assert_int_equal(get(map, 2, memory), 0);
				cut_and_join(map, r.gpa + cut * P, true);
			}
			assert_int_equal(enable(map, round % 3 ? MANUAL : 0), 0);
			clear_random(map, &rng, want, npages);
			memset(memory, 0x5a, sizeof(memory));
			assert_int_equal(get(map, 1, place), 0);
			memcpy(bitmap, place, (words + 1) * sizeof(*bitmap));
			compare(bitmap, want, npages, words);
			if (round % 3 == 0)
				memset(want, 0, sizeof(want));
		}
		assert_set(map, (struct req){1, 0, r.gpa, 0, r.hva});
	}
}

/* Clearing a part of a shared extent leaves the bits of its neighbour. */
static void only_pages_of_the_slot(void **state)
{
	uint64_t mask = ~UINT64_C(0);

	assert_set(*state, logged);
	cut_and_join(*state, logged.gpa + 7 * P, false);
	mark(*state, logged.gpa, 40);
	expect_word(*state, 1, 0x7f);
	expect_word(*state, 2, (UINT64_C(1) << 33) - 1);
	mark(*state, logged.gpa, 40);
	assert_int_equal(clear(*state, 1, 0, 7, &mask), 0);
	expect_word(*state, 1, 0);
	expect_word(*state, 2, (UINT64_C(1) << 33) - 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(capabilities),
	    CASE(refusals_in_order),
	    CASE(logged_by_a_consumer_alone),
	    CASE(a_lost_copy_loses_no_bits),
	    CASE(manual_get_keeps_and_clear_clears),
	    CASE(initially_set),
	    CASE(initially_set_for_each_part),
	    CASE(move_keeps_and_log_off_drops),
	    CASE(a_consumer_and_kvm_do_not_hide_writes),
	    CASE(logs_at_every_size),
	    CASE(only_pages_of_the_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
