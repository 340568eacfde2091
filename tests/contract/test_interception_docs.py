"""Each row of the reference of what is intercepted says what it is, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from qnb.kernel.intercept.table import TARGETS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reference/interception.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| path", "| what happens"))
]
_UNSEEN = ("not reachable", "no execution")


def _tests(cell: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", cell)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_row_names_tests_that_exist(row: tuple[str, ...]) -> None:
    """A claim without a test is a wish; one whose test is gone, too. What is not reachable needs none."""
    _, kind, tests = row
    named = _tests(tests)
    assert named or kind.startswith(_UNSEEN)
    assert tests.count("`") == 2 * len(named)
    for name in named:
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert not function or function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_every_row_says_one_of_the_kinds() -> None:
    """Guarded, detected afterwards or not reachable; what is none of an execution says so."""
    kinds = ("guarded", "detected afterwards", "not reachable", "no execution", "part of that call", "copies run")
    jobs = TEXT.index("## Jobs")
    for row in ROWS:
        assert TEXT.index(row[0]) > jobs or row[1].startswith(kinds), row


def test_every_base_class_of_the_table_is_in_the_reference() -> None:
    """A target that nobody documented is one that nobody tests."""
    for target in TARGETS:
        if target.reader not in ("result", "submission") and not target.base.startswith(("Base", "QiskitRuntimeLocal")):
            assert f"`{target.base}" in TEXT, target.base
