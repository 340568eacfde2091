"""A recipient as an argument: the string, or a file that holds it. Two thousand characters are no pleasure to paste."""

from __future__ import annotations

from pathlib import Path

from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError, RecipientError

_MAX_FILE = 8192


def read_recipient(text: str) -> str:
    """The recipient string in an argument.

    Args:
        text: `age1pq1…`, or the name of a file whose first line that is not a comment is one.

    Raises:
        ConfigError: it is neither.
    """
    given = text.strip()
    if not given.startswith("age1"):
        try:
            with Path(given).open("rb") as file:
                lines = file.read(_MAX_FILE).decode("ascii", "replace").splitlines()
        except (OSError, ValueError):
            raise ConfigError(
                "recipient-malformed",
                "the recipient is neither one nor a file with one",
                "recipients begin with `age1pq1`; `qnb keys show --recipient` prints an account's",
            ) from None
        given = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
        if "AGE-SECRET-KEY" in given:
            raise ConfigError(
                "recipient-is-identity",
                "that file holds an identity, which is nobody's to give away",
                "give its public key",
            )
    try:
        return parse_recipient(given).text
    except RecipientError as error:  # a word on the command line, so a matter of usage
        raise ConfigError(error.code, error.message, error.hint) from None
