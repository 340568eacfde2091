"""Ways around a guarded name: everybody who can reach a circuit's execution reaches the guard."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial, partialmethod, wraps
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
import qiskit.primitives.statevector_sampler as sampler_module
from qiskit import QuantumCircuit
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, PrimitiveJob, StatevectorSampler
from qiskit.providers import JobStatus, JobV1
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Statevector
from qiskit_aer import AerSimulator
from qiskit_aer import primitives as first
from qiskit_aer.primitives import SamplerV2

from qnb.errors import DeniedError
from qnb.kernel import intercept
from qnb.model import Action, Call, Decision, Label, Outcome, Reason, Retrieval

# taken before the guard is installed
SIMULATOR = AerSimulator()
BOUND = SIMULATOR.run
PARTIAL = partial(AerSimulator.run, SIMULATOR, shots=3)
UNBOUND = AerSimulator.run
SAMPLE = StatevectorSampler().run
EARLY_JOB = PrimitiveJob(lambda: {"00": 1})
EARLY_JOB._submit()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    FIRST_SAMPLER, FIRST_ESTIMATOR = first.Sampler(), first.Estimator()
ENTERED: list[str] = []


class Early(GenericBackendV2):
    """A backend of the user's own, defined before load."""

    def run(self, run_input: Any, **options: Any) -> Any:
        ENTERED.append("early")
        return {"0": 1}


class Denying:
    """A session that says no."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.retrievals: list[Retrieval] = []
        self.outcomes: list[Outcome] = []

    def begin(self, call: Call) -> Any:
        self.calls.append(call)
        decision = Decision(False, Action.EXECUTE, Label("restricted"), (Reason("p", "no"),), "0" * 64)
        raise DeniedError("denied", "not here", decision=decision)

    def retrieve(self, retrieval: Retrieval) -> Any:
        self.retrievals.append(retrieval)
        decision = Decision(False, Action.RETRIEVE, Label("restricted"), (Reason("p", "no"),), "0" * 64)
        raise DeniedError("denied", "nor that", decision=decision)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Denying]:
    """Denies everything; and tells when Aer is entered all the same."""
    ENTERED.clear()
    deny = Denying()
    intercept.install(deny)
    execute = AerSimulator._execute_circuits

    def entered(self: Any, *args: Any) -> Any:
        ENTERED.append("aer")
        return execute(self, *args)

    monkeypatch.setattr(AerSimulator, "_execute_circuits", entered)
    yield deny
    intercept.uninstall()


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def pair() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


REFERENCES: dict[str, Callable[[], Any]] = {
    "bound method taken before load": lambda: BOUND(bell()),
    "partial taken before load": lambda: PARTIAL(bell()),
    "function taken before load": lambda: UNBOUND(SIMULATOR, bell()),
    "primitive taken before load": lambda: SAMPLE([bell()]),
    "object made before load": lambda: SIMULATOR.run(bell()),
    "class defined before load": lambda: Early(2, seed=1).run(bell()),
    "keyword argument": lambda: AerSimulator().run(circuits=bell()),
    "sampler with keyword": lambda: SamplerV2().run(pubs=[bell()]),
    "sampler over a backend": lambda: BackendSamplerV2(backend=AerSimulator()).run([bell()]),
    "base method on a derived object": lambda: GenericBackendV2.run(Early(2, seed=1), bell()),
    "attribute looked up late": lambda: getattr(AerSimulator(), "r" + "un")(bell()),
    "first-generation sampler": lambda: FIRST_SAMPLER.run(bell()),
    "first-generation sampler, many": lambda: FIRST_SAMPLER.run(circuits=[bell(), bell()], shots=5),
    "first-generation estimator": lambda: FIRST_ESTIMATOR.run([pair()], ["ZZ"]),
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_reference_reaches_the_guard(session, reference):
    """Denied means that nothing was entered and nothing ran."""
    with pytest.raises(DeniedError):
        REFERENCES[reference]()
    assert len(session.calls) == 1
    assert ENTERED == []


def _defined_later(kind: str) -> Any:  # noqa: C901 -- one case a way
    """A backend class defined after load, in one of the ways in which classes can be."""

    def run(self: Any, run_input: Any, **options: Any) -> Any:
        ENTERED.append(kind)
        return {"0": 1}

    def traced(function: Any) -> Any:
        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return inner

    class Mixin:
        pass

    Mixin.run = run

    class Greeting(GenericBackendV2):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            """Tells nobody."""

    class Greeted(Greeting):
        pass

    match kind:
        case "subclass":
            return type("Late", (GenericBackendV2,), {"run": run})
        case "mixin":
            return type("Late", (Mixin, GenericBackendV2), {})
        case "decorated":
            return type("Late", (GenericBackendV2,), {"run": traced(run)})
        case "greeting":
            return type("Late", (Greeted,), {"run": run})
        case "partialmethod":
            return type("Late", (GenericBackendV2,), {"go": run, "run": partialmethod(run)})
        case "callable":
            return type("Late", (GenericBackendV2,), {"run": partial(run, None)})
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["subclass", "mixin", "decorated", "greeting", "partialmethod", "callable"])
def test_class_defined_later_is_guarded_at_once(session, kind):
    """In the same cell, however it was defined."""
    backend = _defined_later(kind)(2, seed=1)
    with pytest.raises(DeniedError):
        backend.run(bell())
    assert len(session.calls) == 1
    assert ENTERED == []


@pytest.mark.parametrize("method", ["from_instruction", "evolve"])
def test_each_method_of_a_class_defined_later_is_guarded_at_once(session, method):
    """A base class with several methods in the table tells of all of them."""

    def simulate(self: Any, *args: Any) -> Any:
        ENTERED.append(method)

    late = type("Late", (Statevector,), {method: classmethod(simulate) if method == "from_instruction" else simulate})
    with pytest.raises(DeniedError):
        late([1, 0, 0, 0]).evolve(bell()) if method == "evolve" else late.from_instruction(bell())
    assert ENTERED == []


def test_static_run_is_guarded(session):
    """A method that takes no object has no backend to tell, but is decided."""

    class Static(GenericBackendV2):
        @staticmethod
        def run(run_input: Any) -> Any:
            ENTERED.append("static")

    with pytest.raises(DeniedError):
        Static(2, seed=1).run(bell())
    assert ENTERED == []


def test_mixin_method_on_other_objects_is_left_alone(session):
    """A `run` that a backend shares with other classes is guarded for the backend only."""

    class Task:
        def run(self, what: Any) -> Any:
            return what

    class Both(Task, GenericBackendV2):
        pass

    assert Task().run(3) == 3
    with pytest.raises(DeniedError):
        Both(2, seed=1).run(bell())


def test_method_put_into_a_class_is_guarded_at_the_next_check(session):
    """Within the same cell it is not: that is what the reference says of it."""

    def run(self: Any, run_input: Any, **options: Any) -> Any:
        ENTERED.append("patched")
        return {"0": 1}

    class Late(GenericBackendV2):
        """Runs what it inherits."""

    Late.run = run
    Late(2, seed=1).run(bell())
    assert ENTERED == ["patched"]
    assert intercept.check() == []
    with pytest.raises(DeniedError):
        Late(2, seed=1).run(bell())
    assert ENTERED == ["patched"]


def test_attribute_of_an_instance_is_found_at_the_next_check(session, monkeypatch):
    """It hides the guarded method of its class; it is named as long as it does, and classified cells are refused."""
    backend = AerSimulator()
    backend.run = lambda circuit: {"00": 1}
    sampler = BackendSamplerV2(backend=backend)
    monkeypatch.setattr(sys.modules["__main__"], "hidden", sampler, raising=False)
    assert backend.run(bell()) == {"00": 1}
    assert session.calls == []
    name = "qiskit_aer.backends.aer_simulator.AerSimulator.run (an instance's own)"
    assert intercept.check() == [name]
    monkeypatch.setattr(sys.modules["__main__"], "hidden", backend)
    assert intercept.check() == [name]
    del backend.run
    assert intercept.check() == []


class Made(JobV1):
    """A job of a provider that nothing here guards."""

    def submit(self) -> None:
        """It is there already."""

    def result(self) -> Any:
        ENTERED.append("fetched")
        return {"00": 1}

    def status(self) -> JobStatus:
        return JobStatus.DONE


class Duck:
    """A backend below no base class, which hands out jobs of its own."""

    def run(self, circuit: QuantumCircuit) -> Any:
        return Made(None, "job-1")


def test_job_of_a_duck_typed_backend_is_a_retrieval(session):
    """Nobody saw it submitted; its result is decided when it is asked for, and withheld when denied."""
    job = Duck().run(bell())
    assert session.calls == []
    with pytest.raises(DeniedError):
        job.result()
    assert [(retrieval.job, retrieval.backend.cls.rpartition(".")[2]) for retrieval in session.retrievals] == [
        ("job-1", "Made")
    ]
    assert ENTERED == []


def test_result_of_what_is_no_job_is_left_alone(session):
    """A class that lends its `result` to a job of the SDK is asked for others', too."""

    class Holder:
        def result(self) -> Any:
            return 3

    class Both(Holder, JobV1):
        submit = status = None

    assert Holder().result() == 3
    with pytest.raises(DeniedError):
        Both(None, "job-2").result()
    assert len(session.retrievals) == 1


def test_job_from_before_the_guard_is_a_retrieval(session):
    """What ran then was not decided; what comes of it is."""
    with pytest.raises(DeniedError):
        EARLY_JOB.result()
    assert len(session.retrievals) == 1


def test_local_job_that_runs_under_the_guard_is_no_retrieval(session):
    """It is a thread of this process, and what it executes is decided there."""
    job = PrimitiveJob(lambda: SIMULATOR.run(bell()))
    job._submit()
    with pytest.raises(DeniedError):
        job.result()
    assert session.retrievals == []
    assert [call.target for call in session.calls] == ["AerBackend.run"]


def test_duck_typed_backend_is_decided_where_it_meets_the_sdk(session):
    """One that hands its circuits on is no way around."""

    class Proxy:
        def run(self, circuit: QuantumCircuit) -> Any:
            return SIMULATOR.run(circuit)

    with pytest.raises(DeniedError):
        Proxy().run(bell())
    assert [call.target for call in session.calls] == ["AerBackend.run"]
    assert ENTERED == []


def test_package_that_nothing_guards_is_named(session, monkeypatch):
    """Loaded is enough: what it executes is not seen."""
    monkeypatch.setitem(sys.modules, "pennylane", object())
    assert intercept.unguarded() == ["pennylane"]


def test_target_that_the_sdk_no_longer_has_is_named(session, monkeypatch):
    """Another version of the SDK may execute by a way that the table does not know."""
    monkeypatch.delattr(Statevector, "from_instruction")
    assert intercept.check() == ["qiskit.quantum_info.states.statevector.Statevector.from_instruction"]


def test_reloaded_module_is_guarded(session):
    """Its classes are new ones, and are met as they are defined."""
    before = sampler_module.StatevectorSampler
    try:
        module = importlib.reload(sampler_module)
        assert module.StatevectorSampler is not before
        with pytest.raises(DeniedError):
            module.StatevectorSampler().run([bell()])
    finally:
        sampler_module.StatevectorSampler = before


def test_user_thread_and_asynchronous_caller_reach_the_guard(session):
    """Neither a thread nor a timer is a way out."""
    seen: list[type] = []

    def attempt() -> None:
        try:
            AerSimulator().run(bell())
        except DeniedError as error:
            seen.append(type(error))

    threads = [threading.Thread(target=attempt), threading.Timer(0, attempt)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [DeniedError, DeniedError]
    assert ENTERED == []


def test_sampler_of_ones_own_is_guarded_as_a_whole(session):
    """What it would do inside is not reached."""

    class Mine(BaseSamplerV2):
        def run(self, pubs: Any, *, shots: int | None = None) -> Any:
            ENTERED.append("mine")
            return StatevectorSampler().run(pubs)

    with pytest.raises(DeniedError):
        Mine().run([bell()])
    assert ENTERED == []
    assert session.calls[0].backend.cls.endswith("Mine")


@pytest.mark.parametrize("made", ["inside", "outside"])
def test_thread_pool_inside_a_call_is_decided_again(made):
    """Its workers are the call's own where the call made them; where it did not they are nobody's, and are decided."""
    calls: list[str] = []

    class Allowing:
        def begin(self, call: Call) -> Any:
            calls.append(call.target.rpartition(".")[0].rpartition(".")[2])
            return self

        def end(self, outcome: Outcome) -> None:
            """Nothing to keep."""

    class Pooling(BaseSamplerV2):
        def run(self, pubs: Any, *, shots: int | None = None) -> Any:
            if made == "outside":
                return pool.apply(work, (list(pubs),))
            with ThreadPool(1) as own:
                return own.apply(work, (list(pubs),))

    def work(pubs: Any) -> Any:
        return StatevectorSampler().run(pubs).result()

    with ThreadPool(1) as pool:
        pool.apply(int)
        intercept.install(Allowing())
        try:
            Pooling().run([bell()])
        finally:
            intercept.uninstall()
    assert calls == (["Pooling", "StatevectorSampler"] if made == "outside" else ["Pooling"])


def _child(connection: Any) -> None:
    try:
        StatevectorSampler().run([bell()])
        connection.send("ran")
    except DeniedError:
        connection.send("denied")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_process_keeps_the_guard(session):
    """A copy of the process is a copy of the guard."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == "denied"
    process.join()
