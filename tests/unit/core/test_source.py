"""What stands in the place of a sealed source, and how it is known again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnb.core.directive import directive_line
from qnb.core.source import LEFT_OUT, SEALED, hide_source, is_hidden
from qnb.core.statement import source_digest


@pytest.mark.parametrize("sealed", [True, False])
def test_placeholder_keeps_the_directive_alone(sealed: bool) -> None:
    """Label, purpose and groups stay readable, as they are in the card; nothing below them does."""
    comment = SEALED if sealed else LEFT_OUT
    assert hide_source("%%qsecure restricted --seal-source\nsecret = 1\n", sealed=sealed) == (
        f"%%qsecure restricted --seal-source\n{comment}"
    )
    assert hide_source("secret = 1\n%%qsecure", sealed=sealed) == comment


@given(st.text(), st.booleans())
def test_any_source_hidden_is_known_and_says_nothing(source: str, sealed: bool) -> None:
    """Whatever the source was, it is gone but for its first line, also where an editor adds white space."""
    hidden = hide_source(source, sealed=sealed)
    assert is_hidden(hidden)
    assert is_hidden(f"{hidden}\r\n")
    assert is_hidden(hide_source(hidden, sealed=sealed))
    assert hidden in {SEALED, LEFT_OUT, f"{directive_line(source)}\n{SEALED}", f"{directive_line(source)}\n{LEFT_OUT}"}


@given(st.text())
def test_source_with_a_line_of_its_own_is_not_hidden(line: str) -> None:
    """A placeholder that somebody wrote code below is a source again."""
    assert not is_hidden(f"%%qsecure\n{SEALED}\nx = 1\n{line}")
    assert is_hidden(line) == (source_digest(line.strip()) in {source_digest(SEALED), source_digest(LEFT_OUT)})


@pytest.mark.parametrize(
    "source", ["", "%%qsecure", "x = 1", f"x = 1\n{SEALED}", f"{SEALED}\n{SEALED}", f"{SEALED}\n%%qsecure"]
)
def test_ordinary_source_is_not_hidden(source: str) -> None:
    """Neither empty cells nor cells that quote the placeholder."""
    assert not is_hidden(source)
