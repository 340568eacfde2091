"""Terminal IPython, typed into line by line through a pseudo-terminal, as a person does."""

from __future__ import annotations

import os
import sys

import pexpect
import pytest

from qnb.core.entry import parse_statement
from qnb.store.log import Log

PROMPT = r"In \[\d+\]: "
CANARY = "canary-7f3a"


@pytest.mark.slow
def test_typed_classified_cell_shows_on_the_terminal_and_nowhere_else(tmp_path):
    """The lines below the directive are one cell: shown, recorded as sealed, and kept out of every file."""
    environment = {
        **os.environ,
        "QNB_HOME": str(tmp_path / "home"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "TERM": "dumb",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    arguments = ["-m", "IPython", "--no-banner", "--no-autoindent", "--colors=nocolor"]
    terminal = pexpect.spawn(
        sys.executable, arguments, env=environment, encoding="utf-8", timeout=60, dimensions=(60, 200)
    )
    terminal.expect(PROMPT)
    terminal.send("%load_ext qnb\r")
    terminal.expect(PROMPT)
    # a blank line ends a cell magic, and one more return runs it
    for line in ("%%qsecure restricted", "half = 'canary-'", "print(half + '7f3a')", "", ""):
        terminal.send(f"{line}\r")
    terminal.expect_exact(CANARY)
    terminal.expect(PROMPT)
    terminal.send("exit\r")
    terminal.expect(pexpect.EOF)
    with Log.open(tmp_path / "home" / "log.db", readonly=True) as log:
        seals = [view for view in map(parse_statement, log.entries()) if view.kind == "seal"]
    assert [(view.label, view.state) for view in seals[:1]] == [("restricted", "ok")]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    kept = [path.read_bytes() for path in files]
    assert not any(trace in data for data in kept for trace in (CANARY.encode(), b"half = "))
