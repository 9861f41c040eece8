/* SPDX-License-Identifier: MIT */
/* naive_mmu.c - the runs of naive_mmu.h; what the map says of them is in naive_mmu_map.c. */
#include "naive_mmu.h"

#include <stdlib.h>
#include <string.h>

void nmmu_fini(struct nmmu_runs *runs)
{
	free(runs->run);
	*runs = (struct nmmu_runs){0};
}

void nmmu_clear(struct nmmu_runs *runs)
{
	runs->n = 0;
}

static void reserve(struct nmmu_runs *runs, size_t n)
{
	if (n <= runs->cap)
		return;
	runs->cap = n * 2;
	runs->run = realloc(runs->run, runs->cap * sizeof(*runs->run));
	if (!runs->run)
		abort();
}

static void insert(struct nmmu_runs *runs, size_t at, const struct nmmu_run *run)
{
	reserve(runs, runs->n + 1);
	memmove(&runs->run[at + 1], &runs->run[at], (runs->n - at) * sizeof(*runs->run));
	runs->run[at] = *run;
	runs->n++;
}

void nmmu_append(struct nmmu_runs *runs, const struct nmmu_run *run)
{
	insert(runs, runs->n, run);
}

size_t nmmu_above(const struct nmmu_runs *runs, uint64_t page)
{
	size_t lo = 0, hi = runs->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (runs->run[mid].page + runs->run[mid].npages > page)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct nmmu_run *nmmu_find(const struct nmmu_runs *runs, uint64_t page)
{
	const size_t i = nmmu_above(runs, page);

	return i < runs->n && runs->run[i].page <= page ? &runs->run[i] : NULL;
}

bool nmmu_empty(const struct nmmu_runs *runs, uint64_t page, uint64_t npages)
{
	const size_t i = nmmu_above(runs, page);

	return i == runs->n || runs->run[i].page >= page + npages;
}

struct nmmu_run nmmu_part(const struct nmmu_run *run, uint64_t from, uint64_t n)
{
	struct nmmu_run part = *run;

	part.page += from;
	part.gfn += from;
	part.offset_pages += from;
	part.npages = n;
	if (n != run->npages) {
		/* Whether the parts of a leaf inherit these is nobody's promise. */
		part.level = 0;
		part.maybe_used |= part.used;
		part.used = 0;
	}
	return part;
}

void nmmu_cut(struct nmmu_runs *runs, uint64_t page, uint64_t npages, bool rest_must)
{
	const size_t first = nmmu_above(runs, page);
	const uint64_t end = page + npages;
	struct nmmu_run front, back;
	size_t last = first;

	while (last < runs->n && runs->run[last].page < end)
		last++;
	if (first == last)
		return;
	front = runs->run[first];
	back = runs->run[last - 1];
	memmove(&runs->run[first], &runs->run[last], (runs->n - last) * sizeof(*runs->run));
	runs->n -= last - first;
	if (back.page + back.npages > end) {
		const uint64_t from = end - back.page;

		back = nmmu_part(&back, from, back.npages - from);
		back.must = back.must && rest_must;
		insert(runs, first, &back);
	}
	if (front.page < page) {
		front = nmmu_part(&front, 0, page - front.page);
		front.must = front.must && rest_must;
		insert(runs, first, &front);
	}
}

void nmmu_put(struct nmmu_runs *runs, const struct nmmu_run *run, bool rest_must)
{
	nmmu_cut(runs, run->page, run->npages, rest_must);
	insert(runs, nmmu_above(runs, run->page), run);
}
