"""The magic in a bare shell on a terminal: what is stripped, what is refused, what is kept."""

from __future__ import annotations

import ast
import atexit
import io
import sqlite3
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from qnb.core.source import LEFT_OUT, SEALED
from qnb.errors import LabelError, StorageError
from qnb.kernel.cell import Cell
from qnb.kernel.magic import guard_of, load
from qnb.kernel.transform import LineTransform, Refusal, TreeCheck
from qnb.model import Label


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Session:
    """Opens cells and notes what it is asked for."""

    any_sealed = False
    labels = SimpleNamespace(shows=lambda value: None, reads=lambda expression: None)

    def __init__(self) -> None:
        self.opened: list[Cell] = []
        self.sealed: list[tuple[int, list, str]] = []
        self.broken: Exception | None = None

    def vouch(self, shown):
        return {"hmac-sha256": "0" * 64}

    def follow(self, namespace, on_rise): ...

    def end_cell(self, cell): ...

    def open_cell(self, raw, directive, **ids):
        cell = Cell(len(self.opened) + 1, Label("confidential" if directive else "internal"), directive is not None)
        cell.directive = directive
        self.opened.append(cell)
        if directive is not None and directive.label == "nonsense":
            cell.refused = LabelError("unknown-level", "no such level", "levels: a")
        return cell

    def end_executions(self, cell):
        if self.broken is not None:
            raise self.broken

    def seal_output(self, cell, outputs, state):
        self.sealed.append((cell.sequence, outputs, state))
        return {}

    def status(self):
        return {"label": "internal", "guard_missing": []}


@pytest.fixture
def screen():
    """What a terminal shows."""
    return _Terminal()


@pytest.fixture
def shell(tmp_path, monkeypatch, screen):
    """A shell whose cells run on that terminal."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config(
        HistoryManager={"hist_file": str(tmp_path / "history.sqlite")}, InteractiveShell={"colors": "nocolor"}
    )
    shell = InteractiveShell(config=config)
    load(shell, _Session)
    run_cell = shell.run_cell

    def on_terminal(code, out=screen, **options):
        with redirect_stdout(out), redirect_stderr(screen):
            return run_cell(code, **options)

    monkeypatch.setattr(shell, "run_cell", on_terminal)
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()


def _session(shell) -> _Session:
    return guard_of(shell).session


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("%%qsecure confidential", "incomplete"),
        ("%%qsecure confidential\n1 + 1", "incomplete"),
        ("%%qsecure --nonsense\n1 + 1", "incomplete"),
        ("%%qsecure confidential\n1 + 1\n\n", "complete"),
        ("1 + 1", "complete"),
    ],
)
def test_typed_cell_goes_on_until_a_blank_line(shell, typed, status):
    """A terminal asks after each line whether the cell is whole; a directive alone must not run as an empty cell."""
    assert shell.check_complete(typed)[0] == status


def test_transformer_gives_the_same_however_often_it_runs() -> None:
    """IPython runs it for completeness, for the decision whether to await, and for the run."""
    transform = LineTransform(lambda: None)
    lines = ["%%qsecure restricted --purpose 'it''s'\n", "x = 1\n"]
    once = transform(lines)
    assert once == transform(lines)
    assert ast.literal_eval(once[0]) == "%%qsecure restricted --purpose 'it''s'"
    assert once[1:] == ["x = 1\n"]
    assert transform([]) == []


@pytest.mark.parametrize(
    "lines", [["%%qsecure a b\n", "x"], ["%%qsecure --what\n"], ["%%time\n", "%%qsecure\n"], ["\n", "%%qsecure\n"]]
)
def test_transformer_leaves_what_does_not_count(lines: list[str]) -> None:
    """IPython makes a call of our magic of it, which raises."""
    assert LineTransform(lambda: None)(lines) == lines


def test_transformer_leaves_the_line_while_a_cell_runs() -> None:
    """A nested cell is not the outermost one."""
    assert LineTransform(SimpleNamespace)(["%%qsecure\n", "x\n"]) == ["%%qsecure\n", "x\n"]  # type: ignore[arg-type,return-value]


def test_tree_with_a_marker_and_no_cell_is_refused() -> None:
    """As in a silent execution."""
    with pytest.raises(Refusal):
        TreeCheck(lambda: None).visit(ast.parse("'%%qsecure'\nx = 1"))


def test_failing_check_refuses() -> None:
    """IPython drops a transformer that raises anything else, and goes on without it."""

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(Refusal):
        TreeCheck(fail).visit(ast.parse("x = 1"))  # type: ignore[arg-type]


def test_classified_cell_shows_on_a_terminal_and_is_recorded(shell, screen) -> None:
    """In clear, with an entry, and without history."""
    shell.run_cell("%%qsecure restricted --to bob\nprint('plain'); value = 41 + 1\nvalue", store_history=True)
    assert "plain" in screen.getvalue()
    assert shell.user_ns["value"] == 42
    (cell,) = _session(shell).opened
    assert (cell.directive.label, cell.directive.to) == ("restricted", ("bob",))
    assert _session(shell).sealed == [(1, [], "ok")]
    assert "value" not in shell.user_ns["_i1"]
    shell.history_manager.writeout_cache()
    with sqlite3.connect(shell.history_manager.hist_file) as database:
        assert "value" not in str(database.execute("SELECT * FROM history").fetchall())
    database.close()


def test_failed_cell_is_recorded_as_failed(shell, screen) -> None:
    """With its error on the screen, as ever."""
    shell.run_cell("%%qsecure\n1 / 0")
    assert "ZeroDivisionError" in screen.getvalue()
    assert _session(shell).sealed == [(1, [], "failed")]


def test_redirected_output_refuses_a_classified_cell(shell) -> None:
    """It would be plaintext in a file."""
    result = shell.run_cell("%%qsecure\nran = True", io.StringIO())
    assert "ran" not in shell.user_ns
    assert "file or a pipe" in str(result.error_before_exec)
    assert shell.run_cell("ran = True", io.StringIO()).success
    assert _session(shell).sealed == []


def test_refused_cell_shows_why_in_plain_lines(shell, screen) -> None:
    """No traceback of ours, nothing run, and the next cell is as usual."""
    result = shell.run_cell("%%qsecure nonsense\nran = True")
    assert type(result.error_before_exec).__name__ == "LabelError"
    assert screen.getvalue() == "LabelError: no such level\nhint: levels: a\n"
    assert "ran" not in shell.user_ns
    assert shell.run_cell("ran = True").success


@pytest.mark.parametrize("comment", [SEALED, LEFT_OUT])
@pytest.mark.parametrize("line", ["", "%%qsecure restricted --seal-source\n"])
def test_placeholder_of_a_source_does_not_run(shell, screen, comment: str, line: str) -> None:
    """Its empty output would take the place of the one that holds the source."""
    result = shell.run_cell(line + comment)
    assert "no source to run" in str(result.error_before_exec)
    assert "qnb unseal FILE" in screen.getvalue()
    assert _session(shell).sealed == []


def test_source_is_kept_for_the_seal_where_it_is_asked_for(shell) -> None:
    """By the cell's own line; the front end's way is tried over the wire."""
    shell.run_cell("%%qsecure --seal-source\nx = 1")
    shell.run_cell("%%qsecure\nx = 1")
    assert [cell.sealed_source for cell in _session(shell).opened] == ["%%qsecure --seal-source\nx = 1", None]


def test_cell_that_could_not_be_recorded_is_told(shell, screen) -> None:
    """The output was shown already; what can be done is to say so."""
    _session(shell).broken = StorageError("disk-full", "the log is full")
    shell.run_cell("%%qsecure\nx = 1")
    assert "StorageError: the log is full" in screen.getvalue()


def test_nested_run_opens_no_cell(shell) -> None:
    """Only the outermost run is a cell, before and after the nested one."""
    shell.run_cell("get_ipython().run_cell('x = 1')\nresult = get_ipython().run_cell('%%qsecure\\nx = 2')")
    assert shell.user_ns["x"] == 1
    assert "first line" in str(shell.user_ns["result"].error_before_exec)
    assert len(_session(shell).opened) == 1
    shell.run_cell("x = 3")
    assert len(_session(shell).opened) == 2


def test_empty_cell_has_no_result(shell) -> None:
    """The marker is gone before anything is displayed."""
    for code in ("%%qsecure", "%%qsecure\n# nothing"):
        assert shell.run_cell(code).result is None


def test_await_runs_below_the_line(shell) -> None:
    """The marker does not make the cell synchronous."""
    assert shell.run_cell("%%qsecure\nimport asyncio\nawait asyncio.sleep(0)\nx = 5").success
    assert shell.user_ns["x"] == 5
    assert len(_session(shell).opened) == 1
    shell.run_cell("%%qsecure\nx = 6")
    assert shell.user_ns["x"] == 6


def test_magic_below_the_line_keeps_its_own_tree(shell) -> None:
    """`%%time` transforms and checks the tree of its body again."""
    assert shell.run_cell("%%qsecure\n%%time\n'a string'\ny = 1").success
    assert shell.user_ns["y"] == 1


def test_loading_twice_keeps_the_first_guard(shell) -> None:
    """And adds no second transformer."""
    before = len(shell.input_transformers_cleanup), len(shell.ast_transformers)
    assert load(shell, _Session) is guard_of(shell)
    assert (len(shell.input_transformers_cleanup), len(shell.ast_transformers)) == before


def test_subcommands_are_said_plainly(shell, screen) -> None:
    """What exists, where plaintext is opened, and nothing of what was typed."""
    shell.run_cell("%qnb unseal")
    assert "qnb unseal FILE" in screen.getvalue()
    shell.run_cell("%qnb status")
    assert "guard missing  none" in screen.getvalue()
    result = shell.run_cell("typed = 'secret'\n%qnb {typed}")
    assert "`%qnb status`, `%qnb labels`, `%qnb why NAME`" in str(result.error_in_exec)
    assert "secret" not in str(result.error_in_exec)
