"""The lineage of entries as a picture.

Enters: a `Graph`. Leaves: SVG that stands alone: agents to the left, activities down the middle in the log's order,
entities to the right; each relation as an arrow from the later to the earlier, as PROV draws it.
Never: a script, a link or an outside resource in it; needs no layout program.
Spec: W3C SVG 1.1; colours and shapes after the W3C PROV graph layout conventions.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from qnb.core.lineage import Edge, Graph, Node

_COLUMNS = {"agent": 20, "activity": 260, "entity": 560}
_WIDTH, _HEIGHT, _STEP = 200, 34, 56
_STYLES = {
    "agent": ("#FED37F", "0"),
    "activity": ("#9FB1FC", "0"),
    "entity": ("#FFFC87", "17"),
}
_COLOURS = {"used": "#b22222", "generated": "#006400", "informed": "#444444", "associated": "#b8860b"}


def render_graph(graph: Graph) -> str:
    """One SVG document."""
    places: dict[str, tuple[int, int]] = {}
    rows = dict.fromkeys(_COLUMNS, 0)
    for node in _in_order(graph):
        places[node.id] = (_COLUMNS[node.kind], 20 + _STEP * rows[node.kind])
        rows[node.kind] += 1
    height = 40 + _STEP * max(1, *rows.values())
    shapes = [_shape(node, *places[node.id]) for node in graph.nodes.values()]
    arrows = [_arrow(edge, places[edge.source], places[edge.target]) for edge in graph.edges]
    heads = [
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in {**_COLOURS, "derived": "#333399"}.items()
    ]
    width = _COLUMNS["entity"] + _WIDTH + 20
    body = "\n".join([f"<defs>{''.join(heads)}</defs>", *arrows, *shapes])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">\n<title>lineage in {_text(graph.origin)}</title>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _in_order(graph: Graph) -> list[Node]:
    """Activities by their entry, the others as they were first named."""
    activities = [node for node in graph.nodes.values() if node.kind == "activity"]
    activities.sort(key=lambda node: int(node.id.rpartition("/")[2]))
    return [*activities, *(node for node in graph.nodes.values() if node.kind != "activity")]


def _shape(node: Node, x: int, y: int) -> str:
    fill, radius = _STYLES[node.kind]
    facts = "\n".join(f"{name}: {value}" for name, value in node.facts.items()) or node.id
    return (
        f'<g><title>{_text(facts)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="{radius}" '
        f'fill="{fill}" stroke="#555"/><text x="{x + _WIDTH // 2}" y="{y + 21}" text-anchor="middle">'
        f"{_text(node.title[:30])}</text></g>"
    )


def _arrow(edge: Edge, source: tuple[int, int], target: tuple[int, int]) -> str:
    middle = _HEIGHT // 2
    (x1, y1), (x2, y2) = source, target
    if x1 == x2:  # within a column: around the side
        start, end = (x1, y1 + middle), (x2, y2 + middle)
        bend = 24 + min(36, abs(y1 - y2) // 8)
        path = f"M{start[0]} {start[1]}C{start[0] - bend} {start[1]} {end[0] - bend} {end[1]} {end[0]} {end[1]}"
    else:
        left_to_right = x1 < x2
        start = (x1 + _WIDTH if left_to_right else x1, y1 + middle)
        end = (x2 if left_to_right else x2 + _WIDTH, y2 + middle)
        half = (start[0] + end[0]) // 2
        path = f"M{start[0]} {start[1]}C{half} {start[1]} {half} {end[1]} {end[0]} {end[1]}"
    colour = _COLOURS.get(edge.kind, "#333399")
    return f'<path d="{path}" fill="none" stroke="{colour}" marker-end="url(#{edge.kind})"/>'


def _text(value: str) -> str:
    """Text for XML: what it cannot hold is replaced."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value))
