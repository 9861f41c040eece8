/* SPDX-License-Identifier: MIT */
#include "base/perturb.h"

#ifdef MSLOT_TESTING
void (*_Atomic perturb_hook)(enum perturb_point point);
_Thread_local unsigned int perturb_guards, perturb_guards_most;
#endif
