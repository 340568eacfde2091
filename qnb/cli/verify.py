"""`qnb verify`: the log, or each sealed output of a notebook, step by step.

Enters: a notebook's name, public keys. Leaves: every step with its answer; exit code 1 when one did not hold. Never:
opens anything, changes anything, or hides what could not be checked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from qnb.core.audit import audit_log
from qnb.core.checkpoint import VKeys, parse_vkeys
from qnb.core.verify import UNAUTHENTICATED, Report, audit_notebook
from qnb.errors import ConfigError
from qnb.store.config import home
from qnb.store.log import Log
from qnb.store.record import Record
from qnb.store.verifying import load_digester, load_vkeys, log_at_hand

_PROGRESS_FROM = 20_000  # entries; a smaller log is checked before a bar is drawn


@click.command()
@click.argument("notebook", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, metavar="VKEY", help="File with the signer's public keys (log.vkey), or a key."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, notebook: Path | None, keys: tuple[str, ...], as_json: bool) -> None:
    """Check this account's log, or every sealed output of NOTEBOOK against its entry.

    NOTEBOOK is checked with the log when it is this account's, without it otherwise; what cannot be checked then is
    said. Without --key only this account's own signer is known.

    Example: qnb verify analysis.ipynb --key colleague.vkey
    """
    pinned = _load_keys(keys)
    reports = list(_verify_log(pinned, quiet=as_json) if notebook is None else _verify_notebook(notebook, pinned))
    held = all(report.held for report in reports)
    authenticated = bool(reports) and all(report.authenticated for report in reports)
    if as_json:
        click.echo(json.dumps({"held": held, "authenticated": authenticated, "checked": [_plain(r) for r in reports]}))
    else:
        _print(reports, held=held, authenticated=authenticated)
    if not held:
        raise click.exceptions.Exit(1)


def _verify_log(pinned: VKeys | None, *, quiet: bool) -> Iterator[Report]:
    with Log.open(home() / "log.db", readonly=True) as log, _progress(log.size, quiet=quiet) as progress:
        yield audit_log(
            log.rows(), log.checkpoints(), log.evaluations, vkeys=pinned or load_vkeys(home()), progress=progress
        )


def _verify_notebook(path: Path, pinned: VKeys | None) -> Iterator[Report]:
    try:
        nb = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise ConfigError("not-a-notebook", f"`{path}` is not a notebook", "give a file in the .ipynb format") from None
    database = home() / "log.db"
    if not database.exists():
        yield from audit_notebook(nb, log=None, vkeys=pinned, digester=None)
        return
    with Log.open(database, readonly=True) as log:
        at_hand = log_at_hand(Record(log), load_vkeys(home()))
        yield from audit_notebook(nb, log=at_hand, vkeys=pinned, digester=load_digester(home()))


def _load_keys(keys: Sequence[str]) -> VKeys | None:
    if not keys:
        return None
    lines = []
    for key in keys:
        try:
            lines.append(Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key)
        except (OSError, UnicodeDecodeError):
            raise ConfigError("vkey", f"`{key}` cannot be read as a key file", "give the signer's log.vkey") from None
    return parse_vkeys("\n".join(lines))


@contextmanager
def _progress(size: int, *, quiet: bool) -> Iterator[Any]:
    if quiet or size < _PROGRESS_FROM or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=size, label="checking", file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _plain(report: Report) -> dict[str, Any]:
    steps = [
        {"name": s.name, "held": s.held, "detail": s.detail, "code": s.code, "entry": s.entry} for s in report.steps
    ]
    return {"subject": report.subject, "held": report.held, "authenticated": report.authenticated, "steps": steps}


def _print(reports: Sequence[Report], *, held: bool, authenticated: bool) -> None:
    marks: dict[bool | None, tuple[str, str]] = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "yellow")}
    if sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf"):
        marks = {True: ("✓", "green"), False: ("✗", "red"), None: ("\N{EN DASH}", "yellow")}
    width = max(len(mark) for mark, _ in marks.values())
    for report in reports:
        click.secho(report.subject, bold=True)
        for step in report.steps:
            mark, colour = marks[step.held]
            click.echo(f"  {click.style(mark.ljust(width), fg=colour)} {step.name.ljust(11)} {_clean(step.detail)}")
    if not reports:
        click.echo("no sealed outputs: nothing to verify")
    elif not held:
        click.secho("did not hold", fg="red", bold=True)
    else:
        click.secho("held" if authenticated else UNAUTHENTICATED, bold=True)


def _clean(text: str) -> str:
    """Nothing that stands in a notebook or a log may drive a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
