/* SPDX-License-Identifier: MIT */
/*
 * find.c - mslot_find(), compiled whole for each vector width: the shift, the bound and
 * the way through the index in one function, which mslot_find() jumps to.
 */
#include "index/radix/find.h"
#include "map/snapshot.h"

static const struct mslot_slot *find_by_kind(const struct mslot_snapshot *snap, uint32_t space,
					     uint64_t gpa)
{
	return space < snap->nspaces ? index_find(&snap->gfn[space], gpa >> snap->page_shift)
				     : NULL;
}

static const struct mslot_slot *find_scalar(const struct mslot_snapshot *snap, uint32_t space,
					    uint64_t gpa)
{
	return space < snap->nspaces
		   ? radix_find_at_scalar(&snap->gfn[space], gpa >> snap->page_shift)
		   : NULL;
}

#if defined(__x86_64__)

RADIX_TARGET_AVX2 static const struct mslot_slot *find_avx2(const struct mslot_snapshot *snap,
							    uint32_t space, uint64_t gpa)
{
	return space < snap->nspaces
		   ? radix_find_at_avx2(&snap->gfn[space], gpa >> snap->page_shift)
		   : NULL;
}

RADIX_TARGET_AVX512 static const struct mslot_slot *find_avx512(const struct mslot_snapshot *snap,
								uint32_t space, uint64_t gpa)
{
	return space < snap->nspaces
		   ? radix_find_at_avx512(&snap->gfn[space], gpa >> snap->page_shift)
		   : NULL;
}

#endif

find_gpa_fn *find_gpa_for(enum index_kind kind, enum index_simd simd)
{
	if (kind != INDEX_RADIX)
		return find_by_kind;
#if defined(__x86_64__)
	if (simd == INDEX_AVX512)
		return find_avx512;
	if (simd == INDEX_AVX2)
		return find_avx2;
#endif
	(void)simd;
	return find_scalar;
}
