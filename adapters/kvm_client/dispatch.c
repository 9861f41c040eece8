/* SPDX-License-Identifier: MIT */
/*
 * dispatch.c - ioctl: find the call of a request in the table of the object's kind, copy its
 * struct in, call, copy it out.
 *
 * What no table has is ENOTTY, as for a descriptor that knows nothing of it. (KVM itself answers
 * EINVAL to vCPUs and to the system in some of these cases; programs ask for a capability first.)
 */
#include "client.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "fds.h"
#include "signals.h"

/* The largest struct that is copied as a whole. */
union argument {
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	unsigned char bytes[512];
};

static const struct call *find(const struct call *table, uint32_t request)
{
	for (; table->fn; table++)
		if (table->request == request)
			return table;
	return NULL;
}

static long run_call(const struct call *call, void *body, unsigned long arg)
{
	const size_t size = _IOC_SIZE(call->request);
	union argument copy;
	long ret;

	if (!call->in && !call->out)
		return call->fn(body, (void *)arg);
	if (call->in && user_read(&copy, (const void *)arg, size))
		return -EFAULT;
	ret = call->fn(body, &copy);
	if (ret >= 0 && call->out && user_write((void *)arg, &copy, size))
		return -EFAULT;
	return ret;
}

static long call_vcpu(struct vcpu *vcpu, const struct call *call, unsigned long arg, uint64_t mask)
{
	long ret;

	pthread_mutex_lock(&vcpu->mutex);
	vcpu->callers_mask = mask;
	ret = run_call(call, vcpu, arg);
	pthread_mutex_unlock(&vcpu->mutex);
	return ret;
}

long kvm_client_serve(struct object *object, unsigned long request, unsigned long arg,
		      uint64_t mask)
{
	static const struct call *const tables[] = {
	    [OBJECT_SYSTEM] = system_calls, [OBJECT_VM] = vm_calls, [OBJECT_VCPU] = vcpu_calls};
	const struct call *call;

	if (object->kind != OBJECT_SYSTEM && object->mm != fds_mm())
		return -EIO;
	if (object->kind == OBJECT_VCPU && _IOC_TYPE(request) != KVMIO)
		return -EINVAL;
	call = find(tables[object->kind], (uint32_t)request);
	if (!call)
		return -ENOTTY;
	if (object->kind == OBJECT_VCPU)
		return call_vcpu(object->body, call, arg, mask);
	return run_call(call, object->body, arg);
}

long kvm_client_ioctl(struct object *object, unsigned long request, unsigned long arg)
{
	struct signals_hold hold;
	long ret;

	signals_hold(&hold);
	ret = kvm_client_serve(object, request, arg, hold.old);
	signals_release(&hold);
	return ret;
}
