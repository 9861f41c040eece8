/* SPDX-License-Identifier: MIT */
#include "index_fixture.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "naive_index.h"

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	pool_init(&f->pool);
	f->rng = 1;
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	const char *why = pool_check(&f->pool);

	alloc_fail_at(0, 0);
	pool_fini(&f->pool);
	free(f);
	return why ? -1 : 0;
}

void *item(uint64_t n)
{
	return (void *)(uintptr_t)(n * 8 + 8);
}

struct index_edit put(uint64_t start, uint64_t end, uint64_t tie, void *what)
{
	return (struct index_edit){INDEX_PUT, {start, end, tie, what}};
}

struct index_edit removal(uint64_t start, uint64_t tie)
{
	return (struct index_edit){INDEX_REMOVE, {.start = start, .tie = tie}};
}

struct index_edit *make_edits(size_t n, bool ties)
{
	struct index_edit *e = malloc((n + 1) * sizeof(*e));
	size_t i;

	assert_non_null(e);
	for (i = 0; i < n; i++)
		e[i] = ties ? put(i / 4 * 10, UINT64_MAX - i, i % 4, item(i))
			    : put(i * 10, i * 10 + 10, 0, item(i));
	return e;
}

void apply(struct fixture *f, struct index_root *root, const struct index_edit *edits, size_t n)
{
	struct index_batch batch;

	index_batch_init(&batch, &f->pool, 7);
	assert_int_equal(index_apply(&batch, root, edits, n, root), 0);
	nindex_free_list(&f->pool, batch.retired);
	index_batch_fini(&batch);
	assert_string_equal(index_check(root) ? index_check(root) : "", "");
}

struct index_root make_tree(struct fixture *f, size_t n, bool ties)
{
	struct index_root root = {.ties = ties};
	struct index_edit *edits = make_edits(n, ties);

	apply(f, &root, edits, n);
	free(edits);
	return root;
}

void drop_tree(struct fixture *f, struct index_root *root)
{
	struct pool_link *list = NULL;

	index_collect(root, &list);
	nindex_free_list(&f->pool, list);
	root->node = NULL;
}

void shuffle(struct fixture *f, struct index_edit *e, size_t n)
{
	size_t i, j;

	for (i = n; i > 1; i--) {
		struct index_edit swap = e[i - 1];

		j = nindex_random(&f->rng) % i;
		e[i - 1] = e[j];
		e[j] = swap;
	}
}
