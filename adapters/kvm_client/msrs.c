/* SPDX-License-Identifier: MIT */
/*
 * msrs.c - model-specific registers: lists of which there are, and getting and setting several.
 */
#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include <cpu.h>

#define MAX_MSRS 256u

/* Those that struct cpu_msrs has, by their architectural numbers. */
static const uint32_t known[] = {
    0x00000010,                                     /* TSC */
    0x0000001b,                                     /* APIC base */
    0x00000174, 0x00000175, 0x00000176,             /* SYSENTER: CS, ESP, EIP */
    0x000001a0,                                     /* misc enable */
    0x00000277,                                     /* PAT */
    0x000002ff,                                     /* default memory type */
    0xc0000080,                                     /* EFER */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, FMASK */
    0xc0000100, 0xc0000101, 0xc0000102,             /* FS base, GS base, kernel GS base */
    0xc0000103,                                     /* TSC_AUX */
};

#define NKNOWN (sizeof(known) / sizeof(known[0]))

/* What describes the processor beside CPUID; there is nothing to say, so each is 0. */
static const uint32_t features[] = {
    0x0000010a, /* architectural capabilities */
    0x00000345, /* performance monitoring */
};

#define NFEATURES (sizeof(features) / sizeof(features[0]))

/* The number that there are goes back in any case. */
static long give_list(void *to, const uint32_t *indices, uint32_t n)
{
	struct kvm_msr_list head = {.nmsrs = 0};
	uint32_t room;

	if (user_read(&head, to, sizeof(head)))
		return -EFAULT;
	room = head.nmsrs;
	head.nmsrs = n;
	if (user_write(to, &head, sizeof(head)))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	return user_write(USER_MEMBER(struct kvm_msr_list, to, indices), indices,
			  n * sizeof(*indices));
}

long msrs_index_list(void *body, void *arg)
{
	(void)body;
	return give_list(arg, known, NKNOWN);
}

long msrs_feature_list(void *body, void *arg)
{
	(void)body;
	return give_list(arg, features, NFEATURES);
}

/* The program's entries. Returns how many, or -errno; *out is the caller's to free. */
static long read_entries(const void *from, struct kvm_msr_entry **out)
{
	struct kvm_msrs head = {.nmsrs = 0};
	int err;

	if (user_read(&head, from, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= MAX_MSRS)
		return -E2BIG;
	*out = calloc(head.nmsrs + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	err = user_read(*out, USER_MEMBER(struct kvm_msrs, from, entries),
			head.nmsrs * sizeof(**out));
	if (err) {
		free(*out);
		*out = NULL;
		return -EFAULT;
	}
	return head.nmsrs;
}

static bool is_feature(uint32_t index)
{
	for (size_t i = 0; i < NFEATURES; i++)
		if (features[i] == index)
			return true;
	return false;
}

/* As msrs_get(), of /dev/kvm itself. */
long msrs_get_features(void *body, void *arg)
{
	struct kvm_msr_entry *entries;
	long n = read_entries(arg, &entries), i;

	(void)body;
	if (n < 0)
		return n;
	for (i = 0; i < n && is_feature(entries[i].index); i++)
		entries[i].data = 0;
	if (user_write(USER_MEMBER(struct kvm_msrs, arg, entries), entries,
		       (size_t)n * sizeof(*entries)))
		i = -EFAULT;
	free(entries);
	return i;
}

/* How many were done before the first that cannot be. */
long msrs_get(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct kvm_msr_entry *entries;
	long n = read_entries(arg, &entries), i;
	uint64_t val;

	if (n < 0)
		return n;
	for (i = 0; i < n && !cpu_msr_get(vcpu->cpu, entries[i].index, &val); i++)
		entries[i].data = val;
	if (user_write(USER_MEMBER(struct kvm_msrs, arg, entries), entries,
		       (size_t)n * sizeof(*entries)))
		i = -EFAULT;
	free(entries);
	return i;
}

long msrs_set(void *body, void *arg)
{
	struct vcpu *vcpu = body;
	struct kvm_msr_entry *entries;
	long n = read_entries(arg, &entries), i;

	if (n < 0)
		return n;
	for (i = 0; i < n && !cpu_msr_set(vcpu->cpu, entries[i].index, entries[i].data); i++)
		;
	free(entries);
	return i;
}

/* ---- The time stamp counter's frequency --------------------------------- */

static long tsc_khz;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Guests read the host's counter: measured once, over two milliseconds. */
static void measure(void)
{
	const uint64_t begin_ns = now_ns(), begin = __rdtsc();
	uint64_t ns;

	do
		ns = now_ns() - begin_ns;
	while (ns < 2000000);
	tsc_khz = (long)((__rdtsc() - begin) * 1000000 / ns);
}

long msrs_tsc_khz(void *body, void *arg)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)body;
	(void)arg;
	pthread_once(&once, measure);
	return tsc_khz;
}
