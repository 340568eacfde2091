"""Each claim of the threat model names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| \d+ \|.*\|([^|]*)\|$", (ROOT / "docs/explanation/threat-model.md").read_text(), flags=re.MULTILINE
)


def test_every_row_names_tests_that_exist() -> None:
    """A row without a test, or with the name of one that is gone, is a claim that nobody checks."""
    assert len(ROWS) == 19
    for row in ROWS:
        named = re.findall(r"`(tests/[^`]+)`", row)
        assert named, row
        for path in named:
            assert (ROOT / path).exists(), path
