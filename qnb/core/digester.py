"""How content is named in the log: by a plain digest, or from the classified levels up by a keyed one.

Enters: SHA-256 digests and short texts that come from the user's work.
Leaves: JSON values for a statement.
Never: lets a digest of classified content through unkeyed: the counts of a 1000-shot Bell pair are guessed from a bare
hash in less than a millisecond. Equal content gives equal digests within one log, so that an auditor can follow it.
"""

from __future__ import annotations

import hmac
import json
from typing import Literal

from qnb.errors import ConfigError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
DigestSet = dict[str, Json]
"""in-toto's: algorithm -> lower-case hex."""

Content = Literal[
    "answer",
    "backend",
    "circuit",
    "drawing",
    "error",
    "job",
    "noise-model",
    "observables",
    "options",
    "parameters",
    "path",
    "purpose",
    "reason",
    "recipient",
    "result",
    "source",
    "structure",
    "target",
]
"""Kinds of content; each has a domain of its own under the key."""

_DOMAIN = "urn:qnb:digest:v1:"
_REMEMBERED = 1024
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical(value: Json) -> bytes:
    """The one spelling of a JSON value here: sorted keys, no spaces, UTF-8; lone surrogates stay as they are."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


class Digester:
    """Names content. Holds a secret key or none; its repr says which, never the key.

    Args:
        key: 32 bytes, the digest key of the log, from the classified levels up; None below.
    """

    __slots__ = ("_keyed", "_named")

    def __init__(self, key: bytes | None) -> None:
        if key is not None and len(key) != 32:
            raise ConfigError("digest-key", "the log's digest key is not 32 bytes")
        # the key is hashed once: the one-shot function looks the algorithm up at each call
        self._keyed = None if key is None else hmac.new(key, digestmod="sha256")
        # One content is named in several entries of a cell. Replaced when full, so that no loop grows it.
        self._named: dict[tuple[str, bytes], DigestSet] = {}

    def __repr__(self) -> str:
        return f"Digester(keyed={self.keyed})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("the digest key of the log is not pickled")

    @property
    def keyed(self) -> bool:
        """Whether content is classified here."""
        return self._keyed is not None

    def digest_set(self, content: Content, digest: bytes) -> DigestSet:
        """Name content whose SHA-256 is given: `sha256` in clear, or `hmac-sha256` over kind and digest."""
        if self._keyed is None:
            return {"sha256": digest.hex()}
        named = self._named.get((content, digest))
        if named is None:
            if len(self._named) >= _REMEMBERED:
                self._named = {}
            message = f"{_DOMAIN}{content}\0".encode() + digest
            named = self._named[content, digest] = _authenticate(self._keyed, message)
        return named

    def optional(self, content: Content, digest: bytes | None) -> DigestSet | None:
        """`digest_set`, with None for what is unknown."""
        return None if digest is None else self.digest_set(content, digest)

    def commit(self, content: Content, value: Json) -> Json:
        """The value itself below the classified levels, else an HMAC over its canonical JSON; None stays None."""
        if self._keyed is None or value is None:
            return value
        return _authenticate(self._keyed, f"{_DOMAIN}{content}\1".encode() + canonical(value))


def _authenticate(keyed: hmac.HMAC, message: bytes) -> DigestSet:
    mac = keyed.copy()
    mac.update(message)
    return {"hmac-sha256": mac.hexdigest()}
