"""Interoperation with typage, the npm package `age-encryption`: what either seals, the other opens."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal import (
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    armor,
    dearmor,
    generate_identity,
    open_,
    open_stream,
    parse_identity,
    rewrap,
    seal,
    seal_stream,
)
from qnb.core.seal.x25519 import X25519Identity

LABEXTENSION = Path(__file__).parents[2] / "labextension"
SIZES = [0, 1, 65535, 65536, 65537, 131072, 4 * 65536, 4 * 65536 + 1]  # around chunks, and around our batch of four
PASSPHRASE = "correct horse battery staple"
HYBRID = generate_identity(lambda n: b"h" * n)
OTHER = generate_identity(lambda n: b"o" * n)
CLASSIC = X25519Identity(b"c" * 32)
OTHER_CLASSIC = X25519Identity(b"d" * 32)

# reads a list of tasks on the standard input, writes a list of base64 results
_DRIVER = """
import * as age from "age-encryption";
const unbase64 = (s) => new Uint8Array(Buffer.from(s, "base64"));
const results = [];
for (const task of JSON.parse(await new Response(process.stdin).text())) {
  let result;
  if (task.do === "seal") {
    const e = new age.Encrypter();
    for (const r of task.recipients ?? []) e.addRecipient(r);
    if (task.passphrase) { e.setPassphrase(task.passphrase); e.setScryptWorkFactor(10); }
    result = await e.encrypt(unbase64(task.data));
    if (task.armor) result = Buffer.from(age.armor.encode(result));
  } else if (task.do === "open") {
    const d = new age.Decrypter();
    for (const i of task.identities ?? []) d.addIdentity(i);
    if (task.passphrase) d.addPassphrase(task.passphrase);
    result = await d.decrypt(task.armored ? age.armor.decode(task.armored) : unbase64(task.data));
  } else if (task.do === "armor") {
    result = Buffer.from(age.armor.encode(unbase64(task.data)));
  } else if (task.do === "generate") {
    result = Buffer.from(await age.generateHybridIdentity());
  } else {
    result = Buffer.from(await age.identityToRecipient(task.identity));
  }
  results.push(Buffer.from(result).toString("base64"));
}
process.stdout.write(JSON.stringify(results));
"""


def _node() -> str | None:
    beside = Path(sys.executable).with_name("node")
    return str(beside) if beside.exists() else shutil.which("node")


def _missing() -> str | None:
    if not (LABEXTENSION / "node_modules/age-encryption").is_dir():
        return "the npm package age-encryption is not installed in labextension"
    return "there is no node" if _node() is None else None


@pytest.fixture(autouse=True)
def _available() -> None:
    reason = _missing()
    if reason is not None and os.environ.get("CI"):
        pytest.fail(reason)
    elif reason is not None:
        pytest.skip(reason)


def _run(tasks: list[dict[str, Any]]) -> list[bytes]:
    done = subprocess.run(
        [str(_node()), "--input-type=module", "--eval", _DRIVER],
        input=json.dumps(tasks),
        cwd=LABEXTENSION,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [b64decode(result) for result in json.loads(done.stdout)]


def _content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def test_sealed_here_opens_there() -> None:
    """Every kind of recipient, several of either, armor, streams, and each side of the chunk boundaries."""
    tasks: list[dict[str, Any]] = []
    expected: list[bytes] = []
    for size in SIZES:
        plain = _content(size)
        hybrid = seal(plain, [OTHER.recipient, HYBRID.recipient])
        tasks.append({"do": "open", "identities": [HYBRID.reveal()], "data": _text(hybrid)})
        tasks.append({"do": "open", "identities": [HYBRID.reveal()], "armored": armor(hybrid).decode("ascii")})
        classic = seal(plain, [CLASSIC.recipient, OTHER_CLASSIC.recipient])
        tasks.append({"do": "open", "identities": [OTHER_CLASSIC.reveal()], "data": _text(classic)})
        streamed = io.BytesIO()
        seal_stream(io.BytesIO(plain), streamed, [HYBRID.recipient, OTHER.recipient])
        tasks.append({"do": "open", "identities": [OTHER.reveal()], "data": _text(streamed.getvalue())})
        expected += [plain] * 4
    worded = seal(b"content", [PassphraseRecipient(PASSPHRASE, work_factor=10)])
    tasks.append({"do": "open", "passphrase": PASSPHRASE, "data": _text(worded)})
    assert _run(tasks) == [*expected, b"content"]


def test_sealed_there_opens_here() -> None:
    """The other direction, with the same cases."""
    kinds: list[tuple[list[Identity], dict[str, Any]]] = [
        ([OTHER, HYBRID], {}),
        ([OTHER, HYBRID], {"armor": True}),
        ([CLASSIC, OTHER_CLASSIC], {}),
        ([CLASSIC, OTHER_CLASSIC], {"armor": True}),
    ]
    tasks: list[dict[str, Any]] = []
    expected: list[tuple[bytes, list[Identity]]] = []
    for identities, how in kinds:
        recipients = [identity.recipient.text for identity in identities]
        for plain in map(_content, SIZES):
            tasks.append({"do": "seal", "recipients": recipients, "data": _text(plain), **how})
            expected.append((plain, identities))
    tasks.append({"do": "seal", "passphrase": PASSPHRASE, "data": _text(b"content")})
    *sealed, worded = _run(tasks)
    for file, (plain, identities) in zip(sealed, expected, strict=True):
        for identity in identities:
            opened = io.BytesIO()
            open_stream(io.BytesIO(file), opened, [identity])
            assert open_(file, [identity]) == plain == opened.getvalue()
    assert open_(worded, [PassphraseIdentity(PASSPHRASE)]) == b"content"


def test_keys_and_armor_are_spelled_alike() -> None:
    """An identity made by either has the same recipient in both, and armor the same letters."""
    tasks = [{"do": "recipient", "identity": identity.reveal()} for identity in (HYBRID, CLASSIC)]
    sealed = seal(_content(1000), [HYBRID.recipient])
    hybrid, classic, made, armored = _run([*tasks, {"do": "generate"}, {"do": "armor", "data": _text(sealed)}])
    assert hybrid.decode() == HYBRID.recipient.text
    assert classic.decode() == CLASSIC.recipient.text
    assert armored == armor(sealed)
    assert dearmor(armored) == sealed
    theirs = parse_identity(made.decode())
    assert _run([{"do": "recipient", "identity": made.decode()}]) == [theirs.recipient.text.encode()]


def test_rewrapped_file_opens_there() -> None:
    """Ours and theirs, with another header around the same payload, for those named in it and for nobody else."""
    plain = _content(65537)
    theirs = _run([{"do": "seal", "recipients": [OTHER.recipient.text], "data": _text(plain)}])[0]
    rewrapped = [rewrap(file, [OTHER], [HYBRID.recipient]) for file in (seal(plain, [OTHER.recipient]), theirs)]
    opened = [{"do": "open", "identities": [HYBRID.reveal()], "data": _text(file)} for file in rewrapped]
    assert _run(opened) == [plain, plain]
    refused = {"do": "open", "identities": [OTHER.reveal()], "data": _text(rewrapped[0])}
    with pytest.raises(AssertionError, match="no identity matched"):
        _run([refused])
