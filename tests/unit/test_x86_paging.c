/* SPDX-License-Identifier: MIT */
/*
 * test_x86_paging.c - a CPU's walks: each fault with its error code, accessed and dirty bits, large
 * pages, control registers that decide, accesses across pages, what a TLB may keep.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest_cpu.h"

#define P (UINT64_C(1) << 0)
#define RW (UINT64_C(1) << 1)
#define US (UINT64_C(1) << 2)
#define A (UINT64_C(1) << 5)
#define D (UINT64_C(1) << 6)
#define NX (UINT64_C(1) << 63)

#define CR0_WP (UINT64_C(1) << 16)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define EFER_NXE (UINT64_C(1) << 11)

#define LOAD 0x48, 0x8b, 0x07  /* mov rax, [rdi] */
#define STORE 0x48, 0x89, 0x07 /* mov [rdi], rax */
#define HLT 0xf4
#define INVLPG 0x0f, 0x01, 0x3f /* invlpg [rdi] */
#define TARGET UINT64_C(0x50000)

/* Run one access to TARGET with a page table entry; -1: no fault, else the error code. */
static int64_t try_access(struct guest_cpu *guest, bool store, uint64_t entry)
{
	int vector;

	*guest_cpu_pte(guest, TARGET) = entry;
	if (store)
		guest_cpu_asm(guest, STORE, HLT);
	else
		guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = TARGET + 0x10;
	cpu_state_changed(guest->cpu);
	vector = guest_cpu_vector(guest);
	if (vector < 0) {
		assert_int_equal(guest->exit.reason, CPU_EXIT_HLT);
		assert_int_equal(guest->s->rip, GUEST_CODE + 4);
		return -1;
	}
	assert_int_equal(vector, 14);
	assert_int_equal(guest->s->cr2, TARGET + 0x10);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
	assert_int_equal(guest_cpu_frame(guest).rsp, GUEST_STACK);
	return (int64_t)guest_cpu_frame(guest).error;
}

static void faults_by_entry(void **state)
{
	struct guest_cpu *guest = *state;

	assert_int_equal(try_access(guest, false, 0), 0);
	assert_int_equal(try_access(guest, true, 0), 2);
	assert_int_equal(try_access(guest, false, TARGET | P | RW), -1);
	assert_int_equal(try_access(guest, true, TARGET | P | RW), -1);
	assert_int_equal(try_access(guest, false, TARGET | P), -1);
	assert_int_equal(try_access(guest, true, TARGET | P), 3);
	/* Users' pages, and those whose code is not to be executed, are data here. */
	assert_int_equal(try_access(guest, true, TARGET | P | RW | US | NX), -1);
	/* Beyond the physical addresses. */
	assert_int_equal(try_access(guest, false, TARGET | P | RW | UINT64_C(1) << 51), 9);
	assert_int_equal(try_access(guest, true, TARGET | P | RW | UINT64_C(1) << 51), 11);
}

static void faults_by_control_registers(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->cr0 &= ~CR0_WP;
	assert_int_equal(try_access(guest, true, TARGET | P), -1);
	guest->s->cr0 |= CR0_WP;
	guest->s->efer &= ~EFER_NXE;
	assert_int_equal(try_access(guest, false, TARGET | P | RW | NX), 9);
	guest->s->efer |= EFER_NXE;
	guest->s->cr4 |= CR4_SMAP;
	/* A user's page is one only if all levels say so. */
	assert_int_equal(try_access(guest, false, TARGET | P | RW | US), -1);
	*guest_cpu_word(guest, GUEST_PML4) |= US;
	*guest_cpu_word(guest, GUEST_PDPT) |= US;
	*guest_cpu_word(guest, GUEST_PD) |= US;
	assert_int_equal(try_access(guest, false, TARGET | P | RW | US), 1);
	assert_int_equal(try_access(guest, true, TARGET | P | RW | US), 3);
	guest->s->rflags |= 1u << 18; /* AC */
	assert_int_equal(try_access(guest, true, TARGET | P | RW | US), -1);
}

/* With AC changing between accesses: translations must not be remembered beyond it. */
static void smap_asks_each_time(void **state)
{
	struct guest_cpu *guest = *state;

	*guest_cpu_word(guest, GUEST_PML4) |= US;
	*guest_cpu_word(guest, GUEST_PDPT) |= US;
	*guest_cpu_word(guest, GUEST_PD) |= US;
	*guest_cpu_pte(guest, TARGET) |= US;
	guest->s->cr4 |= CR4_SMAP;
	guest_cpu_asm(guest, 0x0f, 0x01, 0xcb, /* stac */ LOAD, STORE, 0x0f, 0x01, 0xca, /* clac */
		      LOAD, HLT);
	guest->s->gpr[CPU_RDI] = TARGET;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 1);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 12);
}

static void fetches(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xff, 0xe7); /* jmp rdi */
	guest->s->gpr[CPU_RDI] = TARGET;
	guest->host[TARGET] = HLT;
	*guest_cpu_pte(guest, TARGET) |= NX;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 0x11);
	assert_int_equal(guest_cpu_frame(guest).rip, TARGET);
	assert_int_equal(guest->s->cr2, TARGET);
	/* Not there at all; and a page of users under SMEP. */
	guest_cpu_asm(guest, 0xff, 0xe7);
	*guest_cpu_pte(guest, TARGET) = 0;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 0x10);
	guest_cpu_asm(guest, 0xff, 0xe7);
	*guest_cpu_word(guest, GUEST_PML4) |= US;
	*guest_cpu_word(guest, GUEST_PDPT) |= US;
	*guest_cpu_word(guest, GUEST_PD) |= US;
	*guest_cpu_pte(guest, TARGET) = TARGET | P | US;
	guest->s->cr4 |= CR4_SMEP;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 0x11);
	guest_cpu_asm(guest, 0xff, 0xe7);
	guest->s->cr4 &= ~CR4_SMEP;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), -1);
	assert_int_equal(guest->s->rip, TARGET + 1);
}

static void accessed_and_dirty(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *pte = guest_cpu_pte(guest, TARGET);
	static const uint64_t above[] = {GUEST_PML4, GUEST_PDPT, GUEST_PD};

	assert_int_equal(try_access(guest, false, TARGET | P | RW), -1);
	assert_int_equal(*pte, TARGET | P | RW | A);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(*guest_cpu_word(guest, above[i]) & A);
		assert_false(*guest_cpu_word(guest, above[i]) & D);
	}
	/* The first write of a page that was read: the TLB has it, and must ask for D. */
	guest_cpu_asm(guest, LOAD, STORE, HLT);
	*pte = TARGET | P | RW;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(*pte, TARGET | P | RW | A | D);
	/* What is refused is not noted. */
	*guest_cpu_word(guest, GUEST_PD) &= ~A;
	assert_int_equal(try_access(guest, true, TARGET | P), 3);
	assert_int_equal(*pte, TARGET | P);
	/* Of handlers' pages only. */
	*guest_cpu_word(guest, GUEST_PD) = GUEST_PT | P | RW;
	assert_int_equal(try_access(guest, true, TARGET | P | RW), -1);
	assert_int_equal(*pte, TARGET | P | RW | A | D);
}

static void large_pages(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *pde = guest_cpu_word(guest, GUEST_PD + 2 * 8);

	/* 2 MiB, showing the first ones once more. */
	*pde = P | RW | UINT64_C(0x80);
	guest_cpu_asm(guest, STORE, HLT);
	guest->s->gpr[CPU_RDI] = 0x400000 + GUEST_DATA + 8;
	guest->s->gpr[CPU_RAX] = 0x1234;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(*guest_cpu_word(guest, GUEST_DATA + 8), 0x1234);
	assert_int_equal(*pde, P | RW | UINT64_C(0x80) | A | D);
	/* 1 GiB. */
	guest->s->rip = GUEST_CODE;
	guest->s->gpr[CPU_RDI] = GUEST_ALIAS + GUEST_DATA + 16;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(*guest_cpu_word(guest, GUEST_DATA + 16), 0x1234);
	assert_int_equal(*guest_cpu_word(guest, GUEST_PDPT + 8), P | RW | 0x80 | A | D);
	/* Bits below the address; and level 4 has no large pages. */
	*pde |= UINT64_C(1) << 13;
	guest_cpu_asm(guest, STORE, HLT);
	guest->s->gpr[CPU_RDI] = 0x400000;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 11);
	guest_cpu_asm(guest, STORE, HLT);
	*guest_cpu_word(guest, GUEST_PML4 + 8) = GUEST_PDPT | P | RW | 0x80;
	guest->s->gpr[CPU_RDI] = UINT64_C(1) << 39;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 11);
}

/* INVLPG of one address forgets all of a large page. */
static void invlpg_of_a_large_page(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *pde = guest_cpu_word(guest, GUEST_PD + 2 * 8);

	*pde = P | RW | UINT64_C(0x80);
	guest_cpu_asm(guest, 0x48, 0x8b, 0x06, /* mov rax, [rsi] */ 0x48, 0x89, 0x1a,
		      /* mov [rdx], rbx */ INVLPG, 0x48, 0x8b, 0x06, HLT);
	guest->s->gpr[CPU_RSI] = 0x400000 + GUEST_DATA;
	guest->s->gpr[CPU_RDI] = 0x400000 + GUEST_DATA + 0x3000;
	guest->s->gpr[CPU_RDX] = GUEST_PD + 2 * 8;
	guest->s->gpr[CPU_RBX] = 0;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 9);
}

static void translations_stay_until_told(void **state)
{
	struct guest_cpu *guest = *state;

	/* The entry changes behind the CPU's back: the second load may use what is cached. */
	guest_cpu_asm(guest, LOAD, 0x48, 0x89, 0x1a, /* mov [rdx], rbx */ LOAD, INVLPG, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = TARGET;
	guest->s->gpr[CPU_RDX] = GUEST_PT + (TARGET >> 12) * 8;
	guest->s->gpr[CPU_RBX] = 0;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 12);
	/* The same by writing CR3, and with a page that is another one then. */
	*guest_cpu_pte(guest, TARGET) = TARGET | P | RW;
	guest->host[TARGET] = 1;
	guest->host[GUEST_DATA] = 2;
	guest_cpu_asm(guest, LOAD, 0x48, 0x89, 0x1a, 0x0f, 0x20, 0xd9, /* mov rcx, cr3 */ 0x0f,
		      0x22, 0xd9, /* mov cr3, rcx */ LOAD, HLT);
	guest->s->gpr[CPU_RBX] = GUEST_DATA | P | RW;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RAX], 2);
}

static void accesses_across_pages(void **state)
{
	struct guest_cpu *guest = *state;

	/* Two pages that are not neighbours. */
	*guest_cpu_pte(guest, TARGET + 0x1000) = (TARGET + 0x5000) | P | RW;
	guest_cpu_asm(guest, STORE, LOAD, HLT);
	for (uint64_t back = 1; back < 8; back++) {
		uint64_t val = 0x0807060504030201 * back, got;

		guest->s->rip = GUEST_CODE;
		guest->s->gpr[CPU_RDI] = TARGET + 0x1000 - back;
		guest->s->gpr[CPU_RAX] = val;
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
		assert_int_equal(guest->s->gpr[CPU_RAX], val);
		memcpy(&got, guest->host + TARGET + 0x1000 - back, back);
		memcpy((char *)&got + back, guest->host + TARGET + 0x5000, 8 - back);
		assert_int_equal(got, val);
	}
}

/* The second page is refused: nothing of the first is written. */
static void half_an_access_is_none(void **state)
{
	struct guest_cpu *guest = *state;

	*guest_cpu_pte(guest, TARGET + 0x1000) = (TARGET + 0x1000) | P;
	memset(guest->host + TARGET, 0x5a, 0x2000);
	guest_cpu_asm(guest, STORE, HLT);
	guest->s->gpr[CPU_RDI] = TARGET + 0xffd;
	guest->s->gpr[CPU_RAX] = 0;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest->s->cr2, TARGET + 0x1000);
	assert_int_equal(guest_cpu_frame(guest).error, 3);
	for (unsigned int i = 0; i < 0x2000; i++)
		assert_int_equal(guest->host[TARGET + i], 0x5a);
}

/* add [rdi], rax: the fault says "write" though the operand is read first. */
static void updates_fault_as_writes(void **state)
{
	struct guest_cpu *guest = *state;

	for (unsigned int crossing = 0; crossing < 2; crossing++) {
		uint64_t linear = TARGET + 0x1000 - (crossing ? 4 : 0);

		guest_cpu_asm(guest, 0x48, 0x01, 0x07, HLT);
		guest->s->gpr[CPU_RDI] = linear;
		*guest_cpu_pte(guest, TARGET + 0x1000) = 0;
		cpu_state_changed(guest->cpu);
		assert_int_equal(guest_cpu_vector(guest), 14);
		assert_int_equal(guest_cpu_frame(guest).error, 2);
		assert_int_equal(guest->s->cr2, TARGET + 0x1000);
	}
}

static void non_canonical(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = UINT64_C(1) << 47;
	assert_int_equal(guest_cpu_vector(guest), 13);
	assert_int_equal(guest_cpu_frame(guest).error, 0);
	/* Only its end is. */
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = (UINT64_C(1) << 47) - 4;
	*guest_cpu_word(guest, GUEST_PML4 + 255 * 8) = GUEST_PDPT | P | RW;
	*guest_cpu_word(guest, GUEST_PDPT + 511 * 8) = P | RW | 0x80;
	assert_int_equal(guest_cpu_vector(guest), 13);
	/* Even where the tables have nothing for its beginning. */
	*guest_cpu_word(guest, GUEST_PML4 + 255 * 8) = 0;
	cpu_state_changed(guest->cpu);
	guest_cpu_asm(guest, LOAD, HLT);
	assert_int_equal(guest_cpu_vector(guest), 13);
	*guest_cpu_word(guest, GUEST_PML4 + 255 * 8) = GUEST_PDPT | P | RW;
	/* The stack has its own exception: which then finds no stack either. */
	guest_cpu_gate(guest, 12, GUEST_HANDLERS + 12 * 16, 14, 1);
	guest_cpu_asm(guest, 0x50, HLT); /* push rax */
	guest->s->gpr[CPU_RSP] = UINT64_C(1) << 47 | 0x1000;
	assert_int_equal(guest_cpu_vector(guest), 12);
	assert_int_equal(guest_cpu_frame(guest).rsp, UINT64_C(1) << 47 | 0x1000);
}

/* A table where there is no memory: not present, as with KVM. */
static void table_in_a_hole(void **state)
{
	struct guest_cpu *guest = *state;

	*guest_cpu_word(guest, GUEST_PDPT + 2 * 8) = UINT64_C(0x10000000) | P | RW;
	guest_cpu_asm(guest, STORE, HLT);
	guest->s->gpr[CPU_RDI] = 0x80000000;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 2);
}

/* More physical bits than the root has levels: there is no memory. */
static void beyond_the_root(void **state)
{
	const struct cpu_cpuid sizes = {.leaf = 0x80000008, .eax = 52};
	struct guest_cpu *guest = *state;
	const uint64_t gpa = UINT64_C(1) << 50;

	assert_int_equal(cpu_cpuid_set(guest->cpu, &sizes, 1), 0);
	*guest_cpu_pte(guest, TARGET) = gpa | P | RW;
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = TARGET + 8;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_MMIO);
	assert_int_equal(guest->exit.mmio.gpa, gpa + 8);
	/* Of a table: not present. */
	*guest_cpu_word(guest, GUEST_PDPT + 2 * 8) = gpa | P | RW;
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = 0x80000000;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 0);
}

static void translations_to_look_at(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t gpa = 7, before = *guest_cpu_pte(guest, TARGET);
	bool writable = false;

	assert_int_equal(cpu_translate(guest->cpu, TARGET + 5, &gpa, &writable), 0);
	assert_int_equal(gpa, TARGET + 5);
	assert_true(writable);
	assert_int_equal(*guest_cpu_pte(guest, TARGET), before);
	assert_int_equal(cpu_translate(guest->cpu, GUEST_ALIAS + 0x123456, &gpa, &writable), 0);
	assert_int_equal(gpa, 0x123456);
	*guest_cpu_pte(guest, TARGET) = TARGET | P;
	assert_int_equal(cpu_translate(guest->cpu, TARGET, &gpa, &writable), 0);
	assert_false(writable);
	*guest_cpu_pte(guest, TARGET) = 0;
	gpa = 7;
	assert_int_equal(cpu_translate(guest->cpu, TARGET, &gpa, &writable), -ENOENT);
	assert_int_equal(cpu_translate(guest->cpu, UINT64_C(1) << 47, &gpa, &writable), -ENOENT);
	assert_int_equal(gpa, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(faults_by_entry),         GUEST_TEST(faults_by_control_registers),
	    GUEST_TEST(smap_asks_each_time),     GUEST_TEST(fetches),
	    GUEST_TEST(accessed_and_dirty),      GUEST_TEST(large_pages),
	    GUEST_TEST(invlpg_of_a_large_page),  GUEST_TEST(translations_stay_until_told),
	    GUEST_TEST(accesses_across_pages),   GUEST_TEST(half_an_access_is_none),
	    GUEST_TEST(updates_fault_as_writes), GUEST_TEST(non_canonical),
	    GUEST_TEST(table_in_a_hole),         GUEST_TEST(beyond_the_root),
	    GUEST_TEST(translations_to_look_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
