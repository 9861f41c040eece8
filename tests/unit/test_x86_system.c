/* SPDX-License-Identifier: MIT */
/*
 * test_x86_system.c - control registers, MSRs, CPUID, segments, far transfers of a CPU.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_cpu.h"
#include "base/sanitize.h"

#define HLT 0xf4
#define GP 13
#define UD 6

/* Run code that ends with HLT; -1 if that is where it ends, or the vector of its exception. */
static int outcome(struct guest_cpu *guest, const uint8_t *code, size_t len)
{
	int vector;

	guest_cpu_code(guest, code, len);
	cpu_state_changed(guest->cpu);
	vector = guest_cpu_vector(guest);
	if (vector < 0)
		assert_int_equal(guest->exit.reason, CPU_EXIT_HLT);
	return vector;
}
#define OUTCOME(guest, ...)                                                                        \
	outcome(guest, (const uint8_t[]){__VA_ARGS__, HLT},                                        \
		sizeof((const uint8_t[]){__VA_ARGS__, HLT}))

/* ---- Control registers ------------------------------------------------------ */

static int set_cr(struct guest_cpu *guest, unsigned int number, uint64_t val)
{
	guest->s->gpr[CPU_RAX] = val;
	if (number == 8)
		return OUTCOME(guest, 0x44, 0x0f, 0x22, 0xc0);
	return OUTCOME(guest, 0x0f, 0x22, (uint8_t)(0xc0 | number << 3));
}

static void control_registers(void **state)
{
	struct guest_cpu *guest = *state;
	const uint64_t cr0 = guest->s->cr0, cr4 = guest->s->cr4;

	assert_int_equal(set_cr(guest, 0, cr0 & ~UINT64_C(0x80000000)), GP);
	assert_int_equal(set_cr(guest, 0, cr0 & ~UINT64_C(1)), GP);
	assert_int_equal(set_cr(guest, 0, cr0 | UINT64_C(1) << 32), GP);
	assert_int_equal(set_cr(guest, 0, cr0 | UINT64_C(1) << 29), GP);
	assert_int_equal(guest->s->cr0, cr0);
	assert_int_equal(set_cr(guest, 0, cr0 & ~UINT64_C(0x10010)), -1);
	assert_int_equal(guest->s->cr0, cr0 & ~UINT64_C(0x10000));
	assert_int_equal(set_cr(guest, 2, 0x123456789), -1);
	assert_int_equal(guest->s->cr2, 0x123456789);
	assert_int_equal(set_cr(guest, 3, UINT64_C(1) << 52), GP);
	assert_int_equal(set_cr(guest, 4, cr4 & ~UINT64_C(0x20)), GP);
	assert_int_equal(set_cr(guest, 4, cr4 | UINT64_C(1) << 12), GP);
	assert_int_equal(set_cr(guest, 4, cr4 | UINT64_C(1) << 31), GP);
	assert_int_equal(set_cr(guest, 4, cr4 | UINT64_C(1) << 16), -1);
	assert_int_equal(guest->s->cr4, cr4 | UINT64_C(1) << 16);
	assert_int_equal(set_cr(guest, 8, 9), -1);
	assert_int_equal(guest->s->cr8, 9);
	assert_int_equal(set_cr(guest, 8, 16), GP);
	assert_int_equal(set_cr(guest, 5, 0), UD);
	/* mov rcx, cr3; mov rdx, cr8 */
	assert_int_equal(OUTCOME(guest, 0x0f, 0x20, 0xd9, 0x44, 0x0f, 0x20, 0xc2), -1);
	assert_int_equal(guest->s->gpr[CPU_RCX], GUEST_PML4);
	assert_int_equal(guest->s->gpr[CPU_RDX], 9);
}

/* Clearing WP takes effect at once. */
static void write_protection_goes(void **state)
{
	struct guest_cpu *guest = *state;

	*guest_cpu_pte(guest, GUEST_DATA) = GUEST_DATA | 1;
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	guest->s->gpr[CPU_RAX] = guest->s->cr0;
	/* btr rax, 16; mov cr0, rax; mov [rdi], rdi; bts rax, 16; mov cr0, rax; mov [rdi], rdi */
	assert_int_equal(OUTCOME(guest, 0x48, 0x0f, 0xba, 0xf0, 0x10, 0x0f, 0x22, 0xc0, 0x48, 0x89,
				 0x3f, 0x48, 0x0f, 0xba, 0xe8, 0x10, 0x0f, 0x22, 0xc0, 0x48, 0x89,
				 0x3f),
			 14);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 19);
	assert_int_equal(*guest_cpu_word(guest, GUEST_DATA), GUEST_DATA);
}

static void debug_registers(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RAX] = 0x1234;
	/* mov dr0, rax; mov rbx, dr0; mov rcx, dr6; mov rdx, dr5 */
	assert_int_equal(
	    OUTCOME(guest, 0x0f, 0x23, 0xc0, 0x0f, 0x21, 0xc3, 0x0f, 0x21, 0xf1, 0x0f, 0x21, 0xea),
	    -1);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0x1234);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0xffff0ff0);
	assert_int_equal(guest->s->gpr[CPU_RDX], 0x400);
	/* mov dr6, rdi; mov rcx, dr6: most bits are what they are. */
	guest->s->gpr[CPU_RDI] = 0xffff;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x23, 0xf7, 0x0f, 0x21, 0xf1), -1);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0xffffefff);
	guest->s->gpr[CPU_RAX] = UINT64_C(1) << 32;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x23, 0xf8), GP);
	guest->s->gpr[CPU_RAX] = 0x402;
	guest_cpu_asm(guest, 0x0f, 0x23, 0xf8);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "hardware breakpoints");
}

/* ---- MSRs ------------------------------------------------------------------- */

static int write_msr(struct guest_cpu *guest, uint32_t index, uint64_t val)
{
	guest->s->gpr[CPU_RCX] = index | UINT64_C(0xabcd) << 32;
	guest->s->gpr[CPU_RAX] = (uint32_t)val | UINT64_C(0x1111) << 32;
	guest->s->gpr[CPU_RDX] = val >> 32;
	return OUTCOME(guest, 0x0f, 0x30);
}

static void msrs(void **state)
{
	static const struct {
		uint32_t index;
		uint64_t good, bad;
	} rows[] = {
	    {0x1b, 0xfee00900, 0xfee00201},
	    {0x175, 0xffff800000000000, UINT64_C(1) << 47},
	    {0x277, 0x0007040600070406, 2},
	    {0x2ff, 0xc06, 2},
	    {0xc0000082, 0x1000, UINT64_C(1) << 63},
	    {0xc0000100, 0x7fffffffffff, UINT64_C(1) << 60},
	    {0xc0000102, 0xffffffff80000000, 0x8000000000000000},
	    {0xc0000103, 0xffffffff, UINT64_C(1) << 32},
	    {0xc0000080, 0xd00, 0xd02},
	    {0xc0000080, 0xd01, 0x401},
	};
	struct guest_cpu *guest = *state;
	uint64_t val;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(write_msr(guest, rows[i].index, rows[i].good), -1);
		assert_int_equal(write_msr(guest, rows[i].index, rows[i].bad), GP);
		assert_int_equal(OUTCOME(guest, 0x0f, 0x32), -1);
		val = guest->s->gpr[CPU_RAX] | guest->s->gpr[CPU_RDX] << 32;
		assert_int_equal(val, rows[i].good);
		assert_int_equal(cpu_msr_get(guest->cpu, rows[i].index, &val), 0);
		assert_int_equal(val, rows[i].good);
	}
	assert_int_equal(guest->s->seg[CPU_FS].base, 0x7fffffffffff);
	assert_int_equal(write_msr(guest, 0x12345, 0), GP);
	assert_int_equal(cpu_msr_get(guest->cpu, 0x4b564d00, &val), -EINVAL);
	assert_int_equal(cpu_msr_set(guest->cpu, 0xc0000103, UINT64_C(1) << 32), -EINVAL);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x33), GP); /* rdpmc */
}

static void time_stamps(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t first;

	assert_int_equal(write_msr(guest, 0x10, 1000), -1);
	assert_int_equal(write_msr(guest, 0xc0000103, 0x55), -1);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x31), -1); /* rdtsc */
	first = guest->s->gpr[CPU_RAX] | guest->s->gpr[CPU_RDX] << 32;
	assert_true(first > 1000 && first < UINT64_C(1) << 45);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x01, 0xf9), -1); /* rdtscp */
	assert_true((guest->s->gpr[CPU_RAX] | guest->s->gpr[CPU_RDX] << 32) > first);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0x55);
}

static void bases(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RAX] = 0xfffff00000001000;
	assert_int_equal(OUTCOME(guest, 0xf3, 0x48, 0x0f, 0xae, 0xd8), UD); /* wrgsbase rax */
	guest->s->cr4 |= UINT64_C(1) << 16;
	guest->s->msr.kernel_gs_base = GUEST_DATA;
	*guest_cpu_word(guest, GUEST_DATA + 8) = 0x77;
	/* wrgsbase rax; swapgs; mov rbx, gs:[8]; rdgsbase rcx; swapgs; rdgsbase edx */
	assert_int_equal(OUTCOME(guest, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8, 0x65, 0x48,
				 0x8b, 0x1c, 0x25, 8, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xc9, 0x0f,
				 0x01, 0xf8, 0xf3, 0x0f, 0xae, 0xca),
			 -1);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0x77);
	assert_int_equal(guest->s->gpr[CPU_RCX], GUEST_DATA);
	assert_int_equal(guest->s->gpr[CPU_RDX], 0x1000);
	guest->s->gpr[CPU_RAX] = UINT64_C(1) << 55;
	assert_int_equal(OUTCOME(guest, 0xf3, 0x48, 0x0f, 0xae, 0xd0), GP); /* wrfsbase rax */
}

/* ---- CPUID ------------------------------------------------------------------ */

static uint64_t cpuid(struct guest_cpu *guest, uint32_t leaf, uint32_t subleaf)
{
	guest->s->gpr[CPU_RAX] = leaf | UINT64_C(7) << 32;
	guest->s->gpr[CPU_RCX] = subleaf;
	assert_int_equal(OUTCOME(guest, 0x0f, 0xa2), -1);
	return guest->s->gpr[CPU_RAX];
}

static void cpuid_answers(void **state)
{
	static struct cpu_cpuid rows[] = {
	    {.leaf = 0, .eax = 7, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
	    {.leaf = 1, .eax = 0x111, .ecx = 1u << 26},
	    {.leaf = 4, .by_subleaf = true, .subleaf = 1, .eax = 0x141},
	    {.leaf = 7, .by_subleaf = true, .subleaf = 0, .eax = 0x701},
	    {.leaf = 0x80000000, .eax = 0x80000008},
	    {.leaf = 0x80000001, .edx = 0},
	    {.leaf = 0x80000008, .eax = 39},
	};
	struct guest_cpu *guest = *state;

	assert_int_equal(cpuid(guest, 1, 0), 0);
	assert_int_equal(cpu_cpuid_set(guest->cpu, rows, sizeof(rows) / sizeof(*rows)), 0);
	assert_int_equal(cpuid(guest, 1, 55), 0x111);
	assert_int_equal(guest->s->gpr[CPU_RCX], 1u << 26);
	assert_int_equal(cpuid(guest, 4, 1), 0x141);
	assert_int_equal(cpuid(guest, 4, 0), 0);
	assert_int_equal(cpuid(guest, 6, 0), 0);
	/* Beyond the last leaf: the last basic one, but zeroes of other makers. */
	assert_int_equal(cpuid(guest, 0x15, 0), 0x701);
	assert_int_equal(cpuid(guest, 0x80000009, 0), 0x701);
	assert_int_equal(cpuid(guest, 0x80000007, 0), 0);
	rows[0].ecx = 0x444d4163;
	assert_int_equal(cpu_cpuid_set(guest->cpu, rows, sizeof(rows) / sizeof(*rows)), 0);
	assert_int_equal(cpuid(guest, 0x15, 0), 0);
	/* What it says is in force: OSXSAVE may be set, SMEP not; 39 bits of address. */
	assert_int_equal(set_cr(guest, 4, guest->s->cr4 | UINT64_C(1) << 18), -1);
	cpuid(guest, 1, 0);
	assert_int_equal(guest->s->gpr[CPU_RCX], 3u << 26);
	assert_int_equal(set_cr(guest, 4, guest->s->cr4 | UINT64_C(1) << 20), GP);
	assert_int_equal(set_cr(guest, 3, UINT64_C(1) << 39), GP);
	*guest_cpu_pte(guest, GUEST_DATA) |= UINT64_C(1) << 39;
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	assert_int_equal(OUTCOME(guest, 0x48, 0x8b, 0x07), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 9);
	/* No pages of 1 GiB, so the bit that makes one is reserved. */
	guest->s->gpr[CPU_RDI] = GUEST_ALIAS;
	assert_int_equal(OUTCOME(guest, 0x48, 0x8b, 0x07), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 9);
}

static void no_memory_for_a_cpu(void **state)
{
#ifndef MSLOT_SANITIZED
	struct guest_cpu *guest = *state;
	struct cpu_options options = {guest->vcpu, guest->root};
	struct rlimit limit = {1 << 20, 1 << 20};
	struct cpu *cpu = NULL;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setrlimit(RLIMIT_AS, &limit))
			_exit(2);
		_exit(cpu_create(&options, &cpu) != -ENOMEM || cpu);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
#else
	(void)state;
	print_message("no_memory_for_a_cpu: SKIP: a sanitizer's own memory has no limit\n");
	skip();
#endif
}

/* ---- Segments --------------------------------------------------------------- */

static void segment_registers(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RAX] = GUEST_DS;
	guest->s->seg[CPU_DS] = (struct cpu_segment){0};
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd8, 0x8c, 0xdb), -1); /* mov ds, ax; mov ebx, ds */
	assert_int_equal(guest->s->gpr[CPU_RBX], GUEST_DS);
	assert_int_equal(guest->s->seg[CPU_DS].limit, UINT32_MAX);
	assert_int_equal(guest->s->seg[CPU_DS].attributes, 0xc093);
	/* Nothing, which is also nothing as a stack; but not with a lower privilege. */
	guest->s->gpr[CPU_RAX] = 0;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xe0, 0x8e, 0xd0), -1); /* mov fs, ax; mov ss, ax */
	guest->s->gpr[CPU_RAX] = 3;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd0), GP);
	/* A TSS is no data; code is no stack; a stack has this privilege. */
	guest->s->gpr[CPU_RAX] = GUEST_TR;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd8), GP);
	assert_int_equal(guest_cpu_frame(guest).error, GUEST_TR);
	guest->s->gpr[CPU_RAX] = GUEST_CS;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xc0), -1);
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd0), GP);
	guest->s->gpr[CPU_RAX] = GUEST_DS | 1;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd0), GP);
	guest->s->gpr[CPU_RAX] = GUEST_DS;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xc8), UD); /* mov cs, ax */
	/* push fs; pop gs; and a pop that fails leaves RSP. */
	assert_int_equal(OUTCOME(guest, 0x0f, 0xa0, 0x0f, 0xa9), -1);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK);
	*guest_cpu_word(guest, GUEST_STACK) = 0x123;
	assert_int_equal(OUTCOME(guest, 0x0f, 0xa9), GP);
	assert_int_equal(guest_cpu_frame(guest).rsp, GUEST_STACK);
}

static void accessed_bit_of_descriptors(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *data = guest_cpu_word(guest, GUEST_GDT + GUEST_DS);

	*data &= ~(UINT64_C(1) << 40);
	guest->s->gpr[CPU_RAX] = GUEST_DS;
	assert_int_equal(OUTCOME(guest, 0x8e, 0xd8), -1);
	assert_true(*data & UINT64_C(1) << 40);
	assert_int_equal(guest->s->seg[CPU_DS].attributes, 0xc093);
}

static void tables(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RDI] = GUEST_DATA + 0xffb; /* across pages */
	/* sgdt [rdi]; lidt [rdi] */
	assert_int_equal(OUTCOME(guest, 0x0f, 0x01, 0x07, 0x0f, 0x01, 0x1f), -1);
	assert_int_equal(guest->s->idt.base, GUEST_GDT);
	assert_int_equal(guest->s->idt.limit, 63);
	guest->s->idt = (struct cpu_table){GUEST_IDT, 4095};
	guest->host[GUEST_DATA + 0xffb + 9] = 0x12;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x01, 0x17), GP); /* lgdt [rdi] */
	assert_int_equal(guest->s->gdt.base, GUEST_GDT);
	/* The TSS becomes busy, and then is no longer available. */
	guest->s->tr = (struct cpu_segment){0};
	guest->s->gpr[CPU_RAX] = GUEST_TR;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xd8, 0x0f, 0x00, 0xcb), -1); /* ltr; str ebx */
	assert_int_equal(guest->s->tr.base, GUEST_TSS);
	assert_int_equal(guest->s->tr.limit, 0x67);
	assert_int_equal(guest->s->tr.attributes & 0xf, 11);
	assert_int_equal(guest->s->gpr[CPU_RBX], GUEST_TR);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xd8), GP);
	guest->s->gpr[CPU_RAX] = 0;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xd8), GP);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xd0), -1); /* lldt ax */
}

#define ZF (guest->s->rflags >> 6 & 1)

static void questions(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RAX] = GUEST_CS;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x02, 0xd8), -1); /* lar ebx, ax */
	assert_true(ZF);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0xa09b00);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x03, 0xd8), -1); /* lsl ebx, ax */
	assert_true(ZF);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0xffffffff);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xe0), -1); /* verr ax */
	assert_true(ZF);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xe8), -1); /* verw ax */
	assert_false(ZF);
	guest->s->gpr[CPU_RAX] = GUEST_DS;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xe8), -1);
	assert_true(ZF);
	/* Asked for users, it is not theirs. */
	guest->s->gpr[CPU_RAX] = GUEST_DS | 3;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x00, 0xe8), -1);
	assert_false(ZF);
	/* Beyond the table; null. */
	guest->s->gpr[CPU_RAX] = 0x1238;
	guest->s->gpr[CPU_RBX] = 5;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x03, 0xd8), -1);
	assert_false(ZF);
	guest->s->gpr[CPU_RAX] = 0;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x02, 0xd8), -1);
	assert_false(ZF);
	assert_int_equal(guest->s->gpr[CPU_RBX], 5);
}

/* ---- Transfers -------------------------------------------------------------- */

static void far_transfers(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t routine[] = {0x48, 0xff, 0xc3, 0x48, 0xcb}; /* inc rbx; retfq */
	uint8_t *pointer = guest->host + GUEST_DATA;

	memcpy(guest->host + GUEST_CODE + 0x100, routine, sizeof(routine));
	memcpy(pointer, &(const uint64_t){GUEST_CODE + 0x100}, 8);
	memcpy(pointer + 8, &(const uint16_t){GUEST_CS}, 2);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	assert_int_equal(OUTCOME(guest, 0x48, 0xff, 0x1f), -1); /* call far [rdi] */
	assert_int_equal(guest->s->gpr[CPU_RBX], 1);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK);
	assert_int_equal(guest->s->rip, GUEST_CODE + 4);
	guest->host[GUEST_CODE + 0x103] = HLT;
	assert_int_equal(OUTCOME(guest, 0x48, 0xff, 0x2f), -1); /* jmp far [rdi] */
	assert_int_equal(guest->s->rip, GUEST_CODE + 0x104);
	/* Data is no code. */
	memcpy(pointer + 8, &(const uint16_t){GUEST_DS}, 2);
	assert_int_equal(OUTCOME(guest, 0x48, 0xff, 0x2f), GP);
	assert_int_equal(guest_cpu_frame(guest).error, GUEST_DS);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
	assert_int_equal(OUTCOME(guest, 0x48, 0xff, 0x1f), GP);
	assert_int_equal(guest_cpu_frame(guest).rsp, GUEST_STACK);
}

static void system_calls(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->msr.star = (uint64_t)GUEST_CS << 32;
	guest->s->msr.lstar = GUEST_CODE + 0x200;
	guest->s->msr.fmask = 0x200;
	guest->s->rflags = 0x203;
	guest->host[GUEST_CODE + 0x200] = HLT;
	assert_int_equal(OUTCOME(guest, 0x0f, 0x05), -1);
	assert_int_equal(guest->s->rip, GUEST_CODE + 0x201);
	assert_int_equal(guest->s->gpr[CPU_RCX], GUEST_CODE + 2);
	assert_int_equal(guest->s->gpr[11], 0x203);
	assert_int_equal(guest->s->rflags, 3);
	assert_int_equal(guest->s->seg[CPU_SS].selector, GUEST_CS + 8);
	guest_cpu_asm(guest, 0x48, 0x0f, 0x07); /* sysretq */
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	guest->s->efer &= ~UINT64_C(1);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x05), UD);
	assert_int_equal(OUTCOME(guest, 0x0f, 0x01, 0xc1), UD); /* vmcall */
	assert_int_equal(OUTCOME(guest, 0x0f, 0x01, 0xd0), UD); /* xgetbv */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(control_registers),
	    GUEST_TEST(write_protection_goes),
	    GUEST_TEST(debug_registers),
	    GUEST_TEST(msrs),
	    GUEST_TEST(time_stamps),
	    GUEST_TEST(bases),
	    GUEST_TEST(cpuid_answers),
	    GUEST_TEST(no_memory_for_a_cpu),
	    GUEST_TEST(segment_registers),
	    GUEST_TEST(accessed_bit_of_descriptors),
	    GUEST_TEST(tables),
	    GUEST_TEST(questions),
	    GUEST_TEST(far_transfers),
	    GUEST_TEST(system_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
