/* SPDX-License-Identifier: MIT */
/*
 * migrate_destination.c - the process that the guest moves to.
 *
 * Data: memory by the source's ids, and at the end a map of its own. Everything in them came
 * through the socket; protocol in migrate_wire.h.
 */
#include "migrate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"
#include "migrate_wire.h"

struct received {
	uint8_t *host; /* NULL: not announced, or gone */
	uint64_t len_bytes;
	struct mslot_region *region; /* while the map is built */
};

struct destination {
	int fd;
	struct received *memory; /* by id */
	size_t nmemory;
	size_t cap;
	struct mslot_map *map;
};

static int refuse(const char *what)
{
	cli_error(MIGRATE_VERB, "destination: %s", what);
	return -1;
}

static struct received *find(struct destination *d, uint32_t id)
{
	return id < d->nmemory && d->memory[id].host != NULL ? &d->memory[id] : NULL;
}

static int take_memory(struct destination *d, const struct wire_head *head)
{
	struct received *m;

	while (d->nmemory <= head->id) {
		d->memory = cli_grow(d->memory, d->nmemory, &d->cap, sizeof(*d->memory));
		d->memory[d->nmemory++] = (struct received){0};
	}
	m = &d->memory[head->id];
	if (m->host != NULL)
		return refuse("memory is announced twice");
	m->host = mmap(NULL, head->number, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m->len_bytes = head->number;
	if (m->host != MAP_FAILED) {
		/* For speed alone; whether it works does not matter. */
		(void)madvise(m->host, m->len_bytes, MADV_HUGEPAGE);
		return 0;
	}
	m->host = NULL;
	return refuse("no memory");
}

static int take_pages(struct destination *d, const struct wire_head *head)
{
	const struct received *const m = find(d, head->id);

	if (m == NULL || head->number > m->len_bytes || head->payload > m->len_bytes - head->number)
		return refuse("pages of unknown memory");
	return wire_receive(d->fd, m->host + head->number, head->payload);
}

static int take_gone(struct destination *d, const struct wire_head *head)
{
	struct received *const m = find(d, head->id);

	if (m == NULL)
		return refuse("unknown memory is gone");
	munmap(m->host, m->len_bytes);
	*m = (struct received){0};
	return 0;
}

/* ---- The final map --------------------------------------------------------------- */

static int add_slot(struct destination *d, struct mslot_txn *txn, const struct wire_slot *slot)
{
	struct received *const m = find(d, slot->memory);
	struct mslot_slot_def def = {.key = {slot->space, slot->id},
				     .gpa = slot->gpa,
				     .len_bytes = slot->len_bytes,
				     .offset_bytes = slot->offset_bytes,
				     .flags = slot->flags};

	if (m == NULL)
		return refuse("a slot shows unknown memory");
	if (m->region == NULL) {
		const struct mslot_region_options opt = {
		    .hva = m->host, .len_bytes = m->len_bytes, .fd = -1};

		if (mslot_region_create(&opt, &m->region) != 0)
			return refuse("mslot_region_create() failed");
	}
	def.region = m->region;
	return mslot_txn_create(txn, &def) < 0 ? refuse("mslot_txn_create() failed") : 0;
}

static int build_map(struct destination *d, const struct wire_slot *slot, size_t n)
{
	const struct mslot_map_options opt = {.nspaces = MIGRATE_NSPACES};
	struct mslot_txn *txn;
	int ret = 0;

	if (mslot_map_create(&opt, &d->map) != 0)
		return refuse("mslot_map_create() failed");
	if (mslot_txn_begin(d->map, &txn) != 0)
		return refuse("mslot_txn_begin() failed");
	for (size_t i = 0; i < n && ret == 0; i++)
		ret = add_slot(d, txn, &slot[i]);
	for (size_t i = 0; i < d->nmemory; i++)
		mslot_region_put(d->memory[i].region);
	if (ret == 0 && mslot_txn_commit(txn, NULL, NULL) == 0)
		return 0;
	mslot_txn_abort(txn);
	return ret < 0 ? ret : refuse("the map refused the layout");
}

static int take_layout(struct destination *d, const struct wire_head *head)
{
	const struct wire_head ready = {.type = WIRE_READY,
					.number = head->payload / sizeof(struct wire_slot)};
	struct wire_slot *const slot = cli_alloc(ready.number, sizeof(*slot));
	int ret = -1;

	if (d->map != NULL)
		refuse("a second layout");
	else if (wire_receive(d->fd, slot, ready.number * sizeof(*slot)) == 0 &&
		 build_map(d, slot, ready.number) == 0)
		ret = wire_send(d->fd, &ready, NULL);
	free(slot);
	return ret;
}

static int send_digests(struct destination *d)
{
	struct wire_head head = {.type = WIRE_DIGESTS};
	struct map_digest digest;
	int ret;

	if (d->map == NULL)
		return refuse("there is nothing to compare yet");
	digest_map(d->map, &digest);
	head.number = digest.whole;
	head.payload = digest.npages * sizeof(*digest.page);
	ret = wire_send(d->fd, &head, digest.page);
	free(digest.page);
	return ret;
}

static int take(struct destination *d, const struct wire_head *head)
{
	switch (head->type) {
	case WIRE_MEMORY:
		return take_memory(d, head);
	case WIRE_PAGES:
		return take_pages(d, head);
	case WIRE_GONE:
		return take_gone(d, head);
	case WIRE_LAYOUT:
		return take_layout(d, head);
	case WIRE_COMPARE:
		return send_digests(d);
	default:
		return refuse("unknown message");
	}
}

int migrate_destination(int fd)
{
	struct destination d = {.fd = fd};
	struct wire_head head;
	int ret = 0;

	while (ret == 0 && wire_receive(fd, &head, sizeof(head)) == 0)
		ret = take(&d, &head);
	if (mslot_map_destroy(d.map) != 0)
		ret = refuse("mslot_map_destroy() failed");
	for (size_t i = 0; i < d.nmemory; i++) {
		if (d.memory[i].host != NULL)
			munmap(d.memory[i].host, d.memory[i].len_bytes);
	}
	free(d.memory);
	/* A source that ended early says itself why. */
	return ret == 0 ? CLI_OK : CLI_FAILED;
}
