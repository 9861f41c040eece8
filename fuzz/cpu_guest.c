/* SPDX-License-Identifier: MIT */
/*
 * cpu_guest.c - runs the same bytes on our CPU: a guest whose page tables show its data and code at
 * the addresses that they have in this process.
 *
 * A block ends by a jump to native_exit: the guest has a page of HLT there. Its exceptions go to a
 * page of HLT, too, one for each vector, on a stack of their own (IST), so that data are not
 * touched; what the frame says is taken for the outcome. All its other tables are at SYSTEM_BASE,
 * where the process has nothing.
 */
#include "cpu_diff.h"

#include <string.h>
#include <sys/mman.h>

#include <mslot/mslot.h>

#include "cpu.h"

#define RAM_BYTES (UINT64_C(1) << 20)
#define SYSTEM_BASE UINT64_C(0x5a5a50000000)

/* Guest-physical pages. */
enum {
	PAGE_ROOT = 1,
	PAGE_IDT,
	PAGE_GDT,
	PAGE_TSS,
	PAGE_STACK,
	PAGE_HANDLER,
	PAGE_EXIT,
	PAGE_DATA,
	PAGE_CODE = PAGE_DATA + DATA_PAGES,
	PAGE_FREE = PAGE_CODE + CODE_PAGES, /* page tables, from here on */
};

#define PTE_PRESENT 1u
#define PTE_WRITABLE 2u
#define PTE_SEEN 0x60u /* accessed and dirty */
#define PTE_NX (UINT64_C(1) << 63)

#define BUDGET 1000000u

static struct {
	uint8_t *ram;
	uint64_t next_page;
	struct mslot_map *map;
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	struct mslot_vcpu *vcpu;
	struct cpu *cpu;
	struct cpu_state initial;
	uint64_t exit_address;
	enum guest_data_form form;
	uint8_t admitted[DATA_PAGES]; /* 1: reads, 2: writes too */
} guest;

static uint8_t *page(uint64_t number)
{
	return guest.ram + number * 4096;
}

static uint64_t system_address(uint64_t number)
{
	return SYSTEM_BASE + number * 4096;
}

static void map_page(uint64_t linear, uint64_t number, uint64_t bits)
{
	uint64_t *table = (uint64_t *)(void *)page(PAGE_ROOT);

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[linear >> shift & 511];

		if (!*entry)
			*entry = guest.next_page++ * 4096 | PTE_PRESENT | PTE_WRITABLE | PTE_SEEN;
		table = (uint64_t *)(void *)page(*entry / 4096 & 0xffff);
	}
	table[linear >> 12 & 511] = number * 4096 | PTE_PRESENT | PTE_SEEN | bits;
}

static void fill_tables(void)
{
	for (uint64_t i = 0; i < DATA_PAGES; i++)
		map_page(DATA_BASE + i * 4096, PAGE_DATA + i,
			 PTE_NX | (i * 4096 < DATA_WRITABLE ? PTE_WRITABLE : 0));
	for (uint64_t i = 0; i < CODE_PAGES; i++)
		map_page(CODE_BASE + i * 4096, PAGE_CODE + i, 0);
	map_page(guest.exit_address & ~UINT64_C(0xfff), PAGE_EXIT, 0);
	for (uint64_t i = PAGE_IDT; i <= PAGE_HANDLER; i++)
		map_page(system_address(i), i, PTE_WRITABLE);
	memset(page(PAGE_EXIT), 0xf4, 4096);
	memset(page(PAGE_HANDLER), 0xf4, 4096);
}

/* Interrupt gates with IST 1; a TSS with that stack; a GDT with flat code and data. */
static void fill_descriptors(void)
{
	uint64_t *gate = (uint64_t *)(void *)page(PAGE_IDT);
	uint64_t *gdt = (uint64_t *)(void *)page(PAGE_GDT);
	uint64_t stack = system_address(PAGE_STACK + 1);

	for (uint64_t i = 0; i < 32; i++) {
		uint64_t target = system_address(PAGE_HANDLER) + 16 * i;

		gate[2 * i] = (target & 0xffff) | 0x08u << 16 | UINT64_C(0x8e01) << 32 |
			      (target >> 16 & 0xffff) << 48;
		gate[2 * i + 1] = target >> 32;
	}
	gdt[1] = UINT64_C(0x00209b0000000000);
	gdt[2] = UINT64_C(0x0000930000000000);
	memcpy(page(PAGE_TSS) + 36, &stack, 8);
}

static void fill_state(struct cpu_state *state)
{
	state->cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	state->cr3 = PAGE_ROOT * 4096;
	state->cr4 = 0x620;  /* OSXMMEXCPT, OSFXSR, PAE */
	state->efer = 0xd00; /* NXE, LMA, LME */
	for (unsigned int i = 0; i < CPU_SEGMENTS; i++)
		state->seg[i] = (struct cpu_segment){
		    .limit = 0xffffffff, .selector = 0x10, .attributes = 0xc093};
	state->seg[CPU_CS].selector = 0x08;
	state->seg[CPU_CS].attributes = 0xa09b;
	/* As they are in a process. */
	state->seg[CPU_FS].selector = state->seg[CPU_GS].selector = 0;
	state->tr = (struct cpu_segment){
	    .base = system_address(PAGE_TSS), .limit = 103, .selector = 0x18, .attributes = 0x8b};
	state->gdt = (struct cpu_table){.base = system_address(PAGE_GDT), .limit = 39};
	state->idt = (struct cpu_table){.base = system_address(PAGE_IDT), .limit = 511};
}

/* All memory, or all but data. */
static bool make_slots(struct mslot_region *region)
{
	const uint64_t first = PAGE_DATA * 4096, behind = PAGE_CODE * 4096;
	const bool devices = guest.form == DATA_DEVICES;
	struct mslot_slot_def slot = {.len_bytes = devices ? first : RAM_BYTES, .region = region};
	struct mslot_slot_def rest = {.key = {0, 1},
				      .gpa = behind,
				      .len_bytes = RAM_BYTES - behind,
				      .region = region,
				      .offset_bytes = behind};
	struct mslot_txn *txn;

	if (mslot_txn_begin(guest.map, &txn))
		return false;
	if (mslot_txn_create(txn, &slot) >= 0 && (!devices || mslot_txn_create(txn, &rest) >= 0))
		return mslot_txn_commit(txn, NULL, NULL) == 0;
	mslot_txn_abort(txn);
	return false;
}

static const char *make_cpu(struct mslot_region *region)
{
	const struct mslot_root_options direct = {.kind = MSLOT_ROOT_DIRECT};
	struct cpu_options options;

	if (mslot_map_create(NULL, &guest.map) || !make_slots(region))
		return "no map";
	if (mslot_mmu_create(guest.map, NULL, &guest.mmu) ||
	    mslot_root_create(guest.mmu, &direct, &guest.root) ||
	    mslot_vcpu_create(guest.map, NULL, &guest.vcpu) ||
	    mslot_vcpu_root_set(guest.vcpu, guest.root))
		return "no vCPU";
	options = (struct cpu_options){.vcpu = guest.vcpu, .root = guest.root};
	return cpu_create(&options, &guest.cpu) ? "no CPU" : NULL;
}

const char *guest_init(uint64_t exit_address, enum guest_data_form form)
{
	struct mslot_region_options ram = {.len_bytes = RAM_BYTES, .fd = -1};
	struct mslot_region *region;
	const char *why;

	guest.ram =
	    mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest.ram == MAP_FAILED)
		return "no memory";
	guest.next_page = PAGE_FREE;
	guest.exit_address = exit_address;
	guest.form = form;
	fill_tables();
	fill_descriptors();
	ram.hva = guest.ram;
	if (mslot_region_create(&ram, &region))
		return "no region";
	why = make_cpu(region);
	mslot_region_put(region);
	if (why)
		return why;
	fill_state(cpu_state(guest.cpu));
	cpu_state_changed(guest.cpu);
	guest.initial = *cpu_state(guest.cpu);
	return NULL;
}

uint8_t *guest_data(void)
{
	return page(PAGE_DATA);
}

uint8_t *guest_code(void)
{
	return page(PAGE_CODE);
}

static void put_state(const struct diff_state *before)
{
	struct cpu_state *state = cpu_state(guest.cpu);

	*state = guest.initial;
	memcpy(state->gpr, before->gpr, sizeof(state->gpr));
	state->rip = before->rip;
	state->rflags = before->rflags | 2;
	state->seg[CPU_GS].base = before->gs_base;
	state->fcw = before->fx.fcw;
	state->fsw = before->fx.fsw;
	state->ftw = before->fx.ftw;
	state->mxcsr = before->fx.mxcsr;
	memcpy(state->x87_opaque, before->fx.st, sizeof(state->x87_opaque));
	memcpy(state->xmm, before->fx.xmm, sizeof(before->fx.xmm));
}

static void take_state(struct diff_state *out)
{
	const struct cpu_state *state = cpu_state(guest.cpu);

	memcpy(out->gpr, state->gpr, sizeof(out->gpr));
	out->rip = state->rip;
	out->rflags = state->rflags;
	out->fx.fcw = state->fcw;
	out->fx.fsw = state->fsw;
	out->fx.ftw = state->ftw;
	out->fx.mxcsr = state->mxcsr;
	memcpy(out->fx.st, state->x87_opaque, sizeof(out->fx.st));
	memcpy(out->fx.xmm, state->xmm, sizeof(out->fx.xmm));
}

/* It stopped in the handler of a vector: undo the delivery. */
static void take_exception(struct diff_outcome *out)
{
	const uint64_t has_error = UINT64_C(0x27d00); /* vectors 8, 10 to 14, 17 */
	const uint64_t *frame = (const uint64_t *)(void *)page(PAGE_STACK + 1);

	out->vector = (int)((out->state.rip - 1 - system_address(PAGE_HANDLER)) / 16);
	frame -= 5;
	if (has_error >> out->vector & 1)
		out->error = (uint32_t)frame[-1];
	out->state.rip = frame[0];
	out->state.rflags = frame[2];
	out->state.gpr[CPU_RSP] = frame[3];
	out->cr2 = cpu_state(guest.cpu)->cr2;
}

static const char *exit_name(enum cpu_exit_reason reason)
{
	static const char *const names[] = {
	    [CPU_EXIT_BUDGET] = "it does not end",
	    [CPU_EXIT_IO] = "I/O",
	    [CPU_EXIT_MMIO] = "MMIO",
	    [CPU_EXIT_HLT] = "HLT elsewhere",
	    [CPU_EXIT_SHUTDOWN] = "triple fault",
	    [CPU_EXIT_INTERNAL] = "internal error",
	    [CPU_EXIT_HOST] = "host fault",
	    [CPU_EXIT_RING_FULL] = "full ring",
	    [CPU_EXIT_ERROR] = "the library failed",
	};

	return names[reason];
}

static void protect_data(uint64_t offset, uint64_t n, int prot)
{
	mprotect(page(PAGE_DATA) + offset, n, prot);
}

static void refuse(void)
{
	memset(guest.admitted, 0, sizeof(guest.admitted));
	if (guest.form == DATA_REFUSED)
		protect_data(0, DATA_BYTES, PROT_NONE);
}

/* The host refused an access to a page: reads are admitted then, and writes the next time. */
static bool admit(uint64_t hva)
{
	uint64_t number = (hva - (uintptr_t)page(PAGE_DATA)) / 4096;

	if (guest.form != DATA_REFUSED || number >= DATA_PAGES || guest.admitted[number] == 2)
		return false;
	protect_data(number * 4096, 4096,
		     guest.admitted[number]++ ? PROT_READ | PROT_WRITE : PROT_READ);
	return true;
}

/* What a device does that is memory, or a host that finds its memory; false: it is another exit. */
static bool served(const struct cpu_exit *exit)
{
	uint8_t *at = guest.ram + exit->mmio.gpa;

	if (exit->reason == CPU_EXIT_HOST)
		return admit(exit->host.hva);
	if (exit->reason != CPU_EXIT_MMIO || exit->mmio.gpa - PAGE_DATA * 4096 >= DATA_BYTES)
		return false;
	if (exit->mmio.write)
		memcpy(at, exit->mmio.data, exit->mmio.size_bytes);
	else
		cpu_complete(guest.cpu, at);
	return true;
}

void guest_run(const struct diff_state *before, struct diff_outcome *out)
{
	struct cpu_exit exit;

	put_state(before);
	out->vector = NO_VECTOR;
	out->error = 0;
	out->cr2 = 0;
	refuse();
	do
		cpu_run(guest.cpu, BUDGET, &exit);
	while (served(&exit));
	if (guest.form == DATA_REFUSED)
		protect_data(0, DATA_BYTES, PROT_READ | PROT_WRITE);
	take_state(&out->state);
	if (exit.reason == CPU_EXIT_HLT && out->state.rip == guest.exit_address + 1) {
		out->state.rip--;
		return;
	}
	if (exit.reason == CPU_EXIT_HLT &&
	    out->state.rip - 1 - system_address(PAGE_HANDLER) < 512) {
		take_exception(out);
		return;
	}
	out->vector = VECTOR_INTERNAL;
	out->why = exit.reason == CPU_EXIT_INTERNAL ? exit.internal.why : exit_name(exit.reason);
}

void guest_fini(void)
{
	cpu_destroy(guest.cpu);
	mslot_vcpu_destroy(guest.vcpu);
	mslot_root_destroy(guest.root);
	mslot_mmu_destroy(guest.mmu);
	mslot_map_destroy(guest.map);
	munmap(guest.ram, RAM_BYTES);
}
