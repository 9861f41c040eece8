#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""counts.py - scripts/counts fails whatever differs from the table by more than it may."""
import os
import subprocess
import sys
import tempfile

import source

SCRIPT = os.path.join(source.ROOT, "scripts", "counts")
TABLE = """# gcc 12
find scalar 10 read 20.0
iterate scalar 10 read 100.0
flags scalar 10 write 4000.0
"""
# (what is replaced in the table, by what), exit status, last line; measured, then expected
CASES = [
    (("", ""), 0, "3 passed, 0 failed"),
    # Lookups: 3 % or one instruction, whichever is more.
    (("20.0", "21.0"), 0, "3 passed, 0 failed"),
    (("20.0", "21.1"), 1, "2 passed, 1 failed"),
    (("20.0", "18.9"), 1, "2 passed, 1 failed"),
    (("100.0", "103.0"), 0, "3 passed, 0 failed"),
    (("100.0", "103.1"), 1, "2 passed, 1 failed"),
    # Edits: 3 %.
    (("4000.0", "4120.0"), 0, "3 passed, 0 failed"),
    (("4000.0", "4130.0"), 1, "2 passed, 1 failed"),
    (("4000.0", "3879.9"), 1, "2 passed, 1 failed"),
    # Missing and unknown rows.
    (("find scalar 10 read 20.0\n", ""), 1, "2 passed, 1 failed"),
    (("find scalar", "find avx2"), 1, "2 passed, 2 failed"),
    (("10 read 20.0", "509 read 20.0"), 1, "2 passed, 2 failed"),
    (("read 20.0", "write 20.0"), 1, "2 passed, 2 failed"),
    # What is no table.
    (("20.0", "0.0"), 1, "0 passed, 1 failed"),
    (("20.0", "many"), 1, "0 passed, 1 failed"),
    (("read 20.0", "20.0"), 1, "0 passed, 1 failed"),
    (("read 20.0", "other 20.0"), 1, "0 passed, 1 failed"),
    (("flags scalar 10 write 4000.0", "find scalar 10 read 20.0"), 1, "0 passed, 1 failed"),
    ((TABLE, ""), 1, "0 passed, 3 failed"),
    ((TABLE, None), 1, "0 passed, 1 failed"),
]


def summed_up(directory, changed, changed_is_measured):
    """Exit status and last line of a comparison of the table with a changed one."""
    names = [os.path.join(directory, name) for name in ("expected", "measured")]
    texts = [TABLE, changed] if changed_is_measured else [changed, TABLE]
    for name, text in zip(names, texts):
        if os.path.exists(name):
            os.remove(name)
        if text is not None:
            with open(name, "w", encoding="utf-8") as stream:
                stream.write(text)
    run = subprocess.run([sys.executable, "-B", SCRIPT, "--compare", *names], capture_output=True,
                         text=True, check=False)
    return run.returncode, run.stdout.strip().split("\n")[-1]


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as directory:
        for (old, new), status, last in CASES:
            changed = None if new is None else TABLE.replace(old, new, 1) if old else TABLE
            said = summed_up(directory, changed, True)
            # The other way round only what is a share of the table is judged differently.
            other = summed_up(directory, changed, False)
            if said != (status, last) or (status == 0) != (other[0] == 0):
                bad += 1
                print(f"'{old}' -> '{new}': {said}, then {other}; expected {(status, last)}")
    print(f"{len(CASES) - bad} of {len(CASES)} comparisons judged correctly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
