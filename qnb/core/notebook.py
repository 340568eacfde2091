"""Sealed outputs inside a notebook: find them, open them, put what opened in their place.

Enters: a notebook as JSON gave it, which anybody may have written, and identities. Leaves: sealed outputs, or a new
notebook; the one given is never changed.
Never: reads or writes a file; opens an output that was moved to another cell or notebook.
Spec: nbformat 4; DESIGN.md "Formats".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qnb.core.seal.output import MIME, OutputHeader, SealedOutput, open_output, parse_bundle
from qnb.core.seal.recipient import Identity
from qnb.core.source import is_hidden
from qnb.core.statement import source_digest
from qnb.errors import ConfigError, QnbError, SealError, TamperedError

_FINDINGS = {
    "running": "the output is a live update: the cell had not ended when the notebook was saved",
    "unrecorded": "the output carries no entry of a log",
    "source-edited": "the cell's source was edited after it ran",
    "source-missing": "the cell's source was left out of the notebook, and is not sealed with the output either",
    "unbound": "the output carries no notebook or cell id, so that a move cannot be noticed",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of one sealed output.

    Attributes:
        cell_index, output_index: where it stands in the notebook given.
        sealed: as parsed; None when it does not parse.
        header: what was sealed with it; None when it did not open.
        error: why it did not open; None when it did.
        findings: codes of what the reader should know: `running`, `unrecorded`, `source-edited`, `source-missing`,
            `unbound`.
    """

    cell_index: int
    output_index: int
    sealed: SealedOutput | None = None
    header: OutputHeader | None = None
    error: QnbError | None = None
    findings: tuple[str, ...] = ()


def explain_finding(code: str) -> str:
    """One line on a finding of `Opened.findings`."""
    return _FINDINGS[code]


def check_notebook(nb: object) -> dict[str, Any]:
    """`nb`, once it is known to be a notebook with a list of cells that are objects.

    Raises:
        ConfigError: `not-a-notebook`, `notebook-version`.
    """
    if not isinstance(nb, dict) or not isinstance(nb.get("nbformat"), int):
        raise ConfigError("not-a-notebook", "the file is not a notebook")
    if nb["nbformat"] != 4:
        raise ConfigError(
            "notebook-version",
            f"the notebook has format {nb['nbformat']}, not 4",
            "convert it with `jupyter nbconvert --to notebook`",
        )
    cells = nb.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ConfigError("not-a-notebook", "the file is not a notebook: it has no list of cells")
    return nb


def notebook_id(nb: dict[str, Any]) -> str | None:
    """`metadata.qnb.id`, None when nobody minted one."""
    metadata = nb.get("metadata")
    own = metadata.get("qnb") if isinstance(metadata, dict) else None
    found = own.get("id") if isinstance(own, dict) else None
    return found if isinstance(found, str) else None


def cell_source(cell: dict[str, Any]) -> str | None:
    """The source as one string; None when the cell has none."""
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


def sealed_outputs(nb: object) -> Iterator[tuple[int, int, SealedOutput]]:
    """Every sealed output with the index of its cell and its index in the cell.

    Raises:
        ConfigError: `not-a-notebook`, `notebook-version`.
        SealError: as `parse_bundle`, naming the cell.
    """
    for found in find_outputs(nb):
        if isinstance(found.error, SealError):
            error = found.error
            raise type(error)(error.code, f"cell {found.cell_index + 1}: {error.message}", error.hint)
        if found.sealed is not None:
            yield found.cell_index, found.output_index, found.sealed


def find_outputs(nb: object, cell: str | None = None) -> list[Opened]:
    """Every sealed output, not yet opened; those that do not parse carry their error.

    Args:
        nb: the notebook.
        cell: the id of the one cell to look at; None for all.

    Raises:
        ConfigError: `not-a-notebook`, `notebook-version`, `unknown-cell`.
    """
    cells = check_notebook(nb)["cells"]
    if cell is not None and not any(candidate.get("id") == cell for candidate in cells):
        raise ConfigError(
            "unknown-cell", f"the notebook has no cell `{cell}`", "`qnb verify FILE` lists the sealed cells"
        )
    report: list[Opened] = []
    for cell_index, output_index, value in _bundles(cells):
        if cell is None or cells[cell_index].get("id") == cell:
            try:
                report.append(Opened(cell_index, output_index, parse_bundle(value)))
            except SealError as error:
                report.append(Opened(cell_index, output_index, error=error))
    return report


def open_notebook(
    nb: object,
    identities: Iterable[Identity],
    cell: str | None = None,
    check: Callable[[SealedOutput], object] | None = None,
    found: Sequence[Opened] | None = None,
) -> tuple[dict[str, Any], list[Opened]]:
    """Open the sealed outputs of a notebook.

    Args:
        nb: the notebook.
        identities: tried in order on each output.
        cell: the id of the one cell to open; None for all.
        check: called before an output is opened; an error that it raises leaves that output sealed.
        found: what `find_outputs` gave for this notebook and cell, where it has been called; None to call it.

    Returns:
        A new notebook, which shares what did not change, with every output that opened replaced by what was in it (its
        cell's `metadata.qnb.opened` then holds the label), every source that was sealed with an output back in its
        place, and one `Opened` for each sealed output tried. One that does not open stays sealed and says why.

    Raises:
        ConfigError: `not-a-notebook`, `notebook-version`, `unknown-cell`.
    """
    whole = check_notebook(nb)
    cells, notebook = whole["cells"], notebook_id(whole)
    report: list[Opened] = []
    opened: dict[int, dict[int, list[dict[str, Any]]]] = {}
    labels: dict[int, str] = {}
    sources: dict[int, str] = {}
    for each in find_outputs(whole, cell) if found is None else found:
        index, sealed = each.cell_index, each.sealed
        if sealed is None:
            report.append(each)
            continue
        try:
            if check is not None:
                check(sealed)
            header, outputs = open_output(sealed, identities)
            _check_place(header, cells[index], notebook)
        except QnbError as error:
            report.append(replace(each, error=error))
            continue
        report.append(replace(each, header=header, findings=_findings(sealed, header, cells[index])))
        opened.setdefault(index, {})[each.output_index] = outputs
        labels[index] = header.label
        if header.source is not None and is_hidden(cell_source(cells[index]) or ""):
            sources[index] = header.source
    new_cells = [
        _replace_outputs(old, opened[index], labels[index], sources.get(index)) if index in opened else old
        for index, old in enumerate(cells)
    ]
    return {**whole, "cells": new_cells}, report


def _replace_outputs(
    cell: dict[str, Any], opened: dict[int, list[dict[str, Any]]], label: str, source: str | None
) -> dict[str, Any]:
    outputs: list[Any] = []
    for index, output in enumerate(cell["outputs"]):
        outputs += opened.get(index, [output])
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    own = metadata.get("qnb")
    own = {**own, "opened": label} if isinstance(own, dict) else {"opened": label}
    opened_cell = {**cell, "metadata": {**metadata, "qnb": own}, "outputs": outputs}
    if source is not None:
        own.pop("source", None)
        opened_cell["source"] = source
    return opened_cell


def _bundles(cells: list[dict[str, Any]]) -> Iterator[tuple[int, int, object]]:
    for cell_index, cell in enumerate(cells):
        outputs = cell.get("outputs")
        for output_index, output in enumerate(outputs if isinstance(outputs, list) else ()):
            data = output.get("data") if isinstance(output, dict) else None
            if isinstance(data, dict) and MIME in data:
                yield cell_index, output_index, data[MIME]


def _check_place(header: OutputHeader, cell: dict[str, Any], notebook: str | None) -> None:
    """Compare the ids that were sealed with the place that the output stands in."""
    here = cell.get("id")
    if header.cell is not None and here is not None and header.cell != here:
        raise TamperedError("moved-cell", f"the sealed output belongs to cell `{header.cell}`, not to `{here}`")
    if header.notebook is not None and notebook is not None and header.notebook != notebook:
        raise TamperedError("moved-notebook", f"the sealed output belongs to another notebook, `{header.notebook}`")
    if header.source is not None and source_digest(header.source).hex() != header.source_digest:
        raise TamperedError("other-source", "the source that is sealed with the output is not the one that gave it")


def _findings(sealed: SealedOutput, header: OutputHeader, cell: dict[str, Any]) -> tuple[str, ...]:
    findings = []
    if header.state == "running":
        findings.append("running")
    elif sealed.receipt is None:
        findings.append("unrecorded")
    source = cell_source(cell)
    if source is not None and is_hidden(source):
        findings += [] if header.source is not None else ["source-missing"]
    elif None not in (header.source_digest, source) and header.source_digest != source_digest(source or "").hex():
        findings.append("source-edited")
    if header.notebook is None or header.cell is None:
        findings.append("unbound")
    return tuple(findings)
