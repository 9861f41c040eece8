/* SPDX-License-Identifier: MIT */
/* map.h - what the parts of `mslot map` share. */
#ifndef MSLOT_CLI_MAP_H
#define MSLOT_CLI_MAP_H

#include "plan.h"
#include "svg.h"

#define MAP_VERB "map"

/* ---- Where a map comes from ------------------------------------------------ */

/* A trace applied to a map request by request, up to a time. */
struct map_trace {
	const char *path;
	bool has_at;
	uint64_t at_ns;
	const char *at_text; /* as the user wrote it */
};

struct map_source {
	struct mslot_map *map;
	char *title;   /* what is shown, from the name of the trace */
	char when[80]; /* at which moment */
	void *memory;  /* of the live map */
};

/* Each returns 0, or -1 with a message printed and nothing to end. */
int map_from_trace(struct map_source *src, const struct map_trace *from);
int map_from_live(struct map_source *src);
void map_source_fini(struct map_source *src);

/* ---- What a snapshot shows -------------------------------------------------- */

struct map_row {
	struct mslot_slot_info slot; /* its region is not to be used */
	struct mslot_key twin;       /* the first slot of the space that shows the same memory */
	unsigned int ntwins;         /* 0, 1, or 2 for several */
	size_t first_shared;
	size_t nshared; /* pieces of the slot whose host memory is shown twice */
};

/* Slots by rising (space, gpa). */
struct map_view {
	const char *title;
	const char *when;
	struct map_row *row;
	size_t nrows;
	struct plan_ranges shared;
	uint32_t nspaces;
};

/* Look at a snapshot; `only` is the one space wanted, or MSLOT_MAX_SPACES for all. */
void map_view_init(struct map_view *v, const struct mslot_snapshot *snap, uint32_t only);
void map_view_fini(struct map_view *v);
/* Rows [*first, the result) are those of the space. */
size_t map_view_space(const struct map_view *v, uint32_t space, size_t *first);
uint64_t map_view_bytes(const struct map_view *v, size_t first, size_t end);

/* Returns 0, or -1 with a message printed. */
int map_draw(const struct map_view *v, const char *path);

#endif /* MSLOT_CLI_MAP_H */
