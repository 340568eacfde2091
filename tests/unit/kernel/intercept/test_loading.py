"""Circuits that come in past `qnb.load_circuit` are decided where they are classified."""

from __future__ import annotations

import copy
import io
import json
import multiprocessing
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from qiskit import QuantumCircuit, qasm2, qasm3, qpy
from qiskit.circuit.library import real_amplitudes
from qiskit_aer import AerSimulator

import qnb
from qnb.core.directive import parse_directive
from qnb.errors import DeniedError
from qnb.kernel import intercept
from qnb.kernel.intercept import loading
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import ensure_home

load_before = qpy.load


class Log:
    """A guarded session and what it has decided."""

    def __init__(self, home: Path, authority: Authority) -> None:
        self.session = Session(authority, check_guard=intercept.check, settle=intercept.settle)
        intercept.install(self.session)
        self.session.open_cell("", None)
        self._authority = authority

    def classified(self) -> None:
        """Open a classified cell."""
        self.session.open_cell("", parse_directive("%%qsecure confidential"))

    def loads(self) -> list[tuple[str | None, str, list[str]]]:
        """Format, answer and subjects of each decision about a load."""
        found = []
        for entry in range(self._authority.size):
            statement = json.loads(self._authority._log.entry(entry))
            predicate = statement["predicate"]
            if predicate.get("action") == "load":
                names = [subject["name"] for subject in statement["subject"]]
                found.append((predicate["request"]["format"], predicate["decision"], names))
        return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    ensure_home(home)
    return home


@pytest.fixture
def log(home: Path) -> Iterator[Log]:
    with Authority.open(home) as authority:
        yield Log(home, authority)
        intercept.uninstall()


@pytest.fixture
def denying(home: Path) -> Iterator[Log]:
    """A session whose policy lets nobody load."""
    rules = home / "policy" / "policy.cedar"
    text = rules.read_text()
    start = text.index('@id("researcher-loads")')
    rules.write_text(text[:start] + text[text.index("@id", start + 1) :])
    with Authority.open(home) as authority:
        yield Log(home, authority)
        intercept.uninstall()


def written() -> bytes:
    file = io.BytesIO()
    qpy.dump(QuantumCircuit(2), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("load", "format_"),
    [
        (lambda: qpy.load(io.BytesIO(written())), "qpy"),
        (lambda: load_before(io.BytesIO(written())), "qpy"),
        (lambda: qasm2.loads("OPENQASM 2.0; qreg q[1];"), "qasm2"),
        (lambda: QuantumCircuit.from_qasm_str("OPENQASM 2.0; qreg q[1];"), "qasm2"),
        (lambda: qasm3.loads("OPENQASM 3.0; qubit q;"), "qasm3"),
    ],
)
def test_loader_of_the_sdk_is_decided_in_a_classified_cell_only(log: Log, load: Any, format_: str) -> None:
    """Each call, once; where nothing is classified it is as it would be without qnb."""
    load()
    assert log.loads() == []
    log.classified()
    load()
    load()
    assert log.loads() == [(format_, "allow", ["policy"])] * 2


def test_loader_that_is_imported_later_is_guarded_at_the_next_look(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that comes along is found before the next cell, as a class is."""

    def loads(text: str) -> str:
        return text

    late = ModuleType("late_format")
    monkeypatch.setattr(loading, "LOADERS", (*loading.LOADERS, ("late_format", "loads", "qasm3")))
    log.classified()
    late.loads = loads
    monkeypatch.setitem(sys.modules, "late_format", late)
    loads("x")
    assert log.loads() == []
    log.classified()
    assert loads("x") == "x"
    assert [load[0] for load in log.loads()] == ["qasm3"]


@pytest.mark.parametrize(
    "unpickle",
    [
        pickle.loads,
        pickle._loads,  # the one written in Python
        lambda data: pickle.Unpickler(io.BytesIO(data)).load(),
    ],
)
def test_unpickled_circuit_is_decided_once_in_a_classified_cell(log: Log, unpickle: Any) -> None:
    """Whoever unpickles: Python itself tells of the class. One decision covers the cell."""
    data = pickle.dumps([QuantumCircuit(1), real_amplitudes(2)])
    unpickle(data)
    assert log.loads() == []
    log.classified()
    unpickle(data)
    unpickle(data)
    assert log.loads() == [("pickle", "allow", ["policy"])]
    log.classified()
    unpickle(data)
    assert len(log.loads()) == 2


def test_circuit_from_joblib_is_an_unpickled_one(log: Log, tmp_path: Path) -> None:
    """Joblib's own unpickler is told of like any other."""
    joblib = pytest.importorskip("joblib")
    joblib.dump(QuantumCircuit(1), tmp_path / "circuit.joblib")
    log.classified()
    joblib.load(tmp_path / "circuit.joblib")
    assert [load[0] for load in log.loads()] == ["pickle"]


def test_copying_and_other_pickles_are_not_loading(log: Log) -> None:
    """A deep copy reads nothing, and a pickle without a circuit brings none."""
    circuit = QuantumCircuit(1)
    log.classified()
    copy.deepcopy(circuit)
    copy.copy(circuit)
    pickle.loads(pickle.dumps({"angles": [1, 2], "path": Path("x")}))
    assert log.loads() == []


def test_denied_load_reads_nothing(denying: Log) -> None:
    """The decision comes before the file: it is still at its beginning, and no circuit is there."""
    denying.classified()
    file = io.BytesIO(written())
    with pytest.raises(DeniedError):
        qpy.load(file)
    assert file.tell() == 0
    data = pickle.dumps(QuantumCircuit(1))
    for _ in range(2):  # and again: a denial is no decision that later ones share
        with pytest.raises(DeniedError):
            pickle.loads(data)
    assert [answer for _, answer, _ in denying.loads()] == ["deny"] * 3


def test_load_circuit_is_decided_once_with_the_digest_of_its_file(log: Log) -> None:
    """At every level; the SDK's loader inside it is not decided again. The digest is keyed where it is classified."""
    qnb.load_circuit(written())
    log.classified()
    qnb.load_circuit(written())
    assert log.loads() == [("qpy", "allow", ["content"])] * 2
    subjects = [
        json.loads(log._authority._log.entry(entry))["subject"][0]["digest"]
        for entry in range(log._authority.size)
        if b'"action":"load"' in log._authority._log.entry(entry)
    ]
    assert [set(subject) for subject in subjects] == [{"sha256"}, {"hmac-sha256"}]


def test_load_circuit_that_is_denied_parses_nothing(denying: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in a process of its own."""
    from qnb.store import trial

    monkeypatch.setattr(trial, "try_file", lambda *_: pytest.fail("it was tried"))
    with pytest.raises(DeniedError):
        qnb.load_circuit(written())


def test_load_inside_a_guarded_call_belongs_to_that_call(log: Log) -> None:
    """What a backend reads while it runs is part of the execution that was decided."""

    class Reading(AerSimulator):
        def run(self, *args: Any, **options: Any) -> Any:
            qpy.load(io.BytesIO(written()))
            pickle.loads(pickle.dumps(QuantumCircuit(1)))
            return super().run(*args, **options)

    Reading.__module__ = "qiskit_aer.reading"
    log.classified()
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    Reading().run(circuit).result()
    assert log.loads() == []


def _in_child(data: bytes, queue: Any) -> None:
    queue.put(pickle.loads(data).num_qubits)


def test_forked_process_unpickles_what_its_parent_sent(log: Log) -> None:
    """A worker's own unpickling is its parent's work: the parent decided about it, or did not have to."""
    log.classified()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(pickle.dumps(QuantumCircuit(3)), queue))
    child.start()
    assert queue.get(timeout=30) == 3
    child.join()
    assert log.loads() == []


def test_nothing_is_asked_after_uninstall(log: Log) -> None:
    """An audit hook stays for the life of a process; without a session it asks nobody."""
    log.classified()
    intercept.uninstall()
    pickle.loads(pickle.dumps(QuantumCircuit(1)))
    qpy.load(io.BytesIO(written()))
    assert log.loads() == []
