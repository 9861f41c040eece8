/* SPDX-License-Identifier: MIT */
/*
 * view.c - what a slot descriptor has of extents.
 *
 * Steps of log_view_create(): list the old pieces that lie in the new range by rising page;
 * walk over the range, taking a piece where there is one and making an extent for each gap;
 * join neighbours that are of one extent, as a merge of what was split makes them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/page.h"
#include "log/extent.h"

/* The part of a piece in [first, end), of which there is one. */
static struct log_piece clip(const struct log_piece *piece, uint64_t first, uint64_t end)
{
	uint64_t low = u64_max(piece->first, first);
	uint64_t high = u64_min(piece->first + piece->npages, end);

	return (struct log_piece){.first = low, .npages = high - low, .extent = piece->extent};
}

static int compare_pieces(const void *a, const void *b)
{
	const struct log_piece *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/*
 * What of a view's pieces lies in [first, end), to `list`, or only counted where that is NULL.
 * Found by bisection: a slot of many pieces may be split into many parts.
 */
static uint32_t clip_view(const struct log_view *view, uint64_t first, uint64_t end,
			  struct log_piece *list)
{
	const struct log_piece *piece, *last = view->pieces + view->npieces;
	uint32_t n = 0;

	if (end <= view->first || first >= view->first + view->npages)
		return 0;
	piece = log_view_piece(view, u64_max(first, view->first));
	for (; piece < last && piece->first < end; piece++, n++)
		if (list)
			list[n] = clip(piece, first, end);
	return n;
}

/* Pieces of the old views that lie in [first, end), sorted. *out is NULL when there are none. */
static int list_old(uint64_t first, uint64_t end, const struct log_view *const *old, uint32_t nold,
		    struct log_piece **out, uint32_t *n)
{
	struct log_piece *list;
	uint64_t room = 0;
	uint32_t i;

	*out = NULL;
	*n = 0;
	for (i = 0; i < nold; i++)
		room += clip_view(old[i], first, end, NULL);
	if (room == 0)
		return 0;
	list = mem_alloc(room * sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (i = 0; i < nold; i++)
		*n += clip_view(old[i], first, end, list + *n);
	qsort(list, *n, sizeof(*list), compare_pieces);
	*out = list;
	return 0;
}

/* Append a piece, whose reference becomes the view's; joined to the last one where it fits. */
static void append(struct log_view *view, const struct log_piece *piece)
{
	struct log_piece *last = view->npieces ? &view->pieces[view->npieces - 1] : NULL;

	if (last && last->extent == piece->extent && last->first + last->npages == piece->first) {
		last->npages += piece->npages;
		log_extent_put(piece->extent);
	} else {
		view->pieces[view->npieces++] = *piece;
	}
}

static int append_new(struct log_view *view, uint64_t first, uint64_t end,
		      const struct log_wants *wants, bool *added)
{
	struct log_piece piece = {.first = first, .npages = end - first};
	int err;

	if (first == end)
		return 0;
	err = log_extent_create(first, end - first, wants, &piece.extent);
	if (err)
		return err;
	*added = true;
	append(view, &piece);
	return 0;
}

static int fill_view(struct log_view *view, const struct log_piece *old, uint32_t nold,
		     const struct log_wants *wants, bool *added)
{
	uint64_t pos = view->first, end = view->first + view->npages;
	uint32_t i;
	int err;

	for (i = 0; i < nold; i++) {
		err = append_new(view, pos, old[i].first, wants, added);
		if (!err)
			err = log_extent_equip(old[i].extent, wants, old[i].first, old[i].npages,
					       added);
		if (err)
			return err;
		log_extent_get(old[i].extent);
		append(view, &old[i]);
		pos = old[i].first + old[i].npages;
	}
	return append_new(view, pos, end, wants, added);
}

int log_view_create(uint64_t first, uint64_t npages, const struct log_view *const *old,
		    uint32_t nold, const struct log_wants *wants, struct log_view **out,
		    bool *added)
{
	struct log_piece *list;
	struct log_view *view;
	uint32_t n;
	int err;

	err = list_old(first, first + npages, old, nold, &list, &n);
	if (err)
		return err;
	/* A gap before each piece and one behind the last. */
	view = mem_alloc(sizeof(*view) + (2 * (size_t)n + 1) * sizeof(view->pieces[0]));
	if (view) {
		*view = (struct log_view){.first = first, .npages = npages};
		err = fill_view(view, list, n, wants, added);
	} else {
		err = -ENOMEM;
	}
	mem_free(list);
	if (err)
		log_view_destroy(view);
	else
		*out = view;
	return err;
}

void log_view_destroy(struct log_view *view)
{
	uint32_t i;

	if (!view)
		return;
	for (i = 0; i < view->npieces; i++)
		log_extent_put(view->pieces[i].extent);
	mem_free(view);
}
