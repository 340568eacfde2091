"""Attack: find in the shell, or in what it writes to files, what a classified cell has left there.

`_`, `__`, `Out[]` and everything else that is a variable is label flow's matter; here the front end must see nothing of
them in the classified cell itself, and find nothing in the places that are no variables.
"""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def failed(wire) -> None:
    """A classified cell that failed, with the canary in its error."""
    assert wire.run("%%qsecure\nneedle_in_source = {}\nneedle_in_source[CANARY]").content["status"] == "error"


def test_results_are_seen_by_nobody_while_they_become_variables(wire, canary: str) -> None:
    """`_`, `__`, `___`, `_N` and `Out[N]` hold the result; the front end gets a card."""
    reply = wire.must("%%qsecure\nCANARY + ' result'")
    number = reply.content["execution_count"]
    assert f"{canary} result" in wire.opened(reply.card)
    inside = wire.must(f"%%qsecure\n_, _{number}, Out[{number}]")
    assert wire.opened(inside.card).count(f"{canary} result") == 3
    shown = wire.must("%%qsecure\nprint(__, ___, Out)")
    assert shown.shown == {"display_data"}
    assert not wire.leaks()


def test_last_error_is_gone_for_a_public_cell(wire, failed) -> None:
    """`%tb`, `%debug`, `sys.last_value` and the last result object find nothing."""
    said = wire.must(
        "import sys\nprint([name for name in vars(sys) if name.startswith('last_')])\n"
        "print(get_ipython().last_execution_result, get_ipython()._last_traceback)\n%tb\n%debug"
    )
    assert "No traceback" in json.dumps(said.of("stream"))
    assert "['last_" not in json.dumps(said.of("stream"))
    assert not wire.leaks()


def test_last_error_is_there_for_the_next_classified_cell(wire, failed, canary: str) -> None:
    """Debugging goes on: `%tb` and a post-mortem, sealed, prompts and what is typed masked."""
    assert canary in wire.opened(wire.must("%%qsecure\n%tb").card)
    wire.run("%%qsecure\nraise ValueError(CANARY * 2)")
    reply = wire.run("%%qsecure\n%debug", typed="q")
    assert {json.dumps(prompt) for prompt in wire.prompts} == {
        json.dumps({"prompt": "input for a sealed cell: ", "password": True})
    }
    assert "ValueError" in wire.opened(reply.card) or "raise" in wire.opened(reply.card)
    assert not wire.leaks()


def test_error_of_a_public_cell_stays_for_the_next_one(wire) -> None:
    """Ordinary debugging is as without qnb."""
    wire.run("1 / 0")
    assert "ZeroDivisionError" in json.dumps(wire.must("%tb").of("error") + wire.must("%tb").of("stream"))


@pytest.mark.parametrize(
    "code",
    [
        "%store CANARY",
        "%store CANARY > kept.txt",
        "%save -f kept.py CANARY",
        "%pastebin CANARY",
        "%edit CANARY",
        "%reload_ext storemagic\nget_ipython().run_line_magic('store', 'CANARY')",
    ],
)
def test_magic_that_writes_in_clear_does_not_run(wire, code: str) -> None:
    """It says so in clear, and nothing is written."""
    reply = wire.run(f"%%qsecure\n{code}")
    assert reply.content["ename"] == "ConfigError"
    assert "writes in clear" in reply.content["evalue"]
    assert not wire.leaks()


def test_magic_that_writes_still_runs_in_a_public_cell(wire) -> None:
    """What is not classified may be kept."""
    wire.must("public_value = 5\n%store public_value\n%save -f public.py 1")


def test_files_of_the_history_magics_hold_no_source(wire, failed) -> None:
    """`%history -f`, `%save`, `%notebook` and `%macro` copy what the history has, which is a placeholder."""
    wire.must("%history -g -o -f all.txt\n%history -n -o -f own.txt\n%notebook kept.ipynb\n%macro kept 1-40")
    wire.must("%save -f kept.py 1-40")
    wire.must("%%qsecure\n%history -g -o -f classified.txt\n%notebook classified.ipynb")
    for name in ("all.txt", "own.txt", "kept.ipynb", "kept.py", "classified.txt", "classified.ipynb"):
        assert "needle_in_source" not in (wire.home / name).read_text()
    assert not wire.leaks()


def test_log_of_the_session_holds_neither_source_nor_output(wire) -> None:
    """`%logstart -o -r` writes all input and output as it comes."""
    wire.must("%logstart -o -r -t session.log")
    wire.must("%%qsecure\nneedle_logged = CANARY\nneedle_logged")
    wire.run("%%qsecure\nraise ValueError(CANARY)")
    wire.must("'a public result'")
    wire.must("%logstop")
    logged = (wire.home / "session.log").read_text()
    assert "a public result" in logged
    assert "needle_logged" not in logged
    assert not wire.leaks()


def test_figures_do_not_reach_the_next_cell(wire) -> None:
    """A figure that pyplot still held would be shown below a public cell."""
    wire.must("%matplotlib inline\n%config InlineBackend.close_figures = False\nimport matplotlib.pyplot as plt")
    wire.must("%%qsecure\nplt.title(CANARY)\nplt.plot([1]);")
    assert wire.must("1;").shown == set()
    assert wire.must("print(plt.get_fignums())").of("stream")[0]["text"] == "[]\n"
    wire.must("%config InlineBackend.close_figures = True")


def test_sealed_source_is_quoted_by_no_later_traceback(wire) -> None:
    """With `--seal-source` not even a function that a public cell calls shows its lines."""
    wire.must("%%qsecure --seal-source\ndef fails():\n    needle_quoted = 1 / 0")
    error = wire.run("fails()").of("error")[0]
    assert error["ename"] == "ZeroDivisionError"
    assert "needle_quoted" not in json.dumps(error)


def test_kernel_that_logs_everything_logs_no_source(wire) -> None:
    """At its lowest levels ipykernel writes each request to the server's log."""
    wire.must("import logging\nassert get_ipython().kernel.log.getEffectiveLevel() >= logging.INFO")
    wire.must("%%qsecure\nneedle_in_log = CANARY")
    wire.log.flush()
    assert "needle_in_log" not in (wire.home / "server.log").read_text(errors="replace")


def test_output_at_the_end_of_the_kernel_is_not_told(tmp_path, canary: str) -> None:
    """`atexit` and daemon threads speak when nobody routes messages any longer."""
    from tests.attacks.conftest import Wire

    wire = Wire(tmp_path, "import standin\nstandin.load(get_ipython())")
    try:
        wire.must("%%qsecure\nimport atexit, sys\natexit.register(print, CANARY)\nprint(CANARY)")
        wire.must("%%qsecure\nimport sys\natexit.register(lambda: print(CANARY, file=sys.__stderr__, flush=True))")
        wire.client.shutdown()
        assert wire.manager.provisioner is not None
        wire.manager.provisioner.process.wait(30)
        while (message := wire._next_iopub(0.2)) is not None:
            assert message["header"]["msg_type"] != "stream"
        assert not wire.leaks()
    finally:
        wire.close()
