/* SPDX-License-Identifier: MIT */
/*
 * guest.c - accesses of a vCPU through its root.
 *
 * Steps of each access: translate all its pages, for what they are accessed for; then move the
 * bytes, which cannot fail. A page is translated by the vCPU's cache; or, for a page without a
 * slot, by what is known of it; or by a fault, for which a shadow root's walk() says what the
 * address means.
 *
 * Host addresses are kept here from the first step to the second, because a fault may put its page
 * in the place of another of the same access. They stay usable until the section ends, and with
 * them the permission to write: what takes one away asks vCPUs to flush and waits for a grace
 * period, and a vCPU answers no request inside its section. So the fault of one page revokes
 * nothing of the one before.
 */
#include <mslot/guest.h>

#include <errno.h>
#include <string.h>

#include "access/locate.h"
#include "access/vcpu.h"
#include "base/alloc.h"
#include "base/page.h"
#include "mmu/mmu.h"

/* ---- Translating ----------------------------------------------------------- */

static int no_slot(struct mslot_vcpu *vcpu, uint64_t addr, uint64_t gpa, enum mslot_access access)
{
	vcpu->mmio.addr = addr;
	vcpu->mmio.gpa = gpa;
	vcpu->mmio.access = access;
	vcpu->mmio.known = true;
	return -ENOENT;
}

/* What the guest's own tables say. Returns 0, -EINVAL, or what walk() did. */
static int walk(struct mslot_vcpu *vcpu, struct mslot_fault *fault)
{
	const struct mslot_root_options *opt = &vcpu->root->opt;

	if (opt->kind == MSLOT_ROOT_DIRECT) {
		fault->walk.gpa = fault->addr;
		return 0;
	}
	if (!opt->walk)
		return -EINVAL;
	return root_walk(vcpu->root, vcpu, fault);
}

/*
 * Walk and fault; anew when the guest has changed its tables meanwhile, and told of it. *walked:
 * the error is the fault's.
 */
static int fault_in(struct mslot_vcpu *vcpu, struct mslot_fault *fault,
		    struct mslot_translation *found, bool *walked)
{
	int err;

	do {
		fault->stamp = mslot_root_stamp(vcpu->root);
		err = walk(vcpu, fault);
		*walked = !err;
		if (!err)
			err = mslot_fault(vcpu, vcpu->root, fault, found);
	} while (err == -EAGAIN && fault->stamp != mslot_root_stamp(vcpu->root));
	return err;
}

/* The cache does not have it. */
static int miss(struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access, uint8_t **host)
{
	struct mslot_fault fault = {.addr = addr, .access = access};
	uint64_t serial = vcpu->snap->serial, gpa;
	struct mslot_translation found;
	bool walked;
	int err;

	if (tlb_find_hole(&vcpu->head, addr, access, serial, &gpa))
		return no_slot(vcpu, addr, gpa, access);
	err = fault_in(vcpu, &fault, &found, &walked);
	/* walk() may have made accesses of its own. */
	vcpu->mmio.known = false;
	if (err == -ENOENT && walked) {
		tlb_fill_hole(&vcpu->head, addr, fault.walk.gpa, access, serial);
		return no_slot(vcpu, addr, fault.walk.gpa, access);
	}
	if (!err)
		*host = (uint8_t *)(uintptr_t)found.hva;
	return err;
}

/* An access that begins at `start` comes to the page of `addr`. */
static int translate(struct mslot_vcpu *vcpu, uint64_t start, uint64_t addr,
		     enum mslot_access access, uint8_t **host)
{
	int err;

	*host = mslot_vcpu_hit_page(vcpu, addr, access);
	if (*host)
		return 0;
	err = miss(vcpu, addr, access, host);
	vcpu->mmio.before_bytes = addr - start;
	return err;
}

/* Whether the calling thread may access at all. */
static int begin(struct mslot_vcpu *vcpu)
{
	vcpu->mmio.known = false;
	return vcpu_running() == vcpu && vcpu->root ? 0 : -EINVAL;
}

static uint64_t page_rest(const struct mslot_vcpu *vcpu, uint64_t addr)
{
	return ~vcpu->head.page_mask + 1 - (addr & ~vcpu->head.page_mask);
}

/* ---- Loads and stores ------------------------------------------------------ */

/* Where the bytes of an access are: in one page or two. */
struct place {
	uint8_t *host[2];
	uint64_t first_bytes; /* at host[0] */
};

static bool size_valid(unsigned int size_bytes)
{
	return access_atomic_size(size_bytes) || size_bytes == sizeof(struct mslot_u128);
}

static int locate(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
		  enum mslot_access access, struct place *place)
{
	uint64_t end;
	int err;

	if (!size_valid(size_bytes))
		return -EINVAL;
	if (!range_end(addr, size_bytes - 1, &end))
		return -EOVERFLOW;
	err = begin(vcpu);
	if (!err)
		err = translate(vcpu, addr, addr, access, &place->host[0]);
	if (err)
		return err;
	place->first_bytes = u64_min(size_bytes, page_rest(vcpu, addr));
	if (place->first_bytes < size_bytes)
		err = translate(vcpu, addr, addr + place->first_bytes, access, &place->host[1]);
	return err;
}

#define DEFINE_ACCESS(bits)                                                                        \
	static void load_u##bits(const void *host, void *val)                                      \
	{                                                                                          \
		access_u##bits word =                                                              \
		    __atomic_load_n((const access_u##bits *)host, __ATOMIC_ACQUIRE);               \
                                                                                                   \
		memcpy(val, &word, sizeof(word));                                                  \
	}                                                                                          \
                                                                                                   \
	static void store_u##bits(void *host, const void *val)                                     \
	{                                                                                          \
		access_u##bits word;                                                               \
                                                                                                   \
		memcpy(&word, val, sizeof(word));                                                  \
		__atomic_store_n((access_u##bits *)host, word, __ATOMIC_RELEASE);                  \
	}

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

/* Naturally aligned, hence in one page. */
static void load_aligned(const uint8_t *host, unsigned int size_bytes, uint8_t *val)
{
	switch (size_bytes) {
	case 1:
		load_u8(host, val);
		break;
	case 2:
		load_u16(host, val);
		break;
	case 4:
		load_u32(host, val);
		break;
	case 8:
		load_u64(host, val);
		break;
	default:
		load_u64(host, val);
		load_u64(host + 8, val + 8);
	}
}

static void store_aligned(uint8_t *host, unsigned int size_bytes, const uint8_t *val)
{
	switch (size_bytes) {
	case 1:
		store_u8(host, val);
		break;
	case 2:
		store_u16(host, val);
		break;
	case 4:
		store_u32(host, val);
		break;
	case 8:
		store_u64(host, val);
		break;
	default:
		store_u64(host, val);
		store_u64(host + 8, val + 8);
	}
}

int mslot_vcpu_load(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes, void *val)
{
	struct place place = {.host = {NULL}};
	int err = locate(vcpu, addr, size_bytes, MSLOT_READ, &place);

	if (err)
		return err;
	if (addr % size_bytes == 0) {
		load_aligned(place.host[0], size_bytes, val);
		return 0;
	}
	memcpy(val, place.host[0], place.first_bytes);
	if (place.first_bytes < size_bytes)
		memcpy((uint8_t *)val + place.first_bytes, place.host[1],
		       size_bytes - place.first_bytes);
	return 0;
}

int mslot_vcpu_store(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
		     const void *val)
{
	struct place place = {.host = {NULL}};
	int err = locate(vcpu, addr, size_bytes, MSLOT_WRITE, &place);

	if (err)
		return err;
	if (addr % size_bytes == 0) {
		store_aligned(place.host[0], size_bytes, val);
		return 0;
	}
	memcpy(place.host[0], val, place.first_bytes);
	if (place.first_bytes < size_bytes)
		memcpy(place.host[1], (const uint8_t *)val + place.first_bytes,
		       size_bytes - place.first_bytes);
	return 0;
}

/* ---- Copying --------------------------------------------------------------- */

#define FEW_PAGES 32u

/* Where the pages of a range are. */
struct pages {
	uint64_t addr, len;
	uint8_t **host; /* of the first byte in each page */
	uint8_t *few[FEW_PAGES];
};

static int pages_init(struct pages *pages, struct mslot_vcpu *vcpu, uint64_t addr, size_t len)
{
	uint64_t last, n;

	if (!range_end(addr, len - 1, &last))
		return -EOVERFLOW;
	n = (last >> vcpu->head.page_shift) - (addr >> vcpu->head.page_shift) + 1;
	pages->addr = addr;
	pages->len = len;
	pages->host = n <= FEW_PAGES ? pages->few : mem_alloc(n * sizeof(*pages->host));
	return pages->host ? 0 : -ENOMEM;
}

static void pages_fini(struct pages *pages)
{
	if (pages->host != pages->few)
		mem_free(pages->host);
}

static int pages_translate(struct pages *pages, struct mslot_vcpu *vcpu, enum mslot_access access)
{
	uint64_t done, n, i = 0;
	int err = 0;

	for (done = 0; !err && done < pages->len; done += n) {
		n = u64_min(pages->len - done, page_rest(vcpu, pages->addr + done));
		err = translate(vcpu, pages->addr, pages->addr + done, access, &pages->host[i++]);
	}
	return err;
}

/* From `buf` for a write, else to it. */
static void pages_move(const struct pages *pages, const struct mslot_vcpu *vcpu, uint8_t *buf,
		       enum mslot_access access)
{
	uint64_t done, n, i = 0;

	for (done = 0; done < pages->len; done += n, i++) {
		n = u64_min(pages->len - done, page_rest(vcpu, pages->addr + done));
		if (access == MSLOT_WRITE)
			memcpy(pages->host[i], buf + done, n);
		else
			memcpy(buf + done, pages->host[i], n);
	}
}

static int copy(struct mslot_vcpu *vcpu, uint64_t addr, size_t len, uint8_t *buf,
		enum mslot_access access)
{
	struct pages pages;
	int err = begin(vcpu);

	if (err || len == 0)
		return err;
	err = pages_init(&pages, vcpu, addr, len);
	if (err)
		return err;
	err = pages_translate(&pages, vcpu, access);
	if (!err)
		pages_move(&pages, vcpu, buf, access);
	pages_fini(&pages);
	return err;
}

int mslot_vcpu_read(struct mslot_vcpu *vcpu, uint64_t addr, void *buf, size_t len)
{
	return copy(vcpu, addr, len, buf, MSLOT_READ);
}

int mslot_vcpu_write(struct mslot_vcpu *vcpu, uint64_t addr, const void *buf, size_t len)
{
	/* Not written to. */
	return copy(vcpu, addr, len, (uint8_t *)(uintptr_t)buf, MSLOT_WRITE);
}

/* ---- Read-modify-writes ---------------------------------------------------- */

#define DEFINE_RMW(bits)                                                                           \
	static bool cmpxchg_u##bits(void *host, void *expected, const void *desired)               \
	{                                                                                          \
		access_u##bits found, with;                                                        \
		bool done;                                                                         \
                                                                                                   \
		memcpy(&found, expected, sizeof(found));                                           \
		memcpy(&with, desired, sizeof(with));                                              \
		done = __atomic_compare_exchange_n((access_u##bits *)host, &found, with, false,    \
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);            \
		memcpy(expected, &found, sizeof(found));                                           \
		return done;                                                                       \
	}                                                                                          \
                                                                                                   \
	static uint64_t rmw_u##bits(void *host, enum mslot_rmw op, uint64_t operand)               \
	{                                                                                          \
		access_u##bits *at = host, with = (access_u##bits)operand;                         \
                                                                                                   \
		switch (op) {                                                                      \
		case MSLOT_RMW_XCHG:                                                               \
			return __atomic_exchange_n(at, with, __ATOMIC_SEQ_CST);                    \
		case MSLOT_RMW_ADD:                                                                \
			return __atomic_fetch_add(at, with, __ATOMIC_SEQ_CST);                     \
		case MSLOT_RMW_AND:                                                                \
			return __atomic_fetch_and(at, with, __ATOMIC_SEQ_CST);                     \
		case MSLOT_RMW_OR:                                                                 \
			return __atomic_fetch_or(at, with, __ATOMIC_SEQ_CST);                      \
		default:                                                                           \
			return __atomic_fetch_xor(at, with, __ATOMIC_SEQ_CST);                     \
		}                                                                                  \
	}

DEFINE_RMW(8)
DEFINE_RMW(16)
DEFINE_RMW(32)
DEFINE_RMW(64)

/*
 * 16 bytes, without libatomic, which might take a lock that other programs with the memory
 * mapped do not know of.
 */
#if defined(__x86_64__)
static bool cmpxchg_u128(void *host, struct mslot_u128 *expected, const struct mslot_u128 *desired)
{
	bool done;

	__asm__ __volatile__("lock cmpxchg16b %1"
			     : "=@ccz"(done), "+m"(*(volatile char(*)[16])host),
			       "+a"(expected->first), "+d"(expected->second)
			     : "b"(desired->first), "c"(desired->second)
			     : "memory");
	return done;
}
#else /* aarch64, the other processor that there is a port to */
static bool cmpxchg_u128(void *host, struct mslot_u128 *expected, const struct mslot_u128 *desired)
{
	struct mslot_u128 found, store;
	uint32_t failed;
	bool equal;

	/* What was found is stored again: only then were both halves loaded at once. */
	__asm__ __volatile__("1: ldaxp %0, %1, [%5]\n"
			     "   cmp %0, %6\n"
			     "   ccmp %1, %7, #0, eq\n"
			     "   csel %2, %8, %0, eq\n"
			     "   csel %3, %9, %1, eq\n"
			     "   stlxp %w4, %2, %3, [%5]\n"
			     "   cbnz %w4, 1b"
			     : "=&r"(found.first), "=&r"(found.second), "=&r"(store.first),
			       "=&r"(store.second), "=&r"(failed)
			     : "r"(host), "r"(expected->first), "r"(expected->second),
			       "r"(desired->first), "r"(desired->second)
			     : "cc", "memory");
	equal = found.first == expected->first && found.second == expected->second;
	*expected = found;
	return equal;
}
#endif

static bool cmpxchg_16(void *host, void *expected, const void *desired)
{
	struct mslot_u128 found, with;
	bool done;

	memcpy(&found, expected, sizeof(found));
	memcpy(&with, desired, sizeof(with));
	done = cmpxchg_u128(host, &found, &with);
	memcpy(expected, &found, sizeof(found));
	return done;
}

static bool cmpxchg(void *host, unsigned int size_bytes, void *expected, const void *desired)
{
	switch (size_bytes) {
	case 1:
		return cmpxchg_u8(host, expected, desired);
	case 2:
		return cmpxchg_u16(host, expected, desired);
	case 4:
		return cmpxchg_u32(host, expected, desired);
	case 8:
		return cmpxchg_u64(host, expected, desired);
	default:
		return cmpxchg_16(host, expected, desired);
	}
}

static uint64_t rmw(void *host, unsigned int size_bytes, enum mslot_rmw op, uint64_t operand)
{
	switch (size_bytes) {
	case 1:
		return rmw_u8(host, op, operand);
	case 2:
		return rmw_u16(host, op, operand);
	case 4:
		return rmw_u32(host, op, operand);
	default:
		return rmw_u64(host, op, operand);
	}
}

/* Naturally aligned, in one page, for writing. */
static int locate_aligned(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
			  uint8_t **host)
{
	struct place place = {.host = {NULL}};
	int err;

	if (!size_valid(size_bytes) || addr % size_bytes != 0)
		return -EINVAL;
	err = locate(vcpu, addr, size_bytes, MSLOT_WRITE, &place);
	*host = place.host[0];
	return err;
}

int mslot_vcpu_cmpxchg(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
		       void *expected, const void *desired)
{
	uint8_t *host;
	int err = locate_aligned(vcpu, addr, size_bytes, &host);

	return err ? err : cmpxchg(host, size_bytes, expected, desired);
}

int mslot_vcpu_rmw(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size_bytes,
		   enum mslot_rmw op, uint64_t operand, uint64_t *old)
{
	uint8_t *host;
	uint64_t found;
	int err;

	if (!access_atomic_size(size_bytes) || (unsigned int)op > MSLOT_RMW_XOR)
		return -EINVAL;
	err = locate_aligned(vcpu, addr, size_bytes, &host);
	if (err)
		return err;
	found = rmw(host, size_bytes, op, operand);
	if (old)
		*old = found;
	return 0;
}

/* ---- MMIO ------------------------------------------------------------------ */

int mslot_vcpu_mmio(const struct mslot_vcpu *vcpu, struct mslot_mmio *out)
{
	if (!vcpu->mmio.known)
		return -EINVAL;
	*out = (struct mslot_mmio){
	    .addr = vcpu->mmio.addr,
	    .gpa = vcpu->mmio.gpa,
	    .before_bytes = vcpu->mmio.before_bytes,
	    .access = vcpu->mmio.access,
	};
	return 0;
}
