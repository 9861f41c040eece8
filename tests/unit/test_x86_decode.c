/* SPDX-License-Identifier: MIT */
/*
 * adapters/x86/decode.c: a list of encodings made by hand, each cut short at every byte, and every
 * beginning of three bytes: lengths, fields, and no byte read behind the end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "exec.h"

#define PAGE 4096u

/* One page that ends where no memory is: reading behind the bytes given is a fault. */
static uint8_t *page_end(void)
{
	uint8_t *mem = mmap(NULL, 2 * (size_t)PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(mem, MAP_FAILED);
	assert_int_equal(mprotect(mem + PAGE, PAGE, PROT_NONE), 0);
	return mem + PAGE;
}

static unsigned int bytes_of(const char *hex, uint8_t *out)
{
	unsigned int n = 0;

	while (*hex) {
		char *end;

		out[n++] = (uint8_t)strtoul(hex, &end, 16);
		hex = end;
	}
	return n;
}

static void describe_operand(const struct insn *insn, char *out, size_t len)
{
	int at;

	if (!insn->memory) {
		(void)snprintf(out, len, insn->rm == NO_REG ? "-" : "r%u", insn->rm);
		return;
	}
	at = snprintf(out, len, "[");
	if (insn->segment >= CPU_FS)
		at += snprintf(out + at, len - (size_t)at, insn->segment == CPU_FS ? "fs:" : "gs:");
	if (insn->rip_relative)
		at += snprintf(out + at, len - (size_t)at, "rip");
	if (insn->base != NO_REG)
		at += snprintf(out + at, len - (size_t)at, "r%u", insn->base);
	if (insn->index != NO_REG)
		at += snprintf(out + at, len - (size_t)at, "+r%u*%u", insn->index,
			       1u << insn->scale_shift);
	(void)snprintf(out + at, len - (size_t)at, "%+lld]", (long long)insn->disp);
}

/* "size reg operand imm flags": what the tables below say. */
static void describe(const struct insn *insn, char *out, size_t len)
{
	char operand[64], reg[8] = "-";

	describe_operand(insn, operand, sizeof(operand));
	if (insn->reg != NO_REG)
		(void)snprintf(reg, sizeof(reg), "r%u", insn->reg);
	(void)snprintf(out, len, "%u %s %s %lld %s%s%s%s%s%s%s", insn->size, reg, operand,
		       (long long)insn->imm, insn->lock ? "L" : "", insn->rex ? "X" : "",
		       insn->opsize_prefix ? "P" : "", insn->addr_size == 4 ? "A" : "",
		       insn->rep == 0xf2   ? "2"
		       : insn->rep == 0xf3 ? "3"
					   : "",
		       insn->ends_block ? "E" : "", insn->exec == exec_ud ? "U" : "");
}

struct encoding {
	const char *hex;
	const char *fields;
};

/*
 * Flags: L lock, X REX, P 66, A 67, 2 3 repeat, E ends a block, U is #UD. Forms whose operands are
 * both registers have the one that is written in the operand.
 */
static const struct encoding encodings[] = {
    {"90", "4 r0 r0 0 "},
    {"f3 90", "4 r0 r0 0 3"},
    {"41 90", "4 r0 r8 0 X"},
    {"0f 1f 44 00 00", "4 r0 [r0+r0*1+0] 0 "},
    {"f3 0f 1e fa", "4 r7 r2 0 3"},
    /* Sizes. */
    {"01 d8", "4 r3 r0 0 "},
    {"48 01 d8", "8 r3 r0 0 X"},
    {"66 01 d8", "2 r3 r0 0 P"},
    {"66 48 01 d8", "8 r3 r0 0 XP"},
    {"00 e0", "1 r4 r0 0 "},
    {"40 00 e0", "1 r4 r0 0 X"},
    {"48 66 01 d8", "2 r3 r0 0 P"}, /* a REX that is not last */
    /* Order: rm is written. */
    {"03 c3", "4 r3 r0 0 "},
    {"4d 03 c3", "8 r11 r8 0 X"},
    {"03 03", "4 r0 [r3+0] 0 "},
    {"4c 8b c0", "8 r0 r8 0 X"},
    {"0f b6 c3", "4 r0 r3 0 "}, /* not MOVZX, which has two sizes */
    /* Memory operands. */
    {"8b 04 25 78 56 34 12", "4 r0 [+305419896] 0 "},
    {"8b 05 f8 ff ff ff", "4 r0 [rip-8] 0 "},
    {"41 8b 05 08 00 00 00", "4 r0 [rip+8] 0 X"},
    {"8b 45 f8", "4 r0 [r5-8] 0 "},
    {"8b 44 24 08", "4 r0 [r4+8] 0 "},
    {"42 8b 44 24 08", "4 r0 [r4+r12*1+8] 0 X"},
    {"43 8b 44 a5 08", "4 r0 [r13+r12*4+8] 0 X"},
    {"41 8b 45 00", "4 r0 [r13+0] 0 X"},
    {"41 8b 04 24", "4 r0 [r12+0] 0 X"},
    {"8b 04 e5 00 01 00 00", "4 r0 [+256] 0 "},
    {"8b 04 cd 00 01 00 00", "4 r0 [+r1*8+256] 0 "},
    {"8b 84 c8 00 00 00 80", "4 r0 [r0+r1*8-2147483648] 0 "},
    {"67 8b 00", "4 r0 [r0+0] 0 A"},
    {"64 48 8b 04 25 28 00 00 00", "8 r0 [fs:+40] 0 X"},
    {"65 48 8b 00", "8 r0 [gs:r0+0] 0 X"},
    {"2e 65 8b 00", "4 r0 [gs:r0+0] 0 "},
    /* Immediates. */
    {"83 c0 ff", "4 r0 r0 -1 "},
    {"81 c0 ff ff ff 7f", "4 r0 r0 2147483647 "},
    {"66 81 c0 34 12", "2 r0 r0 4660 P"},
    {"48 81 c0 00 00 00 80", "8 r0 r0 -2147483648 X"},
    {"48 05 01 00 00 00", "8 r0 r0 1 X"},
    {"41 04 7f", "1 r0 r0 127 X"},
    {"48 b8 f0 de bc 9a 78 56 34 12", "8 r0 r0 1311768467463790320 X"},
    {"41 bf ff ff ff ff", "4 r15 r15 -1 X"},
    {"66 b8 34 12", "2 r0 r0 4660 P"},
    {"b4 12", "1 r4 r4 18 "},
    {"c7 05 00 00 00 00 01 00 00 00", "4 r0 [rip+0] 1 "},
    {"a1 f0 de bc 9a 78 56 34 12", "4 r0 [+1311768467463790320] 0 "},
    {"48 a3 f0 de bc 9a 78 56 34 12", "8 r0 [+1311768467463790320] 0 X"},
    {"65 a0 01 00 00 00 00 00 00 00", "1 r0 [gs:+1] 0 "},
    {"67 a1 78 56 34 12", "4 r0 [+305419896] 0 A"},
    {"c8 10 00 01", "8 - - 65552 "},
    {"6a ff", "8 - - -1 "},
    {"66 68 34 12", "2 - - 4660 P"},
    {"68 00 00 00 80", "8 - - -2147483648 "},
    {"f6 c0 01", "1 r0 r0 1 "},
    {"f7 d8", "4 r3 r0 0 "},
    {"c1 e0 1f", "4 r4 r0 31 "},
    {"0f a4 d8 04", "4 r3 r0 4 "},
    {"6b c3 fe", "4 r0 r3 -2 "},
    {"48 69 c3 00 01 00 00", "8 r0 r3 256 X"},
    /* Stack and branches. */
    {"50", "8 r0 r0 0 "},
    {"41 57", "8 r15 r15 0 X"},
    {"66 5b", "2 r3 r3 0 P"},
    {"e8 fb ff ff ff", "8 - - -5 E"},
    {"eb 10", "8 - - 16 E"},
    {"74 fe", "8 - - -2 E"},
    {"0f 84 00 00 00 80", "8 - - -2147483648 E"},
    {"c2 08 00", "8 - - 8 E"},
    {"f3 c3", "8 - - 0 3E"},
    {"ff e0", "8 r4 r0 0 E"},
    {"41 ff 24 c4", "8 r4 [r12+r0*8+0] 0 XE"},
    {"67 e3 10", "8 - - 16 AE"},
    {"66 48 e8 00 00 00 00", "8 - - 0 XPE"},
    /* Locks. */
    {"f0 48 0f b1 0a", "8 r1 [r2+0] 0 LX"},
    {"f0 01 d8", "4 r3 r0 0 LEU"},
    {"f0 03 03", "4 r0 [r3+0] 0 LEU"},
    {"f0 39 03", "4 r0 [r3+0] 0 LEU"},
    {"f0 87 03", "4 r0 [r3+0] 0 L"},
    {"f0 0f ba 2b 05", "4 r5 [r3+0] 5 L"},
    {"f0 0f ba 23 05", "4 r4 [r3+0] 5 LEU"},
    {"f0 90", "4 r0 r0 0 LEU"},
    /* Prefixes that choose the instruction. */
    {"f3 0f b8 c3", "4 r0 r3 0 3"},
    {"66 f3 0f bc c3", "2 r0 r3 0 P3"},
    {"f2 48 0f 38 f1 c3", "8 r0 r3 0 X2"},
    {"66 0f 38 f1 03", "2 r0 [r3+0] 0 P"},
    {"48 0f c7 0b", "8 r1 [r3+0] 0 X"},
    {"0f c7 c8", "4 r1 r0 0 EU"},
    {"0f c7 f0", "4 r6 r0 0 EU"},
    /* VEX: the third register is the immediate. */
    {"c4 e2 a0 f5 da", "8 r3 r2 11 "},
    {"c4 c2 78 f2 04 24", "4 r0 [r12+0] 0 "},
    {"c4 62 70 f2 c3", "4 r8 r3 1 "},
    {"c4 e3 fb f0 c3 05", "8 r0 r3 5 "},
    {"c4 e2 78 f3 cb", "4 r1 r3 0 "},
    {"66 c4 e2 78 f2 c3", "4 r0 r3 0 EU"},
    {"c4 e2 7c f2 c3", "4 r0 r3 0 EU"},
    {"c5 f8 77", NULL},
    /* Strings, I/O, control registers. */
    {"f3 48 a5", "8 - - 0 X3E"},
    {"aa", "1 - - 0 "},
    {"e4 10", "1 - - 16 E"},
    {"66 ed", "2 - - 0 PE"},
    {"48 ef", "4 - - 0 XE"},
    {"0f 22 18", "8 r3 r0 0 E"},
    {"44 0f 20 c0", "8 r8 r0 0 X"},
    {"0f 01 f8", "4 r7 r0 0 "},
    {"0f 01 38", "4 r7 [r0+0] 0 E"},
    /* Gone in 64-bit mode, or never there. */
    {"06", "4 - - 0 EU"},
    {"62", NULL},
    {"0f 0b", "4 - - 0 EU"},
    {"8d c0", "4 r0 r0 0 EU"},
    {"fe d0", "4 r2 r0 0 EU"},
    {"0f ba c0", "4 r0 r0 0 EU"},
    {"66 e8", NULL},
    {"c7 f8", NULL},
    {"0f 04", "4 - - 0 EU"},
};

static void encodings_have_lengths_and_fields(void **state)
{
	uint8_t *end = page_end();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		const struct encoding *enc = &encodings[i];
		uint8_t bytes[2 * CPU_INSN_MAX] = {0};
		unsigned int n = bytes_of(enc->hex, bytes), len;
		struct insn insn;
		char fields[128];

		if (!enc->fields) {
			assert_int_equal(decode(bytes, CPU_INSN_MAX, &insn), -ENOSYS);
			continue;
		}
		memcpy(end - n, bytes, n);
		assert_int_equal(decode(end - n, n, &insn), n);
		assert_int_equal(insn.len, n);
		describe(&insn, fields, sizeof(fields));
		if (strcmp(fields, enc->fields) != 0)
			fail_msg("%s: \"%s\", not \"%s\"", enc->hex, fields, enc->fields);
		/* More bytes change nothing; fewer are not enough. */
		assert_int_equal(decode(bytes, CPU_INSN_MAX, &insn), n);
		for (len = 0; len < n; len++) {
			memcpy(end - len, bytes, len);
			assert_int_equal(decode(end - len, len, &insn), 0);
		}
	}
	(void)munmap(end - PAGE, 2 * (size_t)PAGE);
}

static void fifteen_bytes_are_the_most(void **state)
{
	uint8_t bytes[16];
	struct insn insn;

	(void)state;
	memset(bytes, 0x2e, sizeof(bytes));
	bytes[14] = 0x90;
	assert_int_equal(decode(bytes, 14, &insn), 0);
	assert_int_equal(decode(bytes, 15, &insn), 15);
	assert_ptr_not_equal(insn.exec, exec_gp);
	/* One more: #GP, whatever it would have been. */
	bytes[14] = 0x2e;
	bytes[15] = 0x90;
	assert_int_equal(decode(bytes, 15, &insn), 15);
	assert_ptr_equal(insn.exec, exec_gp);
	assert_int_equal(insn.ends_block, 1);
	assert_int_equal(decode(bytes, 16, &insn), 15);
	assert_ptr_equal(insn.exec, exec_gp);
	bytes[13] = 0x81;
	bytes[14] = 0xc0;
	assert_int_equal(decode(bytes, 15, &insn), 15);
	assert_ptr_equal(insn.exec, exec_gp);
}

static void check_again(uint8_t *end, const uint8_t *bytes, const struct insn *insn)
{
	struct insn again, fewer;
	unsigned int len = insn->len;

	memset(&again, 0xff, sizeof(again));
	assert_non_null(insn->exec);
	assert_in_range(len, 1, CPU_INSN_MAX);
	memcpy(end - len, bytes, len);
	assert_int_equal(decode(end - len, len, &again), len);
	assert_ptr_equal(again.exec, insn->exec);
	assert_int_equal(again.imm, insn->imm);
	assert_int_equal(again.disp, insn->disp);
	assert_memory_equal(&again.len, &insn->len,
			    offsetof(struct insn, opsize_prefix) - offsetof(struct insn, len));
	memcpy(end - len + 1, bytes, len - 1);
	assert_int_equal(decode(end - len + 1, len - 1, &fewer), 0);
}

/* Behind any three bytes: a length that alone gives the same, or -ENOSYS. */
static void every_beginning_ends(void **state)
{
	uint8_t bytes[CPU_INSN_MAX] = {0, 0, 0, 0x24, 0x84, 0xc5, 0x0f, 0x3a, 0x99, 0x01};
	unsigned long decoded = 0;
	uint8_t *end = page_end();
	uint32_t beginning;

	(void)state;
	for (beginning = 0; beginning < 1u << 24; beginning += 3) {
		struct insn insn = {0};
		int len;

		bytes[0] = (uint8_t)beginning;
		bytes[1] = (uint8_t)(beginning >> 8);
		bytes[2] = (uint8_t)(beginning >> 16);
		len = decode(bytes, CPU_INSN_MAX, &insn);
		if (len == -ENOSYS)
			continue;
		assert_int_equal(len, insn.len);
		check_again(end, bytes, &insn);
		decoded++;
	}
	assert_true(decoded > 3000000);
	(void)munmap(end - PAGE, 2 * (size_t)PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(encodings_have_lengths_and_fields),
	    cmocka_unit_test(fifteen_bytes_are_the_most),
	    cmocka_unit_test(every_beginning_ends),
	};

	return cmocka_run_group_tests_name("x86_decode", tests, NULL, NULL);
}
