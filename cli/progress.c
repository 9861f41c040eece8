/* SPDX-License-Identifier: MIT */
/* progress.c - the progress bar; see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli.h"

#define BAR_CELLS 30u
#define REDRAW_NS 50000000u

void progress_init(struct progress *p)
{
	*p = (struct progress){.shown = isatty(STDERR_FILENO) == 1};
}

void progress_update(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	char bar[BAR_CELLS + 1];
	uint64_t now;
	double part;
	int drawn;

	if (!p->shown)
		return;
	now = cli_now_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + REDRAW_NS;
	part = total > 0 ? (double)done / (double)total : 1.0;
	part = part > 1.0 ? 1.0 : part;
	for (unsigned int i = 0; i < BAR_CELLS; i++)
		bar[i] = i < (unsigned int)(part * BAR_CELLS) ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	drawn = fprintf(stderr, "\r[%s] %3u%% %-44.44s", bar, (unsigned int)(part * 100), what);
	p->width_drawn = drawn > 0 ? (unsigned int)drawn - 1 : 0;
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (p->width_drawn > 0)
		fprintf(stderr, "\r%*s\r", (int)p->width_drawn, "");
	fflush(stderr);
	p->width_drawn = 0;
	p->next_ns = 0;
}
