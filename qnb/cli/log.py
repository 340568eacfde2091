"""`qnb log`: the entries of this account's log, listed and shown.

Enters: filters, or an index. Leaves: a table, a page, or JSON. Never: changes the log, or vouches for it: that is
`qnb verify`.
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

from qnb.core.entry import KINDS, EntryView, parse_statement, status_of, worst_status
from qnb.core.listing import list_entry
from qnb.errors import ConfigError, VerificationError
from qnb.store.config import home
from qnb.store.log import Log

_CHUNK = 512
_TABLE_ROWS = 20
_STYLES = {"denied": "red", "failed": "red", "open": "yellow", "cancelled": "yellow", "ok": "green"}


@click.group()
def log() -> None:
    """List and show the entries of the provenance log.

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


@log.command("show")
@click.argument("index", type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="Print the statement, byte for byte.")
def show(*, index: int, as_json: bool) -> None:
    """Show the entry INDEX in full.

    What is classified is there as a digest only.

    Example: qnb log show 12
    """
    with Log.open(home() / "log.db", readonly=True) as entries:
        entry = entries.entry(index)
        if as_json:
            click.echo(entry)
            return
        view = parse_statement(entry)
        answers = list(_answers(entries, index)) if view.kind == "decision" and view.allow else []
    _print_page(index, view, answers)


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


def _answers(entries: Log, decision: int) -> Iterator[tuple[int, str, str]]:
    """Index, kind and status of the entries that answer a decision."""
    for index, _, body in entries.rows(decision + 1):
        if b'"decision":%d,' % decision in body:
            view = parse_statement(body)
            if view.decision == decision:
                yield index, view.kind, view.status or "ok"


def _matches(view: EntryView | None, kinds: tuple[str, ...], label: str | None, cell: str | None) -> bool:
    if view is None:
        return not (kinds or label or cell)
    return (
        (not kinds or view.kind in kinds)
        and (label is None or label in (view.label, view.label.partition("//")[0]))
        and (cell is None or view.cell == cell)
    )


# what a page begins with; the rest follows in the order of the statement
_PAGE = (
    "time",
    "label",
    "action",
    "decision",
    "reasons",
    "alternatives",
    "backend",
    "zone",
    "purpose",
    "status",
    "error",
)


def _parse_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "time", f"`{_clean(text[:40])}` is not a date or time", "write it like 2026-11-23 or 2026-11-23T09:30"
        ) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("entry", justify="right")
    for name in ("time", "kind", "status", "label", "cell", "where"):
        table.add_column(name, overflow="fold", no_wrap=name == "time")
    for row in rows:
        kind = "unreadable: run qnb verify" if row["kind"] is None else row["action"] or row["kind"]
        status = row["status"] or row["state"]
        if row["kind"] == "decision":
            kind = f"decision: {row['action']}"
        table.add_row(
            str(row["index"]),
            _clean((row["time"] or "")[:19].replace("T", " ")),  # to the second; all of it in `show`
            _clean(kind),
            Text(_clean(status), style=_STYLES.get(status or "", "")),
            _clean(row["label"]),
            _clean(row["cell"]),
            _clean(row["backend"] or row["zone"]),
        )
    console = Console(highlight=False, markup=False)
    console.print(table if rows else "no entries")


def _print_page(index: int, view: EntryView, answers: list[tuple[int, str, str]]) -> None:
    console = Console(highlight=False, markup=False)
    answer = worst_status(*(status for _, _, status in answers))
    status = status_of(view, answer) or view.state
    title = Text(f"entry {index}: {view.kind}", style="bold")
    if status is not None:
        title.append(f"  {_clean(status)}", style=_STYLES.get(status, ""))
    console.print(title)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    if view.ciphertext is not None:
        table.add_row("ciphertext", f"sha256 {_clean(view.ciphertext)}")
    names = [name for name in _PAGE if name in view.predicate]
    for name in (*names, *(name for name in view.predicate if name not in _PAGE)):
        value = view.predicate[name]
        if name == "reasons" and isinstance(value, list):
            for reason in value:
                table.add_row("because", _reason(reason))
        else:
            table.add_row(_clean(name), _clean(_words(value)))
    for number, kind, ended in answers:
        table.add_row("followed by", f"entry {number}: {kind} {_clean(ended)}")
    console.print(table)


def _reason(reason: object) -> str:
    if not isinstance(reason, dict):
        return _clean(_words(reason))
    hint = f"; {reason.get('hint')}" if reason.get("hint") else ""
    return _clean(f"{reason.get('text')} (policy {reason.get('policy')}){hint}")


def _words(value: object) -> str:
    """A JSON value as one would say it: digests by algorithm and start, nothing as a dash."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in ("sha256", "hmac-sha256"):
            ((algorithm, digest),) = value.items()
            return f"{algorithm} {str(digest)[:16]}…"
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return "; ".join(_words(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _clean(value: object) -> str:
    """Nothing that stands in a log may drive a terminal."""
    return "" if value is None else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
