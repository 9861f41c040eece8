/* SPDX-License-Identifier: MIT */
/* rcu.c - the rare parts of rcu.h. */
#include "base/rcu.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef MSLOT_TSAN
char rcu_tsan_leave, rcu_tsan_enter;
#endif

#ifdef MSLOT_ASAN
/* As liburcu's inlined read side declares it. */
extern int urcu_bp_has_sys_membarrier;
#endif

void rcu_fence_readers(void)
{
	if (!urcu_bp_has_sys_membarrier)
		return;
	urcu_bp_has_sys_membarrier = 0;
	/* liburcu has registered the process for it, or the variable would not have been set. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
}
