/* SPDX-License-Identifier: MIT */
/*
 * The oracle of the stress programs itself: a process for each kind of failure, in which it
 * is planted, must end with the failure and the words that name it; without one, it must not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map/reclaim.h"
#include "stress/lent.h"
#include "stress/mmu_world.h"
#include "stress/world.h"

static struct world world;

static void nothing(void)
{
	struct stress_thread self = {0};
	struct stress_section sec;

	CHECK_OK(world_advance(&world, NULL));
	stress_enter(&sec, world.map);
	CHECK(world_check(&world, sec.snap) == 1, "version");
	stress_leave(&sec, &self);
	CHECK(self.ages[0] == 1, "not counted as a snapshot of age 0");
	world_fini(&world);
}

/* A section that is open to the oracle and not to the library. */
static void retired_two_grace_periods_ago(void)
{
	struct stress_thread self = {0};
	struct stress_section sec;
	int i;

	stress_enter(&sec, world.map);
	mslot_leave(sec.snap);
	for (i = 0; i < 2; i++) {
		CHECK_OK(world_advance(&world, NULL));
		reclaim_synchronize(world.map);
	}
	stress_leave(&sec, &self);
}

/* The same where the library's counters have nothing to say: nothing was committed. */
static void grace_period_in_a_section(void)
{
	struct stress_thread self = {0};
	struct stress_section sec;

	stress_enter(&sec, world.map);
	mslot_leave(sec.snap);
	reclaim_synchronize(world.map);
	stress_leave(&sec, &self);
}

static void older_than_told(void)
{
	struct stress_section sec;

	stress_committed(stress_newest() + 1);
	stress_enter(&sec, world.map);
}

static void look(void)
{
	struct stress_section sec;

	stress_enter(&sec, world.map);
	world_check(&world, sec.snap);
}

static void hole(void)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	CHECK(mslot_txn_delete(txn, (struct mslot_key){.space = 1, .id = 3}) >= 0, "delete");
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	look();
}

/* Space 0 shows version 4, in which ids are as in version 0; space 1 still shows that. */
static void mixed_map(void)
{
	struct world half = {.nspaces = 1, .nslots = world.nslots, .region = world.region};
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	/* A version of one space takes half the room of one of two. */
	world_edit(&half, txn, (uint64_t)world.nslots * world.nspaces);
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	look();
}

/* A slot's reference dropped behind the map's back; `wiped`: the library's count is right. */
static void reach_released(bool wiped)
{
	struct lent *lent = lent_create();
	struct mslot_slot_def def = {
	    .key = {.id = 8},
	    .gpa = UINT64_C(1) << 30,
	    .len_bytes = LENT_PAGE,
	    .region = lent->region,
	};
	const struct mslot_slot *slot;
	struct stress_section sec;
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	stress_enter(&sec, world.map);
	slot = mslot_find(sec.snap, 0, def.gpa);
	CHECK(slot && lent_touch(slot) == 1, "a living region is not in use");
	if (wiped)
		memset(lent->hva, 0, LENT_PAGE);
	else
		atomic_store(&lent->living, 0);
	lent_touch(slot);
}

static void region_released(void)
{
	reach_released(false);
}

static void memory_wiped(void)
{
	reach_released(true);
}

/* The creator's reference and the map's: put twice, it goes while the creator shares it. */
static void released_too_early(void)
{
	struct lent *lent = lent_create();

	mslot_region_put(lent->region);
	CHECK_OK(world_advance(&world, NULL));
	(void)reclaimer_flush(UINT64_MAX);
}

static void released_twice(void)
{
	struct lent *lent = lent_create();
	struct mslot_region_options opt;

	mslot_region_options_get(lent->region, &opt);
	lent_put(lent);
	(void)reclaimer_flush(UINT64_MAX);
	opt.release(opt.ctx, &opt);
}

/* ---- Translations ---- */

static struct mmu_world translated;

/* Nobody walks here. */
void mmu_walked(union mmu_guest_unit unit)
{
	(void)unit;
}

/* Place 0 shows page 0. */
static struct mmu_seen seen_page(uint32_t page)
{
	mmu_world_init(&translated);
	return (struct mmu_seen){.done = atomic_load(&translated.done), .word = mmu_identity(page)};
}

static void page_that_is_shown(void)
{
	struct mmu_seen seen = seen_page(0);

	CHECK(mmu_world_judge(&translated, &seen), "too long ago");
}

static void page_that_is_not_shown(void)
{
	struct mmu_seen seen = seen_page(1);

	mmu_world_judge(&translated, &seen);
}

static void no_slot_where_there_is_one(void)
{
	struct mmu_seen seen = seen_page(0);

	seen.err = -ENOENT;
	mmu_world_judge(&translated, &seen);
}

static void store_to_what_is_away(void)
{
	struct stress_thread self = {0};
	uint64_t *word;
	uint32_t page;
	int i;

	mmu_world_init(&translated);
	rng_init(&self.rng, stress_seed());
	for (i = 0; i < 100; i++)
		mmu_world_edit(&translated, &self, MMU_ANY_EDIT);
	for (page = 0; page < MMU_REGIONS * MMU_REGION_PAGES; page++) {
		word = (uint64_t *)(void *)(translated.host + page * MMU_PAGE);
		if (!translated.none[page] && word[0] == MMU_POISON)
			word[1] = page;
	}
	/* Some of it comes back. */
	for (i = 0; i < 1000; i++)
		mmu_world_edit(&translated, &self, MMU_ANY_EDIT);
}

static void leaf_of_what_is_gone(void)
{
	const struct mslot_snapshot *snap;
	struct mslot_vcpu *vcpu;
	uint64_t word;

	mmu_world_init(&translated);
	CHECK_OK(mslot_vcpu_create(translated.map, NULL, &vcpu));
	CHECK_OK(mslot_vcpu_root_set(vcpu, translated.direct[0][0]));
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	CHECK_OK(mslot_vcpu_load64(vcpu, mmu_place_gpa(5), &word));
	mslot_vcpu_leave(vcpu);
	mmu_world_compare(&translated);
	atomic_store(&translated.shown[atomic_load(&translated.done) % MMU_GENERATIONS][5], 0);
	mmu_world_compare(&translated);
}

static const struct {
	void (*plant)(void);
	const char *name, *words; /* NULL: no failure */
} cases[] = {
    {nothing, "nothing", NULL},
    {retired_two_grace_periods_ago, "retired two grace periods ago", "said to be gone (R3)"},
    {grace_period_in_a_section, "a grace period in a section", "over, entered before"},
    {older_than_told, "older than told", "returned (R2)"},
    {hole, "a hole", "a hole at space 1 place 3 (R1)"},
    {mixed_map, "a mixed map", "mixed (R1)"},
    {region_released, "a released region", "reached after its release (L2)"},
    {memory_wiped, "a released region's memory", "memory of life 0, not 1, reached (L2)"},
    {released_too_early, "released too early", "before its creator put it (L2)"},
    {released_twice, "released twice", "released twice (L2)"},
    {page_that_is_shown, "a page that is shown", NULL},
    {page_that_is_not_shown, "a page that is not shown", "explains (T1)"},
    {no_slot_where_there_is_one, "no slot where there is one", "explains (T1)"},
    {store_to_what_is_away, "a store to what is away", "stored to while it was away"},
    {leaf_of_what_is_gone, "a leaf of what is gone", "is translated and shows nothing (T1)"},
};

struct trial {
	pid_t pid;
	int out; /* what it says */
};

/* Before anything of the library runs in this process: it has one thread. */
static struct trial start(size_t which)
{
	struct trial trial;
	int ends[2];

	CHECK_OK(pipe(ends));
	fflush(NULL);
	trial.pid = fork();
	trial.out = ends[0];
	CHECK(trial.pid >= 0, "fork");
	if (trial.pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		stress_begin(cases[which].name);
		world_init(&world, NULL, 2, 4);
		cases[which].plant();
		_exit(0);
	}
	close(ends[1]);
	return trial;
}

static bool notices(size_t which, struct trial trial)
{
	char text[1024];
	size_t len = 0;
	ssize_t got;
	int status, want = cases[which].words ? 1 : 0;

	while (len < sizeof(text) - 1 &&
	       ((got = read(trial.out, text + len, sizeof(text) - 1 - len)) > 0 ||
		(got < 0 && errno == EINTR)))
		len += got > 0 ? (size_t)got : 0;
	text[len] = 0;
	close(trial.out);
	CHECK(waitpid(trial.pid, &status, 0) == trial.pid, "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == want &&
	    (want ? strstr(text, cases[which].words) != NULL : len == 0))
		return true;
	fprintf(stderr, "%s: status %#x, not the words '%s' but:\n%s\n", cases[which].name,
		(unsigned int)status, want ? cases[which].words : "", text);
	return false;
}

int main(void)
{
	struct trial trials[sizeof(cases) / sizeof(cases[0])];
	size_t i, n = sizeof(cases) / sizeof(cases[0]), failed = 0;

	for (i = 0; i < n; i++)
		trials[i] = start(i);
	for (i = 0; i < n; i++) {
		bool ok = notices(i, trials[i]);

		printf("  %s: %s\n", cases[i].name, ok ? "noticed" : "FAILED");
		failed += !ok;
	}
	printf("%zu of %zu as they should\n", n - failed, n);
	return failed != 0;
}
