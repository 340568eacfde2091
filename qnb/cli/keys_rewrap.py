"""`qnb keys rewrap`: files sealed anew for those whom the policy names now."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from qnb.cli.asking import ask_passphrase_of, at_terminal
from qnb.core.checkpoint import VKeys, parse_vkeys
from qnb.core.policy import Policy
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError, QnbError, StorageError
from qnb.store.authority import Authority
from qnb.store.config import home, load_policy
from qnb.store.datasets import reseal_dataset
from qnb.store.keychain import Keychain
from qnb.store.rewrap import Rewrapped, Rewrapper

_SUFFIXES = (".ipynb", ".age")


@click.command(short_help="Seal files anew for those whom the policy names now.")
@click.argument("files", nargs=-1, required=True, metavar="FILES…")
@click.option("--to", multiple=True, metavar="RECIPIENT", help="Also for this group or recipient of the policy.")
@click.option("--key", "vkey", metavar="VKEY", help="Take outputs that another account's log recorded: its log.vkey.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rewrap(*, files: tuple[str, ...], to: tuple[str, ...], vkey: str | None, as_json: bool) -> None:
    """Seal notebooks and age files anew, in their place, for those whom the policy names now.

    What is in them stays as it is. FILES may be folders, and names of dataset keys, which are then sealed for their
    members of now. An age file that the log does not know is taken only when it is named itself. Who is named no more
    cannot open the new files, but every copy of the old ones (git keeps them) as before. Exit code 1 when anything was
    not rewrapped.

    Example: qnb keys rewrap analysis.ipynb results/
    """
    chain = Keychain(home(), ask_passphrase_of if at_terminal() else None)
    failed = run_rewrap(files, to, chain, None if vkey is None else _load_key(vkey), as_json=as_json)
    if failed:
        raise SystemExit(1)


def run_rewrap(
    files: Sequence[str], to: Sequence[str], chain: Keychain, vkeys: VKeys | None, *, as_json: bool, **more: object
) -> bool:
    """Rewrap, tell, and say whether anything was not rewrapped.

    Args:
        files: files, folders, dataset keys.
        to: as `--to`.
        chain: what this account opens with.
        vkeys: as `--key`.
        as_json: one object, with `more` in it.
        more: fields of a command that rewraps besides.
    """
    policy = load_policy(home())
    rows: list[dict[str, object]] = []
    datasets = [name for name in files if name in policy.data.datasets and not Path(name).exists()]
    for name in datasets:
        members, entry = reseal_dataset(home(), name, chain)
        rows.append({"dataset": name, "members": list(members), "entry": entry, "error": None})
        _tell(as_json, f"{name}: its key is sealed for {', '.join(members)}, entry {entry}; give them the new file")
    failed = False
    with Authority.open(home()) as authority:
        rewrapper = Rewrapper(authority, home(), chain, to, vkeys)
        for path, named in _walk([name for name in files if name not in datasets]):
            for result in _one(rewrapper, path, named=named):
                rows.append(_describe(path, result))
                failed |= result.error is not None
                _report(as_json, path, result, policy)
    if as_json:
        click.echo(json.dumps({**more, "rewrapped": rows}))
    return failed


def _one(rewrapper: Rewrapper, path: Path, *, named: bool) -> list[Rewrapped]:
    if path.resolve().parent == (home() / "keys").resolve():
        raise ConfigError("is-a-key", f"`{path}` is a dataset key", f"`qnb keys rewrap {path.stem}`")
    try:
        return rewrapper.rewrap(path, named=named)
    except StorageError:
        raise
    except ConfigError as error:
        if not named and error.code in ("nothing-sealed", "not-sealed", "not-a-notebook"):
            return []  # a folder holds other files, too
        raise
    except QnbError as error:
        return [Rewrapped(None, error=error)]


def _walk(names: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Files, and whether they were named; folders are searched, Jupyter's checkpoints in them too."""
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, found in os.walk(path):
            folders[:] = sorted(one for one in folders if not one.startswith(".") or one == ".ipynb_checkpoints")
            for file in sorted(found):
                if file.endswith(_SUFFIXES):
                    yield Path(folder, file), False


def _load_key(key: str) -> VKeys:
    try:
        text = Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key
    except (OSError, UnicodeDecodeError):
        raise ConfigError("vkey", f"`{key}` cannot be read as a key file", "give the signer's log.vkey") from None
    return parse_vkeys(text)


def _describe(path: Path, result: Rewrapped) -> dict[str, object]:
    error = result.error
    return {
        "file": str(path),
        "cell": result.cell,
        "label": result.label,
        "before": None if result.before is None else list(result.before),
        "after": None if result.after is None else list(result.after),
        "decision": result.decision,
        "entry": result.entry,
        "error": None if error is None else {"code": error.code, "message": error.message, "hint": error.hint},
    }


def _report(as_json: bool, path: Path, result: Rewrapped, policy: Policy) -> None:
    where = f"{path}" if result.cell is None else f"{path}, cell {result.cell}"
    if result.error is not None:
        if not as_json:
            click.echo(f"{where}: {result.error.message}", err=True)
            if result.error.hint is not None:
                click.echo(f"hint: {result.error.hint}", err=True)
        return
    if result.entry is None:
        _tell(as_json, f"{where}: is for these already")
        return
    names = {parse_recipient(text).fingerprint: name for name, text in policy.data.recipients.items()}

    def listed(prints: set[str]) -> str:
        return ", ".join(sorted(names.get(one, one) for one in prints)) or "nobody"

    after = set(result.after or ())
    line = f"{where}: {result.label}, entry {result.entry}, for {listed(after)}"
    if result.before is not None and set(result.before) - after:
        line += f"; no longer for {listed(set(result.before) - after)}"
    _tell(as_json, line)


def _tell(as_json: bool, line: str) -> None:
    if not as_json:
        click.echo(line)
