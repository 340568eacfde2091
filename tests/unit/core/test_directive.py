"""What a `%%qsecure` line may say, and how it is told when it may not."""

from __future__ import annotations

import pytest

from qnb.core.directive import Directive, directive_line, mentions_directive, parse_directive
from qnb.errors import ConfigError, LabelError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%qsecure", Directive()),
        ("%%qsecure   ", Directive()),
        ("%%qsecure confidential", Directive("confidential")),
        ("%%qsecure\trestricted//phi,ip", Directive("restricted//phi,ip")),
        ('%%qsecure restricted --purpose "assay 12, batch B"', Directive("restricted", "assay 12, batch B")),
        ("%%qsecure --purpose=audit restricted", Directive("restricted", "audit")),
        ("%%qsecure --to oncology --to=board", Directive(None, None, ("oncology", "board"))),
        ("%%qsecure --purpose=--odd", Directive(None, "--odd")),
        ("%%qsecure --purpose -3dB", Directive(None, "-3dB")),
        ("%%qsecure --seal-source", Directive(seal_source=True)),
        ("%%qsecure restricted --seal-source --to board", Directive("restricted", None, ("board",), seal_source=True)),
    ],
)
def test_valid_line_parses(line: str, expected: Directive) -> None:
    """Label, purpose and groups come in any order, quoted as in a shell."""
    assert parse_directive(line) == expected


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("%%qsecure confidential restricted", LabelError, "two-labels"),
        ("%%qsecure --purpose drug discovery now", LabelError, "two-labels"),
        ("%%qsecure ''", LabelError, "empty-label"),
        ("%%qsecure --recipients bob", ConfigError, "unknown-option"),
        ("%%qsecure -p audit", ConfigError, "unknown-option"),
        ("%%qsecure --purpose", ConfigError, "missing-value"),
        ("%%qsecure --purpose --to bob", ConfigError, "missing-value"),
        ("%%qsecure --to=", ConfigError, "missing-value"),
        ("%%qsecure --to --seal-source", ConfigError, "missing-value"),
        ("%%qsecure --seal-source=yes", ConfigError, "unknown-option"),
        ("%%qsecure --purpose a --purpose b", ConfigError, "repeated-option"),
        ('%%qsecure --purpose "open', ConfigError, "unbalanced-quote"),
        ("%%time", ConfigError, "not-a-directive"),
    ],
)
def test_invalid_line_names_what_is_wrong(line: str, kind: type[Exception], code: str) -> None:
    """Each mistake has its code and a way on."""
    with pytest.raises(kind) as caught:
        parse_directive(line)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert caught.value.hint  # type: ignore[attr-defined]


def test_error_never_quotes_a_value() -> None:
    """A purpose can be confidential itself, so no error repeats it."""
    for line in ("%%qsecure --purpose=SECRET --purpose=SECRET", "%%qsecure --aim=SECRET", "%%qsecure a SECRET"):
        with pytest.raises((ConfigError, LabelError)) as caught:
            parse_directive(line)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%qsecure\nx = 1", "%%qsecure"),
        ("%%qsecure a --to b \r\nx = 1", "%%qsecure a --to b"),
        ("\n%%qsecure\nx = 1", None),
        (" %%qsecure\nx = 1", None),
        ("%%qsecured\nx = 1", None),
        ("%%qsecure?", None),
        ("%%time\n%%qsecure\nx = 1", None),
        ("", None),
    ],
)
def test_only_the_very_first_line_counts(cell: str, line: str | None) -> None:
    """Blank lines, blanks and other magics above it make it no directive."""
    assert directive_line(cell) == line


def test_misplaced_line_is_still_noticed() -> None:
    """History has to know of a source that was meant to be classified."""
    assert mentions_directive("%%time\n%%qsecure restricted\nx = 1")
    assert mentions_directive("x = 1\n  %%qsecure restricted")
    assert not mentions_directive("print('%%qsecure')")
