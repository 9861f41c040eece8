/* SPDX-License-Identifier: MIT */
/*
 * twin_engine.c - the engine of `mslot oracle` with naive_dirty.h in the place of the
 * library's dirty log: proves that the twin, too, answers as kernels do. The map judges
 * the requests for slots.
 */
#include <mslot/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/oracle_dirty.h"
#include "naive_dirty.h"

struct dirty_engine {
	struct mslot_map *map;
	struct naive_dirty twin;
};

struct dirty_engine *dirty_engine_create(const struct mslot_map_options *opt)
{
	/* The limits of a map made without options. */
	const struct mslot_map_options usual = {.nspaces = 1, .max_user_slots = 32764};
	struct dirty_engine *const e = cli_alloc(1, sizeof(*e));
	const int ret = mslot_map_create(opt, &e->map);

	if (ret < 0) {
		cli_error("oracle", "cannot create a map: %s", strerror(-ret));
		free(e);
		return NULL;
	}
	opt = opt != NULL ? opt : &usual;
	ndirty_init(&e->twin, opt->nspaces, opt->max_user_slots);
	return e;
}

int dirty_engine_answer(struct dirty_engine *e, enum dirty_op op, struct dirty_call *call)
{
	int ret = 0;

	switch (op) {
	case DIRTY_REGION:
		ret = mslot_kvm_set_user_memory_region(e->map, &call->region);
		if (ret == 0)
			ndirty_region(&e->twin, &call->region);
		break;
	case DIRTY_CAP:
		ret = ndirty_enable_cap(&e->twin, &call->cap);
		break;
	case DIRTY_GET:
		ret = ndirty_get(&e->twin, &call->get);
		break;
	case DIRTY_CLEAR:
		ret = ndirty_clear(&e->twin, &call->clear);
		break;
	default:
		break;
	}
	return ret;
}

int dirty_engine_destroy(struct dirty_engine *e)
{
	const int ret = mslot_map_destroy(e->map);

	if (ret < 0)
		cli_error("oracle", "cannot destroy the map: %s", strerror(-ret));
	ndirty_fini(&e->twin);
	free(e);
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
