/* SPDX-License-Identifier: MIT */
/*
 * sanitize.h - which sanitizers this is compiled for (MSLOT_ASAN, MSLOT_TSAN, MSLOT_SANITIZED for
 * either: defined or not); and what tells AddressSanitizer which bytes of a slab may be used, so
 * that a read beyond a node is caught. Nothing without that sanitizer.
 */
#ifndef MSLOT_BASE_SANITIZE_H
#define MSLOT_BASE_SANITIZE_H

/* gcc has a macro for each, clang a question. */
#if defined(__SANITIZE_ADDRESS__)
#define MSLOT_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define MSLOT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MSLOT_ASAN 1
#elif __has_feature(thread_sanitizer)
#define MSLOT_TSAN 1
#endif
#endif

#if defined(MSLOT_ASAN) || defined(MSLOT_TSAN)
#define MSLOT_SANITIZED 1
#endif

#ifdef MSLOT_ASAN
#include <sanitizer/asan_interface.h>
#define MEM_FORBID(at, bytes) ASAN_POISON_MEMORY_REGION(at, bytes)
#define MEM_ALLOW(at, bytes) ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#else
#define MEM_FORBID(at, bytes) ((void)(at), (void)(bytes))
#define MEM_ALLOW(at, bytes) ((void)(at), (void)(bytes))
#endif

#endif /* MSLOT_BASE_SANITIZE_H */
