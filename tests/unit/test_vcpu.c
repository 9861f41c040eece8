/* SPDX-License-Identifier: MIT */
/*
 * test_vcpu.c - vCPU handles: sections and their nesting, requests and kicks, the hint, fork.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mslot/mslot.h>

#include "access/vcpu.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/vcpus.h"
#include "map/writer.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_vcpu *vcpu;
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
	assert_int_equal(mslot_vcpu_create(f.map, &opt, &f.vcpu), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	perturb_hook = NULL;
	assert_int_equal(mslot_vcpu_destroy(f->vcpu), 0);
	mslot_region_put(f->region);
	assert_int_equal(mslot_check_map(f->map, NULL), 0);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	return 0;
}

static void a_map_lives_as_long_as_its_vcpus(void **state)
{
	struct fixture *f = *state;
	struct mslot_vcpu *more[3];
	struct mslot_map_stats stats;

	/* Ended in another order than created: first of the list, middle, last. */
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(mslot_vcpu_create(f->map, NULL, &more[i]), 0);
	assert_int_equal(mslot_map_stats_get(f->map, &stats), 0);
	assert_int_equal(stats.vcpus, 4);
	assert_int_equal(mslot_map_destroy(f->map), -EBUSY);
	assert_int_equal(mslot_vcpu_destroy(more[1]), 0);
	assert_int_equal(mslot_vcpu_destroy(more[2]), 0);
	assert_int_equal(mslot_vcpu_destroy(more[0]), 0);
	assert_int_equal(mslot_vcpu_destroy(NULL), 0);
	assert_int_equal(mslot_map_stats_get(f->map, &stats), 0);
	assert_int_equal(stats.vcpus, 1);
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
}

static void sections_nest_and_keep_their_snapshot(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *outer = NULL, *inner = NULL;

	assert_null(vcpu_running());
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &outer), 0);
	assert_ptr_equal(vcpu_running(), f->vcpu);
	assert_int_equal(mslot_snapshot_generation(outer), 1);
	put_slot(f->map, def_of(2, 32, 1, f->region, 0));
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &inner), 0);
	assert_ptr_equal(inner, outer);
	assert_int_equal(mslot_vcpu_destroy(f->vcpu), -EBUSY);
	mslot_vcpu_leave(f->vcpu);
	assert_ptr_equal(vcpu_running(), f->vcpu);
	assert_true(rcu_in_section());
	assert_int_equal(mslot_vcpu_destroy(f->vcpu), -EBUSY);
	mslot_vcpu_leave(f->vcpu);
	assert_null(vcpu_running());
	assert_false(rcu_in_section());
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &outer), 0);
	assert_int_equal(mslot_snapshot_generation(outer), 2);
	mslot_vcpu_leave(f->vcpu);
}

static void a_thread_is_inside_of_one_vcpu(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap, *none = NULL;
	struct mslot_vcpu *other;

	assert_int_equal(mslot_vcpu_create(f->map, NULL, &other), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_enter(other, &none), -EBUSY);
	assert_null(none);
	assert_int_equal(rcu_depth(), 1);
	mslot_vcpu_leave(f->vcpu);
	assert_int_equal(mslot_vcpu_enter(other, &none), 0);
	mslot_vcpu_leave(other);
	assert_int_equal(mslot_vcpu_destroy(other), 0);
}

static void poll_shows_the_newest_snapshot(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	put_slot(f->map, def_of(2, 32, 1, f->region, 0));
	assert_null(mslot_vcpu_find(f->vcpu, 0, PAGES(32)));
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_int_equal(mslot_snapshot_generation(snap), 2);
	assert_non_null(mslot_vcpu_find(f->vcpu, 0, PAGES(32)));
	assert_ptr_equal(vcpu_running(), f->vcpu);
	mslot_vcpu_leave(f->vcpu);
	assert_false(rcu_in_section());
}

static void poll_is_refused_where_something_else_is_entered(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap, *mine, *got = NULL;

	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(rcu_depth(), 1);
	put_slot(f->map, def_of(2, 32, 1, f->region, 0));
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &mine), 0);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &got), -EDEADLK);
	mslot_vcpu_leave(f->vcpu);
	/* Any reader's section counts; liburcu really tells how many there are. */
	mine = mslot_enter(f->map);
	assert_int_equal(rcu_depth(), 2);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &got), -EDEADLK);
	assert_null(got);
	assert_int_equal(mslot_snapshot_generation(snap), 1);
	mslot_leave(mine);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &got), 0);
	assert_int_equal(mslot_snapshot_generation(got), 2);
	mslot_vcpu_leave(f->vcpu);
}

static struct mslot_vcpu *callback_vcpu;
static int callback_err;

static void poll_in_callback(void *ctx, const struct mslot_diff *diff)
{
	const struct mslot_snapshot *snap;

	(void)ctx;
	(void)diff;
	callback_err = mslot_vcpu_poll(callback_vcpu, &snap);
}

static void poll_is_refused_in_a_listener_callback(void **state)
{
	static const struct mslot_listener_ops ops = {.commit = poll_in_callback};
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	struct mslot_listener *listener;

	callback_vcpu = f->vcpu;
	callback_err = 0;
	assert_int_equal(mslot_listener_add(f->map, &ops, NULL, 0, &listener), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	put_slot(f->map, def_of(2, 32, 1, f->region, 0));
	assert_int_equal(callback_err, -EDEADLK);
	mslot_vcpu_leave(f->vcpu);
	assert_int_equal(mslot_listener_remove(listener), 0);
}

static void find_remembers_until_a_request(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	const struct mslot_slot *slot;

	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	slot = mslot_vcpu_find(f->vcpu, 0, PAGES(3));
	assert_non_null(slot);
	assert_ptr_equal(slot, mslot_find(snap, 0, PAGES(3)));
	assert_ptr_equal(f->vcpu->hint.slot, slot);
	assert_ptr_equal(mslot_vcpu_find(f->vcpu, 0, PAGES(16) - 1), slot);
	assert_null(mslot_vcpu_find(f->vcpu, 0, PAGES(16)));
	assert_null(mslot_vcpu_find(f->vcpu, 1, 0));
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_ptr_equal(f->vcpu->hint.slot, slot);
	/* To be asked out is no reason to forget. */
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_ptr_equal(f->vcpu->hint.slot, slot);
	map_ask_vcpus(f->map, VCPU_FLUSH);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_null(f->vcpu->hint.slot);
	assert_ptr_equal(mslot_vcpu_find(f->vcpu, 0, 0), slot);
	mslot_vcpu_leave(f->vcpu);
	/* Coming out is not forgetting. */
	assert_int_equal(map_exclude(f->map, 0), 0);
	map_readmit(f->map);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_ptr_equal(f->vcpu->hint.slot, slot);
	mslot_vcpu_leave(f->vcpu);
}

static struct {
	struct mslot_map *map;
	unsigned int inside, answered;
} amid;

static void note_depths(enum perturb_point point)
{
	if (point == PERTURB_VCPU_INSIDE)
		amid.inside = rcu_depth();
	else if (point == PERTURB_VCPU_ANSWERED)
		amid.answered = rcu_depth();
}

/* Else a grace period could pass between the answer and the section. */
static void requests_are_answered_inside_the_section(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	amid.inside = amid.answered = 0;
	perturb_hook = note_depths;
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	mslot_vcpu_leave(f->vcpu);
	assert_int_equal(amid.inside, 1);
	assert_int_equal(amid.answered, 1);
}

static void ask_amid(enum perturb_point point)
{
	if (point == PERTURB_VCPU_ANSWERED)
		map_ask_vcpus(amid.map, VCPU_LEAVE);
}

static void a_request_amid_an_entry_is_not_lost(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	amid.map = f->map;
	perturb_hook = ask_amid;
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	perturb_hook = NULL;
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	assert_int_equal(atomic_load(&f->kicks), 1);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	mslot_vcpu_leave(f->vcpu);
}

static void a_vcpu_is_kicked_once_until_it_answers(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;

	/* Outside there is nobody to kick; the next entry answers. */
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	assert_int_equal(atomic_load(&f->kicks), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	for (unsigned int i = 0; i < 3; i++)
		map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	assert_int_equal(atomic_load(&f->kicks), 1);
	/* A nested entry is no answer. */
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	mslot_vcpu_leave(f->vcpu);
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(atomic_load(&f->kicks), 1);
	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(atomic_load(&f->kicks), 2);
	mslot_vcpu_leave(f->vcpu);
	map_ask_vcpus(f->map, VCPU_LEAVE);
	assert_int_equal(atomic_load(&f->kicks), 2);
}

/* ---- A vCPU that only a kick brings out ------------------------------------ */

struct guest {
	struct mslot_map *map;
	struct mslot_vcpu *vcpu;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool entered, kicked, over;
	unsigned int sections;
};

static void kick_guest(void *ctx)
{
	struct guest *g = ctx;

	pthread_mutex_lock(&g->lock);
	g->kicked = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;
	const struct mslot_snapshot *snap;
	bool over;

	assert_int_equal(mslot_vcpu_enter(g->vcpu, &snap), 0);
	do {
		pthread_mutex_lock(&g->lock);
		g->entered = true;
		g->sections++;
		pthread_cond_broadcast(&g->changed);
		while (!g->kicked && !g->over)
			pthread_cond_wait(&g->changed, &g->lock);
		g->kicked = false;
		over = g->over;
		pthread_mutex_unlock(&g->lock);
		if (!over)
			assert_int_equal(mslot_vcpu_poll(g->vcpu, &snap), 0);
	} while (!over);
	mslot_vcpu_leave(g->vcpu);
	return NULL;
}

static void guest_start(struct guest *g, struct mslot_map *map)
{
	struct mslot_vcpu_options opt = {.kick = kick_guest, .ctx = g};

	*g = (struct guest){
	    .map = map, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	assert_int_equal(mslot_vcpu_create(map, &opt, &g->vcpu), 0);
	assert_int_equal(pthread_create(&g->thread, NULL, guest_main, g), 0);
	pthread_mutex_lock(&g->lock);
	while (!g->entered)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void guest_stop(struct guest *g)
{
	pthread_mutex_lock(&g->lock);
	g->over = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
	assert_int_equal(pthread_join(g->thread, NULL), 0);
	assert_int_equal(mslot_vcpu_destroy(g->vcpu), 0);
}

static void waits_end_though_a_vcpu_stays_in_the_guest(void **state)
{
	struct fixture *f = *state;
	struct kvm_userspace_memory_region region = {
	    .slot = 9, .guest_phys_addr = PAGES(64), .memory_size = PAGE, .userspace_addr = HVA};
	struct guest g;

	guest_start(&g, f->map);
	for (uint32_t i = 0; i < 200; i++) {
		put_slot(f->map, def_of(2, 32, 1, f->region, 0));
		drop_slot(f->map, 2);
		/* On the caller's thread, and by the reclaimer. */
		assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
		drop_slot(f->map, 1);
		assert_int_equal(mslot_wait(f->map, generation_of(f->map), INT64_C(60000000000)),
				 0);
		put_slot(f->map, def_of(1, 0, 16, f->region, 0));
		region.memory_size = PAGE;
		assert_int_equal(mslot_kvm_set_user_memory_region(f->map, &region), 0);
		region.memory_size = 0;
		assert_int_equal(mslot_kvm_set_user_memory_region(f->map, &region), 0);
	}
	assert_true(g.sections > 200);
	guest_stop(&g);
}

/* The section that opens between the requests and the grace period. */
static struct {
	pthread_barrier_t asked, entered;
	bool done;
} between;

static void hook_between(enum perturb_point point)
{
	if (point != PERTURB_VCPUS_ASKED || between.done)
		return;
	between.done = true;
	pthread_barrier_wait(&between.asked);
	pthread_barrier_wait(&between.entered);
}

static void *synchronize_main(void *arg)
{
	map_synchronize(arg);
	return NULL;
}

static void a_vcpu_that_enters_after_the_requests_is_asked_too(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	pthread_t thread;

	between.done = false;
	assert_int_equal(pthread_barrier_init(&between.asked, NULL, 2), 0);
	assert_int_equal(pthread_barrier_init(&between.entered, NULL, 2), 0);
	perturb_hook = hook_between;
	assert_int_equal(pthread_create(&thread, NULL, synchronize_main, f->map), 0);
	pthread_barrier_wait(&between.asked);
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 1);
	assert_int_equal(atomic_load(&f->kicks), 1);
	pthread_barrier_wait(&between.entered);
	mslot_vcpu_leave(f->vcpu);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* Nobody waits any more. */
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	assert_int_equal(atomic_load(&f->kicks), 1);
	mslot_vcpu_leave(f->vcpu);
	pthread_barrier_destroy(&between.asked);
	pthread_barrier_destroy(&between.entered);
}

/* ---- Fork ------------------------------------------------------------------ */

#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                              \
	} while (0)

/* In the child: its own thread's vCPU and that of a thread that is not there. */
static void use_both(struct mslot_map *map, struct mslot_vcpu *mine, struct mslot_vcpu *others)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_EXCLUSIVE, .timeout_ns = 0};
	const struct mslot_snapshot *snap;
	struct mslot_txn *txn;

	CHILD_CHECK(mslot_txn_begin(map, &txn) == 0);
	CHILD_CHECK(mslot_txn_delete(txn, (struct mslot_key){0, 1}) == 0);
	CHILD_CHECK(mslot_txn_commit(txn, &opt, NULL) == 0);
	CHILD_CHECK(mslot_wait(map, 2, -1) == 0);
	CHILD_CHECK(mslot_vcpu_enter(others, &snap) == 0);
	CHILD_CHECK(mslot_snapshot_generation(snap) == 2);
	mslot_vcpu_leave(others);
	CHILD_CHECK(mslot_vcpu_enter(mine, &snap) == 0);
	mslot_vcpu_leave(mine);
	CHILD_CHECK(mslot_vcpu_destroy(others) == 0);
	CHILD_CHECK(mslot_vcpu_destroy(mine) == 0);
	CHILD_CHECK(mslot_map_destroy(map) == 0);
}

static void a_child_has_the_vcpus_of_all_threads(void **state)
{
	struct fixture *f = *state;
	struct guest g;
	int status;
	pid_t pid;

	guest_start(&g, f->map);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(40);
		use_both(f->map, f->vcpu, g.vcpu);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* The parent's vCPU is still inside. */
	assert_int_equal(mslot_vcpu_destroy(g.vcpu), -EBUSY);
	guest_stop(&g);
	if (status)
		fail_msg("the child ended with %#x", (unsigned int)status);
}

static void a_child_of_a_vcpu_is_still_inside(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	int status;
	pid_t pid;

	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(mslot_vcpu_destroy(f->vcpu) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	mslot_vcpu_leave(f->vcpu);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(a_map_lives_as_long_as_its_vcpus),
	    EACH(sections_nest_and_keep_their_snapshot),
	    EACH(a_thread_is_inside_of_one_vcpu),
	    EACH(poll_shows_the_newest_snapshot),
	    EACH(poll_is_refused_where_something_else_is_entered),
	    EACH(poll_is_refused_in_a_listener_callback),
	    EACH(find_remembers_until_a_request),
	    EACH(requests_are_answered_inside_the_section),
	    EACH(a_request_amid_an_entry_is_not_lost),
	    EACH(a_vcpu_is_kicked_once_until_it_answers),
	    EACH(waits_end_though_a_vcpu_stays_in_the_guest),
	    EACH(a_vcpu_that_enters_after_the_requests_is_asked_too),
	    EACH(a_child_has_the_vcpus_of_all_threads),
	    EACH(a_child_of_a_vcpu_is_still_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
