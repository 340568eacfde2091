"""`qnb doctor`: the posture of this account, from a terminal."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.console import Console

from qnb.core.posture import assess_account, holds
from qnb.store.account import observe_account
from qnb.store.config import home

_STYLE = {"high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Look at this account's identity, policy and log, and say what to mend.

    Exit code 0 when nothing of high or medium severity is found, else 1.

    Example: qnb doctor
    """
    facts = observe_account(home())
    findings = assess_account(facts)
    held = holds(findings)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "home": facts.home,
                    "entries": facts.entries,
                    "held": held,
                    "findings": [{**dataclasses.asdict(finding), "facts": dict(finding.facts)} for finding in findings],
                }
            )
        )
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"home {facts.home}", markup=False)
        console.print(f"log  {'none yet' if facts.entries is None else f'{facts.entries} entries'}", markup=False)
        for finding in findings:
            console.print(f"{finding.severity:<7}", style=_STYLE[finding.severity], end="")
            console.print(finding.message, markup=False)
            if finding.remedy is not None:
                console.print(f"       {finding.remedy}", style="dim", markup=False)
        console.print("nothing to mend" if held else "see above for what to mend", markup=False)
    if not held:
        raise SystemExit(1)
