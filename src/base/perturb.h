/* SPDX-License-Identifier: MIT */
/*
 * perturb.h - named windows in which a stress test may delay a thread.
 * PERTURB() is empty unless MSLOT_TESTING is defined.
 */
#ifndef MSLOT_BASE_PERTURB_H
#define MSLOT_BASE_PERTURB_H

enum perturb_point {
	PERTURB_READER_ENTERED,  /* in the section, before loading the snapshot pointer */
	PERTURB_SNAPSHOT_LOADED, /* snapshot loaded, nothing looked up yet */
	PERTURB_READER_LEAVING,  /* before leaving the section */
	PERTURB_BEFORE_PREPARE,  /* next snapshot built, no listener asked */
	PERTURB_BEFORE_PUBLISH,  /* all prepared */
	PERTURB_AFTER_PUBLISH,   /* published, listeners not told */
	PERTURB_BEFORE_RETIRE,   /* listeners told, nothing retired */
	PERTURB_BEFORE_RECLAIM,  /* grace period over, nothing freed */
	PERTURB_BEFORE_RELEASE,  /* region unreachable, callback not called */
	PERTURB_HOLD_REGISTER,   /* about to register a hold */
	PERTURB_HOLD_PUT,        /* hold removed from the list, its nodes not handed on */
	PERTURB_POINTS
};

#ifdef MSLOT_TESTING
/* Set by tests before threads start; called with the point. NULL: nothing happens. */
extern void (*perturb_hook)(enum perturb_point point);
#define PERTURB(point)                                                                             \
	do {                                                                                       \
		if (perturb_hook)                                                                  \
			perturb_hook(PERTURB_##point);                                             \
	} while (0)
#else
#define PERTURB(point) ((void)0)
#endif

#endif /* MSLOT_BASE_PERTURB_H */
