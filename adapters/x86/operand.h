/* SPDX-License-Identifier: MIT */
/*
 * operand.h - operands as the functions of instructions read and write them.
 *
 * Registers: register_get_64(), register_set_64() and the like; writes of 32 bits clear the upper
 * half, those of 8 and 16 leave the rest. Memory operands that are read and written: update_open()
 * makes sure that the store will not fail for a page's rights, update_close() does it.
 */
#ifndef ADAPTERS_X86_OPERAND_H
#define ADAPTERS_X86_OPERAND_H

#include "exec.h"

/* ---- Registers ---------------------------------------------------------- */

/* Registers 4-7 without REX are AH, CH, DH and BH. */
static inline uint8_t *register_byte(struct cpu *cpu, const struct insn *insn, uint8_t number)
{
	uint8_t *first = (uint8_t *)cpu->s.gpr;

	if (!insn->rex && number >= 4 && number < 8)
		return first + (size_t)(number - 4) * 8 + 1;
	return first + (size_t)number * 8;
}

static inline uint8_t register_get_8(struct cpu *cpu, const struct insn *insn, uint8_t number)
{
	return *register_byte(cpu, insn, number);
}

static inline void register_set_8(struct cpu *cpu, const struct insn *insn, uint8_t number,
				  uint8_t val)
{
	*register_byte(cpu, insn, number) = val;
}

static inline uint16_t register_get_16(struct cpu *cpu, const struct insn *insn, uint8_t number)
{
	(void)insn;
	return (uint16_t)cpu->s.gpr[number];
}

static inline void register_set_16(struct cpu *cpu, const struct insn *insn, uint8_t number,
				   uint16_t val)
{
	(void)insn;
	cpu->s.gpr[number] = (cpu->s.gpr[number] & ~0xffffull) | val;
}

static inline uint32_t register_get_32(struct cpu *cpu, const struct insn *insn, uint8_t number)
{
	(void)insn;
	return (uint32_t)cpu->s.gpr[number];
}

static inline void register_set_32(struct cpu *cpu, const struct insn *insn, uint8_t number,
				   uint32_t val)
{
	(void)insn;
	cpu->s.gpr[number] = val;
}

static inline uint64_t register_get_64(struct cpu *cpu, const struct insn *insn, uint8_t number)
{
	(void)insn;
	return cpu->s.gpr[number];
}

static inline void register_set_64(struct cpu *cpu, const struct insn *insn, uint8_t number,
				   uint64_t val)
{
	(void)insn;
	cpu->s.gpr[number] = val;
}

/* The same by size, for functions that serve several. */
static inline uint64_t register_get(struct cpu *cpu, const struct insn *insn, uint8_t number,
				    unsigned int size)
{
	switch (size) {
	case 1:
		return register_get_8(cpu, insn, number);
	case 2:
		return register_get_16(cpu, insn, number);
	case 4:
		return register_get_32(cpu, insn, number);
	default:
		return cpu->s.gpr[number];
	}
}

static inline void register_set(struct cpu *cpu, const struct insn *insn, uint8_t number,
				unsigned int size, uint64_t val)
{
	switch (size) {
	case 1:
		register_set_8(cpu, insn, number, (uint8_t)val);
		break;
	case 2:
		register_set_16(cpu, insn, number, (uint16_t)val);
		break;
	case 4:
		cpu->s.gpr[number] = (uint32_t)val;
		break;
	default:
		cpu->s.gpr[number] = val;
	}
}

/* ---- Memory ------------------------------------------------------------- */

/* The offset of the memory operand in its segment, and `delta` more. */
static inline uint64_t operand_offset(const struct cpu *cpu, const struct insn *insn,
				      uint64_t delta)
{
	uint64_t addr = (uint64_t)insn->disp + delta;

	if (insn->base != NO_REG)
		addr += cpu->s.gpr[insn->base];
	if (insn->index != NO_REG)
		addr += cpu->s.gpr[insn->index] << insn->scale_shift;
	if (insn->rip_relative)
		addr += cpu->s.rip + insn->len;
	return insn->addr_size == 4 ? (uint32_t)addr : addr;
}

/* operand_address(), and `delta` more. */
static inline uint64_t operand_address_at(const struct cpu *cpu, const struct insn *insn,
					  uint64_t delta)
{
	uint64_t base = insn->segment >= CPU_FS ? cpu->s.seg[insn->segment].base : 0;

	return base + operand_offset(cpu, insn, delta);
}

/* An operand that is read and then written. */
struct update {
	uint64_t linear;
	void *host; /* NULL: it is MMIO, or in two pages */
	uint64_t val;
};

static inline enum step update_open_at(struct cpu *cpu, uint64_t linear, unsigned int size,
				       struct update *upd)
{
	upd->linear = linear;
	upd->host = memory_hit(cpu, linear, size, MSLOT_WRITE);
	upd->val = 0;
	if (__builtin_expect(!upd->host, 0)) {
		enum step step = memory_writable(cpu, linear, size, &upd->host);

		if (step)
			return step;
		if (!upd->host)
			return memory_read(cpu, linear, size, &upd->val);
	}
	upd->val = host_load(upd->host, size);
	return STEP_NEXT;
}

static inline enum step update_open(struct cpu *cpu, const struct insn *insn, unsigned int size,
				    struct update *upd)
{
	return update_open_at(cpu, operand_address(cpu, insn), size, upd);
}

static inline enum step update_close(struct cpu *cpu, const struct update *upd, unsigned int size,
				     uint64_t val)
{
	if (__builtin_expect(!upd->host, 0))
		return memory_write(cpu, upd->linear, size, &val);
	host_store(upd->host, size, val);
	memory_stored(cpu, upd->host, size);
	return STEP_NEXT;
}

/*
 * update_exchange() - close it as a locked instruction does: only if it still has upd->val.
 *   done   receives whether it had; if not, upd->val is what it has now: compute again
 * MMIO and operands in two pages are written without atomicity.
 */
enum step update_exchange(struct cpu *cpu, struct update *upd, unsigned int size, uint64_t val,
			  bool *done);

/* The operand in rm, register or memory. */
static inline enum step rm_get(struct cpu *cpu, const struct insn *insn, unsigned int size,
			       uint64_t *out)
{
	if (insn->memory)
		return memory_load(cpu, operand_address(cpu, insn), size, out);
	*out = register_get(cpu, insn, insn->rm, size);
	return STEP_NEXT;
}

#endif /* ADAPTERS_X86_OPERAND_H */
