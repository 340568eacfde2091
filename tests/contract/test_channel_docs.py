"""Each row of the tables of channels and of widgets names tests and cases that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ATTACKS = ROOT / "tests" / "attacks"
ROWS = re.compile(r"^\|(.*)\|([^|]*)\|$", re.MULTILINE)


def _names(page: str) -> list[str]:
    rows = [row for _, row in ROWS.findall((ROOT / "docs" / "reference" / page).read_text()) if "---" not in row]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_output_channels_name_tests_that_exist() -> None:
    """A test by its name, or a case of one by its key."""
    sources = "".join(path.read_text() for path in ATTACKS.glob("test_*.py"))
    names = _names("output-channels.md")
    assert len(names) > 60
    for name in names:
        found = f"def {name}(" in sources or f'"{name}": ' in sources or (ROOT / name).is_file()
        assert found, name


def test_widgets_name_cases_that_exist() -> None:
    """Each row of what works is tried."""
    source = (ATTACKS / "test_widgets.py").read_text()
    names = [name for name in _names("widgets.md") if name != "test_widgets.py"]
    assert len(names) > 15
    for name in names:
        assert f'"{name}": ' in source or f"def {name}(" in source, name
