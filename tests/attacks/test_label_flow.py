"""Attack: read labelled data in a cell that does not say so.

Real shell, real policy, real log; a scenario counts as caught when the cell that got hold of the secret carries its
label.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from qnb.core.entry import EntryView, parse_statement
from qnb.kernel import magic
from qnb.kernel.cell import Cell
from qnb.kernel.outputs import Request
from qnb.kernel.reach import Budget
from qnb.kernel.session import Session
from qnb.model import Backend, Call, CircuitInfo, Outcome
from qnb.store.authority import Authority
from qnb.store.config import init_home

PROOF = "4242.4242"
LABELLED = f"secret = qnb.label([{PROOF}, 1.0, 2.0], 'confidential')"


@dataclass(frozen=True)
class Scenario:
    """One way of data through a notebook; see the file."""

    name: str
    cells: list[str]
    first: list[str] = field(default_factory=list)
    clean: list[str] = field(default_factory=list)


_FILE = tomllib.loads(Path(__file__).with_name("flow_scenarios.toml").read_text())
BASE, MIXED, HARD = ([Scenario(**scenario) for scenario in _FILE[kind]] for kind in ("base", "mixed", "hard"))


@dataclass
class Screen:
    """Outputs that go nowhere; what cells were opened, and raised while they ran."""

    opened: list[Cell] = field(default_factory=list)
    raised: list[Cell] = field(default_factory=list)
    released: list[Any] = field(default_factory=list)
    number: int = 0

    def install(self) -> None: ...

    def request(self) -> Request:
        return Request(f"m{self.number}", None)

    def open(self, cell: Cell) -> None:
        self.opened.append(cell)

    def rise(self, cell: Cell) -> None:
        self.raised.append(cell)

    def ended(self, cell: Cell, result: Any) -> None: ...

    def allow(self, error: Exception) -> None: ...

    def release(self, bundle: Any, metadata: Any = None) -> None:
        self.released.append(bundle)


class Notebook:
    """A shell with qnb loaded."""

    def __init__(self, home: Path, flow: str = "tracked") -> None:
        init_home(home, passphrase=None)
        policy = home / "policy" / "qnb.toml"
        policy.write_text(policy.read_text().replace('flow = "tracked"', f'flow = "{flow}"'))
        config = Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "nocolor"})
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance(config=config)
        self.session = Session(Authority.open(home), check_guard=list, settle=lambda: None)
        self.screen = Screen()
        guard = magic.Guard(self.shell, self.session, self.screen)
        guard.install()
        magic._GUARDS[self.shell] = guard
        self.ns = self.shell.user_ns

    def run(self, code: str) -> Cell:
        self.screen.number += 1
        self.shell.run_cell(code, store_history=True)
        return self.screen.opened[-1]

    def close(self) -> None:
        self.session.authority.close()
        InteractiveShell.clear_instance()


@pytest.fixture
def notebook(tmp_path: Path, capsys) -> Iterator[Notebook]:
    """A notebook with the default policy."""
    notebook = Notebook(tmp_path / "home")
    yield notebook
    notebook.close()


def play(folder: Path, scenario: Scenario, flow: str = "tracked", *, proof: bool = True) -> tuple[bool, list[str]]:
    """Run a scenario; whether the last cell carries the label, and which clean names are labelled at the end."""
    notebook = Notebook(folder / "home", flow)
    try:
        notebook.ns["tmp"] = str(folder)
        for code in ("import qnb", *scenario.first, LABELLED, *scenario.cells[:-1]):
            notebook.run(code)
        last = notebook.run(scenario.cells[-1])
        assert not proof or PROOF in str(notebook.ns.get("got")), notebook.ns.get("got")
        missing = [name for name in scenario.clean if name not in notebook.ns]
        assert missing == []
        lost = [name for name in scenario.clean if notebook.session.labels.label_of(name).level != "internal"]
        return last.label.level in ("confidential", "restricted"), lost
    finally:
        notebook.close()


def _name(scenario: Scenario) -> str:
    return scenario.name


def test_ordinary_work_is_as_without_qnb(notebook: Notebook, tmp_path: Path) -> None:
    """Also while something is labelled: nothing stands in for the namespace or for a value."""
    # first of the file: with the remains of a hundred shells in one process the walk over a figure runs out
    (tmp_path / "script.py").write_text("made = 7")
    notebook.run("import qnb")
    notebook.run(LABELLED)
    for code in (
        "import pickle\nclass Point:\n    def __init__(self, x): self.x = x\np = pickle.loads(pickle.dumps(Point(3)))",
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]}); total = df.a.sum()",
        "import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt",
        "fig, ax = plt.subplots(); line = ax.plot([1, 2]); plt.close(fig)",
        "%timeit -n1 -r1 1 + 1",
        "%load_ext autoreload\n%autoreload 2",
        "import asyncio\nawait asyncio.sleep(0)\nwaited = True",
        "def counter():\n    global count\n    count += 1\ncount = 0\ncounter(); counter()",
    ):
        assert notebook.run(code).because is None, code
    notebook.run(f"%run {tmp_path / 'script.py'}")
    ns = notebook.ns
    assert type(ns) is dict
    assert type(ns["secret"]) is list
    assert (ns["p"].x, ns["total"], ns["waited"], ns["count"], ns["made"]) == (3, 3, True, 2, 7)
    assert "secret" in notebook.shell.Completer.global_matches("sec")


@pytest.mark.parametrize("scenario", BASE, ids=_name)
def test_ordinary_way_of_data_carries_its_label(tmp_path: Path, capsys, scenario) -> None:
    """Every one is caught, and the names beside it are left alone."""
    assert play(tmp_path, scenario) == (True, [])


@pytest.mark.slow
def test_names_that_hold_nothing_of_it_stay_clean(tmp_path: Path, capsys) -> None:
    """At least nine of ten, where cells mix what is secret with what is not."""
    lost: list[str] = []
    names = 0
    for scenario in MIXED:
        folder = tmp_path / scenario.name
        folder.mkdir()
        lost += [f"{scenario.name}: {name}" for name in play(folder, scenario, proof=False)[1]]
        names += len(scenario.clean)
    assert sorted(lost) == sorted(LOST)
    assert len(lost) <= 0.10 * names


# what tracking misses, and what it labels for nothing; docs/explanation/label-flow.md names each
MISSED = {"timing", "decimal context", "pipe", "hook of the shell"}
LOST = {"constants beside it: KCAL", "random numbers: rng"}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", HARD, ids=_name)
def test_hidden_way_of_data_is_caught_but_for_those_that_are_named(tmp_path: Path, capsys, scenario) -> None:
    """The figures as they are: a miss that is mended, or a new one, changes the page."""
    assert play(tmp_path, scenario)[0] is (scenario.name not in MISSED)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", HARD, ids=_name)
def test_hidden_way_of_data_is_caught_by_high_water(tmp_path: Path, capsys, scenario) -> None:
    """All of them: the rule follows nothing that could be hidden."""
    assert play(tmp_path, scenario, "high-water")[0]


def test_page_names_every_miss() -> None:
    """Who relies on tracking can read what it does not see."""
    page = (Path(__file__).parents[2] / "docs/explanation/label-flow.md").read_text()
    assert len(BASE) >= 40
    assert len(HARD) >= 20
    assert [name for name in MISSED if f"| {name} |" not in page] == []
    figures = (
        f"{len(BASE)} of {len(BASE)}",
        f"{len(HARD) - len(MISSED)} of {len(HARD)}",
    )
    assert [figure for figure in figures if figure not in page] == []


# --- what is kept, and what is said -----------------------------------------------------------------------------------

AER = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator")
CALL = Call("AerBackend.run", AER, (CircuitInfo(b"\1" * 32, b"\2" * 32, 2, 2, 4, {"h": 1}),), shots=100)


def entries(notebook: Notebook) -> list[EntryView]:
    return [parse_statement(data) for data in notebook.session.authority._log.entries()]


def label_of(notebook: Notebook, value: Any) -> str:
    return str(notebook.session.labels.label_of(value))


def test_execution_is_decided_at_the_label_of_what_the_cell_reads(notebook: Notebook) -> None:
    """Also at the one that it rose to, and what was decided before stays recorded at its own."""
    notebook.ns.update(session=notebook.session, CALL=CALL, Outcome=Outcome)
    notebook.run("import qnb\nsession.begin(CALL).end(Outcome('ok'))")
    notebook.run(LABELLED)
    notebook.run("secret; session.begin(CALL).end(Outcome('ok'))")
    notebook.run(
        "late = session.begin(CALL)\nqnb.label([1], 'restricted//phi')\nsession.begin(CALL); late.end(Outcome('ok'))"
    )
    notebook.session.end_executions(notebook.screen.opened[-1])
    kinds = [(view.kind, view.label) for view in entries(notebook) if view.kind in ("decision", "execution")]
    assert kinds == [
        ("decision", "internal"),
        ("execution", "internal"),
        ("decision", "confidential"),
        ("execution", "confidential"),
        ("decision", "internal"),
        ("decision", "restricted//phi"),
        ("execution", "internal"),
    ]


def test_label_of_a_value_lives_as_long_as_the_value(notebook: Notebook) -> None:
    """The table of labels keeps neither an array nor a list."""
    notebook.run("import qnb, numpy as np")
    notebook.run("array = qnb.label(np.arange(3.0), 'confidential'); rows = qnb.label([1, 2], 'confidential')")
    marked = notebook.session.labels._flow.marked
    assert len(marked._objects) == 2
    notebook.run("del array, rows; _ = __ = ___ = Out = None; import gc; _x = gc.collect()")
    notebook.run("1")
    notebook.run("2")
    assert len(marked._objects) <= 1  # IPython's own last result
    assert label_of(notebook, "np") == "internal"


def test_declassified_value_is_lower_by_name_and_object(notebook: Notebook) -> None:
    """Decided and recorded; what else the cell bound is as it was."""
    notebook.run("import qnb")
    notebook.run(LABELLED)
    notebook.run("mean = sum(secret) / 3\nshape = [len(secret)]\nother = shape[0]")
    notebook.run("shape = qnb.declassify(shape, 'internal', reason='a size'); more = 1")
    assert [label_of(notebook, name) for name in ("shape", "mean", "more", "other")] == [
        "internal", "confidential", "confidential", "confidential",
    ]  # fmt: skip
    notebook.run("%qnb declassify mean internal 'for the slide'")
    assert label_of(notebook, "mean") == "internal"
    assert [view.kind for view in entries(notebook)].count("declassify") == 2
    assert notebook.run("mean").label.level == "internal"


def test_declassifying_a_small_number_lowers_no_other_one(notebook: Notebook) -> None:
    """Equal numbers are one object; they are told apart by the names that the act was about."""
    notebook.run("import qnb")
    notebook.run(LABELLED)
    notebook.run("size = len(secret); patients = len(secret)")
    notebook.run("size = qnb.declassify(size, 'internal', reason='a size'); also = patients")
    assert [label_of(notebook, name) for name in ("size", "patients", "also")] == [
        "internal", "confidential", "confidential",
    ]  # fmt: skip


def test_release_is_decided_recorded_and_leaves_the_variables(notebook: Notebook) -> None:
    """The next cell is clear; the variable is not."""
    notebook.run("import qnb")
    notebook.run("x = qnb.label([1], 'restricted')")
    assert notebook.run("1").because.startswith("restricted, as every cell is since cell 2")
    notebook.run("%qnb release 'the series is published'")
    assert notebook.run("1").label.level == "internal"
    assert notebook.run("x").label.level == "restricted"
    views = entries(notebook)
    assert [view.action for view in views if view.kind == "decision"] == ["declassify"]
    assert [view.predicate["target"] for view in views if view.kind == "declassify"] == ["internal"]


def test_thread_that_outlives_a_labelled_cell_raises_the_kernel(notebook: Notebook) -> None:
    """It can write any variable at any time."""
    notebook.run("import qnb, threading\nstop = threading.Event()")
    notebook.run(LABELLED)
    notebook.run("t = threading.Thread(target=stop.wait, args=(30,)); len(secret); t.start()")
    try:
        assert notebook.run("1").label.level == "confidential"
    finally:
        notebook.run("stop.set(); t.join()")


def test_tracker_that_fails_counts_as_everything(notebook: Notebook, monkeypatch) -> None:
    """Before a cell and after it; IPython would only print the error and go on."""
    notebook.run("import qnb")
    notebook.run(LABELLED)
    flow = notebook.session.labels._flow
    with monkeypatch.context() as broken:
        broken.setattr(flow, "_judge", None)
        assert notebook.run("1").label.level == "confidential"
    notebook.run("%qnb release 'the scenario goes on'")
    with monkeypatch.context() as broken:
        broken.setattr(flow, "settle", None)
        assert notebook.run("2").label.level == "confidential"
    assert notebook.run("3").label.level == "confidential"


def test_cell_that_cannot_be_opened_is_not_run(notebook: Notebook, monkeypatch) -> None:
    """Not even one that declares nothing."""
    monkeypatch.setattr(notebook.session, "open_cell", None)
    notebook.shell.run_cell("ran = 1")
    assert "ran" not in notebook.ns
    monkeypatch.undo()
    notebook.run("ran = 1")
    assert notebook.ns["ran"] == 1


def test_value_too_large_to_be_searched_counts_as_reaching(notebook: Notebook, monkeypatch) -> None:
    """And is searched again in the next cell."""
    monkeypatch.setattr("qnb.kernel.flow.Budget", lambda **_: Budget(objects=100))
    notebook.run("import qnb\nlarge = [[i] for i in range(20_000)]; numbers = list(range(1_000_000))")
    notebook.run(LABELLED)
    assert notebook.run("len(large)").label.level == "confidential"
    assert notebook.run("small = len(numbers)").label.level == "internal"  # numbers reach nothing
