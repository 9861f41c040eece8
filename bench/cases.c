/* SPDX-License-Identifier: MIT */
/* cases.c - the list of cases and what each needs of an engine; see cases.h. */
#include "cases.h"

#define NS "ns/op"
#define US "us"

bool case_has_find(const struct engine *e)
{
	return e->find != NULL && e->token_of != NULL;
}

bool case_has_dependent(const struct engine *e)
{
	return e->find_dependent != NULL && e->token_of != NULL;
}

bool case_has_local(const struct engine *e)
{
	return e->find_local != NULL && e->token_of != NULL;
}

bool case_has_section(const struct engine *e)
{
	return e->find_section != NULL && e->token_of != NULL;
}

bool case_has_hva(const struct engine *e)
{
	return e->find_hva != NULL && e->token_of != NULL;
}

bool case_has_id(const struct engine *e)
{
	return e->find_id != NULL && e->token_of != NULL;
}

bool case_has_count_hva(const struct engine *e)
{
	return e->count_hva != NULL;
}

bool case_has_change(const struct engine *e)
{
	return e->set_flags != NULL || e->move != NULL;
}

bool case_has_change_and_section(const struct engine *e)
{
	return case_has_change(e) && case_has_section(e);
}

bool case_has_batch(const struct engine *e)
{
	return e->batch_flags != NULL;
}

bool case_has_move(const struct engine *e)
{
	return e->move != NULL;
}

bool case_has_move_and_section(const struct engine *e)
{
	return case_has_move(e) && case_has_section(e);
}

bool case_has_memory(const struct engine *e)
{
	return e->memory != NULL;
}

bool case_has_insert(const struct engine *e)
{
	return e->insert != NULL;
}

bool case_has_fill(const struct engine *e)
{
	return e->fill != NULL;
}

const struct bench_case bench_cases[] = {
    {.name = "lookup-random",
     .what = "slot at a random guest address",
     .unit = NS,
     .flags = CASE_QUICK,
     .offered = case_has_find,
     .run = case_lookup_random},
    {.name = "lookup-dependent",
     .what = "slot at a guest address made of the answer before",
     .unit = NS,
     .offered = case_has_dependent,
     .run = case_lookup_dependent},
    {.name = "lookup-local",
     .what = "64 addresses in one slot, then in another, with a hint",
     .unit = NS,
     .offered = case_has_local,
     .run = case_lookup_local},
    {.name = "lookup-sequential",
     .what = "rising guest addresses",
     .unit = NS,
     .offered = case_has_find,
     .run = case_lookup_sequential},
    {.name = "lookup-miss",
     .what = "guest addresses without a slot",
     .unit = NS,
     .offered = case_has_find,
     .run = case_lookup_miss},
    {.name = "section",
     .what = "enter, look up a random guest address, leave",
     .unit = NS,
     .flags = CASE_QUICK,
     .offered = case_has_section,
     .run = case_section},
    {.name = "hva",
     .what = "slots at a random host address",
     .unit = NS,
     .flags = CASE_QUICK,
     .offered = case_has_hva,
     .run = case_hva},
    {.name = "id",
     .what = "slot of a random id",
     .unit = NS,
     .flags = CASE_QUICK,
     .offered = case_has_id,
     .run = case_id},
    {.name = "edit",
     .what = "publish one changed slot",
     .unit = NS,
     .flags = CASE_QUICK | CASE_EDITS,
     .offered = case_has_change,
     .run = case_edit},
    {.name = "edit-busy-reader",
     .what = "publish one changed slot beside a reader: median",
     .unit = NS,
     .flags = CASE_EDITS | CASE_THREADS,
     .offered = case_has_change_and_section,
     .run = case_edit_busy},
    {.name = "edit-busy-p99",
     .what = "publish one changed slot beside a reader: 99th percentile",
     .unit = NS,
     .flags = CASE_EDITS | CASE_THREADS,
     .offered = case_has_change_and_section,
     .run = case_edit_busy_p99},
    {.name = "batch",
     .what = "publish 64 changed slots at once (all where fewer)",
     .unit = NS,
     .flags = CASE_EDITS,
     .offered = case_has_batch,
     .run = case_batch},
    {.name = "replace",
     .what = "other slots for the whole map in one publish",
     .unit = "ms",
     .flags = CASE_OTHER | CASE_EDITS,
     .offered = case_has_fill,
     .run = case_replace},
    {.name = "setup",
     .what = "insert all slots one by one",
     .unit = "ms",
     .flags = CASE_EMPTY | CASE_2021,
     .offered = case_has_insert,
     .run = case_setup},
    {.name = "setup-one",
     .what = "all slots in one publish",
     .unit = "ms",
     .flags = CASE_EMPTY,
     .offered = case_has_fill,
     .run = case_setup_one},
    {.name = "memory",
     .what = "bytes of the map",
     .unit = "bytes",
     .flags = CASE_QUICK | CASE_ONCE,
     .offered = case_has_memory,
     .run = case_memory},
    {.name = "concurrent-2r",
     .what = "section in two threads at once: each one's time",
     .unit = NS,
     .flags = CASE_THREADS,
     .offered = case_has_section,
     .run = case_concurrent_2r},
    {.name = "concurrent-rw",
     .what = "section beside a writer that never pauses",
     .unit = NS,
     .second = "concurrent-rw-writer",
     .second_what = "an edit of that writer, wall clock",
     .flags = CASE_EDITS | CASE_THREADS,
     .offered = case_has_change_and_section,
     .run = case_concurrent_rw},
    {.name = "concurrent-paced",
     .what = "section beside one edit a millisecond",
     .unit = NS,
     .flags = CASE_EDITS | CASE_THREADS,
     .offered = case_has_change_and_section,
     .run = case_concurrent_paced},
    {.name = "move-active",
     .what = "move a slot while a thread looks it up",
     .unit = NS,
     .flags = CASE_EDITS | CASE_THREADS | CASE_2021,
     .offered = case_has_move_and_section,
     .run = case_move_active},
    {.name = "move-inactive",
     .what = "move a slot that nobody looks up",
     .unit = NS,
     .flags = CASE_EDITS | CASE_2021,
     .offered = case_has_move,
     .run = case_move_inactive},
    {.name = "map",
     .what = "look up page after page of the guest",
     .unit = NS,
     .flags = CASE_2021,
     .offered = case_has_find,
     .run = case_map},
    {.name = "unmap",
     .what = "slots of two host pages, pair after pair",
     .unit = NS,
     .flags = CASE_2021,
     .offered = case_has_count_hva,
     .run = case_unmap},
    {.name = "unmap-2m",
     .what = "slots of 2 MiB of host memory",
     .unit = NS,
     .flags = CASE_2021,
     .offered = case_has_count_hva,
     .run = case_unmap_2m},
    {.name = "bare-call",
     .what = "the cheapest system call of the engine",
     .unit = NS,
     .flags = CASE_BARE,
     .offered = case_has_insert,
     .run = case_bare_call},
    {.name = "lease",
     .what = "take and put a lease of one page, each thread's time",
     .unit = NS,
     .flags = CASE_DIRTY,
     .group = dirty_lease,
     .npoints = DIRTY_LEASE_POINTS},
    {.name = "mark-store",
     .what = "an atomic store of 8 bytes and its mark",
     .unit = NS,
     .flags = CASE_DIRTY,
     .group = dirty_mark_store,
     .npoints = DIRTY_MARK_POINTS},
    {.name = "mark-page",
     .what = "the mark of a page",
     .unit = NS,
     .flags = CASE_DIRTY,
     .group = dirty_mark_page,
     .npoints = DIRTY_MARK_POINTS},
    {.name = "mark-write",
     .what = "a copy of 4 KiB and its mark",
     .unit = NS,
     .flags = CASE_DIRTY,
     .group = dirty_mark_write,
     .npoints = DIRTY_MARK_POINTS},
    {.name = "harvest-get",
     .what = "KVM_GET_DIRTY_LOG, which clears",
     .unit = US,
     .flags = CASE_DIRTY,
     .group = dirty_harvest_get,
     .npoints = DIRTY_HARVEST_POINTS},
    {.name = "harvest-keep",
     .what = "KVM_GET_DIRTY_LOG with manual protection",
     .unit = US,
     .flags = CASE_DIRTY,
     .group = dirty_harvest_keep,
     .npoints = DIRTY_HARVEST_POINTS},
    {.name = "harvest-clear",
     .what = "KVM_CLEAR_DIRTY_LOG of all that is dirty",
     .unit = US,
     .flags = CASE_DIRTY,
     .group = dirty_harvest_clear,
     .npoints = DIRTY_HARVEST_POINTS},
    {.name = "harvest-batch",
     .what = "a harvest of a consumer and its acknowledgement",
     .unit = US,
     .flags = CASE_DIRTY,
     .group = dirty_harvest_batch,
     .npoints = DIRTY_HARVEST_POINTS},
    {.name = "log-bytes",
     .what = "address space of dirty bitmaps, for a GiB of a slot",
     .unit = "bytes",
     .flags = CASE_DIRTY,
     .group = dirty_log_bytes,
     .npoints = DIRTY_MEMORY_POINTS},
    {.name = "log-resident",
     .what = "memory of them after 1 % of the pages were dirty, for a GiB",
     .unit = "bytes",
     .flags = CASE_DIRTY,
     .group = dirty_log_resident,
     .npoints = DIRTY_MEMORY_POINTS},
    {.name = "mmu-hit",
     .what = "a load that the vCPU has cached",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_hit,
     .npoints = MMU_HIT_POINTS},
    {.name = "mmu-fault-direct",
     .what = "a fault of a direct root on memory that is there",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_fault_direct,
     .npoints = MMU_DIRECT_POINTS},
    {.name = "mmu-fault-shadow",
     .what = "a fault of a shadow root on memory that is there",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_fault_shadow,
     .npoints = MMU_SHADOW_POINTS},
    {.name = "mmu-faults-2t",
     .what = "faults of a thread alone and of two at once, each one's time",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_faults_2t,
     .npoints = MMU_THREADS_POINTS},
    {.name = "mmu-map",
     .what = "the guest writes a word to each page of 512 MiB",
     .unit = "ms",
     .flags = CASE_MMU,
     .group = mmu_map,
     .npoints = MMU_MAP_POINTS},
    {.name = "mmu-unmap",
     .what = "the host takes half of this memory away, page by page",
     .unit = "ms",
     .flags = CASE_MMU,
     .group = mmu_unmap,
     .npoints = MMU_MAP_POINTS},
    {.name = "mmu-unmap-2m",
     .what = "the same, 2 MiB at a time",
     .unit = "ms",
     .flags = CASE_MMU,
     .group = mmu_unmap_2m,
     .npoints = MMU_MAP_POINTS},
    {.name = "mmu-merge-refaults",
     .what = "faults after all slots of 512 MiB became one",
     .unit = "faults",
     .flags = CASE_MMU,
     .group = mmu_merge_refaults,
     .npoints = MMU_LEAF_POINTS},
    {.name = "mmu-split-refaults",
     .what = "faults after one slot of 512 MiB became many",
     .unit = "faults",
     .flags = CASE_MMU,
     .group = mmu_split_refaults,
     .npoints = MMU_LEAF_POINTS},
    {.name = "mmu-log-on",
     .what = "the commit that turns logging of 512 MiB on",
     .unit = US,
     .flags = CASE_MMU,
     .group = mmu_log_on,
     .npoints = MMU_LEAF_POINTS},
    {.name = "mmu-log-off",
     .what = "the commit that turns it off, all pages written",
     .unit = US,
     .flags = CASE_MMU,
     .group = mmu_log_off,
     .npoints = MMU_LEAF_POINTS},
    {.name = "mmu-log-write",
     .what = "the first write to each page after it was turned on",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_log_write,
     .npoints = MMU_LEAF_POINTS},
    {.name = "mmu-log-tables",
     .what = "tables before that, after it and after the writes",
     .unit = "tables",
     .flags = CASE_MMU,
     .group = mmu_log_tables,
     .npoints = MMU_TABLES_POINTS},
    {.name = "mmu-harvest",
     .what = "a consumer's harvest of 64 GiB, 1 % dirty, by what is mapped",
     .unit = US,
     .flags = CASE_MMU,
     .group = mmu_harvest,
     .npoints = MMU_HARVEST_POINTS},
    {.name = "mmu-delete-stall",
     .what = "faults beside the deletion of 64 GiB that are mapped",
     .unit = NS,
     .flags = CASE_MMU,
     .group = mmu_delete_stall,
     .npoints = 1},
    {.name = "mmu-metadata",
     .what = "bytes that the tables of a GiB take, with all they need",
     .unit = "bytes",
     .flags = CASE_MMU,
     .group = mmu_metadata,
     .npoints = MMU_FIGURE_POINTS},
    {.name = "mmu-tables",
     .what = "of these, tables",
     .unit = "bytes",
     .flags = CASE_MMU,
     .group = mmu_metadata_tables,
     .npoints = MMU_FIGURE_POINTS},
    {.name = "mmu-frames",
     .what = "of these, heads of reverse maps",
     .unit = "bytes",
     .flags = CASE_MMU,
     .group = mmu_metadata_frames,
     .npoints = MMU_FIGURE_POINTS},
    {.name = "mmu-lists",
     .what = "of these, lists of reverse maps or bitmaps of slots",
     .unit = "bytes",
     .flags = CASE_MMU,
     .group = mmu_metadata_lists,
     .npoints = MMU_FIGURE_POINTS},
    {.name = "mmu-zap",
     .what = "all roots forget a GiB",
     .unit = "ms",
     .flags = CASE_MMU,
     .group = mmu_zap,
     .npoints = MMU_FIGURE_POINTS},
};

const size_t bench_ncases = sizeof(bench_cases) / sizeof(bench_cases[0]);
