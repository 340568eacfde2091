"""A file is parsed apart first: by memory, by time and by faults of the parser it costs a process and nothing more."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, qpy

from qnb.core.circuits.untrusted import Limits, describe_limits
from qnb.errors import InputError
from qnb.store import trial
from qnb.store.trial import try_file

DEFAULTS = describe_limits(Limits())


def refused(data: bytes, format_: str, **limits: int) -> InputError:
    with pytest.raises(InputError) as error:
        try_file(data, format_, DEFAULTS | limits)
    return error.value


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let `code` run in place of the trial, whatever it is asked."""

    def replace(code: str) -> None:
        path = tmp_path / "trial.py"
        path.write_text(f"#!{sys.executable}\n{code}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))

    return replace


def test_file_within_limits_passes() -> None:
    """Nothing is said of a file that is fine."""
    file = io.BytesIO()
    qpy.dump(QuantumCircuit(2), file)
    try_file(file.getvalue(), "qpy", DEFAULTS)


def test_file_that_takes_too_much_memory_ends_the_trial_alone() -> None:
    """A register of a hundred million qubits, allowed by count: memory is what stops it."""
    error = refused(b"OPENQASM 2.0; qreg q[100000000];", "qasm2", qubits=10**9, memory=200 << 20)
    # which of them depends on what the parser makes of an allocation that fails
    assert error.code in ("too-large", "broke-parser", "malformed")


def test_file_that_takes_too_long_is_given_up() -> None:
    """Brackets that a parser goes through again and again: the processor's time is what stops it."""
    deep = b"OPENQASM 3.0; qubit q; U(" + b"(" * 200_000 + b"1" + b")" * 200_000 + b",0,0) q;"
    start = time.perf_counter()
    assert refused(deep, "qasm3", seconds=1).code in ("too-slow", "malformed")
    assert time.perf_counter() - start < trial._START_SECONDS + 1


def test_parser_that_dies_is_an_error_of_the_file(script: Callable[[str], None]) -> None:
    """A fault in native code ends the process of the trial with a signal."""
    script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert refused(b"", "qpy").code == "broke-parser"


@pytest.mark.parametrize("said", ["", "not json", "[]", '{"ok": false}', '{"code": 1, "message": "m", "hint": null}'])
def test_trial_that_says_something_else_did_not_end_well(script: Callable[[str], None], said: str) -> None:
    """Only one answer means that the file is fine."""
    script(f"print({said!r}, end='')")
    assert refused(b"", "qpy").code == "broke-parser"


def test_trial_sees_no_credential_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the trial is what Python needs to start, and no more."""
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "canary-4711")
    seen = {}
    run = subprocess.run

    def spy(*args: object, **options: object) -> object:
        seen.update(options)
        return run(*args, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    try_file(b"OPENQASM 2.0; qreg q[1];", "qasm2", DEFAULTS)
    assert "canary-4711" not in str(seen["env"])
    assert set(seen["env"]) <= {*trial._KEPT, *trial._QUIET}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="nothing tells how much memory is used")
def test_bound_process_gets_no_more_than_it_was_given(tmp_path: Path) -> None:
    """Memory, files: what is bound is bound."""
    code = (
        "from qnb.store.trial import bind\n"
        "bind(50 << 20, 5)\n"
        "try:\n    bytearray(200 << 20)\nexcept MemoryError:\n    print('memory')\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"f = open({str(tmp_path / 'file')!r}, 'wb', buffering=0)\n"
        "try:\n    f.write(b'x')\nexcept OSError:\n    print('file')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["memory", "file"], done.stderr
