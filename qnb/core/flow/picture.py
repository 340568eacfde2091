"""The way of the labels as a picture: Mermaid text, a plain text, a still.

Enters: names and their marks. Leaves: `FlowView`, data with a rich display.
Never: a value; a name that could end a line or a quotation of the text it is put into.
Spec: Mermaid flowcharts, https://mermaid.js.org/syntax/flowchart.html; JupyterLab shows `text/vnd.mermaid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from qnb.core.flow.marks import Mark
from qnb.model import Label

_COLOURS = {"public": "#2e7d32", "internal": "#1565c0", "confidential": "#a84300", "restricted": "#b3261e"}
_NEUTRAL = "#5f6368"
_WIDTH, _HEIGHT, _GAP = 190, 44, 50


@dataclass(frozen=True, slots=True)
class Node:
    """One variable as it was marked by one cell."""

    name: str
    label: Label
    cell: int


@dataclass(frozen=True)
class FlowView:
    """The labelled variables of a notebook and where they come from.

    Attributes:
        marks: name -> mark.
        kernel: the label that every cell carries.
        because: why, None while that is the session's own.
    """

    marks: Mapping[str, Mark]
    kernel: Label
    because: str | None = None

    def edges(self) -> tuple[list[Node], list[tuple[int, int]]]:
        """Variables, and pairs of their places: from, to."""
        nodes: dict[Node, int] = {}
        edges: dict[tuple[int, int], None] = {}

        def place(name: str, found: Mark) -> int:
            node = Node(name, found.label, found.cell)
            if node not in nodes:
                nodes[node] = len(nodes)
                for parent, origin in found.parents:
                    edges[place(parent, origin), nodes[node]] = None
            return nodes[node]

        for name, found in self.marks.items():
            place(name, found)
        return list(nodes), [(one, other) for one, other in edges if one != other]

    def __str__(self) -> str:
        lines = [f"kernel  {self.kernel}" + ("" if self.because is None else f"  ({self.because})")]
        width = max((len(name) for name in self.marks), default=0)
        for name, found in self.marks.items():
            origin = ", ".join(f"`{parent}`" for parent, _ in found.parents)
            lines.append(
                f"{name:<{width}}  {found.label}  {found.how} in cell {found.cell}"
                + (f", from {origin}" if origin else "")
            )
        return "\n".join(lines if self.marks else [*lines, "no variable is labelled"])

    __repr__ = __str__

    def mermaid(self) -> str:
        """A flowchart."""
        nodes, edges = self.edges()
        lines = ["flowchart LR"]
        lines += [
            f'  n{index}["{escape(node.name)}<br/>{escape(str(node.label))}, cell {node.cell}"]'
            for index, node in enumerate(nodes)
        ]
        lines += [f"  n{one} --> n{other}" for one, other in edges]
        lines += [f"  style n{index} stroke:{_colour(node.label)},stroke-width:2px" for index, node in enumerate(nodes)]
        return "\n".join(lines if nodes else [*lines, '  none["no variable is labelled"]'])

    def svg(self) -> str:
        """A still: what was there first stands to the left."""
        nodes, edges = self.edges()
        columns = _columns(len(nodes), edges)
        rows: dict[int, int] = {}
        places: list[tuple[int, int]] = []
        for column in columns:
            row = rows[column] = rows.get(column, -1) + 1
            places.append((10 + column * (_WIDTH + _GAP), 10 + row * (_HEIGHT + 16)))
        width = 20 + _WIDTH + max((x for x, _ in places), default=0)
        height = 20 + _HEIGHT + max((y for _, y in places), default=0)
        size = f'width="{width}" height="{height}" font-family="sans-serif" font-size="12"'
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="labelled variables">']
        for one, other in edges:
            (x, y), (u, v) = places[one], places[other]
            parts.append(
                f'<line x1="{x + _WIDTH}" y1="{y + _HEIGHT // 2}" x2="{u}" y2="{v + _HEIGHT // 2}" stroke="#888"/>'
            )
        for node, (x, y) in zip(nodes, places, strict=True):
            parts.append(
                f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="white"'
                f' stroke="{_colour(node.label)}" stroke-width="2"/>'
                f'<text x="{x + 10}" y="{y + 18}" font-weight="600" fill="#222">{escape(node.name)}</text>'
                f'<text x="{x + 10}" y="{y + 35}" fill="#444">{escape(f"{node.label}, cell {node.cell}")}</text>'
            )
        return "".join([*parts, "</svg>"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/vnd.mermaid": self.mermaid(), "image/svg+xml": self.svg(), "text/plain": str(self)}


def _columns(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """How far from its origins each node stands."""
    columns = [0] * count
    for _ in range(count):
        moved = False
        for one, other in edges:
            if columns[other] <= columns[one] < count:
                columns[other] = columns[one] + 1
                moved = True
        if not moved:
            break
    return columns


def _colour(label: Label) -> str:
    return _COLOURS.get(label.level, _NEUTRAL)
