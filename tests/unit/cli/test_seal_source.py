"""`qnb execute --seal-source`, `%%qsecure … --seal-source`, and the way back, on a real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from qnb.core.seal.output import MIME
from qnb.core.source import LEFT_OUT, SEALED

QNB = Path(sys.executable).parent / "qnb"


@pytest.fixture
def qnb(tmp_path: Path):
    """Run the command line in an account of its own."""

    def qnb(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [QNB, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "QNB_HOME": str(tmp_path / "home"),
                "IPYTHONDIR": str(tmp_path / "ipython"),
                "JUPYTER_PREFER_ENV_PATH": "1",
            },
        )

    return qnb


def _write(folder: Path, *sources: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, folder / "in.ipynb")


def _sources(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


def test_cell_that_asks_for_it_is_sealed_with_its_source(qnb, tmp_path: Path) -> None:
    """Its line stays, the others' sources too; `unseal` restores it, and `verify` holds before and after."""
    asked = "%%qsecure restricted --seal-source\nNEEDLE = 7\nprint(NEEDLE)"
    sources = ("x = 1", asked, "%%qsecure restricted\nother = 2\n")
    _write(tmp_path, *sources)
    done = qnb("execute", "in.ipynb", "-o", "out.ipynb", "--json")
    assert done.returncode == 0, done.stderr
    written = _sources(tmp_path / "out.ipynb")
    assert written == ["x = 1", f"%%qsecure restricted --seal-source\n{SEALED}", "%%qsecure restricted\nother = 2\n"]
    assert "NEEDLE" not in (tmp_path / "out.ipynb").read_text()
    assert _sources(tmp_path / "in.ipynb") == list(sources)
    verified = qnb("verify", "out.ipynb", "--json")
    assert verified.returncode == 0, verified.stdout
    steps = {step["name"]: step["held"] for step in json.loads(verified.stdout)["checked"][0]["steps"]}
    assert steps["source"] is None
    opened = qnb("unseal", "out.ipynb", "-o", "opened.ipynb", "--json")
    assert opened.returncode == 0, opened.stderr
    assert _sources(tmp_path / "opened.ipynb") == list(sources)
    assert [row["findings"] for row in json.loads(opened.stdout)["outputs"]] == [[], []]


def test_option_seals_the_source_of_every_classified_cell(qnb, tmp_path: Path) -> None:
    """Also of one that declares no label and carries that of an earlier cell; public cells stay readable."""
    sources = ("x = 1", "%%qsecure restricted\nNEEDLE = 7", "NEEDLE + 1")
    _write(tmp_path, *sources)
    assert qnb("execute", "in.ipynb", "-o", "out.ipynb", "--seal-source").returncode == 0
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    sealed = [any(MIME in output.get("data", {}) for output in cell.outputs) for cell in notebook.cells]
    assert _sources(tmp_path / "out.ipynb")[:2] == ["x = 1", f"%%qsecure restricted\n{SEALED}"]
    assert notebook.cells[1].metadata.qnb.source == "sealed"
    assert sealed[:2] == [False, True]
    if sealed[2]:  # whether it is classified is for the flow rule of the policy to say
        assert notebook.cells[2].source == SEALED
    assert qnb("unseal", "out.ipynb", "-o", "opened.ipynb").returncode == 0
    assert _sources(tmp_path / "opened.ipynb") == list(sources)


def test_source_that_could_not_be_sealed_is_left_out(qnb, tmp_path: Path) -> None:
    """A cell that was refused or not reached has no output to hold its source; the notebook given has it."""
    _write(
        tmp_path,
        "%%qsecure nonsense --seal-source\nNEEDLE = 1",
        "%%qsecure restricted --seal-source\nNEEDLE = 2",
        "%%qsecure restricted\nkept = 3",
    )
    assert qnb("execute", "in.ipynb", "-o", "out.ipynb").returncode == 1
    first, second, third = _sources(tmp_path / "out.ipynb")
    assert first == f"%%qsecure nonsense --seal-source\n{LEFT_OUT}"
    assert second == f"%%qsecure restricted --seal-source\n{LEFT_OUT}"
    assert third == "%%qsecure restricted\nkept = 3"
    assert qnb("execute", "in.ipynb", "-o", "all.ipynb", "--seal-source").returncode == 1
    assert "NEEDLE" not in (tmp_path / "all.ipynb").read_text()
    assert "kept" not in (tmp_path / "all.ipynb").read_text()


def test_notebook_with_sealed_sources_is_not_run(qnb, tmp_path: Path) -> None:
    """Its outputs, and with them the sources, would be replaced; the way on is said."""
    _write(tmp_path, "%%qsecure restricted --seal-source\nNEEDLE = 7")
    assert qnb("execute", "in.ipynb", "-o", "out.ipynb").returncode == 0
    done = qnb("execute", "out.ipynb", "-o", "again.ipynb")
    assert done.returncode == 2
    assert "qnb unseal FILE" in done.stderr
    assert not (tmp_path / "again.ipynb").exists()
    assert qnb("unseal", "out.ipynb", "-o", "opened.ipynb").returncode == 0
    assert qnb("execute", "opened.ipynb", "-o", "again.ipynb").returncode == 0
