"""IBM Runtime, against a service that is faked below its client: denied means that the client hears nothing at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp

from qnb.core.directive import parse_directive
from qnb.core.entry import EntryView, parse_statement
from qnb.errors import DeniedError
from qnb.kernel import intercept
from qnb.kernel.session import Session
from qnb.model import Action, Call, Decision, Label, Outcome, Reason, Retrieval
from qnb.store.authority import Authority
from qnb.store.config import init_home

runtime = pytest.importorskip("qiskit_ibm_runtime")

from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError, RuntimeJobFailureError  # noqa: E402
from qiskit_ibm_runtime.executor_estimator import Estimator as ClientEstimator  # noqa: E402
from qiskit_ibm_runtime.executor_sampler import Sampler as ClientSampler  # noqa: E402
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qiskit_ibm_runtime.models import QasmBackendConfiguration  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:The (NoiseLearner|Calibrator|Sampler|Estimator|Session|Batch)"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Options .* have no effect in local testing mode"),
    pytest.mark.filterwarnings("ignore:.*resilience_level.*"),
]

FAKE = FakeManilaV2()
ZZ = SparsePauliOp("ZZIII")


def _counts() -> Any:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    return StatevectorSampler(seed=1).run([circuit], shots=4).result()


COUNTS = _counts()  # before any guard is installed


class Client:
    """Answers as IBM's REST client does, and keeps what it was asked."""

    _instance = "crn"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.submitted: list[dict[str, Any]] = []
        self.status = "Completed"
        self.results: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def asked(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            answer = getattr(type(self), f"_on_{name}", None)
            return {} if answer is None else answer(self, **kwargs)

        return asked

    def _on_program_run(self, **kwargs: Any) -> dict[str, Any]:
        self.submitted.append(kwargs)
        return {"id": "job-7", "backend": kwargs["backend_name"]}

    def _on_backend_status(self, **_: Any) -> dict[str, Any]:
        return {
            "backend_name": "ibm_manila",
            "backend_version": "1.0.0",
            "operational": True,
            "pending_jobs": 0,
            "status_msg": "active",
        }

    def _on_create_session(self, **_: Any) -> dict[str, Any]:
        return {"id": "session-1"}

    def _on_job_get(self, **_: Any) -> dict[str, Any]:
        return {"id": "job-7", "state": {"status": self.status}, "program": {"id": "sampler"}}

    def _on_job_results(self, **_: Any) -> str:
        return json.dumps(self.results, cls=runtime.RuntimeEncoder)


class Recorder:
    """Says no, or yes, and keeps what it hears."""

    def __init__(self) -> None:
        self.deny = True
        self.calls: list[Call] = []
        self.retrievals: list[Retrieval] = []
        self.outcomes: list[Outcome] = []

    def begin(self, call: Call) -> Recorder:
        self.calls.append(call)
        return self._answer(Action.EXECUTE)

    def retrieve(self, retrieval: Retrieval) -> Recorder:
        self.retrievals.append(retrieval)
        return self._answer(Action.RETRIEVE)

    def _answer(self, action: Action) -> Recorder:
        if self.deny:
            decision = Decision(False, action, Label("restricted"), (Reason("p", "no"),), "0" * 64)
            raise DeniedError("denied", "not here", decision=decision)
        return self

    def end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def service(client: Client) -> Any:
    """The real service class, over the client."""
    service = object.__new__(runtime.QiskitRuntimeService)
    service._channel = "ibm_quantum_platform"
    service._api_clients = {"crn": client}
    service._active_api_client = client
    service._default_instance = True
    service._backend_instance_groups = []
    return service


@pytest.fixture
def backend(service: Any, client: Client) -> Any:
    """The real backend class, with the calibration of a fake one."""
    configuration = QasmBackendConfiguration.from_dict({**FAKE._conf_dict, "backend_name": "ibm_manila"})
    backend = runtime.IBMBackend(configuration=configuration, service=service, api_client=client, instance="crn")
    backend._properties = FAKE.properties()
    service.backend = lambda name: {"ibm_manila": backend}[name]  # looked up by name, it would be asked for again
    return backend


@pytest.fixture
def session() -> Iterator[Recorder]:
    recorder = Recorder()
    intercept.install(recorder)
    yield recorder
    intercept.uninstall()


def unmeasured() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return transpile(circuit, FAKE)


def measured() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return transpile(circuit, FAKE)


def program() -> Any:
    program = runtime.QuantumProgram(shots=5)
    program.append_circuit_item(measured())
    return program


def private() -> dict[str, Any]:
    return {"environment": {"private": True}}


SUBMISSIONS: dict[str, Callable[[Any], Any]] = {
    "SamplerV2": lambda b: runtime.SamplerV2(b).run([measured()], shots=10),
    "EstimatorV2": lambda b: runtime.EstimatorV2(b).run([(unmeasured(), ZZ)]),
    "Executor": lambda b: runtime.Executor(b).run(program()),
    "NoiseLearner": lambda b: runtime.NoiseLearner(b).run([unmeasured()]),
    "Calibrator": lambda b: runtime.Calibrator(b).run(),
    "client-side sampler": lambda b: ClientSampler(b).run([measured()]),
    "client-side estimator": lambda b: ClientEstimator(b).run([(unmeasured(), ZZ)]),
    "primitive in a session": lambda b: runtime.SamplerV2(runtime.Session(b, create_new=False)).run([measured()]),
    "primitive in a batch": lambda b: runtime.SamplerV2(runtime.Batch(b, create_new=False)).run([measured()]),
    "executor in a session": lambda b: runtime.Executor(runtime.Session(b, create_new=False)).run(program()),
    "Session._run": lambda b: runtime.Session(b, create_new=False)._run("sampler", {"pubs": [(measured(),)]}),
    "QiskitRuntimeService._run": lambda b: b.service._run("sampler", {"pubs": [(measured(),)]}, {"backend": b}),
}


@pytest.mark.parametrize("path", SUBMISSIONS)
def test_submission_is_decided_once_before_the_service_hears_of_it(session, backend, client, path):
    """Denied, the client was asked for nothing, not even a status; allowed, one job is submitted and followed."""
    with pytest.raises(DeniedError):
        SUBMISSIONS[path](backend)
    assert client.calls == []
    assert len(session.calls) == 1
    assert session.calls[0].backend.name == "ibm_manila"
    assert session.calls[0].backend.cls == "qiskit_ibm_runtime.ibm_backend.IBMBackend"
    assert len(session.calls[0].circuits) == (0 if path == "Calibrator" else 1)
    session.deny = False
    client.calls.clear()
    job = SUBMISSIONS[path](backend)
    assert len(session.calls) == 2
    assert client.calls.count("program_run") == 1
    assert job.job_id() == "job-7"


def test_learning_of_instructions_is_decided_before_they_are_encoded(session, backend, client):
    """What NoiseLearnerV3 makes of its instructions comes after the decision."""
    instructions = list(unmeasured())
    with pytest.raises(DeniedError):
        runtime.NoiseLearnerV3(backend).run(instructions)
    assert client.calls == []
    assert [call.target for call in session.calls] == ["NoiseLearnerV3.run"]
    assert len(session.calls[0].circuits) == len(instructions)


LOCAL: dict[str, Callable[[], Any]] = {
    "SamplerV2": lambda: runtime.SamplerV2(FAKE).run([measured()], shots=10).result(),
    "EstimatorV2": lambda: runtime.EstimatorV2(FAKE).run([(unmeasured(), ZZ)]).result(),
    "Executor": lambda: runtime.Executor(FAKE).run(program()).result(),
    "client-side sampler": lambda: ClientSampler(FAKE).run([measured()]).result(),
    "primitive in a batch": lambda: runtime.SamplerV2(runtime.Batch(FAKE)).run([measured()]).result(),
    "Session._run": lambda: runtime.Session(FAKE)._run("sampler", {"pubs": [(measured(),)]}).result(),
}


@pytest.mark.parametrize("path", LOCAL)
def test_local_mode_is_decided_and_recorded_once(session, path):
    """The job that the local mode makes of another one's future is followed all the same."""
    with pytest.raises(DeniedError):
        LOCAL[path]()
    session.deny = False
    session.calls.clear()
    LOCAL[path]()
    assert [call.backend.cls.rpartition(".")[2] for call in session.calls] == ["FakeManilaV2"]
    assert [outcome.status for outcome in session.outcomes] == ["ok"]
    assert session.outcomes[0].result is not None
    assert session.retrievals == []


def test_privacy_shots_and_calibration_are_told(session, backend):
    """As the options say, wherever they keep it; the calibration is what the object holds."""
    for make in (
        lambda: runtime.SamplerV2(backend, options=private()).run([measured()], shots=10),
        lambda: runtime.EstimatorV2(backend, options=private()).run([(unmeasured(), ZZ)]),
        lambda: runtime.Executor(backend, options=private()).run(program()),
        lambda: ClientSampler(backend, options=private()).run([measured()], shots=10),
    ):
        with pytest.raises(DeniedError):
            make()
    assert [call.private for call in session.calls] == [True] * 4
    assert [call.shots for call in session.calls] == [10, None, 5, 10]
    calibrations = {call.backend.calibration for call in session.calls}
    assert None not in calibrations
    assert len(calibrations) == 1
    assert session.calls[0].backend.calibration_time is not None


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_job_is_followed_to_its_result(session, backend, client):
    """Nothing is asked of the service on our account, and the result is recorded when its owner asks for it."""
    client.results = COUNTS
    session.deny = False
    job = runtime.SamplerV2(backend).run([measured()])
    client.calls.clear()
    intercept.settle()
    assert client.calls == []
    assert session.outcomes == []
    result = job.result()
    job.result()
    assert result[0].data.meas.num_shots == 4
    assert [outcome.status for outcome in session.outcomes] == ["ok"]
    assert session.outcomes[0].result is not None
    assert session.retrievals == []


@pytest.mark.parametrize(("status", "recorded"), [("Failed", "failed"), ("Cancelled", "cancelled")])
def test_job_that_did_not_end_well_is_recorded_as_what_it_is(session, backend, client, status, recorded):
    """Both are told by an exception; only one of them is a failure."""
    session.deny = False
    job = runtime.SamplerV2(backend).run([measured()])
    client.status = status
    with pytest.raises((RuntimeJobFailureError, RuntimeInvalidStateError)):
        job.result()
    assert [outcome.status for outcome in session.outcomes] == [recorded]


def test_job_that_is_given_up_is_recorded_as_cancelled(session, backend, client):
    """By its owner, before it ended."""
    session.deny = False
    job = runtime.SamplerV2(backend).run([measured()])
    job.cancel()
    assert [outcome.status for outcome in session.outcomes] == ["cancelled"]


def test_job_of_somebody_else_is_a_retrieval(session, backend, service, client):
    """By id: decided before anything of it is asked for, and recorded once."""
    job = runtime.RuntimeJobV2(
        backend=backend, api_client=client, job_id="job-9", program_id="sampler", service=service
    )
    client.results = COUNTS
    with pytest.raises(DeniedError):
        job.result()
    assert client.calls == []
    assert len(session.retrievals) == 1
    assert session.retrievals[0].job == "job-9"
    assert session.retrievals[0].backend.name == "ibm_manila"
    session.deny = False
    job.result()
    job.result()
    assert len(session.retrievals) == 2
    assert [outcome.status for outcome in session.outcomes] == ["ok"]
    assert session.calls == []


# --- with a policy and a log ------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Session]:
    """A session with the default policy, whose guard is in place."""
    init_home(tmp_path / "home", passphrase=None)
    with Authority.open(tmp_path / "home") as authority:
        session = Session(authority, check_guard=list, settle=lambda: None)
        intercept.install(session)
        yield session
        intercept.uninstall()


def entries(session: Session) -> list[EntryView]:
    return [view for data in session.authority._log.entries() if (view := parse_statement(data)).kind != "policy"]


def test_confidential_work_goes_to_the_cloud_as_a_private_job_only(guarded, backend, client):
    """With a purpose and without privacy it is denied, in words; a private job passes."""
    line = '%%qsecure confidential --purpose "benchmark"'
    guarded.open_cell(line, parse_directive(line))
    with pytest.raises(DeniedError, match="private job"):
        runtime.SamplerV2(backend).run([measured()])
    assert client.calls == []
    runtime.SamplerV2(backend, options=private()).run([measured()])
    assert client.submitted[0]["private"] is True
    assert [view.allow for view in entries(guarded)] == [False, True]


def test_restricted_results_are_not_retrieved_from_the_cloud(guarded, backend, service, client):
    """The action has rules of its own, and an entry of its own where it is allowed."""
    client.results = COUNTS
    job = runtime.RuntimeJobV2(
        backend=backend, api_client=client, job_id="patient-7", program_id="sampler", service=service
    )
    line = "%%qsecure confidential"
    guarded.open_cell(line, parse_directive(line))
    job.result()
    decision, retrieval = entries(guarded)
    assert (decision.action, retrieval.kind, retrieval.status) == ("retrieve", "retrieval", "ok")
    assert retrieval.decision == 1
    assert "patient-7" not in json.dumps(retrieval.predicate)
    line = "%%qsecure restricted"
    guarded.open_cell(line, parse_directive(line))
    other = runtime.RuntimeJobV2(
        backend=backend, api_client=client, job_id="job-2", program_id="sampler", service=service
    )
    client.calls.clear()
    with pytest.raises(DeniedError):
        other.result()
    assert client.calls == []


def test_loading_qnb_does_not_import_the_runtime():
    """It takes a second to import; who imports it later is guarded then."""
    code = (
        "import sys\n"
        "import qnb.kernel.start\n"
        "from qnb.kernel import intercept\n"
        "class S:\n"
        "    def begin(self, call): raise RuntimeError(call.target)\n"
        "intercept.install(S())\n"
        "assert 'qiskit_ibm_runtime' not in sys.modules\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from qiskit_ibm_runtime import Session\n"
        "from qnb.kernel.intercept import trampoline\n"
        "assert trampoline.hook_of(Session._run) is not None\n"
        "assert intercept.check() == []\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
