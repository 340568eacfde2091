"""Ways around a guarded name: everybody who can reach a circuit's execution reaches the guard."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from functools import partial, partialmethod, wraps
from typing import Any

import pytest
import qiskit.primitives.statevector_sampler as sampler_module
from qiskit import QuantumCircuit
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qnb.errors import DeniedError
from qnb.kernel import intercept
from qnb.model import Action, Call, Decision, Label, Outcome, Reason

# taken before the guard is installed
SIMULATOR = AerSimulator()
BOUND = SIMULATOR.run
PARTIAL = partial(AerSimulator.run, SIMULATOR, shots=3)
UNBOUND = AerSimulator.run
SAMPLE = StatevectorSampler().run
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
        self.outcomes: list[Outcome] = []

    def begin(self, call: Call) -> Any:
        self.calls.append(call)
        decision = Decision(False, Action.EXECUTE, Label("restricted"), (Reason("p", "no"),), "0" * 64)
        raise DeniedError("denied", "not here", decision=decision)


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
