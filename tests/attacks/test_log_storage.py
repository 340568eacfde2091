"""What a disk does to a log: full, read-only, locked, damaged. A clear error, nothing acknowledged lost, a way on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from qnb.cli.main import cli
from qnb.core.checkpoint import generate_signer
from qnb.core.merkle import leaf_hash, root
from qnb.errors import ConsistencyError, StorageError
from qnb.store import account
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log, database

# Appends until the file may grow no more, telling each index once it is acknowledged.
FILLER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from qnb.core.checkpoint import generate_signer
    from qnb.errors import StorageError
    from qnb.store.log import Log
    log = Log.open(Path(sys.argv[1]), generate_signer("example.org/log"))
    number = 0
    while True:
        body = f"{number} ".encode() + b"x" * 3000
        try:
            index = log.append_checkpointed(body, 1).index if number % 2 else log.append([body])[0]
        except StorageError as error:
            print(error.code, bool(error.hint), flush=True)
            break
        print(index, flush=True)
        number += 1
""")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of a few signed entries, and no credentials of whoever runs the tests."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    init_home(tmp_path / "home")
    with Authority.open(tmp_path / "home") as authority:
        for number in range(60):
            label = authority.policy.scheme.session
            authority.record_seal(authority.context(label), bytes([number]) * 32, "ok", [])
    return tmp_path / "home"


def findings() -> dict[str, dict[str, object]]:
    said = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).output)
    return {finding["code"]: finding for finding in said["findings"]}


@pytest.mark.parametrize("kilobytes", [160, 240, 333])
def test_full_disk_refuses_with_a_hint_and_loses_nothing(tmp_path: Path, kilobytes: int) -> None:
    """The operating system stops every file of the process from growing; then there is space again."""
    path = tmp_path / "log.db"
    limit = kilobytes << 10
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    *acknowledged, refusal = done.stdout.splitlines()
    assert refusal in {"disk-full True", "log-io True"}
    assert len(acknowledged) > 5
    with Log.open(path) as log:
        bodies = list(log.entries())
        assert [int(index) for index in acknowledged] == list(range(len(acknowledged)))
        for index in map(int, acknowledged):
            assert bodies[index].startswith(b"%d " % index)
        assert log.root() == root(map(leaf_hash, bodies))
        assert log.append([b"more"]) == [len(bodies)]
        assert log._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_little_space_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is none."""
    monkeypatch.setattr(account.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1 << 20))
    found = findings()["disk-full"]
    assert (found["severity"], "free space" in str(found["remedy"])) == ("high", True)


def test_read_only_folder_refuses_to_write_and_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another account sees it, or a mount: the log is verified, a kernel gets a clear error, doctor a remedy."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    assert CliRunner().invoke(cli, ["verify"]).exit_code == 0
    found = findings()["log-read-only"]
    assert (found["severity"], bool(found["remedy"])) == ("high", True)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs an account that modes bind")
def test_account_without_write_permission_is_told_so(home: Path) -> None:
    """By the operating system itself, not by a simulation of it."""
    shared = home.parent.parent
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from qnb.errors import StorageError
        from qnb.store.log import Log
        with Log.open(Path(sys.argv[1]), readonly=True) as log:
            assert log.size == 61
        try:
            with Log.open(Path(sys.argv[1])) as log:
                log.append([b"x"])
        except StorageError as error:
            print(error.code, bool(error.hint))
    """)
    for path in (*home.rglob("*"), home, home.parent, shared):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder = home
    while folder != folder.parent:  # every folder above has to let another account through
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
        folder = folder.parent
    for path in (*home.rglob("*"), home):
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [sys.executable, "-c", code, str(home / "log.db")]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    for path in (home, *home.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    if "PermissionError" in done.stderr or "No module" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("another account cannot reach the interpreter here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["log-read-only", "True"], ["log-not-opened", "True"])


def test_locked_log_is_named_by_doctor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held exclusively by another program; afterwards all is as before."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)
    other = sqlite3.connect(home / "log.db", isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError) as caught:
        Authority.open(home)
    assert (caught.value.code, bool(caught.value.hint)) == ("log-locked", True)
    found = findings()["log-unusable"]
    assert "close the program" in str(found["remedy"])
    other.execute("ROLLBACK")
    other.close()
    assert CliRunner().invoke(cli, ["verify"]).exit_code == 0


@pytest.mark.parametrize("page", range(2, 14, 3))
def test_damaged_page_is_found_and_doctor_says_what_to_do(home: Path, page: int) -> None:
    """Whichever it is: never a traceback, never read over."""
    with Log.open(home / "log.db"):
        pass
    with (home / "log.db").open("r+b") as file:
        file.seek(page * 4096)
        file.write(os.urandom(4096))
    result = CliRunner().invoke(cli, ["verify"])
    assert isinstance(result.exception, StorageError | SystemExit | ConsistencyError), result.exception
    assert result.exit_code != 0
    if isinstance(result.exception, StorageError):
        assert result.exception.hint
        unusable = findings().get("log-unusable")
        assert unusable is None or unusable["remedy"]


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_file_that_was_cut_is_found(home: Path, cut: float) -> None:
    """As a copy that broke off leaves it."""
    size = (home / "log.db").stat().st_size
    with (home / "log.db").open("r+b") as file:
        file.truncate(int(size * cut))
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code != 0
    found = findings()["log-unusable"]
    assert (found["severity"], bool(found["remedy"])) == ("high", True)


def test_journal_that_is_lost_takes_unacknowledged_state_only(tmp_path: Path) -> None:
    """A log copied without its journal is an older log, whole: what it lacks is found by whoever has a later head."""
    path, copy = tmp_path / "log.db", tmp_path / "copy" / "log.db"
    copy.parent.mkdir()
    signer = generate_signer("example.org/log")
    with Log.open(path, signer) as log:
        log.append([b"one"])
    with Log.open(path, signer) as log:
        log.append_checkpointed(b"two", 1)
        shutil.copy(path, copy)
        with Log.open(copy, readonly=True) as older:
            assert list(older.entries()) == [b"one"]
            assert older.root() == log.root_at(1)
