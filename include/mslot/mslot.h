/* SPDX-License-Identifier: MIT */
/*
 * mslot/mslot.h - everything: the map, transactions, guest memory access and
 * the KVM entry points.
 */
#ifndef MSLOT_MSLOT_H
#define MSLOT_MSLOT_H

#include <mslot/access.h>
#include <mslot/kvm.h>
#include <mslot/map.h>
#include <mslot/txn.h>

#endif /* MSLOT_MSLOT_H */
