/* SPDX-License-Identifier: MIT */
/*
 * hello_kvm.c - a virtual machine monitor in one file, for /dev/kvm. It knows nothing of mslot;
 * `mslot kvm -- hello_kvm` runs it without /dev/kvm, and it prints the same.
 *
 * The guest starts in 64-bit mode, prints a line through a serial port, and works on a memory card
 * that is plugged in, watched for writes, and pulled out again while it runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- The guest's world --------------------------------------------------- */

#define RAM_BYTES 0x10000u /* at guest-physical 0 */
#define PML4_GPA 0x1000u
#define PDPT_GPA 0x2000u
#define PD_GPA 0x3000u
#define CODE_GPA 0x4000u
#define STACK_GPA 0x10000u

#define CARD_GPA 0x200000u
#define CARD_PAGES 8u
#define PAGE 4096u

#define PORT_COMMAND 0x10
#define PORT_NUMBER 0x11
#define PORT_SERIAL 0x3f8

enum command { PLUG = 1, LOG = 2, PULL = 3 };

/* The numbers in the text are those above. It runs wherever it is copied to. */
__asm__("	.pushsection .rodata\n"
	"guest_begin:\n"
	"	lea	hello(%rip), %rsi\n"
	"	call	print\n"
	"	mov	$0x200000, %ebx\n" /* CARD_GPA: there is nothing yet */
	"	mov	(%rbx), %eax\n"
	"	out	%eax, $0x11\n"
	"	mov	$1, %al\n" /* PLUG */
	"	out	%al, $0x10\n"
	"	movl	$42, (%rbx)\n"
	"	movl	$43, 0x3010(%rbx)\n"
	"	movq	$-1, 0x4ffc(%rbx)\n" /* in two pages */
	"	mov	(%rbx), %eax\n"
	"	add	0x3010(%rbx), %eax\n"
	"	out	%eax, $0x11\n"
	"	mov	$2, %al\n" /* LOG */
	"	out	%al, $0x10\n"
	"	incl	0x7000(%rbx)\n"
	"	mov	$2, %al\n"
	"	out	%al, $0x10\n"
	"	mov	$3, %al\n" /* PULL */
	"	out	%al, $0x10\n"
	"	movw	$0x1234, 0x3010(%rbx)\n"
	"	lea	bye(%rip), %rsi\n"
	"	call	print\n"
	"	hlt\n"
	"print:\n"
	"	mov	$0x3f8, %dx\n"
	"1:	lodsb\n"
	"	test	%al, %al\n"
	"	jz	2f\n"
	"	out	%al, %dx\n"
	"	jmp	1b\n"
	"2:	ret\n"
	"hello:	.asciz	\"Hello from 64-bit mode.\\n\"\n"
	"bye:	.asciz	\"Good night.\\n\"\n"
	"	.balign	4\n"
	"guest_bytes:\n"
	"	.long	. - guest_begin\n"
	"	.popsection\n");
extern const char guest_begin[];
extern const uint32_t guest_bytes;

/* ---- The machine --------------------------------------------------------- */

struct machine {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram, *card;
};

static void fail(const char *what)
{
	fprintf(stderr, "hello_kvm: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int control(int fd, const char *name, unsigned long request, uintptr_t arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		fail(name);
	return ret;
}
#define CONTROL(fd, request, arg) control(fd, #request, request, (uintptr_t)(arg))

static void *memory(size_t len_bytes, int fd)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
		       fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

/* len_bytes 0 removes the slot. */
static void set_slot(struct machine *m, uint32_t slot, uint32_t flags, uint64_t gpa, void *host,
		     uint64_t len_bytes)
{
	struct kvm_userspace_memory_region region = {
	    .slot = slot,
	    .flags = flags,
	    .guest_phys_addr = gpa,
	    .memory_size = len_bytes,
	    .userspace_addr = (uintptr_t)host,
	};

	CONTROL(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Map the first GiB of linear addresses to the same guest-physical ones, 2 MiB at a time. */
static void write_page_tables(uint8_t *ram)
{
	uint64_t *const pml4 = (uint64_t *)(void *)(ram + PML4_GPA);
	uint64_t *const pdpt = (uint64_t *)(void *)(ram + PDPT_GPA);
	uint64_t *const pd = (uint64_t *)(void *)(ram + PD_GPA);

	pml4[0] = PDPT_GPA | 3; /* present, writable */
	pdpt[0] = PD_GPA | 3;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83; /* a large page */
}

static void enter_long_mode(struct machine *m)
{
	struct kvm_regs regs = {.rip = CODE_GPA, .rsp = STACK_GPA, .rflags = 2};
	struct kvm_segment flat = {.limit = 0xffffffff, .type = 3, .present = 1, .s = 1, .g = 1};
	struct kvm_sregs sregs;

	CONTROL(m->vcpu, KVM_GET_SREGS, &sregs);
	sregs.cr0 = 0x80000011; /* PG, ET, PE */
	sregs.cr3 = PML4_GPA;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	flat.selector = 0x10;
	flat.db = 1;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.selector = 0x8;
	flat.type = 11; /* code */
	flat.db = 0;
	flat.l = 1;
	sregs.cs = flat;
	CONTROL(m->vcpu, KVM_SET_SREGS, &sregs);
	CONTROL(m->vcpu, KVM_SET_REGS, &regs);
}

static void build(struct machine *m)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), run_bytes;

	if (kvm < 0)
		fail("/dev/kvm");
	m->vm = CONTROL(kvm, KVM_CREATE_VM, 0);
	m->vcpu = CONTROL(m->vm, KVM_CREATE_VCPU, 0);
	run_bytes = CONTROL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m->run = memory((size_t)run_bytes, m->vcpu);
	close(kvm); /* the VM lives on */

	m->ram = memory(RAM_BYTES, -1);
	m->card = memory(CARD_PAGES * PAGE, -1);
	write_page_tables(m->ram);
	memcpy(m->ram + CODE_GPA, guest_begin, guest_bytes);
	set_slot(m, 0, 0, 0, m->ram, RAM_BYTES);
	enter_long_mode(m);
}

/* ---- What the guest asks for --------------------------------------------- */

static void print_dirty_pages(struct machine *m)
{
	uint64_t bitmap[1] = {0};
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};

	CONTROL(m->vm, KVM_GET_DIRTY_LOG, &log);
	printf("dirty pages of the card:");
	for (unsigned int i = 0; i < CARD_PAGES; i++) {
		if (bitmap[0] >> i & 1)
			printf(" %u", i);
	}
	putchar('\n');
}

static void obey(struct machine *m, unsigned int command)
{
	switch (command) {
	case PLUG:
		set_slot(m, 1, KVM_MEM_LOG_DIRTY_PAGES, CARD_GPA, m->card, CARD_PAGES * PAGE);
		puts("the card is plugged in");
		break;
	case LOG:
		print_dirty_pages(m);
		break;
	case PULL:
		set_slot(m, 1, 0, CARD_GPA, m->card, 0);
		printf("the card is pulled out; it holds %d and %d\n", m->card[0],
		       m->card[3 * PAGE + 0x10]);
		break;
	default:
		printf("command %u?\n", command);
	}
}

static void port_written(struct machine *m)
{
	const uint8_t *const data = (const uint8_t *)m->run + m->run->io.data_offset;
	uint32_t number;

	switch (m->run->io.port) {
	case PORT_SERIAL:
		putchar(*data);
		break;
	case PORT_COMMAND:
		obey(m, *data);
		break;
	case PORT_NUMBER:
		memcpy(&number, data, sizeof(number));
		printf("the guest says %u\n", number);
		break;
	default:
		printf("port 0x%x?\n", m->run->io.port);
	}
}

/* An access to an address without a slot. */
static void mmio(struct kvm_run *run)
{
	static const uint32_t nothing = 4711;

	printf("%s of %u bytes at 0x%llx, where nothing is\n",
	       run->mmio.is_write ? "a write" : "a read", run->mmio.len, run->mmio.phys_addr);
	if (!run->mmio.is_write)
		memcpy(run->mmio.data, &nothing, sizeof(nothing));
}

int main(void)
{
	struct machine m;

	build(&m);
	for (;;) {
		CONTROL(m.vcpu, KVM_RUN, 0);
		switch (m.run->exit_reason) {
		case KVM_EXIT_IO:
			port_written(&m);
			break;
		case KVM_EXIT_MMIO:
			mmio(m.run);
			break;
		case KVM_EXIT_HLT:
			puts("the guest has halted");
			return 0;
		default:
			printf("exit %u?\n", m.run->exit_reason);
			return 1;
		}
	}
}
