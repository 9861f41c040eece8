/* SPDX-License-Identifier: MIT */
/* shim.h - what the files with functions in libc's place share. */
#ifndef ADAPTERS_KVM_CLIENT_SHIM_H
#define ADAPTERS_KVM_CLIENT_SHIM_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* libc's function of this name; the pointer is found once. */
#define LIBC(name)                                                                                 \
	({                                                                                         \
		static __typeof__(&(name)) _Atomic real_;                                          \
		__typeof__(&(name)) fn_ = real_;                                                   \
		if (!fn_) {                                                                        \
			fn_ = (__typeof__(&(name)))dlsym(RTLD_NEXT, #name);                        \
			if (!fn_)                                                                  \
				abort();                                                           \
			real_ = fn_;                                                               \
		}                                                                                  \
		fn_;                                                                               \
	})

static inline bool is_device(const char *path)
{
	return path && strcmp(path, "/dev/kvm") == 0;
}

#endif /* ADAPTERS_KVM_CLIENT_SHIM_H */
