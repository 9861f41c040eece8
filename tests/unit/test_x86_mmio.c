/* SPDX-License-Identifier: MIT */
/*
 * test_x86_mmio.c - what a CPU cannot do alone: accesses without memory behind them, ports; what it
 * exits with, where RIP is, and how the next run completes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest_cpu.h"

#define DEVICE UINT64_C(0x10000000)
#define P_RW UINT64_C(3)
#define HLT 0xf4
#define LOAD 0x48, 0x8b, 0x07  /* mov rax, [rdi] */
#define STORE 0x48, 0x89, 0x07 /* mov [rdi], rax */

static int setup(void **state)
{
	static struct guest_cpu guest;

	guest_cpu_init(&guest, 0);
	guest.s->gpr[CPU_RDI] = DEVICE + 8;
	*state = &guest;
	return 0;
}

static void expect_mmio(struct guest_cpu *guest, bool write, uint64_t gpa, unsigned int size)
{
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_MMIO);
	assert_int_equal(guest->exit.mmio.write, write);
	assert_int_equal(guest->exit.mmio.gpa, gpa);
	assert_int_equal(guest->exit.mmio.size_bytes, size);
}

static void expect_write(struct guest_cpu *guest, uint64_t gpa, unsigned int size, uint64_t val)
{
	expect_mmio(guest, true, gpa, size);
	assert_memory_equal(guest->exit.mmio.data, &val, size);
}

static void expect_read(struct guest_cpu *guest, uint64_t gpa, unsigned int size, uint64_t val)
{
	expect_mmio(guest, false, gpa, size);
	cpu_complete(guest->cpu, &val);
}

static void expect_hlt(struct guest_cpu *guest)
{
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
}

/* ---- Reads and writes ------------------------------------------------------ */

static void read_completes_at_the_next_run(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, LOAD, 0x48, 0xff, 0xc3, /* inc rbx */ HLT);
	guest->s->gpr[CPU_RAX] = 77;
	expect_read(guest, DEVICE + 8, 8, 0x1122334455667788);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	assert_int_equal(guest->s->gpr[CPU_RAX], 77);
	/* A budget of nothing does what was left, and no more. */
	assert_int_equal(guest_cpu_run_for(guest, 0), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->rip, GUEST_CODE + 3);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0x1122334455667788);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RBX], 1);
}

static void read_without_data_is_zero(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RAX] = 77;
	expect_mmio(guest, false, DEVICE + 8, 8);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0);
}

static void read_is_forgotten_elsewhere(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, LOAD, LOAD, HLT);
	expect_read(guest, DEVICE + 8, 8, 5);
	guest->s->rip = GUEST_CODE + 3;
	cpu_state_changed(guest->cpu);
	expect_read(guest, DEVICE + 8, 8, 6);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RAX], 6);
}

/* The same instruction again, in a loop: it asks each time. */
static void reads_are_not_repeated_twice(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, LOAD, 0x48, 0x01, 0xc3, /* add rbx, rax */ 0xeb, 0xf8 /* jmp -8 */);
	for (uint64_t i = 1; i <= 4; i++)
		expect_read(guest, DEVICE + 8, 8, i);
	assert_int_equal(guest->s->gpr[CPU_RBX], 1 + 2 + 3);
}

static void write_has_retired(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0x89, 0x07, /* mov [rdi], eax */ 0x48, 0xff, 0xc3, HLT);
	guest->s->gpr[CPU_RAX] = 0xaabbccdd;
	expect_write(guest, DEVICE + 8, 4, 0xaabbccdd);
	assert_int_equal(guest->s->rip, GUEST_CODE + 2);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RBX], 1);
}

static void update_reads_then_writes(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0x01, 0x07, /* add [rdi], eax */ HLT);
	guest->s->gpr[CPU_RAX] = 3;
	expect_read(guest, DEVICE + 8, 4, 4);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	expect_write(guest, DEVICE + 8, 4, 7);
	assert_int_equal(guest->s->rip, GUEST_CODE + 2);
	expect_hlt(guest);
	/* xchg, whose register changes too. */
	guest_cpu_asm(guest, 0x87, 0x07, HLT);
	expect_read(guest, DEVICE + 8, 4, 9);
	expect_write(guest, DEVICE + 8, 4, 3);
	assert_int_equal(guest->s->gpr[CPU_RAX], 9);
}

static void sixteen_bytes_are_two_parts(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint64_t want[2] = {11, 22};

	guest_cpu_asm(guest, 0xf3, 0x0f, 0x6f, 0x07, /* movdqu xmm0, [rdi] */ 0xf3, 0x0f, 0x7f,
		      0x47, 0x20, /* movdqu [rdi + 0x20], xmm0 */ HLT);
	expect_read(guest, DEVICE + 8, 8, 11);
	expect_read(guest, DEVICE + 16, 8, 22);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	expect_write(guest, DEVICE + 0x28, 8, 11);
	assert_memory_equal(guest->s->xmm[0].bytes, want, 16);
	assert_int_equal(guest->s->rip, GUEST_CODE + 9);
	expect_write(guest, DEVICE + 0x30, 8, 22);
	expect_hlt(guest);
}

/* Half memory, half device. */
static void across_the_end_of_memory(void **state)
{
	struct guest_cpu *guest = *state;
	const uint64_t end = GUEST_RAM_BYTES;
	uint8_t *last = guest->host + end - 3;

	memcpy(last, "\x01\x02\x03", 3);
	guest->host[end] = 0x77; /* which no slot shows */
	guest_cpu_asm(guest, LOAD, STORE, HLT);
	guest->s->gpr[CPU_RDI] = end - 3;
	expect_read(guest, end, 5, 0x0807060504);
	expect_mmio(guest, true, end, 5);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0x0807060504030201);
	assert_memory_equal(guest->exit.mmio.data, "\x04\x05\x06\x07\x08", 5);
	assert_memory_equal(last, "\x01\x02\x03", 3);
	assert_int_equal(guest->host[end], 0x77);
	expect_hlt(guest);
}

static void read_only_slot(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_slot(guest, 2, GUEST_RAM_BYTES, 0x1000, GUEST_RAM_BYTES, MSLOT_READONLY);
	*guest_cpu_word(guest, GUEST_RAM_BYTES + 8) = 40;
	guest_cpu_asm(guest, LOAD, STORE, 0x48, 0x01, 0x07, /* add [rdi], rax */ HLT);
	guest->s->gpr[CPU_RDI] = GUEST_RAM_BYTES + 8;
	expect_write(guest, GUEST_RAM_BYTES + 8, 8, 40);
	assert_int_equal(guest->s->rip, GUEST_CODE + 6);
	/* It reads memory, and gives the sum away. */
	expect_write(guest, GUEST_RAM_BYTES + 8, 8, 80);
	expect_hlt(guest);
	assert_int_equal(*guest_cpu_word(guest, GUEST_RAM_BYTES + 8), 40);
}

/* Each iteration by itself; registers are right at each exit. */
static void strings(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xf3, 0xa5, /* rep movsd */ HLT);
	guest->s->gpr[CPU_RSI] = DEVICE;
	guest->s->gpr[CPU_RDI] = DEVICE + 0x1000;
	guest->s->gpr[CPU_RCX] = 3;
	for (unsigned int i = 0; i < 3; i++) {
		expect_read(guest, DEVICE + i * 4, 4, 100 + i);
		assert_int_equal(guest->s->gpr[CPU_RCX], 3 - i);
		assert_int_equal(guest->s->rip, GUEST_CODE);
		expect_write(guest, DEVICE + 0x1000 + i * 4, 4, 100 + i);
		assert_int_equal(guest->s->gpr[CPU_RCX], 2 - i);
	}
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RSI], DEVICE + 12);
	/* From memory into the hole behind it. */
	guest_cpu_asm(guest, 0xf3, 0x48, 0xab, /* rep stosq */ HLT);
	guest->s->gpr[CPU_RAX] = 0x33;
	guest->s->gpr[CPU_RDI] = GUEST_RAM_BYTES - 16;
	guest->s->gpr[CPU_RCX] = 3;
	expect_write(guest, GUEST_RAM_BYTES, 8, 0x33);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0);
	assert_int_equal(*guest_cpu_word(guest, GUEST_RAM_BYTES - 8), 0x33);
	assert_int_equal(*guest_cpu_word(guest, GUEST_RAM_BYTES - 16), 0x33);
	expect_hlt(guest);
}

/* A write that is followed by a fault in the same instruction is none. */
static void nothing_is_given_away_by_faults(void **state)
{
	struct guest_cpu *guest = *state;

	/* call [rdi]: reads the device, then pushes to a page that is not there. */
	guest_cpu_asm(guest, 0xff, 0x17);
	*guest_cpu_word(guest, GUEST_PT + (0x2f000 >> 12) * 8) = 0;
	guest_cpu_gate(guest, 14, GUEST_HANDLERS + 14 * 16, 14, 1);
	cpu_state_changed(guest->cpu);
	/* The handler reads the same register of the device. */
	memcpy(guest->host + GUEST_HANDLERS + 14 * 16, (const uint8_t[]){LOAD, HLT}, 4);
	expect_read(guest, DEVICE + 8, 8, GUEST_CODE + 0x100);
	expect_read(guest, DEVICE + 8, 8, 5);
	assert_int_equal(guest->s->rip, GUEST_HANDLERS + 14 * 16);
	assert_int_equal(*guest_cpu_word(guest, guest->s->gpr[CPU_RSP] + 8), GUEST_CODE);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RAX], 5);
}

static void expect_step(struct guest_cpu *guest, uint64_t rip)
{
	assert_int_equal(guest_cpu_vector(guest), 1);
	assert_int_equal(guest_cpu_frame(guest).rip, rip);
	assert_true(guest->s->dr[6] & 1u << 14);
}

/* The single step comes when the device has been given all, or has answered. */
static void single_step_of_accesses(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t stores[] = {0xf3, 0x0f, 0x7f, 0x07}; /* movdqu [rdi], xmm0 */

	guest->s->rflags |= UINT64_C(1) << 8;
	guest_cpu_code(guest, stores, sizeof(stores));
	expect_mmio(guest, true, DEVICE + 8, 8);
	expect_mmio(guest, true, DEVICE + 16, 8);
	expect_step(guest, GUEST_CODE + 4);
	guest->s->rflags |= UINT64_C(1) << 8;
	guest_cpu_asm(guest, LOAD, HLT);
	expect_read(guest, DEVICE + 8, 8, 5);
	expect_step(guest, GUEST_CODE + 3);
	guest->s->rflags |= UINT64_C(1) << 8;
	guest_cpu_asm(guest, 0xec, HLT); /* in al, dx */
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_IO);
	expect_step(guest, GUEST_CODE + 1);
	/* Whoever goes elsewhere meanwhile has no step to come. */
	guest->s->rflags |= UINT64_C(1) << 8;
	guest_cpu_asm(guest, STORE, HLT);
	expect_mmio(guest, true, DEVICE + 8, 8);
	guest->s->rflags = 2;
	guest->s->rip = GUEST_CODE + 3 + 1;
	guest->host[GUEST_CODE + 4] = HLT;
	expect_hlt(guest);
	assert_int_equal(guest->s->rip, GUEST_CODE + 5);
}

static void code_in_a_device(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xff, 0xe7); /* jmp rdi */
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "instruction fetch from MMIO");
	assert_int_equal(guest->exit.internal.rip, DEVICE + 8);
	assert_int_equal(guest->exit.internal.nbytes, 0);
}

/* ---- Ports ----------------------------------------------------------------- */

static void expect_io(struct guest_cpu *guest, bool in, uint16_t port, unsigned int size,
		      uint32_t count)
{
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_IO);
	assert_int_equal(guest->exit.io.in, in);
	assert_int_equal(guest->exit.io.port, port);
	assert_int_equal(guest->exit.io.size_bytes, size);
	assert_int_equal(guest->exit.io.count, count);
}

static void in_of_each_size(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xec, /* in al, dx */ 0x66, 0xed,
		      /* in ax, dx */ 0xed, /* in eax, dx */
		      0xe4, 0x70, /* in al, 0x70 */ HLT);
	guest->s->gpr[CPU_RDX] = 0xdead03f8;
	guest->s->gpr[CPU_RAX] = UINT64_MAX;
	expect_io(guest, true, 0x3f8, 1, 1);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	cpu_complete(guest->cpu, "\x12");
	expect_io(guest, true, 0x3f8, 2, 1);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0xffffffffffffff12);
	cpu_complete(guest->cpu, "\x34\x56");
	expect_io(guest, true, 0x3f8, 4, 1);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0xffffffffffff5634);
	cpu_complete(guest->cpu, "\x78\x9a\xbc\xde");
	expect_io(guest, true, 0x70, 1, 1);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0xdebc9a78);
	/* Without data. */
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0xdebc9a00);
}

static void out_and_rip(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xee, /* out dx, al */ 0xe7, 0x80, /* out 0x80, eax */ HLT);
	guest->s->gpr[CPU_RDX] = 0x3f8;
	guest->s->gpr[CPU_RAX] = 0x41424344;
	expect_io(guest, false, 0x3f8, 1, 1);
	assert_int_equal(guest->exit.io.data[0], 0x44);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	assert_int_equal(guest_cpu_run_for(guest, 0), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->rip, GUEST_CODE + 1);
	expect_io(guest, false, 0x80, 4, 1);
	assert_memory_equal(guest->exit.io.data, "\x44\x43\x42\x41", 4);
	/* Whoever changes RIP meanwhile is obeyed. */
	guest->s->rip = GUEST_CODE;
	cpu_state_changed(guest->cpu);
	expect_io(guest, false, 0x3f8, 1, 1);
	assert_int_equal(guest->s->rip, GUEST_CODE);
}

static void strings_of_ports(void **state)
{
	struct guest_cpu *guest = *state;
	uint8_t data[1024];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	guest_cpu_asm(guest, 0xf3, 0x66, 0x6d, /* rep insw */ HLT);
	guest->s->gpr[CPU_RDX] = 0x1f0;
	guest->s->gpr[CPU_RDI] = GUEST_DATA + 0xff0;
	guest->s->gpr[CPU_RCX] = 20;
	expect_io(guest, true, 0x1f0, 2, 8);
	cpu_complete(guest->cpu, data);
	expect_io(guest, true, 0x1f0, 2, 12);
	assert_int_equal(guest->s->gpr[CPU_RCX], 12);
	assert_int_equal(guest->s->gpr[CPU_RDI], GUEST_DATA + 0x1000);
	cpu_complete(guest->cpu, data + 16);
	expect_hlt(guest);
	assert_memory_equal(guest->host + GUEST_DATA + 0xff0, data, 40);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0);

	memcpy(guest->host + GUEST_DATA + 0x2000, data, sizeof(data));
	guest_cpu_asm(guest, 0xf3, 0x6e, /* rep outsb */ HLT);
	guest->s->gpr[CPU_RSI] = GUEST_DATA + 0x2000;
	guest->s->gpr[CPU_RCX] = 1030;
	expect_io(guest, false, 0x1f0, 1, 1024);
	assert_memory_equal(guest->exit.io.data, data, 1024);
	assert_int_equal(guest->s->gpr[CPU_RCX], 1030);
	expect_io(guest, false, 0x1f0, 1, 6);
	expect_hlt(guest);
	assert_int_equal(guest->s->gpr[CPU_RSI], GUEST_DATA + 0x2000 + 1030);
	/* None at all. */
	guest_cpu_asm(guest, 0xf3, 0x6e, HLT);
	expect_hlt(guest);
}

/* The page fault comes before the device is asked. */
static void strings_of_ports_fault_first(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0x6c, /* insb */ HLT);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	*guest_cpu_pte(guest, GUEST_DATA) = GUEST_DATA | 1;
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest_cpu_frame(guest).error, 3);
	/* Into a device: the item is then written there. */
	guest_cpu_asm(guest, 0xf3, 0x6c, HLT);
	guest->s->gpr[CPU_RDI] = DEVICE;
	guest->s->gpr[CPU_RDX] = 0;
	guest->s->gpr[CPU_RCX] = 2;
	for (unsigned int i = 0; i < 2; i++) {
		expect_io(guest, true, 0, 1, 1);
		cpu_complete(guest->cpu, "\x5c");
		expect_write(guest, DEVICE + i, 1, 0x5c);
	}
	expect_hlt(guest);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, guest_cpu_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(read_completes_at_the_next_run),
	    TEST(read_without_data_is_zero),
	    TEST(read_is_forgotten_elsewhere),
	    TEST(reads_are_not_repeated_twice),
	    TEST(write_has_retired),
	    TEST(update_reads_then_writes),
	    TEST(sixteen_bytes_are_two_parts),
	    TEST(across_the_end_of_memory),
	    TEST(read_only_slot),
	    TEST(strings),
	    TEST(nothing_is_given_away_by_faults),
	    TEST(single_step_of_accesses),
	    TEST(code_in_a_device),
	    TEST(in_of_each_size),
	    TEST(out_and_rip),
	    TEST(strings_of_ports),
	    TEST(strings_of_ports_fault_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
