"""Sealing: age v1 files with post-quantum recipients, on `cryptography` alone.

Enters: bytes or streams with recipients or identities. Leaves: age files, or what was in them.
Never: reads or writes files, keeps a key. age has no sender authentication: what opens may come from anybody who knows
the recipient, so qnb binds and signs around it (`output`, the log).
Spec: C2SP age.md, one module for each of its parts: bech32, header, hybrid, x25519, scrypt, stream, armor.
"""

from __future__ import annotations

from qnb.errors import ConfigError


def _check_build() -> None:
    """Refuse a `cryptography` without the post-quantum algorithms now, not in the middle of a cell.

    Raises:
        ConfigError: `cryptography-too-old`.
    """
    import cryptography

    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

        MLDSA44PrivateKey.from_seed_bytes(bytes(32))
        MLKEM768PrivateKey.from_seed_bytes(bytes(64))
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    except Exception:  # noqa: BLE001 - ImportError, AttributeError, UnsupportedAlgorithm: each build lacks them in its own way
        raise ConfigError(
            "cryptography-too-old",
            f"cryptography {cryptography.__version__} as built here lacks ML-KEM or ML-DSA; version 48.0.1 or later is needed",
            "`pip install --upgrade --only-binary cryptography 'cryptography>=48.0.1'`",
        ) from None


_check_build()

from qnb.core.seal.armor import armor, dearmor
from qnb.core.seal.file import is_age, open_, open_stream, seal, seal_stream
from qnb.core.seal.keys import generate_identity, parse_identities, parse_identity, parse_recipient
from qnb.core.seal.recipient import Identity, Recipient
from qnb.core.seal.scrypt import PassphraseIdentity, PassphraseRecipient

__all__ = [
    "Identity",
    "PassphraseIdentity",
    "PassphraseRecipient",
    "Recipient",
    "armor",
    "dearmor",
    "generate_identity",
    "is_age",
    "open_",
    "open_stream",
    "parse_identities",
    "parse_identity",
    "parse_recipient",
    "seal",
    "seal_stream",
]
