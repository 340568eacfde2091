"""Each finding is provoked by the fact that makes it, and gone without it."""

from __future__ import annotations

from typing import Any

import pytest

from qnb.core.posture import AccountFacts, assess_account, assess_guard, holds

SOUND: dict[str, Any] = {
    "home": "/h",
    "home_mode": 0o700,
    "identity_mode": 0o600,
    "log_key_mode": 0o600,
    "identity": "passphrase",
    "policy_packaged": False,
    "readers": {"confidential": 2},
    "recovery": True,
    "entries": 3,
    "open_executions": 0,
}


def test_sound_account_holds_with_one_word_on_the_authority() -> None:
    """Nothing to mend; what cannot be mended today is said all the same."""
    findings = assess_account(AccountFacts(**SOUND))
    assert [finding.code for finding in findings] == ["authority-in-kernel"]
    assert holds(findings)


@pytest.mark.parametrize(
    ("changed", "code", "held"),
    [
        ({"network_filesystem": "nfs4"}, "home-on-network", False),
        ({"home_mode": 0o755}, "open-to-others", False),
        ({"identity_mode": 0o640}, "open-to-others", False),
        ({"log_key_mode": 0o604}, "open-to-others", False),
        ({"identity": "missing"}, "no-identity", False),
        ({"identity": "plain"}, "identity-unprotected", False),
        ({"readers": {"confidential": 0}}, "no-recipient", False),
        ({"recovery": False}, "no-recovery", False),
        ({"retired_plain": 1}, "identity-unprotected", False),
        ({"identity_named": False}, "identity-not-named", True),
        ({"left": {"trial": 1}}, "dataset-key-held", False),
        ({"shredded": {"trial": "2026-11-25T10:00:00Z"}}, "key-shredded", True),
        ({"shredded": {"trial": "2026-11-25T10:00:00Z"}, "returned": ("trial",)}, "shredded-key-back", False),
        ({"policy_error": "qnb.toml: line 3"}, "policy-unusable", False),
        ({"policy_packaged": True}, "policy-packaged", True),
        ({"log_error": "not a database"}, "log-unusable", False),
        ({"open_executions": 2}, "executions-open", True),
        ({"credentials": ("QISKIT_IBM_TOKEN",)}, "credential-in-reach", False),
    ],
)
def test_fact_makes_its_finding_with_a_remedy(changed: dict[str, Any], code: str, held: bool) -> None:
    """The finding names the fact and what to do; its severity decides whether the account holds."""
    findings = [finding for finding in assess_account(AccountFacts(**{**SOUND, **changed})) if finding.code == code]
    assert len(findings) == 1
    assert findings[0].remedy
    assert holds(findings) is held


@pytest.mark.parametrize(
    "facts", [{"identity": "keyring"}, {"identity": "passphrase"}, {"identity": "mounted", "identity_mode": None}]
)
def test_protected_identity_makes_no_finding(facts: dict[str, Any]) -> None:
    """In a keyring, under a passphrase, or mounted read-only for this process alone."""
    assert [finding.code for finding in assess_account(AccountFacts(**{**SOUND, **facts}))] == ["authority-in-kernel"]


def test_remedies_name_commands_that_exist() -> None:
    """Each `qnb …` in a remedy is a command."""
    import re

    import click

    from qnb.cli.main import cli

    facts = SOUND | {
        "identity": "plain", "recovery": False, "identity_named": False, "returned": ("trial",), "readers": {"a": 0},
        "shredded": {"trial": "t"}, "policy_packaged": True, "open_executions": 1,
    }  # fmt: skip
    remedies = [finding.remedy or "" for finding in assess_account(AccountFacts(**facts))]
    named = {tuple(words.split()[1:]) for text in remedies for words in re.findall(r"`(qnb [a-z]+(?: [a-z]+)?)", text)}
    assert ("keys", "add") in named
    for words in named:
        command: click.Command | None = cli
        for word in words:
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
        assert command is not None, words


def test_what_was_not_observed_makes_no_finding() -> None:
    """Unknown is neither good nor bad."""
    assert {finding.code for finding in assess_account(AccountFacts("/h"))} == {"authority-in-kernel"}


def test_findings_come_worst_first() -> None:
    """The order is that of severity."""
    findings = assess_account(AccountFacts(**{**SOUND, "identity": "plain", "home_mode": 0o777, "open_executions": 1}))
    assert [finding.severity for finding in findings] == ["high", "medium", "low", "info"]


def test_guard_with_a_hole_is_a_finding_a_name() -> None:
    """A method that is not guarded weighs more than a package that nobody promised to guard."""
    found = assess_guard(["somewhere.Backend.run"], ["cirq"])
    assert [(finding.code, finding.severity) for finding in found] == [
        ("guard-removed", "high"),
        ("package-not-guarded", "medium"),
    ]
    assert not holds(found)
    assert assess_guard([], []) == []
