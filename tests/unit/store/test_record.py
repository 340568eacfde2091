"""The index over the log, against entries that a real authority wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qnb.core.digester import Digester
from qnb.core.entry import parse_statement
from qnb.errors import ConsistencyError
from qnb.model import Action, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log
from qnb.store.record import Record
from qnb.store.verifying import load_digester


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """An authority over a new home."""
    init_home(tmp_path / "home")
    with Authority.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def record(tmp_path: Path, authority: Authority) -> Iterator[Record]:
    """The record of its log."""
    with Log.open(tmp_path / "home" / "log.db", readonly=True) as log:
        yield Record(log)


def seal(authority: Authority, notebook: str | None, cell: str | None, label: str) -> int:
    context = authority.context(authority.policy.scheme.parse(label), notebook=notebook, cell=cell)
    return authority.record_seal(context, b"\1" * 32, "ok", ["0" * 16]).index


def test_label_of_record_is_that_of_the_last_seal(authority: Authority, record: Record) -> None:
    """Of that notebook and cell; what is appended later counts from the next look on."""
    seal(authority, "n", "c", "restricted")
    first = seal(authority, "n", "c", "confidential//phi")
    seal(authority, "m", "c", "restricted")
    seal(authority, "n", None, "restricted")
    record.refresh()
    assert record.labels("n", "c") == {"confidential//phi"}
    assert record.latest_seal("n", "c") == first
    later = seal(authority, "n", "c", "restricted")
    assert record.latest_seal("n", "c") == later
    assert record.labels("n", "c") == {"restricted"}
    assert record.labels("n", "other") == frozenset()


def test_entries_without_a_notebook_count_for_every_notebook(authority: Authority, record: Record) -> None:
    """A front end that gives no id leaves cells known by their own ids alone."""
    seal(authority, None, "c", "restricted")
    seal(authority, "n", "c", "confidential")
    record.refresh()
    assert record.labels("n", "c") == {"confidential", "restricted"}
    assert record.labels(None, "c") == {"confidential", "restricted"}
    assert record.labels("not in the log", "c") == {"confidential", "restricted"}
    seal(authority, "m", "d", "confidential")
    record.refresh()
    assert record.labels("m", "c") == {"restricted"}


def test_release_is_known_by_the_digest_in_its_entry(authority: Authority, record: Record, tmp_path: Path) -> None:
    """Keyed, and of that cell."""
    label = authority.policy.scheme.parse("restricted")
    target = authority.policy.scheme.session
    context = authority.context(label, notebook="n", cell="c")
    request = Request(Action.DECLASSIFY, authority.principal, label, target=target, reason="paper")
    decision = authority.require(request, context)
    authority.record_declassify(context, b"\2" * 32, target, "paper", decision=decision)
    record.refresh()
    keyed = load_digester(tmp_path / "home")
    assert keyed is not None
    assert record.released("n", "c") == set(keyed.digest_set("result", b"\2" * 32).values())
    assert record.released("n", "c").isdisjoint(Digester(None).digest_set("result", b"\2" * 32).values())
    assert record.released("n", "d") == frozenset()


def test_index_is_read_once_and_grows_with_the_log(authority: Authority, record: Record) -> None:
    """A save does not read the log again: only what is new is looked at."""
    for number in range(50):
        seal(authority, "n", f"c{number}", "restricted")
    record.refresh()
    read: list[tuple[int, int | None]] = []
    rows = record.log.rows
    record.log.rows = lambda start=0, stop=None: read.append((start, stop)) or rows(start, stop)
    size = record.refresh()
    assert read == []
    seal(authority, "n", "c", "restricted")
    assert record.refresh() == size + 1
    assert read == [(size, size + 1)]


def test_entry_of_another_kind_that_quotes_a_seal_is_none(authority: Authority, record: Record) -> None:
    """A path or a purpose that looks like one is text inside a string."""
    label = authority.policy.scheme.parse("internal")
    mark = '"predicateType":"urn:qnb:predicate:seal:v1"'
    index = authority.record_unseal(
        authority.context(label, notebook=mark, cell="c"),
        b"\1" * 32,
        decision=decide(authority),
        status="ok",
        path=mark,
    )
    record.refresh()
    assert parse_statement(record.log.entry(index)).kind == "unseal"
    assert record.latest_seal(mark, "c") is None


def decide(authority: Authority):
    label = authority.policy.scheme.parse("internal")
    return authority.require(Request(Action.UNSEAL, authority.principal, label))


def test_log_that_went_back_is_noticed(authority: Authority, record: Record, tmp_path: Path) -> None:
    """What the record knows cannot be taken from it by cutting the log."""
    import sqlite3

    seal(authority, "n", "c", "restricted")
    record.refresh()
    database = sqlite3.connect(tmp_path / "home" / "log.db")
    database.execute("DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)")
    database.commit()
    database.close()
    with pytest.raises(ConsistencyError):
        record.refresh()
