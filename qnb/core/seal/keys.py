"""Recipient and identity strings, and identity files.

Enters: text that somebody wrote, pasted or loaded. Leaves: `Recipient` and `Identity` objects.
Never: quotes an identity in an error.
Spec: C2SP age.md, native recipient types; identity files as `age-keygen` writes them: one identity a line,
`#` comments.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

from qnb.core.seal import bech32, hybrid, x25519
from qnb.core.seal.recipient import Identity, Recipient
from qnb.errors import RecipientError

_MAX_TEXT = 4096


def generate_identity(random: Callable[[int], bytes] = os.urandom) -> Identity:
    """A new post-quantum identity."""
    return hybrid.HybridIdentity(random(32))


@lru_cache(maxsize=512)  # decoding 1959 characters costs about as much as sealing
def parse_recipient(text: str) -> Recipient:
    """Read an `age1pq1…` or `age1…` recipient.

    Raises:
        RecipientError: `recipient-malformed`, `recipient-unsupported`, `bech32-malformed`.
    """
    if len(text) > _MAX_TEXT or not text.startswith("age1"):
        raise RecipientError(
            "recipient-malformed", f"`{_shorten(text)}` is not a recipient", "recipients begin with `age1pq1`"
        )
    hrp, data = bech32.decode(text)
    if hrp == hybrid.RECIPIENT_HRP:
        return hybrid.HybridRecipient(data)
    if hrp == x25519.RECIPIENT_HRP:
        return x25519.X25519Recipient(data)
    raise RecipientError(
        "recipient-unsupported",
        f"`{_shorten(text)}` is a recipient for an age plugin, which qnb does not run",
        "use a recipient that begins with `age1pq1`",
    )


def parse_identity(text: str) -> Identity:
    """Read an `AGE-SECRET-KEY-PQ-1…` or `AGE-SECRET-KEY-1…` identity.

    Raises:
        RecipientError: `identity-malformed`, `identity-unsupported`, `bech32-malformed`.
    """
    if len(text) > _MAX_TEXT or not text.startswith("AGE-"):
        raise RecipientError(
            "identity-malformed", "the text is not an identity", "identities begin with `AGE-SECRET-KEY-PQ-1`"
        )
    hrp, data = bech32.decode(text)
    if hrp == hybrid.IDENTITY_HRP:
        return hybrid.HybridIdentity(data)
    if hrp == x25519.IDENTITY_HRP:
        return x25519.X25519Identity(data)
    raise RecipientError("identity-unsupported", "the identity is for an age plugin, which qnb does not run")


def parse_identities(text: str) -> tuple[Identity, ...]:
    """Read an identity file: one identity a line, empty lines and `#` comments between.

    Raises:
        RecipientError: as `parse_identity`, naming the line; `no-identity` for a file without any.
    """
    identities: list[Identity] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            identities.append(parse_identity(entry))
        except RecipientError as error:
            raise RecipientError(
                error.code, f"line {number} of the identity file: {error.message}", error.hint
            ) from None
    if not identities:
        raise RecipientError("no-identity", "the identity file holds no identity")
    return tuple(identities)


def _shorten(text: str) -> str:
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:24])
    return printable if len(text) <= 24 else printable + "\N{HORIZONTAL ELLIPSIS}"
