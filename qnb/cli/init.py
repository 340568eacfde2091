"""`qnb init`: the identity, the log and the policy of this account."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console

from qnb.store.config import HomeReport, home, init_home


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; asks nothing.")
def init(*, as_json: bool) -> None:
    """Make the identity, the log keys and the policy of this account under QNB_HOME.

    What is there already stays as it is. At a terminal a passphrase for a new identity can be given; without a terminal
    nothing is asked, and the identity is protected by its file mode alone.

    Example: qnb init
    """
    folder = home()
    passphrase: str | None = None
    if not as_json and at_terminal() and not (folder / "identity").exists():
        passphrase = _ask_passphrase()
    report = init_home(folder, passphrase=passphrase)
    if as_json:
        click.echo(json.dumps(_as_json(report)))
    else:
        _render(report)


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _ask_passphrase() -> str | None:
    click.echo("The identity opens what is sealed for you. A passphrase protects it from whoever can read your files;")
    click.echo("it cannot be recovered. Leave it empty for none: then the file's mode alone protects it.")
    while True:
        given: str = click.prompt("Passphrase", default="", show_default=False, hide_input=True)
        if not given:
            return None
        if click.prompt("Once more", default="", show_default=False, hide_input=True) == given:
            return given
        click.echo("The two differ.")


def _as_json(report: HomeReport) -> dict[str, object]:
    made = report.recipient is not None
    return {
        "home": str(report.home),
        "created": list(report.created),
        "identity": str(report.identity) if made else None,
        "passphrase": report.passphrase if made else None,
        "recipient": report.recipient,
        "listed": report.listed,
        "backup": report.backup if made else None,
    }


def _render(report: HomeReport) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"home      {report.home}")
    if not report.created:
        console.print("everything is there already; nothing was changed")
        return
    console.print(f"made      {', '.join(report.created)}")
    if report.recipient is not None:
        protection = "by your passphrase" if report.passphrase else "by its file mode alone, without a passphrase"
        console.print(f"identity  {report.identity}, protected {protection}")
        console.print(f"back up   {report.backup}")
        console.print("          without this file nobody can open what is sealed for you")
        console.print(f"recipient {report.recipient[:24]}… (the whole: qnb keys show)")
    if not report.listed:
        console.print("The policy names no recipient yet, so nothing can be sealed: have a data owner add yours under")
        console.print("[recipients] in qnb.toml.")
