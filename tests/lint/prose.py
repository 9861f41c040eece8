#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""prose.py [ROOT | --self-test] - every name() written in prose exists.

Prose is the comments of C sources, the Markdown files and the man pages. A name exists
when the tree defines or declares it as a function, a macro, a function pointer or a
Promela inline, or when prose-allow.txt lists it (functions of libc, POSIX, liburcu ...).
"""
import os
import re

import source

CODE = ("include", "src", "cli", "bench", "adapters", "tests", "fuzz", "examples")
NAME = re.compile(r"\b([A-Za-z_][A-Za-z0-9_]*)\(\)")
# A line that starts in column 0 with a type or the name itself, up to the parameter list.
FUNCTION = re.compile(r"^(?!#)[A-Za-z_][^\n;={}()]*?\b([A-Za-z_]\w*)\(", re.MULTILINE)
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)\(", re.MULTILINE)
POINTER = re.compile(r"\(\*(?:const )?([A-Za-z_]\w*)(?:\[[^\]]*\])?\)\(")
PROMELA = re.compile(r"^[ \t]*(?:inline|(?:active *(?:\[\w+\])? *)?proctype)[ \t]+([A-Za-z_]\w*)"
                     r"|^[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)\(", re.MULTILINE)
ALLOW = os.path.join("tests", "lint", "prose-allow.txt")
# Attributes look like functions to FUNCTION; a call of nothing is no definition either.
NOT_NAMES = {"if", "for", "while", "switch", "sizeof", "return", "__attribute__", "defined"}


def defined_names(root):
    """All names that prose may use."""
    names = set()
    for path in source.files(root, CODE, (".c", ".h")):
        code, _ = source.split(source.read(root, path))
        code = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", code, flags=re.DOTALL)
        for pattern in (FUNCTION, MACRO, POINTER):
            names.update(pattern.findall(code))
    for path in source.files(root, ("models",), (".pml", ".h")):
        for pair in PROMELA.findall(source.read(root, path)):
            names.update(pair)
    names -= NOT_NAMES
    for line in source.read(root, ALLOW).split("\n"):
        if line and not line.startswith("#"):
            names.update(line.split())
    return names


def prose(root):
    """Yield (path, text) for everything that people read."""
    for path in source.files(root, CODE, (".c", ".h")):
        yield path, source.split(source.read(root, path))[1]
    pages = source.files(root, ("docs", "data", "models"), (".md",))
    pages += [name for name in os.listdir(root) if name.endswith(".md")]
    for path in pages:
        yield path, source.read(root, path)
    for path in source.files(root, ("man",), (".1", ".3", ".7")):
        text = re.sub(r"\\f[BIPR]", "", source.read(root, path))
        yield path, re.sub(r"^\.Fn (\w+).*$", r"\1()", text, flags=re.MULTILINE)


def check(root):
    """Yield a finding for each name that does not exist."""
    names = defined_names(root)
    for path, text in prose(root):
        for match in NAME.finditer(text):
            if match.group(1) not in names:
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {match.group(1)}() does not exist"


PLANTS = [
    ("src/base/pool.c", "/* As no_such_function() says. */\n", "no_such_function()"),
    ("include/mslot/map.h", "/* Undone by mslot_no_such_call(). */\n", "mslot_no_such_call()"),
    ("tests/planted.c", "// NO_SUCH_MACRO() expands to nothing\n", "NO_SUCH_MACRO()"),
    ("docs/planted.md", "call `mslot_gone()` first\n", "mslot_gone()"),
    ("README.md", "\nThen `mslot_renamed()` is called.\n", "mslot_renamed()"),
    ("man/planted.1", ".Fn mslot_old void\n", "mslot_old()"),
    ("man/planted.1", "see \\fBmslot_older\\fR()\n", "mslot_older()"),
]

if __name__ == "__main__":
    source.main(check, PLANTS)
