"""`qnb log show`: an entry as a page: decision and why, backend, circuit, lineage, and on request the drawing.

Enters: an index; for the drawing identities. Leaves: a page, or the statement byte for byte. Never: content, but for a
drawing that was decided and recorded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qnb.cli.page import STYLES, clean, words
from qnb.core.entry import EntryView, parse_statement, status_of, worst_status
from qnb.core.lineage import belongs
from qnb.core.seal import Identity
from qnb.errors import ConfigError, StorageError, VerificationError
from qnb.store.authority import Authority
from qnb.store.config import home
from qnb.store.kept import open_circuits
from qnb.store.keys import load_identities
from qnb.store.log import Log

# what a page begins with; the rest follows in the order of the statement
_PAGE = (
    "time", "label", "action", "decision", "reasons", "alternatives", "backend", "zone", "purpose", "status", "error",
)  # fmt: skip
_SEEN = 24  # entries of one story that are listed
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Story = list[tuple[int, EntryView]]


@click.command("show")
@click.argument("index", type=click.IntRange(min=0))
@click.option("--drawing", is_flag=True, help="Open the drawing of its circuits: decided as `unseal`, and recorded.")
@click.option("-i", "--identity", "identities", multiple=True, type=_FILE, help="Identity file. Default: your own.")
@click.option("--json", "as_json", is_flag=True, help="Print the statement, byte for byte.")
def show(*, index: int, drawing: bool, identities: tuple[Path, ...], as_json: bool) -> None:
    """Show the entry INDEX in full, and which entries belong to it.

    What is classified is there as a digest only. The circuits of classified cells are kept sealed beside the log where
    they are small; --drawing opens them for whoever has the key.

    Example: qnb log show 12
    """
    with Log.open(home() / "log.db", readonly=True) as entries:
        entry = entries.entry(index)
        if as_json and not drawing:
            click.echo(entry)
            return
        view = parse_statement(entry)
        story = _story(entries, index, view)
        decision = _decision_of(index, view)
        kept = [] if decision is None else [place for place, _ in entries.circuits(decision)]
    if not drawing:
        _print_page(index, view, story, _kept_words(view, decision, kept))
        return
    if decision is None or not kept:
        raise ConfigError(
            "not-kept",
            f"no drawing of entry {index} was kept",
            "circuits of classified cells are, where they are small and the kernel had a quiet moment before it ended",
        )
    _draw(decision, identities, as_json=as_json)


# --- lineage ---------------------------------------------------------------------------------------------------------


def _story(entries: Log, index: int, view: EntryView) -> Story:
    """Entries that belong to one: found by what they would have to contain, then by what they say."""
    marks = [b'"decision":%d,' % (index if view.decision is None else view.decision)]
    if view.sequence is not None:
        marks.append(f'"session":"{view.session}"'.encode())
    if view.ciphertext is not None:
        marks.append(view.ciphertext.encode())
    found = {index: view}
    found |= {number: other for number, other in _parsed(entries, 0, marks) if belongs(number, other, index, view)}
    if view.decision is not None:
        with suppress(VerificationError, StorageError):  # as below
            found[view.decision] = parse_statement(entries.entry(view.decision))
    # what was sealed by this run may have been opened later, elsewhere
    sealed = [other.ciphertext.encode() for other in found.values() if other.ciphertext and other.kind == "seal"]
    for number, other in _parsed(entries, min(found), sealed):
        found.setdefault(number, other)
    return sorted(found.items())


def _parsed(entries: Log, start: int, marks: Sequence[bytes]) -> Iterator[tuple[int, EntryView]]:
    for number, _, body in entries.rows(start) if marks else ():
        if any(mark in body for mark in marks):
            with suppress(VerificationError):  # `qnb verify` names it
                yield number, parse_statement(body)


def _decision_of(index: int, view: EntryView) -> int | None:
    """The decision beside which the circuits of an entry would be kept."""
    return index if view.kind == "decision" else view.decision if view.kind == "execution" else None


# --- the page --------------------------------------------------------------------------------------------------------


def _print_page(index: int, view: EntryView, story: Story, drawing: str | None) -> None:
    console = Console(highlight=False, markup=False)
    answers = [(number, other) for number, other in story if other.decision == index]
    answer = worst_status(*(other.status or "ok" for _, other in answers))
    status = status_of(view, answer) or view.state
    title = Text(f"entry {index}: {view.kind}", style="bold")
    if status is not None:
        title.append(f"  {clean(status)}", style=STYLES.get(status, ""))
    console.print(title)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    if view.ciphertext is not None:
        table.add_row("ciphertext", f"sha256 {clean(view.ciphertext)}")
    names = [name for name in _PAGE if name in view.predicate]
    for name in (*names, *(name for name in view.predicate if name not in _PAGE)):
        _add_row(table, name, view.predicate[name])
    if drawing is not None:
        table.add_row("drawing", drawing)
    for _, decision in (part for part in story if part[0] == view.decision):
        table.add_row("decided", f"{'allowed' if decision.allow else 'denied'} in entry {view.decision}")
        _add_row(table, "reasons", decision.predicate.get("reasons"))
    console.print(table)
    if len(story) > 1:
        console.print(Text("lineage", style="bold"))
        _print_story(console, index, story)


def _add_row(table: Table, name: str, value: object) -> None:
    if name == "reasons" and isinstance(value, list):
        for reason in value:
            table.add_row("because", _reason(reason))
    elif name == "backend" and isinstance(value, dict):
        table.add_row("backend", clean(words({k: v for k, v in value.items() if k != "calibrationTime"})))
        table.add_row("calibrated", clean(words(value.get("calibrationTime"))))
    elif name == "call" and isinstance(value, dict):
        circuits = value.get("circuits")
        for circuit in circuits[:_SEEN] if isinstance(circuits, list) else ():
            table.add_row("circuit", _circuit(circuit))
        if isinstance(circuits, list) and len(circuits) > _SEEN:
            table.add_row("circuit", f"and {len(circuits) - _SEEN} more")
        table.add_row("call", clean(words({k: v for k, v in value.items() if k != "circuits"})))
    else:
        table.add_row(clean(name), clean(words(value)))


def _circuit(circuit: object) -> str:
    if not isinstance(circuit, dict):
        return clean(words(circuit))
    size = f"{circuit.get('qubits')} qubits, {circuit.get('clbits')} clbits, {circuit.get('size')} operations"
    return clean(f"{size} ({words(circuit.get('operations'))}); structure {words(circuit.get('structure'))}")


def _print_story(console: Console, index: int, story: Story) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    listed = story if len(story) <= _SEEN else [*story[: _SEEN // 2], *story[-_SEEN // 2 :]]
    for position, (number, other) in enumerate(listed):
        if len(story) > _SEEN and position == _SEEN // 2:
            table.add_row("…", f"{len(story) - _SEEN} more of the same run")
        ended = other.status or other.state
        said = f"{other.kind}: {other.action}, {'allowed' if other.allow else 'denied'}"
        line = said if other.kind == "decision" else f"{other.kind}{f' {ended}' if ended else ''}"
        if other.decision is not None:
            line += f", after the decision in entry {other.decision}"
        table.add_row(f"{'> ' if number == index else ''}{number}", clean(f"{line}  {other.time}"))
    console.print(table)


def _reason(reason: object) -> str:
    if not isinstance(reason, dict):
        return clean(words(reason))
    hint = f"; {reason.get('hint')}" if reason.get("hint") else ""
    return clean(f"{reason.get('text')} (policy {reason.get('policy')}){hint}")


# --- the drawing -----------------------------------------------------------------------------------------------------


def _kept_words(view: EntryView, decision: int | None, kept: Sequence[int]) -> str | None:
    names = ("circuit/", "structure/", "evaluations")
    if decision is None or not any(name.startswith(names) for name, _ in view.subjects):
        return None
    return f"sealed, {len(kept)} kept: add --drawing to open" if kept else "not kept"


def _draw(decision: int, identities: tuple[Path, ...], *, as_json: bool) -> None:
    from qnb.core.circuits.kept import draw_circuit

    def keys() -> Sequence[Identity]:
        own = home() / "identity"
        if not identities and not own.exists():
            raise ConfigError(
                "no-identity", f"there is no identity at `{own}`", "name one with `-i`, or run `qnb init`"
            )
        return load_identities(identities or (own,), _ask_passphrase if sys.stdin.isatty() else None)

    database = home() / "log.db"
    with Authority.open(home()) as authority, Log.open(database, readonly=True) as log:
        view = parse_statement(log.entry(decision))
        for kept in open_circuits(authority, log, decision, view, keys):
            text = draw_circuit(kept.circuit)
            if as_json:
                click.echo(json.dumps({"circuit": kept.place, "entry": kept.entry, "drawing": text}))
            else:
                click.echo(f"circuit {kept.place} of entry {decision}, opened on the record: entry {kept.entry}")
                click.echo("\n".join(map(clean, text.splitlines())))


def _ask_passphrase() -> str:
    answer: str = click.prompt("passphrase", hide_input=True, err=True)
    return answer
