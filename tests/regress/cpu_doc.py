#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""cpu_doc.py PROGRAM DOC [--write] - docs/cpu.md lists the instructions that the CPU has.

PROGRAM (`cpu_diff --cells`) prints one encoding of each kind of instruction that decode() knows;
objdump tells their names. The lists in DOC, between `<!-- KIND -->` and `<!-- end -->`, must have
exactly those; --write puts them there. A host that lacks a part of SSE (PROGRAM says "lacking")
need not have all. Exits with 77 where there is no objdump.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

STRIDE = 32
PREFIX = re.compile(r"^(lock|repn?z?|repz|data16|addr32|[c-gs]s|rex(\.[WRXB]+)?)$")
# By Intel's names: predicates in names, and what conditions there are.
SAME = [(re.compile(p), n) for p, n in (
    (r"^cmp(eq|lt|le|unord|neq|nlt|nle|ord)(ps|pd|ss|sd)$", r"cmp\2"),
    (r"^j(n?[abglopsez]|n?[abgl]e|p[eo])$", "jcc"), (r"^set.*", "setcc"), (r"^cmov.*", "cmovcc"),
    (r"^(call|jmp|ret)w?$", r"\1"), (r"^l(call|jmp|ret)$", r"\1 far"), (r"^retf[wq]?$", "ret far"),
    (r"^movabs$", "mov"), (r"^(pushf|popf|enter|leave|iret|sysret)[wdqlz]$", r"\1"),
    (r"^(push|pop)w$", r"\1"), (r"^(pcmpestr[im])q$", r"\1"), (r"^prefetch.*", "prefetch"),
    (r"^bnd.*", "nop"))]  # MPX is gone: what it was is a NOP again


def name_of(text):
    words = text.split()
    while words and PREFIX.match(words[0]):
        words.pop(0)
    if not words or "(bad)" in words:
        return None
    name = words[0]
    for pattern, other in SAME:
        name = pattern.sub(other, name)
    return name


def names(cells):
    """{kind: set of names} of (kind, bytes)."""
    with tempfile.NamedTemporaryFile() as out:
        for _, code in cells:
            out.write(code + b"\x90" * (STRIDE - len(code)))
        out.flush()
        text = subprocess.run(
            ["objdump", "-D", "-z", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", out.name],
            check=True, capture_output=True, text=True).stdout
    found, lists = {}, {}
    for line in text.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(.*)", line)
        if match:
            found[int(match.group(1), 16)] = match.group(2)
    for i, (kind, code) in enumerate(cells):
        name = name_of(found.get(i * STRIDE, ""))
        if kind == "system" and name in ("call", "jmp"):
            name += " far"
        if name is None:
            raise SystemExit(f"cpu_doc: objdump has no name for {code.hex(' ')}")
        lists.setdefault(kind, set()).add(name)
    return lists


def main(program, doc, write):
    if not shutil.which("objdump"):
        print("cpu_doc: skipped: there is no objdump")
        return 77
    out = subprocess.run([program, "--cells"], check=True, capture_output=True, text=True).stdout
    cells = [(line.split()[0], bytes.fromhex("".join(line.split()[1:])))
             for line in out.splitlines() if line != "lacking"]
    lacking = "lacking" in out
    with open(doc, encoding="utf-8") as stream:
        text = stream.read()
    failed = 0
    for kind, found in sorted(names(cells).items()):
        part = re.compile(rf"(<!-- {kind} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
        match = part.search(text)
        listed = set(re.findall(r"`([^`]+)`", match.group(2))) if match else set()
        for name in sorted(found - listed):
            print(f"{os.path.basename(doc)}: {kind}: {name} is not listed")
        gone = set() if lacking and kind == "SSE" else listed - found
        for name in sorted(gone):
            print(f"{os.path.basename(doc)}: {kind}: there is no {name}")
        failed += bool(found - listed or gone)
        lines = textwrap.fill(" ".join(f"`{n}`" for n in sorted(found)).replace(" far`", "~far`"), 98)
        text = part.sub(lambda m, new=lines.replace("~", " "): m.group(1) + new + "\n" + m.group(3),
                        text)
    if write:
        with open(doc, "w", encoding="utf-8") as stream:
            stream.write(text)
        return 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], "--write" in sys.argv[3:]))
