"""The README is run: its `ipython` blocks as the cells of one notebook, then its `console` lines that call qnb."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

ROOT = Path(__file__).parents[2]
QNB = Path(sys.executable).with_name("qnb")


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_readme_run_in_order_does_what_it_says(tmp_path: Path) -> None:
    """A reader who types what stands there gets what stands there, in an empty account."""
    cells = [v4.new_code_cell(block.rstrip("\n")) for block in blocks("ipython")]
    assert cells
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "analysis.ipynb")
    environment = {**os.environ, "QNB_HOME": str(tmp_path / "home"), "IPYTHONDIR": str(tmp_path / "ipython")}
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ qnb ")]
    assert lines
    for line in lines:
        command = [QNB, *shlex.split(line, comments=True)[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
