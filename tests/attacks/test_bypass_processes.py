"""Child processes: forked, spawned and pooled, each asks and records for itself, at the label of its parent's cell."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qnb.store.config import init_home

pytestmark = pytest.mark.slow  # each starts interpreters that import the SDK

PROGRAM = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

def bell():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit

def work(turns):
    try:
        return [AerSimulator().run(bell(), shots=3).result().success for _ in range(turns)]
    except Exception as error:
        return [type(error).__name__]

def attempt(_):
    return AerSimulator().run(bell(), shots=3).result().success

def report(turns, connection):
    connection.send(work(turns) if turns is not None else start("spawn", "process", work, 1))

def sort(numbers):
    return sorted(numbers), "qnb.store.log.log" in sys.modules

def start(method, way, function, argument):
    context = multiprocessing.get_context(method)
    if way == "executor":
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, argument).result()
    if way == "pool":
        with context.Pool(1) as pool:
            return pool.map(function, [argument])[0]
    ours, theirs = context.Pipe()
    process = context.Process(target=report, args=(argument, theirs))
    process.start()
    answer = ours.recv()
    process.join()
    return answer

def main():
    from qnb.core.directive import parse_directive
    from qnb.core.entry import parse_statement
    from qnb.kernel.start import start_session
    session = start_session()
    line = "%%qsecure restricted//phi"
    cell = session.open_cell(line, parse_directive(line), cell_id="c", notebook_id="n")
    def entries():
        views = [parse_statement(data) for data in session.authority._log.entries()]
        return [view for view in views if view.kind != "policy"]
    CODE
    session.end_executions(cell)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An account's home."""
    init_home(tmp_path / "home", passphrase=None)
    return tmp_path / "home"


def run(home: Path, code: str) -> str:
    """Run a program of its own, from a file: a spawned child imports it again."""
    script = home.parent / "program.py"
    script.write_text(PROGRAM.replace("    CODE", textwrap.indent(textwrap.dedent(code), "    ")))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "QNB_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", ["process", "executor", "pool"])
def test_child_decides_and_records_each_evaluation_for_itself(home: Path, method: str, way: str) -> None:
    """One decision and every evaluation at once, since nobody ends a cell in a child; the label is the parent's."""
    said = run(
        home,
        f"""
        work(3)
        before = len(entries())
        print(start({method!r}, {way!r}, work, 3))
        mine = entries()[before:]
        print([view.kind for view in mine])
        print({{(view.label, view.session == session.id, view.notebook, view.cell) for view in mine}})
        session.end_executions(cell)
        print([view.evaluations[:2] for view in entries() if view.kind == "execution"])
        """,
    ).splitlines()
    assert said[0] == "[True, True, True]"
    assert said[1] == "['decision', 'execution', 'execution', 'execution']"
    assert said[2] == "{('restricted//phi', True, 'n', 'c')}"
    assert said[3] == "[(0, 1), (0, 1), (1, 1), (2, 1), (1, 2)]"  # the parent's own second stretch comes last


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_is_denied_what_its_parent_would_be(home: Path, method: str) -> None:
    """The policy is the home's, not the process's."""
    policy = home / "policy" / "qnb.toml"
    text = policy.read_text()
    aer = 'class = "qiskit_aer.*"'
    start = text.index(aer)
    policy.write_text(text[:start] + text[start:].replace('zone = "local"', 'zone = "cloud"', 1))
    said = run(
        home,
        f"""
        from qnb.errors import DeniedError
        print(start({method!r}, 'executor', work, 1))
        for way in ("executor", "pool"):
            try:
                start({method!r}, way, attempt, 1)
            except DeniedError as error:
                print(error.code, error.decision.allow, error.decision.zone, "recorded as entry" in str(error))
        """,
    )
    assert said.splitlines() == ["['DeniedError']", *["denied False cloud True"] * 2]


def test_child_without_a_circuit_opens_no_log(home: Path) -> None:
    """The guard waits in it until something is executed."""
    assert run(home, "print(start('spawn', 'executor', sort, [2, 1]))").strip() == "([1, 2], False)"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_of_a_process_without_a_session_is_refused(home: Path, method: str) -> None:
    """Where nobody can decide, no child runs a circuit either."""
    (home / "policy" / "policy.cedar").write_text("permit (")
    script = PROGRAM[: PROGRAM.index("def main")] + textwrap.dedent(
        f"""
        if __name__ == "__main__":
            from qnb.errors import QnbError
            from qnb.kernel.start import start_session
            try:
                start_session()
            except QnbError:
                print(work(1), start({method!r}, "executor", work, 1))
        """
    )
    path = home.parent / "program.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "QNB_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "['ExecutionError'] ['ExecutionError']", done.stderr


def test_child_of_a_child_goes_on(home: Path) -> None:
    """At the same label, in the same session."""
    said = run(
        home,
        """
        print(start("spawn", "process", work, None))
        print({(view.label, view.session == session.id) for view in entries()})
        print([view.kind for view in entries()])
        """,
    ).splitlines()
    assert said == ["[True]", "{('restricted//phi', True)}", "['decision', 'execution']"]
