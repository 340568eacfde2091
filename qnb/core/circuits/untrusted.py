"""Circuits that somebody else wrote: which files are opened at all, and how large what is in them may be.

Enters: bytes of a QPY or OpenQASM file. Leaves: circuits within limits, or one error that quotes nothing of the file.
Never: reads another file (includes are refused but for the two that are built in), unpickles (QPY before version 13
could carry symbolic expressions that do, CVE-2025-2000), synthesises a definition of the SDK's to measure it.

The parsers are the SDK's and cannot be bounded from inside: `parse_circuits` is first tried in a process of its own
under limits (`qnb.store.trial`), and only then called here, on the same bytes.
Spec: Qiskit's QPY format versions 13 and later; OpenQASM 2.0 (arXiv:1707.03429) and 3.
"""
# ruff: noqa: SLF001 - the public list of instructions copies each of them

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from qiskit import qasm2, qasm3, qpy
from qiskit.circuit import ControlFlowOp, Parameter, ParameterExpression, QuantumCircuit
from qiskit.circuit.classical import expr
from qiskit.exceptions import MissingOptionalLibraryError
from qiskit.qpy.common import QPY_VERSION

from qnb.core.circuits.operations import BARE, of_sdk
from qnb.errors import ConfigError, InputError

FORMATS = ("qpy", "qasm2", "qasm3")
OLDEST_QPY = 13

_MAGIC = b"QISKIT"
_HEADER = struct.Struct("!6sBBBBQc")
_TYPE_CIRCUIT = b"q"
_WRITTEN = "qiskit.qasm2."  # classes of gates that an OpenQASM 2 file defines, each with its definition
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_VERSION = re.compile(r"\s*OPENQASM\s+(\d{1,9})(?:\.\d{1,9})?\s*;")
_INCLUDE = re.compile(r"""\binclude\s*(?:"([^"\n]*)"|'([^'\n]*)')""")
_BUILT_IN = {"qasm2": "qelib1.inc", "qasm3": "stdgates.inc"}
_DECLARED = re.compile(r"\b(?:(qreg)|(creg))\s+\w+\s*\[\s*(\d+)\s*\]|\b(?:(qubit)|(bit))\s*\[\s*(\d+)\s*\]")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is too much.

    Attributes:
        bytes: of the file.
        circuits: in a QPY file.
        qubits, clbits: of a circuit.
        instructions: of a circuit, blocks and definitions opened.
        depth: of blocks and definitions within each other.
        parameters: free ones of a circuit.
        expression: nodes of one expression, symbolic or classical.
        seconds: of trying to parse it, on the clock and of a processor.
        memory: bytes that trying to parse it may take.
    """

    bytes: int = 16 << 20
    circuits: int = 1000
    qubits: int = 10_000
    clbits: int = 100_000
    instructions: int = 1_000_000
    depth: int = 50
    parameters: int = 20_000
    expression: int = 10_000
    seconds: int = 30
    memory: int = 2 << 30


def parse_limits(given: Mapping[str, int] | None) -> Limits:
    """The default limits, with some set otherwise.

    Raises:
        ConfigError: a name that is no limit, or a value that is no positive whole number.
    """
    known = {item.name for item in fields(Limits)}
    for name, value in (given or {}).items():
        if name not in known:
            raise ConfigError("unknown-limit", f"`{name}` is no limit", f"limits: {', '.join(sorted(known))}")
        if type(value) is not int or value < 1:
            raise ConfigError("bad-limit", f"the limit `{name}` is not a positive whole number")
    return replace(Limits(), **(given or {}))


def describe_limits(limits: Limits) -> dict[str, int]:
    """Limits as plain data."""
    return asdict(limits)


# --- before anything is parsed ----------------------------------------------------------------------------------------


def detect_format(data: bytes) -> str:
    """Which format the bytes say they have.

    Raises:
        InputError: none of the three; a pickle or a compressed file by name.
    """
    if data.startswith(_MAGIC):
        return "qpy"
    if data[:2] == b"\x1f\x8b":
        raise InputError("compressed", "the file is compressed, and could be of any size within", "decompress it first")
    if data[:1] == b"\x80":
        raise InputError("pickle", "the file is a pickle, which runs code when it is opened", "ask for it as QPY")
    match = _VERSION.match(_COMMENT.sub(" ", data[:65536].decode("utf-8", "replace")))
    if match is not None and int(match[1]) in (2, 3):
        return f"qasm{int(match[1])}"
    raise InputError(
        "unknown-format",
        "the file does not begin as QPY, OpenQASM 2 or OpenQASM 3 does",
        f"if it is one of them all the same, say which: format={' or '.join(map(repr, FORMATS))}",
    )


def check_bytes(data: bytes, format_: str, limits: Limits) -> None:
    """Refuse by what can be seen without a parser: size, version, includes, declared sizes.

    Raises:
        InputError: it is not opened.
    """
    _within("bytes", len(data), limits)
    if format_ == "qpy":
        _check_qpy(data, limits)
    else:
        _check_qasm(data, format_, limits)


def _check_qpy(data: bytes, limits: Limits) -> None:
    if len(data) <= _HEADER.size or not data.startswith(_MAGIC):
        raise malformed("qpy")
    _, version, _, _, _, programs, _ = _HEADER.unpack_from(data)
    if version < OLDEST_QPY:
        raise InputError(
            "old-qpy",
            f"the file is QPY version {version}; before {OLDEST_QPY} the format can carry code (CVE-2025-2000)",
            "where the file is trusted, load it with Qiskit 1.4.2 or newer and write it again",
        )
    if version > QPY_VERSION:
        raise InputError(
            "new-qpy",
            f"the file is QPY version {version}; the installed Qiskit reads up to {QPY_VERSION}",
            "update Qiskit, or ask for the file in an older version",
        )
    if programs == 0:
        raise InputError("no-circuit", "the file holds no circuit")
    _within("circuits", programs, limits)
    if data[_HEADER.size : _HEADER.size + 1] != _TYPE_CIRCUIT:
        raise InputError("not-a-circuit", "the file holds something else than circuits")


def _check_qasm(data: bytes, format_: str, limits: Limits) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed(format_) from None
    text = _COMMENT.sub(" ", text)
    version = _VERSION.match(text)
    if version is not None and version[1].lstrip("0") != format_[-1]:
        raise InputError("other-version", f"the file says that it is OpenQASM {int(version[1])}, not {format_[-1]}")
    allowed = _BUILT_IN[format_]
    if any((match[1] or match[2]) != allowed for match in _INCLUDE.finditer(text)):
        raise InputError(
            "include",
            f"the file includes another file; `{allowed}`, which is built in, is the only one that may be",
            "ask for the circuit in one file, or in QPY",
        )
    qubits = clbits = 0
    for qreg, _, size, qubit, _, length in (match.groups() for match in _DECLARED.finditer(text)):
        number = size or length
        if len(number) > 12:
            raise _too_large("qubits" if qreg or qubit else "clbits", limits)
        if qreg or qubit:
            qubits += int(number)
        else:
            clbits += int(number)
    _within("qubits", qubits, limits)
    _within("clbits", clbits, limits)


# --- parsing, and what came of it -------------------------------------------------------------------------------------


def parse_circuits(data: bytes, format_: str) -> list[QuantumCircuit]:
    """Call the SDK's parser on bytes that `check_bytes` let through.

    Raises:
        InputError: they do not parse. Nothing of them is in the message.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a parser warns of quotes the file
            return _parse(data, format_)
    except InputError:
        raise
    except MissingOptionalLibraryError:
        raise InputError(
            "no-parser", "OpenQASM 3 needs the package `qiskit-qasm3-import`", "pip install 'qnb[qasm3]'"
        ) from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        raise InputError(
            "too-large",
            "the file takes more memory to parse than it may",
            "where it is trusted, raise the limit: limits={'memory': …}",
        ) from None
    except BaseException:  # noqa: BLE001 -- a parser of Rust panics with an error that is no `Exception`
        raise malformed(format_) from None


def _parse(data: bytes, format_: str) -> list[QuantumCircuit]:
    if format_ == "qpy":
        found = qpy.load(io.BytesIO(data))
        if not all(isinstance(circuit, QuantumCircuit) for circuit in found):
            raise InputError("not-a-circuit", "the file holds something else than circuits")
        return list(found)
    text = data.decode("utf-8")
    if format_ == "qasm2":
        return [
            qasm2.loads(
                text,
                include_path=(),
                custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
                custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
            )
        ]
    return [qasm3.loads(text)]


def check_circuits(circuits: list[QuantumCircuit], limits: Limits) -> None:
    """Refuse what is too large now that it is parsed.

    Raises:
        InputError: it is.
    """
    for circuit in circuits:
        _within("qubits", circuit.num_qubits, limits)
        _within("clbits", circuit.num_clbits, limits)
        _within("parameters", circuit.num_parameters, limits)
        _Meter(limits).circuit(circuit, 1)


class _Meter:
    """Counts what is in a circuit, and stops at the first limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._instructions = 0
        self._known: dict[Any, tuple[int, int]] = {}  # a definition -> instructions and levels in it
        self._deepest = 0
        self._held: list[QuantumCircuit] = []

    def circuit(self, circuit: QuantumCircuit, depth: int) -> None:
        self._deepest = max(self._deepest, depth)
        _within("depth", depth, self._limits)
        self._value(circuit.global_phase)
        for instruction in circuit._data:
            self._count(1)
            for value in instruction.params:
                self._value(value)
            if not instruction.is_standard_gate():
                self._operation(instruction.operation, depth)

    def _operation(self, operation: Any, depth: int) -> None:
        if isinstance(operation, ControlFlowOp):
            for asked in (getattr(operation, "condition", None), getattr(operation, "target", None)):
                if isinstance(asked, expr.Expr):
                    self._expression(asked)
            for block in operation.blocks:
                self.circuit(block, depth + 1)
            return
        for name in ("lvalue", "rvalue"):
            if isinstance(node := getattr(operation, name, None), expr.Expr):
                self._expression(node)
        base = getattr(operation, "base_class", type(operation))
        inner = getattr(operation, "base_op", None)
        if inner is not None:
            _within("depth", depth + 1, self._limits)
            self._operation(inner, depth + 1)
        elif base in BARE or not of_sdk(base) or base.__module__.startswith(_WRITTEN):
            self._defined(operation, base, depth)

    def _defined(self, operation: Any, base: type, depth: int) -> None:
        """A definition is opened once and counted each time: gates that each call the one before double in size."""
        definition = None
        if base in BARE:
            definition = operation.definition
        key = (base, operation.name) if definition is None else id(definition)
        known = self._known.get(key)
        if known is not None:
            _within("depth", depth + known[1], self._limits)
            self._count(known[0])
            return
        definition = operation.definition if definition is None else definition
        if isinstance(definition, QuantumCircuit):
            before, outer, self._deepest = self._instructions, self._deepest, depth
            self.circuit(definition, depth + 1)
            self._known[key] = (self._instructions - before, self._deepest - depth)
            self._deepest = max(self._deepest, outer)
            self._held.append(definition)  # so that its id stays its own

    def _count(self, instructions: int) -> None:
        self._instructions += instructions
        if self._instructions > self._limits.instructions:
            raise _too_large("instructions", self._limits)

    def _value(self, value: Any) -> None:
        if isinstance(value, ParameterExpression):
            _within("expression", _nodes(value, self._limits.expression), self._limits)

    def _expression(self, node: expr.Expr) -> None:
        waiting, count = [node], 0
        while waiting:
            count += 1
            _within("expression", count, self._limits)
            at = waiting.pop()
            for name in ("operand", "left", "right", "target", "index"):
                child = getattr(at, name, None)
                if isinstance(child, expr.Expr):
                    waiting.append(child)


def _nodes(expression: ParameterExpression, most: int) -> int:
    """Steps that build the expression; stops counting past `most`."""
    waiting, count = [expression], 0
    while waiting and count <= most:
        count += 1
        for step in waiting.pop()._qpy_replay or ():
            count += 1
            sides = (step.lhs, step.rhs)
            waiting += [s for s in sides if isinstance(s, ParameterExpression) and not isinstance(s, Parameter)]
            if count > most:
                break
    return count


def malformed(format_: str) -> InputError:
    """That a file is not what it says it is."""
    name = {"qpy": "QPY", "qasm2": "OpenQASM 2", "qasm3": "OpenQASM 3"}[format_]
    return InputError(
        "malformed", f"the file is not well-formed {name}, or is built to break its parser", "ask for it again"
    )


def _within(name: str, count: int, limits: Limits) -> None:
    if count > getattr(limits, name):
        raise _too_large(name, limits)


def _too_large(name: str, limits: Limits) -> InputError:
    most = getattr(limits, name)
    return InputError(
        "too-large",
        f"the circuit goes beyond the limit of {most:,} for {name}",
        f"where the file is trusted, raise it: limits={{{name!r}: …}}",
    )
