"""Marks on names: which label, since which cell, and where it comes from.

Enters: labels, names, numbers of cells. Leaves: marks, and the one line that says why.
Never: a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qnb.core.labels import Scheme
from qnb.model import Label

_DEPTH = 8  # of the lineage that is kept and told


@dataclass(frozen=True, slots=True)
class Mark:
    """Why something carries a label.

    Attributes:
        label: the label.
        cell: number of the cell that gave it, as in `In [7]`.
        how: what gave it, in words: `labelled`, `bound`, `changed`, `declassified`.
        parents: names that the cell had read, with their marks at that time.
        depth: length of the longest way back.
    """

    label: Label
    cell: int
    how: str
    parents: tuple[tuple[str, Mark], ...] = ()
    depth: int = field(default=0, compare=False)


def mark(label: Label, cell: int, how: str, parents: Iterable[tuple[str, Mark]] = ()) -> Mark:
    """A mark; the lineage is cut where it gets long, as in a loop of cells."""
    kept = tuple(parents)
    if any(parent.depth >= _DEPTH for _, parent in kept):
        kept = tuple((name, Mark(parent.label, parent.cell, parent.how)) for name, parent in kept)
    return Mark(label, cell, how, kept, 1 + max((parent.depth for _, parent in kept), default=-1))


def join(scheme: Scheme, marks: Iterable[Mark]) -> Label | None:
    """The join of the labels; None of none."""
    labels = [each.label for each in marks]
    return scheme.join(*labels) if labels else None


def explain_reads(scheme: Scheme, label: Label, reads: Mapping[str, Mark]) -> str:
    """`restricted, because it reads `energies` (cell 7), which comes from `df` (cell 2)`.

    Args:
        scheme: orders the labels.
        label: what the reads come to.
        reads: name -> mark; not empty.
    """
    # the name that alone explains the label, else the one nearest to it
    name, first = max(
        reads.items(), key=lambda item: (scheme.dominates(item[1].label, label), scheme.rank(item[1].label.level))
    )
    others = len(reads) - 1
    more = "" if others == 0 else f", and {others} more"
    return f"{label}, because it reads {_spell(name, first)}{more}"


def explain_name(name: str, found: Mark) -> str:
    """What `%qnb why NAME` says."""
    words = {
        "labelled": "it was labelled in",
        "bound": "it was bound in",
        "changed": "it was changed in",
        "declassified": "it was declassified in",
        "reaches": "it reaches what was labelled in",
    }
    lines = [f"`{name}` is {found.label}: {words.get(found.how, found.how)} cell {found.cell}"]
    lines += [
        f"{'  ' * depth}which read `{parent}` ({origin.label}, cell {origin.cell})"
        for parent, origin, depth in _walk(found)
    ]
    return "\n".join(lines)


def _walk(found: Mark, depth: int = 1) -> Iterator[tuple[str, Mark, int]]:
    for name, parent in found.parents:
        yield name, parent, depth
        yield from _walk(parent, depth + 1)


def _spell(name: str, found: Mark) -> str:
    text = f"`{name}` (cell {found.cell})"
    steps = 0
    while found.parents and steps < 3:
        parent, found = found.parents[0]
        text += f", which comes from `{parent}` (cell {found.cell})"
        steps += 1
    return text
