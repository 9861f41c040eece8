/* SPDX-License-Identifier: MIT */
/*
 * test_vcpu_exclusive.c - commits with MSLOT_COMMIT_EXCLUSIVE: whom they wait for, for how
 * long, whom they keep out, and where they are refused.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/mslot.h>

#include "base/perturb.h"
#include "map/snapshot.h"

#define MS INT64_C(1000000)
#define NVCPUS 3u

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_vcpu *vcpu[NVCPUS];
	atomic_uint kicks;
};

static void count_kick(void *ctx)
{
	atomic_fetch_add((atomic_uint *)ctx, 1);
}

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_vcpu_options opt = {.kick = count_kick, .ctx = &f.kicks};

	f = (struct fixture){.map = make_map(NULL), .region = make_region(HVA, REGION_PAGES)};
	put_slot(f.map, def_of(1, 0, 16, f.region, 0));
	for (unsigned int i = 0; i < NVCPUS; i++)
		assert_int_equal(mslot_vcpu_create(f.map, &opt, &f.vcpu[i]), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	perturb_hook = NULL;
	for (unsigned int i = 0; i < NVCPUS; i++)
		assert_int_equal(mslot_vcpu_destroy(f->vcpu[i]), 0);
	mslot_region_put(f->region);
	assert_int_equal(mslot_check_map(f->map, NULL), 0);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	return 0;
}

/* Create or delete slot 2 with nobody inside. Ends the transaction. */
static int toggle(struct fixture *f, bool create, int64_t timeout_ns, uint32_t flags,
		  struct mslot_commit_result *result)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_EXCLUSIVE | flags,
					   .timeout_ns = timeout_ns};
	struct mslot_slot_def def = def_of(2, 32, 1, f->region, 0);
	struct mslot_txn *txn = begin(f->map);
	int err;

	assert_int_equal(create ? mslot_txn_create(txn, &def) : mslot_txn_delete(txn, def.key), 0);
	err = mslot_txn_commit(txn, &opt, result);
	if (err || flags & MSLOT_COMMIT_DRY_RUN)
		mslot_txn_abort(txn);
	return err;
}

/* ---- A thread in a vCPU's section ------------------------------------------ */

struct runner {
	struct mslot_vcpu *vcpu;
	struct mslot_map *map; /* instead: a plain section */
	pthread_t thread;
	pthread_barrier_t step; /* inside; may go on */
	bool polls;
	uint64_t polled; /* the generation that the poll showed */
	_Atomic bool left;
};

static void *runner_main(void *arg)
{
	struct runner *r = arg;
	const struct mslot_snapshot *snap;

	if (r->map)
		snap = mslot_enter(r->map);
	else
		assert_int_equal(mslot_vcpu_enter(r->vcpu, &snap), 0);
	pthread_barrier_wait(&r->step);
	pthread_barrier_wait(&r->step);
	atomic_store(&r->left, true);
	if (r->map) {
		mslot_leave(snap);
		return NULL;
	}
	if (r->polls) {
		assert_int_equal(mslot_vcpu_poll(r->vcpu, &snap), 0);
		r->polled = mslot_snapshot_generation(snap);
	}
	mslot_vcpu_leave(r->vcpu);
	return NULL;
}

static void runner_start(struct runner *r, struct mslot_vcpu *vcpu, bool polls)
{
	*r = (struct runner){.vcpu = vcpu, .polls = polls};
	assert_int_equal(pthread_barrier_init(&r->step, NULL, 2), 0);
	assert_int_equal(pthread_create(&r->thread, NULL, runner_main, r), 0);
	pthread_barrier_wait(&r->step);
}

static void runner_join(struct runner *r)
{
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	pthread_barrier_destroy(&r->step);
}

/* ---- A thread that commits -------------------------------------------------- */

struct committer {
	struct fixture *f;
	pthread_t thread;
	int64_t timeout_ns;
	struct runner *runner; /* all of NVCPUS */
	int err;
	bool overtaken; /* returned while a runner was inside */
};

static void *committer_main(void *arg)
{
	struct committer *c = arg;

	c->err = toggle(c->f, true, c->timeout_ns, 0, NULL);
	for (unsigned int i = 0; i < NVCPUS && c->runner; i++)
		c->overtaken |= !atomic_load(&c->runner[i].left);
	return NULL;
}

static struct {
	pthread_barrier_t there, on;
	enum perturb_point point;
	atomic_uint passes;
} stop;

/* The first thread at the point stays there until it may go on. */
static void hook_stop(enum perturb_point point)
{
	if (point != stop.point || atomic_fetch_add(&stop.passes, 1) > 0)
		return;
	pthread_barrier_wait(&stop.there);
	pthread_barrier_wait(&stop.on);
}

static void stop_at(enum perturb_point point)
{
	assert_int_equal(pthread_barrier_init(&stop.there, NULL, 2), 0);
	assert_int_equal(pthread_barrier_init(&stop.on, NULL, 2), 0);
	stop.point = point;
	atomic_store(&stop.passes, 0);
	perturb_hook = hook_stop;
}

static void stop_over(void)
{
	pthread_barrier_wait(&stop.on);
	perturb_hook = NULL;
}

/* ---- Tests ------------------------------------------------------------------ */

static void nobody_inside_is_no_wait(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	assert_int_equal(toggle(f, true, 0, 0, NULL), 0);
	assert_int_equal(generation_of(f->map), 2);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_snapshot_generation(snap), 2);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(toggle(f, false, -1, 0, NULL), 0);
	assert_int_equal(atomic_load(&f->kicks), 0);
}

static void a_map_without_vcpus_has_nobody_to_exclude(void **state)
{
	struct fixture f = {.map = make_map(NULL), .region = make_region(HVA, REGION_PAGES)};

	(void)state;
	assert_int_equal(toggle(&f, true, 0, 0, NULL), 0);
	assert_int_equal(toggle(&f, false, -1, 0, NULL), 0);
	mslot_region_put(f.region);
	assert_int_equal(mslot_map_destroy(f.map), 0);
}

static void a_timeout_changes_nothing(void **state)
{
	static const int64_t timeouts[] = {0, 1, 20 * MS};
	struct fixture *f = *state;
	struct mslot_commit_result result;
	const struct mslot_snapshot *snap;
	struct runner r;

	runner_start(&r, f->vcpu[1], false);
	for (size_t i = 0; i < sizeof(timeouts) / sizeof(*timeouts); i++) {
		assert_int_equal(toggle(f, true, timeouts[i], 0, &result), -ETIMEDOUT);
		assert_int_equal(result.generation, 1);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		assert_string_equal(result.reason, "a vCPU did not leave in time");
		/* The gate is open. */
		assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
		assert_int_equal(mslot_snapshot_generation(snap), 1);
		mslot_vcpu_leave(f->vcpu[0]);
	}
	/* One kick: it has not answered. */
	assert_int_equal(atomic_load(&f->kicks), 1);
	assert_int_equal(mslot_vcpu_pending(f->vcpu[1]), 1);
	pthread_barrier_wait(&r.step);
	runner_join(&r);
	assert_int_equal(toggle(f, true, 0, 0, &result), 0);
	assert_int_equal(result.generation, 2);
}

static void every_vcpu_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct runner r[NVCPUS];
	struct committer c = {.f = f, .timeout_ns = -1, .runner = r};

	for (unsigned int i = 0; i < NVCPUS; i++)
		runner_start(&r[i], f->vcpu[i], i == 1);
	stop_at(PERTURB_GATE_CLOSED);
	assert_int_equal(pthread_create(&c.thread, NULL, committer_main, &c), 0);
	pthread_barrier_wait(&stop.there);
	stop_over();
	/* Some are asleep before the committer, some after. */
	for (unsigned int i = 0; i < NVCPUS; i++) {
		while (!mslot_vcpu_pending(f->vcpu[i]))
			;
		pthread_barrier_wait(&r[i].step);
	}
	assert_int_equal(pthread_join(c.thread, NULL), 0);
	for (unsigned int i = 0; i < NVCPUS; i++)
		runner_join(&r[i]);
	assert_int_equal(c.err, 0);
	assert_false(c.overtaken);
	assert_int_equal(atomic_load(&f->kicks), NVCPUS);
	/* The poll led to the gate. */
	assert_int_equal(r[1].polled, 2);
}

static void plain_sections_are_not_excluded(void **state)
{
	struct fixture *f = *state;
	struct runner r = {.map = f->map};

	assert_int_equal(pthread_barrier_init(&r.step, NULL, 2), 0);
	assert_int_equal(pthread_create(&r.thread, NULL, runner_main, &r), 0);
	pthread_barrier_wait(&r.step);
	assert_int_equal(toggle(f, true, 0, 0, NULL), 0);
	pthread_barrier_wait(&r.step);
	runner_join(&r);
}

static void *enter_main(void *arg)
{
	struct runner *r = arg;
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(r->vcpu, &snap), 0);
	r->polled = mslot_snapshot_generation(snap);
	mslot_vcpu_leave(r->vcpu);
	return NULL;
}

/* With a commit that has excluded everybody and not published yet. */
static void the_gate_keeps_vcpus_out(void **state)
{
	struct fixture *f = *state;
	struct committer c = {.f = f, .timeout_ns = -1};
	const struct mslot_snapshot *snap, *got = NULL;
	struct runner waiting = {.vcpu = f->vcpu[0]};
	struct mslot_vcpu *late;

	stop_at(PERTURB_EXCLUDED);
	assert_int_equal(pthread_create(&c.thread, NULL, committer_main, &c), 0);
	pthread_barrier_wait(&stop.there);
	assert_int_equal(mslot_vcpu_create(f->map, NULL, &late), 0);
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[1], &got), -EDEADLK);
	assert_int_equal(mslot_vcpu_enter(late, &got), -EDEADLK);
	assert_null(got);
	mslot_leave(snap);
	assert_int_equal(mslot_vcpu_destroy(late), 0);
	/* A second commit waits for its turn, and may run out of time. */
	assert_int_equal(toggle(f, true, 0, 0, NULL), -ETIMEDOUT);
	assert_int_equal(toggle(f, true, 5 * MS, 0, NULL), -ETIMEDOUT);
	assert_int_equal(pthread_create(&waiting.thread, NULL, enter_main, &waiting), 0);
	stop_over();
	assert_int_equal(pthread_join(c.thread, NULL), 0);
	assert_int_equal(pthread_join(waiting.thread, NULL), 0);
	assert_int_equal(c.err, 0);
	assert_int_equal(waiting.polled, 2);
}

static void a_refused_commit_opens_the_gate(void **state)
{
	struct fixture *f = *state;
	struct mslot_commit_options opt = {
	    .flags = MSLOT_COMMIT_EXCLUSIVE | MSLOT_COMMIT_IF_GENERATION, .generation = 7};
	const struct mslot_snapshot *snap;
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), -EAGAIN);
	mslot_txn_abort(txn);
	assert_int_equal(toggle(f, false, 0, 0, NULL), -EINVAL);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(toggle(f, true, 0, 0, NULL), 0);
}

static void a_dry_run_excludes_nobody(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(toggle(f, true, 0, MSLOT_COMMIT_DRY_RUN, NULL), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu[0]), 0);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(generation_of(f->map), 1);
}

/* ---- Where it is refused ----------------------------------------------------- */

static struct {
	struct fixture *f, *other;
	int same, another, entered;
	unsigned int calls;
} seen;

static void commit_in_callback(void *ctx, const struct mslot_diff *diff)
{
	const struct mslot_snapshot *snap;

	(void)ctx;
	(void)diff;
	seen.calls++;
	seen.same = toggle(seen.f, true, 0, 0, NULL);
	seen.another = toggle(seen.other, true, 0, 0, NULL);
	seen.entered = mslot_vcpu_enter(seen.f->vcpu[0], &snap);
	if (!seen.entered)
		mslot_vcpu_leave(seen.f->vcpu[0]);
}

static void sections_and_callbacks_are_refused(void **state)
{
	static const struct mslot_listener_ops ops = {.commit = commit_in_callback};
	struct fixture *f = *state;
	struct fixture other = {.map = make_map(NULL), .region = f->region};
	const struct mslot_snapshot *snap;
	struct mslot_commit_result result;
	struct mslot_listener *listener;

	snap = mslot_enter(f->map);
	assert_int_equal(toggle(f, true, -1, 0, &result), -EDEADLK);
	assert_int_equal(result.generation, 1);
	assert_string_equal(result.reason, "would wait inside a section or a callback");
	mslot_leave(snap);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(toggle(f, true, -1, 0, NULL), -EDEADLK);
	mslot_vcpu_leave(f->vcpu[0]);
	seen.f = f;
	seen.other = &other;
	assert_int_equal(mslot_listener_add(f->map, &ops, NULL, 0, &listener), 0);
	assert_int_equal(toggle(f, true, -1, 0, NULL), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.same, -EDEADLK);
	assert_int_equal(seen.another, -EDEADLK);
	/* The commit that called us would keep us waiting for ever. */
	assert_int_equal(seen.entered, -EDEADLK);
	/* An ordinary one keeps nobody out. */
	drop_slot(f->map, 2);
	assert_int_equal(seen.calls, 2);
	assert_int_equal(seen.entered, 0);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_map_destroy(other.map), 0);
}

static atomic_int release_err;

static void commit_in_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)opt;
	atomic_store(&release_err, toggle(ctx, true, 0, 0, NULL));
}

static void a_release_callback_is_refused(void **state)
{
	struct fixture *f = *state;
	struct mslot_region_options opt = {
	    .len_bytes = PAGE, .fd = -1, .release = commit_in_release, .ctx = f};
	struct mslot_region *region;

	atomic_store(&release_err, 0);
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	mslot_region_put(region);
	assert_int_equal(mslot_wait(f->map, 1, -1), 0);
	assert_int_equal(atomic_load(&release_err), -EDEADLK);
}

/* A device that writes to memory which goes cannot be asked out; one that reads need not be. */
static void only_write_leases_refuse_it(void **state)
{
	struct mslot_span span = {.gpa = PAGES(32), .len_bytes = PAGE};
	struct mslot_commit_result result;
	const struct mslot_snapshot *snap;
	struct fixture *f = *state;
	struct mslot_lease *reads, *writes;

	assert_int_equal(toggle(f, true, 0, 0, NULL), 0);
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_lease_take(snap, &span, NULL, &reads), 0);
	span.access = MSLOT_WRITE;
	assert_int_equal(mslot_lease_take(snap, &span, NULL, &writes), 0);
	mslot_leave(snap);
	assert_int_equal(toggle(f, false, 0, 0, &result), -EBUSY);
	assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
	assert_int_equal(generation_of(f->map), 2);
	mslot_lease_put(writes);
	assert_int_equal(toggle(f, false, 0, MSLOT_COMMIT_NOWAIT, &result), -EBUSY);
	assert_int_equal(toggle(f, false, 0, 0, &result), 0);
	mslot_lease_put(reads);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(nobody_inside_is_no_wait),
	    cmocka_unit_test(a_map_without_vcpus_has_nobody_to_exclude),
	    EACH(a_timeout_changes_nothing),
	    EACH(every_vcpu_is_waited_for),
	    EACH(plain_sections_are_not_excluded),
	    EACH(the_gate_keeps_vcpus_out),
	    EACH(a_refused_commit_opens_the_gate),
	    EACH(a_dry_run_excludes_nobody),
	    EACH(sections_and_callbacks_are_refused),
	    EACH(a_release_callback_is_refused),
	    EACH(only_write_leases_refuse_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
