/* SPDX-License-Identifier: MIT */
/*
 * test_cli_oracle.c - `mslot oracle` over all recorded logs, or against the live kernel.
 *
 * Usage: cli_oracle --log DIRECTORY | --live N SEED | --dirty N SEED | --ask FILE
 * Exit 77 where the command says that there is no kernel to ask.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/run.h"

/* Lines of a log without its header, and without those that only start another VM. */
static unsigned long long count_requests(const char *path)
{
	FILE *const file = fopen(path, "re");
	unsigned long long lines = 0;
	size_t cap = 0;
	char *text = NULL;

	if (file == NULL) {
		perror(path);
		exit(1);
	}
	while (getline(&text, &cap, file) > 0)
		lines += strstr(text, ",vm,") == NULL;
	free(text);
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
	char slots[4096], dirty[4096];
	glob_t found;
	int status;

	snprintf(slots, sizeof(slots), "%s/kvm-*.csv", directory);
	snprintf(dirty, sizeof(dirty), "%s/dirty-*.csv", directory);
	if (glob(slots, 0, NULL, &found) != 0 || glob(dirty, GLOB_APPEND, NULL, &found) != 0 ||
	    found.gl_pathc > RUN_MAX_ARGS - 4) {
		fprintf(stderr, "no logs, or too many: %s, %s\n", slots, dirty);
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

static int check_live(const char *n, const char *seed, const char *kind)
{
	const char *const args[] = {"oracle", "--live", n, "--seed", seed, "--json", kind, NULL};

	return check(args, strtoull(n, NULL, 10));
}

static int check_ask(const char *path)
{
	const char *const args[] = {"oracle", "--ask", path, "--json", NULL};

	return check(args, count_requests(path));
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--log") == 0)
		return check_logs(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--ask") == 0)
		return check_ask(argv[2]);
	if (argc == 4 && strcmp(argv[1], "--live") == 0)
		return check_live(argv[2], argv[3], NULL);
	if (argc == 4 && strcmp(argv[1], "--dirty") == 0)
		return check_live(argv[2], argv[3], "--dirty");
	fprintf(stderr, "usage: %s --log DIRECTORY | --live N SEED | --dirty N SEED | --ask FILE\n",
		argv[0]);
	return 2;
}
