/* SPDX-License-Identifier: MIT */
/*
 * guest_cpu.c - a small guest: see guest_cpu.h.
 */
#include "guest_cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define ENTRY (UINT64_C(0x3)) /* present, writable */
#define LARGE (UINT64_C(0x80))
#define HLT 0xf4u

uint64_t *guest_cpu_word(struct guest_cpu *guest, uint64_t gpa)
{
	return (uint64_t *)(void *)(guest->host + gpa);
}

uint64_t *guest_cpu_pte(struct guest_cpu *guest, uint64_t linear)
{
	return guest_cpu_word(guest, GUEST_PT + (linear >> 12) * 8);
}

static void make_tables(struct guest_cpu *guest)
{
	*guest_cpu_word(guest, GUEST_PML4) = GUEST_PDPT | ENTRY;
	*guest_cpu_word(guest, GUEST_PDPT) = GUEST_PD | ENTRY;
	*guest_cpu_word(guest, GUEST_PDPT + 8) = ENTRY | LARGE;
	*guest_cpu_word(guest, GUEST_PD) = GUEST_PT | ENTRY;
	for (uint64_t i = 1; i < 512; i++)
		*guest_cpu_word(guest, GUEST_PD + i * 8) = i << 21 | ENTRY | LARGE;
	for (uint64_t i = 0; i < 512; i++)
		*guest_cpu_pte(guest, i << 12) = i << 12 | ENTRY;
}

void guest_cpu_gate(struct guest_cpu *guest, unsigned int vector, uint64_t offset,
		    unsigned int type, unsigned int ist)
{
	uint64_t *gate = guest_cpu_word(guest, GUEST_IDT + vector * 16);

	gate[0] = (offset & 0xffff) | GUEST_CS << 16 | (uint64_t)ist << 32 |
		  (uint64_t)(0x80 | type) << 40 | (offset & 0xffff0000) << 32;
	gate[1] = offset >> 32;
}

static void make_descriptors(struct guest_cpu *guest)
{
	static const uint64_t gdt[] = {
	    0,
	    0x00af9b000000ffff, /* code */
	    0x00cf93000000ffff, /* data */
	    0x0000890000000067 | GUEST_TSS << 16,
	    0,                  /* TSS, available */
	    0x00affb000000ffff, /* code of users */
	    0x00cf9b000000ffff, /* code of 32 bits */
	    0x00cf13000000ffff, /* data, not present */
	};

	memcpy(guest_cpu_word(guest, GUEST_GDT), gdt, sizeof(gdt));
	for (unsigned int i = 0; i < 256; i++) {
		guest_cpu_gate(guest, i, GUEST_HANDLERS + i * 16, 14, 0);
		guest->host[GUEST_HANDLERS + i * 16] = HLT;
	}
	memcpy(guest->host + GUEST_TSS + 36, &(const uint64_t){GUEST_IST}, 8);
}

static void make_state(struct guest_cpu *guest)
{
	struct cpu_state *s = guest->s;
	const struct cpu_segment data = {
	    .limit = UINT32_MAX, .selector = GUEST_DS, .attributes = 0xc093};

	for (unsigned int i = 0; i < CPU_SEGMENTS; i++)
		s->seg[i] = data;
	s->seg[CPU_CS] =
	    (struct cpu_segment){.limit = UINT32_MAX, .selector = GUEST_CS, .attributes = 0xa09b};
	s->tr = (struct cpu_segment){
	    .base = GUEST_TSS, .limit = 0x67, .selector = GUEST_TR, .attributes = 0x8b};
	s->gdt = (struct cpu_table){GUEST_GDT, 8 * 8 - 1};
	s->idt = (struct cpu_table){GUEST_IDT, 256 * 16 - 1};
	s->cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	s->cr3 = GUEST_PML4;
	s->cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
	s->efer = 0xd01; /* SCE, LME, LMA, NXE */
	s->rflags = 2;
	cpu_state_changed(guest->cpu);
}

static void kick(void *ctx)
{
	struct guest_cpu *guest = ctx;

	if (guest->cpu)
		cpu_attend(guest->cpu, false);
}

void guest_cpu_init(struct guest_cpu *guest, uint64_t ring_bytes)
{
	struct mslot_region_options region = {.len_bytes = GUEST_HOST_BYTES, .fd = -1};
	struct mslot_root_options root = {.kind = MSLOT_ROOT_DIRECT};
	struct mslot_vcpu_options vcpu = {.kick = kick, .ctx = guest};
	struct cpu_options options;

	*guest = (struct guest_cpu){.fd = memfd_create("guest", MFD_CLOEXEC)};
	assert_true(guest->fd >= 0);
	assert_int_equal(ftruncate(guest->fd, (off_t)GUEST_HOST_BYTES), 0);
	guest->host =
	    mmap(NULL, GUEST_HOST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(guest->host, MAP_FAILED);
	region.hva = guest->host;
	assert_int_equal(mslot_map_create(NULL, &guest->map), 0);
	if (ring_bytes)
		assert_int_equal(mslot_ring_enable(guest->map, ring_bytes, MSLOT_RING_WITH_BITMAP),
				 0);
	assert_int_equal(mslot_region_create(&region, &guest->region), 0);
	guest_cpu_slot(guest, 1, 0, GUEST_RAM_BYTES, 0, 0);
	assert_int_equal(mslot_mmu_create(guest->map, NULL, &guest->mmu), 0);
	assert_int_equal(mslot_root_create(guest->mmu, &root, &guest->root), 0);
	assert_int_equal(mslot_vcpu_create(guest->map, &vcpu, &guest->vcpu), 0);
	assert_int_equal(mslot_vcpu_root_set(guest->vcpu, guest->root), 0);
	options = (struct cpu_options){guest->vcpu, guest->root};
	assert_int_equal(cpu_create(&options, &guest->cpu), 0);
	guest->s = cpu_state(guest->cpu);
	make_tables(guest);
	make_descriptors(guest);
	make_state(guest);
}

void guest_cpu_fini(struct guest_cpu *guest)
{
	cpu_destroy(guest->cpu);
	assert_int_equal(mslot_vcpu_destroy(guest->vcpu), 0);
	assert_int_equal(mslot_root_destroy(guest->root), 0);
	assert_int_equal(mslot_mmu_destroy(guest->mmu), 0);
	mslot_region_put(guest->region);
	assert_int_equal(mslot_map_destroy(guest->map), 0);
	munmap(guest->host, GUEST_HOST_BYTES);
	close(guest->fd);
}

int guest_cpu_setup(void **state)
{
	static struct guest_cpu guest;

	guest_cpu_init(&guest, 0);
	*state = &guest;
	return 0;
}

int guest_cpu_teardown(void **state)
{
	guest_cpu_fini(*state);
	return 0;
}

static void commit(struct mslot_txn *txn)
{
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
}

void guest_cpu_slot(struct guest_cpu *guest, uint32_t id, uint64_t gpa, uint64_t len_bytes,
		    uint64_t offset, uint32_t flags)
{
	struct mslot_slot_def slot = {
	    .key = {0, id},
	    .gpa = gpa,
	    .len_bytes = len_bytes,
	    .region = guest->region,
	    .offset_bytes = offset,
	    .flags = flags,
	};
	struct mslot_txn *txn;

	assert_int_equal(mslot_txn_begin(guest->map, &txn), 0);
	assert_true(mslot_txn_create(txn, &slot) >= 0);
	commit(txn);
}

void guest_cpu_slot_delete(struct guest_cpu *guest, uint32_t id)
{
	struct mslot_txn *txn;

	assert_int_equal(mslot_txn_begin(guest->map, &txn), 0);
	assert_true(mslot_txn_delete(txn, (struct mslot_key){0, id}) >= 0);
	commit(txn);
}

void guest_cpu_code(struct guest_cpu *guest, const void *code, size_t len)
{
	memcpy(guest->host + GUEST_CODE, code, len);
	guest->s->rip = GUEST_CODE;
	guest->s->gpr[CPU_RSP] = GUEST_STACK;
}

enum cpu_exit_reason guest_cpu_run_for(struct guest_cpu *guest, uint64_t budget)
{
	memset(&guest->exit, 0xa5, sizeof(guest->exit));
	cpu_run(guest->cpu, budget, &guest->exit);
	return guest->exit.reason;
}

enum cpu_exit_reason guest_cpu_run(struct guest_cpu *guest)
{
	return guest_cpu_run_for(guest, 10000);
}

int guest_cpu_vector(struct guest_cpu *guest)
{
	uint64_t offset;

	if (guest_cpu_run(guest) != CPU_EXIT_HLT)
		return -1;
	offset = guest->s->rip - 1 - GUEST_HANDLERS;
	return offset % 16 == 0 && offset / 16 < 256 ? (int)(offset / 16) : -1;
}

struct guest_frame guest_cpu_frame(const struct guest_cpu *guest)
{
	uint64_t vector = (guest->s->rip - 1 - GUEST_HANDLERS) / 16;
	/* Vectors that push an error code. */
	bool error = vector < 32 && UINT32_C(0x00027d00) >> vector & 1;
	uint64_t rsp = guest->s->gpr[CPU_RSP] - (error ? 0 : 8);
	struct guest_frame frame;

	/* Whatever the linear address: stacks are below 2 MiB, or in their alias. */
	memcpy(&frame, guest->host + (rsp & (GUEST_RAM_BYTES - 1)), sizeof(frame));
	if (!error)
		frame.error = 0;
	return frame;
}
