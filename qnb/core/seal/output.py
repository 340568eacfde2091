"""Sealed cell outputs: what a classified cell shows, as one MIME value in the notebook.

Enters: a header and nbformat outputs, or the MIME value as it came out of a notebook. Leaves: bytes to seal and the
MIME value, or a parsed `SealedOutput`, and after opening the header and the outputs.
Never: believes the clear fields: they are repeated inside the ciphertext and compared on opening. Says nothing about
who sealed: age has no sender authentication, the log's entry is what tells.
Spec: `application/vnd.qnb.sealed+json` version 1; padding: Padmé (Nikitin et al., PETS 2019,
section 4); outputs: nbformat 4.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from qnb.core.seal.file import open_
from qnb.core.seal.recipient import Identity, Recipient
from qnb.errors import SealError, TamperedError
from qnb.model import Receipt

MIME = "application/vnd.qnb.sealed+json"
VERSION = 1
RUNNING = "running"
FINAL_STATES = ("ok", "failed", "interrupted")
STATES = (RUNNING, *FINAL_STATES)

_MAX_PROOF = 64
_MAX_TEXT = 1024
_MAX_ORIGIN = 255  # of a key name in a signed note
_MAX_NUMBER = (1 << 53) - 1  # what every reader of JSON keeps exactly
_HEX32 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_OUTPUT_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "stream": {"name": str, "text": (str, list)},
    "display_data": {"data": dict, "metadata": dict},
    "execute_result": {"data": dict, "metadata": dict},
    "error": {"ename": str, "evalue": str, "traceback": list},
}


@dataclass(frozen=True, slots=True)
class OutputHeader:
    """What a sealed output is bound to; sealed with it, and repeated in clear except for digest, purpose and source.

    Attributes:
        version: of the format, 1.
        session: id of the kernel session.
        sequence: counts the sealed outputs of a session; live updates of one cell share it.
        state: `running`, `ok`, `failed` or `interrupted`.
        source_digest: `source_digest` of the statements, hex; None when it is not known.
        label: effective label, `restricted//phi`.
        notebook, cell: ids where known, else None.
        purpose: as given in the cell; None when not given.
        source: the cell's source, where it is sealed with the output; that it is, is said in clear.
    """

    version: int
    session: str
    sequence: int
    state: str
    source_digest: str | None
    label: str
    notebook: str | None
    cell: str | None
    purpose: str | None = field(repr=False)
    source: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SealedOutput:
    """The parsed MIME value. Every field is a claim until `open_output` has compared it.

    Attributes:
        version, label, notebook, cell, session, sequence, state: as in OutputHeader.
        recipients: fingerprints, in the order of the file's stanzas.
        digest: SHA-256 of the ciphertext, 32 bytes; already compared with it.
        receipt: of the seal entry; None while running.
        ciphertext: the age file.
        holds_source: whether the cell's source is sealed with it.
    """

    version: int
    label: str
    notebook: str | None
    cell: str | None
    session: str
    sequence: int
    state: str
    recipients: tuple[str, ...]
    digest: bytes
    receipt: Receipt | None
    ciphertext: bytes = field(repr=False)
    holds_source: bool = False


_BOUND = ("version", "label", "notebook", "cell", "session", "sequence", "state")
_HEADER = tuple(item.name for item in fields(OutputHeader))


def padme(length: int) -> int:
    """The padded length: at most 12 % more, and only O(log log n) bits of the length leak."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return length + mask & ~mask


def pack_output(
    header: OutputHeader, outputs: Sequence[Mapping[str, Any]], default: Callable[[Any], Any] | None = None
) -> bytes:
    """The plaintext to seal: `{"header": …, "outputs": […]}` in ASCII JSON, padded with spaces to its Padmé length.

    Args:
        header: what the outputs are bound to.
        outputs: nbformat outputs.
        default: called with what JSON has no word for, as by `json.dumps`; None to refuse it.

    Raises:
        SealError: `output-not-json` when an output holds what JSON cannot say.
    """
    head = {name: getattr(header, name) for name in _HEADER if name != "source" or header.source is not None}
    content = {"header": head, "outputs": list(outputs)}
    write = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=default).encode
    try:
        try:
            text = write(content)
        except ValueError:  # a number that JSON has no word for, or a circle, which is one the second time too
            text = write(_spell_numbers(content, default))
    except Exception:  # noqa: BLE001 - `default` may run code of whoever made the value, and its errors quote it
        raise SealError("output-not-json", "an output of the cell cannot be written as JSON") from None
    return text.encode("ascii").ljust(padme(len(text)))


def unpack_output(plaintext: bytes) -> tuple[OutputHeader, list[dict[str, Any]]]:
    """Inverse of `pack_output`. The content is whatever its sealer wrote: checked for shape, never trusted.

    Raises:
        SealError: `output-malformed`.
    """
    try:
        value = json.loads(plaintext, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _malformed("output", "what is inside is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("header"), dict):
        raise _malformed("output", "it has no header inside")
    raw = value["header"]
    header = OutputHeader(**{name: raw.get(name) for name in _HEADER})
    _check_header(header, "output")
    if not (header.source_digest is None or _is_text(header.source_digest)) or not (
        isinstance(header.purpose, str | None) and isinstance(header.source, str | None)
    ):
        raise _malformed("output", "its header is malformed")
    outputs = value.get("outputs")
    if not isinstance(outputs, list) or not all(is_output(output) for output in outputs):
        raise _malformed("output", "it holds what is not a cell output")
    return header, outputs


def sealed_bundle(
    header: OutputHeader,
    ciphertext: bytes,
    recipients: Iterable[Recipient],
    receipt: Receipt | None = None,
    *,
    digest: bytes | None = None,
    because: str | None = None,
) -> dict[str, Any]:
    """The value of the MIME type: JSON types only.

    Args:
        header: the one that was packed.
        ciphertext: the age file.
        recipients: those it was sealed for, in order.
        receipt: of the seal entry; None exactly while the cell runs.
        digest: SHA-256 of `ciphertext`; None to compute it, which costs more than the sealing did.
        because: why the label is above what the cell declares, a line for cards; bound to nothing.

    Raises:
        SealError: `receipt-of-running`, `state-unknown`.
    """
    if header.state not in STATES:
        raise SealError("state-unknown", f"`{header.state}` is not a state of a sealed output")
    if header.state == RUNNING and receipt is not None:
        raise SealError("receipt-of-running", "an output of a running cell has no entry yet")
    bundle: dict[str, Any] = {name: getattr(header, name) for name in _BOUND}
    if header.source is not None:
        bundle["source"] = "sealed"
    bundle["recipients"] = [recipient.fingerprint for recipient in recipients]
    bundle["digest"] = "sha256:" + (hashlib.sha256(ciphertext).digest() if digest is None else digest).hex()
    if receipt is not None:
        bundle["entry"] = {
            "origin": receipt.origin,
            "index": receipt.index,
            "leaf": receipt.leaf.hex(),
            "proof": [b64encode(node).decode("ascii") for node in receipt.proof],
            "checkpoint": receipt.checkpoint,
            "statement": receipt.statement,
        }
    if because is not None:
        bundle["because"] = because
    bundle["age"] = b64encode(ciphertext).decode("ascii")
    return bundle


def parse_bundle(value: object) -> SealedOutput:
    """Read the MIME value out of a notebook, which anybody may have written.

    Raises:
        SealError: `bundle-malformed`, `bundle-version`.
        TamperedError: `output-digest` when the ciphertext is not the one that the digest names.
    """
    if not isinstance(value, dict):
        raise _malformed("bundle", "it is not an object")
    if isinstance(value.get("version"), int) and value["version"] > VERSION:
        raise SealError("bundle-version", "the sealed output is of a later version of the format", "update qnb")
    clear: dict[str, Any] = {name: value.get(name) for name in _BOUND}
    header = OutputHeader(**clear, source_digest=None, purpose=None)
    _check_header(header, "bundle")
    recipients = value.get("recipients")
    if not isinstance(recipients, list) or not all(
        isinstance(r, str) and _FINGERPRINT.fullmatch(r) for r in recipients
    ):
        raise _malformed("bundle", "its recipients are not fingerprints")
    digest = value.get("digest")
    if not isinstance(digest, str) or not digest.startswith("sha256:") or not _HEX32.fullmatch(digest[7:]):
        raise _malformed("bundle", "its digest is malformed")
    ciphertext = _base64(value.get("age"))
    if hashlib.sha256(ciphertext).hexdigest() != digest[7:]:
        raise TamperedError("output-digest", "the sealed output is not the one that its digest names: it was altered")
    if value.get("source", "sealed") != "sealed":
        raise _malformed("bundle", "what it says of the source is not known")
    receipt = None
    if value.get("entry") is not None:
        if header.state == RUNNING:
            raise _malformed("bundle", "a running cell has no entry")
        receipt = _parse_receipt(value["entry"])
    return SealedOutput(
        **{name: getattr(header, name) for name in _BOUND},
        recipients=tuple(recipients),
        digest=bytes.fromhex(digest[7:]),
        receipt=receipt,
        ciphertext=ciphertext,
        holds_source="source" in value,
    )


def open_output(sealed: SealedOutput, identities: Iterable[Identity]) -> tuple[OutputHeader, list[dict[str, Any]]]:
    """Open a sealed output and compare every clear field with what was sealed.

    Returns:
        The header and the nbformat outputs.

    Raises:
        NoIdentityMatchError: `no-identity-match`.
        TamperedError: `binding-label` (or another field's name) when a clear field was changed, or the ciphertext was
            put into another output; `header-mac`, `payload-tampered` when the ciphertext was altered.
        SealError: `header-malformed`, `output-malformed`.
    """
    header, outputs = unpack_output(open_(sealed.ciphertext, identities))
    pairs = {name: (getattr(header, name), getattr(sealed, name)) for name in _BOUND}
    pairs["source"] = (header.source is not None, sealed.holds_source)
    for name, (inside, shown) in pairs.items():
        if inside != shown:
            raise TamperedError(
                f"binding-{name}",
                f"the sealed output was altered or moved: its {name} is not the one that was sealed with it",
                "compare with an earlier version of the notebook",
            )
    return header, outputs


def _spell_numbers(value: Any, default: Callable[[Any], Any] | None) -> Any:
    """`value` with `nan` and `inf` as texts, as Jupyter sends them: bare, no browser could read them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else float.__repr__(value)
    if isinstance(value, dict):
        return {key: _spell_numbers(part, default) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spell_numbers(part, default) for part in value]
    if value is None or default is None or isinstance(value, str | int):
        return value
    return _spell_numbers(default(value), default)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _check_header(header: OutputHeader, what: str) -> None:
    # bool is an int to isinstance, so types are compared exactly; JSON has no other subclasses
    if not (
        type(header.version) is int
        and header.version == VERSION
        and _is_text(header.session)
        and _is_number(header.sequence)
        and type(header.state) is str
        and header.state in STATES
        and _is_text(header.label)
        and (header.notebook is None or _is_text(header.notebook))
        and (header.cell is None or _is_text(header.cell))
    ):
        raise _malformed(what, "its header is malformed")


def _is_text(value: object) -> TypeGuard[str]:
    # these come back in messages and cards: nothing there may drive a terminal
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MAX_NUMBER


def is_output(output: object) -> bool:
    """Whether a value has the shape of an nbformat output: only such ones can be opened again."""
    if not isinstance(output, dict) or not isinstance(output.get("output_type"), str):
        return False
    keys = _OUTPUT_KEYS.get(output["output_type"])
    return keys is not None and all(isinstance(output.get(key), kind) for key, kind in keys.items())


def _parse_receipt(entry: object) -> Receipt:
    if not isinstance(entry, dict):
        raise _malformed("bundle", "its entry is malformed")
    origin, index, leaf = entry.get("origin"), entry.get("index"), entry.get("leaf")
    proof, checkpoint, statement = entry.get("proof"), entry.get("checkpoint"), entry.get("statement")
    if not (
        _is_text(origin)
        and len(origin) <= _MAX_ORIGIN
        and _is_number(index)
        and isinstance(leaf, str)
        and _HEX32.fullmatch(leaf)
        and isinstance(proof, list)
        and len(proof) <= _MAX_PROOF
        and isinstance(checkpoint, str)
        and isinstance(statement, str | None)
    ):
        raise _malformed("bundle", "its entry is malformed")
    nodes = tuple(_base64(node) for node in proof)
    if any(len(node) != 32 for node in nodes):
        raise _malformed("bundle", "its inclusion proof is malformed")
    return Receipt(
        origin=origin, index=index, leaf=bytes.fromhex(leaf), proof=nodes, checkpoint=checkpoint, statement=statement
    )


def _base64(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return b64decode(value.encode("ascii"), validate=True)
        except ValueError:  # UnicodeEncodeError too
            pass
    raise _malformed("bundle", "it holds what is not base64")


def _malformed(what: str, why: str) -> SealError:
    return SealError(f"{what}-malformed", f"the sealed output does not parse: {why}")
