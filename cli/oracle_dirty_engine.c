/* SPDX-License-Identifier: MIT */
/*
 * oracle_dirty_engine.c - the library's answers to dirty-log requests; see oracle_dirty.h.
 *
 * With DIRTY_STAND_IN the calls of the dirty log go to a model that follows the map's
 * slots, until the library has these calls.
 */
#include "oracle_dirty.h"

#include <stdlib.h>
#include <string.h>

#include <mslot/kvm.h>

#include "cli.h"

#ifdef DIRTY_STAND_IN
#include <naive_dirty.h>
#endif

struct dirty_engine {
	struct mslot_map *map;
#ifdef DIRTY_STAND_IN
	struct naive_dirty naive;
#endif
};

void dirty_call_init(struct dirty_call *call, const struct dirty_request *r)
{
	*call = (struct dirty_call){
	    .region = {r->slot, r->flags, r->x, r->y, r->z},
	    .cap = {.cap = r->slot, .flags = r->flags, .args = {r->x, r->y}},
	    .get = {.slot = r->slot, .dirty_bitmap = call->buffer},
	    .clear = {.slot = r->slot,
		      .num_pages = (uint32_t)r->y,
		      .first_page = r->x,
		      .dirty_bitmap = call->buffer},
	};
	/* A get has to leave what lies behind its slot; a clear, to read no further. */
	for (size_t i = 0; i < DIRTY_BUFFER_WORDS; i++)
		call->buffer[i] = r->op == DIRTY_CLEAR ? UINT64_MAX : DIRTY_UNTOUCHED;
	if (r->op == DIRTY_CLEAR)
		memcpy(call->buffer, r->word, r->nwords * sizeof(r->word[0]));
}

uint32_t dirty_call_words(const struct dirty_call *call)
{
	uint32_t n = DIRTY_BUFFER_WORDS;

	while (n > 0 && call->buffer[n - 1] == DIRTY_UNTOUCHED)
		n--;
	return n;
}

struct dirty_engine *dirty_engine_create(const struct mslot_map_options *opt)
{
	struct dirty_engine *const e = cli_alloc(1, sizeof(*e));
	const int ret = mslot_map_create(opt, &e->map);

	if (ret < 0) {
		cli_error("oracle", "cannot create a map: %s", strerror(-ret));
		free(e);
		return NULL;
	}
#ifdef DIRTY_STAND_IN
	ndirty_init(&e->naive, opt != NULL ? opt->nspaces : 1,
		    opt != NULL ? opt->max_user_slots : 32764);
#endif
	return e;
}

#ifdef DIRTY_STAND_IN
static int answer_region(struct dirty_engine *e, const struct kvm_userspace_memory_region *region)
{
	const int ret = mslot_kvm_set_user_memory_region(e->map, region);

	if (ret == 0)
		ndirty_region(&e->naive, region);
	return ret;
}
#define answer_cap(e, cap) ndirty_enable_cap(&(e)->naive, cap)
#define answer_get(e, log) ndirty_get(&(e)->naive, log)
#define answer_clear(e, log) ndirty_clear(&(e)->naive, log)
#else
#define answer_region(e, region) mslot_kvm_set_user_memory_region((e)->map, region)
#define answer_cap(e, cap) mslot_kvm_enable_cap((e)->map, cap)
#define answer_get(e, log) mslot_kvm_get_dirty_log((e)->map, log)
#define answer_clear(e, log) mslot_kvm_clear_dirty_log((e)->map, log)
#endif

int dirty_engine_answer(struct dirty_engine *e, enum dirty_op op, struct dirty_call *call)
{
	switch (op) {
	case DIRTY_REGION:
		return answer_region(e, &call->region);
	case DIRTY_CAP:
		return answer_cap(e, &call->cap);
	case DIRTY_GET:
		return answer_get(e, &call->get);
	case DIRTY_CLEAR:
		return answer_clear(e, &call->clear);
	default:
		return 0;
	}
}

int dirty_engine_destroy(struct dirty_engine *e)
{
	const int ret = mslot_map_destroy(e->map);

	if (ret < 0)
		cli_error("oracle", "cannot destroy the map: %s", strerror(-ret));
#ifdef DIRTY_STAND_IN
	ndirty_fini(&e->naive);
#endif
	free(e);
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
