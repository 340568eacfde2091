from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from qnb.cli.main import COMMANDS, cli

# A command that only starts a process for the user would have nothing to say in JSON; so far there is none.
WITHOUT_JSON: set[str] = set()


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as its words: `("log", "show")`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*path, name)
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_listed_in_help_can_be_imported(name: str) -> None:
    """The table names modules as text: each of them exists and holds a command of that name."""
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.name == name


def test_every_command_has_help_with_an_example_and_json() -> None:
    """A user finds an example in every help, a program an answer in JSON from every command."""
    for words in leaves(cli):
        done = CliRunner().invoke(cli, [*words, "--help"])
        assert done.exit_code == 0, (words, done.output)
        assert f"qnb {' '.join(words)}" in done.output.partition("Example")[2], f"no example in {words}"
        if " ".join(words) not in WITHOUT_JSON:
            assert "--json" in done.output, f"no --json in {words}"
