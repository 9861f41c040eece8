/* SPDX-License-Identifier: MIT */
/*
 * kvm.c - the verb `mslot kvm`: run a program that was written for /dev/kvm.
 *
 * All the work is done by a library that is preloaded into the program. Without options the command
 * becomes the program; with them it waits, since somebody has to print at the end, and then ends as
 * the program did.
 */
#include "kvm.h"

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"

#define VERB "kvm"

struct options {
	bool stats, json;
	const char *trace;
	char **program; /* and its arguments */
};

static void print_help(void)
{
	printf("Usage: mslot kvm [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	       "Run a program that was written for /dev/kvm, without /dev/kvm: mslot serves its\n"
	       "requests, and guest code is interpreted. No privilege is needed.\n\n"
	       "The guest has x86-64 processors in 64-bit mode at privilege level 0. There is no\n"
	       "real mode and there are no interrupts. What is not covered ends in an exit for an\n"
	       "internal error, and is named on standard error. The program must be dynamically\n"
	       "linked and not setuid.\n\n"
	       "Options:\n"
	       "  --stats        at the end say on standard error what each VM did: exits,\n"
	       "                 instructions, translation misses, faults, commits, flushes\n"
	       "  --json         that as one JSON object a line\n"
	       "  --trace FILE   write the changes of a VM's memory slots to FILE, for 'mslot\n"
	       "                 replay' and 'mslot map'; those of a second VM go to FILE.2 ...\n"
	       "  --help         print this text and exit\n\n"
	       "Exit status: the program's; 126 it cannot be run so, 127 there is none of that\n"
	       "name, 2 the command line is wrong, 1 another failure.\n");
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"stats", no_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {"trace", required_argument, NULL, 't'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	/* '+': what comes behind the program's name is the program's. */
	while ((c = getopt_long(argc, argv, "+h", option, NULL)) != -1) {
		switch (c) {
		case 's':
			o->stats = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 't':
			o->trace = optarg;
			break;
		case 'h':
			print_help();
			return CLI_OK;
		default:
			return cli_usage_hint(VERB);
		}
	}
	if (o->json && !o->stats)
		return cli_usage(VERB, "--json: only with --stats");
	if (optind == argc)
		return cli_usage(VERB, "expected a PROGRAM");
	o->program = argv + optind;
	return -1;
}

/* ---- Its environment ---------------------------------------------------- */

/*
 * In a build with AddressSanitizer, the file of its runtime: it insists on coming before all
 * other libraries.
 */
static const char *sanitizer(void)
{
#ifdef __SANITIZE_ADDRESS__
	static Dl_info info;
	void *const symbol = dlsym(RTLD_DEFAULT, "__asan_init");

	if (symbol != NULL && dladdr(symbol, &info) != 0)
		return info.dli_fname;
#endif
	return "";
}

static bool preload(const char *library)
{
	const char *const old = getenv("LD_PRELOAD"), *const first = sanitizer();
	char *list;

	if (strpbrk(library, " :") != NULL) {
		cli_error(VERB, "%s: cannot be preloaded with a space or a colon in its name",
			  library);
		return false;
	}
	list = cli_alloc(strlen(first) + strlen(library) + (old != NULL ? strlen(old) : 0) + 3, 1);
	strcpy(list, first);
	if (first[0] != '\0')
		strcat(list, ":");
	strcat(list, library);
	if (old != NULL && old[0] != '\0') {
		strcat(list, ":");
		strcat(list, old);
	}
	if (setenv("LD_PRELOAD", list, 1) != 0)
		abort();
	free(list);
	return true;
}

/* The file is made now: it says now that it cannot be. By its whole name: programs move. */
static bool prepare_trace(const char *path)
{
	char cwd[PATH_MAX], whole[2 * PATH_MAX];
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || (path[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)) {
		cli_error(VERB, "--trace: %s: %s", path, strerror(errno));
		return false;
	}
	close(fd);
	snprintf(whole, sizeof(whole), "%s%s%s", path[0] == '/' ? "" : cwd,
		 path[0] == '/' ? "" : "/", path);
	if (setenv(CLIENT_ENV_TRACE, whole, 1) != 0)
		abort();
	return true;
}

/* Memory that the program and its children count in. */
static struct client_stats *share_stats(void)
{
	struct client_stats *stats;
	const int fd = memfd_create("mslot-kvm-stats", 0);
	char path[64];

	if (fd < 0 || ftruncate(fd, sizeof(*stats)) != 0)
		return NULL;
	stats = mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (stats == MAP_FAILED)
		return NULL;
	stats->magic = CLIENT_STATS_MAGIC;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	return setenv(CLIENT_ENV_STATS, path, 1) == 0 ? stats : NULL;
}

/* ---- Running it --------------------------------------------------------- */

/* Become the program. Returns the exit status when that fails. */
static int become(char **program)
{
	execvp(program[0], program);
	cli_error(VERB, "%s: %s", program[0], strerror(errno));
	return errno == ENOENT ? KVM_NOT_FOUND : KVM_CANNOT_RUN;
}

static volatile sig_atomic_t child_pid;

/* Those of the terminal, which are the kernel's, the program gets itself. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	const int saved_errno = errno;

	(void)context;
	if (child_pid > 0 && info->si_code <= 0)
		kill((pid_t)child_pid, sig);
	errno = saved_errno;
}

/* What others send us is meant for the program. */
static const int watched[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
#define NWATCHED (sizeof(watched) / sizeof(watched[0]))

static void watch_signals(sigset_t *old)
{
	const struct sigaction pass = {.sa_sigaction = pass_on,
				       .sa_flags = SA_RESTART | SA_SIGINFO};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < NWATCHED; i++)
		sigaddset(&set, watched[i]);
	sigprocmask(SIG_BLOCK, &set, old);
	for (size_t i = 0; i < NWATCHED; i++)
		sigaction(watched[i], &pass, NULL);
}

/* End as the program did. */
static int end_as(int status)
{
	const struct rlimit no_core = {0, 0};

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	fflush(NULL);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

static int run_and_wait(const struct options *o, const struct client_stats *stats)
{
	struct sigaction was[NWATCHED];
	sigset_t old;
	int status = 0;
	pid_t pid;

	for (size_t i = 0; i < NWATCHED; i++)
		sigaction(watched[i], NULL, &was[i]);
	watch_signals(&old);
	pid = fork();
	if (pid < 0) {
		cli_error(VERB, "cannot start a process: %s", strerror(errno));
		return CLI_FAILED;
	}
	if (pid == 0) {
		for (size_t i = 0; i < NWATCHED; i++)
			sigaction(watched[i], &was[i], NULL);
		sigprocmask(SIG_SETMASK, &old, NULL);
		_exit(become(o->program));
	}
	child_pid = pid;
	sigprocmask(SIG_SETMASK, &old, NULL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	child_pid = 0;
	if (o->stats)
		kvm_print_stats(stats, o->json);
	return end_as(status);
}

int kvm_main(int argc, char **argv)
{
	struct options o = {.program = NULL};
	struct client_stats *stats = NULL;
	char library[PATH_MAX];
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0 || o.program == NULL)
		return ret;
	ret = kvm_check(o.program[0]);
	if (ret != 0)
		return ret;
	if (!kvm_find_library(library) || !preload(library) ||
	    (o.trace != NULL && !prepare_trace(o.trace)))
		return CLI_FAILED;
	if (!o.stats && o.trace == NULL)
		return become(o.program);
	stats = share_stats();
	if (stats == NULL) {
		cli_error(VERB, "cannot share memory with the program: %s", strerror(errno));
		return CLI_FAILED;
	}
	return run_and_wait(&o, stats);
}
