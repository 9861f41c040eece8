/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - vCPUs: sections that others can ask to end, and keep from beginning.
 *
 * Data. `request` is what others ask, bits; `inside` is 0, or VCPU_IS_INSIDE with
 * VCPU_IS_WATCHED when an EXCLUSIVE commit sleeps until it changes.
 *
 * Invariants
 *   U1 only the vCPU's thread clears `request`, by an exchange: nothing posted is lost
 *   U2 VCPU_KICKED says that an entry will follow: the vCPU was kicked, or was outside
 *   U3 VCPU_IS_WATCHED is set under vcpus_lock, and only when VCPU_IS_INSIDE is
 *   U4 a thread is inside of one vCPU at most, vcpu_current
 *
 * Enter, in this order:
 *   1 begin the read section: a grace period that this section does not delay began
 *     before it, and so after what was posted for that grace period
 *   2 say so in `inside`
 *   3 exchange `request`; flush, if that was asked
 *   4 look at the gate; closed: out, wait, from the start
 *   5 look at `awaited`; somebody waits: post to ourselves what they missed us with
 *   6 load the snapshot
 * The exchange in 3 is the fence between 2 and 4: see vcpus.c, V3. It also is why a kick is
 * not missed: whoever posts after it finds us inside, whoever posted before it is answered.
 */
#include "access/vcpu.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"

/* Beside VCPU_FLUSH and VCPU_LEAVE in a request word. */
#define VCPU_KICKED (1u << 31)

#define VCPU_IS_INSIDE 1u
#define VCPU_IS_WATCHED 2u

/* Of stand_back(): a microsecond or two, as long as a grace period without system calls. */
#define STAND_BACK_SPINS 64u

_Thread_local struct mslot_vcpu *vcpu_current;

/* ---- Asking --------------------------------------------------------------- */

/* Not inlined into entries, which rarely need it. */
static __attribute__((noinline)) void ask_one(struct mslot_vcpu *vcpu, uint32_t requests)
{
	/* Release: the publish before the request. Acquire: that it is inside. Pairs with
	 * the exchange in try_enter(). */
	uint32_t had =
	    atomic_fetch_or_explicit(&vcpu->request, requests | VCPU_KICKED, memory_order_acq_rel);

	PERTURB(VCPU_ASKED);
	/* Outside, the next entry answers; it has not been kicked, but forgets that too. */
	if (!(had & VCPU_KICKED) && atomic_load_explicit(&vcpu->inside, memory_order_relaxed) &&
	    vcpu->opt.kick)
		vcpu->opt.kick(vcpu->opt.ctx);
}

static void ask_all(struct mslot_map *map, uint32_t requests)
{
	struct mslot_vcpu *vcpu;

	for (vcpu = map->vcpus; vcpu; vcpu = vcpu->next)
		ask_one(vcpu, requests);
}

static bool watch_one(struct mslot_vcpu *vcpu)
{
	uint32_t seen = VCPU_IS_INSIDE;

	/* Acquire: what was done inside, when it is out. Pairs with step_out(). */
	return atomic_compare_exchange_strong_explicit(
		   &vcpu->inside, &seen, VCPU_IS_INSIDE | VCPU_IS_WATCHED, memory_order_acquire,
		   memory_order_acquire) ||
	       seen != 0;
}

static bool watch_any(struct mslot_map *map)
{
	struct mslot_vcpu *vcpu;

	for (vcpu = map->vcpus; vcpu; vcpu = vcpu->next)
		if (watch_one(vcpu))
			return true;
	return false;
}

static bool any_inside(struct mslot_map *map)
{
	struct mslot_vcpu *vcpu;

	for (vcpu = map->vcpus; vcpu; vcpu = vcpu->next)
		/* Relaxed: a hint. */
		if (vcpu != vcpu_running() &&
		    atomic_load_explicit(&vcpu->inside, memory_order_relaxed))
			return true;
	return false;
}

static void forget_others(struct mslot_map *map)
{
	struct mslot_vcpu *vcpu;

	for (vcpu = map->vcpus; vcpu; vcpu = vcpu->next) {
		if (vcpu == vcpu_running())
			continue;
		/* Relaxed: there is one thread. */
		atomic_store_explicit(&vcpu->inside, 0, memory_order_relaxed);
		vcpu->depth = 0;
	}
}

static const struct map_vcpu_ops vcpu_ops = {
    .ask = ask_all,
    .watch = watch_any,
    .busy = any_inside,
    .forked = forget_others,
};

/* ---- Create and destroy --------------------------------------------------- */

/* Take vcpus_lock with a ring, if the map's vCPUs have rings. Returns 0 or -ENOMEM, unlocked. */
static int lock_with_ring(struct mslot_vcpu *vcpu)
{
	struct mslot_map *map = vcpu->map;
	uint32_t entries;
	int err;

	for (;;) {
		/* Relaxed: compared again under the lock. */
		entries = atomic_load_explicit(&map->log.ring_entries, memory_order_relaxed);
		err = ring_init(&vcpu->ring, entries, map->opt.page_shift, vcpu->opt.ring_memory);
		if (err)
			return err;
		pthread_mutex_lock(&map->vcpus_lock);
		if (entries == atomic_load_explicit(&map->log.ring_entries, memory_order_relaxed))
			return 0;
		pthread_mutex_unlock(&map->vcpus_lock);
		ring_fini(&vcpu->ring);
	}
}

int mslot_vcpu_create(struct mslot_map *map, const struct mslot_vcpu_options *opt,
		      struct mslot_vcpu **out)
{
	struct mslot_vcpu *vcpu;
	int err;

	if (opt && (uintptr_t)opt->ring_memory & (page_bytes(map->opt.page_shift) - 1))
		return -EINVAL;
	vcpu = mem_alloc_aligned(64, sizeof(*vcpu));
	if (!vcpu)
		return -ENOMEM;
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->map = map;
	tlb_init(&vcpu->head, map->opt.page_shift);
	if (opt)
		vcpu->opt = *opt;
	err = lock_with_ring(vcpu);
	if (err) {
		mem_free(vcpu);
		return err;
	}
	map->vcpu_ops = &vcpu_ops;
	vcpu->next = map->vcpus;
	if (vcpu->next)
		vcpu->next->prev = vcpu;
	map->vcpus = vcpu;
	map->nvcpus++;
	pthread_mutex_unlock(&map->vcpus_lock);
	*out = vcpu;
	return 0;
}

int mslot_vcpu_destroy(struct mslot_vcpu *vcpu)
{
	struct mslot_map *map;

	if (!vcpu)
		return 0;
	map = vcpu->map;
	/* For the marks of what is in the ring. */
	rcu_enter();
	pthread_mutex_lock(&map->vcpus_lock);
	/* Acquire: the last section before the memory is freed. Pairs with step_out(). */
	if (atomic_load_explicit(&vcpu->inside, memory_order_acquire)) {
		pthread_mutex_unlock(&map->vcpus_lock);
		rcu_leave();
		return -EBUSY;
	}
	if (ring_drain(&vcpu->ring))
		map->log.ring_owed = true;
	if (vcpu->prev)
		vcpu->prev->next = vcpu->next;
	else
		map->vcpus = vcpu->next;
	if (vcpu->next)
		vcpu->next->prev = vcpu->prev;
	map->nvcpus--;
	pthread_mutex_unlock(&map->vcpus_lock);
	rcu_leave();
	if (vcpu->root)
		vcpu->root_put(vcpu->root);
	ring_fini(&vcpu->ring);
	mem_free(vcpu);
	return 0;
}

/* ---- Sections ------------------------------------------------------------- */

/* Forget everything that was cached. Apart, so that entering costs nothing for it. */
static __attribute__((noinline)) void vcpu_flush(struct mslot_vcpu *vcpu)
{
	vcpu->hint = (struct mslot_hint){0};
	tlb_flush(&vcpu->head);
}

static void step_out(struct mslot_vcpu *vcpu)
{
	uint32_t was;

	PERTURB(READER_LEAVING);
	/* Release: the section before the commit that waits for its end. Pairs with
	 * watch_one(). */
	was = atomic_exchange_explicit(&vcpu->inside, 0, memory_order_acq_rel);
	PERTURB(VCPU_OUT);
	rcu_leave();
	if (was & VCPU_IS_WATCHED)
		map_vcpu_moved(vcpu->map);
}

/* Out again. */
static __attribute__((noinline)) bool turn_back(struct mslot_vcpu *vcpu)
{
	step_out(vcpu);
	return false;
}

/*
 * Somebody waits for a grace period: if it can be over soon, stay out for it, once a wait. To
 * enter would only mean to be asked out again. Bounded, so that a section of another reader keeps
 * nobody.
 */
static __attribute__((noinline)) void stand_back(struct mslot_vcpu *vcpu)
{
	struct mslot_map *map = vcpu->map;
	/* All relaxed: hints. */
	uint32_t awaits = atomic_load_explicit(&map->awaits, memory_order_relaxed);
	unsigned int i;

	if (vcpu->stood_back == awaits)
		return;
	vcpu->stood_back = awaits;
	for (i = 0;
	     i < STAND_BACK_SPINS && atomic_load_explicit(&map->awaited, memory_order_relaxed) != 0;
	     i++)
		rcu_relax();
}

/* Returns false, and is out again, when the gate is closed. */
static bool try_enter(struct mslot_vcpu *vcpu)
{
	struct mslot_map *map = vcpu->map;

	if (__builtin_expect(atomic_load_explicit(&map->awaited, memory_order_relaxed) != 0, 0))
		stand_back(vcpu);
	rcu_enter();
	PERTURB(READER_ENTERED);
	/* Relaxed: the exchange carries it. Pairs with ask_one(). */
	atomic_store_explicit(&vcpu->inside, VCPU_IS_INSIDE, memory_order_relaxed);
	PERTURB(VCPU_INSIDE);
	/* Both ends of ask_one(): it finds us inside, or we find what it posted, the gate and
	 * the publish before that. */
	if (atomic_exchange_explicit(&vcpu->request, 0, memory_order_acq_rel) & VCPU_FLUSH)
		vcpu_flush(vcpu);
	PERTURB(VCPU_ANSWERED);
	/* Acquire: all of the commit that kept us out. Pairs with open_gate(). */
	if (__builtin_expect(atomic_load_explicit(&map->gate_closed, memory_order_acquire), 0))
		return turn_back(vcpu);
	/* Relaxed: at least what the last request knew of. Pairs with map_synchronize(). */
	if (__builtin_expect(atomic_load_explicit(&map->awaited, memory_order_relaxed) != 0, 0))
		ask_one(vcpu, VCPU_LEAVE);
	/* Acquire pairs with rcu_publish() in commit_publish(). */
	vcpu->snap = rcu_load(&map->snapshot);
	PERTURB(SNAPSHOT_LOADED);
	return true;
}

static inline int enter(struct mslot_vcpu *vcpu, bool reserved, const struct mslot_snapshot **out)
{
	const struct mslot_vcpu *running = vcpu_running();

	if (running && running != vcpu)
		return -EBUSY;
	if (!running) {
		if (!reserved && ring_soft_full(&vcpu->ring))
			return -ENOSPC;
		while (!try_enter(vcpu)) {
			/* The commit may be waiting for the section, or be who called us. */
			if (map_wait_deadlocks(0))
				return -EDEADLK;
			map_gate_wait(vcpu->map);
		}
		vcpu_current = vcpu;
	}
	vcpu->depth++;
	*out = vcpu->snap;
	return 0;
}

int mslot_vcpu_enter(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out)
{
	return enter(vcpu, false, out);
}

int mslot_vcpu_enter_reserved(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out)
{
	return enter(vcpu, true, out);
}

void mslot_vcpu_leave(struct mslot_vcpu *vcpu)
{
	if (--vcpu->depth > 0)
		return;
	vcpu_current = NULL;
	step_out(vcpu);
}

int mslot_vcpu_poll(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out)
{
	/* In a callback the commit's own snapshots would go, and the gate may be closed. */
	if (vcpu->depth != 1 || rcu_depth() != 1 || map_any_owned())
		return -EDEADLK;
	if (ring_soft_full(&vcpu->ring))
		return -ENOSPC;
	step_out(vcpu);
	while (!try_enter(vcpu))
		map_gate_wait(vcpu->map);
	*out = vcpu->snap;
	return 0;
}

int mslot_vcpu_pending(const struct mslot_vcpu *vcpu)
{
	/* Relaxed: whoever polls because of it synchronises there. */
	return atomic_load_explicit(&vcpu->request, memory_order_relaxed) != 0;
}

const struct mslot_slot *mslot_vcpu_find(struct mslot_vcpu *vcpu, uint32_t space, uint64_t gpa)
{
	return mslot_find_hint(vcpu->snap, space, gpa, &vcpu->hint);
}
