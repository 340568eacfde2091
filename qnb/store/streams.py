"""Streams that digest what passes, and one that keeps nothing.

Enters and leaves: bytes, unchanged. Never: closes the stream that it wraps.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO


class HashingWriter:
    """Digests what goes to another stream."""

    def __init__(self, dst: BinaryIO) -> None:
        self._dst = dst
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Pass `data` on."""
        self._hash.update(data)
        return self._dst.write(data)

    def digest(self) -> bytes:
        """SHA-256 of what has passed."""
        return self._hash.digest()


class HashingReader(io.RawIOBase):
    """Digests what comes from another stream."""

    def __init__(self, src: io.BufferedReader) -> None:
        self._src = src
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`."""
        got = self._src.readinto(buffer)
        self._hash.update(memoryview(buffer)[:got])
        return got

    def digest(self) -> bytes:
        """SHA-256 of what has passed."""
        return self._hash.digest()

    def drain(self) -> bytes:
        """Read to the end, and the digest of the whole."""
        while data := self._src.read(1 << 16):
            self._hash.update(data)
        return self._hash.digest()


class Null(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Take all."""
        return len(data)
