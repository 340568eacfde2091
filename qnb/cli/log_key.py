"""`qnb log rotate-key`: new signing keys for the log, named in the log by the old ones.

Enters: nothing. Leaves: an entry, and new keys under the home. Never: a private key on the terminal.
"""

from __future__ import annotations

import json

import click

from qnb.store.config import home
from qnb.store.log_rotation import rotate_key as rotate


@click.command("rotate-key")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rotate_key(*, as_json: bool) -> None:
    """Replace the log's signing keys.

    The old keys sign the entry that names the new ones, so that whoever pinned either can follow. Entries and receipts
    stay as they are. No kernel or command of this account may be using the log meanwhile.

    Example: qnb log rotate-key
    """
    done = rotate(home())
    vkey = home() / "log.vkey"
    if as_json:
        click.echo(json.dumps({"entry": done.entry, "vkey": str(vkey), "keys": done.vkeys.splitlines()}))
        return
    click.echo(f"rotated: entry {done.entry} names the new keys, signed by the old ones")
    click.echo(f"hand out {vkey} again; who pinned the old keys follows with `qnb log prove {done.entry}`")
