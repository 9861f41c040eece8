/* SPDX-License-Identifier: MIT */
/*
 * kvm_design.h - what the engines of KVM's two designs (array.c, two_sets.c) share: the
 * read side with its grace period, and the checks of a request that do not depend on what
 * the map holds.
 *
 * The kernel's readers are in SRCU sections. Here they are in those of liburcu, of the same
 * flavour as mslot's own (bulletproof: threads register themselves), inlined, so that no
 * difference between the engines comes from there. As in src/base/rcu.h the grace period
 * happens where ThreadSanitizer does not look, and notes tell it what is ordered. The tags
 * of the notes are each file's own: all readers and the writer of a map are in one file.
 */
#ifndef MSLOT_BENCH_KVM_DESIGN_H
#define MSLOT_BENCH_KVM_DESIGN_H

#include <errno.h>
#include <stdatomic.h>

#include "engine.h"

#define _LGPL_SOURCE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <urcu/urcu-bp.h>
#pragma GCC diagnostic pop

#if defined(__SANITIZE_THREAD__)
#define DESIGN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DESIGN_TSAN 1
#endif
#endif

#ifdef DESIGN_TSAN
#include <sanitizer/tsan_interface.h>
static char design_tag_enter, design_tag_leave; /* addresses only */
#define DESIGN_NOTE_RELEASE(tag) __tsan_release(&(tag))
#define DESIGN_NOTE_ACQUIRE(tag) __tsan_acquire(&(tag))
#else
#define DESIGN_NOTE_RELEASE(tag) ((void)0)
#define DESIGN_NOTE_ACQUIRE(tag) ((void)0)
#endif

#define DESIGN_PAGE_SHIFT 12
#define DESIGN_GPA_LIMIT (UINT64_C(1) << 52)
#define DESIGN_HVA_LIMIT UINT64_C(0x7ffffffff000)
#define DESIGN_MAX_PAGES ((UINT64_C(1) << 31) - 1)

/* Flag of a slot on its way out: a lookup by gfn that meets it answers "no slot". */
#define DESIGN_INVALID 2u

static inline void design_enter(void)
{
	urcu_bp_read_lock();
	DESIGN_NOTE_ACQUIRE(design_tag_enter);
}

static inline void design_leave(void)
{
	DESIGN_NOTE_RELEASE(design_tag_leave);
	urcu_bp_read_unlock();
}

/* Wait until every section entered before the call has been left. */
static inline void design_synchronize(void)
{
	DESIGN_NOTE_RELEASE(design_tag_enter);
	urcu_bp_synchronize_rcu();
	DESIGN_NOTE_ACQUIRE(design_tag_leave);
}

/* thread_begin(): register now rather than at the first lookup. */
static inline void design_thread_begin(void)
{
	(void)urcu_bp_read_ongoing();
}

/* A zero that the compiler cannot know, to make an address wait for a token. */
static inline uint64_t design_unknown_zero(void)
{
	static volatile uint64_t zero;

	return zero;
}

/* The part of the checks that come before "is there such a slot" and "does it overlap". */
static inline int design_check_place(uint64_t gpa, uint64_t len_bytes)
{
	if (!len_bytes || len_bytes % ENGINE_PAGE || gpa % ENGINE_PAGE)
		return -EINVAL;
	if (gpa + len_bytes < gpa || len_bytes / ENGINE_PAGE > DESIGN_MAX_PAGES)
		return -EINVAL;
	return 0;
}

static inline int design_check_slot(const struct engine_slot *slot, uint32_t limit)
{
	if (slot->id >= limit || slot->flags > 1)
		return -EINVAL;
	if (slot->hva % ENGINE_PAGE || slot->hva >= DESIGN_HVA_LIMIT ||
	    slot->len_bytes > DESIGN_HVA_LIMIT - slot->hva)
		return -EINVAL;
	return design_check_place(slot->gpa, slot->len_bytes);
}

/* The check that comes last; for places that passed design_check_place(). */
static inline int design_check_limit(uint64_t gpa, uint64_t len_bytes)
{
	return gpa + len_bytes > DESIGN_GPA_LIMIT ? -EINVAL : 0;
}

#endif /* MSLOT_BENCH_KVM_DESIGN_H */
