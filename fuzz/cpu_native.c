/* SPDX-License-Identifier: MIT */
/*
 * cpu_native.c - runs bytes on the host's processor, with all registers given and taken.
 *
 * native_enter loads everything and jumps to the block, whose last instruction jumps to
 * native_exit. An exception becomes a signal: the handler takes the registers from the frame and
 * goes on at native_fault, as if native_enter had returned. The handler has its own stack, since
 * RSP is random.
 *
 * FS is the process's own (thread-local storage); GS is free, and set to the state's base.
 */
#include "cpu_diff.h"

#include <asm/prctl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/sanitize.h"

#ifdef MSLOT_SANITIZED
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* The assembler below knows these offsets. */
struct native {
	uint64_t gpr[16]; /* 0 */
	uint64_t rip;     /* 128 */
	uint64_t rflags;  /* 136 */
	uint64_t rsp;     /* 144: of this process, while the block runs */
	uint32_t mxcsr;   /* 152: the same */
	uint32_t running; /* 156 */
};

_Static_assert(offsetof(struct native, rip) == 128 && offsetof(struct native, running) == 156,
	       "offsets of the assembler below");

extern struct native native_registers;
extern struct fx_image native_fx;
struct native native_registers;
struct fx_image native_fx;

void native_enter(void);
extern const char native_exit[], native_fault[];

__asm__(".text\n"
	"native_enter:\n"
	"	pushq %rbx\n"
	"	pushq %rbp\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	stmxcsr native_registers+152(%rip)\n"
	"	movq %rsp, native_registers+144(%rip)\n"
	"	fxrstor native_fx(%rip)\n"
	"	movl $1, native_registers+156(%rip)\n"
	"	pushq native_registers+136(%rip)\n"
	"	popfq\n"
	"	movq native_registers+0(%rip), %rax\n"
	"	movq native_registers+8(%rip), %rcx\n"
	"	movq native_registers+16(%rip), %rdx\n"
	"	movq native_registers+24(%rip), %rbx\n"
	"	movq native_registers+32(%rip), %rsp\n"
	"	movq native_registers+40(%rip), %rbp\n"
	"	movq native_registers+48(%rip), %rsi\n"
	"	movq native_registers+56(%rip), %rdi\n"
	"	movq native_registers+64(%rip), %r8\n"
	"	movq native_registers+72(%rip), %r9\n"
	"	movq native_registers+80(%rip), %r10\n"
	"	movq native_registers+88(%rip), %r11\n"
	"	movq native_registers+96(%rip), %r12\n"
	"	movq native_registers+104(%rip), %r13\n"
	"	movq native_registers+112(%rip), %r14\n"
	"	movq native_registers+120(%rip), %r15\n"
	"	jmp *native_registers+128(%rip)\n"
	"native_exit:\n"
	"	movq %rax, native_registers+0(%rip)\n"
	"	movq %rcx, native_registers+8(%rip)\n"
	"	movq %rdx, native_registers+16(%rip)\n"
	"	movq %rbx, native_registers+24(%rip)\n"
	"	movq %rsp, native_registers+32(%rip)\n"
	"	movq %rbp, native_registers+40(%rip)\n"
	"	movq %rsi, native_registers+48(%rip)\n"
	"	movq %rdi, native_registers+56(%rip)\n"
	"	movq %r8, native_registers+64(%rip)\n"
	"	movq %r9, native_registers+72(%rip)\n"
	"	movq %r10, native_registers+80(%rip)\n"
	"	movq %r11, native_registers+88(%rip)\n"
	"	movq %r12, native_registers+96(%rip)\n"
	"	movq %r13, native_registers+104(%rip)\n"
	"	movq %r14, native_registers+112(%rip)\n"
	"	movq %r15, native_registers+120(%rip)\n"
	"	movq native_registers+144(%rip), %rsp\n"
	"	pushfq\n"
	"	popq native_registers+136(%rip)\n"
	"	fxsave native_fx(%rip)\n"
	"native_fault:\n"
	"	movq native_registers+144(%rip), %rsp\n"
	"	movl $0, native_registers+156(%rip)\n"
	"	cld\n"
	"	fninit\n"
	"	ldmxcsr native_registers+152(%rip)\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbp\n"
	"	popq %rbx\n"
	"	ret\n"
	"");

static struct diff_outcome *outcome;
static uint8_t *code; /* where it can be written */
static uint8_t signal_stack[65536];

static void take_registers(const ucontext_t *ctx, struct diff_state *out)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
				      REG_R12, REG_R13, REG_R14, REG_R15};
	const greg_t *gregs = ctx->uc_mcontext.gregs;

	for (unsigned int i = 0; i < 16; i++)
		out->gpr[i] = (uint64_t)gregs[order[i]];
	out->rip = (uint64_t)gregs[REG_RIP];
	out->rflags = (uint64_t)gregs[REG_EFL];
	memcpy(&out->fx, ctx->uc_mcontext.fpregs, offsetof(struct fx_image, rest));
}

static void on_signal(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *ctx = arg;
	greg_t *gregs = ctx->uc_mcontext.gregs;

	if (!native_registers.running) {
		cpu_host_fault(info->si_addr);
		signal(sig, SIG_DFL); /* our own mistake: die of it */
		return;
	}
	take_registers(ctx, &outcome->state);
	outcome->vector = (int)gregs[REG_TRAPNO];
	outcome->error = (uint32_t)gregs[REG_ERR];
	outcome->cr2 = (uint64_t)gregs[REG_CR2];
	gregs[REG_RIP] = (greg_t)(uintptr_t)native_fault;
	gregs[REG_EFL] &= ~(greg_t)0x40500; /* TF, DF, AC */
}

static const char *map_low(void)
{
	void *data = (void *)(uintptr_t)DATA_BASE; // NOLINT(performance-no-int-to-ptr)
	void *low = (void *)(uintptr_t)CODE_BASE;  // NOLINT(performance-no-int-to-ptr)
	int fd = memfd_create("cpu_diff", 0), fixed = MAP_FIXED_NOREPLACE;

	if (fd < 0 || ftruncate(fd, CODE_BYTES))
		return "no memory for code";
	code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (code == MAP_FAILED ||
	    mmap(low, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED | fixed, fd, 0) != low)
		return "the low addresses are taken";
	close(fd);
	if (mmap(data, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1,
		 0) != data)
		return "the low addresses are taken";
	return NULL;
}

uint8_t *native_code(void)
{
	return code;
}

const char *native_init(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	const char *why;

	if (SANITIZED)
		return "wild addresses would reach the sanitizer's shadow memory";
	if ((uintptr_t)native_exit >> 32 == 0)
		return "this program is not position-independent";
	why = map_low();
	if (why)
		return why;
	if (sigaltstack(&stack, NULL))
		return "no signal stack";
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &action, NULL))
			return "no signal handlers";
	return NULL;
}

uint64_t native_exit_address(void)
{
	return (uintptr_t)native_exit;
}

void native_run(const struct diff_state *before, struct diff_outcome *out)
{
	static uint64_t gs_base;

	if (gs_base != before->gs_base) {
		gs_base = before->gs_base;
		syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
	}
	memcpy(native_registers.gpr, before->gpr, sizeof(before->gpr));
	native_registers.rip = before->rip;
	native_registers.rflags = before->rflags;
	native_fx = before->fx;
	outcome = out;
	out->vector = NO_VECTOR;
	out->error = 0;
	out->cr2 = 0;
	native_enter();
	if (out->vector != NO_VECTOR)
		return;
	memcpy(out->state.gpr, native_registers.gpr, sizeof(out->state.gpr));
	out->state.rip = native_exit_address();
	out->state.rflags = native_registers.rflags;
	out->state.fx = native_fx;
}
