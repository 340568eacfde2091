from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable

import pytest

from qnb.store.streams import HashingReader, HashingWriter, Null

BLOCK = 256 << 10
CONTENT = bytes(range(251)) * 8000  # about 2 MB
SIZES = [1659, BLOCK, 100, BLOCK, BLOCK, BLOCK, BLOCK, 17, BLOCK, 0, BLOCK, 5]  # as a header, batches and a rest


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("qnb-digest")]


def test_writer_given_blocks_of_any_size_digests_them_in_order() -> None:
    """Long blocks are digested in another thread, short ones too when they come after long ones: the order holds."""
    passed, expected, at = io.BytesIO(), hashlib.sha256(), 0
    writer = HashingWriter(passed)
    for size in SIZES:
        writer.write(CONTENT[at : at + size])
        expected.update(CONTENT[at : at + size])
        at += size
    assert writer.digest() == expected.digest()
    assert passed.getvalue() == CONTENT[:at]


def test_writer_whose_caller_reuses_its_memory_digests_what_was_written() -> None:
    """Sealing writes from one buffer, over and over: what was handed over is not what stands there later."""
    buffer = bytearray(BLOCK)
    writer, expected = HashingWriter(io.BytesIO()), hashlib.sha256()
    for n in range(20):
        buffer[:] = bytes([n]) * BLOCK
        writer.write(memoryview(buffer))
        expected.update(buffer)
        buffer[:] = bytes(BLOCK)
    assert writer.digest() == expected.digest()


@pytest.mark.parametrize("read", [0, 1000, BLOCK + 1, len(CONTENT)])
def test_reader_drained_digests_the_whole(read: int) -> None:
    """However much was read before, and into memory that is used again: the digest is that of the whole."""
    reader = HashingReader(io.BufferedReader(io.BytesIO(CONTENT), 64))
    buffer, got = bytearray(BLOCK), 0
    while got < read:
        got += reader.readinto(memoryview(buffer)[: min(BLOCK, read - got)])
    assert reader.drain() == hashlib.sha256(CONTENT).digest()


def digest_in_part() -> HashingWriter:
    writer = HashingWriter(Null())
    for _ in range(3):
        writer.write(CONTENT[:BLOCK])
    return writer


@pytest.mark.parametrize("end", [lambda writer: writer.digest(), lambda writer: None], ids=["asked", "given up"])
def test_writer_gone_leaves_no_thread(end: Callable[[HashingWriter], object]) -> None:
    """Whether its digest was asked for or sealing broke off: its thread ends with it."""
    writer = digest_in_part()
    running = threads()
    assert len(running) == 1
    end(writer)
    del writer
    running[0].join(timeout=10)
    assert threads() == []


def test_short_content_needs_no_thread() -> None:
    """A thread would cost more than it saves."""
    writer = HashingWriter(Null())
    writer.write(CONTENT[:5000])
    assert threads() == []
    assert writer.digest() == hashlib.sha256(CONTENT[:5000]).digest()
