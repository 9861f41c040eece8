/* SPDX-License-Identifier: MIT */
/* dirty_reports.c - what harvests report; see dirty_bits.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dirty_bits.h"

static bool bit_of(const uint64_t *bitmap, uint64_t i)
{
	return bitmap[i / 64] >> i % 64 & 1;
}

bool twin_compare_bits(struct twin_bits *b, unsigned int c, size_t s, const uint64_t *bitmap,
		       const char *what)
{
	const struct naive_slot *slot = &b->map->slots[s];

	for (uint64_t i = 0; i < twin_npages(b->map, slot); i++) {
		const struct twin_page *page = &b->pages[s][i];
		bool bit = bit_of(bitmap, i), in = twin_in_scope(b, c, slot, i);

		b->reported += bit;
		if ((bit && !(in && (page->may | page->batch) >> c & 1)) ||
		    (!bit && in && (page->must | page->batch) >> c & 1))
			return twin_fail("%s: consumer %u, page %" PRIu64
					 " of %u:%u is %d; must %x, may %x, batch %x, scope %d\n",
					 what, c, i, slot->key.space, slot->key.id, bit, page->must,
					 page->may, page->batch, in);
	}
	return true;
}

/* The runs of a batch, as the bits of one slot; they must rise and not touch. */
static bool read_runs(const struct twin_bits *b, struct mslot_dirty_batch *batch,
		      const struct naive_slot *slot, struct mslot_dirty_run *run, bool *more,
		      uint64_t *bitmap)
{
	uint64_t page = UINT64_C(1) << b->map->opt.page_shift;
	uint64_t last = UINT64_MAX, first, end;

	for (; *more && run->key.space == slot->key.space && run->key.id == slot->key.id;
	     *more = mslot_dirty_next(batch, run)) {
		first = (run->gpa - slot->gpa) / page;
		end = first + run->len_bytes / page;
		if (run->gpa < slot->gpa || run->gpa + run->len_bytes > slot->gpa + slot->len ||
		    first >= end || first == last || (last != UINT64_MAX && first < last))
			return twin_fail("run at %#" PRIx64 "\n", run->gpa);
		if (run->hva != naive_hva(b->map, slot) + first * page ||
		    run->offset_bytes != slot->offset + first * page ||
		    run->region != b->map->regions[slot->region].handle)
			return twin_fail("the run at %#" PRIx64 " is of other memory\n", run->gpa);
		for (last = end; first < end; first++)
			bitmap[first / 64] |= UINT64_C(1) << first % 64;
	}
	return true;
}

/* The bitmap of a slot, in memory that ends where it does, must be that of the runs. */
static bool same_bitmap(const struct mslot_dirty_batch *batch, struct mslot_key key, bool logged,
			const uint64_t *runs, size_t bytes)
{
	uint64_t *bitmap = malloc(bytes);
	int64_t count;
	bool good;

	if (!bitmap)
		abort();
	memset(bitmap, 0xa5, bytes);
	count = mslot_dirty_bitmap(batch, key, bitmap, bytes);
	good = logged ? count >= 0 && memcmp(bitmap, runs, bytes) == 0 &&
			    mslot_dirty_bitmap(batch, key, bitmap, bytes - 1) < 0
		      : count < 0;
	free(bitmap);
	return good || twin_fail("runs and bitmap differ\n");
}

/* The bits of one slot are the consumer's batch, and no longer to be reported otherwise. */
static void take(struct twin_bits *b, unsigned int c, size_t s, const uint64_t *bitmap)
{
	const struct naive_slot *slot = &b->map->slots[s];
	uint8_t bit = (uint8_t)(1u << c);

	for (uint64_t i = 0; i < twin_npages(b->map, slot); i++) {
		struct twin_page *page = &b->pages[s][i];
		bool in = twin_in_scope(b, c, slot, i);

		if (in) {
			page->must &= (uint8_t)~bit;
			page->may &= (uint8_t)~bit;
			page->pending = false;
		} else {
			/* It waits in the set. */
			page->must |= page->batch & bit;
			page->may |= page->batch & bit;
		}
		page->batch &= (uint8_t)~bit;
		page->batch |= bit_of(bitmap, i) ? bit : 0;
		page->in_batch &= (uint8_t)~bit;
		page->in_batch |= in ? bit : 0;
	}
}

bool twin_compare_batch(struct twin_bits *b, unsigned int c, struct mslot_dirty_batch *batch)
{
	uint64_t before = b->reported, *bitmap;
	struct mslot_dirty_run run;
	bool more = mslot_dirty_next(batch, &run), good = true;

	for (size_t s = 0; s < b->map->n && good; s++) {
		const struct naive_slot *slot = &b->map->slots[s];
		size_t words = (size_t)(twin_npages(b->map, slot) + 63) / 64;

		bitmap = calloc(words, sizeof(*bitmap));
		if (!bitmap)
			abort();
		good = read_runs(b, batch, slot, &run, &more, bitmap) &&
		       twin_compare_bits(b, c, s, bitmap, "get") &&
		       same_bitmap(batch, slot->key, twin_logged(b, slot), bitmap,
				   words * sizeof(*bitmap));
		if (good)
			take(b, c, s, bitmap);
		free(bitmap);
	}
	if (good && (more || mslot_dirty_pages(batch) != b->reported - before))
		return twin_fail("runs beyond, or another number of pages\n");
	return good;
}

void twin_batch_ends(struct twin_bits *b, unsigned int c, bool ack)
{
	uint8_t bit = (uint8_t)(1u << c);

	for (size_t s = 0; s < b->map->n; s++)
		for (uint64_t i = 0; i < twin_npages(b->map, &b->map->slots[s]); i++) {
			struct twin_page *page = &b->pages[s][i];

			if (ack && page->in_batch & bit)
				page->batch &= (uint8_t)~bit;
			page->in_batch &= (uint8_t)~bit;
		}
}

void twin_kvm_got(struct twin_bits *b, size_t s)
{
	for (uint64_t i = 0; i < twin_npages(b->map, &b->map->slots[s]); i++) {
		struct twin_page *page = &b->pages[s][i];

		page->pending = false;
		page->must &= 0xfe;
		page->may &= 0xfe;
	}
}

void twin_kvm_cleared(struct twin_bits *b, size_t s, uint64_t first, uint64_t n,
		      const uint64_t *mask)
{
	for (uint64_t i = 0; i < twin_npages(b->map, &b->map->slots[s]); i++) {
		struct twin_page *page = &b->pages[s][i];

		page->pending = false;
		if (i < first || i - first >= n || !bit_of(mask, i - first))
			continue;
		page->must &= 0xfe;
		page->may &= 0xfe;
	}
}
