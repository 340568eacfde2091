"""Canonical bytes of plain values: the alphabet that every digest of this package is spelled in.

Enters: None, bool, int, float, complex, str, bytes, enum members, sequences, mappings, sets, numpy scalars and arrays.
Leaves: bytes in which no two different values collide: each item is tagged, each variable length is prefixed.
Never: falls back to `repr` or `str` of an object; what has no encoding raises `UnencodableError`.
Spec: docs/spec/fingerprint.md, "Values".
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

Fallback = Callable[[object], "bytes | None"]


class UnencodableError(Exception):
    """A value without a canonical encoding. Internal: callers turn it into None or an `ExecutionError`.

    Args:
        kind: qualified class name of what could not be encoded.
    """

    def __init__(self, value: object) -> None:
        self.kind = f"{type(value).__module__}.{type(value).__qualname__}"
        super().__init__(self.kind)


_length = struct.Struct("<Q").pack
_float = struct.Struct("<d").pack
_complex = struct.Struct("<dd").pack


def prefixed(data: bytes) -> bytes:
    """`data` behind its length as an unsigned 64-bit little-endian number."""
    return _length(len(data)) + data


def number(value: int) -> bytes:
    """A count or index as an unsigned 64-bit little-endian number."""
    return _length(value)


def encode(value: object, fallback: Fallback | None = None) -> bytes:
    """The canonical encoding of a value.

    Args:
        value: what to encode. Lists and tuples are the same; mapping keys and sets are in the order of their encodings.
        fallback: asked for objects that are not plain values; returns their encoding or None.

    Returns:
        The bytes, self-delimiting.

    Raises:
        UnencodableError: the value, or something within, has no encoding.
    """
    kind = type(value)
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    if kind is tuple or kind is list or kind is dict:
        return _container(value, fallback)
    if isinstance(value, np.generic):
        return _scalar(value)
    if isinstance(value, np.ndarray):
        return _array(value, fallback)
    if fallback is not None:
        known = fallback(value)
        if known is not None:
            return known
    if isinstance(value, enum.Enum):
        return b"u" + encode(type(value).__name__) + encode(value.name)
    return _container(value, fallback)


def _container(value: object, fallback: Fallback | None) -> bytes:
    if isinstance(value, (tuple, list)):
        return b"l" + number(len(value)) + b"".join([encode(item, fallback) for item in value])
    if isinstance(value, Mapping):
        pairs = sorted((encode(key, fallback), encode(item, fallback)) for key, item in value.items())
        return b"m" + number(len(pairs)) + b"".join(key + item for key, item in pairs)
    if isinstance(value, AbstractSet):
        items = sorted(encode(item, fallback) for item in value)
        return b"e" + number(len(items)) + b"".join(items)
    for plain, encoder in _PLAIN.items():
        if isinstance(value, plain):  # a subclass that carries nothing of its own
            return encoder(value)
    if isinstance(value, Sequence):
        return b"l" + number(len(value)) + b"".join(encode(item, fallback) for item in value)
    raise UnencodableError(value)


_PLAIN: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i" + prefixed(b"%d" % value),
    float: lambda value: b"f" + _float(value),
    complex: lambda value: b"c" + _complex(value.real, value.imag),
    str: lambda value: b"s" + prefixed(value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: b"b" + prefixed(value),
    bytearray: lambda value: b"b" + prefixed(bytes(value)),
}


def _scalar(value: np.generic) -> bytes:
    """A numpy scalar is encoded as the Python number it holds, so that `np.float64(1.0)` equals `1.0`."""
    plain = value.item()
    if isinstance(plain, (bool, int, float, complex, str, bytes)):
        return encode(plain)
    return _array(np.asarray(value), None)


# little-endian types that are encoded as they lie in memory -> tag and type
_HEADS = {
    np.dtype(name): b"a" + encode(np.dtype(name).str)
    for name in ("<f8", "<c16", "<f4", "<c8", "<i8", "<u8", "<i4", "<u4", "<u2", "|u1", "|b1")
}


def _array(value: np.ndarray[Any, Any], fallback: Fallback | None) -> bytes:
    shape = number(value.ndim) + b"".join(map(number, value.shape))
    head = _HEADS.get(value.dtype)
    if head is not None:
        return head + shape + value.tobytes()
    if value.dtype.hasobject:
        return b"o" + shape + b"".join(encode(item, fallback) for item in value.ravel().tolist())
    if value.dtype.fields is not None:
        raise UnencodableError(value)
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return b"a" + encode(little.dtype.str) + shape + little.tobytes(order="C")
