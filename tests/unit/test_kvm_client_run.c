/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_client_run.c - KVM_RUN: exits and what completes them, signals, faults of host memory,
 * rings that are full, changes of slots beside guest code.
 */
#include "kvm_client_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "base/sanitize.h"
#include "faults.h"

/* ThreadSanitizer allows no new threads in the child of a fork, and a VM has one. */
#define CHILD_MAKES_VMS true
#ifdef MSLOT_TSAN
#undef CHILD_MAKES_VMS
#define CHILD_MAKES_VMS false
/* A handler that calls runs when no other call is under way: it may allocate. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_signal_unsafe=0";
}
#endif

#define LOOP 0xeb, 0xfe
#define HLT 0xf4
#define LOAD_RAX_HOLE 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00
#define STORE_RAX_HOLE 0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00

static int setup(void **state)
{
	static struct kvm_guest g;

	guest_begin(&g, 0, false);
	*state = &g;
	return 0;
}

static int setup_irqchip(void **state)
{
	static struct kvm_guest g;

	guest_begin(&g, 0, true);
	*state = &g;
	return 0;
}

static int teardown(void **state)
{
	guest_end(*state);
	return 0;
}

/* ---- Exits -------------------------------------------------------------- */

static void ports_exit_with_their_data(void **state)
{
	struct kvm_guest *g = *state;
	unsigned char *data = (unsigned char *)g->run + CLIENT_PAGE;

	/* mov $0x3f8,%dx; mov $0x41,%al; out %al,(%dx); mov $0x1000,%dx; in (%dx),%eax; hlt */
	guest_asm(g, 0x66, 0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0x66, 0xba, 0x00, 0x10, 0xed, HLT);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(g->run->io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(g->run->io.size, 1);
	assert_int_equal(g->run->io.port, 0x3f8);
	assert_int_equal(g->run->io.count, 1);
	assert_int_equal(g->run->io.data_offset, CLIENT_PAGE);
	assert_int_equal(data[0], 0x41);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->io.direction, KVM_EXIT_IO_IN);
	assert_int_equal(g->run->io.size, 4);
	memcpy(data, "\x78\x56\x34\x12", 4);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(regs_of(g->vcpu).rax, 0x12345678);
}

static void mmio_is_completed_by_the_next_run(void **state)
{
	struct kvm_guest *g = *state;

	guest_asm(g, LOAD_RAX_HOLE, STORE_RAX_HOLE, HLT);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g->run->mmio.phys_addr, GUEST_HOLE);
	assert_int_equal(g->run->mmio.len, 8);
	assert_int_equal(g->run->mmio.is_write, 0);
	memcpy(g->run->mmio.data, "abcdefgh", 8);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g->run->mmio.is_write, 1);
	assert_memory_equal(g->run->mmio.data, "abcdefgh", 8);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
}

static void immediate_exit_completes_and_changes_nothing_else(void **state)
{
	struct kvm_guest *g = *state;

	guest_asm(g, LOAD_RAX_HOLE, LOOP);
	assert_int_equal(run_vcpu(g), 0);
	memcpy(g->run->mmio.data, "\x07\0\0\0\0\0\0\0", 8);
	g->run->immediate_exit = 1;
	assert_int_equal(run_vcpu(g), -EINTR);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(regs_of(g->vcpu).rax, 7);
	assert_int_equal(regs_of(g->vcpu).rip, GUEST_CODE + 8);
	g->run->exit_reason = 42;
	assert_int_equal(run_vcpu(g), -EINTR);
	assert_int_equal(g->run->exit_reason, 42);
}

static void what_is_not_covered_is_an_internal_error_with_its_bytes(void **state)
{
	struct kvm_guest *g = *state;
	const unsigned char *insn = (const unsigned char *)&g->run->internal.data[1];
	const int saved = dup(2);
	char said[512] = "";
	int fds[2];

	/* vzeroupper */
	guest_asm(g, 0xc5, 0xf8, 0x77, HLT);
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run_vcpu(g), 0);
		assert_int_equal(g->run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
		assert_int_equal(g->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
		assert_int_equal(g->run->internal.ndata, 3);
		assert_int_equal(g->run->internal.data[0],
				 KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
		assert_true(insn[0] >= 3 && insn[0] <= 15);
		assert_memory_equal(insn + 1, "\xc5\xf8\x77", 3);
		assert_int_equal(regs_of(g->vcpu).rip, GUEST_CODE);
	}
	dup2(saved, 2);
	close(saved);
	/* It is said once. */
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
	assert_non_null(strstr(said, "RIP 0x10000"));
	assert_non_null(strstr(said, "c5 f8 77"));
	assert_null(strstr(strchr(said, '\n') + 1, "RIP"));
	close(fds[0]);
	close(fds[1]);
}

static void a_triple_fault_is_a_shutdown(void **state)
{
	struct kvm_guest *g = *state;

	guest_asm(g, 0x0f, 0x0b);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_SHUTDOWN);
}

static void cpuid_stays_once_it_ran(void **state)
{
	WITH_ENTRIES(kvm_cpuid2, kvm_cpuid_entry2, 2) c = {.head = {.nent = 1}};
	struct kvm_guest *g = *state;

	c.head.entries[0] = (struct kvm_cpuid_entry2){.function = 0, .eax = 9};
	/* cpuid; hlt */
	guest_asm(g, 0x0f, 0xa2, HLT);
	assert_int_equal(guest_call(g->vcpu, KVM_SET_CPUID2, &c), 0);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(regs_of(g->vcpu).rax, 9);
	assert_int_equal(guest_call(g->vcpu, KVM_SET_CPUID2, &c), 0);
	c.head.entries[0].eax = 8;
	assert_int_equal(guest_call(g->vcpu, KVM_SET_CPUID2, &c), -EINVAL);
	c.head.nent = 2;
	assert_int_equal(guest_call(g->vcpu, KVM_SET_CPUID2, &c), -EINVAL);
}

static void registers_asked_for_in_kvm_run_are_refused(void **state)
{
	struct kvm_guest *g = *state;

	g->run->kvm_valid_regs = 1;
	assert_int_equal(run_vcpu(g), -EINVAL);
	g->run->kvm_valid_regs = 0;
	g->run->cr8 = 16;
	assert_int_equal(run_vcpu(g), -EINVAL);
	g->run->cr8 = 0;
}

static void addresses_are_translated(void **state)
{
	struct kvm_guest *g = *state;
	struct kvm_translation t = {.linear_address = 0x12345};

	assert_int_equal(guest_call(g->vcpu, KVM_TRANSLATE, &t), 0);
	assert_true(t.valid && t.physical_address == 0x12345);
	t.linear_address = UINT64_C(1) << 40;
	assert_int_equal(guest_call(g->vcpu, KVM_TRANSLATE, &t), 0);
	assert_false(t.valid);
}

/* ---- Host memory -------------------------------------------------------- */

static void host_memory_that_is_not_there_is_efault(void **state)
{
	struct kvm_guest *g = *state;

	/* mov GUEST_DATA,%rax; hlt */
	guest_asm(g, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x04, 0x00, HLT);
	g->ram[GUEST_DATA] = 5;
	/* cmocka has put its own handler in the place of ours. */
	faults_install();
	assert_int_equal(mprotect(g->ram + GUEST_DATA, CLIENT_PAGE, PROT_NONE), 0);
	assert_int_equal(run_vcpu(g), -EFAULT);
	assert_int_equal(run_vcpu(g), -EFAULT);
	assert_int_equal(regs_of(g->vcpu).rip, GUEST_CODE);
	assert_int_equal(mprotect(g->ram + GUEST_DATA, CLIENT_PAGE, PROT_READ), 0);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(regs_of(g->vcpu).rax, 5);
}

static sigjmp_buf back;

static void jump_back(int sig)
{
	siglongjmp(back, sig);
}

static void the_programs_own_faults_are_its_own(void **state)
{
	struct sigaction act = {.sa_handler = jump_back}, old, now;
	char *nowhere = mmap(NULL, CLIENT_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	faults_install();
	assert_int_equal(faults_sigaction(SIGSEGV, &act, &old), 0);
	assert_int_equal(faults_sigaction(SIGSEGV, NULL, &now), 0);
	assert_true(now.sa_handler == jump_back);
	for (int i = 0; i < 2; i++) {
		int sig = sigsetjmp(back, 1);

		if (!sig)
			*(volatile char *)nowhere = 1;
		assert_int_equal(sig, SIGSEGV);
	}
	assert_int_equal(faults_sigaction(SIGSEGV, &old, NULL), 0);
	assert_int_equal(munmap(nowhere, CLIENT_PAGE), 0);
}

/* ---- Signals ------------------------------------------------------------ */

static volatile sig_atomic_t handled;

static void handle(int sig)
{
	handled = sig;
}

/* A signal for this process after so many milliseconds; the mask decides when it is handled. */
static timer_t signal_after(int sig, long ms)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
	const struct itimerspec when = {.it_value = {.tv_nsec = ms * 1000000}};
	timer_t timer = NULL;

	handled = 0;
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &when, NULL), 0);
	return timer;
}

static void a_signal_ends_the_run_and_is_handled(void **state)
{
	struct kvm_guest *g = *state;
	timer_t timer;

	guest_asm(g, LOOP);
	signal(SIGUSR1, handle);
	timer = signal_after(SIGUSR1, 20);
	assert_int_equal(run_vcpu(g), -EINTR);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_INTR);
	assert_int_equal(handled, SIGUSR1);
	timer_delete(timer);
}

static void what_is_ignored_does_not_end_it(void **state)
{
	struct kvm_guest *g = *state;
	timer_t first, second;

	guest_asm(g, LOOP);
	signal(SIGUSR1, handle);
	first = signal_after(SIGWINCH, 10);
	second = signal_after(SIGUSR1, 50);
	assert_int_equal(run_vcpu(g), -EINTR);
	assert_int_equal(handled, SIGUSR1);
	timer_delete(first);
	timer_delete(second);
}

static void its_own_mask_lets_blocked_signals_end_it(void **state)
{
	struct {
		uint32_t len;
		uint8_t set[8];
	} mask = {.len = 8};
	struct kvm_guest *g = *state;
	timer_t timer;
	sigset_t set;

	guest_asm(g, LOOP);
	signal(SIGUSR1, handle);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(guest_call(g->vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	timer = signal_after(SIGUSR1, 20);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run_vcpu(g), -EINTR);
		assert_int_equal(handled, 0);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	assert_int_equal(handled, SIGUSR1);
	timer_delete(timer);
}

static void halted_it_sleeps_until_a_signal(void **state)
{
	struct kvm_guest *g = *state;
	struct kvm_mp_state mp = {.mp_state = 77};
	timer_t timer;

	guest_asm(g, HLT);
	signal(SIGUSR1, handle);
	for (int i = 0; i < 2; i++) {
		timer = signal_after(SIGUSR1, 20);
		assert_int_equal(run_vcpu(g), -EINTR);
		assert_int_equal(g->run->exit_reason, KVM_EXIT_INTR);
		assert_int_equal(handled, SIGUSR1);
		timer_delete(timer);
	}
	assert_int_equal(guest_call(g->vcpu, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_HALTED);
	g->run->immediate_exit = 1;
	g->run->exit_reason = 42;
	assert_int_equal(run_vcpu(g), -EINTR);
	assert_int_equal(g->run->exit_reason, 42);
	g->run->immediate_exit = 0;
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	assert_int_equal(guest_call(g->vcpu, KVM_SET_MP_STATE, &mp), 0);
	g->ram[GUEST_CODE + 1] = 0x0f;
	g->ram[GUEST_CODE + 2] = 0x0b;
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_SHUTDOWN);
}

static struct kvm_guest shared;
static volatile unsigned int answered;

static void call_again(int sig)
{
	uint64_t bitmap[8];
	struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};

	(void)sig;
	answered += guest_call(shared.vm, KVM_GET_DIRTY_LOG, &log) == 0;
}

/* It calls what it would have interrupted: both would wait for good. */
static void a_handler_runs_when_the_call_is_over(void **state)
{
	const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	const struct sigaction act = {.sa_handler = call_again}, plain = {.sa_handler = SIG_DFL};
	struct kvm_userspace_memory_region region;
	uint64_t bitmap[8];
	struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};

	(void)state;
	guest_begin(&shared, 0, false);
	region = guest_slot(&shared, 0, 0, GUEST_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	assert_int_equal(guest_call(shared.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (answered < 500)
		assert_int_equal(guest_call(shared.vm, KVM_GET_DIRTY_LOG, &log), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &plain, NULL), 0);
	guest_end(&shared);
}

static void the_mask_is_as_before(void **state)
{
	struct kvm_guest *g = *state;
	sigset_t before, after, old;

	guest_asm(g, HLT);
	sigemptyset(&before);
	sigaddset(&before, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &before, &old);
	assert_int_equal(run_vcpu(g), 0);
	pthread_sigmask(SIG_SETMASK, &old, &after);
	for (int sig = 1; sig < 65; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

/* ---- Others ------------------------------------------------------------- */

static void *run_for_long(void *arg)
{
	return (void *)run_vcpu(arg);
}

static void slots_change_beside_guest_code(void **state)
{
	struct kvm_guest *g = *state;
	struct kvm_userspace_memory_region region = guest_slot(g, 1, 1 << 30, CLIENT_PAGE, 0);
	pthread_t thread;
	void *ret;

	/* inc (GUEST_DATA); jmp back */
	guest_asm(g, 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x04, 0x00, 0xeb, 0xf6);
	assert_int_equal(pthread_create(&thread, NULL, run_for_long, g), 0);
	while (__atomic_load_n(&g->ram[GUEST_DATA + 1], __ATOMIC_RELAXED) == 0)
		;
	for (int i = 0; i < 50; i++) {
		region.memory_size = CLIENT_PAGE;
		assert_int_equal(guest_call(g->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
		region.memory_size = 0;
		assert_int_equal(guest_call(g->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	}
	/* Without its own slot it fetches from nowhere. */
	region = guest_slot(g, 0, 0, 0, 0);
	assert_int_equal(guest_call(g->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	assert_int_equal(pthread_join(thread, &ret), 0);
	assert_int_equal((long)ret, 0);
	assert_true(g->run->exit_reason == KVM_EXIT_INTERNAL_ERROR ||
		    g->run->exit_reason == KVM_EXIT_MMIO ||
		    g->run->exit_reason == KVM_EXIT_SHUTDOWN);
}

static void a_full_ring_exits_and_is_collected(void **state)
{
	const uint32_t entries = 4096 / sizeof(struct kvm_dirty_gfn);
	struct kvm_dirty_gfn *ring;
	struct kvm_guest g;
	uint32_t n = 0;

	(void)state;
	guest_begin(&g, 4096, false);
	ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, g.vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
	assert_true(ring != MAP_FAILED);
	struct kvm_userspace_memory_region region =
	    guest_slot(&g, 0, 0, GUEST_BYTES, KVM_MEM_LOG_DIRTY_PAGES);

	assert_int_equal(guest_call(g.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	/* mov %rax,GUEST_DATA(%rbx); add $0x1000,%rbx; jmp back */
	guest_asm(&g, 0x48, 0x89, 0x83, 0x00, 0x00, 0x04, 0x00, 0x48, 0x81, 0xc3, 0x00, 0x10, 0x00,
		  0x00, 0xeb, 0xf0);
	assert_int_equal(run_vcpu(&g), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_DIRTY_RING_FULL);
	for (; n < entries && ring[n].flags == KVM_DIRTY_GFN_F_DIRTY; n++)
		ring[n].flags = KVM_DIRTY_GFN_F_RESET;
	if (n < entries - 64 || n > entries)
		fail_msg("%u of %u entries", n, entries);
	assert_int_equal(call(g.vm, KVM_RESET_DIRTY_RINGS, 0), n);
	/* There is room again: for all that is left, or until it is full once more. */
	assert_int_equal(run_vcpu(&g), 0);
	assert_int_equal(ring[n % entries].flags, KVM_DIRTY_GFN_F_DIRTY);
	assert_true(g.run->exit_reason == KVM_EXIT_DIRTY_RING_FULL ||
		    (g.run->exit_reason == KVM_EXIT_MMIO && g.run->mmio.phys_addr == GUEST_BYTES));
	assert_int_equal(munmap(ring, 4096), 0);
	guest_end(&g);
}

/* Returns the number of exits for I/O, or for MMIO, until the ring was full. */
static unsigned int exits_until_full(uint32_t reason, const unsigned char *code, size_t len,
				     uint64_t rip)
{
	struct kvm_userspace_memory_region region;
	struct kvm_guest g;
	unsigned int n;

	guest_begin(&g, 4096, false);
	region = guest_slot(&g, 0, 0, GUEST_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	assert_int_equal(guest_call(g.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	guest_code(&g, code, len);
	for (n = 0;; n++) {
		assert_int_equal(run_vcpu(&g), 0);
		if (g.run->exit_reason != reason)
			break;
		if (reason == KVM_EXIT_IO)
			((unsigned char *)g.run)[g.run->io.data_offset] = (unsigned char)n;
		g.run->immediate_exit = 1;
		assert_int_equal(run_vcpu(&g), -EINTR);
		g.run->immediate_exit = 0;
		assert_int_equal(regs_of(g.vcpu).rip, rip);
		if (reason == KVM_EXIT_IO)
			assert_int_equal(regs_of(g.vcpu).rax & 0xff, n & 0xff);
	}
	assert_int_equal(g.run->exit_reason, KVM_EXIT_DIRTY_RING_FULL);
	guest_end(&g);
	return n;
}

/* As the kernel: what an exit left is completed first, and the ring is for the next run to tell. */
static void immediate_exit_completes_with_a_full_ring(void **state)
{
	/* mov %rax,GUEST_DATA(%rbx); add $0x1000,%rbx */
#define NEXT_PAGE 0x48, 0x89, 0x83, 0x00, 0x00, 0x04, 0x00, 0x48, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00
	static const unsigned char in[] = {NEXT_PAGE, 0xec, 0xeb, 0xef},
				   store[] = {NEXT_PAGE, STORE_RAX_HOLE, 0xeb, 0xe8};

	(void)state;
	assert_true(exits_until_full(KVM_EXIT_IO, in, sizeof(in), GUEST_CODE + 15) > 100);
	assert_true(exits_until_full(KVM_EXIT_MMIO, store, sizeof(store), GUEST_CODE + 22) > 100);
}

static void a_child_has_numbers_that_answer_eio(void **state)
{
	struct kvm_guest *g = *state;
	struct kvm_regs regs;
	int status;
	pid_t pid;

	guest_asm(g, HLT);
	pid = fork();
	if (pid == 0) {
		if (guest_call(g->vcpu, KVM_GET_REGS, &regs) != -EIO ||
		    call(g->vm, KVM_CHECK_EXTENSION, 1) != -EIO ||
		    call(g->dev, KVM_GET_API_VERSION, 0) != 12 ||
		    (CHILD_MAKES_VMS && call(g->dev, KVM_CREATE_VM, 0) < 0))
			_exit(1);
		end(g->vcpu);
		end(g->vm);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_int_equal(run_vcpu(g), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(ports_exit_with_their_data),
	    TEST(mmio_is_completed_by_the_next_run),
	    TEST(immediate_exit_completes_and_changes_nothing_else),
	    cmocka_unit_test(immediate_exit_completes_with_a_full_ring),
	    TEST(what_is_not_covered_is_an_internal_error_with_its_bytes),
	    TEST(a_triple_fault_is_a_shutdown),
	    TEST(cpuid_stays_once_it_ran),
	    TEST(registers_asked_for_in_kvm_run_are_refused),
	    TEST(addresses_are_translated),
	    TEST(host_memory_that_is_not_there_is_efault),
	    TEST(the_programs_own_faults_are_its_own),
	    TEST(a_signal_ends_the_run_and_is_handled),
	    TEST(what_is_ignored_does_not_end_it),
	    TEST(its_own_mask_lets_blocked_signals_end_it),
	    cmocka_unit_test_setup_teardown(halted_it_sleeps_until_a_signal, setup_irqchip,
					    teardown),
	    TEST(a_handler_runs_when_the_call_is_over),
	    TEST(the_mask_is_as_before),
	    TEST(slots_change_beside_guest_code),
	    cmocka_unit_test(a_full_ring_exits_and_is_collected),
	    TEST(a_child_has_numbers_that_answer_eio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
