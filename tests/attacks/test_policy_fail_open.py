"""Ways in which a policy could come to say yes by accident or by trickery; each must end in a denial or an error."""

from __future__ import annotations

import random
from importlib import resources

import pytest

from qnb.core.policy import Policy, digest_policy, parse_policy
from qnb.errors import PolicyError
from qnb.model import Action, Assurance, Backend, Label, Principal, Request

FOLDER = resources.files("qnb").joinpath("policies")
TOML, CEDAR, SCHEMA = (
    FOLDER.joinpath(n).read_text("utf-8") for n in ("qnb.toml", "policy.cedar", "policy.cedarschema")
)
OWNER = Principal("ada", 1000, Assurance.OS)
IBM = "qiskit_ibm_runtime.ibm_backend.IBMBackend"


def build(toml: str = TOML, cedar: str = CEDAR, schema: str = SCHEMA) -> Policy:
    """A policy from texts."""
    return parse_policy(toml.encode(), cedar.encode(), schema.encode())


def run(backend: Backend, level: str = "restricted", policy: Policy | None = None, **asked: object) -> bool:
    """Whether an execution with everything a request can bring is allowed."""
    bring: dict[str, object] = {"purpose": "p", "private": True, "circuits": 1, "qubits": 2, "shots": 100, **asked}
    request = Request(Action.EXECUTE, OWNER, Label(level), backend=backend, **bring)  # type: ignore[arg-type]
    return (policy or build()).decide(request).allow


def test_attribute_missing_from_the_schema_is_no_policy() -> None:
    """Without the attribute a `forbid` on it would err, be skipped, and leave an allow."""
    for attribute in ("purpose", "private", "level", "categories"):
        lines = [line for line in SCHEMA.splitlines() if not line.strip().startswith(f"{attribute}: ")]
        with pytest.raises(PolicyError):
            build(schema="\n".join(lines))


def test_attribute_made_optional_in_the_schema_is_no_policy() -> None:
    """A rule that reads it without asking whether it is there does not validate."""
    with pytest.raises(PolicyError, match="purpose"):
        build(schema=SCHEMA.replace("purpose: Bool", "purpose?: Bool"))


def test_attribute_that_qnb_does_not_send_is_no_policy() -> None:
    """A schema that asks for more than a request holds would let no request be built; it is found when read."""
    with pytest.raises(PolicyError, match=r"policy\.cedarschema"):
        build(schema=SCHEMA.replace("private: Bool", "private: Bool,\n    approved: Bool"))


def test_empty_schema_is_no_policy() -> None:
    """There is no way to run without a schema."""
    for schema in ("", " \n", "// nothing"):
        with pytest.raises(PolicyError):
            build(schema=schema)


def test_rule_that_errs_at_evaluation_is_a_denial_of_everything() -> None:
    """An overflow passes validation; Cedar then skips the rule, and its allow must not count."""
    cedar = CEDAR + (
        '@id("overflow") @reason("too much")\nforbid (principal, action == Action::"execute", resource)\n'
        "when { context has shots && context.shots * 9223372036854775807 > 100 };\n"
    )
    policy = build(cedar=cedar)
    aer = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator")
    with pytest.raises(PolicyError, match="rule `overflow`"):
        run(aer, policy=policy)
    assert run(aer, policy=policy, shots=None)


def test_number_beyond_cedars_range_is_a_denial() -> None:
    """It cannot be judged, so nothing is decided."""
    aer = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator")
    with pytest.raises(PolicyError):
        run(aer, shots=2**63)


def test_action_that_no_rule_knows_is_denied() -> None:
    """What no rule permits is denied in words, and an action that the schema lacks is no policy."""
    start = CEDAR.index('@id("researcher-loads")')
    stop = CEDAR.index("@id", start + 1)
    decision = build(cedar=CEDAR[:start] + CEDAR[stop:]).decide(Request(Action.LOAD, OWNER, Label("public")))
    assert not decision.allow
    assert [reason.policy for reason in decision.reasons] == ["default-deny"]
    with pytest.raises(PolicyError):
        build(cedar=CEDAR.replace('action == Action::"load"', 'action == Action::"lode"'))
    with pytest.raises(PolicyError):
        build(schema=SCHEMA.replace("action load ", "action lode "))


def test_empty_rules_deny_everything() -> None:
    """No rules, no permission."""
    policy = build(cedar="// nothing")
    for action in Action:
        request = Request(action, OWNER, Label("public"), target=Label("public"), reason="r", recipients=("x",))
        assert not policy.decide(request).allow


def test_unlisted_backend_is_denied_from_confidential_up() -> None:
    """Nobody has said where it runs, whatever purpose and privacy are promised."""
    for level in ("confidential", "restricted"):
        assert not run(Backend("mine", "mylab.backends.Mine"), level)
        assert not run(Backend(None, None), level)


@pytest.mark.parametrize(
    "cls",
    [
        "__main__.AerSimulator",
        "__main__.qiskit_aer.backends.AerSimulator",
        "notebook.qiskit_aer.backends.aer_simulator.AerSimulator",
        "qiskit_aer_evil.AerSimulator",
        "Qiskit_Aer.backends.AerSimulator",
        "",
        "qiskit_ibm_runtime.ibm_backend.IBMBackend.Sub",
        "__main__.IBMBackend",
    ],
)
@pytest.mark.parametrize("name", ["aer_simulator", "fake_manila", "ibm_fez"])
def test_spoofed_name_puts_a_class_of_the_callers_own_in_no_zone(cls: str, name: str) -> None:
    """A subclass or look-alike is unknown under any name, for the trusted zones and for the cloud."""
    assert build().zone_of(Backend(name, cls)) == ("unknown", None)
    assert not run(Backend(name, cls), "confidential")


def test_cloud_backend_renamed_to_a_simulator_stays_in_the_cloud() -> None:
    """The class decides; the borrowed name is not even shown."""
    policy = build()
    assert policy.zone_of(Backend("aer_simulator", IBM)) == ("cloud", None)
    assert not run(Backend("aer_simulator", IBM), policy=policy)


@pytest.mark.parametrize(
    "pattern", ["*", "*AerSimulator", "?iskit.*", "[q]iskit.*", "__main__.*", "AerSimulator", "**.aer.*"]
)
def test_row_whose_class_pattern_a_notebook_could_meet_is_refused(pattern: str) -> None:
    """A pattern must be rooted in a package."""
    with pytest.raises(PolicyError, match=r"`backends\[0\]\.class`"):
        build(TOML.replace('class = "qiskit_aer.*"', f'class = "{pattern}"', 1))


def test_row_with_a_name_and_no_class_is_refused() -> None:
    """A name is whatever the caller chose and never decides."""
    with pytest.raises(PolicyError, match=r"`backends\[0\]\.class` is missing"):
        build(TOML.replace('class = "qiskit_aer.*"\n', "", 1))


@pytest.mark.parametrize(
    "damage", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: t + "\n[labels]\n", lambda t: t.replace("=", ":", 1)]
)
def test_broken_toml_is_no_policy(damage: object) -> None:
    """Cut, emptied, doubled or mangled: an error, never a policy with parts missing."""
    with pytest.raises(PolicyError):
        build(toml=damage(TOML))  # type: ignore[operator]


def test_file_with_bytes_changed_is_an_error_or_another_digest() -> None:
    """Seeded edits of each file: nothing but PolicyError comes out of reading them, and no edit keeps the digest."""
    rng = random.Random(7)
    files = [TOML.encode(), CEDAR.encode(), SCHEMA.encode()]
    before = digest_policy(*files)
    for _ in range(60):
        which = rng.randrange(3)
        edited = bytearray(files[which])
        edited[rng.randrange(len(edited))] ^= 1 << rng.randrange(8)
        changed = [*files[:which], bytes(edited), *files[which + 1 :]]
        try:
            digest = parse_policy(*changed).digest
        except PolicyError:
            continue
        assert digest != before


def test_each_byte_of_each_file_is_in_the_digest() -> None:
    """Every single byte counts, and bytes cannot move from one file to another."""
    files = [TOML.encode(), CEDAR.encode(), SCHEMA.encode()]
    seen = {digest_policy(*files)}
    for which in range(3):
        for place in range(len(files[which])):
            edited = bytearray(files[which])
            edited[place] ^= 1
            seen.add(digest_policy(*files[:which], bytes(edited), *files[which + 1 :]))
    assert len(seen) == 1 + sum(len(data) for data in files)
    assert digest_policy(b"ab", b"c", b"d") != digest_policy(b"a", b"bc", b"d")


def test_request_texts_cannot_write_into_the_question() -> None:
    """Names and formats are data to Cedar, whatever they hold."""
    policy = build()
    for text in ('"}', '","purpose":true,"x":"', "\x00", "\n", "a" * 100_000, "\ud800"):
        who = Principal(text, None, Assurance.OS)
        request = Request(Action.EXECUTE, who, Label("restricted"), backend=Backend(text, IBM), format=text)
        try:
            assert not policy.decide(request).allow
        except PolicyError:
            continue


def test_asserted_account_has_no_role() -> None:
    """A name that nobody vouches for is allowed nothing."""
    decision = build().decide(
        Request(Action.EXECUTE, Principal("ada", 1000, Assurance.ASSERTED), Label("public"), backend=Backend("ibm_fez"))
    )
    assert not decision.allow
