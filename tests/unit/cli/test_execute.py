"""`qnb execute` on a real kernel: what it writes when all goes well, when a cell fails and when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from qnb.cli.execute import _load
from qnb.core.notebook import notebook_id
from qnb.core.seal.output import MIME

QNB = Path(sys.executable).parent / "qnb"


@pytest.fixture
def start(tmp_path: Path):
    """Start `qnb execute` on cells, in an account of its own."""

    def start(*sources: str, options: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        notebook = nbformat.v4.new_notebook()
        for source in sources:
            cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
            cell.outputs = [nbformat.v4.new_output("stream", text="STALE")]
            notebook.cells.append(cell)
        nbformat.write(notebook, tmp_path / "in.ipynb")
        return subprocess.Popen(
            [QNB, "execute", "in.ipynb", "-o", "out.ipynb", *options],
            cwd=tmp_path,
            env={
                **os.environ,
                "QNB_HOME": str(tmp_path / "home"),
                "IPYTHONDIR": str(tmp_path / "ipython"),
                "JUPYTER_PREFER_ENV_PATH": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def output_of(folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_cells_are_told_with_their_labels(start, tmp_path: Path) -> None:
    """`--json` says of each cell whether and how it was sealed; the file has a notebook id and mode 0600."""
    process = start("x = 1", "%%qsecure restricted//ip\nprint('CANARY')", options=("--json",))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    cells = json.loads(said)["cells"]
    assert [(cell["status"], cell["sealed"], cell["label"]) for cell in cells] == [
        ("ok", False, None),
        ("ok", True, "restricted//ip"),
    ]
    notebook = output_of(tmp_path)
    assert notebook.metadata.qnb.id == notebook.cells[1].outputs[0].data[MIME]["notebook"]
    assert notebook.cells[1].id == notebook.cells[1].outputs[0].data[MIME]["cell"]
    assert (tmp_path / "out.ipynb").stat().st_mode & 0o777 == 0o600
    assert json.dumps([cell.outputs for cell in notebook.cells]).count("CANARY") == 0


def test_failing_cell_stops_the_run_and_leaves_nothing_stale(start, tmp_path: Path) -> None:
    """The run ends at the failure with exit code 1; a cell that did not run has no output from earlier."""
    process = start("%%qsecure\nsecret = 'CANARY'\nraise ValueError(secret)", "print('after')")
    said = "".join(process.communicate(timeout=120))
    assert process.returncode == 1
    assert "CANARY" not in said
    first, second = output_of(tmp_path).cells
    assert first.outputs[0].data[MIME]["state"] == "failed"
    assert second.outputs == []


def test_failure_that_its_cell_expects_is_none(start, tmp_path: Path) -> None:
    """A cell tagged `raises-exception` may fail."""
    process = start("1/0", tags=("raises-exception",))
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert output_of(tmp_path).cells[0].outputs[0].ename == "ZeroDivisionError"


def test_interrupt_leaves_a_valid_notebook(start, tmp_path: Path) -> None:
    """Ctrl-C ends the cell, seals what it said, and writes the file."""
    process = start(
        "%%qsecure\nprint('CANARY', flush=True)\nopen('begun', 'w').close()\nimport time\ntime.sleep(600)",
        "print('after')",
    )
    begun = tmp_path / "begun"
    while not begun.exists():
        with pytest.raises(subprocess.TimeoutExpired):  # the process goes on meanwhile; its end would be a failure
            process.wait(timeout=0.05)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate(timeout=120))
    assert process.returncode == 1
    assert "interrupted" in said
    first, second = output_of(tmp_path).cells
    assert first.outputs[0].data[MIME]["state"] in {"interrupted", "failed"}
    assert "CANARY" not in json.dumps(first.outputs)
    assert second.outputs == []


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"cells": 1}', "[]"])
def test_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    """Exit code 2, a word on what is wrong, and no output."""
    (tmp_path / "in.ipynb").write_text(content)
    done = subprocess.run(
        [QNB, "execute", "in.ipynb"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "is not a notebook" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.ipynb"]


@pytest.mark.parametrize("own", [3, "x", [], {"id": 3}, {"id": None}])
def test_notebook_with_something_else_under_our_key_gets_an_id(tmp_path: Path, own: object) -> None:
    """`metadata.qnb` may hold anything; the id is a text, made where there is none."""
    notebook = nbformat.v4.new_notebook(metadata={"qnb": own, "kept": 1})
    nbformat.write(notebook, tmp_path / "in.ipynb")
    loaded = _load(tmp_path / "in.ipynb")
    assert notebook_id(loaded) is not None
    assert loaded.metadata.kept == 1


def test_kernel_that_is_not_there_is_a_configuration_error(start, tmp_path: Path) -> None:
    """An unknown kernel is named, with the way to list those that are there."""
    process = start("1", options=("--kernel", "nonesuch"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nonesuch" in said
    assert "jupyter kernelspec list" in said
    assert not (tmp_path / "out.ipynb").exists()


def test_notebook_is_not_overwritten_by_its_own_run(tmp_path: Path) -> None:
    """The input stays as it is; naming it as output is an error."""
    path = tmp_path / "in.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    before = path.read_bytes()
    done = subprocess.run(
        [QNB, "execute", "in.ipynb", "-o", "in.ipynb"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "name another output" in done.stderr
    assert path.read_bytes() == before
