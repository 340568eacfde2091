"""`mlkem768x25519`: the post-quantum hybrid recipient, HPKE with X-Wing. The default everywhere in qnb.

Enters: 32-byte seeds, 1216-byte public keys, stanzas. Leaves: stanzas, file keys, key strings.
Spec: C2SP age.md, "The MLKEM768-X25519 hybrid post-quantum recipient type"; HPKE: RFC 9180 section 6.1,
draft-ietf-hpke-pq.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from qnb.core.seal import bech32
from qnb.core.seal.header import Stanza, decode_base64, encode_base64, malformed
from qnb.core.seal.recipient import Identity, Recipient, check_shape
from qnb.errors import RecipientError

KIND = "mlkem768x25519"
RECIPIENT_HRP = "age1pq"
IDENTITY_HRP = "AGE-SECRET-KEY-PQ-"
_MLKEM_PUBLIC = 1184
_MLKEM_CIPHERTEXT = 1088
_ENC = _MLKEM_CIPHERTEXT + 32
_INFO = b"age-encryption.org/mlkem768x25519"
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class HybridRecipient(Recipient):
    """An `age1pq1…` recipient, made from the 1216 bytes of its public key: ML-KEM-768 (1184), then X25519 (32).

    Raises:
        RecipientError: `recipient-malformed`.
    """

    kind = KIND

    def __init__(self, public: bytes) -> None:
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC])
            x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:])
        except ValueError:
            raise RecipientError("recipient-malformed", "the recipient is not a hybrid public key") from None
        self._public = public
        self._key = MLKEM768X25519PublicKey(mlkem, x25519)

    @cached_property
    def text(self) -> str:
        """The recipient string."""
        return bech32.encode(RECIPIENT_HRP, self._public)

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap the 16-byte file key. Raises RecipientError `recipient-weak` for a key of low order."""
        try:
            sealed = _SUITE.encrypt(file_key, self._key, _INFO)
        except ValueError:  # a low-order X25519 half: the shared secret would be zero
            raise RecipientError("recipient-weak", "the recipient is not a usable public key") from None
        return Stanza((KIND, encode_base64(sealed[:_ENC]).decode("ascii")), sealed[_ENC:])


class HybridIdentity(Identity):
    """An `AGE-SECRET-KEY-PQ-1…` identity, made from its 32-byte seed.

    Raises:
        RecipientError: `identity-malformed`.
    """

    kind = KIND

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise RecipientError("identity-malformed", "the identity is not a hybrid secret key")
        expanded = hashlib.shake_256(seed).digest(96)
        self._seed = seed
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._key = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @cached_property
    def recipient(self) -> HybridRecipient:
        """The public side."""
        return HybridRecipient(
            self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        )

    def reveal(self) -> str:
        """The secret, as it stands in an identity file."""
        return bech32.encode(IDENTITY_HRP.lower(), self._seed).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """As `Identity.unwrap`."""
        if stanza.args[0] != KIND:
            return None
        check_shape(stanza, arguments=2)
        enc = decode_base64(stanza.args[1].encode("ascii"))
        if len(enc) != _ENC:
            raise malformed("a mlkem768x25519 recipient has a share of the wrong size")
        try:
            return _SUITE.decrypt(enc + stanza.body, self._key, _INFO)
        except InvalidTag:
            self._reject_low_order(enc[_MLKEM_CIPHERTEXT:])
            return None

    def _reject_low_order(self, share: bytes) -> None:
        # the suite answers the same for "not for me" and for a share that forces a zero secret, which must be refused
        try:
            self._x25519.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise malformed("a mlkem768x25519 recipient has a share of low order") from None
