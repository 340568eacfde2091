from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from qnb.cli import init as command
from qnb.cli.main import cli
from qnb.errors import StorageError
from qnb.store import config
from qnb.store.keys import identity_protection


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not there yet."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_init_without_a_terminal_asks_nothing(home: Path) -> None:
    """The identity is protected by its mode, which is said; path and backup command are shown once."""
    first = CliRunner().invoke(cli, ["init"])
    assert first.exit_code == 0
    assert "without a passphrase" in first.output
    assert f"cp -p {home}/identity" in first.output
    assert "Passphrase" not in first.output
    assert "AGE-SECRET-KEY" not in first.output
    again = CliRunner().invoke(cli, ["init"])
    assert "nothing was changed" in again.output
    assert "cp -p" not in again.output


def test_init_as_json_says_what_was_made(home: Path) -> None:
    """One object, nothing secret in it."""
    shown = json.loads(CliRunner().invoke(cli, ["init", "--json"]).output)
    assert shown["created"] == ["identity", "policy", "log.key", "log.vkey"]
    assert shown["recipient"].startswith("age1pq1")
    assert (shown["passphrase"], shown["listed"]) == (False, True)
    assert json.loads(CliRunner().invoke(cli, ["init", "--json"]).output)["created"] == []


@pytest.mark.parametrize(
    ("typed", "protection"),
    [("horse\nhorse\n\n", "passphrase"), ("hrose\nhorse\nhorse\nhorse\n\n", "passphrase"), ("\n\n", "plain")],
)
def test_init_at_a_terminal_offers_a_passphrase(
    home: Path, monkeypatch: pytest.MonkeyPatch, typed: str, protection: str
) -> None:
    """Given twice it wraps the identity; empty leaves it plain."""
    make = config.create_identity
    monkeypatch.setattr(config, "create_identity", lambda *args, **more: make(*args, **more, work_factor=10))
    monkeypatch.setattr(command, "at_terminal", lambda: True)
    result = CliRunner().invoke(cli, ["init"], input=typed)
    assert result.exit_code == 0
    assert "cannot be recovered" in result.output
    assert identity_protection(home / "identity") == protection
    assert "Passphrase" not in CliRunner().invoke(cli, ["init"]).output


def test_init_in_an_unusable_place_is_an_error_with_the_way_on(home: Path) -> None:
    """The error names QNB_HOME."""
    home.write_text("x")
    error = CliRunner().invoke(cli, ["init"]).exception
    assert isinstance(error, StorageError)
    assert "QNB_HOME" in (error.hint or "")
