"""Checking what an auditor was handed: the proof of an entry, or in-toto attestations of entries, without the log.

Enters: the content of a file that anybody may have written, the keys that its reader pinned, and what is at hand of the
log. Leaves: a `Report` for each, step by step.
Never: passes over a step in silence; holds one signature of two for enough.
Spec: docs/spec/bundles.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qnb.core.bundle import parse_proof
from qnb.core.checkpoint import KeyRing, VKeys, parse_checkpoint, verify_checkpoint
from qnb.core.dsse import Envelope, verify_envelope
from qnb.core.entry import EntryView, parse_statement
from qnb.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from qnb.core.note import Checkpoint
from qnb.core.rotation import key_ring, statement_bytes
from qnb.core.verify import UNAUTHENTICATED, LogAtHand, Report
from qnb.core.witness import WitnessVKeys, verify_cosignature
from qnb.errors import CheckpointError, ConsistencyError, QnbError, SubjectMismatchError
from qnb.model import Receipt


def audit_proof(
    value: object,
    *,
    log: LogAtHand | None,
    vkeys: VKeys | None,
    rotations: Sequence[Receipt] = (),
    witnesses: Sequence[WitnessVKeys] = (),
) -> Report:
    """Check a proof file.

    Args:
        value: its JSON.
        log: the log at hand, None if there is none.
        vkeys: the pinned keys; None to know those of the log at hand only.
        rotations: receipts of rotation entries that the reader has besides those in the file.
        witnesses: pinned keys of witnesses.
    """
    report = Report("proof")
    try:
        proof = parse_proof(value)
    except QnbError as error:
        report.failed("format", error)
        return report
    receipt = proof.receipt
    report.subject = f"entry {receipt.index} of `{receipt.origin}`"
    # 1. what the entry says
    _check_statement(report, statement_bytes(receipt), receipt.index)
    # 2. it is in the tree of the checkpoint
    head: Checkpoint | None = None
    try:
        head = parse_checkpoint(receipt.checkpoint)
        verify_inclusion(receipt.leaf, receipt.index, head.size, receipt.proof, head.root)
    except QnbError as error:
        report.failed("inclusion", error, receipt.index)
    else:
        report.passed("inclusion", f"entry {receipt.index} is in the log of {head.size}", receipt.index)
    # 3. which the log's keys signed, as they were then
    here = log if log is not None and log.origin == receipt.origin else None
    check_signatures(report, receipt.checkpoint, _ring(vkeys, here, (*rotations, *proof.rotations)))
    # 4. and the pinned witnesses cosigned
    for witness in witnesses:
        check_cosignature(report, receipt.checkpoint, witness)
    # 5. and which is the beginning of the log at hand
    if here is None:
        report.skipped("log", f"the log `{receipt.origin}` is not at hand")
    elif head is not None:
        _check_log(report, head, here)
    return report


def audit_envelopes(
    envelopes: Iterable[Envelope], *, log: LogAtHand | None, vkeys: VKeys | None, rotations: Sequence[Receipt] = ()
) -> Iterable[Report]:
    """Check in-toto attestations of entries.

    Args:
        envelopes: as parsed.
        log: the log at hand, None if there is none.
        vkeys: the pinned keys; None to know those of the log at hand only.
        rotations: receipts of rotation entries that the reader has.

    Yields:
        A report for each.
    """
    places: dict[bytes, int] | None = None
    ring = _ring(vkeys, log, rotations)
    for number, envelope in enumerate(envelopes, 1):
        report = Report(f"attestation {number}")
        # 1. both signatures hold over payload and type
        if ring is None:
            report.skipped("signatures", UNAUTHENTICATED)
        else:
            try:
                verify_envelope(envelope, ring)
            except QnbError as error:
                report.failed("signatures", error)
            else:
                report.authenticated = True
                report.passed("signatures", f"signed by `{ring.origin}` with Ed25519 and ML-DSA-44")
        # 2. what the statement says
        _check_statement(report, envelope.payload, None)
        # 3. it is an entry of the log at hand: an attestation alone says nothing of place or completeness
        if log is None:
            report.skipped("log", "the log is not at hand: an attestation alone does not say where it stands")
        else:
            if places is None:
                places = {leaf_hash(log.entry(index)): index for index in range(log.size)}
            index = places.get(leaf_hash(envelope.payload))
            if index is not None:
                report.passed("log", f"entry {index}", index)
            elif report.authenticated and vkeys is None:
                report.failed("log", SubjectMismatchError("not-in-log", "signed, but no entry of the log at hand"))
            else:
                report.skipped("log", "no entry of the log at hand: of another log, or of a later state of it")
        yield report


def check_signatures(report: Report, note: str, ring: KeyRing | None) -> None:
    """Note whether both signatures of a head hold."""
    if ring is None:
        report.skipped("checkpoint", UNAUTHENTICATED)
        return
    try:
        head = verify_checkpoint(note, ring)
    except QnbError as error:
        report.failed("checkpoint", error)
        return
    report.authenticated = True
    followed = len(ring.spans) - 1
    through = f", {followed} rotation{'s' if followed > 1 else ''} of the key followed" if followed else ""
    report.passed("checkpoint", f"head of {head.size} signed by `{ring.origin}` with Ed25519 and ML-DSA-44{through}")


def check_cosignature(report: Report, note: str, witness: WitnessVKeys) -> None:
    """Note whether a pinned witness cosigned a head."""
    try:
        time = verify_cosignature(note, witness)
        if time is None:
            raise CheckpointError("not-cosigned", f"the witness `{witness.name}` did not cosign this head")
    except QnbError as error:
        report.failed("witness", error)
    else:
        report.passed("witness", f"cosigned by `{witness.name}` with Ed25519 and ML-DSA-44")


def _ring(vkeys: VKeys | None, log: LogAtHand | None, rotations: Sequence[Receipt]) -> KeyRing | None:
    if vkeys is not None:
        return key_ring(vkeys, rotations)
    if log is None or log.vkeys is None:
        return None
    return log.vkeys if isinstance(log.vkeys, KeyRing) else KeyRing([(0, log.vkeys)])


def _check_statement(report: Report, entry: bytes, index: int | None) -> EntryView | None:
    try:
        view = parse_statement(entry)
    except QnbError as error:
        report.failed("statement", error, index)
        return None
    action = f": {view.action}, {'allowed' if view.allow else 'denied'}" if view.kind == "decision" else ""
    report.passed("statement", f"{view.kind}{action}, `{view.label}`, by {view.principal}, {view.time}", index)
    return view


def _check_log(report: Report, head: Checkpoint, log: LogAtHand) -> None:
    try:
        if head.size > log.size:
            raise ConsistencyError(
                "log-went-back", f"the log has {log.size} entries, this proof knows {head.size}: rolled back"
            )
        proof = log.consistency_proof(head.size, log.size)
        verify_consistency(head.size, log.size, head.root, log.root, proof)
    except QnbError as error:
        report.failed("log", error)
    else:
        report.passed("log", f"the log of {log.size} entries contains that one")
