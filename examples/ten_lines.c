/* SPDX-License-Identifier: MIT */
/*
 * ten_lines.c - lend 64 KiB of host memory to a map, show it at guest-physical 4 GiB and
 * translate a guest address. tests/outside/run builds it against an installed prefix:
 *
 *   cc ten_lines.c $(pkg-config --cflags --libs mslot)
 */
#include <mslot/mslot.h>
#include <stdio.h>

static _Alignas(4096) char ram[65536];

int main(void)
{
	struct mslot_region_options host = {.hva = ram, .len_bytes = sizeof(ram), .fd = -1};
	struct mslot_slot_def slot = {.gpa = 0x100000000, .len_bytes = sizeof(ram)};
	struct mslot_span span = {.gpa = 0x100001234, .len_bytes = 16};
	struct iovec seg = {.iov_base = ram};
	struct mslot_map *map;
	struct mslot_txn *txn;

	if (mslot_map_create(NULL, &map) || mslot_region_create(&host, &slot.region) ||
	    mslot_txn_begin(map, &txn) || mslot_txn_create(txn, &slot) < 0 ||
	    mslot_txn_commit(txn, NULL, NULL))
		return 1;
	const struct mslot_snapshot *snap = mslot_enter(map);
	int n = mslot_translate(snap, &span, &seg, 1);

	printf("guest 0x100001234 is ram + 0x%zx, %d segment of %zu bytes\n",
	       (size_t)((char *)seg.iov_base - ram), n, seg.iov_len);
	mslot_leave(snap);
	mslot_region_put(slot.region);
	return mslot_map_destroy(map) != 0;
}
