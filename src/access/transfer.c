/* SPDX-License-Identifier: MIT */
/*
 * transfer.c - read, write, copy and clear across slots.
 *
 * Data: a cursor walks one side of a transfer, piece by piece. A piece is what lies
 * in one slot. The other side of a read or write is a cursor over the caller's buffer,
 * which is a single piece, and the source of a clear is a cursor without memory; so
 * one loop, transfer(), does everything, and cuts at the borders of both sides.
 *
 * Steps: check the whole span of each side (the source first), then move. Nothing
 * can fail in the second step, because a snapshot does not change.
 *
 * What was moved is marked dirty piece by piece, in the caller's section; what a vCPU with a
 * ring is going to move is in the ring before.
 *
 * Each move is as long as the piece it is made in, never as long as the rest.
 */
#include <string.h>

#include "access/locate.h"
#include "base/page.h"

struct cursor {
	const struct mslot_snapshot *snap; /* NULL: no guest memory */
	struct mslot_addr at;              /* first byte not moved yet; a buffer starts at 0 */
	uint64_t len;                      /* bytes not moved yet */
	/* The piece looked up last: [start, end) starts at host. Empty at first. */
	uint64_t start, end;
	uint8_t *host;                 /* NULL: zeros */
	const struct mslot_slot *slot; /* NULL: no guest memory */
};

static struct cursor guest_cursor(const struct mslot_snapshot *snap, struct mslot_addr at,
				  uint64_t len)
{
	return (struct cursor){.snap = snap, .at = at, .len = len};
}

static struct cursor buffer_cursor(void *buf, uint64_t len)
{
	return (struct cursor){.len = len, .end = len, .host = buf};
}

/* Make the piece cover the byte at `gpa`. */
static int cursor_seek(struct cursor *c, uint64_t gpa, enum mslot_access access)
{
	const struct mslot_slot *slot;
	int err;

	if (gpa >= c->start && gpa < c->end)
		return 0;
	err = access_slot(c->snap, (struct mslot_addr){c->at.space, gpa}, access, &slot);
	if (err)
		return err;
	c->start = access_slot_start(slot);
	c->end = access_slot_end(slot);
	c->host = (uint8_t *)(uintptr_t)slot->hva;
	c->slot = slot;
	return 0;
}

/* Is every byte there? Leaves the cursor with the piece of its first byte. */
static int cursor_check(struct cursor *c, enum mslot_access access)
{
	const uint64_t last = c->at.gpa + (c->len - 1);
	struct cursor probe;
	int err;

	if (c->len == 0)
		return 0;
	if (last < c->at.gpa)
		return -EOVERFLOW;
	err = cursor_seek(c, c->at.gpa, access);
	for (probe = *c; !err && last >= probe.end;)
		err = cursor_seek(&probe, probe.end, access);
	return err;
}

/* A checked cursor finds every byte, whatever the access. */
static void cursor_reseek(struct cursor *c, uint64_t gpa)
{
	(void)cursor_seek(c, gpa, MSLOT_READ);
}

/* How many bytes of the rest, at the side that is due, lie in one piece. */
static uint64_t cursor_piece(struct cursor *c, bool backward)
{
	const uint64_t tail = c->at.gpa + c->len;

	cursor_reseek(c, backward ? tail - 1 : c->at.gpa);
	return u64_min(c->len, backward ? tail - c->start : c->end - c->at.gpa);
}

/* Take `bytes` of that piece off the rest. Returns their host memory, NULL for zeros. */
static uint8_t *cursor_take(struct cursor *c, uint64_t bytes, bool backward)
{
	const uint64_t from = backward ? c->at.gpa + (c->len - bytes) : c->at.gpa;

	c->len -= bytes;
	if (!backward)
		c->at.gpa += bytes;
	return c->host ? c->host + (from - c->start) : NULL;
}

/*
 * Move one word, with a single relaxed atomic access on each side that is aligned;
 * guest memory always is when the guest address is.
 */
#define DEFINE_MOVE_WORD(bits)                                                                     \
	static void move_u##bits(void *dst, const void *src)                                       \
	{                                                                                          \
		access_u##bits word = 0;                                                           \
                                                                                                   \
		if (src && (uintptr_t)src % sizeof(word))                                          \
			memcpy(&word, src, sizeof(word));                                          \
		else if (src)                                                                      \
			word = __atomic_load_n((const access_u##bits *)src, __ATOMIC_RELAXED);     \
		if ((uintptr_t)dst % sizeof(word))                                                 \
			memcpy(dst, &word, sizeof(word));                                          \
		else                                                                               \
			__atomic_store_n((access_u##bits *)dst, word, __ATOMIC_RELAXED);           \
	}

DEFINE_MOVE_WORD(8)
DEFINE_MOVE_WORD(16)
DEFINE_MOVE_WORD(32)
DEFINE_MOVE_WORD(64)

static void move_bytes(uint8_t *dst, const uint8_t *src, uint64_t bytes)
{
	switch (bytes) {
	case 1:
		move_u8(dst, src);
		break;
	case 2:
		move_u16(dst, src);
		break;
	case 4:
		move_u32(dst, src);
		break;
	case 8:
		move_u64(dst, src);
		break;
	default:
		/* The sides of a copy may overlap within a piece. */
		if (src)
			memmove(dst, src, (size_t)bytes);
		else
			memset(dst, 0, (size_t)bytes);
		break;
	}
}

/* Move everything; both sides have the same length and were checked. */
static void transfer(struct cursor *dst, struct cursor *src, bool backward)
{
	while (dst->len) {
		const uint64_t bytes =
		    u64_min(cursor_piece(dst, backward), cursor_piece(src, backward));
		uint8_t *to = cursor_take(dst, bytes, backward);

		move_bytes(to, cursor_take(src, bytes, backward), bytes);
		if (dst->slot)
			access_wrote(dst->snap, dst->slot, dst->start + (uint64_t)(to - dst->host),
				     bytes);
	}
}

int mslot_read(const struct mslot_snapshot *snap, struct mslot_addr from, void *buf,
	       size_t len_bytes)
{
	struct cursor src = guest_cursor(snap, from, len_bytes);
	struct cursor dst = buffer_cursor(buf, len_bytes);
	int err = cursor_check(&src, MSLOT_READ);

	if (!err)
		transfer(&dst, &src, false);
	return err;
}

/* Write and clear: `src` needs no check. */
static int transfer_to_guest(const struct mslot_snapshot *snap, struct mslot_addr to,
			     struct cursor src)
{
	struct cursor dst = guest_cursor(snap, to, src.len);
	int err = cursor_check(&dst, MSLOT_WRITE);

	if (!err)
		err = access_will_write(snap, to, src.len);
	if (!err)
		transfer(&dst, &src, false);
	return err;
}

int mslot_write(const struct mslot_snapshot *snap, struct mslot_addr to, const void *buf,
		size_t len_bytes)
{
	/* A source is only read. */
	return transfer_to_guest(snap, to, buffer_cursor((void *)(uintptr_t)buf, len_bytes));
}

int mslot_clear(const struct mslot_snapshot *snap, struct mslot_addr to, uint64_t len_bytes)
{
	return transfer_to_guest(snap, to, buffer_cursor(NULL, len_bytes));
}

int mslot_copy(const struct mslot_snapshot *snap, struct mslot_addr to, struct mslot_addr from,
	       uint64_t len_bytes)
{
	struct cursor dst = guest_cursor(snap, to, len_bytes);
	struct cursor src = guest_cursor(snap, from, len_bytes);
	int err;

	err = cursor_check(&src, MSLOT_READ);
	if (!err)
		err = cursor_check(&dst, MSLOT_WRITE);
	if (!err)
		err = access_will_write(snap, to, len_bytes);
	/*
	 * Upwards by less than the length: the end must leave before it is overwritten. Asked
	 * of two spaces as well, because they often show the same memory at the same gpa.
	 */
	if (!err)
		transfer(&dst, &src, to.gpa > from.gpa && to.gpa - from.gpa < len_bytes);
	return err;
}
