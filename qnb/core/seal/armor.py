"""ASCII armor: strict PEM around an age file, for copy and paste.

Enters: an age file, or its armored text. Leaves: the other one.
Never: accepts a second spelling: lines of 64 columns, padded canonical base64, one line ending throughout is not asked
for (LF and CRLF both do), whitespace only before and after the block.
Spec: C2SP age.md, "ASCII armor"; RFC 7468 section 3, figure 3.
"""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from typing import BinaryIO, cast

from qnb.errors import SealError

BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS = 64
_WHITESPACE = b" \t\r\n"
_MAX_WHITESPACE = 1 << 16


def armor(data: bytes) -> bytes:
    """The armored text of an age file, ended by a line feed."""
    text = b64encode(data)
    lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
    return b"\n".join([BEGIN, *lines, _END, b""])


def dearmor(text: bytes) -> bytes:
    """The age file in an armored text.

    Raises:
        SealError: `armor-malformed`.
    """
    return ArmorReader(io.BytesIO(text)).read()


class ArmorReader(io.BufferedIOBase):
    """Reads the age file inside an armored stream, line by line.

    Raises:
        SealError: `armor-malformed`, from the constructor and from every read.
    """

    def __init__(self, src: BinaryIO) -> None:
        self._src = src
        self._ready = b""
        self._position = 0
        self._done = False
        self._last = False  # a line shorter than 64 columns was seen
        first, skipped = src.readline(_MAX_WHITESPACE), 0
        while first and not first.strip(_WHITESPACE):
            skipped += len(first)
            if skipped > _MAX_WHITESPACE:
                break
            first = src.readline(_MAX_WHITESPACE)
        if _strip_line(first.lstrip(_WHITESPACE)) != BEGIN:
            raise _malformed("the first line is not `-----BEGIN AGE ENCRYPTED FILE-----`")

    def readable(self) -> bool:
        """Always: that is what it is for."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; everything when `size` is negative or None."""
        wanted = -1 if size is None else size
        parts: list[bytes] = []
        got = 0
        while wanted < 0 or got < wanted:
            if self._position == len(self._ready) and not self._decode():
                break
            stop = len(self._ready) if wanted < 0 else min(len(self._ready), self._position + wanted - got)
            parts.append(self._ready[self._position : stop])
            got += stop - self._position
            self._position = stop
        return b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """As `read`."""
        return self.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line of the decoded bytes, at most `size` of them."""
        limit = -1 if size is None else size
        parts: list[bytes] = []
        got = 0
        while limit < 0 or got < limit:
            if self._position == len(self._ready) and not self._decode():
                break
            found = self._ready.find(b"\n", self._position)
            stop = len(self._ready) if found < 0 else found + 1
            if limit >= 0:
                stop = min(stop, self._position + limit - got)
            parts.append(self._ready[self._position : stop])
            got += stop - self._position
            self._position = stop
            if parts[-1].endswith(b"\n"):
                break
        return b"".join(parts)

    def _decode(self) -> bool:
        """Decode up to 1024 further lines; False at the end of the block."""
        lines: list[bytes] = []
        while not self._done and len(lines) < 1024:
            line = _strip_line(self._src.readline(_COLUMNS + 3))
            if line == _END:
                self._finish()
                break
            if self._last or not 0 < len(line) <= _COLUMNS or len(line) % 4:
                raise _malformed("a line is too long, too short or not ended")
            self._last = len(line) < _COLUMNS or line.endswith(b"=")
            lines.append(line)
        text = b"".join(lines)
        try:
            self._ready, self._position = b64decode(text, validate=True), 0
        except ValueError:
            raise _malformed("a line is not base64") from None
        if b64encode(self._ready) != text:
            raise _malformed("a line is not canonical base64")
        return bool(lines)

    def _finish(self) -> None:
        self._done = True
        rest = self._src.read(_MAX_WHITESPACE + 1)
        if rest.strip(_WHITESPACE) or len(rest) > _MAX_WHITESPACE:
            raise _malformed("something follows the last line")


def unarmored(src: BinaryIO, head: bytes) -> BinaryIO:
    """`src`, or a reader of the file inside it when `head`, its first bytes, look like armor."""
    return cast("BinaryIO", ArmorReader(src)) if looks_armored(head) else src


def looks_armored(head: bytes) -> bool:
    """Whether the first bytes of a file, a few hundred, are those of an armored one."""
    return head.lstrip(_WHITESPACE).startswith(BEGIN)


def _strip_line(line: bytes) -> bytes:
    """Without its LF or CRLF. A line that ends otherwise keeps what it ends with, and is refused for it."""
    return line[:-2] if line.endswith(b"\r\n") else line[:-1] if line.endswith(b"\n") else line


def _malformed(what: str) -> SealError:
    return SealError("armor-malformed", f"the armored text does not parse: {what}")
