/* SPDX-License-Identifier: MIT */
#include "index/tree/tree.h"
#include "index/tree/update.h"

uint64_t index_node_max_end(const struct index_node *node)
{
	const uint64_t *end = node->word + node->cap;
	uint64_t max = 0;
	unsigned int i;

	for (i = 0; i < node->count; i++)
		max = end[i] > max ? end[i] : max;
	return max;
}

struct index_node *index_node_alloc(struct index_update *up, unsigned int level, size_t count)
{
	unsigned int cap = node_cap(count);
	size_t bytes = node_bytes(cap, up->ties);
	struct index_node *node = pool_alloc(up->batch->pool, bytes);

	if (!node)
		return NULL;
	node->link.next = up->batch->created;
	node->link.birth = up->batch->birth;
	up->batch->created = &node->link;
	node->level = (uint8_t)level;
	node->count = (uint8_t)count;
	node->cap = (uint8_t)cap;
	node->ties = up->ties;
	node->fresh = 0;
	node->dead = 0;
	up->bytes += bytes;
	return node;
}

struct index_node *index_node_create(struct index_update *up, unsigned int level,
				     const struct index_entry *entries, size_t count)
{
	struct index_node *node = index_node_alloc(up, level, count);
	uint64_t *word;
	size_t i, cap;

	if (!node)
		return NULL;
	word = node->word;
	cap = node->cap;
	for (i = 0; i < count; i++) {
		word[i] = entries[i].start;
		word[cap + i] = entries[i].end;
		word[2 * cap + i] = (uintptr_t)entries[i].item;
		if (up->ties)
			word[3 * cap + i] = entries[i].tie;
	}
	for (; i < cap; i++) {
		word[i] = UINT64_MAX;
		word[cap + i] = 0;
		word[2 * cap + i] = 0;
		if (up->ties)
			word[3 * cap + i] = 0;
	}
	return node;
}

void index_node_retire(struct index_update *up, struct index_node *node)
{
	up->bytes -= node_cost(node);
	index_batch_retire(up->batch, &node->link, node_cost(node));
}

void index_node_discard(struct index_update *up, struct index_node *node)
{
	if (node->fresh) {
		node->dead = 1;
		up->bytes -= node_cost(node);
	} else {
		index_node_retire(up, node);
	}
}
