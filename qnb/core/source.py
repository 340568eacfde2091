"""The source of a classified cell, where it is sealed with the output: what stands in its place in a saved notebook.

Enters: a cell's source. Leaves: a source that says nothing but the `%%qsecure` line, and where the rest is.
Never: runs: a cell of that source is refused, because its output would replace the one that holds the source.
"""

from __future__ import annotations

from qnb.core.directive import directive_line
from qnb.errors import ConfigError

SEALED = "# the source of this cell is sealed with its output: `qnb unseal FILE` restores it"
LEFT_OUT = "# the source of this cell was left out: it was to be sealed, and the cell has no output to seal it with"


def hide_source(source: str, *, sealed: bool) -> str:
    """What stands in the place of a source: its `%%qsecure` line, where it has one, and one comment.

    Args:
        source: of the cell.
        sealed: whether the cell's sealed output holds the source; else it is left out of this notebook.
    """
    line = directive_line(source)
    comment = SEALED if sealed else LEFT_OUT
    return comment if line is None else f"{line}\n{comment}"


def is_hidden(source: str) -> bool:
    """Whether a source is one that `hide_source` gave, whatever white space an editor put around it."""
    lines = source.strip().splitlines()
    if lines and directive_line(lines[0]) is not None:
        del lines[0]
    return [line.strip() for line in lines] in ([SEALED], [LEFT_OUT])


def hidden_source_error(where: str) -> ConfigError:
    """The error for a cell that cannot run because its source is not there.

    Args:
        where: which cell, `cell 3` or `the cell`.
    """
    return ConfigError(
        "source-sealed",
        f"{where} has no source to run: it is sealed or was left out",
        "open the notebook first with `qnb unseal FILE` and run that, or run the one that this came from",
    )
