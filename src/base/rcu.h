/* SPDX-License-Identifier: MIT */
/*
 * rcu.h - the read-copy-update seam: the only file that includes <urcu/...>.
 *
 * liburcu's bulletproof flavour (threads register themselves) with its read side
 * inlined. Publishing goes through C11 atomics (rcu_publish(), rcu_load()) so that
 * ThreadSanitizer sees it; the grace period itself happens in a library that is
 * not instrumented, so four notes tell the sanitizer what it orders:
 *
 *   reader leaves          --release/acquire-->  rcu_synchronize() returns
 *   rcu_synchronize() starts --release/acquire-->  a reader that enters later
 */
#ifndef MSLOT_BASE_RCU_H
#define MSLOT_BASE_RCU_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/sanitize.h"

/*
 * Not where alignment is checked: a reader's entry there is declared to be aligned to 128
 * bytes, and the library puts it 32 bytes into a page (liburcu 0.13.2).
 */
#ifndef MSLOT_ASAN
#define _LGPL_SOURCE
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <urcu/urcu-bp.h>
#pragma GCC diagnostic pop
#ifdef MSLOT_ASAN
#include <urcu/tls-compat.h>
/* As the inlined read side declares it. */
struct urcu_bp_reader;
extern DECLARE_URCU_TLS(struct urcu_bp_reader *, urcu_bp_reader);
#endif

#ifdef MSLOT_TSAN
#include <sanitizer/tsan_interface.h>
extern char rcu_tsan_leave, rcu_tsan_enter; /* addresses only */
#define RCU_NOTE_RELEASE(tag) __tsan_release(&(tag))
#define RCU_NOTE_ACQUIRE(tag) __tsan_acquire(&(tag))
#else
#define RCU_NOTE_RELEASE(tag) ((void)0)
#define RCU_NOTE_ACQUIRE(tag) ((void)0)
#endif

static inline void rcu_enter(void)
{
	urcu_bp_read_lock();
	RCU_NOTE_ACQUIRE(rcu_tsan_enter);
}

static inline void rcu_leave(void)
{
	RCU_NOTE_RELEASE(rcu_tsan_leave);
	urcu_bp_read_unlock();
}

/* Is the calling thread inside a read section (of anybody's)? */
static inline bool rcu_in_section(void)
{
	return urcu_bp_read_ongoing() != 0;
}

/*
 * How many sections (of anybody's) is the calling thread inside of? liburcu promises only
 * whether there is one, but answers with its count; a unit test holds it to that.
 */
static inline unsigned int rcu_depth(void)
{
	return (unsigned int)urcu_bp_read_ongoing();
}

/* Wait until every section entered before the call has been left. Never inside one. */
static inline void rcu_synchronize(void)
{
	RCU_NOTE_RELEASE(rcu_tsan_enter);
	urcu_bp_synchronize_rcu();
	RCU_NOTE_ACQUIRE(rcu_tsan_leave);
}

/*
 * From now on sections pay for fences, and rcu_synchronize() makes no system call. No grace period
 * may be under way. Sections may: each looks at the variable where its fence would be, and the call
 * of membarrier() in it makes up for the fences of those that looked before.
 */
void rcu_fence_readers(void);

/* Has the calling thread been in a section, or in rcu_thread_register()? */
static inline bool rcu_thread_registered(void)
{
	return URCU_TLS(urcu_bp_reader) != NULL;
}

/* Register the calling thread now rather than at its first rcu_enter(). */
static inline void rcu_thread_register(void)
{
	(void)urcu_bp_read_ongoing();
}

/* Between two looks at what another thread will change. */
static inline void rcu_relax(void)
{
	caa_cpu_relax();
}

static inline void rcu_before_fork(void)
{
	urcu_bp_before_fork();
}

static inline void rcu_after_fork_parent(void)
{
	urcu_bp_after_fork_parent();
}

static inline void rcu_after_fork_child(void)
{
	urcu_bp_after_fork_child();
}

/*
 * Publish a pointer. seq_cst: release for what it points to, and ordered before
 * every later load of the publisher (listeners zap after the publish; R2).
 * Pairs with rcu_load().
 */
#define rcu_publish(slot, ptr) atomic_store_explicit((slot), (ptr), memory_order_seq_cst)

/* Load a published pointer. Acquire: what it points to. Pairs with rcu_publish(). */
#define rcu_load(slot) atomic_load_explicit((slot), memory_order_acquire)

#endif /* MSLOT_BASE_RCU_H */
