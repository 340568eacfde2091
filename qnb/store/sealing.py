"""Sealing and opening files on the record: decide, seal or open, record, and only then let the result be seen.

Enters: an authority, a file, recipients or identities. Leaves: an age file, or what was in it, mode 0600 and whole,
with the index of its entry.
Never: leaves a part of a file behind, shows plaintext that was not recorded first, changes the file it reads.
Spec: DESIGN.md "The surface".
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from qnb.core.labels import Scheme
from qnb.core.notebook import Opened, find_outputs, open_notebook
from qnb.core.seal import Identity, PassphraseIdentity, is_age, open_stream, parse_recipient, seal_stream
from qnb.core.seal.armor import unarmored
from qnb.core.seal.header import parse_header
from qnb.core.seal.output import SealedOutput
from qnb.core.seal.scrypt import KIND as SCRYPT
from qnb.core.seal.stream import Progress
from qnb.errors import ConfigError, QnbError, SealError, StorageError
from qnb.model import Action, Decision, Label, Request
from qnb.store.authority import Authority
from qnb.store.files import atomic_writer
from qnb.store.keys import AskPassphrase
from qnb.store.streams import HashingReader, HashingWriter, Null

_BUFFER = 64 << 10  # smaller than what the stream reads at once, so that its reads go past the buffer


@dataclass(frozen=True, slots=True)
class SealedFile:
    """What sealing a file gave: recipients' fingerprints, SHA-256 of the age file, indices of decision and entry."""

    recipients: tuple[str, ...]
    digest: bytes
    decision: int | None
    entry: int


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What opening an age file gave: SHA-256 of the file as read, indices of decision and entry."""

    digest: bytes
    decision: int | None
    entry: int


@dataclass(frozen=True, slots=True)
class OpenedNotebook:
    """What opening a notebook gave: the new notebook, and for each sealed output what became of it and its entry."""

    notebook: dict[str, Any]
    outputs: tuple[tuple[Opened, int | None], ...]


KeySource = Callable[[], Iterable[Identity]]
"""Where identities come from; called only after the decision, so that a denied request unlocks no key."""
Explain = Callable[[QnbError, Sequence[str]], QnbError]
"""Says an error of opening in other words, given the fingerprints of those that it is known to be sealed for."""


# --- seal ------------------------------------------------------------------------------------------------------------


def seal_file(
    authority: Authority,
    source: Path,
    target: Path | BinaryIO,
    label: Label,
    to: Sequence[str] = (),
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> SealedFile:
    """Seal a file for the recipients of its label, and for those in `to` when the policy lets it be shared with them.

    Args:
        authority: decides and records.
        source: any file.
        target: the age file, or a stream.
        label: decides for whom.
        to: names of groups or recipients of the policy, or recipient strings.
        replace: whether a file at `target` may be replaced.
        progress: called with the bytes done so far.

    Raises:
        DeniedError: the policy says no.
        ConfigError: a name that the policy does not know.
        RecipientError: there is nobody to seal for, or the recipients do not mix.
        StorageError: a file cannot be read or written, or `target` exists.
    """
    names = authority.policy.sealed_to(label, to)
    action = Action.SHARE if to else Action.SEAL
    with open_source(source) as src:
        _check_target(target, replace=replace)
        decision = authority.require(Request(action, authority.principal, label, recipients=tuple(to)))
        recipients = [parse_recipient(text) for text in authority.policy.recipients(names)]
        fingerprints = tuple(recipient.fingerprint for recipient in recipients)
        context = authority.context(label)
        with _target_writer(target, replace=replace) as dst:
            hashing = HashingWriter(dst)
            seal_stream(src, cast("BinaryIO", hashing), recipients, progress)
            digest, path = hashing.digest(), _name(target)
            # recorded while the file is still beside its place: what stands there has its entry
            if to:
                entry = authority.record_share(context, digest, fingerprints, decision=decision, path=path)
            else:
                receipt = authority.record_seal(context, digest, None, fingerprints, decision=decision.entry, path=path)
                entry = receipt.index
    return SealedFile(fingerprints, digest, decision.entry, entry)


# --- open ------------------------------------------------------------------------------------------------------------


def sniff(path: Path) -> str:
    """What a file is by its first bytes: `age` or `other`.

    Raises:
        StorageError: it cannot be read.
    """
    with open_source(path) as src:
        return "age" if is_age(src.peek(256)) else "other"


def unseal_file(
    authority: Authority,
    source: Path,
    target: Path | BinaryIO,
    keys: KeySource,
    ask_passphrase: AskPassphrase | None = None,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> OpenedFile:
    """Open an age file.

    An age file does not say what its content is labelled, so the request is decided at the highest level of the scheme.

    Args:
        authority: decides and records.
        source: the age file, binary or armored.
        target: the plaintext file, mode 0600, or a stream: that gets its first byte when the whole has been verified.
        keys: identities.
        ask_passphrase: called instead of `keys` for a file that is sealed under a passphrase.
        replace: whether a file at `target` may be replaced.
        progress: called with the bytes done so far.

    Raises:
        DeniedError: the policy says no.
        SealError: it does not open; the attempt is recorded.
        StorageError: a file cannot be read or written, or `target` exists.
    """
    label = highest(authority.policy.scheme)
    with open_source(source) as src:
        _check_target(target, replace=replace)
        decision = authority.require(Request(Action.UNSEAL, authority.principal, label))
        identities = _identities(src, keys, ask_passphrase)
        if isinstance(target, Path):
            with atomic_writer(target, replace=replace) as dst:
                digest, entry = _open_recorded(authority, decision, src, dst, identities, str(target), progress)
        else:
            # the first pass verifies and records, so that no byte is shown that is not in the log
            digest, entry = _open_recorded(
                authority, decision, src, cast("BinaryIO", Null()), identities, None, progress
            )
            src.seek(0)
            again = HashingReader(src)
            open_stream(io.BufferedReader(again, _BUFFER), target, identities)
            if again.digest() != digest:
                raise SealError("source-changed", f"`{source}` changed while it was opened")
    return OpenedFile(digest, decision.entry, entry)


def unseal_notebook(
    authority: Authority,
    nb: object,
    keys: KeySource,
    target: str | None,
    cell: str | None = None,
    *,
    explain: Explain | None = None,
) -> OpenedNotebook:
    """Open the sealed outputs of a notebook in memory, one decision for each label, one entry for each output.

    Args:
        authority: decides and records.
        nb: the notebook.
        keys: identities.
        target: name of where the plaintext will stand, committed in the entries; None when it is shown only.
        cell: the id of the one cell to open; None for all.
        explain: called with an error of opening.

    Returns:
        The notebook and what became of each output. One that was denied or does not open stays sealed.

    Raises:
        ConfigError: it is no notebook, has nothing sealed, or no such cell.
        DeniedError: the policy says no to every label in it.
        StorageError: what was opened could not be recorded; nothing may be shown.
    """
    judge = _Judge(authority)
    found = find_outputs(nb, cell)
    identities = keys() if judge.allows_any(found) else ()
    opened_nb, report = open_notebook(nb, identities, cell, judge, found)
    if not report:
        raise ConfigError("nothing-sealed", "there is no sealed output in it" if cell is None else "the cell has none")
    outputs: list[tuple[Opened, int | None]] = []
    for opened in report:
        entry = None
        decision = None if opened.sealed is None else judge.decisions.get(opened.sealed.label)
        if opened.sealed is not None and isinstance(decision, Decision):
            sealed = opened.sealed
            context = authority.context(decision.label, notebook=sealed.notebook, cell=sealed.cell)
            status = "ok" if opened.error is None else "failed"
            entry = authority.record_unseal(context, sealed.digest, decision=decision, status=status, path=target)
            if opened.error is not None and explain is not None:
                opened = replace(opened, error=explain(opened.error, sealed.recipients))  # noqa: PLW2901
        outputs.append((opened, entry))
    return OpenedNotebook(opened_nb, tuple(outputs))


def load_notebook(path: Path) -> Any:
    """The JSON of a file that should be a notebook.

    Raises:
        ConfigError: it is neither JSON nor an age file.
        StorageError: it cannot be read.
    """
    with open_source(path) as src:
        try:
            return json.loads(src.read())
        except (ValueError, RecursionError):
            raise ConfigError("not-sealed", f"`{path}` is neither a sealed notebook nor an age file") from None


def save_notebook(path: Path | BinaryIO, nb: dict[str, Any], *, replace: bool = False) -> None:
    """Write a notebook, mode 0600.

    Raises:
        StorageError: it cannot be written, or exists.
    """
    # ASCII, because an output may hold a lone surrogate, which UTF-8 cannot say
    data = json.dumps(nb, indent=1).encode("ascii") + b"\n"
    with _target_writer(path, replace=replace) as dst:
        dst.write(data)


def highest(scheme: Scheme) -> Label:
    """The label for what carries none: nothing is said to be harmless because nobody said what it is."""
    return Label(scheme.levels[-1])


class _Judge:
    """Asks once for each label, and keeps the answer: `open_notebook` calls it before each output."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.decisions: dict[str, Decision | QnbError] = {}

    def __call__(self, sealed: SealedOutput) -> None:
        answer = self.decisions.get(sealed.label)
        if answer is None:
            try:
                label = self._authority.policy.scheme.parse(sealed.label)
                answer = self._authority.require(Request(Action.UNSEAL, self._authority.principal, label))
            except StorageError:
                raise
            except QnbError as error:
                answer = error
            self.decisions[sealed.label] = answer
        if isinstance(answer, QnbError):
            raise answer

    def allows_any(self, outputs: Sequence[Opened]) -> bool:
        """Decide every label that occurs; whether anything may be opened.

        Raises:
            DeniedError, LabelError, PolicyError: nothing may.
        """
        refusal: QnbError | None = None
        allowed = False
        for found in outputs:
            if found.sealed is not None:
                try:
                    self(found.sealed)
                    allowed = True
                except StorageError:
                    raise
                except QnbError as error:
                    refusal = error
        if refusal is not None and not allowed:
            raise refusal
        return allowed


# --- streams ---------------------------------------------------------------------------------------------------------


def _open_recorded(
    authority: Authority,
    decision: Decision,
    src: io.BufferedReader,
    dst: BinaryIO,
    identities: Iterable[Identity],
    path: str | None,
    progress: Progress | None,
) -> tuple[bytes, int]:
    """Open all of `src` into `dst`, record how it ended, and return the digest of `src` and the entry."""
    src.seek(0)
    hashing = HashingReader(src)
    context = authority.context(decision.label)
    try:
        open_stream(io.BufferedReader(hashing, _BUFFER), dst, identities, progress)
    except SealError:
        authority.record_unseal(context, hashing.drain(), decision=decision, status="failed", path=path)
        raise
    digest = hashing.drain()
    return digest, authority.record_unseal(context, digest, decision=decision, status="ok", path=path)


def _identities(src: io.BufferedReader, keys: KeySource, ask_passphrase: AskPassphrase | None) -> Iterable[Identity]:
    header = parse_header(unarmored(src, src.peek(256)))
    if header.stanzas[0].args[0] != SCRYPT:
        return keys()
    if ask_passphrase is None:
        raise ConfigError(
            "passphrase-needed",
            "the file is sealed under a passphrase, and nobody can be asked",
            "run it in a terminal",
        )
    return (PassphraseIdentity(ask_passphrase()),)


@contextmanager
def open_source(path: Path) -> Iterator[io.BufferedReader]:
    """A file, buffered, whose errors are ours.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        src: io.BufferedReader = io.BufferedReader(io.FileIO(path), _BUFFER)
    except OSError as error:
        reason = (error.strerror or "input/output error").lower()
        raise StorageError(
            "unreadable", f"`{path}` cannot be read: {reason}", "check the path and its permissions"
        ) from None
    with src:
        try:
            yield src
        except BrokenPipeError:  # that is the other end: whoever reads our standard output went away
            raise
        except OSError as error:
            reason = (error.strerror or "input/output error").lower()
            raise StorageError("unreadable", f"`{path}` cannot be read: {reason}", "try it again") from None


@contextmanager
def _target_writer(target: Path | BinaryIO, *, replace: bool) -> Iterator[BinaryIO]:
    if isinstance(target, Path):
        with atomic_writer(target, replace=replace) as dst:
            yield dst
    else:
        yield target
        target.flush()


def _check_target(target: Path | BinaryIO, *, replace: bool) -> None:
    """Refuse early: before a decision is recorded and a gigabyte is sealed for nothing."""
    if not isinstance(target, Path):
        return
    if os.path.lexists(target) and not replace:
        raise StorageError("exists", f"`{target}` exists already", "name another file with `-o`, or give `--force`")
    if target.is_dir():
        raise StorageError("is-a-folder", f"`{target}` is a folder", "name a file with `-o`")


def _name(target: Path | BinaryIO) -> str | None:
    return str(target) if isinstance(target, Path) else None
