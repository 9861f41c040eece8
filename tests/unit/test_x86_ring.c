/* SPDX-License-Identifier: MIT */
/*
 * test_x86_ring.c - a CPU whose vCPU has a dirty ring, and what it does when that is full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest_cpu.h"

#define HLT 0xf4
#define LOAD 0x48, 0x8b, 0x07  /* mov rax, [rdi] */
#define STORE 0x48, 0x89, 0x07 /* mov [rdi], rax */
#define PAGE UINT64_C(0x1000)
#define RING_BYTES (256 * sizeof(struct mslot_ring_entry))

static int setup_ring(void **state)
{
	static struct guest_cpu guest;

	guest_cpu_init(&guest, RING_BYTES);
	*state = &guest;
	return 0;
}

static void full_ring(void **state)
{
	struct guest_cpu *guest = *state;
	struct mslot_ring_page pages[512];
	const uint64_t gpa = 0x1000000, npages = 400;
	uint64_t total = 0;
	int n;

	guest_cpu_slot(guest, 2, gpa, npages * PAGE, GUEST_RAM_BYTES, MSLOT_LOG_DIRTY);
	/* mov [rdi], rax; add rdi, 4096; dec rcx; jnz; hlt */
	guest_cpu_asm(guest, STORE, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf1,
		      HLT);
	guest->s->gpr[CPU_RDI] = gpa;
	guest->s->gpr[CPU_RCX] = npages;
	while (guest_cpu_run(guest) == CPU_EXIT_RING_FULL) {
		assert_int_equal(guest->s->rip, GUEST_CODE);
		n = mslot_vcpu_collect(guest->vcpu, pages, 512);
		assert_true(n > 0);
		total += (uint64_t)n;
		assert_int_equal(mslot_ring_reset(guest->map), n);
		assert_true(total <= npages);
	}
	assert_int_equal(guest->exit.reason, CPU_EXIT_HLT);
	assert_true(total > 0);
	n = mslot_vcpu_collect(guest->vcpu, pages, 512);
	assert_int_equal(total + (uint64_t)n, npages);
}

/* Fill the vCPU's ring until its next entry would be one too many; its pages are those of slot 2.
 */
static void fill_ring(struct guest_cpu *guest, uint64_t gpa, unsigned int leave_free)
{
	const struct mslot_snapshot *snap;
	struct mslot_ring_page pages[512];
	unsigned int room = 0, n = 0;

	for (; mslot_vcpu_enter(guest->vcpu, &snap) == 0; room++) {
		assert_int_equal(mslot_vcpu_store64(guest->vcpu, gpa + room * PAGE, 1), 0);
		mslot_vcpu_leave(guest->vcpu);
	}
	assert_int_equal(mslot_vcpu_collect(guest->vcpu, pages, 512), room);
	assert_int_equal(mslot_ring_reset(guest->map), room);
	for (; n + leave_free < room; n++) {
		assert_int_equal(mslot_vcpu_enter(guest->vcpu, &snap), 0);
		assert_int_equal(mslot_vcpu_store64(guest->vcpu, gpa + n * PAGE, 1), 0);
		mslot_vcpu_leave(guest->vcpu);
	}
}

static void reset_ring(struct guest_cpu *guest)
{
	struct mslot_ring_page pages[512];
	int n = mslot_vcpu_collect(guest->vcpu, pages, 512);

	assert_true(n >= 0);
	assert_int_equal(mslot_ring_reset(guest->map), n);
}

/*
 * What a port has given is written to two pages: the first takes the ring's last entry, and the
 * second one is being invalidated, so that the CPU would wait but for the ring. It leaves, and has
 * the data still.
 */
static void port_and_full_ring(void **state)
{
	struct guest_cpu *guest = *state;
	const uint64_t gpa = 0x1000000, at = gpa + 400 * PAGE - 2;
	const struct mslot_range range = {(uintptr_t)guest->host + GUEST_RAM_BYTES + 400 * PAGE,
					  PAGE};
	struct mslot_ring_page pages[512];

	guest_cpu_slot(guest, 2, gpa, 402 * PAGE, GUEST_RAM_BYTES, MSLOT_LOG_DIRTY);
	guest_cpu_asm(guest, 0x6d, /* insd */ HLT);
	guest->s->gpr[CPU_RDI] = at;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_IO);
	cpu_complete(guest->cpu, "\x11\x22\x33\x44");
	assert_int_equal(mslot_vcpu_collect(guest->vcpu, pages, 512), 2);
	assert_int_equal(mslot_ring_reset(guest->map), 2);
	fill_ring(guest, gpa, 1);
	assert_int_equal(mslot_invalidate_begin(guest->mmu, range), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_RING_FULL);
	mslot_invalidate_end(guest->mmu, range);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	assert_true(mslot_vcpu_collect(guest->vcpu, pages, 512) > 0);
	assert_true(mslot_ring_reset(guest->map) > 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_memory_equal(guest->host + GUEST_RAM_BYTES + 400 * PAGE - 2, "\x11\x22\x33\x44", 4);
}

/* What an exit left is completed although the ring is as good as full, and nothing more. */
static void left_overs_and_full_ring(void **state)
{
	static const uint8_t answer[] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
	struct guest_cpu *guest = *state;
	const uint64_t gpa = 0x1000000;
	const struct {
		uint8_t code[4];
		unsigned int len; /* of the instruction */
		enum cpu_exit_reason exit;
		uint64_t rdi, rax, stored;
	} row[] = {
	    {{0xed}, 1, CPU_EXIT_IO, 0, 0x44332211, 0},                /* in */
	    {{0xef}, 1, CPU_EXIT_IO, 0, 0, 0},                         /* out */
	    {{0x6d}, 1, CPU_EXIT_IO, gpa + 401 * PAGE, 0, 0x44332211}, /* insd */
	    {{LOAD}, 3, CPU_EXIT_MMIO, UINT64_C(0x30000000), UINT64_C(0x8877665544332211), 0},
	};

	guest_cpu_slot(guest, 2, gpa, 402 * PAGE, GUEST_RAM_BYTES, MSLOT_LOG_DIRTY);
	for (size_t i = 0; i < 4 * sizeof(row) / sizeof(row[0]); i++) {
		const uint64_t budget = i % 2 ? 100 : 0;
		uint8_t code[8];
		uint64_t stored;

		memcpy(code, row[i / 4].code, row[i / 4].len);
		code[row[i / 4].len] = HLT;
		memset(guest->host + GUEST_RAM_BYTES + 401 * PAGE, 0, 8);
		reset_ring(guest);
		guest_cpu_code(guest, code, row[i / 4].len + 1);
		guest->s->gpr[CPU_RDI] = row[i / 4].rdi;
		guest->s->gpr[CPU_RAX] = 0;
		assert_int_equal(guest_cpu_run(guest), row[i / 4].exit);
		reset_ring(guest);
		fill_ring(guest, gpa, 0);
		if (row[i / 4].code[0] != 0xef)
			cpu_complete(guest->cpu, answer);
		/* Somebody may have asked for it to be looked at besides. */
		if (i & 2)
			cpu_attend(guest->cpu, false);
		assert_int_equal(guest_cpu_run_for(guest, budget),
				 budget ? CPU_EXIT_RING_FULL : CPU_EXIT_BUDGET);
		assert_int_equal(guest->s->rip, GUEST_CODE + row[i / 4].len);
		assert_int_equal(guest->s->gpr[CPU_RAX], row[i / 4].rax);
		memcpy(&stored, guest->host + GUEST_RAM_BYTES + 401 * PAGE, 8);
		assert_int_equal(stored, row[i / 4].stored);
		/* Nothing is left. */
		assert_int_equal(guest_cpu_run_for(guest, 0), CPU_EXIT_RING_FULL);
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_RING_FULL);
		assert_int_equal(guest->s->rip, GUEST_CODE + row[i / 4].len);
	}
}

int main(void)
{
#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup_ring, guest_cpu_teardown)
	const struct CMUnitTest tests[] = {
	    RING_TEST(full_ring),
	    RING_TEST(port_and_full_ring),
	    RING_TEST(left_overs_and_full_ring),
	};

	return cmocka_run_group_tests_name("x86_ring", tests, NULL, NULL);
}
