"""Kernels that die in the middle of an execution: the next start says so, and takes no living kernel's job for one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from qnb.cli.main import cli
from qnb.store.config import init_home

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock there")

# A kernel that has a decision and not yet its end; it waits for a line before it goes on.
KERNEL = textwrap.dedent("""
    import sys
    from qnb.kernel.start import start_session
    from qnb.model import Backend, Call, CircuitInfo, Outcome
    session = start_session()
    cell = session.open_cell("x", None)
    backend = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator", "0.18.2")
    info = CircuitInfo(b"\\x02" * 32, b"\\x03" * 32, 2, 2, 4, {"h": 1})
    ticket = session.begin(Call("AerBackend.run", backend, (info,), shots=100))
    print("running", flush=True)
    sys.stdin.readline()
    ticket.end(Outcome("ok", b"\\x08" * 32, 100, 7))
    session.end_executions(cell)
    print("ended", flush=True)
    sys.stdin.readline()
""")
START = "from qnb.kernel.start import start_session; start_session()"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    init_home(tmp_path / "home")
    return tmp_path / "home"


class Kernel:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.heard("running")

    def heard(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def die(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def start() -> str:
    """What a kernel says when qnb is loaded into it."""
    return subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True).stdout


def findings() -> dict[str, dict[str, object]]:
    said = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).output)
    return {finding["code"]: finding for finding in said["findings"]}


def test_execution_of_a_killed_kernel_is_reported_once_by_the_next_start(home: Path) -> None:
    """By its entry; doctor goes on to say so."""
    Kernel().die()
    said = start()
    assert "a kernel that died left 1 execution open (entry 1)" in said
    assert "qnb log show 1" in said
    assert start() == ""
    found = findings()["executions-open"]
    assert found["facts"] == {"count": 1}
    assert "the kernel that ran them is gone" in str(found["message"])


def test_running_job_of_another_kernel_is_not_taken_for_left_open(home: Path) -> None:
    """Beside one that was killed; and not afterwards either, when it has ended."""
    dead, alive = Kernel(), Kernel()
    try:
        dead.die()
        said = start()
        assert "left 1 execution open (entry 1)" in said
        found = findings()
        assert (found["executions-open"]["facts"], found["executions-running"]["facts"]) == ({"count": 1}, {"count": 1})
        alive.go_on()
        alive.heard("ended")
        assert "executions-running" not in findings()
    finally:
        alive.die()
    assert start() == ""


def test_kernels_that_ended_well_leave_nothing_to_report(home: Path) -> None:
    """However they end: what they ran has its entries."""
    kernel = Kernel()
    kernel.go_on()
    kernel.heard("ended")
    kernel.die()
    assert start() == ""
    assert "executions-open" not in findings()
