"""What is guarded: the table of targets. Adding one is one line.

Enters: nothing. Leaves: where the methods stand that execute circuits, and how their arguments are read.
Never: imports an SDK.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A method of a base class, guarded in the base and in everything below it.

    Attributes:
        module, base, method: where it is.
        reader: how its arguments are read, a key of `calls.READERS`; `result` and `submission` for jobs.
        optional: whether versions of the SDK are known that have not got it. Where another one is absent from a module
            that is loaded, the SDK has changed and the guard may have a hole: that is a finding.
    """

    module: str
    base: str
    method: str
    reader: str
    optional: bool = False

    @property
    def name(self) -> str:
        """The qualified name."""
        return f"{self.module}.{self.base}.{self.method}"


_STATES = "qiskit.quantum_info.states"
_OPERATORS = "qiskit.quantum_info.operators"
_AER = "qiskit_aer.quantum_info.states"
_IBM = "qiskit_ibm_runtime"
_LOCAL = f"{_IBM}.fake_provider.local_service"

TARGETS = (
    Target("qiskit.providers.backend", "BackendV2", "run", "backend"),
    Target("qiskit.primitives.base.base_sampler", "BaseSamplerV2", "run", "sampler"),
    Target("qiskit.primitives.base.base_estimator", "BaseEstimatorV2", "run", "estimator"),
    Target("qiskit.primitives.base.base_sampler", "BaseSamplerV1", "run", "sampler-v1", optional=True),
    Target("qiskit.primitives.base.base_estimator", "BaseEstimatorV1", "run", "estimator-v1", optional=True),
    # What runs at IBM without a common base, and where all of it converges.
    Target(f"{_IBM}.executor.executor", "Executor", "run", "program", optional=True),
    Target(f"{_IBM}.noise_learner.noise_learner", "NoiseLearner", "run", "program", optional=True),
    Target(f"{_IBM}.noise_learner_v3.noise_learner_v3", "NoiseLearnerV3", "run", "program", optional=True),
    Target(f"{_IBM}.executor_noise_learner.noise_learner_v3", "NoiseLearnerV3", "run", "program", optional=True),
    Target(f"{_IBM}.calibrator.calibrator", "Calibrator", "run", "program", optional=True),
    Target(f"{_IBM}.session", "Session", "_run", "program"),
    Target(f"{_IBM}.qiskit_runtime_service", "QiskitRuntimeService", "_run", "program"),
    Target(_LOCAL, "QiskitRuntimeLocalService", "_run", "program"),
    Target(_LOCAL, "QiskitRuntimeLocalService", "_run_executor", "program", optional=True),
    # Simulation in the process. These are where constructors, `from_circuit`, `compose` and the operators of Python
    # meet once there is a circuit among what they were given, so that matrices cost nothing and count for nothing.
    Target(f"{_STATES}.statevector", "Statevector", "from_instruction", "simulation"),
    Target(f"{_STATES}.statevector", "Statevector", "evolve", "simulation"),
    Target(f"{_STATES}.densitymatrix", "DensityMatrix", "from_instruction", "simulation"),
    Target(f"{_STATES}.densitymatrix", "DensityMatrix", "evolve", "simulation"),
    Target(f"{_OPERATORS}.operator", "Operator", "_init_instruction", "simulation"),
    Target(f"{_OPERATORS}.channel.superop", "SuperOp", "_init_instruction", "simulation"),  # all channels
    Target(f"{_OPERATORS}.symplectic.clifford", "Clifford", "from_circuit", "simulation"),  # stabilizer states, too
    Target(f"{_OPERATORS}.symplectic.clifford", "Clifford", "compose", "simulation"),
    Target(f"{_OPERATORS}.symplectic.base_pauli", "BasePauli", "evolve", "simulation"),
    Target(f"{_OPERATORS}.symplectic.pauli", "Pauli", "_from_circuit", "simulation"),
    Target(f"{_OPERATORS}.dihedral.dihedral", "CNOTDihedral", "_from_circuit", "simulation"),
    Target(f"{_AER}.aer_statevector", "AerStatevector", "_from_instruction", "simulation"),
    Target(f"{_AER}.aer_densitymatrix", "AerDensityMatrix", "_from_instruction", "simulation"),
    Target(f"{_AER}.aer_state", "AerState", "initialize", "state"),
    # Results: of a job that nobody saw submitted they are retrieved. A local job is a thread of this process, and what
    # it executes under the guard is decided where it does: the result of one that started then is no retrieval.
    Target("qiskit.primitives.primitive_job", "PrimitiveJob", "_submit", "submission"),
    Target("qiskit.providers.job", "JobV1", "result", "result"),
    Target("qiskit.primitives.base.base_primitive_job", "BasePrimitiveJob", "result", "result"),
)
