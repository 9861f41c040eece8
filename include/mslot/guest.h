/* SPDX-License-Identifier: MIT */
/*
 * mslot/guest.h - memory accesses of a vCPU through its root.
 *
 * Each vCPU has a translation cache, direct-mapped by page: an access that hits costs about a
 * nanosecond, inline; one that misses walks the root, faults, and fills the cache. The cache
 * forgets when the vCPU answers a request to flush, and when it gets another root. Accesses may
 * cross pages and slots; one that meets a hole, a read-only page or anything else that fails
 * transfers nothing.
 *
 * All of this happens on the vCPU's thread, inside its section, with a root
 * (mslot_vcpu_root_set()). Pages that are written are marked dirty where slots are logged.
 * The host memory of a region must be mapped (readable, and writable for writes).
 *
 * Naturally aligned accesses of 1, 2, 4 and 8 bytes are single atomic ones: loads acquire, stores
 * release. 16 bytes are two of these, the lower address first. Others may be torn anywhere.
 *
 * An access that returns -ENOENT is MMIO: mslot_vcpu_mmio() says what to emulate. After -EAGAIN,
 * poll and try again.
 */
#ifndef MSLOT_GUEST_H
#define MSLOT_GUEST_H

#include <mslot/mmu.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The cache ---------------------------------------------------------- */

/*
 * mslot_vcpu_hit() - host address of a guest access, if the cache has it. Inline.
 *   vcpu         the vCPU, inside its section
 *   addr         address in its root; need not be aligned
 *   size_bytes   1 to 4096
 *   access       what for
 * Returns the host address, or NULL: not in the cache, or the access crosses a page.
 * Context: the vCPU's thread. Wait-free.
 * Lifetime: until the section ends.
 */
MSLOT_INLINE void *mslot_vcpu_hit(const struct mslot_vcpu *vcpu, uint64_t addr,
				  unsigned int size_bytes, enum mslot_access access);

/* As mslot_vcpu_hit(), of an access that does not cross a page. */
static inline void *mslot_vcpu_hit_page(const struct mslot_vcpu *vcpu, uint64_t addr,
					enum mslot_access access)
{
	const struct mslot_vcpu_head *head = (const struct mslot_vcpu_head *)(const void *)vcpu;
	/* The entry of the page's number, without a multiplication. */
	const struct mslot_tlb_entry *entry =
	    (const struct mslot_tlb_entry *)(const void *)((const char *)head->tlb +
							   (addr >> head->entry_shift &
							    (sizeof(head->tlb) -
							     sizeof(head->tlb[0]))));
	uint64_t tag = access == MSLOT_WRITE ? entry->write_tag : entry->read_tag;

	if (__builtin_expect(tag != ((addr & head->page_mask) | head->epoch), 0))
		return NULL;
	return (void *)(uintptr_t)(addr + entry->addend);
}

static inline void *mslot_vcpu_hit(const struct mslot_vcpu *vcpu, uint64_t addr,
				   unsigned int size_bytes, enum mslot_access access)
{
	const struct mslot_vcpu_head *head = (const struct mslot_vcpu_head *)(const void *)vcpu;

	if (__builtin_expect((addr & ~head->page_mask) + size_bytes > ~head->page_mask + 1, 0))
		return NULL;
	return mslot_vcpu_hit_page(vcpu, addr, access);
}

/* ---- Loads and stores --------------------------------------------------- */

/* 16 bytes, as they are in memory. */
struct mslot_u128 {
	uint64_t first;  /* at the address */
	uint64_t second; /* 8 bytes on */
};

/*
 * mslot_vcpu_load() - load from guest memory.
 *   vcpu         the vCPU, inside its section
 *   addr         address in its root; need not be aligned, nor in one page
 *   size_bytes   1, 2, 4, 8 or 16
 *   val          receives the bytes, as they are in memory
 * Returns 0, -EINVAL another size, the thread is not inside this vCPU's section, it has no root
 *   or a shadow one without walk(), or an address is beyond the root's levels; -EOVERFLOW the
 *   access wraps, -ENOENT a page has no slot (MMIO), -EACCES a write meets what is read-only,
 *   -EAGAIN a host invalidation of a page is under way, -ENOSPC the dirty ring is full, -ENOMEM,
 *   or what the root's walk() returned.
 * Context: the vCPU's thread inside its section. Wait-free when the cache has the page; else as
 *   mslot_fault().
 */
MSLOT_API int mslot_vcpu_load(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
			      void *val);

/*
 * mslot_vcpu_store() - store to guest memory.
 *   vcpu, addr, size_bytes   as in mslot_vcpu_load()
 *   val                      the bytes
 * All pages are made writable before the first byte is stored, and marked where they are logged.
 * Returns, Context: as mslot_vcpu_load().
 */
MSLOT_API int mslot_vcpu_store(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
			       const void *val);

/*
 * mslot_vcpu_load64() - mslot_vcpu_load() of 8 bytes, inline where the cache has them.
 *   vcpu, addr   as in mslot_vcpu_load()
 *   val          receives the value
 * There is one for each size, with 8, 16, 32, 64 and 128 (a struct mslot_u128) for its name.
 * Returns, Context: as mslot_vcpu_load().
 */
MSLOT_INLINE int mslot_vcpu_load64(struct mslot_vcpu *vcpu, uint64_t addr, uint64_t *val);

/*
 * mslot_vcpu_store64() - mslot_vcpu_store() of 8 bytes, inline where the cache has them.
 *   vcpu, addr   as in mslot_vcpu_store()
 *   val          the value
 * There is one for each size, as of mslot_vcpu_load64().
 * Returns, Context: as mslot_vcpu_store().
 */
MSLOT_INLINE int mslot_vcpu_store64(struct mslot_vcpu *vcpu, uint64_t addr, uint64_t val);

#define MSLOT_DEFINE_ACCESS(bits)                                                                  \
	typedef uint##bits##_t mslot_alias_u##bits __attribute__((__may_alias__));                 \
                                                                                                   \
	static inline int mslot_vcpu_load##bits(struct mslot_vcpu *vcpu, uint64_t addr,            \
						uint##bits##_t *val)                               \
	{                                                                                          \
		const void *host = mslot_vcpu_hit_page(vcpu, addr, MSLOT_READ);                    \
                                                                                                   \
		if (__builtin_expect(!host || addr % sizeof(*val) != 0, 0))                        \
			return mslot_vcpu_load(vcpu, addr, sizeof(*val), val);                     \
		*val = __atomic_load_n((const mslot_alias_u##bits *)host, __ATOMIC_ACQUIRE);       \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	static inline int mslot_vcpu_store##bits(struct mslot_vcpu *vcpu, uint64_t addr,           \
						 uint##bits##_t val)                               \
	{                                                                                          \
		void *host = mslot_vcpu_hit_page(vcpu, addr, MSLOT_WRITE);                         \
                                                                                                   \
		if (__builtin_expect(!host || addr % sizeof(val) != 0, 0))                         \
			return mslot_vcpu_store(vcpu, addr, sizeof(val), &val);                    \
		__atomic_store_n((mslot_alias_u##bits *)host, val, __ATOMIC_RELEASE);              \
		return 0;                                                                          \
	}

MSLOT_DEFINE_ACCESS(8)
MSLOT_DEFINE_ACCESS(16)
MSLOT_DEFINE_ACCESS(32)
MSLOT_DEFINE_ACCESS(64)
#undef MSLOT_DEFINE_ACCESS

static inline int mslot_vcpu_load128(struct mslot_vcpu *vcpu, uint64_t addr, struct mslot_u128 *val)
{
	const mslot_alias_u64 *host =
	    (const mslot_alias_u64 *)mslot_vcpu_hit_page(vcpu, addr, MSLOT_READ);

	if (__builtin_expect(!host || addr % sizeof(*val) != 0, 0))
		return mslot_vcpu_load(vcpu, addr, sizeof(*val), val);
	val->first = __atomic_load_n(host, __ATOMIC_ACQUIRE);
	val->second = __atomic_load_n(host + 1, __ATOMIC_ACQUIRE);
	return 0;
}

static inline int mslot_vcpu_store128(struct mslot_vcpu *vcpu, uint64_t addr, struct mslot_u128 val)
{
	mslot_alias_u64 *host = (mslot_alias_u64 *)mslot_vcpu_hit_page(vcpu, addr, MSLOT_WRITE);

	if (__builtin_expect(!host || addr % sizeof(val) != 0, 0))
		return mslot_vcpu_store(vcpu, addr, sizeof(val), &val);
	__atomic_store_n(host, val.first, __ATOMIC_RELEASE);
	__atomic_store_n(host + 1, val.second, __ATOMIC_RELEASE);
	return 0;
}

/*
 * mslot_vcpu_read() - copy out of guest memory.
 *   vcpu   the vCPU, inside its section
 *   addr   first address in its root
 *   buf    receives the bytes; untouched on failure
 *   len    bytes; 0 does nothing
 * Every page is translated before the first byte moves.
 * Returns as mslot_vcpu_load().
 * Context: as mslot_vcpu_load(). Allocates where more than 32 pages are concerned.
 */
MSLOT_API int mslot_vcpu_read(struct mslot_vcpu *vcpu, uint64_t addr, void *buf, size_t len);

/*
 * mslot_vcpu_write() - copy into guest memory.
 *   vcpu, addr   as in mslot_vcpu_read()
 *   buf          the bytes
 *   len          as in mslot_vcpu_read()
 * Every page is made writable, and marked where it is logged, before the first byte moves; after a
 * failure pages may be marked that were not written.
 * Returns, Context: as mslot_vcpu_read().
 */
MSLOT_API int mslot_vcpu_write(struct mslot_vcpu *vcpu, uint64_t addr, const void *buf, size_t len);

/* ---- Read-modify-writes ------------------------------------------------- */

/*
 * mslot_vcpu_cmpxchg() - atomic compare and exchange (sequentially consistent).
 *   vcpu         the vCPU, inside its section
 *   addr         address in its root; naturally aligned
 *   size_bytes   1, 2, 4, 8 or 16
 *   expected     in: the bytes to find; out: those found, if they were others
 *   desired      the bytes to store if they were found
 * The page is made writable in any case.
 * Returns as mslot_vcpu_load(), and -EINVAL not aligned. 1 means exchanged, 0 not.
 * Context: as mslot_vcpu_load().
 */
MSLOT_API int mslot_vcpu_cmpxchg(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
				 void *expected, const void *desired);

/* What mslot_vcpu_rmw() stores, of what it finds and the operand. */
enum mslot_rmw {
	MSLOT_RMW_XCHG = 0, /* the operand */
	MSLOT_RMW_ADD = 1,  /* the sum, modulo the size */
	MSLOT_RMW_AND = 2,
	MSLOT_RMW_OR = 3,
	MSLOT_RMW_XOR = 4,
};

/*
 * mslot_vcpu_rmw() - atomic read-modify-write (sequentially consistent).
 *   vcpu         the vCPU, inside its section
 *   addr         address in its root; naturally aligned
 *   size_bytes   1, 2, 4 or 8
 *   op           what to do
 *   operand      with what; higher bytes ignored
 *   old          receives what was there, zero-extended; may be NULL
 * Returns as mslot_vcpu_load(), and -EINVAL not aligned, 16 bytes, or an unknown operation.
 * Context: as mslot_vcpu_load().
 */
MSLOT_API int mslot_vcpu_rmw(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
			     enum mslot_rmw op, uint64_t operand, uint64_t *old);

/* ---- MMIO --------------------------------------------------------------- */

/* Where an access met a page without a slot. */
struct mslot_mmio {
	uint64_t addr;         /* the access's first address in that page */
	uint64_t gpa;          /* what that means */
	uint64_t before_bytes; /* of the access, in pages before it: these have memory */
	enum mslot_access access;
	uint32_t reserved;
};

/*
 * mslot_vcpu_mmio() - what is to be emulated, after an access returned -ENOENT.
 *   vcpu   the vCPU
 *   out    receives it
 * Nothing was transferred. That there is no slot is remembered for the section's snapshot: any
 * commit makes the next section's accesses ask again.
 * Returns 0, -EINVAL the last access that did not hit the cache returned something else.
 * Context: the vCPU's thread, in or outside its section.
 */
MSLOT_API int mslot_vcpu_mmio(const struct mslot_vcpu *vcpu, struct mslot_mmio *out);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_GUEST_H */
