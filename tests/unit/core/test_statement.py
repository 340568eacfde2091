from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from qnb.core.digester import Digester
from qnb.core.entry import is_policy_entry, status_of, worst_status
from qnb.core.evaluations import Batch
from qnb.core.merkle import leaf_hash, root
from qnb.core.statement import (
    Context,
    Evaluations,
    decision_statement,
    declassify_statement,
    encode,
    encode_evaluation,
    execution_statement,
    key_statement,
    parse_statement,
    policy_statement,
    retrieval_statement,
    seal_statement,
    share_statement,
    source_digest,
    unseal_statement,
)
from qnb.errors import ConfigError, ExecutionError, VerificationError
from qnb.model import (
    Action,
    Assurance,
    Backend,
    Call,
    CircuitInfo,
    Decision,
    Label,
    Outcome,
    Principal,
    Reason,
    Request,
)

SECRET = "canary-51ab"
LABEL = Label("restricted", frozenset({"phi"}))
PRINCIPAL = Principal("ada", 1000, Assurance.OS)
CONTEXT = Context(
    PRINCIPAL, "session-1", "nb", "cell", 3, source_digest("1 + 1"), LABEL, "2026-11-23T09:30:00.000Z", {"qnb": "0.1"}
)
CIRCUIT = CircuitInfo(b"\x02" * 32, b"\x03" * 32, 2, 2, 4, {"h": 1, "cx": 1, "measure": 2})
LISTED = Backend("aer_simulator", "qiskit_aer.AerSimulator", "0.18")
CALL = Call("AerBackend.run", LISTED, (CIRCUIT,), options=b"\x04" * 32, shots=1000, seed=7)
DECISION = Decision(
    True, Action.EXECUTE, LABEL, (Reason("local", "simulators here"),), "ab" * 32, (), "local", "aer_simulator", 9, 4
)
REQUEST = Request(Action.EXECUTE, PRINCIPAL, LABEL, SECRET, LISTED, 1, 2, 1000)
OUTCOME = Outcome("ok", b"\x05" * 32, 1000, 7, None, 0.0012345678)
KEYED, CLEAR = Digester(b"k" * 32), Digester(None)


def everything(digester: Digester) -> dict[str, bytes]:
    """One entry of each kind, with a canary in each text that a caller chooses."""
    foreign = Backend(f"my {SECRET}", f"__main__.{SECRET}", f"v {SECRET}", f"t {SECRET}")
    denied = replace(DECISION, allow=False, backend=None, zone="unknown", entry=None)
    asked = replace(REQUEST, backend=foreign, reason=SECRET, recipients=(SECRET, "age1pq1" + SECRET))
    call = replace(CALL, backend=foreign, target=f"{SECRET}.run")
    failed = Outcome("failed", error=f"__main__.{SECRET}")
    statements = {
        "decision": decision_statement(CONTEXT, denied, asked, call, digester),
        "execution": execution_statement(CONTEXT, call, replace(denied, allow=True, entry=1), failed, digester),
        "retrieval": retrieval_statement(CONTEXT, denied, failed, digester, job=SECRET, backend=foreign),
        "seal": seal_statement(CONTEXT, b"\x06" * 32, "ok", ["ab" * 8], digester, path=f"/{SECRET}"),
        "unseal": unseal_statement(CONTEXT, b"\x06" * 32, digester, decision=4, path=f"/{SECRET}"),
        "share": share_statement(CONTEXT, b"\x06" * 32, ["ab" * 8], digester, decision=4, path=f"/{SECRET}"),
        "declassify": declassify_statement(CONTEXT, None, Label("internal"), SECRET, digester, decision=DECISION),
        "policy": policy_statement(CONTEXT, "ab" * 32, None, digester),
        "key": key_statement(CONTEXT, "created", "age1pq1…", digester),
    }
    return {kind: encode(statement) for kind, statement in statements.items()}


@pytest.mark.parametrize("digester", [KEYED, CLEAR])
def test_every_kind_is_an_in_toto_statement_that_reads_back(digester: Digester) -> None:
    """Type, predicate type and at least one subject with a digest; the view repeats the context."""
    for kind, entry in everything(digester).items():
        statement = json.loads(entry)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == f"urn:qnb:predicate:{kind}:v1"
        assert statement["subject"]
        assert all(subject["digest"] for subject in statement["subject"])
        view = parse_statement(entry)
        assert (view.kind, view.label, view.cell, view.notebook) == (kind, "restricted//phi", "cell", "nb")
        assert (view.session, view.sequence, view.principal) == ("session-1", 3, "ada")
        assert is_policy_entry(entry) == (kind == "policy")


def test_classified_entries_hold_no_text_that_the_caller_chose() -> None:
    """Purpose, reasons, paths, job, unlisted backend, foreign error class, unknown recipient: all committed to."""
    for kind, entry in everything(KEYED).items():
        assert SECRET.encode() not in entry, kind
        assert b'"sha256":"' + CIRCUIT.fingerprint.hex().encode() not in entry
        assert b'"sha256":"' + source_digest("1 + 1").hex().encode() not in entry


def test_unclassified_entries_say_it_in_clear() -> None:
    """Below the classified levels purpose and names are readable."""
    assert json.loads(everything(CLEAR)["decision"])["predicate"]["purpose"] == SECRET


def test_documented_fields_are_null_when_unknown() -> None:
    """Never left out: a reader can tell unknown from not recorded."""
    empty = Context(PRINCIPAL, "s", None, None, None, None, LABEL, "t", {})
    call = Call("AerBackend.run", Backend(None), (CIRCUIT,))
    predicate = json.loads(
        encode(execution_statement(empty, call, replace(DECISION, zone=None), Outcome("ok"), KEYED))
    )["predicate"]
    for name in ("notebook", "cell", "sequence", "source", "zone", "error", "seconds", "result"):
        assert predicate[name] is None
    for name in ("parameters", "observables", "noiseModel", "options", "shots", "seed", "precision"):
        assert predicate["call"][name] is None
    assert predicate["used"] == {"seed": None, "shots": None}
    assert predicate["backend"]["version"] is None


def test_decision_says_what_was_asked_and_why_it_was_answered_so() -> None:
    """Reasons, policy, backend, sizes."""
    predicate = json.loads(encode(decision_statement(CONTEXT, DECISION, REQUEST, CALL, KEYED)))["predicate"]
    assert predicate["decision"] == "allow"
    assert predicate["reasons"] == [{"policy": "local", "text": "simulators here", "hint": None}]
    assert predicate["policy"] == {"sha256": "ab" * 32}
    assert predicate["grant"] == 9
    assert predicate["backend"]["class"] == "qiskit_aer.AerSimulator"
    assert predicate["call"]["circuits"][0]["operations"] == {"h": 1, "cx": 1, "measure": 2}
    assert (predicate["request"]["shots"], predicate["call"]["seed"]) == (1000, 7)


def test_decision_without_circuits_has_the_ciphertext_or_the_policy_as_subject() -> None:
    """In-toto wants one."""
    request = Request(Action.UNSEAL, PRINCIPAL, LABEL)
    decision = replace(DECISION, action=Action.UNSEAL)
    opened = parse_statement(encode(decision_statement(CONTEXT, decision, request, None, KEYED, b"\x09" * 32)))
    assert opened.ciphertext == "09" * 32
    bare = json.loads(encode(decision_statement(CONTEXT, decision, request, None, KEYED)))
    assert bare["subject"] == [{"name": "policy", "digest": {"sha256": "ab" * 32}}]


def test_single_execution_names_its_circuits_and_a_stretch_its_root() -> None:
    """The root stands in for the fingerprints, which are in the leaves."""
    batch = Batch(1, KEYED)
    for shots in (10, 20):
        batch.add(CALL, replace(OUTCOME, shots=shots))
    stretch = json.loads(
        encode(execution_statement(CONTEXT, CALL, DECISION, batch.outcome(), KEYED, batch.evaluations()))
    )
    assert stretch["subject"][0] == {
        "name": "evaluations",
        "digest": {"sha256": root(map(leaf_hash, batch.lines)).hex()},
    }
    assert stretch["predicate"]["evaluations"]["statuses"] == {"ok": 2}
    assert stretch["predicate"]["used"] == {"seed": 7, "shots": None}
    single = json.loads(encode(execution_statement(CONTEXT, CALL, DECISION, OUTCOME, KEYED)))
    assert single["subject"][0]["name"] == "circuit/0"
    assert single["predicate"]["evaluations"] == {"first": 0, "count": 1, "root": None, "statuses": {"ok": 1}}
    assert single["predicate"]["seconds"] == 0.001235


def test_batch_takes_the_worst_status_and_the_first_error() -> None:
    """One failure among many is not lost in the sum."""
    batch = Batch(0, CLEAR)
    for outcome in (OUTCOME, Outcome("failed", error="builtins.ValueError"), Outcome("cancelled")):
        batch.add(CALL, outcome)
    assert batch.outcome() == Outcome("failed", None, None, None, "builtins.ValueError", None)
    assert batch.evaluations() == Evaluations(
        0, 3, root(map(leaf_hash, batch.lines)), {"ok": 1, "failed": 1, "cancelled": 1}
    )


def test_evaluation_leaf_differs_by_index_parameters_and_result() -> None:
    """Whatever can differ under one grant does so in the leaf."""
    leaves = {
        encode_evaluation(0, CALL, OUTCOME, KEYED),
        encode_evaluation(1, CALL, OUTCOME, KEYED),
        encode_evaluation(0, replace(CALL, parameters=b"\x01" * 32), OUTCOME, KEYED),
        encode_evaluation(0, CALL, replace(OUTCOME, result=b"\x01" * 32), KEYED),
    }
    assert len(leaves) == 4


def test_keyed_digests_differ_by_key_and_by_kind_of_content() -> None:
    """A digest of a source is never that of a result with the same bytes, nor that of another log."""
    digests = {
        str(digester.digest_set(content, b"\x01" * 32))
        for digester in (KEYED, Digester(b"j" * 32))
        for content in ("source", "result")
    }
    assert len(digests) == 4
    assert KEYED.commit("purpose", "a") == KEYED.commit("purpose", "a") != KEYED.commit("reason", "a")
    assert KEYED.commit("purpose", None) is None


def test_digester_hides_its_key() -> None:
    """Neither in its repr nor in a pickle; a short key is refused."""
    assert repr(KEYED) == "Digester(keyed=True)"
    with pytest.raises(TypeError):
        pickle.dumps(KEYED)
    with pytest.raises(ConfigError):
        Digester(b"short")


@pytest.mark.parametrize(
    ("name", "clear"),
    [
        ("ValueError", True),
        ("builtins.ValueError", True),
        ("qiskit.exceptions.QiskitError", True),
        ("builtins.NotOne", False),
        ("__main__.ValueError", False),
        ("mycompany.Error", False),
    ],
)
def test_error_class_is_clear_only_where_a_known_package_named_it(name: str, *, clear: bool) -> None:
    """A class of user code can carry a secret in its name."""
    statement = execution_statement(CONTEXT, CALL, DECISION, Outcome("failed", error=name), KEYED)
    assert (json.loads(encode(statement))["predicate"]["error"] == name) is clear


def test_source_digest_ignores_what_front_ends_differ_in() -> None:
    """Line ends and the white space at the end; nothing else."""
    assert source_digest("a\nb") == source_digest("a\r\nb\n") != source_digest("a\n b")


def test_encoding_is_canonical_and_refuses_what_json_cannot_say() -> None:
    """Sorted keys, no spaces, UTF-8."""
    assert encode({"b": "é", "a": 1}) == '{"a":1,"b":"é"}'.encode()
    for value in (float("nan"), object()):
        with pytest.raises(ExecutionError):
            encode({"a": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: b"",
        lambda s: b"\xff\xfe",
        lambda s: b"[]",
        lambda s: b"{}",
        lambda s: b"null",
        lambda s: b"[" * 100_000,
        lambda s: s.replace(b":execution:", b":exception:"),
        lambda s: s.replace(b"in-toto.io", b"in-toto.it"),
        lambda s: s.replace(b'"label":"restricted//phi"', b'"label":7'),
        lambda s: s.replace(b'"sequence":3', b'"sequence":true'),
        lambda s: s.replace(b'"decision":4', b'"decision":"4"'),
        lambda s: s.replace(b'"evaluations":{', b'"evaluations":[{'),
        lambda s: s.replace(b'"principal":{', b'"princpal":{'),
        lambda s: s.replace(b'"_type":', b'"_tipe":'),
        lambda s: s.replace(b'"source":{', b'"source":[{').replace(b'},"status"', b'}],"status"'),
        lambda s: s.replace(b'"count":1', b'"count":null'),
        lambda s: s.replace(b'"root":null', b'"root":7'),
        lambda s: s.replace(b'"principal":{', b'"principal":"ada","was":{'),
    ],
)
def test_entry_that_is_not_ours_is_refused(spoil) -> None:
    """Whatever the bytes, the error is a VerificationError."""
    entry = encode(execution_statement(CONTEXT, CALL, DECISION, OUTCOME, KEYED))
    assert spoil(entry) != entry
    with pytest.raises(VerificationError):
        parse_statement(spoil(entry))


@pytest.mark.parametrize(
    "subject",
    [[], {}, [{"name": "policy", "digest": {}}], "", None, [{}], [{"digest": []}], [{"digest": {"sha256": 7}}]],
)
def test_policy_entry_whose_subject_is_no_policy_is_refused(subject: object) -> None:
    """The new policy's digest is read from the subject, which may be anything."""
    statement = json.loads(everything(KEYED)["policy"])
    with pytest.raises(VerificationError):
        parse_statement(json.dumps(statement | {"subject": subject}).encode())


def test_status_of_a_decision_is_what_came_of_it() -> None:
    """Open until answered; the worst of its answers; denied; an execution's is its own."""
    entries = everything(KEYED)
    allowed = parse_statement(encode(decision_statement(CONTEXT, DECISION, REQUEST, CALL, KEYED)))
    loaded = replace(allowed, action="load")
    assert status_of(allowed, None) == "open"
    assert status_of(allowed, worst_status("ok", "failed", "cancelled")) == "failed"
    assert status_of(loaded, None) is None
    assert status_of(parse_statement(entries["decision"]), None) == "denied"
    assert status_of(parse_statement(entries["execution"]), None) == "failed"
    assert status_of(parse_statement(entries["seal"]), None) is None
