/* SPDX-License-Identifier: MIT */
/* check.h - what the command's output has to be like; each fails the test that calls it. */
#ifndef MSLOT_TESTS_CLI_CHECK_H
#define MSLOT_TESTS_CLI_CHECK_H

void assert_contains(const char *text, const char *part);

/*
 * Every line of `text` is a JSON object with exactly these fields in this order; `rule` is a
 * condition on the object o.
 */
void assert_json(const char *text, const char *fields, const char *rule);

/* A file is a drawing that is well-formed and legible (svg_boxes.py). */
void assert_svg(const char *name);

#endif /* MSLOT_TESTS_CLI_CHECK_H */
