"""Uploads that come in pieces.

Enters: contents models with a `chunk` number: 1, 2, … and -1 for the last. Leaves: the whole, once it is there.
Never: lets a piece of a file through that is called a notebook; holds more than a bound of them in memory, or anything
on disk. Other files pass as they come, however large: one that becomes a notebook by renaming is looked at then.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from qnb.errors import ConfigError

_MOST_BYTES = 512 << 20
_MOST_UPLOADS = 16


@dataclass(slots=True)
class Upload:
    """One file on its way.

    Attributes:
        format: `text` or `base64`, of all its pieces.
        placed: whether an empty file was put in its place.
        whole: the model to save, once the last piece came.
    """

    format: str
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    placed: bool = False
    whole: dict[str, Any] | None = None


class Uploads:
    """The notebooks on their way to one contents manager."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Upload] = OrderedDict()

    def take(self, model: dict[str, Any], path: str) -> Upload | None:
        """Take in a piece.

        Args:
            model: with `chunk`, `content` and `format`.
            path: of the file.

        Returns:
            The upload that the piece belongs to; None for a file that is called otherwise.

        Raises:
            ConfigError: a piece of a notebook whose beginning is not here, or not of its form, or too much of it.
        """
        if not path.endswith(".ipynb"):
            return None
        number, kind = model.get("chunk"), str(model.get("format") or "text")
        piece = self._decode(model.get("content"), kind)
        if number == 1:
            self._held.pop(path, None)
            self._held[path] = Upload(kind)
            while len(self._held) > _MOST_UPLOADS:
                self._held.popitem(last=False)
        upload = self._held.get(path)
        if upload is None:
            raise ConfigError("upload-lost", "the beginning of this upload is not here", "upload the file again")
        if kind != upload.format:
            raise ConfigError("upload-mixed", "the pieces of this upload differ in form", "upload the file again")
        upload.pieces.append(piece)
        upload.size += len(piece)
        if sum(other.size for other in self._held.values()) > _MOST_BYTES:
            del self._held[path]
            raise ConfigError("upload-too-large", "the notebook is too large to be looked at", "clear its outputs")
        if number == -1:
            del self._held[path]
            data = b"".join(upload.pieces)
            text = data.decode("utf-8", "surrogatepass") if kind == "text" else b64encode(data).decode("ascii")
            upload.whole = {"type": "file", "format": kind, "content": text}
        return upload

    @staticmethod
    def _decode(content: object, kind: str) -> bytes:
        if not isinstance(content, str):
            raise ConfigError("upload-malformed", "a piece of an upload has no content", "upload the file again")
        try:
            return content.encode("utf-8", "surrogatepass") if kind == "text" else b64decode(content)
        except ValueError:
            raise ConfigError("upload-malformed", "a piece of an upload does not decode", "upload it again") from None
