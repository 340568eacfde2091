"""Sealed maps of names, on disk: what neutral names of a job that left stand for.

Enters: age files, the index of the decision they belong to, ids of jobs. Leaves: files of mode 0600 below `names/`, and
links to them by job. Never: a name in clear, or a job's id: a link is named by its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from qnb.errors import StorageError
from qnb.store.files import write_atomic

_FOLDER = "names"


def save_names(home: Path, entry: int | None, ciphertext: bytes) -> Path:
    """Keep a sealed map.

    Args:
        home: `QNB_HOME`.
        entry: index of the decision that it belongs to.
        ciphertext: the age file.

    Returns:
        Its path: `names/<entry>-<first digits of its SHA-256>.age`.

    Raises:
        StorageError: it cannot be written.
    """
    folder = home / _FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None
    path = folder / f"{entry}-{hashlib.sha256(ciphertext).hexdigest()[:12]}.age"
    write_atomic(path, ciphertext, replace=False)
    return path


def link_job(path: Path, job: str) -> None:
    """Let a sealed map be found by the id of its job.

    Raises:
        StorageError: the link cannot be made.
    """
    try:
        with contextlib.suppress(FileExistsError):
            (path.parent / _link(job)).symlink_to(path.name)
    except OSError as error:
        raise _unusable(path.parent, error) from None


def find_job(home: Path, job: str) -> Path | None:
    """The sealed map of a job, None when there is none."""
    link = home / _FOLDER / _link(job)
    try:
        return link.parent / link.readlink()
    except OSError:
        return None


def _link(job: str) -> str:
    return f"job-{hashlib.sha256(job.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _unusable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        "not-written",
        f"`{folder}` cannot be written: {(error.strerror or 'input/output error').lower()}",
        "check the folder's permissions and free space",
    )
