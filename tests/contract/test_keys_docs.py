"""The pages on keys are run: each account that they name gets a home, and their lines are typed in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnb.core.policy import parse_policy

ROOT = Path(__file__).parents[2]
PAGES = ("share-and-offboard", "protect-your-identity", "erase-data")
FILES = ("energies.csv", "cohort.csv")  # what a reader has


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / f"docs/how-to/{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_page_run_in_order_does_what_it_says(account: Callable[[str], Any], page: str) -> None:
    """`ada$ qnb …` is typed by ada; every line ends well, and `>` keeps what it prints."""
    accounts: dict[str, Any] = {}
    for file in FILES:
        Path(file).write_text("data")
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    assert lines
    for line in lines:
        who, _, command = line.partition("$ qnb ")
        words, _, target = command.partition(" > ")
        accounts.setdefault(who, account(who) if who not in accounts else None)
        done = accounts[who].run(*shlex.split(words))
        if target:
            Path(target).write_text(done.stdout)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page: str) -> None:
    """In the text too: words and options."""
    import click

    from qnb.cli.main import cli

    text = (ROOT / f"docs/how-to/{page}.md").read_text("utf-8")
    for words in re.findall(r"(?:`|\$ |^    )qnb ([a-z][^`\n]*)", text, flags=re.MULTILINE):
        command: click.Command = cli
        rest = shlex.split(words)
        while isinstance(command, click.Group) and rest:
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, words
            command = found
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= options, words


def test_policy_of_the_erasing_page_holds(ada: Any) -> None:
    """The level sealed to the key, and the rule that lets researchers seal under it."""
    ada.run("keys", "add", "trial-7", "--dataset", "--for", "owners")
    toml, cedar, schema = (
        (ada.home / "policy" / name).read_text("utf-8") for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")
    )
    (level,) = blocks("erase-data", "toml")
    head = '[levels.restricted]\nseal = true\nrecipients = ["owners", "recovery"]\n'
    assert head in toml
    rules = cedar + "".join(blocks("erase-data", "cedar"))
    policy = parse_policy(toml.replace(head, level).encode(), rules.encode(), schema.encode())
    assert policy.sealed_to(policy.scheme.parse("restricted")) == ("trial-7",)
    assert "researchers-seal-under-trial-7" in {rule.id for rule in policy.rules}
