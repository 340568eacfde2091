"""What the guard itself costs, with a session that only says yes: no policy, no log, no kernel.

Copies, description, digests and following a job, on the fastest call there is and on one that takes long; and the
fingerprint alone. Both sides of each ratio alternate in one process: a side is switched by taking the session away.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2, SamplerV2
from rows import Row, report

from qnb.core.circuits import describe
from qnb.kernel import intercept
from qnb.model import Call, Outcome, Retrieval


class Yes:
    """Decides in no time and records nothing."""

    def begin(self, call: Call) -> Yes:  # noqa: ARG002 -- says yes to whatever is asked
        """Yes."""
        return self

    def retrieve(self, retrieval: Retrieval) -> Yes:  # noqa: ARG002 -- as above
        """Yes."""
        return self

    def end(self, outcome: Outcome) -> None:
        """Keep nothing."""


def bell() -> QuantumCircuit:
    """Two qubits, entangled and measured."""
    return ghz(2)


def ghz(qubits: int) -> QuantumCircuit:
    """All qubits, entangled and measured."""
    circuit = QuantumCircuit(qubits, qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def wide(qubits: int = 1000, gates: int = 100_000) -> QuantumCircuit:
    """Two fifths of two-qubit gates, two fifths of rotations, the rest plain."""
    rng = random.Random(1)
    circuit = QuantumCircuit(qubits)
    for _ in range(gates):
        kind = rng.random()
        if kind < 0.4:
            circuit.cx(*rng.sample(range(qubits), 2))
        elif kind < 0.8:
            circuit.rz(rng.random(), rng.randrange(qubits))
        else:
            circuit.h(rng.randrange(qubits))
    return circuit


def compare(call: Callable[[], object], blocks: int, length: int) -> tuple[float, float, float]:
    """Median seconds of a call (bare, guarded), and the median of guarded / bare block by block.

    Bare and guarded blocks alternate; the first calls of a block warm it up, since swapped code starts cold.
    """
    pairs = []
    for _ in range(blocks):
        bare = block(call, length)
        intercept.install(Yes())
        guarded = block(call, length)
        intercept.uninstall()
        pairs.append((bare, guarded))
    return (
        statistics.median(bare for bare, _ in pairs),
        statistics.median(guarded for _, guarded in pairs),
        statistics.median(guarded / bare for bare, guarded in pairs),
    )


def block(call: Callable[[], object], length: int) -> float:
    """Median seconds of `length` calls after some that warm up."""
    for _ in range(max(1, length // 5)):
        call()
    return median_time(call, length)


def added(name: str, call: Callable[[], object], blocks: int, target: float | None) -> list[Row]:
    """What the guard adds to a call, in microseconds, and as a ratio."""
    bare, guarded, ratio = compare(call, blocks, 40)
    sides = f"{bare * 1e6:.0f} us bare, {guarded * 1e6:.0f} us guarded; median of {blocks} pairs of 40"
    return [
        Row(f"guard added to {name}", (guarded - bare) * 1e6, "us", target, sides),
        Row(f"{name}, guarded against bare", ratio, "x", None, sides),
    ]


def median_time(call: Callable[[], object], repeat: int) -> float:
    """Median seconds of one side alone."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fingerprints() -> list[Row]:
    """`describe` alone."""
    small, middle, large = bell(), ghz(20), wide()
    return [
        Row("fingerprint, Bell", median_time(lambda: describe(small), 2000) * 1e6, "us", None, "median of 2000"),
        Row("fingerprint, GHZ-20", median_time(lambda: describe(middle), 500) * 1e6, "us", None, "median of 500"),
        Row(
            "fingerprint, 1000 qubits and 100k gates",
            median_time(lambda: describe(large), 9) * 1e3,
            "ms",
            100,
            "median of 9",
        ),
    ]


def calls() -> list[Row]:
    """Whole calls, from the arguments to the result."""
    simulator = AerSimulator(max_parallel_threads=1)
    sampler = SamplerV2(options={"backend_options": {"max_parallel_threads": 1}})
    estimator = EstimatorV2(options={"backend_options": {"max_parallel_threads": 1}})
    circuit, chain = bell(), ghz(20)
    ansatz = real_amplitudes(4, reps=2)
    observable = SparsePauliOp(["ZZZZ", "XXII"], [1.0, 0.5])
    angles = np.random.default_rng(5).uniform(0, 3, (1000, ansatz.num_parameters))
    one = angles[0]
    return [
        *added("an Aer Bell", lambda: simulator.run(circuit, shots=100).result(), 15, 120),
        *added("a Bell in Aer's sampler", lambda: sampler.run([circuit], shots=100).result(), 10, None),
        *added(
            "one evaluation of Aer's estimator", lambda: estimator.run([(ansatz, observable, one)]).result(), 10, None
        ),
        *added("GHZ-20 on Aer", lambda: simulator.run(chain, shots=100).result(), 5, None),
        Row(
            "1 PUB x 1000 bindings, guarded against bare",
            compare(lambda: estimator.run([(ansatz, observable, angles)]).result(), 8, 3)[2],
            "x",
            1.02,
            "median of 8 pairs of 3, without policy and log",
        ),
    ]


def main() -> None:
    """Measure and print."""
    report([*fingerprints(), *calls()])


if __name__ == "__main__":
    main()
