/* SPDX-License-Identifier: MIT */
#include "base/perturb.h"

#ifdef MSLOT_TESTING
void (*_Atomic perturb_hook)(enum perturb_point point);
#endif
