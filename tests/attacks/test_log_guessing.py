"""Whoever has every file but the key: what a real Bell gave, what was run and why are not guessed from the log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from nbformat import v4
from qiskit import QuantumCircuit
from qiskit.result import Result
from qiskit.result.models import MeasLevel

from qnb.cli.main import cli
from qnb.core.checkpoint import parse_signer
from qnb.core.circuits import describe, digest_result
from qnb.core.digester import Digester, canonical
from qnb.core.statement import source_digest
from qnb.store.config import init_home
from qnb.store.log import Log

SHOTS = 1000
PURPOSE = "binding energies"
LINE = "counts = simulator.run(bell, shots=1000, seed_simulator=7).result().get_counts()"
SOURCE = f"""%%qsecure confidential --purpose "{PURPOSE}"
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
simulator = AerSimulator()
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()
{LINE}
print(counts)"""


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def result_digest(zeros: int) -> bytes:
    """The plain digest of the result with so many zeros: what the attacker computes for each guess."""
    counts = {key: count for key, count in (("0x0", zeros), ("0x3", SHOTS - zeros)) if count}
    result: dict[str, Any] = {
        "backend_name": "aer_simulator", "backend_version": "0", "qobj_id": "", "job_id": "", "success": True,
        "results": [{"shots": SHOTS, "success": True, "meas_level": MeasLevel.CLASSIFIED, "data": {"counts": counts}}],
    }  # fmt: skip
    digest = digest_result(Result.from_dict(result))
    assert digest is not None
    return digest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account in which a real Bell ran once, in a real kernel."""
    folder = tmp_path_factory.mktemp("guessing")
    init_home(folder / "home")
    nb = v4.new_notebook(cells=[v4.new_code_cell("%load_ext qnb"), v4.new_code_cell(SOURCE)])
    nbformat.write(nb, folder / "in.ipynb")
    arguments = ["execute", str(folder / "in.ipynb"), "-o", str(folder / "out.ipynb")]
    done = CliRunner().invoke(cli, arguments, env={"QNB_HOME": str(folder / "home")})
    assert done.exit_code == 0, done.output
    return folder / "home"


def everything(home: Path) -> bytes:
    """All that is not the key: the files as they lie there, entries, evaluations and sealed circuits unpacked."""
    secret = ("log.key", "identity")
    parts = [path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name not in secret]
    with Log.open(home / "log.db", readonly=True) as log:
        for index in range(log.size):
            parts += [log.entry(index), *(log.evaluations(index) or ()), *(data for _, data in log.circuits(index))]
    return b"\n".join(parts)


def spellings(content: str, digest: bytes) -> set[bytes]:
    """What a guess could look like in the log, if it were recorded in any way that needs no secret."""
    message = f"urn:qnb:digest:v1:{content}\0".encode() + digest
    known_keys = [b"", bytes(32), b"qnb", hashlib.sha256(b"").digest()]
    raw = [digest, hashlib.sha256(digest).digest(), hashlib.sha256(message).digest()]
    raw += [hmac.digest(key, text, "sha256") for key, text in itertools.product(known_keys, (digest, message))]
    return {value.hex().encode() for value in raw} | {base64.b64encode(value) for value in raw}


def test_counts_of_a_recorded_bell_are_not_guessed(home: Path) -> None:
    """All 1001 outcomes, as plain digest, hash of it, and under keys that anybody knows; with the key it is one."""
    written = set(re.findall(rb"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=", everything(home)))
    assert len(written) > 10
    guesses = {zeros: spellings("result", result_digest(zeros)) for zeros in range(SHOTS + 1)}
    assert [zeros for zeros, known in guesses.items() if known & written] == []
    # the same search with the key finds the one: it was looking in the right place
    keyed = Digester(parse_signer((home / "log.key").read_text()).digest_key)
    found = [
        zeros
        for zeros in range(SHOTS + 1)
        if str(keyed.digest_set("result", result_digest(zeros))["hmac-sha256"]).encode() in written
    ]
    assert len(found) == 1


def test_source_line_purpose_and_circuit_are_not_guessed(home: Path) -> None:
    """By who knows them word for word and only wants to know whether it was this."""
    text = everything(home)
    written = set(re.findall(rb"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=", text))
    keyed = Digester(parse_signer((home / "log.key").read_text()).digest_key)
    info = describe(bell())
    digests = {
        "source": [source_digest(SOURCE), source_digest(LINE), hashlib.sha256(LINE.encode()).digest()],
        "purpose": [hashlib.sha256(PURPOSE.encode()).digest(), hashlib.sha256(canonical(PURPOSE)).digest()],
        "circuit": [info.fingerprint],
        "structure": [info.structure],
    }
    for content, guesses in digests.items():
        for digest in guesses:
            assert not spellings(content, digest) & written, content
    for secret in (PURPOSE, LINE, "simulator.run", '"00"', "bell"):
        assert secret.encode() not in text
        assert json.dumps(secret)[1:-1].encode() not in text
    for content in ("source", "circuit", "structure"):
        assert str(keyed.digest_set(content, digests[content][0])["hmac-sha256"]).encode() in written  # type: ignore[arg-type]
    committed = keyed.commit("purpose", PURPOSE)
    assert isinstance(committed, dict)
    assert str(committed["hmac-sha256"]).encode() in written
