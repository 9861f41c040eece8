/* SPDX-License-Identifier: MIT */
/* kvm_stats.c - what `mslot kvm --stats` prints. */
#include "kvm.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "table.h"

static const char *const exit_name[CLIENT_STATS_EXITS] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_IO] = "io",
    [KVM_EXIT_HLT] = "hlt",
    [KVM_EXIT_MMIO] = "mmio",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_INTERNAL_ERROR] = "internal-error",
    [KVM_EXIT_DIRTY_RING_FULL] = "dirty-ring-full",
};

/* What is neither an exit nor of one VM alone. */
static const struct {
	const char *name, *head;
	size_t at;
} counter[] = {
#define COUNTER(name, head)                                                                        \
	{                                                                                          \
#name, head, offsetof(struct client_vm_stats, name)                                \
	}
    COUNTER(vcpus, "vCPUs"),           COUNTER(slots, "slots"),
    COUNTER(commits, "commits"),       COUNTER(instructions, "instructions"),
    COUNTER(tlb_misses, "TLB misses"), COUNTER(faults, "faults"),
    COUNTER(zapped, "zapped"),         COUNTER(flushes, "flushes"),
    COUNTER(interrupted, "EINTR"),     COUNTER(host_faults, "EFAULT"),
#undef COUNTER
};

#define NCOUNTERS (sizeof(counter) / sizeof(counter[0]))

static uint64_t value_of(const struct client_vm_stats *vm, size_t i)
{
	const char *const at = (const char *)vm + counter[i].at;

	return atomic_load((const _Atomic uint64_t *)(const void *)at);
}

static void name_exit(char *text, size_t room, unsigned int reason)
{
	if (exit_name[reason] != NULL)
		snprintf(text, room, "%s", exit_name[reason]);
	else
		snprintf(text, room, "reason-%u", reason);
}

static void print_json(const struct client_vm_stats *vm)
{
	char name[32] = "exit_";
	struct json j;

	json_begin(&j, stderr);
	json_count(&j, "vm", atomic_load(&vm->number));
	json_count(&j, "pid", atomic_load(&vm->pid));
	for (size_t i = 0; i < NCOUNTERS; i++)
		json_count(&j, counter[i].name, value_of(vm, i));
	for (unsigned int i = 0; i < CLIENT_STATS_EXITS; i++) {
		const uint64_t n = atomic_load(&vm->exit[i]);

		name_exit(name + 5, sizeof(name) - 5, i);
		if (n > 0 || exit_name[i] != NULL)
			json_count(&j, name, n);
	}
	json_end(&j);
}

static void add_exits(struct table *t, const struct client_vm_stats *vm)
{
	char text[256] = "", name[24];
	size_t len = 0;

	for (unsigned int i = 0; i < CLIENT_STATS_EXITS; i++) {
		const uint64_t n = atomic_load(&vm->exit[i]);

		if (n == 0 || len + 64 > sizeof(text))
			continue;
		name_exit(name, sizeof(name), i);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %llu",
					len > 0 ? ", " : "", name, (unsigned long long)n);
	}
	table_add(t, "%s", len > 0 ? text : "none");
}

static void print_table(const struct client_stats *stats, uint64_t nvms)
{
	struct table_column column[NCOUNTERS + 3] = {{"VM", 1}, {"process", 1}};
	struct table t;

	for (size_t i = 0; i < NCOUNTERS; i++)
		column[2 + i] = (struct table_column){counter[i].head, 1};
	column[NCOUNTERS + 2] = (struct table_column){"exits", 0};
	table_init(&t, column, NCOUNTERS + 3);
	for (uint64_t i = 0; i < nvms; i++) {
		const struct client_vm_stats *const vm = &stats->vm[i];

		table_add_count(&t, i + 1);
		table_add(&t, "%llu", (unsigned long long)atomic_load(&vm->pid));
		for (size_t k = 0; k < NCOUNTERS; k++)
			table_add_count(&t, value_of(vm, k));
		add_exits(&t, vm);
	}
	table_print(&t, stderr);
	table_fini(&t);
}

void kvm_print_stats(const struct client_stats *stats, bool as_json)
{
	const uint64_t all = atomic_load(&stats->nvms);
	const uint64_t nvms = all < CLIENT_STATS_VMS ? all : CLIENT_STATS_VMS;

	if (as_json) {
		for (uint64_t i = 0; i < nvms; i++)
			print_json(&stats->vm[i]);
	} else if (nvms > 0) {
		print_table(stats, nvms);
	} else {
		fprintf(stderr, "The program made no VM.\n");
	}
	if (all > nvms)
		fprintf(stderr, "%llu more VMs were not counted.\n",
			(unsigned long long)(all - nvms));
}
