# SPDX-License-Identifier: MIT
"""logplot - panels with lines on two logarithmic axes as an SVG drawing, each line named.

Lines are told apart by colour, dashes and marker at once. Text is of constant width, so that its
box is known: tests/cli/svg_boxes.py finds texts that would cover each other.
"""
import math
from html import escape

WIDTH, HEIGHT, MARGIN, HEAD, COLUMNS = 470, 300, 22, 40, 2
LEFT, RIGHT, TOP, BOTTOM = 62, 70, 34, 40  # of a panel, around its lines
STYLE = """text{font-family:DejaVu Sans Mono,Liberation Mono,monospace;fill:#333}
rect.page{fill:#fff}line.grid{stroke:#ddd}line.axis{stroke:#888}
.s0{stroke:#0a58a8;fill:#0a58a8}.s1{stroke:#b8500a;fill:#b8500a;stroke-dasharray:6 3}
.s2{stroke:#3a7d2c;fill:#3a7d2c;stroke-dasharray:2 2}
line.s0,line.s1,line.s2{stroke-width:2}text.s0,text.s1,text.s2{stroke:none}"""
NSTYLES = 3


def seconds(exponent):
    """10^exponent seconds as text."""
    unit, name = next((u, n) for u, n in ((0, "s"), (-3, "ms"), (-6, "us"), (-9, "ns"))
                      if exponent >= u or u == -9)
    return f"{10 ** (exponent - unit)} {name}"


def text(x, y, size, anchor, what, style=None):
    kind = f' class="{style}"' if style else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{kind}>'
            f"{escape(str(what))}</text>")


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def scale(first, last, low, high):
    """A function from a value to its place."""
    span = math.log(last / first) or 1.0
    return lambda v: low + (high - low) * math.log(v / first) / span


def apart(places, least):
    """Moves places (sorted by value) so that neighbours are `least` apart."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in zip(order, order[1:]):
        moved[after] = max(moved[after], moved[before] + least)
    return moved


def panel(x, y, title, lines, ticks):
    values = [v for _, points in lines for _, v in points]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    px = scale(ticks[0], ticks[-1], x + LEFT, x + WIDTH - RIGHT)
    py = scale(10 ** low, 10 ** high, y + HEIGHT - BOTTOM, y + TOP)
    out = [text(x + LEFT, y + 20, 14, "start", title)]
    for exponent in range(low, high + 1):
        at = py(10 ** exponent)
        out.append(line(x + LEFT, at, x + WIDTH - RIGHT, at, "grid"))
        out.append(text(x + LEFT - 6, at + 4, 11, "end", seconds(exponent)))
    named = -math.inf
    for tick in ticks:
        at = px(tick)
        out.append(line(at, y + TOP, at, y + HEIGHT - BOTTOM, "grid"))
        half = len(str(tick)) * 11 * 0.62 / 2
        if at - half > named + 4:
            out.append(text(at, y + HEIGHT - BOTTOM + 16, 11, "middle", tick))
            named = at + half
    out.append(text(x + (LEFT + WIDTH - RIGHT) / 2, y + HEIGHT - 8, 11, "middle", "slots"))
    ends = apart([py(points[-1][1]) for _, points in lines], 14)
    for number, (name, points) in enumerate(lines):
        style = f"s{number % NSTYLES}"
        at = [(px(n), py(v)) for n, v in points]
        out += [line(*a, *b, style) for a, b in zip(at, at[1:])]
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" class="{style}"/>' for a, b in at]
        out.append(text(at[-1][0] + 8, ends[number] + 4, 12, "start", name, style))
    return out


def draw(path, title, panels, ticks):
    """panels: [(title, [(name of a line, [(x, seconds)])])], by rising x."""
    rows = -(-len(panels) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * WIDTH
    height = HEAD + MARGIN + rows * HEIGHT
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}">', f"<title>{escape(title)}</title>",
           f"<style>{STYLE}</style>",
           f'<rect class="page" x="0" y="0" width="{width}" height="{height}"/>',
           text(MARGIN, 26, 15, "start", title)]
    for number, (name, lines) in enumerate(panels):
        if lines:
            out += panel(MARGIN + number % COLUMNS * WIDTH, HEAD + number // COLUMNS * HEIGHT,
                         name, lines, ticks)
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(out) + "\n")
