/* SPDX-License-Identifier: MIT */
/*
 * cpu_speed.c - how fast the CPU is: nanoseconds an instruction in four loops.
 *
 * No test: run it by hand, on a machine that does nothing else, from a build without sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "guest_cpu.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The best of five runs. */
static void measure(struct guest_cpu *guest, const char *what, const uint8_t *code, size_t len,
		    uint64_t instructions, double per)
{
	double best = 0;

	guest_cpu_code(guest, code, len);
	for (unsigned int i = 0; i < 5; i++) {
		double from, took;

		guest->s->gpr[CPU_RDI] = GUEST_DATA;
		from = now();
		assert_int_equal(guest_cpu_run_for(guest, instructions), CPU_EXIT_BUDGET);
		took = (now() - from) / (double)instructions;
		if (i == 0 || took < best)
			best = took;
	}
	printf("%-44s %6.2f ns\n", what, best * per);
}

static void speed(void **state)
{
	static const uint8_t alu[] = {
	    0x48, 0x01, 0xd8,             /* add rax, rbx */
	    0x48, 0x31, 0xc2,             /* xor rdx, rax */
	    0x48, 0xc1, 0xe2, 0x03,       /* shl rdx, 3 */
	    0x48, 0x8d, 0x5c, 0x1a, 0x01, /* lea rbx, [rdx + rbx + 1] */
	    0x48, 0x29, 0xd9,             /* sub rcx, rbx */
	    0x48, 0xff, 0xc6,             /* inc rsi */
	    0x48, 0x39, 0xce,             /* cmp rsi, rcx */
	    0xeb, 0xe6,                   /* jmp to the beginning */
	};
	static const uint8_t memory[] = {
	    0x48, 0x8b, 0x07,       /* mov rax, [rdi] */
	    0x48, 0x83, 0xc0, 0x01, /* add rax, 1 */
	    0x48, 0x89, 0x47, 0x08, /* mov [rdi + 8], rax */
	    0x48, 0x8b, 0x5f, 0x10, /* mov rbx, [rdi + 16] */
	    0x48, 0x89, 0x1f,       /* mov [rdi], rbx */
	    0xeb, 0xec,
	};
	static const uint8_t call[] = {
	    0xe8, 0x02, 0x00, 0x00, 0x00, /* call to the last one */
	    0xeb, 0xf9,                   /* jmp to the beginning */
	    0xc3,
	};
	/* Stores to 128 pages by two linear addresses, which have the same place in the TLB. */
	static const uint8_t misses[] = {
	    0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, /* add rdi, 0x1000 */
	    0x48, 0x81, 0xe7, 0xff, 0xff, 0x1f, 0x40, /* and rdi, 0x401fffff */
	    0x48, 0x81, 0xcf, 0x00, 0x00, 0x18, 0x00, /* or rdi, 0x180000 */
	    0x88, 0x07,                               /* mov [rdi], al */
	    0x48, 0x81, 0xf7, 0x00, 0x00, 0x00, 0x40, /* xor rdi, 0x40000000 */
	    0x88, 0x07,                               /* mov [rdi], al */
	    0xeb, 0xde,
	};
	/* Stores to 384 pages in turn: the vCPU's cache has room for 256. */
	static const uint8_t faults[] = {
	    0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, /* add rdi, 0x1000 */
	    0x48, 0x81, 0xff, 0x00, 0x00, 0x20, 0x00, /* cmp rdi, 0x200000 */
	    0x75, 0x07,                               /* jne over the next one */
	    0x48, 0xc7, 0xc7, 0x00, 0x00, 0x08, 0x00, /* mov rdi, 0x80000 */
	    0x88, 0x07,                               /* mov [rdi], al */
	    0xeb, 0xe5,
	};
	static const uint8_t string[] = {
	    0x48, 0xc7, 0xc1, 0x00, 0x04, 0x00, 0x00, /* mov rcx, 1024 */
	    0x48, 0x89, 0xfa,                         /* mov rdx, rdi */
	    0xf3, 0x48, 0xab,                         /* rep stosq */
	    0x48, 0x89, 0xd7,                         /* mov rdi, rdx */
	    0xeb, 0xee,
	};
	struct guest_cpu guest;
	struct cpu_counters counters;

	(void)state;
	guest_cpu_init(&guest, 0);
	measure(&guest, "arithmetic, eight to a block, each", alu, sizeof(alu), 100000000, 1);
	measure(&guest, "two loads, two stores, an addition, each", memory, sizeof(memory),
		100000000, 1);
	measure(&guest, "a call, a return and a jump, together", call, sizeof(call), 30000000, 3);
	measure(&guest, "eight bytes of a repeated STOS", string, sizeof(string), 3000000,
		7.0 / 1024);
	measure(&guest, "two stores that miss the TLB, together", misses, sizeof(misses), 7000000,
		7);
	measure(&guest, "a store that misses the vCPU's cache", faults, sizeof(faults), 10000000,
		4.97);
	cpu_counters_get(guest.cpu, &counters);
	printf("%llu walks of tables\n", (unsigned long long)counters.tlb_misses);
	guest_cpu_fini(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(speed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
