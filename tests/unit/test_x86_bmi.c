/* SPDX-License-Identifier: MIT */
/*
 * test_x86_bmi.c - the integer instructions behind VEX, against the host's, if it has them.
 *
 * Each is executed as reg = rax (and rm = rbx, the third register rcx, rdx as it is), with 4 and 8
 * bytes, over values at the edges and random ones: results and flags that are defined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "exec.h"
#include "guest_cpu.h"
#include "rng.h"

#define ROUNDS 400u

struct values {
	uint64_t a, b, c, d; /* rax, rbx, rcx, rdx */
	uint64_t flags;
};

struct operation {
	const char *name;
	uint8_t code[6]; /* of 4 bytes; the third byte's W makes it 8 */
	uint64_t flags;  /* defined */
	void (*native)(struct values *v, bool wide);
};

/* The host's instruction of 4 or 8 bytes; flags as LAHF and SETO have them. */
#define NATIVE(name, narrow, wide_one)                                                             \
	static void native_##name(struct values *v, bool wide)                                     \
	{                                                                                          \
		uint64_t ah = v->flags << 8 & 0xff00, d = v->d, low = v->a;                        \
		uint8_t overflow;                                                                  \
                                                                                                   \
		if (wide)                                                                          \
			__asm__ volatile(                                                          \
			    "addb $0x7f, %%al\n\tsahf\n\t" wide_one "\n\tlahf\n\tseto %[of]"       \
			    : "+&a"(ah), [of] "=&q"(overflow), [r] "+&r"(low), [c] "+&r"(v->c),    \
			      "+&d"(d)                                                             \
			    : [b] "r"(v->b)                                                        \
			    : "cc");                                                               \
		else                                                                               \
			__asm__ volatile(                                                          \
			    "addb $0x7f, %%al\n\tsahf\n\t" narrow "\n\tlahf\n\tseto %[of]"         \
			    : "+&a"(ah), [of] "=&q"(overflow), [r] "+&r"(low), [c] "+&r"(v->c),    \
			      "+&d"(d)                                                             \
			    : [b] "r"(v->b)                                                        \
			    : "cc");                                                               \
		v->a = low;                                                                        \
		v->flags = (ah >> 8 & 0xff) | (uint64_t)overflow << 11;                            \
	}
#define NATIVE_THREE(name) NATIVE(name, #name " %k[b], %k[c], %k[r]", #name " %[b], %[c], %[r]")
#define NATIVE_COUNT(name) NATIVE(name, #name " %k[c], %k[b], %k[r]", #name " %[c], %[b], %[r]")
#define NATIVE_LOWEST(name) NATIVE(name, #name " %k[b], %k[c]", #name " %[b], %[c]")

NATIVE_THREE(andn)
NATIVE_THREE(pdep)
NATIVE_THREE(pext)
NATIVE_THREE(mulx)
NATIVE_COUNT(bzhi)
NATIVE_COUNT(bextr)
NATIVE_COUNT(shlx)
NATIVE_COUNT(shrx)
NATIVE_COUNT(sarx)
NATIVE_LOWEST(blsr)
NATIVE_LOWEST(blsmsk)
NATIVE_LOWEST(blsi)
NATIVE(rorx, "rorx $0x25, %k[b], %k[r]", "rorx $0x25, %[b], %[r]")

#define LOGIC (FLAG_CF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define ALL (LOGIC | FLAG_PF | FLAG_AF)

/* vvvv of rcx is 1110 in the byte; L is 0. */
#define VEX38(pp, opcode, modrm)                                                                   \
	{                                                                                          \
		0xc4, 0xe2, 0x70 | (pp), opcode, modrm                                             \
	}

static const struct operation operations[] = {
    {"andn", VEX38(0, 0xf2, 0xc3), LOGIC, native_andn},
    {"blsr", VEX38(0, 0xf3, 0xcb), LOGIC, native_blsr},
    {"blsmsk", VEX38(0, 0xf3, 0xd3), LOGIC, native_blsmsk},
    {"blsi", VEX38(0, 0xf3, 0xdb), LOGIC, native_blsi},
    {"bzhi", VEX38(0, 0xf5, 0xc3), LOGIC, native_bzhi},
    {"pext", VEX38(2, 0xf5, 0xc3), ALL, native_pext},
    {"pdep", VEX38(3, 0xf5, 0xc3), ALL, native_pdep},
    {"mulx", VEX38(3, 0xf6, 0xc3), ALL, native_mulx},
    {"bextr", VEX38(0, 0xf7, 0xc3), FLAG_CF | FLAG_ZF | FLAG_OF, native_bextr},
    {"shlx", VEX38(1, 0xf7, 0xc3), ALL, native_shlx},
    {"sarx", VEX38(2, 0xf7, 0xc3), ALL, native_sarx},
    {"shrx", VEX38(3, 0xf7, 0xc3), ALL, native_shrx},
    {"rorx", {0xc4, 0xe3, 0x7b, 0xf0, 0xc3, 0x25}, ALL, native_rorx},
};

static uint64_t value(struct rng *rng)
{
	static const uint64_t edges[] = {0,          1,           0x7fffffff,
					 0x80000000, 0xffffffff,  UINT64_C(1) << 63,
					 UINT64_MAX, 0x0000ff20u, 0x2010};

	if (rng_chance(rng, 40))
		return edges[rng_below(rng, sizeof(edges) / sizeof(edges[0]))];
	return rng_next(rng) >> rng_below(rng, 64);
}

static void run_guest(struct guest_cpu *guest, const struct operation *op, bool wide,
		      struct values *v)
{
	uint8_t code[8];

	memcpy(code, op->code, sizeof(op->code));
	if (wide)
		code[2] |= 0x80;
	/* HLT behind it; five bytes of VEX have a 0 for a sixth. */
	code[op->code[5] ? 6 : 5] = 0xf4;
	guest_cpu_code(guest, code, sizeof(code));
	guest->s->gpr[CPU_RAX] = v->a;
	guest->s->gpr[CPU_RBX] = v->b;
	guest->s->gpr[CPU_RCX] = v->c;
	guest->s->gpr[CPU_RDX] = v->d;
	guest->s->rflags = v->flags | FLAG_FIXED;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	v->a = guest->s->gpr[CPU_RAX];
	v->c = guest->s->gpr[CPU_RCX];
	v->flags = guest->s->rflags;
}

static void as_the_host_has_them(void **state)
{
	struct guest_cpu guest;
	struct rng rng;

	(void)state;
	if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
		skip();
	rng_init(&rng, 1);
	guest_cpu_init(&guest, 0);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const struct operation *op = &operations[i];

		for (unsigned int round = 0; round < 2 * ROUNDS; round++) {
			struct values native = {value(&rng), value(&rng), value(&rng), value(&rng),
						FLAG_FIXED | (rng_next(&rng) & 0xd5)};
			struct values ours;
			bool wide = round & 1;

			ours = native;
			op->native(&native, wide);
			run_guest(&guest, op, wide, &ours);
			/* OF is not among the flags that SAHF can set: it was 0. */
			if (ours.a != native.a || ours.c != native.c ||
			    ((ours.flags ^ native.flags) & op->flags))
				fail_msg("%s of %u bytes: %#lx %#lx, flags %#lx; host %#lx %#lx, "
					 "flags %#lx",
					 op->name, wide ? 8u : 4u, ours.a, ours.c, ours.flags,
					 native.a, native.c, native.flags);
		}
	}
	guest_cpu_fini(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_the_host_has_them),
	};

	return cmocka_run_group_tests_name("x86_bmi", tests, NULL, NULL);
}
