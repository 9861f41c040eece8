/* SPDX-License-Identifier: MIT */
/*
 * windows.h - what the stress driver does in the library's named windows: delay threads
 * at random, note which windows were entered, and count grace periods.
 */
#ifndef MSLOT_TESTS_WINDOWS_H
#define MSLOT_TESTS_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

void windows_begin(const char *name, uint64_t seed);
/* Seed the delays of the calling thread. */
void windows_thread(uint64_t seed);
void windows_off(void);
/* Has the program entered every window that it answers for during its run? */
bool windows_all_entered(void);
/* Print what was entered. Returns whether a window that this program answers for was not. */
bool windows_missed(void);

/*
 * Grace periods are numbered as they begin. A section must not see one end that began
 * after it did: windows_begun() inside a section is a bound for windows_over() there.
 */
uint64_t windows_begun(void);
/* The highest number of one that is over. */
uint64_t windows_over(void);

#endif /* MSLOT_TESTS_WINDOWS_H */
