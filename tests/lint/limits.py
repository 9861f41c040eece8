#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""limits.py [ROOT | --self-test] - sizes and habits that keep the sources readable.

Files of at most 700 lines; functions of at most 70 (`/* long: reason */` on the line above
excuses one); an SPDX line in each source; no marks of unfinished work; no struct typedefs;
only src/base/alloc.c of the library allocates; a script with `pipefail` ends no pipe early.
"""
import os
import re

import source

FILE_LINES, FUNCTION_LINES = 700, 70
TREES = ("include", "src", "cli", "bench", "adapters", "tests", "fuzz", "examples", "scripts",
         "packaging", "models", ".ci")
SEAM = os.path.join("src", "base", "alloc.c")
# Spelled so that this file does not contain them.
MARK = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")
ALLOCATION = re.compile(r"\b(malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign"
                        r"|memalign|strdup|strndup|asprintf|vasprintf)\s*\(")
# The writer of a pipe whose reader has seen enough dies of SIGPIPE, if it is slow: with pipefail
# the pipe then fails at random.
EARLY = re.compile(r"(?<!\|)\|(?:\s|\\\n)*(?:head\b"
                   r"|grep\s(?:[^|\n]*\s)?-(?:[a-zA-Z]*[qm]|-quiet|-max-count)"
                   r"|sed\s[^|\n]*[\s\d;{/'\"]q\b|awk\s[^|\n]*\bexit\b)")
# Of the type itself; a function that returns a struct may have a name.
TYPEDEF = re.compile(r"^\s*typedef\s+(struct|union)\b[^;{(]*[;{]", re.MULTILINE)


def sources(root):
    """C, Promela, Python, meson and shell files, plus the Makefile."""
    found = source.files(root, TREES, (".c", ".h", ".pml", ".py", ".sh", "meson.build"))
    for path in source.files(root, ("scripts", "packaging", "tests", "models", ".ci"), ("",)):
        with open(os.path.join(root, path), "rb") as stream:
            if stream.read(2) == b"#!" and path not in found:
                found.append(path)
    return found + [p for p in ("Makefile", "meson.build", "meson_options.txt")
                    if os.path.exists(os.path.join(root, p))]


def functions(code):
    """(first line, last line), from 1, of each function: `{` and `}` alone in column 0."""
    lines, begin = code.split("\n"), None
    for number, line in enumerate(lines, 1):
        if line == "{":
            begin = number - 1
            # The signature may take several lines; it ends above at a blank line or a brace.
            while begin > 1 and re.match(r"[^\s#}/]|\s+\S", lines[begin - 2]):
                begin -= 1
        elif line.startswith("}") and begin:
            yield begin, number
            begin = None


def c_findings(path, text):
    """Findings that only C sources can have."""
    code, _ = source.split(text)
    lines = text.split("\n")
    for begin, end in functions(code):
        length = end - begin + 1
        above = lines[begin - 2] if begin > 1 else ""
        if length > FUNCTION_LINES and not re.search(r"/\* long: \S.*\*/", above):
            yield begin, f"function of {length} lines, {FUNCTION_LINES} at most"
    for match in TYPEDEF.finditer(code):
        yield code.count("\n", 0, match.start(1)) + 1, "typedef of a struct"
    if path.startswith("src" + os.sep) and path != SEAM:
        for match in ALLOCATION.finditer(code):
            yield (code.count("\n", 0, match.start()) + 1,
                   f"{match.group(1)}() outside the allocator seam")


def check(root):
    """Yield every finding."""
    for path in sources(root):
        text = source.read(root, path)
        lines = text.split("\n")
        count = text.count("\n")
        if re.search(r"^set .*\bpipefail\b", text, re.MULTILINE):
            for match in EARLY.finditer(text):
                yield (f"{path}:{text.count(chr(10), 0, match.start()) + 1}: "
                       "the reader of a pipe that does not read all of it")
        if count > FILE_LINES:
            yield f"{path}:{FILE_LINES + 1}: file of {count} lines, {FILE_LINES} at most"
        if "SPDX-License-Identifier: MIT" not in "".join(lines[:2]):
            yield f"{path}:1: no SPDX line"
        for number, line in enumerate(lines, 1):
            if MARK.search(line):
                yield f"{path}:{number}: mark of unfinished work"
        if path.endswith((".c", ".h")):
            for number, why in c_findings(path, text):
                yield f"{path}:{number}: {why}"


SPDX = "/* SPDX-License-Identifier: MIT */\n"
BODY = "int planted(int a,\n\t    int b)\n{\n" + "\ta += b;\n" * 65 + "\treturn a;\n}\n"
LONG = BODY.replace("\treturn", "\ta++;\n\treturn")
SCRIPT = "#!/bin/bash\n# SPDX-License-Identifier: MIT\nset -euo pipefail\n"
PLANTS = [
    ("src/planted.c", "int planted;\n", "no SPDX line"),
    ("scripts/planted", "#!/bin/sh\nexit 0\n", "no SPDX line"),
    ("src/planted.c", SPDX + "\n" * 700, "file of 701 lines"),
    ("src/planted.c", SPDX + LONG, "function of 71 lines"),
    ("src/planted.c", SPDX + BODY + "/* long: */\n" + LONG, "function of 71 lines"),
    ("src/planted.c", SPDX + "/* long: one step after the other */\n" + LONG + LONG,
     "function of 71 lines"),
    ("tests/planted.c", SPDX + "/* " + "TO" + "DO: later */\n", "unfinished"),
    ("src/planted.c", SPDX + "typedef struct a {\n\tint b;\n} a_t;\n", "typedef"),
    ("src/map/planted.c", SPDX + "/* free(p) is fine here */\nstatic void f(void *p)\n{\n"
     '\tputs("free(p)");\n\tfree(p);\n}\n', "free() outside"),
    ("src/base/planted.c", SPDX + "static char *f(void)\n{\n\treturn strdup(\"a\");\n}\n",
     "strdup() outside"),
    ("scripts/planted", SCRIPT + "ldd a | grep -q b\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "if nm -D a | grep -a -Fq b; then\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "sort a | head -n 1\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "sort a |\n\tgrep -A 12 -m 1 b\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "sort a | grep b -q\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "sort a | sed '2q'\n", "reader of a pipe"),
    ("scripts/planted", SCRIPT + "sort a | sed -n '/x/{p;q}'\n", "reader of a pipe"),
]

if __name__ == "__main__":
    source.main(check, PLANTS)
