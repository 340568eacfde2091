"""The nouns that every layer shares: plain frozen data, no behaviour beyond spelling, no IO.

Times are RFC 3339 UTC strings with milliseconds (`2026-11-23T09:30:00.000Z`). Digests are raw bytes here and lower-case
hex in JSON. What was not observed is None, never a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Label:
    """A level of the scheme and a set of categories; written `restricted//ip,phi` (categories sorted)."""

    level: str
    categories: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.level if not self.categories else f"{self.level}//{','.join(sorted(self.categories))}"


class Assurance(StrEnum):
    """How well a principal is known, weakest first."""

    ASSERTED = "asserted"
    OS = "os"
    HUB_VERIFIED = "hub-verified"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `uid` is None where the operating system has none."""

    name: str
    uid: int | None
    assurance: Assurance


class Action(StrEnum):
    """The Cedar actions."""

    EXECUTE = "execute"
    RETRIEVE = "retrieve"
    SEAL = "seal"
    UNSEAL = "unseal"
    SHARE = "share"
    DECLASSIFY = "declassify"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a circuit would run.

    `name` is the backend's own name and can be anything the caller chose; `cls` is the qualified class
    (`qiskit_aer.backends.aer_simulator.AerSimulator`) and is None only in questions asked by name (`policy explain`).
    The calibration is the one that the object held when the circuit was handed over: its time and its digest.
    """

    name: str | None
    cls: str | None = None
    version: str | None = None
    calibration_time: str | None = None
    calibration: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the policy. What does not apply to the action stays None or empty."""

    action: Action
    principal: Principal
    label: Label
    purpose: str | None = None
    backend: Backend | None = None
    circuits: int | None = None
    qubits: int | None = None  # of the widest circuit
    shots: int | None = None  # the largest asked for; None: exact, or left to the backend
    private: bool = False  # an execution that asks the provider to keep the job private
    target: Label | None = None  # declassify: the label asked for
    reason: str | None = None  # declassify: why
    recipients: tuple[str, ...] = ()  # seal, share: names of groups or recipients, or recipient strings
    format: str | None = None  # load: qpy, qasm2, qasm3, pickle


@dataclass(frozen=True, slots=True)
class Reason:
    """One policy that decided: its id, what it says in words, and the way on."""

    policy: str
    text: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer. Holds policy facts only, so that it can be shown in clear.

    Attributes:
        allow: the answer.
        action: what was asked for.
        label: the effective label it was asked at.
        reasons: the policies that decided; never empty (a default deny is said in words).
        alternatives: what would be allowed instead, a line each; empty when allowed.
        policy_digest: SHA-256 of the policy folder, hex.
        zone: zone of the backend (`unknown` if no row of the policy names it), None without a backend.
        backend: the backend's name where a row of the policy names it, else None: another name is the caller's text.
        grant: how many evaluations this decision covers.
        entry: index of its entry in the log, None before it is recorded.
    """

    allow: bool
    action: Action
    label: Label
    reasons: tuple[Reason, ...]
    policy_digest: str
    alternatives: tuple[str, ...] = ()
    zone: str | None = None
    backend: str | None = None
    grant: int = 1
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Handling:
    """What the policy asks for at one level."""

    level: str
    seal: bool  # outputs sealed and digests keyed: the level is `classified`
    recipients: tuple[str, ...]  # group or recipient names that outputs are sealed to
    zones: tuple[str, ...]
    requires: frozenset[str]  # of `purpose`, `private-job`
    flow: str  # `high-water` or `tracked`
    retention_days: int | None
    grant: int  # evaluations that one decision in a cell covers
    declared: bool = False  # a cell that reads data of this level must declare it, and is refused if it does not


@dataclass(frozen=True, slots=True)
class CircuitInfo:
    """What is recorded of a circuit: never a name, never a register.

    Attributes:
        fingerprint: SHA-256 of the canonical encoding, bound values included.
        structure: the same with numeric gate angles masked; equal for the iterates of a VQE.
        qubits, clbits, size: counts (size: operations at top level).
        operations: operation name -> count at top level; names outside the SDK's standard set are given as `custom`.
    """

    fingerprint: bytes
    structure: bytes
    qubits: int
    clbits: int
    size: int
    operations: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Call:
    """One outermost execution as it was asked for, described from the copies that will run.

    Attributes:
        target: the guarded callable, `AerBackend.run`.
        backend: where it would run.
        circuits: in PUB order.
        parameters: digest over all bound parameter values, None when there are none.
        observables: digest over all observables, None when there are none.
        noise_model: digest of the noise model handed over, None when there is none.
        options: digest over the remaining options, None when there are none.
        shots: the largest number asked for in the call or its options; None when not given (or exact).
        seed: simulator or sampling seed as given; None when not given.
        precision: estimator precision as given.
        private: whether the job was asked to be private.
    """

    target: str
    backend: Backend
    circuits: tuple[CircuitInfo, ...]
    parameters: bytes | None = None
    observables: bytes | None = None
    noise_model: bytes | None = None
    options: bytes | None = None
    shots: int | None = None
    seed: int | None = None
    precision: float | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The fetching of the results of a job that this session did not see submitted.

    Attributes:
        backend: where it ran, as far as the job says; else the class of the job.
        job: the provider's id of it; None when it has none.
    """

    backend: Backend
    job: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended, as observed.

    Attributes:
        status: `ok`, `failed` or `cancelled`.
        result: digest of the result, None when there is none or its type has no encoding.
        shots, seed: as the result says they were used; None when it does not say.
        error: qualified class name of the exception, None when none; never its text.
        seconds: wall time from hand-over to result.
    """

    status: str
    result: bytes | None = None
    shots: int | None = None
    seed: int | None = None
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What recording an entry with a checkpoint gives back: enough to verify it without the log.

    Attributes:
        origin: the log's origin line.
        index: of the entry, from 0.
        leaf: RFC 6962 leaf hash of the entry's bytes.
        proof: inclusion proof (RFC 6962 section 2.1.1), leaf side first.
        checkpoint: the signed note, C2SP tlog-checkpoint.
        statement: the entry's own text, so that who has no log can read what the leaf says; None when it was not kept.
    """

    origin: str
    index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    checkpoint: str
    statement: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact of the posture with its remedy. `severity` is `high`, `medium`, `low` or `info`."""

    code: str
    severity: str
    message: str
    remedy: str | None
    facts: Mapping[str, object] = field(default_factory=dict)
