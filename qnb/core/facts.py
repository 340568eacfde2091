"""How the nouns of the model are written into entries.

Enters: calls, backends, outcomes, recipients, and the `Digester` of the label they are recorded at.
Leaves: JSON values.
Never: writes a text that the caller chose in clear at a classified level: unlisted backends and their methods, foreign
error classes and unknown recipients are committed to.
"""

from __future__ import annotations

import builtins
import math
from hashlib import sha256

from qnb.core.digester import Digester, Json
from qnb.model import Backend, Call, Outcome

# packages whose exception classes are theirs to name; a class of user code can carry a secret in its name
_KNOWN_ERRORS = frozenset({"qiskit", "qiskit_aer", "qiskit_ibm_runtime", "concurrent", "asyncio", "numpy", "qnb"})


def describe_outcome(outcome: Outcome, digester: Digester) -> dict[str, Json]:
    """An outcome's fields in an entry or an evaluation. Seconds are rounded to microseconds."""
    return {
        "status": outcome.status,
        "result": digester.optional("result", outcome.result),
        "used": {"shots": outcome.shots, "seed": outcome.seed},
        "error": describe_error(outcome.error, digester),
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 6),
    }


def describe_call(call: Call, digester: Digester, *, listed: bool) -> Json:
    """What was asked to run. `listed`: whether a row of the policy names the backend."""
    return {
        # whoever wrote an unlisted backend chose the name of its `run`, too
        "target": call.target if listed else digester.commit("target", call.target),
        "circuits": [
            {
                "structure": digester.digest_set("structure", circuit.structure),
                "qubits": circuit.qubits,
                "clbits": circuit.clbits,
                "size": circuit.size,
                "operations": dict(circuit.operations),
            }
            for circuit in call.circuits
        ],
        "parameters": digester.optional("parameters", call.parameters),
        "observables": digester.optional("observables", call.observables),
        "noiseModel": digester.optional("noise-model", call.noise_model),
        "options": digester.optional("options", call.options),
        "shots": call.shots,
        "seed": call.seed,
        "precision": call.precision if call.precision is None or math.isfinite(call.precision) else None,
        "private": call.private,
    }


def describe_backend(backend: Backend | None, listed: str | None, digester: Digester) -> Json:
    """A backend that a row of the policy names is written out; of any other all is the caller's text."""
    if backend is None:
        return None
    facts: dict[str, Json] = {
        "class": backend.cls,
        "version": backend.version,
        "calibrationTime": backend.calibration_time,
        "calibration": None if backend.calibration is None else backend.calibration.hex(),
    }
    if listed is not None:
        return {"name": listed, **facts, "unlisted": None}
    unlisted = digester.commit("backend", {"name": backend.name, **facts})
    return {"name": None, **dict.fromkeys(facts), "unlisted": unlisted}


def describe_error(name: str | None, digester: Digester) -> Json:
    """The qualified class name of an exception, in clear if a known package wrote the class."""
    if name is None:
        return None
    package, dot, rest = name.partition(".")
    known = package in _KNOWN_ERRORS if dot else isinstance(getattr(builtins, name, None), type)
    if package == "builtins" and isinstance(getattr(builtins, rest, None), type):
        known = True
    return name if known else digester.commit("error", name)


def describe_recipient(recipient: str, digester: Digester, *, allowed: bool) -> Json:
    """A recipient string as its fingerprint; a name in clear if the policy, having allowed it, knows it."""
    if recipient.startswith("age1"):
        return sha256(recipient.encode()).hexdigest()[:16]
    return recipient if allowed else digester.commit("recipient", recipient)
