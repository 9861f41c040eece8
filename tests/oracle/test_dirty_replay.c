/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_replay.c - the recorded dirty-log requests through the engine that this is
 * linked with.
 *
 * Usage: dirty_replay DIRECTORY
 */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/oracle_dirty.h"

int main(int argc, char **argv)
{
	struct progress progress;
	struct verdict v = {.report = stdout};
	char pattern[4096];
	int status = 0;
	glob_t found;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	snprintf(pattern, sizeof(pattern), "%s/dirty-*.csv", argv[1]);
	if (glob(pattern, 0, NULL, &found) != 0) {
		fprintf(stderr, "no logs: %s\n", pattern);
		return 1;
	}
	progress_init(&progress);
	for (size_t i = 0; i < found.gl_pathc; i++)
		status |= oracle_dirty_log(&v, found.gl_pathv[i], &progress) != CLI_OK;
	printf("%zu logs, %" PRIu64 " requests, %" PRIu64 " mismatches\n", found.gl_pathc,
	       v.requests, v.mismatches);
	status |= v.requests == 0 || v.mismatches > 0;
	globfree(&found);
	verdict_fini(&v);
	return status;
}
