/* SPDX-License-Identifier: MIT */
/*
 * final.c - the last dirty bits of memory that a commit took away.
 *
 * The commit gave the final harvest views of those pages (map/logging.h). Once no section,
 * hold or lease of before is left nobody marks there any more: then what is live, what was
 * fanned out and what was reported without being acknowledged is all there is; for KVM's
 * calls, of which vCPUs with rings do not tell, also what is in a ring. It only reads, so no
 * vCPU has to be told: what could write there was asked to flush with the commit.
 */
#include <errno.h>

#include "dirty/dirty.h"
#include "map/logging.h"
#include "map/wait.h"

int mslot_final_wait(struct mslot_final *final, int64_t timeout_ns)
{
	int err = map_wait_settled(final->map, final->generation, timeout_ns);

	if (!err)
		atomic_store_explicit(&final->waited, true, memory_order_release);
	return err;
}

size_t mslot_final_count(const struct mslot_final *final)
{
	return final->nranges;
}

int64_t mslot_final_get(struct mslot_final *final, size_t index, const struct mslot_dirty *dirty,
			struct mslot_final_range *range, uint64_t *bitmap, size_t bitmap_bytes)
{
	const struct final_range *of;
	struct bits_query query;
	uint64_t count;

	/* A harvest may be waiting for the section with the lock held. */
	if (map_wait_deadlocks(0))
		return -EDEADLK;
	if (index >= final->nranges)
		return -EINVAL;
	/* Acquire: what the waiting thread saw end. Pairs with mslot_final_wait(). */
	if (!atomic_load_explicit(&final->waited, memory_order_acquire))
		return -EAGAIN;
	of = &final->ranges[index];
	if (bitmap && bitmap_bytes < bits_copy_bytes(of->view))
		return -ENOSPC;
	query = (struct bits_query){
	    .view = of->view,
	    .set = dirty ? dirty->set : LOG_SET_KVM,
	    .what = BITS_LIVE | BITS_FRESH | BITS_BATCH | (dirty ? 0 : BITS_RINGED),
	    .scope = dirty,
	    .space = of->info.key.space,
	    .base_gfn = of->info.gpa >> final->map->opt.page_shift,
	};
	/* Other pages of the same extents may be harvested meanwhile. */
	pthread_mutex_lock(&final->map->log.harvest_lock);
	count = bits_count_out(&query, bitmap);
	pthread_mutex_unlock(&final->map->log.harvest_lock);
	if (range)
		*range = (struct mslot_final_range){
		    .key = of->info.key,
		    .gpa = of->info.gpa,
		    .len_bytes = of->info.len_bytes,
		    .hva = of->info.hva,
		    .offset_bytes = of->info.offset_bytes,
		    .region = of->info.region,
		};
	return (int64_t)count;
}

void mslot_final_destroy(struct mslot_final *final)
{
	struct mslot_map *map;

	if (!final)
		return;
	map = final->map;
	logging_final_free(final);
	/* Last: the map may go then. Release pairs with the look in mslot_map_destroy(). */
	atomic_fetch_sub_explicit(&map->log.nfinals, 1, memory_order_release);
}
