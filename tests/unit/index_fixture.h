/* SPDX-License-Identifier: MIT */
/*
 * index_fixture.h - what the unit tests of the index share. Includes cmocka, since the
 * helpers assert.
 */
#ifndef INDEX_FIXTURE_H
#define INDEX_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.h"
#include "index/index.h"

#define LARGEST 32764u
#define TOP (UINT64_MAX - 1) /* the last key there can be */
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct fixture {
	struct pool pool;
	uint64_t rng;
};

int setup(void **state);
int teardown(void **state);

void *item(uint64_t n);
struct index_edit put(uint64_t start, uint64_t end, uint64_t tie, void *what);
struct index_edit removal(uint64_t start, uint64_t tie);

/*
 * n edits, to be freed; without ties [10i, 10i+10), which touch, else all of them from
 * 10(i/4) to the top.
 */
struct index_edit *make_edits(size_t n, bool ties);
/* Apply, free what is retired, and check the tree. */
void apply(struct fixture *f, struct index_root *root, const struct index_edit *edits, size_t n);
/* The tree of make_edits(). */
struct index_root make_tree(struct fixture *f, size_t n, bool ties);
void drop_tree(struct fixture *f, struct index_root *root);
void shuffle(struct fixture *f, struct index_edit *e, size_t n);

#endif /* INDEX_FIXTURE_H */
