/* SPDX-License-Identifier: MIT */
/* oracle_log.c - replay a recorded log of requests and answers into a fresh map. */
#include "oracle.h"

#include <string.h>

#include "cli.h"

int oracle_log(struct verdict *v, const char *path, struct progress *progress)
{
	struct lines_fault fault;
	struct request_log log;
	struct mslot_map *map;
	int ret;

	if (request_log_read(&log, path, &fault) < 0) {
		lines_report("oracle", path, &fault);
		return CLI_FAILED;
	}
	/* The defaults are the limits of the kernels that the logs come from. */
	ret = mslot_map_create(NULL, &map);
	if (ret < 0) {
		cli_error("oracle", "cannot create a map: %s", strerror(-ret));
		request_log_free(&log);
		return CLI_FAILED;
	}
	for (size_t i = 0; i < log.nrequests; i++) {
		verdict_check(v, map, path, log.request, i);
		if (i % 256 == 0)
			progress_update(progress, path, i, log.nrequests);
	}
	progress_clear(progress);
	request_log_free(&log);
	ret = mslot_map_destroy(map);
	if (ret < 0)
		cli_error("oracle", "cannot destroy the map: %s", strerror(-ret));
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
