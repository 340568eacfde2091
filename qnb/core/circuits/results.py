"""Digests of results, per type: what came out, not when or under which id.

Enters: whatever an execution returned. Leaves: 32 bytes, or None for a type without an encoding here.
Never: falls back to `repr` (two different results collided that way); never includes times, job ids or headers, so that
two runs with one seed agree.
Spec: docs/spec/fingerprint.md, "Results".
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from typing import Any

from qiskit.primitives import EstimatorResult
from qiskit.primitives.containers import BitArray, DataBin, PrimitiveResult, PubResult
from qiskit.quantum_info import Clifford, DensityMatrix, Operator, Pauli, PauliList, StabilizerState, Statevector
from qiskit.quantum_info.operators.channel.quantum_channel import QuantumChannel
from qiskit.result import ProbDistribution, QuasiDistribution, Result
from qiskit.result.models import ExperimentResultData

from qnb.core.circuits.encoding import UnencodableError, encode, number
from qnb.core.circuits.operators import encode_operator

_VERSION = b"qnb-result-v1\0"
# what the executor of IBM Runtime gives; the package is not one of ours to import
_PROGRAM_RESULT = ("samplomatic.quantum_program.quantum_program_result", "QuantumProgramResult")


def digest_result(result: object) -> bytes | None:
    """Digest a result.

    Args:
        result: `Result` (counts, memory, saved data), `PrimitiveResult`, `PubResult`, `DataBin`, `BitArray`, quasi and
            probability distributions, states and operators, arrays, plain values and lists of these.

    Returns:
        32 bytes, or None when the type, or something in it, has no encoding.
    """
    if result is None:
        return None
    try:
        return hashlib.sha256(_VERSION + encode(result, _encoding)).digest()
    except UnencodableError:
        return None


def _encoding(value: Any) -> bytes | None:
    encoder = _encoder(type(value))
    if encoder is not None:
        return encoder(value)
    distributions = getattr(value, "quasi_dists", None)
    if distributions is not None:  # the samplers of the first primitives
        return b"1" + encode(list(distributions), _encoding)
    if any((cls.__module__, cls.__name__) == _PROGRAM_RESULT for cls in type(value).__mro__):
        return b"G" + encode(list(value), _encoding)  # its items are mappings of arrays
    return None


_known: weakref.WeakKeyDictionary[type, Callable[[Any], bytes] | None] = weakref.WeakKeyDictionary()


def _encoder(cls: type) -> Callable[[Any], bytes] | None:
    """The encoder of a class; asking each class once, since some of ours are abstract and slow to ask."""
    if cls not in _known:
        _known[cls] = next((encoder for types, encoder in _TYPES if issubclass(cls, types)), None)
    return _known[cls]


def _result(value: Any) -> bytes:
    experiments = [(item.shots, item.success, getattr(item, "meas_level", 2), item.data) for item in value.results]
    return b"R" + encode((bool(value.success), experiments), _encoding)


def _operator(value: Any) -> bytes:
    return b"O" + encode((type(value).__name__, value.input_dims(), value.output_dims(), value.data))


_TYPES: tuple[tuple[Any, Callable[[Any], bytes]], ...] = (
    (Result, _result),
    (ExperimentResultData, lambda value: b"E" + encode(value.to_dict(), _encoding)),
    (
        PrimitiveResult,
        lambda value: b"V" + number(len(value)) + b"".join(encode(item, _encoding) for item in value),
    ),
    (PubResult, lambda value: b"U" + encode(value.data, _encoding)),
    (DataBin, lambda value: b"D" + encode((value.shape, list(value.items())), _encoding)),
    (BitArray, lambda value: b"B" + encode((value.num_bits, value.array))),
    (
        (QuasiDistribution, ProbDistribution),
        lambda value: b"Q" + encode((value.shots, dict(value)), _encoding),
    ),
    ((Statevector, DensityMatrix), lambda value: b"W" + encode((type(value).__name__, value.dims(), value.data))),
    ((Operator, QuantumChannel), _operator),
    ((Pauli, PauliList), encode_operator),
    (StabilizerState, lambda value: b"Z" + encode(value.clifford, _encoding)),
    (Clifford, lambda value: b"C" + encode(value.tableau)),
    (EstimatorResult, lambda value: b"2" + encode(value.values)),
)
