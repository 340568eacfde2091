"""`qnb doctor` looks at a real home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from qnb.cli.doctor import doctor
from qnb.store.config import init_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account's home, and no credentials of whoever runs the tests."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_RUNTIME_API_TOKEN", "IBM_QUANTUM_TOKEN", "IONQ_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def codes() -> set[str]:
    done = CliRunner().invoke(doctor, ["--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == (0 if said["held"] else 1)
    return {finding["code"] for finding in said["findings"]}


def test_account_without_state_is_told_to_make_it(home: Path) -> None:
    """Nothing is there, nothing is made by looking."""
    assert {"no-identity", "no-recipient", "policy-packaged"} <= codes()
    assert not home.exists()


def test_fresh_account_has_only_the_findings_of_its_choices(home: Path) -> None:
    """After `qnb init` without a terminal: no passphrase, no recovery recipient."""
    init_home(home, passphrase=None)
    assert codes() == {"identity-unprotected", "no-recovery", "authority-in-kernel"}


def test_passphrase_ends_the_finding(home: Path) -> None:
    """An identity with a passphrase is protected."""
    init_home(home, passphrase="correct horse battery staple")
    assert "identity-unprotected" not in codes()


def test_open_modes_broken_policy_and_token_are_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with files and environment is named."""
    init_home(home, passphrase=None)
    (home / "log.key").chmod(0o644)
    (home / "policy" / "qnb.toml").write_text("nonsense")
    (home / "log.db").write_bytes(b"not a database" * 100)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "CANARY")
    assert {"open-to-others", "policy-unusable", "log-unusable", "credential-in-reach"} <= codes()
    assert "CANARY" not in CliRunner().invoke(doctor, []).output


def test_terminal_page_names_findings_and_remedies(home: Path) -> None:
    """For people: severity, what it is, what to do."""
    init_home(home, passphrase=None)
    done = CliRunner().invoke(doctor, [])
    assert done.exit_code == 1
    assert "no recovery recipient" in done.stdout
    assert "see above" in done.stdout
