/* SPDX-License-Identifier: MIT */
/*
 * edit_by_verb.h - an edit through the verb for its kind, so that tests that make up edits
 * call the verbs as well as mslot_txn_add().
 */
#ifndef MSLOT_TESTS_EDIT_BY_VERB_H
#define MSLOT_TESTS_EDIT_BY_VERB_H

#include <mslot/txn.h>

/* An edit that no verb can make (of an unknown kind, or with edit flags) is added as it is. */
static inline int edit_by_verb(struct mslot_txn *txn, const struct mslot_edit *edit)
{
	const struct mslot_slot_def *def = &edit->def;

	if (edit->edit_flags)
		return mslot_txn_add(txn, edit);
	switch (edit->kind) {
	case MSLOT_EDIT_CREATE:
		return mslot_txn_create(txn, def);
	case MSLOT_EDIT_DELETE:
		return mslot_txn_delete(txn, def->key);
	case MSLOT_EDIT_REDEFINE:
		return mslot_txn_redefine(txn, def);
	case MSLOT_EDIT_MOVE:
		return mslot_txn_move(txn, def->key, def->gpa);
	case MSLOT_EDIT_SET_FLAGS:
		return mslot_txn_set_flags(txn, def->key, def->flags);
	case MSLOT_EDIT_RESIZE:
		return mslot_txn_resize(txn, def->key,
					(struct mslot_range){def->gpa, def->len_bytes});
	case MSLOT_EDIT_REPLACE:
		return mslot_txn_replace(txn, def->key, def->region, def->offset_bytes);
	case MSLOT_EDIT_SPLIT:
		return mslot_txn_split(txn, def->key, edit->parts, edit->nparts);
	case MSLOT_EDIT_MERGE:
		return mslot_txn_merge(txn, def->key, edit->parts, edit->nparts);
	}
	return mslot_txn_add(txn, edit);
}

#endif /* MSLOT_TESTS_EDIT_BY_VERB_H */
