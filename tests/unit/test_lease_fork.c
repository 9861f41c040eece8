/* SPDX-License-Identifier: MIT */
/*
 * test_lease_fork.c - leases and fork(): the child has them all, puts what it likes, also of
 * threads that it does not have, and gets its own release callbacks; so does the parent.
 */
#include "lease_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "map/lease.h"

struct lessee {
	struct mslot_map *map;
	_Atomic(struct mslot_lease *) shown;
	atomic_bool leave;
};

#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                              \
	} while (0)

static void *take_one_lease(void *arg)
{
	struct lessee *p = arg;

	atomic_store(&p->shown, lease_now(p->map, 20, 1, "of a thread"));
	while (!atomic_load(&p->leave))
		(void)sched_yield();
	return NULL;
}

static void use_in_child(struct mslot_map *map, struct mslot_lease **lease,
			 const _Atomic unsigned int *releases)
{
	const struct mslot_span span = span_of(PAGES(16), PAGES(1), MSLOT_READ);
	const struct mslot_snapshot *snap;
	struct mslot_lease *more;

	(void)alarm(40);
	CHILD_CHECK(mslot_lease_holders(map, NULL, 0) == 2);
	CHILD_CHECK(mslot_wait(map, 2, 0) == -ETIMEDOUT);
	mslot_lease_put(lease[0]);
	CHILD_CHECK(mslot_wait(map, 2, 1000000) == -ETIMEDOUT);
	CHILD_CHECK(*releases == 0);
	/* Of a thread that the child does not have. */
	mslot_lease_put(lease[1]);
	CHILD_CHECK(mslot_wait(map, 2, -1) == 0);
	CHILD_CHECK(*releases == 1);
	snap = mslot_enter(map);
	CHILD_CHECK(mslot_lease_take(snap, &span, NULL, &more) == -ENOENT);
	mslot_leave(snap);
	CHILD_CHECK(mslot_map_destroy(map) == 0);
	lease_thread_drop();
	_exit(0);
}

static void a_child_has_the_leases_and_may_put_them(void **state)
{
	struct mslot_map *map = make_map(NULL);
	_Atomic unsigned int releases;
	struct mslot_region *region = make_counted(HVA, &releases);
	struct lessee p = {.map = map};
	struct mslot_lease *lease[2];
	pthread_t thread;
	int status = 0;
	pid_t pid;

	(void)state;
	put_slot(map, def_of(1, 16, 8, region, 0));
	mslot_region_put(region);
	lease[0] = lease_now(map, 16, 8, "forked");
	assert_int_equal(pthread_create(&thread, NULL, take_one_lease, &p), 0);
	while (!(lease[1] = atomic_load(&p.shown)))
		(void)sched_yield();
	/* By now the reclaimer runs: a thread that is just starting may hold a lock of ASan's. */
	assert_int_equal(mslot_wait(map, 1, INT64_C(60000000000)), 0);
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, 1000000), -ETIMEDOUT);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		use_in_child(map, lease, &releases);
	mslot_lease_put(lease[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with status %#x", (unsigned int)status);
	assert_int_equal(releases, 0);
	assert_int_equal(mslot_wait(map, 2, 0), -ETIMEDOUT);
	mslot_lease_put(lease[1]);
	assert_int_equal(mslot_wait(map, 2, -1), 0);
	assert_int_equal(releases, 1);
	atomic_store(&p.leave, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_child_has_the_leases_and_may_put_them),
	};

#ifdef MSLOT_TSAN
	/* Each child starts a reclaimer of its own. */
	puts("SKIP: ThreadSanitizer does not support new threads in a child of fork()");
	return 77;
#endif
	return cmocka_run_group_tests_name("lease_fork", tests, NULL, NULL);
}
