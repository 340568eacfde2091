"""A backend outside and everything that it receives: no name of the user's is in it."""

from __future__ import annotations

import io
import json
import pickle
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3, qpy, transpile
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    Gate,
    Parameter,
    ParameterVector,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import PauliEvolutionGate, PhaseOracleGate, RYGate, UnitaryGate, XGate
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qnb.core.directive import parse_directive
from qnb.errors import DeniedError, ExecutionError, StorageError
from qnb.kernel import intercept
from qnb.kernel.intercept import leaving
from qnb.kernel.session import Session
from qnb.store import names as name_store
from qnb.store.authority import Authority
from qnb.store.config import ensure_home
from qnb.store.keys import load_identities
from qnb.store.sealing import unseal_file

CANARIES = (b"dose_mg", b"patient_4711")
ROW = '\n[[backends]]\nabout = "a cloud"\nclass = "acme_cloud.*"\nnames = ["acme"]\nzone = "cloud"\n\n[roles]\n'


class AcmeJob(JobV1):
    """A job that its service still knows when it is asked by id."""

    def __init__(self, backend: Any, name: str, result: Any) -> None:
        super().__init__(backend, name)
        self._result = result

    def submit(self) -> None:
        """Submitted as it was made."""

    def result(self) -> Any:
        return self._result

    def status(self) -> JobStatus:
        return JobStatus.DONE


class Acme(BackendV2):
    """Somebody else's machine: keeps everything that it receives."""

    def __init__(self) -> None:
        super().__init__(name="acme")
        self.received: list[Any] = []
        self.jobs: dict[str, AcmeJob] = {}
        self.runs = True
        self._simulator = AerSimulator(max_parallel_threads=1)

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=64)

    @property
    def target(self) -> Any:
        return self._simulator.target

    @property
    def max_circuits(self) -> None:
        return None

    def run(self, run_input: Any, **options: Any) -> AcmeJob:
        self.received.append((run_input, options))
        if not self.runs:
            return AcmeJob(self, "acme-none", None)
        circuits = transpile(run_input, self._simulator, optimization_level=0)
        binds = {"parameter_binds": options["parameter_binds"]} if "parameter_binds" in options else {}
        result = self._simulator.run(circuits, shots=64, seed_simulator=11, **binds).result()
        name = f"acme-{len(self.jobs)}-{id(self)}"
        self.jobs[name] = AcmeJob(self, name, result)
        return self.jobs[name]


class AcmeSampler(BaseSamplerV2):
    """A primitive that looks at what it was given before it runs it."""

    def __init__(self, backend: Acme) -> None:
        self._backend = backend

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        pubs = list(pubs)
        self._backend.received.append((pubs, {}))
        return StatevectorSampler(seed=5).run([SamplerPub.coerce(pub, shots or 64) for pub in pubs])


for cls in (AcmeJob, Acme, AcmeSampler):
    cls.__module__ = "acme_cloud"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose policy lists the cloud."""
    home = tmp_path / "home"
    ensure_home(home)
    policy = home / "policy" / "qnb.toml"
    policy.write_text(policy.read_text().replace("\n[roles]\n", ROW))
    return home


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    """A guarded kernel, without the kernel."""
    with Authority.open(home) as authority:
        session = Session(authority, check_guard=intercept.check, settle=intercept.settle)
        intercept.install(session)
        session.open_cell("", parse_directive("%%qsecure confidential --purpose study"))
        yield session
        intercept.uninstall()


@pytest.fixture
def acme() -> Acme:
    return Acme()


def bell() -> QuantumCircuit:
    """Names in every place that the counts of a Bell pair go through."""
    qubits = QuantumRegister(2, "dose_mg")
    first, second = ClassicalRegister(1, "patient_4711"), ClassicalRegister(1, "dose_mg_c")
    circuit = QuantumCircuit(qubits, first, second, name="patient_4711_bell", metadata={"dose_mg": ["patient_4711"]})
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    """As it is, with its qubits measured into registers of telling names."""
    register = ClassicalRegister(circuit.num_qubits, "patient_4711_out")
    circuit.add_register(register)
    circuit.measure(circuit.qubits, register)
    return circuit


def wrapped() -> Gate:
    """A gate of one's own in a gate of one's own."""
    inner = QuantumCircuit(QuantumRegister(1, "dose_mg_inner"), name="patient_4711_inner")
    inner.rx(0.4, 0)
    outer = QuantumCircuit(1, name="dose_mg_gate")
    outer.append(inner.to_gate(label="patient_4711_label"), [0])
    return outer.to_gate()


class DoseGate(Gate):
    """A class of the user's, with names in its class, its name and its parameters."""

    def __init__(self) -> None:
        super().__init__("patient_4711_class", 1, [])
        self.dose_mg = "patient_4711"

    def _define(self) -> None:
        self.definition = QuantumCircuit(1, name="dose_mg")
        self.definition.x(0)


def of_gates() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.append(wrapped(), [0])
    circuit.append(wrapped().control(1, annotated=False), [0, 1])
    circuit.append(AnnotatedOperation(wrapped(), [ControlModifier(1)]), [1, 2])
    circuit.append(XGate(label="dose_mg_x"), [0])
    circuit.append(RYGate(0.2, label="patient_4711_ry").control(2, annotated=False), [0, 1, 2])
    circuit.append(UnitaryGate(np.eye(2), label="dose_mg_u"), [1])
    circuit.append(PhaseOracleGate("dose_mg & patient_4711"), [0, 1])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XZ"]), 0.3), [0, 2])
    circuit.append(DoseGate(), [2])
    circuit.barrier(label="patient_4711_barrier")
    return measured(circuit)


def of_blocks() -> QuantumCircuit:
    bits, flag = ClassicalRegister(2, "dose_mg_c"), ClassicalRegister(1, "patient_4711_flag")
    circuit = QuantumCircuit(QuantumRegister(2, "dose_mg_q"), bits, flag)
    circuit.h(0)
    circuit.measure([0, 1], bits)
    with circuit.if_test((bits, 1), label="dose_mg_if") as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.append(wrapped(), [0])
    with circuit.for_loop(range(2), Parameter("patient_4711_i")) as loop:
        circuit.rx(loop, 0)
    with circuit.switch(bits, label="patient_4711_switch") as case:
        with case(0, 1):
            circuit.z(0)
        with case(case.DEFAULT):
            circuit.y(0)
    with circuit.while_loop((flag, 1)):
        circuit.x(0)
    return measured(circuit)


def of_expressions() -> QuantumCircuit:
    bits = ClassicalRegister(2, "dose_mg_c")
    circuit = QuantumCircuit(QuantumRegister(2, "patient_4711_q"), bits)
    circuit.h(0)
    circuit.measure(0, bits[0])
    with circuit.if_test(expr.logic_and(expr.lift(bits[0]), expr.equal(expr.bit_xor(bits, 2), 3))):
        circuit.x(1)
    return measured(circuit)


def of_variables() -> QuantumCircuit:
    bits = ClassicalRegister(2, "dose_mg_c")
    circuit = QuantumCircuit(
        QuantumRegister(2, "patient_4711_q"), bits, inputs=[expr.Var.new("dose_mg_i", types.Bool())]
    )
    circuit.measure(0, bits[0])
    variable = circuit.add_var("dose_mg_v", expr.lift(1, types.Uint(2)))
    circuit.store(variable, expr.bit_xor(variable, expr.lift(bits)))
    stretch = circuit.add_stretch("patient_4711_s")
    circuit.delay(stretch, 0)
    with circuit.if_test(expr.less(variable, 2)):
        inner = circuit.add_var("patient_4711_inner", expr.lift(False))
        circuit.store(inner, expr.logic_not(inner))
    with circuit.box(duration=100, unit="dt", label="dose_mg_box"):
        circuit.x(1)
    return measured(circuit)


def of_loose_bits() -> QuantumCircuit:
    qubits, clbits = [Qubit(), Qubit()], [Clbit(), Clbit()]
    circuit = QuantumCircuit(qubits, clbits)
    circuit.add_register(QuantumRegister(name="dose_mg_alias", bits=qubits[::-1]))
    circuit.add_register(ClassicalRegister(name="patient_4711_alias", bits=clbits))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def of_layout() -> QuantumCircuit:
    return transpile(bell(), GenericBackendV2(4, seed=1), seed_transpiler=1)


def everything_written(value: Any) -> bytes:
    """What the usual serialisers make of everything in what was received."""
    written = [pickle.dumps(value)]
    for circuit in circuits_in(value):
        file = io.BytesIO()
        qpy.dump(circuit, file)
        written.append(file.getvalue())
        written.append(circuit.draw("text", cregbundle=False).single_string().encode())
        try:
            written.append(qasm3.dumps(circuit).encode())
        except Exception:  # noqa: BLE001 - what the language has no word for cannot travel in it
            written.append(b"")
    return b"\n".join(written)


def circuits_in(value: Any) -> Iterator[QuantumCircuit]:
    if isinstance(value, QuantumCircuit):
        yield value
    elif isinstance(value, SamplerPub):
        yield value.circuit
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from circuits_in(item)


def leaks(value: Any) -> list[bytes]:
    written = everything_written(value)
    return [canary for canary in CANARIES if canary in written]


@pytest.mark.filterwarnings("ignore:Cregbundle")
@pytest.mark.parametrize("make", [bell, of_gates, of_blocks, of_expressions, of_loose_bits, of_layout])
def test_cloud_backend_receives_no_name_and_the_caller_gets_all_of_them(
    session: Session, acme: Acme, make: Any
) -> None:
    """Nothing received says a name; counts, header, register sizes and metadata are those of a run that kept them."""
    circuit = make()
    plain = AerSimulator(max_parallel_threads=1)
    intercept.uninstall()
    expected = plain.run(transpile(circuit, plain, optimization_level=0), shots=64, seed_simulator=11).result()
    intercept.install(session)
    assert leaks(circuit)
    result = acme.run(circuit, private=True).result()
    assert leaks(acme.received) == []
    assert result.get_counts() == expected.get_counts()
    assert result.get_counts(circuit) == expected.get_counts()
    wanted, header = expected.results[0].header, result.results[0].header
    assert header["name"] == circuit.name
    for key in ("creg_sizes", "metadata", "memory_slots"):
        assert header[key] == wanted[key]


@pytest.mark.filterwarnings("ignore:Cregbundle")
def test_variables_and_stretches_leave_without_names(session: Session, acme: Acme) -> None:
    """Classical data that Aer cannot run: what is received says no name of it, in blocks neither."""
    circuit = of_variables()
    acme.runs = False
    assert leaks(circuit)
    acme.run(circuit, private=True).result()
    assert leaks(acme.received) == []


def test_primitive_of_anybody_receives_neutral_pubs_in_the_form_they_were_given(home: Path, acme: Acme) -> None:
    """At every level; values bound by object, by name, in groups or by position mean the same parameters."""
    vector, single = ParameterVector("dose_mg_v", 11), Parameter("patient_4711_p")
    circuit = QuantumCircuit(1, name="dose_mg", metadata={"patient_4711": 1})
    for parameter in (*vector, single):
        circuit.rx(parameter, 0)
    measured(circuit)
    angles = np.linspace(0, 1, 12)
    given = dict(zip(circuit.parameters, angles, strict=True))
    by_name = {parameter.name: angle for parameter, angle in given.items()}
    grouped = {tuple(parameter.name for parameter in vector): [given[p] for p in vector], single: given[single]}
    pubs = [
        (circuit, given),
        (circuit, by_name),
        [circuit, grouped],
        (circuit, angles),
        SamplerPub.coerce((circuit, by_name)),
    ]
    expected = StatevectorSampler(seed=5).run([SamplerPub.coerce(pub, 64) for pub in pubs]).result()
    with Authority.open(home) as authority:
        intercept.install(session := Session(authority, check_guard=intercept.check, settle=intercept.settle))
        session.open_cell("", None)
        result = AcmeSampler(acme).run(pubs).result()
        intercept.uninstall()
    assert leaks(acme.received) == []
    received = acme.received[0][0]
    assert [type(pub) for pub in received] == [type(pub) for pub in pubs]
    assert [len(pub) for pub in received[:4]] == [2] * 4
    for back, wanted in zip(result, expected, strict=True):
        assert back.data.patient_4711_out.get_counts() == wanted.data.patient_4711_out.get_counts()
        assert back.metadata["circuit_metadata"] == {"patient_4711": 1}


def test_reference_primitive_over_a_cloud_backend_is_neutral_inside(home: Path, acme: Acme) -> None:
    """What a primitive of the SDK hands to its backend is what we handed to the primitive."""
    with Authority.open(home) as authority:
        intercept.install(session := Session(authority, check_guard=intercept.check, settle=intercept.settle))
        session.open_cell("", None)
        result = BackendSamplerV2(backend=acme).run([bell()], shots=64).result()[0]
        intercept.uninstall()
    assert leaks([circuits for circuits, _ in acme.received]) == []
    assert set(result.data) == {"patient_4711", "dose_mg_c"}
    assert result.metadata["circuit_metadata"] == {"dose_mg": ["patient_4711"]}


def test_parameter_binds_of_a_backend_are_keyed_by_what_was_sent(session: Session, acme: Acme) -> None:
    """Aer's way to bind, by object: keys are replaced with the circuit's parameters."""
    angle = Parameter("dose_mg_angle")
    circuit = QuantumCircuit(1)
    circuit.rx(angle, 0)
    measured(circuit)
    result = acme.run(circuit, private=True, parameter_binds=[{angle: [np.pi, 0.0]}]).result()
    assert leaks([circuits for circuits, _ in acme.received]) == []
    assert [key.name for key in acme.received[0][1]["parameter_binds"][0]] == ["p0"]
    assert [set(counts) for counts in result.get_counts()] == [{"1"}, {"0"}]


def test_result_is_the_same_object_each_time_and_the_jobs_own_is_untouched(session: Session, acme: Acme) -> None:
    """Restoring copies: asking twice does not restore twice."""
    job = acme.run(bell(), private=True)
    assert job.result() is job.result()
    assert job.result().results[0].header["name"] == "patient_4711_bell"
    assert job._result.results[0].header["name"] == "circuit0"


def test_map_of_names_is_sealed_with_the_job_and_opens_on_the_record(session: Session, acme: Acme, home: Path) -> None:
    """The map is an age file of mode 0600 for the cell's recipients; no file of the home says a name in clear."""
    acme.run(bell(), private=True).result()
    (path,) = (home / "names").glob("*.age")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in home.rglob("*"):
        if file.is_file():
            assert not [canary for canary in CANARIES if canary in file.read_bytes()], file
    target = io.BytesIO()
    opened = unseal_file(session.authority, path, target, lambda: load_identities([home / "identity"], None))
    content = json.loads(target.getvalue())
    assert opened.entry > 0
    assert path.name.startswith(f"{content['decision']}-")
    assert content["label"] == "confidential"
    assert content["circuits"] == {"circuit0": "patient_4711_bell"}
    assert sorted(content["registers"].values()) == ["dose_mg", "dose_mg_c", "patient_4711"]
    assert content["metadata"] == {"circuit0": {"dose_mg": ["patient_4711"]}}


def test_loop_keeps_one_map_for_the_evaluations_that_share_it(session: Session, acme: Acme, home: Path) -> None:
    """A hundred evaluations under one grant are one file; other names under the same grant are another."""
    for _ in range(3):
        acme.run(bell(), private=True).result()
    assert len(list((home / "names").glob("*.age"))) == 1
    other = bell()
    other.name = "patient_4711_other"
    acme.run(other, private=True).result()
    assert len(list((home / "names").glob("*.age"))) == 2


def test_job_is_not_submitted_when_its_map_cannot_be_kept(
    session: Session, acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: nothing is sent that could not be read back later."""

    def full(*_: object, **__: object) -> None:
        raise StorageError("not-written", "no space left on device")

    monkeypatch.setattr(name_store, "write_atomic", full)
    with pytest.raises(StorageError):
        acme.run(bell(), private=True)
    assert acme.received == []


def test_denied_job_leaves_nothing_behind(session: Session, acme: Acme, home: Path) -> None:
    """A denial comes before any name is looked at: nothing is sent, no map is kept."""
    with pytest.raises(DeniedError):
        acme.run(bell())
    assert acme.received == []
    assert not (home / "names").exists()


def test_job_fetched_again_in_the_same_kernel_has_its_names(session: Session, acme: Acme) -> None:
    """By its id alone: the names are in this kernel's memory."""
    job = acme.run(bell(), private=True)
    job.result()
    again = AcmeJob(acme, job.job_id(), acme.jobs[job.job_id()]._result)
    assert again.result().results[0].header["name"] == "patient_4711_bell"


def test_job_fetched_in_another_kernel_stays_neutral_and_says_where_its_map_is(
    session: Session, acme: Acme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel can open nothing: it names the file and the command, once."""
    job = acme.run(bell(), private=True)
    job.result()
    monkeypatch.setenv("QNB_HOME", str(home))
    monkeypatch.setattr(leaving, "_submitted", type(leaving._submitted)())
    again = AcmeJob(acme, job.job_id(), acme.jobs[job.job_id()]._result)
    (path,) = (home / "names").glob("*.age")
    with pytest.warns(UserWarning, match=rf"qnb unseal .*{path.name}"):
        result = again.result()
    assert result.results[0].header["name"] == "circuit0"
    assert again.result().get_counts() == result.get_counts()  # and does not warn again


def test_local_backend_gets_the_names_as_they_are(session: Session, home: Path) -> None:
    """On this machine names go nowhere: nothing is replaced and nothing is kept."""
    result = AerSimulator().run(bell()).result()
    assert result.results[0].header["name"] == "patient_4711_bell"
    assert not (home / "names").exists()


def test_zone_can_be_told_to_receive_names(home: Path, acme: Acme) -> None:
    """`names = "as-given"` in the policy's zone sends what was given; it is part of the policy's digest."""
    policy = home / "policy" / "qnb.toml"
    text = policy.read_text()
    changed = text.replace('"machines of a provider"', '"machines of a provider"\nnames = "as-given"')
    assert changed != text
    policy.write_text(changed)
    with Authority.open(home) as authority:
        intercept.install(session := Session(authority, check_guard=intercept.check, settle=intercept.settle))
        session.open_cell("", None)
        acme.run(bell()).result()
        intercept.uninstall()
    assert leaks(acme.received) == list(CANARIES)


def test_unlisted_backend_receives_no_name(home: Path) -> None:
    """The zone `unknown` is somebody else's until the policy says otherwise."""

    class Unlisted(Acme):
        pass

    Unlisted.__module__ = "somewhere"
    backend = Unlisted()
    with Authority.open(home) as authority:
        intercept.install(session := Session(authority, check_guard=intercept.check, settle=intercept.settle))
        session.open_cell("", None)
        result = backend.run(bell()).result()
        intercept.uninstall()
    assert leaks(backend.received) == []
    assert result.results[0].header["name"] == "patient_4711_bell"


def test_noise_model_that_picks_gates_by_label_is_refused(session: Session, acme: Acme) -> None:
    """Under neutral labels its errors would act on nothing: another experiment than the one asked for."""
    circuit = QuantumCircuit(1)
    circuit.append(XGate(label="dose_mg_x"), [0])
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "dose_mg_x")
    with pytest.raises(ExecutionError) as refused:
        acme.run(measured(circuit), private=True, noise_model=model)
    assert refused.value.code == "names-not-replaced"
    assert "dose_mg" not in str(refused.value)
    assert acme.received == []


def test_operation_that_the_backend_understands_keeps_its_name(session: Session, acme: Acme) -> None:
    """Native gates are called by name: that name is the provider's word, not the user's."""
    gate = QuantumCircuit(2, name="ecr")
    gate.h(0)
    circuit = QuantumCircuit(2)
    circuit.append(gate.to_gate(), [0, 1])
    acme.run(measured(circuit), private=True).result()
    assert acme.received[0][0].data[0].operation.name == "ecr"
