"""Whatever fails, nothing runs undecided and nothing is shown unsealed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import qnb
from qnb.store.account import observe_account
from qnb.store.config import init_home

PRELUDE = """
from IPython.core.interactiveshell import InteractiveShell
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qnb.kernel.start import start_session
from qnb.core.directive import parse_directive
bell = QuantumCircuit(2); bell.h(0); bell.cx(0, 1); bell.measure_all()
session = start_session()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An account's home."""
    place = tmp_path / "home"
    init_home(place, passphrase=None)
    return place


def run(home: Path, code: str, prelude: str = PRELUDE) -> str:
    """Run code in a process of its own, since the guard patches the SDK of a whole process."""
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        env={**os.environ, "QNB_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_log_that_cannot_be_written_runs_no_circuit(home: Path) -> None:
    """A log that refuses to append denies the execution at every level; the simulator is never entered."""
    said = run(
        home,
        """
        from qnb.errors import StorageError
        from qiskit_aer.backends import aerbackend
        entered = []
        aerbackend.AerBackend._run_circuits = lambda *a, **k: entered.append(1)
        def full(*a, **k):
            raise StorageError("full", "the disk is full", "make room")
        session.authority._log.append = full
        session.open_cell("x", None)
        try:
            AerSimulator().run(bell)
        except StorageError as error:
            print("refused", error.code, entered)
        """,
    )
    assert said.split() == ["refused", "full", "[]"]


def test_record_that_fails_after_the_run_withholds_the_result(home: Path) -> None:
    """When the execution cannot be recorded, neither the result nor the cell's output is handed out."""
    said = run(
        home,
        """
        from qnb.errors import QnbError, StorageError
        cell = session.open_cell("%%qsecure", parse_directive("%%qsecure"))
        def full(*a, **k):
            raise StorageError("full", "the disk is full", "make room")
        session.authority.record_execution = full
        for step in (lambda: AerSimulator().run(bell, shots=10).result(), lambda: session.end_executions(cell)):
            try:
                print("handed out", step())
            except QnbError as error:
                print("withheld", error.code)
        """,
    )
    assert said.splitlines() == ["withheld full", "withheld full"]


def test_removed_guard_refuses_a_classified_cell(home: Path) -> None:
    """A hook that is gone is found before the next classified cell, which then does not run."""
    said = run(
        home,
        """
        from qiskit_aer.backends.aerbackend import AerBackend
        AerBackend.run.__code__ = (lambda self, *a, **k: None).__code__
        cell = session.open_cell("%%qsecure", parse_directive("%%qsecure"))
        print(cell.refused.code, session.status()["guard_missing"])
        """,
    )
    assert said.startswith("guard-removed ")
    assert "AerBackend.run" in said


def test_killed_kernel_leaves_its_decision_open(home: Path) -> None:
    """A process that dies in mid-execution leaves an allowed decision without an end."""
    run(
        home,
        """
        import os
        from qiskit_aer.backends import aerbackend
        aerbackend.AerBackend._run_circuits = lambda *a, **k: os._exit(0)
        session.open_cell("%%qsecure", parse_directive("%%qsecure"))
        AerSimulator().run(bell, shots=10)
        """,
    )
    assert observe_account(home).open_executions == 1


def test_broken_policy_runs_no_circuit_and_says_where(home: Path) -> None:
    """A policy that does not parse starts no session, and nothing runs unguarded in its place."""
    (home / "policy" / "policy.cedar").write_text("permit (")
    said = run(
        home,
        """
        from qnb.errors import QnbError
        try:
            start_session()
        except QnbError as error:
            print(type(error).__name__, "policy.cedar" in str(error), error.hint is not None)
        try:
            AerSimulator().run(bell)
        except QnbError as error:
            print(error.code)
        """,
        PRELUDE.replace("session = start_session()", ""),
    )
    assert said.split() == ["PolicyError", "True", "True", "no-authority"]


def test_nobody_to_seal_to_refuses_the_cell(home: Path) -> None:
    """Without a recipient a classified cell does not run, and says what to do."""
    shutil.copy(Path(qnb.__file__).parent / "policies" / "qnb.toml", home / "policy" / "qnb.toml")
    said = run(
        home,
        """
        cell = session.open_cell("%%qsecure", parse_directive("%%qsecure"))
        print(cell.refused.code, cell.refused.hint is not None)
        """,
        PRELUDE.replace(
            "from qnb.kernel.start import start_session",
            # what first use would do is to name a recipient
            "import qnb.kernel.start as start; start.ensure_home = start.HomeReport\n"
            "start_session = start.start_session",
        ),
    )
    assert said.split() == ["no-recipient", "True"]
