"""`qnb log`: the entries of this account's log, listed; what else can be done with them is in modules of its own.

Enters: filters. Leaves: a table or JSON. Never: changes the log, or vouches for it: that is `qnb verify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qnb.cli.lazy import LazyGroup
from qnb.cli.page import STYLES, clean
from qnb.core.entry import KINDS, EntryView, parse_statement, worst_status
from qnb.core.listing import list_entry
from qnb.errors import ConfigError, VerificationError
from qnb.store.config import home
from qnb.store.log import Log

_CHUNK = 512
_TABLE_ROWS = 20
_LABEL_WIDTH = 12  # `confidential` in one piece, also on 80 columns


_COMMANDS = {
    "show": ("qnb.cli.show:show", "an entry in full, and which others belong to it"),
    "prove": ("qnb.cli.prove:prove", "the proof of an entry, for somebody without the log"),
    "export": ("qnb.cli.prove:export", "in-toto attestations, W3C PROV, a picture"),
    "witness": ("qnb.cli.witness:log_witness", "publish the head to a folder of somebody else"),
    "rotate-key": ("qnb.cli.log_key:rotate_key", "replace the log's signing keys"),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def log() -> None:
    """List, show, prove, export and witness the entries of the provenance log.

    Example: qnb log list --kind execution -n 5
    """


@log.command("list")
@click.option("--kind", multiple=True, type=click.Choice(KINDS), help="Entries of this kind; may be repeated.")
@click.option("--label", metavar="LABEL", help="Entries of this label, or of this level.")
@click.option("--cell", metavar="ID", help="Entries of this cell.")
@click.option("--since", metavar="TIME", help="Entries since this date or time (ISO 8601, UTC if it has no zone).")
@click.option("-n", "count", type=click.IntRange(min=1), help="The last N. Default: 20 on the terminal, all as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per entry and line.")
def list_(
    *, kind: tuple[str, ...], label: str | None, cell: str | None, since: str | None, count: int | None, as_json: bool
) -> None:
    """List entries, oldest first.

    An allowed decision is `open` until an entry says what came of it.

    Example: qnb log list --label restricted --since 2026-11-01
    """
    start = None if since is None else _parse_time(since)
    found: list[dict[str, Any]] = []
    limit = count or (None if as_json else _TABLE_ROWS)
    with Log.open(home() / "log.db", readonly=True) as entries:
        for index, view, answer in _newest_first(entries):
            if view is not None and start is not None and view.time < start:
                continue
            if _matches(view, kind, label, cell):
                found.append(list_entry(index, view, answer))
            if limit is not None and len(found) == limit:
                break
    found.reverse()
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
    else:
        _print_table(found)


def _newest_first(entries: Log) -> Iterator[tuple[int, EntryView | None, str | None]]:
    """Index, what the entry says (None if it cannot be read) and what later entries say came of it."""
    answers: dict[int, str | None] = {}
    for stop in range(entries.size, 0, -_CHUNK):
        for index, _, body in reversed(list(entries.rows(max(0, stop - _CHUNK), stop))):
            try:
                view = parse_statement(body)
            except VerificationError:
                yield index, None, None
                continue
            if view.decision is not None:
                answers[view.decision] = worst_status(answers.get(view.decision), view.status or "ok")
            yield index, view, answers.pop(index, None)


def _matches(view: EntryView | None, kinds: tuple[str, ...], label: str | None, cell: str | None) -> bool:
    if view is None:
        return not (kinds or label or cell)
    return (
        (not kinds or view.kind in kinds)
        and (label is None or label in (view.label, view.label.partition("//")[0]))
        and (cell is None or view.cell == cell)
    )


def _parse_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "time", f"`{clean(text[:40])}` is not a date or time", "write it like 2026-11-23 or 2026-11-23T09:30"
        ) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("entry", justify="right")
    for name in ("time", "kind", "status", "label", "cell", "where"):
        table.add_column(
            name, overflow="fold", no_wrap=name == "time", min_width=_LABEL_WIDTH if name == "label" else None
        )
    for row in rows:
        kind = "unreadable: run qnb verify" if row["kind"] is None else row["action"] or row["kind"]
        status = row["status"] or row["state"]
        if row["kind"] == "decision":
            kind = f"decision: {row['action']}"
        table.add_row(
            str(row["index"]),
            clean((row["time"] or "")[:19].replace("T", " ")),  # to the second; all of it in `show`
            clean(kind),
            Text(clean(status), style=STYLES.get(status or "", "")),
            clean(row["label"]),
            clean(row["cell"]),
            clean(row["backend"] or row["zone"]),
        )
    console = Console(highlight=False, markup=False)
    console.print(table if rows else "no entries")
