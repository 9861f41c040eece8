/* SPDX-License-Identifier: MIT */
/*
 * exec_io.c - IN, OUT, INS and OUTS: an exit, and what is left to do when it was answered.
 *
 * Nothing of an instruction is done when it exits: RIP stays, and io_complete() finishes it at the
 * beginning of the next run. INS asks for its destination first, so that a page fault comes before
 * the device is read.
 */
#include <string.h>

#include "memory.h"
#include "operand.h"
#include "system.h"

static uint16_t port_of(const struct cpu *cpu, const struct insn *insn)
{
	if (insn->exec == exec_in || insn->exec == exec_out)
		return (uint16_t)(insn->op ? cpu->s.gpr[CPU_RDX] : insn->imm);
	return (uint16_t)cpu->s.gpr[CPU_RDX];
}

static enum step exit_io(struct cpu *cpu, const struct insn *insn, bool in, uint32_t count)
{
	struct cpu_exit *exit = cpu->exit;

	cpu->io.pending = true;
	cpu->io.rip = cpu->s.rip;
	cpu->io.insn = *insn;
	cpu->io.count = count;
	cpu->io.nbytes = count * insn->size;
	exit->reason = CPU_EXIT_IO;
	exit->io.port = port_of(cpu, insn);
	exit->io.size_bytes = insn->size;
	exit->io.in = in;
	exit->io.count = count;
	if (in)
		memset(cpu->io.data, 0, cpu->io.nbytes);
	memcpy(exit->io.data, cpu->io.data, cpu->io.nbytes);
	return STEP_EXIT;
}

enum step exec_in(struct cpu *cpu, const struct insn *insn)
{
	return exit_io(cpu, insn, true, 1);
}

enum step exec_out(struct cpu *cpu, const struct insn *insn)
{
	memcpy(cpu->io.data, &cpu->s.gpr[CPU_RAX], insn->size);
	return exit_io(cpu, insn, false, 1);
}

/* ---- Strings -------------------------------------------------------------- */

static uint64_t address_mask(const struct insn *insn)
{
	return insn->addr_size == 4 ? UINT32_MAX : UINT64_MAX;
}

static bool done(const struct cpu *cpu, const struct insn *insn)
{
	return insn->rep && !(cpu->s.gpr[CPU_RCX] & address_mask(insn));
}

/* How many items go at once: up to the end of the page, upwards only. */
static uint32_t items(const struct cpu *cpu, const struct insn *insn, uint64_t linear)
{
	uint64_t left = cpu->s.gpr[CPU_RCX] & address_mask(insn);
	uint64_t room = (0x1000 - linear % 0x1000) / insn->size;

	if (!insn->rep || cpu->s.rflags & FLAG_DF || room == 0)
		return 1;
	if (room > sizeof(cpu->io.data) / insn->size)
		room = sizeof(cpu->io.data) / insn->size;
	return (uint32_t)(left < room ? left : room);
}

enum step exec_ins(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = cpu->s.gpr[CPU_RDI] & address_mask(insn);
	void *host;
	enum step step;

	if (done(cpu, insn))
		return STEP_NEXT;
	step = memory_writable(cpu, linear, insn->size, &host);
	if (step != STEP_NEXT)
		return step;
	return exit_io(cpu, insn, true, host ? items(cpu, insn, linear) : 1);
}

enum step exec_outs(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = cpu->s.gpr[CPU_RSI] & address_mask(insn), len;
	uint32_t count;
	void *host;
	enum step step;

	if (done(cpu, insn))
		return STEP_NEXT;
	if (insn->segment >= CPU_FS)
		linear += cpu->s.seg[insn->segment].base;
	step = memory_span(cpu, linear, MSLOT_READ, &host, &len);
	if (step != STEP_NEXT)
		return step;
	count = host ? items(cpu, insn, linear) : 1;
	if (host && count * insn->size <= len)
		memcpy(cpu->io.data, host, (size_t)count * insn->size);
	else
		step = memory_read(cpu, linear, insn->size, cpu->io.data);
	return step == STEP_NEXT ? exit_io(cpu, insn, false, count) : step;
}

/* Registers of a string instruction after `count` items. */
static enum step advance(struct cpu *cpu, const struct insn *insn, enum cpu_gpr index)
{
	uint64_t mask = address_mask(insn), bytes = cpu->io.nbytes;

	if (cpu->s.rflags & FLAG_DF)
		bytes = -bytes;
	cpu->s.gpr[index] = (cpu->s.gpr[index] + bytes) & mask;
	if (!insn->rep)
		return STEP_NEXT;
	cpu->s.gpr[CPU_RCX] = (cpu->s.gpr[CPU_RCX] - cpu->io.count) & mask;
	return cpu->s.gpr[CPU_RCX] ? STEP_AGAIN : STEP_NEXT;
}

static enum step complete_ins(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = cpu->s.gpr[CPU_RDI] & address_mask(insn);
	enum step step = STEP_NEXT;

	for (uint32_t at = 0; at < cpu->io.nbytes && step == STEP_NEXT; at += insn->size)
		step = memory_write(cpu, linear + at, insn->size, cpu->io.data + at);
	return step == STEP_NEXT ? advance(cpu, insn, CPU_RDI) : step;
}

/* Whoever answered may have changed the count meanwhile: never more than is left. */
static void limit_count(struct cpu *cpu, const struct insn *insn)
{
	uint64_t left = cpu->s.gpr[CPU_RCX] & address_mask(insn);

	if (insn->rep && left < cpu->io.count) {
		cpu->io.count = (uint32_t)left;
		cpu->io.nbytes = cpu->io.count * insn->size;
	}
}

enum step io_complete(struct cpu *cpu)
{
	const struct insn *insn = &cpu->io.insn;
	uint64_t val = 0;

	if (insn->exec == exec_ins || insn->exec == exec_outs)
		limit_count(cpu, insn);
	if (insn->exec == exec_ins)
		return complete_ins(cpu, insn);
	if (insn->exec == exec_outs)
		return advance(cpu, insn, CPU_RSI);
	if (insn->exec == exec_in) {
		memcpy(&val, cpu->io.data, insn->size);
		register_set(cpu, insn, CPU_RAX, insn->size, val);
	}
	return STEP_NEXT;
}
