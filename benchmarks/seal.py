"""Sealing and opening against raw ChaCha20-Poly1305: 1 KiB, 1 MiB, 256 MiB as a stream, and the memory of 1 GiB.

Enters: random bytes in memory. Leaves: rows (see README.md), and beside them the parts that no code of ours can make
cheaper, a sealed output and a sealed file as a whole, and pyrage. Never: the disk, whose speed is not ours.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from rows import ROOT, Row, median_of, medians, report

from qnb.core.card import render_html, render_text
from qnb.core.seal import generate_identity, open_, open_stream, seal, seal_stream
from qnb.core.seal.output import OutputHeader, pack_output, sealed_bundle
from qnb.core.seal.stream import CHUNK
from qnb.store.streams import HashingReader, HashingWriter

PEER = "pyrage==1.4.0"
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


def load_pyrage() -> Any:
    """pyrage, from a folder of its own below `.bench`, filled on the first run; None if it cannot be installed."""
    folder = ROOT / ".bench" / "pyrage"
    if not folder.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PEER]
        subprocess.run(install, stdout=sys.stderr, stderr=sys.stderr, check=False)
    sys.path.append(str(folder))
    try:
        return importlib.import_module("pyrage")
    except ImportError:
        return None


def parts(data: bytes) -> dict[str, Callable[[], object]]:
    """What sealing is made of below our code: HPKE, the cipher in chunks and not in one call, memory for the result.

    Memory that the process has not touched yet costs a page fault for every 4 KiB; whether it has depends on what was
    freed before.
    """
    cipher, chunk = ChaCha20Poly1305(bytes(32)), data[:CHUNK]
    sealed = bytearray(len(chunk) + 16)

    def chunked() -> None:
        for _ in range(0, len(data), CHUNK):
            cipher.encrypt_into(NONCE, chunk, None, sealed)

    # the private handle: what wrapping adds to it is ours
    from qnb.core.seal.hybrid import _INFO, _SUITE

    key = IDENTITY.recipient._key  # type: ignore[attr-defined]  # noqa: SLF001
    return {
        "HPKE": lambda: _SUITE.encrypt(bytes(16), key, _INFO),
        "raw in chunks": chunked,
        "memory": lambda: bytearray(len(data)),
    }


def in_memory(size: int, repeat: int) -> dict[str, float]:
    """Medians in seconds of raw, its parts and ours."""
    data = os.urandom(size)
    encrypt, decrypt = raw(data)
    sealed = seal(data, RECIPIENTS)
    sides: dict[str, Callable[[], object]] = {
        "raw seal": encrypt,
        "raw open": decrypt,
        "seal": lambda: seal(data, RECIPIENTS),
        "open": lambda: open_(sealed, [IDENTITY]),
        **parts(data),
    }
    return medians(median_of(sides, repeat, warm_up=max(2, repeat // 10)))


def of_peer(pyrage: Any, size: int, repeat: int) -> dict[str, float]:
    """Medians in seconds of raw and of pyrage with its X25519: in memory up to 1 MiB, as streams beyond.

    Apart from ours, though in the same run: what it frees goes back to the system, and ours would have to fetch it.
    """
    data = os.urandom(min(size, MIB)) * (size // min(size, MIB))
    encrypt, decrypt = raw(data)
    identity = pyrage.x25519.Identity.generate()
    recipients = [identity.to_public()]
    sealed = pyrage.encrypt(data, recipients)
    sides: dict[str, Callable[[], object]] = {"raw seal": encrypt, "raw open": decrypt}
    if size <= MIB:
        sides["seal"] = lambda: pyrage.encrypt(data, recipients)
        sides["open"] = lambda: pyrage.decrypt(sealed, [identity])
    else:
        sides["seal"] = lambda: pyrage.encrypt_io(io.BytesIO(data), Discard(), recipients)
        sides["open"] = lambda: pyrage.decrypt_io(io.BytesIO(sealed), Discard(), [identity])
    return medians(median_of(sides, repeat))


def streamed(repeat: int) -> dict[str, float]:
    """Medians in seconds of 256 MiB in memory: raw in one call, ours read and written as streams.

    `digested` is sealing as `qnb seal` does it: with SHA-256 of what is written.
    """
    plain, sealed = io.BytesIO(os.urandom(MIB) * (STREAMED // MIB)), io.BytesIO()
    seal_stream(plain, sealed, RECIPIENTS)
    encrypt, decrypt = raw(plain.getvalue())

    def sealing() -> None:
        plain.seek(0)
        seal_stream(plain, Discard(), RECIPIENTS)  # type: ignore[arg-type]

    def opening() -> None:
        sealed.seek(0)
        open_stream(sealed, Discard(), [IDENTITY])  # type: ignore[arg-type]

    def digesting() -> None:
        plain.seek(0)
        hashing = HashingWriter(Discard())  # type: ignore[arg-type]
        seal_stream(plain, hashing, RECIPIENTS)  # type: ignore[arg-type]
        hashing.digest()

    content = plain.getbuffer()
    sides: dict[str, Callable[[], object]] = {
        "raw seal": encrypt,
        "raw open": decrypt,
        "seal": sealing,
        "open": opening,
        "digested": digesting,
        "sha256": lambda: hashlib.sha256(content).digest(),
    }
    return medians(median_of(sides, repeat))


def sealed_output(repeat: int) -> dict[str, float]:
    """Medians in seconds of what a cell with a picture of 1 MiB adds to its message, the log left out."""
    picture = b64encode(os.urandom(3 * MIB // 4)).decode("ascii")
    outputs = [{"output_type": "display_data", "data": {"image/png": picture}, "metadata": {}}]
    header = OutputHeader(1, "session", 1, "running", None, "restricted", None, None, None)

    def whole() -> None:
        ciphertext = seal(pack_output(header, outputs), RECIPIENTS)
        digest = hashlib.sha256(ciphertext).digest()
        bundle = sealed_bundle(header, ciphertext, RECIPIENTS, digest=digest)
        render_html(bundle)
        render_text(bundle)

    return medians(median_of({"json": lambda: json.dumps(outputs), "whole": whole}, repeat, warm_up=5))


def peak_of_a_gigabyte() -> float | None:
    """MiB by which sealing, opening and digesting a stream of 1 GiB raise a fresh process's peak; None if not told."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak)


def _peak() -> float | None:
    before = _high_water()
    block = os.urandom(MIB)
    hashing = HashingWriter(Discard())  # type: ignore[arg-type]
    seal_stream(Repeat(MEMORY_STREAMED, block), hashing, RECIPIENTS)  # type: ignore[arg-type]
    hashing.digest()
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink:
        thread = threading.Thread(target=seal_stream, args=(Repeat(MEMORY_STREAMED, block), sink, RECIPIENTS))
        thread.start()
        with os.fdopen(reader, "rb") as src:
            digested = io.BufferedReader(HashingReader(src), CHUNK)
            opening = threading.Thread(target=open_stream, args=(digested, Discard(), [IDENTITY]))
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


def rows_of(name: str, times: dict[str, float], target: float) -> list[Row]:
    """Ours against raw, sealing and opening."""
    rows = []
    for side in ("seal", "open"):
        base = times[f"raw {side}"]
        note = f"raw {base * 1e3:.3g} ms, ours {times[side] * 1e3:.3g} ms"
        if side == "seal" and "HPKE" in times:
            floor = {part: times[part] / base for part in ("raw in chunks", "HPKE", "memory")}
            note += f"; of it {', '.join(f'{part} {share:.2f}' for part, share in floor.items())}"
        rows.append(Row(f"{side} {name} against raw ChaCha20-Poly1305", times[side] / base, "x", target, note))
    return rows


def main() -> None:
    """Measure and print."""
    small, large, stream = in_memory(1024, 400), in_memory(MIB, 200), streamed(7)
    rows: list[Row] = []
    for side in ("seal", "open"):
        note = f"raw {small[f'raw {side}'] * 1e6:.2g} us; HPKE alone {small['HPKE'] * 1e6:.3g} us to seal"
        rows.append(Row(f"{side} 1 KiB", small[side] * 1e6, "us", 150, note))
    rows += rows_of("1 MiB", large, 1.6)
    rows += rows_of("256 MiB streaming", stream, 1.25)
    peak = peak_of_a_gigabyte()
    note = "above the interpreter, in a process of its own, digests included"
    rows.append(Row("peak memory of sealing and opening 1 GiB streams", peak, "MiB", 64, note))
    pyrage = load_pyrage()
    for name, size, repeat in (("1 KiB", 1024, 400), ("1 MiB", MIB, 100), ("256 MiB streaming", STREAMED, 3)):
        times = {} if pyrage is None else of_peer(pyrage, size, repeat)
        for side in ("seal", "open"):
            what = f"... {side} {name}, pyrage against raw"
            if times:
                note = f"{PEER} {times[side] * 1e3:.3g} ms, with X25519 alone"
                rows.append(Row(what, times[side] / times[f"raw {side}"], "x", note=note))
            else:
                rows.append(Row(what, None, "x", note=f"`{PEER}` could not be installed here"))
    both = (stream["seal"] + stream["sha256"]) * 1e3
    note = f"{stream['digested'] * 1e3:.3g} ms; sealing and then SHA-256, one after the other, {both:.3g} ms"
    ratio = stream["digested"] / stream["raw seal"]
    rows.append(Row("... seal 256 MiB and digest it, as `qnb seal` does", ratio, "x", note=note))
    cell = sealed_output(60)
    note = f"packed, sealed, digested, in base64, with its cards; of it the output as JSON {cell['json'] * 1e3:.3g} ms"
    rows.append(Row("... sealed output with a picture of 1 MiB", cell["whole"] * 1e3, "ms", note=note))
    report(rows)


if __name__ == "__main__":
    main()
