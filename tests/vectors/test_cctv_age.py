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

import pytest

from qnb.core.seal import PassphraseIdentity, dearmor, open_stream, parse_identity
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


@pytest.mark.parametrize("name", sorted(_VECTORS))
def test_vector_opened_ends_as_expected(name: str) -> None:
    """Opening the vector succeeds or fails with the expected class, and releases the expected bytes only."""
    vector = _VECTORS[name]
    identities = [parse_identity(text) for text in vector.fields.get("identity", [])]
    identities += [PassphraseIdentity(text) for text in vector.fields.get("passphrase", [])]
    opened = io.BytesIO()
    failure: QnbError | None = None
    try:
        body = dearmor(vector.body) if "armored" in vector.fields else vector.body
        open_stream(io.BytesIO(body), opened, identities)
    except QnbError as error:
        failure = error
    if vector.expect == "success":
        assert failure is None
    else:
        kind, codes = _FAILURES[vector.expect]
        assert type(failure) is kind
        assert failure.code in codes
    if "payload" in vector.fields:
        assert hashlib.sha256(opened.getvalue()).hexdigest() == vector.fields["payload"][0]


@pytest.mark.parametrize("name", sorted(name for name, v in _VECTORS.items() if "armored" in v.fields))
def test_armored_vector_streamed_ends_as_the_whole(name: str) -> None:
    """The armor reader inside a stream gives the same answer as unwrapping the text first."""
    vector = _VECTORS[name]
    identities = [parse_identity(text) for text in vector.fields.get("identity", [])]
    identities += [PassphraseIdentity(text) for text in vector.fields.get("passphrase", [])]
    opened = io.BytesIO()
    if vector.expect == "success":
        open_stream(io.BytesIO(vector.body), opened, identities)
        assert hashlib.sha256(opened.getvalue()).hexdigest() == vector.fields["payload"][0]
    else:
        with pytest.raises(SealError):
            open_stream(io.BytesIO(vector.body), opened, identities)
