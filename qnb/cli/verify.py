"""`qnb verify`: the log, each sealed output of a notebook, the proof of an entry, or attestations, step by step.

Enters: a file's name, public keys. Leaves: every step with its answer; exit code 1 when one did not hold. Never: opens
anything, changes anything, or hides what could not be checked.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from qnb.cli.pinned import Pinned, load_pinned
from qnb.core.audit import audit_log
from qnb.core.audit_bundle import audit_envelopes, audit_proof
from qnb.core.bundle import is_proof
from qnb.core.checkpoint import Checkpoint, KeyRing
from qnb.core.dsse import is_envelope, parse_envelopes
from qnb.core.verify import UNAUTHENTICATED, LogAtHand, Report, audit_notebook
from qnb.errors import ConfigError, QnbError
from qnb.store.config import home
from qnb.store.log import Log
from qnb.store.record import Record
from qnb.store.verifying import load_digester, load_vkeys, log_at_hand
from qnb.store.witness import check_published, last_published, noted_witness

_PROGRESS_FROM = 20_000  # entries; a smaller log is checked before a bar is drawn


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, metavar="VKEY", help="File with the signer's public keys (log.vkey), or a key."
)
@click.option(
    "--witness", "witnesses", multiple=True, metavar="VKEY", help="File with a witness's public keys (witness.vkey)."
)
@click.option(
    "--published",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare the log with the heads that were published to a witness's FOLDER.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    *, file: Path | None, keys: tuple[str, ...], witnesses: tuple[str, ...], published: Path | None, as_json: bool
) -> None:
    """Check this account's log, or FILE: a notebook with sealed outputs, a proof, or in-toto attestations.

    FILE is checked with the log when it is this account's, without it otherwise; what cannot be checked then is
    said. Without --key only this account's own signer is known; a witness counts when its key is given.

    Example: qnb verify analysis.ipynb --key colleague.vkey
    """
    pinned = load_pinned(keys, witnesses)
    reports = list(_verify_log(pinned, published, quiet=as_json) if file is None else _verify_file(file, pinned))
    held = all(report.held for report in reports)
    authenticated = bool(reports) and all(report.authenticated for report in reports)
    if as_json:
        click.echo(json.dumps({"held": held, "authenticated": authenticated, "checked": [_plain(r) for r in reports]}))
    else:
        _print(reports, held=held, authenticated=authenticated)
    if not held:
        raise click.exceptions.Exit(1)


def _verify_log(pinned: Pinned, published: Path | None, *, quiet: bool) -> Iterator[Report]:
    with Log.open(home() / "log.db", readonly=True) as log, _progress(log.size, quiet=quiet) as progress:
        ring = pinned.ring(log) or load_vkeys(home(), log)
        report = audit_log(
            log.rows(),
            log.checkpoints(),
            log.evaluations,
            vkeys=ring,
            witnesses=pinned.witnesses,
            now=time.time(),
            progress=progress,
        )
        noted = noted_witness(home())
        folder = published or (None if noted is None else noted.folder)
        if folder is not None:
            _compare(report, log, ring, folder)
        yield report


def _compare(report: Report, log: Log, ring: KeyRing | None, folder: Path) -> None:
    """The log against the heads that a witness's folder keeps: only somebody else's memory tells of a roll-back."""
    if ring is None:
        report.skipped("published", UNAUTHENTICATED)
        return
    try:
        last = last_published(folder, ring)
        if last is not None:
            check_published(log, Checkpoint(log.origin, log.size, log.root()), last)
    except QnbError as error:
        report.failed("published", error)
        return
    if last is None:
        report.skipped("published", f"no head was published to `{folder}` yet")
    else:
        report.passed("published", f"the log contains the {last.size} entries that `{folder}` knows")


def _verify_file(path: Path, pinned: Pinned) -> Iterator[Report]:
    database = home() / "log.db"
    if not database.exists():
        yield from _verify_content(path, pinned, pinned.ring(), None)
        return
    with Log.open(database, readonly=True) as log:
        rotations = (*pinned.rotations, *log.rotations())
        at_hand = log_at_hand(Record(log), load_vkeys(home(), log), pinned.witnesses)
        known = Pinned(pinned.vkeys, rotations, pinned.witnesses)
        yield from _verify_content(path, known, known.ring(), at_hand)


def _verify_content(path: Path, pinned: Pinned, ring: KeyRing | None, log: LogAtHand | None) -> Iterable[Report]:
    text, value = _load(path)
    if is_proof(value):
        rotations, witnesses = pinned.rotations, pinned.witnesses
        return [audit_proof(value, log=log, vkeys=pinned.vkeys, rotations=rotations, witnesses=witnesses)]
    if is_envelope(value):
        return audit_envelopes(parse_envelopes(text), log=log, vkeys=pinned.vkeys, rotations=pinned.rotations)
    return audit_notebook(value, log=log, vkeys=ring, digester=None if log is None else load_digester(home()))


def _load(path: Path) -> tuple[str, Any]:
    """The text of a file, and its JSON; of several lines of JSON the first."""
    fault = ConfigError(
        "not-a-notebook",
        f"`{path}` is neither a notebook nor a proof nor attestations",
        "give a file in the .ipynb format, or what `qnb log prove` or `qnb log export` wrote",
    )
    try:
        text = path.read_bytes().decode("utf-8")
        try:
            return text, json.loads(text)
        except ValueError:
            return text, json.loads(text.partition("\n")[0])
    except (OSError, ValueError, RecursionError):
        raise fault from None


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
