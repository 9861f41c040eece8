/* SPDX-License-Identifier: MIT */
#include "stress/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORLD_BASE (UINT64_C(1) << 32)
#define WORLD_VERSIONS UINT64_C(4096) /* after which offsets repeat */

static uint64_t world_offset(const struct world *world, uint64_t v, uint32_t space, uint32_t place)
{
	uint64_t page = (v % WORLD_VERSIONS * world->nspaces + space) * world->nslots + place;

	return page * WORLD_PAGE;
}

/* nslots divides WORLD_VERSIONS, so that v and v mod WORLD_VERSIONS give the same id. */
static uint32_t id_of(const struct world *world, uint64_t v, uint32_t place)
{
	return (uint32_t)((place + v) % world->nslots);
}

static void count_release(void *ctx, const struct mslot_region_options *opt)
{
	struct world *world = ctx;

	(void)opt;
	atomic_fetch_add(&world->releases, 1);
}

void world_init(struct world *world, const struct mslot_map_options *opt, uint32_t nspaces,
		uint32_t nslots)
{
	struct mslot_map_options filled = opt ? *opt : (struct mslot_map_options){0};
	struct mslot_region_options memory = {
	    .hva = (void *)(uintptr_t)WORLD_BASE,
	    .len_bytes = WORLD_VERSIONS * nspaces * nslots * WORLD_PAGE,
	    .fd = -1,
	    .release = count_release,
	    .ctx = world,
	};
	struct mslot_txn *txn;
	uint32_t space, place;

	CHECK(WORLD_VERSIONS % nslots == 0, "a power of two");
	memset(world, 0, sizeof(*world));
	pthread_mutex_init(&world->lock, NULL);
	filled.nspaces = nspaces;
	world->nspaces = nspaces;
	world->nslots = nslots;
	CHECK_OK(mslot_map_create(&filled, &world->map));
	CHECK_OK(mslot_region_create(&memory, &world->region));
	CHECK_OK(mslot_txn_begin(world->map, &txn));
	for (space = 0; space < nspaces; space++)
		for (place = 0; place < nslots; place++) {
			struct mslot_slot_def def = {
			    .key = {.space = space, .id = place},
			    .gpa = place * WORLD_PAGE,
			    .len_bytes = WORLD_PAGE,
			    .region = world->region,
			    .offset_bytes = world_offset(world, 0, space, place),
			};

			CHECK(mslot_txn_create(txn, &def) >= 0, "create");
		}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	stress_committed(1);
}

void world_fini(struct world *world)
{
	struct mslot_map_stats stats;
	const char *why = "";

	CHECK_OK(mslot_map_stats_get(world->map, &stats));
	CHECK_OK(mslot_wait(world->map, stats.generation, -1));
	CHECK(mslot_check_map(world->map, &why) == 0, "%s", why);
	CHECK(atomic_load(&world->releases) == 0, "released while mapped");
	mslot_region_put(world->region);
	CHECK_OK(mslot_map_destroy(world->map));
	CHECK(atomic_load(&world->releases) == 1, "released %" PRIu64 " times (L2)",
	      atomic_load(&world->releases));
	pthread_mutex_destroy(&world->lock);
}

void world_edit(struct world *world, struct mslot_txn *txn, uint64_t v)
{
	uint32_t space, place;

	for (space = 0; space < world->nspaces; space++)
		for (place = 0; place < world->nslots; place++) {
			struct mslot_slot_def def = {
			    .key = {.space = space, .id = id_of(world, v, place)},
			    .gpa = place * WORLD_PAGE,
			    .len_bytes = WORLD_PAGE,
			    .region = world->region,
			    .offset_bytes = world_offset(world, v, space, place),
			};

			CHECK(mslot_txn_redefine(txn, &def) >= 0, "redefine");
		}
}

int world_advance(struct world *world, struct mslot_commit_result *result)
{
	struct mslot_commit_result local;
	struct mslot_txn *txn;
	uint64_t v;
	int err;

	CHECK_OK(mslot_txn_begin(world->map, &txn));
	pthread_mutex_lock(&world->lock);
	v = atomic_load(&world->version) + 1;
	world_edit(world, txn, v);
	err = mslot_txn_commit(txn, NULL, &local);
	if (!err)
		atomic_store(&world->version, v);
	pthread_mutex_unlock(&world->lock);
	if (err)
		mslot_txn_abort(txn);
	else
		stress_committed(local.generation);
	if (result)
		*result = local;
	return err;
}

/* Which version a slot belongs to; fails when it is not the slot of that place. */
static uint64_t version_of(const struct world *world, const struct mslot_slot *slot, uint32_t space,
			   uint32_t place)
{
	struct mslot_slot_info info;
	uint64_t v;

	mslot_slot_info_get(slot, &info);
	v = info.offset_bytes / WORLD_PAGE / world->nslots / world->nspaces;
	CHECK(info.key.space == space && info.key.id == id_of(world, v, place) &&
		  info.gpa == place * WORLD_PAGE,
	      "found the slot of another place");
	CHECK(info.offset_bytes == world_offset(world, v, space, place),
	      "the slot shows another place");
	CHECK(info.hva == WORLD_BASE + info.offset_bytes && info.region == world->region &&
		  info.len_bytes == WORLD_PAGE && info.flags == 0,
	      "the slot's content is damaged (R3)");
	return v;
}

uint64_t world_version_at(const struct world *world, const struct mslot_snapshot *snap,
			  uint32_t space, uint32_t place)
{
	uint64_t gpa = place * WORLD_PAGE + WORLD_PAGE / 2;
	const struct mslot_slot *slot = mslot_find(snap, space, gpa);

	CHECK(slot, "a hole at space %u place %u (R1)", space, place);
	return version_of(world, slot, space, place);
}

uint64_t world_check(const struct world *world, const struct mslot_snapshot *snap)
{
	uint64_t v = world_version_at(world, snap, 0, 0), n = 0;
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	uint32_t space, place;

	for (space = 0; space < world->nspaces; space++)
		for (place = 0; place < world->nslots; place++) {
			struct mslot_key key = {.space = space, .id = id_of(world, v, place)};
			uint64_t here = world_version_at(world, snap, space, place);

			CHECK(here == v, "versions %" PRIu64 " and %" PRIu64 " mixed (R1)", v,
			      here);
			slot = mslot_find_id(snap, key);
			CHECK(slot, "no slot %u of space %u (R1)", key.id, space);
			CHECK(version_of(world, slot, space, place) == v,
			      "ids show another version than addresses (R1)");
		}
	mslot_iter_hva(&iter, snap, (struct mslot_range){0, UINT64_MAX});
	while (mslot_iter_next(&iter))
		n++;
	CHECK(n == (uint64_t)world->nspaces * world->nslots, "%" PRIu64 " slots by hva (R1)", n);
	CHECK(mslot_snapshot_npages(snap) == n, "page count (R1)");
	return v;
}
