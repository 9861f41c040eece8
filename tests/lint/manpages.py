#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""manpages.py [ROOT | --self-test | --mandoc] - the headers give a complete manual.

Every MSLOT_API or MSLOT_INLINE function has a comment with a summary that fits a line, exactly its
parameters, Returns unless it is void, Context, and a cause for each errno; docs/errors.md
has the same errnos. There is a page for each, and references lead to pages that exist.
--mandoc writes the pages and has mandoc judge them; it says so when there is no mandoc.
"""
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile

import source

API = re.compile(r"^MSLOT_(?:API|INLINE)\b[^;(]*?\b(\w+)\(", re.MULTILINE)
ERRNO = re.compile(r"(?<!\w)-E[A-Z0-9]+\b")
NEVER_FOUND = "referenced manual not found"


def generator():
    """scripts/manpages as a module; it reads the root it is given."""
    path = os.path.join(source.ROOT, "scripts", "manpages")
    loader = importlib.machinery.SourceFileLoader("manpages_generator", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def errnos(function, returns):
    """Errnos in a Returns section and in the numbered checks of a comment."""
    text = [returns or ""]
    for paragraph in function.paragraphs:
        text += paragraph if isinstance(paragraph, list) else []
    return set(ERRNO.findall(" ".join(text)))


def tabled_errnos(root):
    """{function: {errno: line}} of docs/errors.md; an empty first cell repeats the last one."""
    table, names = {}, []
    text = source.read(root, os.path.join("docs", "errors.md"))
    for number, line in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 5 or cells[2] in ("code", "---"):
            continue
        names = re.findall(r"`(\w+)\(\)`", cells[1]) or names
        for name in names:
            table.setdefault(name, {})
            if ERRNO.fullmatch(cells[2]):
                table[name].setdefault(cells[2], number)
    return table


def comment_findings(manual, function):
    """What is missing in or wrong with one comment."""
    if not function.documented:
        yield from function.problems
        return
    if len(function.summary) > 78:
        yield f"summary of {len(function.summary)} characters, 78 at most"
    told = [name for name, _ in manual.parameters(function)]
    has = [name for _, name in function.arguments]
    if sorted(told) != sorted(has):
        yield f"documents the parameters ({', '.join(told)}), has ({', '.join(has)})"
    returns, is_void = manual.section(function, "Returns"), function.returned == "void"
    if is_void and returns is not None:
        yield "documents what it returns but is void"
    if not is_void and not returns:
        yield "does not say what it returns"
    if not manual.section(function, "Context"):
        yield "has no Context:"
    for code, cause in (manual.returns(function).errors if returns else []):
        if not cause:
            yield f"gives no cause of {code}"
    yield from dict.fromkeys(function.problems)


def errno_findings(root, manual):
    """Differences between comments and docs/errors.md."""
    table = tabled_errnos(root)
    for name, function in manual.functions.items():
        if not function.documented:
            continue
        # What is taken over from another function's comment needs no row of its own.
        own = errnos(function, function.sections.get("Returns"))
        theirs = table.get(name, {})
        for code in sorted(own - set(theirs)):
            yield f"include/mslot/{function.header}:{function.line}: {name}(): " \
                f"{code} is not in docs/errors.md"
        for code in sorted(set(theirs) - errnos(function, manual.section(function, "Returns"))):
            yield f"docs/errors.md:{theirs[code]}: {name}(): {code} is not in its comment"


def reference_findings(root, manual, pages):
    """References of the pages, and of man/, that lead nowhere."""
    hand_written = source.files(root, ("man",), (".1", ".3"))
    known = {(name, "3") for name in pages} | {tuple(os.path.basename(p).rsplit(".", 1))
                                               for p in hand_written}
    places = []
    for name, text in pages.items():
        function = manual.functions.get(name)
        where = f"{function.header}:{function.line}" if function else \
            re.sub("^mslot_", "", name) + ".h:1"
        places.append((name, "include/mslot/" + where, text))
    places += [(path, path + ":1", source.read(root, path)) for path in hand_written]
    for name, place, text in places:
        for pair in sorted(set(re.findall(r"\.Xr (\S+) (\d)", text)) - known):
            yield f"{place}: refers to {pair[0]}({pair[1]}), which is no page"
        for called in sorted(set(re.findall(r"^\.Fn (mslot_\w+)", text, re.MULTILINE))):
            if called != name and (called, "3") not in known:
                yield f"{place}: refers to {called}(), which has no page"


def check(root):
    """Yield every finding."""
    module = generator()
    manual, pages = module.apidoc.Manual(root), module.pages(root)
    for function in manual.functions.values():
        for why in comment_findings(manual, function):
            yield f"include/mslot/{function.header}:{function.line}: {function.name}(): {why}"
    for path in source.files(root, (os.path.join("include", "mslot"),), (".h",)):
        code = source.split(source.read(root, path))[0]
        for match in API.finditer(code):
            if match.group(1) not in pages:
                line = code.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {match.group(1)}() has no page"
    yield from errno_findings(root, manual)
    yield from reference_findings(root, manual, pages)


def mandoc_lines(directory):
    """What mandoc says of all pages of a directory."""
    pages = [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    run = subprocess.run(["mandoc", "-Tlint"] + pages, capture_output=True, text=True, check=False)
    return [line.replace(directory + os.sep, "") for line in (run.stdout + run.stderr).split("\n")
            if line and NEVER_FOUND not in line]


def mandoc():
    """mandoc's view of the pages; a page with an unknown macro proves that it looks."""
    if not shutil.which("mandoc"):
        print("mandoc is not installed: the format of the manual pages is not checked")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        pages = generator().pages(source.ROOT)
        for name, text in pages.items():
            with open(os.path.join(directory, name + ".3"), "w", encoding="utf-8") as stream:
                stream.write(text)
        for path in source.files(source.ROOT, ("man",), (".1", ".3")):
            shutil.copy(os.path.join(source.ROOT, path), directory)
        said = mandoc_lines(directory)
        with open(os.path.join(directory, "planted.3"), "w", encoding="utf-8") as stream:
            stream.write(pages["mslot"] + ".Zz planted\n")
        found = [line for line in mandoc_lines(directory) if line not in said]
    print("\n".join(said + [f"{len(pages)} pages generated, {len(said)} findings"]))
    if not any("planted.3" in line and "Zz" in line for line in found):
        print("an unknown macro in a planted page was not found")
        return 1
    return 1 if said or not pages else 0


def _comment(name, lines, declaration):
    return f"\n/*\n * {name}() - planted.\n" + "".join(f" * {line}\n" for line in lines) + \
        f" */\n{declaration}\n"


INT, VOID = "MSLOT_API int mslot_planted(int flag);", "MSLOT_API void mslot_planted(int flag);"
FLAG, RETURNS, CONTEXT = "  flag   a flag", "Returns 0.", "Context: any thread."
MAP = "include/mslot/map.h"
PLANTS = [
    (MAP, "\n" + INT + "\n", "it has no comment"),
    (MAP, _comment("mslot_other", [FLAG, RETURNS, CONTEXT], INT), "does not begin"),
    (MAP, _comment("mslot_planted", ["  flga   a flag", RETURNS, CONTEXT], INT),
     "(flga), has (flag)"),
    (MAP, _comment("mslot_planted", [RETURNS, CONTEXT], INT), "parameters (), has (flag)"),
    (MAP, _comment("mslot_planted", [FLAG, "  more   none", RETURNS, CONTEXT], INT),
     "(flag, more), has (flag)"),
    (MAP, _comment("mslot_planted", [FLAG, CONTEXT], INT), "does not say what it returns"),
    (MAP, _comment("mslot_planted", [FLAG, RETURNS, CONTEXT], VOID), "is void"),
    (MAP, _comment("mslot_planted", [FLAG, RETURNS], INT), "has no Context:"),
    (MAP, _comment("mslot_planted", ["  flag   as in mslot_hold()", RETURNS, CONTEXT], INT),
     "mslot_hold() says nothing of a parameter flag"),
    (MAP, _comment("mslot_planted", [FLAG, "Returns 0, -EIO no.", CONTEXT], INT),
     "-EIO is not in docs/errors.md"),
    (MAP, _comment("mslot_planted", [FLAG, "See mslot_gone().", RETURNS, CONTEXT], INT),
     "refers to mslot_gone(), which has no page"),
    ("include/mslot/planted.h", VOID + "\n", "mslot_planted() has no page"),
    ("docs/errors.md", "\n| `mslot_hold()` | -EBUSY | planted |\n", "-EBUSY is not in its comment"),
    ("man/mslot.1", ".Xr mslot_gone 3\n", "refers to mslot_gone(3), which is no page"),
]

if __name__ == "__main__":
    if sys.argv[1:] == ["--mandoc"]:
        sys.exit(mandoc())
    source.main(check, PLANTS)
