from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import nbformat
import pytest

from qnb.core.notebook import explain_finding, find_outputs, open_notebook, sealed_outputs
from qnb.core.seal import generate_identity, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.core.statement import source_digest
from qnb.errors import ConfigError, DeniedError, NoIdentityMatchError, SealError, TamperedError
from qnb.model import Action, Decision, Label, Receipt

ALICE = generate_identity(lambda n: b"a" * n)
BOB = generate_identity(lambda n: b"b" * n)
RECEIPT = Receipt("qnb.test/log", 41, b"l" * 32, (), "note")


def sealed_cell(cell: str, text: str, identity: Any = ALICE, **changes: Any) -> dict[str, Any]:
    source = f"%%qsecure restricted\n{text}"
    header = OutputHeader(1, "s", 1, "ok", source_digest(source).hex(), "restricted", "nb", cell, None)
    header = replace(header, **changes)
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": text},
        {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}},
    ]
    ciphertext = seal(pack_output(header, outputs), [identity.recipient])
    receipt = None if header.state == "running" else RECEIPT
    data = {MIME: sealed_bundle(header, ciphertext, [identity.recipient], receipt), "text/plain": "card"}
    return {
        "cell_type": "code",
        "id": cell,
        "source": source.splitlines(keepends=True),
        "metadata": {},
        "execution_count": None,
        "outputs": [{"output_type": "display_data", "data": data, "metadata": {}}],
    }


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"qnb": {"id": "nb"}}, "cells": list(cells)}


def test_notebook_opened_holds_the_outputs_in_place() -> None:
    """Every output that opens stands where it was sealed; the notebook given is untouched and the new one valid."""
    clear = {"output_type": "stream", "name": "stdout", "text": "clear"}
    nb = notebook(sealed_cell("a", "one"), {"cell_type": "markdown", "id": "m", "source": "", "metadata": {}},
                  sealed_cell("b", "two"))  # fmt: skip
    nb["cells"][0]["outputs"].insert(0, clear)
    before = copy.deepcopy(nb)
    opened, report = open_notebook(nb, [ALICE])
    assert nb == before
    assert [o.get("text", "display") for o in opened["cells"][0]["outputs"]] == ["clear", "one", "display"]
    assert opened["cells"][2]["metadata"]["qnb"]["opened"] == "restricted"
    assert [(o.cell_index, o.output_index, o.error, o.findings) for o in report] == [(0, 1, None, ()), (2, 0, None, ())]
    assert not list(sealed_outputs(opened))
    nbformat.validate(nbformat.from_dict(opened))


def test_one_cell_asked_for_opens_alone() -> None:
    """`cell` leaves the others sealed; an id that is not there is an error."""
    nb = notebook(sealed_cell("a", "one"), sealed_cell("b", "two"))
    opened, report = open_notebook(nb, [ALICE], "b")
    assert [o.cell_index for o in report] == [1]
    assert [index for index, _, _ in sealed_outputs(opened)] == [0]
    with pytest.raises(ConfigError):
        open_notebook(nb, [ALICE], "z")


def test_output_for_somebody_else_stays_sealed() -> None:
    """What does not open is reported and left as it is; the rest opens."""
    opened, report = open_notebook(notebook(sealed_cell("a", "one", BOB), sealed_cell("b", "two")), [ALICE])
    assert isinstance(report[0].error, NoIdentityMatchError)
    assert report[1].error is None
    assert [index for index, _, _ in sealed_outputs(opened)] == [0]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ({**sealed_cell("z", "one"), "id": "a"}, "moved-cell"),
        (sealed_cell("a", "one", notebook="z"), "moved-notebook"),
    ],
    ids=["cell", "notebook"],
)
def test_output_moved_is_named_and_stays_sealed(cell: dict[str, Any], code: str) -> None:
    """A sealed output in another cell or notebook does not open there."""
    nb = notebook(cell)
    opened, report = open_notebook(nb, [ALICE])
    assert isinstance(report[0].error, TamperedError)
    assert report[0].error.code == code
    assert opened["cells"] == nb["cells"]


def test_findings_tell_what_a_reader_should_know() -> None:
    """Edited source, missing ids, live update and missing entry are told, and each has a line of text."""
    edited = sealed_cell("a", "one")
    edited["source"] = "print('other')"
    unbound = sealed_cell("b", "two", notebook=None)
    running = sealed_cell("c", "three", state="running")
    bare = sealed_cell("d", "four")
    del bare["outputs"][0]["data"][MIME]["entry"]
    _, report = open_notebook(notebook(edited, unbound, running, bare), [ALICE])
    assert [o.findings for o in report] == [("source-edited",), ("unbound",), ("running",), ("unrecorded",)]
    assert all(explain_finding(code) for o in report for code in o.findings)


def test_check_that_refuses_leaves_the_output_sealed() -> None:
    """A denial for one label does not stand in the way of another."""
    reason = DeniedError("denied", "denied", decision=Decision(False, Action.UNSEAL, Label("restricted"), (), "0" * 64))

    def check(sealed: Any) -> None:
        if sealed.label == "restricted":
            raise reason

    nb = notebook(sealed_cell("a", "one"), sealed_cell("b", "two", label="confidential"))
    opened, report = open_notebook(nb, [ALICE], check=check)
    assert report[0].error is reason
    assert report[1].error is None
    assert [index for index, _, _ in sealed_outputs(opened)] == [0]


@pytest.mark.parametrize(
    "nb",
    [
        None, [], {}, {"nbformat": 4}, {"nbformat": 3, "worksheets": []}, {"nbformat": "4", "cells": []},
        {"nbformat": 4, "cells": {}}, {"nbformat": 4, "cells": [None]},
    ],
)  # fmt: skip
def test_value_that_is_no_notebook_is_refused(nb: object) -> None:
    """JSON that is not a notebook is told so."""
    with pytest.raises(ConfigError):
        open_notebook(nb, [ALICE])


@pytest.mark.parametrize(
    "cell",
    [
        {}, {"outputs": None}, {"outputs": [None, 3, {}]}, {"outputs": [{"data": []}]},
        {"outputs": [{"data": {"x": 1}}]},
        {"outputs": [[]], "metadata": 3, "source": 3},
    ],
)  # fmt: skip
def test_cell_of_odd_shape_is_passed_over(cell: dict[str, Any]) -> None:
    """Cells that we do not understand come out as they were."""
    assert open_notebook(notebook(cell), [ALICE]) == (notebook(cell), [])


def test_bundle_malformed_is_reported_with_its_cell() -> None:
    """One broken value does not hide the others from a reader, and is named where each must parse."""
    broken = {"outputs": [{"output_type": "display_data", "data": {MIME: 3}}]}
    nb = notebook(broken, sealed_cell("b", "two"))
    assert [found.sealed is None for found in find_outputs(nb)] == [True, False]
    _, report = open_notebook(nb, [ALICE])
    assert [o.error is None for o in report] == [False, True]
    with pytest.raises(SealError, match="cell 1"):
        list(sealed_outputs(nb))
