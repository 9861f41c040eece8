/* SPDX-License-Identifier: MIT */
/*
 * ops_guest.c - accesses of a vCPU through its root while memory runs out: each misses the cache,
 * and most find no table either.
 */
#include "ops_guest.h"

#include <errno.h>
#include <string.h>

#define HOST_PAGES 48u
#define HOST_GPA UINT64_C(0x300000000)
#define AT (HOST_GPA + PAGE - 8)

static _Alignas(4096) unsigned char host[HOST_PAGES * 4096];
static unsigned char buf[40 * 4096];

static struct {
	struct mslot_region *region;
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	struct mslot_vcpu *vcpu;
} guest;

void prepare_guest(struct world *w, const struct op *op)
{
	const struct mslot_region_options region = {
	    .hva = host, .len_bytes = sizeof(host), .fd = -1};
	const struct mslot_root_options root = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_slot_def def = {.key = {0, NEW_ID},
					   .gpa = HOST_GPA,
					   .len_bytes = sizeof(host),
					   .flags = MSLOT_LOG_DIRTY};
	struct mslot_slot_def own = def;
	struct mslot_txn *txn;

	(void)op;
	memset(host, 0, sizeof(host));
	CHECK_OK(mslot_region_create(&region, &guest.region));
	own.region = guest.region;
	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_create(txn, &own));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	CHECK_OK(mslot_mmu_create(w->map, NULL, &guest.mmu));
	CHECK_OK(mslot_root_create(guest.mmu, &root, &guest.root));
	CHECK_OK(mslot_vcpu_create(w->map, NULL, &guest.vcpu));
	CHECK_OK(mslot_vcpu_root_set(guest.vcpu, guest.root));
	w->nevents = 0;
}

static int access_guest(enum guest_access access)
{
	uint64_t val = 0, with = 1;
	int err;

	switch (access) {
	case GUEST_LOAD:
		return mslot_vcpu_load(guest.vcpu, AT + 4, 8, &val);
	case GUEST_STORE:
		return mslot_vcpu_store(guest.vcpu, AT + 4, 8, &with);
	case GUEST_LOAD64:
		return mslot_vcpu_load64(guest.vcpu, AT, &val);
	case GUEST_STORE64:
		return mslot_vcpu_store64(guest.vcpu, AT, with);
	case GUEST_READ:
		return mslot_vcpu_read(guest.vcpu, AT, buf, sizeof(buf));
	case GUEST_WRITE:
		return mslot_vcpu_write(guest.vcpu, AT, buf, sizeof(buf));
	case GUEST_CMPXCHG:
		err = mslot_vcpu_cmpxchg(guest.vcpu, AT, 8, &val, &with);
		CHECK(err < 0 || err == 1, "found %llx", (unsigned long long)val);
		return err < 0 ? err : 0;
	default:
		return mslot_vcpu_rmw(guest.vcpu, AT, 8, MSLOT_RMW_ADD, 1, &val);
	}
}

int run_guest(struct world *w, const struct op *op)
{
	const struct mslot_snapshot *snap;
	int err;

	(void)w;
	CHECK_OK(mslot_vcpu_enter(guest.vcpu, &snap));
	err = access_guest((enum guest_access)op->arg);
	mslot_vcpu_leave(guest.vcpu);
	return err;
}

void finish_guest(struct world *w, const struct op *op)
{
	static const unsigned char one[8] = {1};
	const unsigned char *at = host + PAGE - 8;

	if (op->arg == GUEST_STORE)
		CHECK(memcmp(at + 4, one, 8) == 0, "not stored");
	else if (op->arg >= GUEST_STORE64)
		CHECK(memcmp(at, one, 8) == 0, "not stored");
	CHECK_OK(mslot_vcpu_destroy(guest.vcpu));
	CHECK_OK(mslot_root_destroy(guest.root));
	CHECK_OK(mslot_mmu_destroy(guest.mmu));
	mslot_region_put(guest.region);
	(void)w;
}
