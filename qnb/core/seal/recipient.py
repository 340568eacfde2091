"""What a recipient and an identity are to the file format.

Enters: a file key or a stanza. Leaves: the stanza or the file key.
Never: shows a secret: an identity's repr names the public side only.
Spec: C2SP age.md, "Recipient stanza".
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from qnb.core.seal.header import Stanza, malformed

FILE_KEY_SIZE = 16
_WRAPPED_SIZE = FILE_KEY_SIZE + 16
_ZERO_NONCE = bytes(12)


class Recipient(ABC):
    """Someone to seal for: the public side.

    Attributes:
        kind: the stanza type, `mlkem768x25519`, `X25519` or `scrypt`.
    """

    kind: str

    @abstractmethod
    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap the 16-byte file key."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The recipient string; for a passphrase, which has none, the word `passphrase`."""

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the recipient string."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()[:16]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.kind} recipient {self.fingerprint}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Recipient) and other.text == self.text

    def __hash__(self) -> int:
        return hash((type(self), self.text))


class Identity(ABC):
    """The private side. Holds a secret; shows none."""

    kind: str

    @property
    @abstractmethod
    def recipient(self) -> Recipient:
        """The public side."""

    @abstractmethod
    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or None when the stanza is for somebody else.

        Raises:
            SealError: `header-malformed` when a stanza of this kind breaks its own rules.
        """

    @abstractmethod
    def reveal(self) -> str:
        """The secret as it stands in an identity file."""

    def __repr__(self) -> str:
        return f"<{self.kind} identity of {self.recipient!r}>"

    def __reduce__(self) -> str:
        raise TypeError("an identity does not pickle")  # it would end in a file or a message


def wrap_with(key: bytes, file_key: bytes) -> bytes:
    """ChaCha20-Poly1305 under a key that is used once, so the nonce is zero."""
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, file_key, None)


def unwrap_with(key: bytes, body: bytes) -> bytes | None:
    """Inverse of `wrap_with`, None when the key is not the right one."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None


def check_shape(stanza: Stanza, arguments: int) -> None:
    """Check the number of arguments and the length of the body.

    The length is checked before decrypting: a longer body could be made to open under several keys (age.md asks for
    this against partitioning oracle attacks).
    """
    if len(stanza.args) != arguments:
        raise malformed(f"a {stanza.args[0]} recipient has {len(stanza.args)} arguments instead of {arguments}")
    if len(stanza.body) != _WRAPPED_SIZE:
        raise malformed(f"a {stanza.args[0]} recipient wraps a key of the wrong size")
