/* SPDX-License-Identifier: MIT */
/*
 * find.c - mslot_find() and mslot_find_hva(), compiled whole for each vector width: the
 * shift, the bound and the way through the index in one function, which they jump to.
 */
#include "index/radix/find.h"
#include "map/snapshot.h"

/* ---- By guest address ---- */

static const struct mslot_slot *gpa_by_kind(const struct mslot_snapshot *snap, uint32_t space,
					    uint64_t gpa)
{
	return space < snap->nspaces ? index_find(&snap->gfn[space], gpa >> snap->page_shift)
				     : NULL;
}

/* One lookup for each width: `find` is known, so that it is no call. */
#define FIND_GPA(name, target, find)                                                               \
	target static const struct mslot_slot *name(const struct mslot_snapshot *snap,             \
						    uint32_t space, uint64_t gpa)                  \
	{                                                                                          \
		return space < snap->nspaces ? find(&snap->gfn[space], gpa >> snap->page_shift)    \
					     : NULL;                                               \
	}

FIND_GPA(gpa_scalar, , radix_find_at_scalar)
#if defined(__x86_64__)
FIND_GPA(gpa_avx2, RADIX_TARGET_AVX2, radix_find_at_avx2)
FIND_GPA(gpa_avx512, RADIX_TARGET_AVX512, radix_find_at_avx512)
#endif

/* ---- By host address ---- */

/* Where slots overlap, or the index is a tree. */
static __attribute__((noinline)) size_t hva_walk(const struct mslot_snapshot *snap, uint64_t hva,
						 const struct mslot_slot **slots, size_t nslots)
{
	uint64_t frame = hva >> snap->page_shift;
	struct index_ranges_cursor cur;
	struct index_entry entry;
	size_t n = 0;

	index_ranges_cursor_init(&cur, &snap->hva, frame, frame + 1);
	for (; index_ranges_cursor_next(&cur, &entry); n++)
		if (n < nslots)
			slots[n] = entry.item;
	return n;
}

#define FIND_HVA(name, target, find)                                                               \
	target static size_t name(const struct mslot_snapshot *snap, uint64_t hva,                 \
				  const struct mslot_slot **slots, size_t nslots)                  \
	{                                                                                          \
		const struct mslot_slot *slot;                                                     \
                                                                                                   \
		if (snap->hva.rest.count > 0)                                                      \
			return hva_walk(snap, hva, slots, nslots);                                 \
		slot = find(&snap->hva.apart, hva >> snap->page_shift);                            \
		if (slot && nslots > 0)                                                            \
			slots[0] = slot;                                                           \
		return slot != NULL;                                                               \
	}

FIND_HVA(hva_scalar, , radix_find_at_scalar)
#if defined(__x86_64__)
FIND_HVA(hva_avx2, RADIX_TARGET_AVX2, radix_find_at_avx2)
FIND_HVA(hva_avx512, RADIX_TARGET_AVX512, radix_find_at_avx512)
#endif

struct finders finders_for(enum index_kind kind, enum index_simd simd)
{
	struct finders f = {.find = index_finder(kind, simd), .gpa = gpa_scalar, .hva = hva_scalar};

	if (kind != INDEX_RADIX) {
		f.gpa = gpa_by_kind;
		f.hva = hva_walk;
		return f;
	}
#if defined(__x86_64__)
	if (simd == INDEX_AVX512) {
		f.gpa = gpa_avx512;
		f.hva = hva_avx512;
	} else if (simd == INDEX_AVX2) {
		f.gpa = gpa_avx2;
		f.hva = hva_avx2;
	}
#endif
	return f;
}
