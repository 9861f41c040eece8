/* SPDX-License-Identifier: MIT */
/*
 * memory.c - loads and stores: linear to host, across pages, MMIO.
 *
 * An access that hits both caches is done in x86.h; here is all else.
 *
 * Invariants.
 * M1 All pages of an access are translated, and writable ones made so, before its first byte moves.
 * M2 The library translates, and never touches guest memory: a host fault strikes in code
 *   of the CPU, which can be left at any place.
 * M3 A part of MMIO is at most 8 bytes, and never crosses a page.
 */
#include <errno.h>
#include <string.h>

#include "memory.h"

#define PAGE_BYTES 0x1000u

/* An access, page by page. */
struct part {
	uint64_t gpa;
	uint8_t *host; /* NULL: MMIO */
	unsigned int len;
};

/* ---- To the host ---------------------------------------------------------- */

static enum step exit_plain(struct cpu *cpu, enum cpu_exit_reason reason)
{
	cpu->exit->reason = reason;
	return STEP_EXIT;
}

enum step reach(struct cpu *cpu, uint64_t gpa, enum mslot_access access, void **host)
{
	struct mslot_fault fault = {.addr = gpa, .access = access};
	struct mslot_translation found;
	int err;

	*host = mslot_vcpu_hit_page(cpu->vcpu, gpa, access);
	if (*host)
		return STEP_NEXT;
	err = mslot_fault(cpu->vcpu, cpu->root, &fault, &found);
	switch (err) {
	case 0:
		*host = (void *)(uintptr_t)found.hva;
		return STEP_NEXT;
	case -ENOENT:
	case -EACCES:
	case -EINVAL: /* beyond the root's levels: CPUID may promise more bits than it has */
		return STEP_NEXT;
	case -EAGAIN:
		cpu->retry = true;
		return STEP_AGAIN;
	case -ENOSPC:
		return exit_plain(cpu, CPU_EXIT_RING_FULL);
	default:
		cpu->exit->error = err;
		return exit_plain(cpu, CPU_EXIT_ERROR);
	}
}

static enum step locate(struct cpu *cpu, uint64_t linear, unsigned int size,
			enum walk_access access, struct part part[2])
{
	unsigned int first = PAGE_BYTES - (unsigned int)(linear % PAGE_BYTES);
	enum step step;

	part[0].len = size < first ? size : first;
	part[1].len = size - part[0].len;
	/* What is not canonical is noticed before tables are looked at. */
	if (part[1].len && !canonical(linear + first))
		return translate(cpu, linear + first, access, &part[1].gpa);
	step = translate(cpu, linear, access, &part[0].gpa);
	if (step == STEP_NEXT && part[1].len)
		step = translate(cpu, linear + first, access, &part[1].gpa);
	for (unsigned int i = 0; i < 2 && step == STEP_NEXT && part[i].len; i++) {
		void *host;

		step =
		    reach(cpu, part[i].gpa, access == WALK_WRITE ? MSLOT_WRITE : MSLOT_READ, &host);
		part[i].host = host;
	}
	return step;
}

enum step fetch_page(struct cpu *cpu, uint64_t linear, const uint8_t **host)
{
	uint64_t gpa;
	void *found;
	enum step step = translate(cpu, linear, WALK_FETCH, &gpa);

	if (step == STEP_NEXT)
		step = reach(cpu, gpa, MSLOT_READ, &found);
	if (step != STEP_NEXT)
		return step;
	if (!found)
		return exit_internal(cpu, "instruction fetch from MMIO");
	*host = found;
	return STEP_NEXT;
}

/* ---- MMIO ----------------------------------------------------------------- */

static void mmio_ask(struct cpu *cpu, const struct mmio_part *part, bool write)
{
	cpu->exit->reason = CPU_EXIT_MMIO;
	cpu->exit->mmio.gpa = part->gpa;
	cpu->exit->mmio.size_bytes = part->size_bytes;
	cpu->exit->mmio.write = write;
	memcpy(cpu->exit->mmio.data, part->data, sizeof(part->data));
}

static enum step mmio_read_part(struct cpu *cpu, uint64_t gpa, unsigned int len, uint8_t *out)
{
	struct mmio_part *part;

	if (cpu->mmio.next_done < cpu->mmio.ndone) {
		part = &cpu->mmio.done[cpu->mmio.next_done];
		if (part->gpa == gpa && part->size_bytes == len) {
			cpu->mmio.next_done++;
			memcpy(out, part->data, len);
			return STEP_NEXT;
		}
		/* The instruction goes another way than before: what it read then is void. */
		cpu->mmio.ndone = cpu->mmio.next_done;
	}
	if (cpu->mmio.ndone == CPU_MMIO_PARTS)
		return exit_internal(cpu, "an instruction with too many accesses to MMIO");
	part = &cpu->mmio.done[cpu->mmio.ndone++];
	*part = (struct mmio_part){.gpa = gpa, .size_bytes = (uint8_t)len};
	cpu->mmio.waiting = true;
	cpu->mmio.rip = cpu->s.rip;
	mmio_ask(cpu, part, false);
	return STEP_EXIT;
}

static enum step mmio_write_part(struct cpu *cpu, uint64_t gpa, unsigned int len,
				 const uint8_t *from)
{
	struct mmio_part *part;

	if (cpu->mmio.nwrite == CPU_MMIO_PARTS)
		return exit_internal(cpu, "an instruction with too many accesses to MMIO");
	part = &cpu->mmio.write[cpu->mmio.nwrite++];
	*part = (struct mmio_part){.gpa = gpa, .size_bytes = (uint8_t)len};
	memcpy(part->data, from, len);
	/* Given out when the instruction has retired: let the block end there. */
	cpu->code_changed = true;
	return STEP_NEXT;
}

bool mmio_next_write(struct cpu *cpu)
{
	if (cpu->mmio.next_write == cpu->mmio.nwrite) {
		cpu->mmio.next_write = cpu->mmio.nwrite = 0;
		return false;
	}
	mmio_ask(cpu, &cpu->mmio.write[cpu->mmio.next_write++], true);
	return true;
}

static enum step mmio_read(struct cpu *cpu, const struct part *part, uint8_t *out)
{
	enum step step = STEP_NEXT;

	for (unsigned int at = 0; at < part->len && step == STEP_NEXT; at += 8)
		step = mmio_read_part(cpu, part->gpa + at, part->len - at < 8 ? part->len - at : 8,
				      out + at);
	return step;
}

static enum step mmio_write(struct cpu *cpu, const struct part *part, const uint8_t *from)
{
	enum step step = STEP_NEXT;

	for (unsigned int at = 0; at < part->len && step == STEP_NEXT; at += 8)
		step = mmio_write_part(cpu, part->gpa + at, part->len - at < 8 ? part->len - at : 8,
				       from + at);
	return step;
}

/* ---- Loads and stores ----------------------------------------------------- */

/* Where the host has one instruction for it. */
static bool is_one_access(unsigned int len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

static void copy_in(uint8_t *to, const uint8_t *host, unsigned int len)
{
	uint64_t val;

	if (is_one_access(len)) {
		val = host_load(host, len);
		memcpy(to, &val, len);
	} else {
		memcpy(to, host, len);
	}
}

static void copy_out(uint8_t *host, const uint8_t *from, unsigned int len)
{
	uint64_t val = 0;

	if (is_one_access(len)) {
		memcpy(&val, from, len);
		host_store(host, len, val);
	} else {
		memcpy(host, from, len);
	}
}

static enum step read_as(struct cpu *cpu, uint64_t linear, unsigned int size,
			 enum walk_access access, uint8_t *out)
{
	struct part part[2];
	uint8_t bytes[64];
	unsigned int at = 0;
	enum step step = locate(cpu, linear, size, access, part);

	for (unsigned int i = 0; i < 2 && step == STEP_NEXT && part[i].len; i++) {
		if (part[i].host)
			copy_in(bytes + at, part[i].host, part[i].len);
		else
			step = mmio_read(cpu, &part[i], bytes + at);
		at += part[i].len;
	}
	if (step == STEP_NEXT)
		memcpy(out, bytes, size);
	return step;
}

enum step memory_read(struct cpu *cpu, uint64_t linear, unsigned int size, void *out)
{
	return read_as(cpu, linear, size, WALK_READ, out);
}

enum step memory_read_system(struct cpu *cpu, uint64_t linear, unsigned int size, void *out)
{
	return read_as(cpu, linear, size, WALK_SYSTEM, out);
}

enum step memory_write(struct cpu *cpu, uint64_t linear, unsigned int size, const void *val)
{
	const uint8_t *from = val;
	struct part part[2];
	enum step step = locate(cpu, linear, size, WALK_WRITE, part);

	if (step != STEP_NEXT)
		return step;
	/* Nothing of the first page may be written if the host cannot do the second one. */
	if (part[1].len && part[1].host)
		__atomic_fetch_or(part[1].host, 0, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2 && step == STEP_NEXT && part[i].len; i++) {
		if (part[i].host) {
			copy_out(part[i].host, from, part[i].len);
			memory_stored(cpu, part[i].host, part[i].len);
		} else {
			step = mmio_write(cpu, &part[i], from);
		}
		from += part[i].len;
	}
	return step;
}

/* Non-canonical addresses of the stack have an exception of their own. */
static enum step of_stack(struct cpu *cpu, enum step step)
{
	if (step == STEP_EXCEPTION && cpu->exception.vector == VECTOR_GP)
		cpu->exception.vector = VECTOR_SS;
	return step;
}

enum step memory_push(struct cpu *cpu, unsigned int size, uint64_t val)
{
	uint64_t rsp = cpu->s.gpr[CPU_RSP] - size;
	enum step step = memory_store(cpu, rsp, size, val);

	if (__builtin_expect(step != STEP_NEXT, 0))
		return of_stack(cpu, step);
	cpu->s.gpr[CPU_RSP] = rsp;
	return STEP_NEXT;
}

enum step memory_pop(struct cpu *cpu, unsigned int size, uint64_t *val)
{
	enum step step = memory_load(cpu, cpu->s.gpr[CPU_RSP], size, val);

	if (__builtin_expect(step != STEP_NEXT, 0))
		return of_stack(cpu, step);
	cpu->s.gpr[CPU_RSP] += size;
	return STEP_NEXT;
}

/* ---- Host addresses ------------------------------------------------------- */

enum step memory_writable(struct cpu *cpu, uint64_t linear, unsigned int size, void **host)
{
	struct part part[2];
	enum step step;

	*host = memory_hit(cpu, linear, size, MSLOT_WRITE);
	if (*host)
		return STEP_NEXT;
	step = locate(cpu, linear, size, WALK_WRITE, part);
	if (step == STEP_NEXT && !part[1].len)
		*host = part[0].host;
	return step;
}

enum step memory_span(struct cpu *cpu, uint64_t linear, enum mslot_access access, void **host,
		      uint64_t *len_bytes)
{
	uint64_t gpa;
	enum step step =
	    translate(cpu, linear, access == MSLOT_WRITE ? WALK_WRITE : WALK_READ, &gpa);

	if (step == STEP_NEXT)
		step = reach(cpu, gpa, access, host);
	if (step == STEP_NEXT)
		*len_bytes = PAGE_BYTES - linear % PAGE_BYTES;
	return step;
}
