/* SPDX-License-Identifier: MIT */
/*
 * rates.c - what a guest does in a second, as lines `what: number`: instructions, exits, stores
 * whose page the processor has at hand, and stores that it has to walk the page tables for.
 *
 * Each is a loop of guest code that runs for about a third of a second. scripts/table2021 runs it
 * under `mslot kvm` and on /dev/kvm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vm.h"

#define RAM_BYTES (96u << 20)
#define FIELD (16u << 20) /* where the stores go, to the end of RAM */
#define FIELD_PAGES ((RAM_BYTES - FIELD) / CLIENT_PAGE)
#define TIME_NS 300000000u

/* RCX: how often; RDI: the field. Each ends by HLT. */
__asm__("	.pushsection .rodata\n"
	"rates_begin:\n"
	"rates_instructions:\n"
	"	add	$1, %rax\n"
	"	xor	%rax, %rdx\n"
	"	lea	3(%rdx, %rax, 2), %rbx\n"
	"	mov	%rbx, %rsi\n"
	"	shr	$3, %rsi\n"
	"	sub	%rsi, %rdx\n"
	"	dec	%rcx\n"
	"	jnz	rates_instructions\n"
	"	hlt\n"
	"rates_exits:\n"
	"	out	%al, $0x10\n"
	"	dec	%rcx\n"
	"	jnz	rates_exits\n"
	"	hlt\n"
	"rates_hits:\n"
	"	mov	%rcx, (%rdi)\n"
	"	mov	%rcx, 64(%rdi)\n"
	"	mov	%rcx, 128(%rdi)\n"
	"	mov	%rcx, 192(%rdi)\n"
	"	dec	%rcx\n"
	"	jnz	rates_hits\n"
	"	hlt\n"
	"rates_misses:\n"
	"	mov	%rcx, (%rdi)\n"
	"	add	$0x1000, %rdi\n"
	"	dec	%rcx\n"
	"	jnz	rates_misses\n"
	"	hlt\n"
	"rates_end:\n"
	"	.popsection\n");
extern const char rates_begin[], rates_instructions[], rates_exits[], rates_hits[], rates_misses[],
    rates_end[];

struct loop {
	const char *name, *code;
	uint64_t rounds;   /* of a run, which ends by HLT */
	double each_round; /* how many of what is counted are in a round */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void run_to_halt(struct client_vcpu *vcpu)
{
	uint32_t reason;

	do
		reason = client_run(vcpu);
	while (reason == KVM_EXIT_IO);
	if (reason != KVM_EXIT_HLT) {
		fprintf(stderr, "rates: exit %u\n", reason);
		exit(1);
	}
}

static void measure(struct client_vcpu *vcpu, const struct loop *loop)
{
	const struct client_start start = {
	    .offset = (uint64_t)(loop->code - rates_begin), .rcx = loop->rounds, .rdi = FIELD};
	uint64_t begin, end, rounds = 0;

	/* Once to warm up. */
	client_start(vcpu, &start);
	run_to_halt(vcpu);
	begin = now_ns();
	do {
		client_start(vcpu, &start);
		run_to_halt(vcpu);
		rounds += loop->rounds;
		end = now_ns();
	} while (end - begin < TIME_NS);
	printf("%s: %.0f\n", loop->name,
	       (double)rounds * loop->each_round * 1e9 / (double)(end - begin));
}

int main(void)
{
	const struct loop loops[] = {
	    {"instructions", rates_instructions, 100000, 8},
	    {"exits", rates_exits, 1000, 1},
	    {"stores", rates_hits, 20000, 4},
	    {"stores that miss the TLB", rates_misses, FIELD_PAGES, 1},
	};
	struct client_vm vm;

	client_vm_create(&vm, 1, RAM_BYTES, &(struct client_code){rates_begin, rates_end});
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
		measure(&vm.vcpu[0], &loops[i]);
	return 0;
}
