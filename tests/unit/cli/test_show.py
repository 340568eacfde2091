from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat import v4
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qnb.cli.main import cli
from qnb.core.circuits import describe
from qnb.core.circuits.kept import load_circuit, save_circuit
from qnb.core.digester import Digester
from qnb.core.kept import verify_vouched, vouched
from qnb.core.seal import generate_identity, parse_recipient, seal
from qnb.errors import ConfigError, NoIdentityMatchError, SubjectMismatchError
from qnb.model import Action, Backend, Call, Outcome, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log

BACKEND = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator", "0.18.2")
KEYED = Digester(b"k" * 32)


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="secret-name")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with: 0 policy, 1 decision, 2 execution, 3 seal, and the Bell circuit kept sealed beside entry 1."""
    place = tmp_path / "home"
    monkeypatch.setenv("QNB_HOME", str(place))
    init_home(place)
    with Authority.open(place) as authority:
        label = authority.policy.scheme.parse("confidential")
        context = authority.context(label, session="s", cell="c", sequence=1)
        info = describe(bell())
        call = Call("AerBackend.run", BACKEND, (info,), shots=100)
        decision = authority.require(
            Request(Action.EXECUTE, authority.principal, label, "why", BACKEND, 1, 2, 100), context, call
        )
        batch = authority.batch(label, 0)
        batch.add(call, Outcome("ok", b"\x08" * 32, 100, 7))
        authority.record_execution(context, decision, batch)
        authority.record_seal(context, b"\x09" * 32, "ok", ["ab" * 8])
        names = authority.policy.handling(label).recipients
        recipients = [parse_recipient(text) for text in authority.policy.recipients(names)]
        data = save_circuit(bell(), info.fingerprint)
        assert data is not None
        assert decision.entry == 1
        authority.save_circuits(label, 1, [(0, data)], recipients)
    return place


def show(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["log", "show", *arguments])


def replace_kept(home: Path, sealed: bytes) -> None:
    db = sqlite3.connect(home / "log.db", isolation_level=None)
    db.execute("UPDATE circuits SET sealed = ?", (sealed,))
    db.close()


def recipients(home: Path) -> list:
    with Authority.open(home) as authority:
        names = authority.policy.handling(authority.policy.scheme.parse("confidential")).recipients
        return [parse_recipient(text) for text in authority.policy.recipients(names)]


# --- the page --------------------------------------------------------------------------------------------------------


def test_page_of_an_execution_says_why_where_and_what_belongs_to_it(home: Path) -> None:
    """Decision and reason, backend, calibration, circuit size, lineage, and that a drawing can be opened."""
    page = show("2").output
    for said in (
        "entry 2: execution  ok",
        "allowed in entry 1",
        "because",
        "aer_simulator",
        "calibrated   -",
        "2 qubits, 2 clbits, 5 operations",
        "1 kept: add --drawing to open",
        "decision: execute, allowed",
        "> 2  execution ok, after the decision in entry 1",
        "seal ok",
    ):
        assert said in " ".join(page.split()) or said in page, said
    assert "not kept" not in page
    assert "secret-name" not in page


def test_lineage_follows_a_sealed_output_to_its_opening(home: Path) -> None:
    """The one who opened it did so elsewhere, later, in a session of their own."""
    with Authority.open(home) as authority:
        label = authority.policy.scheme.parse("confidential")
        decision = authority.require(Request(Action.UNSEAL, authority.principal, label), subject=b"\x09" * 32)
        authority.record_unseal(authority.context(label), b"\x09" * 32, decision=decision, status="ok", path=None)
    page = show("2").output
    assert "unseal ok, after the decision in entry 4" in page


# --- the drawing -----------------------------------------------------------------------------------------------------


def test_drawing_opens_for_who_has_the_key_and_on_the_record(home: Path) -> None:
    """From the execution or its decision; a decision and an entry for each opening."""
    for index in ("1", "2"):
        result = show(index, "--drawing")
        assert result.exit_code == 0, result.output
        assert "┤ H ├" in result.output
    rows = [json.loads(line) for line in CliRunner().invoke(cli, ["log", "list", "--json"]).output.splitlines()]
    assert [(row["kind"], row["action"], row["status"]) for row in rows[4:6]] == [
        ("decision", "unseal", "ok"),
        ("unseal", None, "ok"),
    ]
    assert "┤ H ├" in json.loads(show("2", "--drawing", "--json").output)["drawing"]


def test_drawing_does_not_open_with_another_key_and_the_attempt_is_recorded(home: Path) -> None:
    """Nor is anything of it shown."""
    other = home.parent / "identity"
    other.write_text(generate_identity().reveal() + "\n")
    other.chmod(0o600)
    result = show("2", "--drawing", "-i", str(other))
    assert isinstance(result.exception, NoIdentityMatchError)
    assert "H" not in result.output
    with Log.open(home / "log.db", readonly=True) as log:
        assert b'"status":"failed"' in log.entry(log.size - 1)


def test_circuit_that_was_not_kept_is_said_to_be(home: Path) -> None:
    """On the page, and with what to know when it is asked for."""
    db = sqlite3.connect(home / "log.db", isolation_level=None)
    db.execute("DELETE FROM circuits")
    db.close()
    assert "not kept" in show("2").output
    refused = show("2", "--drawing")
    assert isinstance(refused.exception, ConfigError)
    assert refused.exception.code == "not-kept"
    assert isinstance(show("3", "--drawing").exception, ConfigError)


def test_circuit_that_somebody_else_put_there_is_not_interpreted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can seal for public recipients: without the log's word not a byte is handed to the SDK."""
    from qiskit import qpy

    loaded: list[object] = []
    monkeypatch.setattr(qpy, "load", loaded.append)
    data = save_circuit(bell(), describe(bell()).fingerprint)
    assert data is not None
    for plaintext in (data, b"", b"[" * 100_000 + b"\n" + data, vouched(data, KEYED)):
        replace_kept(home, seal(plaintext, recipients(home)))
        refused = show("2", "--drawing")
        assert isinstance(refused.exception, SubjectMismatchError)
        assert refused.exception.code == "circuit-foreign"
    assert loaded == []


def test_another_circuit_of_the_same_log_is_found_by_its_fingerprint(home: Path) -> None:
    """The log vouches for it, and the entry names another."""
    other = QuantumCircuit(1)
    other.x(0)
    data = save_circuit(other, describe(other).fingerprint)
    assert data is not None
    with Authority.open(home) as authority:
        plaintext = vouched(data, authority.digester(authority.policy.scheme.parse("confidential")))
    replace_kept(home, seal(plaintext, recipients(home)))
    refused = show("2", "--drawing")
    assert isinstance(refused.exception, SubjectMismatchError)
    assert refused.exception.code == "circuit-other"


# --- QPY -------------------------------------------------------------------------------------------------------------


def test_circuit_comes_back_as_the_one_that_was_judged() -> None:
    """With parameters and control flow, too; the code over it is of the log's key."""
    angle = Parameter("a")
    circuit = QuantumCircuit(2, 1)
    circuit.rx(2 * angle + 1, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    for given in (bell(), circuit):
        fingerprint = describe(given).fingerprint
        data = save_circuit(given, fingerprint)
        assert data is not None
        recorded = KEYED.digest_set("circuit", fingerprint)
        assert describe(load_circuit(verify_vouched(vouched(data, KEYED), KEYED), recorded, KEYED)).fingerprint == (
            fingerprint
        )


def test_circuit_that_changed_since_or_is_too_large_is_not_kept() -> None:
    """Best effort never keeps what did not run."""
    circuit = bell()
    fingerprint = describe(circuit).fingerprint
    circuit.x(0)
    assert save_circuit(circuit, fingerprint) is None
    large = QuantumCircuit(1)
    for _ in range(20_001):
        large.x(0)
    assert save_circuit(large, describe(large).fingerprint) is None


@pytest.mark.parametrize("version", [0, 12, 255])
def test_qpy_of_another_version_is_not_read(version: int) -> None:
    """Old ones hold text that is evaluated, new ones are not known here."""
    data = bytearray(save_circuit(bell(), describe(bell()).fingerprint) or b"")
    data[6] = version
    with pytest.raises(SubjectMismatchError) as caught:
        load_circuit(bytes(data), KEYED.digest_set("circuit", b"\x01" * 32), KEYED)
    assert caught.value.code == "circuit-version"
    for bad in (b"", b"QISKIT", bytes(data[:40]), b"QISKIT" + bytes([15]) + b"\xff" * 60):
        with pytest.raises(SubjectMismatchError):
            load_circuit(bad, KEYED.digest_set("circuit", b"\x01" * 32), KEYED)


# --- in a kernel -----------------------------------------------------------------------------------------------------


def test_classified_cells_of_a_kernel_leave_their_circuits_and_clear_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written after the reply, at the latest when the kernel ends; the iterates of a loop are one structure."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    init_home(tmp_path / "home")
    setup = "from qiskit import QuantumCircuit\nfrom qiskit_aer import AerSimulator\nsimulator = AerSimulator()"
    loop = (
        "for angle in (0.1, 0.2, 0.3):\n    c = QuantumCircuit(1)\n    c.rx(angle, 0)\n    c.measure_all()\n"
        "    simulator.run(c, shots=10).result()"
    )
    cells = ["%load_ext qnb", setup, loop, f"%%qsecure confidential\n{loop}"]
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), tmp_path / "in.ipynb")
    done = CliRunner().invoke(cli, ["execute", str(tmp_path / "in.ipynb"), "-o", str(tmp_path / "out.ipynb")])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in CliRunner().invoke(cli, ["log", "list", "--json"]).output.splitlines()]
    decisions = {row["label"]: row["index"] for row in rows if row["kind"] == "decision"}
    with Log.open(tmp_path / "home" / "log.db", readonly=True) as log:
        assert log.circuits(decisions["internal"]) == []
        assert [place for place, _ in log.circuits(decisions["confidential"])] == [0]
    drawn = show(str(decisions["confidential"]), "--drawing").output
    assert "Rx(0.1)" in drawn
