/* SPDX-License-Identifier: MIT */
/*
 * test_cli_oracle.c - `mslot oracle` over all recorded logs, or against the live kernel.
 *
 * Usage: cli_oracle --log DIRECTORY | --live N SEED
 * Exit 77 where the command says that there is no kernel to ask.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/run.h"

/* Lines of a log without its header. */
static unsigned long long count_requests(const char *path)
{
	FILE *const file = fopen(path, "re");
	unsigned long long lines = 0;
	int c;

	if (file == NULL) {
		perror(path);
		exit(1);
	}
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines - 1;
}

static const char *last_line(char *text)
{
	const size_t len = strlen(text);
	char *newline;

	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	newline = strrchr(text, '\n');
	return newline != NULL ? newline + 1 : text;
}

/* Run the command; the exit status of the test. */
static int check(const char *const *argv, unsigned long long expected)
{
	unsigned long long requests = 0, mismatches = 1;
	struct run r;
	int status, end = 0;

	run_cli(&r, argv);
	fputs(r.err, stderr);
	sscanf(last_line(r.out), "{\"requests\":%llu,\"mismatches\":%llu}%n", &requests,
	       &mismatches, &end);
	status = r.status;
	if (status == 77) {
		printf("skipped: %s", r.err);
		run_free(&r);
		return 77;
	}
	printf("exit %d, %llu requests of %llu, %llu mismatches\n", status, requests, expected,
	       mismatches);
	run_free(&r);
	return status == 0 && end > 0 && requests == expected && expected > 0 && mismatches == 0
		   ? 0
		   : 1;
}

static int check_logs(const char *directory)
{
	const char *argv[RUN_MAX_ARGS] = {"oracle", "--json", "--log"};
	unsigned long long expected = 0;
	char pattern[4096];
	glob_t found;
	int status;

	snprintf(pattern, sizeof(pattern), "%s/kvm-*.csv", directory);
	if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc > RUN_MAX_ARGS - 4) {
		fprintf(stderr, "no logs, or too many: %s\n", pattern);
		return 1;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		argv[3 + i] = found.gl_pathv[i];
		expected += count_requests(found.gl_pathv[i]);
	}
	status = check(argv, expected);
	globfree(&found);
	return status;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--log") == 0)
		return check_logs(argv[2]);
	if (argc == 4 && strcmp(argv[1], "--live") == 0) {
		const char *const args[] = {"oracle", "--live", argv[2], "--seed",
					    argv[3],  "--json", NULL};

		return check(args, strtoull(argv[2], NULL, 10));
	}
	fprintf(stderr, "usage: %s --log DIRECTORY | --live N SEED\n", argv[0]);
	return 2;
}
