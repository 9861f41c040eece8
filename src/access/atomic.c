/* SPDX-License-Identifier: MIT */
/*
 * atomic.c - load, store and compare-exchange on guest memory.
 *
 * A naturally aligned access lies in one page, hence in one slot, and its host
 * address is as aligned as its guest address because both start on page borders.
 * All are sequentially consistent: they order like the instructions of a guest that
 * uses locked operations, which is what their callers emulate.
 */
#include "access/locate.h"

static int locate(const struct mslot_snapshot *snap, struct mslot_addr at, unsigned int size_bytes,
		  enum mslot_access access, const struct mslot_slot **slot, void **host)
{
	int err;

	if (!access_atomic_size(size_bytes) || at.gpa & (size_bytes - 1))
		return -EINVAL;
	err = access_slot(snap, at, access, slot);
	if (err)
		return err;
	*host = (void *)(uintptr_t)((*slot)->hva + (at.gpa - access_slot_start(*slot)));
	return 0;
}

static uint64_t load(const void *host, unsigned int size_bytes)
{
	switch (size_bytes) {
	case 1:
		return __atomic_load_n((const access_u8 *)host, __ATOMIC_SEQ_CST);
	case 2:
		return __atomic_load_n((const access_u16 *)host, __ATOMIC_SEQ_CST);
	case 4:
		return __atomic_load_n((const access_u32 *)host, __ATOMIC_SEQ_CST);
	default:
		return __atomic_load_n((const access_u64 *)host, __ATOMIC_SEQ_CST);
	}
}

int mslot_load(const struct mslot_snapshot *snap, struct mslot_addr from, unsigned int size_bytes,
	       uint64_t *val)
{
	const struct mslot_slot *slot;
	void *host;
	int err = locate(snap, from, size_bytes, MSLOT_READ, &slot, &host);

	if (!err)
		*val = load(host, size_bytes);
	return err;
}

int mslot_store(const struct mslot_snapshot *snap, struct mslot_addr to, unsigned int size_bytes,
		uint64_t val)
{
	const struct mslot_slot *slot;
	void *host;
	int err = locate(snap, to, size_bytes, MSLOT_WRITE, &slot, &host);

	if (!err)
		err = access_will_write(snap, to, size_bytes);
	if (err)
		return err;
	switch (size_bytes) {
	case 1:
		__atomic_store_n((access_u8 *)host, (uint8_t)val, __ATOMIC_SEQ_CST);
		break;
	case 2:
		__atomic_store_n((access_u16 *)host, (uint16_t)val, __ATOMIC_SEQ_CST);
		break;
	case 4:
		__atomic_store_n((access_u32 *)host, (uint32_t)val, __ATOMIC_SEQ_CST);
		break;
	default:
		__atomic_store_n((access_u64 *)host, val, __ATOMIC_SEQ_CST);
		break;
	}
	access_wrote(snap, slot, to.gpa, size_bytes);
	return 0;
}

/* Exchange at one width: `expected` is narrowed on the way in and widened on the way out. */
#define DEFINE_CMPXCHG(bits)                                                                       \
	static int cmpxchg_u##bits(void *host, uint64_t *expected, uint64_t desired)               \
	{                                                                                          \
		access_u##bits found = (access_u##bits) * expected;                                \
		bool done = __atomic_compare_exchange_n((access_u##bits *)host, &found,            \
							(access_u##bits)desired, false,            \
							__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
                                                                                                   \
		*expected = found;                                                                 \
		return done;                                                                       \
	}

DEFINE_CMPXCHG(8)
DEFINE_CMPXCHG(16)
DEFINE_CMPXCHG(32)
DEFINE_CMPXCHG(64)

/*
 * A failing exchange writes nothing, so that no ring needs to be told: where one would be,
 * look first.
 */
static bool differs(const struct mslot_snapshot *snap, const void *host, unsigned int size_bytes,
		    uint64_t *expected)
{
	uint64_t mask = ~UINT64_C(0) >> (64 - 8 * size_bytes), found;

	if (!vcpu_ringing(snap))
		return false;
	found = load(host, size_bytes);
	if (found == (*expected & mask))
		return false;
	*expected = found;
	return true;
}

int mslot_cmpxchg(const struct mslot_snapshot *snap, struct mslot_addr at, unsigned int size_bytes,
		  uint64_t *expected, uint64_t desired)
{
	const struct mslot_slot *slot;
	int done, err;
	void *host;

	err = locate(snap, at, size_bytes, MSLOT_WRITE, &slot, &host);
	if (!err && differs(snap, host, size_bytes, expected))
		return 0;
	if (!err)
		err = access_will_write(snap, at, size_bytes);
	if (err)
		return err;
	switch (size_bytes) {
	case 1:
		done = cmpxchg_u8(host, expected, desired);
		break;
	case 2:
		done = cmpxchg_u16(host, expected, desired);
		break;
	case 4:
		done = cmpxchg_u32(host, expected, desired);
		break;
	default:
		done = cmpxchg_u64(host, expected, desired);
		break;
	}
	if (done)
		access_wrote(snap, slot, at.gpa, size_bytes);
	return done;
}
