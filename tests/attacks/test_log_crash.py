"""A writer killed at any point of appending: nothing acknowledged is lost, nothing torn is left."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Runs in a process of its own, which forks the writers: no threads there that a fork could catch in the middle.
KILLER = textwrap.dedent("""
    import os, random, signal, sys
    from pathlib import Path
    from qnb.core.checkpoint import generate_signer, verify_checkpoint
    from qnb.core.merkle import leaf_hash, root
    from qnb.store.log import Log

    path, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    signer = generate_signer("example.org/log")
    acknowledged = {}
    for turn in range(rounds):
        readers = []
        for writer in range(2):
            reader, pipe = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                log = Log.open(path, signer)
                number = 0
                while True:
                    body = f"{turn} {writer} {number} ".encode() + b"x" * (number * 997 % 9000)
                    if number % 3 == 0:
                        index = log.append_checkpointed(body, 1).index
                    elif number % 3 == 1:
                        index = log.append([body])[0]
                    else:
                        index = log.append([b"beside", body], evaluations=[b"1", b"2"])[1]
                    os.write(pipe, f"{index}:{number}\\n".encode())
                    number += 1
            os.close(pipe)
            readers.append((child, os.fdopen(reader, "rb")))
        for child, reader in readers:
            heard = b"".join(reader.readline() for _ in range(chance.randrange(1, 12)))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            writer = readers.index((child, reader))
            for line in (heard + reader.read()).splitlines(keepends=True):
                if line.endswith(b"\\n"):
                    index, _, number = line.decode().strip().partition(":")
                    acknowledged[int(index)] = f"{turn} {writer} {number} ".encode()
            reader.close()
        if turn % 50 and turn != rounds - 1:
            continue
        with Log.open(path, signer) as log:
            bodies = list(log.entries())
            assert log.root() == root(map(leaf_hash, bodies))
            for index, start in acknowledged.items():
                assert bodies[index].startswith(start), (turn, index)
            for size, note in log.checkpoints():
                head = verify_checkpoint(note, signer.vkeys)
                assert head.size == size <= len(bodies)
            assert head.root == root(map(leaf_hash, bodies[: head.size]))
            assert log._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    print(len(acknowledged))
""")


def kill_writers(path: Path, rounds: int, seed: int) -> int:
    """Two writers at once, killed `rounds` times; gives the number of acknowledged entries, all of them found."""
    result = subprocess.run(
        [sys.executable, "-c", KILLER, str(path), str(rounds), str(seed)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
def test_killed_writers_lose_no_acknowledged_entry(tmp_path: Path) -> None:
    """A few rounds."""
    assert kill_writers(tmp_path / "log.db", rounds=6, seed=1) >= 12


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
def test_a_thousand_kills_lose_no_acknowledged_entry(tmp_path: Path) -> None:
    """The same, five hundred rounds of two."""
    assert kill_writers(tmp_path / "log.db", rounds=500, seed=2) >= 1000
