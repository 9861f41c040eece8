# SPDX-License-Identifier: MIT
"""What the lint tests share: finding sources, telling code from comments, self-tests.

A lint is a function check(root) that yields "path:line: message" texts. Its self-test
plants one violation after the other in a copy of the tree and demands exactly one new
finding for each, at the planted place.
"""
import os
import re
import shutil
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_TOKEN = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def files(root, directories, extensions):
    """Paths relative to root, sorted; directories that do not exist are empty."""
    found = []
    for directory in directories:
        for where, names, entries in os.walk(os.path.join(root, directory)):
            names[:] = sorted(n for n in names if n not in ("__pycache__", "build", ".git"))
            found += [os.path.relpath(os.path.join(where, e), root)
                      for e in entries if e.endswith(extensions)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as stream:
        return stream.read()


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def split(text):
    """(code, comments): the same text with the other part blanked; lines stay in place.

    String contents are blanked in the code as well.
    """
    code, comments, at = [], [], 0
    for match in _TOKEN.finditer(text):
        between, token = text[at:match.start()], match.group()
        is_comment = token.startswith("/")
        code += [between, _blank(token) if is_comment else token[0] + _blank(token[1:-1]) + token[0]]
        comments += [_blank(between), token if is_comment else _blank(token)]
        at = match.end()
    code.append(text[at:])
    comments.append(_blank(text[at:]))
    return "".join(code), "".join(comments)


def _plant(root, path, text):
    """Append text to a file of the copy; return the line that it starts on."""
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    before = read(root, path) if os.path.exists(full) else ""
    with open(full, "w", encoding="utf-8") as stream:
        stream.write(before + text)
    return before, before.count("\n")


def _self_test(check, plants):
    failed = 0
    with tempfile.TemporaryDirectory() as copy:
        for entry in os.listdir(ROOT):
            source = os.path.join(ROOT, entry)
            if entry in ("build", ".git", "data"):
                continue
            if os.path.isdir(source):
                shutil.copytree(source, os.path.join(copy, entry), symlinks=True)
            else:
                shutil.copy(source, copy)
        clean = set(check(copy))
        for path, text, expected in plants:
            existed = os.path.exists(os.path.join(copy, path))
            before, _ = _plant(copy, path, text)
            new = set(check(copy)) - clean
            if len(new) != 1 or path + ":" not in min(new) or expected not in min(new):
                failed += 1
                print(f"self-test: planted in {path}, expected one finding with '{expected}', "
                      f"got {sorted(new)}")
            if existed:
                with open(os.path.join(copy, path), "w", encoding="utf-8") as stream:
                    stream.write(before)
            else:
                os.remove(os.path.join(copy, path))
        if set(check(copy)) != clean:
            failed += 1
            print("self-test: the copy is not as it was")
    print(f"self-test: {len(plants) - failed} of {len(plants)} violations found")
    return failed


def main(check, plants):
    """Run the lint on the tree (or on the directory given), or with --self-test itself."""
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(1 if _self_test(check, plants) else 0)
    findings = sorted(check(sys.argv[1] if len(sys.argv) > 1 else ROOT))
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)
