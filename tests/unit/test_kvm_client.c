/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_client.c - ioctls of /dev/kvm, of VMs and of vCPUs: success, each error, their order.
 *
 * The answers are those that a kernel gives to the same calls (Linux 6.18), but where the
 * tables say "ours": what a kernel has and the client does not, or the other way round.
 */
#include "kvm_client_fixture.h"

#include <mslot/kvm_ioctl.h>

#define NOWHERE UINT64_C(8) /* no memory is there */
#define UNKNOWN _IO(KVMIO, 0xfd)

struct fds {
	int dev, vm, vcpu;
};

static int setup(void **state)
{
	static struct fds f;

	f.dev = make_dev();
	f.vm = (int)call(f.dev, KVM_CREATE_VM, 0);
	f.vcpu = make_vcpu_fd(f.vm, 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fds *f = *state;

	end(f->vcpu);
	end(f->vm);
	end(f->dev);
	return 0;
}

/* ---- What takes no struct ----------------------------------------------- */

static void calls_answer_as_a_kernel_does(void **state)
{
	const struct fds *f = *state;
	const struct {
		int fd;
		unsigned long request, arg;
		long ret;
	} cases[] = {
	    {f->dev, KVM_GET_API_VERSION, 0, 12},
	    {f->dev, KVM_GET_API_VERSION, 1, -EINVAL},
	    {f->dev, KVM_GET_VCPU_MMAP_SIZE, 0, 12288},
	    {f->dev, KVM_GET_VCPU_MMAP_SIZE, 1, -EINVAL},
	    {f->dev, KVM_CREATE_VM, 77, -EINVAL},
	    {f->dev, KVM_CREATE_VM, 1ul << 40, -EINVAL},
	    {f->dev, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY, 1},
	    {f->dev, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS, 32764},
	    {f->dev, KVM_CHECK_EXTENSION, 1ul << 32 | KVM_CAP_USER_MEMORY, 0},
	    {f->dev, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE, 0},
	    {f->dev, KVM_CHECK_EXTENSION, MSLOT_KVM_CAP_REGION_LIST, 1 << 20}, /* ours */
	    {f->vm, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3},
	    {f->vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING, 1 << 20},
	    {f->dev, UNKNOWN, 0, -ENOTTY}, /* ours */
	    {f->dev, KVM_RUN, 0, -ENOTTY}, /* ours */
	    {f->vm, UNKNOWN, 0, -ENOTTY},
	    {f->vm, KVM_RUN, 0, -ENOTTY},
	    {f->vm, KVM_CREATE_VM, 0, -ENOTTY},
	    {f->vcpu, UNKNOWN, 0, -ENOTTY}, /* ours */
	    {f->vcpu, _IO('x', 1), 0, -EINVAL},
	    {f->vm, KVM_SET_TSS_ADDR, 0xfffbd000, 0},
	    {f->vm, KVM_SET_TSS_ADDR, 0xffffd000, 0},
	    {f->vm, KVM_SET_TSS_ADDR, 0xffffd001, -EINVAL},
	    {f->vm, KVM_SET_TSS_ADDR, 1ul << 32, -EINVAL},
	    {f->vm, KVM_SET_NR_MMU_PAGES, 63, -EINVAL},
	    {f->vm, KVM_SET_NR_MMU_PAGES, 1000, 0},
	    {f->vm, KVM_GET_NR_MMU_PAGES, 0, 1000},
	    {f->vm, KVM_RESET_DIRTY_RINGS, 0, -EINVAL},
	    {f->vm, KVM_CREATE_VCPU, 0, -EEXIST},
	    {f->vm, KVM_CREATE_VCPU, 4096, -EINVAL},
	    {f->vm, KVM_CREATE_VCPU, 1ul << 32 | 1, -EINVAL},
	    {f->vm, KVM_CREATE_IRQCHIP, 0, -EINVAL}, /* after a vCPU */
	    {f->vcpu, KVM_RUN, 1, -EINVAL},
	    {f->vcpu, KVM_SET_SIGNAL_MASK, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (call(cases[i].fd, cases[i].request, cases[i].arg) != cases[i].ret)
			fail_msg("case %zu: %ld, expected %ld", i,
				 call(cases[i].fd, cases[i].request, cases[i].arg), cases[i].ret);
	/* Numbers come sign-extended from some programs. */
	assert_int_equal(
	    call(f->dev, (unsigned long)(long)(int)KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
	assert_true(call(f->vcpu, KVM_GET_TSC_KHZ, 0) > 100000);
}

static void addresses_that_are_not_there_are_efault(void **state)
{
	const struct fds *f = *state;
	const struct {
		int fd;
		unsigned long request;
	} cases[] = {
	    {f->dev, KVM_GET_SUPPORTED_CPUID},
	    {f->dev, KVM_GET_MSR_INDEX_LIST},
	    {f->dev, KVM_GET_MSR_FEATURE_INDEX_LIST},
	    {f->vm, KVM_SET_USER_MEMORY_REGION},
	    {f->vm, KVM_GET_DIRTY_LOG},
	    {f->vm, KVM_CLEAR_DIRTY_LOG},
	    {f->vm, KVM_ENABLE_CAP},
	    {f->vm, KVM_SET_IDENTITY_MAP_ADDR},
	    {f->vm, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST},
	    {f->vcpu, KVM_GET_REGS},
	    {f->vcpu, KVM_SET_REGS},
	    {f->vcpu, KVM_GET_SREGS},
	    {f->vcpu, KVM_SET_SREGS},
	    {f->vcpu, KVM_GET_FPU},
	    {f->vcpu, KVM_SET_FPU},
	    {f->vcpu, KVM_GET_MSRS},
	    {f->vcpu, KVM_SET_MSRS},
	    {f->vcpu, KVM_SET_CPUID2},
	    {f->vcpu, KVM_GET_CPUID2},
	    {f->vcpu, KVM_GET_MP_STATE},
	    {f->vcpu, KVM_SET_MP_STATE},
	    {f->vcpu, KVM_SET_SIGNAL_MASK},
	    {f->vcpu, KVM_TRANSLATE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (call(cases[i].fd, cases[i].request, NOWHERE) != -EFAULT)
			fail_msg("case %zu", i);
}

/* ---- VMs ---------------------------------------------------------------- */

static long enable(int vm, uint32_t cap, uint32_t flags, uint64_t arg)
{
	struct kvm_enable_cap request = {.cap = cap, .flags = flags, .args = {arg}};

	return guest_call(vm, KVM_ENABLE_CAP, &request);
}

static void capabilities_are_enabled_as_a_kernel_does(void **state)
{
	const struct fds *f = *state;
	const int vm = (int)call(f->dev, KVM_CREATE_VM, 0);
	int vcpu;

	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 4), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 2), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1, 1), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 3), 0);
	assert_int_equal(enable(vm, KVM_CAP_HALT_POLL, 0, 0), 0);
	assert_int_equal(enable(vm, KVM_CAP_HALT_POLL, 1, 0), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_HALT_POLL, 0, UINT64_C(1) << 32), -EINVAL);
	assert_int_equal(enable(vm, 9999, 0, 0), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 3000), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 2 << 20), -E2BIG);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 4096), 0);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 0, 4096), -EINVAL);
	assert_int_equal(call(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(call(vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	vcpu = make_vcpu_fd(vm, 7);
	assert_int_equal(lseek(vcpu, 0, SEEK_END), 64 * 4096 + 4096);
	end(vcpu);
	end(vm);
}

static void identity_map_is_set_before_vcpus(void **state)
{
	const struct fds *f = *state;
	const int vm = (int)call(f->dev, KVM_CREATE_VM, 0);
	uint64_t addr = 0xfffbc000;

	assert_int_equal(guest_call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), 0);
	assert_int_equal(guest_call(f->vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), -EINVAL);
	end(vm);
}

static void a_list_is_one_change(void **state)
{
	const struct fds *f = *state;
	WITH_ENTRIES(mslot_kvm_region_list, mslot_kvm_region_entry, 2) list = {.head = {.nent = 2}};
	struct kvm_dirty_log log = {.slot = 1};
	uint64_t bits;

	for (uint32_t i = 0; i < 2; i++)
		list.head.entries[i] = (struct mslot_kvm_region_entry){
		    .slot = i,
		    .flags = KVM_MEM_LOG_DIRTY_PAGES,
		    .guest_phys_addr = i * 4096,
		    .memory_size = 8192,
		    .userspace_addr = UINT64_C(0x10000000),
		};
	log.dirty_bitmap = &bits;
	assert_int_equal(guest_call(f->vm, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, &list), -EEXIST);
	assert_int_equal(guest_call(f->vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	list.head.entries[1].guest_phys_addr = 8192;
	assert_int_equal(guest_call(f->vm, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, &list), 0);
	assert_int_equal(guest_call(f->vm, KVM_GET_DIRTY_LOG, &log), 0);
	list.head.nent = UINT32_MAX;
	assert_int_equal(guest_call(f->vm, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, &list), -E2BIG);
	list.head.nent = 0;
	assert_int_equal(guest_call(f->vm, MSLOT_KVM_SET_USER_MEMORY_REGION_LIST, &list), 0);
}

static void dirty_logs_are_checked_in_the_kernels_order(void **state)
{
	const struct fds *f = *state;
	struct kvm_userspace_memory_region region = {
	    .flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = 1 << 20, .userspace_addr = 1 << 28};
	uint64_t bits[5] = {0, 0, 0, 0, 77};
	const struct {
		uint32_t slot;
		uint64_t first;
		uint32_t n;
		void *bitmap;
		long get, clear;
	} cases[] = {
	    {5, 0, 64, NULL, -ENOENT, -ENOENT},       {5 << 16, 0, 64, NULL, -EINVAL, -EINVAL},
	    {0xffff, 0, 64, NULL, -EINVAL, -EINVAL},  {0, 1, 64, NULL, -EFAULT, -EINVAL},
	    {0, 0, 257, NULL, -EFAULT, -EINVAL},      {0, 0, UINT32_MAX, NULL, -EFAULT, -EINVAL},
	    {0, 0, 256, (void *)8, -EFAULT, -EFAULT}, {0, 0, 256, bits, 0, 0},
	};

	assert_int_equal(guest_call(f->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kvm_dirty_log get = {.slot = cases[i].slot};
		struct kvm_clear_dirty_log clear = {
		    .slot = cases[i].slot, .first_page = cases[i].first, .num_pages = cases[i].n};

		get.dirty_bitmap = clear.dirty_bitmap = cases[i].bitmap;
		assert_int_equal(guest_call(f->vm, KVM_GET_DIRTY_LOG, &get), cases[i].get);
		assert_int_equal(guest_call(f->vm, KVM_CLEAR_DIRTY_LOG, &clear), cases[i].clear);
	}
	assert_int_equal(bits[4], 77);
}

/* ---- CPUID and model-specific registers --------------------------------- */

static void cpuid_counts_as_a_kernel_does(void **state)
{
	static WITH_ENTRIES(kvm_cpuid2, kvm_cpuid_entry2, CLIENT_MAX_CPUID + 1) c, got;
	const struct fds *f = *state;

	c.head.nent = 1;
	assert_int_equal(guest_call(f->dev, KVM_GET_SUPPORTED_CPUID, &c), -E2BIG);
	assert_int_equal(c.head.nent, 1);
	c.head.nent = CLIENT_MAX_CPUID;
	assert_int_equal(guest_call(f->dev, KVM_GET_SUPPORTED_CPUID, &c), 0);
	assert_true(c.head.nent > 1 && c.head.nent < CLIENT_MAX_CPUID);
	assert_int_equal(guest_call(f->vcpu, KVM_SET_CPUID2, &c), 0);
	assert_int_equal(guest_call(f->vcpu, KVM_GET_CPUID2, &got), -E2BIG);
	assert_int_equal(got.head.nent, 0);
	got.head.nent = CLIENT_MAX_CPUID;
	assert_int_equal(guest_call(f->vcpu, KVM_GET_CPUID2, &got), 0);
	assert_int_equal(got.head.nent, c.head.nent);
	assert_memory_equal(got.head.entries, c.head.entries,
			    c.head.nent * sizeof(c.head.entries[0]));
	c.head.nent = CLIENT_MAX_CPUID + 1;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_CPUID2, &c), -E2BIG);
	c.head.nent = 0;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_CPUID2, &c), 0);
}

static void msrs_are_counted_up_to_the_first_unknown(void **state)
{
	static WITH_ENTRIES(kvm_msrs, kvm_msr_entry, 300) m;
	static union {
		struct kvm_msr_list head;
		uint32_t room[101];
	} list;
	const struct fds *f = *state;

	m.head.nmsrs = 256;
	assert_int_equal(guest_call(f->vcpu, KVM_GET_MSRS, &m), -E2BIG);
	assert_int_equal(guest_call(f->vcpu, KVM_SET_MSRS, &m), -E2BIG);
	m.head.nmsrs = 0;
	assert_int_equal(guest_call(f->vcpu, KVM_GET_MSRS, &m), 0);
	m.head.nmsrs = 3;
	m.head.entries[0] = (struct kvm_msr_entry){.index = 0xc0000082, .data = 0x1234};
	m.head.entries[1] = (struct kvm_msr_entry){.index = 0x12345678};
	m.head.entries[2] = (struct kvm_msr_entry){.index = 0xc0000081};
	assert_int_equal(guest_call(f->vcpu, KVM_SET_MSRS, &m), 1);
	m.head.entries[0].data = 0;
	assert_int_equal(guest_call(f->vcpu, KVM_GET_MSRS, &m), 1);
	assert_int_equal(m.head.entries[0].data, 0x1234);
	list.head.nmsrs = 1;
	assert_int_equal(guest_call(f->dev, KVM_GET_MSR_INDEX_LIST, &list), -E2BIG);
	assert_true(list.head.nmsrs > 1 && list.head.nmsrs < 100);
	assert_int_equal(guest_call(f->dev, KVM_GET_MSR_INDEX_LIST, &list), 0);
	/* All that are listed can be got. */
	m.head.nmsrs = list.head.nmsrs;
	for (uint32_t i = 0; i < list.head.nmsrs; i++)
		m.head.entries[i].index = list.head.indices[i];
	assert_int_equal(guest_call(f->vcpu, KVM_GET_MSRS, &m), list.head.nmsrs);
}

/* ---- Registers ---------------------------------------------------------- */

static void registers_come_back(void **state)
{
	const struct fds *f = *state;
	struct kvm_regs regs, got;
	struct kvm_fpu fpu, fpu_got;

	for (size_t i = 0; i < sizeof(regs) / 8; i++)
		((uint64_t *)(void *)&regs)[i] = UINT64_C(0x0101010101010101) * (i + 1);
	regs.rflags = 0x246;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_REGS, &regs), 0);
	assert_int_equal(guest_call(f->vcpu, KVM_GET_REGS, &got), 0);
	assert_memory_equal(&regs, &got, sizeof(regs));
	for (size_t i = 0; i < sizeof(fpu); i++)
		((unsigned char *)&fpu)[i] = (unsigned char)i;
	fpu.mxcsr = 0x1f80;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_FPU, &fpu), 0);
	assert_int_equal(guest_call(f->vcpu, KVM_GET_FPU, &fpu_got), 0);
	assert_memory_equal(&fpu, &fpu_got, sizeof(fpu));
}

static void system_registers_are_what_the_processor_can_be(void **state)
{
	const struct fds *f = *state;
	struct kvm_sregs base, sregs, got;
	const struct {
		uint64_t cr0, cr3, cr4, efer, apic_base, bitmap;
		long ret;
	} cases[] = {
	    {0x80000011, 0x1000, 0x20, 0x500, 0xfee00900, 0, 0},
	    {0x80000011, 0x1000, 0x20, 0x100, 0xfee00900, 0, -EINVAL},
	    {0x80000011, 0x1000, 0, 0x500, 0xfee00900, 0, -EINVAL},
	    {0x80000011, UINT64_C(1) << 60, 0x20, 0x500, 0xfee00900, 0, -EINVAL},
	    {0x10, 0, 0, 0x400, 0xfee00900, 0, -EINVAL},
	    {0x80000010, 0, 0, 0, 0xfee00900, 0, -EINVAL},
	    {0x20000010, 0, 0, 0, 0xfee00900, 0, -EINVAL},
	    {UINT64_C(1) << 32, 0, 0, 0, 0xfee00900, 0, -EINVAL},
	    {0x10, 0, UINT64_C(1) << 15, 0, 0xfee00900, 0, -EINVAL},
	    {0x10, 0, 0, 0, 0xfee00901, 0, -EINVAL},
	    {0x10, 0, 0, 0, 0xfee00900, 2, -EINVAL}, /* ours: no interrupts */
	    {0x10, 0, 0, 0, 0xfee00900, 0, 0},
	};

	assert_int_equal(guest_call(f->vcpu, KVM_GET_SREGS, &base), 0);
	assert_int_equal(base.cr0, 0x60000010);
	assert_int_equal(base.cs.base, 0xffff0000);
	assert_int_equal(base.apic_base, 0xfee00900);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sregs = base;
		sregs.cr0 = cases[i].cr0;
		sregs.cr3 = cases[i].cr3;
		sregs.cr4 = cases[i].cr4;
		sregs.efer = cases[i].efer;
		sregs.apic_base = cases[i].apic_base;
		sregs.interrupt_bitmap[1] = cases[i].bitmap;
		if (guest_call(f->vcpu, KVM_SET_SREGS, &sregs) != cases[i].ret)
			fail_msg("case %zu", i);
		assert_int_equal(guest_call(f->vcpu, KVM_GET_SREGS, &got), 0);
		if (cases[i].ret == 0)
			assert_memory_equal(&got, &sregs, sizeof(got));
	}
}

static void states_need_an_irqchip(void **state)
{
	const struct fds *f = *state;
	const int vm = (int)call(f->dev, KVM_CREATE_VM, 0);
	struct kvm_mp_state mp = {.mp_state = 77};
	int vcpu[2] = {-1, -1};

	assert_int_equal(call(vm, KVM_CREATE_IRQCHIP, 0), 0);
	for (unsigned int i = 0; i < 2; i++) {
		vcpu[i] = make_vcpu_fd(vm, i);
		assert_int_equal(guest_call(vcpu[i], KVM_GET_MP_STATE, &mp), 0);
		assert_int_equal(mp.mp_state, i);
	}
	for (uint32_t s = 0; s < 12; s++) {
		mp.mp_state = s;
		assert_int_equal(guest_call(vcpu[1], KVM_SET_MP_STATE, &mp),
				 s <= 3 || s == 9 ? 0 : -EINVAL);
		assert_int_equal(guest_call(f->vcpu, KVM_SET_MP_STATE, &mp), s == 0 ? 0 : -EINVAL);
	}
	end(vcpu[0]);
	end(vcpu[1]);
	end(vm);
}

static void signal_masks_have_eight_bytes(void **state)
{
	const struct fds *f = *state;
	struct {
		uint32_t len;
		unsigned char set[16];
	} mask = {.len = 8};

	assert_int_equal(guest_call(f->vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	mask.len = 16;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_SIGNAL_MASK, &mask), -EINVAL);
	mask.len = 4;
	assert_int_equal(guest_call(f->vcpu, KVM_SET_SIGNAL_MASK, &mask), -EINVAL);
}

/* ---- Objects ------------------------------------------------------------ */

static void a_vcpu_keeps_its_vm(void **state)
{
	const struct fds *f = *state;
	const int vm = (int)call(f->dev, KVM_CREATE_VM, 0), vcpu = make_vcpu_fd(vm, 3);
	struct kvm_regs regs;

	end(vm);
	assert_int_equal(guest_call(vcpu, KVM_GET_REGS, &regs), 0);
	end(vcpu);
	assert_int_equal(guest_call(vcpu, KVM_GET_REGS, &regs), -EBADF);
}

static void the_id_of_a_closed_vcpu_stays_taken(void **state)
{
	const struct fds *f = *state;

	end(make_vcpu_fd(f->vm, 5));
	assert_int_equal(call(f->vm, KVM_CREATE_VCPU, 5), -EEXIST);
}

static void there_are_as_many_vcpus_as_it_says(void **state)
{
	const struct fds *f = *state;
	const int vm = (int)call(f->dev, KVM_CREATE_VM, 0);
	const long n = call(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	for (long i = 0; i < n; i++)
		end(make_vcpu_fd(vm, (unsigned long)i + 17));
	assert_int_equal(call(vm, KVM_CREATE_VCPU, 0), -EINVAL);
	end(vm);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(calls_answer_as_a_kernel_does),
	    TEST(addresses_that_are_not_there_are_efault),
	    TEST(capabilities_are_enabled_as_a_kernel_does),
	    TEST(identity_map_is_set_before_vcpus),
	    TEST(a_list_is_one_change),
	    TEST(dirty_logs_are_checked_in_the_kernels_order),
	    TEST(cpuid_counts_as_a_kernel_does),
	    TEST(msrs_are_counted_up_to_the_first_unknown),
	    TEST(registers_come_back),
	    TEST(system_registers_are_what_the_processor_can_be),
	    TEST(states_need_an_irqchip),
	    TEST(signal_masks_have_eight_bytes),
	    TEST(a_vcpu_keeps_its_vm),
	    TEST(the_id_of_a_closed_vcpu_stays_taken),
	    TEST(there_are_as_many_vcpus_as_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
