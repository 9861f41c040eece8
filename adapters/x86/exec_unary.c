/* SPDX-License-Identifier: MIT */
/*
 * exec_unary.c - INC DEC NEG NOT; XADD, CMPXCHG and CMPXCHG8B/16B; ADCX and ADOX.
 *
 * Locked or not, XADD and CMPXCHG exchange atomically: that is allowed, and one function serves.
 */
#include "alu.h"
#include "operand.h"

#define ALU_NOT(bits)                                                                              \
	static inline uint##bits##_t alu_not_##bits(uint64_t *rflags, uint##bits##_t a)            \
	{                                                                                          \
		(void)rflags;                                                                      \
		return (uint##bits##_t) ~a;                                                        \
	}

ALU_NOT(8)
ALU_NOT(16)
ALU_NOT(32)
ALU_NOT(64)

#define UNARY(bits, name)                                                                          \
	static enum step name##_reg_##bits(struct cpu *cpu, const struct insn *insn)               \
	{                                                                                          \
		uint##bits##_t a = register_get_##bits(cpu, insn, insn->rm);                       \
                                                                                                   \
		register_set_##bits(cpu, insn, insn->rm, alu_##name##_##bits(&cpu->s.rflags, a));  \
		return STEP_NEXT;                                                                  \
	}                                                                                          \
	static enum step name##_mem_##bits(struct cpu *cpu, const struct insn *insn)               \
	{                                                                                          \
		uint64_t flags = cpu->s.rflags;                                                    \
		uint##bits##_t a;                                                                  \
		struct update upd;                                                                 \
		enum step step = update_open(cpu, insn, (bits) / 8, &upd);                         \
                                                                                                   \
		if (step)                                                                          \
			return step;                                                               \
		a = alu_##name##_##bits(&flags, (uint##bits##_t)upd.val);                          \
		step = update_close(cpu, &upd, (bits) / 8, a);                                     \
		if (!step)                                                                         \
			cpu->s.rflags = flags;                                                     \
		return step;                                                                       \
	}

ALU_SIZES(UNARY, inc)
ALU_SIZES(UNARY, dec)
ALU_SIZES(UNARY, neg)
ALU_SIZES(UNARY, not )

#define FORMS(name)                                                                                \
	{                                                                                          \
		.reg = {name##_reg_8, name##_reg_16, name##_reg_32, name##_reg_64},                \
		.mem = {name##_mem_8, name##_mem_16, name##_mem_32, name##_mem_64},                \
	}

const struct exec_forms exec_inc = FORMS(inc);
const struct exec_forms exec_dec = FORMS(dec);
const struct exec_forms exec_neg = FORMS(neg);
const struct exec_forms exec_not = FORMS(not );

/* ---- Locked ------------------------------------------------------------- */

#define BY_SIZE_ONE(name)                                                                          \
	static uint64_t name(unsigned int size, uint64_t *flags, uint64_t a)                       \
	{                                                                                          \
		switch (size) {                                                                    \
		case 1:                                                                            \
			return alu_##name##_8(flags, (uint8_t)a);                                  \
		case 2:                                                                            \
			return alu_##name##_16(flags, (uint16_t)a);                                \
		case 4:                                                                            \
			return alu_##name##_32(flags, (uint32_t)a);                                \
		default:                                                                           \
			return alu_##name##_64(flags, a);                                          \
		}                                                                                  \
	}

#define BY_SIZE_TWO(name)                                                                          \
	static uint64_t name(unsigned int size, uint64_t *flags, uint64_t a, uint64_t b)           \
	{                                                                                          \
		switch (size) {                                                                    \
		case 1:                                                                            \
			return alu_##name##_8(flags, (uint8_t)a, (uint8_t)b);                      \
		case 2:                                                                            \
			return alu_##name##_16(flags, (uint16_t)a, (uint16_t)b);                   \
		case 4:                                                                            \
			return alu_##name##_32(flags, (uint32_t)a, (uint32_t)b);                   \
		default:                                                                           \
			return alu_##name##_64(flags, a, b);                                       \
		}                                                                                  \
	}

BY_SIZE_ONE(inc)
BY_SIZE_ONE(dec)
BY_SIZE_ONE(neg)
BY_SIZE_TWO(add)
BY_SIZE_TWO(cmp)

enum step exec_unary_locked(struct cpu *cpu, const struct insn *insn)
{
	uint64_t flags = cpu->s.rflags;
	struct update upd;
	bool done = false;
	enum step step = update_open(cpu, insn, insn->size, &upd);

	while (!step && !done) {
		uint64_t val;

		flags = cpu->s.rflags;
		switch (insn->op) {
		case UNARY_INC:
			val = inc(insn->size, &flags, upd.val);
			break;
		case UNARY_DEC:
			val = dec(insn->size, &flags, upd.val);
			break;
		case UNARY_NEG:
			val = neg(insn->size, &flags, upd.val);
			break;
		default:
			val = ~upd.val;
		}
		step = update_exchange(cpu, &upd, insn->size, val, &done);
	}
	if (!step)
		cpu->s.rflags = flags;
	return step;
}

/* ---- Exchanges ---------------------------------------------------------- */

static enum step xadd_registers(struct cpu *cpu, const struct insn *insn)
{
	unsigned int size = insn->size;
	uint64_t old = register_get(cpu, insn, insn->rm, size);
	uint64_t sum = add(size, &cpu->s.rflags, old, register_get(cpu, insn, insn->reg, size));

	/* The sum last: it is what stays if both are one register. */
	register_set(cpu, insn, insn->reg, size, old);
	register_set(cpu, insn, insn->rm, size, sum);
	return STEP_NEXT;
}

enum step exec_xadd(struct cpu *cpu, const struct insn *insn)
{
	uint64_t flags = cpu->s.rflags, old = 0;
	struct update upd;
	bool done = false;
	enum step step;

	if (!insn->memory)
		return xadd_registers(cpu, insn);
	step = update_open(cpu, insn, insn->size, &upd);
	while (!step && !done) {
		uint64_t sum;

		flags = cpu->s.rflags;
		old = upd.val;
		sum = add(insn->size, &flags, old, register_get(cpu, insn, insn->reg, insn->size));
		step = update_exchange(cpu, &upd, insn->size, sum, &done);
	}
	if (step)
		return step;
	cpu->s.rflags = flags;
	register_set(cpu, insn, insn->reg, insn->size, old);
	return STEP_NEXT;
}

static enum step cmpxchg_registers(struct cpu *cpu, const struct insn *insn)
{
	static const struct insn accumulator = {.rex = 1};
	unsigned int size = insn->size;
	uint64_t old = register_get(cpu, insn, insn->rm, size);
	uint64_t src = register_get(cpu, insn, insn->reg, size);

	(void)cmp(size, &cpu->s.rflags, register_get(cpu, &accumulator, CPU_RAX, size), old);
	/* Unequal operands of 4 bytes: the upper half of rm stays, as hardware has it. */
	if (cpu->s.rflags & FLAG_ZF)
		register_set(cpu, insn, insn->rm, size, src);
	else
		register_set(cpu, &accumulator, CPU_RAX, size, old);
	return STEP_NEXT;
}

/* The store is done in either case, so a page that cannot be written faults in either case. */
enum step exec_cmpxchg(struct cpu *cpu, const struct insn *insn)
{
	static const struct insn accumulator = {.rex = 1};
	unsigned int size = insn->size;
	uint64_t flags = cpu->s.rflags, old = 0, expected;
	struct update upd;
	bool done = false;
	enum step step;

	if (!insn->memory)
		return cmpxchg_registers(cpu, insn);
	expected = register_get(cpu, &accumulator, CPU_RAX, size);
	step = update_open(cpu, insn, size, &upd);
	while (!step && !done) {
		uint64_t val;

		flags = cpu->s.rflags;
		old = upd.val;
		(void)cmp(size, &flags, expected, old);
		val = flags & FLAG_ZF ? register_get(cpu, insn, insn->reg, size) : old;
		step = update_exchange(cpu, &upd, size, val, &done);
	}
	if (step)
		return step;
	cpu->s.rflags = flags;
	if (!(flags & FLAG_ZF))
		register_set(cpu, &accumulator, CPU_RAX, size, old);
	return STEP_NEXT;
}

/* ---- CMPXCHG8B, CMPXCHG16B ---------------------------------------------- */

struct pair {
	uint64_t low, high;
};

static bool exchange_pair(void *host, unsigned int size, struct pair *seen, const struct pair *val)
{
	bool done;

	if (size == 8)
		__asm__ volatile("lock cmpxchg8b %[mem]"
				 : [mem] "+m"(*(unaligned_u64 *)host), "+a"(seen->low),
				   "+d"(seen->high), "=@ccz"(done)
				 : "b"((uint32_t)val->low), "c"((uint32_t)val->high)
				 : "memory");
	else
		__asm__ volatile("lock cmpxchg16b %[mem]"
				 : [mem] "+m"(*(uint8_t(*)[16])host), "+a"(seen->low),
				   "+d"(seen->high), "=@ccz"(done)
				 : "b"(val->low), "c"(val->high)
				 : "memory");
	return done;
}

/* Two pages, or MMIO: in halves, without atomicity. */
static enum step exchange_pair_slowly(struct cpu *cpu, uint64_t linear, unsigned int half,
				      struct pair *seen, const struct pair *val, bool *equal)
{
	struct pair had = {0, 0};
	uint8_t bytes[16];
	enum step step = memory_read(cpu, linear, 2 * half, bytes);

	if (step)
		return step;
	__builtin_memcpy(&had.low, bytes, half);
	__builtin_memcpy(&had.high, bytes + half, half);
	*equal = had.low == seen->low && had.high == seen->high;
	if (*equal) {
		__builtin_memcpy(bytes, &val->low, half);
		__builtin_memcpy(bytes + half, &val->high, half);
	}
	step = memory_write(cpu, linear, 2 * half, bytes);
	if (!step)
		*seen = had;
	return step;
}

enum step exec_cmpxchg8b_16b(struct cpu *cpu, const struct insn *insn)
{
	unsigned int half = insn->size, size = 2 * half;
	uint64_t *gpr = cpu->s.gpr, linear = operand_address(cpu, insn);
	uint64_t mask = half == 8 ? ~0ull : 0xffffffffull;
	struct pair seen = {gpr[CPU_RAX] & mask, gpr[CPU_RDX] & mask};
	struct pair val = {gpr[CPU_RBX] & mask, gpr[CPU_RCX] & mask};
	bool equal = false;
	void *host;
	enum step step;

	if (half == 8 && linear % 16)
		return raise_error(cpu, VECTOR_GP, 0);
	step = memory_writable(cpu, linear, size, &host);
	if (step)
		return step;
	if (host) {
		equal = exchange_pair(host, size, &seen, &val);
		memory_stored(cpu, host, size);
	} else {
		step = exchange_pair_slowly(cpu, linear, half, &seen, &val, &equal);
		if (step)
			return step;
	}
	if (equal) {
		cpu->s.rflags |= FLAG_ZF;
		return STEP_NEXT;
	}
	cpu->s.rflags &= ~(uint64_t)FLAG_ZF;
	gpr[CPU_RAX] = seen.low & mask;
	gpr[CPU_RDX] = seen.high & mask;
	return STEP_NEXT;
}

/* ---- ADCX, ADOX --------------------------------------------------------- */

static enum step add_with(struct cpu *cpu, const struct insn *insn, uint64_t flag)
{
	uint64_t a = register_get(cpu, insn, insn->reg, insn->size), b;
	uint64_t in = (cpu->s.rflags & flag) != 0;
	enum step step = rm_get(cpu, insn, insn->size, &b);
	bool carry;

	if (step)
		return step;
	if (insn->size == 8) {
		carry = __builtin_add_overflow(a, b, &a);
		carry |= __builtin_add_overflow(a, in, &a);
	} else {
		a += b + in;
		carry = a >> 32;
	}
	cpu->s.rflags = carry ? cpu->s.rflags | flag : cpu->s.rflags & ~flag;
	register_set(cpu, insn, insn->reg, insn->size, a);
	return STEP_NEXT;
}

enum step exec_adcx(struct cpu *cpu, const struct insn *insn)
{
	return add_with(cpu, insn, FLAG_CF);
}

enum step exec_adox(struct cpu *cpu, const struct insn *insn)
{
	return add_with(cpu, insn, FLAG_OF);
}
