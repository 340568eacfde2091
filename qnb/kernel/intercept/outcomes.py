"""What a result says about its execution.

Enters: a result of the SDK. Leaves: an `Outcome` with its digest, and shots and seed as they were used.
Never: fills in what the result does not say.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from qiskit.primitives.containers import BitArray, PrimitiveResult
from qiskit.result import Result

from qnb.core.circuits import digest_result
from qnb.model import Outcome


def outcome_of(value: Any, seconds: float) -> Outcome:
    """The outcome of an execution that returned `value` after `seconds`.

    A `Result` that is not a success is a failure: Aer reports a failed circuit in a job that is done.
    """
    if isinstance(value, tuple) and len(value) == 2 and type(value[1]).__module__.startswith("qiskit_aer."):
        value = value[0]  # Aer's states come with the engine that computed them
    failed = isinstance(value, Result) and not value.success
    shots, seed = _used(value)
    return Outcome("failed" if failed else "ok", result=digest_result(value), shots=shots, seed=seed, seconds=seconds)


def _used(value: Any) -> tuple[int | None, int | None]:
    """The largest number of shots of its experiments, and the seed of the first."""
    if isinstance(value, Result):
        shots = [_integer(getattr(item, "shots", None)) for item in value.results]
        seeds = [_integer(getattr(item, "seed_simulator", getattr(item, "seed", None))) for item in value.results[:1]]
        return _largest(shots), seeds[0] if seeds else None
    if isinstance(value, PrimitiveResult):
        return _largest([_pub_shots(pub) for pub in value]), None
    return None, None


def _pub_shots(pub: Any) -> int | None:
    said = _integer(pub.metadata.get("shots"))
    if said is not None:
        return said
    return _largest([item.num_shots for item in pub.data.values() if isinstance(item, BitArray)])


def _largest(values: list[int | None]) -> int | None:
    return max((item for item in values if item is not None), default=None)


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
