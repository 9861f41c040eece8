/* SPDX-License-Identifier: MIT */
/*
 * bits.c - bitmaps with a summary: work is proportional to the chunks that have a bit.
 *
 * The harvest lock and the grace period order who works on a bitmap here (harvest.c). What may
 * meet log_mark() reads with atomic loads: log_bits_any() and log_bits_or_out(), which serves
 * for a look at what is live.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/page.h"
#include "log/bits.h"

uint64_t log_bits_bytes(uint64_t npages)
{
	return sizeof(struct log_bits) +
	       (bitmap_words(chunks_of(npages)) + bitmap_words(npages)) * sizeof(uint64_t);
}

struct log_bits *log_bits_create(uint64_t npages)
{
	struct log_bits *bits = mem_zalloc((size_t)log_bits_bytes(npages));

	if (!bits)
		return NULL;
	bits->npages = npages;
	bits->nsummary = bitmap_words(chunks_of(npages));
	return bits;
}

static uint64_t all_chunks(const struct log_bits *bits)
{
	return chunks_of(bits->npages);
}

bool log_bits_any(const struct log_bits *bits)
{
	uint64_t i;

	for (i = 0; i < bits->nsummary; i++)
		/* Acquire: pairs with log_mark(), where the summary comes before the bit. */
		if (__atomic_load_n(&bits->words[i], __ATOMIC_ACQUIRE))
			return true;
	return false;
}

static void set_summary(struct log_bits *bits, uint64_t chunk)
{
	uint64_t *word = &bits->words[chunk / BITMAP_WORD_BITS];

	*word |= bitmap_mask(chunk);
}

/* Bits [from, to) of a word. */
static uint64_t mask_of(uint64_t from, uint64_t to)
{
	uint64_t mask = ~UINT64_C(0) << from;

	return to == BITMAP_WORD_BITS ? mask : mask & (bitmap_mask(to) - 1);
}

void log_bits_set_range(struct log_bits *bits, uint64_t first, uint64_t n)
{
	uint64_t end = first + n, next;
	uint64_t *word;

	for (; first < end; first = next) {
		next = u64_min(end, (first / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS);
		word = &bits->words[bits->nsummary + first / BITMAP_WORD_BITS];
		*word |= mask_of(first % BITMAP_WORD_BITS,
				 next - first / BITMAP_WORD_BITS * BITMAP_WORD_BITS);
		set_summary(bits, first / LOG_CHUNK_PAGES);
	}
}

void log_bits_clear_all(struct log_bits *bits)
{
	struct chunk_run run = {0};
	uint64_t *words, n;

	while (next_run(bits, all_chunks(bits), &run)) {
		words = run_words(bits, &run, &n);
		memset(words, 0, n * sizeof(*words));
	}
	memset(bits->words, 0, bits->nsummary * sizeof(bits->words[0]));
}

void log_bits_or(struct log_bits *to, const struct log_bits *from)
{
	struct chunk_run run = {0};
	const uint64_t *src;
	uint64_t *dst, n, i;

	while (next_run(from, all_chunks(from), &run)) {
		src = run_words(from, &run, &n);
		dst = run_words(to, &run, &n);
		for (i = 0; i < n; i++)
			dst[i] |= src[i];
	}
	for (i = 0; i < from->nsummary; i++)
		to->words[i] |= from->words[i];
}

void log_bits_move(struct log_bits *to, struct log_bits *from)
{
	log_bits_or(to, from);
	log_bits_clear_all(from);
}

/* OR the low n bits of a word into a bitmap from bit `at` on. */
static void or_word(uint64_t *bitmap, uint64_t at, uint64_t word, uint64_t n)
{
	uint64_t shift = at % BITMAP_WORD_BITS;

	bitmap[at / BITMAP_WORD_BITS] |= word << shift;
	if (shift + n > BITMAP_WORD_BITS)
		bitmap[at / BITMAP_WORD_BITS + 1] |= word >> (BITMAP_WORD_BITS - shift);
}

/* n bits of a bitmap from bit `at` on. */
static uint64_t read_word(const uint64_t *bitmap, uint64_t at, uint64_t n)
{
	uint64_t shift = at % BITMAP_WORD_BITS;
	uint64_t word = bitmap[at / BITMAP_WORD_BITS] >> shift;

	if (shift + n > BITMAP_WORD_BITS)
		word |= bitmap[at / BITMAP_WORD_BITS + 1] << (BITMAP_WORD_BITS - shift);
	return word;
}

uint64_t log_bits_or_out(const struct log_bits *bits, uint64_t first, uint64_t n, uint64_t *bitmap,
			 uint64_t at)
{
	uint64_t end = first + n, last = chunks_of(end), count = 0, chunk, from, to, next, word;

	if (n == 0)
		return 0;
	for (chunk = next_chunk(bits, first / LOG_CHUNK_PAGES, last); chunk < last;
	     chunk = next_chunk(bits, chunk + 1, last)) {
		from = u64_max(first, chunk * LOG_CHUNK_PAGES);
		to = u64_min(end, (chunk + 1) * LOG_CHUNK_PAGES);
		for (; from < to; from = next) {
			next = u64_min(to, (from / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS);
			word = load(&bits->words[bits->nsummary + from / BITMAP_WORD_BITS]) >>
			       from % BITMAP_WORD_BITS;
			word &= mask_of(0, next - from);
			count += (uint64_t)__builtin_popcountll(word);
			if (word && bitmap)
				or_word(bitmap, at + (from - first), word, next - from);
		}
	}
	return count;
}

uint64_t log_bits_clear_mask(struct log_bits *bits, uint64_t first, uint64_t n,
			     const uint64_t *bitmap, uint64_t at)
{
	uint64_t end = first + n, last = chunks_of(end), count = 0, chunk, from, to, next, hit;
	uint64_t *word;

	if (n == 0)
		return 0;
	for (chunk = next_chunk(bits, first / LOG_CHUNK_PAGES, last); chunk < last;
	     chunk = next_chunk(bits, chunk + 1, last)) {
		from = u64_max(first, chunk * LOG_CHUNK_PAGES);
		to = u64_min(end, (chunk + 1) * LOG_CHUNK_PAGES);
		for (; from < to; from = next) {
			next = u64_min(to, (from / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS);
			word = &bits->words[bits->nsummary + from / BITMAP_WORD_BITS];
			hit = bitmap ? read_word(bitmap, at + (from - first), next - from)
				     : ~UINT64_C(0);
			hit &= mask_of(0, next - from);
			hit = (hit << from % BITMAP_WORD_BITS) & *word;
			count += (uint64_t)__builtin_popcountll(hit);
			*word &= ~hit;
		}
		if (!chunk_any(bits, chunk))
			clear_summary(bits, chunk);
	}
	return count;
}

void log_bits_clear_range(struct log_bits *bits, uint64_t first, uint64_t n)
{
	if (n == bits->npages)
		log_bits_clear_all(bits);
	else
		(void)log_bits_clear_mask(bits, first, n, NULL, 0);
}

/* The first bit in [from, to) that is set, after each word was XORed with `flip`; or `to`. */
static uint64_t next_bit(const struct log_bits *bits, uint64_t from, uint64_t to, uint64_t flip)
{
	uint64_t word;

	while (from < to) {
		word = (load(&bits->words[bits->nsummary + from / BITMAP_WORD_BITS]) ^ flip) >>
		       from % BITMAP_WORD_BITS;
		if (word)
			return u64_min(to, from + (uint64_t)__builtin_ctzll(word));
		from = (from / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS;
	}
	return to;
}

uint64_t log_bits_next_set(const struct log_bits *bits, uint64_t from, uint64_t to)
{
	uint64_t last = chunks_of(to), chunk, end, bit;

	while (from < to) {
		chunk = next_chunk(bits, from / LOG_CHUNK_PAGES, last);
		from = u64_max(from, chunk * LOG_CHUNK_PAGES);
		end = u64_min(to, (chunk + 1) * LOG_CHUNK_PAGES);
		if (from >= to)
			break;
		bit = next_bit(bits, from, end, 0);
		if (bit < end)
			return bit;
		from = end;
	}
	return to;
}

uint64_t log_bits_next_clear(const struct log_bits *bits, uint64_t from, uint64_t to)
{
	return next_bit(bits, from, to, ~UINT64_C(0));
}
