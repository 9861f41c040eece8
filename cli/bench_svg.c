/* SPDX-License-Identifier: MIT */
#include "bench.h"
#include "cli.h"
int bench_svg(const struct bench_output *out)
{
	cli_error(BENCH_VERB, "%s: drawing is not written yet", out->o->svg);
	return -1;
}
