/* SPDX-License-Identifier: MIT */
/*
 * test_x86_string.c - repeated string instructions over pages, against loops over bytes; what the
 * registers are where one stops in the middle; and locked instructions against a thread of the
 * host.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "exec.h"
#include "guest_cpu.h"
#include "rng.h"

#define AREA GUEST_DATA
#define AREA_BYTES (6u * 4096u)
#define HLT 0xf4

static void fill_area(struct guest_cpu *guest, struct rng *rng)
{
	for (size_t i = 0; i < AREA_BYTES; i++)
		guest->host[AREA + i] = (uint8_t)rng_next(rng);
}

/* The prefixes and opcode of one with elements of 1 << log2_size bytes, then HLT. */
static void string_code(struct guest_cpu *guest, uint8_t rep, uint8_t opcode,
			unsigned int log2_size)
{
	uint8_t code[8];
	size_t n = 0;

	if (log2_size == 1)
		code[n++] = 0x66;
	code[n++] = rep;
	if (log2_size == 3)
		code[n++] = 0x48;
	code[n++] = log2_size ? opcode + 1 : opcode;
	code[n++] = HLT;
	guest_cpu_code(guest, code, n);
}

/* One repeated instruction: elements of `size` bytes, `by` from each to the next. */
struct repeated {
	unsigned int log2_size;
	size_t size;
	uint64_t by, from, to, count;
};

/* Anywhere in the area, often close to each other, up or down. */
static struct repeated repeated_draw(struct rng *rng)
{
	struct repeated r = {.log2_size = (unsigned int)rng_below(rng, 4)};
	bool down = rng_chance(rng, 40);

	r.size = (size_t)1 << r.log2_size;
	r.by = down ? -(uint64_t)r.size : r.size;
	r.count = rng_chance(rng, 50) ? rng_below(rng, 40) : rng_below(rng, 2 * 4096 / r.size);
	r.from = rng_below(rng, AREA_BYTES - r.count * r.size - 1);
	r.to = rng_below(rng, AREA_BYTES - r.count * r.size - 1);
	if (rng_chance(rng, 50) && r.from + 40 < AREA_BYTES - r.count * r.size)
		r.to = r.from + rng_below(rng, 40);
	if (down && r.count) {
		r.from += (r.count - 1) * r.size;
		r.to += (r.count - 1) * r.size;
	}
	return r;
}

/* REP `opcode` leaves the area as `twin` is, and the registers behind the last element. */
static void repeated_runs(struct guest_cpu *guest, uint8_t opcode, const struct repeated *r,
			  uint64_t from_after, const uint8_t *twin)
{
	string_code(guest, 0xf3, opcode, r->log2_size);
	guest->s->gpr[CPU_RSI] = AREA + r->from;
	guest->s->gpr[CPU_RDI] = AREA + r->to;
	guest->s->gpr[CPU_RCX] = r->count;
	guest->s->rflags = FLAG_FIXED | (r->by > 8 ? FLAG_DF : 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_memory_equal(guest->host + AREA, twin, AREA_BYTES);
	assert_int_equal(guest->s->gpr[CPU_RCX], 0);
	assert_int_equal(guest->s->gpr[CPU_RSI], AREA + from_after);
	assert_int_equal(guest->s->gpr[CPU_RDI], AREA + r->to + r->count * r->by);
}

static void copies_as_byte_after_byte(void **state)
{
	static uint8_t twin[AREA_BYTES];
	struct guest_cpu *guest = *state;
	struct rng rng;

	rng_init(&rng, 2);
	for (unsigned int round = 0; round < 3000; round++) {
		struct repeated r = repeated_draw(&rng);

		fill_area(guest, &rng);
		memcpy(twin, guest->host + AREA, AREA_BYTES);
		for (uint64_t i = 0; i < r.count; i++) {
			uint8_t element[8];

			memcpy(element, twin + r.from + i * r.by, r.size);
			memcpy(twin + r.to + i * r.by, element, r.size);
		}
		repeated_runs(guest, 0xa4, &r, r.from + r.count * r.by, twin);
	}
}

static void fills_as_element_after_element(void **state)
{
	static uint8_t twin[AREA_BYTES];
	struct guest_cpu *guest = *state;
	struct rng rng;

	rng_init(&rng, 3);
	for (unsigned int round = 0; round < 1000; round++) {
		struct repeated r = repeated_draw(&rng);
		uint64_t val = rng_chance(&rng, 20) ? 0 : rng_next(&rng);

		fill_area(guest, &rng);
		memcpy(twin, guest->host + AREA, AREA_BYTES);
		for (uint64_t i = 0; i < r.count; i++)
			memcpy(twin + r.to + i * r.by, &val, r.size);
		guest->s->gpr[CPU_RAX] = val;
		repeated_runs(guest, 0xaa, &r, r.from, twin);
	}
}

/* REPNE SCASB for a byte, REPE CMPSB to a difference: over a page's end, and there exactly. */
static void comparisons_stop_where_they_differ(void **state)
{
	static const uint64_t stops[] = {0, 1, 2, 95, 96, 97, 4191, 4192, 4193, 8000};
	struct guest_cpu *guest = *state;
	uint8_t *area = guest->host + AREA;

	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		uint64_t at = 4000 + stops[i];

		memset(area, 0x11, AREA_BYTES);
		area[at] = 0x22;
		string_code(guest, 0xf2, 0xae, 0);
		guest->s->gpr[CPU_RAX] = 0x22;
		guest->s->gpr[CPU_RDI] = AREA + 4000;
		guest->s->gpr[CPU_RCX] = 9000;
		guest->s->rflags = FLAG_FIXED;
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
		assert_int_equal(guest->s->gpr[CPU_RDI], AREA + at + 1);
		assert_int_equal(guest->s->gpr[CPU_RCX], 9000 - stops[i] - 1);
		assert_true(guest->s->rflags & FLAG_ZF);

		string_code(guest, 0xf3, 0xa6, 0);
		guest->s->gpr[CPU_RSI] = AREA + 13000;
		guest->s->gpr[CPU_RDI] = AREA + 4000;
		guest->s->gpr[CPU_RCX] = 9000;
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
		assert_int_equal(guest->s->gpr[CPU_RSI], AREA + 13000 + stops[i] + 1);
		assert_int_equal(guest->s->gpr[CPU_RDI], AREA + at + 1);
		assert_int_equal(guest->s->gpr[CPU_RCX], 9000 - stops[i] - 1);
		/* 11 - 22 borrows. */
		assert_false(guest->s->rflags & FLAG_ZF);
		assert_true(guest->s->rflags & FLAG_CF);
	}
}

/* The target's third page is absent: all before it is done, and the registers say so (S1). */
static void a_fault_leaves_the_rest_to_do(void **state)
{
	struct guest_cpu *guest = *state;
	uint64_t absent = AREA + 2 * 4096, *entry = guest_cpu_pte(guest, absent), kept = *entry;

	memset(guest->host + AREA, 0x33, AREA_BYTES);
	string_code(guest, 0xf3, 0xaa, 3);
	guest->s->gpr[CPU_RAX] = 0x4444444444444444;
	guest->s->gpr[CPU_RDI] = AREA + 4; /* the last but one in two pages */
	guest->s->gpr[CPU_RCX] = 2000;
	guest->s->rflags = FLAG_FIXED;
	*entry = 0;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest->s->cr2, absent);
	assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE);
	assert_int_equal(guest->s->gpr[CPU_RDI], AREA + 4 + 1023 * 8);
	assert_int_equal(guest->s->gpr[CPU_RCX], 2000 - 1023);
	assert_int_equal(guest->host[AREA + 4 + 1023 * 8 - 1], 0x44);
	assert_int_equal(guest->host[AREA + 4 + 1023 * 8], 0x33);
	*entry = kept;
	cpu_state_changed(guest->cpu);
}

/* ---- Locked ------------------------------------------------------------- */

#define TURNS 200000u

struct locked {
	const char *name;
	uint8_t code[12];
	size_t len;
	uint8_t size;
	bool split; /* in two cache lines */
};

/* Each adds 1 to [rdi] (RAX is 1 before each). */
static const struct locked locked_ones[] = {
    {"lock add", {0xf0, 0x48, 0x01, 0x07}, 4, 8, false},
    {"lock add imm", {0xf0, 0x83, 0x07, 0x01}, 4, 4, false},
    {"lock sub imm", {0xf0, 0x66, 0x83, 0x2f, 0xff}, 5, 2, false},
    {"lock inc", {0xf0, 0xfe, 0x07}, 3, 1, false},
    {"lock xadd", {0xf0, 0x48, 0x0f, 0xc1, 0x07}, 5, 8, false},
    {"lock add, split", {0xf0, 0x48, 0x01, 0x07}, 4, 8, true},
};

struct adder {
	uint8_t *at;
	uint8_t size;
	_Atomic bool go;
};

static void *add_on_the_host(void *arg)
{
	struct adder *adder = arg;

	while (!adder->go)
		;
	for (unsigned int i = 0; i < TURNS; i++) {
		uint64_t one = 1;

		switch (adder->size) {
		case 1:
			__asm__ volatile("lock addb %b1, %0"
					 : "+m"(*adder->at)
					 : "r"(one)
					 : "memory", "cc");
			break;
		case 2:
			__asm__ volatile("lock addw %w1, %0"
					 : "+m"(*adder->at)
					 : "r"(one)
					 : "memory", "cc");
			break;
		case 4:
			__asm__ volatile("lock addl %k1, %0"
					 : "+m"(*adder->at)
					 : "r"(one)
					 : "memory", "cc");
			break;
		default:
			__asm__ volatile("lock addq %1, %0"
					 : "+m"(*adder->at)
					 : "r"(one)
					 : "memory", "cc");
		}
	}
	return NULL;
}

/* mov eax, 1; the instruction; dec rcx; jnz back; hlt */
static void loop_code(struct guest_cpu *guest, const struct locked *one)
{
	uint8_t code[32] = {0xb8, 1, 0, 0, 0};
	size_t n = 5;

	memcpy(code + n, one->code, one->len);
	n += one->len;
	memcpy(code + n, (const uint8_t[]){0x48, 0xff, 0xc9, 0x75}, 4);
	n += 4;
	code[n] = (uint8_t) - (int)(n + 1);
	code[n + 1] = HLT;
	guest_cpu_code(guest, code, n + 2);
}

static void locked_instructions_lose_nothing(void **state)
{
	struct guest_cpu *guest = *state;

	for (size_t i = 0; i < sizeof(locked_ones) / sizeof(locked_ones[0]); i++) {
		const struct locked *one = &locked_ones[i];
		uint64_t gpa = AREA + (one->split ? 60 : 64), sum = 0, want = 2 * TURNS;
		struct adder adder = {.at = guest->host + gpa, .size = one->size};
		pthread_t thread;

		memset(guest->host + AREA, 0, 4096);
		loop_code(guest, one);
		guest->s->gpr[CPU_RDI] = gpa;
		guest->s->gpr[CPU_RCX] = TURNS;
		assert_int_equal(pthread_create(&thread, NULL, add_on_the_host, &adder), 0);
		adder.go = true;
		assert_int_equal(guest_cpu_run_for(guest, UINT64_MAX), CPU_EXIT_HLT);
		(void)pthread_join(thread, NULL);
		memcpy(&sum, adder.at, one->size);
		if (one->size < 8)
			want &= (UINT64_C(1) << 8 * one->size) - 1;
		if (sum != want)
			fail_msg("%s: %llu, not %llu", one->name, (unsigned long long)sum,
				 (unsigned long long)want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(copies_as_byte_after_byte),
	    GUEST_TEST(fills_as_element_after_element),
	    GUEST_TEST(comparisons_stop_where_they_differ),
	    GUEST_TEST(a_fault_leaves_the_rest_to_do),
	    GUEST_TEST(locked_instructions_lose_nothing),
	};

	return cmocka_run_group_tests_name("x86_string", tests, NULL, NULL);
}
