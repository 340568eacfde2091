"""`qnb keys`: who can open what. Recipients and groups of the policy, dataset keys, this account's identity.

Enters: names, recipients, files. Leaves: a changed policy, rewrapped files, entries.
Never: prints an identity; destroys one without being told twice.
"""

from __future__ import annotations

import json

import click

from qnb.cli.asking import ask_passphrase_of, at_terminal
from qnb.cli.keys_identity import backup, lock, rotate
from qnb.cli.keys_rewrap import rewrap
from qnb.cli.keys_show import show
from qnb.cli.recipient import read_recipient
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError
from qnb.store.config import home, load_policy
from qnb.store.datasets import dataset_file, make_dataset, shred_dataset
from qnb.store.keychain import Keychain, dataset_files
from qnb.store.recipients import forget_recipient, members_of, name_recipient

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def keys() -> None:
    """Recipients, dataset keys and identities: who can open what.

    Who is named is decided as `share` at the highest level, so by default a data owner does it, and recorded.

    Example: qnb keys add grace grace.pub --group owners
    """


@keys.command(short_help="Name a recipient in the policy, or make a dataset key.")
@click.argument("name")
@click.argument("recipient", required=False)
@click.option("--group", "groups", multiple=True, metavar="G", help="Put it into this group; may be repeated.")
@click.option("--dataset", is_flag=True, help="Make a key for a dataset or classification, that can be shredded.")
@click.option("--for", "members", multiple=True, metavar="G", help="--dataset: groups or recipients who open with it.")
@_JSON
def add(
    *, name: str, recipient: str | None, groups: tuple[str, ...], dataset: bool, members: tuple[str, ...], as_json: bool
) -> None:
    """Name RECIPIENT (age1pq1…, or a file with one) in the policy as NAME; or with --dataset make a key of that name.

    It counts for what is sealed from now on; `qnb keys rewrap` lets a new reader open what is there.

    Example: qnb keys add grace grace.pub --group owners
    """
    if dataset:
        if recipient is not None or groups:
            raise click.UsageError("--dataset makes a recipient of its own, which is in no group")
        _add_dataset(name, members, as_json=as_json)
        return
    if recipient is None or members:
        raise click.UsageError("give a recipient, or --dataset with --for")
    text = read_recipient(recipient)
    change = name_recipient(home(), name, text, groups)
    policy = load_policy(home())
    behind = [
        key
        for key in policy.data.datasets
        if text in members_of(policy, key) and dataset_file(home(), key) in dataset_files(home())
    ]
    fingerprint = parse_recipient(text).fingerprint
    if as_json:
        _print(name=name, fingerprint=fingerprint, groups=list(groups), datasets=behind, entry=change.entry)
        return
    where = f" in {', '.join(groups)}" if groups else ""
    click.echo(f"added {name} ({fingerprint}){where}, entry {change.entry}")
    if not groups:
        click.echo(f"no group holds it yet: nothing is sealed for `{name}` but what names it with `--to`")
    for key in behind:
        click.echo(f"to let it open with the dataset key `{key}`: qnb keys rewrap {key}")


def _add_dataset(name: str, members: tuple[str, ...], *, as_json: bool) -> None:
    made = make_dataset(home(), name, members)
    fingerprint = parse_recipient(made.recipient).fingerprint
    if as_json:
        _print(
            name=name,
            fingerprint=fingerprint,
            recipient=made.recipient,
            members=list(made.members),
            file=str(made.path),
            entry=made.change.entry,
        )
        return
    click.echo(f"made the dataset key {name} ({fingerprint}) for {', '.join(made.members)}, entry {made.change.entry}")
    click.echo(f"its identity, sealed for these: {made.path}")
    click.echo(f"seal under it: `%%qsecure LABEL --to {name}`, `qnb seal FILE --label LABEL --to {name}`")


@keys.command(short_help="Take a recipient out of the policy.")
@click.argument("name")
@_JSON
def remove(*, name: str, as_json: bool) -> None:
    """Take NAME (or a recipient string) out of the policy: nothing more is sealed for it.

    What was sealed for it before stays open to it until it is rewrapped, and in every copy for ever.

    Example: qnb keys remove grace
    """
    was_key = name in load_policy(home()).data.datasets
    change = forget_recipient(home(), name)
    if as_json:
        _print(name=name, datasets=list(change.datasets), decision=change.decision, entry=change.entry)
        return
    click.echo(f"removed {name[:64]}, entry {change.entry}")
    if was_key:
        click.echo(f"its key file stays, and opens what is sealed under it; to erase that: qnb keys shred {name}")
        return
    click.echo("it can still open what was sealed for it; for what you hold: qnb keys rewrap FILES")
    for key in change.datasets:
        click.echo(f"it may hold the dataset key `{key}`, so what follows needs a new one: qnb keys rotate {key}")


@keys.command(short_help="Destroy a dataset key, and with it what it sealed.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask. Needed without a terminal.")
@_JSON
def shred(*, name: str, yes: bool, as_json: bool) -> None:
    """Destroy the dataset key NAME: what was sealed under it becomes unreadable, everywhere its identity is not.

    A copy of keys/NAME.age (a backup, a colleague's home) together with a member's identity undoes it, and so does a
    copy of the plaintext. It cannot be taken back.

    Example: qnb keys shred trial-7
    """
    if not yes:
        if as_json or not at_terminal():
            raise ConfigError(
                "not-confirmed", f"`{name}` would be destroyed for good", "give `--yes` to say that you mean it"
            )
        click.echo(f"Everything sealed under `{name}` becomes unreadable. This cannot be taken back.", err=True)
        if click.prompt("Type its name to go on", default="", show_default=False, err=True) != name:
            raise click.Abort
    erased = shred_dataset(home(), name, Keychain(home(), ask_passphrase_of if at_terminal() else None))
    if as_json:
        _print(
            name=name,
            time=erased.time,
            fingerprints=list(erased.fingerprints),
            ciphertexts=erased.ciphertexts,
            decision=erased.decision,
            entry=erased.entry,
        )
        return
    click.echo(f"shredded {name} at {erased.time}, entry {erased.entry}")
    click.echo(f"{erased.ciphertexts} sealed outputs and files of this log can be opened no more")
    click.echo("copies of its key file in backups and in other homes undo this: destroy them too")


def _print(**fields: object) -> None:
    click.echo(json.dumps(fields))


for command in (show, rotate, rewrap, lock, backup):
    keys.add_command(command)
