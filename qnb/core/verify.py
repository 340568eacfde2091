"""Checking sealed outputs against the log, step by step; also the words in which every check answers.

Enters: a notebook that anybody may have written, public keys, and what is at hand of the log.
Leaves: a `Report`: what held, what did not, and what could not be checked, each in words.
Never: passes over a step in silence, or takes what is not signed for what is. Nothing is opened: the bindings inside a
sealed output are compared by whoever opens it (`qnb.core.seal.output.open_output`).
Spec: DESIGN.md "Formats"; RFC 6962 section 2.1.1 and C2SP tlog-checkpoint for proofs and heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qnb.core.checkpoint import Checkpoint, KeyRing, VKeys, parse_checkpoint, verify_checkpoint
from qnb.core.digester import Digester
from qnb.core.entry import EntryView, parse_statement
from qnb.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from qnb.core.notebook import cell_source, check_notebook, notebook_id
from qnb.core.seal.output import MIME, SealedOutput, parse_bundle
from qnb.core.source import is_hidden
from qnb.core.statement import source_digest
from qnb.errors import ConsistencyError, InclusionError, QnbError, SubjectMismatchError, VerificationError
from qnb.model import Receipt

_MAX_FAULTS = 50  # of one step that are named one by one
Keys = VKeys | KeyRing
UNAUTHENTICATED = "self-consistent, signer not authenticated"


@dataclass(frozen=True, slots=True)
class Step:
    """One check.

    Attributes:
        name: what was checked: `entries`, `inclusion`, …
        held: None when it was not checked, or cannot be decided.
        detail: what was found, or why it was not checked.
        code: of the error when it did not hold, or of what was noted.
        entry: index of the entry that it is about, where it is about one.
    """

    name: str
    held: bool | None
    detail: str
    code: str | None = None
    entry: int | None = None


@dataclass(slots=True)
class Report:
    """The checks on one thing.

    Attributes:
        subject: `log`, or which output of which cell.
        steps: in the order that they were made.
        authenticated: whether signatures were checked against a pinned key, and held.
        place: indices of the cell and of the output, from 0; None for a log.
    """

    subject: str
    steps: list[Step] = field(default_factory=list)
    authenticated: bool = False
    place: tuple[int, int] | None = None

    @property
    def held(self) -> bool:
        """Whether nothing that was checked failed."""
        return all(step.held is not False for step in self.steps)

    @property
    def vouched(self) -> bool:
        """Whether an entry of a known signer says that exactly this was sealed here; whatever became of it since."""
        held = {step.name: step.held for step in self.steps}
        vouching = ("ciphertext", "entry", "inclusion", "checkpoint")
        return self.authenticated and held.get("place") is not False and all(held.get(name) for name in vouching)

    def passed(self, name: str, detail: str, entry: int | None = None) -> None:
        """Note a check that held."""
        self.steps.append(Step(name, held=True, detail=detail, entry=entry))

    def failed(self, name: str, error: QnbError, entry: int | None = None) -> None:
        """Note a check that did not hold."""
        self.steps.append(Step(name, held=False, detail=error.message, code=error.code, entry=entry))

    def noted(self, name: str, code: str, detail: str, entry: int | None = None) -> None:
        """Note what a reader should know and what no check can decide."""
        self.steps.append(Step(name, held=None, detail=detail, code=code, entry=entry))

    def skipped(self, name: str, why: str) -> None:
        """Note a check that could not be made."""
        self.steps.append(Step(name, held=None, detail=why))


class Faults:
    """The faults of one step; all are counted, the first ones named."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.count = 0
        self._named: list[tuple[QnbError, int | None]] = []

    def add(self, error: QnbError, entry: int | None) -> None:
        """Count one, about an entry where it is about one."""
        self.count += 1
        if len(self._named) < _MAX_FAULTS:
            self._named.append((error, entry))

    def report(self, report: Report, held: str) -> None:
        """Name the faults, or say that the step held."""
        for error, entry in self._named:
            report.failed(self.step, error, entry)
        more = self.count - len(self._named)
        if more:
            report.failed(self.step, VerificationError("more-faults", f"and {more} more"))
        if not self.count:
            report.passed(self.step, held)


@dataclass(frozen=True, slots=True)
class LogAtHand:
    """A log that a notebook is compared with.

    Attributes:
        origin: its name.
        size: its number of entries.
        root: its root hash.
        entry: index -> bytes.
        consistency_proof: old and new size -> proof.
        latest_seal: notebook and cell id -> index of the last `seal` entry of that cell, None if there is none.
        vkeys: the public keys kept beside it, which are pinned for its own outputs; None if there are none.
        cosigned: name of a pinned witness -> size of the last head that it cosigned and that is of this log.
    """

    origin: str
    size: int
    root: bytes
    entry: Callable[[int], bytes]
    consistency_proof: Callable[[int, int], tuple[bytes, ...]]
    latest_seal: Callable[[str | None, str], int | None]
    vkeys: Keys | None = None
    cosigned: Mapping[str, int] = field(default_factory=dict)


def verify_receipt(receipt: Receipt, vkeys: Keys) -> Checkpoint:
    """Check that a log vouches for a leaf: both signatures of the head, and the proof that leads there.

    The leaf is not compared with any entry: see `verify_entry`.

    Raises:
        CheckpointError, SignatureError: the head does not hold.
        InclusionError: the leaf is not under it.
    """
    checkpoint = verify_checkpoint(receipt.checkpoint, vkeys)
    verify_inclusion(receipt.leaf, receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
    return checkpoint


def verify_entry(entry: bytes, receipt: Receipt, sealed: SealedOutput) -> EntryView:
    """Check that an entry is the one of the receipt and speaks of this sealed output.

    Raises:
        SubjectMismatchError: other bytes than the leaf's, another ciphertext, or another value of a clear field.
        VerificationError: not a statement.
    """
    if leaf_hash(entry) != receipt.leaf:
        raise SubjectMismatchError("entry-altered", f"entry {receipt.index} is not the one that was recorded")
    view = parse_statement(entry)
    if view.kind != "seal" or view.ciphertext != sealed.digest.hex():
        raise SubjectMismatchError(
            "other-output", f"entry {receipt.index} speaks of another output: this one was exchanged or resealed"
        )
    for name in ("label", "session", "sequence", "state", "notebook", "cell"):
        recorded, shown = getattr(view, name), getattr(sealed, name)
        if recorded != shown:
            raise SubjectMismatchError(
                "other-binding", f"entry {receipt.index} says {name} `{recorded}`, the output says `{shown}`"
            )
    return view


def verify_source(source: str, recorded: Mapping[str, str], digester: Digester) -> None:
    """Check that a cell's source is the one that ran.

    Raises:
        SubjectMismatchError: `source-edited`.
    """
    if digester.digest_set("source", source_digest(source)) != recorded:
        raise SubjectMismatchError("source-edited", "source edited: it is not the one that gave this output")


def audit_notebook(
    nb: object, *, log: LogAtHand | None, vkeys: Keys | Mapping[str, Keys] | None, digester: Digester | None
) -> Iterator[Report]:
    """Check every sealed output of a notebook.

    Args:
        nb: a notebook as JSON gave it.
        log: the log at hand, None if there is none.
        vkeys: the pinned keys, or those of several logs by origin; None to know the log at hand only.
        digester: of the log at hand, keyed; None without its key.

    Yields:
        A report for each output.

    Raises:
        ConfigError: not a notebook.
    """
    checked = check_notebook(nb)
    notebook = notebook_id(checked)
    for cell_number, cell in enumerate(checked["cells"], 1):
        outputs = cell.get("outputs")
        for output_number, output in enumerate(outputs if isinstance(outputs, list) else (), 1):
            data = output.get("data") if isinstance(output, dict) else None
            if isinstance(data, dict) and MIME in data:
                place = (cell_number - 1, output_number - 1)
                report = Report(f"cell {cell_number}, output {output_number}", place=place)
                _audit_output(report, data[MIME], cell, notebook, log, vkeys, digester)
                yield report


def _audit_output(
    report: Report,
    value: object,
    cell: dict[str, Any],
    notebook: str | None,
    log: LogAtHand | None,
    vkeys: Keys | Mapping[str, Keys] | None,
    digester: Digester | None,
) -> None:
    # 1. the ciphertext is the one that the output names
    try:
        sealed = parse_bundle(value)
    except QnbError as error:
        report.failed("ciphertext", error)
        return
    report.subject += f" ({sealed.label})"
    report.passed("ciphertext", f"sha256:{sealed.digest.hex()[:16]}…")
    # 2. it stands where it was made
    _check_place(report, sealed, cell, notebook)
    receipt = sealed.receipt
    if receipt is None:
        running = (
            "the cell had not ended when the notebook was saved" if sealed.state == "running" else "it was removed"
        )
        report.failed("entry", VerificationError("no-entry", f"no entry vouches for this output: {running}"))
        return
    # 3. the entry is the recorded one and speaks of it
    here = log is not None and log.origin == receipt.origin
    view = _check_entry(report, sealed, receipt, log if here else None)
    # 4. the entry is in the tree of the checkpoint, 5. which the log's keys signed
    pinned = vkeys.get(receipt.origin) if isinstance(vkeys, Mapping) else vkeys
    _check_receipt(report, receipt, pinned or (log.vkeys if log is not None and here else None))
    # 6. which is the beginning of the log at hand
    if log is None or not here:
        report.skipped("log", f"the log `{receipt.origin}` is not at hand")
    else:
        _check_log(report, receipt, log)
        for witness, size in log.cosigned.items():
            if receipt.index < size:
                report.passed("witness", f"entry {receipt.index} is under the head of {size} that `{witness}` cosigned")
            else:
                report.skipped("witness", f"`{witness}` cosigned up to {size} entries, this one came after")
    # 7. no later output of the same cell is recorded
    if log is None or not here or sealed.cell is None:
        report.skipped("current", "needs the log" if sealed.cell is not None else "the output carries no cell id")
    else:
        latest = log.latest_seal(sealed.notebook, sealed.cell)
        if latest is not None and latest > receipt.index:
            old = SubjectMismatchError("superseded", f"an older output of this cell: superseded by entry {latest}")
            report.failed("current", old, receipt.index)
        else:
            report.passed("current", "the last recorded output of this cell", receipt.index)
    # 8. and the cell's source is the one that ran
    _check_source(report, view, sealed, cell, digester)


def _check_place(report: Report, sealed: SealedOutput, cell: dict[str, Any], notebook: str | None) -> None:
    here = cell.get("id")
    if sealed.cell is None or sealed.notebook is None:
        report.skipped("place", f"the output carries no {'cell' if sealed.cell is None else 'notebook'} id")
    if sealed.cell is not None and sealed.cell != here:
        moved = SubjectMismatchError("moved-cell", f"the output belongs to cell `{sealed.cell}`, not to this one")
        report.failed("place", moved)
    elif sealed.notebook is not None and sealed.notebook != notebook:
        moved = SubjectMismatchError("moved-notebook", f"the output belongs to another notebook, `{sealed.notebook}`")
        report.failed("place", moved)
    elif sealed.cell is not None:
        report.passed("place", f"cell `{sealed.cell}`")


def _check_entry(report: Report, sealed: SealedOutput, receipt: Receipt, log: LogAtHand | None) -> EntryView | None:
    entry = None if receipt.statement is None else receipt.statement.encode("utf-8", "surrogatepass")
    if log is not None:
        if receipt.index >= log.size:
            gone = ConsistencyError(
                "log-went-back",
                f"the log ends at entry {log.size - 1}: entry {receipt.index} was cut off or rolled back",
            )
            report.failed("entry", gone, receipt.index)
            return None
        try:
            entry = log.entry(receipt.index)
        except QnbError as error:
            report.failed("entry", error, receipt.index)
            return None
    if entry is None:
        report.skipped("entry", "what the entry says cannot be read without the log")
        return None
    try:
        view = verify_entry(entry, receipt, sealed)
    except QnbError as error:
        report.failed("entry", error, receipt.index)
        return None
    report.passed("entry", f"entry {receipt.index} names this ciphertext, label and cell run", receipt.index)
    return view


def _check_receipt(report: Report, receipt: Receipt, vkeys: Keys | None) -> None:
    try:
        checkpoint = parse_checkpoint(receipt.checkpoint)
        verify_inclusion(receipt.leaf, receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
        if checkpoint.origin != receipt.origin:
            raise InclusionError("origin", "the checkpoint is of another log than the entry")
    except QnbError as error:
        report.failed("inclusion", error, receipt.index)
    else:
        report.passed("inclusion", f"entry {receipt.index} is in the log of {checkpoint.size}", receipt.index)
    if vkeys is None:
        report.skipped("checkpoint", UNAUTHENTICATED)
        return
    try:
        verify_checkpoint(receipt.checkpoint, vkeys)
    except QnbError as error:
        report.failed("checkpoint", error, receipt.index)
    else:
        report.authenticated = True
        report.passed("checkpoint", f"signed by `{vkeys.origin}` with Ed25519 and ML-DSA-44")


def _check_log(report: Report, receipt: Receipt, log: LogAtHand) -> None:
    try:
        checkpoint = parse_checkpoint(receipt.checkpoint)
        if checkpoint.size > log.size:
            raise ConsistencyError(
                "log-went-back",
                f"the log has {log.size} entries, this output knew {checkpoint.size}: rolled back",
            )
        proof = log.consistency_proof(checkpoint.size, log.size)
        verify_consistency(checkpoint.size, log.size, checkpoint.root, log.root, proof)
    except QnbError as error:
        report.failed("log", error)
    else:
        report.passed("log", f"the log of {log.size} entries contains that one")


def _check_source(
    report: Report, view: EntryView | None, sealed: SealedOutput, cell: dict[str, Any], digester: Digester | None
) -> None:
    source = cell_source(cell)
    if source is not None and is_hidden(source):
        if sealed.holds_source:
            report.skipped("source", "it is sealed with the output: compared when that is opened")
        else:
            missing = SubjectMismatchError("source-missing", "the cell's source was left out and is not sealed either")
            report.failed("source", missing)
        return
    recorded = None if view is None else view.source
    if recorded is None or source is None:
        report.skipped("source", "the entry names no source" if view is not None else "needs the entry")
        return
    if "sha256" in recorded:
        digester = Digester(None)
    if digester is None:
        report.skipped("source", "the entry's digest of the source is keyed: needs the log's key")
        return
    try:
        verify_source(source, recorded, digester)
    except QnbError as error:
        report.failed("source", error)
    else:
        report.passed("source", "the source that gave this output")
