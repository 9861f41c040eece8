/* SPDX-License-Identifier: MIT */
/*
 * test_x86_host.c - a CPU and what happens around it: host memory that cannot be accessed, code
 * that changes, requests to its vCPU, dirty marks, the budget.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_cpu.h"

#define HLT 0xf4
#define LOAD 0x48, 0x8b, 0x07  /* mov rax, [rdi] */
#define STORE 0x48, 0x89, 0x07 /* mov [rdi], rax */
#define PAGE UINT64_C(0x1000)

/* ---- Host faults ------------------------------------------------------------ */

static void handler(int signo, siginfo_t *info, void *ctx)
{
	sigset_t set;

	(void)ctx;
	/* ThreadSanitizer blocks all signals here, whatever was asked for. */
	sigfillset(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	cpu_host_fault(info->si_addr);
	/* Not the guest's. */
	signal(signo, SIG_DFL);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER};

	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
}

static void expect_host(struct guest_cpu *guest, uint64_t at)
{
	struct cpu_state before = *guest->s;

	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HOST);
	assert_int_equal(guest->exit.host.hva, (uintptr_t)guest->host + at);
	assert_memory_equal(guest->s, &before, sizeof(before));
}

static void memory_that_is_protected(void **state)
{
	struct guest_cpu *guest = *state;
	uint8_t *page = guest->host + GUEST_DATA;

	catch_signals();
	*(uint64_t *)(void *)(page + 8) = 99;
	assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
	guest_cpu_asm(guest, LOAD, 0x48, 0x01, 0x07, /* add [rdi], rax */ HLT);
	guest->s->gpr[CPU_RDI] = GUEST_DATA + 8;
	guest->s->gpr[CPU_RAX] = 5;
	expect_host(guest, GUEST_DATA + 8);
	expect_host(guest, GUEST_DATA + 8);
	assert_int_equal(mprotect(page, PAGE, PROT_READ), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HOST);
	assert_int_equal(guest->s->rip, GUEST_CODE + 3);
	assert_int_equal(guest->s->gpr[CPU_RAX], 99);
	assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(*(uint64_t *)(void *)(page + 8), 198);
}

/* The second page of an access; of code; of a table; of the stack of an exception. */
static void memory_that_is_gone(void **state)
{
	static const uint64_t where[] = {GUEST_DATA + PAGE, GUEST_CODE, GUEST_PT,
					 GUEST_STACK - PAGE};
	struct guest_cpu *guest = *state;

	catch_signals();
	for (unsigned int i = 0; i < 4; i++) {
		uint8_t *page = guest->host + where[i];

		guest_cpu_asm(guest, STORE, 0x0f, 0x0b, /* ud2 */ HLT);
		guest->s->gpr[CPU_RDI] = GUEST_DATA + PAGE - 4;
		guest->s->gpr[CPU_RAX] = i + 1;
		cpu_state_changed(guest->cpu);
		memset(guest->host + GUEST_DATA + PAGE - 4, 0x5a, 4);
		assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HOST);
		assert_int_equal(guest->exit.host.hva & ~(PAGE - 1), (uintptr_t)page);
		assert_int_equal(guest->s->rip, GUEST_CODE + (i == 3 ? 3 : 0));
		assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK);
		if (i == 0)
			assert_memory_equal(guest->host + GUEST_DATA + PAGE - 4, "\x5a\x5a\x5a\x5a",
					    4);
		assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
		assert_int_equal(guest_cpu_vector(guest), 6);
		assert_int_equal(guest_cpu_frame(guest).rip, GUEST_CODE + 3);
	}
}

/* A segment register from the stack, whose descriptor is gone: RSP has not moved. */
static void descriptor_that_is_gone(void **state)
{
	struct guest_cpu *guest = *state;
	uint8_t *page = guest->host + GUEST_GDT;

	catch_signals();
	guest_cpu_asm(guest, 0x0f, 0xa1, /* pop fs */ HLT);
	guest->s->gpr[CPU_RSP] = GUEST_STACK - 8;
	*guest_cpu_word(guest, GUEST_STACK - 8) = GUEST_DS;
	assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
	expect_host(guest, GUEST_GDT + GUEST_DS);
	assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RSP], GUEST_STACK);
	assert_int_equal(guest->s->seg[CPU_FS].selector, GUEST_DS);
}

static void file_that_is_cut(void **state)
{
	struct guest_cpu *guest = *state;

	catch_signals();
	guest_cpu_slot(guest, 2, 0x1000000, PAGE, GUEST_HOST_BYTES - PAGE, 0);
	assert_int_equal(ftruncate(guest->fd, (off_t)(GUEST_HOST_BYTES - PAGE)), 0);
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = 0x1000000;
	expect_host(guest, GUEST_HOST_BYTES - PAGE);
	assert_int_equal(ftruncate(guest->fd, (off_t)GUEST_HOST_BYTES), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0);
}

/* A read of a device, completed, stays completed when the write after it hits such memory. */
static void read_of_a_device_is_not_repeated(void **state)
{
	struct guest_cpu *guest = *state;
	uint8_t *page = guest->host + GUEST_DATA;

	catch_signals();
	guest_cpu_asm(guest, 0xa5, /* movsd */ HLT);
	guest->s->gpr[CPU_RSI] = 0x10000000;
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_MMIO);
	cpu_complete(guest->cpu, &(const uint32_t){0x12345678});
	assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HOST);
	assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(void *)page, 0x12345678);
}

/* ---- Code that changes ------------------------------------------------------ */

static void code_changes_itself(void **state)
{
	struct guest_cpu *guest = *state;

	/* In the running block: the instruction right behind the store becomes HLT. */
	guest_cpu_asm(guest, 0xc6, 0x05, 0x00, 0x00, 0x00, 0x00, HLT, /* mov byte [rip], hlt */
		      0x90, 0x48, 0xff, 0xc3, /* inc rbx */ HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->rip, GUEST_CODE + 8);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0);
}

/* Between two executions: by the guest through another address, and by the program. */
static void code_changes_elsewhere(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t routine[] = {0xb8, 1, 0, 0, 0, 0xc3}; /* mov eax, 1; ret */
	const uint64_t at = GUEST_CODE + PAGE;

	memcpy(guest->host + at, routine, sizeof(routine));
	guest_cpu_asm(guest, 0xff, 0xd7, /* call rdi */ 0x89, 0xc3, /* mov ebx, eax */ 0xc6, 0x06,
		      0x07, /* mov byte [rsi], 7 */ 0xff, 0xd7, HLT);
	guest->s->gpr[CPU_RDI] = at;
	guest->s->gpr[CPU_RSI] = GUEST_ALIAS + at + 1;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RBX], 1);
	assert_int_equal(guest->s->gpr[CPU_RAX], 7);
	guest->host[at + 1] = 42;
	guest->s->rip = GUEST_CODE;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RBX], 42);
}

/* An instruction in two pages, whose second half changes, by bytes and by translation. */
static void code_across_pages(void **state)
{
	struct guest_cpu *guest = *state;
	static const uint8_t routine[] = {0xb8, 1, 0, 0, 0, 0xc3};
	const uint64_t end = GUEST_CODE + 2 * PAGE;

	for (unsigned int back = 1; back < sizeof(routine); back++) {
		memcpy(guest->host + end - back, routine, sizeof(routine));
		guest_cpu_asm(guest, 0xff, 0xd7, HLT);
		guest->s->gpr[CPU_RDI] = end - back;
		for (unsigned int i = 0; i < 3; i++) {
			guest->host[end - back + 4] = (uint8_t)i;
			guest->s->rip = GUEST_CODE;
			assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
			assert_int_equal(guest->s->gpr[CPU_RAX], 1 | i << 24);
		}
	}
	/* Another page there, without a byte having changed. */
	memcpy(guest->host + end - 2, routine, sizeof(routine));
	memcpy(guest->host + GUEST_DATA, "\x05\x00\x00\xc3", 4);
	*guest_cpu_pte(guest, end) = GUEST_DATA | 3;
	guest->s->rip = GUEST_CODE;
	guest->s->gpr[CPU_RDI] = end - 2;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RAX], 0x0501);
	/* And none: the fault names the second page. */
	*guest_cpu_pte(guest, end) = 0;
	guest->s->rip = GUEST_CODE;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_vector(guest), 14);
	assert_int_equal(guest->s->cr2, end);
	assert_int_equal(guest_cpu_frame(guest).rip, end - 2);
	assert_int_equal(guest_cpu_frame(guest).error, 0x10);
}

/* The slot is taken away from under the code, and other memory shown there. */
static void code_in_a_slot_that_moves(void **state)
{
	struct guest_cpu *guest = *state;
	const uint64_t gpa = 0x1000000, one = GUEST_RAM_BYTES, two = GUEST_RAM_BYTES + PAGE;

	memcpy(guest->host + one, "\xb8\x01\x00\x00\x00\xf4", 6);
	memcpy(guest->host + two, "\xb8\x02\x00\x00\x00\xf4", 6);
	guest_cpu_slot(guest, 2, gpa, PAGE, one, 0);
	guest->s->rip = gpa;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RAX], 1);
	guest_cpu_slot_delete(guest, 2);
	guest->s->rip = gpa;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_INTERNAL);
	guest_cpu_slot(guest, 2, gpa, PAGE, two, 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->gpr[CPU_RAX], 2);
}

/* ---- Requests --------------------------------------------------------------- */

struct runner {
	struct guest_cpu *guest;
	pthread_t thread;
	_Atomic bool done;
};

static void *run_until_told(void *arg)
{
	struct runner *runner = arg;

	cpu_run(runner->guest->cpu, UINT64_MAX, &runner->guest->exit);
	runner->done = true;
	return NULL;
}

static void start(struct runner *runner, struct guest_cpu *guest)
{
	*runner = (struct runner){.guest = guest};
	assert_int_equal(pthread_create(&runner->thread, NULL, run_until_told, runner), 0);
}

static void stop(struct runner *runner)
{
	cpu_attend(runner->guest->cpu, true);
	assert_int_equal(pthread_join(runner->thread, NULL), 0);
}

/* Until the guest has counted on, in its memory. */
static void wait_for_progress(struct guest_cpu *guest, uint64_t gpa)
{
	uint64_t before = __atomic_load_n(guest_cpu_word(guest, gpa), __ATOMIC_ACQUIRE);

	while (__atomic_load_n(guest_cpu_word(guest, gpa), __ATOMIC_ACQUIRE) < before + 10)
		sched_yield();
}

/* A guest that counts for ever: commits and waits return, and it goes on. */
static void waits_return_while_the_guest_runs(void **state)
{
	struct guest_cpu *guest = *state;
	struct mslot_map_stats stats;
	struct runner runner;

	guest_cpu_asm(guest, 0x48, 0xff, 0x07, /* inc qword [rdi] */ 0xeb, 0xfb);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	start(&runner, guest);
	for (unsigned int i = 0; i < 50; i++) {
		wait_for_progress(guest, GUEST_DATA);
		guest_cpu_slot(guest, 2, 0x1000000, PAGE, GUEST_RAM_BYTES, 0);
		guest_cpu_slot_delete(guest, 2);
		assert_int_equal(mslot_map_stats_get(guest->map, &stats), 0);
		assert_int_equal(mslot_wait(guest->map, stats.generation, -1), 0);
	}
	wait_for_progress(guest, GUEST_DATA);
	stop(&runner);
	assert_int_equal(guest->exit.reason, CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->gpr[CPU_RDI], GUEST_DATA);
}

/* T1: once the wait is over, not one access more; the guest meets a hole instead. */
static void no_access_after_a_delete(void **state)
{
	struct guest_cpu *guest = *state;
	struct mslot_map_stats stats;
	struct runner runner;
	uint64_t seen;

	guest_cpu_asm(guest, 0x48, 0xff, 0x07, 0xeb, 0xfb);
	guest->s->gpr[CPU_RDI] = 0x1000000;
	for (unsigned int i = 0; i < 20; i++) {
		guest_cpu_slot(guest, 2, 0x1000000, PAGE, GUEST_RAM_BYTES, 0);
		guest->s->rip = GUEST_CODE;
		start(&runner, guest);
		wait_for_progress(guest, GUEST_RAM_BYTES);
		guest_cpu_slot_delete(guest, 2);
		assert_int_equal(mslot_map_stats_get(guest->map, &stats), 0);
		assert_int_equal(mslot_wait(guest->map, stats.generation, -1), 0);
		seen = *guest_cpu_word(guest, GUEST_RAM_BYTES);
		assert_int_equal(pthread_join(runner.thread, NULL), 0);
		assert_int_equal(guest->exit.reason, CPU_EXIT_MMIO);
		assert_false(guest->exit.mmio.write);
		assert_int_equal(*guest_cpu_word(guest, GUEST_RAM_BYTES), seen);
	}
}

/* The same of the code itself, which runs in a page that is taken away. */
static void no_fetch_after_a_delete(void **state)
{
	static const uint8_t code[] = {0x48, 0xff, 0x07, 0xeb, 0xfb};
	struct guest_cpu *guest = *state;
	struct mslot_map_stats stats;
	struct runner runner;

	memcpy(guest->host + GUEST_RAM_BYTES, code, sizeof(code));
	guest_cpu_slot(guest, 2, 0x1000000, PAGE, GUEST_RAM_BYTES, 0);
	guest->s->rip = 0x1000000;
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	start(&runner, guest);
	wait_for_progress(guest, GUEST_DATA);
	guest_cpu_slot_delete(guest, 2);
	assert_int_equal(mslot_map_stats_get(guest->map, &stats), 0);
	assert_int_equal(mslot_wait(guest->map, stats.generation, -1), 0);
	guest->host[GUEST_RAM_BYTES] = HLT;
	assert_int_equal(pthread_join(runner.thread, NULL), 0);
	assert_int_equal(guest->exit.reason, CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "instruction fetch from MMIO");
}

/* Another thread writes the code that runs. */
static void code_changed_by_another_thread(void **state)
{
	struct guest_cpu *guest = *state;
	struct runner runner;

	/* inc qword [rdi]; jmp to the beginning, or on to HLT. */
	guest_cpu_asm(guest, 0x48, 0xff, 0x07, 0xeb, 0xfb, HLT);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	start(&runner, guest);
	wait_for_progress(guest, GUEST_DATA);
	__atomic_store_n(&guest->host[GUEST_CODE + 4], 0, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(runner.thread, NULL), 0);
	assert_int_equal(guest->exit.reason, CPU_EXIT_HLT);
	assert_int_equal(guest->s->rip, GUEST_CODE + 6);
}

/* While host memory is being changed the guest waits; told to leave, it does. */
static void invalidation_under_way(void **state)
{
	struct guest_cpu *guest = *state;
	struct mslot_range range = {(uintptr_t)guest->host + GUEST_DATA, PAGE};
	struct runner runner;
	uint64_t seen;

	guest_cpu_asm(guest, 0x48, 0xff, 0x07, 0xeb, 0xfb);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	start(&runner, guest);
	wait_for_progress(guest, GUEST_DATA);
	assert_int_equal(mslot_invalidate_begin(guest->mmu, range), 0);
	seen = *guest_cpu_word(guest, GUEST_DATA);
	for (unsigned int i = 0; i < 100; i++)
		sched_yield();
	assert_int_equal(*guest_cpu_word(guest, GUEST_DATA), seen);
	stop(&runner);
	assert_int_equal(guest->exit.reason, CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->rip, GUEST_CODE);
	mslot_invalidate_end(guest->mmu, range);
	assert_int_equal(guest_cpu_run_for(guest, 2), CPU_EXIT_BUDGET);
	assert_int_equal(*guest_cpu_word(guest, GUEST_DATA), seen + 1);
}

/* The same of what waits in other places: behind a device's answer, for a stack, behind a port. */
static void invalidation_in_the_middle(void **state)
{
	static const uint8_t code[][4] = {{0xa5, HLT}, {0x0f, 0x0b}, {0x6d, HLT}};
	struct guest_cpu *guest = *state;

	for (unsigned int i = 0; i < 3; i++) {
		const uint64_t at = i == 1 ? GUEST_STACK - PAGE : GUEST_DATA;
		const struct mslot_range range = {(uintptr_t)guest->host + at, PAGE};
		struct runner runner;

		guest_cpu_code(guest, code[i], 4);
		guest->s->gpr[CPU_RSI] = 0x10000000;
		guest->s->gpr[CPU_RDI] = GUEST_DATA;
		if (i != 1) {
			assert_int_equal(guest_cpu_run(guest), i ? CPU_EXIT_IO : CPU_EXIT_MMIO);
			cpu_complete(guest->cpu, "\x11\x22\x33\x44");
		}
		assert_int_equal(mslot_invalidate_begin(guest->mmu, range), 0);
		start(&runner, guest);
		for (unsigned int j = 0; j < 100; j++)
			sched_yield();
		stop(&runner);
		assert_int_equal(guest->exit.reason, CPU_EXIT_BUDGET);
		assert_int_equal(guest->s->rip, GUEST_CODE);
		mslot_invalidate_end(guest->mmu, range);
		assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
		if (i != 1)
			assert_memory_equal(guest->host + GUEST_DATA, "\x11\x22\x33\x44", 4);
		memset(guest->host + GUEST_DATA, 0, 4);
	}
}

/* ---- Marks ------------------------------------------------------------------ */

static uint64_t dirty_pages(struct guest_cpu *guest, uint32_t id)
{
	uint64_t bits = 0;
	struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = &bits};

	assert_int_equal(mslot_kvm_get_dirty_log(guest->map, &log), 0);
	return bits;
}

static void stores_and_tables_are_marked(void **state)
{
	struct guest_cpu *guest = *state;
	const uint64_t gpa = 0x1000000;

	/* A slot with a table in its first page, and data in its third. */
	guest_cpu_slot(guest, 2, gpa, 8 * PAGE, GUEST_RAM_BYTES, MSLOT_LOG_DIRTY);
	*guest_cpu_word(guest, GUEST_PD + 16 * 8) = gpa | 3;
	*guest_cpu_word(guest, GUEST_RAM_BYTES + 5 * 8) = (gpa + 2 * PAGE) | 3;
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = (UINT64_C(16) << 21) + 5 * PAGE;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	/* The accessed bit. */
	assert_int_equal(dirty_pages(guest, 2), 1);
	assert_int_equal(dirty_pages(guest, 2), 0);
	guest_cpu_asm(guest, STORE, STORE, HLT);
	guest->s->gpr[CPU_RDI] = (UINT64_C(16) << 21) + 5 * PAGE;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(dirty_pages(guest, 2), 5);
	/* Again after the harvest, though both caches had the page. */
	guest->s->rip = GUEST_CODE;
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(dirty_pages(guest, 2), 4);
}

/* ---- The budget, and making one ----------------------------------------------- */

static void budget(void **state)
{
	struct guest_cpu *guest = *state;
	struct cpu_counters counters;

	guest_cpu_asm(guest, 0x48, 0xff, 0xc3, 0xeb, 0xfb); /* inc rbx; jmp */
	assert_int_equal(guest_cpu_run_for(guest, 0), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->gpr[CPU_RBX], 0);
	assert_int_equal(guest_cpu_run_for(guest, 1000), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->gpr[CPU_RBX], 500);
	cpu_counters_get(guest->cpu, &counters);
	assert_int_equal(counters.instructions, 1000);
	assert_int_equal(counters.blocks_decoded, 1);
	assert_int_equal(counters.exceptions, 0);
	/* Asked to leave before it runs: it does, once. */
	cpu_attend(guest->cpu, true);
	assert_int_equal(guest_cpu_run_for(guest, 1000), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->gpr[CPU_RBX], 500);
	assert_int_equal(guest_cpu_run_for(guest, 10), CPU_EXIT_BUDGET);
	assert_int_equal(guest->s->gpr[CPU_RBX], 505);
}

/* Nothing retires where the handler's page is not there: each fetch of it is another fault. */
static void budget_of_a_guest_that_only_faults(void **state)
{
	struct guest_cpu *guest = *state;
	struct cpu_counters counters;

	guest_cpu_gate(guest, 14, GUEST_DATA, 14, 1);
	*guest_cpu_pte(guest, GUEST_DATA) = 0;
	guest_cpu_asm(guest, LOAD, HLT);
	guest->s->gpr[CPU_RDI] = GUEST_DATA;
	assert_int_equal(guest_cpu_run_for(guest, 100), CPU_EXIT_BUDGET);
	cpu_counters_get(guest->cpu, &counters);
	assert_int_equal(counters.instructions, 0);
	assert_int_equal(counters.exceptions, 100);
}

/* Bits of MXCSR that there are not would be a fault of the host. */
static void mxcsr_of_the_caller(void **state)
{
	struct guest_cpu *guest = *state;

	guest_cpu_asm(guest, 0xf3, 0x0f, 0x51, 0xc0, /* sqrtss xmm0, xmm0 */ HLT);
	guest->s->mxcsr = UINT32_MAX;
	cpu_state_changed(guest->cpu);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
	assert_int_equal(guest->s->mxcsr, 0xffff);
}

static void inside_another_section(void **state)
{
	struct guest_cpu *guest = *state;
	struct mslot_vcpu *other;
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_create(guest->map, NULL, &other), 0);
	assert_int_equal(mslot_vcpu_enter(other, &snap), 0);
	guest_cpu_asm(guest, HLT);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_ERROR);
	assert_int_equal(guest->exit.error, -EBUSY);
	mslot_vcpu_leave(other);
	assert_int_equal(mslot_vcpu_destroy(other), 0);
	assert_int_equal(guest_cpu_run(guest), CPU_EXIT_HLT);
}

static void what_is_no_cpu(void **state)
{
	struct guest_cpu *guest = *state;
	struct cpu_options options = {guest->vcpu, NULL};
	struct cpu *cpu = NULL;

	assert_int_equal(cpu_create(NULL, &cpu), -EINVAL);
	assert_int_equal(cpu_create(&options, &cpu), -EINVAL);
	options = (struct cpu_options){NULL, guest->root};
	assert_int_equal(cpu_create(&options, &cpu), -EINVAL);
	assert_null(cpu);
	cpu_destroy(NULL);
	/* After a reset it is in a mode that is not covered. */
	options.vcpu = guest->vcpu;
	assert_int_equal(cpu_create(&options, &cpu), 0);
	cpu_run(cpu, 1, &guest->exit);
	assert_int_equal(guest->exit.reason, CPU_EXIT_INTERNAL);
	assert_string_equal(guest->exit.internal.why, "not in long mode");
	assert_int_equal(guest->exit.internal.rip, 0xfff0);
	cpu_destroy(cpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(memory_that_is_protected),
	    GUEST_TEST(memory_that_is_gone),
	    GUEST_TEST(descriptor_that_is_gone),
	    GUEST_TEST(file_that_is_cut),
	    GUEST_TEST(read_of_a_device_is_not_repeated),
	    GUEST_TEST(code_changes_itself),
	    GUEST_TEST(code_changes_elsewhere),
	    GUEST_TEST(code_across_pages),
	    GUEST_TEST(code_in_a_slot_that_moves),
	    GUEST_TEST(waits_return_while_the_guest_runs),
	    GUEST_TEST(no_access_after_a_delete),
	    GUEST_TEST(no_fetch_after_a_delete),
	    GUEST_TEST(code_changed_by_another_thread),
	    GUEST_TEST(invalidation_under_way),
	    GUEST_TEST(invalidation_in_the_middle),
	    GUEST_TEST(stores_and_tables_are_marked),
	    GUEST_TEST(budget),
	    GUEST_TEST(budget_of_a_guest_that_only_faults),
	    GUEST_TEST(mxcsr_of_the_caller),
	    GUEST_TEST(inside_another_section),
	    GUEST_TEST(what_is_no_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
