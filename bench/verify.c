/* SPDX-License-Identifier: MIT */
/* verify.c - answers of an engine against what is known of the slots; see runner.h. */
#include "runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VERIFIED 4096u /* addresses that are looked up one by one */

enum bench_outcome bench_failed(struct bench_subject *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return BENCH_FAILED;
}

enum bench_outcome bench_skipped(struct bench_subject *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return BENCH_SKIPPED;
}

static enum bench_outcome ask_tokens(struct bench_subject *s, struct engine_map *map,
				     const struct bench_set *set)
{
	for (size_t i = 0; i < set->nslots; i++) {
		s->token[i] = s->engine->token_of(map, set->slot[i].id);
		if (s->token[i] == 0)
			return bench_failed(s, "slot %u is not in the map", set->slot[i].id);
		if (i > 0 && s->token[i] == s->token[i - 1])
			return bench_failed(s, "slots %u and %u have one token",
					    set->slot[i - 1].id, set->slot[i].id);
	}
	return BENCH_OK;
}

static enum bench_outcome wrong(struct bench_subject *s, const char *what, uint64_t addr)
{
	return bench_failed(s, "wrong answer of %s at 0x%llx", what, (unsigned long long)addr);
}

static enum bench_outcome verify_gpa(struct bench_subject *s, struct engine_map *map,
				     const struct bench_set *set, size_t k)
{
	static const enum bench_trail trail[] = {TRAIL_RANDOM, TRAIL_MISS, TRAIL_PAGES};
	const struct engine *const e = s->engine;

	for (size_t t = 0; t < sizeof(trail) / sizeof(trail[0]); t++) {
		const uint64_t *const addr = &set->trail[trail[t]].addr[k];
		const uint32_t slot = set->trail[trail[t]].slot[k];
		const uint64_t token = slot == BENCH_NO_SLOT ? 0 : s->token[slot];

		if (e->find != NULL && e->find(map, addr, 1) != token)
			return wrong(s, "find()", *addr);
		if (e->find_section != NULL && e->find_section(map, addr, 1) != token)
			return wrong(s, "find_section()", *addr);
		if (e->find_local != NULL && e->find_local(map, addr, 1) != token)
			return wrong(s, "find_local()", *addr);
		if (e->count_gpa != NULL && e->count_gpa(map, *addr, 1) != (token != 0))
			return wrong(s, "count_gpa()", *addr);
	}
	return BENCH_OK;
}

enum bench_outcome bench_verify_flags(struct bench_subject *s, struct engine_map *map,
				      const struct bench_set *set)
{
	for (size_t i = 0; i < set->nslots && s->engine->flags_of != NULL; i++) {
		const uint32_t id = set->slot[i].id, flags = s->engine->flags_of(map, id);

		if (flags != s->flags[i])
			return bench_failed(s, "slot %u has the flags 0x%x instead of 0x%x", id,
					    flags, s->flags[i]);
	}
	return BENCH_OK;
}

enum bench_outcome bench_verify(struct bench_subject *s, struct engine_map *map,
				const struct bench_set *set)
{
	const struct engine *const e = s->engine;
	enum bench_outcome outcome;

	if (e->token_of == NULL)
		return BENCH_OK;
	outcome = bench_verify_flags(s, map, set);
	if (outcome == BENCH_OK)
		outcome = ask_tokens(s, map, set);
	for (size_t k = 0; k < VERIFIED && outcome == BENCH_OK; k++) {
		const uint64_t *const hva = &set->trail[TRAIL_HVA].addr[k];
		const uint64_t token = s->token[set->trail[TRAIL_HVA].slot[k]];

		outcome = verify_gpa(s, map, set, k);
		if (outcome != BENCH_OK)
			break;
		if (e->find_hva != NULL && e->find_hva(map, hva, 1) != token)
			return wrong(s, "find_hva()", *hva);
		if (e->find_id != NULL && e->find_id(map, &set->id[k], 1) != token)
			return wrong(s, "find_id()", set->id[k]);
	}
	return outcome;
}

int bench_change(struct bench_subject *s, size_t slot)
{
	const uint32_t flags = s->flags[slot] ^ 1u;
	const struct engine_slot *const at = &s->set->slot[slot];
	int ret;

	if (s->engine->set_flags == NULL)
		return s->engine->move(s->map, at->id, at->gpa);
	ret = s->engine->set_flags(s->map, at->id, flags);
	if (ret == 0)
		s->flags[slot] = flags;
	return ret;
}

enum bench_outcome bench_check_change(struct bench_subject *s)
{
	const int ret = bench_change(s, 0);

	if (ret < 0)
		return bench_failed(s, "an edit: %s", strerror(-ret));
	return bench_verify_flags(s, s->map, s->set);
}

/* Move a slot, and look for its last page where it was and where it should be. */
static enum bench_outcome check_one_move(struct bench_subject *s, const struct engine_slot *slot,
					 uint64_t from, uint64_t to)
{
	const struct engine *const e = s->engine;
	uint64_t (*const find)(struct engine_map *, const uint64_t *, size_t) =
	    e->find != NULL ? e->find : e->find_section;
	const uint64_t old = from + slot->len_bytes - 1, new = to + slot->len_bytes - 1;
	const int ret = e->move(s->map, slot->id, to);

	if (ret < 0)
		return bench_failed(s, "move(): %s", strerror(-ret));
	if (find == NULL || e->token_of == NULL)
		return BENCH_OK;
	if (find(s->map, &old, 1) != 0)
		return bench_failed(s, "move() left slot %u where it was, at 0x%llx", slot->id,
				    (unsigned long long)from);
	if (find(s->map, &new, 1) != e->token_of(s->map, slot->id))
		return bench_failed(s, "move() did not bring slot %u to 0x%llx", slot->id,
				    (unsigned long long)to);
	return BENCH_OK;
}

enum bench_outcome bench_check_move(struct bench_subject *s, size_t slot)
{
	const struct engine_slot *const at = &s->set->slot[slot];
	const enum bench_outcome outcome = check_one_move(s, at, at->gpa, s->set->gpa_end);

	return outcome == BENCH_OK ? check_one_move(s, at, s->set->gpa_end, at->gpa) : outcome;
}
