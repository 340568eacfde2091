"""`qnb seal` and `qnb unseal`: any file, and notebooks with sealed outputs.

Enters: file names, a label, recipients or identities. Leaves: files of mode 0600, whole or not at all, and one entry
for each.
Never: replaces a file without `--force`, writes into a notebook that it reads, prints plaintext (`-o -` streams it to
whoever asked).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from qnb.cli.asking import ask_passphrase, ask_passphrase_of, at_terminal
from qnb.core.notebook import Opened, explain_finding
from qnb.errors import ConfigError, NoIdentityMatchError, QnbError
from qnb.store.authority import Authority
from qnb.store.config import home
from qnb.store.keychain import Keychain
from qnb.store.sealing import load_notebook, save_notebook, seal_file, sniff, unseal_file, unseal_notebook

_BAR_FROM = 8 << 20  # bytes; smaller files are done before a bar is drawn
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--label", required=True, help="What the content is: LEVEL or LEVEL//CATEGORY,…")
@click.option("-o", "--output", default=None, metavar="OUT", help="Default: FILE.age. `-` is the standard output.")
@click.option(
    "--to",
    multiple=True,
    metavar="RECIPIENT",
    help="Also for this group or recipient of the policy, or age1pq1…; a dataset key instead of the level's own.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def seal(*, file: Path, label: str, output: str | None, to: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Seal FILE for the recipients of its label: an ordinary age file that every age tool opens.

    With --to it is shared, which the policy decides: from `confidential` up only with recipients that it names.

    Example: qnb seal energies.csv --label restricted//ip
    """
    target = _target(output, file.with_name(file.name + ".age"), as_json=as_json)
    with Authority.open(home()) as authority, _progress(file, "sealing", quiet=as_json) as progress:
        parsed = authority.policy.scheme.parse(label)
        sealed = seal_file(authority, file, target, parsed, to, replace=force, progress=progress)
    if as_json:
        result = {
            "output": _shown(target),
            "label": str(parsed),
            "recipients": list(sealed.recipients),
            "digest": f"sha256:{sealed.digest.hex()}",
            "decision": sealed.decision,
            "entry": sealed.entry,
        }
        click.echo(json.dumps(result))
    else:
        who = f"{len(sealed.recipients)} recipient{'s' if len(sealed.recipients) != 1 else ''}"
        click.echo(f"sealed for {who}, entry {sealed.entry}: {_shown(target)}", err=target is _stdout())


@click.command()
@click.argument("file", type=_FILE)
@click.option(
    "-o", "--output", default=None, metavar="OUT", help="Default: NAME.unsealed.ipynb, or FILE without `.age`."
)
@click.option("-i", "--identity", "identities", multiple=True, type=_FILE, help="Identity file. Default: your own.")
@click.option("--cell", default=None, metavar="ID", help="Of a notebook, open this cell only.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def unseal(
    *, file: Path, output: str | None, identities: tuple[Path, ...], cell: str | None, force: bool, as_json: bool
) -> None:
    """Open a sealed notebook or an age file into a file of mode 0600; decided, and recorded.

    Exit code 1 when anything in it did not open; what did is written all the same.

    Example: qnb unseal analysis.ipynb
    """
    ask = ask_passphrase if at_terminal() else None

    keys = Keychain(home(), ask_passphrase_of if at_terminal() else None, identities)
    if sniff(file) == "age":
        if cell is not None:
            raise ConfigError("not-a-notebook", f"`{file}` is an age file and has no cells", "leave `--cell` out")
        plain = file.with_suffix("") if file.suffix == ".age" else file.with_name(file.name + ".unsealed")
        target = _target(output, plain, as_json=as_json)
        with Authority.open(home()) as authority, _progress(file, "opening", quiet=as_json) as progress:
            try:
                opened = unseal_file(authority, file, target, keys, ask, replace=force, progress=progress)
            except NoIdentityMatchError as error:
                raise keys.explain_file(error, file) from None
        result = {
            "output": _shown(target),
            "digest": f"sha256:{opened.digest.hex()}",
            "decision": opened.decision,
            "entry": opened.entry,
        }
        line = f"opened, entry {opened.entry}: {_shown(target)}"
        click.echo(json.dumps(result) if as_json else line, err=target is _stdout())
        return
    stem = file.name.removesuffix(".ipynb").removesuffix(".sealed")
    target = _target(output, file.with_name(stem + ".unsealed.ipynb"), as_json=as_json)
    _unseal_notebook(file, target, keys, cell, force=force, as_json=as_json)


def _unseal_notebook(
    file: Path,
    target: Path | BinaryIO,
    keys: Keychain,
    cell: str | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    if isinstance(target, Path) and target.exists() and not force:
        raise ConfigError("exists", f"`{target}` exists already", "name another file with `-o`, or give `--force`")
    nb = load_notebook(file)
    with Authority.open(home()) as authority:
        named = str(target) if isinstance(target, Path) else None
        notebook = unseal_notebook(authority, nb, keys, named, cell, explain=keys.explain)
    failed = [opened for opened, _ in notebook.outputs if opened.error is not None]
    if len(failed) == len(notebook.outputs) and failed[0].error is not None:
        raise failed[0].error
    save_notebook(target, notebook.notebook, replace=force)
    if as_json:
        rows = [_describe(opened, entry) for opened, entry in notebook.outputs]
        click.echo(json.dumps({"output": _shown(target), "outputs": rows}))
    else:
        for opened, _ in notebook.outputs:
            _report(opened)
        done = len(notebook.outputs) - len(failed)
        counted = f"{done} of {len(notebook.outputs)} sealed outputs opened"
        click.echo(f"{counted}: {_shown(target)}", err=target is _stdout())
    if failed:
        raise SystemExit(1)


def _report(opened: Opened) -> None:
    where = f"cell {opened.cell_index + 1}"
    if opened.error is not None:
        click.echo(f"{where}: {opened.error.message}", err=True)
        if opened.error.hint is not None:
            click.echo(f"hint: {opened.error.hint}", err=True)
    for finding in opened.findings:
        click.echo(f"{where}: {explain_finding(finding)}", err=True)


def _describe(opened: Opened, entry: int | None) -> dict[str, Any]:
    error: QnbError | None = opened.error
    sealed = opened.sealed
    return {
        "cell": None if sealed is None else sealed.cell,
        "cell_index": opened.cell_index,
        "label": None if sealed is None else sealed.label,
        "state": None if sealed is None else sealed.state,
        "opened": error is None,
        "error": None if error is None else {"code": error.code, "message": error.message, "hint": error.hint},
        "findings": list(opened.findings),
        "entry": entry,
    }


def _target(output: str | None, default: Path, *, as_json: bool) -> Path | BinaryIO:
    if output != "-":
        return default if output is None else Path(output)
    if as_json:
        raise ConfigError(
            "two-outputs", "`--json` and `-o -` both write to the standard output", "name a file with `-o`"
        )
    return _stdout()


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


def _shown(target: Path | BinaryIO) -> str:
    return str(target) if isinstance(target, Path) else "standard output"


@contextmanager
def _progress(file: Path, verb: str, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar on the standard error of a terminal, for files large enough to wait for."""
    size = file.stat().st_size
    if quiet or size < _BAR_FROM or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(verb), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=size)
        yield lambda done: bar.update(task, completed=done)
