"""Bech32 without a length limit, as age spells recipients and identities.

Enters: a human-readable part with bytes, or a string. Leaves: the other one.
Never: quotes the data part in an error, which may be a secret key.
Spec: BIP 173 with the length limit lifted (C2SP age.md, "Conventions"); the checksum constant is that of Bech32, not of
Bech32m.
"""

from __future__ import annotations

from qnb.errors import RecipientError

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # what int(…, 32) reads
_VALUES = {c: v for v, c in enumerate(_CHARSET)}
_TO_DIGITS = str.maketrans(_CHARSET, _DIGITS)


def _feedback() -> tuple[int, ...]:
    generators = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    rows = []
    for top in range(32):
        row = 0
        for bit, generator in enumerate(generators):
            if top >> bit & 1:
                row ^= generator
        rows.append(row)
    return tuple(rows)


_FEEDBACK = _feedback()


def _polymod(hrp: str, values: list[int]) -> int:
    state = 1
    for value in [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp] + values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _FEEDBACK[state >> 25]
    return state


def encode(hrp: str, data: bytes) -> str:
    """Spell `data` under the lower-case human-readable part `hrp`; lower case."""
    symbols = -(-len(data) * 8 // 5)
    bits = int.from_bytes(data, "big") << (symbols * 5 - len(data) * 8)
    values = [bits >> 5 * i & 31 for i in range(symbols - 1, -1, -1)] if symbols < 128 else _split(bits, symbols)
    checksum = _polymod(hrp, [*values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [checksum >> 5 * i & 31 for i in range(5, -1, -1)]
    return hrp + "1" + "".join(_CHARSET[v] for v in values)


def _split(bits: int, symbols: int) -> list[int]:
    # shifting one big integer per symbol is quadratic: five bytes hold eight symbols
    padding = -symbols % 8
    raw = (bits << 5 * padding).to_bytes((symbols + padding) * 5 // 8, "big")
    values: list[int] = []
    for start in range(0, len(raw), 5):
        group = int.from_bytes(raw[start : start + 5], "big")
        values += [group >> shift & 31 for shift in (35, 30, 25, 20, 15, 10, 5, 0)]
    return values[:symbols]


def decode(text: str) -> tuple[str, bytes]:
    """Read a Bech32 string, all lower or all upper case.

    Returns:
        The human-readable part in the case it was given in, and the bytes.

    Raises:
        RecipientError: `bech32-malformed`.
    """
    if not text.isascii():  # lower() folds other letters into ASCII ones
        raise _malformed("has a character that is not allowed")
    lower = text.lower()
    if text != lower and text != text.upper():
        raise _malformed("mixes upper and lower case")
    position = lower.rfind("1")
    if position < 1 or len(lower) - position - 1 < 6:
        raise _malformed("is too short or has no separator `1`")
    hrp, symbols = lower[:position], lower[position + 1 :]
    if not all("!" <= c <= "~" for c in hrp):
        raise _malformed("has a character that is not allowed")
    try:
        values = [_VALUES[c] for c in symbols]
    except KeyError:
        raise _malformed("has a character that is not allowed") from None
    if _polymod(hrp, values) != 1:
        raise _malformed("has a wrong checksum: a character is missing or mistyped")
    payload = symbols[:-6]
    length, rest = divmod(len(payload) * 5, 8)
    bits = int(payload.translate(_TO_DIGITS), 32) if payload else 0
    if rest >= 5 or bits & (1 << rest) - 1:
        raise _malformed("is not padded as it should be")
    return text[:position], (bits >> rest).to_bytes(length, "big")


def _malformed(what: str) -> RecipientError:
    return RecipientError(
        "bech32-malformed", f"the key string {what}", "copy the whole line again, without line breaks"
    )
