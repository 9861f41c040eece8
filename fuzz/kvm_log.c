/* SPDX-License-Identifier: MIT */
/* kvm_log.c - see kvm_log.h. */
#include "kvm_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

uint32_t log_choose_number(struct input *in, const uint32_t *known, size_t n)
{
	const uint8_t how = in_u8(in);

	if (how < 0xe0 && n > 0)
		return known[how % n];
	return how < 0xf0 ? (how & 1u) << 16 | (how & 7u) : (uint32_t)in_uint(in, 4);
}

static int judge(const struct log_call *call, const struct mslot_map_options *opt,
		 const struct log_slot *slot)
{
	const struct kvm_clear_dirty_log *of = &call->of;
	const void *bitmap = call->clear ? of->dirty_bitmap : call->get.dirty_bitmap;

	if (slot->number >> 16 >= opt->nspaces || (slot->number & 0xffff) >= opt->max_user_slots)
		return -EINVAL;
	if (call->clear && of->first_page % 64)
		return -EINVAL;
	if (!slot->logged)
		return -ENOENT;
	if (call->clear &&
	    (of->first_page > slot->npages || of->num_pages > slot->npages - of->first_page ||
	     (of->num_pages % 64 && of->first_page + of->num_pages < slot->npages)))
		return -EINVAL;
	return bitmap || (call->clear && of->num_pages == 0) ? 0 : -EFAULT;
}

/* Which pages a clear names: mostly sensible, else whatever the bytes say. */
static void choose_pages(struct kvm_clear_dirty_log *of, struct input *in, uint64_t npages)
{
	const uint8_t how = in_u8(in), first = in_u8(in), n = in_u8(in);

	of->first_page = first % (npages / 64 + 1) * 64;
	of->num_pages = (uint32_t)(npages - of->first_page);
	if (how & 1 && of->num_pages > 64)
		of->num_pages = n % (of->num_pages / 64 + 1) * 64;
	if (how >= 0xc0)
		of->num_pages += n % 5u - 2u;
	if (how >= 0xd0)
		of->first_page += first % 3u;
	if (how >= 0xe0)
		of->num_pages = (uint32_t)in_uint(in, 4);
	if (how >= 0xf0)
		of->first_page = in_uint(in, 8);
	if (how >= 0xf8)
		of->first_page &= ~UINT64_C(63);
}

static size_t words_of(uint64_t npages)
{
	return (size_t)(npages + 63) / 64;
}

/* Of bytes where there are any, so that a fuzzer sees through; then of all bits, or none. */
static void choose_mask(struct log_call *call, struct input *in, size_t words)
{
	const uint8_t rest = in_u8(in);

	call->words = calloc(words + 1, sizeof(*call->words));
	if (!call->words)
		abort();
	memset(call->words, rest & 1 ? 0xff : 0, words * sizeof(*call->words));
	for (size_t i = 0; i < words && i < rest >> 6; i++)
		call->words[i] = in_uint(in, 8);
}

void log_choose(struct log_call *call, struct input *in, const struct mslot_map_options *opt,
		const struct log_slot *slot)
{
	const uint8_t how = in_u8(in);
	const size_t skip = how & 2 ? 1 + (how >> 2) % 7u : 0;
	size_t words, bytes;
	void *bitmap;

	*call = (struct log_call){.clear = how & 1};
	call->get.slot = call->of.slot = slot->number;
	call->get.padding1 = how;
	if (call->clear)
		choose_pages(&call->of, in, slot->npages);
	/* As if there were a bitmap: is there any use for one? */
	call->get.dirty_bitmap = call->of.dirty_bitmap = call;
	words =
	    judge(call, opt, slot) ? 0 : words_of(call->clear ? call->of.num_pages : slot->npages);
	bytes = words * sizeof(uint64_t);
	call->memory = malloc(skip + bytes + (skip + bytes == 0));
	if (!call->memory)
		abort();
	bitmap = how < 0xf4 ? (char *)call->memory + skip : NULL;
	if (call->clear) {
		choose_mask(call, in, words);
		memcpy((char *)call->memory + skip, call->words, bytes);
		call->of.dirty_bitmap = bitmap;
	} else {
		memset((char *)call->memory + skip, 0xa5, bytes);
		call->get.dirty_bitmap = bitmap;
	}
	call->want = judge(call, opt, slot);
}

int log_ask(const struct log_call *call, struct mslot_map *map)
{
	return call->clear ? mslot_kvm_clear_dirty_log(map, &call->of)
			   : mslot_kvm_get_dirty_log(map, &call->get);
}

void log_copy(const struct log_call *call, const struct log_slot *slot, uint64_t *words)
{
	memcpy(words, call->get.dirty_bitmap, words_of(slot->npages) * sizeof(*words));
}

void log_end(struct log_call *call)
{
	free(call->memory);
	free(call->words);
}

void log_choose_cap(struct input *in, struct kvm_enable_cap *cap)
{
	static const uint64_t modes[] = {0, 1, 3, 2};
	const uint8_t how = in_u8(in);

	*cap = (struct kvm_enable_cap){
	    .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	    .args = {modes[how & 3]},
	};
	if (how >= 0xc0)
		cap->args[0] = in_uint(in, 8);
	if (how >= 0xd0)
		cap->flags = in_u8(in);
	if (how >= 0xf0)
		cap->cap = in_u8(in) % KVM_CAP_DIRTY_LOG_RING;
	cap->args[1] = how;
}
