from __future__ import annotations

import pytest

from qnb.errors import ConfigError, DeniedError, QnbError, SealError


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\ud800b", "a\x00b"])
def test_message_that_quotes_control_characters_is_shown_without_them(text: str) -> None:
    """A message quotes what somebody wrote: no terminal obeys it, no line break forges a line, any stream writes it."""
    error = SealError("code", f"`{text}` is not", f"not `{text}`")
    assert error.message == "`a\N{REPLACEMENT CHARACTER}" + ("[2J" if "[2J" in text else "") + "b` is not"
    assert str(error).count("\n") == 1
    assert str(error).isprintable() is False  # the line break before the hint, and nothing else
    assert str(error).replace("\n", "").isprintable()
    assert error.args == (error.message,)
    str(error).encode("utf-8")


def test_message_that_quotes_a_book_ends_somewhere() -> None:
    """What is quoted may be long; a screen is not."""
    error = ConfigError("code", "`" + "x" * 5000 + "`", "y" * 5000)
    assert len(error.message) == len(error.hint or "") == 1000
    assert error.message.endswith("\N{HORIZONTAL ELLIPSIS}")


def test_message_that_is_fit_is_left_as_it_is() -> None:
    """Letters of every script, signs and emoji are what people write."""
    text = "`Größe 数 🔒 €` is not a level"
    assert QnbError("code", text).message == text
    assert QnbError("code", text).hint is None


def test_denial_is_told_in_its_few_lines() -> None:
    """A denial is lines by nature; what it quotes is cleaned line by line."""
    error = DeniedError("denied", "denied: execute\n  because `a\x1b[2Jb`", decision=None)  # type: ignore[arg-type]
    assert error.message == "denied: execute\n  because `a\N{REPLACEMENT CHARACTER}[2Jb`"
    assert str(error) == error.message
    assert error.args == (error.message,)
    assert error.decision is None
