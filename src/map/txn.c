/* SPDX-License-Identifier: MIT */
/*
 * txn.c - collecting edits. One primitive, mslot_txn_add(); the verbs are short for it.
 * Nothing is looked up here: edits meet the map at commit.
 */
#include "map/txn.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

void txn_init(struct mslot_txn *txn, struct mslot_map *map)
{
	txn->map = map;
	txn->edits = txn->inline_edits;
	txn->nedits = 0;
	txn->nparts = 0;
	txn->capacity = TXN_INLINE_EDITS;
}

int mslot_txn_begin(struct mslot_map *map, struct mslot_txn **out)
{
	struct mslot_txn *txn = mem_alloc(sizeof(*txn));

	if (!txn)
		return -ENOMEM;
	txn_init(txn, map);
	*out = txn;
	return 0;
}

static bool has_parts(enum mslot_edit_kind kind)
{
	return kind == MSLOT_EDIT_SPLIT || kind == MSLOT_EDIT_MERGE;
}

static bool has_region(enum mslot_edit_kind kind)
{
	return kind == MSLOT_EDIT_CREATE || kind == MSLOT_EDIT_REDEFINE ||
	       kind == MSLOT_EDIT_REPLACE;
}

static int grow(struct mslot_txn *txn)
{
	uint32_t capacity = txn->capacity * 4;
	bool on_heap = txn->edits != txn->inline_edits;
	struct mslot_edit *edits;

	edits = mem_realloc(on_heap ? txn->edits : NULL, capacity * sizeof(*edits));
	if (!edits)
		return -ENOMEM;
	if (!on_heap)
		memcpy(edits, txn->inline_edits, sizeof(txn->inline_edits));
	txn->edits = edits;
	txn->capacity = capacity;
	return 0;
}

/*
 * A run of edits that name one region has one reference of it, the first edit's: counting
 * is dearer than looking.
 */
static bool begins_run(const struct mslot_txn *txn, uint32_t i)
{
	return txn->edits[i].def.region &&
	       (i == 0 || txn->edits[i - 1].def.region != txn->edits[i].def.region);
}

/* Copy the parts and take the region reference of edit i, which is not counted yet. */
static int own(struct mslot_txn *txn, uint32_t i)
{
	const struct mslot_region *built_in = &txn->map->kvm_region;
	struct mslot_edit *edit = &txn->edits[i];
	struct mslot_part *parts = NULL;
	size_t bytes;

	if (!has_parts(edit->kind) || edit->nparts == 0) {
		edit->parts = NULL;
		edit->nparts = 0;
	} else {
		if (__builtin_mul_overflow(edit->nparts, sizeof(*parts), &bytes))
			return -ENOMEM;
		parts = mem_alloc(bytes);
		if (!parts)
			return -ENOMEM;
		memcpy(parts, edit->parts, bytes);
		edit->parts = parts;
	}
	/*
	 * The built-in region of another map ends with that map, whatever is counted: it is no
	 * region here, and commit says so.
	 */
	if (!has_region(edit->kind) ||
	    (edit->def.region && edit->def.region->built_in && edit->def.region != built_in))
		edit->def.region = NULL;
	if (begins_run(txn, i))
		region_get(edit->def.region, 1);
	return 0;
}

int txn_add(struct mslot_txn *txn, const struct mslot_edit *edit)
{
	int err;

	if (txn->nedits == txn->capacity) {
		err = grow(txn);
		if (err)
			return err;
	}
	txn->edits[txn->nedits] = *edit;
	err = own(txn, txn->nedits);
	if (err)
		return err;
	txn->nparts += txn->edits[txn->nedits].nparts;
	return (int)txn->nedits++;
}

int mslot_txn_add(struct mslot_txn *txn, const struct mslot_edit *edit)
{
	if (txn->nedits >= txn->map->opt.max_edits)
		return -E2BIG;
	/* Names are what a commit's memory is proportional to, and what it counts in 32 bits. */
	if (has_parts(edit->kind) &&
	    (edit->nparts > txn->map->opt.max_edits || txn->nparts + edit->nparts > INT32_MAX))
		return -E2BIG;
	return txn_add(txn, edit);
}

int mslot_txn_create(struct mslot_txn *txn, const struct mslot_slot_def *def)
{
	return mslot_txn_add(txn, &(struct mslot_edit){.kind = MSLOT_EDIT_CREATE, .def = *def});
}

int mslot_txn_delete(struct mslot_txn *txn, struct mslot_key key)
{
	return mslot_txn_add(txn, &(struct mslot_edit){.kind = MSLOT_EDIT_DELETE, .def.key = key});
}

int mslot_txn_redefine(struct mslot_txn *txn, const struct mslot_slot_def *def)
{
	return mslot_txn_add(txn, &(struct mslot_edit){.kind = MSLOT_EDIT_REDEFINE, .def = *def});
}

int mslot_txn_move(struct mslot_txn *txn, struct mslot_key key, uint64_t gpa)
{
	return mslot_txn_add(txn, &(struct mslot_edit){
				      .kind = MSLOT_EDIT_MOVE,
				      .def = {.key = key, .gpa = gpa},
				  });
}

int mslot_txn_set_flags(struct mslot_txn *txn, struct mslot_key key, uint32_t flags)
{
	return mslot_txn_add(txn, &(struct mslot_edit){
				      .kind = MSLOT_EDIT_SET_FLAGS,
				      .def = {.key = key, .flags = flags},
				  });
}

int mslot_txn_resize(struct mslot_txn *txn, struct mslot_key key, struct mslot_range range)
{
	return mslot_txn_add(
	    txn, &(struct mslot_edit){
		     .kind = MSLOT_EDIT_RESIZE,
		     .def = {.key = key, .gpa = range.start, .len_bytes = range.len_bytes},
		 });
}

int mslot_txn_replace(struct mslot_txn *txn, struct mslot_key key, struct mslot_region *region,
		      uint64_t offset_bytes)
{
	return mslot_txn_add(
	    txn, &(struct mslot_edit){
		     .kind = MSLOT_EDIT_REPLACE,
		     .def = {.key = key, .region = region, .offset_bytes = offset_bytes},
		 });
}

int mslot_txn_split(struct mslot_txn *txn, struct mslot_key key, const struct mslot_part *parts,
		    size_t nparts)
{
	return mslot_txn_add(txn, &(struct mslot_edit){
				      .kind = MSLOT_EDIT_SPLIT,
				      .def.key = key,
				      .parts = parts,
				      .nparts = nparts,
				  });
}

int mslot_txn_merge(struct mslot_txn *txn, struct mslot_key key, const struct mslot_part *parts,
		    size_t nparts)
{
	return mslot_txn_add(txn, &(struct mslot_edit){
				      .kind = MSLOT_EDIT_MERGE,
				      .def.key = key,
				      .parts = parts,
				      .nparts = nparts,
				  });
}

void txn_fini(struct mslot_txn *txn)
{
	uint32_t i;

	for (i = 0; i < txn->nedits; i++) {
		mem_free((void *)(uintptr_t)txn->edits[i].parts);
		if (begins_run(txn, i))
			region_unref(txn->edits[i].def.region, 1);
	}
	if (txn->edits != txn->inline_edits)
		mem_free(txn->edits);
}

void mslot_txn_abort(struct mslot_txn *txn)
{
	if (!txn)
		return;
	txn_fini(txn);
	mem_free(txn);
}
