/* SPDX-License-Identifier: MIT */
/* progress.h - a bar on stderr, only where stderr is a terminal. */
#ifndef MSLOT_CLI_PROGRESS_H
#define MSLOT_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown;
	uint64_t next_ns; /* not drawn again before */
	unsigned int width_drawn;
};

void progress_init(struct progress *p);
/* Draw `done` of `total` behind `what`, at most 20 times a second. */
void progress_update(struct progress *p, const char *what, uint64_t done, uint64_t total);
/* Wipe the bar away: before other output, and at the end. */
void progress_clear(struct progress *p);

#endif /* MSLOT_CLI_PROGRESS_H */
