/* SPDX-License-Identifier: MIT */
/*
 * guest_cpu.h - a CPU with a small guest around it: memory, page tables, GDT, IDT, TSS.
 *
 *   guest-physical    what
 *   0 - 2 MiB         slot 1, the first 2 MiB of the host memory
 *   elsewhere         nothing; guest_cpu_slot() adds slots of the rest of the host memory
 *
 *   linear            what
 *   0 - 2 MiB         the same, 4 KiB pages
 *   2 MiB - 1 GiB     the same, 2 MiB pages
 *   1 GiB - 2 GiB     guest-physical 0 on, one page of 1 GiB
 *
 * Each exception has a handler that halts: guest_cpu_vector() tells which one it was, and
 * guest_cpu_frame() what it was given.
 */
#ifndef MSLOT_TESTS_GUEST_CPU_H
#define MSLOT_TESTS_GUEST_CPU_H

#include <mslot/mslot.h>

#include "cpu.h"

#define GUEST_PML4 0x1000u
#define GUEST_PDPT 0x2000u
#define GUEST_PD 0x3000u
#define GUEST_PT 0x4000u
#define GUEST_GDT 0x5000u
#define GUEST_IDT 0x6000u
#define GUEST_TSS 0x7000u
#define GUEST_HANDLERS 0x8000u /* 16 bytes each */
#define GUEST_CODE 0x10000u
#define GUEST_STACK 0x30000u /* its end; below it are two pages */
#define GUEST_IST 0x34000u
#define GUEST_DATA 0x40000u
#define GUEST_RAM_BYTES UINT64_C(0x200000)
#define GUEST_HOST_BYTES UINT64_C(0x400000)
#define GUEST_ALIAS UINT64_C(0x40000000) /* linear, where guest-physical 0 is once more */

/* Selectors: 64-bit code, data, the TSS, and code of users. */
#define GUEST_CS 0x08u
#define GUEST_DS 0x10u
#define GUEST_TR 0x18u
#define GUEST_USER_CS 0x2bu

struct guest_cpu {
	struct mslot_map *map;
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	struct mslot_vcpu *vcpu;
	struct mslot_region *region;
	uint8_t *host;
	int fd; /* behind the host memory */
	struct cpu *cpu;
	struct cpu_state *s;
	struct cpu_exit exit;
};

/* What handlers are given, with or without an error code. */
struct guest_frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

/* ring_bytes: a dirty ring, or 0. */
void guest_cpu_init(struct guest_cpu *guest, uint64_t ring_bytes);
void guest_cpu_fini(struct guest_cpu *guest);

/* Before and after a test of such a CPU, which is its *state. */
int guest_cpu_setup(void **state);
int guest_cpu_teardown(void **state);
#define GUEST_TEST(name) cmocka_unit_test_setup_teardown(name, guest_cpu_setup, guest_cpu_teardown)

/* A slot of the host memory from `offset` on; commits. */
void guest_cpu_slot(struct guest_cpu *guest, uint32_t id, uint64_t gpa, uint64_t len_bytes,
		    uint64_t offset, uint32_t flags);
void guest_cpu_slot_delete(struct guest_cpu *guest, uint32_t id);

/* Put code at GUEST_CODE and RIP there, RSP at GUEST_STACK. */
void guest_cpu_code(struct guest_cpu *guest, const void *code, size_t len);
#define guest_cpu_asm(guest, ...)                                                                  \
	guest_cpu_code(guest, (const uint8_t[]){__VA_ARGS__},                                      \
		       sizeof((const uint8_t[]){__VA_ARGS__}))

/* Run 10000 instructions, or so many; returns guest->exit.reason. */
enum cpu_exit_reason guest_cpu_run(struct guest_cpu *guest);
enum cpu_exit_reason guest_cpu_run_for(struct guest_cpu *guest, uint64_t budget);

/* The entry of a page below 2 MiB, for the test to change; then cpu_state_changed(). */
uint64_t *guest_cpu_pte(struct guest_cpu *guest, uint64_t linear);
uint64_t *guest_cpu_word(struct guest_cpu *guest, uint64_t gpa);

/* Run until a handler halts; returns its vector, or -1: something else happened. */
int guest_cpu_vector(struct guest_cpu *guest);
struct guest_frame guest_cpu_frame(const struct guest_cpu *guest);

/* The gate of a vector: set it to something else. */
void guest_cpu_gate(struct guest_cpu *guest, unsigned int vector, uint64_t offset,
		    unsigned int type, unsigned int ist);

#endif /* MSLOT_TESTS_GUEST_CPU_H */
