/* SPDX-License-Identifier: MIT */
/*
 * migrate_source.c - the process that the guest leaves: rounds of copying, then the stop.
 *
 * Data: struct source (migrate.h). A buffer of CHUNK pages takes what is on its way to the
 * socket, because writers go on writing the pages themselves.
 *
 * Protocol:
 *   1 The consumer of dirty pages begins with everything dirty, memory that comes later too.
 *   2 A round: harvest, send each run, acknowledge. What is written meanwhile is reported by
 *     the next harvest. Transactions are spread over the round; it ends when its share of them
 *     is committed and each writer has written some.
 *   3 The stop: writers end, the device completes its leases, one more harvest, the layout.
 *     The guest stands from the first of these until the destination has answered.
 *   4 Both sides digest all pages of their maps, and the digests are compared.
 *
 * --break flush: the batch of the last round before the stop is acknowledged without sending a
 * page of it.
 */
#include "migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "migrate_wire.h"

#define CHUNK 256u         /* pages of a message */
#define ROUND_WRITES 1000u /* that each writer makes in a round at least */
#define SHARE_BEFORE 8u    /* 1/8 of a round's transactions may run while it harvests */
#define END_NS 10000000000 /* that removed memory may take to go when nothing holds it */

static int lost_peer(struct source *s)
{
	return source_fail(s, "the destination ended early", 0);
}

/* ---- Sending ------------------------------------------------------------------------ */

static int tell_gone(struct source *s)
{
	struct memory *m;

	while ((m = memory_take_gone(s)) != NULL) {
		const struct wire_head head = {.type = WIRE_GONE, .id = m->id};

		if (wire_send(s->fd, &head, NULL) < 0)
			return lost_peer(s);
	}
	return 0;
}

static int tell_memory(struct source *s, struct memory *m)
{
	const struct wire_head head = {.type = WIRE_MEMORY, .id = m->id, .number = m->len_bytes};

	if (m->told)
		return 0;
	m->told = true;
	return wire_send(s->fd, &head, NULL) < 0 ? lost_peer(s) : 0;
}

static int send_chunk(struct source *s, const struct mslot_dirty_run *run, uint64_t at,
		      uint64_t npages)
{
	static uint8_t buf[CHUNK * MIGRATE_PAGE] __attribute__((aligned(8)));
	const struct wire_head head = {.type = WIRE_PAGES,
				       .id = memory_of(run->region)->id,
				       .number = run->offset_bytes + at,
				       .payload = npages * MIGRATE_PAGE};
	const uint8_t *const from = (const uint8_t *)(uintptr_t)run->hva + at;

	for (uint64_t i = 0; i < npages; i++)
		memory_copy_page(buf + i * MIGRATE_PAGE, from + i * MIGRATE_PAGE);
	return wire_send(s->fd, &head, buf) < 0 ? lost_peer(s) : 0;
}

/* What a round is doing, for its bar and its transactions. */
struct copying {
	struct migrate_round *round;
	unsigned int number; /* from 1 */
	uint64_t allow[2];   /* transactions at the round's begin and at its end */
	bool keep;           /* --break flush: acknowledge only */
};

static void show(struct source *s, const struct copying *c)
{
	const struct migrate_round *const r = c->round;
	const uint64_t share = c->allow[1] - c->allow[0];
	char what[48];

	if (r->dirty_pages > 0)
		pace_allow(&s->pace,
			   c->allow[0] + (uint64_t)((double)share * (double)r->sent_pages /
						    (double)r->dirty_pages));
	if (c->number <= s->o->nrounds)
		snprintf(what, sizeof(what), "round %u of %u: sending pages", c->number,
			 s->o->nrounds);
	else
		snprintf(what, sizeof(what), "the guest stands: sending pages");
	progress_update(s->progress, what, r->sent_pages, r->dirty_pages);
}

static int send_run(struct source *s, struct copying *c, const struct mslot_dirty_run *run)
{
	const uint64_t npages = run->len_bytes / MIGRATE_PAGE;
	int ret = tell_memory(s, memory_of(run->region));

	for (uint64_t at = 0; ret == 0 && at < npages; at += CHUNK) {
		const uint64_t n = npages - at < CHUNK ? npages - at : CHUNK;

		ret = send_chunk(s, run, at * MIGRATE_PAGE, n);
		c->round->sent_pages += n;
		show(s, c);
	}
	return ret;
}

static int send_batch(struct source *s, struct copying *c, struct mslot_dirty_batch *batch)
{
	const uint64_t start = cli_now_ns();
	struct mslot_dirty_run run;
	int ret = 0;

	while (ret == 0 && mslot_dirty_next(batch, &run) == 1) {
		ret = atomic_load(&s->failed) ? -1 : tell_gone(s);
		if (ret == 0 && c->keep)
			s->result->pages_kept += run.len_bytes / MIGRATE_PAGE;
		else if (ret == 0)
			ret = send_run(s, c, &run);
	}
	c->round->send_ns = cli_now_ns() - start;
	s->result->pages_sent += c->round->sent_pages;
	return ret;
}

static int copy(struct source *s, struct copying *c, uint64_t *harvested_ns)
{
	const uint64_t before = *harvested_ns;
	struct mslot_dirty_batch *batch;
	const int err = mslot_dirty_get(s->dirty, &batch);
	int ret;

	if (err != 0)
		return source_fail(s, "mslot_dirty_get()", err);
	*harvested_ns = cli_now_ns();
	c->round->dirty_pages = mslot_dirty_pages(batch);
	if (before != 0)
		c->round->dirty_per_s =
		    (double)c->round->dirty_pages * 1e9 / (double)(*harvested_ns - before);
	ret = send_batch(s, c, batch);
	if (ret == 0)
		mslot_dirty_ack(batch);
	else
		mslot_dirty_nack(batch);
	return ret;
}

/* ---- Rounds ------------------------------------------------------------------------- */

static int wait_for_writes(struct source *s, uint64_t writes)
{
	static const struct timespec moment = {0, 1000000};

	while (guest_progress(s->guest) < writes && !atomic_load(&s->failed))
		nanosleep(&moment, NULL);
	return atomic_load(&s->failed) ? -1 : 0;
}

static int run_round(struct source *s, unsigned int number, uint64_t *harvested_ns)
{
	const struct migrate_options *const o = s->o;
	struct migrate_round *const r = &s->result->round[s->result->nrounds];
	const uint64_t start = cli_now_ns(), writes = guest_progress(s->guest) + ROUND_WRITES;
	const uint64_t first = o->ntransactions * (number - 1) / o->nrounds;
	const uint64_t last = o->ntransactions * number / o->nrounds;
	struct copying c = {.round = r, .number = number};

	c.allow[0] = first + (last - first) / SHARE_BEFORE;
	c.allow[1] = last;
	c.keep = o->broken == MIGRATE_BREAK_FLUSH && number == o->nrounds;
	pace_allow(&s->pace, c.allow[0]);
	if (copy(s, &c, harvested_ns) < 0)
		return -1;
	pace_allow(&s->pace, last);
	if (pace_wait(s) < 0 || wait_for_writes(s, writes) < 0)
		return -1;
	r->ns = cli_now_ns() - start;
	r->transactions = last;
	s->result->nrounds++;
	progress_clear(s->progress);
	return 0;
}

/* ---- The stop ------------------------------------------------------------------------- */

static size_t read_layout(struct source *s, struct wire_slot **out)
{
	const struct mslot_snapshot *const snap = mslot_enter(s->map);
	uint64_t nslots = 0;
	size_t n = 0;

	for (uint32_t space = 0; space < MIGRATE_NSPACES; space++)
		nslots += mslot_snapshot_nslots(snap, space);
	*out = cli_alloc(nslots, sizeof(**out));
	for (uint32_t space = 0; space < MIGRATE_NSPACES; space++) {
		const struct mslot_slot *slot;
		struct mslot_slot_info i;
		struct mslot_iter iter;

		mslot_iter_gpa(&iter, snap, space, (struct mslot_range){0, UINT64_MAX});
		while ((slot = mslot_iter_next(&iter)) != NULL) {
			mslot_slot_info_get(slot, &i);
			(*out)[n++] = (struct wire_slot){.space = space,
							 .id = i.key.id,
							 .memory = memory_of(i.region)->id,
							 .flags = i.flags,
							 .gpa = i.gpa,
							 .len_bytes = i.len_bytes,
							 .offset_bytes = i.offset_bytes};
		}
	}
	mslot_leave(snap);
	return n;
}

static int send_layout(struct source *s)
{
	struct wire_head head = {.type = WIRE_LAYOUT}, ready;
	struct wire_slot *slot;
	const size_t n = read_layout(s, &slot);
	int ret;

	head.payload = n * sizeof(*slot);
	ret = wire_send(s->fd, &head, slot);
	free(slot);
	if (ret < 0 || wire_expect(s->fd, WIRE_READY, &ready) < 0)
		return lost_peer(s);
	return ready.number == n ? 0 : source_fail(s, "the destination lost a slot", 0);
}

static int stop_and_copy(struct source *s, uint64_t *harvested_ns)
{
	struct migrate_round *const r = &s->result->round[s->result->nrounds];
	struct copying c = {.round = r, .number = s->o->nrounds + 1};
	const uint64_t start = cli_now_ns();

	c.allow[0] = c.allow[1] = s->o->ntransactions;
	if (guest_stop(s) < 0)
		return -1;
	if (mslot_lease_holders(s->map, NULL, 0) != 0)
		return source_fail(s, "a lease is left without its device", 0);
	if (copy(s, &c, harvested_ns) < 0 || tell_gone(s) < 0 || send_layout(s) < 0)
		return -1;
	r->ns = s->result->downtime_ns = cli_now_ns() - start;
	r->transactions = s->o->ntransactions;
	s->result->nrounds++;
	progress_clear(s->progress);
	return 0;
}

/* ---- The comparison ------------------------------------------------------------------- */

static int receive_digests(struct source *s, struct map_digest *out)
{
	struct wire_head head;

	*out = (struct map_digest){0};
	if (wire_expect(s->fd, WIRE_DIGESTS, &head) < 0)
		return lost_peer(s);
	out->whole = head.number;
	out->npages = head.payload / sizeof(*out->page);
	out->page = cli_alloc(out->npages, sizeof(*out->page));
	return wire_receive(s->fd, out->page, head.payload) < 0 ? lost_peer(s) : 0;
}

static int compare(struct source *s)
{
	const struct wire_head head = {.type = WIRE_COMPARE};
	struct map_digest here, there;
	int ret;

	if (wire_send(s->fd, &head, NULL) < 0)
		return lost_peer(s);
	/* Both sides work at once. */
	digest_map(s->map, &here);
	ret = receive_digests(s, &there);
	if (ret == 0) {
		s->result->pages_compared = here.npages;
		s->result->lost_pages = digest_compare(&here, &there);
		s->result->digest_equal = here.whole == there.whole;
	}
	free(here.page);
	free(there.page);
	return ret;
}

/* ---- Begin and end -------------------------------------------------------------------- */

static int begin(struct source *s)
{
	const struct mslot_map_options map_opt = {.nspaces = MIGRATE_NSPACES,
						  .max_user_slots = MIGRATE_MAX_IDS};
	const struct mslot_dirty_options dirty_opt = {.tag = "migration",
						      .flags = MSLOT_DIRTY_INITIALLY_SET};
	int err = mslot_map_create(&map_opt, &s->map);

	if (err != 0)
		return source_fail(s, "mslot_map_create()", err);
	if (changer_start(s) < 0)
		return -1;
	err = mslot_dirty_create(s->map, &dirty_opt, &s->dirty);
	if (err != 0)
		return source_fail(s, "mslot_dirty_create()", err);
	return guest_start(s);
}

static int end(struct source *s)
{
	struct mslot_map_stats stats;
	int err;

	guest_stop(s);
	changer_stop(s);
	err = mslot_dirty_destroy(s->dirty);
	if (err != 0)
		source_fail(s, "mslot_dirty_destroy()", err);
	/* Nothing holds anything any more: whatever was unplugged goes. */
	if (s->map != NULL && mslot_map_stats_get(s->map, &stats) == 0) {
		err = mslot_wait(s->map, stats.generation, END_NS);
		if (err != 0)
			source_fail(s, "mslot_wait()", err);
	}
	err = mslot_map_destroy(s->map);
	if (err != 0)
		return source_fail(s, "mslot_map_destroy()", err);
	return memory_fini(s);
}

static int run(struct source *s)
{
	uint64_t harvested_ns = 0;
	int ret = begin(s);

	for (unsigned int i = 1; i <= s->o->nrounds && ret == 0; i++)
		ret = run_round(s, i, &harvested_ns);
	if (ret == 0)
		ret = changer_stop(s);
	if (ret == 0)
		ret = stop_and_copy(s, &harvested_ns);
	return ret < 0 ? ret : compare(s);
}

int migrate_source(const struct migrate_options *o, int fd, struct progress *progress,
		   struct migrate_result *result)
{
	struct source s = {
	    .o = o,
	    .result = result,
	    .progress = progress,
	    .fd = fd,
	    .pace = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER},
	    .lock = PTHREAD_MUTEX_INITIALIZER};

	*result = (struct migrate_result){0};
	run(&s);
	end(&s);
	progress_clear(progress);
	if (atomic_load(&s.failed)) {
		cli_error(MIGRATE_VERB, "%s", s.why);
		return -1;
	}
	return 0;
}
