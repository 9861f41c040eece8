/* SPDX-License-Identifier: MIT */
/* main.c - find the verb and run it. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/version.h"

static const struct cli_verb verbs[] = {
    {"oracle", "compare answers to memory-slot requests with a kernel's", oracle_main},
    {"replay", "replay a VMM's memory-slot stream while readers look for holes", replay_main},
    {"map", "show the guest-physical map of a recorded stream, as a table and a drawing", map_main},
    {"bench", "measure lookups, edits, setup and memory", bench_main},
    {"migrate-demo", "move a guest that writes and changes its map to another process",
     migrate_main},
    {"kvm", "run a program that was written for /dev/kvm, without it", kvm_main},
};

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static int print_help(void)
{
	printf("Usage: mslot VERB [OPTION]... [ARGUMENT]...\n"
	       "Demonstrate and test the guest-memory map library mslot.\n\n"
	       "Verbs:\n");
	for (size_t i = 0; i < NVERBS; i++)
		printf("  %-12s %s\n", verbs[i].name, verbs[i].summary);
	printf("\nOptions:\n"
	       "  --help      print this text and exit\n"
	       "  --version   print the version and exit\n\n"
	       "'mslot VERB --help' describes a verb; mslot(1) describes everything.\n");
	return cli_finish("", CLI_OK);
}

int main(int argc, char **argv)
{
	char name[32];

	if (argc < 2)
		return cli_usage("", "expected a verb");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help();
	if (strcmp(argv[1], "--version") == 0) {
		printf("mslot %s\n", MSLOT_CLI_VERSION);
		return cli_finish("", CLI_OK);
	}
	if (argv[1][0] == '-')
		return cli_usage("", "unknown option '%s'", argv[1]);
	for (size_t i = 0; i < NVERBS; i++) {
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		/* getopt_long() begins its messages with argv[0]. */
		snprintf(name, sizeof(name), "mslot %s", verbs[i].name);
		argv[1] = name;
		return cli_finish(verbs[i].name, verbs[i].run(argc - 1, argv + 1));
	}
	return cli_usage("", "unknown verb '%s'", argv[1]);
}
