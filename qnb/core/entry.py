"""What an entry of the log says, read back from its bytes.

Enters: the bytes of an in-toto statement, trusted only as far as the tree vouches for them.
Leaves: an `EntryView` of the fields that are listed and verified.
Never: fills in what the entry does not say.
Spec: in-toto Statement v1; predicate types `urn:qnb:predicate:<kind>:v1`, written by `qnb.core.statement`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from qnb.core.digester import Json
from qnb.errors import VerificationError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX = "urn:qnb:predicate:"
PREDICATE_SUFFIX = ":v1"
KINDS = ("decision", "execution", "retrieval", "seal", "unseal", "share", "declassify", "policy", "key")


KINDS_BY_TYPE = {f"{PREDICATE_PREFIX}{kind}{PREDICATE_SUFFIX}": kind for kind in KINDS}
# canonical JSON has these bytes nowhere else: inside a string the quotes would be escaped; one short subject follows
_POLICY_MARK = f'"predicateType":"{PREDICATE_PREFIX}policy{PREDICATE_SUFFIX}"'.encode()
_KEY_MARK = f'"predicateType":"{PREDICATE_PREFIX}key{PREDICATE_SUFFIX}"'.encode()


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry as it is listed and verified. What the entry does not say is None.

    Attributes:
        kind: one of KINDS.
        time: RFC 3339 UTC.
        action, allow: of a decision.
        status: of an execution, retrieval or unseal.
        state: of a seal: how the cell ended.
        label, session, notebook, cell, sequence, principal: of the context.
        source: digest set of the cell's source.
        backend, zone: the listed name of the backend, and its zone.
        decision: index of the decision entry that this one answers.
        policy: hex digest of the policy in force, or of the new one.
        grant: evaluations that a decision covers.
        evaluations: of an execution: number of the first, count, hex root (null for one).
        ciphertext: hex SHA-256 of the sealed bytes it speaks of.
        subjects: name and hex digest, keyed or not, of each subject.
        predicate: the whole predicate.
    """

    kind: str
    time: str
    action: str | None
    allow: bool | None
    status: str | None
    state: str | None
    label: str
    session: str
    notebook: str | None
    cell: str | None
    sequence: int | None
    principal: str
    source: Mapping[str, str] | None
    backend: str | None
    zone: str | None
    decision: int | None
    policy: str | None
    grant: int | None
    evaluations: tuple[int, int, str | None] | None
    ciphertext: str | None
    subjects: tuple[tuple[str, str], ...]
    predicate: Mapping[str, Json]


def is_policy_entry(entry: bytes) -> bool:
    """Whether an entry that `qnb.core.statement` wrote says a change of policy; a search at its end, no parsing."""
    return entry.find(_POLICY_MARK, -256) >= 0


def is_key_entry(entry: bytes) -> bool:
    """Whether an entry that `qnb.core.statement` wrote says a change of keys; as `is_policy_entry`."""
    return entry.find(_KEY_MARK, -256) >= 0


def parse_statement(entry: bytes) -> EntryView:
    """Read an entry's bytes.

    Raises:
        VerificationError: not a statement of ours, or a field of the wrong type.
    """
    foreign = VerificationError("statement", "the entry is not a statement of this log's format")
    try:
        statement = json.loads(entry)
        kind = KINDS_BY_TYPE[statement["predicateType"]]
        predicate = statement["predicate"]
        decided = kind == "decision"
        backend, evaluations = predicate.get("backend"), predicate.get("evaluations")
        policy, reference = predicate.get("policy"), predicate.get("decision")
        if kind == "policy":
            policy = statement["subject"][0]["digest"]
        ciphertext = next((s["digest"]["sha256"] for s in statement["subject"] if s["name"] == "ciphertext"), None)
        view = EntryView(
            kind=kind,
            time=predicate["time"],
            action=predicate["action"] if decided else None,
            allow=reference == "allow" if decided else None,
            status=predicate.get("status"),
            state=predicate.get("state"),
            label=predicate["label"],
            session=predicate["session"],
            notebook=predicate["notebook"],
            cell=predicate["cell"],
            sequence=predicate["sequence"],
            principal=predicate["principal"]["name"],
            source=predicate["source"],
            backend=None if backend is None else backend["name"],
            zone=predicate.get("zone"),
            decision=None if decided else reference,
            policy=None if policy is None else policy["sha256"],
            grant=predicate.get("grant"),
            evaluations=None
            if evaluations is None
            else (evaluations["first"], evaluations["count"], evaluations["root"]),
            ciphertext=ciphertext,
            subjects=tuple((subject["name"], _first(subject["digest"])) for subject in statement["subject"]),
            predicate=predicate,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration):
        raise foreign from None
    if statement.get("_type") != STATEMENT_TYPE or (decided and reference not in ("allow", "deny")):
        raise foreign
    texts = (view.time, view.label, view.session, view.principal, *(part for pair in view.subjects for part in pair))
    optional = [view.action, view.status, view.state, view.notebook, view.cell, view.backend, view.zone]
    optional += [view.policy, view.ciphertext]
    counts: tuple[int, ...] = ()
    if view.evaluations is not None:
        first, count, root = view.evaluations
        counts = (first, count)
        optional.append(root)
    if (
        not all(type(text) is str for text in texts)
        or not all(text is None or type(text) is str for text in optional)
        or not all(number is None or type(number) is int for number in (view.sequence, view.decision, view.grant))
        or not all(type(number) is int for number in counts)
        or not (view.source is None or _is_digest_set(view.source))
    ):
        raise VerificationError("statement", "the entry has a field of the wrong type")
    return view


def _first(digests: Mapping[str, str]) -> str:
    for digest in digests.values():
        return digest
    raise KeyError("digest")


def _is_digest_set(value: object) -> bool:
    return isinstance(value, dict) and all(type(digest) is str for digest in value.values())


# what an answer says of the decision it refers to, the worst last
_STATUS_ORDER = ("ok", "cancelled", "failed")
_NEVER_ANSWERED = frozenset({"load"})


def worst_status(*statuses: str | None) -> str | None:
    """The worst of the statuses of the entries that answer one decision; None when there are none."""
    known = [status for status in statuses if status in _STATUS_ORDER]
    return max(known, key=_STATUS_ORDER.index) if known else None


def status_of(view: EntryView, answer: str | None) -> str | None:
    """The status under which an entry is listed.

    Args:
        view: the entry.
        answer: `worst_status` of the entries that refer to it; None if none does.

    Returns:
        denied for a denial; for an allowed decision that of its answers, `open` while there are none; for an
        execution, retrieval or unseal its own; else None.
    """
    if view.kind != "decision":
        return view.status
    if not view.allow:
        return "denied"
    return answer or (None if view.action in _NEVER_ANSWERED else "open")
