/* SPDX-License-Identifier: MIT */
/*
 * faults.h - SIGSEGV and SIGBUS are ours, and the program's behind us.
 *
 * The handler asks the CPU first whether the access was the guest's; what was not goes to what
 * the program has installed, or would have by default.
 */
#ifndef ADAPTERS_KVM_CLIENT_FAULTS_H
#define ADAPTERS_KVM_CLIENT_FAULTS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* The program cannot install handlers behind our back: its calls of sigaction() come to us. */
void faults_trust(void);

/*
 * Copy what may not be there. Returns false if it did not happen as a whole: either address is bad,
 * or nothing was installed yet, or faults_trust() was not called. Any thread; not in signal
 * handlers.
 */
bool faults_copy(void *to, const void *from, size_t len_bytes);

/* Take both signals over; what was installed comes behind us. Any number of times. */
void faults_install(void);

/*
 * faults_sigaction() - what sigaction() does for a program: for these two signals, once they are
 * ours, its action is kept behind ours.
 * Returns 0, or -1 with errno.
 */
int faults_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* libc's own function, past shim.c. */
int faults_libc_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

#endif /* ADAPTERS_KVM_CLIENT_FAULTS_H */
