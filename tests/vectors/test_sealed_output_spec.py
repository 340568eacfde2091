"""docs/spec/sealed-output.md is run: its code opens and verifies the example, and so does qnb.

`python tests/vectors/test_sealed_output_spec.py` writes the example anew; HPKE and ML-DSA draw randomness of their own,
so that ciphertext and signatures then differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qnb.core.card import render_html, render_text
from qnb.core.checkpoint import Checkpoint, Signer, parse_vkeys, sign_checkpoint
from qnb.core.digester import Digester
from qnb.core.merkle import inclusion_proof, leaf_hash, nodes_of, root
from qnb.core.notebook import open_notebook
from qnb.core.seal import parse_identities, seal
from qnb.core.seal.hybrid import HybridIdentity
from qnb.core.seal.output import MIME, OutputHeader, pack_output, padme, sealed_bundle
from qnb.core.statement import Context, encode, policy_statement, seal_statement, source_digest
from qnb.core.verify import audit_notebook
from qnb.model import Assurance, Label, Principal, Receipt

SPEC = Path(__file__).parents[2] / "docs" / "spec"
PAGE = SPEC / "sealed-output.md"
EXAMPLE = SPEC / "sealed-output"
IDENTITY = HybridIdentity(bytes(range(32)))
SIGNER = Signer("example.org/log", b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
SOURCE = '%%qsecure restricted//ip --purpose "assay 12"\nprint(energy)'
HEADER = OutputHeader(
    version=1,
    session="5f0c2b8e",
    sequence=7,
    state="ok",
    source_digest=source_digest(SOURCE).hex(),
    label="restricted//ip",
    notebook="a3d1c9f0",
    cell="c4",
    purpose="assay 12",
)
OUTPUTS = [{"output_type": "stream", "name": "stdout", "text": "-1.137270174\n"}]


def make_notebook() -> dict[str, Any]:
    """The example: sealed for one recipient, entry 2 of a log of 5."""
    ciphertext = seal(pack_output(HEADER, OUTPUTS), [IDENTITY.recipient])
    context = Context(
        principal=Principal("ada", 1000, Assurance.OS),
        session=HEADER.session,
        notebook=HEADER.notebook,
        cell=HEADER.cell,
        sequence=HEADER.sequence,
        source=source_digest(SOURCE),
        label=Label("restricted", frozenset({"ip"})),
        time="2026-11-23T09:30:00.000Z",
        versions={},
    )
    digester = Digester(SIGNER.digest_key)
    fingerprints = [IDENTITY.recipient.fingerprint]
    digest = hashlib.sha256(ciphertext).digest()
    entries = [encode(policy_statement(context, f"{n:064x}", None, digester)) for n in range(5)]
    entries[2] = encode(seal_statement(context, digest, HEADER.state, fingerprints, digester))
    leaves = [leaf_hash(entry) for entry in entries]
    note = sign_checkpoint(Checkpoint(SIGNER.origin, 5, root(leaves)), SIGNER, 1_795_426_200)
    proof = inclusion_proof(2, 5, nodes_of(leaves))
    receipt = Receipt(SIGNER.origin, 2, leaves[2], proof, note, entries[2].decode())
    bundle = sealed_bundle(HEADER, ciphertext, [IDENTITY.recipient], receipt)
    data = {MIME: bundle, "text/html": render_html(bundle), "text/plain": render_text(bundle)}
    cell = {
        "cell_type": "code",
        "execution_count": 7,
        "id": HEADER.cell,
        "metadata": {},
        "outputs": [{"data": data, "metadata": {}, "output_type": "display_data"}],
        "source": SOURCE.splitlines(keepends=True),
    }
    return {"cells": [cell], "metadata": {"qnb": {"id": HEADER.notebook}}, "nbformat": 4, "nbformat_minor": 5}


def write_example() -> None:
    """Write the three files."""
    EXAMPLE.mkdir(exist_ok=True)
    (EXAMPLE / "analysis.ipynb").write_text(json.dumps(make_notebook(), indent=1) + "\n")
    (EXAMPLE / "log.vkey").write_text(SIGNER.vkeys.format())
    (EXAMPLE / "identity").write_text(f"# of the example only: no secret\n{IDENTITY.reveal()}\n")


def load_example() -> dict[str, Any]:
    """The notebook."""
    nb: dict[str, Any] = json.loads((EXAMPLE / "analysis.ipynb").read_text())
    return nb


def test_code_of_the_page_opens_and_verifies_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opener and a verifier written from the page, without qnb; every claim in it is an assert."""
    monkeypatch.chdir(SPEC)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    code = "\n".join(blocks)
    assert "qnb" not in re.sub(r'"[^"]*"', "", code)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})


def test_example_is_what_its_seeds_give() -> None:
    """Keys, content and clear fields follow from the seeds; only HPKE and ML-DSA draw randomness of their own."""
    made, kept = make_notebook(), load_example()
    (one,), (other,) = made["cells"], kept["cells"]
    first, second = (cell["outputs"][0]["data"][MIME] for cell in (one, other))
    for name in first.keys() - {"age", "digest", "entry"}:
        assert first[name] == second[name]
    assert {**one, "outputs": []} == {**other, "outputs": []}
    assert (EXAMPLE / "log.vkey").read_text() == SIGNER.vkeys.format()
    assert parse_identities((EXAMPLE / "identity").read_text())[0].reveal() == IDENTITY.reveal()


def test_qnb_opens_and_verifies_the_example() -> None:
    """What others can open and verify, we do."""
    nb = load_example()
    opened, (report,) = open_notebook(nb, [IDENTITY])
    assert (report.error, report.findings, report.header) == (None, (), HEADER)
    assert opened["cells"][0]["outputs"] == OUTPUTS
    vkeys = parse_vkeys((EXAMPLE / "log.vkey").read_text())
    (checked,) = audit_notebook(nb, log=None, vkeys=vkeys, digester=Digester(SIGNER.digest_key))
    assert checked.held
    assert checked.authenticated
    assert [step.name for step in checked.steps if step.held is None] == ["log", "current"]


def test_page_names_every_field_check_and_code() -> None:
    """The tables are those of the format: members, what is bound, the steps of opening and of verifying."""
    page = PAGE.read_text()
    bundle = load_example()["cells"][0]["outputs"][0]["data"][MIME]
    rows = re.findall(r"^\| `([a-z_.]+)` \|.*\| (\w+|by `digest`|by signatures) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(bundle)
    bound = {name for name, said in rows if said == "yes"}
    assert bound == {field.name for field in dataclasses.fields(OutputHeader)} - {"source_digest", "purpose", "source"}
    for word in [*bundle["entry"], *json.loads(pack_output(HEADER, OUTPUTS))["header"].keys() - bound]:
        assert re.search(rf"^\| `(header\.)?{word}` \|", page, re.MULTILINE), word
    source = (Path(__file__).parents[2] / "qnb/core/verify.py").read_text()
    steps = set(re.findall(r'report\.(?:passed|failed|skipped)\(\s*"(\w+)"', source))
    assert steps == set(re.findall(r"\(`(\w+)`\)", page.partition("## Verifying")[2].partition("## Example")[0]))
    for code in ("bundle-malformed", "bundle-version", "output-digest", "no-identity-match", "header-mac",
                 "payload-tampered", "output-malformed", "binding-label", "moved-cell", "moved-notebook"):  # fmt: skip
        assert f"`{code}`" in page.partition("## Opening")[2].partition("## Verifying")[0]


@pytest.mark.parametrize("length", [0, 1, 2, 9, 311, 1000, 70_000, 10_000_001])
def test_padding_is_as_the_page_says(length: int) -> None:
    """Rounded up to a multiple of two to the power of exponent minus bits of the exponent."""
    if length < 2:
        assert padme(length) == length
        return
    exponent = length.bit_length() - 1
    unit = 1 << exponent - exponent.bit_length()
    assert padme(length) == -(-length // unit) * unit
    assert padme(length) <= length * 1.12 + 1


def test_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified under the example's key and opened with its identity, from an account that has neither."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    qnb = Path(sys.executable).with_name("qnb")
    subprocess.run([qnb, "init"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "docs").symlink_to(SPEC.parent)
    (block,) = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ "))
        done = subprocess.run([qnb, *words[1:]] if words[0] == "qnb" else words, cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert "-1.137270174" in (tmp_path / "opened.ipynb").read_text()


if __name__ == "__main__":
    write_example()
