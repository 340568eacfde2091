"""A loop of estimator calls under one grant, with policy and log: what each further evaluation costs.

The calls are those of a VQE on four qubits: one ansatz, fifteen Pauli terms, other angles each time, Aer's estimator.
Bare and guarded stretches alternate in one process. The guarded ones are cells of their own: decided, recorded each
second as in a kernel, and ended.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2
from rows import Row, report, scratch

from qnb.core.directive import parse_directive
from qnb.kernel import intercept
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import init_home

_TERMS = [
    "IIII",
    "IIIZ",
    "IIZI",
    "IZII",
    "ZIII",
    "IIZZ",
    "IZIZ",
    "ZIIZ",
    "YYYY",
    "XXYY",
    "YYXX",
    "XXXX",
    "IZZI",
    "ZIZI",
    "ZZII",
]
_CELL = "%%qsecure confidential"
CALLS, PAIRS = 250, 4  # four stretches of 250 each way: a loop of 1000


def main() -> None:
    """Measure and print."""
    hamiltonian = SparsePauliOp(_TERMS, np.linspace(-1, 1, len(_TERMS)))
    ansatz = efficient_su2(4, reps=2)
    estimator = EstimatorV2(options={"backend_options": {"max_parallel_threads": 1}})
    angles = np.random.default_rng(3).uniform(0, 3, (CALLS, ansatz.num_parameters))

    def loop(calls: int) -> float:
        start = time.perf_counter()
        for values in angles[:calls]:
            estimator.run([(ansatz, hamiltonian, values)]).result()
        return time.perf_counter() - start

    pairs = []
    with scratch() as folder:
        init_home(folder / "home", passphrase=None)
        with Authority.open(folder / "home") as authority:
            session = Session(authority, check_guard=intercept.check, settle=intercept.settle)
            loop(50)
            for _ in range(PAIRS):
                bare = loop(CALLS)
                intercept.install(session)
                cell = session.open_cell(_CELL, parse_directive(_CELL))
                loop(20)
                start = time.perf_counter()
                loop(CALLS)
                session.end_executions(cell)
                pairs.append((bare, time.perf_counter() - start))
                intercept.uninstall()
    bare, guarded = (statistics.median(side) / CALLS for side in zip(*pairs, strict=True))
    note = f"{bare * 1e3:.2f} ms bare, {guarded * 1e3:.2f} ms guarded a call; median of {PAIRS} pairs of {CALLS}"
    ratio = statistics.median(guarded / bare for bare, guarded in pairs)
    report(
        [
            Row("a loop of estimator calls under a grant, against the bare loop", ratio, "x", 1.10, note),
            Row("each further evaluation under its grant", (guarded - bare) * 1e3, "ms", 0.3, note),
        ]
    )


if __name__ == "__main__":
    main()
