/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_parked.c - software MMUs where two meet: a thread is parked in a window, and another one
 * does what must not harm there; and forks.
 */
#include "mmu_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/perturb.h"
#include "base/sanitize.h"
#include "map/reclaim.h"
#include "mmu/mmu.h"

#ifdef MSLOT_TSAN
#define WITHOUT_TSAN __attribute__((unused))
#else
#define WITHOUT_TSAN
#endif

#define CHILD_TIMEOUT_S 20

/* A thread that stops at points of its own, each once, in this order. */
struct parked {
	enum perturb_point at[4]; /* PERTURB_POINTS: none any more */
	unsigned int next;
	sem_t here, go_on;
	pthread_t thread;
	struct mmu_fixture *f;
	int err;
	_Atomic bool over; /* the thread has nothing more to do; not all say so */
};

static _Thread_local struct parked *self;

static void park(enum perturb_point point)
{
	if (!self || point != self->at[self->next])
		return;
	self->next++;
	sem_post(&self->here);
	sem_wait(&self->go_on);
}

static void parked_init(struct parked *p)
{
	assert_int_equal(sem_init(&p->here, 0, 0), 0);
	assert_int_equal(sem_init(&p->go_on, 0, 0), 0);
}

static void parked_fini(struct parked *p)
{
	sem_destroy(&p->here);
	sem_destroy(&p->go_on);
}

static void parked_start(struct parked *p, struct mmu_fixture *f, void *(*run)(void *))
{
	p->f = f;
	parked_init(p);
	assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
}

static void parked_join(struct parked *p)
{
	assert_int_equal(pthread_join(p->thread, NULL), 0);
	parked_fini(p);
}

static void setup_parks(struct mmu_fixture *f)
{
	mmu_setup(f, 1);
	atomic_store(&perturb_hook, park);
}

static void teardown_parks(struct mmu_fixture *f)
{
	atomic_store(&perturb_hook, NULL);
	mmu_teardown(f);
}

static void *drop_first(void *arg)
{
	self = arg;
	drop_slot(self->f->map, 1);
	self = NULL;
	return NULL;
}

/* ---- A chunk that dies ----------------------------------------------------------- */

#define OTHER_GFN (8 * LARGE)

/*
 * A page is zapped, and means another frame, while the chunk of its old frame dies: the new leaf
 * is none of that chunk's, and goes on being in its reverse map.
 */
static void a_page_changes_while_its_chunk_dies(void **state)
{
	struct parked killer = {.at = {PERTURB_CHUNK_DIES, PERTURB_POINTS}};
	struct mmu_fixture f;

	(void)state;
	if (mmu_form == MSLOT_MMU_SLOT_BITMAPS)
		return;
	setup_parks(&f);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	put_slot(f.map, def_of(2, OTHER_GFN, 8, f.region, 64));
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 5, 3, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	parked_start(&killer, &f, drop_first);
	sem_wait(&killer.here);
	mmu_enter(&f);
	/* As a fault that has not seen the commit would. */
	assert_non_null(frames_make(&f.mmu->frames[0], 3, 1));
	assert_int_equal(mslot_zap_page(f.vcpu, f.shadow, PAGES(5)), 1);
	/* The guest's table has changed. */
	assert_int_equal(shadow_at(&f, 5, OTHER_GFN, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	sem_post(&killer.go_on);
	parked_join(&killer);
	assert_int_equal(found_at(&f, f.shadow, 5), BIG_HVA + PAGES(64));
	teardown_parks(&f);
}

/* ---- A name that comes back -------------------------------------------------------- */

static void *fault_first(void *arg)
{
	self = arg;
	mmu_enter(self->f);
	self->err = shadow_at(self->f, 5, 3, 1, MSLOT_READ, NULL);
	mmu_leave(self->f);
	self = NULL;
	return NULL;
}

/*
 * A fault claims its slot for its table; a commit that deletes the slot forgets the claim, and
 * another one creates the slot as it was: the fault may not rely on what was forgotten.
 */
static void a_claim_is_forgotten(void **state)
{
	struct parked late = {.at = {PERTURB_FAULT_WALKED, PERTURB_SLOT_CLAIMED, PERTURB_POINTS}};
	struct parked commit = {
	    .at = {PERTURB_POINTER_PUBLISHED, PERTURB_HEAD_LOCKED, PERTURB_POINTS}};
	struct mmu_fixture f;

	(void)state;
	if (mmu_form == MSLOT_MMU_REVERSE_MAPS)
		return;
	setup_parks(&f);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	fault_range(&f, 0, 8, MSLOT_READ);
	parked_start(&late, &f, fault_first);
	sem_wait(&late.here);
	/* The commit has passed the shadow root, the newer one, and is at the direct one. */
	parked_start(&commit, &f, drop_first);
	sem_wait(&commit.here);
	sem_post(&commit.go_on);
	sem_wait(&commit.here);
	sem_post(&late.go_on);
	sem_wait(&late.here);
	sem_post(&commit.go_on);
	parked_join(&commit);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	sem_post(&late.go_on);
	parked_join(&late);
	assert_int_equal(late.err, 0);
	mmu_assert_right(&f);
	drop_slot(f.map, 1);
	assert_int_equal(found_at(&f, f.shadow, 5), 0);
	teardown_parks(&f);
}

/* ---- A leaf that is split ------------------------------------------------------------ */

#define SHADOW_PAGE (4 * LARGE)

static void *zap_in_large_leaf(void *arg)
{
	self = arg;
	self->err = mslot_zap_page(NULL, self->f->shadow, PAGES(SHADOW_PAGE + 5));
	self = NULL;
	return NULL;
}

/* A zap of a page sees a large leaf, which a commit splits: then it is the small one that goes. */
static void a_page_goes_although_its_leaf_is_split(void **state)
{
	struct parked zap = {.at = {PERTURB_LEAF_SEEN, PERTURB_POINTS}};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	atomic_store(&perturb_hook, park);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, SHADOW_PAGE, 0, 2, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	parked_start(&zap, &f, zap_in_large_leaf);
	sem_wait(&zap.here);
	split_slot(f.map, 1, 300, 2);
	drop_slot(f.map, 2);
	assert_int_equal(mmu_stats(&f).splits, 1);
	sem_post(&zap.go_on);
	parked_join(&zap);
	assert_int_equal(zap.err, 1);
	assert_int_equal(found_at(&f, f.shadow, SHADOW_PAGE + 5), 0);
	assert_int_equal(found_at(&f, f.shadow, SHADOW_PAGE + 6), BIG_HVA + PAGES(6));
	teardown_parks(&f);
}

/* ---- Fork -------------------------------------------------------------------------- */

static int child_status(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/*
 * What a child does with its copy; returns the line of what is not as it should be, or 0. `dying`:
 * tables below those that are retired.
 */
static int use_in_child(struct mmu_fixture *f, uint64_t dying)
{
	const char *why;

	if (mslot_vcpu_enter(f->vcpu, &f->snap))
		return __LINE__;
	if (fault_at(f, 3, MSLOT_READ, NULL) || shadow_at(f, 5, 3, 1, MSLOT_READ, NULL))
		return __LINE__;
	mslot_vcpu_leave(f->vcpu);
	if (mslot_check_mmu(f->mmu, &why))
		return __LINE__;
	if (!mmu_form && mmu_stats(f).mapped != 2)
		return __LINE__;
	if (mmu_stats(f).tables - 6 > dying)
		return __LINE__;
	drop_slot(f->map, 1);
	if (mslot_vcpu_root_set(f->vcpu, NULL) || mslot_root_destroy(f->direct) ||
	    mslot_root_destroy(f->shadow) || mslot_mmu_destroy(f->mmu))
		return __LINE__;
	return 0;
}

static void fork_and_use(struct mmu_fixture *f, uint64_t dying)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(CHILD_TIMEOUT_S);
		atomic_store(&perturb_hook, NULL);
		_exit(use_in_child(f, dying));
	}
	assert_int_equal(child_status(pid), 0);
}

static WITHOUT_TSAN void a_child_begins_with_empty_roots(void **state)
{
	struct mmu_fixture f;

	(void)state;
	setup_parks(&f);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	fault_range(&f, 0, 8, MSLOT_READ);
	fork_and_use(&f, 0);
	teardown_parks(&f);
}

static void *zap_seventh(void *arg)
{
	self = arg;
	self->err = mslot_zap_page(NULL, self->f->shadow, PAGES(7));
	self = NULL;
	return NULL;
}

/* The list that a head names until its lock is given back may be freed already. */
static WITHOUT_TSAN void a_fork_while_a_leaf_is_taken(void **state)
{
	struct parked taker = {.at = {PERTURB_LEAF_TAKEN, PERTURB_POINTS}};
	struct mmu_fixture f;

	(void)state;
	setup_parks(&f);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	fault_range(&f, 3, 1, MSLOT_READ);
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 7, 3, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	mmu_before_fork(&f);
	parked_start(&taker, &f, zap_seventh);
	sem_wait(&taker.here);
	fork_and_use(&f, 0);
	sem_post(&taker.go_on);
	parked_join(&taker);
	assert_int_equal(taker.err, 1);
	teardown_parks(&f);
}

/* Another frame is faulted in by another vCPU: in a top that has taken the place of the old one. */
static void fault_beside(struct mmu_fixture *f)
{
	const struct mslot_snapshot *snap;
	struct mslot_fault fault = {
	    .addr = PAGES(5), .walk = {.gpa = PAGES(4), .level = 1}, .access = MSLOT_READ};
	struct mslot_vcpu *vcpu = NULL;

	assert_int_equal(mslot_vcpu_create(f->map, NULL, &vcpu), 0);
	assert_int_equal(mslot_vcpu_enter(vcpu, &snap), 0);
	assert_int_equal(mslot_fault(vcpu, f->shadow, &fault, NULL), 0);
	mslot_vcpu_leave(vcpu);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
}

/* A retired table whose guard a dead thread has is taken apart all the same. */
static void a_fork_while_a_dead_table_is_locked(void **state)
{
	struct parked late = {.at = {PERTURB_FAULT_LOCKED, PERTURB_POINTS}};
	struct mmu_fixture f;

	(void)state;
	setup_parks(&f);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 6, 4, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	parked_start(&late, &f, fault_first);
	sem_wait(&late.here);
	mslot_zap_all(f.mmu);
	fault_beside(&f);
	fork_and_use(&f, 3);
	sem_post(&late.go_on);
	parked_join(&late);
	teardown_parks(&f);
}

/* ---- The page budget ---------------------------------------------------------------- */

/* Each has a table of its own. */
#define BUDGET_SLOTS (2u * MIN_TABLES)

static _Atomic(struct parked *) retirer;

/* Whoever retires a table below another one first: the reclaimer. */
static void park_retirer(enum perturb_point point)
{
	struct parked *p;

	if (point != PERTURB_TABLE_QUEUE_LOCKED || !(p = atomic_exchange(&retirer, NULL)))
		return;
	sem_post(&p->here);
	sem_wait(&p->go_on);
}

static void *fault_far_apart(void *arg)
{
	struct parked *p = arg;
	uint32_t i;

	mmu_enter(p->f);
	for (i = 0; i < BUDGET_SLOTS && p->err == 0; i++) {
		p->err = fault_at(p->f, LARGE * (i + 1), MSLOT_READ, NULL);
		if (p->err == 0 && mmu_stats(p->f).tables > MIN_TABLES)
			p->err = 1;
	}
	mmu_leave(p->f);
	atomic_store(&p->over, true);
	return NULL;
}

/* A fault that is over the budget waits for whoever is at the queue; it does not go on. */
static void a_fault_keeps_the_budget_while_tables_are_retired(void **state)
{
	struct parked retired = {.err = 0}, faulter = {.at = {PERTURB_POINTS}};
	struct mmu_fixture f;
	uint32_t i;

	(void)state;
	setup_parks(&f);
	mslot_mmu_limit_set(f.mmu, 1);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	for (i = 0; i < BUDGET_SLOTS; i++)
		put_slot(f.map, def_of(2 + i, LARGE * (i + 1), 1, f.region, LARGE * (i + 1)));
	fault_range(&f, 0, 1, MSLOT_READ);
	parked_init(&retired);
	atomic_store(&retirer, &retired);
	atomic_store(&perturb_hook, park_retirer);
	mslot_zap_all(f.mmu);
	/* In a new top; the old one goes. */
	fault_range(&f, 0, 1, MSLOT_READ);
	reclaimer_kick(f.map, true);
	sem_wait(&retired.here);
	parked_start(&faulter, &f, fault_far_apart);
	while (mmu_stats(&f).tables <= MIN_TABLES && !atomic_load(&faulter.over))
		usleep(1000);
	/* It waits now; or it passed the queue by, and has the time to show it. */
	for (i = 0; i < 20 && !atomic_load(&faulter.over); i++)
		usleep(1000);
	sem_post(&retired.go_on);
	parked_join(&faulter);
	assert_int_equal(faulter.err, 0);
	parked_fini(&retired);
	teardown_parks(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_page_changes_while_its_chunk_dies),
	    cmocka_unit_test(a_claim_is_forgotten),
	    cmocka_unit_test(a_page_goes_although_its_leaf_is_split),
#ifndef MSLOT_TSAN
	    /* ThreadSanitizer allows no fork() beside other threads; unit/mmu_fork says so, too. */
	    cmocka_unit_test(a_child_begins_with_empty_roots),
	    cmocka_unit_test(a_fork_while_a_leaf_is_taken),
#endif
	    cmocka_unit_test(a_fork_while_a_dead_table_is_locked),
	    cmocka_unit_test(a_fault_keeps_the_budget_while_tables_are_retired),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
