/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_state.c - MXCSR, FXSAVE and FXRSTOR, and of x87 its control and status words.
 *
 * Nothing computes with x87 registers: they are bytes that FXRSTOR brings and FXSAVE gives back,
 * with the tags. The instruction and data pointers of x87 are not kept; FXSAVE writes them as zero.
 */
#include "sse_exec.h"
#include "exec.h"

#define CR0_MP (1u << 1)
#define CR0_EM SSE_CR0_EM
#define CR0_TS SSE_CR0_TS

#define FCW_RESET 0x037f
#define FCW_KEPT 0x1f7fu /* what can be stored in it; bit 6 is always set */
#define FCW_ONE 0x0040u
#define X87_EXCEPTIONS 0x3fu
#define FSW_TOP 0x3800u
#define FSW_SUMMARY 0x8080u /* ES and B: an exception is pending */

#define FXSAVE_BYTES 512u

/* What FXSAVE writes; the last 96 bytes of the 512 are the program's. */
struct fxsave {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[128];
	uint8_t xmm[256];
};

_Static_assert(sizeof(struct fxsave) == 416, "FXSAVE's layout");

static enum step x87_enter(struct cpu *cpu)
{
	if (cpu->s.cr0 & (CR0_EM | CR0_TS))
		return raise_plain(cpu, VECTOR_NM);
	return STEP_NEXT;
}

/* The same for what waits: an exception that is pending strikes now. */
static enum step x87_enter_waiting(struct cpu *cpu)
{
	enum step step = x87_enter(cpu);

	if (step == STEP_NEXT && (cpu->s.fsw & FSW_SUMMARY))
		step = raise_plain(cpu, VECTOR_MF);
	return step;
}

static void x87_summarize(struct cpu *cpu)
{
	if (cpu->s.fsw & ~cpu->s.fcw & X87_EXCEPTIONS)
		cpu->s.fsw = (uint16_t)(cpu->s.fsw | FSW_SUMMARY);
	else
		cpu->s.fsw = (uint16_t)(cpu->s.fsw & ~FSW_SUMMARY);
}

/* Registers are kept in the order of the stack, as FXSAVE has them: its top becomes register 0. */
static void x87_top_zero(struct cpu *cpu)
{
	unsigned int top = cpu->s.fsw >> 11 & 7;
	uint8_t old[128];

	memcpy(old, cpu->s.x87_opaque, sizeof(old));
	for (unsigned int i = 0; i < 8; i++)
		memcpy(cpu->s.x87_opaque + 16 * ((top + i) & 7), old + 16 * i, 16);
	cpu->s.fsw = (uint16_t)(cpu->s.fsw & ~FSW_TOP);
}

static void x87_control(struct cpu *cpu, uint16_t val)
{
	cpu->s.fcw = (uint16_t)((val & FCW_KEPT) | FCW_ONE);
	x87_summarize(cpu);
}

static enum step exec_fldcw(struct cpu *cpu, const struct insn *insn)
{
	enum step step = x87_enter_waiting(cpu);
	uint64_t val = 0;

	if (step == STEP_NEXT)
		step = memory_load(cpu, operand_address(cpu, insn), 2, &val);
	if (step == STEP_NEXT)
		x87_control(cpu, (uint16_t)val);
	return step;
}

static enum step exec_fnstcw(struct cpu *cpu, const struct insn *insn)
{
	enum step step = x87_enter(cpu);

	return step == STEP_NEXT ? memory_store(cpu, operand_address(cpu, insn), 2, cpu->s.fcw)
				 : step;
}

static enum step exec_fnstsw(struct cpu *cpu, const struct insn *insn)
{
	enum step step = x87_enter(cpu);

	if (step != STEP_NEXT)
		return step;
	if (insn->memory)
		return memory_store(cpu, operand_address(cpu, insn), 2, cpu->s.fsw);
	memcpy(&cpu->s.gpr[CPU_RAX], &cpu->s.fsw, 2);
	return STEP_NEXT;
}

static enum step exec_fninit(struct cpu *cpu, const struct insn *insn)
{
	enum step step = x87_enter(cpu);

	(void)insn;
	if (step != STEP_NEXT)
		return step;
	x87_top_zero(cpu);
	cpu->s.fcw = FCW_RESET;
	cpu->s.fsw = 0;
	cpu->s.ftw = 0;
	return STEP_NEXT;
}

static enum step exec_fnclex(struct cpu *cpu, const struct insn *insn)
{
	enum step step = x87_enter(cpu);

	(void)insn;
	if (step == STEP_NEXT)
		cpu->s.fsw &= 0x7f00;
	return step;
}

static enum step exec_fwait(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if ((cpu->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		return raise_plain(cpu, VECTOR_NM);
	if (cpu->s.fsw & FSW_SUMMARY)
		return raise_plain(cpu, VECTOR_MF);
	return STEP_NEXT;
}

static enum step exec_emms(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (cpu->s.cr0 & CR0_EM)
		return raise_plain(cpu, VECTOR_UD);
	if (cpu->s.cr0 & CR0_TS)
		return raise_plain(cpu, VECTOR_NM);
	if (cpu->s.fsw & FSW_SUMMARY)
		return raise_plain(cpu, VECTOR_MF);
	cpu->s.ftw = 0;
	x87_top_zero(cpu);
	return STEP_NEXT;
}

static enum step exec_ldmxcsr(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);
	uint64_t val = 0;

	if (step == STEP_NEXT)
		step = memory_load(cpu, operand_address(cpu, insn), 4, &val);
	if (step != STEP_NEXT)
		return step;
	if (val & ~(uint64_t)MXCSR_VALID)
		return sse_general_protection(cpu);
	cpu->s.mxcsr = (uint32_t)val;
	return STEP_NEXT;
}

static enum step exec_stmxcsr(struct cpu *cpu, const struct insn *insn)
{
	enum step step = sse_enter(cpu);

	return step == STEP_NEXT ? memory_store(cpu, operand_address(cpu, insn), 4, cpu->s.mxcsr)
				 : step;
}

/* In parts that memory_read() and memory_write() take, none of which crosses a page. */
#define PART 32u

/* #GP, but that addresses which are not canonical are noticed first (#SS of the stack). */
static enum step unaligned(struct cpu *cpu, uint64_t linear)
{
	sse_general_protection(cpu);
	cpu->exception.non_canonical = (uint64_t)((int64_t)(linear << 16) >> 16) != linear;
	return STEP_EXCEPTION;
}

static enum step exec_fxsave(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_address(cpu, insn);
	struct fxsave image = {.fcw = cpu->s.fcw,
			       .fsw = cpu->s.fsw,
			       .ftw = cpu->s.ftw,
			       .mxcsr = cpu->s.mxcsr,
			       .mxcsr_mask = MXCSR_VALID};
	enum step step = x87_enter(cpu);
	void *host;

	if (step != STEP_NEXT)
		return step;
	if (linear & 15)
		return unaligned(cpu, linear);
	step = memory_writable(cpu, linear + FXSAVE_BYTES - 1, 1, &host);
	memcpy(image.st, cpu->s.x87_opaque, sizeof(image.st));
	memcpy(image.xmm, cpu->s.xmm, sizeof(image.xmm));
	for (unsigned int at = 0; step == STEP_NEXT && at < sizeof(image); at += PART)
		step = memory_write(cpu, linear + at, PART, (const uint8_t *)&image + at);
	return step;
}

static enum step exec_fxrstor(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_address(cpu, insn);
	enum step step = x87_enter(cpu);
	struct fxsave image;
	uint8_t last;

	if (step != STEP_NEXT)
		return step;
	if (linear & 15)
		return unaligned(cpu, linear);
	if ((linear & 0xfff) > 0x1000 - FXSAVE_BYTES)
		step = memory_read(cpu, linear + FXSAVE_BYTES - 1, 1, &last);
	for (unsigned int at = 0; step == STEP_NEXT && at < sizeof(image); at += PART)
		step = memory_read(cpu, linear + at, PART, (uint8_t *)&image + at);
	if (step != STEP_NEXT)
		return step;
	if (image.mxcsr & ~MXCSR_VALID)
		return sse_general_protection(cpu);
	cpu->s.mxcsr = image.mxcsr;
	cpu->s.fsw = image.fsw;
	cpu->s.ftw = image.ftw;
	x87_control(cpu, image.fcw);
	/* Ten bytes of each register; the rest does not exist. */
	memset(cpu->s.x87_opaque, 0, sizeof(cpu->s.x87_opaque));
	for (unsigned int i = 0; i < 8; i++)
		memcpy(cpu->s.x87_opaque + 16 * i, image.st + 16 * i, 10);
	memcpy(cpu->s.xmm, image.xmm, sizeof(image.xmm));
	return STEP_NEXT;
}

#define ROW(map, opcode, group, rm, name, bytes, flags)                                            \
	{                                                                                          \
#name, exec_##name, map, opcode, 0x00, group, rm, 4, bytes, flags, SSE_2           \
	}
#define X87(opcode, group, name, bytes, flags)                                                     \
	ROW(SSE_MAP_ONE_BYTE, opcode, group, SSE_NO_GROUP, name, bytes, (flags) | SSE_ANY_PREFIX)
#define X87_REG(opcode, group, rm, name)                                                           \
	ROW(SSE_MAP_ONE_BYTE, opcode, group, rm, name, 0, SSE_REG | SSE_ANY_PREFIX)

static const struct sse_row rows[] = {
    ROW(SSE_MAP_0F, 0x77, SSE_NO_GROUP, SSE_NO_GROUP, emms, 0, SSE_NO_MODRM),
    ROW(SSE_MAP_0F, 0xae, 0, SSE_NO_GROUP, fxsave, 512, SSE_MEM | SSE_STORES | SSE_ALIGNED),
    ROW(SSE_MAP_0F, 0xae, 1, SSE_NO_GROUP, fxrstor, 512, SSE_MEM | SSE_ALIGNED),
    ROW(SSE_MAP_0F, 0xae, 2, SSE_NO_GROUP, ldmxcsr, 4, SSE_MEM),
    ROW(SSE_MAP_0F, 0xae, 3, SSE_NO_GROUP, stmxcsr, 4, SSE_MEM | SSE_STORES),
    X87(0x9b, SSE_NO_GROUP, fwait, 0, SSE_NO_MODRM),
    X87(0xd9, 5, fldcw, 2, SSE_MEM),
    X87(0xd9, 7, fnstcw, 2, SSE_MEM | SSE_STORES),
    X87_REG(0xdb, 4, 2, fnclex),
    X87_REG(0xdb, 4, 3, fninit),
    X87(0xdd, 7, fnstsw, 2, SSE_MEM | SSE_STORES),
    X87_REG(0xdf, 4, 0, fnstsw),
};

const struct sse_table sse_state = {rows, sizeof(rows) / sizeof(rows[0])};
