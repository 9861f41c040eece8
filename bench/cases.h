/* SPDX-License-Identifier: MIT */
/* cases.h - the cases by file, and what they share; the list is in cases.c. */
#ifndef MSLOT_BENCH_CASES_H
#define MSLOT_BENCH_CASES_H

#include "runner.h"

/* Engines can offer a case when all functions it needs are there. */
bool case_has_find(const struct engine *e);
bool case_has_dependent(const struct engine *e);
bool case_has_local(const struct engine *e);
bool case_has_section(const struct engine *e);
bool case_has_hva(const struct engine *e);
bool case_has_id(const struct engine *e);
bool case_has_count_hva(const struct engine *e);
bool case_has_change(const struct engine *e);
bool case_has_change_and_section(const struct engine *e);
bool case_has_batch(const struct engine *e);
bool case_has_move(const struct engine *e);
bool case_has_move_and_section(const struct engine *e);
bool case_has_memory(const struct engine *e);
bool case_has_insert(const struct engine *e);
bool case_has_fill(const struct engine *e);

/* case_lookup.c */
enum bench_outcome case_lookup_random(struct bench_subject *s, double value[2]);
enum bench_outcome case_lookup_dependent(struct bench_subject *s, double value[2]);
enum bench_outcome case_lookup_local(struct bench_subject *s, double value[2]);
enum bench_outcome case_lookup_sequential(struct bench_subject *s, double value[2]);
enum bench_outcome case_lookup_miss(struct bench_subject *s, double value[2]);
enum bench_outcome case_section(struct bench_subject *s, double value[2]);
enum bench_outcome case_hva(struct bench_subject *s, double value[2]);
enum bench_outcome case_id(struct bench_subject *s, double value[2]);
enum bench_outcome case_map(struct bench_subject *s, double value[2]);
enum bench_outcome case_unmap(struct bench_subject *s, double value[2]);
enum bench_outcome case_unmap_2m(struct bench_subject *s, double value[2]);

/* case_edit.c */
enum bench_outcome case_edit(struct bench_subject *s, double value[2]);
enum bench_outcome case_batch(struct bench_subject *s, double value[2]);
enum bench_outcome case_replace(struct bench_subject *s, double value[2]);
enum bench_outcome case_setup(struct bench_subject *s, double value[2]);
enum bench_outcome case_setup_one(struct bench_subject *s, double value[2]);
enum bench_outcome case_memory(struct bench_subject *s, double value[2]);
enum bench_outcome case_move_inactive(struct bench_subject *s, double value[2]);
enum bench_outcome case_bare_call(struct bench_subject *s, double value[2]);

/* case_threads.c */
enum bench_outcome case_edit_busy(struct bench_subject *s, double value[2]);
enum bench_outcome case_edit_busy_p99(struct bench_subject *s, double value[2]);
enum bench_outcome case_concurrent_2r(struct bench_subject *s, double value[2]);
enum bench_outcome case_concurrent_rw(struct bench_subject *s, double value[2]);
enum bench_outcome case_concurrent_paced(struct bench_subject *s, double value[2]);
enum bench_outcome case_move_active(struct bench_subject *s, double value[2]);

#define DIRTY_LEASE_POINTS 6u
#define DIRTY_MARK_POINTS 3u
#define DIRTY_HARVEST_POINTS 12u
#define DIRTY_MEMORY_POINTS 3u

/* dirty_lease.c, dirty_mark.c, dirty_harvest.c, dirty_memory.c: of the group "dirty" */
int dirty_lease(const struct bench_group *g);
int dirty_mark_store(const struct bench_group *g);
int dirty_mark_page(const struct bench_group *g);
int dirty_mark_write(const struct bench_group *g);
int dirty_harvest_get(const struct bench_group *g);
int dirty_harvest_keep(const struct bench_group *g);
int dirty_harvest_clear(const struct bench_group *g);
int dirty_harvest_batch(const struct bench_group *g);
int dirty_log_bytes(const struct bench_group *g);
int dirty_log_resident(const struct bench_group *g);

#define MMU_HIT_POINTS 2u
#define MMU_DIRECT_POINTS 6u
#define MMU_SHADOW_POINTS 4u
#define MMU_THREADS_POINTS 4u
#define MMU_MAP_POINTS 7u
#define MMU_LEAF_POINTS 2u
#define MMU_TABLES_POINTS 6u
#define MMU_HARVEST_POINTS 3u
#define MMU_FIGURE_KINDS 3u
#define MMU_FIGURE_POINTS 12u

/* mmu_fault.c, mmu_map.c, mmu_edit.c, mmu_log.c, mmu_stall.c, mmu_figures.c: of the group "mmu" */
int mmu_hit(const struct bench_group *g);
int mmu_fault_direct(const struct bench_group *g);
int mmu_fault_shadow(const struct bench_group *g);
int mmu_faults_2t(const struct bench_group *g);
int mmu_map(const struct bench_group *g);
int mmu_unmap(const struct bench_group *g);
int mmu_unmap_2m(const struct bench_group *g);
int mmu_merge_refaults(const struct bench_group *g);
int mmu_split_refaults(const struct bench_group *g);
int mmu_log_on(const struct bench_group *g);
int mmu_log_off(const struct bench_group *g);
int mmu_log_write(const struct bench_group *g);
int mmu_log_tables(const struct bench_group *g);
int mmu_harvest(const struct bench_group *g);
int mmu_delete_stall(const struct bench_group *g);
int mmu_metadata(const struct bench_group *g);
int mmu_metadata_tables(const struct bench_group *g);
int mmu_metadata_frames(const struct bench_group *g);
int mmu_metadata_lists(const struct bench_group *g);
int mmu_zap(const struct bench_group *g);

/* The slot that is moved. */
size_t case_moved_slot(const struct bench_subject *s);

/* The sum of tokens of the first n addresses of a trail. */
uint64_t case_expected(const struct bench_subject *s, enum bench_trail trail, size_t n);

#endif /* MSLOT_BENCH_CASES_H */
