"""`scrypt`: the passphrase recipient, always alone in its file.

Enters: a passphrase, a work factor, stanzas. Leaves: stanzas, file keys.
Never: spends more memory on reading than the caller allowed: the work factor is capped before it is used.
Spec: C2SP age.md, "The scrypt recipient type"; RFC 7914. Memory is 1 KiB x 2^work_factor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from qnb.core.seal.header import Stanza, decode_base64, encode_base64, malformed
from qnb.core.seal.recipient import Identity, Recipient, check_shape, unwrap_with, wrap_with
from qnb.errors import RecipientError

KIND = "scrypt"
DEFAULT_WORK_FACTOR = 18
"""About a second and 256 MiB; what the age tool uses."""
MAX_WORK_FACTOR = 20
"""The largest accepted on reading unless told otherwise: about four seconds and 1 GiB."""
_SALT_PREFIX = b"age-encryption.org/v1/scrypt"
_DECIMAL = re.compile(r"[1-9][0-9]{0,2}")


def _derive(passphrase: bytes, salt: bytes, work_factor: int) -> bytes:
    return Scrypt(salt=_SALT_PREFIX + salt, length=32, n=1 << work_factor, r=8, p=1).derive(passphrase)


def _encode(passphrase: str) -> bytes:
    if not passphrase:
        raise RecipientError("passphrase-empty", "the passphrase is empty")
    try:
        return passphrase.encode("utf-8")
    except UnicodeEncodeError:
        raise RecipientError("passphrase-malformed", "the passphrase is not valid text") from None


class PassphraseRecipient(Recipient):
    """Seals under a passphrase.

    Args:
        passphrase: not empty; spelled as UTF-8.
        work_factor: base-two logarithm of the scrypt cost, 1 to 22.
        random: source of the 16-byte salt.

    Raises:
        RecipientError: `passphrase-empty`, `passphrase-malformed`, `work-factor`.
    """

    kind = KIND
    text = "passphrase"

    def __init__(
        self,
        passphrase: str,
        *,
        work_factor: int = DEFAULT_WORK_FACTOR,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if not 1 <= work_factor <= 22:
            raise RecipientError("work-factor", f"the scrypt work factor {work_factor} is not between 1 and 22")
        self._passphrase = _encode(passphrase)
        self._work_factor = work_factor
        self._random = random

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap the 16-byte file key; takes the time that the work factor asks for."""
        salt = self._random(16)
        body = wrap_with(_derive(self._passphrase, salt, self._work_factor), file_key)
        return Stanza((KIND, encode_base64(salt).decode("ascii"), str(self._work_factor)), body)

    def __repr__(self) -> str:
        return "<scrypt recipient>"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class PassphraseIdentity(Identity):
    """Opens what was sealed under a passphrase.

    Args:
        passphrase: not empty.
        max_work_factor: the largest work factor that a file may ask for.

    Raises:
        RecipientError: `passphrase-empty`, `passphrase-malformed`.
    """

    kind = KIND

    def __init__(self, passphrase: str, *, max_work_factor: int = MAX_WORK_FACTOR) -> None:
        self._passphrase = _encode(passphrase)
        self._max_work_factor = max_work_factor

    @property
    def recipient(self) -> PassphraseRecipient:
        """The public side."""
        return PassphraseRecipient(self._passphrase.decode("utf-8"))

    def reveal(self) -> str:
        """The passphrase."""
        return self._passphrase.decode("utf-8")

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """As `Identity.unwrap`."""
        if stanza.args[0] != KIND:
            return None
        check_shape(stanza, arguments=3)
        salt = decode_base64(stanza.args[1].encode("ascii"))
        if len(salt) != 16:
            raise malformed("a scrypt recipient has a salt of the wrong size")
        if _DECIMAL.fullmatch(stanza.args[2]) is None:
            raise malformed("a scrypt recipient has a work factor that is not a number")
        work_factor = int(stanza.args[2])
        if work_factor > self._max_work_factor:
            raise malformed(
                f"it asks for scrypt work factor {work_factor}, at most {self._max_work_factor} is accepted"
            )
        return unwrap_with(_derive(self._passphrase, salt, work_factor), stanza.body)
