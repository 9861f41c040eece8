/* SPDX-License-Identifier: MIT */
/*
 * threads.c - thread creation that can be made to fail: the linker leads the library's
 * calls of pthread_create() here.
 */
#include <errno.h>
#include <pthread.h>

#include "fault.h"

bool fault_no_threads;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	return fault_no_threads ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}
