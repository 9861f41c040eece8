/* SPDX-License-Identifier: MIT */
/* cases.c - the list of cases and what each needs of an engine; see cases.h. */
#include "cases.h"

#define NS "ns/op"

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

bool case_has_flags(const struct engine *e)
{
	return e->set_flags != NULL;
}

bool case_has_flags_and_section(const struct engine *e)
{
	return case_has_flags(e) && case_has_section(e);
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

bool case_has_maps(const struct engine *e)
{
	return e->insert != NULL && e->fill != NULL;
}

const struct bench_case bench_cases[] = {
    {"lookup-random", "slot at a random guest address", NS, NULL, CASE_QUICK, case_has_find,
     case_lookup_random},
    {"lookup-dependent", "the same, each address waits for the answer before", NS, NULL, 0,
     case_has_dependent, case_lookup_dependent},
    {"lookup-local", "64 addresses in one slot after the other, with a hint", NS, NULL, 0,
     case_has_local, case_lookup_local},
    {"lookup-sequential", "rising guest addresses", NS, NULL, 0, case_has_find,
     case_lookup_sequential},
    {"lookup-miss", "guest addresses without a slot", NS, NULL, 0, case_has_find, case_lookup_miss},
    {"section", "enter, look up a random guest address, leave", NS, NULL, CASE_QUICK,
     case_has_section, case_section},
    {"hva", "slots at a random host address", NS, NULL, CASE_QUICK, case_has_hva, case_hva},
    {"id", "slot of a random id", NS, NULL, CASE_QUICK, case_has_id, case_id},
    {"edit", "publish one changed slot", NS, NULL, CASE_QUICK | CASE_EDITS, case_has_flags,
     case_edit},
    {"edit-busy-reader", "the same beside a reader: median, wall clock", NS, NULL, CASE_EDITS,
     case_has_flags_and_section, case_edit_busy},
    {"edit-busy-p99", "the same: 99th percentile", NS, NULL, CASE_EDITS,
     case_has_flags_and_section, case_edit_busy_p99},
    {"batch", "publish 64 changed slots at once (all where fewer)", NS, NULL, CASE_EDITS,
     case_has_batch, case_batch},
    {"replace", "other slots for the whole map in one publish", "ms", NULL, CASE_OTHER | CASE_EDITS,
     case_has_maps, case_replace},
    {"setup", "insert all slots one by one", "ms", NULL, CASE_EMPTY | CASE_2021, case_has_maps,
     case_setup},
    {"setup-one", "all slots in one publish", "ms", NULL, CASE_EMPTY, case_has_maps,
     case_setup_one},
    {"memory", "bytes of the map", "bytes", NULL, CASE_QUICK | CASE_ONCE, case_has_memory,
     case_memory},
    {"concurrent-2r", "section by two readers at once: each one's time", NS, NULL, 0,
     case_has_section, case_concurrent_2r},
    {"concurrent-rw", "section beside a writer that never pauses", NS, "concurrent-rw-writer",
     CASE_EDITS, case_has_flags_and_section, case_concurrent_rw},
    {"concurrent-paced", "section beside one edit a millisecond", NS, NULL, CASE_EDITS,
     case_has_flags_and_section, case_concurrent_paced},
    {"move-active", "move a slot while a thread looks it up", NS, NULL, CASE_EDITS | CASE_2021,
     case_has_move_and_section, case_move_active},
    {"move-inactive", "move a slot that nobody looks up", NS, NULL, CASE_EDITS | CASE_2021,
     case_has_move, case_move_inactive},
    {"map", "look up page after page of the guest", NS, NULL, CASE_2021, case_has_find, case_map},
    {"unmap", "slots of two host pages, page pair after page pair", NS, NULL, CASE_2021,
     case_has_count_hva, case_unmap},
    {"unmap-2m", "slots of 2 MiB of host memory", NS, NULL, CASE_2021, case_has_count_hva,
     case_unmap_2m},
    {"bare-call", "the cheapest system call of the engine", NS, NULL, CASE_BARE, case_has_maps,
     case_bare_call},
};

const size_t bench_ncases = sizeof(bench_cases) / sizeof(bench_cases[0]);
