"""A job is followed to its end, and its result is the caller's only once that end is recorded."""

from __future__ import annotations

import gc
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorSampler
from qiskit.providers import JobStatus, JobV1, Options
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qnb.core.circuits import digest_result
from qnb.errors import StorageError
from qnb.kernel import intercept


class SlowJob(JobV1):
    """A job whose end the test decides."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend, "id")
        self._future: Future[Any] = Future()

    def submit(self) -> None:
        """Nothing to submit."""

    def result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout)

    def cancel(self) -> bool:
        return self._future.cancel()

    def status(self) -> JobStatus:
        return JobStatus.DONE if self._future.done() else JobStatus.RUNNING


class Slow(GenericBackendV2):
    """A backend that hands out jobs that run until told otherwise."""

    def run(self, run_input: Any, **options: Any) -> SlowJob:
        return SlowJob(self)


@pytest.fixture
def slow() -> Slow:
    return Slow(2, seed=1)


def test_failed_circuit_is_recorded_as_failed(session):
    """Aer says so in a job that is done."""
    circuit = QuantumCircuit(2)
    circuit.unitary(np.eye(4), [0, 1])
    circuit.save_statevector()
    result = AerSimulator(method="stabilizer").run(circuit).result()
    assert not result.success
    assert [outcome.status for outcome in session.outcomes] == ["failed"]


def test_exception_is_recorded_by_its_class(session, bell):
    """Never by its text."""
    angle = QuantumCircuit(1)
    angle.rx(Parameter("secret"), 0)
    job = AerSimulator().run(angle)
    with pytest.raises(Exception, match="parameter"):
        job.result()
    assert session.outcomes[0].status == "failed"
    assert session.outcomes[0].error == "qiskit_aer.aererror.AerError"
    with pytest.raises(Exception, match="parameter"):
        job.result()
    assert len(session.outcomes) == 1


def test_exception_of_run_itself_is_recorded(session):
    """What is raised before there is a job is a failure of the execution."""
    with pytest.raises(Exception, match="greater than maximum"):
        BasicSimulator().run(QuantumCircuit(60, 60), shots=10**9)
    assert [outcome.status for outcome in session.outcomes] == ["failed"]


def test_result_digest_is_of_what_the_caller_gets(session, bell):
    """The record speaks of the object that was handed out."""
    result = SamplerV2(seed=1).run([bell]).result()
    assert session.outcomes[0].result == digest_result(result)


@pytest.mark.parametrize("make", [AerSimulator, BasicSimulator, lambda: GenericBackendV2(2, seed=1)])
def test_result_is_withheld_when_it_cannot_be_recorded(session, bell, make):
    """Neither the first nor a later asker gets it."""
    backend = make()
    session.full = True

    def ask() -> Any:
        return backend.run(bell).result()

    with pytest.raises(StorageError):
        ask()
    job = AerSimulator().run(bell)
    for _ in range(2):
        with pytest.raises(StorageError):
            job.result()
    assert len(session.outcomes) == 2


def test_result_asked_by_many_threads_is_recorded_once(session, bell):
    """All get the same result, after the one record."""
    job = StatevectorSampler().run([bell])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: job.result(), range(16)))
    assert len({id(result) for result in results}) == 1
    assert len(session.outcomes) == 1


def test_job_that_nobody_asks_is_settled(session, bell):
    """Also when its caller dropped it."""
    AerSimulator().run(bell)
    StatevectorSampler().run([bell])
    gc.collect()
    intercept.settle(30)
    assert intercept.pending() == 0
    assert [outcome.status for outcome in session.outcomes] == ["ok", "ok"]


def test_running_job_is_not_settled_until_it_ends(session, bell, slow):
    """A job that runs on stays open."""
    job = slow.run(bell)
    intercept.settle()
    assert intercept.pending() == 1
    assert session.outcomes == []
    job._future.set_result([1, 2])
    intercept.settle()
    assert intercept.pending() == 0
    assert session.outcomes[0].result == digest_result([1, 2])


def test_timeout_of_result_is_not_the_end(session, bell, slow):
    """Giving up waiting records nothing."""
    job = slow.run(bell)
    with pytest.raises(FutureTimeoutError):
        job.result(timeout=0.01)
    assert session.outcomes == []
    job._future.set_exception(ValueError("secret"))
    with pytest.raises(ValueError, match="secret"):
        job.result()
    assert (session.outcomes[0].status, session.outcomes[0].error) == ("failed", "builtins.ValueError")


def test_cancelled_job_is_recorded_as_cancelled(session, bell, slow):
    """Once, whatever is asked of it afterwards."""
    job = slow.run(bell)
    assert job.cancel()
    with pytest.raises(CancelledError):
        job.result()
    assert [outcome.status for outcome in session.outcomes] == ["cancelled"]


def test_cancelling_in_vain_records_nothing(session, bell, slow):
    """A job that cannot be cancelled runs on."""
    job = slow.run(bell)
    job._future.set_running_or_notify_cancel()
    assert not job.cancel()
    assert session.outcomes == []
    job._future.set_result(None)
    job.result()
    assert [outcome.status for outcome in session.outcomes] == ["ok"]


def test_time_counts_until_the_job_ended(session, bell, slow, monkeypatch):
    """Not until somebody asked."""
    clock = [10.0]
    monkeypatch.setattr("qnb.kernel.intercept.jobs.time.perf_counter", lambda: clock[0])
    job = slow.run(bell)
    clock[0] = 12.5
    job._future.set_result(1)
    clock[0] = 99.0
    job.result()
    assert session.outcomes[0].seconds == 2.5


def test_result_that_is_no_job_is_recorded_at_once(session, bell):
    """A backend may give its result directly."""

    class Direct(GenericBackendV2):
        def run(self, run_input: Any, **options: Any) -> Any:
            return {"00": 3}

    assert Direct(2, seed=1).run(bell) == {"00": 3}
    assert session.outcomes[0].result == digest_result({"00": 3})


def test_inner_jobs_are_not_recorded(session, bell):
    """A primitive's own jobs belong to its one execution."""
    SamplerV2().run([bell, bell]).result()
    assert len(session.outcomes) == 1


def test_jobs_still_know_their_backend(session, bell):
    """The stand-in that ran is not what the caller sees."""
    backend = AerSimulator()
    job = backend.run(bell)
    assert job.backend() is backend
    job.result()


def test_options_are_kept(session):
    """Nothing of a backend's options changes by running on it."""
    backend = AerSimulator(shots=5)
    before = dict(backend.options)
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    backend.run(circuit, seed_simulator=3).result()
    assert dict(backend.options) == before
    assert isinstance(backend.options, Options)
