"""Whole age files: seal for recipients, open with identities, in memory or as streams.

Enters: plaintext and recipients, or an age file (binary or armored) and identities. Leaves: the other side.
Never: mixes post-quantum with classic recipients, holds more than a few chunks of a stream, returns a part of a file
that does not authenticate to its end (streams release authenticated chunks as they come: whoever writes them must drop
them when an error follows).
Spec: C2SP age.md.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from qnb.core.seal import hybrid, scrypt, stream
from qnb.core.seal.armor import dearmor, looks_armored, unarmored
from qnb.core.seal.header import MAGIC, MAX_HEADER, Header, derive, encode_header, malformed, parse_header
from qnb.core.seal.recipient import FILE_KEY_SIZE, Identity, Recipient
from qnb.errors import NoIdentityMatchError, RecipientError

Random = Callable[[int], bytes]
_COPY = 1 << 20


def is_age(head: bytes) -> bool:
    """Whether a file that begins with these bytes (a few hundred do) claims to be an age file, binary or armored."""
    return head.startswith(MAGIC) or looks_armored(head)


def seal(plaintext: bytes, recipients: Sequence[Recipient], *, random: Random = os.urandom) -> bytes:
    """Seal bytes for every one of `recipients`, as a binary age file.

    Raises:
        RecipientError: `no-recipients`, `mixed-recipients`, `too-many-recipients`, `recipient-weak`.
    """
    head, key = _make_header(recipients, random)
    # a BytesIO lends its buffer to be written in and then gives it as bytes: each copy would cost as much as the cipher
    sealed = io.BytesIO(bytes(len(head) + stream.sealed_size(len(plaintext))))
    with sealed.getbuffer() as room:
        room[: len(head)] = head
        stream.encrypt_into(key, plaintext, room[len(head) :])
    return sealed.getvalue()


def open_(ciphertext: bytes, identities: Iterable[Identity]) -> bytes:
    """Open an age file, binary or armored.

    Raises:
        SealError: `header-malformed`, `header-version`, `armor-malformed`.
        NoIdentityMatchError: `no-identity-match`.
        TamperedError: `header-mac`, `payload-tampered`.
    """
    binary = dearmor(ciphertext) if looks_armored(ciphertext[:256]) else ciphertext
    src = io.BytesIO(binary)
    key = _read_header(src, identities)
    sealed = memoryview(binary)[src.tell() :]
    opened = io.BytesIO(bytes(len(sealed)))
    with opened.getbuffer() as room:
        size = stream.decrypt_into(key, sealed, room)
    opened.truncate(size)
    return opened.getvalue()


def seal_stream(
    src: BinaryIO,
    dst: BinaryIO,
    recipients: Sequence[Recipient],
    progress: stream.Progress | None = None,
    *,
    random: Random = os.urandom,
) -> None:
    """Seal a stream to its end, in constant memory.

    Args:
        src: read with `readinto`, or `read`.
        dst: written with `write`; a binary age file.
        recipients: at least one; all post-quantum, all classic, or one passphrase.
        progress: called with the bytes of plaintext done so far.
        random: source of the file key and the nonce.

    Raises:
        RecipientError: as `seal`.
    """
    head, key = _make_header(recipients, random)
    dst.write(head)
    stream.encrypt(key, src, dst, progress)


def open_stream(
    src: BinaryIO, dst: BinaryIO, identities: Iterable[Identity], progress: stream.Progress | None = None
) -> None:
    """Open a stream to its end, in constant memory; armor is recognised when `src` can `peek` or `seek`.

    Raises:
        SealError, NoIdentityMatchError, TamperedError: as `open_`. After TamperedError `dst` holds authentic content
            that is not the whole: drop it.
    """
    binary = unarmored(src, _peek(src))
    stream.decrypt(_read_header(binary, identities), binary, dst, progress)


# --- rewrap ----------------------------------------------------------------------------------------------------------


def find_opener(src: BinaryIO, identities: Iterable[Identity]) -> Identity:
    """The first identity that opens the file at `src`, which is left after its header; the header's MAC is checked.

    Raises:
        SealError, NoIdentityMatchError, TamperedError: as `open_`; the payload is not read.
    """
    header = parse_header(unarmored(src, _peek(src)))
    identity, file_key = _match(header, identities)
    header.verify(file_key)
    return identity


def rewrap_stream(
    src: BinaryIO,
    dst: BinaryIO,
    identities: Iterable[Identity],
    recipients: Sequence[Recipient],
    progress: stream.Progress | None = None,
) -> None:
    """Give a file another header: the same file key, wrapped for `recipients` alone. The payload passes byte for byte.

    Whoever could open the file before and kept a copy, or the file key, can open that content as before; a new
    header takes nothing back. The payload is neither read nor authenticated.

    Args:
        src: a binary or armored age file; armor is recognised when `src` can `peek` or `seek`.
        dst: a binary age file.
        identities: one of them opens it.
        recipients: as `seal_stream`.
        progress: called with the bytes of payload passed so far.

    Raises:
        RecipientError: as `seal`.
        SealError, NoIdentityMatchError, TamperedError: as `open_`, on the header.
    """
    _check_recipients(recipients)
    binary = unarmored(src, _peek(src))
    header = parse_header(binary)
    file_key = _unwrap(header, identities)
    header.verify(file_key)
    dst.write(_encode_header(recipients, file_key))
    done = 0
    while data := binary.read(_COPY):
        dst.write(data)
        done += len(data)
        if progress is not None:
            progress(done)


def rewrap(ciphertext: bytes, identities: Iterable[Identity], recipients: Sequence[Recipient]) -> bytes:
    """As `rewrap_stream`, in memory; the result is binary.

    Raises:
        RecipientError, SealError, NoIdentityMatchError, TamperedError: as there.
    """
    rewrapped = io.BytesIO()
    rewrap_stream(io.BytesIO(ciphertext), rewrapped, identities, recipients)
    return rewrapped.getvalue()


def _check_recipients(recipients: Sequence[Recipient]) -> None:
    kinds = {recipient.kind for recipient in recipients}
    if not kinds:
        raise RecipientError(
            "no-recipients", "there is no recipient to seal for", "name one with `--to`, or in the policy"
        )
    if len(kinds) > 1 or (scrypt.KIND in kinds and len(recipients) > 1):
        if scrypt.KIND in kinds:
            raise RecipientError("mixed-recipients", "a passphrase seals alone, without any other recipient")
        raise RecipientError(
            "mixed-recipients",
            "post-quantum and classic recipients do not mix: the file would be as weak as the classic ones",
            f"ask the holders of the classic recipients for one that begins with `{hybrid.RECIPIENT_HRP}1`",
        )


def _make_header(recipients: Sequence[Recipient], random: Random) -> tuple[bytes, bytes]:
    """Header and nonce as they stand in the file, and the payload key."""
    _check_recipients(recipients)
    file_key = random(FILE_KEY_SIZE)
    header = _encode_header(recipients, file_key)
    nonce = random(stream.NONCE_SIZE)
    return header + nonce, derive(file_key, nonce, b"payload")


def _encode_header(recipients: Sequence[Recipient], file_key: bytes) -> bytes:
    header = encode_header([recipient.wrap(file_key) for recipient in recipients], file_key)
    if len(header) > MAX_HEADER:
        raise RecipientError("too-many-recipients", f"{len(recipients)} recipients are more than one file can name")
    return header


def _read_header(src: BinaryIO, identities: Iterable[Identity]) -> bytes:
    """Read and verify header and nonce; the payload key."""
    header = parse_header(src)
    file_key = _unwrap(header, identities)
    header.verify(file_key)
    nonce = src.read(stream.NONCE_SIZE)
    if len(nonce) != stream.NONCE_SIZE:
        raise malformed("the file ends before its content")
    return derive(file_key, nonce, b"payload")


def _unwrap(header: Header, identities: Iterable[Identity]) -> bytes:
    return _match(header, identities)[1]


def _match(header: Header, identities: Iterable[Identity]) -> tuple[Identity, bytes]:
    """The first identity that opens one of the stanzas, and the file key."""
    if len(header.stanzas) > 1 and any(stanza.args[0] == scrypt.KIND for stanza in header.stanzas):
        raise malformed("a passphrase is not the only recipient")
    for identity in identities:
        for stanza in header.stanzas:
            file_key = identity.unwrap(stanza)
            if file_key is not None:
                return identity, file_key
    if header.stanzas[0].args[0] == scrypt.KIND:
        raise NoIdentityMatchError("no-identity-match", "the passphrase does not open this file")
    count = len(header.stanzas)
    raise NoIdentityMatchError(
        "no-identity-match",
        f"none of the identities given opens this file; it is sealed for {count} recipient{'s' if count != 1 else ''}",
        "give another identity with `-i`, or ask somebody who can open it to share it with you",
    )


def _peek(src: BinaryIO) -> bytes:
    peek = getattr(src, "peek", None)
    if peek is not None:
        head: bytes = peek(256)
        return head
    if not src.seekable():
        return b""
    position = src.tell()
    head = src.read(256)
    src.seek(position)
    return head
