"""STREAM: the age payload, ChaCha20-Poly1305 over chunks of 64 KiB.

Enters: a 32-byte payload key and a binary stream. Leaves: the other side of the cipher, chunk by chunk.
Never: releases a byte that was not authenticated, reads more than a few chunks ahead, or takes the end of a stream for
its last chunk: a stream that was cut off is refused.
Spec: C2SP age.md, "Payload"; STREAM: https://eprint.iacr.org/2015/189.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from qnb.errors import SealError, TamperedError

CHUNK = 64 << 10
TAG = 16
NONCE_SIZE = 16
_SEALED_CHUNK = CHUNK + TAG
_BATCH = 4  # chunks read at once: few system calls, and the buffers stay in the processor's cache

Progress = Callable[[int], None]
"""Called with the bytes of plaintext done so far."""


def sealed_size(plaintext: int) -> int:
    """Payload bytes after the nonce for so many bytes of plaintext."""
    return plaintext + TAG * max(1, -(-plaintext // CHUNK))


def encrypt(key: bytes, src: BinaryIO, dst: BinaryIO, progress: Progress | None = None) -> None:
    """Encrypt `src` to its end."""
    cipher = ChaCha20Poly1305(key)
    room = memoryview(bytearray(_BATCH * CHUNK))
    sealed = memoryview(bytearray(_BATCH * _SEALED_CHUNK))
    index = done = have = 0
    while True:
        have, ahead = _fill(src, room, have)
        size = _encrypt_chunks(cipher, index, room[:have], sealed, last=not ahead)
        dst.write(sealed[:size])
        index += _BATCH
        done += have
        if progress is not None:
            progress(done)
        if not ahead:
            return
        room[:1] = ahead
        have = 1


def encrypt_into(key: bytes, plaintext: bytes, sealed: memoryview) -> None:
    """As `encrypt`, in memory; `sealed` has `sealed_size` bytes."""
    _encrypt_chunks(ChaCha20Poly1305(key), 0, memoryview(plaintext), sealed, last=True)


def decrypt(key: bytes, src: BinaryIO, dst: BinaryIO, progress: Progress | None = None) -> None:
    """Decrypt `src` to its end. What reached `dst` before an error is authentic, but not the whole.

    Raises:
        TamperedError: `payload-tampered`.
    """
    cipher = ChaCha20Poly1305(key)
    room = memoryview(bytearray(_BATCH * _SEALED_CHUNK))
    opened = memoryview(bytearray(_BATCH * CHUNK))
    index = done = have = 0
    while True:
        have, ahead = _fill(src, room, have)
        size, failure = _decrypt_chunks(cipher, index, room[:have], opened, last=not ahead)
        dst.write(opened[:size])
        if failure is not None:
            raise failure
        index += _BATCH
        done += size
        if progress is not None:
            progress(done)
        if not ahead:
            return
        room[:1] = ahead
        have = 1


def decrypt_into(key: bytes, sealed: memoryview, opened: memoryview) -> int:
    """As `decrypt`, in memory; `opened` has as many bytes as `sealed`.

    Returns:
        The bytes of plaintext.

    Raises:
        TamperedError: `payload-tampered`; what is in `opened` then is not to be used.
    """
    size, failure = _decrypt_chunks(ChaCha20Poly1305(key), 0, sealed, opened, last=True)
    if failure is not None:
        raise failure
    return size


def _encrypt_chunks(cipher: ChaCha20Poly1305, index: int, data: memoryview, sealed: memoryview, *, last: bool) -> int:
    """Encrypt `data`, which begins at chunk `index` and, if `last`, ends the payload; return the bytes written."""
    position = 0
    # the final chunk is apart: it may be shorter, and its nonce says that it is the last
    end = max(len(data) - 1, 0) // CHUNK * CHUNK if last else len(data)
    for start in range(0, end, CHUNK):
        room = sealed[position : position + _SEALED_CHUNK]
        position += cipher.encrypt_into(_nonce(index, final=0), data[start : start + CHUNK], None, room)
        index += 1
    if last:
        room = sealed[position : position + len(data) - end + TAG]
        position += cipher.encrypt_into(_nonce(index, final=1), data[end:], None, room)
    return position


def _decrypt_chunks(
    cipher: ChaCha20Poly1305, index: int, data: memoryview, opened: memoryview, *, last: bool
) -> tuple[int, TamperedError | None]:
    """Inverse of `_encrypt_chunks`; what was written is authentic also when there is an error to raise."""
    size, position = len(data), 0
    for start in range(0, max(size, 1), _SEALED_CHUNK):
        chunk = data[start : start + _SEALED_CHUNK]
        final = last and start + _SEALED_CHUNK >= size
        length = len(chunk) - TAG
        if length < 0 or (length == 0 and index > 0):  # an empty chunk is the whole payload or nothing
            return position, _tampered("was altered", index)
        room = opened[position : position + length]
        try:
            position += cipher.decrypt_into(_nonce(index, final), chunk, None, room)
        except InvalidTag:
            return _explain_failure(cipher, index, chunk, room, position, final=final)
        index += 1
    return position, None


def _explain_failure(
    cipher: ChaCha20Poly1305, index: int, chunk: memoryview, room: memoryview, position: int, *, final: bool
) -> tuple[int, TamperedError]:
    """A whole chunk that authenticates as what it is not here, final or not, says how the payload was altered."""
    if len(room) == CHUNK:
        try:
            position += cipher.decrypt_into(_nonce(index, not final), chunk, None, room)
        except InvalidTag:
            pass
        else:  # authentic, so released like the chunks before it
            return position, _tampered("was cut off" if final else "has something appended to it", index)
    return position, _tampered("was altered", index)


def _tampered(what: str, index: int) -> TamperedError:
    hint = "fetch the file again from where it was sealed"
    return TamperedError("payload-tampered", f"the sealed content {what} at chunk {index}", hint)


def _nonce(index: int, final: int) -> bytes:
    return (index << 8 | final).to_bytes(12, "big")


def _fill(src: BinaryIO, room: memoryview, have: int) -> tuple[int, bytes]:
    """Fill `room` from `have` on.

    Returns:
        The bytes in `room`, and one byte further, empty at the end of the stream: only with it is it known whether the
        last chunk in `room` is the final one.
    """
    readinto = getattr(src, "readinto", None)
    while have < len(room):
        if readinto is not None:
            got = readinto(room[have:])
        else:
            data = src.read(len(room) - have)
            got = None if data is None else len(data)
            if data:
                room[have : have + len(data)] = data
        if got is None:
            raise SealError("source-not-ready", "the input does not block until it has data")
        if not got:
            return have, b""
        have += got
    ahead = src.read(1)
    if ahead is None:
        raise SealError("source-not-ready", "the input does not block until it has data")
    return have, ahead
