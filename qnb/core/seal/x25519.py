"""`X25519`: the classic recipient. Read and written for files of other tools; not safe from a quantum computer.

Enters: 32-byte keys, stanzas. Leaves: stanzas, file keys, key strings.
Spec: C2SP age.md, "The X25519 recipient type"; RFC 7748.
"""

from __future__ import annotations

from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from qnb.core.seal import bech32
from qnb.core.seal.header import Stanza, decode_base64, derive, encode_base64, malformed
from qnb.core.seal.recipient import Identity, Recipient, check_shape, unwrap_with, wrap_with
from qnb.errors import RecipientError

KIND = "X25519"
RECIPIENT_HRP = "age"
IDENTITY_HRP = "AGE-SECRET-KEY-"
_INFO = b"age-encryption.org/v1/X25519"


class X25519Recipient(Recipient):
    """An `age1…` recipient, made from its 32-byte public key.

    Raises:
        RecipientError: `recipient-malformed`.
    """

    kind = KIND

    def __init__(self, public: bytes) -> None:
        if len(public) != 32:
            raise RecipientError("recipient-malformed", "the recipient is not an X25519 public key")
        self._public = public
        self._key = X25519PublicKey.from_public_bytes(public)

    @cached_property
    def text(self) -> str:
        """The recipient string."""
        return bech32.encode(RECIPIENT_HRP, self._public)

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap the 16-byte file key. Raises RecipientError `recipient-weak` for a key of low order."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        try:
            secret = ephemeral.exchange(self._key)
        except ValueError:  # low order: the shared secret would be zero
            raise RecipientError("recipient-weak", "the recipient is not a usable public key") from None
        key = derive(secret, share + self._public, _INFO)
        return Stanza((KIND, encode_base64(share).decode("ascii")), wrap_with(key, file_key))


class X25519Identity(Identity):
    """An `AGE-SECRET-KEY-1…` identity, made from its 32-byte scalar.

    Raises:
        RecipientError: `identity-malformed`.
    """

    kind = KIND

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise RecipientError("identity-malformed", "the identity is not an X25519 secret key")
        self._secret = secret
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self._public = self._key.public_key().public_bytes_raw()

    @cached_property
    def recipient(self) -> X25519Recipient:
        """The public side."""
        return X25519Recipient(self._public)

    def reveal(self) -> str:
        """The secret, as it stands in an identity file."""
        return bech32.encode(IDENTITY_HRP.lower(), self._secret).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """As `Identity.unwrap`."""
        if stanza.args[0] != KIND:
            return None
        check_shape(stanza, arguments=2)
        share = decode_base64(stanza.args[1].encode("ascii"))
        if len(share) != 32:
            raise malformed("an X25519 recipient has a share of the wrong size")
        try:
            secret = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise malformed("an X25519 recipient has a share of low order") from None
        return unwrap_with(derive(secret, share + self._public, _INFO), stanza.body)
