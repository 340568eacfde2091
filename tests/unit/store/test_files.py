"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnb.errors import StorageError
from qnb.store.files import atomic_writer, write_atomic


def test_written_file_has_content_and_mode(tmp_path: Path) -> None:
    """The file stands with the mode asked for and nothing else beside it."""
    write_atomic(tmp_path / "a", b"new", mode=0o640)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_failure_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    """A writer that breaks off leaves the old content and no temporary file."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_writer(path) as file:
            file.write(b"ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_existing_file_without_replace_is_an_error(tmp_path: Path) -> None:
    """Exclusive creation never overwrites."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(StorageError, match="exists already"):
        write_atomic(path, b"new", replace=False)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    """The operating system's refusal becomes one of ours, with a hint."""
    with pytest.raises(StorageError) as caught:
        write_atomic(tmp_path / "no" / "a", b"")
    assert caught.value.hint is not None
