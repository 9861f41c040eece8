# SPDX-License-Identifier: MIT
"""apidoc.py - what the comments of the public headers say, as data.

The header comments are the only source of the manual. A function's comment reads

    name() - summary.
      parameter, parameter   text
    Text; a blank line begins a paragraph, numbered lines make a list.
    Returns value, -EXXX cause, -EXXX cause. More.
    Context: where it may be called.
    Lifetime: how long what it gives is usable.

A parameter's text may begin with `as in other()`, a section be `as other()` with an
addition: both are filled in here. What is wrong with a comment goes into `problems`.
"""
import os
import re

HEADERS = ("map.h", "txn.h", "lease.h", "access.h", "vcpu.h", "mmu.h", "guest.h", "dirty.h",
           "kvm.h", "kvm_ioctl.h")
SECTIONS = ("Returns", "Context", "Lifetime")
NO_MEMORY = "there is not enough memory"

_BLOCK = re.compile(r"""
    ^/\*\ ----\ (?P<group>[^\n]*?)\ -+\ \*/
  | ^(?P<comment>/\*.*?\*/)
  | ^MSLOT_(?:API|INLINE)\s(?P<function>[^;]*);
  | ^(?P<kind>struct|enum)\ (?P<type>\w+)\ \{\n(?P<body>.*?)^\};
  | ^\#define\ (?P<define>MSLOT_\w+)[ ]+(?P<value>[^\n]*?)[ \t]*(?P<why>/\*.*?\*/)?[ \t]*$
  | ^(?P<blank>)\n
  """, re.VERBOSE | re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"((?:%s)(?:, (?:%s))*)(?::| (?=\S))\s*(.*)" % (("|".join(SECTIONS),) * 2))
_ITEM = re.compile(r"(?:^|[,;:]\s+)(?:then\s+)?(?=-E[A-Z0-9]+\b)")
ENTRY = re.compile(r"([A-Z][A-Z0-9]+): (.*)", re.DOTALL)
_VETO = re.compile(r"(?:, or|; then)\s+(?=[^,;]*\bveto\b)")


class Function:
    """One function; `returns` is a Returns, `errors` lists (errno or None, cause)."""

    def __init__(self, header, group, line, prototype):
        self.header, self.group, self.line = header, group, line
        head, _, tail = prototype.partition("(")
        match = re.fullmatch(r"\s*(.*?)(\w+)\s*", head, re.DOTALL)
        self.returned, self.name = " ".join(match.group(1).split()), match.group(2)
        parts = _split_arguments(tail[:tail.rindex(")")])
        self.arguments = [(text, declared_name(text)) for text in parts if text != "void"]
        self.documented, self.summary = False, ""
        self.parameters, self.paragraphs, self.sections = [], [], {}
        self.problems = []

    @property
    def page(self):
        return self.name


class Type:
    """A struct or an enum; `fields` lists (declaration, name, text)."""

    def __init__(self, header, kind, name, body):
        self.header, self.kind, self.name = header, kind, name
        self.paragraphs, self.fields = [], _fields(body)


class Header:
    """One header: `groups` lists (title, functions), `constants` (name, value, text)."""

    def __init__(self, name):
        self.name, self.summary, self.paragraphs = name, "", []
        self.groups, self.types, self.constants = [], [], []

    @property
    def page(self):
        return "mslot_" + self.name[:-len(".h")] if self.name != "mslot.h" else "mslot"

    def functions(self):
        return [f for _, functions in self.groups for f in functions]


class Returns:
    """A Returns section taken apart."""

    def __init__(self, value, errors, rest, ordered, other):
        self.value, self.errors, self.rest, self.ordered = value, errors, rest, ordered
        self.other = other


def _split_arguments(text):
    parts, depth, part = [], 0, ""
    for char in " ".join(text.split()):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return parts + [part.strip()]


def declared_name(declaration):
    """The name that a parameter or a member declares."""
    pointer = re.search(r"\(\*\s*(\w+)\)\s*\(", declaration)
    return pointer.group(1) if pointer else re.findall(r"\w+", declaration.split("[")[0])[-1]


def _lines(comment):
    """(indentation, text) of each line of a comment, without the frame."""
    result = []
    for line in comment[2:-2].replace("\\\n", "\n").split("\n"):
        line = re.sub(r"^\s*\* ?", "", line.expandtabs(8)).rstrip()
        result.append((len(line) - len(line.lstrip()), line.strip()))
    while result and not result[0][1]:
        result.pop(0)
    while result and not result[-1][1]:
        result.pop()
    return result


def _flat(comment):
    return " ".join(text for _, text in _lines(comment) if text)


def _fields(body):
    """Members: a comment belongs to the member whose line it begins on, else to the next."""
    fields, before, code, at = [], "", "", 0
    for match in list(re.finditer(r"/\*.*?\*/|[;,](?![^()\n]*\))", body, re.DOTALL)):
        token = match.group()
        code += body[at:match.start()]
        at = match.end()
        if token in ";,":
            if code.strip():
                fields.append([" ".join(code.split()), declared_name(code.split("=")[0]), before])
            code, before = "", ""
        elif fields and not code.strip() and "\n" not in code:
            fields[-1][2] = _flat(token)
        else:
            before = _flat(token)
    return fields


def _paragraphs(lines):
    """Text as a list of str (a paragraph) and list (the items of a numbered list).

    A line that begins with NAME: in capitals is an entry, a paragraph of its own.
    """
    result, fresh = [], True
    for indent, text in lines:
        if not text:
            fresh = True
            continue
        item = re.match(r"\d+ (.*)", text) if indent > 0 else None
        entry = indent == 0 and ENTRY.match(text)
        if item:
            if not result or not isinstance(result[-1], list):
                result.append([])
            result[-1].append(item.group(1))
        elif indent > 0 and result and isinstance(result[-1], list):
            result[-1][-1] += " " + text
        elif fresh or entry or isinstance(result[-1], list):
            result.append(text)
        else:
            result[-1] += " " + text
        fresh = False
    return result


def _document(function, comment):
    """Fill a function from the comment above it."""
    lines = _lines(comment)
    match = re.fullmatch(r"(\w+)\(\) - (.*)\.", lines[0][1])
    if not match or match.group(1) != function.name:
        function.problems.append(f"its comment does not begin `{function.name}() - summary.`")
        return
    function.documented, function.summary = True, match.group(2)
    text, current = [], None
    for indent, line in lines[1:]:
        section = _SECTION.match(line) if indent == 0 else None
        parameter = re.match(r"(\w+(?:, \w+)*)\s{2,}(.*)", line) \
            if indent == 2 and not text and not function.sections else None
        if section:
            current = section.group(1)
            function.sections[current] = section.group(2)
        elif current and indent > 0:
            function.sections[current] += " " + line
        elif parameter:
            function.parameters.append((parameter.group(1).split(", "), parameter.group(2)))
        elif indent > 2 and function.parameters and not text:
            names, so_far = function.parameters[-1]
            function.parameters[-1] = (names, so_far + " " + line)
        else:
            current = None
            text.append((indent, line))
    function.paragraphs = _paragraphs(text)
    for joint in [key for key in function.sections if "," in key]:
        for key in joint.split(", "):
            function.sections[key] = function.sections[joint]
        del function.sections[joint]


def _parse(root, name):
    with open(os.path.join(root, "include", "mslot", name), encoding="utf-8") as stream:
        text = stream.read()
    header, group, pending, shared = Header(name), name, None, ""
    for match in _BLOCK.finditer(text):
        if match["group"] is not None:
            group = match["group"]
        elif match["comment"]:
            lines = _lines(match["comment"])
            head = re.match(r"mslot/\w+\.h - (.*)", lines[0][1])
            if head:
                body = _paragraphs(lines)
                header.summary, header.paragraphs = body[0].split(" - ", 1)[1], body[1:]
            pending, shared = match["comment"], _flat(match["comment"])
        elif match["function"]:
            function = Function(name, group, text.count("\n", 0, match.start()) + 1,
                                match["function"])
            if pending:
                _document(function, pending)
            else:
                function.problems.append("it has no comment")
            if not header.groups or header.groups[-1][0] != group:
                header.groups.append((group, []))
            header.groups[-1][1].append(function)
        elif match["type"]:
            found = Type(name, match["kind"], match["type"], match["body"])
            found.paragraphs = _paragraphs(_lines(pending)) if pending else []
            header.types.append(found)
        elif match["define"]:
            if match["value"] not in ("__attribute__((visibility(\"default\")))", ""):
                why = _flat(match["why"]) if match["why"] else shared
                header.constants.append((match["define"], match["value"], why))
            continue
        else:
            shared = ""
        if not match["comment"]:
            pending = None
    return header


def first_sentence(text):
    """(first sentence, the rest)."""
    match = re.search(r"(?<=[\w)]\.) (?=[A-Z(])", text)
    return (text[:match.start()], text[match.end():]) if match else (text, "")


def take_apart(text):
    """Returns of the text of a Returns section."""
    head, rest = first_sentence(text)
    parts = _ITEM.split(head.rstrip("."))
    value, other, errors = parts[0].strip(), None, []
    ordered = re.fullmatch(r"(.*?)(?: or)?, in this order", value)
    if ordered:
        value = ordered.group(1)
    for part in parts[1:]:
        reference = re.fullmatch(r"(.*?)[,;] otherwise as (\w+)\(\)", part)
        if reference:
            part, other = reference.groups()
        part, *more = _VETO.split(part)
        code, _, cause = part.partition(" ")
        errors.append((code.rstrip(","), cause.strip() or (NO_MEMORY if code == "-ENOMEM" else "")))
        errors += [(None, text) for text in more]
    return Returns(value.rstrip(","), errors, rest, bool(ordered), other)


class Manual:
    """All headers of a tree, with references between comments filled in."""

    def __init__(self, root):
        self.root = root
        self.headers = [_parse(root, name) for name in HEADERS]
        self.overview = _parse(root, "mslot.h")
        self.functions = {f.name: f for h in self.headers for f in h.functions()}
        self.types = {t.name: t for h in self.headers for t in h.types}
        self.constants = {c[0]: c for h in self.headers for c in h.constants}

    def pages(self):
        """Names of all pages of section 3."""
        return sorted([h.page for h in self.headers] + ["mslot"] + list(self.functions))

    def parameters(self, function, seen=()):
        """[(name, text)] with `as in other()` replaced by what other() says."""
        result = []
        for names, text in function.parameters:
            match = re.match(r"as in (\w+)\(\)(.*)", text)
            for name in names:
                said = text
                if match and match.group(1) not in seen:
                    other = self.functions.get(match.group(1))
                    known = dict(self.parameters(other, seen + (function.name,))) if other else {}
                    if name in known:
                        said = known[name] + match.group(2)
                    else:
                        function.problems.append(
                            f"{match.group(1)}() says nothing of a parameter {name}")
                result.append((name, said))
        return result

    def section(self, function, name, seen=()):
        """Text of a section with `as other()` replaced; None when there is none."""
        text = function.sections.get(name)
        match = re.fullmatch(r"as (mslot_\w+)\(\)(?:([.;,]) ?(.*))?", text or "")
        other = self.functions.get(match.group(1)) if match else None
        if other is None or other.name in seen:
            return text
        base = self.section(other, name, seen + (function.name,)) or ""
        more = match.group(3) or ""
        if name == "Returns" and more.startswith("and -E"):
            # The added errnos go behind those of the other function's first sentence.
            head, rest = first_sentence(base)
            return f"{head.rstrip('.')}; {more[len('and '):].rstrip('.')}." + (rest and " " + rest)
        return base + (" " + more[0].upper() + more[1:] if more else "")

    def returns(self, function):
        text = self.section(function, "Returns")
        return None if text is None else take_apart(text)
