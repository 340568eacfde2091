from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from qnb.core.audit import audit_log
from qnb.core.checkpoint import Checkpoint, Signer, generate_signer, sign_checkpoint, verify_checkpoint
from qnb.core.digester import Digester
from qnb.core.merkle import leaf_hash, root, verify_consistency, verify_inclusion
from qnb.core.statement import Context, encode, policy_statement
from qnb.core.witness import generate_witness, verify_cosignature
from qnb.errors import ConfigError, ConsistencyError, InclusionError, StorageError
from qnb.model import Assurance, Label, Principal
from qnb.store.log import Log, database

SIGNER = generate_signer("example.org/log")
TIME = 1_700_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def entry(number: int) -> bytes:
    return b"entry %d" % number


def leaves(stop: int) -> list[bytes]:
    return [leaf_hash(entry(number)) for number in range(stop)]


def test_appended_entries_come_back_in_order(path: Path) -> None:
    """One at a time, in one go, and after opening again."""
    with Log.open(path) as log:
        assert log.append([]) == []
        assert log.append([entry(0)]) == [0]
        assert log.append([entry(1), entry(2)]) == [1, 2]
        assert log.append([entry(3)]) == [3]
    with Log.open(path) as log:
        assert log.append([entry(4)]) == [4]
        assert list(log.entries()) == [entry(number) for number in range(5)]
        assert list(log.entries(1, 3)) == [entry(1), entry(2)]
        assert (log.size, log.root()) == (5, root(leaves(5)))


def test_entries_of_more_than_one_chunk_come_back(path: Path) -> None:
    """Reading in chunks loses and repeats nothing."""
    with Log.open(path) as log:
        log.append([entry(number) for number in range(600)])
        assert list(log.entries()) == [entry(number) for number in range(600)]
        assert [index for index, _, _ in log.rows(250, 520)] == list(range(250, 520))


def test_every_proof_of_the_stored_tree_verifies(path: Path) -> None:
    """Inclusion at each size and consistency from each older size, from look-ups alone."""
    with Log.open(path) as log:
        for number in range(40):
            log.append([entry(number)])
        for size in range(1, 41):
            expected = root(leaves(size))
            for index in range(size):
                verify_inclusion(leaves(40)[index], index, size, log.inclusion_proof(index, size), expected)
        for old in range(41):
            proof = log.consistency_proof(old, 40)
            verify_consistency(old, 40, root(leaves(old)), log.root(), proof)


def test_receipt_verifies_without_the_log(path: Path) -> None:
    """Leaf, proof and a checkpoint with both signatures, at any size."""
    with Log.open(path, SIGNER) as log:
        for number in range(9):
            receipt = log.append_checkpointed(entry(number), TIME)
            head = verify_checkpoint(receipt.checkpoint, SIGNER.vkeys)
            assert (receipt.origin, receipt.index, head.size, head.time) == (SIGNER.origin, number, number + 1, TIME)
            verify_inclusion(leaf_hash(entry(number)), number, head.size, receipt.proof, head.root)
        assert log.checkpoint() == receipt.checkpoint
        assert [size for size, _ in log.checkpoints()] == list(range(1, 10))


def test_head_is_signed_once_for_each_size(path: Path) -> None:
    """An empty log has one, too."""
    with Log.open(path, SIGNER) as log:
        assert log.checkpoint() is None
        assert verify_checkpoint(log.head(TIME), SIGNER.vkeys).size == 0
        log.append([entry(0)])
        head = log.head(TIME)
        assert log.head(TIME + 9) == head
        assert verify_checkpoint(head, SIGNER.vkeys).root == leaf_hash(entry(0))


def test_log_without_its_keys_signs_nothing(path: Path) -> None:
    """Appending without a checkpoint still works."""
    with Log.open(path) as log:
        log.append([entry(0)])
        assert log.origin == ""
        for act in (lambda: log.head(TIME), lambda: log.append_checkpointed(entry(1), TIME)):
            with pytest.raises(ConfigError):
                act()
        assert log.size == 1


def test_log_with_the_key_of_another_is_refused(path: Path) -> None:
    """Its checkpoints would be of two origins."""
    with Log.open(path, SIGNER) as log:
        log.head(TIME)
    with pytest.raises(ConfigError):
        Log.open(path, generate_signer("example.org/other"))
    with Log.open(path, readonly=True) as log:
        assert log.origin == SIGNER.origin


def test_evaluations_are_kept_beside_the_last_entry(path: Path) -> None:
    """Byte for byte; nothing beside the others."""
    lines = [b'{"index":%d}' % number for number in range(1000)]
    with Log.open(path) as log:
        assert log.append([entry(0), entry(1)], evaluations=lines) == [0, 1]
        assert log.evaluations(0) is None
        assert log.evaluations(1) == lines


def test_last_recorded_policy_is_found(path: Path) -> None:
    """None before the first; the newest afterwards."""
    context = Context(
        Principal("ada", 1, Assurance.OS),
        "s",
        None,
        None,
        None,
        None,
        Label("internal"),
        "2026-11-23T09:30:00.000Z",
        {},
    )
    with Log.open(path) as log:
        assert log.policy() is None
        for digest in ("aa" * 32, "bb" * 32):
            log.append([encode(policy_statement(context, digest, None, Digester(None)))])
            log.append([entry(0)])
            assert log.policy() == digest


def test_file_is_nobody_elses(path: Path) -> None:
    """Mode 0600, the journal too, whatever the umask; no temporary file is left."""
    old = os.umask(0)
    try:
        with Log.open(path) as log:
            log.append([entry(0)])
            assert {p.name for p in path.parent.iterdir()} == {"log.db", "log.db-wal", "log.db-shm"}
            assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(old)


def test_two_handles_in_turn_make_one_tree(path: Path) -> None:
    """Each takes in what the other wrote before it appends."""
    with Log.open(path, SIGNER) as one, Log.open(path, SIGNER) as two:
        for number in range(30):
            log = one if number % 3 else two
            if number % 4:
                assert log.append([entry(number)]) == [number]
            else:
                assert log.append_checkpointed(entry(number), TIME).index == number
        assert one.root() == two.root() == root(leaves(30))


def test_threads_on_one_handle_lose_nothing(path: Path) -> None:
    """Four threads, one connection."""
    indices: list[int] = []
    with Log.open(path, SIGNER) as log:

        def work() -> None:
            for number in range(25):
                indices.extend(log.append([b"x"] if number % 5 else [b"x", b"y"]))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(indices) == list(range(120))
        assert log.root() == root(leaf_hash(body) for body in log.entries())


def test_two_processes_at_once_lose_nothing(path: Path) -> None:
    """Each gets indices of its own; the tree holds both."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from qnb.store.log import Log
        with Log.open(Path(sys.argv[1])) as log:
            for number in range(100):
                body = f"{sys.argv[2]} {number}".encode()
                index, = log.append([body])
                assert log.entry(index) == body
    """)
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], stderr=subprocess.PIPE) for name in "ab"
    ]
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error.decode()
    with Log.open(path) as log:
        bodies = list(log.entries())
        assert sorted(bodies) == sorted(f"{name} {number}".encode() for name in "ab" for number in range(100))
        assert log.root() == root(map(leaf_hash, bodies))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_writes_through_a_connection_of_its_own(path: Path) -> None:
    """And the parent goes on as before."""
    with Log.open(path) as log:
        log.append([entry(0)])
        child = os.fork()
        if child == 0:
            os._exit(0 if log.append([entry(1)]) == [1] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert log.append([entry(2)]) == [2]
        assert log.root() == root(leaves(3))


def test_readonly_log_changes_nothing(path: Path) -> None:
    """Nor does it make one."""
    with pytest.raises(StorageError, match="no log"):
        Log.open(path, readonly=True)
    assert not path.exists()
    with Log.open(path) as log:
        log.append([entry(0)])
    before = path.read_bytes()
    with Log.open(path, SIGNER, readonly=True) as log:
        assert list(log.entries()) == [entry(0)]
        with pytest.raises(StorageError) as caught:
            log.append([entry(1)])
        assert caught.value.code == "log-read-only"
        assert caught.value.hint
    assert path.read_bytes() == before


def test_log_in_a_folder_that_cannot_be_written_is_still_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only mount."""
    with Log.open(path) as log:
        log.append([entry(0)])
    monkeypatch.setattr(database.os, "access", lambda *_: False)
    with Log.open(path, readonly=True) as log:
        assert list(log.entries()) == [entry(0)]
    assert [p.name for p in path.parent.iterdir()] == ["log.db"]


def test_file_that_is_no_log_is_refused_with_a_hint(path: Path) -> None:
    """Text, an empty file, another program's database, and a log of the future."""
    path.write_text("not a database, but long enough to be read as one " * 40)
    with pytest.raises(StorageError) as caught:
        Log.open(path)
    assert (caught.value.code, bool(caught.value.hint)) == ("log-foreign", True)
    path.write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        Log.open(path)
    assert caught.value.code == "log-foreign"
    path.unlink()
    Log.open(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(StorageError) as caught:
        Log.open(path)
    assert caught.value.code == "log-newer"


def test_missing_folder_is_said(path: Path) -> None:
    """With a way on."""
    with pytest.raises(StorageError) as caught:
        Log.open(path.parent / "none" / "log.db")
    assert (caught.value.code, "QNB_HOME" in str(caught.value)) == ("log-not-made", True)


def test_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """The refused entry is not there; after space is freed writing goes on."""
    with Log.open(path, SIGNER) as log:
        log.append([entry(0)])
        (pages,) = log._db.execute("PRAGMA page_count").fetchone()
        log._db.execute(f"PRAGMA max_page_count={pages}")
        for act in (
            lambda: log.append([b"x" * 100_000]),
            lambda: log.append([b"x" * 100_000, b"y"]),
            lambda: log.append_checkpointed(b"x" * 100_000, TIME),
        ):
            with pytest.raises(StorageError) as caught:
                act()
            assert caught.value.code == "disk-full"
        assert (log.size, log.root()) == (1, root(leaves(1)))
        log._db.execute("PRAGMA max_page_count=1000000")
        assert log.append([entry(1)]) == [1]
        assert log.root() == root(leaves(2))


def test_locked_log_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After waiting for its turn in vain."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)
    with Log.open(path) as log:
        log.append([entry(0)])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for entries in ([entry(1)], [entry(1), entry(2)]):
            with pytest.raises(StorageError) as caught:
                log.append(entries)
            assert (caught.value.code, bool(caught.value.hint)) == ("log-locked", True)
        other.execute("ROLLBACK")
        other.close()
        assert log.append([entry(1)]) == [1]


def test_damaged_page_is_said(path: Path) -> None:
    """Not read over, and not taken for the end of the log."""
    with Log.open(path) as log:
        log.append([entry(number) + b"x" * 3000 for number in range(50)])
    with path.open("r+b") as file:
        for page in range(6, 20):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises((StorageError, ConsistencyError)), Log.open(path, readonly=True) as log:
        list(log.rows())


def test_log_that_went_back_or_was_rewritten_takes_no_more_heads(path: Path) -> None:
    """A handle that knows better notices before it signs."""
    for act in (
        "DELETE FROM entries WHERE idx > 1",
        "UPDATE entries SET nodes = zeroblob(length(nodes)) WHERE idx = 3",
    ):
        path.unlink(missing_ok=True)
        with Log.open(path, SIGNER) as log:
            log.append([entry(number) for number in range(4)])
            other = sqlite3.connect(path, isolation_level=None)
            other.execute(act)
            other.close()
            with pytest.raises(ConsistencyError):
                log.head(TIME)
            with pytest.raises(ConsistencyError):
                log.append_checkpointed(entry(4), TIME)
            assert log.checkpoint() is None


def test_missing_entry_and_impossible_proofs_are_refused(path: Path) -> None:
    """Indices and sizes that the log does not have."""
    with Log.open(path) as log:
        log.append([entry(0), entry(1)])
        with pytest.raises(StorageError):
            log.entry(2)
        with pytest.raises(InclusionError):
            log.inclusion_proof(2, 2)
        with pytest.raises(ConsistencyError):
            log.inclusion_proof(0, 5)
        with pytest.raises(ConsistencyError):
            log.consistency_proof(3, 2)


def test_closed_log_raises_our_error(path: Path) -> None:
    """Not SQLite's."""
    log = Log.open(path)
    log.close()
    with pytest.raises(StorageError):
        log.append([entry(0)])


# --- several threads, one commit --------------------------------------------------------------------------------------


def test_appends_that_wait_for_a_turn_share_one_commit(path: Path) -> None:
    """While one commit is made the others gather; each gets its own indices, its evaluations beside its entry."""
    with Log.open(path, SIGNER) as log:
        log.append([entry(0)])
        commits: list[str] = []
        log._db.set_trace_callback(lambda sql: commits.append(sql) if sql.startswith(("COMMIT", "INSERT")) else None)
        found: dict[int, list[int]] = {}
        started = threading.Barrier(9)

        def work(number: int) -> None:
            started.wait()
            lines = [b"1", b"2"] if number == 3 else None
            found[number] = log.append([b"%d a" % number, b"%d b" % number], evaluations=lines)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        with log._lock:  # whoever has the turn
            for thread in threads:
                thread.start()
            started.wait()
            while len(log._group._waiting) < 8:
                threading.Event().wait(0.001)
        for thread in threads:
            thread.join()
        assert commits.count("COMMIT") == 1
        for number, (first, second) in found.items():
            assert (log.entry(first), log.entry(second)) == (b"%d a" % number, b"%d b" % number)
        assert log.evaluations(found[3][1]) == [b"1", b"2"]
        assert log.root() == root(leaf_hash(body) for body in log.entries())


def test_commit_that_fails_fails_for_all_that_it_was_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told that an entry is recorded which is not."""
    with Log.open(path) as log:
        log.append([entry(0)])
        (pages,) = log._db.execute("PRAGMA page_count").fetchone()
        log._db.execute(f"PRAGMA max_page_count={pages}")
        errors: list[str] = []

        def work() -> None:
            try:
                log.append([b"x" * 100_000])
            except StorageError as error:
                errors.append(error.code)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == ["disk-full"] * 4
        assert log.size == 1


# --- versions ---------------------------------------------------------------------------------------------------------

VERSION_1 = Path(__file__).parents[2] / "vectors" / "log_v1.db"
VERSION_1_SIGNER = Signer("example.org/log", b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)


def schema(path: Path) -> tuple[int, list[str]]:
    db = sqlite3.connect(path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    db.close()
    return version, tables


def test_log_of_version_1_is_read_as_it_is(path: Path) -> None:
    """A verifier changes nothing, and finds what later versions keep beside the log to be missing."""
    shutil.copy(VERSION_1, path)
    before = path.read_bytes()
    with Log.open(path, readonly=True) as log:
        assert log.size == 4
        assert (log.rotations(), log.circuits(1)) == ([], [])
        report = audit_log(log.rows(), log.checkpoints(), log.evaluations, vkeys=VERSION_1_SIGNER.vkeys)
        assert (report.held, report.authenticated) == (True, True)
    assert path.read_bytes() == before
    assert schema(path)[0] == 1


def test_log_of_version_1_is_migrated_when_it_is_opened_for_writing(path: Path) -> None:
    """In one step, to the schema that a new log has; every entry and checkpoint stays as it was."""
    shutil.copy(VERSION_1, path)
    with Log.open(path, readonly=True) as log:
        rows, notes = list(log.rows()), list(log.checkpoints())
    with Log.open(path, VERSION_1_SIGNER) as log, Log.open(path, VERSION_1_SIGNER) as again:
        assert list(log.rows()) == rows
        assert list(again.checkpoints()) == notes
        log.save_circuits(1, [(0, b"sealed")])
        assert again.circuits(1) == [(0, b"sealed")]
        assert log.append_checkpointed(entry(4), TIME).index == 4
    Log.open(path.with_name("new.db")).close()
    assert schema(path) == schema(path.with_name("new.db"))


def test_circuits_are_kept_beside_a_decision_once(path: Path) -> None:
    """By place; a second writer changes nothing."""
    with Log.open(path) as log:
        log.append([entry(0)])
        log.save_circuits(0, [(1, b"b"), (0, b"a")])
        log.save_circuits(0, [(1, b"other")])
        assert log.circuits(0) == [(0, b"a"), (1, b"b")]
        assert log.circuits(1) == []


# --- keys and witnesses -----------------------------------------------------------------------------------------------


def test_log_with_other_keys_of_the_same_name_is_refused(path: Path) -> None:
    """They did not sign its last head, and no entry hands over to them."""
    with Log.open(path, SIGNER) as log:
        log.append_checkpointed(entry(0), TIME)
    with pytest.raises(ConfigError) as caught:
        Log.open(path, generate_signer(SIGNER.origin))
    assert caught.value.code == "foreign-key"


def test_cosignatures_join_the_head_that_they_are_of(path: Path) -> None:
    """Once; the log's own lines stay; a head that the log never signed is refused."""
    witness = generate_witness("witness.example")
    with Log.open(path, SIGNER) as log:
        note = log.append_checkpointed(entry(0), TIME).checkpoint
        head = verify_checkpoint(note, SIGNER.vkeys)
        lines = witness.cosign(head, TIME)
        assert log.add_cosignatures(note + lines) is True
        assert log.add_cosignatures(note + lines) is False
        stored = log.checkpoint_of(1)
        assert stored == note + lines
        assert verify_cosignature(stored, witness.vkeys) == TIME
        with pytest.raises(ConsistencyError):
            log.add_cosignatures(sign_checkpoint(Checkpoint(SIGNER.origin, 1, b"\x01" * 32), SIGNER, TIME) + lines)
