"""A folder between a log and its witness: the log publishes heads to it, the witness puts its cosignatures there.

Enters: a log and a folder that another account or machine owns; or that folder and a witness's own home.
Leaves: heads that follow one another, each with the proof that it contains the one before; cosigned heads; what the
witness keeps, under its own home.
Never: believes the folder: each side checks what it reads there against what it keeps itself, and neither goes back.
Spec: docs/spec/checkpoint.md, "Witnesses"; C2SP tlog-witness (each published file is the body of an `add-checkpoint`).

    FOLDER/log.vkey                the log's public keys, for a witness that pins none
    FOLDER/rotations.json          receipts of the entries that changed them
    FOLDER/heads/<size>            head and consistency proof; sizes with leading zeros
    FOLDER/cosigned/<key id>.note  the last head that a witness cosigned
    FOLDER/cosigned/<key id>.vkey  its public keys
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from qnb.core.bundle import format_receipts, parse_receipts
from qnb.core.checkpoint import Checkpoint, KeyRing, VKeys, parse_checkpoint, parse_vkeys, verify_checkpoint
from qnb.core.merkle import verify_consistency
from qnb.core.rotation import key_ring
from qnb.core.witness import (
    Submission,
    WitnessKey,
    advance,
    format_submission,
    generate_witness,
    parse_submission,
    parse_witness_key,
    parse_witness_vkeys,
    verify_cosignature,
)
from qnb.errors import CheckpointError, ConfigError, ConsistencyError, QnbError, StorageError
from qnb.store.files import read_private, write_atomic
from qnb.store.log import Log

_MAX_FILE = 1 << 20
_HEAD = re.compile(r"[0-9]{19}")
_NOTED = "witness.json"


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did.

    Attributes:
        size: entries under the head that the folder has now.
        new: whether it was published now.
        cosigned: name of each witness that answered -> entries under the last head that it cosigned.
        unread: files of witnesses that were passed over, and why.
    """

    size: int
    new: bool
    cosigned: dict[str, int]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a witness did.

    Attributes:
        origin: of the log.
        before: entries under the head that it kept; None when it knew none.
        size: entries under the head that it keeps now.
        key: its public keys, as `witness.vkey` has them.
        first: whether it took the log's keys on trust just now.
    """

    origin: str
    before: int | None
    size: int
    key: str
    first: bool


@dataclass(frozen=True, slots=True)
class WitnessNote:
    """What a home remembers of its witness: the folder, and entries under the last cosigned head (None: none yet)."""

    folder: Path
    cosigned: int | None
    names: tuple[str, ...]


# --- the log's side --------------------------------------------------------------------------------------------------


def publish(home: Path, log: Log, folder: Path, keys: KeyRing, note: str) -> Published:
    """Publish the log's head, and take in what witnesses cosigned before.

    Args:
        home: of the account, which remembers the folder.
        log: open for writing.
        folder: of the witness; made if missing.
        keys: of the log.
        note: its head, signed.

    Raises:
        ConsistencyError: the folder knows more of this log, or another past: the log went back or was rewritten.
        CheckpointError, SignatureError: the folder holds heads of another log.
        StorageError: the folder cannot be used.
    """
    head = parse_checkpoint(note)
    with _place(folder):
        (folder / "heads").mkdir(parents=True, exist_ok=True)
        (folder / "cosigned").mkdir(exist_ok=True)
    last = last_published(folder, keys)
    old = 0 if last is None else last.size
    if last is not None:
        check_published(log, head, last)
    new = last is None or head.size > last.size
    with _place(folder):
        write_atomic(folder / "log.vkey", keys.at(head.size).format().encode("ascii"), mode=0o644)
        rotations = json.dumps(format_receipts(log.rotations())).encode("ascii")
        write_atomic(folder / "rotations.json", rotations, mode=0o644)
        if new:
            text = format_submission(Submission(old, log.consistency_proof(old, head.size), note))
            write_atomic(folder / "heads" / f"{head.size:019}", text.encode(), mode=0o644)
    cosigned, unread = _take_in(log, folder)
    _remember(home, folder, cosigned)
    return Published(head.size, new, cosigned, unread)


def check_published(log: Log, head: Checkpoint, published: Checkpoint) -> None:
    """The log contains what was published of it.

    Raises:
        ConsistencyError: it does not.
    """
    if published.size > head.size:
        raise ConsistencyError(
            "log-went-back",
            f"the log went back: it has {head.size} entries, the witness's folder knows {published.size}",
            "keep a copy of the log and restore the newer one; `qnb verify` says what is there",
        )
    try:
        proof = log.consistency_proof(published.size, head.size)
        verify_consistency(published.size, head.size, published.root, head.root, proof)
    except ConsistencyError:
        raise ConsistencyError(
            "log-rewritten",
            f"the log was rewritten: it does not contain the {published.size} entries that the witness's folder knows",
            "keep a copy of the log, then run `qnb verify`",
        ) from None


def last_published(folder: Path, keys: KeyRing | VKeys) -> Checkpoint | None:
    """The last head in a folder; None when it holds none.

    Raises:
        CheckpointError, SignatureError: it is not of these keys.
        StorageError: the folder cannot be read.
    """
    for _, path in reversed(_heads(folder)):
        return verify_checkpoint(parse_submission(_read(path)).note, keys)
    return None


def noted_witness(home: Path) -> WitnessNote | None:
    """What the home remembers of its witness; None when it has none."""
    try:
        value = json.loads((home / _NOTED).read_bytes())
        cosigned = value["cosigned"]
        names = tuple(str(name) for name in value["names"])
        return WitnessNote(Path(value["folder"]), cosigned if type(cosigned) is int else None, names)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _take_in(log: Log, folder: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    cosigned: dict[str, int] = {}
    unread = []
    with _place(folder):
        paths = sorted((folder / "cosigned").glob("*.note"))
    for path in paths:
        try:
            witness = parse_witness_vkeys(_read(path.with_suffix(".vkey")))
            note = _read(path)
            if verify_cosignature(note, witness) is None:
                raise CheckpointError("not-cosigned", "it carries no cosignature of its own witness")
            log.add_cosignatures(note)
            cosigned[witness.name] = parse_checkpoint(note).size
        except QnbError as error:
            unread.append(f"{path.name}: {error.message}")
    return cosigned, tuple(unread)


def _remember(home: Path, folder: Path, cosigned: dict[str, int]) -> None:
    value = {
        "folder": str(folder.absolute()),
        "cosigned": max(cosigned.values(), default=None),
        "names": sorted(cosigned),
    }
    write_atomic(home / _NOTED, json.dumps(value).encode())


# --- the witness's side ----------------------------------------------------------------------------------------------


def witness(home: Path, folder: Path, pinned: VKeys | None, time: int, name: str) -> Witnessed:
    """Follow the heads in a folder from the one that is kept here to the last, keep that, and cosign it.

    Args:
        home: of the witness: its keys and what it keeps.
        folder: that a log publishes to.
        pinned: the log's keys; None to take those in the folder on trust the first time, and to keep to them after.
        time: POSIX seconds.
        name: of the witness, for keys that are made now.

    Raises:
        ConsistencyError: the log went back or was rewritten, or heads in between are gone.
        CheckpointError, SignatureError: a head is not of this log.
        ConfigError: there is nothing to witness, or keys that do not parse.
        StorageError: folder or home cannot be used.
    """
    with _place(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = _witness_key(home, name)
    heads = _heads(folder)
    if not heads:
        raise ConfigError("no-heads", f"there are no heads in `{folder}`", "the log's owner runs `qnb log witness`")
    claimed = parse_submission(_read(heads[-1][1]))
    origin = parse_checkpoint(claimed.note).origin
    state = home / "witnessed" / f"{_slug(origin)}.json"
    kept, trusted = _load_state(state)
    if pinned is not None and trusted is not None and kept is not None and not _same_log(pinned, trusted, folder):
        raise ConfigError("other-keys", "the keys given are not those that this witness knows the log by")
    vkeys = pinned or trusted or parse_vkeys(_read(folder / "log.vkey"))
    ring = key_ring(vkeys, parse_receipts(_json(folder / "rotations.json")))
    head = None if kept is None else verify_checkpoint(kept, ring)
    before = None if head is None else head.size
    note = kept
    for size, path in heads:
        if head is not None and size < head.size:
            continue
        submission = parse_submission(_read(path))
        head = advance(head, submission, ring)
        note = submission.note
    if head is None or note is None or heads[-1][0] < head.size:
        raise ConsistencyError(
            "log-went-back",
            f"the log went back: its folder ends at {heads[-1][0]} entries, the head kept here has {before}",
        )
    with _place(state):
        state.parent.mkdir(mode=0o700, exist_ok=True)
    kept_value = {"origin": origin, "note": note, "vkeys": vkeys.format()}
    write_atomic(state, json.dumps(kept_value).encode())  # kept before it is cosigned: tlog-witness, add-checkpoint
    identity = next(iter(key.vkeys.ids.values())).hex()
    with _place(folder):
        cosigned = folder / "cosigned"
        cosigned.mkdir(exist_ok=True)
        write_atomic(cosigned / f"{identity}.vkey", key.vkeys.format().encode("ascii"), mode=0o644)
        write_atomic(cosigned / f"{identity}.note", (note + key.cosign(head, time)).encode(), mode=0o644)
    return Witnessed(origin, before, head.size, key.vkeys.format(), first=trusted is None and pinned is None)


def _witness_key(home: Path, name: str) -> WitnessKey:
    path = home / "witness.key"
    with suppress(StorageError):
        if not os.path.lexists(path):
            write_atomic(path, generate_witness(name).format().encode("ascii"), replace=False)
    key = parse_witness_key(read_private(path).decode("ascii", "replace"))
    if not os.path.lexists(home / "witness.vkey"):
        write_atomic(home / "witness.vkey", key.vkeys.format().encode("ascii"), mode=0o644)
    return key


def _load_state(path: Path) -> tuple[str | None, VKeys | None]:
    if not os.path.lexists(path):
        return None, None
    try:
        value = json.loads(read_private(path))
        return str(value["note"]), parse_vkeys(str(value["vkeys"]))
    except (ValueError, KeyError, TypeError):
        raise ConfigError("witness-state", f"`{path}` cannot be read", "restore it from a backup") from None


def _same_log(pinned: VKeys, trusted: VKeys, folder: Path) -> bool:
    ring = key_ring(trusted, parse_receipts(_json(folder / "rotations.json")))
    return pinned.origin == trusted.origin and pinned in [keys for _, keys in ring.spans]


# --- files of the folder ---------------------------------------------------------------------------------------------


def _heads(folder: Path) -> list[tuple[int, Path]]:
    with _place(folder):
        if not folder.is_dir():
            raise StorageError("no-folder", f"there is no folder `{folder}`", "make it, or check the path")
        heads = folder / "heads"
        names = sorted(path.name for path in heads.iterdir()) if heads.is_dir() else []
    return [(int(name), heads / name) for name in names if _HEAD.fullmatch(name)]


def _read(path: Path) -> str:
    """A small regular file of the folder; what another account put there is read no further than that."""
    with _place(path):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageError("not-a-file", f"`{path}` is not a regular file")
            data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise StorageError("too-large", f"`{path}` is larger than a head can be")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError("checkpoint", f"`{path.name}` does not parse") from None


def _json(path: Path) -> object:
    if not os.path.lexists(path):
        return []
    try:
        value: object = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise CheckpointError("checkpoint", f"`{path.name}` does not parse") from None
    return value


def _slug(origin: str) -> str:
    return sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@contextmanager
def _place(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            "folder-unusable",
            f"`{path}` cannot be used: {(error.strerror or 'input/output error').lower()}",
            "check the path and its permissions",
        ) from None
