"""Writing files so that a crash leaves the old one or the new one, never half of either.

Enters: bytes and a path. Leaves: a durable file with the mode asked for. Never: a temporary file in another folder,
which could be another file system or world-readable.
"""

from __future__ import annotations

import os
import stat
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
            Path(name).replace(path)
        else:
            os.link(name, path)
            Path(name).unlink()
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


def read_private(path: Path, *, mounted: bool = False) -> bytes:
    """Read a file that holds a secret.

    Args:
        path: the file.
        mounted: take also one that a platform mounted (`is_mounted_secret`).

    Raises:
        StorageError: it cannot be read, is no regular file, or is open to other accounts.
    """
    try:
        with path.open("rb") as file:
            # of the open file, not of the path: what is checked is what is read
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StorageError("not-a-file", f"`{path}` is not a regular file", "name the file that holds the key")
            if status.st_mode & 0o077 and not (mounted and is_mounted_secret(file.fileno())):
                raise StorageError(
                    "open-to-others",
                    f"`{path}` is open to other accounts (mode {stat.S_IMODE(status.st_mode):04o}), so it is not used",
                    f"chmod 600 '{path}', and think of the key as seen",
                )
            return file.read()
    except OSError as error:
        raise StorageError(
            "unreadable",
            f"`{path}` cannot be read: {(error.strerror or 'input/output error').lower()}",
            "check the path and its permissions",
        ) from None


def is_mounted_secret(descriptor: int) -> bool:
    """Whether an open file is a secret that a platform mounted for this process alone.

    Exactly: of another account, mode 0400 or 0440, on a file system that is mounted read-only, as a container's secrets
    are. The group's permission is how a process that is not the owner reads it there.
    """
    status = os.fstat(descriptor)
    return (
        status.st_uid != os.geteuid()
        and stat.S_IMODE(status.st_mode) in (0o400, 0o440)
        and bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
    )


def destroy_file(path: Path) -> None:
    """Overwrite a file and remove it, durably. It need not be there.

    What a file system keeps beside the file (journals, snapshots, the spare blocks of a flash disk) is out of reach.

    Raises:
        StorageError: it cannot be overwritten or removed.
    """
    try:
        with path.open("r+b") as file:
            overwrite(file)
        path.unlink()
        _sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(
            "not-destroyed",
            f"`{path}` cannot be destroyed: {(error.strerror or 'input/output error').lower()}",
            "check its permissions and try again",
        ) from None


def overwrite(file: BinaryIO) -> None:
    """Put zeros in the place of what an open file holds, durably."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    file.write(bytes(size))
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(name: str) -> None:
    Path(name).unlink(missing_ok=True)


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(
        "not-written",
        f"`{path}` cannot be written: {(error.strerror or 'input/output error').lower()}",
        "check the folder's permissions and free space",
    )
