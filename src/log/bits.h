/* SPDX-License-Identifier: MIT */
/*
 * bits.h - walking over the chunks of a bitmap that have a bit, for bits.c and words.c.
 */
#ifndef MSLOT_LOG_BITS_H
#define MSLOT_LOG_BITS_H

#include "base/page.h"
#include "log/log.h"

static inline uint64_t chunks_of(uint64_t npages)
{
	return npages / LOG_CHUNK_PAGES + (npages % LOG_CHUNK_PAGES != 0);
}

static inline uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* The first chunk with a summary bit in [chunk, end), or `end`. */
static inline uint64_t next_chunk(const struct log_bits *bits, uint64_t chunk, uint64_t end)
{
	uint64_t word;

	while (chunk < end) {
		word = load(&bits->words[chunk / BITMAP_WORD_BITS]) >> chunk % BITMAP_WORD_BITS;
		if (word)
			return u64_min(end, chunk + (uint64_t)__builtin_ctzll(word));
		chunk = (chunk / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS;
	}
	return end;
}

/* Neighbouring chunks with summary bits, of one word of the summary: 4 KiB of bits at most. */
struct chunk_run {
	uint64_t first, end;
};

/* The next run in [run->end, end); false at the end. Begins with run->end = the first chunk. */
static inline bool next_run(const struct log_bits *bits, uint64_t end, struct chunk_run *run)
{
	uint64_t word, shift;

	run->first = next_chunk(bits, run->end, end);
	if (run->first == end)
		return false;
	shift = run->first % BITMAP_WORD_BITS;
	word = ~(load(&bits->words[run->first / BITMAP_WORD_BITS]) >> shift);
	/* Where the word has no more chunks zeroes were shifted in, but for a shift of 0. */
	run->end =
	    word ? run->first + (uint64_t)__builtin_ctzll(word) : run->first + BITMAP_WORD_BITS;
	run->end = u64_min(end, run->end);
	return true;
}

/* The words of a run, and how many there are. */
static inline uint64_t *run_words(const struct log_bits *bits, const struct chunk_run *run,
				  uint64_t *n)
{
	uint64_t first = run->first * LOG_CHUNK_WORDS;

	*n = u64_min(run->end * LOG_CHUNK_WORDS, bitmap_words(bits->npages)) - first;
	return (uint64_t *)(uintptr_t)&bits->words[bits->nsummary + first];
}

static inline void clear_summary(struct log_bits *bits, uint64_t chunk)
{
	uint64_t *word = &bits->words[chunk / BITMAP_WORD_BITS];

	*word &= ~bitmap_mask(chunk);
}

static inline bool chunk_any(const struct log_bits *bits, uint64_t chunk)
{
	const struct chunk_run run = {chunk, chunk + 1};
	uint64_t n, i, any = 0;
	const uint64_t *words = run_words(bits, &run, &n);

	for (i = 0; i < n; i++)
		any |= words[i];
	return any != 0;
}

#endif /* MSLOT_LOG_BITS_H */
