/* SPDX-License-Identifier: MIT */
/*
 * txn_world.c - one map of the model test: its options, its transactions, its end.
 */
#include "edit_by_verb.h"
#include "txn_world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct twin_tally tally;

/* ---- Options ------------------------------------------------------------ */

static uint64_t pick64(struct rng *rng, const uint64_t *from, size_t n)
{
	return from[rng_below(rng, n)];
}

static void choose_shape(struct rng *rng, const struct mslot_map_options *opt,
			 struct twin_shape *shape)
{
	static const uint64_t targets[] = {4, 12, 24, 40, 40, 40, 80, 80, 120, 260};
	static const uint64_t units[] = {1, 1, 1, 1, 16, 64, 255, 65535, 65537, 1 << 22, 1 << 29};
	uint64_t page = UINT64_C(1) << opt->page_shift;
	uint64_t nunits;

	shape->target = pick64(rng, targets, sizeof(targets) / sizeof(*targets));
	shape->unit_bytes = pick64(rng, units, sizeof(units) / sizeof(*units)) * page;
	nunits = shape->target * 6 / opt->nspaces + 12;
	/* Host addresses are the scarcer resource: 2^46 of them for each region. */
	while (nunits * shape->unit_bytes > UINT64_C(1) << 45)
		shape->unit_bytes /= 16;
	shape->window_bytes = nunits * shape->unit_bytes;
	shape->base_gpa = rng_chance(rng, 50) ? 0 : UINT64_C(1) << 32;
}

static void choose_options(struct rng *rng, struct mslot_map_options *opt)
{
	static const uint64_t spaces[] = {1, 1, 2, 16};
	static const uint64_t users[] = {0, 0, 0, 24, 100, MSLOT_MAX_USER_SLOTS};
	static const uint64_t shifts[] = {0, 12, 14, 16};
	uint64_t mask = 0xffff;

	memset(opt, 0, sizeof(*opt));
	opt->page_shift = (uint32_t)pick64(rng, shifts, 4);
	opt->nspaces = (uint32_t)pick64(rng, spaces, 4);
	opt->max_user_slots = (uint32_t)pick64(rng, users, 6);
	opt->simd = (uint32_t)rng_below(rng, MSLOT_SIMD_AVX512 + 1);
	if (rng_chance(rng, 25))
		opt->max_edits = (uint32_t)rng_range(rng, TWIN_PARTS, 60);
	if (rng_chance(rng, 25))
		opt->retired_limit_bytes = 65536;
	if (rng_chance(rng, 30))
		opt->hva_limit = rng_chance(rng, 50) ? ~mask : UINT64_C(1) << 47;
	if (rng_chance(rng, 20))
		opt->gpa_limit = ~mask;
}

/* Limits that bite now and then, once the sizes are known. */
static void choose_limits(struct rng *rng, const struct twin_shape *shape,
			  struct mslot_map_options *opt)
{
	uint64_t page = UINT64_C(1) << (opt->page_shift ? opt->page_shift : 12);
	uint32_t nspaces = opt->nspaces ? opt->nspaces : 1;

	if (rng_chance(rng, 30))
		opt->max_slots = shape->target / nspaces + 2;
	if (rng_chance(rng, 30))
		opt->max_pages = shape->target * 4 * (shape->unit_bytes / page) + 1;
	if (opt->gpa_limit == 0 && rng_chance(rng, 40))
		opt->gpa_limit = shape->base_gpa + shape->window_bytes;
}

/* ---- Create ------------------------------------------------------------- */

struct world *world_create(uint64_t seed, const uint64_t *txn_number)
{
	struct world *w = calloc(1, sizeof(*w));
	struct mslot_map_options opt, full;
	int rc;

	if (!w)
		abort();
	w->txn = calloc(2, sizeof(*w->txn));
	if (!w->txn)
		abort();
	w->later = w->txn + 1;
	w->seed = seed;
	w->txn_number = txn_number;
	rng_init(&w->rng, seed);
	choose_options(&w->rng, &opt);
	full = opt;
	full.page_shift = opt.page_shift ? opt.page_shift : 12;
	full.nspaces = opt.nspaces ? opt.nspaces : 1;
	choose_shape(&w->rng, &full, &w->shape);
	choose_limits(&w->rng, &w->shape, &opt);
	rc = mslot_map_create(&opt, &w->map);
	if (rc) {
		twin_fail("mslot_map_create: %d", rc);
		return NULL;
	}
	mslot_map_options_get(w->map, &full);
	if (rng_chance(&w->rng, 30)) /* right below the limit */
		w->shape.base_gpa = full.gpa_limit - w->shape.window_bytes;
	naive_init(&w->naive, &full, w->regions, 0);
	naive_init(&w->next, &full, w->regions, 0);
	naive_init(&w->prev, &full, w->regions, 0);
	naive_init(&w->empty, &full, w->regions, 0);
	tally.maps++;
	return memory_create_all(w) ? w : NULL;
}

/* ---- One transaction ---------------------------------------------------- */

static int add_one(struct mslot_txn *txn, const struct mslot_edit *e, bool by_verb)
{
	return by_verb ? edit_by_verb(txn, e) : mslot_txn_add(txn, e);
}

/* Hand w->txn to the library; edits beyond max_edits are refused and forgotten. */
static bool collect(struct world *w, struct mslot_txn **out)
{
	uint32_t max = w->naive.opt.max_edits;
	int rc = mslot_txn_begin(w->map, out);

	if (rc)
		return twin_fail("mslot_txn_begin: %d", rc);
	for (size_t i = 0; i < w->txn->n; i++) {
		const struct mslot_edit *e = &w->txn->edits[i];
		int want = i < max ? (int)i : -E2BIG;

		rc = add_one(*out, e, rng_chance(&w->rng, 50));
		if (rc != want) {
			mslot_txn_abort(*out);
			return twin_fail("adding edit %zu: %d, not %d", i, rc, want);
		}
		tally.txn_full += rc == -E2BIG;
		if (rc >= 0 && e->kind <= MSLOT_EDIT_MERGE)
			tally.by_edit_kind[e->kind]++;
	}
	if (w->txn->n > max)
		w->txn->n = max;
	tally.edits += w->txn->n;
	return true;
}

static bool cmp_result(const struct world *w, int rc, const struct mslot_commit_result *result,
		       const struct naive_outcome *want, uint64_t generation)
{
	if (rc != want->error)
		return twin_fail("commit: library %d (%s, edit %d), naive %d (edit %d)", rc,
				 result->reason, (int)result->failed_edit, want->error,
				 (int)want->failed_edit);
	if (result->failed_edit != want->failed_edit)
		return twin_fail("commit: %d (%s) blames edit %d, naive edit %d", rc,
				 result->reason, (int)result->failed_edit, (int)want->failed_edit);
	if (result->generation != generation)
		return twin_fail("commit: generation %" PRIu64 ", naive %" PRIu64 " (was %" PRIu64
				 ")",
				 result->generation, generation, w->prev.generation);
	if (!result->reason || (rc == 0) != (result->reason[0] == '\0'))
		return twin_fail("commit: %d with the reason \"%s\"", rc, result->reason);
	return true;
}

static void count_outcome(const struct naive_outcome *out)
{
	tally.changed += out->changed;
	tally.unchanged += out->error == 0 && !out->changed;
	tally.refused_einval += out->error == -EINVAL;
	tally.refused_e2big += out->error == -E2BIG;
	tally.refused_eexist += out->error == -EEXIST;
	tally.refused_eagain += out->error == -EAGAIN;
}

static void choose_commit(struct world *w, struct mslot_commit_options *opt, bool plain)
{
	memset(opt, 0, sizeof(*opt));
	if (plain)
		return;
	if (rng_chance(&w->rng, 8))
		opt->flags |= MSLOT_COMMIT_DRY_RUN;
	if (rng_chance(&w->rng, 10)) {
		opt->flags |= MSLOT_COMMIT_IF_GENERATION;
		opt->generation = w->naive.generation - rng_chance(&w->rng, 30);
	}
	if (rng_chance(&w->rng, 1))
		/* Known to nobody; the one below waits, which a commit in a section may not. */
		opt->flags |= (MSLOT_COMMIT_EXCLUSIVE << 1) << rng_below(&w->rng, 28);
}

static void arm_veto(struct world *w, struct naive_outcome *want)
{
	static const int answers[] = {-EIO, -ENOMEM, -EINVAL, 7};
	const struct watcher *by;

	w->veto_by = NULL;
	if (w->nwatchers == 0 || !rng_chance(&w->rng, 15))
		return;
	by = w->watchers[rng_below(&w->rng, w->nwatchers)];
	if (!by->ops.prepare)
		return;
	w->veto_by = by;
	w->veto_errno = answers[rng_below(&w->rng, 4)];
	*want = (struct naive_outcome){
	    .error = w->veto_errno < 0 ? w->veto_errno : -ECANCELED,
	    .failed_edit = MSLOT_NO_EDIT,
	};
	tally.vetoes++;
}

/* Set *done when the transaction was ended by success. */
static bool commit_once(struct world *w, struct mslot_txn *txn, bool plain, bool *done)
{
	struct mslot_commit_result result = {0};
	struct mslot_commit_options opt;
	struct naive_outcome want;
	bool dry, asked;
	int rc;

	choose_commit(w, &opt, plain);
	dry = opt.flags & MSLOT_COMMIT_DRY_RUN;
	want = naive_commit(&w->naive, w->txn->edits, w->txn->n, &opt, &w->next);
	asked = want.changed && !dry;
	w->veto_by = NULL;
	if (asked && !plain)
		arm_veto(w, &want);
	w->diff_before = asked ? &w->naive : NULL;
	w->diff_after = &w->next;
	rc = mslot_txn_commit(txn, opt.flags || rng_chance(&w->rng, 50) ? &opt : NULL, &result);
	*done = rc == 0 && !dry;
	w->diff_before = NULL;
	count_outcome(&want);
	tally.dry_runs += dry;
	if (!cmp_result(w, rc, &result, &want, w->naive.generation + (want.changed && !dry)))
		return false;
	if (!watch_check_events(w, asked))
		return false;
	if (want.changed && !dry)
		naive_copy(&w->naive, &w->next);
	return true;
}

static bool commit_until_done(struct world *w, struct mslot_txn *txn)
{
	bool done = false, ok = true;

	for (unsigned int round = 0; ok && !done && round < 3; round++) {
		if (round && rng_chance(&w->rng, 40))
			break;
		ok = commit_once(w, txn, round == 2, &done);
	}
	if (!done)
		mslot_txn_abort(txn);
	return ok;
}

/* ---- After a transaction ------------------------------------------------ */

/* All borders of the slots of `a` that `b` does not have just so. */
static bool cmp_changed(const struct mslot_snapshot *snap, const struct naive_map *now,
			const struct naive_map *a, const struct naive_map *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct naive_slot *slot = &a->slots[i];
		const struct naive_slot *twin = naive_find_id(b, slot->key);

		if (twin && naive_slot_equal(slot, twin))
			continue;
		if (!cmp_borders(snap, now, slot->key.space, slot->gpa, slot->len))
			return false;
	}
	return true;
}

static bool check_now(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	const char *why = NULL;
	bool ok;
	int rc;

	ok = cmp_snapshot(&w->rng, snap, &w->naive) &&
	     cmp_changed(snap, &w->naive, &w->prev, &w->naive) &&
	     cmp_changed(snap, &w->naive, &w->naive, &w->prev);
	mslot_leave(snap);
	if (!ok)
		return false;
	rc = mslot_check_map(w->map, &why);
	if (rc)
		return twin_fail("mslot_check_map: %d (%s)", rc, why ? why : "");
	return true;
}

/* Set the transaction aside, or take back the one that was: the map has moved on since. */
static struct mslot_txn *swap_later(struct world *w, struct mslot_txn *txn)
{
	struct twin_txn *mine = w->txn;
	struct mslot_txn *other = w->pending;

	if (!other && !rng_chance(&w->rng, 3))
		return txn;
	w->txn = w->later;
	w->later = mine;
	w->pending = txn;
	return other;
}

/* A reader that entered before the commit sees the old map after it. */
static bool commit_under_reader(struct world *w, struct mslot_txn *txn)
{
	const struct mslot_snapshot *snap;
	bool ok;

	if (!rng_chance(&w->rng, 2))
		return commit_until_done(w, txn);
	/* Inside a section a commit fails at the W5 limit: start far from it. */
	if (!memory_settle(w)) {
		mslot_txn_abort(txn);
		return false;
	}
	snap = mslot_enter(w->map);
	ok = commit_until_done(w, txn) && cmp_snapshot(&w->rng, snap, &w->prev) &&
	     cmp_changed(snap, &w->prev, &w->naive, &w->prev);
	mslot_leave(snap);
	return ok;
}

bool world_step(struct world *w)
{
	struct mslot_txn *txn;

	naive_copy(&w->prev, &w->naive);
	gen_txn(&w->rng, &w->naive, &w->shape, w->txn);
	for (unsigned int i = 0; i < 3 && rng_chance(&w->rng, 22); i++)
		gen_spoil(&w->rng, &w->naive, w->txn);
	if (!collect(w, &txn))
		return false;
	txn = swap_later(w, txn);
	if (txn && !commit_under_reader(w, txn))
		return false;
	if (!check_now(w) || !hold_maybe(w) || !watch_maybe(w) || !memory_maybe(w))
		return false;
	return rng_below(&w->rng, 400) != 0 || memory_settle(w);
}

/* ---- The end ------------------------------------------------------------ */

bool world_destroy(struct world *w)
{
	bool busy, ok = true;
	int rc;

	mslot_txn_abort(w->pending);
	w->pending = NULL;
	busy = w->nholds || w->nwatchers;
	rc = busy ? mslot_map_destroy(w->map) : -EBUSY;
	if (rc != -EBUSY)
		ok = twin_fail("mslot_map_destroy with holds or listeners: %d", rc);
	while (w->nholds)
		hold_drop(w, 0);
	watch_remove_all(w);
	ok = ok && check_now(w) && memory_settle(w);
	memory_put_half(w);
	rc = ok ? mslot_map_destroy(w->map) : 0;
	if (rc)
		ok = twin_fail("mslot_map_destroy: %d", rc);
	ok = ok && memory_check_end(w);
	naive_fini(&w->naive);
	naive_fini(&w->next);
	naive_fini(&w->prev);
	free(w->txn < w->later ? w->txn : w->later);
	free(w);
	return ok;
}

void world_report(FILE *f, const struct world *w)
{
	const struct mslot_map_options *opt = &w->naive.opt;

	fprintf(
	    f,
	    "options: page_shift %u nspaces %u max_user_slots %u max_edits %u max_slots %" PRIu64
	    " max_pages %" PRIu64 " gpa_limit %#" PRIx64 " hva_limit %#" PRIx64 "\n",
	    opt->page_shift, opt->nspaces, opt->max_user_slots, opt->max_edits, opt->max_slots,
	    opt->max_pages, opt->gpa_limit, opt->hva_limit);
	for (size_t i = 0; i < w->nregions; i++)
		fprintf(f, "  region %zu: hva %#" PRIx64 " len %#" PRIx64 "%s\n", i,
			w->regions[i].hva, w->regions[i].len, w->regions[i].usable ? "" : " (put)");
	fprintf(f, "before the transaction, ");
	twin_print_map(f, &w->prev);
	fprintf(f, "transaction:\n");
	twin_print_txn(f, &w->naive, w->txn);
	if (w->pending)
		fprintf(f, "another transaction is set aside\n");
}
