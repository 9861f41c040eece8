/* SPDX-License-Identifier: MIT */
/*
 * storm.c - two vCPUs read guest memory while its slots change as fast as they can.
 *
 * list         Two adjacent slots are exchanged for two others in one list. Each read spans both
 *              pages: it never meets a hole, and never one slot of each pair.
 * replace      A slot is deleted and made again with other memory, and the old memory filled with
 *              poison in between. A read may find a hole, but never poison.
 * one by one   As `list`, with a request for each slot: now a hole or a mix has to be seen, which
 *              shows that the others look where they should.
 *
 * A kernel has no lists: there only `replace` and `one by one` run. MSLOT_STRESS_MS is the time of
 * all together.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <mslot/kvm_ioctl.h>

#include "vm.h"

#define NVCPUS 2u
#define RAM_BYTES (1u << 20)
#define BLOCK_GPA 0x8000u /* of each vCPU, a page apart */
#define FIELD_GPA (32u << 20)
#define PARK_GPA (64u << 20)
#define ACROSS (FIELD_GPA + CLIENT_PAGE - 4) /* eight bytes in two pages */

#define BYTE_A 0xaa
#define BYTE_B 0xbb
#define BYTE_HOLE 0xcc
#define BYTE_POISON 0xdd

/* RDI: what to read; RSI: the vCPU's block. Whatever is not eight equal bytes, or poison, is told
 * through a port, four bytes at a time. */
__asm__("	.pushsection .rodata\n"
	"storm_begin:\n"
	"	mov	(%rdi), %rax\n"
	"	mov	%rax, %rbx\n"
	"	movzbl	%al, %edx\n"
	"	movabs	$0x0101010101010101, %rcx\n"
	"	imul	%rcx, %rdx\n"
	"	cmp	%rdx, %rbx\n"
	"	jne	tell\n"
	"	cmp	$0xaa, %al\n"
	"	jne	1f\n"
	"	incq	8(%rsi)\n"
	"	jmp	next\n"
	"1:	cmp	$0xbb, %al\n"
	"	jne	2f\n"
	"	incq	16(%rsi)\n"
	"	jmp	next\n"
	"2:	cmp	$0xcc, %al\n"
	"	jne	tell\n"
	"next:	cmpb	$0, (%rsi)\n"
	"	je	storm_begin\n"
	"	hlt\n"
	"tell:	out	%eax, $0x11\n"
	"	shr	$32, %rbx\n"
	"	mov	%ebx, %eax\n"
	"	out	%eax, $0x12\n"
	"	jmp	next\n"
	"storm_end:\n"
	"	.popsection\n");
extern const char storm_begin[], storm_end[];

struct block {
	volatile uint8_t stop;
	uint8_t pad[7];
	uint64_t a, b; /* reads of each */
};

struct reader {
	struct client_vcpu *vcpu;
	struct client_start start;
	pthread_t thread;
	uint64_t holes, mixed;
	uint32_t half[2]; /* of the last mixed read */
	uint32_t unexpected;
};

struct storm {
	struct client_vm vm;
	struct reader reader[NVCPUS];
	uint8_t *memory[2];
	uint64_t switches;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* ---- The vCPUs ----------------------------------------------------------- */

static void port(struct reader *r)
{
	const struct kvm_run *const run = r->vcpu->run;

	memcpy(&r->half[run->io.port & 1 ? 0 : 1], (const uint8_t *)run + run->io.data_offset, 4);
	__atomic_fetch_add(&r->mixed, run->io.port & 1u, __ATOMIC_RELAXED);
}

static void *run_vcpu(void *arg)
{
	struct reader *const r = arg;
	struct kvm_run *const run = r->vcpu->run;
	uint32_t reason;

	client_start(r->vcpu, &r->start);
	for (;;) {
		reason = client_run(r->vcpu);
		if (reason == KVM_EXIT_IO) {
			port(r);
		} else if (reason == KVM_EXIT_MMIO && !run->mmio.is_write) {
			memset(run->mmio.data, BYTE_HOLE, sizeof(run->mmio.data));
			__atomic_fetch_add(&r->holes, 1, __ATOMIC_RELAXED);
		} else {
			r->unexpected = reason == KVM_EXIT_HLT ? 0 : reason + 1;
			return NULL;
		}
	}
}

/* ---- The slots ----------------------------------------------------------- */

static void set_pair(struct storm *s, unsigned int pair, uint64_t gpa)
{
	for (unsigned int page = 0; page < 2; page++)
		client_set_slot(&s->vm,
				&(struct client_slot){.slot = 1 + 2 * pair + page,
						      .gpa = gpa + page * CLIENT_PAGE,
						      .host = s->memory[pair] + page * CLIENT_PAGE,
						      .len_bytes = CLIENT_PAGE});
}

static void switch_one_by_one(struct storm *s)
{
	const unsigned int in = s->switches & 1 ? 0 : 1;

	set_pair(s, 1 - in, PARK_GPA + (1 - in) * 2 * CLIENT_PAGE);
	set_pair(s, in, FIELD_GPA);
}

static void switch_by_list(struct storm *s)
{
	struct mslot_kvm_region_list *const list =
	    calloc(1, sizeof(*list) + 4 * sizeof(list->entries[0]));
	const unsigned int in = s->switches & 1 ? 0 : 1;

	if (list == NULL)
		exit(1);
	list->nent = 4;
	for (unsigned int i = 0; i < 4; i++) {
		const unsigned int pair = i / 2, page = i % 2;
		const uint64_t gpa = pair == in ? FIELD_GPA : PARK_GPA + pair * 2 * CLIENT_PAGE;

		list->entries[i] = (struct mslot_kvm_region_entry){
		    .slot = 1 + i,
		    .guest_phys_addr = gpa + page * CLIENT_PAGE,
		    .memory_size = CLIENT_PAGE,
		    .userspace_addr = (uintptr_t)(s->memory[pair] + page * CLIENT_PAGE),
		    .invalidate_slot = 1,
		};
	}
	CLIENT_CALL(s->vm.fd, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, list);
	free(list);
}

static void replace(struct storm *s)
{
	const unsigned int in = s->switches & 1 ? 0 : 1;
	struct client_slot slot = {.slot = 1, .gpa = FIELD_GPA};

	client_set_slot(&s->vm, &slot);
	memset(s->memory[1 - in], BYTE_POISON, 2 * CLIENT_PAGE);
	memset(s->memory[in], in == 0 ? BYTE_A : BYTE_B, 2 * CLIENT_PAGE);
	slot.host = s->memory[in];
	slot.len_bytes = 2 * CLIENT_PAGE;
	client_set_slot(&s->vm, &slot);
}

/* ---- All of it ----------------------------------------------------------- */

struct mode {
	const char *name;
	void (*change)(struct storm *s);
	uint64_t address;
	bool pairs; /* of slots; else one slot */
	bool holes; /* may be seen */
	bool must_be_seen;
};

#define PATIENCE_MS 10000u

/* What judge() wants to see has been seen; else a busy machine gets more time. */
static bool seen_enough(const struct storm *s, const struct mode *mode)
{
	uint64_t a = 0, b = 0, told = 0;

	for (unsigned int i = 0; i < NVCPUS; i++) {
		const volatile struct block *const block =
		    (const volatile struct block *)(s->vm.ram + BLOCK_GPA + i * CLIENT_PAGE);

		a += block->a;
		b += block->b;
		told += __atomic_load_n(&s->reader[i].holes, __ATOMIC_RELAXED) +
			__atomic_load_n(&s->reader[i].mixed, __ATOMIC_RELAXED);
	}
	return mode->must_be_seen ? told > 0 : a > 0 && b > 0;
}

static void run_storm(struct storm *s, const struct mode *mode, uint64_t ms)
{
	uint64_t end;

	for (unsigned int i = 0; i < NVCPUS; i++) {
		struct reader *const r = &s->reader[i];

		r->vcpu = &s->vm.vcpu[i];
		r->start =
		    (struct client_start){.rdi = mode->address, .rsi = BLOCK_GPA + i * CLIENT_PAGE};
		if (pthread_create(&r->thread, NULL, run_vcpu, r) != 0)
			exit(1);
	}
	end = now_ms() + ms;
	do {
		mode->change(s);
		s->switches++;
	} while (now_ms() < end || (!seen_enough(s, mode) && now_ms() < end + PATIENCE_MS));
	for (unsigned int i = 0; i < NVCPUS; i++) {
		s->vm.ram[BLOCK_GPA + i * CLIENT_PAGE] = 1;
		pthread_join(s->reader[i].thread, NULL);
	}
}

static bool judge(const struct storm *s, const struct mode *mode)
{
	uint64_t a = 0, b = 0, holes = 0, mixed = 0;
	bool good = true;

	for (unsigned int i = 0; i < NVCPUS; i++) {
		const struct reader *const r = &s->reader[i];
		struct block block;

		memcpy(&block, s->vm.ram + BLOCK_GPA + i * CLIENT_PAGE, sizeof(block));
		a += block.a;
		b += block.b;
		holes += r->holes;
		mixed += r->mixed;
		if (r->unexpected) {
			printf("%s: vCPU %u: exit %u\n", mode->name, i, r->unexpected - 1);
			good = false;
		}
		if (r->mixed && !mode->must_be_seen)
			printf("%s: vCPU %u read %08x %08x\n", mode->name, i, r->half[0],
			       r->half[1]);
	}
	printf("%s: %llu switches, reads: %llu and %llu, holes %llu, mixed %llu\n", mode->name,
	       (unsigned long long)s->switches, (unsigned long long)a, (unsigned long long)b,
	       (unsigned long long)holes, (unsigned long long)mixed);
	if (mode->must_be_seen)
		return good && holes + mixed > 0;
	return good && a > 0 && b > 0 && mixed == 0 && (holes == 0 || mode->holes);
}

static bool run_mode(const struct mode *mode, uint64_t ms)
{
	struct storm s = {.switches = 0};

	client_vm_create(&s.vm, NVCPUS, RAM_BYTES, &(struct client_code){storm_begin, storm_end});
	for (unsigned int i = 0; i < 2; i++) {
		s.memory[i] = client_memory(2 * CLIENT_PAGE);
		memset(s.memory[i], i == 0 ? BYTE_A : BYTE_B, 2 * CLIENT_PAGE);
	}
	if (mode->pairs) {
		set_pair(&s, 0, FIELD_GPA);
		set_pair(&s, 1, PARK_GPA + 2 * CLIENT_PAGE);
	} else {
		client_set_slot(&s.vm, &(struct client_slot){.slot = 1,
							     .gpa = FIELD_GPA,
							     .host = s.memory[0],
							     .len_bytes = 2 * CLIENT_PAGE});
	}
	run_storm(&s, mode, ms);
	return judge(&s, mode);
}

int main(void)
{
	static const struct mode modes[] = {
	    {"list", switch_by_list, ACROSS, .pairs = true},
	    {"replace", replace, FIELD_GPA + 64, .holes = true},
	    {"one by one", switch_one_by_one, ACROSS, .pairs = true, .must_be_seen = true},
	};
	const char *const text = getenv("MSLOT_STRESS_MS");
	const uint64_t ms = (text != NULL ? strtoul(text, NULL, 10) : 1500) / 3;
	struct client_vm vm;
	bool good = true, lists;

	client_vm_create(&vm, 0, RAM_BYTES, &(struct client_code){storm_begin, storm_end});
	lists = ioctl(vm.fd, KVM_CHECK_EXTENSION, MSLOT_KVM_CAP_REGION_LIST) > 0;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].change != switch_by_list || lists)
			good &= run_mode(&modes[i], ms);
	return good ? 0 : 1;
}
