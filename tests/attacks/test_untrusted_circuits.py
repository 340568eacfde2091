"""Files of circuits that are made to run code, to read files, or to take everything a machine has."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate

import qnb
from qnb.core.circuits.untrusted import Limits, describe_limits
from qnb.errors import ConfigError, DeniedError, InputError, QnbError, StorageError
from qnb.kernel import intercept
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import ensure_home
from qnb.store.trial import try_file

CANARY = "canary-4711"
QUICK = {"seconds": 5, "memory": 512 << 20}


def written(*circuits: QuantumCircuit) -> bytes:
    file = io.BytesIO()
    qpy.dump(list(circuits), file)
    return file.getvalue()


def rich() -> QuantumCircuit:
    """A circuit with something of each kind that a file can hold."""
    angle = Parameter("a")
    inner = QuantumCircuit(1, name="inner")
    inner.rx(angle * 2 + 1, 0)
    circuit = QuantumCircuit(2, 2, metadata={"k": "v"})
    circuit.append(inner.to_gate(), [0])
    circuit.append(UnitaryGate(np.eye(4)), [0, 1])
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.cregs[0], 1)):
        circuit.x(0)
    with circuit.for_loop(range(3)):
        circuit.h(1)
    return circuit


QASM2 = b"""OPENQASM 2.0;
include "qelib1.inc";
gate mine(a, b) x, y { rx(a + 2 * sin(b)) x; cx x, y; }
opaque secret q;
qreg q[3]; creg c[3];
h q; mine(pi / 2, 0.3) q[0], q[1]; if (c == 3) x q[2]; barrier q; reset q[1]; measure q -> c;
"""
QASM3 = b"""OPENQASM 3.0;
include "stdgates.inc";
gate mine(a) x, y { rx(a) x; cx x, y; }
qubit[3] q; bit[3] c; input angle turn;
h q[0]; mine(pi / 2) q[0], q[1]; rx(turn) q[2];
if (c[0]) { x q[1]; } else { y q[1]; }
for int i in [0:2] { h q[2]; }
while (c == 3) { x q[0]; }
c = measure q;
"""


def refused(source: Any, **options: Any) -> QnbError:
    with pytest.raises(QnbError) as error:
        qnb.load_circuit(source, **options)
    return error.value


# --- code -------------------------------------------------------------------------------------------------------------


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


def test_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    """By its first byte, whatever the file is called."""
    trace = tmp_path / "ran"
    file = tmp_path / "circuit.qpy"
    file.write_bytes(pickle.dumps(Bomb(str(trace))))
    assert refused(file).code == "pickle"
    assert refused(file, format="qpy").code == "malformed"
    assert not trace.exists()


@pytest.mark.parametrize("version", [10, 11, 12])
def test_qpy_of_the_versions_that_carry_code_is_refused_unread(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-2000: no parser is called, in no process."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    monkeypatch.setattr(qpy, "load", lambda *_, **__: pytest.fail("the parser was called"))
    data = written(rich())
    assert refused(data[:6] + bytes([version]) + data[7:]).code == "old-qpy"


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["OPENQASM 2.0;", "OPENQASM 3.0;"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_included_file_is_not_read(tmp_path: Path, head: str, quote: str, capfd: pytest.CaptureFixture[str]) -> None:
    """An include names any file that this account can read, and a parser's complaint would quote it."""
    secret = tmp_path / "secret.inc"
    secret.write_text(CANARY)
    error = refused(f"{head} include {quote}{secret}{quote};".encode())
    assert error.code == "include"
    said = capfd.readouterr()
    assert CANARY not in f"{error}{said.out}{said.err}"


def test_built_in_include_is_not_taken_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `qelib1.inc` beside the notebook does not stand in for the one that is built in."""
    (tmp_path / "qelib1.inc").write_text("gate h a { U(0, 0, 0) a; }")
    monkeypatch.chdir(tmp_path)
    circuit = qnb.load_circuit(b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0];')
    assert np.allclose(circuit.data[0].operation.to_matrix(), np.array([[1, 1], [1, -1]]) / np.sqrt(2))


def test_folder_named_as_a_module_is_not_imported_by_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the trial takes no module from the folder of the notebook."""
    trace = tmp_path / "ran"
    (tmp_path / "json.py").write_text(f"open({str(trace)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    qnb.load_circuit(QASM2)
    assert not trace.exists()


def test_path_that_cannot_be_read_gives_one_clear_error(tmp_path: Path) -> None:
    """Missing, a folder, no path at all, a path with a zero in it."""
    for source in (tmp_path / "none.qpy", tmp_path, "a\0b"):
        assert isinstance(refused(source), StorageError)
    assert isinstance(refused(7.5), ConfigError)


# --- everything a machine has -----------------------------------------------------------------------------------------


def doubling(levels: int) -> bytes:
    lines = ['OPENQASM 2.0; include "qelib1.inc"; gate g0 a { h a; }']
    lines += [f"gate g{i + 1} a {{ g{i} a; g{i} a; }}" for i in range(levels)]
    return "\n".join([*lines, f"qreg q[1]; g{levels} q[0];"]).encode()


FILE = written(rich())
BOMBS = {
    "a register in OpenQASM 2": b"OPENQASM 2.0; qreg q[4000000000];",
    "a register in OpenQASM 3": b"OPENQASM 3.0; const uint N = 1000000000; qubit[N] q;",
    "a register of a number of a million digits": b"OPENQASM 2.0; qreg q[" + b"9" * 1_000_000 + b"];",
    "gates that double": doubling(60),
    "brackets in OpenQASM 3": b"OPENQASM 3.0; qubit q; U(" + b"(" * 10**4 + b"1" + b")" * 10**4 + b",0,0) q;",
    "blocks in OpenQASM 3": b"OPENQASM 3.0; bit c; qubit q;" + b"if (c) {" * 3000 + b"reset q;" + b"}" * 3000,
    "a count of programs": FILE[:10] + struct.pack("!Q", 1000) + FILE[18:],
    "a length of a name": FILE[:28] + b"\xff" * 8 + FILE[36:],
    "a gate that names another one": FILE.replace(b"inner_0", b"outer_0", 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_ends_in_one_error_in_bounded_time_and_memory(name: str) -> None:
    """Whatever it is made to exhaust, a process of its own is what it exhausts."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    error = refused(BOMBS[name], limits=QUICK)
    assert isinstance(error, InputError)
    assert time.perf_counter() - start < 45
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_deeply_nested_definitions_of_qpy_are_refused() -> None:
    """Definitions within definitions, deeper than a stack."""
    inner = QuantumCircuit(1, name="g")
    inner.x(0)
    for _ in range(80):
        outer = QuantumCircuit(1, name="g")
        outer.append(inner.to_gate(), [0])
        inner = outer
    assert isinstance(refused(written(inner)), InputError)


# --- anything ---------------------------------------------------------------------------------------------------------

FUZZ = """
import sys, struct, json
from qnb.core.circuits.untrusted import Limits, check_bytes, check_circuits, parse_circuits
from qnb.errors import InputError
from qnb.store.trial import bind
format_ = sys.argv[1]
limits = Limits(seconds=60, memory=1 << 30)
bind(limits.memory, limits.seconds)
said = []
while head := sys.stdin.buffer.read(4):
    data = sys.stdin.buffer.read(struct.unpack("!I", head)[0])
    try:
        check_bytes(data, format_, limits)
        check_circuits(parse_circuits(data, format_), limits)
        said.append("ok")
    except InputError as error:
        said.append(error.code)
    print(len(said), flush=True)
print(json.dumps(said))
"""


def mutations(seed: bytes, count: int, rng: random.Random) -> Iterator[bytes]:
    """Bytes turned, cut, doubled and moved."""
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at : at + rng.randint(1, 20)]
            elif kind == 2:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            elif kind == 3:
                data[at : at + 4] = struct.pack("!I", rng.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
            else:
                data[at:at] = rng.choice([b"(", b"{", b"[", b'"', b"-", b"9" * 30, b"\0" * 8, b"\xff" * 8, b"/*"])
            if not data:
                data = bytearray(seed)
        yield bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_", "seed", "count"), [("qpy", written(rich()), 1500), ("qasm2", QASM2, 1500), ("qasm3", QASM3, 120)]
)
def test_mutated_file_parses_or_gives_one_error(format_: str, seed: bytes, count: int) -> None:
    """No exception but ours, no print of a parser's, no end of the process; where it ends, the trial says so."""
    files = list(mutations(seed, count, random.Random(4711)))
    waiting = files
    said: list[str] = []
    while waiting:
        done = subprocess.run(
            [sys.executable, "-c", FUZZ, format_],
            input=b"".join(struct.pack("!I", len(data)) + data for data in waiting),
            capture_output=True,
        )
        lines = done.stdout.decode().split("\n")
        if done.returncode == 0:
            said += json.loads(lines[-2])
            break
        assert done.returncode < 0, done.stderr.decode()[-2000:]  # a signal: the parser itself is at fault
        ended = len([line for line in lines if line.isdigit()])
        with pytest.raises(InputError):
            try_file(waiting[ended], format_, describe_limits(Limits()) | QUICK)
        waiting = waiting[ended + 1 :]
    assert "malformed" in said
    assert set(said) <= {"ok", "malformed", "too-large", "old-qpy", "new-qpy", "no-circuit", "not-a-circuit", "include",
                         "other-version"}  # fmt: skip


@pytest.mark.parametrize(("format_", "seed"), [("qpy", written(rich())), ("qasm2", QASM2), ("qasm3", QASM3)])
def test_what_was_not_mutated_loads_whole(format_: str, seed: bytes, tmp_path: Path) -> None:
    """The gate is not shut: from bytes and from a file, detected or named."""
    path = tmp_path / "circuit"
    path.write_bytes(seed)
    for source, options in ((seed, {}), (path, {}), (str(path), {"format": format_})):
        circuit = qnb.load_circuit(source, **options)
        assert circuit.num_qubits == (2 if format_ == "qpy" else 3)


def test_file_of_several_circuits_asks_which() -> None:
    """One circuit comes back, the one that is meant."""
    data = written(QuantumCircuit(1), QuantumCircuit(2))
    assert refused(data).code == "several-circuits"
    assert refused(data, index=2).code == "no-such-circuit"
    assert qnb.load_circuit(data, index=1).num_qubits == 2


# --- the record -------------------------------------------------------------------------------------------------------


def test_load_is_decided_and_recorded_before_anything_is_parsed(tmp_path: Path) -> None:
    """The entry stands also of a file that then does not parse; of its path there is nothing."""
    home = tmp_path / "home"
    ensure_home(home)
    file = tmp_path / f"{CANARY}.qpy"
    file.write_bytes(written(rich())[:-9])
    with Authority.open(home) as authority:
        session = Session(authority, check_guard=intercept.check, settle=intercept.settle)
        intercept.install(session)
        session.open_cell("", None)
        before = authority.size
        assert refused(file).code == "malformed"
        entry = json.loads(authority._log.entry(authority.size - 1))
        intercept.uninstall()
        assert authority.size == before + 1
    assert entry["predicate"]["action"] == "load"
    assert entry["predicate"]["request"]["format"] == "qpy"
    assert CANARY not in json.dumps(entry)


def test_refusing_session_lets_nothing_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can decide, nothing is loaded: a session that could not begin refuses this too."""
    from qnb.kernel import start

    home = tmp_path / "home"
    ensure_home(home)
    (home / "policy" / "qnb.toml").write_text("nonsense")
    monkeypatch.setenv("QNB_HOME", str(home))
    with pytest.raises(QnbError):
        start.start_session()
    try:
        error = refused(written(rich()))
    finally:
        intercept.uninstall()
    assert error.code == "no-authority"
    assert not isinstance(error, DeniedError)
