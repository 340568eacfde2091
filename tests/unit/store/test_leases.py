from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qnb.errors import StorageError
from qnb.store.leases import DeadSession, announce, dead_sessions, forget, hold_key, live_sessions, take_key

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
ONE, TWO = "a" * 32, "b" * 32

HOLDER = textwrap.dedent("""
    import os, sys, time
    from pathlib import Path
    from qnb.store.leases import announce
    lease = announce(Path(sys.argv[1]), sys.argv[2], 7)
    child = os.fork() if sys.argv[3] == "fork" else None
    if child is None or child == 0:  # the child says so once it runs: then its copy of the lock is closed
        print("held", flush=True)
    sys.stdin.readline()
""")


def holder(home: Path, mode: str = "") -> subprocess.Popen[bytes]:
    """A process that holds the lease of session ONE."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), ONE, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_session_lives_as_long_as_its_process(tmp_path: Path) -> None:
    """And is dead once it was killed, with the size of the log when it began."""
    process = holder(tmp_path)
    try:
        assert (live_sessions(tmp_path), dead_sessions(tmp_path)) == ({ONE}, [])
    finally:
        process.kill()
        process.wait()
    assert (live_sessions(tmp_path), dead_sessions(tmp_path)) == (set(), [DeadSession(ONE, 7)])
    end(process)
    forget(tmp_path, dead_sessions(tmp_path))
    assert dead_sessions(tmp_path) == []


def test_child_that_outlives_its_kernel_does_not_stand_for_it(tmp_path: Path) -> None:
    """A fork takes no lock along."""
    process = holder(tmp_path, "fork")
    process.kill()
    process.wait()
    assert dead_sessions(tmp_path) == [DeadSession(ONE, 7)]
    end(process)


def test_released_lease_leaves_nothing(tmp_path: Path) -> None:
    """Twice is harmless; a second session is its own."""
    one, two = announce(tmp_path, ONE, 0), announce(tmp_path, TWO, 3)
    assert one is not None
    assert two is not None
    one.release()
    one.release()
    assert (live_sessions(tmp_path), dead_sessions(tmp_path)) == ({TWO}, [])
    two.release()
    assert list((tmp_path / "sessions").iterdir()) == []


def test_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """And files that are no sessions are left alone."""
    with pytest.raises(StorageError):
        announce(tmp_path / "none", ONE, 0)
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "notes.txt").write_text("x")
    assert (live_sessions(tmp_path), dead_sessions(tmp_path)) == (set(), [])


def test_key_is_shared_by_users_and_taken_by_one(tmp_path: Path) -> None:
    """Rotation waits for nobody: it says that the key is in use."""
    one, two = hold_key(tmp_path), hold_key(tmp_path)
    with pytest.raises(StorageError) as caught:
        take_key(tmp_path)
    assert (caught.value.code, bool(caught.value.hint)) == ("key-in-use", True)
    for lease in (one, two):
        assert lease is not None
        lease.release()
    taken = take_key(tmp_path)
    with pytest.raises(StorageError, match="rotated"):
        hold_key(tmp_path)
    assert taken is not None
    taken.release()
    assert hold_key(tmp_path / "none") is None
