"""`qnb log witness`, the log's side, and `qnb witness`, the witness's: heads in a folder, and cosignatures on them.

Enters: the name of a folder that another account or machine owns. Leaves: heads there, cosigned there. Never: a private
key in it, or a step back.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import click

from qnb.cli.pinned import load_pinned
from qnb.core.rotation import key_ring
from qnb.store.config import home
from qnb.store.log_key import open_signing
from qnb.store.verifying import load_vkeys
from qnb.store.witness import publish, witness

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command("witness")
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def log_witness(*, folder: Path, as_json: bool) -> None:
    """Publish the log's head to FOLDER, and take in what its witness cosigned before.

    FOLDER belongs to somebody else: a share, a mounted disk, a git working tree that you push. If it knows more of this
    log than the log does, nothing is published and the exit code is 1: the log went back.

    Example: qnb log witness /mnt/audit/alice
    """
    with open_signing(home()) as (signer, log):
        note = log.head(int(time.time()))
        done = publish(home(), log, folder, load_vkeys(home(), log) or key_ring(signer.vkeys, log.rotations()), note)
    if as_json:
        said = {"size": done.size, "published": done.new, "cosigned": done.cosigned, "unread": list(done.unread)}
        click.echo(json.dumps(said))
        return
    click.echo(f"{'published' if done.new else 'published before'}: the head of {done.size} entries, in {folder}")
    for name, size in done.cosigned.items():
        click.echo(f"cosigned by {name}: {size} entries" + (f", {done.size - size} behind" if done.size > size else ""))
    if not done.cosigned:
        click.echo("cosigned by nobody yet: on the other side run `qnb witness` on that folder")
    for line in done.unread:
        click.echo(f"passed over: {line}", err=True)


@click.command("witness")
@_FOLDER
@click.option(
    "--key", "keys", multiple=True, metavar="VKEY", help="The log's public keys; else those in FOLDER, the first time."
)
@click.option("--name", metavar="NAME", help="Name of this witness, for keys that are made now. Default: a random one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def witness_command(*, folder: Path, keys: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Witness a log: check that the heads in FOLDER contain the one kept here, keep the last, and cosign it.

    The first use makes this witness's keys under QNB_HOME; hand witness.vkey to whoever verifies
    (`qnb verify --witness witness.vkey`). A log that went back or was rewritten is named, and the exit code is 1.

    Example: qnb witness /srv/audit/alice --key alice.vkey
    """
    pinned = load_pinned(keys, ()).vkeys
    done = witness(home(), folder, pinned, int(time.time()), name or f"qnb/witness/{secrets.token_hex(8)}")
    vkey = home() / "witness.vkey"
    if as_json:
        said = {"origin": done.origin, "before": done.before, "size": done.size, "first": done.first, "key": str(vkey)}
        click.echo(json.dumps(said))
        return
    since = "nothing was known of it before" if done.before is None else f"it contains the {done.before} known before"
    click.echo(f"cosigned: {done.origin}, the head of {done.size} entries; {since}")
    if done.first:
        click.echo("its keys were taken on trust from the folder: compare log.vkey with the signer's, or give --key")
    click.echo(f"public keys of this witness: {vkey}")
