/* SPDX-License-Identifier: MIT */
/*
 * slotbits.c - which slots a table maps: a word in the table, and more beyond index 63.
 *
 * Part k of the rest has the indexes [64 << k, 128 << k). Parts are added, under no lock, and never
 * change place before the table is freed: bits can be set and tested meanwhile.
 */
#include "base/alloc.h"
#include "mmu/mmu.h"

#define LOW_BITS 64u
#define PARTS 30u

struct slot_bits_more {
	_Atomic(_Atomic uint64_t *) part[PARTS];
};

static unsigned int part_of(uint64_t index)
{
	return 63u - (unsigned int)__builtin_clzll(index / LOW_BITS);
}

static uint64_t part_words(unsigned int k)
{
	return UINT64_C(1) << k;
}

/* The word of an index, or NULL where there is no room for it. */
static _Atomic uint64_t *word_of(const struct mmu_table *table, uint64_t index)
{
	struct slot_bits_more *more;
	_Atomic uint64_t *words;

	if (index < LOW_BITS)
		return (_Atomic uint64_t *)(uintptr_t)&table->slots.low;
	/*
	 * seq_cst, both: to find no room is to find no bit, as slotbits_test() does after the
	 * publish. Pairs with reserve_one(), which comes before the recheck.
	 */
	more = atomic_load_explicit(&table->slots.more, memory_order_seq_cst);
	if (!more || part_of(index) >= PARTS)
		return NULL;
	words = atomic_load_explicit(&more->part[part_of(index)], memory_order_seq_cst);
	return words ? &words[(index - (LOW_BITS << part_of(index))) / 64] : NULL;
}

static bool reserve_one(struct mmu_table *table, uint64_t index)
{
	struct mmu_counters *counters = &table->mmu->counters;
	struct slot_bits_more *more, *no_more = NULL;
	_Atomic uint64_t *words, *none = NULL;
	unsigned int k;
	size_t bytes;

	if (word_of(table, index))
		return true;
	more = atomic_load_explicit(&table->slots.more, memory_order_acquire);
	if (!more) {
		more = mem_zalloc(sizeof(*more));
		if (!more)
			return false;
		/* seq_cst, as that of the part. Pairs with word_of(). */
		if (atomic_compare_exchange_strong_explicit(&table->slots.more, &no_more, more,
							    memory_order_seq_cst,
							    memory_order_acquire)) {
			count_add(counters, COUNT_LIST_BYTES, sizeof(*more));
		} else {
			mem_free(more);
			more = no_more;
		}
	}
	k = part_of(index);
	bytes = part_words(k) * sizeof(*words);
	words = mem_zalloc(bytes);
	if (!words)
		return false;
	if (atomic_compare_exchange_strong_explicit(&more->part[k], &none, words,
						    memory_order_seq_cst, memory_order_acquire))
		count_add(counters, COUNT_LIST_BYTES, bytes);
	else
		mem_free(words);
	return true;
}

bool slotbits_reserve(struct mmu_table *table, uint64_t index)
{
	for (; table; table = table->parent)
		if (!reserve_one(table, index))
			return false;
	return true;
}

static uint64_t bit_of(uint64_t index)
{
	return UINT64_C(1) << index % 64;
}

void slotbits_set(struct mmu_table *table, uint64_t index)
{
	_Atomic uint64_t *word = word_of(table, index);

	/* A zapper that prunes above has passed: the recheck that follows will see its publish. */
	if (table->parent)
		slotbits_set(table->parent, index);
	/* seq_cst: before the recheck. Pairs with slotbits_test(). */
	if (word && !(atomic_load_explicit(word, memory_order_seq_cst) & bit_of(index)))
		atomic_fetch_or_explicit(word, bit_of(index), memory_order_seq_cst);
}

bool slotbits_test(const struct mmu_table *table, uint64_t index)
{
	_Atomic uint64_t *word = word_of(table, index);

	/* seq_cst: after the publish. Pairs with slotbits_set(). */
	return word && (atomic_load_explicit(word, memory_order_seq_cst) & bit_of(index));
}

bool slotbits_test_all(const struct mmu_table *table, uint64_t index)
{
	for (; table; table = table->parent)
		if (!slotbits_test(table, index))
			return false;
	return true;
}

void slotbits_clear(struct mmu_table *table, uint64_t index)
{
	_Atomic uint64_t *word = word_of(table, index);

	if (word)
		atomic_fetch_and_explicit(word, ~bit_of(index), memory_order_seq_cst);
}

bool slotbits_reserve_all(struct mmu_table *table, uint64_t end)
{
	uint64_t index;

	for (index = LOW_BITS; index < end; index *= 2)
		if (!reserve_one(table, index))
			return false;
	return true;
}

/* Returns false if there is no room for a word that is not 0. */
static bool copy_word(struct mmu_table *table, const struct mmu_table *from, uint64_t index)
{
	_Atomic uint64_t *source = word_of(from, index), *word = word_of(table, index);
	uint64_t bits = source ? atomic_load_explicit(source, memory_order_relaxed) : 0;

	if (word)
		atomic_store_explicit(word, bits, memory_order_relaxed);
	return word || !bits;
}

bool slotbits_copy(struct mmu_table *table, const struct mmu_table *from, uint64_t end)
{
	uint64_t index;

	for (index = 0; index < end; index += LOW_BITS)
		if (!copy_word(table, from, index))
			return false;
	return true;
}

void slotbits_fini(struct mmu_table *table)
{
	struct slot_bits_more *more =
	    atomic_load_explicit(&table->slots.more, memory_order_relaxed);
	struct mmu_counters *counters = &table->mmu->counters;
	_Atomic uint64_t *words;
	unsigned int k;

	if (!more)
		return;
	for (k = 0; k < PARTS; k++) {
		words = atomic_load_explicit(&more->part[k], memory_order_relaxed);
		if (!words)
			continue;
		count_sub(counters, COUNT_LIST_BYTES, part_words(k) * sizeof(*words));
		mem_free(words);
	}
	count_sub(counters, COUNT_LIST_BYTES, sizeof(*more));
	mem_free(more);
}
