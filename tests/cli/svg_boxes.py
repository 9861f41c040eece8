# SPDX-License-Identifier: MIT
"""svg_boxes.py FILE... - drawings are well-formed, no text covers another or leaves the page.

The box of a text is computed from its font size and its characters alone, with a width that
is a little more than the widest common font of constant width needs. Areas must lie on the
page too. Prints the number of texts; says what is wrong and exits 1 otherwise.
"""
import re
import sys
import xml.etree.ElementTree as ET

NS = "{http://www.w3.org/2000/svg}"
WIDTH, ABOVE, BELOW = 0.61, 0.78, 0.24  # of the font size


def box_of(text):
    size = float(text.get("font-size"))
    x, y = float(text.get("x")), float(text.get("y"))
    width = WIDTH * size * len(text.text or "")
    left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor")]
    return left, y - ABOVE * size, left + width, y + BELOW * size


def faults(path):
    root = ET.parse(path).getroot()
    if root.tag != NS + "svg":
        return 0, ["the root is no svg"]
    page = [float(v) for v in root.get("viewBox").split()]
    if [float(root.get("width")), float(root.get("height"))] != page[2:]:
        return 0, ["width and height are not those of the viewBox"]
    found = []
    texts = [(box_of(t), t.text or "") for t in root.iter(NS + "text")]
    for (x1, y1, x2, y2), what in texts:
        if x1 < 0 or y1 < 0 or x2 > page[2] or y2 > page[3]:
            found.append(f"'{what}' leaves the page")
        if not what.strip():
            found.append("a text is empty")
    texts.sort(key=lambda t: t[0][1])
    for i, (a, what) in enumerate(texts):
        for b, other in texts[i + 1:]:
            if b[1] >= a[3]:
                break
            if a[0] < b[2] and b[0] < a[2]:
                found.append(f"'{what}' covers '{other}'")
    for r in root.iter(NS + "rect"):
        if r.get("class") is None:
            continue  # of a pattern
        x, y, w, h = (float(r.get(k)) for k in ("x", "y", "width", "height"))
        if x < -0.02 or y < -0.02 or x + w > page[2] + 0.02 or y + h > page[3] + 0.02 \
                or w < 0 or h < 0:
            found.append(f"a rectangle at {x},{y} leaves the page or is inside out")
    for p in root.iter(NS + "path"):
        if not re.fullmatch(r"(M[\d.]+ [\d.]+h[\d.]+v[\d.]+h-[\d.]+z\s*)+", p.get("d")):
            found.append(f"a path is no list of rectangles: {p.get('d')[:80]}")
    return len(texts), found


def main():
    bad = 0
    for path in sys.argv[1:]:
        try:
            ntexts, found = faults(path)
        except ET.ParseError as error:
            ntexts, found = 0, [f"not well-formed: {error}"]
        if ntexts == 0 and not found:
            found = ["no text at all"]
        for what in found[:10]:
            print(f"{path}: {what}", file=sys.stderr)
        bad += len(found)
        print(ntexts)
    return 1 if bad or len(sys.argv) < 2 else 0


sys.exit(main())
