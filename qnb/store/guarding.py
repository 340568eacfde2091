"""Guarding a notebook before it is written: what a classified cell shows in clear is sealed in place.

Enters: a notebook that anybody may have written, the account's service. Leaves: a notebook that may be written.
Never: changes the notebook given; lets one pass when label, policy or log cannot be known; lowers a label because a
line of the source is gone.
Spec: docs/adr/0018-save-guard.md.

The label of record of a cell joins what it was last sealed at, as the log says, and what its `%%qsecure` line says.
What a recorded act put beside sealed outputs stays in clear: a release, a denial, an answer of `%qnb`, and the error
of a `%%qsecure` line that cannot be read.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from qnb.core.digester import Digester, Json
from qnb.core.directive import directive_line, parse_directive
from qnb.core.display import denial_entry, is_said_by, saved_display_digests
from qnb.core.entry import EntryView, parse_statement
from qnb.core.notebook import cell_source, check_notebook, find_outputs, notebook_id
from qnb.core.plaintext import attachment_outputs, is_same_output, split_output, widget_state
from qnb.core.policy import Policy
from qnb.core.seal.output import MIME
from qnb.errors import ConfigError, QnbError
from qnb.model import Action, Decision, Label, Reason, Request
from qnb.store.authority import denied
from qnb.store.outputs import seal_standing_outputs
from qnb.store.record import Record
from qnb.store.sealing import highest
from qnb.store.service import Service

_IDS = re.compile(r'"id"\s*:\s*"([^"\\]{1,64})"')
_REMEMBERED = 64 << 20  # bytes of outputs sealed in place: a front end that keeps the plaintext sends it at each save


@dataclass(frozen=True, slots=True)
class Guarded:
    """A notebook that may be written.

    Attributes:
        notebook: as it is to be written; the one given where nothing had to be changed.
        id: `metadata.qnb.id`, None without one.
        sealed: ids of the cells of which something was sealed now; `?` for a cell without an id.
        widgets: whether the state of widgets was left out.
        replaced: whether anything but the id is other than it was.
    """

    notebook: dict[str, Any]
    id: str | None
    sealed: tuple[str, ...] = ()
    widgets: bool = False
    replaced: bool = False


@dataclass(slots=True)
class _Cell:
    """One cell with what of it stands in clear."""

    index: int
    id: str | None
    source: str | None
    parts: list[tuple[dict[str, Any] | None, dict[str, Any] | None]]
    attached: list[dict[str, Any]]
    code: bool
    respelled: bool = False
    labels: frozenset[str] = frozenset()
    error: QnbError | None = None  # why its `%%qsecure` line cannot be read
    label: Label | None = None  # set once it is known to be classified

    @property
    def exposed(self) -> bool:
        """Whether there is anything but sealed outputs in their one spelling."""
        return self.respelled or bool(self.attached) or any(clear is not None for _, clear in self.parts)


@dataclass(slots=True)
class _Work:
    """What one call gathers."""

    notebook: str | None
    policy: Policy
    record: Record | None
    digester: Digester | None
    decisions: dict[Label, int | None] = field(default_factory=dict)
    sealed: list[str] = field(default_factory=list)


class NotebookGuard:
    """Guards the notebooks of one account.

    Args:
        service: policy, log and authority.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sequence = 0
        self._kept: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._kept_bytes = 0

    def wants_id(self, nb: object) -> bool:
        """Whether a notebook has no id and may need one: something in it is, or is to be, sealed."""
        try:
            whole = check_notebook(nb)
        except ConfigError:
            return False
        if notebook_id(whole) is not None:
            return False
        return any(directive_line(cell_source(cell) or "") for cell in whole["cells"]) or bool(find_outputs(whole))

    def guard(self, nb: object, known_id: str | None = None) -> Guarded:
        """Seal what may not be written in clear.

        Args:
            nb: a notebook of format 4.
            known_id: the id that the file had so far, for one that comes without.

        Raises:
            ConfigError: not such a notebook.
            QnbError: something may not be written in clear and cannot be sealed, or nobody can know.
        """
        whole = check_notebook(nb)
        found = notebook_id(whole)
        cells = [_look_at(index, cell) for index, cell in enumerate(whole["cells"])]
        exposed = widget_state(whole) or any(cell.exposed for cell in cells)
        with self._service.lock:
            record = self._record(required=exposed)
            for cell in cells:
                if record is not None and cell.id is not None:
                    cell.labels = record.labels(found, cell.id)
            marked = [cell for cell in cells if cell.labels or directive_line(cell.source or "") is not None]
            named = found or known_id or _id_of_bundles(cells)
            if not exposed:
                if named is None and marked:
                    named = str(uuid.uuid4())
                return _written(whole, cells, found, named)
            if not marked:
                return _written(whole, cells, found, named)
            work = _Work(named or str(uuid.uuid4()), self._service.policy(), record, self._service.digester())
            classified = [cell for cell in marked if self._classify(cell, work)]
            if not classified:
                return _written(whole, cells, found, named)
            for cell in classified:
                self._seal(cell, work)
        widgets = widget_state(whole)
        return _written(whole, cells, found, work.notebook, sealed=tuple(work.sealed), widgets=widgets)

    def check_unreadable(self, text: str) -> None:
        """Look at a text that should be a notebook and is none, or one of an old format.

        Raises:
            ConfigError: it may hold classified cells; what of it may be written cannot be told.
            QnbError: nobody can know.
        """
        with self._service.lock:
            record = self._record(required=True)
            suspect = "%%qsecure" in text or MIME in text
            if not suspect and record is not None:
                suspect = any(record.labels(None, cell) for cell in _IDS.findall(text))
        if suspect:
            raise ConfigError(
                "not-a-notebook",
                "the file is no notebook of format 4, but holds classified cells",
                "mend it, or convert it with `jupyter nbconvert --to notebook`",
            )

    def _record(self, *, required: bool) -> Record | None:
        try:
            record = self._service.record()
            if record is not None:
                record.refresh()
        except QnbError:
            if required:  # nobody can know what was classified
                raise
            return None
        return record

    def _classify(self, cell: _Cell, work: _Work) -> bool:
        """Find the cell's label of record; whether its outputs may not be written in clear."""
        scheme = work.policy.scheme
        labels: list[Label] = []
        for text in cell.labels:
            try:
                labels.append(scheme.parse(text))
            except QnbError:  # of an earlier policy
                labels.append(highest(scheme))
        line = directive_line(cell.source or "")
        if line is not None:
            try:
                declared = parse_directive(line).label
                labels.append(scheme.cell if declared is None else scheme.parse(declared))
            except QnbError as error:
                cell.error = error
                labels.append(highest(scheme))
        label = scheme.join(*labels)
        if work.policy.handling(label).seal:
            cell.label = label
        return cell.label is not None

    def _seal(self, cell: _Cell, work: _Work) -> None:
        """Put one sealed output in the place of all that stands in clear and may not."""
        if cell.label is None:
            return
        if cell.attached and not cell.code:
            raise ConfigError(
                "attachment-of-classified",
                f"cell `{cell.id}` was a classified code cell and now holds an attachment, which cannot be sealed",
                "remove the attachment, or put it into a new cell",
            )
        standing = [clear for _, clear in cell.parts if clear is not None and not self._may_stand(clear, cell, work)]
        standing += cell.attached
        if not standing:
            return
        data = self._sealed(cell, cell.label, standing, work)
        sealed: dict[str, Any] = {"output_type": "display_data", "data": data, "metadata": {}}
        parts: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = []
        placed = False
        for kept, clear in cell.parts:
            if clear is None or not any(clear is one for one in standing):
                parts.append((kept, clear))
                continue
            parts.append((kept, None))
            if not placed:
                parts.append((sealed, None))
                placed = True
        if not placed:
            parts.append((sealed, None))
        cell.parts, cell.attached, cell.respelled = parts, [], True
        work.sealed.append(cell.id or "?")

    def _sealed(self, cell: _Cell, label: Label, standing: list[dict[str, Any]], work: _Work) -> dict[str, Any]:
        key = _key(work.policy.digest, work.notebook, cell.id, str(label), cell.source, standing)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        authority = self._service.authority(create=True)
        if label not in work.decisions:
            work.decisions[label] = authority.require(Request(Action.SEAL, authority.principal, label)).entry
        self._sequence += 1
        data = seal_standing_outputs(
            authority,
            standing,
            label,
            notebook=work.notebook,
            cell=cell.id,
            source=cell.source,
            sequence=self._sequence,
            decision=work.decisions[label],
        )
        self._keep(key, data)
        return data

    def _keep(self, key: bytes, data: dict[str, Any]) -> None:
        self._kept[key] = data
        self._kept_bytes += _size(data)
        while self._kept_bytes > _REMEMBERED:
            self._kept_bytes -= _size(self._kept.popitem(last=False)[1])

    # --- what may stand in clear -------------------------------------------------------------------------------------

    def _may_stand(self, output: Mapping[str, Any], cell: _Cell, work: _Work) -> bool:
        """Whether a recorded act of this cell put the output there in clear, word for word."""
        if cell.error is not None and is_said_by(output, cell.error):
            return True
        if work.record is None or cell.id is None:
            return False
        return _is_answer(output, cell, work) or _is_released(output, cell, work) or _is_denial(output, cell, work)


def _is_answer(output: Mapping[str, Any], cell: _Cell, work: _Work) -> bool:
    metadata, data = output.get("metadata"), output.get("data")
    if work.digester is None or not isinstance(metadata, dict) or not isinstance(data, dict):
        return False
    if output.keys() != {"output_type", "data", "metadata"} or metadata.keys() != {"qnb"}:
        return False
    shown: dict[str, Json] = {kind: "".join(v) if isinstance(v, list) else v for kind, v in data.items()}
    marks = [work.digester.commit("answer", [notebook, cell.id, shown]) for notebook in (work.notebook, None)]
    return any(metadata["qnb"] == {"answer": mark} for mark in marks)


def _is_released(output: Mapping[str, Any], cell: _Cell, work: _Work) -> bool:
    released = work.record.released(work.notebook, cell.id) if work.record is not None and cell.id is not None else ()
    if not released or output.keys() - {"output_type", "data", "metadata"}:
        return False
    for digest in saved_display_digests(output):
        named = [Digester(None)] if work.digester is None else [Digester(None), work.digester]
        if any(value in released for digester in named for value in digester.digest_set("result", digest).values()):
            return True
    return False


def _is_denial(output: Mapping[str, Any], cell: _Cell, work: _Work) -> bool:
    index = denial_entry(output)
    if index is None or work.record is None or index >= work.record.refresh():
        return False
    try:
        view = parse_statement(work.record.log.entry(index))
        if view.allow is not False or view.cell != cell.id or view.notebook not in (work.notebook, None):
            return False
        return is_said_by(output, denied(_decision(view, index)))
    except (QnbError, KeyError, TypeError, ValueError):
        return False


def _decision(view: EntryView, index: int) -> Decision:
    """The decision that an entry records, as far as its text goes."""
    predicate: Mapping[str, Any] = view.predicate
    level, _, categories = view.label.partition("//")
    return Decision(
        allow=False,
        action=Action(predicate["action"]),
        label=Label(level, frozenset(categories.split(",")) if categories else frozenset()),
        reasons=tuple(Reason(r["policy"], r["text"], r["hint"]) for r in predicate["reasons"]),
        policy_digest=str(view.policy),
        alternatives=tuple(predicate["alternatives"]),
        zone=view.zone,
        backend=view.backend,
        entry=index,
    )


# --- the notebook ----------------------------------------------------------------------------------------------------


def _look_at(index: int, cell: dict[str, Any]) -> _Cell:
    outputs = cell.get("outputs")
    parts: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = []
    respelled = False
    for output in outputs if isinstance(outputs, list) else []:
        sealed, clear = split_output(output)
        if sealed is not None and clear is None and is_same_output(output, sealed):
            sealed = output  # as it stands: lines of text included
        elif sealed is not None:
            respelled = True
        parts.append((sealed, clear))
    own = cell.get("id")
    return _Cell(
        index=index,
        id=own if isinstance(own, str) else None,
        source=cell_source(cell),
        parts=parts,
        attached=attachment_outputs(cell),
        code=cell.get("cell_type") == "code",
        respelled=respelled,
    )


def _id_of_bundles(cells: list[_Cell]) -> str | None:
    """The notebook that the sealed outputs in it were made in, if it is one."""
    named = set()
    for cell in cells:
        for sealed, _ in cell.parts:
            if sealed is not None:
                named |= {bundle.get("notebook") for kind, bundle in sealed["data"].items() if kind.endswith("+json")}
    named.discard(None)
    return next(iter(named)) if len(named) == 1 else None


def _written(
    whole: dict[str, Any],
    cells: list[_Cell],
    found: str | None,
    named: str | None,
    *,
    sealed: tuple[str, ...] = (),
    widgets: bool = False,
) -> Guarded:
    """The notebook as it may be written; shares what did not change."""
    new = dict(whole)
    changed = [cell for cell in cells if cell.label is not None and cell.respelled]
    if changed:
        new["cells"] = list(whole["cells"])
        for cell in changed:
            old = dict(whole["cells"][cell.index])
            old["outputs"] = [part for pair in cell.parts for part in pair if part is not None]
            if cell.code and not cell.attached:
                old.pop("attachments", None)
            new["cells"][cell.index] = old
    if widgets or (named is not None and named != found):
        metadata = dict(whole.get("metadata") or {})
        if widgets:
            metadata.pop("widgets", None)
        if named is not None and named != found:
            own = metadata.get("qnb")
            metadata["qnb"] = {**(own if isinstance(own, dict) else {}), "id": named}
        new["metadata"] = metadata
    unchanged = not changed and "metadata" in whole and new.get("metadata") is whole["metadata"]
    return Guarded(whole if unchanged else new, named, sealed, widgets, replaced=bool(changed) or widgets)


def _size(data: dict[str, Any]) -> int:
    return len(data[MIME]["age"])


def _key(*values: object) -> bytes:
    """One key for equal values; in memory only."""
    return sha256(json.dumps(values, sort_keys=True, default=repr).encode()).digest()
