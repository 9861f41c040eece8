/* SPDX-License-Identifier: MIT */
/*
 * kvm_program.c - a program that was written for /dev/kvm and knows nothing of mslot: what
 * test_kvm.c runs. The first argument says what to do; it ends with 0, or 1 and the line that
 * failed. It runs on a kernel's /dev/kvm as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define guest_call(fd, request, arg) ioctl(fd, request, arg)

#include "kvm_guest.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "kvm_program.c:%d: %s (%s)\n", __LINE__, #condition,       \
				strerror(errno));                                                  \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define FAILS(call, err) CHECK((call) < 0 && errno == (err))

static int api(int fd)
{
	return ioctl(fd, KVM_GET_API_VERSION, 0);
}

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static void make_guest(struct kvm_guest *g)
{
	g->dev = open_kvm();
	g->vm = ioctl(g->dev, KVM_CREATE_VM, 0);
	CHECK(g->vm >= 0);
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	CHECK(g->vcpu >= 0);
	g->run_bytes = (size_t)ioctl(g->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->run = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	CHECK(g->run != MAP_FAILED);
	CHECK(guest_make_ram(g) == 0);
	CHECK(guest_long_mode(g->vcpu) == 0);
	CHECK(guest_restart(g->vcpu, GUEST_CODE) == 0);
}

static void expect_hlt(struct kvm_guest *g)
{
	CHECK(guest_restart(g->vcpu, GUEST_CODE) == 0);
	guest_asm(g, 0xf4);
	CHECK(ioctl(g->vcpu, KVM_RUN, 0) == 0);
	CHECK(g->run->exit_reason == KVM_EXIT_HLT);
}

/* ---- What test_kvm.c asks for ------------------------------------------- */

static int do_hlt(void)
{
	struct kvm_guest g;

	make_guest(&g);
	expect_hlt(&g);
	return 0;
}

/* Without exit(): what is counted is counted already. */
static int do_quick_exit(void)
{
	do_hlt();
	_exit(3);
}

static int do_abort(void)
{
	do_hlt();
	kill(getpid(), SIGKILL);
	return 0;
}

static int do_open(void)
{
	int fd[5];

	fd[0] = open("/dev/kvm", O_RDWR);
	fd[1] = open64("/dev/kvm", O_RDWR | O_CLOEXEC);
	fd[2] = openat(AT_FDCWD, "/dev/kvm", O_RDWR);
	fd[3] = openat64(7, "/dev/kvm", O_RDWR);
	fd[4] = syscall(SYS_dup, fd[0]) >= 0 ? dup(fd[0]) : -1;
	for (int i = 0; i < 5; i++)
		CHECK(api(fd[i]) == 12);
	CHECK(fcntl(fd[0], F_GETFD) == 0 && fcntl(fd[1], F_GETFD) == FD_CLOEXEC);
	CHECK(access("/dev/kvm", R_OK | W_OK) == 0);
	FAILS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd[0], 0) == MAP_FAILED ? -1 : 0, ENODEV);
	return 0;
}

static int do_dup(void)
{
	const int dev = open_kvm(), other = open("/dev/null", O_RDONLY);
	int a, b;

	a = dup(dev);
	b = fcntl(dev, F_DUPFD_CLOEXEC, 100);
	CHECK(b >= 100);
	close(dev);
	CHECK(api(a) == 12 && api(b) == 12);
	FAILS(api(dev), EBADF);
	/* Over one of ours, and ours over another. */
	CHECK(dup2(other, a) == a);
	FAILS(api(a), ENOTTY);
	CHECK(dup3(b, a, O_CLOEXEC) == a && api(a) == 12);
	CHECK(dup2(a, a) == a && api(a) == 12);
	CHECK(close_range((unsigned int)b, (unsigned int)b, 0) == 0);
	FAILS(api(b), EBADF);
	CHECK(dup2(a, 60) == 60);
	closefrom(50);
	FAILS(api(60), EBADF);
	CHECK(api(a) == 12);
	return 0;
}

/* The numbers of a VM and a vCPU in other processes. */
static int do_fork(void)
{
	struct kvm_guest g;
	char *argv[] = {"true", NULL};
	int status;
	pid_t pid;

	make_guest(&g);
	pid = fork();
	if (pid == 0) {
		FAILS(ioctl(g.vcpu, KVM_RUN, 0), EIO);
		FAILS(ioctl(g.vm, KVM_CREATE_VCPU, 1), EIO);
		close(g.vcpu);
		close(g.vm);
		CHECK(api(g.dev) == 12);
		make_guest(&g);
		expect_hlt(&g);
		exit(5);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	expect_hlt(&g);
	/* A child that has our memory and descriptors of its own. */
	CHECK(signal(SIGSEGV, SIG_IGN) == SIG_DFL);
	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
	if (pid == 0) {
		/* What the standard forbids and programs do before they call exec(). */
		close(g.vcpu);            /* NOLINT(clang-analyzer-unix.Vfork) */
		close(g.vm);              /* NOLINT(clang-analyzer-unix.Vfork) */
		signal(SIGSEGV, SIG_DFL); /* NOLINT(clang-analyzer-unix.Vfork) */
		_exit(6);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 6);
	CHECK(signal(SIGSEGV, SIG_DFL) == SIG_IGN);
	expect_hlt(&g);
	CHECK(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	expect_hlt(&g);
	return 0;
}

/* /dev/kvm through exec, without close-on-exec; a VM is of no use there. */
static int do_exec(const char *self)
{
	const int dev = open("/dev/kvm", O_RDWR), vm = ioctl(dev, KVM_CREATE_VM, 0);
	char a[16], b[16];

	CHECK(fcntl(vm, F_SETFD, 0) == 0);
	snprintf(a, sizeof(a), "%d", dev);
	snprintf(b, sizeof(b), "%d", vm);
	execl(self, self, "inherited", a, b, (char *)NULL);
	CHECK(dev < 0);
	return 1;
}

static int do_inherited(int dev, int vm)
{
	CHECK(api(dev) == 12);
	FAILS(ioctl(vm, KVM_CREATE_VCPU, 1), EIO);
	CHECK(ioctl(dev, KVM_CREATE_VM, 0) >= 0);
	return 0;
}

static int do_ring(void)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {8192}};
	const off_t at = KVM_DIRTY_LOG_PAGE_OFFSET * 4096;
	const int dev = open_kvm(), vm = ioctl(dev, KVM_CREATE_VM, 0);
	int vcpu;

	CHECK(ioctl(vm, KVM_ENABLE_CAP, &cap) == 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	CHECK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, at) != MAP_FAILED);
	FAILS(mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, vcpu, at) == MAP_FAILED ? -1 : 0, EINVAL);
	FAILS(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, vcpu, at + 4096) == MAP_FAILED
		  ? -1
		  : 0,
	      EINVAL);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, vcpu, 0) != MAP_FAILED);
	return 0;
}

static sigjmp_buf back;
static int *volatile nowhere = (int *)16;

static void jump_back(int sig, siginfo_t *info, void *context)
{
	(void)context;
	siglongjmp(back, info->si_addr == (void *)16 ? sig : 1);
}

/* Its own handler, and KVM's EFAULT, do not get into each other's way. */
static int do_segv(void)
{
	struct sigaction act = {.sa_sigaction = jump_back, .sa_flags = SA_SIGINFO}, old;
	struct kvm_guest g;

	CHECK(sigaction(SIGSEGV, &act, NULL) == 0);
	make_guest(&g);
	/* mov GUEST_DATA,%rax */
	guest_asm(&g, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x04, 0x00, 0xf4);
	CHECK(mprotect(g.ram + GUEST_DATA, 4096, PROT_NONE) == 0);
	for (int i = 0; i < 3; i++) {
		int sig = sigsetjmp(back, 1);

		if (!sig)
			*nowhere = 0;
		CHECK(sig == SIGSEGV);
		FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
		CHECK(sigaction(SIGSEGV, &act, &old) == 0 && old.sa_sigaction == jump_back);
	}
	expect_hlt(&g);
	CHECK(signal(SIGSEGV, SIG_DFL) == (sighandler_t)(void *)jump_back);
	*nowhere = 0;
	return 0;
}

/* Of the kernel, for any file; and what belongs to us cannot be cut off. */
static int do_generic(void)
{
	struct kvm_guest g;
	int off = 0;

	make_guest(&g);
	CHECK(ioctl(g.vcpu, FIONCLEX) == 0 && fcntl(g.vcpu, F_GETFD) == 0);
	CHECK(ioctl(g.vm, FIOCLEX) == 0 && fcntl(g.vm, F_GETFD) == FD_CLOEXEC);
	CHECK(ioctl(g.dev, FIONBIO, &off) == 0);
	CHECK(ftruncate(g.vcpu, 0) < 0);
	expect_hlt(&g);
	return 0;
}

/* Everybody may open it, whatever the machine has. */
static int do_look(void)
{
	const char *const kvm = "/dev/kvm";
	struct stat st[4];
	struct stat64 st64[3];
	struct statx stx;

	CHECK(stat(kvm, &st[0]) == 0 && lstat(kvm, &st[1]) == 0);
	CHECK(fstatat(AT_FDCWD, kvm, &st[2], 0) == 0 && stat64(kvm, &st64[0]) == 0);
	CHECK(lstat64(kvm, &st64[1]) == 0 && fstatat64(AT_FDCWD, kvm, &st64[2], 0) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(S_ISCHR(st[i].st_mode) && st[i].st_rdev == makedev(10, 232));
		CHECK(st64[i].st_mode == st[i].st_mode && st64[i].st_rdev == st[i].st_rdev);
		CHECK((st[i].st_mode & 0666) == 0666);
	}
	CHECK(statx(AT_FDCWD, kvm, 0, STATX_BASIC_STATS, &stx) == 0 && stx.stx_rdev_minor == 232);
	CHECK(stat("/dev/null", &st[3]) == 0 && st[3].st_rdev == makedev(1, 3));
	CHECK(faccessat(AT_FDCWD, kvm, R_OK | W_OK, 0) == 0 && euidaccess(kvm, R_OK | W_OK) == 0);
	FAILS(eaccess(kvm, X_OK), EACCES);
	return 0;
}

/* Addresses that no program can have; some have no page, some are none. */
static int do_addresses(void)
{
	static const uint64_t wrong[] = {
	    0,
	    8,
	    UINT64_C(0x0000800000000000),
	    UINT64_C(0x00007ffffffffffc),
	    UINT64_C(0x123456789abcdef0),
	    UINT64_C(0x8000000000000000),
	    UINT64_C(0xffff800000000000),
	    UINT64_C(0xfffffffffffffff8),
	};
	struct kvm_guest g;

	make_guest(&g);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		FAILS(ioctl(g.vcpu, KVM_SET_REGS, wrong[i]), EFAULT);
		FAILS(ioctl(g.vcpu, KVM_GET_REGS, wrong[i]), EFAULT);
		FAILS(ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, wrong[i]), EFAULT);
	}
	return 0;
}

/* What signal() is in a program of ISO C. */
static int do_sysv(void)
{
	struct kvm_guest g;

	make_guest(&g);
	CHECK(__sysv_signal(SIGSEGV, SIG_IGN) == SIG_DFL);
	guest_asm(&g, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x04, 0x00, 0xf4);
	CHECK(mprotect(g.ram + GUEST_DATA, 4096, PROT_NONE) == 0);
	FAILS(ioctl(g.vcpu, KVM_RUN, 0), EFAULT);
	CHECK(signal(SIGSEGV, SIG_DFL) == SIG_IGN);
	return 0;
}

/* ---- Threads and signals ------------------------------------------------ */

static struct kvm_guest shared;
static volatile unsigned int handled;

static void use_kvm(int sig)
{
	uint64_t bitmap[8];
	struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};
	const int saved_errno = errno;
	struct kvm_regs regs;

	(void)sig;
	handled += ioctl(shared.vm, KVM_GET_DIRTY_LOG, &log) == 0 &&
		   ioctl(shared.vcpu, KVM_GET_REGS, &regs) == 0;
	close(dup(shared.dev));
	errno = saved_errno;
}

/* A handler that calls what it may have interrupted. */
static int do_handler(void)
{
	const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	const struct sigaction act = {.sa_handler = use_kvm, .sa_flags = SA_RESTART};
	struct kvm_userspace_memory_region region;
	uint64_t bitmap[8];
	struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};

	make_guest(&shared);
	region = guest_slot(&shared, 0, 0, GUEST_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	CHECK(ioctl(shared.vm, KVM_SET_USER_MEMORY_REGION, &region) == 0);
	CHECK(sigaction(SIGALRM, &act, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (handled < 300) {
		CHECK(ioctl(shared.vm, KVM_GET_DIRTY_LOG, &log) == 0);
		close(dup(shared.vcpu));
	}
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	return 0;
}

static void *run_alone(void *process)
{
	char path[64], line[512] = "";
	FILE *file;

	/* Until the first thread is gone. */
	snprintf(path, sizeof(path), "/proc/%d/stat", *(int *)process);
	while (!strstr(line, ") Z ")) {
		file = fopen(path, "r");
		CHECK(file && fgets(line, sizeof(line), file));
		fclose(file);
	}
	expect_hlt(&shared);
	exit(7);
}

static int do_first_thread_ends(void)
{
	static int process;
	pthread_t thread;

	process = getpid();
	make_guest(&shared);
	CHECK(pthread_create(&thread, NULL, run_alone, &process) == 0);
	pthread_exit(NULL);
}

static void *run_until_cancelled(void *type)
{
	CHECK(pthread_setcanceltype(*(const int *)type, NULL) == 0);
	for (;;) {
		ioctl(shared.vcpu, KVM_RUN, 0);
		pthread_testcancel();
	}
}

static void ignore(int sig)
{
	(void)sig;
}

/* A thread that is cancelled while its vCPU sleeps or runs leaves everything usable. */
static int do_cancel(void)
{
	const struct sigaction act = {.sa_handler = ignore};
	static const int type[] = {PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS};
	struct kvm_userspace_memory_region gone;
	struct kvm_mp_state halted = {.mp_state = KVM_MP_STATE_HALTED};
	pthread_t thread;
	void *end;

	CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
	for (int i = 0; i < 4; i++) {
		make_guest(&shared);
		guest_asm(&shared, 0xeb, 0xfe);
		if (i < 2) {
			/* With an interrupt controller a vCPU can sleep. */
			close(shared.vm);
			shared.vm = ioctl(shared.dev, KVM_CREATE_VM, 0);
			CHECK(ioctl(shared.vm, KVM_CREATE_IRQCHIP, 0) == 0);
			shared.vcpu = ioctl(shared.vm, KVM_CREATE_VCPU, 0);
			CHECK(ioctl(shared.vcpu, KVM_SET_MP_STATE, &halted) == 0);
		}
		CHECK(pthread_create(&thread, NULL, run_until_cancelled, (void *)&type[i % 2]) ==
		      0);
		usleep(20000);
		CHECK(pthread_cancel(thread) == 0);
		usleep(20000);
		if (i % 2 == 0)
			pthread_kill(thread, SIGUSR1);
		CHECK(pthread_join(thread, &end) == 0 && end == PTHREAD_CANCELED);
		CHECK(guest_restart(shared.vcpu, GUEST_CODE) == 0);
		gone = guest_slot(&shared, 0, 0, 0, 0);
		CHECK(i < 2 || ioctl(shared.vm, KVM_SET_USER_MEMORY_REGION, &gone) == 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} what[] = {{"hlt", do_hlt},
		    {"quick-exit", do_quick_exit},
		    {"killed", do_abort},
		    {"open", do_open},
		    {"dup", do_dup},
		    {"fork", do_fork},
		    {"ring", do_ring},
		    {"segv", do_segv},
		    {"generic", do_generic},
		    {"look", do_look},
		    {"addresses", do_addresses},
		    {"sysv", do_sysv},
		    {"handler", do_handler},
		    {"cancel", do_cancel},
		    {"first-thread-ends", do_first_thread_ends}};

	if (argc == 4 && strcmp(argv[1], "inherited") == 0)
		return do_inherited(atoi(argv[2]), atoi(argv[3]));
	if (argc == 2 && strcmp(argv[1], "exec") == 0)
		return do_exec(argv[0]);
	if (argc == 3 && strcmp(argv[1], "status") == 0)
		return atoi(argv[2]);
	for (size_t i = 0; argc == 2 && i < sizeof(what) / sizeof(what[0]); i++)
		if (strcmp(argv[1], what[i].name) == 0)
			return what[i].run();
	return 2;
}
