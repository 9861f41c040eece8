/* SPDX-License-Identifier: MIT */
/*
 * words.c - whole words of a bitmap to and from bitmaps of a caller's that are in step with it.
 *
 * What a harvest of a large slot costs is here: clean chunks are not read, and what has bits is
 * worked off in runs that fit in an L1 cache, by loops that a compiler turns into vectors.
 *
 * A run may reach beyond the words asked for; those are left alone, and summary bits of chunks
 * are cleared only where no bit is left.
 */
#include <string.h>

#include "log/bits.h"

bool log_bits_in_step(uint64_t npages, uint64_t first, uint64_t n)
{
	return first % BITMAP_WORD_BITS == 0 && (n % BITMAP_WORD_BITS == 0 || first + n == npages);
}

/* Words [first, end) of the bitmap, and the run's part of them. */
struct part {
	uint64_t first, end;
	uint64_t from, to;
};

static struct part part_of(uint64_t first, uint64_t n)
{
	return (struct part){
	    .first = first / BITMAP_WORD_BITS,
	    .end = bitmap_words(first + n),
	    .to = first / BITMAP_WORD_BITS,
	};
}

static uint64_t *part_words(const struct log_bits *bits, const struct part *part)
{
	return (uint64_t *)(uintptr_t)&bits->words[bits->nsummary + part->from];
}

/* The next run's words; between the last `to` and this `from` there is no bit. */
static bool next_part(const struct log_bits *bits, struct chunk_run *run, struct part *part)
{
	uint64_t last = part->end / LOG_CHUNK_WORDS + (part->end % LOG_CHUNK_WORDS != 0);

	if (!next_run(bits, last, run))
		return false;
	part->from = u64_max(part->first, run->first * LOG_CHUNK_WORDS);
	part->to = u64_min(part->end, run->end * LOG_CHUNK_WORDS);
	return true;
}

static struct chunk_run first_run(const struct part *part)
{
	return (struct chunk_run){.end = part->first / LOG_CHUNK_WORDS};
}

static void zero(log_any_word *out, uint64_t n)
{
	memset(out, 0, n * sizeof(*out));
}

void log_bits_copy_words(const struct log_bits *bits, uint64_t first, uint64_t n, log_any_word *out)
{
	struct part part = part_of(first, n);
	struct chunk_run run = first_run(&part);
	uint64_t done = part.first;

	for (; next_part(bits, &run, &part); done = part.to) {
		zero(out + (done - part.first), part.from - done);
		memcpy(out + (part.from - part.first), part_words(bits, &part),
		       (part.to - part.from) * sizeof(*out));
	}
	zero(out + (done - part.first), part.end - done);
}

void log_bits_or_words(const struct log_bits *bits, uint64_t first, uint64_t n, log_any_word *out)
{
	struct part part = part_of(first, n);
	struct chunk_run run = first_run(&part);
	const uint64_t *words;
	uint64_t i;

	while (next_part(bits, &run, &part)) {
		words = part_words(bits, &part);
		for (i = 0; i < part.to - part.from; i++)
			out[part.from - part.first + i] |= load(&words[i]);
	}
}

/* Chunks of a run have no bit any more, but perhaps the first and the last. */
static void clear_run(struct log_bits *bits, const struct chunk_run *run, const struct part *part)
{
	uint64_t chunk;

	for (chunk = run->first; chunk < run->end; chunk++) {
		bool whole = chunk * LOG_CHUNK_WORDS >= part->from &&
			     (chunk + 1) * LOG_CHUNK_WORDS <= part->to;

		if (whole || !chunk_any(bits, chunk))
			clear_summary(bits, chunk);
	}
}

void log_bits_take_words(struct log_bits *bits, uint64_t first, uint64_t n, log_any_word *out)
{
	struct part part = part_of(first, n);
	struct chunk_run run = first_run(&part);
	uint64_t done = part.first, bytes;

	for (; next_part(bits, &run, &part); done = part.to) {
		bytes = (part.to - part.from) * sizeof(*out);
		zero(out + (done - part.first), part.from - done);
		memcpy(out + (part.from - part.first), part_words(bits, &part), bytes);
		memset(part_words(bits, &part), 0, bytes);
		clear_run(bits, &run, &part);
	}
	zero(out + (done - part.first), part.end - done);
}

/* Clear in n words what a mask has. Returns what is left of each chunk's, in one word. */
static uint64_t clear_chunk(uint64_t *words, const log_any_word *mask, uint64_t n)
{
	uint64_t i, left = 0;

	for (i = 0; i < n; i++) {
		words[i] &= ~mask[i];
		left |= words[i];
	}
	return left;
}

void log_bits_clear_words(struct log_bits *bits, uint64_t first, uint64_t n,
			  const log_any_word *mask)
{
	struct part part = part_of(first, n);
	struct chunk_run run = first_run(&part);
	uint64_t from, to, chunk;

	while (next_part(bits, &run, &part)) {
		for (from = part.from; from < part.to; from = to) {
			chunk = from / LOG_CHUNK_WORDS;
			to = u64_min(part.to, (chunk + 1) * LOG_CHUNK_WORDS);
			if (clear_chunk(&bits->words[bits->nsummary + from],
					mask + (from - part.first), to - from) == 0 &&
			    !chunk_any(bits, chunk))
				clear_summary(bits, chunk);
		}
	}
}
