/* SPDX-License-Identifier: MIT */
/*
 * block.c - runs of decoded instructions, found by host address, compared on entry.
 *
 * A direct-mapped table of fixed size. A block ends with an instruction that may jump, at the end
 * of its page, after BLOCK_INSNS instructions or BLOCK_BYTES bytes. An instruction that crosses a
 * page is a block of its own.
 *
 * Invariants.
 * B1 A block is what its bytes decode to: they were copied first, and decoded from the copy.
 * B2 block_find() and block_hit() return only blocks whose bytes they have just found in memory
 * (X3). So nothing else needs to know of them, and an address may mean anything else by the next
 * entry. B3 No byte is read beyond the block but when it is decoded, and never beyond a page,
 * unless the instruction goes on there. B4 A block that is being filled is empty: a host fault may
 * end the filling anywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "memory.h"

#define PAGE_BYTES 0x1000u

struct block_cache *block_cache_create(void)
{
	/* Zeroes that nobody has touched: a CPU that runs little has little. */
	return calloc(1, sizeof(struct block_cache));
}

void block_cache_destroy(struct block_cache *cache)
{
	free(cache);
}

/* ---- Decoding ------------------------------------------------------------- */

/* Byte for byte, since others may write them: a sanitizer that watches memcpy() has no say here. */
static void copy_code(uint8_t *to, const volatile uint8_t *from, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		to[i] = from[i];
}

/* As many instructions as there are; returns what decode() said of the next one. */
static int decode_run(struct block *block, unsigned int n)
{
	unsigned int at = 0, count = 0;
	int len = 0;

	while (count < BLOCK_INSNS) {
		unsigned int room = n - at < CPU_INSN_MAX ? n - at : CPU_INSN_MAX;

		len = room ? decode(block->bytes + at, room, &block->insn[count]) : 0;
		if (len <= 0)
			break;
		at += (unsigned int)len;
		if (block->insn[count++].ends_block)
			break;
	}
	block->nbytes = (uint8_t)at;
	block->ninsns = (uint8_t)count;
	return len;
}

/* An instruction whose first `n` bytes are in block->bytes, and end at the page's end. */
static enum step fill_split(struct cpu *cpu, struct block *block, unsigned int n)
{
	const uint8_t *next;
	enum step step = fetch_page(cpu, cpu->s.rip + n, &next);
	int len;

	if (step != STEP_NEXT)
		return step;
	copy_code(block->bytes + n, next, CPU_INSN_MAX - n);
	len = decode(block->bytes, CPU_INSN_MAX, &block->insn[0]);
	if (len < 0)
		return exit_internal(cpu, "unknown instruction");
	if (len == 0)
		return raise_error(cpu, VECTOR_GP, 0);
	block->nbytes = (uint8_t)len;
	block->ninsns = 1;
	block->split = (uint8_t)n;
	return STEP_NEXT;
}

static enum step fill(struct cpu *cpu, struct block *block, const uint8_t *host)
{
	unsigned int room = PAGE_BYTES - (unsigned int)(cpu->s.rip % PAGE_BYTES);
	unsigned int n = room < BLOCK_BYTES ? room : BLOCK_BYTES;
	enum step step = STEP_NEXT;
	int len;

	block->host = 0;
	block->split = 0;
	copy_code(block->bytes, host, n);
	len = decode_run(block, n);
	if (block->ninsns == 0) {
		if (len < 0)
			return exit_internal(cpu, "unknown instruction");
		if (room >= CPU_INSN_MAX)
			return raise_error(cpu, VECTOR_GP, 0);
		step = fill_split(cpu, block, n);
	}
	if (step == STEP_NEXT) {
		block->host = (uintptr_t)host | (block->split ? BLOCK_SPLIT : 0);
		__atomic_store_n(&cpu->counters.blocks_decoded, cpu->counters.blocks_decoded + 1,
				 __ATOMIC_RELAXED);
	}
	return step;
}

/* ---- Entering ------------------------------------------------------------- */

static inline enum step code_at(struct cpu *cpu, uint64_t rip, const uint8_t **host)
{
	uint64_t tag = (rip & ~(uint64_t)(PAGE_BYTES - 1)) | cpu->tlb_epoch;

	if (__builtin_expect(tag != cpu->code_tag, 0)) {
		enum step step = fetch_page(cpu, rip, host);

		if (step != STEP_NEXT)
			return step;
		cpu->code_tag = tag;
		cpu->code_page = *host - rip % PAGE_BYTES;
	}
	*host = cpu->code_page + rip % PAGE_BYTES;
	return STEP_NEXT;
}

/* The rest of an instruction that goes on in the next page, which is looked up each time. */
static enum step same_rest(struct cpu *cpu, const struct block *block, bool *is_same)
{
	const uint8_t *next;
	enum step step = fetch_page(cpu, cpu->s.rip + block->split, &next);

	if (step == STEP_NEXT)
		*is_same = memcmp(block->bytes + block->split, next,
				  (size_t)(block->nbytes - block->split)) == 0;
	return step;
}

enum step block_find(struct cpu *cpu, const struct block **out)
{
	const uint8_t *host;
	enum step step = code_at(cpu, cpu->s.rip, &host);
	struct block *block;
	bool found;

	if (step != STEP_NEXT)
		return step;
	block = block_slot(cpu->blocks, (uintptr_t)host);
	if (block->host == ((uintptr_t)host | BLOCK_SPLIT)) {
		found = memcmp(block->bytes, host, block->split) == 0;
		if (found)
			step = same_rest(cpu, block, &found);
	} else {
		found =
		    block->host == (uintptr_t)host && block_same(block->bytes, host, block->nbytes);
	}
	if (step == STEP_NEXT && !found)
		step = fill(cpu, block, host);
	if (step != STEP_NEXT)
		return step;
	cpu->code_first = (uintptr_t)host;
	cpu->code_bytes = block->nbytes;
	*out = block;
	return STEP_NEXT;
}

uint8_t block_bytes(struct cpu *cpu, uint8_t bytes[CPU_INSN_MAX])
{
	unsigned int n = PAGE_BYTES - (unsigned int)(cpu->s.rip % PAGE_BYTES);
	const uint8_t *host;

	if (code_at(cpu, cpu->s.rip, &host) != STEP_NEXT)
		return 0;
	if (n > CPU_INSN_MAX)
		n = CPU_INSN_MAX;
	memcpy(bytes, host, n);
	if (n < CPU_INSN_MAX && fetch_page(cpu, cpu->s.rip + n, &host) == STEP_NEXT) {
		memcpy(bytes + n, host, CPU_INSN_MAX - n);
		n = CPU_INSN_MAX;
	}
	return (uint8_t)n;
}
