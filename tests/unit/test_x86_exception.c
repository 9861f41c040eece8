/* SPDX-License-Identifier: MIT */
/*
 * test_x86_exception.c - exceptions of a CPU: frames, gates, stacks of the TSS, flags, returns, and
 * what becomes of an exception within an exception.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guest_cpu.h"

#define HLT 0xf4
#define UD2 0x0f, 0x0b
#define LOAD 0x48, 0x8b, 0x07 /* mov rax, [rdi] */
#define IF (UINT64_C(1) << 9)
#define TF (UINT64_C(1) << 8)
#define DF (UINT64_C(1) << 10)
#define RF (UINT64_C(1) << 16)
#define HANDLER(vector) (GUEST_HANDLERS + (vector)*16u)

static void frame_of_a_fault(void **state)
{
	struct guest_cpu *guest = *state;
	struct guest_frame frame;

	guest_cpu_asm(guest, 0x90, UD2, HLT);
	guest->s->gpr[CPU_RSP] = GUEST_STACK - 8 - 3;
	guest->s->rflags |= IF | DF;
	assert_int_equal(guest_cpu_vector(guest), 6);
	frame = guest_cpu_frame(guest);
	assert_int_equal(frame.rip, GUEST_CODE + 1);
	assert_int_equal(frame.cs, GUEST_CS);
	assert_int_equal(frame.rflags, 2 | IF | DF | RF);
	assert_int_equal(frame.rsp, GUEST_STACK - 8 - 3);
	assert_int_equal(frame.ss, GUEST_DS);
	/* Aligned, without an error code. */
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK - 16 - 40);
	assert_int_equal(guest->s->rflags, 2 | DF);
	assert_int_equal(guest->s->seg[CPU_CS].selector, GUEST_CS);
}

static void error_codes_are_pushed(void **state)
{
	struct guest_cpu *guest = *state;

	/* mov ds, ax of a selector beyond the GDT */
	guest_cpu_asm(guest, 0x8e, 0xd8);
	guest->s->gpr[CPU_RAX] = 0x123;
	assert_int_equal(guest_cpu_vector(guest), 13);
	assert_int_equal(guest_cpu_frame(guest).error, 0x120);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK - 48);
	/* One that is not present. */
	guest_cpu_asm(guest, 0x8e, 0xd8);
	guest->s->gpr[CPU_RAX] = 7 * 8;
	assert_int_equal(guest_cpu_vector(guest), 11);
	assert_int_equal(guest_cpu_frame(guest).error, 7 * 8);
	guest_cpu_asm(guest, 0x8e, 0xd0); /* mov ss, ax */
	assert_int_equal(guest_cpu_vector(guest), 12);
	assert_int_equal(guest_cpu_frame(guest).error, 7 * 8);
	/* Division. */
	guest_cpu_asm(guest, 0x48, 0xf7, 0xf1); /* div rcx */
	guest->s->gpr[CPU_RCX] = 0;
	assert_int_equal(guest_cpu_vector(guest), 0);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
}

static void traps_push_what_is_behind(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xcc); /* int3 */
	assert_int_equal(guest_cpu_vector(guest), 3);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 1);
	assert_int_equal(guest_cpu_frame(guest).rflags, 2);
	guest_cpu_asm(guest, 0xcd, 0x85); /* int 0x85 */
	assert_int_equal(guest_cpu_vector(guest), 0x85);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 2);
	/* With a trap gate interrupts stay as they are. */
	guest_cpu_gate(guest, 0x85, HANDLER(0x85), 15, 0);
	guest_cpu_asm(guest, 0xcd, 0x85);
	guest->s->rflags |= IF;
	assert_int_equal(guest_cpu_vector(guest), 0x85);
	assert_true(guest->s->rflags & IF);
}

/* INT n has a vector, and nothing else of its exception: CR2, a part in double faults. */
static void asked_for_is_benign(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t vectors[] = {8, 13, 14};

	guest->s->cr2 = 0x1234;
	guest_cpu_asm(guest, 0xcd, 14);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest->s->cr2, 0x1234);
	for (unsigned int i = 0; i < sizeof(vectors); i++) {
		guest->host[GUEST_IDT + vectors[i] * 16 + 5] &= 0x7f;
		guest_cpu_asm(guest, 0xcd, vectors[i]);
		assert_int_equal(guest_cpu_vector(guest), 11);
		assert_int_equal(guest_cpu_frame(guest).error, vectors[i] * 8 + 2);
	}
}

static void stacks_of_the_tss(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_gate(guest, 6, HANDLER(6), 14, 1);
	guest_cpu_asm(guest, UD2);
	assert_int_equal(guest_cpu_vector(guest), 6);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_IST - 40);
	assert_int_equal(guest_cpu_frame(guest).rsp, GUEST_STACK);
	assert_int_equal(guest->s->seg[CPU_SS].selector, GUEST_DS);
	/* A stack that the TSS does not reach to; that is #TS, and here on this stack. */
	guest->s->tr.limit = 36 + 6;
	guest_cpu_asm(guest, UD2);
	assert_int_equal(guest_cpu_vector(guest), 10);
	assert_int_equal(guest_cpu_frame(guest).error, GUEST_TR | 1);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
}

static void return_from_a_handler(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t handler[] = {
	    0x48, 0x83, 0x04, 0x24, 0x02, /* add qword [rsp], 2 */
	    0x48, 0xcf,                   /* iretq */
	};

	memcpy(guest->host + HANDLER(6), handler, sizeof(handler));
	guest_cpu_asm(guest, UD2, 0x48, 0xff, 0xc3, /* inc rbx */ HLT);
	guest->s->gpr[CPU_RSP] = GUEST_STACK - 5;
	guest->s->rflags |= IF;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->rip, GUEST_CODE + 6);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK - 5);
	assert_int_equal(guest->s->gpr[CPU_RBX], 1);
	assert_true(guest->s->rflags & IF);
}

static void returns_that_leave(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t *frame = guest_cpu_word(guest, GUEST_STACK - 40);

	frame[0] = GUEST_CODE;
	frame[1] = GUEST_USER_CS;
	guest_cpu_asm(guest, 0x48, 0xcf);
	guest->s->gpr[CPU_RSP] = GUEST_STACK - 40;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "user mode");
	assert_int_equal(guest->s->rip, GUEST_CODE);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK - 40);
	frame[1] = 6 * 8; /* code of 32 bits */
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "compatibility mode");
	frame[1] = GUEST_CS;
	frame[0] = UINT64_C(1) << 50;
	assert_int_equal(guest_cpu_vector(guest), 13);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
}

/* ---- Of two ----------------------------------------------------------------- */

static void page_fault_of_a_benign_one(void **state)
{
	struct guest_cpu *guest = *state;

	/* #UD finds no stack: then it is that page fault, with a stack of its own. */
	guest_cpu_gate(guest, 14, HANDLER(14), 14, 1);
	*guest_cpu_pte(guest, GUEST_STACK - 0x1000) = 0;
	guest_cpu_asm(guest, UD2);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest->s->cr2, GUEST_STACK - 40);
	assert_int_equal(guest_cpu_frame(guest).error, 2);
}

static void double_faults(void **state)
{
	struct guest_cpu *guest = *state;

	/* A page fault whose gate is none. */
	guest_cpu_gate(guest, 14, HANDLER(14), 5, 0);
	guest_cpu_asm(guest, LOAD);
	guest->s->gpr[CPU_RDI] = 0x50000;
	*guest_cpu_pte(guest, 0x50000) = 0;
	assert_int_equal(guest_cpu_vector(guest), 8);
	assert_int_equal(guest_cpu_frame(guest).error, 0);
	assert_int_equal(guest->s->cr2, 0x50000);
	/* A #GP whose gate is not present (#NP). */
	guest_cpu_asm(guest, 0x8e, 0xd8);
	guest->s->gpr[CPU_RAX] = 0x123;
	guest->host[GUEST_IDT + 13 * 16 + 5] &= 0x7f;
	assert_int_equal(guest_cpu_vector(guest), 8);
	/* A page fault within a page fault. */
	guest_cpu_gate(guest, 14, HANDLER(14), 14, 0);
	guest_cpu_gate(guest, 8, HANDLER(8), 14, 1);
	*guest_cpu_pte(guest, GUEST_STACK - 0x1000) = 0;
	cpu_state_changed(guest->cpu);
	guest_cpu_asm(guest, LOAD);
	assert_int_equal(guest_cpu_vector(guest), 8);
	assert_int_equal(guest->s->cr2, GUEST_STACK - 48);
}

static void gate_that_is_refused(void **state)
{
	struct guest_cpu *guest = *state;

	/* A benign one: #GP with the vector, and "external". */
	guest_cpu_gate(guest, 6, HANDLER(6), 5, 0);
	guest_cpu_asm(guest, UD2);
	assert_int_equal(guest_cpu_vector(guest), 13);
	assert_int_equal(guest_cpu_frame(guest).error, 6 * 8 + 3);
	/* Asked for: not "external"; beyond the limit. */
	guest->s->idt.limit = 0x85 * 16 + 14;
	guest_cpu_asm(guest, 0xcd, 0x85);
	assert_int_equal(guest_cpu_vector(guest), 13);
	assert_int_equal(guest_cpu_frame(guest).error, 0x85 * 8 + 2);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
}

static void triple_fault(void **state)
{
	struct guest_cpu *guest = *state;

	guest->s->idt.limit = 0;
	guest_cpu_asm(guest, 0x90, UD2);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_SHUTDOWN);
	assert_int_equal(guest->s->rip, GUEST_CODE + 1);
	/* The guest's tables gone altogether. */
	*guest_cpu_word(guest, GUEST_PML4) = 0;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_SHUTDOWN);
}

static void stack_in_a_device(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, UD2);
	guest->s->gpr[CPU_RSP] = 0x10000000;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	assert_int_equal(guest->s->gpr[CPU_RSP], 0x10000000);
}

/* ---- Single step ------------------------------------------------------------ */

static void single_step(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0x90, 0x90, HLT);
	guest->s->rflags |= TF;
	assert_int_equal(guest_cpu_vector(guest), 1);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 1);
	assert_true(guest_cpu_frame(guest).rflags & TF);
	assert_false(guest->s->rflags & TF);
	assert_true(guest->s->dr[6] & 1u << 14);
	/* The instruction that sets it is not stepped itself: popf; nop. */
	guest_cpu_asm(guest, 0x9d, 0x90, 0x90, HLT);
	*guest_cpu_word(guest, GUEST_STACK - 8) = TF | 2;
	guest->s->gpr[CPU_RSP] = GUEST_STACK - 8;
	assert_int_equal(guest_cpu_vector(guest), 1);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 2);
}

static void unknown_instruction(void **state)
{
	struct guest_cpu *guest = *state;

	/* vaddps ymm0, ymm1, ymm2, behind two that are known. */
	guest_cpu_asm(guest, 0x90, 0x90, 0xc5, 0xf4, 0x58, 0xc2, 0x11, 0x22, 0x33);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	assert_int_equal(guest->exit.internal.rip, GUEST_CODE + 2);
	assert_int_equal(guest->s->rip, GUEST_CODE + 2);
	assert_int_equal(guest->exit.internal.nbytes, 15);
	assert_memory_equal(guest->exit.internal.bytes, "\xc5\xf4\x58\xc2\x11\x22\x33", 7);
	assert_string_equal(guest->exit.internal.why, "unknown instruction");
	/* Sixteen prefixes are too many. */
	memset(guest->host + GUEST_CODE, 0x66, 16);
	guest->s->rip = GUEST_CODE;
	assert_int_equal(guest_cpu_vector(guest), 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(frame_of_a_fault),
	    GUEST_TEST(error_codes_are_pushed),
	    GUEST_TEST(traps_push_what_is_behind),
	    GUEST_TEST(asked_for_is_benign),
	    GUEST_TEST(stacks_of_the_tss),
	    GUEST_TEST(return_from_a_handler),
	    GUEST_TEST(returns_that_leave),
	    GUEST_TEST(page_fault_of_a_benign_one),
	    GUEST_TEST(double_faults),
	    GUEST_TEST(gate_that_is_refused),
	    GUEST_TEST(triple_fault),
	    GUEST_TEST(stack_in_a_device),
	    GUEST_TEST(single_step),
	    GUEST_TEST(unknown_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
