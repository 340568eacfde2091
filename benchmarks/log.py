"""The provenance log: durable appends against a bare INSERT, batches, and a log of a million entries.

The bare database has the same durability (WAL, synchronous=FULL), lies in the same folder and takes entries of the same
size, in bursts that alternate with the log's, so that both meet the same disk.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path

from rows import Row, median_of, report, scratch

from qnb.core.audit import audit_log
from qnb.core.checkpoint import generate_signer
from qnb.core.digester import Digester
from qnb.core.statement import Context, decision_statement, encode, execution_statement, seal_statement
from qnb.model import (
    Action,
    Assurance,
    Backend,
    Call,
    CircuitInfo,
    Decision,
    Label,
    Outcome,
    Principal,
    Reason,
    Request,
)
from qnb.store.log import Log

ENTRY = b"e" * 1500  # an execution entry's size
BURSTS, BURST = 80, 50
BATCH = 10_000
MILLION = 1_000_000
SMALL = 300  # bytes an entry of the large log, so that it is built in seconds
PROOFS = 300
CHECKED = 99_999
HEADS = 500
THREADS = 8
TIME = 1_700_000_000


def bare_database(path: Path) -> sqlite3.Connection:
    """What an append is measured against."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return database


def appends(folder: Path) -> list[Row]:
    """One entry at a time, each durable; then in batches; then with a signed head each."""
    bare = bare_database(folder / "bare.db")
    signer = generate_signer("example.org/log")
    with Log.open(folder / "small.db", signer) as log:

        def insert() -> None:
            for _ in range(BURST):
                bare.execute("INSERT INTO entries (body) VALUES (?)", (ENTRY,))

        def append() -> None:
            for _ in range(BURST):
                log.append([ENTRY])

        times = median_of({"bare": insert, "log": append}, repeat=BURSTS)
        pairs = [ours / theirs for ours, theirs in zip(times["log"], times["bare"], strict=True)]
        microseconds = {side: 1e6 * statistics.median(values) / BURST for side, values in times.items()}
        start = time.perf_counter()
        log.append([ENTRY] * BATCH)
        rate = BATCH / (time.perf_counter() - start)
        together = 200 * THREADS / _threaded(log)
        signed = median_of({"signed": lambda: log.append_checkpointed(ENTRY, TIME)}, repeat=100)["signed"]
    bare.close()
    note = f"{microseconds['log']:.0f} µs against {microseconds['bare']:.0f} µs, median of {BURSTS} pairs of bursts"
    return [
        Row("durable append, against a bare INSERT", statistics.median(pairs), "x", 1.10, note),
        Row("batched appends", rate, "/s", 10_000, f"{BATCH} entries in one transaction", bound="min"),
        Row("durable appends of 8 threads at once", together, "/s", None, "each entry acknowledged on its own"),
        Row("append with a signed checkpoint", 1e3 * statistics.median(signed), "ms", None, "Ed25519 and ML-DSA-44"),
    ]


def _threaded(log: Log) -> float:
    """Seconds that threads take for 200 appends each."""

    def work() -> None:
        for _ in range(200):
            log.append([ENTRY])

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def large_log(folder: Path) -> list[Row]:
    """A million entries: opened cold, proved, checked."""
    path, signer = folder / "large.db", generate_signer("example.org/log")
    bodies = (number.to_bytes(8, "big") + b"e" * (SMALL - 8) for number in itertools.count())
    with Log.open(path, signer) as log:
        for _ in range(MILLION // BATCH):
            log.append(list(itertools.islice(bodies, BATCH)))
        log.head(TIME)

    def cold() -> None:
        with Log.open(path, signer) as log:
            log.head(TIME)

    def cold_after_an_append() -> None:
        with Log.open(path, signer) as log:
            log.append([ENTRY])
            log.head(TIME)

    times = median_of({"cold": cold, "append": cold_after_an_append}, repeat=15)
    chance = random.Random(7)
    with Log.open(path, readonly=True) as log:
        size = log.size
        proofs = median_of({"proof": lambda: log.inclusion_proof(chance.randrange(size), size)}, repeat=PROOFS)["proof"]
    first = f"with an append and a new signature {1e3 * statistics.median(times['append']):.1f} ms"
    return [
        Row("1M entries: cold open and head", 1e3 * statistics.median(times["cold"]), "ms", 20, first),
        Row("1M entries: inclusion proof", 1e3 * statistics.median(proofs), "ms", 1, f"{PROOFS} at random"),
    ]


def statements(folder: Path) -> list[Row]:
    """Writing the three entries of one Bell in a sealed cell, without the disk; verifying many, from the disk."""
    who, label = Principal("bench", 1000, Assurance.OS), Label("confidential")
    context = Context(who, "s", "nb", "cell", 1, b"\x01" * 32, label, "2026-11-23T09:30:00.000Z", {"qnb": "0.1.0"})
    circuit = CircuitInfo(b"\x02" * 32, b"\x03" * 32, 2, 2, 4, {"h": 1, "cx": 1, "measure": 2})
    call = Call("AerBackend.run", Backend("aer_simulator", "qiskit_aer.AerSimulator", "0.18"), (circuit,), shots=1000)
    reasons = (Reason("local", "simulators on this machine may run it"),)
    decision = Decision(True, Action.EXECUTE, label, reasons, "ab" * 32, (), "local", "aer_simulator", 100, 0)
    request = Request(Action.EXECUTE, who, label, "why", call.backend, 1, 2, 1000)
    outcome, digester = Outcome("ok", b"\x05" * 32, 1000, 7, None, 0.001), Digester(b"k" * 32)

    def at(index: int) -> Context:
        return replace(context, sequence=index)

    def written(index: int) -> tuple[bytes, bytes, bytes]:
        return (
            encode(decision_statement(at(index), decision, request, call, digester)),
            encode(execution_statement(context, call, replace(decision, entry=index), outcome, digester)),
            encode(seal_statement(context, index.to_bytes(32, "big"), "ok", ["ab" * 8], digester)),
        )

    times = median_of({"write": lambda: written(0)}, repeat=2000)["write"]
    path, signer = folder / "checked.db", generate_signer("example.org/log")
    with Log.open(path, signer) as log:
        for start in range(0, CHECKED, 9_999):
            log.append([entry for index in range(start, start + 9_999, 3) for entry in written(index)])
        log.head(TIME)
    rates = []
    for _ in range(3):
        with Log.open(path, readonly=True) as log:
            begun = time.process_time()  # one thread; the file was written just now and is in memory
            report_ = audit_log(log.rows(), log.checkpoints(), log.evaluations, vkeys=signer.vkeys)
            rates.append(CHECKED / (time.process_time() - begun))
        assert report_.held, report_
        assert report_.authenticated
    with Log.open(folder / "heads.db", signer) as log:
        for index in range(HEADS):
            log.append_checkpointed(written(3 * index)[2], TIME)
        begun = time.perf_counter()
        assert audit_log(log.rows(), log.checkpoints(), log.evaluations, vkeys=signer.vkeys).held
        heads = HEADS / (time.perf_counter() - begun)
    note = f"{CHECKED} statements from the file, in time of one core; best of 3 passes"
    return [
        Row("statements of one sealed Bell", 1e6 * statistics.median(times), "µs", 120, "decision, execution, seal"),
        Row("whole verification of a log", max(rates), "/s", 100_000, note, bound="min"),
        Row("... of its checkpoints, each signed twice", heads, "/s", None, "Ed25519 and ML-DSA-44"),
    ]


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        rows = appends(folder) + large_log(folder) + statements(folder)
    report(rows)


if __name__ == "__main__":
    main()
