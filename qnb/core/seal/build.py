"""Whether this build of `cryptography` has what sealing and signing need, asked once, when the package is imported.

Enters: nothing. Leaves: nothing, or an error that says which version is needed.
Never: waits for the middle of a cell to find out.
"""

from __future__ import annotations

import cryptography

from qnb.errors import ConfigError

MINIMUM_CRYPTOGRAPHY = "48.0.1"


def check_build() -> None:
    """Use each post-quantum algorithm once.

    Raises:
        ConfigError: `cryptography-too-old`.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

        MLDSA44PrivateKey.from_seed_bytes(bytes(32))
        MLKEM768PrivateKey.from_seed_bytes(bytes(64))
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    except Exception:  # noqa: BLE001 - ImportError, AttributeError, UnsupportedAlgorithm: builds differ in how they lack it
        raise ConfigError(
            "cryptography-too-old",
            f"this build of cryptography, {cryptography.__version__}, lacks ML-KEM or ML-DSA",
            f"version {MINIMUM_CRYPTOGRAPHY} or later is needed: `pip install -U --only-binary :all: cryptography`",
        ) from None


check_build()
