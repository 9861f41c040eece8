/* SPDX-License-Identifier: MIT */
/*
 * signals.h - signals while guest code runs.
 *
 * Each call of a program blocks all signals but those that an access or an instruction raises: as
 * with a kernel, no handler runs in the middle of it, which may call us, or never come back, nor
 * does pthread_cancel(3) end the thread there. KVM_RUN looks from time to time whether one is
 * pending, and then returns EINTR. The handlers run when the mask is as before, and that is the
 * last thing that a call does.
 */
#ifndef ADAPTERS_KVM_CLIENT_SIGNALS_H
#define ADAPTERS_KVM_CLIENT_SIGNALS_H

#include "client.h"

/* Sets as the kernel has them: signal n is bit n - 1. */
struct signals_hold {
	uint64_t old;    /* the thread's mask */
	uint64_t wanted; /* signals that end the run */
};

void signals_hold(struct signals_hold *hold);
void signals_release(const struct signals_hold *hold);

/* Which ones end a run of the vCPU, in a call whose hold gave `old`; nothing to be released. */
struct signals_hold signals_of_run(const struct vcpu *vcpu, uint64_t old);

/* Is there one that ends the run? What the program ignores is taken and forgotten. */
bool signals_pending(const struct signals_hold *hold);
/* Sleep until there is one. */
void signals_wait(const struct signals_hold *hold);

#endif /* ADAPTERS_KVM_CLIENT_SIGNALS_H */
