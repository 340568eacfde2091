"""`qnb keys show`: the recipient of this account, and who can open what by the policy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qnb.core.policy import Policy
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError
from qnb.store.config import home, load_policy
from qnb.store.datasets import dataset_file
from qnb.store.keychain import load_shredded, retired_files
from qnb.store.keys import identity_protection, load_recipient

_PROTECTED = {
    "passphrase": "by a passphrase",
    "keyring": "by the keyring",
    "mounted": "by the platform that mounted it",
    "plain": "by its file mode alone: `qnb keys lock`",
}


@click.command(short_help="Show who can open what, and your own recipient.")
@click.option("--recipient", "only", is_flag=True, help="Print this account's recipient and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, only: bool, as_json: bool) -> None:
    """Show this account's recipient, the recipients and groups of the policy, and who can open each level.

    Example: qnb keys show --recipient > ada.pub
    """
    folder = home()
    if only:
        click.echo(_own_recipient(folder))
        return
    facts = _gather(folder, load_policy(folder))
    if as_json:
        click.echo(json.dumps(facts))
    else:
        _render(facts)


def _own_recipient(folder: Path) -> str:
    path = folder / "identity"
    if not path.exists():
        raise ConfigError("no-identity", f"there is no identity at `{path}`", "run `qnb init`")
    known = load_recipient(path)
    if known is None:
        raise ConfigError("recipient-unknown", f"`{path}` does not tell its recipient", "it stands in the policy")
    return known


def _gather(folder: Path, policy: Policy) -> dict[str, Any]:
    data = policy.data
    path = folder / "identity"
    own = load_recipient(path) if path.exists() else None
    by_text = {text: name for name, text in data.recipients.items()}

    def print_of(text: str) -> str:
        return parse_recipient(text).fingerprint

    def people(names: Iterable[str]) -> list[str]:
        """Names of those behind groups, recipients and dataset keys; fingerprints of those without a name."""
        found: dict[str, None] = {}
        for text in policy.recipients(names):
            name = by_text.get(text, print_of(text))
            if name in data.datasets:
                found |= dict.fromkeys(people(data.datasets[name]))
            else:
                found[name] = None
        return list(found)

    return {
        "home": str(folder),
        "own": {
            "identity": str(path) if path.exists() else None,
            "protection": identity_protection(path),
            "recipient": own,
            "fingerprint": None if own is None else print_of(own),
            "names": [name for name, text in data.recipients.items() if text == own],
            "retired": [
                {"identity": str(kept), "fingerprint": kept.name, "protection": identity_protection(kept)}
                for kept in retired_files(folder)
            ],
        },
        "recipients": [
            {
                "name": name,
                "fingerprint": print_of(text),
                "recipient": text,
                "groups": [group for group, members in data.groups.items() if name in members],
            }
            for name, text in data.recipients.items()
            if name not in data.datasets
        ],
        "groups": {group: people((group,)) for group in data.groups},
        "datasets": [
            {
                "name": name,
                "fingerprint": print_of(data.recipients[name]),
                "members": list(members),
                "readers": people(members),
                "file": str(dataset_file(folder, name)) if dataset_file(folder, name).exists() else None,
            }
            for name, members in data.datasets.items()
        ],
        "shredded": [
            {"name": key.name, "fingerprints": list(key.fingerprints), "time": key.time}
            for key in load_shredded(folder)
        ],
        "levels": [
            {
                "level": handling.level,
                "sealed": handling.seal,
                "sealed_to": list(handling.recipients),
                "readers": people(handling.recipients),
            }
            for handling in data.handling.values()
        ],
    }


def _render(facts: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False)
    own = facts["own"]
    if own["identity"] is None:
        console.print("no identity: run `qnb init`")
    else:
        console.print(f"identity     {own['identity']}", soft_wrap=True)
        console.print(f"protected    {_PROTECTED.get(own['protection'], 'unknown: it cannot be read')}")
        console.print(f"fingerprint  {own['fingerprint'] or 'unknown: the file does not tell'}")
        console.print(
            f"in policy    {', '.join(own['names']) or 'not named: have a data owner add it, `qnb keys add`'}"
        )
        for kept in own["retired"]:
            console.print(f"before       {kept['fingerprint']}, kept for reading")
    tables = [
        _table(
            "Recipients",
            ("name", "fingerprint", "in groups"),
            [(row["name"], row["fingerprint"], ", ".join(row["groups"]) or "-") for row in facts["recipients"]],
        ),
        _table(
            "Groups",
            ("group", "members"),
            [(group, ", ".join(members) or "nobody yet") for group, members in facts["groups"].items()],
        ),
        _table(
            "Dataset keys",
            ("name", "fingerprint", "opened by", "key file"),
            [
                (row["name"], row["fingerprint"], ", ".join(row["readers"]), "here" if row["file"] else "not here")
                for row in facts["datasets"]
            ]
            + [
                (key["name"], ", ".join(key["fingerprints"]), "nobody", f"shredded {key['time']}")
                for key in facts["shredded"]
            ],
        ),
        _table(
            "Who can open",
            ("level", "outputs", "readers"),
            [
                (
                    row["level"],
                    "sealed" if row["sealed"] else "in clear",
                    (", ".join(row["readers"]) or "nobody yet") if row["sealed"] else "everybody who has the file",
                )
                for row in facts["levels"]
            ],
        ),
    ]
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    if own["recipient"] is not None:  # last: it is two thousand characters
        console.print(f"\nrecipient {own['recipient']}", soft_wrap=True)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
