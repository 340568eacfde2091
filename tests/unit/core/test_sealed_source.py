"""Sources that are sealed with their outputs: opened, moved, edited, missing, verified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qnb.core.digester import Digester
from qnb.core.notebook import cell_source, open_notebook
from qnb.core.seal import generate_identity, seal
from qnb.core.seal.output import MIME, OutputHeader, open_output, pack_output, parse_bundle, sealed_bundle
from qnb.core.source import hide_source
from qnb.core.statement import source_digest
from qnb.core.verify import audit_notebook
from qnb.errors import SealError, TamperedError
from qnb.model import Receipt

ALICE = generate_identity(lambda n: b"a" * n)
SOURCE = "%%qsecure restricted --seal-source\nsecret = 1"
RECEIPT = Receipt("log", 0, b"\0" * 32, (), "checkpoint\n")
HEADER = OutputHeader(
    1, "s", 1, "ok", source_digest(SOURCE).hex(), "restricted", "nb", "c", None, source=SOURCE
)  # fmt: skip


def _bundle(header: OutputHeader = HEADER) -> dict[str, Any]:
    outputs = [{"output_type": "stream", "name": "stdout", "text": "said"}]
    return sealed_bundle(header, seal(pack_output(header, outputs), [ALICE.recipient]), [ALICE.recipient], RECEIPT)


def _notebook(source: str, bundle: dict[str, Any]) -> dict[str, Any]:
    cell = {
        "cell_type": "code",
        "id": "c",
        "source": source.splitlines(keepends=True),
        "metadata": {"qnb": {"source": "sealed"}},
        "execution_count": 1,
        "outputs": [{"output_type": "display_data", "data": {MIME: bundle}, "metadata": {}}],
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"qnb": {"id": "nb"}}, "cells": [cell]}


HIDDEN = hide_source(SOURCE, sealed=True)


def test_sealed_source_comes_back_with_the_output() -> None:
    """In its place and word for word; the mark in the metadata is gone."""
    opened, (report,) = open_notebook(_notebook(HIDDEN, _bundle()), [ALICE])
    assert cell_source(opened["cells"][0]) == SOURCE
    assert opened["cells"][0]["metadata"]["qnb"] == {"opened": "restricted"}
    assert report.findings == ()


def test_source_that_is_there_is_kept_and_compared() -> None:
    """In Lab without a guard at the saving, the source is in the notebook too; an edit is never overwritten."""
    opened, (report,) = open_notebook(_notebook(SOURCE, _bundle()), [ALICE])
    assert cell_source(opened["cells"][0]) == SOURCE
    assert report.findings == ()
    opened, (report,) = open_notebook(_notebook("edited = 2", _bundle()), [ALICE])
    assert cell_source(opened["cells"][0]) == "edited = 2"
    assert report.findings == ("source-edited",)


def test_source_that_was_left_out_is_said_to_be_missing() -> None:
    """There is nothing to restore, and nothing was edited."""
    bundle = _bundle(replace(HEADER, source=None))
    opened, (report,) = open_notebook(_notebook(HIDDEN, bundle), [ALICE])
    assert cell_source(opened["cells"][0]) == HIDDEN
    assert report.findings == ("source-missing",)


def test_sealed_source_of_another_run_is_not_restored() -> None:
    """It has to be the one that the output is bound to."""
    for header in (replace(HEADER, source="other = 1"), replace(HEADER, source_digest=None)):
        opened, (report,) = open_notebook(_notebook(HIDDEN, _bundle(header)), [ALICE])
        assert isinstance(report.error, TamperedError)
        assert cell_source(opened["cells"][0]) == HIDDEN


@pytest.mark.parametrize("change", [{"source": None}, {"source": "elsewhere"}, {"source": 1}])
def test_bundle_that_says_something_else_of_the_source_does_not_parse(change: dict[str, Any]) -> None:
    """One word is known."""
    with pytest.raises(SealError):
        parse_bundle(_bundle() | change)


def test_claim_to_hold_the_source_is_bound() -> None:
    """Neither taken away nor made up."""
    without = {key: value for key, value in _bundle().items() if key != "source"}
    for bundle in (without, _bundle(replace(HEADER, source=None)) | {"source": "sealed"}):
        with pytest.raises(TamperedError) as caught:
            open_output(parse_bundle(bundle), [ALICE])
        assert caught.value.code == "binding-source"


def test_bundle_and_representations_do_not_quote_the_source() -> None:
    """It is inside only."""
    bundle = _bundle()
    assert bundle["source"] == "sealed"
    assert "secret" not in str({key: value for key, value in bundle.items() if key != "age"})
    header, _ = open_output(parse_bundle(bundle), [ALICE])
    assert header.source == SOURCE
    assert "secret" not in repr(header) + repr(parse_bundle(bundle))


def test_verification_leaves_a_sealed_source_to_the_opening() -> None:
    """It is not called edited; a source that is nowhere is a failure."""
    for bundle, held, code in (
        (_bundle(), None, None),
        (_bundle(replace(HEADER, source=None)), False, "source-missing"),
    ):
        (report,) = audit_notebook(_notebook(HIDDEN, bundle), log=None, vkeys=None, digester=Digester(None))
        step = next(step for step in report.steps if step.name == "source")
        assert (step.held, step.code) == (held, code)
