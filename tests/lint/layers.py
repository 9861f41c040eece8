#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: MIT
"""layers.py [ROOT | --self-test] - no #include points up the layers.

src/base < src/index < src/log < src/map < src/dirty < src/access < src/mmu < src/kvm, and each public header belongs to a
layer, so that src/index cannot know slots by including <mslot/map.h>. Clients (cli/, bench/,
adapters/, examples/) see include/mslot only, and cli/ the headers of bench/ that measure, though of
the engines only what those show; the processor of adapters/x86 knows nothing of ioctls. In the library
<urcu...> is for src/base/rcu.h alone; the benchmark's engines have a seam of their own.
"""
import os
import re

import source

LAYERS = ["base", "index", "log", "map", "dirty", "access", "mmu", "kvm"]
PUBLIC = {"map.h": "map", "txn.h": "map", "lease.h": "map", "dirty.h": "dirty",
          "access.h": "access", "vcpu.h": "access", "mmu.h": "mmu", "guest.h": "mmu",
          "kvm.h": "kvm", "kvm_ioctl.h": "kvm", "mslot.h": "kvm"}
CLIENTS = ("cli", "bench", "adapters", "examples")
URCU_SEAMS = (os.path.join("src", "base", "rcu.h"),
              os.path.join("bench", "engines", "kvm_design.h"))
# What `mslot kvm` shares with the programs that it runs; and who knows nothing of ioctls.
SHARED = os.path.join("adapters", "kvm_client", "stats_format.h")
PROCESSOR = os.path.join("adapters", "x86", "")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def resolve(root, path, name):
    """The file of the tree that a quoted include means, or None."""
    for base in (os.path.dirname(path), "src", "include", "tests", "tests/support", "fuzz", "bench",
                 "adapters/x86", "adapters/kvm_client", ""):
        candidate = os.path.normpath(os.path.join(base, name))
        # NAME.in is a file that the build fills in.
        if any(os.path.isfile(os.path.join(root, candidate + end)) for end in ("", ".in")):
            return candidate
    return None


def layer_of(path):
    """Rank of a file of the library, or None."""
    part = path.split(os.sep)
    if part[0] == "src" and len(part) > 2 and part[1] in LAYERS:
        return LAYERS.index(part[1])
    if part[:2] == ["include", "mslot"] and part[2] in PUBLIC:
        return LAYERS.index(PUBLIC[part[2]])
    return None


def judge(root, path, bracket, name):
    """Why this include is wrong, or None."""
    target = resolve(root, path, name) if bracket == '"' or name.startswith("mslot/") else None
    top, target_top = path.split(os.sep)[0], (target or "").split(os.sep)[0]
    if name.startswith("urcu"):
        return None if path in URCU_SEAMS else \
            "only src/base/rcu.h and bench/engines/kvm_design.h include liburcu"
    if path.startswith(PROCESSOR) and name == "linux/kvm.h":
        return "the processor knows nothing of ioctls"
    if target is None:
        return f'"{name}" is no file of the tree' if bracket == '"' else \
            f"<{name}> is no public header" if name.startswith("mslot/") else None
    if path.startswith(PROCESSOR):
        if os.path.dirname(target) == "adapters/kvm_client" or name in ("mslot/kvm.h",
                                                                        "mslot/kvm_ioctl.h"):
            return "the processor knows nothing of ioctls"
    if target == SHARED and top == "cli":
        return None
    if top in CLIENTS:
        if target_top == "include" and bracket == "<" or target_top == top:
            return None
        if top == "cli" and os.path.dirname(target) == "bench" and target.endswith(".h"):
            return None
        return f"{top}/ may include <mslot/...> only, not {target}"
    mine, theirs = layer_of(path), layer_of(target)
    if mine is None:
        return f"{path} is in no known layer" if top in ("src", "include") else None
    if theirs is None:
        return f"the library includes {target}, which is in no layer of it"
    if theirs > mine:
        return f"{LAYERS[mine]} includes {target}, which is above it ({LAYERS[theirs]})"
    return None


def check(root):
    """Yield a finding for each include that breaks a rule."""
    for path in source.files(root, ("include", "src", "tests", "fuzz") + CLIENTS, (".c", ".h")):
        text = source.read(root, path)
        for match in INCLUDE.finditer(text):
            why = judge(root, path, *match.groups())
            if why:
                yield f"{path}:{text.count(chr(10), 0, match.start(2)) + 1}: {why}"


PLANTS = [
    ("src/base/pool.c", '#include "index/index.h"\n', "above it (index)"),
    ("src/base/alloc.c", '#include "../index/index.h"\n', "above it (index)"),
    ("src/index/index.h", "#include <mslot/map.h>\n", "above it (map)"),
    ("src/map/writer.h", "# include <mslot/kvm.h>\n", "above it (kvm)"),
    ("include/mslot/map.h", "#include <mslot/mslot.h>\n", "above it (kvm)"),
    ("src/map/writer.h", "#include <urcu/urcu-bp.h>\n", "only src/base/rcu.h"),
    ("src/map/writer.h", '#include "base/no_such_file.h"\n', "no file of the tree"),
    ("cli/planted.c", '#include "base/page.h"\n', "may include <mslot/...> only"),
    ("cli/planted.c", '#include "../src/map/writer.h"\n', "may include <mslot/...> only"),
    ("examples/ten_lines.c", "#include <mslot/no_such_header.h>\n", "no public header"),
    ("cli/planted.c", '#include "bench/engines/two_sets.h"\n', "may include <mslot/...> only"),
    ("cli/planted.c", '#include "bench/runner.c"\n', "may include <mslot/...> only"),
    ("bench/planted.c", '#include "cli/table.h"\n', "may include <mslot/...> only"),
    ("bench/engines/planted.c", "#include <urcu/urcu-bp.h>\n", "only src/base/rcu.h"),
    ("bench/engines/planted.c", '#include "map/writer.h"\n', "may include <mslot/...> only"),
    ("adapters/x86/planted.c", "#include <linux/kvm.h>\n", "knows nothing of ioctls"),
    ("adapters/x86/planted.c", "#include <mslot/kvm.h>\n", "knows nothing of ioctls"),
    ("adapters/x86/planted.c", '#include "../kvm_client/client.h"\n', "knows nothing of ioctls"),
    ("cli/planted.c", '#include "adapters/kvm_client/client.h"\n', "may include <mslot/...> only"),
    ("adapters/planted/a.c", '#include "map/writer.h"\n', "may include <mslot/...> only"),
]

if __name__ == "__main__":
    source.main(check, PLANTS)
