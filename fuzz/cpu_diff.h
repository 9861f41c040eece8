/* SPDX-License-Identifier: MIT */
/*
 * cpu_diff.h - what the parts of the differential fuzzer of the CPU share.
 *
 *   cpu_cells.c    which instructions there are: asked of decode(), not written down again
 *   cpu_gen.c      blocks of random instructions and the state that they begin with
 *   cpu_native.c   runs a block on the host's processor
 *   cpu_guest.c    runs it on ours
 *   cpu_diff.c     compares, counts, reports
 *
 * Both see the same linear addresses: DATA_BASE and CODE_BASE are mapped at themselves in this
 * process, and in the guest by its page tables to other memory. They are below 4 GiB, so that
 * 32-bit addresses reach them, and nothing else is near.
 */
#ifndef FUZZ_CPU_DIFF_H
#define FUZZ_CPU_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"
#include "x86.h"

/* Data: pages that can be written, then one that cannot, and nothing around. */
#define DATA_BASE UINT64_C(0x10000000)
#define DATA_PAGES 4u
#define DATA_WRITABLE (3u * 4096u)
#define DATA_BYTES (DATA_PAGES * 4096u)
#define CODE_BASE UINT64_C(0x10800000)
#define CODE_PAGES 16u
#define CODE_BYTES (CODE_PAGES * 4096u)

/* As FXSAVE has it. */
struct fx_image {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t rest[96];
} __attribute__((__aligned__(64)));

struct diff_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint64_t gs_base;
	struct fx_image fx;
};

#define NO_VECTOR (-1)
#define VECTOR_INTERNAL (-2) /* our CPU said that it cannot */

struct diff_outcome {
	struct diff_state state;
	int vector;
	uint32_t error;
	uint64_t cr2;
	const char *why;
};

/* ---- Instructions ------------------------------------------------------- */

enum cell_form { FORM_PLAIN, FORM_MEM, FORM_REG };

/* One kind of instruction: what decode() does not tell apart is one cell. */
struct cell {
	uint8_t map;    /* enum opcode_map */
	uint8_t prefix; /* 0, 0x66, 0xf2, 0xf3 */
	uint8_t opcode;
	uint8_t wide; /* REX.W */
	uint8_t lock;
	uint8_t vex;    /* behind a VEX prefix of three bytes */
	uint8_t form;   /* enum cell_form */
	int8_t reg, rm; /* of ModRM, or -1: any */
	uint8_t imm_bytes;
	uint8_t aligned; /* the memory operand must be */
	uint16_t mem_bytes;
	struct insn insn; /* as decode() gave it */
	bool differs;     /* was reported */
	uint64_t runs;    /* without an exception */
};

struct cells {
	struct cell *rows;
	size_t n;
};

/*
 * cells_find() - all that user mode can execute alike; with `all`, the rest as well.
 *   lacking   receives how many there are that the host lacks
 * Returns 0, -ENOMEM.
 */
int cells_find(bool all, struct cells *out, unsigned int *lacking);

/* "general", "SSE" or "system". */
const char *cell_kind(const struct cell *cell);

/* A VEX prefix; `rex` has R, X and B as REX would, `third` is the third register. */
unsigned int vex_bytes(const struct cell *cell, uint8_t rex, uint8_t third, uint8_t out[3]);

/* The bytes of a cell, with the operands that it was found with; returns how many. */
unsigned int cell_bytes(const struct cell *cell, uint8_t out[CPU_INSN_MAX]);

/* May the host execute it in this process? (Whatever decode() accepted.) */
bool insn_is_harmless(const struct insn *insn);

/* Flags that documents leave undefined behind it; `count` is CL of shifts by it. */
uint64_t insn_undefined_flags(const struct insn *insn, uint8_t count);

/* ---- Blocks ------------------------------------------------------------- */

#define BLOCK_UNITS 8u
#define BLOCK_BYTES 400u

struct unit {
	struct cell *cell; /* NULL in random bytes */
	unsigned int at;   /* in bytes[] */
	unsigned int main; /* of the cell's own instruction */
	bool branches;
};

/* Bytes to be put into data memory before. */
struct fixup {
	uint64_t at;
	unsigned int n;
	uint8_t bytes[512];
};

struct block_case {
	struct diff_state before;
	uint8_t bytes[BLOCK_BYTES];
	unsigned int nbytes, nunits;
	struct unit unit[BLOCK_UNITS];
	uint64_t undefined; /* flags not to compare */
	bool has_fix;
	struct fixup fix;
};

/* A block of cells for the address `at`; rip and what ends it are the caller's. */
void gen_block(struct rng *rng, struct cells *cells, uint64_t at, struct block_case *out);

/* One instruction of random bytes; false: none that may be executed. */
bool gen_bytes(struct rng *rng, struct block_case *out);

/* ---- Processors --------------------------------------------------------- */

/* NULL, or why this process cannot. */
const char *native_init(void);
uint64_t native_exit_address(void);
uint8_t *native_code(void); /* to write to; at CODE_BASE it cannot be written */
void native_run(const struct diff_state *before, struct diff_outcome *out);

/*
 * How our CPU finds its data: as memory; as MMIO, served a part at a time; as memory of which the
 * host refuses the first read of each page, and the first write.
 */
enum guest_data_form { DATA_MEMORY, DATA_DEVICES, DATA_REFUSED };

const char *guest_init(uint64_t exit_address, enum guest_data_form form);
uint8_t *guest_data(void);
uint8_t *guest_code(void);
void guest_run(const struct diff_state *before, struct diff_outcome *out);
void guest_fini(void);

#endif /* FUZZ_CPU_DIFF_H */
