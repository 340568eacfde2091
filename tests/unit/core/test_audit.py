from __future__ import annotations

import json
import random
from typing import Any

import pytest

from qnb.core.audit import audit_log
from qnb.core.checkpoint import Checkpoint, generate_signer, sign_checkpoint
from qnb.core.merkle import Frontier, leaf_hash, root

COMMON: dict[str, Any] = {
    "principal": {"name": "ada"}, "session": "s", "notebook": None, "cell": None, "sequence": None, "source": None,
    "label": "internal", "time": "2026-11-23T09:30:00.000Z",
}  # fmt: skip


def statement(kind: str, **predicate: Any) -> bytes:
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [],
        "predicateType": f"urn:qnb:predicate:{kind}:v1",
        "predicate": COMMON | predicate,
    }
    return json.dumps(value).encode()


def faults(lines: list[bytes], **evaluations: Any) -> set[str]:
    """The codes of a log that somebody wrote anew around an execution with these evaluations, hashes and all."""
    said = {"first": 0, "count": len(lines), "root": root(map(leaf_hash, lines)).hex()} | evaluations
    frontier, rows = Frontier(), []
    entries = [
        statement("decision", action="execute", decision="allow", grant=9, policy={"sha256": "0" * 64}),
        statement("execution", status="ok", decision=0, evaluations=said),
    ]
    for index, body in enumerate(entries):
        rows.append((index, frontier.append(leaf_hash(body)), body))
    report = audit_log(rows, [], lambda index: lines, vkeys=None)
    return {step.code for step in report.steps if step.code is not None}


def test_evaluations_as_recorded_hold() -> None:
    """What the faults below are faults of."""
    assert faults([b'{"index":0}', b'{"index":1}']) == set()


@pytest.mark.parametrize("line", [b"null", b"[]", b"3", b"\xff", b"{", b"[" * 100_000, b'{"index":"0"}', b"{}"])
def test_evaluation_that_is_none_is_a_fault_and_no_crash(line: bytes) -> None:
    """Whoever writes a log anew hashes what they like: it is read as what it is, under the right root too."""
    assert faults([line, b'{"index":1}']) == {"evaluations-order"}


@pytest.mark.parametrize("count", [None, "2", True, 2.0])
def test_count_that_is_no_number_is_a_fault_and_no_crash(count: object) -> None:
    """The same for what the entry itself says."""
    assert faults([b'{"index":0}', b'{"index":1}'], count=count) == {"statement"}


# --- long logs, which are hashed by the thousand ---------------------------------------------------------------------

SIGNER = generate_signer("example.org/log")


def long_log(size: int, heads: set[int]) -> tuple[list[tuple[int, bytes, bytes]], list[tuple[int, str]]]:
    """Rows and signed heads of a log of so many entries."""
    frontier, rows, notes = Frontier(), [], []
    for index in range(size):
        body = statement("seal", number=index)
        rows.append((index, frontier.append(leaf_hash(body)), body))
        if index + 1 in heads:
            checkpoint = Checkpoint(SIGNER.origin, index + 1, frontier.root())
            notes.append((index + 1, sign_checkpoint(checkpoint, SIGNER, 1_800_000_000)))
    return rows, notes


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 1025, 2500])
def test_fault_is_named_wherever_it_is_in_a_long_log(size: int) -> None:
    """Before, at and after the borders of what is hashed at once, with heads at and between them."""
    chance = random.Random(size)
    heads = {1, size, *(k for k in (1023, 1024, 1025, 2048) if k <= size), chance.randrange(size) + 1}
    rows, notes = long_log(size, heads)

    def found(changed: list[tuple[int, bytes, bytes]]) -> list[tuple[str | None, int | None]]:
        report = audit_log(changed, notes, lambda _: None, vkeys=SIGNER.vkeys)
        return [(step.code, step.entry) for step in report.steps if step.held is False]

    assert found(rows) == []
    for at in {0, size // 2, size - 1, min(size - 1, 1023), min(size - 1, 1024)}:
        index, nodes, body = rows[at]
        altered = [*rows[:at], (index, nodes, body.replace(b"ada", b"eve")), *rows[at + 1 :]]
        assert found(altered) == [("entry-altered", at)]
        code = "truncated" if at == size - 1 else "entry-missing"
        assert (code, at) in found([*rows[:at], *rows[at + 1 :]])
