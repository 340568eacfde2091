"""Why a label is what it is, in words and as a picture."""

from __future__ import annotations

from qnb.core.flow.marks import explain_name, explain_reads, join, mark
from qnb.core.flow.picture import FlowView
from qnb.core.labels import Scheme
from qnb.model import Label

CONFIDENTIAL, RESTRICTED = Label("confidential"), Label("restricted", frozenset({"ip"}))
SCHEME = Scheme(("public", "internal", "confidential", "restricted"), {"ip": "ideas"}, Label("internal"), CONFIDENTIAL)
DF = mark(RESTRICTED, 2, "labelled")
ENERGIES = mark(RESTRICTED, 7, "bound", [("df", DF)])


def test_line_says_what_is_read_and_where_it_comes_from() -> None:
    """As the card shows it."""
    line = explain_reads(SCHEME, RESTRICTED, {"energies": ENERGIES})
    assert line == "restricted//ip, because it reads `energies` (cell 7), which comes from `df` (cell 2)"
    line = explain_reads(SCHEME, RESTRICTED, {"low": mark(CONFIDENTIAL, 3, "bound"), "energies": ENERGIES})
    assert line.endswith("`df` (cell 2), and 1 more")


def test_lineage_of_a_loop_is_cut() -> None:
    """A variable that is made of itself a thousand times keeps a way back of a few steps."""
    found = DF
    for cell in range(1000):
        found = mark(RESTRICTED, cell, "bound", [("x", found)])
    assert found.depth <= 9
    assert len(explain_name("x", found).splitlines()) <= 10


def test_join_of_none_is_none() -> None:
    """Nothing labelled is not the lowest label."""
    assert join(SCHEME, []) is None
    assert join(SCHEME, [DF, mark(CONFIDENTIAL, 1, "bound")]) == RESTRICTED


def test_why_lists_the_way_back() -> None:
    """Each step with its label and cell."""
    assert explain_name("energies", ENERGIES).splitlines() == [
        "`energies` is restricted//ip: it was bound in cell 7",
        "  which read `df` (restricted//ip, cell 2)",
    ]


def test_picture_has_every_variable_and_its_way() -> None:
    """As Mermaid, as a still and as text."""
    view = FlowView({"df": DF, "energies": ENERGIES}, Label("internal"))
    bundle = view._repr_mimebundle_()
    assert bundle["text/vnd.mermaid"].startswith("flowchart LR\n")
    assert "n0 --> n1" in bundle["text/vnd.mermaid"]
    assert bundle["image/svg+xml"].count("<rect") == 2
    assert bundle["image/svg+xml"].count("<line") == 1
    assert "energies  restricted//ip  bound in cell 7, from `df`" in bundle["text/plain"]
    empty = FlowView({}, Label("internal"))._repr_mimebundle_()
    assert all("no variable is labelled" in empty[kind] for kind in ("text/vnd.mermaid", "text/plain"))


def test_picture_of_names_in_a_circle_ends() -> None:
    """`x` made of `y`, and `y` of the `x` before it."""
    x = mark(RESTRICTED, 1, "bound")
    y = mark(RESTRICTED, 2, "bound", [("x", x)])
    view = FlowView({"x": mark(RESTRICTED, 3, "bound", [("y", y)]), "y": y}, Label("internal"))
    assert len(view.edges()[0]) == 3
    assert view.svg()
