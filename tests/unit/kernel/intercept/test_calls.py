"""Every path gives one decision, and the decision is told what really runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.primitives import (
    BackendEstimatorV2,
    BackendSamplerV2,
    BaseSamplerV2,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from qnb.core.circuits import describe, digest_noise_model
from qnb.errors import ExecutionError

FAKE = GenericBackendV2(2, seed=1)


def pair() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def turned() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("t"), 0)
    circuit.cx(0, 1)
    return circuit


ZZ = SparsePauliOp("ZZ")
PATHS: dict[str, tuple[str, Callable[[QuantumCircuit], Any]]] = {
    "aer": ("AerBackend.run", lambda bell: AerSimulator().run(bell, shots=10).result()),
    "aer list": ("AerBackend.run", lambda bell: AerSimulator().run([bell, bell]).result()),
    "aer from backend": (
        "AerBackend.run",
        lambda bell: AerSimulator.from_backend(FAKE).run(transpile(bell, FAKE)).result(),
    ),
    "basic": ("BasicSimulator.run", lambda bell: BasicSimulator().run(bell).result()),
    "fake": ("GenericBackendV2.run", lambda bell: FAKE.run(bell).result()),
    "aer sampler": ("SamplerV2.run", lambda bell: SamplerV2().run([bell]).result()),
    "aer estimator": ("EstimatorV2.run", lambda _: EstimatorV2().run([(pair(), ZZ)]).result()),
    "statevector sampler": ("StatevectorSampler.run", lambda bell: StatevectorSampler().run([bell]).result()),
    "statevector estimator": (
        "StatevectorEstimator.run",
        lambda _: StatevectorEstimator().run([(pair(), "ZZ")]).result(),
    ),
    "backend sampler": ("BackendSamplerV2.run", lambda bell: BackendSamplerV2(backend=FAKE).run([bell]).result()),
    "backend estimator": (
        "BackendEstimatorV2.run",
        lambda _: BackendEstimatorV2(backend=FAKE).run([(pair(), ZZ)]).result(),
    ),
    "backend estimator on aer": (
        "BackendEstimatorV2.run",
        lambda _: BackendEstimatorV2(backend=AerSimulator()).run([(turned(), ZZ, [0.5])]).result(),
    ),
}


@pytest.mark.parametrize("path", PATHS)
def test_path_gives_one_decision_and_one_outcome(session, bell, path):
    """However many calls of guarded methods are inside it, an execution is decided once and recorded once."""
    target, run = PATHS[path]
    run(bell)
    assert [call.target for call in session.calls] == [target]
    assert [outcome.status for outcome in session.outcomes] == ["ok"]
    assert session.retrievals == []
    assert session.outcomes[0].result is not None
    assert session.outcomes[0].seconds > 0


def test_call_names_backend_shots_seed_and_circuit(session, bell):
    """What was given is told; what was not is None."""
    AerSimulator().run(bell, shots=12, seed_simulator=5).result()
    call = session.calls[0]
    assert call.backend.name == "aer_simulator"
    assert call.backend.cls == "qiskit_aer.backends.aer_simulator.AerSimulator"
    assert (call.shots, call.seed, call.private, call.options) == (12, 5, False, None)
    assert call.circuits == (describe(bell),)
    assert (session.outcomes[0].shots, session.outcomes[0].seed) == (12, 5)
    AerSimulator().run(bell).result()
    assert (session.calls[1].shots, session.calls[1].seed) == (None, None)
    assert session.outcomes[1].shots == 1024


def test_options_of_the_backend_count_as_given(session, bell):
    """Shots, seed and noise may come with the backend; what is left has a digest."""
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["h"])
    AerSimulator(shots=9, seed_simulator=3, noise_model=noise, method="density_matrix").run(bell).result()
    AerSimulator(method="density_matrix").run(bell, noise_model=noise, shots=9, seed_simulator=3).result()
    one, two = session.calls
    assert (
        (one.shots, one.seed, one.noise_model)
        == (9, 3, digest_noise_model(noise))
        == (two.shots, two.seed, two.noise_model)
    )
    assert one.options is not None
    assert one.options == two.options


def test_primitive_tells_backend_shots_and_observables(session, bell):
    """A primitive is judged by the backend behind it."""
    sampler = SamplerV2.from_backend(AerSimulator(method="statevector"), default_shots=77, seed=8)
    sampler.run([bell, (bell, None, 99)]).result()
    assert (session.calls[0].shots, session.calls[0].seed) == (99, 8)
    assert session.calls[0].backend.cls == "qiskit_aer.backends.aer_simulator.AerSimulator"
    EstimatorV2(options={"default_precision": 0.25}).run([(pair(), ZZ)]).result()
    assert session.calls[1].precision == 0.25
    assert session.calls[1].observables is not None
    StatevectorEstimator().run([(pair(), "ZZ")]).result()
    assert session.calls[2].backend.cls == "qiskit.primitives.statevector_estimator.StatevectorEstimator"


def test_bound_values_have_a_digest_that_no_name_decides(session):
    """The same values under another name of the parameter are the same; other values are not."""

    def run(name: str, value: float) -> None:
        circuit = QuantumCircuit(1, 1)
        circuit.rx(Parameter(name), 0)
        circuit.measure(0, 0)
        SamplerV2().run([(circuit, [value])]).result()

    run("a", 0.5)
    run("z", 0.5)
    run("a", 0.6)
    digests = [call.parameters for call in session.calls]
    assert digests[0] == digests[1] != digests[2]
    assert len({call.circuits[0].fingerprint for call in session.calls}) == 1


def test_parameter_binds_of_aer_are_digested(session):
    """Aer's own way of binding is read like the others."""
    angle = Parameter("a")
    circuit = QuantumCircuit(1, 1)
    circuit.rx(angle, 0)
    circuit.measure(0, 0)
    for binds in ({angle: [0.1, 0.2]}, {angle: np.array([0.1, 0.3])}):
        result = AerSimulator().run(circuit, parameter_binds=[binds], shots=10).result()
        assert len(result.results) == 2
    assert session.calls[0].parameters not in (None, session.calls[1].parameters)


def test_generator_of_pubs_is_read_once(session, bell):
    """What can be read only once is read by the guard and handed on whole."""
    result = StatevectorSampler().run(pub for pub in [bell, bell]).result()
    assert len(result) == 2
    assert len(session.calls[0].circuits) == 2
    assert len(AerSimulator().run(circuits=(bell, bell)).result().results) == 2


def test_primitive_of_ones_own_is_handed_what_it_was_given(session, bell):
    """Copies, in the form in which they came."""
    seen = []

    class Mine(BaseSamplerV2):
        def run(self, pubs: Any, *, shots: int | None = None) -> Any:
            seen.extend(pubs)
            return StatevectorSampler().run(pubs, shots=shots)

    values = np.array([0.5])
    circuit = turned()
    circuit.measure_all()
    Mine().run([bell, (circuit, values), (circuit, values, 5)], shots=7).result()
    assert [type(item) for item in seen] == [QuantumCircuit, tuple, tuple]
    assert seen[0] == bell
    assert seen[0] is not bell
    assert seen[1][1] is not values
    assert seen[2][2] == 5
    assert len(session.calls) == 1
    assert session.calls[0].shots == 7
    assert session.calls[0].parameters is not None


def test_input_that_is_no_circuit_is_refused(session):
    """What cannot be read cannot be judged."""
    with pytest.raises(ExecutionError, match="cannot be judged"):
        AerSimulator().run("h q[0];")
    assert session.calls == []


def test_loops_share_the_structure(session):
    """Iterates with bound angles are one structure, so that one decision can cover them."""
    circuit = turned()
    for value in (0.1, 0.2):
        EstimatorV2().run([(circuit.assign_parameters([value]), ZZ)]).result()
    one, two = (call.circuits[0] for call in session.calls)
    assert one.structure == two.structure
    assert one.fingerprint != two.fingerprint


def test_subclass_calling_super_gives_one_decision(session, bell):
    """`super().run()` is inside."""

    class Mine(AerSimulator):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            return super().run(*args, **kwargs)

    Mine().run(bell).result()
    assert [call.target.rpartition(".")[0].rpartition(".")[2] for call in session.calls] == ["Mine"]
    assert session.calls[0].backend.cls.endswith("Mine")


def test_threads_decide_each_for_themselves(session, bell):
    """A thread of the caller's own is outside; many at once give as many decisions."""
    threads = [Thread(target=lambda: AerSimulator().run(bell).result()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: SamplerV2().run([bell]).result(), range(4)))
    assert len(session.calls) == len(session.outcomes) == 8


def test_pool_started_inside_a_call_does_not_carry_the_token(session, bell):
    """A worker that a guarded call happened to start serves others outside of it."""
    pool = ThreadPoolExecutor(1)

    class Pooling(BaseSamplerV2):
        def run(self, pubs: Any, *, shots: int | None = None) -> Any:
            return pool.submit(lambda: StatevectorSampler().run(pubs).result())

    with pool:
        Pooling().run([bell]).result()
        assert len(session.calls) == 1
        pool.submit(lambda: StatevectorSampler().run([bell]).result()).result()
        assert len(session.calls) == 2


def test_asyncio_tasks_decide_each_for_themselves(session, bell):
    """Tasks do not inherit a decision from each other."""

    async def one() -> Any:
        return await asyncio.to_thread(lambda: AerSimulator().run(bell).result())

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(3)))

    asyncio.run(all_of_them())
    assert len(session.calls) == len(session.outcomes) == 3


def test_install_imports_no_sdk():
    """Loading is fast: what is not there yet is guarded when it is imported."""
    code = (
        "import sys\n"
        "from qnb.kernel import intercept\n"
        "class S:\n"
        "    n = 0\n"
        "    def begin(self, call): S.n += 1; return self\n"
        "    def end(self, outcome): S.n += 10\n"
        "intercept.install(S())\n"
        "assert not [m for m in sys.modules if m.partition('.')[0].startswith('qiskit')]\n"
        "from qiskit import QuantumCircuit\n"
        "from qiskit_aer import AerSimulator\n"
        "q = QuantumCircuit(1, 1); q.h(0); q.measure(0, 0)\n"
        "AerSimulator().run(q).result()\n"
        "assert S.n == 11, S.n\n"
        "assert intercept.check() == []\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
