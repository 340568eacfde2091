from __future__ import annotations

import pytest

from qnb.core.seal import bech32
from qnb.errors import RecipientError


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 32, 79, 80, 81, 1216])
def test_bytes_encoded_decode_to_themselves(size: int) -> None:
    """Every length comes back, far beyond the 90 characters that BIP 173 allows."""
    data = bytes((i * 37 + size) % 256 for i in range(size))
    assert bech32.decode(bech32.encode("age1pq", data)) == ("age1pq", data)


def test_published_string_decoded_gives_its_bytes() -> None:
    """The identity in the specification is the byte 0x42, 32 times."""
    text = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    assert bech32.decode(text) == ("AGE-SECRET-KEY-", b"\x42" * 32)
    assert bech32.encode("age-secret-key-", b"\x42" * 32).upper() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "age1",
        "1qqqqqq",
        "ageqqqqqqqq",
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwJ",  # one upper-case letter
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk",  # last letter changed
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujbj",  # b is not in the alphabet
        "a\x7fge1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX".replace("K", "\u212a"),  # Kelvin
    ],
)
def test_malformed_string_is_refused(text: str) -> None:
    """What is not exactly one Bech32 string is refused, without quoting it."""
    with pytest.raises(RecipientError) as caught:
        bech32.decode(text)
    assert caught.value.code == "bech32-malformed"


def test_padding_bits_set_are_refused() -> None:
    """A string whose spare bits are not zero is a second spelling of the same bytes."""
    good = bech32.encode("age", b"\x01")
    values = [bech32._VALUES[c] for c in good[4:-6]]
    values[-1] |= 1
    checksum = bech32._polymod("age", [*values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [checksum >> 5 * i & 31 for i in range(5, -1, -1)]
    with pytest.raises(RecipientError, match="padded"):
        bech32.decode("age1" + "".join(bech32._CHARSET[v] for v in values))
