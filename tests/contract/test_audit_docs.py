"""The auditor's pages are run: the how-to as commands in an empty account, the code of the specs on real files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import nbformat
import pytest
from nbformat import v4

from qnb.core.bundle import PROOF_TYPE
from qnb.core.checkpoint import parse_signer
from qnb.core.digester import Content
from qnb.core.entry import KINDS, parse_statement
from qnb.core.merkle import leaf_hash
from qnb.core.note import split_note
from qnb.core.statement import source_digest

ROOT = Path(__file__).parents[2]
QNB = Path(sys.executable).with_name("qnb")
SPECS = {name: (ROOT / f"docs/spec/{name}.md").read_text("utf-8") for name in ("entry", "checkpoint", "bundles")}
HOW_TO = (ROOT / "docs/how-to/audit.md").read_text("utf-8")
SOURCE = """%%qsecure confidential --purpose "binding energies"
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()
print(AerSimulator().run(bell, shots=100).result().get_counts())"""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def code(page: str) -> dict[str, Any]:
    """What the Python blocks of a page define."""
    names: dict[str, Any] = {}
    for block in blocks(SPECS[page], "python"):
        exec(block, names)
    return names


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which every command of the how-to was run in order, and what went wrong."""
    folder = tmp_path_factory.mktemp("audit")
    environment = {**os.environ, "QNB_HOME": str(folder / "home")}
    environment["PATH"] = f"{QNB.parent}{os.pathsep}{environment['PATH']}"
    nb = v4.new_notebook(cells=[v4.new_code_cell("%load_ext qnb"), v4.new_code_cell(SOURCE)])
    nbformat.write(nb, folder / "in.ipynb")
    before = ["qnb init", "qnb execute in.ipynb -o analysis.ipynb"]
    lines = [line[2:] for block in blocks(HOW_TO, "console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(lines) > 15
    wrong = []
    for line in (*before, *lines):
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            wrong.append(f"{line}\n{done.stdout}{done.stderr}")
        if line == "qnb init":
            shutil.copy(folder / "home" / "log.vkey", folder / "handed-out.vkey")
    return folder, wrong


@pytest.mark.slow
def test_how_to_works_as_written(account: tuple[Path, list[str]]) -> None:
    """Every command, in order, in an account of its own: verify, prove, export, witness, rotate."""
    folder, wrong = account
    assert wrong == []
    assert (folder / "auditor" / "witness.vkey").exists()
    assert "<svg" in (folder / "provenance.svg").read_text()


@pytest.mark.slow
def test_verifier_of_the_checkpoint_page_accepts_what_qnb_signed_and_nothing_else(
    account: tuple[Path, list[str]],
) -> None:
    """Written from the page alone."""
    folder, _ = account
    proof, vkeys = json.loads((folder / "entry-1.json").read_text()), (folder / "handed-out.vkey").read_text()
    verify = code("checkpoint")["verify"]
    head, signatures = split_note(proof["checkpoint"])
    assert verify(proof["checkpoint"], vkeys)[:3] == (head.origin, head.size, head.root)
    assert len(signatures) >= 2
    lines = proof["checkpoint"].splitlines(keepends=True)
    for changed in ("".join(lines[:5]), "".join([*lines[:4], lines[5]]), proof["checkpoint"].replace("\n4\n", "\n5\n")):
        with pytest.raises(Exception):  # noqa: B017, PT011 - as the page says, any of them
            verify(changed, vkeys)


@pytest.mark.slow
def test_verifiers_of_the_bundle_page_accept_what_qnb_wrote_and_nothing_else(account: tuple[Path, list[str]]) -> None:
    """Proof and attestations."""
    folder, _ = account
    names, vkeys = code("bundles"), (folder / "handed-out.vkey").read_text()
    proof = json.loads((folder / "entry-1.json").read_text())
    assert proof["_type"] == PROOF_TYPE
    assert names["root_of"](proof) == split_note(proof["checkpoint"])[0].root
    assert names["root_of"](proof | {"statement": proof["statement"] + " "}) != split_note(proof["checkpoint"])[0].root
    envelopes = [json.loads(line) for line in (folder / "attestations.jsonl").read_text().splitlines()]
    payloads = [names["verify_envelope"](envelope, vkeys) for envelope in envelopes]
    assert payloads[1].decode() == proof["statement"]
    for field in ("payload", "signatures"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - as above
            names["verify_envelope"]({**envelopes[0], field: envelopes[1][field]}, vkeys)


@pytest.mark.slow
def test_digests_of_the_entry_page_are_those_of_a_real_entry(account: tuple[Path, list[str]]) -> None:
    """Leaf, keyed digest and commitment, computed as the page says."""
    folder, _ = account
    names = code("entry")
    statement = json.loads((folder / "entry-1.json").read_text())["statement"]
    assert names["leaf"](statement.encode()) == leaf_hash(statement.encode()).hex()
    key = parse_signer((folder / "home" / "log.key").read_text()).digest_key
    predicate = json.loads(statement)["predicate"]
    assert predicate["source"] == {"hmac-sha256": names["keyed"](key, "source", source_digest(SOURCE))}
    assert predicate["purpose"] == {"hmac-sha256": names["committed"](key, "purpose", "binding energies")}


def test_example_of_the_entry_page_is_a_statement_of_the_format() -> None:
    """And the page names every kind, field and content that there is."""
    (example,) = blocks(SPECS["entry"], "json")
    view = parse_statement(example.encode())
    assert (view.kind, view.state, view.ciphertext) == ("seal", "ok", "09" * 32)
    for name in (*KINDS, *json.loads(example)["predicate"], *get_args(Content)):
        assert f"`{name}`" in SPECS["entry"], name


def test_commands_of_the_how_to_are_those_of_qnb() -> None:
    """Nothing that is not run is shown as a command."""
    for block in blocks(HOW_TO, "console"):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            assert "qnb" in words[:2], line
