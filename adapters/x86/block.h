/* SPDX-License-Identifier: MIT */
/*
 * block.h - runs of decoded instructions.
 */
#ifndef ADAPTERS_X86_BLOCK_H
#define ADAPTERS_X86_BLOCK_H

#include <emmintrin.h>

#include "x86.h"

#define BLOCK_BYTES 64u
#define BLOCK_INSNS 16u
#define BLOCKS 2048u

/* No address has it: such a block is never hit, but always found. */
#define BLOCK_SPLIT (UINT64_C(1) << 63)

struct block {
	/* Address of the first byte, with BLOCK_SPLIT if it is split; 0: the block is empty. */
	uintptr_t host;
	uint8_t nbytes;
	uint8_t ninsns;
	/* Of the one instruction, in the page where it begins; 0: it does not cross pages. */
	uint8_t split;
	uint8_t bytes[BLOCK_BYTES];
	struct insn insn[BLOCK_INSNS];
};

/* block_cache_create() - NULL: no memory. block_cache_destroy() ends it; NULL is allowed. */
struct block_cache *block_cache_create(void);
void block_cache_destroy(struct block_cache *cache);

struct block_cache {
	struct block block[BLOCKS];
};

static inline struct block *block_slot(struct block_cache *cache, uintptr_t host)
{
	return &cache->block[(host ^ host >> 12) % BLOCKS];
}

/* ---- Comparing ------------------------------------------------------------ */

static inline uint64_t block_word8(const uint8_t *at)
{
	return *(const unaligned_u64 *)at;
}

static inline uint32_t block_word4(const uint8_t *at)
{
	return *(const unaligned_u32 *)at;
}

static inline __m128i block_differ(const uint8_t *a, const uint8_t *b)
{
	return _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)a),
			     _mm_loadu_si128((const __m128i *)(const void *)b));
}

static inline bool block_is_zero(__m128i value)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi8(value, _mm_setzero_si128())) == 0xffff;
}

/* Words from both ends, which may overlap: no loop, and nothing beyond. */
static inline bool block_same(const uint8_t *a, const uint8_t *b, unsigned int n)
{
	if (n > 32)
		return block_is_zero(
		    _mm_or_si128(_mm_or_si128(block_differ(a, b), block_differ(a + 16, b + 16)),
				 _mm_or_si128(block_differ(a + n - 32, b + n - 32),
					      block_differ(a + n - 16, b + n - 16))));
	if (n >= 16)
		return block_is_zero(
		    _mm_or_si128(block_differ(a, b), block_differ(a + n - 16, b + n - 16)));
	if (n >= 8)
		return ((block_word8(a) ^ block_word8(b)) |
			(block_word8(a + n - 8) ^ block_word8(b + n - 8))) == 0;
	if (n >= 4)
		return ((block_word4(a) ^ block_word4(b)) |
			(block_word4(a + n - 4) ^ block_word4(b + n - 4))) == 0;
	return a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1];
}

/* ---- Entering ------------------------------------------------------------- */

/*
 * block_find() - the block at cpu->s.rip, its bytes compared with memory just now.
 *   out   receives it; usable until the next call
 * Returns STEP_NEXT, or what a fetch returns.
 */
enum step block_find(struct cpu *cpu, const struct block **out);

/* block_hit() - the same for a block that is there, in the page that the last one was in; or NULL.
 */
static inline const struct block *block_hit(struct cpu *cpu)
{
	const uint64_t rip = cpu->s.rip;
	/* A number until the tag says that there is a page. */
	const uint8_t *host = (const uint8_t *)((uintptr_t)cpu->code_page + (rip & 0xfff));
	const struct block *block = block_slot(cpu->blocks, (uintptr_t)host);

	if (__builtin_expect(((rip & ~UINT64_C(0xfff)) | cpu->tlb_epoch) != cpu->code_tag ||
				 block->host != (uintptr_t)host ||
				 !block_same(block->bytes, host, block->nbytes),
			     0))
		return NULL;
	cpu->code_first = (uintptr_t)host;
	cpu->code_bytes = block->nbytes;
	return block;
}

/* block_bytes() - the instruction bytes at RIP, for an exit. Returns how many could be read. */
uint8_t block_bytes(struct cpu *cpu, uint8_t bytes[CPU_INSN_MAX]);

#endif /* ADAPTERS_X86_BLOCK_H */
