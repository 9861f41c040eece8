/* SPDX-License-Identifier: MIT */
/*
 * test_edges.c - the library against data/oracle/edges.txt: a kernel's exact limits.
 *
 * The recorded file is the oracle. The tables below only say what each row's text means
 * as a request; the answers are read from the file. A row without a table entry, and an
 * entry without a row, is a failure.
 *
 * Usage: edges FILE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mslot/kvm.h>

#define PAGE UINT64_C(0x1000)
#define GPA UINT64_C(0x400000)
#define HVA UINT64_C(0x200000000000)
#define KERNEL_HVA UINT64_C(0xffff888000000000)
#define MAX_ROWS 200
#define MAX_STEPS 8

static const char *file_name;
static char *row[MAX_ROWS];
static bool row_known[MAX_ROWS];
static size_t nrows;

static struct mslot_map *new_map(void)
{
	struct mslot_map *map;

	assert_int_equal(mslot_map_create(NULL, &map), 0);
	return map;
}

static void end_map(struct mslot_map *map)
{
	const char *why = "";

	if (mslot_check_map(map, &why) != 0)
		fail_msg("broken invariant: %s", why);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* The row that begins with `text`, marked as known; NULL where there is none. */
static const char *find_row(const char *text)
{
	for (size_t i = 0; i < nrows; i++) {
		if (strncmp(row[i], text, strlen(text)) == 0 && !row_known[i]) {
			row_known[i] = true;
			return row[i] + strlen(text);
		}
	}
	return NULL;
}

/* What find_row() or find_limit() returned, or a failure. */
static const char *need(const char *answer, const char *text)
{
	if (answer == NULL) {
		fail_msg("no row for '%s'", text);
		abort();
	}
	return answer;
}

static int answer_of(const char *word)
{
	if (strcmp(word, "ok") == 0)
		return 0;
	if (strcmp(word, "EINVAL") == 0)
		return -EINVAL;
	if (strcmp(word, "EEXIST") == 0)
		return -EEXIST;
	fail_msg("an answer that the test does not know: '%s'", word);
	return 0;
}

/* ---- One request a row ------------------------------------------------------ */

struct request {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
};

static int send(struct mslot_map *map, const struct request *r)
{
	const struct kvm_userspace_memory_region region = {
	    r->slot, r->flags, r->gpa, r->size, r->hva,
	};

	return mslot_kvm_set_user_memory_region(map, &region);
}

static const struct {
	const char *text;
	struct request request;
	bool beside; /* slot 7 exists at (GPA, HVA) before */
} limit[] = {
    {"plain 4K", {0, 0, GPA, PAGE, HVA}, false},
    {"hva 0", {0, 0, GPA, PAGE, 0}, false},
    {"hva 0x1000 (below mmap_min_addr)", {0, 0, GPA, PAGE, 0x1000}, false},
    {"hva unmapped 0x100000000000", {0, 0, GPA, PAGE, 0x100000000000}, false},
    {"hva+size == 0x7ffffffff000", {0, 0, GPA, PAGE, 0x7fffffffe000}, false},
    {"hva == 0x7ffffffff000", {0, 0, GPA, PAGE, 0x7ffffffff000}, false},
    {"hva+size == 0x800000000000 from below, 2 pages",
     {0, 0, GPA, 2 * PAGE, 0x7fffffffe000},
     false},
    {"hva == 0x800000000000", {0, 0, GPA, PAGE, 0x800000000000}, false},
    {"hva kernel", {0, 0, GPA, PAGE, KERNEL_HVA}, false},
    {"hva tagged bit 62", {0, 0, GPA, PAGE, HVA | UINT64_C(1) << 62}, false},
    {"hva last page of address space", {0, 0, GPA, PAGE, -PAGE}, false},
    {"gpa 2^52-4096", {0, 0, (UINT64_C(1) << 52) - PAGE, PAGE, HVA}, false},
    {"gpa 2^52", {0, 0, UINT64_C(1) << 52, PAGE, HVA}, false},
    {"gpa 2^52-4096, 2 pages", {0, 0, (UINT64_C(1) << 52) - PAGE, 2 * PAGE, HVA}, false},
    {"gpa wraps", {0, 0, -PAGE, 2 * PAGE, HVA}, false},
    {"gpa+size == 2^64 (wraps to 0)", {0, 0, -PAGE, PAGE, HVA}, false},
    {"size 2^31 pages", {0, 0, GPA, PAGE << 31, HVA}, false},
    {"size 2^63", {0, 0, GPA, UINT64_C(1) << 63, HVA}, false},
    {"slot 32763", {32763, 0, GPA, PAGE, HVA}, false},
    {"slot 32764", {32764, 0, GPA, PAGE, HVA}, false},
    {"slot 65535", {65535, 0, GPA, PAGE, HVA}, false},
    {"as_id 1", {1 << 16, 0, GPA, PAGE, HVA}, false},
    {"flags LOG", {0, KVM_MEM_LOG_DIRTY_PAGES, GPA, PAGE, HVA}, false},
    {"flags RO", {0, KVM_MEM_READONLY, GPA, PAGE, HVA}, false},
    {"flags LOG|RO", {0, KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY, GPA, PAGE, HVA}, false},
    {"flags GUEST_MEMFD (v1)", {0, MSLOT_GUEST_MEMFD, GPA, PAGE, HVA}, false},
    {"flags bit 31", {0, 1u << 31, GPA, PAGE, HVA}, false},
    {"create over existing gpa (other id)", {0, 0, GPA, PAGE, HVA + PAGE}, true},
    {"same hva, other gpa, other id", {0, 0, GPA + PAGE, PAGE, HVA}, true},
};

/* The row "TEXT ANSWER" of exactly this text. */
static const char *find_limit(const char *text)
{
	const size_t len = strlen(text);

	for (size_t i = 0; i < nrows; i++) {
		if (!row_known[i] && strncmp(row[i], text, len) == 0 && row[i][len] == ' ' &&
		    strchr(row[i] + len + 1, ' ') == NULL) {
			row_known[i] = true;
			return row[i] + len + 1;
		}
	}
	return NULL;
}

static void limits_answer_as_the_kernel(void **state)
{
	const struct request beside = {7, 0, GPA, PAGE, HVA};

	(void)state;
	for (size_t i = 0; i < sizeof(limit) / sizeof(limit[0]); i++) {
		struct mslot_map *const map = new_map();
		const char *const word = need(find_limit(limit[i].text), limit[i].text);
		int got;

		if (limit[i].beside)
			assert_int_equal(send(map, &beside), 0);
		got = send(map, &limit[i].request);
		if (got != answer_of(word))
			fail_msg("%s: the kernel answered %s, the library %d", limit[i].text, word,
				 got);
		end_map(map);
	}
}

/* ---- Several requests a row -------------------------------------------------- */

enum before { GO_ON, WITH_SLOT, EMPTY };

struct step {
	const char *label;
	struct request request;
	enum before before; /* the map before: as it is, new with slot 0, new */
	int version;
};

static const struct step sequence[][MAX_STEPS] = {
    {
	{"grow", {0, 0, GPA, 5 * PAGE, HVA}, WITH_SLOT, 1},
	{"shrink", {0, 0, GPA, 3 * PAGE, HVA}, GO_ON, 1},
	{"rehva", {0, 0, GPA, 4 * PAGE, HVA + PAGE}, GO_ON, 1},
	{"RO on", {0, 2, GPA, 4 * PAGE, HVA}, GO_ON, 1},
	{"LOG on", {0, 1, GPA, 4 * PAGE, HVA}, GO_ON, 1},
	{"same again", {0, 1, GPA, 4 * PAGE, HVA}, GO_ON, 1},
	{"move+LOG off", {0, 0, 2 * GPA, 4 * PAGE, HVA}, GO_ON, 1},
	{"move overlapping itself", {0, 0, 2 * GPA + PAGE, 4 * PAGE, HVA}, GO_ON, 1},
    },
    {
	{"delete with RO flag on non-RO slot", {0, 2, GPA, 0, HVA}, WITH_SLOT, 1},
	{"again", {0, 2, GPA, 0, HVA}, GO_ON, 1},
	{"delete, misaligned gpa", {0, 0, GPA + 1, 0, HVA}, WITH_SLOT, 1},
	{"misaligned hva", {0, 0, GPA, 0, HVA + 1}, GO_ON, 1},
	{"kernel hva", {0, 0, GPA, 0, KERNEL_HVA}, GO_ON, 1},
	{"bad flag", {0, 1u << 31, GPA, 0, HVA}, GO_ON, 1},
	{"hva 0", {0, 0, GPA, 0, 0}, GO_ON, 1},
    },
    {
	{"REGION2 plain", {0, 0, GPA, PAGE, HVA}, EMPTY, 2},
    },
    {
	{"REGION2 GUEST_MEMFD slot", {0, MSLOT_GUEST_MEMFD, GPA, PAGE, HVA}, EMPTY, 2},
	{"move of it", {0, MSLOT_GUEST_MEMFD, 2 * GPA, PAGE, HVA}, GO_ON, 2},
	{"delete", {0, 0, GPA, 0, HVA}, GO_ON, 1},
    },
};

/* `LABEL: NUMBER` at *text; *text moves behind it. */
static int next_answer(const char **text, const char *label)
{
	char *end;
	long answer;

	*text += strspn(*text, " ;,");
	if (strncmp(*text, label, strlen(label)) != 0 || (*text)[strlen(label)] != ':')
		fail_msg("expected '%s:', got '%s'", label, *text);
	*text += strlen(label) + 1;
	answer = strtol(*text, &end, 10);
	if (end == *text)
		fail_msg("no answer behind '%s:'", label);
	*text = end;
	return (int)answer;
}

static int send_version(struct mslot_map *map, const struct step *s)
{
	const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const struct mslot_kvm_userspace_memory_region2 region = {
	    .slot = s->request.slot,
	    .flags = s->request.flags,
	    .guest_phys_addr = s->request.gpa,
	    .memory_size = s->request.size,
	    .userspace_addr = s->request.hva,
	    .guest_memfd = (uint32_t)fd,
	};
	int ret;

	assert_true(fd >= 0);
	ret = s->version == 1 ? send(map, &s->request)
			      : mslot_kvm_set_user_memory_region2(map, &region);
	close(fd);
	return ret;
}

static void run_sequence(const struct step *step, size_t nsteps)
{
	const struct request slot = {0, 0, GPA, 4 * PAGE, HVA};
	struct mslot_map *map = NULL;
	char text[256];
	const char *at;

	snprintf(text, sizeof(text), "%s:", step[0].label);
	at = need(find_row(text), text) - strlen(text);
	for (size_t i = 0; i < nsteps; i++) {
		const int expected = next_answer(&at, step[i].label);
		int got;

		if (step[i].before != GO_ON) {
			if (map != NULL)
				end_map(map);
			map = new_map();
		}
		if (step[i].before == WITH_SLOT)
			assert_int_equal(send(map, &slot), 0);
		got = send_version(map, &step[i]);
		if (got != expected)
			fail_msg("%s: the kernel answered %d, the library %d", step[i].label,
				 expected, got);
	}
	if (at[strspn(at, " ")] != '\0')
		fail_msg("'%s': more answers than the test knows: '%s'", step[0].label, at);
	end_map(map);
}

static void sequences_answer_as_the_kernel(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sequence) / sizeof(sequence[0]); i++) {
		size_t n = 0;

		while (n < MAX_STEPS && sequence[i][n].label != NULL)
			n++;
		run_sequence(sequence[i], n);
	}
}

/* ---- What a guest's access finds ---------------------------------------------- */

static const struct {
	const char *what;
	uint64_t hva;
	uint32_t flags;
	bool host; /* the outcome depends on the host's page tables: the slot is found */
} guest[] = {
    {"slot on mapped RW memory", HVA, 0, false},
    {"READONLY slot on mapped RW memory", HVA, KVM_MEM_READONLY, false},
    {"slot on unmapped hva", HVA, 0, true},
    {"slot on PROT_NONE", HVA, 0, true},
    {"slot on PROT_READ", HVA, 0, true},
    {"no slot (rejected: kernel hva)", KERNEL_HVA, 0, false},
};

/* What mslot_translate() must give, from what the kernel's guest met. */
static int expected_translation(const char *outcome, bool write, bool slot, bool host)
{
	const bool mmio = strstr(outcome, " MMIO ") != NULL;

	if (host || !mmio)
		return 1;
	if (!slot)
		return -ENOENT;
	assert_true(write);
	return -EACCES;
}

static void check_access(size_t g, bool write, const char *outcome)
{
	const struct request r = {0, guest[g].flags, GPA, PAGE, guest[g].hva};
	const struct mslot_span span = {0, write ? MSLOT_WRITE : MSLOT_READ, GPA, 1};
	struct mslot_map *const map = new_map();
	const struct mslot_snapshot *snap;
	struct iovec seg = {0};
	char word[16];
	int expected, got;

	assert_int_equal(sscanf(outcome, "slot=%15s", word), 1);
	assert_int_equal(send(map, &r), answer_of(word));
	expected = expected_translation(outcome, write, strcmp(word, "ok") == 0, guest[g].host);
	snap = mslot_enter(map);
	got = mslot_translate(snap, &span, &seg, 1);
	mslot_leave(snap);
	if (got != expected)
		fail_msg("%s of %s: expected %d, got %d", write ? "write" : "read", guest[g].what,
			 expected, got);
	if (got == 1)
		assert_int_equal((uintptr_t)seg.iov_base, guest[g].hva);
	end_map(map);
}

static void guest_accesses_find_what_the_kernels_guest_met(void **state)
{
	char text[128];

	(void)state;
	for (int cpl = 0; cpl <= 3; cpl += 3) {
		for (size_t g = 0; g < 2 * sizeof(guest) / sizeof(guest[0]); g++) {
			const bool write = g % 2 == 0;

			snprintf(text, sizeof(text), "CPL%d guest %s %s ", cpl,
				 write ? "writes" : "reads", guest[g / 2].what);
			check_access(g / 2, write, need(find_row(text), text));
		}
	}
}

/* ---- Nothing left over ---------------------------------------------------------- */

/* Runs last: every row was one of the above or is listed here. */
static void every_row_is_known(void **state)
{
	static const char *const out_of_scope[] = {
	    "CREATE_GUEST_MEMFD(default VM): ",
	    "CREATE_GUEST_MEMFD(flags=MMAP): ",
	    "GET_DIRTY_LOG ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(out_of_scope) / sizeof(out_of_scope[0]); i++) {
		need(find_row(out_of_scope[i]), out_of_scope[i]);
		print_message("not in scope: %s...\n", out_of_scope[i]);
	}
	for (size_t i = 0; i < nrows; i++) {
		if (!row_known[i])
			fail_msg("a row that the test does not know: '%s'", row[i]);
	}
	print_message("%zu rows\n", nrows);
}

static int read_rows(void **state)
{
	FILE *const file = fopen(file_name, "re");
	char *text = NULL;
	size_t cap = 0;

	(void)state;
	if (file == NULL) {
		print_error("cannot open %s\n", file_name);
		return -1;
	}
	while (nrows < MAX_ROWS && getline(&text, &cap, file) > 0) {
		text[strcspn(text, "\n")] = '\0';
		row[nrows++] = strdup(text);
	}
	free(text);
	fclose(file);
	return nrows > 0 && nrows < MAX_ROWS ? 0 : -1;
}

static int free_rows(void **state)
{
	(void)state;
	while (nrows > 0)
		free(row[--nrows]);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limits_answer_as_the_kernel),
	    cmocka_unit_test(sequences_answer_as_the_kernel),
	    cmocka_unit_test(guest_accesses_find_what_the_kernels_guest_met),
	    cmocka_unit_test(every_row_is_known),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	file_name = argv[1];
	return cmocka_run_group_tests(tests, read_rows, free_rows);
}
