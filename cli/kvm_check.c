/* SPDX-License-Identifier: MIT */
/*
 * kvm_check.c - can a library be preloaded into a program, and where is that library?
 *
 * The dynamic linker preloads, so there must be one (an ELF file with PT_INTERP), and it must be
 * willing: it is not where the program gains privilege. Scripts are what their interpreter is.
 */
#include "kvm.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli.h"
#include "cli/version.h"

#define VERB "kvm"
#define MAX_INTERPRETERS 4u
#define MAX_HEADERS 128u

static int refuse(const char *path, const char *why)
{
	cli_error(VERB, "%s: %s", path, why);
	return KVM_CANNOT_RUN;
}

/* ---- Where it is -------------------------------------------------------- */

static bool can_execute(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp() does. Returns 0, or the exit status. */
static int find_program(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/') != NULL) {
		if (strlen(name) >= PATH_MAX || access(name, F_OK) != 0) {
			cli_error(VERB, "%s: %s", name, strerror(errno));
			return KVM_NOT_FOUND;
		}
		strcpy(path, name);
		return can_execute(name) ? 0 : refuse(name, "cannot be executed");
	}
	if (dirs == NULL)
		dirs = "/bin:/usr/bin";
	for (const char *p = dirs, *end; p != NULL; p = end != NULL ? end + 1 : NULL) {
		size_t len;

		end = strchr(p, ':');
		len = end != NULL ? (size_t)(end - p) : strlen(p);
		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)len, p, len > 0 ? "/" : "", name) <
			PATH_MAX &&
		    can_execute(path))
			return 0;
	}
	cli_error(VERB, "%s: not found", name);
	return KVM_NOT_FOUND;
}

/* ---- What it is --------------------------------------------------------- */

static bool has_interpreter(int fd, const Elf64_Ehdr *ehdr)
{
	Elf64_Phdr phdr;

	for (unsigned int i = 0; i < ehdr->e_phnum && i < MAX_HEADERS; i++) {
		const off_t at = (off_t)(ehdr->e_phoff + (uint64_t)i * sizeof(phdr));

		if (pread(fd, &phdr, sizeof(phdr), at) == (ssize_t)sizeof(phdr) &&
		    phdr.p_type == PT_INTERP)
			return true;
	}
	return false;
}

static int check_elf(const char *path, int fd, const unsigned char *head, size_t n)
{
	Elf64_Ehdr ehdr;
	struct stat st;

	if (n < sizeof(ehdr) || head[EI_CLASS] != ELFCLASS64)
		return refuse(path, "not a 64-bit program");
	memcpy(&ehdr, head, sizeof(ehdr));
	if (ehdr.e_machine != EM_X86_64)
		return refuse(path, "not a program for x86-64");
	if (ehdr.e_phentsize != sizeof(Elf64_Phdr) || !has_interpreter(fd, &ehdr))
		return refuse(path,
			      "statically linked: the library that serves it cannot be preloaded");
	if (fstat(fd, &st) != 0)
		return refuse(path, strerror(errno));
	if ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	    (st.st_mode & S_ISGID && st.st_gid != getgid()) ||
	    (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0))
		return refuse(path, "gains privilege (setuid, setgid or capabilities): nothing is "
				    "preloaded into such a program");
	return 0;
}

/* The interpreter's name behind "#!"; false: none. */
static bool interpreter_of(unsigned char *head, size_t n, char path[PATH_MAX])
{
	char *at, *end;

	head[n] = '\0';
	at = (char *)head + 2;
	at += strspn(at, " \t");
	end = at + strcspn(at, " \t\r\n");
	if (end == at)
		return false;
	snprintf(path, PATH_MAX, "%.*s", (int)(end - at), at);
	return true;
}

/* Returns 0, the exit status, or -1: path is a script's interpreter now. */
static int check_file(char path[PATH_MAX])
{
	unsigned char head[512];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int ret = 0;

	/* One may be allowed to run what one cannot read: the kernel will say. */
	if (fd < 0)
		return errno == EACCES ? 0 : refuse(path, strerror(errno));
	n = read(fd, head, sizeof(head) - 1);
	if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		ret = check_elf(path, fd, head, (size_t)n);
	else if (n >= 2 && head[0] == '#' && head[1] == '!' &&
		 interpreter_of(head, (size_t)n, path))
		ret = -1;
	else if (n < 0)
		ret = refuse(path, strerror(errno));
	close(fd);
	return ret;
}

int kvm_check(const char *name)
{
	char path[PATH_MAX];
	int ret = find_program(name, path);

	if (ret != 0)
		return ret;
	for (unsigned int i = 0; i < MAX_INTERPRETERS; i++) {
		ret = check_file(path);
		if (ret >= 0)
			return ret;
	}
	return refuse(name, "too many interpreters of interpreters");
}

/* ---- The library -------------------------------------------------------- */

#define LIBRARY "libmslot-kvm.so"

bool kvm_find_library(char path[PATH_MAX])
{
	/* Beside the command of a build; where both were installed together; where they should be.
	 */
	static const char *const places[] = {"/adapters/kvm_client/" LIBRARY,
					     "/../" MSLOT_CLI_LIBDIR "/mslot/" LIBRARY};
	char self[PATH_MAX / 2], found[PATH_MAX], *slash;
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash != NULL)
			*slash = '\0';
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			snprintf(found, sizeof(found), "%s%s", self, places[i]);
			if (access(found, R_OK) == 0) {
				memcpy(path, found, sizeof(found));
				return true;
			}
		}
	}
	snprintf(found, sizeof(found), "%s",
		 MSLOT_CLI_PREFIX "/" MSLOT_CLI_LIBDIR "/mslot/" LIBRARY);
	if (access(found, R_OK) == 0) {
		memcpy(path, found, sizeof(found));
		return true;
	}
	cli_error(VERB, "cannot find %s, which is made for x86-64 only", LIBRARY);
	return false;
}
