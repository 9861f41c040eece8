/* SPDX-License-Identifier: MIT */
/* state.h - what of the registers goes through kvm_run. */
#ifndef ADAPTERS_KVM_CLIENT_STATE_H
#define ADAPTERS_KVM_CLIENT_STATE_H

#include "client.h"

/* Before a run: CR8 from kvm_run. Returns 0, -EINVAL it cannot be, or registers are asked for. */
int state_from_run(struct vcpu *vcpu);
/* Behind it: flags, CR8 and the APIC's base to kvm_run. */
void state_to_run(struct vcpu *vcpu);

#endif /* ADAPTERS_KVM_CLIENT_STATE_H */
