"""What the log says of ciphertexts and keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnb.model import Action, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.history import History
from qnb.store.log import Log
from qnb.store.record import Record


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """A log to write in."""
    init_home(tmp_path / "home")
    with Authority.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def home(tmp_path: Path, authority: Authority) -> Path:
    """Its home."""
    assert authority.size == 1
    return tmp_path / "home"


def seal(authority: Authority, name: str, *, rewraps: str | None = None, cell: str | None = "c") -> int:
    """Record an output, or another wrapping of one."""
    label = authority.policy.scheme.parse("restricted")
    context = authority.context(label, session="s", notebook="n", cell=cell)
    decision = None
    if rewraps is not None:
        names = authority.policy.handling(label).recipients
        request = Request(Action.SHARE, authority.principal, label, recipients=names)
        decision = authority.require(request, context, subject=digest(rewraps)).entry
    return authority.record_seal(context, digest(name), "ok", [name[:1] * 16], decision=decision).index


def latest_seal(home: Path, notebook: str, cell: str) -> int | None:
    with Log.open(home / "log.db", readonly=True) as log:
        return Record(log).latest_seal(notebook, cell)


def test_record_says_label_and_readers(home: Path, authority: Authority) -> None:
    """Of what was sealed; nothing of what was not."""
    entry = seal(authority, "a1")
    record = History.of(home).record_of(digest("a1"))
    assert record is not None
    assert (record.entry, record.label, record.recipients) == (entry, "restricted", ("a" * 16,))
    assert History.of(home).record_of(digest("b1")) is None


def test_rewrapped_output_is_no_later_one(home: Path, authority: Authority) -> None:
    """The last output of a cell is known by its first wrapping, however often and of which copy it was rewrapped."""
    first = seal(authority, "a1")
    seal(authority, "a2", rewraps="a1")
    seal(authority, "a3", rewraps="a2")
    seal(authority, "a4", rewraps="a1")
    assert latest_seal(home, "n", "c") == first
    second = seal(authority, "b1")
    seal(authority, "b2", rewraps="b1")
    assert latest_seal(home, "n", "c") == second
    seal(authority, "a5", rewraps="a3")  # an older one, rewrapped by whatever: it does not come back
    assert latest_seal(home, "n", "c") == second
    assert latest_seal(home, "n", "other") is None


def test_output_of_another_log_begins_with_its_rewrap(home: Path, authority: Authority) -> None:
    """The ciphertext before was never recorded here, so the entry of the rewrap is the first."""
    entry = seal(authority, "a2", rewraps="theirs")
    assert latest_seal(home, "n", "c") == entry


def test_keys_made_here_are_known_by_name(home: Path, authority: Authority) -> None:
    """All that a name has stood for; who was only added is nobody's key."""
    made = authority.record_key("created", "age1pq1one", name="trial")
    authority.record_key("rotated", "age1pq1two", name="trial", previous="age1pq1one")
    authority.record_key("added", "age1pq1bob", name="bob")
    history = History.of(home)
    prints = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in ("age1pq1one", "age1pq1two")]
    assert sorted(history.fingerprints_of("trial")) == sorted(prints)
    assert history.fingerprints_of("bob") == history.fingerprints_of("none") == ()
    assert made > 0


def test_members_are_all_that_may_have_the_file(home: Path, authority: Authority) -> None:
    """Sealing a key for others takes it from nobody; a rotation does."""
    authority.record_key("created", "age1pq1one", name="trial", members=["a", "b"])
    authority.record_key("resealed", "age1pq1one", name="trial", members=["a", "c"])
    assert History.of(home).members_of("trial") == {"a", "b", "c"}
    authority.record_key("rotated", "age1pq1two", name="trial", previous="age1pq1one", members=["c"])
    assert History.of(home).members_of("trial") == {"c"}
    assert History.of(home).members_of("none") == set()


def test_ciphertexts_under_a_key_are_counted(home: Path, authority: Authority) -> None:
    """Outputs and files, each once."""
    for name, cell in (("a1", "c"), ("a2", None), ("b1", "c")):
        seal(authority, name, cell=cell)
    assert History.of(home).count_sealed_to(["a" * 16]) == 2
    assert History.of(home).count_sealed_to(["a" * 16, "b" * 16]) == 3
    assert History.of(home).count_sealed_to([]) == 0
