"""What the fuzzer begins with: one of each thing that is parsed, made from fixed seeds, and the CCTV vectors' files."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qnb.core.checkpoint import (
    Checkpoint,
    Signer,
    sign_checkpoint,
)
from qnb.core.digester import Digester
from qnb.core.labels import Scheme
from qnb.core.merkle import inclusion_proof, leaf_hash, nodes_of, root
from qnb.core.seal import (
    PassphraseIdentity,
    PassphraseRecipient,
    generate_identity,
    seal,
)
from qnb.core.seal.output import (
    MIME,
    OutputHeader,
    pack_output,
    parse_bundle,
    sealed_bundle,
)
from qnb.core.seal.stream import CHUNK
from qnb.core.seal.x25519 import X25519Identity
from qnb.core.statement import source_digest
from qnb.model import Label, Receipt

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "labextension" / "node_modules" / "cctv-age" / "index.js"
POLICIES = ROOT / "qnb" / "policies"


def _random(seed: int) -> Callable[[int], bytes]:
    state = [seed]

    def take(size: int) -> bytes:
        state[0] += 1
        return (state[0].to_bytes(4, "big") * size)[:size]

    return take


ALICE = generate_identity(lambda n: b"a" * n)
BOB = generate_identity(lambda n: b"b" * n)
CLASSIC = X25519Identity(b"c" * 32)
WORDS = PassphraseIdentity("x", max_work_factor=4)
IDENTITIES = (ALICE, CLASSIC, WORDS)
SMALL = seal(b"the content", [BOB.recipient, ALICE.recipient], random=_random(1))
CHUNKS = seal(bytes(range(256)) * (CHUNK // 256) + b"rest", [CLASSIC.recipient], random=_random(2))
WORDED = seal(b"words", [PassphraseRecipient("x", work_factor=2, random=_random(3))], random=_random(3))

ORIGIN = "qnb/log/fuzz"
SIGNER = Signer(ORIGIN, b"1" * 32, b"2" * 32, b"3" * 32)
DIGESTER = Digester(SIGNER.digest_key)
SOURCE = "print(1)"
HEADER = OutputHeader(1, "s-1", 1, "ok", source_digest(SOURCE).hex(), "restricted//phi", "nb", "c", "screening")
OUTPUTS: list[dict[str, Any]] = [
    {"output_type": "stream", "name": "stdout", "text": ["a", "b"]},
    {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "é"}, "metadata": {}},
    {"output_type": "error", "ename": "E", "evalue": "x", "traceback": []},
]
CIPHERTEXT = seal(pack_output(HEADER, OUTPUTS), [ALICE.recipient], random=_random(4))


def statement(kind: str, subjects: list[Any], **predicate: Any) -> dict[str, Any]:
    common = {
        "principal": {"name": "ada", "uid": 1, "assurance": "os"}, "session": "s-1", "notebook": "nb", "cell": "c",
        "sequence": 1, "source": {"sha256": source_digest(SOURCE).hex()}, "label": "restricted//phi",
        "time": "2026-11-23T09:30:00.000Z", "versions": {},
    }  # fmt: skip
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": f"urn:qnb:predicate:{kind}:v1",
        "predicate": common | predicate,
    }


def _sha256(data: bytes) -> str:
    return parse_bundle(sealed_bundle(HEADER, data, [])).digest.hex()


EVALUATIONS: list[Any] = [{"index": n, "status": "ok"} for n in range(3)]
DECISION = statement(
    "decision", [{"name": "policy", "digest": {"sha256": "0" * 64}}], action="execute", decision="allow", grant=9,
    policy={"sha256": "0" * 64}, backend={"name": "aer_simulator", "class": "x"}, zone="local",
)  # fmt: skip
SEALED = statement("seal", [{"name": "ciphertext", "digest": {"sha256": _sha256(CIPHERTEXT)}}], state="ok")
OTHERS: list[Any] = [
    statement("policy", [{"name": "policy", "digest": {"sha256": "0" * 64}}], previous=None),
    statement("unseal", [{"name": "ciphertext", "digest": {"sha256": "0" * 64}}], status="ok", decision=0),
    statement("declassify", [], decision=0, target="internal"),
    statement("key", [], event="rotate", fingerprint="0" * 16),
]


def execution(lines: list[bytes]) -> dict[str, Any]:
    evaluations = {"first": 0, "count": len(lines), "root": root(map(leaf_hash, lines)).hex()}
    return statement("execution", [], status="ok", decision=0, evaluations=evaluations, backend=None, zone="local")


def encode_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


ENTRIES = [
    encode_json(DECISION),
    encode_json(execution([encode_json(line) for line in EVALUATIONS])),
    encode_json(SEALED),
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
NODES = nodes_of(LEAVES)
TREE = root(LEAVES)
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, TREE), SIGNER, 1_700_000_000)
RECEIPT = Receipt(ORIGIN, 2, LEAVES[2], inclusion_proof(2, 3, NODES), NOTE, ENTRIES[2].decode())
BUNDLE = sealed_bundle(HEADER, CIPHERTEXT, [ALICE.recipient], RECEIPT)
NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"qnb": {"id": "nb"}},
    "cells": [
        {
            "cell_type": "code", "id": "c", "source": SOURCE, "metadata": {}, "execution_count": 1,
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": {MIME: BUNDLE, "text/plain": "card"}}],
        },
        {"cell_type": "markdown", "id": "m", "source": ["# a\n", "b"], "metadata": {}},
    ],
}  # fmt: skip
SCHEME = Scheme(("public", "internal", "restricted"), {"phi": "x", "ip": "y"}, Label("internal"), Label("restricted"))
POLICY = tuple((POLICIES / name).read_bytes() for name in ("qnb.toml", "policy.cedar", "policy.cedarschema"))


def _vectors() -> list[bytes]:
    """The CCTV vectors' files; none where the package is not installed."""
    if not VECTORS.is_file():
        return []
    files = []
    for encoded in re.findall(r'_default = __toBinary\("([^"]*)"\)', VECTORS.read_text("ascii")):
        head, _, body = base64.b64decode(encoded).partition(b"\n\n")
        body = zlib.decompress(body) if b"compressed: zlib" in head else body
        if len(body) <= 1 << 17:
            files.append(body)
    return files


AGE_FILES = _vectors()
