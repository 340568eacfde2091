from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.errors import ConfigError, LabelError, PolicyError
from qnb.store.config import init_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An initialised home."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    init_home(tmp_path / "home")
    return tmp_path / "home"


def qnb(*args: str) -> Result:
    """Run a command; a QnbError stays in `exception` for `main` to print."""
    return CliRunner().invoke(cli, ["policy", *args])


def test_explain_denies_in_words_and_with_exit_code_one(home: Path) -> None:
    """The line of the issue: which rule, why, what instead."""
    result = qnb("explain", "--level", "restricted", "--backend", "ibm_fez", "--shots", "1000")
    assert result.exit_code == 1
    for words in ("denied", "zone-not-allowed", "`ibm_fez` is in zone `cloud`", "allowed instead", "this machine"):
        assert words in result.output


def test_explain_allows_with_exit_code_zero(home: Path) -> None:
    """A simulator, and a cloud backend that brings what is asked for."""
    assert qnb("explain", "--level", "restricted//phi", "--backend", "aer_simulator").exit_code == 0
    asked = ["explain", "--level", "confidential", "--backend", "ibm_fez", "--private"]
    assert qnb(*asked).exit_code == 1
    result = qnb(*asked, "--purpose", "screening", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.output)
    assert (answer["decision"], answer["zone"], answer["backend"]) == ("allow", "cloud", "ibm_fez")
    assert "screening" not in result.output


def test_explain_runs_and_records_nothing(home: Path) -> None:
    """Asking leaves no trace."""
    before = sorted(path.name for path in home.iterdir())
    qnb("explain", "--level", "restricted", "--backend", "ibm_fez")
    assert sorted(path.name for path in home.iterdir()) == before


def test_explain_says_that_a_name_is_not_listed(home: Path) -> None:
    """And that the class decides when it runs."""
    result = qnb("explain", "--level", "internal", "--backend", "mine")
    assert result.exit_code == 0
    assert "the backend's class decides" in result.output


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--action", "seal"], 0),
        (["--action", "share", "--to", "owners"], 0),
        (["--action", "share", "--to", "somebody"], 1),
        (["--action", "unseal"], 0),
        (["--action", "declassify", "--target", "internal", "--reason", "slide"], 0),
        (["--action", "declassify", "--target", "internal"], 1),
        (["--action", "load", "--format", "qpy"], 0),
    ],
)
def test_explain_answers_every_action(home: Path, args: list[str], code: int) -> None:
    """Each with what it needs."""
    assert qnb("explain", "--level", "confidential", *args).exit_code == code


def test_explain_with_bad_input_is_a_usage_error(home: Path) -> None:
    """Errors propagate to main, which prints the hint and exits 2."""
    assert isinstance(qnb("explain", "--level", "restrictd", "--backend", "x").exception, LabelError)
    assert isinstance(qnb("explain", "--level", "internal").exception, ConfigError)
    assert isinstance(qnb("explain", "--level", "internal", "--action", "declassify").exception, ConfigError)
    assert qnb("explain").exit_code == 2


def test_check_names_the_place_of_an_error(home: Path, tmp_path: Path) -> None:
    """A folder given, or the policy in force; invalid is exit code 2 through main."""
    assert qnb("check").output.startswith(f"valid: {home / 'policy'}, 13 rules")
    assert json.loads(qnb("check", "--json").output)["valid"] is True
    assert qnb("check", str(home / "policy")).exit_code == 0
    path = home / "policy" / "qnb.toml"
    path.write_text(path.read_text().replace("grant = 10_000", "grants = 10_000", 1))
    error = qnb("check").exception
    assert isinstance(error, PolicyError)
    assert "qnb.toml: `levels.public.grant` is missing" in error.message
    assert isinstance(qnb("check", str(tmp_path / "nowhere")).exception, PolicyError)


def test_show_tells_levels_zones_roles_and_rules(home: Path) -> None:
    """As tables and as one JSON object; of recipients the tables show the beginning."""
    result = qnb("show")
    assert result.exit_code == 0
    for words in ("confidential", "on-prem", "data-owner", "zone-not-allowed", "Aer simulators"):
        assert words in result.output
    shown = json.loads(qnb("show", "--json").output)
    assert [level["level"] for level in shown["levels"]] == ["public", "internal", "confidential", "restricted"]
    assert shown["folder"] == str(home / "policy")
    assert shown["yours"] == ["researcher", "data-owner"]
    assert len(shown["rules"]) == 13


def test_show_without_a_home_shows_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes none."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "none"))
    assert "the default of the package" in qnb("show").output
    assert not (tmp_path / "none").exists()
