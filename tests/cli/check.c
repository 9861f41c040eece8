/* SPDX-License-Identifier: MIT */
/* check.c - judges of output; see check.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "run.h"

void assert_contains(const char *text, const char *part)
{
	if (text == NULL || strstr(text, part) == NULL)
		fail_msg("expected '%s' in '%s'", part, text != NULL ? text : "nothing");
}

void assert_json(const char *text, const char *fields, const char *rule)
{
	static const char script[] =
	    "import json, sys\n"
	    "fields, rule, n = sys.argv[1].split(), sys.argv[2], 0\n"
	    "for line in sys.stdin:\n"
	    "    o = json.loads(line)\n"
	    "    assert list(o) == fields, (list(o), fields)\n"
	    "    assert eval(rule, {'o': o, 'num': lambda v: type(v) in (int, float)}), (rule, o)\n"
	    "    n += 1\n"
	    "assert n > 0, 'no line'\n";
	struct run r;

	assert_non_null(getenv("MSLOT_PYTHON"));
	run_program(&r, getenv("MSLOT_PYTHON"),
		    (const char *const[]){"-c", script, fields, rule, NULL}, text);
	if (r.status != 0)
		fail_msg("%s: %s", text, r.err);
	run_free(&r);
}

void assert_svg(const char *name)
{
	struct run r;

	assert_non_null(getenv("MSLOT_PYTHON"));
	assert_non_null(getenv("MSLOT_SVG_BOXES"));
	run_program(&r, getenv("MSLOT_PYTHON"),
		    (const char *const[]){"-B", getenv("MSLOT_SVG_BOXES"), name, NULL}, "");
	if (r.status != 0)
		fail_msg("%s", r.err);
	run_free(&r);
}
