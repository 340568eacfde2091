"""`qnb init`: the identity, the log and the policy of this account."""

from __future__ import annotations

import json

import click
from rich.console import Console

from qnb.cli.asking import ask_new_passphrase, at_terminal
from qnb.cli.recipient import read_recipient
from qnb.errors import ConfigError
from qnb.store.config import HomeReport, home, init_home
from qnb.store.os_keyring import has_keyring


@click.command()
@click.option(
    "--recovery",
    metavar="AGE1PQ…",
    help="A recipient, or a file with one, that can open everything too: of a key that lies in a safe.",
)
@click.option("--keyring/--no-keyring", default=None, help="Keep the identity in the operating system's keyring.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; asks nothing.")
def init(*, recovery: str | None, keyring: bool | None, as_json: bool) -> None:
    """Make the identity, the log keys and the policy of this account under QNB_HOME.

    What is there already stays as it is. At a terminal it asks how a new identity is to be protected, and for a
    recovery recipient; without a terminal nothing is asked, and the identity is protected by its file mode alone.

    Example: qnb init --recovery recovery.pub
    """
    folder = home()
    passphrase: str | None = None
    spare = None if recovery is None else read_recipient(recovery)
    if not as_json and at_terminal() and not (folder / "identity").exists():
        if keyring is None and has_keyring():
            keyring = click.confirm("Keep the identity in the keyring of this desktop?", default=True)
        if not keyring:
            passphrase = _ask_protection()
        if spare is None and not (folder / "policy").exists():
            spare = _ask_recovery()
    report = init_home(folder, passphrase=passphrase, keyring=bool(keyring), recovery=spare)
    if as_json:
        click.echo(json.dumps(_as_json(report)))
    else:
        _render(report)


def _ask_protection() -> str | None:
    click.echo("The identity opens what is sealed for you. A passphrase protects it from whoever can read your files;")
    click.echo("it cannot be recovered. Leave it empty for none: then the file's mode alone protects it.")
    return ask_new_passphrase()


def _ask_recovery() -> str | None:
    click.echo("A recovery recipient can open everything too, when your identity is lost: that of a key in a safe.")
    while True:
        given: str = click.prompt("Recipient, or a file with one (empty: none)", default="", show_default=False)
        if not given.strip():
            return None
        try:
            return read_recipient(given.strip())
        except ConfigError as error:
            click.echo(error.message)


def _as_json(report: HomeReport) -> dict[str, object]:
    made = report.recipient is not None
    return {
        "home": str(report.home),
        "created": list(report.created),
        "identity": str(report.identity) if made else None,
        "passphrase": report.passphrase if made else None,
        "keyring": report.keyring if made else None,
        "recovery": report.recovery if made else None,
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
        protection = "by its file mode alone, without a passphrase"
        if report.passphrase or report.keyring:
            protection = "by the keyring" if report.keyring else "by your passphrase"
        console.print(f"identity  {report.identity}, protected {protection}")
        console.print(f"back up   {report.backup}")
        console.print("          without it nobody can open what is sealed for you")
        if not report.keyring:
            console.print("          on paper: qnb keys backup identity.svg")
        console.print(f"recipient {report.recipient[:24]}… (the whole: qnb keys show)")
        if report.recovery:
            console.print("recovery  named in the policy: that key can open everything too")
    if not report.listed:
        console.print("The policy names no recipient yet, so nothing can be sealed: have a data owner add yours with")
        console.print("qnb keys add NAME RECIPIENT --group owners.")
