"""What a command asks at a terminal. Without one nothing is asked, ever."""

from __future__ import annotations

import sys
from pathlib import Path

import click


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def ask_passphrase() -> str:
    """A passphrase that exists."""
    answer: str = click.prompt("passphrase", hide_input=True, err=True)
    return answer


def ask_passphrase_of(path: Path) -> str:
    """The passphrase of an identity file."""
    answer: str = click.prompt(f"passphrase of {path}", hide_input=True, err=True)
    return answer


def ask_new_passphrase() -> str | None:
    """A new passphrase, given twice; None for an empty answer."""
    while True:
        given: str = click.prompt("Passphrase", default="", show_default=False, hide_input=True, err=True)
        if not given:
            return None
        again: str = click.prompt("Once more", default="", show_default=False, hide_input=True, err=True)
        if again == given:
            return given
        click.echo("The two differ.", err=True)
