/* SPDX-License-Identifier: MIT */
/* oracle_dirty_engine.c - the library's answers to dirty-log requests; see oracle_dirty.h. */
#include "oracle_dirty.h"

#include <stdlib.h>
#include <string.h>

#include <mslot/kvm.h>

#include "cli.h"

struct dirty_engine {
	struct mslot_map *map;
};

struct dirty_engine *dirty_engine_create(const struct mslot_map_options *opt)
{
	struct dirty_engine *const e = cli_alloc(1, sizeof(*e));
	const int ret = mslot_map_create(opt, &e->map);

	if (ret == 0)
		return e;
	cli_error("oracle", "cannot create a map: %s", strerror(-ret));
	free(e);
	return NULL;
}

int dirty_engine_answer(struct dirty_engine *e, enum dirty_op op, struct dirty_call *call)
{
	switch (op) {
	case DIRTY_REGION:
		return mslot_kvm_set_user_memory_region(e->map, &call->region);
	case DIRTY_CAP:
		return mslot_kvm_enable_cap(e->map, &call->cap);
	case DIRTY_GET:
		return mslot_kvm_get_dirty_log(e->map, &call->get);
	case DIRTY_CLEAR:
		return mslot_kvm_clear_dirty_log(e->map, &call->clear);
	default:
		return 0;
	}
}

int dirty_engine_destroy(struct dirty_engine *e)
{
	const int ret = mslot_map_destroy(e->map);

	if (ret < 0)
		cli_error("oracle", "cannot destroy the map: %s", strerror(-ret));
	free(e);
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
