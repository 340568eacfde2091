from __future__ import annotations

import dataclasses
import hashlib
from importlib import resources

import pytest

from qnb.core.policy import Policy, parse_policy
from qnb.core.seal import generate_identity
from qnb.errors import ConfigError, PolicyError
from qnb.model import Action, Assurance, Backend, Decision, Label, Principal, Request

FOLDER = resources.files("qnb").joinpath("policies")
TOML, CEDAR, SCHEMA = (
    FOLDER.joinpath(n).read_text("utf-8") for n in ("qnb.toml", "policy.cedar", "policy.cedarschema")
)
ADA, BOB, EVE = (generate_identity(lambda size, i=i: bytes([i]) * size).recipient.text for i in range(3))
OWNER = Principal("ada", 1000, Assurance.OS)

AER = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator")
IBM = Backend("ibm_fez", "qiskit_ibm_runtime.ibm_backend.IBMBackend")
OWN = Backend("mine", "__main__.Mine")


def build(toml: str = TOML, cedar: str = CEDAR, schema: str = SCHEMA) -> Policy:
    """A policy with two named recipients in `owners`, and a bare one in `guests`."""
    filled = toml.replace("[recipients]\n", f'[recipients]\nada = "{ADA}"\nbob = "{BOB}"\n', 1).replace(
        "owners = []", f'owners = ["bob", "ada"]\nguests = ["{EVE}", "ada"]', 1
    )
    return parse_policy(filled.encode(), cedar.encode(), schema.encode())


POLICY = build()


def ask(
    action: Action = Action.EXECUTE, label: str = "confidential", policy: Policy = POLICY, **asked: object
) -> Decision:
    """Decide a request of the owner."""
    who = asked.pop("principal", OWNER)
    return policy.decide(Request(action, who, policy.scheme.parse(label), **asked))  # type: ignore[arg-type]


def rules(decision: Decision) -> list[str]:
    """Ids of the rules that decided."""
    return [reason.policy for reason in decision.reasons]


@pytest.mark.parametrize(
    ("label", "backend", "asked", "decided"),
    [
        ("public", AER, {}, []),
        ("internal", AER, {}, []),
        ("confidential", AER, {}, []),
        ("restricted//phi,ip", AER, {}, []),
        ("internal", IBM, {}, []),
        ("internal", OWN, {}, []),
        ("internal", None, {}, []),
        ("confidential", IBM, {}, ["purpose-required", "private-job-required"]),
        ("confidential", IBM, {"purpose": "screening"}, ["private-job-required"]),
        ("confidential", IBM, {"purpose": " ", "private": True}, ["purpose-required"]),
        ("confidential", IBM, {"purpose": "screening", "private": True}, []),
        ("restricted", IBM, {"purpose": "screening", "private": True}, ["zone-not-allowed"]),
        ("confidential", OWN, {"purpose": "screening", "private": True}, ["backend-not-listed"]),
        ("confidential", None, {}, ["backend-not-listed"]),
    ],
)
def test_execution_is_decided_as_the_default_policy_says(
    label: str, backend: Backend | None, asked: dict[str, object], decided: list[str]
) -> None:
    """Level by backend: allowed, or denied by exactly the rules that apply."""
    decision = ask(label=label, backend=backend, circuits=1, qubits=2, shots=100, **asked)
    assert decision.allow == (not decided)
    assert rules(decision) == (decided or ["researcher-executes"])
    assert bool(decision.alternatives) == bool(decided)


@pytest.mark.parametrize(
    ("cls", "zone"),
    [
        ("qiskit_aer.primitives.sampler_v2.SamplerV2", "local"),
        ("qiskit.primitives.statevector_sampler.StatevectorSampler", "local"),
        ("qiskit.primitives.statevector_estimator.StatevectorEstimator", "local"),
        ("qiskit.primitives.backend_sampler_v2.BackendSamplerV2", "unknown"),
        ("qiskit.providers.basic_provider.basic_simulator.BasicSimulator", "local"),
        ("qiskit.providers.fake_provider.generic_backend_v2.GenericBackendV2", "local"),
        ("qiskit_ibm_runtime.fake_provider.backends.manila.fake_manila.FakeManilaV2", "local"),
        ("qiskit_ibm_runtime.ibm_backend.IBMBackend", "cloud"),
        ("qiskit_ionq.ionq_backend.IonQSimulatorBackend", "cloud"),
        ("qiskit_braket_provider.providers.braket_backend.BraketAwsBackend", "cloud"),
        ("qiskit_braket_provider.providers.braket_backend.BraketLocalBackend", "unknown"),
        ("iqm.qiskit_iqm.iqm_provider.IQMBackend", "cloud"),
        ("qiskit_aerial.Evil", "unknown"),
        ("", "unknown"),
    ],
)
def test_class_decides_the_zone(cls: str, zone: str) -> None:
    """Simulators are local and provider classes cloud; what runs on whatever it is handed is not listed."""
    assert POLICY.zone_of(Backend("any name", cls)) == (zone, None)


def test_installed_simulators_are_of_the_listed_classes() -> None:
    """The class paths of the default policy are those of the SDK at hand."""
    from qiskit.primitives import StatevectorEstimator, StatevectorSampler
    from qiskit.providers.basic_provider import BasicSimulator
    from qiskit.providers.fake_provider import GenericBackendV2
    from qiskit_aer import AerSimulator
    from qiskit_aer.primitives import EstimatorV2, SamplerV2

    local = (AerSimulator, SamplerV2, EstimatorV2, StatevectorSampler, StatevectorEstimator, BasicSimulator)
    for cls in (*local, GenericBackendV2):
        assert POLICY.zone_of(Backend(None, f"{cls.__module__}.{cls.__qualname__}"))[0] == "local"
    for name in (AerSimulator().name, BasicSimulator().name, GenericBackendV2(7).name):
        assert POLICY.zone_of(Backend(name)) == ("local", name)


def test_question_by_name_is_answered_by_the_listed_names() -> None:
    """Explaining needs no class; a name that no row lists is unknown and not repeated."""
    assert POLICY.zone_of(Backend("ibm_fez")) == ("cloud", "ibm_fez")
    assert POLICY.zone_of(Backend("fake_manila")) == ("local", "fake_manila")
    assert POLICY.zone_of(Backend("my_secret_molecule")) == ("unknown", None)
    decision = ask(backend=Backend("my_secret_molecule"))
    assert "my_secret_molecule" not in repr(decision)


@pytest.mark.parametrize(
    ("action", "asked", "decided"),
    [
        (Action.RETRIEVE, {"backend": IBM}, ["researcher-executes"]),
        (Action.SEAL, {}, ["researcher-seals"]),
        (Action.SEAL, {"recipients": ("guests", ADA)}, ["researcher-seals"]),
        (Action.SEAL, {"recipients": ("owners", "nobody")}, ["recipient-not-named"]),
        (Action.UNSEAL, {}, ["researcher-opens"]),
        (Action.SHARE, {"recipients": ("owners", EVE)}, ["owner-shares"]),
        (Action.SHARE, {}, ["no-recipient"]),
        (Action.SHARE, {"recipients": ("recovery",)}, ["no-recipient"]),
        (Action.DECLASSIFY, {"target": Label("internal")}, ["reason-required"]),
        (Action.DECLASSIFY, {"target": Label("internal"), "reason": "slide"}, ["owner-declassifies"]),
        (Action.DECLASSIFY, {"target": Label("restricted"), "reason": "slide"}, ["not-lower"]),
        (Action.DECLASSIFY, {"target": Label("public", frozenset({"ip"})), "reason": "slide"}, ["not-lower"]),
        (Action.LOAD, {"format": "qpy"}, ["researcher-loads"]),
    ],
)
def test_other_actions_are_decided_as_the_default_policy_says(
    action: Action, asked: dict[str, object], decided: list[str]
) -> None:
    """Sealing, opening, sharing, lowering and loading, each by the rule that applies."""
    decision = ask(action, **asked)
    assert rules(decision) == decided
    assert decision.grant == 1


def test_unnamed_recipient_is_allowed_below_confidential() -> None:
    """What is not classified may be shared with anybody by a data owner."""
    assert ask(Action.SHARE, "internal", recipients=("age1pq1qqqq",)).allow


def test_allowed_execution_carries_the_grant_of_its_level() -> None:
    """How many evaluations a decision covers is the policy's."""
    assert ask(backend=AER).grant == POLICY.handling(Label("confidential")).grant == 10_000


def test_denial_says_why_and_what_would_be_allowed() -> None:
    """In words: zones, what to add, and nothing that was not found by asking."""
    decision = ask(label="restricted//phi", backend=IBM)
    (reason,) = decision.reasons
    assert reason.text == (
        "`ibm_fez` is in zone `cloud`; `restricted` work may run in the zones `local`, `on-prem` only"
    )
    assert reason.hint is not None
    assert [line.split(":")[0] for line in decision.alternatives] == ["in zone `local` (this machine)"]
    assert "Aer simulators" in decision.alternatives[0]
    cheaper = ask(backend=IBM, private=True)
    assert cheaper.alternatives[0] == "the same with `--purpose`"
    assert ask(backend=IBM).alternatives[0] == "the same with `--purpose` and as a private job"
    assert ask(Action.SHARE, recipients=("x",)).alternatives == (
        "for recipients that the policy names: `owners`, `guests`",
    )
    assert ask(Action.DECLASSIFY, target=Label("public")).alternatives == ("the same with a reason",)


def test_default_deny_says_so_and_names_the_role_that_may() -> None:
    """No rule matches: the reason is never empty, and the way on is somebody else."""
    toml = TOML.replace('data-owner = ["@os-user"]', 'data-owner = ["grace"]')
    decision = ask(Action.DECLASSIFY, target=Label("public"), reason="slide", policy=build(toml))
    assert rules(decision) == ["default-deny"]
    assert "its roles: `researcher`" in decision.reasons[0].text
    assert decision.alternatives == ("the same by an account with the role `data-owner`",)


def test_purpose_and_reason_never_enter_a_decision() -> None:
    """A decision is shown in clear; what was given as text is not in it."""
    for decision in (
        ask(label="restricted", backend=IBM, purpose="canary-purpose"),
        ask(Action.DECLASSIFY, target=Label("restricted"), reason="canary-reason"),
    ):
        assert not decision.allow
        assert "canary" not in repr(decision)


def test_roles_follow_the_account_and_how_well_it_is_known() -> None:
    """`@os-user` is what the operating system vouches for, not a hub; a name nobody vouches for has no role."""
    assert POLICY.roles_of(OWNER) == ("researcher", "data-owner")
    for assurance in (Assurance.ASSERTED, Assurance.HUB_VERIFIED, Assurance.OIDC):
        assert POLICY.roles_of(dataclasses.replace(OWNER, assurance=assurance)) == ()
    named = build(TOML.replace("auditor = []", 'auditor = ["ada"]'))
    assert named.roles_of(Principal("ada", None, Assurance.OIDC)) == ("auditor",)
    assert named.roles_of(Principal("ada", None, Assurance.ASSERTED)) == ()


def test_recipients_are_expanded_in_order_each_once() -> None:
    """Groups, names and strings; an unknown name is an error with the known ones."""
    assert POLICY.recipients(("owners", "guests", "ada", EVE)) == (BOB, ADA, EVE)
    assert POLICY.recipients(()) == ()
    assert POLICY.recipient_names() == ("owners", "guests", "recovery", "ada", "bob")
    with pytest.raises(ConfigError) as caught:
        POLICY.recipients(("ownrs",))
    assert caught.value.hint == "did you mean `owners`?"


def test_digest_is_what_sha256sum_gives() -> None:
    """Anybody can check it with a shell."""
    policy = parse_policy(TOML.encode(), CEDAR.encode(), SCHEMA.encode())
    listing = "".join(
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"
        for name, text in (("policy.cedar", CEDAR), ("policy.cedarschema", SCHEMA), ("qnb.toml", TOML))
    )
    assert policy.digest == hashlib.sha256(listing.encode()).hexdigest()


def test_label_of_another_scheme_is_no_decision() -> None:
    """It cannot be judged, so it is an error, and for whoever asked a denial."""
    for label in (Label("secret"), Label("public", frozenset({"nope"}))):
        with pytest.raises(PolicyError):
            POLICY.decide(Request(Action.UNSEAL, OWNER, label))
    with pytest.raises(PolicyError):
        ask(Action.DECLASSIFY, target=Label("secret"), reason="x")
    with pytest.raises(PolicyError):
        ask(Action.DECLASSIFY, reason="x")


def test_answers_kept_are_those_of_the_same_question() -> None:
    """Asking again, and asking something near, give what a fresh policy gives."""
    fresh = build()
    for asked in ({}, {"purpose": "p"}, {"private": True}, {"purpose": "p", "private": True}, {}):
        again = ask(backend=IBM, **asked)
        assert again == ask(backend=IBM, policy=fresh, **asked) == ask(backend=IBM, **asked)
    for n in range(600):  # more than is kept
        assert ask(backend=Backend(f"b{n}", AER.cls), shots=n).allow
