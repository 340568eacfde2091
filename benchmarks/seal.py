"""Sealing and opening against raw ChaCha20-Poly1305: 1 KiB, 1 MiB, 256 MiB as a stream, and the memory of 1 GiB.

Enters: random bytes in memory. Leaves: rows (see README.md). Never: the disk, whose speed is not ours.
"""

from __future__ import annotations

import importlib.util
import io
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from rows import Row, median_of, medians, report

from qnb.core.seal import generate_identity, open_, open_stream, seal, seal_stream

MIB = 1 << 20
STREAMED = 256 * MIB
MEMORY_STREAMED = 1024 * MIB
IDENTITY = generate_identity()
RECIPIENTS = [IDENTITY.recipient]
NONCE = bytes(12)


class Discard(io.RawIOBase):
    """Counts what is written to it."""

    size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object, /) -> int:
        """Take all."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        self.size += size
        return size


class Repeat(io.RawIOBase):
    """A source of `size` bytes, the same block over and over."""

    def __init__(self, size: int, block: bytes) -> None:
        self._left, self._block = size, memoryview(block)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Copy a block, as a file's page cache would."""
        got = min(len(buffer), self._left, len(self._block))
        buffer[:got] = self._block[:got]
        self._left -= got
        return got


def raw(data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """Encryption and decryption of `data` in one call each, into buffers that are there already."""
    cipher = ChaCha20Poly1305(bytes(32))
    sealed, opened = bytearray(len(data) + 16), bytearray(len(data))
    cipher.encrypt_into(NONCE, data, None, sealed)
    return (
        lambda: cipher.encrypt_into(NONCE, data, None, sealed),
        lambda: cipher.decrypt_into(NONCE, sealed, None, opened),
    )


def in_memory(size: int, repeat: int) -> dict[str, float]:
    """Medians in seconds of raw and ours, and of pyrage with its X25519 where it is installed."""
    data = os.urandom(size)
    encrypt, decrypt = raw(data)
    sealed = seal(data, RECIPIENTS)
    sides: dict[str, Callable[[], object]] = {
        "raw seal": encrypt,
        "raw open": decrypt,
        "seal": lambda: seal(data, RECIPIENTS),
        "open": lambda: open_(sealed, [IDENTITY]),
    }
    if importlib.util.find_spec("pyrage") is not None:
        from pyrage import decrypt as rage_decrypt
        from pyrage import encrypt as rage_encrypt
        from pyrage import x25519

        identity = x25519.Identity.generate()
        theirs = rage_encrypt(data, [identity.to_public()])
        sides["pyrage seal"] = lambda: rage_encrypt(data, [identity.to_public()])
        sides["pyrage open"] = lambda: rage_decrypt(theirs, [identity])
    return medians(median_of(sides, repeat, warm_up=max(2, repeat // 10)))


def streamed(repeat: int) -> dict[str, float]:
    """Medians in seconds of 256 MiB in memory: raw in one call, ours read and written as streams."""
    plain, sealed = io.BytesIO(os.urandom(MIB) * (STREAMED // MIB)), io.BytesIO()
    seal_stream(plain, sealed, RECIPIENTS)
    encrypt, decrypt = raw(plain.getvalue())

    def sealing() -> None:
        plain.seek(0)
        seal_stream(plain, Discard(), RECIPIENTS)  # type: ignore[arg-type]

    def opening() -> None:
        sealed.seek(0)
        open_stream(sealed, Discard(), [IDENTITY])  # type: ignore[arg-type]

    sides = {"raw seal": encrypt, "raw open": decrypt, "seal": sealing, "open": opening}
    return medians(median_of(sides, repeat))


def peak_of_a_gigabyte() -> float | None:
    """MiB by which sealing and opening a stream of 1 GiB raise a fresh process's peak; None where it is not told."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak)


def _peak() -> float | None:
    before = _high_water()
    block = os.urandom(MIB)
    seal_stream(Repeat(MEMORY_STREAMED, block), Discard(), RECIPIENTS)  # type: ignore[arg-type]
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink:
        thread = threading.Thread(target=seal_stream, args=(Repeat(MEMORY_STREAMED, block), sink, RECIPIENTS))
        thread.start()
        with os.fdopen(reader, "rb") as src:
            opening = threading.Thread(target=open_stream, args=(src, Discard(), [IDENTITY]))
            opening.start()
            thread.join()
            sink.close()
            opening.join()
    after = _high_water()
    return None if before is None or after is None else after - before


def _high_water() -> float | None:
    # not getrusage: its maximum is the parent's when the process was forked from a large one
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def main() -> None:
    """Measure and print."""
    rows: list[Row] = []
    small, large, stream = in_memory(1024, 400), in_memory(MIB, 100), streamed(5)
    for side in ("seal", "open"):
        note = f"raw {small[f'raw {side}'] * 1e6:.2g} us; ML-KEM-768 and X25519 are nearly all of it"
        rows.append(Row(f"{side} 1 KiB", small[side] * 1e6, "us", 150, note))
    for name, target, times in (("1 MiB", 1.6, large), ("256 MiB streaming", 1.25, stream)):
        for side in ("seal", "open"):
            base = times[f"raw {side}"]
            note = f"raw {base * 1e3:.3g} ms, ours {times[side] * 1e3:.3g} ms"
            rows.append(Row(f"{side} {name} against raw ChaCha20-Poly1305", times[side] / base, "x", target, note))
    for name, times in (("1 KiB", small), ("1 MiB", large)):
        for side in ("seal", "open"):
            theirs = times.get(f"pyrage {side}")
            note = "X25519 only" if theirs else "pyrage is not installed"
            ratio = times[side] / theirs if theirs else None
            rows.append(Row(f"{side} {name} against pyrage", ratio, "x", note=note))
    rows.append(
        Row(
            "peak memory of sealing and opening 1 GiB streams", peak_of_a_gigabyte(), "MiB", 64, "above the interpreter"
        )
    )
    report(rows)


if __name__ == "__main__":
    main()
