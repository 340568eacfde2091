"""Sealing: age v1 files with post-quantum recipients, on `cryptography` alone.

Enters: bytes or streams with recipients or identities. Leaves: age files, or what was in them.
Never: reads or writes files, keeps a key. age has no sender authentication: what opens may come from anybody who knows
the recipient, so qnb binds and signs around it (`output`, the log).
Spec: C2SP age.md, one module for each of its parts: bech32, header, hybrid, x25519, scrypt, stream, armor.
"""

from __future__ import annotations

from qnb.core.seal.armor import armor, dearmor
from qnb.core.seal.build import MINIMUM_CRYPTOGRAPHY
from qnb.core.seal.file import find_opener, is_age, open_, open_stream, rewrap, rewrap_stream, seal, seal_stream
from qnb.core.seal.keys import generate_identity, parse_identities, parse_identity, parse_recipient
from qnb.core.seal.recipient import Identity, Recipient
from qnb.core.seal.scrypt import PassphraseIdentity, PassphraseRecipient

__all__ = [
    "MINIMUM_CRYPTOGRAPHY",
    "Identity",
    "PassphraseIdentity",
    "PassphraseRecipient",
    "Recipient",
    "armor",
    "dearmor",
    "find_opener",
    "generate_identity",
    "is_age",
    "open_",
    "open_stream",
    "parse_identities",
    "parse_identity",
    "parse_recipient",
    "rewrap",
    "rewrap_stream",
    "seal",
    "seal_stream",
]
