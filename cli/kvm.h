/* SPDX-License-Identifier: MIT */
/* kvm.h - what the parts of the verb `mslot kvm` share. */
#ifndef MSLOT_CLI_KVM_H
#define MSLOT_CLI_KVM_H

#include <limits.h>
#include <stdbool.h>

#include "adapters/kvm_client/stats_format.h"

/* As env(1): the program is there but cannot be run, or is not there. */
#define KVM_CANNOT_RUN 126
#define KVM_NOT_FOUND 127

/*
 * kvm_check() - can something be preloaded into this program?
 *   name   as it was given; searched as execvp() does
 * Returns 0, or the exit status, after a message that names the file and the reason.
 */
int kvm_check(const char *name);

/* The library that is preloaded, by its whole name. False, after a message: it is not there. */
bool kvm_find_library(char path[PATH_MAX]);

/* Say on stderr what was counted. */
void kvm_print_stats(const struct client_stats *stats, bool as_json);

#endif /* MSLOT_CLI_KVM_H */
