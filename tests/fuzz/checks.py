"""What every target holds of an error: it is ours, and fit to be shown.

Enters: a call. Leaves: its result, or None. Any other exception is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from qnb.errors import QnbError

_T = TypeVar("_T")
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 1000


def attempt(call: Callable[..., _T], *arguments: Any, **named: Any) -> _T | None:
    """The result, or None after an error of ours, which must be fit to be shown."""
    try:
        return call(*arguments, **named)
    except QnbError as error:
        check_error(error)
        return None


def check_error(error: QnbError) -> None:
    """A code for programs, and lines that drive no terminal and fill no screen."""
    assert _CODE.fullmatch(error.code), error.code
    for line in (error.message, error.hint or "x"):
        assert line, error.code
        assert line.isprintable(), (error.code, line)
        assert len(line) <= LONGEST, (error.code, len(line))
