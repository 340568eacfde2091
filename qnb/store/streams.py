"""Streams that digest what passes, and one that keeps nothing.

Enters and leaves: bytes, unchanged. Never: closes the stream that it wraps, or holds more than a few blocks of it.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

_WORTH_A_THREAD = 64 << 10  # bytes; a shorter block is digested sooner than handed over
_AHEAD = 4  # blocks that may wait: of the 256 KiB that sealing writes at once, so 1 MiB


class _Digest:
    """SHA-256 of blocks in order, beside the thread that gives them.

    The digest takes longer than the cipher. hashlib leaves the interpreter to other threads while it works, so that on
    a second core it costs next to nothing.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None  # its thread ends with it, also when nobody asks for the result
        self._waiting: deque[Future[None]] = deque()

    def update(self, data: bytes | memoryview) -> None:
        """Take a block; whoever gave it may use its memory again."""
        if self._pool is None and len(data) < _WORTH_A_THREAD:
            self._hash.update(data)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "qnb-digest")
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._hash.update, bytes(data)))

    def digest(self) -> bytes:
        """SHA-256 of the blocks so far."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._hash.digest()


class HashingWriter:
    """Digests what goes to another stream."""

    def __init__(self, dst: BinaryIO) -> None:
        self._dst = dst
        self._digest = _Digest()

    def write(self, data: bytes | memoryview) -> int:
        """Pass `data` on."""
        self._digest.update(data)
        return self._dst.write(data)

    def digest(self) -> bytes:
        """SHA-256 of what has passed."""
        return self._digest.digest()


class HashingReader(io.RawIOBase):
    """Digests what comes from another stream."""

    def __init__(self, src: io.BufferedReader) -> None:
        self._src = src
        self._digest = _Digest()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`."""
        got = self._src.readinto(buffer)
        self._digest.update(memoryview(buffer)[:got])
        return got

    def digest(self) -> bytes:
        """SHA-256 of what has passed."""
        return self._digest.digest()

    def drain(self) -> bytes:
        """Read to the end, and the digest of the whole."""
        while data := self._src.read(1 << 16):
            self._digest.update(data)
        return self.digest()


class Null(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Take all."""
        return len(data)
