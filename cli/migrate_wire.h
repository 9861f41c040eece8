/* SPDX-License-Identifier: MIT */
/*
 * migrate_wire.h - messages between the two processes of `mslot migrate-demo`.
 *
 * Both are the same program on one machine, so numbers and structs travel as they are. A
 * message is a head and `payload` bytes. Source to destination, in any order until LAYOUT:
 *   MEMORY  memory `id` of `number` bytes exists: comes before the first of its pages
 *   PAGES   the payload belongs at offset `number` of memory `id`
 *   GONE    memory `id` was unplugged, no page of it will come
 *   LAYOUT  the payload is the final slots (struct wire_slot)
 * The destination builds its map and says READY, with `number` slots. Then the source sends
 *   COMPARE
 * and gets DIGESTS, with the whole digest in `number` and the pages' as payload
 * (struct page_digest); it ends by closing the socket.
 */
#ifndef MSLOT_CLI_MIGRATE_WIRE_H
#define MSLOT_CLI_MIGRATE_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_type {
	WIRE_MEMORY = 1,
	WIRE_PAGES,
	WIRE_GONE,
	WIRE_LAYOUT,
	WIRE_READY,
	WIRE_COMPARE,
	WIRE_DIGESTS,
};

struct wire_head {
	uint32_t type;
	uint32_t id;
	uint64_t number;
	uint64_t payload; /* bytes that follow */
};

struct wire_slot {
	uint32_t space;
	uint32_t id;
	uint32_t memory;
	uint32_t flags;
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t offset_bytes; /* in the memory */
};

/* Each returns 0, or -1: the other side has ended. */
int wire_send(int fd, const struct wire_head *head, const void *payload);
int wire_receive(int fd, void *buf, size_t len_bytes);
/* A head of this type. */
int wire_expect(int fd, enum wire_type type, struct wire_head *head);

#endif /* MSLOT_CLI_MIGRATE_WIRE_H */
