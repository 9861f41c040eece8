/* SPDX-License-Identifier: MIT */
/*
 * fuzz_decode.c - the decoder of instructions against itself.
 *
 * The bytes are decoded one instruction after another. Each time the decoder sees a copy that ends
 * where its memory does (AddressSanitizer notices one byte more), and has to say the same of the
 * instruction's own bytes alone, and that one byte less is not enough.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "x86.h"

static int decode_copy(const uint8_t *bytes, size_t n, struct insn *out)
{
	uint8_t *copy = malloc(n ? n : 1);
	int len;

	FUZZ_REQUIRE(copy);
	memcpy(copy, bytes, n);
	len = decode(copy, (unsigned int)n, out);
	free(copy);
	return len;
}

static void require_register(uint8_t number)
{
	FUZZ_REQUIRE(number < 16 || number == NO_REG);
}

static void require_sound(const struct insn *insn)
{
	FUZZ_REQUIRE(insn->exec);
	FUZZ_REQUIRE(insn->len >= 1 && insn->len <= CPU_INSN_MAX);
	FUZZ_REQUIRE(insn->addr_size == 4 || insn->addr_size == 8);
	FUZZ_REQUIRE(insn->segment < CPU_SEGMENTS);
	FUZZ_REQUIRE(insn->scale_shift < 4);
	FUZZ_REQUIRE(insn->index != CPU_RSP);
	FUZZ_REQUIRE(!insn->rip_relative || (insn->base == NO_REG && insn->index == NO_REG));
	require_register(insn->reg);
	require_register(insn->rm);
	require_register(insn->base);
	require_register(insn->index);
}

static void require_equal(const struct insn *a, const struct insn *b)
{
	FUZZ_REQUIRE(a->exec == b->exec);
	FUZZ_REQUIRE(a->imm == b->imm);
	FUZZ_REQUIRE(a->disp == b->disp);
	/* The bytes from `len` to the last. */
	FUZZ_REQUIRE(
	    !memcmp(&a->len, &b->len,
		    offsetof(struct insn, opsize_prefix) + 1 - offsetof(struct insn, len)));
}

/* Returns the bytes to go on behind. */
static size_t one_instruction(const uint8_t *bytes, size_t n)
{
	struct insn insn, alone, fewer;
	size_t there = n < CPU_INSN_MAX ? n : CPU_INSN_MAX;
	int len = decode_copy(bytes, there, &insn);

	if (len == -ENOSYS)
		return 1;
	if (len == 0) {
		FUZZ_REQUIRE(there < CPU_INSN_MAX);
		return n;
	}
	FUZZ_REQUIRE(len > 0 && (size_t)len <= there && len == insn.len);
	require_sound(&insn);
	FUZZ_REQUIRE(decode_copy(bytes, (size_t)len, &alone) == len);
	require_equal(&insn, &alone);
	FUZZ_REQUIRE(decode_copy(bytes, (size_t)len - 1, &fewer) == 0);
	return (size_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (at < size)
		at += one_instruction(data + at, size - at);
	return 0;
}
