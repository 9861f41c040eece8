/* SPDX-License-Identifier: MIT */
/* mmu_run.c - see mmu.h. */
#include "mmu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOST_ALIGN (UINT64_C(1) << 30)
#define SLOW_REPETITIONS 7u

static uint64_t host_bytes(const struct mmu_shape *shape)
{
	return (shape->npages + shape->other_pages) * MMU_PAGE;
}

/* Address space only, and pages of it singly: large ones would come and go as the host likes. */
int mmu_host_init(const struct bench_group *g, struct mmu_shape *shape)
{
	const uint64_t len_bytes = host_bytes(shape);
	char *const raw = bench_host(len_bytes + HOST_ALIGN, g->why);
	uint64_t head;

	if (raw == NULL)
		return -1;
	head = (HOST_ALIGN - (uintptr_t)raw % HOST_ALIGN) % HOST_ALIGN;
	if (head > 0)
		munmap(raw, head);
	if (head < HOST_ALIGN)
		munmap(raw + head + len_bytes, HOST_ALIGN - head);
	shape->host = raw + head;
	madvise(shape->host, len_bytes, MADV_NOHUGEPAGE);
	return 0;
}

void mmu_host_fini(struct mmu_shape *shape)
{
	if (shape->host != NULL)
		munmap(shape->host, host_bytes(shape));
	shape->host = NULL;
}

int mmu_take_turns(const struct bench_group *g, struct mmu_point *point)
{
	struct group_turn turn[GROUP_TURNS];
	size_t n = 0;
	int ret = mmu_host_init(g, &point->shape);

	if (point->row.axis == NULL)
		point->row.axis = "slots";
	for (size_t i = 0; i < nmmu_engines && ret == 0; i++) {
		const struct mmu_engine *const e = mmu_engines[i];

		if ((e->parts >> point->part & 1) == 0 || n == GROUP_TURNS)
			continue;
		turn[n] = group_turn_of(g, e->name, &point->row);
		turn[n].engine = e;
		turn[n].ctx = point;
		turn[n].few = SLOW_REPETITIONS;
		turn[n].world = e->create(&point->shape, turn[n].why);
		turn[n].measure = point->measure;
		turn[n].destroy = e->destroy;
		n++;
	}
	if (ret == 0)
		ret = group_take_turns(g, turn, n);
	mmu_host_fini(&point->shape);
	return ret;
}

/* ---- What the tables say --------------------------------------------------------- */

enum bench_outcome mmu_broken(struct group_turn *t, const char *what, int64_t err)
{
	return group_failed(t, "%s: %s", what, strerror((int)-err));
}

enum bench_outcome mmu_check_mapped(struct group_turn *t, unsigned int thread,
				    struct mslot_range range, bool mapped)
{
	const struct mmu_engine *const e = t->engine;
	const struct mmu_shape *const s = mmu_shape_of(t);

	for (uint64_t addr = range.start; addr < range.start + range.len_bytes; addr += MMU_PAGE) {
		uint64_t hva = 0;
		const int ret = e->lookup(t->world, thread, addr, &hva);

		if (ret < 0)
			return mmu_broken(t, "a lookup", ret);
		if (mapped && ret == 0)
			return group_failed(t, "0x%llx is not mapped", (unsigned long long)addr);
		if (!mapped && ret > 0)
			return group_failed(t, "0x%llx is mapped still", (unsigned long long)addr);
		if (mapped && hva != (uintptr_t)s->host + mmu_gpa(addr))
			return group_failed(t, "0x%llx is mapped to other memory",
					    (unsigned long long)addr);
	}
	return BENCH_OK;
}

uint64_t mmu_sum(const struct mmu_shape *shape, const struct mmu_addrs *a)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < a->n; i++)
		sum += (uintptr_t)shape->host + mmu_gpa(a->addr[i]);
	return sum;
}

enum bench_outcome mmu_fault_in(struct group_turn *t, unsigned int thread,
				const struct mmu_addrs *a)
{
	uint64_t sum = 0;
	const int ret = mmu_engine_of(t)->fault(t->world, thread, a, &sum);

	if (ret < 0)
		return mmu_broken(t, "a fault", ret);
	if (sum != mmu_sum(mmu_shape_of(t), a))
		return group_failed(t, "faults gave other host addresses");
	return BENCH_OK;
}

enum bench_outcome mmu_fill(struct group_turn *t, unsigned int thread, struct mslot_range range)
{
	const int64_t n = mmu_engine_of(t)->fill(t->world, thread, range);

	if (n < 0)
		return mmu_broken(t, "a prefault", n);
	if ((uint64_t)n != range.len_bytes / MMU_PAGE)
		return group_failed(t, "%lld pages are mapped, expected %llu", (long long)n,
				    (unsigned long long)(range.len_bytes / MMU_PAGE));
	return BENCH_OK;
}

uint64_t *mmu_pages(uint64_t first, size_t n, bool shuffled)
{
	uint64_t *const addr = bench_alloc(n, sizeof(*addr));
	struct rng rng = {n};

	for (size_t i = 0; i < n; i++)
		addr[i] = (first + i) * MMU_PAGE;
	for (size_t i = n; i-- > 1 && shuffled;) {
		const size_t k = rng_below(&rng, i + 1);
		const uint64_t other = addr[k];

		addr[k] = addr[i];
		addr[i] = other;
	}
	return addr;
}
