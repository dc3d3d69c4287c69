"""How does a profile look? A flame graph as SVG, drawn from nothing but the stacks.

Each box is a function, above the one that called it; its width is its share of the processor's time, itself and all
that it calls. Neighbours are in the order of their names. A box too narrow to see is left out. Source of the form:
Gregg, The Flame Graph, CACM 59(6), 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

WIDTH = 1200
ROW = 18
HEAD = 44
MARGIN = 10
CHARACTER = 6.6
"""Width of a character at font size 11 in pixels, a monospaced font."""
NARROWEST = 0.3
STYLE = "rect{stroke:#fff;stroke-width:.5} g:hover rect{stroke:#000;stroke-width:1} text{pointer-events:none}"


NOTHING = 1e-12
"""A weight up to this was not measured; a scale for it would pass every number."""


@dataclass(slots=True)
class Box:
    """A function at one place in the stacks, and what it calls."""

    weight: float = 0.0
    called: dict[str, Box] = field(default_factory=dict)


def flamegraph(stacks: Mapping[tuple[str, ...], float], *, title: str, unit: str) -> str:
    """An SVG of stacks, each from its root to its leaf, with weights of 0 at least in ``unit``.

    Without any weight it says so.
    """
    root = _tree(stacks)
    depth = max((len(stack) for stack, weight in stacks.items() if weight > 0), default=0)
    height = HEAD + ROW * (depth + 1) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="font:11px monospace">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="26" style="font-size:15px">{escape(title)}</text>',
    ]
    if root.weight > NOTHING:
        scale = (WIDTH - 2 * MARGIN) / root.weight
        lines += _boxes("all", root, root.weight, MARGIN, height - MARGIN - ROW, scale, unit)
    else:
        lines.append(f'<text x="{MARGIN}" y="{HEAD + 10}">nothing was running</text>')
    return "\n".join([*lines, "</svg>", ""])


def _tree(stacks: Mapping[tuple[str, ...], float]) -> Box:
    root = Box()
    for stack, weight in stacks.items():
        box = root
        box.weight += weight
        for name in stack:
            box = box.called.setdefault(name, Box())
            box.weight += weight
    return root


def _boxes(name: str, box: Box, whole: float, left: float, top: float, scale: float, unit: str) -> Iterator[str]:
    width = box.weight * scale
    if width < NARROWEST:
        return
    told = f"{name}: {box.weight:.3g} {unit}, {box.weight / whole:.1%}"
    yield f"<g><title>{_text(told)}</title>"
    yield f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 1}" fill="{_colour(name)}"/>'
    if label := _label(name, width):
        yield f'<text x="{left + 3:.1f}" y="{top + 12}">{_text(label)}</text>'
    yield "</g>"
    for child, below in sorted(box.called.items()):
        yield from _boxes(child, below, whole, left, top - ROW, scale, unit)
        left += below.weight * scale


def _label(name: str, width: float) -> str:
    """What of a name fits: all of it, its last part, or its beginning."""
    room = int((width - 6) / CHARACTER)
    short = name if len(name) <= room else name.rpartition(".")[2]
    if len(short) <= room:
        return short
    return short[: room - 1] + "…" if room >= 3 else ""


def _text(text: str) -> str:
    """Text as XML may hold it: escaped, and without the control characters it may not."""
    return escape("".join(letter if letter.isprintable() else "?" for letter in text))


def _colour(name: str) -> str:
    """A warm colour, the same for all functions of a package."""
    seed = crc32(name.partition(".")[0].encode("utf-8", "replace"))
    return f"hsl({seed % 50 + 5},{70 + seed // 50 % 20}%,{62 + seed // 1000 % 14}%)"
