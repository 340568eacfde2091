"""The age v1 header: a version line, recipient stanzas, a MAC.

Enters: a binary stream, or stanzas and a file key. Leaves: a `Header`, or its bytes.
Never: accepts two spellings of one header: base64 is canonical, lines have one width, nothing may be added.
Spec: C2SP age.md, "Header" (age-encryption.org/v1).
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from qnb.errors import SealError, TamperedError

MAGIC = b"age-encryption.org/"
_VERSION_LINE = b"age-encryption.org/v1\n"
_COLUMNS = 64
_ARG_LINE = re.compile(rb"-> [!-~]+(?: [!-~]+)*\n")
_ZERO_SALT = bytes(32)

MAX_HEADER = 4 << 20
"""Bytes of header that are read or written; about 2,600 post-quantum recipients."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """One wrapping of the file key: arguments (the first is the type) and body."""

    args: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """The stanza's lines; the body wrapped at 64 columns and ended by a shorter line."""
        body = encode_base64(self.body)
        lines = [body[i : i + _COLUMNS] for i in range(0, len(body) + 1, _COLUMNS)]
        return b"-> " + " ".join(self.args).encode("ascii") + b"\n" + b"\n".join(lines) + b"\n"


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header.

    Attributes:
        stanzas: in file order.
        mac: the 32 bytes of the last line.
        covered: the bytes that the MAC covers, up to and including `---`.
    """

    stanzas: tuple[Stanza, ...]
    mac: bytes
    covered: bytes

    def verify(self, file_key: bytes) -> None:
        """Check the MAC.

        Raises:
            TamperedError: `header-mac`.
        """
        if not hmac.compare_digest(_mac(file_key, self.covered), self.mac):
            raise TamperedError(
                "header-mac", "the header of the sealed file was altered: its authentication code is wrong"
            )


def derive(key_material: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 to 32 bytes (RFC 5869). An empty salt is 32 zero bytes."""
    # two calls of the standard library's HMAC cost what one HKDF object does, and need no object
    return hmac.digest(hmac.digest(salt or _ZERO_SALT, key_material, "sha256"), info + b"\x01", "sha256")


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(derive(file_key, b"", b"header"), covered, "sha256")


def encode_base64(data: bytes) -> bytes:
    """Canonical base64 without padding (RFC 4648 section 4)."""
    return b64encode(data).rstrip(b"=")


def decode_base64(text: bytes) -> bytes:
    """Strict inverse of `encode_base64`.

    Raises:
        SealError: `header-malformed`.
    """
    try:
        data = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        data = None
    # comparing with the only canonical spelling covers padding, stray characters and non-zero trailing bits at once
    if data is None or encode_base64(data) != text:
        raise malformed("base64 that is not canonical")
    return data


def malformed(what: str) -> SealError:
    """The error for a header that is not one."""
    return SealError("header-malformed", f"the header of the sealed file does not parse: {what}")


def encode_header(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """The header's bytes, MAC included."""
    covered = _VERSION_LINE + b"".join(stanza.encode() for stanza in stanzas) + b"---"
    return covered + b" " + encode_base64(_mac(file_key, covered)) + b"\n"


def parse_header(src: BinaryIO) -> Header:
    """Read a header and leave `src` at the first byte of the payload.

    Raises:
        SealError: `header-malformed`, or `header-version` for a later version of the format.
    """
    first = src.readline(1024)
    if first != _VERSION_LINE:
        if first.startswith(MAGIC) and first.endswith(b"\n") and not first.endswith(b"\r\n"):
            raise SealError("header-version", "the sealed file is of a later version of the age format", "update qnb")
        raise malformed("this is not an age file")
    lines = [first]
    stanzas: list[Stanza] = []
    room = MAX_HEADER
    while True:
        line = src.readline(max(room, 64))
        if line.startswith(b"---"):
            break
        if _ARG_LINE.fullmatch(line) is None:
            raise malformed("a recipient line is malformed, or there are too many")
        body = _read_body(src)
        lines += [line, *body]
        room -= len(line) + sum(map(len, body))
        args = tuple(line[3:-1].decode("ascii").split(" "))
        stanzas.append(Stanza(args, decode_base64(b"".join(part[:-1] for part in body))))
    if not stanzas:
        raise malformed("it names no recipient")
    if len(line) != 48 or not line.startswith(b"--- ") or not line.endswith(b"\n"):
        raise malformed("the last line is malformed")
    return Header(tuple(stanzas), decode_base64(line[4:-1]), b"".join(lines) + b"---")


def _read_body(src: BinaryIO) -> list[bytes]:
    """The lines of one body, line feeds included: full ones, then one that is shorter."""
    lines: list[bytes] = []
    while len(lines) * _COLUMNS < MAX_HEADER:
        line = src.readline(_COLUMNS + 2)
        if not line.endswith(b"\n") or len(line) > _COLUMNS + 1:
            break
        lines.append(line)
        if len(line) <= _COLUMNS:
            return lines
    raise malformed("the lines of a recipient's body are malformed")
