/* SPDX-License-Identifier: MIT */
/*
 * test_engine_rbtree.c - the red-black trees of the benchmark's engine "two-sets": their
 * invariants after each of many random updates, and that the checker notices each kind of
 * damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engines/two_sets_rbtree.h"
#include "rng.h"

#define ITEMS 300u
#define STEPS 20000u

/* The aggregate is the greatest weight below. */
struct item {
	struct rb_node node;
	uint64_t key, weight, greatest;
	bool in;
};

struct world {
	struct rb_tree tree;
	struct item item[ITEMS], spare;
	size_t n;
};

static struct item *item_of(const struct rb_node *node)
{
	return (struct item *)((uintptr_t)node - offsetof(struct item, node));
}

static uint64_t greatest_below(const struct rb_node *node)
{
	uint64_t greatest = item_of(node)->weight;

	for (int side = 0; side < 2; side++) {
		if (node->child[side] && item_of(node->child[side])->greatest > greatest)
			greatest = item_of(node->child[side])->greatest;
	}
	return greatest;
}

static void refresh(struct rb_node *node)
{
	item_of(node)->greatest = greatest_below(node);
}

static bool ordered(const struct rb_node *a, const struct rb_node *b)
{
	return item_of(a)->key <= item_of(b)->key;
}

static bool fresh(const struct rb_node *node)
{
	return item_of(node)->greatest == greatest_below(node);
}

static const char *check(const struct world *w, size_t *n)
{
	return rb_check(&w->tree, &(struct rb_rules){ordered, fresh}, n);
}

static void add(struct world *w, struct item *item)
{
	struct rb_node *parent = NULL, *node = w->tree.root;
	int side = 0;

	while (node) {
		parent = node;
		side = item->key >= item_of(node)->key;
		node = node->child[side];
	}
	rb_insert(&w->tree, &item->node, parent, side);
	item->in = true;
	w->n++;
}

static void assert_sound(const struct world *w)
{
	size_t n;
	const char *why = check(w, &n);

	if (why)
		fail_msg("%s", why);
	assert_int_equal(n, w->n);
}

static void fill(struct world *w, uint64_t seed)
{
	struct rng rng;

	rng_init(&rng, seed);
	*w = (struct world){.tree.refresh = refresh};
	for (size_t i = 0; i < ITEMS; i++) {
		w->item[i].key = i;
		w->item[i].weight = rng_below(&rng, 1000);
	}
	for (size_t i = ITEMS; i-- > 0;)
		add(w, &w->item[i * 7 % ITEMS]);
}

static void test_invariants_hold_after_random_updates(void **state)
{
	struct world w = {.tree.refresh = refresh};
	struct rng rng;

	(void)state;
	rng_init(&rng, 1);
	for (size_t step = 0; step < STEPS; step++) {
		struct item *item = &w.item[rng_below(&rng, ITEMS)];
		/* Growth and decline take turns; few keys, so that many are equal. */
		const bool grow = rng_chance(&rng, step / 1000 % 2 ? 30 : 70);

		if (!item->in && grow) {
			item->key = rng_below(&rng, ITEMS / 2);
			item->weight = rng_below(&rng, 1000);
			add(&w, item);
		} else if (item->in && rng_chance(&rng, 10)) {
			w.spare = *item;
			rb_replace(&w.tree, &item->node, &w.spare.node);
			item->node = (struct rb_node){0};
			assert_sound(&w);
			rb_replace(&w.tree, &w.spare.node, &item->node);
		} else if (item->in && !grow) {
			rb_erase(&w.tree, &item->node);
			item->in = false;
			w.n--;
		}
		assert_sound(&w);
	}
}

static void test_rising_and_falling_keys(void **state)
{
	struct world w;

	(void)state;
	for (int falling = 0; falling < 2; falling++) {
		w = (struct world){.tree.refresh = refresh};
		for (size_t i = 0; i < ITEMS; i++) {
			w.item[i].key = falling ? ITEMS - i : i;
			add(&w, &w.item[i]);
			assert_sound(&w);
		}
		for (size_t i = 0; i < ITEMS; i++, w.n--) {
			assert_sound(&w);
			rb_erase(&w.tree, &w.item[i].node);
		}
		assert_null(w.tree.root);
	}
}

/* A node of the colour, below the root, with two children. */
static struct rb_node *inner_node(struct world *w, uintptr_t colour)
{
	for (size_t i = 0; i < ITEMS; i++) {
		struct rb_node *node = &w->item[i].node;

		if (rb_parent(node) && node->child[0] && node->child[1] &&
		    (node->parent & RB_BLACK) == colour)
			return node;
	}
	fail_msg("the tree has no such node");
	return NULL;
}

static void assert_noticed(const struct world *w, const char *begin)
{
	size_t n;
	const char *why = check(w, &n);

	assert_non_null(why);
	assert_memory_equal(why, begin, 2);
}

static void test_checker_notices_damage(void **state)
{
	struct world w;
	struct rb_node *node;

	(void)state;
	fill(&w, 1);
	assert_sound(&w);
	w.tree.root->parent &= ~RB_BLACK;
	assert_noticed(&w, "B1");

	fill(&w, 2);
	inner_node(&w, 0)->child[0]->parent &= ~RB_BLACK;
	assert_noticed(&w, "B1");

	fill(&w, 3);
	inner_node(&w, 0)->parent |= RB_BLACK;
	assert_noticed(&w, "B2");

	fill(&w, 4);
	node = inner_node(&w, RB_BLACK);
	node->child[1]->parent = (uintptr_t)w.tree.root | (node->child[1]->parent & RB_BLACK);
	assert_noticed(&w, "B3");

	fill(&w, 5);
	item_of(w.tree.root->child[0])->greatest++;
	assert_noticed(&w, "B4");

	fill(&w, 6);
	item_of(w.tree.root)->key = 0;
	assert_noticed(&w, "two nodes are not in order");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_invariants_hold_after_random_updates),
	    cmocka_unit_test(test_rising_and_falling_keys),
	    cmocka_unit_test(test_checker_notices_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
