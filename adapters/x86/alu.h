/* SPDX-License-Identifier: MIT */
/*
 * alu.h - arithmetic with flags, by the host's own instructions.
 *
 * The host computes what the guest's processor would, so its flags are the guest's: LAHF has all
 * but OF, SETO has that. Where an instruction reads flags, the guest's are put into the host's
 * first.
 */
#ifndef ADAPTERS_X86_ALU_H
#define ADAPTERS_X86_ALU_H

#include "exec.h"

#define FLAGS_ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* Host's flags -> `taken`: AH as LAHF has them, AL is OF. */
#define ALU_TAKE "lahf\n\tseto %%al"

static inline uint64_t flags_of(uint16_t taken)
{
	return (uint64_t)(taken >> 8) | (uint64_t)(taken & 1) << 11;
}

/* Those of `mask` from what the host's instruction left. */
static inline void flags_take(uint64_t *rflags, uint16_t taken, uint64_t mask)
{
	*rflags = (*rflags & ~mask) | (flags_of(taken) & mask);
}

/* NAME_BITS(rflags, a, b): a after the instruction. */
#define ALU_TWO(bits, name, mnemonic)                                                              \
	static inline uint##bits##_t name##_##bits(uint64_t *rflags, uint##bits##_t a,             \
						   uint##bits##_t b)                               \
	{                                                                                          \
		uint16_t taken;                                                                    \
                                                                                                   \
		__asm__(mnemonic " %[b], %[a]\n\t" ALU_TAKE                                        \
			: [a] "+&r"(a), "=&a"(taken)                                               \
			: [b] "r"(b)                                                               \
			: "cc");                                                                   \
		flags_take(rflags, taken, FLAGS_ARITHMETIC);                                       \
		return a;                                                                          \
	}

/* With the guest's CF in the host's. */
#define ALU_TWO_CARRY(bits, name, mnemonic)                                                        \
	static inline uint##bits##_t name##_##bits(uint64_t *rflags, uint##bits##_t a,             \
						   uint##bits##_t b)                               \
	{                                                                                          \
		uint16_t taken;                                                                    \
                                                                                                   \
		__asm__("btl $0, %k[in]\n\t" mnemonic " %[b], %[a]\n\t" ALU_TAKE                   \
			: [a] "+&r"(a), "=&a"(taken)                                               \
			: [b] "r"(b), [in] "r"(*rflags)                                            \
			: "cc");                                                                   \
		flags_take(rflags, taken, FLAGS_ARITHMETIC);                                       \
		return a;                                                                          \
	}

#define ALU_ONE(bits, name, mnemonic, mask)                                                        \
	static inline uint##bits##_t name##_##bits(uint64_t *rflags, uint##bits##_t a)             \
	{                                                                                          \
		uint16_t taken;                                                                    \
                                                                                                   \
		__asm__(mnemonic " %[a]\n\t" ALU_TAKE : [a] "+&r"(a), "=&a"(taken) : : "cc");      \
		flags_take(rflags, taken, mask);                                                   \
		return a;                                                                          \
	}

/* macro(bits, ...) for each size. */
#define ALU_SIZES(macro, ...)                                                                      \
	ALU_SIZE(macro, 8, ##__VA_ARGS__)                                                          \
	ALU_SIZE(macro, 16, ##__VA_ARGS__)                                                         \
	ALU_SIZE(macro, 32, ##__VA_ARGS__)                                                         \
	ALU_SIZE(macro, 64, ##__VA_ARGS__)
#define ALU_SIZE(macro, bits, ...) macro(bits, ##__VA_ARGS__)

ALU_SIZES(ALU_TWO, alu_add, "add")
ALU_SIZES(ALU_TWO, alu_or, "or")
ALU_SIZES(ALU_TWO_CARRY, alu_adc, "adc")
ALU_SIZES(ALU_TWO_CARRY, alu_sbb, "sbb")
ALU_SIZES(ALU_TWO, alu_and, "and")
ALU_SIZES(ALU_TWO, alu_sub, "sub")
ALU_SIZES(ALU_TWO, alu_xor, "xor")
ALU_SIZES(ALU_TWO, alu_cmp, "cmp")
ALU_SIZES(ALU_TWO, alu_test, "test")
ALU_SIZES(ALU_ONE, alu_inc, "inc", FLAGS_ARITHMETIC & ~FLAG_CF)
ALU_SIZES(ALU_ONE, alu_dec, "dec", FLAGS_ARITHMETIC & ~FLAG_CF)
ALU_SIZES(ALU_ONE, alu_neg, "neg", FLAGS_ARITHMETIC)

#endif /* ADAPTERS_X86_ALU_H */
