/* SPDX-License-Identifier: MIT */
/*
 * condition.h - the sixteen conditions of Jcc, SETcc and CMOVcc.
 */
#ifndef ADAPTERS_X86_CONDITION_H
#define ADAPTERS_X86_CONDITION_H

#include "exec.h"

/* `number` is a constant where it matters: what is left is a test or two. */
static inline bool condition(uint64_t rflags, unsigned int number)
{
	bool sign_differs = ((rflags >> 7) ^ (rflags >> 11)) & 1;
	bool yes;

	switch (number >> 1) {
	case 0:
		yes = rflags & FLAG_OF;
		break;
	case 1:
		yes = rflags & FLAG_CF;
		break;
	case 2:
		yes = rflags & FLAG_ZF;
		break;
	case 3:
		yes = rflags & (FLAG_CF | FLAG_ZF);
		break;
	case 4:
		yes = rflags & FLAG_SF;
		break;
	case 5:
		yes = rflags & FLAG_PF;
		break;
	case 6:
		yes = sign_differs;
		break;
	default:
		yes = sign_differs || (rflags & FLAG_ZF);
	}
	return yes != (number & 1);
}

/* macro(number) for each. */
#define CONDITIONS(macro)                                                                          \
	macro(0) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7) macro(8) macro(9)  \
	    macro(10) macro(11) macro(12) macro(13) macro(14) macro(15)

#endif /* ADAPTERS_X86_CONDITION_H */
