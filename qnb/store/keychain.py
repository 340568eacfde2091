"""What an account can open with: its identity, those it had before, and the dataset keys that these open.

Enters: the home, and a way to ask for passphrases. Leaves: identities, found as they are needed; the names of keys that
were destroyed.
Never: uses a key that was shredded, even when a copy of its file is put back; asks for a passphrase that is not needed.
Layout: `identity`; `identities/FINGERPRINT`, replaced by a rotation and kept for reading; `keys/NAME.age`, a dataset's
identity (the newest first) sealed for its members; `keys/NAME.shredded`, what is left of one that was destroyed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qnb.core.seal import Identity, open_, parse_identities
from qnb.errors import ConfigError, NoIdentityMatchError, QnbError, SealError, StorageError
from qnb.store.files import write_atomic
from qnb.store.history import History
from qnb.store.keys import load_identities


@dataclass(frozen=True, slots=True)
class Shredded:
    """A key that was destroyed: its name, the fingerprints of its recipients, when."""

    name: str
    fingerprints: tuple[str, ...]
    time: str


class Keychain:
    """The identities of an account, in the order in which they are tried; iterating asks for no more than it takes.

    Args:
        home: the account's home.
        ask_passphrase: gives the passphrase of a file; None when nobody can be asked.
        files: identity files to use instead of the account's own.
        unlocked: what is in the account's own identity file, where somebody unlocked it before.
    """

    def __init__(
        self,
        home: Path,
        ask_passphrase: Callable[[Path], str] | None,
        files: Sequence[Path] = (),
        *,
        unlocked: Sequence[Identity] = (),
    ) -> None:
        self._home = home
        self._unlocked = tuple(unlocked)
        self._ask = ask_passphrase
        self._files = tuple(files)
        self._found: list[Identity] = []
        self._names: dict[str, str] = {}  # fingerprint -> dataset
        self._source: Iterator[Identity] | None = None
        self._failed: QnbError | None = None

    def __repr__(self) -> str:
        return f"Keychain({str(self._home)!r})"

    def __call__(self) -> Iterable[Identity]:
        """Itself, once it is known that there is an identity at all.

        Raises:
            ConfigError: there is none.
            QnbError: as `load_identities`, of the first.
        """
        if not self._files and not (self._home / "identity").exists():
            raise ConfigError(
                "no-identity",
                f"there is no identity at `{self._home / 'identity'}`",
                "name one with `-i`, or run `qnb init`",
            )
        next(iter(self), None)
        return self

    def __iter__(self) -> Iterator[Identity]:
        if self._source is None:
            self._source = self._search()
        at = 0
        while True:
            while at < len(self._found):
                yield self._found[at]
                at += 1
            if self._failed is not None:  # a file that could not be opened is not asked for again
                raise self._failed
            try:
                following = next(self._source, None)
            except QnbError as error:
                self._failed = error
                raise
            if following is None:
                return
            self._found.append(following)

    def dataset_of(self, identity: Identity) -> str | None:
        """The name of the dataset key that an identity is; None of one of the account's own."""
        return self._names.get(identity.recipient.fingerprint)

    def explain(self, error: QnbError, fingerprints: Iterable[str]) -> QnbError:
        """An error of opening, in other words where the recipients were keys that were shredded."""
        if isinstance(error, NoIdentityMatchError) and error.code == "no-identity-match":
            sealed_to = set(fingerprints)
            for key in load_shredded(self._home):
                if sealed_to & set(key.fingerprints):
                    return NoIdentityMatchError(
                        "key-shredded",
                        f"it was sealed under the key `{key.name}`, which was shredded at {key.time}: it is erased",
                    )
        return error

    def explain_file(self, error: QnbError, path: Path) -> QnbError:
        """As `explain`, of an age file, which does not say whom it is sealed for: the log may.

        Raises:
            StorageError: the file or the log cannot be read.
        """
        gone = load_shredded(self._home)
        if not gone:
            return error
        with path.open("rb") as file:
            record = History.of(self._home).record_of(hashlib.file_digest(file, "sha256").digest())
        if record is not None:
            return self.explain(error, record.recipients)
        names = ", ".join(f"`{key.name}` (at {key.time})" for key in gone)
        return type(error)(
            error.code, error.message, f"what was sealed under a key that was shredded here is erased: {names}"
        )

    def _load(self, path: Path) -> tuple[Identity, ...]:
        ask = self._ask
        return load_identities([path], None if ask is None else lambda: ask(path))

    def _search(self) -> Iterator[Identity]:
        own: list[Identity] = []
        for path in self._files or (self._home / "identity",):
            loaded = self._unlocked or self._load(path)
            own += loaded
            yield from loaded
        datasets = _Datasets(self._home, self._names)
        yield from datasets.opened_by(own)
        if self._files:
            return
        for path in retired_files(self._home):
            try:
                loaded = self._load(path)
            except ConfigError:  # under a passphrase, and nobody can be asked: it is as good as not here
                continue
            yield from loaded
            yield from datasets.opened_by(loaded)


class _Datasets:
    """Key files that were not opened yet."""

    def __init__(self, home: Path, names: dict[str, str]) -> None:
        self._names = names
        self._shredded = {print_ for key in load_shredded(home) for print_ in key.fingerprints}
        gone = {key.name for key in load_shredded(home)}
        self._closed = [path for path in dataset_files(home) if path.stem not in gone]

    def opened_by(self, identities: Sequence[Identity]) -> Iterator[Identity]:
        for path in tuple(self._closed):
            found = open_dataset(path, identities)
            if found is None:
                continue
            self._closed.remove(path)
            for identity in found:
                fingerprint = identity.recipient.fingerprint
                if fingerprint not in self._shredded:
                    self._names[fingerprint] = path.stem
                    yield identity


def open_dataset(path: Path, identities: Iterable[Identity]) -> tuple[Identity, ...] | None:
    """The identities in a dataset's key file, the newest first; None when none of those given is a member.

    Raises:
        StorageError: it cannot be read, or is no such file.
    """
    try:
        return parse_identities(open_(_read(path), identities).decode("ascii", "replace"))
    except NoIdentityMatchError:
        return None
    except SealError as error:
        raise StorageError(
            "key-damaged", f"`{path}` is not a dataset key: {error.message}", "put back a copy from a backup"
        ) from None


def retired_files(home: Path) -> list[Path]:
    """Identity files that a rotation replaced, the newest first."""
    files = (path for path in _entries(home / "identities") if path.suffix != ".pub")
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def dataset_files(home: Path) -> list[Path]:
    """The key files of datasets, by name."""
    return sorted(path for path in _entries(home / "keys") if path.suffix == ".age")


def load_shredded(home: Path) -> list[Shredded]:
    """The keys that were destroyed here, by name.

    Raises:
        StorageError: one of the files that say so cannot be read.
    """
    found = []
    for path in sorted(path for path in _entries(home / "keys") if path.suffix == ".shredded"):
        try:
            said = json.loads(_read(path))
            found.append(Shredded(said["name"], tuple(said["fingerprints"]), said["time"]))
        except (ValueError, KeyError, TypeError):
            raise StorageError("key-damaged", f"`{path}` does not say which key was shredded", "restore it") from None
    return found


def save_shredded(home: Path, key: Shredded) -> None:
    """Write down that a key is not to be used any more, whatever file turns up.

    Raises:
        StorageError: it cannot be written.
    """
    text = json.dumps({"name": key.name, "fingerprints": list(key.fingerprints), "time": key.time})
    write_atomic(home / "keys" / f"{key.name}.shredded", text.encode("ascii") + b"\n")


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> StorageError:
    reason = (error.strerror or "input/output error").lower()
    return StorageError("unreadable", f"`{path}` cannot be read: {reason}", "check its permissions")
