"""The C2SP/CCTV age vectors: every one, with the failure class that it expects."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from qnb.core.seal import Identity, PassphraseIdentity, dearmor, open_, open_stream, parse_identity
from qnb.core.seal.armor import looks_armored
from qnb.errors import NoIdentityMatchError, QnbError, SealError, TamperedError

_VECTOR = re.compile(r'var (\w+)_default = __toBinary\("([^"]*)"\)')
_COUNT = 143
# what the vectors call a failure -> how ours is recognised
_FAILURES: dict[str, tuple[type[QnbError], tuple[str, ...]]] = {
    "no match": (NoIdentityMatchError, ("no-identity-match",)),
    "HMAC failure": (TamperedError, ("header-mac",)),
    "header failure": (SealError, ("header-malformed", "header-version")),
    "payload failure": (TamperedError, ("payload-tampered",)),
    "armor failure": (SealError, ("armor-malformed",)),
}


@dataclass(frozen=True)
class Vector:
    expect: str
    fields: dict[str, list[str]]
    body: bytes


def _folder() -> Path | None:
    root = Path(__file__).parents[2]
    candidates = [root / "labextension/node_modules/cctv-age"]
    if named := os.environ.get("QNB_AGE_VECTORS"):
        candidates.append(Path(named))
    return next((folder for folder in candidates if (folder / "index.js").is_file()), None)


def _load() -> dict[str, Vector]:
    folder = _folder()
    if folder is None:
        return {}
    vectors = {}
    for name, encoded in _VECTOR.findall((folder / "index.js").read_text("ascii")):
        head, _, body = base64.b64decode(encoded).partition(b"\n\n")
        fields: dict[str, list[str]] = {}
        for line in head.decode("utf-8").splitlines():
            key, _, value = line.partition(": ")
            fields.setdefault(key, []).append(value)
        if fields.get("compressed") == ["zlib"]:
            body = zlib.decompress(body)
        vectors[name] = Vector(fields["expect"][0], fields, body)
    return vectors


_VECTORS = _load()


def test_vectors_present_all_are_run() -> None:
    """All 143 vectors are found, so that a green run means what it says; in CI their absence is a failure."""
    if not _VECTORS and not os.environ.get("CI"):
        pytest.skip("the npm package cctv-age is not installed: run the labextension's install, or set QNB_AGE_VECTORS")
    assert len(_VECTORS) == _COUNT


class _Pipe(io.RawIOBase):
    """Gives a few bytes at a time and cannot go back, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._src = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        data = self._src.read(min(len(buffer), 997))
        buffer[: len(data)] = data
        return len(data)


def _in_memory(file: bytes, identities: list[Identity], opened: io.BytesIO) -> None:
    opened.write(open_(file, identities))


def _as_stream(file: bytes, identities: list[Identity], opened: io.BytesIO) -> None:
    open_stream(io.BytesIO(file), opened, identities)


def _through_pipe(file: bytes, identities: list[Identity], opened: io.BytesIO) -> None:
    open_stream(cast("BinaryIO", io.BufferedReader(_Pipe(file), 300)), opened, identities)


_WAYS = {"memory": _in_memory, "stream": _as_stream, "pipe": _through_pipe}
_CASES = [
    pytest.param(name, way, unwrapped, id=f"{name}-{way}{'-unwrapped' if unwrapped else ''}")
    for name, vector in sorted(_VECTORS.items())
    for way in _WAYS
    for unwrapped in ((False, True) if "armored" in vector.fields else (False,))
]


@pytest.mark.parametrize(("name", "way", "unwrapped"), _CASES)
def test_vector_opened_ends_as_expected(name: str, way: str, unwrapped: bool) -> None:
    """Opening succeeds or fails with the class that the vector expects, and releases the expected bytes only.

    In memory, as a stream and through a pipe; armor taken off by the caller or found in the file.
    """
    vector = _VECTORS[name]
    armored = "armored" in vector.fields
    identities: list[Identity] = [parse_identity(text) for text in vector.fields.get("identity", [])]
    identities += [PassphraseIdentity(text) for text in vector.fields.get("passphrase", [])]
    opened = io.BytesIO()
    failure: QnbError | None = None
    try:
        body = dearmor(vector.body) if unwrapped else vector.body
        _WAYS[way](body, identities, opened)
    except QnbError as error:
        failure = error
    if vector.expect == "success":
        assert failure is None
    else:
        kind, codes = _FAILURES[vector.expect]
        if armored and not unwrapped and not looks_armored(vector.body[:256]):
            # what does not begin as armor is a binary file that does not begin as one
            kind, codes = SealError, ("header-malformed",)
        assert type(failure) is kind
        assert failure.code in codes
    if way == "memory" and failure is not None:
        assert opened.getvalue() == b""
    elif "payload" in vector.fields:
        # of a payload that fails later, what is authentic before that
        assert hashlib.sha256(opened.getvalue()).hexdigest() == vector.fields["payload"][0]


def test_vectors_cover_every_class_of_failure() -> None:
    """Each class that the vectors know is expected by some, and each of ours answers for one of them."""
    if not _VECTORS:
        pytest.skip("the npm package cctv-age is not installed")
    assert {vector.expect for vector in _VECTORS.values()} == {"success", *_FAILURES}
