/* SPDX-License-Identifier: MIT */
/*
 * cpu_diff.c - our CPU against the host's: the same bytes, the same registers, the same memory.
 *
 *   cpu_diff [--instructions N] [--seed S] [--random-bytes] [--devices]
 *            [--refusals] [--coverage] [--complete] [--cells] [--keep-going]
 *
 * Compared are general and XMM registers, RIP, flags that are defined, MXCSR, the words of x87, all
 * data memory, and of an exception its vector, error code and address. A difference prints the
 * bytes, what was there before and both outcomes, and ends with 1; the seed makes the same blocks
 * again.
 * --devices: our CPU has no memory where data are, so that each access is an exit, and instructions
 * that read are executed again until they have all (X4): the outcome must be the same.
 * --refusals: the host refuses the first read and the first write of each page, with a signal; the
 * instruction is executed again when it may (X1).
 * N instructions of the kinds that decode() knows, and a quarter as many made of random bytes; or
 * those alone. --complete fails, too, if a kind was never executed without an exception; --coverage
 * counts them, --cells prints one of each and of what user mode cannot do, --keep-going says of
 * each difference in short what it is.
 */
#include "cpu_diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "exec.h"
#include "sse.h"

#define FLAGS_COMPARED                                                                             \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF | FLAG_DF | FLAG_ID | FLAG_AC)
#define MXCSR_OURS 0xffffu
#define MXCSR_OE_UE 0x18u
#define MXCSR_PE 0x20u
/* Linux says of every page from here on that it is present. */
#define TASK_END UINT64_C(0x7ffffffff000)
#define PF_USER 4u
#define PF_PRESENT 1u
#define SKIPPED 77

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static struct {
	uint64_t instructions, seed;
	enum guest_data_form form;
	bool random_bytes, coverage, complete, cells, keep_going;
} options = {.instructions = 200000};

static struct {
	struct cells cells;
	struct block_case block;
	struct diff_outcome native, guest;
	uint8_t data_before[DATA_BYTES];
	uint64_t blocks, executed, exceptions;
} run;

static uint8_t *native_data(void)
{
	return (uint8_t *)(uintptr_t)DATA_BASE; // NOLINT(performance-no-int-to-ptr)
}

/* ---- Comparing ---------------------------------------------------------- */

static exec_fn *function_at(uint64_t rip)
{
	uint64_t at = rip - CODE_BASE;
	struct insn insn;

	if (at > CODE_BYTES - CPU_INSN_MAX || decode(guest_code() + at, CPU_INSN_MAX, &insn) <= 0)
		return NULL;
	return insn.exec;
}

/* FXSAVE (0), FXRSTOR (1). */
static exec_fn *state_function(uint8_t reg)
{
	return sse_lookup(SSE_MAP_0F, 0xae, 0, (uint8_t)(reg << 3))->exec;
}

/* Of exceptions, what hardware has not promised. */
static void forgive_exception(struct diff_outcome *native, const struct diff_outcome *guest)
{
	uint32_t mxcsr = native->state.fx.mxcsr, ours = guest->state.fx.mxcsr;
	exec_fn *exec = function_at(native->state.rip);

	if (native->vector == VECTOR_XM) {
		/* Would a result that overflows or is tiny have been exact? */
		if (~mxcsr >> 7 & mxcsr & MXCSR_OE_UE)
			native->state.fx.mxcsr |= ours & MXCSR_PE;
		/* Products and sums raise their exceptions one after the other. */
		for (uint8_t dot = 0x40; dot <= 0x41; dot++) {
			const struct sse_row *row = sse_lookup(SSE_MAP_0F3A, dot, 0x66, 0xc0);

			if (row && exec == row->exec)
				native->state.fx.mxcsr = ours;
		}
	}
	/* Which of its 512 bytes is looked at first. */
	if (exec && (exec == state_function(0) || exec == state_function(1)))
		native->cr2 = guest->cr2;
	/* Which of its two operands is read first. */
	if (exec == exec_cmps) {
		native->vector = guest->vector;
		native->error = guest->error;
		native->cr2 = guest->cr2;
	}
}

/* What documents allow to differ, and what belongs to the environment, made equal. */
static void forgive(struct diff_outcome *native, struct diff_outcome *guest)
{
	/* We run at CPL 0; and Linux hides from processes what its half of the addresses has. */
	native->error &= ~PF_USER;
	if (native->vector == VECTOR_PF && native->cr2 >= TASK_END)
		native->error = (native->error & ~PF_PRESENT) | (guest->error & PF_PRESENT);
	if (native->vector != VECTOR_PF)
		native->cr2 = guest->cr2;
	if (native->vector >= 0 && guest->vector >= 0)
		forgive_exception(native, guest);
}

static bool same_state(const struct diff_state *a, const struct diff_state *b)
{
	return memcmp(a->gpr, b->gpr, sizeof(a->gpr)) == 0 && a->rip == b->rip &&
	       ((a->rflags ^ b->rflags) & FLAGS_COMPARED & ~run.block.undefined) == 0 &&
	       memcmp(a->fx.xmm, b->fx.xmm, sizeof(a->fx.xmm)) == 0 &&
	       memcmp(a->fx.st, b->fx.st, sizeof(a->fx.st)) == 0 && a->fx.mxcsr == b->fx.mxcsr &&
	       a->fx.fcw == b->fx.fcw && a->fx.fsw == b->fx.fsw && a->fx.ftw == b->fx.ftw;
}

static bool same_outcome(void)
{
	const struct diff_outcome *a = &run.native, *b = &run.guest;

	return a->vector == b->vector && a->error == b->error && a->cr2 == b->cr2 &&
	       same_state(&a->state, &b->state) &&
	       memcmp(native_data(), guest_data(), DATA_BYTES) == 0;
}

/* FXSAVE says which bits of MXCSR there are: the host may have more. */
static void forgive_fxsave(void)
{
	const uint32_t ours = MXCSR_OURS;

	for (size_t at = 0; at + 512 <= DATA_BYTES; at += 16) {
		uint32_t mask, guest;

		memcpy(&mask, native_data() + at + 28, 4);
		memcpy(&guest, guest_data() + at + 28, 4);
		if (guest == ours && mask == (ours | 0x20000))
			memcpy(native_data() + at + 28, &ours, 4);
	}
}

/*
 * What cannot be executed in parts: more accesses to devices than anybody needs; ENTER, which may
 * read what it has just written, and begins again.
 */
static bool needs_memory(void)
{
	if (run.guest.vector == VECTOR_INTERNAL)
		return strcmp(run.guest.why, "an instruction with too many accesses to MMIO") == 0;
	for (unsigned int i = 0; i < run.block.nunits; i++)
		if (function_at(run.block.before.rip + run.block.unit[i].main) == exec_enter)
			return true;
	return false;
}

/* ---- Running ------------------------------------------------------------ */

static void put_memory(uint64_t at, const void *bytes, size_t n)
{
	memcpy(native_data() + (at - DATA_BASE), bytes, n);
	memcpy(guest_data() + (at - DATA_BASE), bytes, n);
}

static void protect(bool readonly)
{

	mprotect(native_data() + DATA_WRITABLE, DATA_BYTES - DATA_WRITABLE,
		 readonly ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void fill_memory(struct rng *rng)
{
	uint64_t *words = (uint64_t *)(void *)run.data_before;

	for (size_t i = 0; i < DATA_BYTES / 8; i++)
		words[i] = rng_next(rng);
	protect(false);
	put_memory(DATA_BASE, run.data_before, DATA_BYTES);
	protect(true);
}

/* A little fresh randomness, since blocks wear memory out. */
static void refresh_memory(struct rng *rng)
{
	uint64_t fresh[16];

	for (unsigned int i = 0; i < 16; i++)
		fresh[i] = rng_next(rng);
	put_memory(DATA_BASE + (rng_below(rng, DATA_WRITABLE - 128) & ~UINT64_C(127)), fresh,
		   sizeof(fresh));
}

/* The block at `at`, NOPs in the place of what is behind `nunits` units, and the jump out. */
static void place(uint64_t at, unsigned int nunits)
{
	static const uint8_t jump[6] = {0xff, 0x25};
	const struct block_case *block = &run.block;
	unsigned int n = nunits < block->nunits ? block->unit[nunits].at : block->nbytes;
	uint64_t target = native_exit_address();
	uint8_t bytes[BLOCK_BYTES + 32];

	memset(bytes, 0xcc, sizeof(bytes));
	memset(bytes, 0x90, block->nbytes);
	memcpy(bytes, block->bytes, n);
	n = block->nbytes;
	memcpy(bytes + n, jump, 6);
	memcpy(bytes + n + 6, &target, 8);
	memcpy(native_code() + (at - CODE_BASE), bytes, n + 30);
	memcpy(guest_code() + (at - CODE_BASE), bytes, n + 30);
}

static void run_both(void)
{
	native_run(&run.block.before, &run.native);
	guest_run(&run.block.before, &run.guest);
	forgive(&run.native, &run.guest);
}

static bool execute(struct rng *rng, uint64_t at)
{
	run.block.before.rip = at;
	refresh_memory(rng);
	if (run.block.has_fix)
		put_memory(run.block.fix.at, run.block.fix.bytes, run.block.fix.n);
	memcpy(run.data_before, native_data(), DATA_BYTES);
	place(at, run.block.nunits);
	run_both();
	if (same_outcome())
		return true;
	if (options.form != DATA_MEMORY && needs_memory()) {
		memcpy(guest_data(), native_data(), DATA_BYTES);
		return true;
	}
	forgive_fxsave();
	if (run.native.state.fx.mxcsr & ~MXCSR_OURS) {
		/* A bit of MXCSR that the host has, and we have not: another story from there on.
		 */
		memcpy(guest_data(), native_data(), DATA_BYTES);
		return true;
	}
	return same_outcome();
}

static void count(uint64_t at)
{
	const struct block_case *block = &run.block;
	bool exception = run.native.vector != NO_VECTOR;

	run.blocks++;
	run.exceptions += exception;
	for (unsigned int i = 0; i < block->nunits; i++) {
		const struct unit *unit = &block->unit[i];

		if (exception && run.native.state.rip <= at + unit->main)
			break;
		run.executed++;
		if (unit->cell)
			unit->cell->runs++;
		if (unit->branches)
			break;
	}
}

/* ---- Reporting ---------------------------------------------------------- */

static void print_bytes(const uint8_t *bytes, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		printf("%s%02x", i ? " " : "", bytes[i]);
	printf("\n");
}

/* With objdump, where there is one. */
static void disassemble(const uint8_t *bytes, unsigned int n, uint64_t at)
{
	char name[] = "cpu_diff.XXXXXX", command[200];
	int fd = mkstemp(name);

	if (fd < 0)
		return;
	if (write(fd, bytes, n) == (ssize_t)n) {
		snprintf(command, sizeof(command),
			 "objdump -D -b binary -m i386:x86-64 --adjust-vma=0x%" PRIx64
			 " %s 2>/dev/null | sed 1,7d",
			 at, name);
		fflush(stdout);
		if (system(command)) // NOLINT(cert-env33-c)
			printf("(no objdump)\n");
	}
	close(fd);
	unlink(name);
}

static void print_outcome(const char *who, const struct diff_outcome *outcome)
{
	printf("%s: ", who);
	if (outcome->vector == VECTOR_INTERNAL)
		printf("gives up: %s", outcome->why);
	else if (outcome->vector == NO_VECTOR)
		printf("no exception");
	else
		printf("vector %d, error %#x, address %#" PRIx64, outcome->vector, outcome->error,
		       outcome->cr2);
	printf("\n");
}

static void print_word(const char *name, uint64_t before, uint64_t native, uint64_t guest)
{
	if (options.keep_going && native == guest)
		return;
	printf("  %-8s %016" PRIx64 "  %016" PRIx64 "  %016" PRIx64 "%s\n", name, before, native,
	       guest, native == guest ? "" : "  <");
}

static void print_states(void)
{
	const struct diff_state *b = &run.block.before, *n = &run.native.state,
				*g = &run.guest.state;
	unsigned int shown = 0;
	char name[16];

	printf("  %-8s %-16s  %-16s  %-16s\n", "", "before", "host", "ours");
	for (unsigned int i = 0; i < 16; i++)
		print_word(gpr_names[i], b->gpr[i], n->gpr[i], g->gpr[i]);
	print_word("rip", b->rip, n->rip, g->rip);
	print_word("flags", b->rflags & FLAGS_COMPARED,
		   n->rflags & FLAGS_COMPARED & ~run.block.undefined,
		   g->rflags & FLAGS_COMPARED & ~run.block.undefined);
	print_word("mxcsr", b->fx.mxcsr, n->fx.mxcsr, g->fx.mxcsr);
	print_word("fcw", b->fx.fcw, n->fx.fcw, g->fx.fcw);
	print_word("fsw", b->fx.fsw, n->fx.fsw, g->fx.fsw);
	print_word("ftw", b->fx.ftw, n->fx.ftw, g->fx.ftw);
	for (unsigned int i = 0; i < 32; i++) {
		uint64_t val[3];

		memcpy(&val[0], b->fx.xmm[i / 2] + 8 * (i & 1), 8);
		memcpy(&val[1], n->fx.xmm[i / 2] + 8 * (i & 1), 8);
		memcpy(&val[2], g->fx.xmm[i / 2] + 8 * (i & 1), 8);
		snprintf(name, sizeof(name), "xmm%u%s", i / 2, i & 1 ? "+" : "");
		print_word(name, val[0], val[1], val[2]);
	}
	if (memcmp(n->fx.st, g->fx.st, sizeof(n->fx.st)) != 0)
		printf("  registers of x87 differ\n");
	for (size_t i = 0; i < DATA_BYTES && shown < 16; i++)
		if (native_data()[i] != guest_data()[i] && ++shown)
			printf("  memory %#" PRIx64 ": %02x, host %02x, ours %02x\n", DATA_BASE + i,
			       run.data_before[i], native_data()[i], guest_data()[i]);
}

/* The first thing that differs, in a word. */
static const char *differing(void)
{
	const struct diff_state *n = &run.native.state, *g = &run.guest.state;

	if (run.guest.vector == VECTOR_INTERNAL)
		return run.guest.why;
	if (run.native.vector != run.guest.vector)
		return "exception";
	if (run.native.error != run.guest.error || run.native.cr2 != run.guest.cr2)
		return "error code";
	if (n->rip != g->rip)
		return "rip";
	if (memcmp(n->gpr, g->gpr, sizeof(n->gpr)) != 0)
		return "registers";
	if (memcmp(n->fx.xmm, g->fx.xmm, sizeof(n->fx.xmm)) != 0)
		return "xmm registers";
	if (n->fx.mxcsr != g->fx.mxcsr)
		return "mxcsr";
	return memcmp(native_data(), guest_data(), DATA_BYTES) ? "memory" : "flags or x87";
}

/* The shortest beginning of the block that differs, from the same memory. */
static void shorten(uint64_t at)
{
	for (unsigned int n = 1; n <= run.block.nunits; n++) {
		protect(false);
		put_memory(DATA_BASE, run.data_before, DATA_BYTES);
		protect(true);
		place(at, n);
		run_both();
		forgive_fxsave();
		if (!same_outcome()) {
			run.block.nbytes =
			    n < run.block.nunits ? run.block.unit[n].at : run.block.nbytes;
			run.block.nunits = n;
			return;
		}
	}
}

/* A line for the first difference of each kind of instruction; then as if there had been none. */
static void summarize(uint64_t at)
{
	struct cell *cell;

	shorten(at);
	cell = run.block.unit[run.block.nunits - 1].cell;
	if (!cell || !cell->differs) {
		printf("%s: ", differing());
		print_bytes(run.block.bytes + run.block.unit[run.block.nunits - 1].at,
			    run.block.nbytes - run.block.unit[run.block.nunits - 1].at);
		print_outcome("  host", &run.native);
		print_outcome("  ours", &run.guest);
		print_states();
	}
	if (cell)
		cell->differs = true;
	memcpy(guest_data(), native_data(), DATA_BYTES);
}

static void report(uint64_t at)
{
	const struct block_case *block = &run.block;
	unsigned int last;

	shorten(at);
	last = block->unit[block->nunits - 1].at;
	printf("\ndifference in block %" PRIu64 " of seed %" PRIu64 ", instruction %u\n",
	       run.blocks, options.seed, block->nunits);
	print_bytes(block->bytes + last, block->nbytes - last);
	disassemble(block->bytes, block->nbytes, at);
	print_outcome("host", &run.native);
	print_outcome("ours", &run.guest);
	print_states();
}

static void print_cell(const struct cell *cell)
{
	uint8_t bytes[CPU_INSN_MAX];

	print_bytes(bytes, cell_bytes(cell, bytes));
}

/* Returns how many were never executed. */
static unsigned int coverage(void)
{
	unsigned int never = 0;

	for (size_t i = 0; i < run.cells.n; i++) {
		const struct cell *cell = &run.cells.rows[i];

		if (options.coverage)
			printf("%8" PRIu64 "  ", cell->runs), print_cell(cell);
		never += cell->runs == 0;
	}
	for (size_t i = 0; i < run.cells.n && !options.coverage && options.complete; i++)
		if (run.cells.rows[i].runs == 0)
			printf("never executed without an exception: "),
			    print_cell(&run.cells.rows[i]);
	return never;
}

/* ---- The program -------------------------------------------------------- */

/* The next block, at `at`; random bytes may have to be thrown again. */
static void generate(struct rng *rng, bool random_bytes, uint64_t at)
{
	if (!random_bytes)
		gen_block(rng, &run.cells, at, &run.block);
	while (random_bytes && !gen_bytes(rng, &run.block))
		continue;
}

static int fuzz(bool random_bytes, uint64_t instructions)
{
	/* Of the processor's time, for what does not end: SIGVTALRM kills. */
	const struct itimerval patience = {.it_value.tv_sec = 60};
	uint64_t at = CODE_BASE;
	struct rng rng;
	int failed = 0;

	rng_init(&rng, options.seed);
	fill_memory(&rng);
	run.executed = run.blocks = run.exceptions = 0;
	while (run.executed < instructions && (!failed || options.keep_going)) {
		if (at + BLOCK_BYTES + 64 >= CODE_BASE + CODE_BYTES)
			at = CODE_BASE + rng_below(&rng, 64);
		if (run.blocks % 4096 == 0)
			setitimer(ITIMER_VIRTUAL, &patience, NULL);
		generate(&rng, random_bytes, at);
		if (!execute(&rng, at)) {
			if (options.keep_going)
				summarize(at);
			else
				report(at);
			failed = 1;
		}
		count(at);
		at += run.block.nbytes + 30;
	}
	printf("cpu_diff: seed %" PRIu64 ": %" PRIu64 " instructions%s in %" PRIu64
	       " blocks, %" PRIu64 " exceptions%s\n",
	       options.seed, run.executed, random_bytes ? " of random bytes" : "", run.blocks,
	       run.exceptions, failed ? ": DIFFERENCE" : "");
	return failed;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t val;

	errno = 0;
	val = strtoull(text, &end, 10);
	if (errno || *end || end == text) {
		fprintf(stderr, "cpu_diff: '%s' is not a number\n", text);
		exit(2);
	}
	return val;
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--instructions") == 0 && i + 1 < argc)
			options.instructions = number(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			options.seed = number(argv[++i]);
		else if (strcmp(argv[i], "--random-bytes") == 0)
			options.random_bytes = true;
		else if (strcmp(argv[i], "--devices") == 0)
			options.form = DATA_DEVICES;
		else if (strcmp(argv[i], "--refusals") == 0)
			options.form = DATA_REFUSED;
		else if (strcmp(argv[i], "--coverage") == 0)
			options.coverage = true;
		else if (strcmp(argv[i], "--complete") == 0)
			options.complete = true;
		else if (strcmp(argv[i], "--cells") == 0)
			options.cells = true;
		else if (strcmp(argv[i], "--keep-going") == 0)
			options.keep_going = true;
		else {
			fprintf(stderr,
				"usage: cpu_diff [--instructions N] [--seed S] [--random-bytes] "
				"[--devices] [--refusals] [--coverage] [--complete] "
				"[--cells] [--keep-going]\n");
			exit(2);
		}
	}
}

static int fuzz_all(unsigned int lacking)
{
	unsigned int never;

	if (lacking)
		printf("cpu_diff: %u kinds of instructions left out, which the host lacks\n",
		       lacking);
	if (options.random_bytes)
		return fuzz(true, options.instructions);
	if (fuzz(false, options.instructions))
		return 1;
	never = coverage();
	printf("cpu_diff: %zu kinds of instructions, %u of them never without an exception\n",
	       run.cells.n, never);
	if (options.complete && never)
		return 1;
	return fuzz(true, options.instructions / 4);
}

int main(int argc, char **argv)
{
	unsigned int lacking;
	const char *why;
	int result = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	if (cells_find(options.cells, &run.cells, &lacking)) {
		fprintf(stderr, "cpu_diff: no memory\n");
		return 2;
	}
	if (options.cells) {
		for (size_t i = 0; i < run.cells.n; i++)
			printf("%s ", cell_kind(&run.cells.rows[i])),
			    print_cell(&run.cells.rows[i]);
		for (unsigned int i = SSE_2; i < SSE_FEATURES; i++)
			if (!sse_feature_there((enum sse_feature)i))
				printf("lacking\n");
		free(run.cells.rows);
		return 0;
	}
	why = native_init();
	if (!why)
		why = guest_init(native_exit_address(), options.form);
	if (why) {
		printf("cpu_diff: skipped: %s\n", why);
		result = SKIPPED;
	} else {
		result = fuzz_all(lacking);
		guest_fini();
	}
	free(run.cells.rows);
	return result;
}
