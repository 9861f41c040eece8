/* SPDX-License-Identifier: MIT */
/*
 * test_hello_kvm.c - the example of a small monitor says the same under `mslot kvm` and, with the
 * argument `real`, on /dev/kvm: to the byte what is written here.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

static const char expected[] = "Hello from 64-bit mode.\n"
			       "a read of 4 bytes at 0x200000, where nothing is\n"
			       "the guest says 4711\n"
			       "the card is plugged in\n"
			       "the guest says 85\n"
			       "dirty pages of the card: 0 3 4 5\n"
			       "dirty pages of the card: 7\n"
			       "the card is pulled out; it holds 42 and 43\n"
			       "a write of 2 bytes at 0x203010, where nothing is\n"
			       "Good night.\n"
			       "the guest has halted\n";

static int compare(const struct run *r)
{
	if (r->status == 0 && strcmp(r->out, expected) == 0 && r->err[0] == '\0')
		return 0;
	fprintf(stderr, "exit status %d\n--- expected\n%s--- got\n%s--- and on stderr\n%s",
		r->status, expected, r->out, r->err);
	return 1;
}

int main(int argc, char **argv)
{
	const char *const hello = getenv("MSLOT_HELLO_KVM");
	struct run r;
	int fd, failed;

	if (hello == NULL) {
		fputs("MSLOT_HELLO_KVM is not set\n", stderr);
		return 99;
	}
	if (argc > 1 && strcmp(argv[1], "real") == 0) {
		fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			perror("skipped: /dev/kvm");
			return 77;
		}
		close(fd);
		run_program(&r, hello, (const char *const[]){NULL}, "");
	} else {
		run_cli(&r, (const char *const[]){"kvm", "--", hello, NULL});
	}
	failed = compare(&r);
	run_free(&r);
	return failed;
}
