/* SPDX-License-Identifier: MIT */
/*
 * operand.c - the locked store behind read-modify-write instructions.
 *
 * The host's LOCK CMPXCHG is what makes it atomic, among vCPUs and with the program's own threads,
 * in one cache line or two.
 */
#include "operand.h"

#define EXCHANGE(bits)                                                                             \
	static bool exchange_##bits(void *host, uint64_t *seen, uint64_t val)                      \
	{                                                                                          \
		uint##bits##_t had = (uint##bits##_t) * seen, want = (uint##bits##_t)val;          \
		bool done;                                                                         \
                                                                                                   \
		__asm__ volatile("lock cmpxchg %[want], %[mem]"                                    \
				 : [mem] "+m"(*(unaligned_u##bits *)host), "+a"(had),              \
				   "=@ccz"(done)                                                   \
				 : [want] "r"(want)                                                \
				 : "memory");                                                      \
		*seen = had;                                                                       \
		return done;                                                                       \
	}

typedef uint8_t unaligned_u8;

EXCHANGE(8)
EXCHANGE(16)
EXCHANGE(32)
EXCHANGE(64)

enum step update_exchange(struct cpu *cpu, struct update *upd, unsigned int size, uint64_t val,
			  bool *done)
{
	*done = true;
	if (!upd->host)
		return memory_write(cpu, upd->linear, size, &val);
	switch (size) {
	case 1:
		*done = exchange_8(upd->host, &upd->val, val);
		break;
	case 2:
		*done = exchange_16(upd->host, &upd->val, val);
		break;
	case 4:
		*done = exchange_32(upd->host, &upd->val, val);
		break;
	default:
		*done = exchange_64(upd->host, &upd->val, val);
	}
	if (*done)
		memory_stored(cpu, upd->host, size);
	return STEP_NEXT;
}
