"""Names back into results: what came back of circuits that left under neutral names.

Enters: a result of the SDK, and the `Names` of the circuits that gave it. Leaves: a copy under the names as given.
Never: changes the result given, which its job may hold, or copies a value in it (counts, memory, arrays).
"""
# ruff: noqa: SLF001 - results of primitives are immutable in public

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from qiskit.primitives.containers import DataBin, PrimitiveResult, PubResult
from qiskit.result import Result

from qnb.core.circuits.neutral import KINDS, Names

_SIZES = ("creg_sizes", "qreg_sizes", "clbit_labels", "qubit_labels")  # lists of [register, number]
_FLIPS = "measurement_flips."  # in front of a register's name, in results of IBM's programs


def restore_result(value: Any, names: Names) -> Any:
    """The result with names as they were given; what is no result of a known type comes back as it is."""
    if isinstance(value, Result):
        clone = copy.copy(value)
        clone.results = [_experiment(item, names) for item in value.results]
        return clone
    if isinstance(value, PrimitiveResult):
        clone = copy.copy(value)
        clone._pub_results = [_pub(pub, names, position) for position, pub in enumerate(value)]
        return clone
    if isinstance(value, PubResult):
        return _pub(value, names, 0)
    if isinstance(value, DataBin):
        return _bin(value, names)
    if _is_program_result(value):
        clone = copy.copy(value)
        clone._data = [_item(item, names) for item in value._data]
        return clone
    return value


def _experiment(experiment: Any, names: Names) -> Any:
    clone = copy.copy(experiment)
    header = getattr(experiment, "header", None)
    if isinstance(header, Mapping):
        clone.header = _header(dict(header), names)
    elif hasattr(header, "__dict__"):  # what providers of the first generation hand out
        clone.header = copy.copy(header)
        clone.header.__dict__.update(_header(dict(vars(header)), names))
    labels = names.given["labels"]
    if labels and hasattr(experiment.data, "_data_attributes"):
        data = copy.copy(experiment.data)
        attributes = list(data._data_attributes)
        for neutral in labels:
            if neutral in attributes:
                attributes[attributes.index(neutral)] = labels[neutral]
                setattr(data, labels[neutral], data.__dict__.pop(neutral))
        data._data_attributes = attributes
        clone.data = data
    return clone


def _header(header: dict[str, Any], names: Names) -> dict[str, Any]:
    sent = header.get("name")
    if isinstance(sent, str) and sent in names.given["circuits"]:
        header["name"] = names.restored("circuits", sent)
        if "metadata" in header and not header["metadata"]:
            header["metadata"] = names.metadata[sent]
    for key in _SIZES:
        rows = header.get(key)
        if isinstance(rows, (list, tuple)):
            header[key] = type(rows)(_row(row, names) for row in rows)
    return header


def _row(row: Any, names: Names) -> Any:
    if isinstance(row, (list, tuple)) and row and isinstance(row[0], str):
        return type(row)([names.restored("registers", row[0]), *row[1:]])
    return row


def _pub(pub: Any, names: Names, position: int) -> Any:
    clone = copy.copy(pub)
    clone._data = _bin(pub.data, names)
    metadata = dict(pub.metadata)
    if "circuit_metadata" in metadata and not metadata["circuit_metadata"] and position < len(names.order):
        metadata["circuit_metadata"] = names.metadata[names.order[position]]
    clone._metadata = metadata
    return clone


def _bin(data: DataBin, names: Names) -> DataBin:
    given = {_field(name, names): value for name, value in data.items()}
    return type(data)(shape=data.shape, **given) if list(given) != list(data) else data


def _field(name: str, names: Names) -> str:
    if name.startswith(_FLIPS):
        return _FLIPS + names.restored("registers", name.removeprefix(_FLIPS))
    return names.restored("labels", names.restored("registers", name))


def _is_program_result(value: Any) -> bool:
    """The result of a program of IBM's, whose packages need not be installed: a list of mappings by register."""
    return any(cls.__name__ == "QuantumProgramResult" for cls in type(value).__mro__) and hasattr(value, "_data")


def _item(item: Any, names: Names) -> Any:
    clone = copy.copy(item)
    clone._result = {_field(name, names): value for name, value in item._result.items()}
    return clone


def render_names(names: Names, facts: Mapping[str, Any]) -> bytes:
    """The map as JSON, to be sealed: `facts` about the job, then kind -> neutral name -> name as given.

    Metadata that JSON has no form for is null in it.
    """
    content = {
        "version": 1,
        **facts,
        **{kind: names.given[kind] for kind in KINDS},
        "metadata": {name: _plain(value) for name, value in names.metadata.items()},
    }
    return json.dumps(content, indent=1).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return (
            {key: _plain(item) for key, item in value.items() if isinstance(key, str)} if type(value) is dict else None
        )
    return value
