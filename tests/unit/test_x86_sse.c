/* SPDX-License-Identifier: MIT */
/*
 * test_x86_sse.c - of SSE and x87, what regress/cpu_diff cannot see from user mode: the control
 * registers that forbid them, pending exceptions, devices; and that each row of the tables is
 * found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest_cpu.h"
#include "sse.h"

#define HLT 0xf4
#define ADDPS 0x0f, 0x58, 0xc1      /* addps xmm0, xmm1 */
#define MOVD 0x66, 0x0f, 0x6e, 0xc0 /* movd xmm0, eax */
#define DIVSD 0xf2, 0x0f, 0x5e, 0xc1
#define FWAIT 0x9b
#define FNINIT 0xdb, 0xe3
#define FXRSTOR 0x0f, 0xae, 0x0f /* fxrstor [rdi] */
#define FXSAVE 0x0f, 0xae, 0x06  /* fxsave [rsi] */
#define EMMS 0x0f, 0x77

#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define DEVICE UINT64_C(0x10000000)

static int setup(void **state)
{
	static struct guest_cpu guest;

	guest_cpu_init(&guest, 0);
	guest.s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	cpu_state_changed(guest.cpu);
	guest.s->gpr[CPU_RDI] = GUEST_DATA;
	guest.s->gpr[CPU_RSI] = GUEST_DATA + 0x400;
	guest.s->mxcsr = 0x1f80;
	guest.s->fcw = 0x37f;
	*state = &guest;
	return 0;
}

static void set_cr(struct guest_cpu *guest, uint64_t cr0, uint64_t cr4_without)
{
	guest->s->cr0 |= cr0;
	guest->s->cr4 &= ~cr4_without;
	cpu_state_changed(guest->cpu);
}

static void task_switched(void **state)
{
	struct guest_cpu *guest = *state;

	set_cr(guest, CR0_TS, 0);
	guest_cpu_asm(guest, ADDPS, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
	guest_cpu_asm(guest, MOVD, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
	guest_cpu_asm(guest, FNINIT, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
	guest_cpu_asm(guest, FXSAVE, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
}

static void emulated(void **state)
{
	struct guest_cpu *guest = *state;

	set_cr(guest, CR0_EM, 0);
	guest_cpu_asm(guest, ADDPS, HLT);
	assert_int_equal(guest_cpu_vector(guest), 6);
	guest_cpu_asm(guest, EMMS, HLT);
	assert_int_equal(guest_cpu_vector(guest), 6);
	/* Of x87, emulation is #NM. */
	guest_cpu_asm(guest, FNINIT, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
}

static void not_enabled(void **state)
{
	struct guest_cpu *guest = *state;

	set_cr(guest, 0, CR4_OSFXSR);
	guest_cpu_asm(guest, ADDPS, HLT);
	assert_int_equal(guest_cpu_vector(guest), 6);
	guest_cpu_asm(guest, MOVD, HLT);
	assert_int_equal(guest_cpu_vector(guest), 6);
	/* FXSAVE is there before SSE is. */
	guest_cpu_asm(guest, FXSAVE, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
}

static void divide(struct guest_cpu *guest)
{
	const double one = 1;

	memcpy(&guest->s->xmm[0], &one, 8);
	memset(&guest->s->xmm[1], 0, 16);
	guest->s->mxcsr = 0x1d80; /* division by zero is not masked */
	guest_cpu_asm(guest, DIVSD, HLT);
}

static void unmasked_exception(void **state)
{
	struct guest_cpu *guest = *state;
	const double one = 1;

	divide(guest);
	assert_int_equal(guest_cpu_vector(guest), 19);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
	assert_int_equal(guest->s->mxcsr, 0x1d84);
	assert_memory_equal(&guest->s->xmm[0], &one, 8);
}

static void unmasked_without_a_handler(void **state)
{
	struct guest_cpu *guest = *state;

	set_cr(guest, 0, CR4_OSXMMEXCPT);
	divide(guest);
	assert_int_equal(guest_cpu_vector(guest), 6);
}

/* An image whose x87 has an exception that is not masked; it strikes what waits. */
static void pending_exception(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *image = guest_cpu_word(guest, GUEST_DATA);

	memset(image, 0, 512);
	image[0] = 0x00010000; /* invalid operation; nothing masked */
	image[3] = 0x1f80;
	guest_cpu_asm(guest, FXRSTOR, FWAIT, HLT);
	assert_int_equal(guest_cpu_vector(guest), 16);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 3);
	guest_cpu_asm(guest, FXRSTOR, EMMS, HLT);
	assert_int_equal(guest_cpu_vector(guest), 16);
	guest_cpu_asm(guest, FXRSTOR, FNINIT, FWAIT, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
}

static void waiting_while_switched(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->cr0 &= ~(uint64_t)CR0_MP;
	set_cr(guest, CR0_TS, 0);
	guest_cpu_asm(guest, FWAIT, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	set_cr(guest, CR0_MP, 0);
	guest_cpu_asm(guest, FWAIT, HLT);
	assert_int_equal(guest_cpu_vector(guest), 7);
}

static void state_in_a_device(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->gpr[CPU_RSI] = DEVICE;
	guest_cpu_asm(guest, FXSAVE, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_int_equal(guest->s->rip, GUEST_CODE);
}

/* The host's own MXCSR is what it was, whatever the guest did. */
static void mxcsr_of_the_host(void **state)
{
	struct guest_cpu *guest = *state;
	uint32_t before, after;

	__asm__ volatile("stmxcsr %0" : "=m"(before));
	guest->s->mxcsr = 0xffff;
	guest_cpu_asm(guest, ADDPS, DIVSD, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	divide(guest);
	guest->s->mxcsr = 0x6000;
	assert_int_equal(guest_cpu_vector(guest), 19);
	__asm__ volatile("stmxcsr %0" : "=m"(after));
	assert_int_equal(before & ~0x3fu, after & ~0x3fu);
}

static uint8_t modrm_of(const struct sse_row *row)
{
	uint8_t group = row->group == SSE_NO_GROUP ? 0 : row->group;

	if (row->flags & SSE_MEM)
		return (uint8_t)(group << 3);
	return (uint8_t)(0xc0 | group << 3 | (row->rm == SSE_NO_GROUP ? 0 : row->rm));
}

static void every_row_is_found(void **state)
{
	const struct sse_table *table;
	unsigned int rows = 0;

	(void)state;
	for (unsigned int i = 0; (table = sse_table(i)); i++) {
		for (size_t j = 0; j < table->n; j++) {
			const struct sse_row *row = &table->rows[j];

			if (!sse_feature_there((enum sse_feature)row->feature))
				continue;
			assert_ptr_equal(sse_lookup((enum sse_map)row->map, row->opcode,
						    row->prefix, modrm_of(row)),
					 row);
			rows++;
		}
	}
	assert_true(rows > 150);
	assert_null(sse_lookup(SSE_MAP_0F, 0x6f, 0, 0xc0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, guest_cpu_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(task_switched),
	    TEST(emulated),
	    TEST(not_enabled),
	    TEST(unmasked_exception),
	    TEST(unmasked_without_a_handler),
	    TEST(pending_exception),
	    TEST(waiting_while_switched),
	    TEST(state_in_a_device),
	    TEST(mxcsr_of_the_host),
	    cmocka_unit_test(every_row_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
