"""A recording session, installed for one test and gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qiskit import QuantumCircuit

from qnb.errors import DeniedError, StorageError
from qnb.kernel import intercept
from qnb.model import Action, Call, Decision, Label, Outcome, Reason, Retrieval


class Recorder:
    """A session that allows everything, unless told otherwise, and keeps what it hears."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.retrievals: list[Retrieval] = []
        self.outcomes: list[Outcome] = []
        self.deny = False
        self.full = False

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
        if self.full:
            raise StorageError("disk-full", "the log could not be written")

    def clear(self) -> None:
        self.calls.clear()
        self.retrievals.clear()
        self.outcomes.clear()


@pytest.fixture
def session() -> Iterator[Recorder]:
    """The session that decides while the test runs."""
    recorder = Recorder()
    intercept.install(recorder)
    yield recorder
    recorder.full = False
    intercept.uninstall()


@pytest.fixture
def bell() -> QuantumCircuit:
    """Two qubits, entangled and measured."""
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit
