/* SPDX-License-Identifier: MIT */
/*
 * oracle_dirty_live.c - send the same dirty-log requests to a real kernel and to the
 * library, and record them; see oracle_dirty.h.
 */
#include "oracle_dirty.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

#define RING_WITH_BITMAP 225 /* KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP of newer headers */
#define VM_REQUESTS 500u     /* random requests to one VM */

/* What a run has open. */
struct run {
	int kvm;
	int vm; /* -1: none */
	struct dirty_engine *engine;
	struct kernel_limits limits;
	FILE *record;
	uint64_t recorded; /* lines */
};

/* CLI_OK, or why the kernel's dirty logging is none to compare with. */
static int check_kernel(int kvm)
{
	static const struct {
		int cap, from, to; /* what KVM_CHECK_EXTENSION has to say */
		const char *otherwise;
	} need[] = {
	    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3, 3, "the kernel sets no dirty log initially"},
	    {KVM_CAP_DIRTY_LOG_RING, 1, INT_MAX, "the kernel has no dirty rings"},
	    {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 1, INT_MAX, "the kernel has dirty rings of old only"},
	    {RING_WITH_BITMAP, 0, 0, "the kernel has bitmaps beside dirty rings"},
	};

	for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++) {
		const int got = ioctl(kvm, KVM_CHECK_EXTENSION, need[i].cap);

		if (got < need[i].from || got > need[i].to)
			return oracle_skip(need[i].otherwise, 0);
	}
	return CLI_OK;
}

static int kernel_answer(int vm, enum dirty_op op, struct dirty_call *call)
{
	int ret = 0;

	switch (op) {
	case DIRTY_REGION:
		ret = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &call->region);
		break;
	case DIRTY_CAP:
		ret = ioctl(vm, KVM_ENABLE_CAP, &call->cap);
		break;
	case DIRTY_GET:
		ret = ioctl(vm, KVM_GET_DIRTY_LOG, &call->get);
		break;
	case DIRTY_CLEAR:
		ret = ioctl(vm, KVM_CLEAR_DIRTY_LOG, &call->clear);
		break;
	default:
		break;
	}
	return ret < 0 ? -errno : 0;
}

/* Fill in the kernel's answer and, for a get, its bitmap. */
static void ask_kernel(int vm, struct dirty_request *r)
{
	struct dirty_call call;

	dirty_call_init(&call, r);
	r->answer = kernel_answer(vm, r->op, &call);
	if (r->op != DIRTY_GET)
		return;
	r->nwords = dirty_call_words(&call);
	if (r->nwords > DIRTY_WORDS)
		r->nwords = DIRTY_WORDS;
	memcpy(r->word, call.buffer, r->nwords * sizeof(r->word[0]));
}

static int end_vm(struct run *run)
{
	const int status = run->engine != NULL ? dirty_engine_destroy(run->engine) : CLI_OK;

	if (run->vm >= 0)
		close(run->vm);
	run->vm = -1;
	run->engine = NULL;
	return status;
}

static int new_vm(struct run *run)
{
	const struct mslot_map_options opt = {
	    .nspaces = run->limits.nspaces,
	    .max_user_slots = run->limits.user_slots,
	    .gpa_limit = run->limits.gpa_limit,
	    .hva_limit = run->limits.hva_limit,
	};

	if (end_vm(run) != CLI_OK)
		return CLI_FAILED;
	run->vm = ioctl(run->kvm, KVM_CREATE_VM, 0);
	if (run->vm < 0) {
		cli_error("oracle", "KVM_CREATE_VM: %s", strerror(errno));
		return CLI_FAILED;
	}
	run->engine = dirty_engine_create(&opt);
	return run->engine != NULL ? CLI_OK : CLI_FAILED;
}

static void record(struct run *run, const struct dirty_request *r)
{
	if (run->record == NULL)
		return;
	dirty_log_line(run->record, r, run->recorded++);
	fputc('\n', run->record);
}

static int open_record(struct run *run, const char *path)
{
	if (path == NULL)
		return CLI_OK;
	run->record = fopen(path, "we");
	if (run->record == NULL) {
		cli_error("oracle", "%s: cannot open: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	dirty_log_header(run->record);
	return CLI_OK;
}

static int close_record(struct run *run, const char *path)
{
	bool bad;

	if (run->record == NULL)
		return CLI_OK;
	bad = ferror(run->record) != 0;
	bad |= fclose(run->record) != 0;
	if (bad)
		cli_error("oracle", "%s: cannot write: %s", path, strerror(errno));
	return bad ? CLI_FAILED : CLI_OK;
}

/* A new VM where the request says so, else the request to both. */
static int handle(struct run *run, struct verdict *v, struct dirty_request *request, size_t i)
{
	struct dirty_request *const r = &request[i];

	if (r->op == DIRTY_VM) {
		const int status = new_vm(run);

		if (status == CLI_OK)
			record(run, r);
		return status;
	}
	ask_kernel(run->vm, r);
	record(run, r);
	dirty_check(v, run->engine, "live", request, i);
	return CLI_OK;
}

static int ask_again(struct run *run, struct verdict *v, const char *path)
{
	struct lines_fault fault;
	struct dirty_log log;
	int status = CLI_OK;

	if (dirty_log_read(&log, path, &fault) < 0) {
		lines_report("oracle", path, &fault);
		return CLI_FAILED;
	}
	for (size_t i = 0; i < log.nrequests && status == CLI_OK; i++)
		status = handle(run, v, log.request, i);
	dirty_log_free(&log);
	return status;
}

static int ask_random(struct run *run, struct verdict *v, const struct dirty_live *o,
		      struct progress *progress)
{
	struct dirty_request *const request = cli_alloc(VM_REQUESTS + 1, sizeof(*request));
	struct dirty_generator g;
	int status = CLI_OK;

	dirty_generator_init(&g, o->seed, &run->limits);
	for (uint64_t done = 0; done < o->nrequests && status == CLI_OK;) {
		const uint64_t left = o->nrequests - done;
		const size_t n = left < VM_REQUESTS ? (size_t)left : VM_REQUESTS;

		dirty_generator_reset(&g);
		request[0] = (struct dirty_request){.op = DIRTY_VM, .class = "vm"};
		status = handle(run, v, request, 0);
		for (size_t i = 1; i <= n && status == CLI_OK; i++) {
			dirty_generator_next(&g, &request[i]);
			status = handle(run, v, request, i);
			dirty_generator_note(&g, &request[i]);
		}
		done += n;
		progress_update(progress, "live requests", done, o->nrequests);
	}
	progress_clear(progress);
	free(request);
	return status;
}

int oracle_dirty_live(struct verdict *v, const struct dirty_live *o, struct progress *progress)
{
	struct run run = {.vm = -1};
	int status = oracle_open_kernel(&run.kvm, &run.limits);

	if (status != CLI_OK)
		return status;
	status = check_kernel(run.kvm);
	if (status == CLI_OK)
		status = open_record(&run, o->record);
	if (status == CLI_OK)
		status =
		    o->ask != NULL ? ask_again(&run, v, o->ask) : ask_random(&run, v, o, progress);
	if (close_record(&run, o->record) != CLI_OK)
		status = CLI_FAILED;
	if (end_vm(&run) != CLI_OK)
		status = CLI_FAILED;
	close(run.kvm);
	return status;
}
