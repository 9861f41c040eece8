/* SPDX-License-Identifier: MIT */
#include "base/rcu.h"

#ifdef RCU_TSAN
char rcu_tsan_leave, rcu_tsan_enter;
#endif
