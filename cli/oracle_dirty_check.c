/* SPDX-License-Identifier: MIT */
/*
 * oracle_dirty_check.c - compare the library's dirty log with a kernel's, and replay logs;
 * see oracle_dirty.h.
 */
#include "oracle_dirty.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"

#define HISTORY_MAX 20u /* earlier requests shown with the first mismatch */

void dirty_call_init(struct dirty_call *call, const struct dirty_request *r)
{
	*call = (struct dirty_call){
	    .region = {r->slot, r->flags, r->x, r->y, r->z},
	    .cap = {.cap = r->slot, .flags = r->flags, .args = {r->x, r->y}},
	    .get = {.slot = r->slot, .dirty_bitmap = call->buffer},
	    .clear = {.slot = r->slot,
		      .num_pages = (uint32_t)r->y,
		      .first_page = r->x,
		      .dirty_bitmap = call->buffer},
	};
	/* A get has to leave what lies behind its slot; a clear, to read no further. */
	for (size_t i = 0; i < DIRTY_BUFFER_WORDS; i++)
		call->buffer[i] = r->op == DIRTY_CLEAR ? UINT64_MAX : DIRTY_UNTOUCHED;
	if (r->op == DIRTY_CLEAR)
		memcpy(call->buffer, r->word, r->nwords * sizeof(r->word[0]));
}

uint32_t dirty_call_words(const struct dirty_call *call)
{
	uint32_t n = DIRTY_BUFFER_WORDS;

	while (n > 0 && call->buffer[n - 1] == DIRTY_UNTOUCHED)
		n--;
	return n;
}

/* Could the earlier request have something to do with this one? */
static bool is_related(const struct dirty_request *r, const struct dirty_request *earlier)
{
	return earlier->op == DIRTY_CAP || earlier->op == DIRTY_VM || earlier->slot == r->slot;
}

static void print_history(FILE *to, const struct dirty_request *request, size_t i)
{
	size_t first = i, shown = 0;

	while (first > 0 && shown < HISTORY_MAX && request[first].op != DIRTY_VM)
		shown += is_related(&request[i], &request[--first]);
	fprintf(to, "Requests before it, for the same slot or for capabilities%s:\n",
		shown == HISTORY_MAX ? " (the last 20)" : "");
	for (; first < i; first++) {
		if (!is_related(&request[i], &request[first]))
			continue;
		fputs("  ", to);
		dirty_log_line(to, &request[first], first);
		fputc('\n', to);
	}
}

/* Did the library write to a get's buffer what the kernel wrote? */
static bool same_bitmap(const struct dirty_request *r, const struct dirty_call *call)
{
	return dirty_call_words(call) == r->nwords &&
	       memcmp(call->buffer, r->word, r->nwords * sizeof(r->word[0])) == 0;
}

/* What the library answered, as the line that would have been right. */
static void print_got(FILE *to, const struct dirty_request *r, const struct dirty_call *call,
		      int got, size_t seq)
{
	struct dirty_request ours = *r;

	ours.answer = got;
	if (r->op == DIRTY_GET) {
		const uint32_t n = dirty_call_words(call);

		ours.nwords = n < DIRTY_WORDS ? n : DIRTY_WORDS;
		memcpy(ours.word, call->buffer, ours.nwords * sizeof(ours.word[0]));
	}
	fprintf(to, "  kernel %s: ", verdict_answer_name(r->answer));
	dirty_log_line(to, r, seq);
	fprintf(to, "\n  mslot %s: ", verdict_answer_name(got));
	dirty_log_line(to, &ours, seq);
	fputc('\n', to);
}

void dirty_check(struct verdict *v, struct dirty_engine *e, const char *source,
		 const struct dirty_request *request, size_t i)
{
	const struct dirty_request *const r = &request[i];
	struct dirty_call call;
	bool equal;
	int got;

	dirty_call_init(&call, r);
	got = dirty_engine_answer(e, r->op, &call);
	equal = got == r->answer && (r->op != DIRTY_GET || same_bitmap(r, &call));
	if (!verdict_count(v, r->class, r->answer == 0, equal))
		return;
	fprintf(v->report, "%s: mismatch %" PRIu64 " at request %zu:\n", source, v->mismatches, i);
	print_got(v->report, r, &call, got, i);
	if (v->mismatches == 1)
		print_history(v->report, request, i);
	verdict_close_report(v);
}

static int replay(struct verdict *v, const struct dirty_log *log, const char *path,
		  struct progress *progress)
{
	struct dirty_engine *e = NULL;
	int status = CLI_OK;

	for (size_t i = 0; i < log->nrequests && status == CLI_OK; i++) {
		if (log->request[i].op != DIRTY_VM) {
			dirty_check(v, e, path, log->request, i);
			continue;
		}
		if (e != NULL)
			status = dirty_engine_destroy(e);
		/* The defaults are the limits of the kernels that the logs come from. */
		e = status == CLI_OK ? dirty_engine_create(NULL) : NULL;
		if (e == NULL)
			status = CLI_FAILED;
		progress_update(progress, path, i, log->nrequests);
	}
	if (e != NULL && dirty_engine_destroy(e) != CLI_OK)
		status = CLI_FAILED;
	progress_clear(progress);
	return status;
}

int oracle_dirty_log(struct verdict *v, const char *path, struct progress *progress)
{
	struct lines_fault fault;
	struct dirty_log log;
	int status;

	if (dirty_log_read(&log, path, &fault) < 0) {
		lines_report("oracle", path, &fault);
		return CLI_FAILED;
	}
	status = replay(v, &log, path, progress);
	dirty_log_free(&log);
	return status;
}
