"""The `%%qsecure` line: what the first line of a cell declares.

Enters: text of a cell, or that one line. Leaves: a `Directive`, or an error that names the option, never its value.
Never: knows which labels, groups or purposes exist; the scheme and the policy say that.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache

from qnb.errors import ConfigError, LabelError

USAGE = "%%qsecure [LABEL] [--purpose TEXT] [--to GROUP]… [--seal-source]"

_LINE = re.compile(r"%%qsecure(?=\s|$)")
_ANYWHERE = re.compile(r"^[ \t]*%%qsecure\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Directive:
    """What a `%%qsecure` line asks for.

    Attributes:
        label: as written, `restricted//phi`; None for a bare `%%qsecure`, which the scheme gives a meaning.
        purpose: why, in words; None when not given.
        to: further groups or recipients, in the order given.
        seal_source: whether the cell's source is to be sealed with its output.
    """

    label: str | None = None
    purpose: str | None = None
    to: tuple[str, ...] = ()
    seal_source: bool = False


def directive_line(cell: str) -> str | None:
    """The `%%qsecure` line of a raw cell if that is its very first line, without its line end; else None."""
    lines = cell.splitlines()
    return lines[0].rstrip() if lines and _LINE.match(lines[0]) else None


def mentions_directive(cell: str) -> bool:
    """Whether any line of the cell reads as a `%%qsecure` line, in its place or not: such a source is kept nowhere."""
    return _ANYWHERE.search(cell) is not None


@lru_cache(maxsize=64)  # IPython transforms a cell several times, and each time the line is read
def parse_directive(line: str) -> Directive:
    """Parse a `%%qsecure` line; words are quoted as in a shell.

    Args:
        line: `%%qsecure restricted//phi --purpose "assay 12" --to oncology`.

    Raises:
        LabelError: `two-labels`.
        ConfigError: `unknown-option`, `missing-value`, `repeated-option`, `unbalanced-quote`.
    """
    match = _LINE.match(line)
    if match is None:
        raise ConfigError("not-a-directive", "the line does not begin with `%%qsecure`", USAGE)
    try:
        words = shlex.split(line[match.end() :])
    except ValueError:
        raise ConfigError("unbalanced-quote", "a quote in the `%%qsecure` line is not closed", USAGE) from None
    labels: list[str] = []
    options: dict[str, list[str]] = {"--purpose": [], "--to": []}
    seal_source = False
    words.reverse()
    while words:
        word = words.pop()
        if word == "--seal-source":
            seal_source = True
        elif word.startswith("-"):
            option, equals, value = word.partition("=")
            if option not in options:
                raise ConfigError("unknown-option", f"`%%qsecure` has no option `{option}`", USAGE)
            if not equals:
                value = words.pop() if words and not words[-1].startswith("--") else ""
            if not value.strip():
                raise ConfigError("missing-value", f"`{option}` needs a value", USAGE)
            options[option].append(value)
        else:
            labels.append(word)
    if len(options["--purpose"]) > 1:
        raise ConfigError("repeated-option", "`--purpose` is given twice", USAGE)
    purpose = options["--purpose"][0] if options["--purpose"] else None
    return Directive(_only_label(labels), purpose, tuple(options["--to"]), seal_source)


def _only_label(words: list[str]) -> str | None:
    if len(words) > 1:
        raise LabelError(
            "two-labels",
            "the `%%qsecure` line names two labels",
            "categories follow the level: `restricted//ip,phi`; quote a purpose of several words",
        )
    if words == [""]:
        raise LabelError("empty-label", "the label in the `%%qsecure` line is empty", USAGE)
    return words[0] if words else None
