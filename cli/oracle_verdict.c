/* SPDX-License-Identifier: MIT */
/* oracle_verdict.c - compare the library's answers with a kernel's; see oracle.h. */
#include "oracle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/kvm.h>

#include "cli.h"

#define HISTORY_MAX 20u  /* earlier requests shown with the first mismatch */
#define MISMATCH_MAX 20u /* mismatches described at all */

int verdict_answer(struct mslot_map *map, const struct request *r)
{
	const struct kvm_userspace_memory_region region = {
	    .slot = r->slot,
	    .flags = r->flags,
	    .guest_phys_addr = r->gpa,
	    .memory_size = r->size,
	    .userspace_addr = r->hva,
	};

	return mslot_kvm_set_user_memory_region(map, &region);
}

static struct verdict_class *class_of(struct verdict *v, const char *name)
{
	struct verdict_class *c;

	for (size_t i = 0; i < v->nclasses; i++) {
		if (strcmp(v->class[i].name, name) == 0)
			return &v->class[i];
	}
	v->class = cli_grow(v->class, v->nclasses, &v->cap, sizeof(*v->class));
	c = &v->class[v->nclasses++];
	*c = (struct verdict_class){0};
	strcpy(c->name, name);
	return c;
}

const char *verdict_answer_name(int answer)
{
	const char *const name = answer == 0 ? "ok" : strerrorname_np(-answer);

	return name != NULL ? name : "an unknown errno";
}

static void print_request(FILE *to, const struct request *r, size_t seq)
{
	fprintf(to,
		"  %7zu slot 0x%" PRIx32 " flags 0x%" PRIx32 " gpa 0x%" PRIx64 " size 0x%" PRIx64
		" hva 0x%" PRIx64 " (%s): kernel %s",
		seq, r->slot, r->flags, r->gpa, r->size, r->hva, r->class,
		verdict_answer_name(r->answer));
}

/* Could the earlier request have something to do with this one? */
static bool is_related(const struct request *r, const struct request *earlier)
{
	const uint64_t last = r->gpa + (r->size > 0 ? r->size - 1 : 0);
	const uint64_t earlier_last = earlier->gpa + (earlier->size > 0 ? earlier->size - 1 : 0);

	return r->slot == earlier->slot || (earlier->gpa <= last && r->gpa <= earlier_last);
}

static void print_history(FILE *to, const struct request *request, size_t i)
{
	size_t first = i, shown = 0;

	while (first > 0 && shown < HISTORY_MAX)
		shown += is_related(&request[i], &request[--first]);
	fprintf(to, "Requests before it on the same slot or overlapping addresses%s:\n",
		shown == 0             ? ": none"
		: shown == HISTORY_MAX ? " (the last 20)"
				       : "");
	for (; first < i; first++) {
		if (!is_related(&request[i], &request[first]))
			continue;
		print_request(to, &request[first], first);
		fputc('\n', to);
	}
}

bool verdict_count(struct verdict *v, const char *class, bool accepted, bool equal)
{
	struct verdict_class *const c = class_of(v, class);

	v->requests++;
	c->requests++;
	c->accepted += accepted;
	v->mismatches += !equal;
	c->mismatches += !equal;
	return !equal && v->mismatches <= MISMATCH_MAX;
}

void verdict_close_report(struct verdict *v)
{
	if (v->mismatches == MISMATCH_MAX)
		fprintf(v->report, "Further mismatches are counted, not described.\n");
}

void verdict_check(struct verdict *v, struct mslot_map *map, const char *source,
		   const struct request *request, size_t i)
{
	const struct request *const r = &request[i];
	const int got = verdict_answer(map, r);

	if (!verdict_count(v, r->class, r->answer == 0, got == r->answer))
		return;
	fprintf(v->report, "%s: mismatch %" PRIu64 " at request %zu:\n", source, v->mismatches, i);
	print_request(v->report, r, i);
	fprintf(v->report, ", mslot %s\n", verdict_answer_name(got));
	if (v->mismatches == 1)
		print_history(v->report, request, i);
	verdict_close_report(v);
}

void verdict_fini(struct verdict *v)
{
	free(v->class);
	*v = (struct verdict){0};
}
