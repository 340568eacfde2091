"""Sealing what is sealed for other recipients, on the record; the content stays where it is.

Enters: a notebook or an age file, identities, and the policy of now. Leaves: the same file with other headers, whole or
as it was; for each output or file a decision to share the ciphertext before and an entry that names the one after.
Never: touches a payload, shows one, vouches for an output that does not verify, takes anything out of a dataset key.

Rewrapping gives no secret back: who could open a copy that they kept opens it as before.
Spec: docs/how-to/share-and-offboard.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from qnb.core.card import render_html, render_text
from qnb.core.checkpoint import VKeys
from qnb.core.notebook import find_outputs
from qnb.core.seal import Identity, Recipient, armor, find_opener, parse_recipient, rewrap, rewrap_stream
from qnb.core.seal.armor import looks_armored, unarmored
from qnb.core.seal.header import parse_header
from qnb.core.seal.output import MIME, OutputHeader, SealedOutput, open_output, sealed_bundle
from qnb.core.seal.scrypt import KIND as SCRYPT
from qnb.core.verify import Report, audit_notebook
from qnb.errors import ConfigError, NoIdentityMatchError, QnbError, SealError, StorageError, VerificationError
from qnb.model import Action, Label, Request
from qnb.store.authority import Authority
from qnb.store.files import atomic_writer
from qnb.store.history import History
from qnb.store.keychain import Keychain
from qnb.store.log import Log
from qnb.store.record import Record
from qnb.store.sealing import highest, load_notebook, open_source, sniff
from qnb.store.streams import HashingReader, HashingWriter
from qnb.store.verifying import load_vkeys, log_at_hand

_BUFFER = 64 << 10


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What became of one sealed output, or of an age file.

    Attributes:
        cell: id of the cell; None of a file.
        label: at which it was decided; None when it was not come to that.
        before, after: fingerprints of those who can open it; None where that is not known or was not changed.
        decision, entry: indices of what was recorded; None when nothing was.
        error: why it was not rewrapped; None when it was, or needed not be.
    """

    cell: str | None
    label: str | None = None
    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    decision: int | None = None
    entry: int | None = None
    error: QnbError | None = None


class Rewrapper:
    """Rewraps files for the recipients that the policy names now.

    Args:
        authority: decides and records.
        home: the account's home.
        keychain: what this account opens with.
        to: names of groups or recipients beyond those of each label.
        vkeys: public keys of another account's log, whose outputs are taken too; None: this account's own alone.
    """

    def __init__(
        self, authority: Authority, home: Path, keychain: Keychain, to: Sequence[str] = (), vkeys: VKeys | None = None
    ) -> None:
        self._authority = authority
        self._home = home
        self._keychain = keychain
        self._to = tuple(to)
        self._vkeys = vkeys
        self._history = History.of(home)
        self._known = authority.size

    def rewrap(self, path: Path, *, named: bool = True) -> list[Rewrapped]:
        """Rewrap a file in its place.

        Args:
            path: the file.
            named: whether somebody named it, and not only a folder that it is in. An age file that no entry knows may
                be anything, a private letter too, and is then left as it is.

        Raises:
            DeniedError: of an age file: the policy says no. Of a notebook that is said of each output.
            ConfigError: it holds nothing sealed, or is sealed under a passphrase.
            SealError: of an age file: it does not open.
            StorageError: it cannot be read or written, or nothing can be recorded.
        """
        real = path.resolve()  # a link stays a link
        if self._authority.size != self._known:  # a kernel may have run a cell again
            self._history, self._known = History.of(self._home), self._authority.size
        done = [self._rewrap_age(real, named=named)] if sniff(real) == "age" else self._rewrap_notebook(real)
        self._known += sum(2 for result in done if result.entry is not None)  # decisions and entries of our own
        return done

    # --- notebooks ---------------------------------------------------------------------------------------------------

    def _rewrap_notebook(self, path: Path) -> list[Rewrapped]:
        nb = load_notebook(path)
        found = find_outputs(nb)
        if not found:
            raise ConfigError("nothing-sealed", f"there is no sealed output in `{path}`")
        reports = self._audit(nb)
        done: list[Rewrapped] = []
        with _in_place(path) as dst:
            for opened, report in zip(found, reports, strict=True):
                sealed = opened.sealed
                try:
                    if opened.error is not None or sealed is None:
                        raise opened.error or SealError("bundle-malformed", "the sealed output does not parse")
                    result, bundle = self._rewrap_output(sealed, report)
                except StorageError:
                    raise
                except QnbError as error:
                    cell, known = (None, ()) if sealed is None else (sealed.cell, sealed.recipients)
                    result, bundle = Rewrapped(cell, error=self._keychain.explain(error, known)), None
                done.append(result)
                if bundle is not None:
                    data = nb["cells"][opened.cell_index]["outputs"][opened.output_index]["data"]
                    data[MIME] = bundle
                    data |= {"text/html": render_html(bundle), "text/plain": render_text(bundle)}
            if all(result.entry is None for result in done):
                raise _UnchangedError
            dst.write(_encode(nb))
        return done

    def _audit(self, nb: object) -> list[Report]:
        with Log.open(self._home / "log.db", readonly=True) as log:
            at_hand = log_at_hand(Record(log), load_vkeys(self._home, log))
            # no digester: whether the source was edited since is nothing that rewrapping vouches for
            return list(audit_notebook(nb, log=at_hand, vkeys=self._vkeys, digester=None))

    def _rewrap_output(self, sealed: SealedOutput, report: Report) -> tuple[Rewrapped, dict[str, Any] | None]:
        _check_report(report, sealed)
        authority = self._authority
        label = authority.policy.scheme.parse(sealed.label)
        identities = self._keychain()
        # opened in memory, because only what is inside says whether it is what it says outside
        header, _ = open_output(sealed, identities)
        opener = find_opener(io.BytesIO(sealed.ciphertext), identities)
        names, recipients = self._choose(label, opener)
        after = tuple(recipient.fingerprint for recipient in recipients)
        request = Request(Action.SHARE, authority.principal, label, recipients=names)
        if self._is_for(sealed.digest, io.BytesIO(sealed.ciphertext), after) and authority.policy.decide(request).allow:
            return Rewrapped(sealed.cell, str(label), after), None
        context = authority.context(
            label,
            session=sealed.session,
            notebook=sealed.notebook,
            cell=sealed.cell,
            sequence=sealed.sequence,
            source=_source(header),
        )
        decision = authority.require(request, context, subject=sealed.digest)
        ciphertext = rewrap(sealed.ciphertext, (opener,), recipients)
        digest = hashlib.sha256(ciphertext).digest()
        receipt = authority.record_seal(context, digest, sealed.state, after, decision=decision.entry)
        bundle = sealed_bundle(header, ciphertext, recipients, receipt)
        done = Rewrapped(sealed.cell, str(label), sealed.recipients, after, decision.entry, receipt.index)
        return done, bundle

    # --- age files ---------------------------------------------------------------------------------------------------

    def _rewrap_age(self, path: Path, *, named: bool) -> Rewrapped:
        authority = self._authority
        with open_source(path) as src:
            armored = looks_armored(src.peek(256))
            if parse_header(unarmored(src, src.peek(256))).stanzas[0].args[0] == SCRYPT:
                raise ConfigError(
                    "sealed-under-passphrase", f"`{path}` is sealed under a passphrase", "open it and seal it again"
                )
            src.seek(0)
            digest = HashingReader(src).drain()
            record = self._history.record_of(digest)
            if record is None and not named:
                raise SealError(
                    "not-recorded",
                    f"no entry of this log knows `{path.name}`",
                    "name it if it is to have these readers",
                )
            # what no entry knows may be anything
            label = highest(authority.policy.scheme) if record is None else authority.policy.scheme.parse(record.label)
            src.seek(0)
            try:
                opener = find_opener(src, self._keychain())
            except NoIdentityMatchError as error:
                raise self._keychain.explain(error, () if record is None else record.recipients) from None
            names, recipients = self._choose(label, opener)
            after = tuple(recipient.fingerprint for recipient in recipients)
            request = Request(Action.SHARE, authority.principal, label, recipients=names)
            src.seek(0)
            if self._is_for(digest, unarmored(src, src.peek(256)), after) and authority.policy.decide(request).allow:
                return Rewrapped(None, str(label), after)
            context = authority.context(label)
            decision = authority.require(request, context, subject=digest)
            src.seek(0)
            again = HashingReader(src)
            with _in_place(path) as dst:
                hashing = HashingWriter(dst)
                reader = io.BufferedReader(again, _BUFFER)
                if armored:  # for copy and paste, so small
                    text = io.BytesIO()
                    rewrap_stream(reader, text, (opener,), recipients)
                    hashing.write(armor(text.getvalue()))
                else:
                    rewrap_stream(reader, cast("BinaryIO", hashing), (opener,), recipients)
                if again.digest() != digest:
                    raise SealError("source-changed", f"`{path}` changed while it was rewrapped")
                entry = authority.record_share(context, hashing.digest(), after, decision=decision, path=str(path))
        before = None if record is None else record.recipients
        return Rewrapped(None, str(label), before, after, decision.entry, entry)

    # --- for whom ----------------------------------------------------------------------------------------------------

    def _choose(self, label: Label, opener: Identity) -> tuple[tuple[str, ...], tuple[Recipient, ...]]:
        """Names and recipients: those of the label and `to`; what is under a dataset key stays under it."""
        policy = self._authority.policy
        dataset = self._keychain.dataset_of(opener)
        if dataset is not None and dataset not in policy.data.datasets:
            raise ConfigError(
                "dataset-not-named",
                f"it is sealed under the dataset key `{dataset}`, which the policy no longer names",
                f"it stays as it is; `qnb keys shred {dataset}` erases it",
            )
        names = policy.sealed_to(label, (*(() if dataset is None else (dataset,)), *self._to))
        return names, tuple(parse_recipient(text) for text in policy.recipients(names))

    def _is_for(self, digest: bytes, src: BinaryIO, wanted: Iterable[str]) -> bool:
        """Whether a ciphertext is known to be sealed for these and nobody else."""
        record = self._history.record_of(digest)
        if record is None or set(record.recipients) != set(wanted):
            return False
        return len(parse_header(src).stanzas) == len(record.recipients)  # what is recorded is also what is there


class _UnchangedError(Exception):
    """Nothing was to be done, so the file stays as it is to the byte."""


def _check_report(report: Report, sealed: SealedOutput) -> None:
    """The output is the one that an entry of a known log vouches for, and nothing later took its place.

    Its new entry will say as much, so what does not verify is not rewrapped.
    """
    for step in report.steps:
        if step.held is False and step.name != "source":
            raise VerificationError(step.code or "did-not-hold", step.detail, "`qnb verify` shows every step")
    if sealed.receipt is None or not report.authenticated:
        raise VerificationError(
            "signer-not-known",
            "the output was recorded in a log whose signer is not known here",
            "give that account's log.vkey with `--key`",
        )
    if not any(step.name == "entry" and step.held for step in report.steps):
        raise VerificationError("entry-not-read", "what was recorded of the output cannot be read", None)


def _source(header: OutputHeader) -> bytes | None:
    try:
        return None if header.source_digest is None else bytes.fromhex(header.source_digest)
    except ValueError:
        raise SealError("output-malformed", "the sealed output does not parse: its source is no digest") from None


@contextmanager
def _in_place(path: Path) -> Iterator[BinaryIO]:
    """Write a file anew in its place, with the mode that it has."""
    with suppress(_UnchangedError), atomic_writer(path, mode=stat.S_IMODE(path.stat().st_mode)) as dst:
        yield dst


def _encode(nb: dict[str, Any]) -> bytes:
    """As Jupyter writes it, so that a diff shows what was rewrapped and nothing else."""
    try:
        return json.dumps(nb, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot say
        return json.dumps(nb, indent=1).encode("ascii") + b"\n"
