/* SPDX-License-Identifier: MIT */
/*
 * input.h - bytes of a fuzzer, read as choices.
 *
 * A target draws what it does next from the input, a byte or two a choice, so that a
 * byte more or less of the input is an operation more or less. An input that has ended
 * answers every question with 0.
 */
#ifndef MSLOT_FUZZ_INPUT_H
#define MSLOT_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t in_u8(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint64_t in_uint(struct input *in, unsigned int bytes)
{
	uint64_t val = 0;

	while (bytes-- > 0)
		val = val << 8 | in_u8(in);
	return val;
}

/* 0 .. n-1; 0 < n <= 256. */
static inline uint32_t in_below(struct input *in, uint32_t n)
{
	return in_u8(in) % n;
}

/* True for `of256` of the 256 values of a byte, never at the end of the input. */
static inline bool in_chance(struct input *in, unsigned int of256)
{
	return in_u8(in) > 255 - of256;
}

#endif /* MSLOT_FUZZ_INPUT_H */
