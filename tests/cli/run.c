/* SPDX-License-Identifier: MIT */
/* run.c - run the command and look at what it says; see run.h. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static FILE *temporary(void)
{
	FILE *const file = tmpfile();

	if (file == NULL)
		die("tmpfile");
	return file;
}

static char *contents(FILE *file)
{
	long len;
	char *text;

	fseek(file, 0, SEEK_END);
	len = ftell(file);
	rewind(file);
	text = calloc((size_t)len + 1, 1);
	if (text == NULL || fread(text, 1, (size_t)len, file) != (size_t)len)
		die("output of the program");
	fclose(file);
	return text;
}

void run_program(struct run *r, const char *path, const char *const *argv, const char *input)
{
	FILE *const in = temporary(), *const out = temporary(), *const err = temporary();
	const char *args[RUN_MAX_ARGS + 2] = {path};
	int status;
	pid_t pid;

	for (size_t i = 0; argv[i] != NULL; i++) {
		if (i == RUN_MAX_ARGS)
			die("too many arguments");
		args[i + 1] = argv[i];
	}
	fputs(input, in);
	fflush(in);
	rewind(in);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		dup2(fileno(in), STDIN_FILENO);
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(err), STDERR_FILENO);
		execv(path, (char *const *)args);
		perror(path);
		_exit(99);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	fclose(in);
	r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	r->out = contents(out);
	r->err = contents(err);
}

void run_cli(struct run *r, const char *const *argv)
{
	const char *const path = getenv("MSLOT_CLI");

	if (path == NULL) {
		fprintf(stderr, "MSLOT_CLI is not set\n");
		exit(99);
	}
	run_program(r, path, argv, "");
}

void run_free(struct run *r)
{
	free(r->out);
	free(r->err);
	*r = (struct run){0};
}

char *run_file(const void *bytes, size_t len, const char *suffix)
{
	const char *const dir = getenv("TMPDIR");
	char *name = NULL;
	int fd;

	if (asprintf(&name, "%s/mslot-test-XXXXXX%s", dir != NULL ? dir : "/tmp", suffix) < 0)
		die("asprintf");
	fd = mkstemps(name, (int)strlen(suffix));
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || close(fd) != 0)
		die(name);
	return name;
}

void run_unlink(char *name)
{
	unlink(name);
	free(name);
}
