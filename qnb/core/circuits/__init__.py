"""Circuits by content: fingerprints, and digests of everything that goes in or comes out beside them.

Enters: objects of the SDK. Leaves: `CircuitInfo` and digests of 32 bytes. No IO, no names, no `repr`.
Spec: docs/spec/fingerprint.md.
"""

from __future__ import annotations

from qnb.core.circuits.fingerprint import describe, describe_ordered
from qnb.core.circuits.results import digest_result
from qnb.core.circuits.values import (
    digest_calibration,
    digest_noise_model,
    digest_observables,
    digest_options,
    digest_parameters,
)

__all__ = [
    "describe",
    "describe_ordered",
    "digest_calibration",
    "digest_noise_model",
    "digest_observables",
    "digest_options",
    "digest_parameters",
    "digest_result",
]
