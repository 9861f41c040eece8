/* SPDX-License-Identifier: MIT */
/* bench_fixture.c - maps and addresses to measure with; see bench.h. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "rng.h"

#define PAGE UINT64_C(4096)
#define REGION_HVA UINT64_C(0x100000000000) /* only a number: nothing is mapped there */
#define LOCAL_RUN 64u

static int failed(const char *what, int ret)
{
	cli_error("bench", "%s: %s", what, strerror(-ret));
	return -1;
}

static void shuffle(uint32_t *v, size_t n, struct rng *rng)
{
	for (size_t i = n; i > 1; i--) {
		const size_t k = rng_below(rng, i);
		const uint32_t tmp = v[i - 1];

		v[i - 1] = v[k];
		v[k] = tmp;
	}
}

static uint32_t *permutation(size_t n, struct rng *rng)
{
	uint32_t *const v = cli_alloc(n, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (uint32_t)i;
	shuffle(v, n, rng);
	return v;
}

static void choose_slots(struct bench_fixture *f, struct rng *rng)
{
	uint32_t *const id = permutation(f->nslots, rng);
	uint32_t *const place = permutation(f->nslots, rng);
	uint64_t gpa = 0;

	for (size_t i = 0; i < f->nslots; i++) {
		struct mslot_slot_def *const d = &f->def[i];

		gpa += rng_below(rng, 16) * PAGE;
		*d = (struct mslot_slot_def){
		    .key = {.space = 0, .id = id[i]},
		    .gpa = gpa,
		    .len_bytes = (1 + rng_below(rng, 16)) * PAGE,
		    .region = f->region,
		    .offset_bytes = (uint64_t)place[i] * 16 * PAGE,
		};
		gpa += d->len_bytes;
	}
	free(id);
	free(place);
}

static void choose_addresses(struct bench_fixture *f, struct rng *rng)
{
	for (size_t k = 0; k < BENCH_ADDRESSES && f->nslots > 0; k++) {
		const uint32_t i = (uint32_t)rng_below(rng, f->nslots);
		const struct mslot_slot_def *const d = &f->def[i];
		const struct mslot_slot_def *const run = &f->def[f->index[k - k % LOCAL_RUN]];
		const uint64_t at = rng_below(rng, d->len_bytes);

		f->index[k] = i;
		f->gpa[k] = d->gpa + at;
		f->hva[k] = REGION_HVA + d->offset_bytes + at;
		f->id[k] = d->key.id;
		f->local[k] =
		    k % LOCAL_RUN == 0 ? f->gpa[k] : run->gpa + rng_below(rng, run->len_bytes);
	}
}

int bench_fixture_init_empty(struct bench_fixture *f, size_t nslots)
{
	const uint32_t user = nslots > MSLOT_DEFAULT_USER_SLOTS ? (uint32_t)nslots : 0;
	const struct mslot_map_options opt = {.max_user_slots = user,
					      .max_edits = nslots > (1u << 20) ? user : 0};
	const struct mslot_region_options ropt = {
	    .hva = (void *)(uintptr_t)REGION_HVA,
	    .len_bytes = (nslots + 1) * 16 * PAGE,
	    .fd = -1,
	};
	struct rng rng = {nslots + 1};
	int ret;

	*f = (struct bench_fixture){.nslots = nslots};
	f->def = cli_alloc(nslots, sizeof(*f->def));
	f->gpa = cli_alloc(BENCH_ADDRESSES, sizeof(*f->gpa));
	f->hva = cli_alloc(BENCH_ADDRESSES, sizeof(*f->hva));
	f->id = cli_alloc(BENCH_ADDRESSES, sizeof(*f->id));
	f->index = cli_alloc(BENCH_ADDRESSES, sizeof(*f->index));
	f->local = cli_alloc(BENCH_ADDRESSES, sizeof(*f->local));
	ret = mslot_map_create(&opt, &f->map);
	if (ret == 0)
		ret = mslot_region_create(&ropt, &f->region);
	if (ret < 0) {
		bench_fixture_fini(f);
		return failed("cannot create a map", ret);
	}
	choose_slots(f, &rng);
	choose_addresses(f, &rng);
	return 0;
}

int bench_fixture_fill(struct bench_fixture *f)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(f->map, &txn);

	if (ret < 0)
		return failed("cannot begin a transaction", ret);
	for (size_t i = 0; i < f->nslots && ret >= 0; i++)
		ret = mslot_txn_create(txn, &f->def[i]);
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret >= 0)
		return 0;
	mslot_txn_abort(txn);
	return failed("cannot create the slots", ret);
}

/* Is this slot the one of the list? */
static bool is_slot(const struct bench_fixture *f, const struct mslot_slot *slot, size_t i)
{
	struct mslot_slot_info info;

	if (slot == NULL)
		return false;
	mslot_slot_info_get(slot, &info);
	return info.key.id == f->def[i].key.id && info.gpa == f->def[i].gpa &&
	       info.len_bytes == f->def[i].len_bytes;
}

static bool verify_address(struct bench_fixture *f, const struct mslot_snapshot *snap, size_t k)
{
	const struct mslot_key key = {.space = 0, .id = f->id[k]};
	const size_t i = f->index[k], run = f->index[k - k % LOCAL_RUN];
	const struct mslot_slot *const slot = mslot_find(snap, 0, f->gpa[k]);
	const struct mslot_slot *const local = mslot_find(snap, 0, f->local[k]);
	struct mslot_iter iter;

	f->sum += (uintptr_t)slot;
	f->local_sum += (uintptr_t)local;
	mslot_iter_hva(&iter, snap, (struct mslot_range){f->hva[k], 1});
	return is_slot(f, slot, i) && mslot_find_id(snap, key) == slot &&
	       mslot_iter_next(&iter) == slot && mslot_iter_next(&iter) == NULL &&
	       is_slot(f, local, run);
}

int bench_fixture_verify(struct bench_fixture *f)
{
	const struct mslot_snapshot *const snap = mslot_enter(f->map);
	bool right = true;

	f->sum = 0;
	f->local_sum = 0;
	for (size_t k = 0; k < BENCH_ADDRESSES && right; k++)
		right = verify_address(f, snap, k);
	mslot_leave(snap);
	if (right)
		return 0;
	cli_error("bench", "a lookup among %zu slots gave a wrong slot", f->nslots);
	return -1;
}

int bench_fixture_init(struct bench_fixture *f, size_t nslots)
{
	if (bench_fixture_init_empty(f, nslots) < 0)
		return -1;
	if (bench_fixture_fill(f) == 0 && bench_fixture_verify(f) == 0)
		return 0;
	bench_fixture_fini(f);
	return -1;
}

void bench_fixture_fini(struct bench_fixture *f)
{
	mslot_map_destroy(f->map);
	mslot_region_put(f->region);
	free(f->def);
	free(f->gpa);
	free(f->hva);
	free(f->id);
	free(f->index);
	free(f->local);
	*f = (struct bench_fixture){0};
}
