/* SPDX-License-Identifier: MIT */
/*
 * standalone.c - run a fuzz target on files, without a fuzzer.
 *
 *   regress-fuzz-NAME FILE|DIRECTORY...
 *
 * Names each input before it runs, so that the last line of a crash tells which one it
 * was. Fails when there was no input at all.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned long ninputs;

static void run_file(const char *path, size_t size)
{
	/* The bytes end where the memory does, so that reading past them is noticed. */
	uint8_t *data = malloc(size ? size : 1);
	FILE *f = fopen(path, "rbe");

	if (!f || !data || fread(data, 1, size, f) != size) {
		(void)fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	(void)fclose(f);
	(void)printf("%s\n", path);
	(void)fflush(stdout);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	ninputs++;
}

static void run_path(const char *path)
{
	struct dirent **entry;
	struct stat st;
	int n;

	if (stat(path, &st)) {
		(void)fprintf(stderr, "no such file: %s\n", path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return;
	}
	n = scandir(path, &entry, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char child[4096];

		(void)snprintf(child, sizeof(child), "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			run_path(child);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	(void)printf("%lu inputs\n", ninputs);
	return ninputs == 0;
}
