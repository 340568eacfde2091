"""Writing files so that a crash leaves the old one or the new one, never half of either.

Enters: bytes and a path. Leaves: a durable file with the mode asked for. Never: a temporary file in another folder, which
could be another file system or world-readable.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from qnb.errors import StorageError


@contextmanager
def atomic_writer(path: Path, *, mode: int = 0o600, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a file beside `path` for writing that takes its place, durable, when the block ends well.

    Args:
        path: where the file shall stand.
        mode: permission bits of the new file.
        replace: whether a file that stands there may be replaced; if not, the check and the move are one step.

    Raises:
        StorageError: it cannot be written, or `path` exists and `replace` is False.
    """
    folder = path.parent
    try:
        # mkstemp makes the file 0600, so its content is nobody else's before fchmod says otherwise
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
        else:
            os.link(name, path)
            os.unlink(name)
        _sync_folder(folder)
    except OSError as error:
        _remove(name)
        if isinstance(error, FileExistsError):
            raise StorageError("exists", f"`{path}` exists already", "name another file or move it away") from None
        raise _not_written(path, error) from None
    except BaseException:
        _remove(name)
        raise


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write `data` to `path` in one step; arguments and errors as `atomic_writer`."""
    with atomic_writer(path, mode=mode, replace=replace) as file:
        file.write(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(name: str) -> None:
    try:
        os.unlink(name)
    except FileNotFoundError:
        return


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(
        "not-written", f"`{path}` cannot be written: {(error.strerror or 'input/output error').lower()}",
        "check the folder's permissions and free space",
    )
