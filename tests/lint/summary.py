#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""summary.py - scripts/test-summary tells failures from passes, whatever they look like."""
import json
import os
import subprocess
import sys
import tempfile

import source

SCRIPT = os.path.join(source.ROOT, "scripts", "test-summary")
# (results and output of the programs of a run), exit status, last line
CASES = [
    ([("OK", "")], 0, "1 passed, 0 failed"),
    ([("OK", ""), ("FAIL", "")], 1, "1 passed, 1 failed"),
    ([("TIMEOUT", ""), ("ERROR", ""), ("INTERRUPT", "")], 1, "0 passed, 3 failed"),
    ([("UNEXPECTEDPASS", "")], 1, "0 passed, 1 failed"),
    ([("OK", ""), ("SKIP", "no /dev/kvm here\n")], 0, "1 passed, 0 failed, 1 skipped"),
    ([("OK", ""), ("SKIP", " \n")], 1, "1 passed, 1 failed"),
    ([], 1, "0 passed, 1 failed"),
]


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "log.json")
        for results, status, last in CASES + [(None, 1, "0 passed, 1 failed")]:
            if results is None:
                os.remove(log)
            else:
                with open(log, "w", encoding="utf-8") as stream:
                    for number, (result, text) in enumerate(results):
                        stream.write(json.dumps({"name": f"mslot:a / a/{number}", "stdout": text,
                                                 "result": result}) + "\n")
            run = subprocess.run([sys.executable, SCRIPT, log], capture_output=True, text=True,
                                 check=False)
            said = run.stdout.strip().split("\n")[-1]
            if (run.returncode, said) != (status, last):
                bad += 1
                print(f"{results}: exit {run.returncode}, '{said}'; expected {status}, '{last}'")
    print(f"{len(CASES) + 1 - bad} of {len(CASES) + 1} runs summed up correctly")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
