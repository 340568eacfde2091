"""Reading of many entries what the story of a log takes.

Enters: the bytes of entries, trusted only as far as the tree vouches for them. Leaves: a `Skim` of each.
Never: another answer than `parse_statement` gives.
Spec: docs/spec/entry.md.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from qnb.core.entry import KINDS_BY_TYPE, STATEMENT_TYPE, EntryView, parse_statement


class Skim(NamedTuple):
    """Of an entry what following the story of a log takes: fields as in `EntryView`."""

    kind: str
    time: str
    session: str
    action: str | None
    allow: bool | None
    decision: int | None
    grant: int | None
    evaluations: tuple[int, int, str | None] | None


class _Principal(msgspec.Struct):
    name: str


class _Backend(msgspec.Struct):
    name: str | None


class _Digest(msgspec.Struct):
    sha256: str


class _Stretch(msgspec.Struct):
    first: int
    count: int
    root: str | None


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, str]


class _Predicate(msgspec.Struct):
    time: str
    label: str
    session: str
    notebook: str | None
    cell: str | None
    sequence: int | None
    principal: _Principal
    source: dict[str, str] | None
    decision: str | int | None = None
    action: str | None = None
    status: str | None = None
    state: str | None = None
    zone: str | None = None
    grant: int | None = None
    backend: _Backend | None = None
    policy: _Digest | None = None
    evaluations: _Stretch | None = None


class _Statement(msgspec.Struct):
    type_: str = msgspec.field(name="_type")
    kind: str = msgspec.field(name="predicateType")
    subject: list[_Subject]
    predicate: _Predicate


_decode = msgspec.json.Decoder(_Statement).decode


def skim_statement(entry: bytes) -> Skim:
    """Read of an entry's bytes what the story of a log takes, and check that all of it is a statement of ours.

    The same answer as `parse_statement`, six times as fast: fields that are not needed are checked and not built. What
    the quick parser refuses, `parse_statement` judges.

    Raises:
        VerificationError: as `parse_statement`.
    """
    try:
        statement = _decode(entry)
        kind = KINDS_BY_TYPE[statement.kind]
        if not entry.isascii():  # the parser passes over a field without a look at its UTF-8
            entry.decode("utf-8")
    except (msgspec.DecodeError, KeyError, RecursionError, UnicodeDecodeError):
        return _skim(parse_statement(entry))
    predicate = statement.predicate
    decision, stretch = predicate.decision, predicate.evaluations
    if statement.type_ != STATEMENT_TYPE or not _are_named(kind, statement.subject):
        return _skim(parse_statement(entry))
    if kind == "decision" and decision in ("allow", "deny") and predicate.action is not None:
        allow = decision == "allow"
        return Skim(kind, predicate.time, predicate.session, predicate.action, allow, None, predicate.grant, None)
    if kind != "decision" and not isinstance(decision, str):
        evaluations = None if stretch is None else (stretch.first, stretch.count, stretch.root)
        return Skim(kind, predicate.time, predicate.session, None, None, decision, predicate.grant, evaluations)
    return _skim(parse_statement(entry))


def _are_named(kind: str, subjects: list[_Subject]) -> bool:
    """Whether subjects have the digests that their names ask for."""
    for subject in subjects:
        if not subject.digest or (subject.name == "ciphertext" and "sha256" not in subject.digest):
            return False
    return kind != "policy" or (bool(subjects) and "sha256" in subjects[0].digest)


def _skim(view: EntryView) -> Skim:
    return Skim(
        view.kind, view.time, view.session, view.action, view.allow, view.decision, view.grant, view.evaluations
    )
