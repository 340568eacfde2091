from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.errors import ConfigError, StorageError
from qnb.model import Action, Backend, Call, CircuitInfo, Outcome, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log

BACKEND = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator", "0.18.2")
CALL = Call("AerBackend.run", BACKEND, (CircuitInfo(b"\x02" * 32, b"\x03" * 32, 2, 2, 4, {"h": 1}),), shots=100)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with: 0 policy, 1 decision and 2 its failed execution, 3 decision left open, 4 denial."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    init_home(tmp_path / "home")
    with Authority.open(tmp_path / "home") as authority:
        for cell, level in (("a", "internal"), ("b", "confidential")):
            label = authority.policy.scheme.parse(level)
            context = authority.context(label, session="s", cell=cell, sequence=1)
            request = Request(Action.EXECUTE, authority.principal, label, "why", BACKEND, 1, 2, 100)
            decision = authority.require(request, context, CALL)
            if cell == "a":
                batch = authority.batch(label, 0)
                batch.add(CALL, Outcome("failed", error="ValueError"))
                authority.record_execution(context, decision, batch)
        label = authority.policy.scheme.parse("restricted")
        cloud = replace(BACKEND, name="ibm_fez", cls="qiskit_ibm_runtime.IBMBackend")
        request = Request(Action.EXECUTE, authority.principal, label, "why", cloud, 1, 2, 100)
        denied = authority.decide(
            request, authority.context(label, session="s", cell="c"), replace(CALL, backend=cloud)
        )
        assert not denied.allow
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=True)
    assert result.exit_code in (0, 1, 2), result.output
    return result


def listed(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("log", "list", "--json", *arguments).output.splitlines()]


def test_list_prints_one_object_per_entry(home: Path) -> None:
    """Oldest first, with the documented fields; the status of a decision is what came of it."""
    rows = listed()
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["kind"] for row in rows] == ["policy", "decision", "execution", "decision", "decision"]
    assert [row["decision"] for row in rows] == [None, "allow", None, "allow", "deny"]
    assert [row["status"] for row in rows] == [None, "failed", "failed", "open", "denied"]
    assert [row["label"] for row in rows] == ["internal", "internal", "internal", "confidential", "restricted"]
    assert [row["cell"] for row in rows] == [None, "a", "a", "b", "c"]
    assert rows[1]["backend"] == "aer_simulator"
    assert all(row["time"].endswith("Z") for row in rows)
    assert rows[2]["answers"] == 1


def test_filters_narrow_the_list(home: Path) -> None:
    """By kind, label, cell, time and number; the status still knows what was filtered out."""
    assert [row["index"] for row in listed("--kind", "decision")] == [1, 3, 4]
    assert [row["status"] for row in listed("--kind", "decision")] == ["failed", "open", "denied"]
    assert [row["index"] for row in listed("--label", "internal")] == [0, 1, 2]
    assert [row["index"] for row in listed("--cell", "b")] == [3]
    assert [row["index"] for row in listed("-n", "2")] == [3, 4]
    assert listed("--since", "2099-01-01") == []
    assert len(listed("--since", "2020-01-01T00:00:00+02:00")) == 5


def test_table_and_page_are_readable(home: Path) -> None:
    """The denial with its reason; the decision with what followed."""
    assert "denied" in run("log", "list").output
    page = run("log", "show", "4").output
    assert "entry 4: decision  denied" in page
    assert "because" in page
    assert "execution failed, after the decision in entry 1" in run("log", "show", "1").output


def test_page_as_json_is_the_statement_byte_for_byte(home: Path) -> None:
    """What is hashed is what is printed."""
    with Log.open(home / "log.db", readonly=True) as log:
        assert run("log", "show", "1", "--json").output == log.entry(1).decode() + "\n"


def test_bad_input_has_a_clear_error(home: Path) -> None:
    """A time that is none, an entry that is not there, no log."""
    assert isinstance(run("log", "list", "--since", "soon").exception, ConfigError)
    assert "\x1b" not in str(run("log", "list", "--since", "\x1b[2J\n" * 100).exception)
    assert isinstance(run("log", "show", "99").exception, StorageError)
    (home / "log.db").unlink()
    assert isinstance(run("log", "list").exception, StorageError)
    assert not (home / "log.db").exists()


def test_entry_that_cannot_be_read_is_listed_as_such(home: Path) -> None:
    """The others are listed all the same, and nothing in it drives the terminal."""
    with Log.open(home / "log.db") as log:
        body = log.entry(1)
        log.append([b"\x1b[2Jnonsense"])
        log.append([body.replace(b'"cell":"a"', b'"cell":"\\u001b[2J"').replace(b'"zone":', b'"\\u001b[2J":1,"zone":')])
    assert [row["kind"] for row in listed()][-2:] == [None, "decision"]
    result = run("log", "list")
    assert "unreadable" in result.output
    assert "\x1b" not in result.output
    assert "\x1b" not in run("log", "show", "6").output
