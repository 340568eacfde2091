"""What the log says: builders of its in-toto statements, one per kind of entry.

Enters: the nouns of `qnb.model`, a `Context` (who, where, when) and a `Digester` (how content is named).
Leaves: Statement v1 dicts, and their bytes (`encode`), which are what is hashed and kept.
Never: content. Circuits, parameters, observables, results and sources are there as digests; from the classified levels
up those are keyed, and every text that the caller chose (purpose, reasons, paths, unlisted backends, foreign error
classes) is committed to instead of written. What is unknown is null, never left out.
Spec: in-toto Statement v1; predicate types `urn:qnb:predicate:<kind>:v1`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from qnb.core.digester import Digester, Json, canonical
from qnb.core.entry import PREDICATE_PREFIX, PREDICATE_SUFFIX, STATEMENT_TYPE, EntryView, parse_statement
from qnb.core.evaluations import Batch, Evaluations, encode_evaluation
from qnb.core.facts import describe_backend, describe_call, describe_outcome, describe_recipient
from qnb.errors import ExecutionError
from qnb.model import Backend, Call, CircuitInfo, Decision, Label, Outcome, Principal, Request

__all__ = [
    "Batch",
    "Context",
    "EntryView",
    "Evaluations",
    "decision_statement",
    "declassify_statement",
    "encode",
    "encode_evaluation",
    "execution_statement",
    "key_statement",
    "parse_statement",
    "policy_statement",
    "retrieval_statement",
    "seal_statement",
    "share_statement",
    "source_digest",
    "unseal_statement",
]

Statement = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Context:
    """Who, where and when: what every entry says.

    Attributes:
        principal: who asked.
        session: id of the kernel session or of the command's run.
        notebook, cell: ids where somebody gave them.
        sequence: number of the cell's run in its session.
        source: `source_digest` of the cell's source as it was run.
        label: the effective label.
        time: RFC 3339 UTC with milliseconds.
        versions: package name -> version, of what takes part.
    """

    principal: Principal
    session: str
    notebook: str | None
    cell: str | None
    sequence: int | None
    source: bytes | None
    label: Label
    time: str
    versions: Mapping[str, str]


def source_digest(source: str) -> bytes:
    """SHA-256 of a cell's source, magic line included: UTF-8, line feeds, no white space at the end.

    Front ends differ in the last two between what they send to a kernel and what they save.
    """
    return sha256(source.replace("\r\n", "\n").rstrip().encode("utf-8", "surrogatepass")).digest()


def encode(statement: Statement) -> bytes:
    """The bytes that count: sorted keys, no spaces, UTF-8.

    Raises:
        ExecutionError: a value that JSON has no form for.
    """
    try:
        return canonical(statement)
    except (TypeError, ValueError):
        raise ExecutionError(
            "unrecordable", "an execution has an option whose type cannot be recorded", "give plain numbers and texts"
        ) from None


def decision_statement(
    context: Context,
    decision: Decision,
    request: Request,
    call: Call | None,
    digester: Digester,
    subject: bytes | None = None,
) -> Statement:
    """The answer to a request, written before anything is done about it.

    Args:
        context: who, where, when.
        decision: the answer, not yet recorded.
        request: the question.
        call: the execution that is asked for, described; None for other actions.
        digester: keyed at classified levels.
        subject: SHA-256 of the ciphertext that is to be opened or shared; None if there is none.
    """
    if call is not None and call.circuits:
        subjects = _circuit_subjects(call.circuits, digester)
    elif subject is not None:
        subjects = [_plain_subject("ciphertext", subject)]
    else:  # in-toto wants a subject: a bare question is one about the policy
        subjects = [{"name": "policy", "digest": {"sha256": decision.policy_digest}}]
    backend = request.backend if call is None else call.backend
    predicate = _common(context, digester)
    predicate |= {
        "action": str(decision.action),
        "decision": "allow" if decision.allow else "deny",
        "reasons": [{"policy": r.policy, "text": r.text, "hint": r.hint} for r in decision.reasons],
        "alternatives": list(decision.alternatives),
        "policy": {"sha256": decision.policy_digest},
        "grant": decision.grant,
        "zone": decision.zone,
        "backend": describe_backend(backend, decision.backend, digester),
        "purpose": digester.commit("purpose", request.purpose),
        "request": {
            "circuits": request.circuits,
            "qubits": request.qubits,
            "shots": request.shots,
            "private": request.private,
            "target": None if request.target is None else str(request.target),
            "reason": digester.commit("reason", request.reason),
            "recipients": [describe_recipient(r, digester, allowed=decision.allow) for r in request.recipients],
            "format": request.format,
        },
        "call": None if call is None else describe_call(call, digester, listed=decision.backend is not None),
    }
    return _statement("decision", subjects, predicate)


def execution_statement(
    context: Context,
    call: Call,
    decision: Decision,
    outcome: Outcome,
    digester: Digester,
    evaluations: Evaluations | None = None,
) -> Statement:
    """What came of a decision or of a stretch of its grant.

    Args:
        context: who, where, when.
        call: what ran; the first of the stretch.
        decision: as recorded (`entry` set), which this entry answers.
        outcome: how it ended; `Batch.outcome()` for a stretch.
        digester: keyed at classified levels.
        evaluations: the stretch of the grant; None for the one and only evaluation. Of a stretch of one the entry
            says everything itself and the root is null.
    """
    stretch = evaluations is not None and evaluations.count > 1
    if stretch and evaluations is not None:
        subjects = [_plain_subject("evaluations", evaluations.root)]
        subjects += [
            {"name": f"structure/{i}", "digest": digester.digest_set("structure", circuit.structure)}
            for i, circuit in enumerate(call.circuits)
        ]
    else:
        subjects = _circuit_subjects(call.circuits, digester) or [
            _plain_subject("policy", bytes.fromhex(decision.policy_digest))  # no circuit is known, as in a decision
        ]
    predicate = _common(context, digester)
    predicate |= {
        "decision": decision.entry,
        "policy": {"sha256": decision.policy_digest},
        "zone": decision.zone,
        "backend": describe_backend(call.backend, decision.backend, digester),
        "call": describe_call(call, digester, listed=decision.backend is not None),
        "evaluations": {
            "first": 0 if evaluations is None else evaluations.first,
            "count": 1 if evaluations is None else evaluations.count,
            "root": evaluations.root.hex() if stretch and evaluations is not None else None,
            "statuses": {outcome.status: 1} if evaluations is None else dict(evaluations.statuses),
        },
    }
    return _statement("execution", subjects, predicate | describe_outcome(outcome, digester))


def retrieval_statement(
    context: Context,
    decision: Decision,
    outcome: Outcome,
    digester: Digester,
    *,
    job: str | None = None,
    backend: Backend | None = None,
) -> Statement:
    """The fetching of results whose submission was not seen.

    Args:
        context: who, where, when.
        decision: as recorded, which allowed it.
        outcome: what was fetched.
        digester: keyed at classified levels.
        job: the provider's id of the job.
        backend: where it ran.
    """
    subjects = [_plain_subject("policy", bytes.fromhex(decision.policy_digest))]
    if outcome.result is not None:
        subjects = [{"name": "result", "digest": digester.digest_set("result", outcome.result)}]
    predicate = _common(context, digester)
    predicate |= {
        "decision": decision.entry,
        "policy": {"sha256": decision.policy_digest},
        "zone": decision.zone,
        "backend": describe_backend(backend, decision.backend, digester),
        "job": digester.commit("job", job),
    }
    return _statement("retrieval", subjects, predicate | describe_outcome(outcome, digester))


def seal_statement(
    context: Context,
    ciphertext: bytes,
    state: str | None,
    recipients: Iterable[str],
    digester: Digester,
    *,
    decision: int | None = None,
    path: str | None = None,
) -> Statement:
    """The sealing of a cell's outputs or of a file.

    Args:
        context: who, where, when.
        ciphertext: SHA-256 of the age file.
        state: how the cell ended: ok, failed or interrupted; None for a file.
        recipients: fingerprints.
        digester: keyed at classified levels.
        decision: entry of the decision that allowed it, where there was one.
        path: of the sealed file; None for a cell.
    """
    predicate = _common(context, digester) | {
        "state": state,
        "recipients": list(recipients),
        "decision": decision,
        "path": digester.commit("path", path),
    }
    return _statement("seal", [_plain_subject("ciphertext", ciphertext)], predicate)


def unseal_statement(
    context: Context,
    ciphertext: bytes,
    digester: Digester,
    *,
    decision: int | None,
    status: str = "ok",
    path: str | None = None,
) -> Statement:
    """The opening of a sealed output or file.

    Args:
        context: who, where, when; notebook and cell are those of the sealed output.
        ciphertext: SHA-256 of the age file.
        digester: keyed at classified levels.
        decision: entry of the decision that allowed it.
        status: ok or failed.
        path: where the plaintext was written; None when it was only shown.
    """
    predicate = _common(context, digester) | {
        "decision": decision,
        "status": status,
        "path": digester.commit("path", path),
    }
    return _statement("unseal", [_plain_subject("ciphertext", ciphertext)], predicate)


def share_statement(
    context: Context,
    ciphertext: bytes,
    recipients: Iterable[str],
    digester: Digester,
    *,
    decision: int | None,
    path: str | None = None,
) -> Statement:
    """The handing on of a ciphertext to further recipients (fingerprints)."""
    predicate = _common(context, digester) | {
        "recipients": list(recipients),
        "decision": decision,
        "path": digester.commit("path", path),
    }
    return _statement("share", [_plain_subject("ciphertext", ciphertext)], predicate)


def declassify_statement(
    context: Context, content: bytes | None, target: Label, reason: str, digester: Digester, *, decision: Decision
) -> Statement:
    """The lowering of a label.

    Args:
        context: who, where, when; `label` is the label before.
        content: digest of what is declassified, None when its type has no encoding.
        target: the label after.
        reason: why, as given.
        digester: of the label before.
        decision: as recorded, which allowed it.
    """
    subjects = [_plain_subject("policy", bytes.fromhex(decision.policy_digest))]
    if content is not None:
        subjects = [{"name": "content", "digest": digester.digest_set("result", content)}]
    predicate = _common(context, digester) | {
        "decision": decision.entry,
        "target": str(target),
        "reason": digester.commit("reason", reason),
    }
    return _statement("declassify", subjects, predicate)


def policy_statement(context: Context, policy: str, previous: str | None, digester: Digester) -> Statement:
    """A change of policy: hex SHA-256 of the folder now, and of the one in force before (None for the first)."""
    predicate = _common(context, digester) | {"previous": None if previous is None else {"sha256": previous}}
    return _statement("policy", [{"name": "policy", "digest": {"sha256": policy}}], predicate)


def key_statement(
    context: Context,
    event: str,
    public: str,
    digester: Digester,
    *,
    decision: int | None = None,
    name: str | None = None,
    previous: str | None = None,
    members: Iterable[str] = (),
    erased: Iterable[str] | None = None,
    ciphertexts: int | None = None,
) -> Statement:
    """A change of keys.

    Args:
        context: who, where, when.
        event: created, added, removed, rotated, resealed, shredded, locked or backed-up.
        public: the public text: a recipient string, or the two verifier keys of the log.
        digester: keyed at classified levels.
        decision: entry of the decision that allowed it, where there was one.
        name: what the policy calls the key.
        previous: of a rotation, the public text before.
        members: of a dataset key, fingerprints of those that its identity is sealed to.
        erased: of an erasure, fingerprints of all identities that were destroyed; else None.
        ciphertexts: of an erasure, how many the log knows that were sealed to them.
    """
    digest = sha256(public.encode()).digest()
    predicate = (
        _common(context, digester)
        | {
            "event": event,
            "fingerprint": digest.hex()[:16],
            "decision": decision,
            "name": name,  # the policy's own word, as in a decision
            "previous": None if previous is None else sha256(previous.encode()).hexdigest()[:16],
            "members": list(members),
            "erasure": None if erased is None else {"fingerprints": list(erased), "ciphertexts": ciphertexts},
        }
    )
    return _statement("key", [_plain_subject("key", digest)], predicate)


def _statement(kind: str, subjects: list[Json], predicate: dict[str, Json]) -> Statement:
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": f"{PREDICATE_PREFIX}{kind}{PREDICATE_SUFFIX}",
        "predicate": predicate,
    }


def _common(context: Context, digester: Digester) -> dict[str, Json]:
    principal = context.principal
    return {
        "principal": {"name": principal.name, "uid": principal.uid, "assurance": str(principal.assurance)},
        "session": context.session,
        "notebook": context.notebook,
        "cell": context.cell,
        "sequence": context.sequence,
        "source": digester.optional("source", context.source),
        "label": str(context.label),
        "time": context.time,
        "versions": dict(context.versions),
    }


def _plain_subject(name: str, digest: bytes) -> Json:
    return {"name": name, "digest": {"sha256": digest.hex()}}


def _circuit_subjects(circuits: Iterable[CircuitInfo], digester: Digester) -> list[Json]:
    return [
        {"name": f"circuit/{i}", "digest": digester.digest_set("circuit", circuit.fingerprint)}
        for i, circuit in enumerate(circuits)
    ]
