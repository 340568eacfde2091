"""`qnb keys rotate`, `lock` and `backup`: what becomes of identities."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from qnb.cli.asking import ask_new_passphrase, ask_passphrase_of, at_terminal
from qnb.cli.keys_rewrap import run_rewrap
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError
from qnb.store.config import home
from qnb.store.datasets import rotate_dataset
from qnb.store.identities import lock_identities, save_paper
from qnb.store.keychain import Keychain
from qnb.store.keys import identity_protection
from qnb.store.rotation import rotate_identity

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command(short_help="Make a new identity, or a new dataset key.")
@click.argument("name", required=False)
@click.option("--rewrap", "files", multiple=True, metavar="FILE", help="Rewrap this file or folder at once.")
@_JSON
def rotate(*, name: str | None, files: tuple[str, ...], as_json: bool) -> None:
    """Give this account a new identity, or the dataset key NAME a new one; the old one is kept for reading.

    The policy's recipient is replaced, so that what follows is sealed for the new one. What is there stays open to the
    old one until it is rewrapped.

    Example: qnb keys rotate --rewrap notebooks/
    """
    chain = Keychain(home(), ask_passphrase_of if at_terminal() else None)
    fields: dict[str, object]
    if name is not None:
        made = rotate_dataset(home(), name, chain)
        fingerprint = parse_recipient(made.recipient).fingerprint
        fields = {"name": name, "fingerprint": fingerprint, "members": list(made.members), "entry": made.change.entry}
        lines = [f"rotated {name}: {fingerprint}, for {', '.join(made.members)}, entry {made.change.entry}"]
        lines += [f"its identity, sealed for these: {made.path}; give them the new file"]
    else:
        passphrase, keyring = _protection(as_json=as_json)
        done = rotate_identity(home(), chain, passphrase, keyring=keyring)
        fingerprint = parse_recipient(done.recipient).fingerprint
        fields = {
            "fingerprint": fingerprint,
            "recipient": done.recipient,
            "previous": parse_recipient(done.previous).fingerprint,
            "kept": str(done.kept),
            "names": list(done.names),
            "datasets": list(done.datasets),
            "entry": done.entry,
        }
        lines = [f"rotated: {fingerprint}, entry {done.entry}", f"the old identity is kept for reading: {done.kept}"]
        if not done.names:
            lines.append("the policy did not name it: have a data owner add the new one, `qnb keys show --recipient`")
        lines += [
            f"the dataset key {key} is sealed for the new one; if the old one was stolen: qnb keys rotate {key}"
            for key in done.datasets
        ]
        lines.append("back up the new one: qnb keys backup identity.svg")
    if not as_json:
        click.echo("\n".join(lines))
    if files:
        # found anew, with the identity that was made
        chain = Keychain(home(), ask_passphrase_of if at_terminal() else None)
        if run_rewrap(files, (), chain, None, as_json=as_json, **fields):
            raise SystemExit(1)
    elif as_json:
        click.echo(json.dumps({**fields, "rewrapped": []}))
    else:
        click.echo("what is sealed already is for the old one; for the new one: qnb keys rewrap FILES")


def _protection(*, as_json: bool) -> tuple[str | None, bool]:
    """A new identity is protected as the old one: passphrase, and whether a keyring."""
    kind = identity_protection(home() / "identity")
    if kind == "keyring":
        return None, True
    if at_terminal() and not as_json:
        click.echo("A passphrase for the new identity; it cannot be recovered.", err=True)
        passphrase = ask_new_passphrase()
    else:
        passphrase = None
    if kind == "passphrase" and passphrase is None:
        raise ConfigError(
            "passphrase-needed",
            "the identity is protected by a passphrase, and the new one would have none",
            "run it in a terminal and give one",
        )
    return passphrase, False


@click.command(short_help="Put your identities under a passphrase.")
@_JSON
def lock(*, as_json: bool) -> None:
    """Put this account's identities under a passphrase; what a keyring keeps of them is forgotten.

    Example: qnb keys lock
    """
    if not (home() / "identity").exists():
        raise ConfigError("no-identity", f"there is no identity at `{home() / 'identity'}`", "run `qnb init`")

    def ask() -> str:
        if not at_terminal():
            raise ConfigError("passphrase-needed", "nobody can be asked for a passphrase", "run it in a terminal")
        click.echo("The passphrase cannot be recovered: have a backup first (`qnb keys backup`).", err=True)
        given = ask_new_passphrase()
        if given is None:
            raise click.Abort
        return given

    done = lock_identities(home(), ask)
    if as_json:
        click.echo(json.dumps({"locked": [str(path) for path, _ in done], "entries": [entry for _, entry in done]}))
    elif not done:
        click.echo("locked already: nothing was changed")
    for path, entry in () if as_json else done:
        click.echo(f"locked {path}, entry {entry}")


@click.command(short_help="Write a page to print, with your identity.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@_JSON
def backup(*, file: Path, force: bool, as_json: bool) -> None:
    """Write a page to print, with this account's identity as a QR code and in letters, to FILE of mode 0600.

    A name that ends in .svg gives a picture, any other a text. The page is the identity in clear: print it, put it in a
    safe, and destroy the file. It is never written to the terminal.

    Example: qnb keys backup identity.svg
    """
    chain = Keychain(home(), ask_passphrase_of if at_terminal() else None)
    created = datetime.now(UTC).date().isoformat()
    fingerprint, entry = save_paper(home(), chain, file, created, replace=force)
    if as_json:
        click.echo(json.dumps({"file": str(file), "fingerprint": fingerprint, "entry": entry}))
    else:
        click.echo(f"wrote {file}, entry {entry}: the identity {fingerprint} in clear")
        click.echo("print it, put it in a safe, and destroy the file")
