from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from qnb.cli.main import cli
from qnb.errors import ConfigError, StorageError
from qnb.model import Action, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of one policy entry, no checkpoint yet."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    init_home(tmp_path / "home")
    Authority.open(tmp_path / "home").close()
    return tmp_path / "home"


def test_steps_are_listed_one_by_one_in_plain_text(home: Path) -> None:
    """ASCII where there is no terminal; what was not checked says so."""
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 0
    assert result.output.isascii() or "…" in result.output
    assert "ok     entries" in result.output
    assert "-      checkpoints none was signed yet" in result.output
    assert "self-consistent, signer not authenticated" in result.output


def test_signed_log_holds_and_says_who_signed(home: Path) -> None:
    """Authenticated by this account's own verifier key."""
    with Authority.open(home) as authority:
        authority.head()
    result = json.loads(CliRunner().invoke(cli, ["verify", "--json"]).output)
    assert (result["held"], result["authenticated"]) == (True, True)
    assert {step["held"] for step in result["checked"][0]["steps"]} == {True}


def test_execution_that_was_denied_is_found(home: Path) -> None:
    """An honest tree can tell a dishonest story."""
    with Authority.open(home) as authority:
        label = authority.policy.scheme.parse("restricted")
        request = Request(Action.DECLASSIFY, authority.principal, label, target=authority.policy.scheme.session)
        decision = authority.decide(request)
        authority.record_unseal(authority.context(label), b"\x01" * 32, decision=decision, status="ok", path=None)
    result = CliRunner().invoke(cli, ["verify", "--json"])
    assert result.exit_code == 1
    codes = [step["code"] for step in json.loads(result.output)["checked"][0]["steps"] if step["held"] is False]
    assert codes in (["denied"], ["other-decision"])


def test_notebook_without_sealed_outputs_has_nothing_to_verify(home: Path, tmp_path: Path) -> None:
    """Which is said, and holds."""
    path = tmp_path / "nb.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}))
    result = CliRunner().invoke(cli, ["verify", str(path)])
    assert (result.exit_code, result.output) == (0, "no sealed outputs: nothing to verify\n")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"nbformat": 3}', b"[" * 100_000])
def test_file_that_is_no_notebook_is_refused(home: Path, tmp_path: Path, content: bytes) -> None:
    """With our error."""
    path = tmp_path / "nb.ipynb"
    path.write_bytes(content)
    assert isinstance(CliRunner().invoke(cli, ["verify", str(path)]).exception, ConfigError)


def test_key_that_is_none_and_log_that_is_missing_are_refused(home: Path) -> None:
    """Usage errors, not failed verifications."""
    assert isinstance(CliRunner().invoke(cli, ["verify", "--key", "nonsense"]).exception, ConfigError)
    (home / "log.db").unlink()
    assert isinstance(CliRunner().invoke(cli, ["verify"]).exception, StorageError)
