from __future__ import annotations

import dataclasses
from importlib import resources

from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.policy import parse_policy
from qnb.errors import PolicyError
from qnb.model import Action, Assurance, Backend, Label, Principal, Request

FOLDER = resources.files("qnb").joinpath("policies")
POLICY = parse_policy(*(FOLDER.joinpath(n).read_bytes() for n in ("qnb.toml", "policy.cedar", "policy.cedarschema")))

labels = st.builds(
    Label,
    st.sampled_from(POLICY.scheme.levels),
    st.frozensets(st.sampled_from(sorted(POLICY.scheme.categories)), max_size=2),
)
classes = [
    "qiskit_aer.backends.aer_simulator.AerSimulator",
    "qiskit_ibm_runtime.ibm_backend.IBMBackend",
    "__main__.Mine",
    None,
]
requests = st.builds(
    Request,
    st.sampled_from(list(Action)),
    st.builds(Principal, st.sampled_from(["ada", "bob"]), st.just(1000), st.sampled_from(list(Assurance))),
    labels,
    purpose=st.none() | st.just("canary"),
    backend=st.none()
    | st.builds(Backend, st.sampled_from(["aer_simulator", "ibm_fez", "canary"]), st.sampled_from(classes)),
    circuits=st.none() | st.integers(0, 10),
    qubits=st.none() | st.integers(0, 100),
    shots=st.none() | st.integers(0, 10**6),
    private=st.booleans(),
    target=labels,
    reason=st.none() | st.just("canary"),
    recipients=st.lists(st.sampled_from(["owners", "canary"]), max_size=2).map(tuple),
    format=st.none() | st.sampled_from(["qpy", "qasm3"]),
)
fixed = settings(derandomize=True, max_examples=150, deadline=None)


@fixed
@given(requests)
def test_every_decision_has_reasons_and_only_denials_alternatives(request: Request) -> None:
    """A decision always says why, in text without open placeholders, and holds nothing the caller wrote."""
    decision = POLICY.decide(request)
    assert decision.reasons
    assert all(reason.text and "{" not in reason.text + (reason.hint or "") for reason in decision.reasons)
    assert not (decision.allow and decision.alternatives)
    assert "canary" not in repr(decision)
    assert decision == POLICY.decide(request)


@fixed
@given(requests, labels)
def test_higher_label_is_never_allowed_more(request: Request, higher: Label) -> None:
    """Joining a label can only take permission to run away, never give it."""
    request = dataclasses.replace(request, action=Action.EXECUTE)
    raised = dataclasses.replace(request, label=POLICY.scheme.join(request.label, higher))
    if POLICY.decide(raised).allow:
        assert POLICY.decide(request).allow


@fixed
@given(st.binary(max_size=200), st.sampled_from([0, 1, 2]))
def test_any_bytes_are_a_policy_or_a_policy_error(data: bytes, which: int) -> None:
    """Nothing else comes out of reading a policy."""
    files = [FOLDER.joinpath(name).read_bytes() for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")]
    files[which] = data
    try:
        parse_policy(*files)
    except PolicyError as error:
        message = error.message
        assert "\n" not in message
