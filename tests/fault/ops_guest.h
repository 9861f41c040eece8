/* SPDX-License-Identifier: MIT */
/* ops_guest.h - accesses through a root, for the table of ops.c. */
#ifndef MSLOT_TESTS_OPS_GUEST_H
#define MSLOT_TESTS_OPS_GUEST_H

#include "fault.h"

/* arg; those that store come last. */
enum guest_access {
	GUEST_LOAD,
	GUEST_LOAD64,
	GUEST_READ,
	GUEST_WRITE,
	GUEST_STORE,
	GUEST_STORE64,
	GUEST_CMPXCHG,
	GUEST_RMW,
};

void prepare_guest(struct world *w, const struct op *op);
int run_guest(struct world *w, const struct op *op);
void finish_guest(struct world *w, const struct op *op);

#endif /* MSLOT_TESTS_OPS_GUEST_H */
