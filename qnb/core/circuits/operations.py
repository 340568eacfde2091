"""The content of one operation that is not a plain standard gate: per class, else by its definition.

Enters: an operation object and the scope it stands in. Leaves: a `Kind`: bytes in full and with angles masked.
Never: takes a custom operation's name for its content, or an object's `repr`. An operation of the SDK without a
definition is taken by class, name and parameters; any other one without a definition has no encoding.
Spec: docs/spec/fingerprint.md, "Operations".
"""
# ruff: noqa: SLF001 - how a preparation was given is kept in private attributes only

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    BreakLoopOp,
    ContinueLoopOp,
    ControlledGate,
    Delay,
    ForLoopOp,
    Gate,
    IfElseOp,
    Instruction,
    Measure,
    ParameterExpression,
    QuantumCircuit,
    Reset,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.annotated_operation import ControlModifier, InverseModifier, PowerModifier
from qiskit.circuit.classical import expr
from qiskit.circuit.controlflow import CASE_DEFAULT, BoxOp
from qiskit.circuit.library import Initialize, PauliEvolutionGate, StatePreparation, UnitaryGate
from qiskit.quantum_info import Clifford

from qnb.core.circuits.classical import Scope
from qnb.core.circuits.encoding import UnencodableError, encode, number, prefixed
from qnb.core.circuits.operators import encode_operator

if TYPE_CHECKING:
    from qnb.core.circuits.fingerprint import Encoder

CUSTOM = "custom"
BARE = frozenset({Instruction, Gate, ControlledGate})
_SIMPLE = frozenset({Measure, Reset, Barrier})
_CHANNELS = frozenset({"kraus", "superop", "roerror"})
_SDK = ("qiskit.", "qiskit_aer.", "qiskit_ibm_runtime.")


class Kind(NamedTuple):
    """What an operation does, apart from where: encoded in full, with angles masked, and the name it is counted as."""

    full: bytes
    structure: bytes
    name: str


class Operations:
    """Encodes operations for one encoder, remembering those that do not depend on their scope."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[int, tuple[Any, Kind]] = {}  # by identity; the object is held so that its id stays its own
        self._by_class: dict[Any, Callable[[Any, Scope], Kind]] = {
            UnitaryGate: lambda operation, _: _plain(b"u" + encode(operation.params[0]), "unitary"),
            Delay: self._delay,
            Store: lambda operation, scope: _plain(
                b"=" + scope.expression(operation.lvalue) + scope.expression(operation.rvalue), "store"
            ),
            Initialize: self._preparation,
            StatePreparation: self._preparation,
            PauliEvolutionGate: self._evolution,
            AnnotatedOperation: self._annotated,
            Clifford: lambda operation, _: _plain(b"t" + encode(operation.tableau), "clifford"),
            **dict.fromkeys(_SIMPLE, lambda operation, _: _plain(b"s" + encode(operation.name), operation.name)),
        }

    def kind(self, operation: Any, scope: Scope) -> Kind:
        """Encode `operation`.

        Raises:
            UnencodableError: it has neither a known content nor a definition.
        """
        known = self._known.get(id(operation))
        if known is not None:
            return known[1]
        full, structure, name = self._content(operation, scope)
        label = getattr(operation, "label", None)
        # PauliEvolutionGate writes its own label from its operator
        spelled = encode(None if isinstance(operation, PauliEvolutionGate) else self._encoder.label(label))
        head = number(operation.num_qubits) + number(operation.num_clbits) + spelled
        kind = Kind(head + full, head + structure, name)
        if not isinstance(operation, (Store, Delay)):
            self._known[id(operation)] = (operation, kind)
        return kind

    def _content(self, operation: Any, scope: Scope) -> Kind:
        base = getattr(operation, "base_class", type(operation))
        encoder = self._by_class.get(base)
        if encoder is not None:
            return encoder(operation, scope)
        if isinstance(operation, ControlledGate) and (base is ControlledGate or of_sdk(base)):
            return self._controlled(operation, base)
        return self._defined(operation, base)

    def _delay(self, operation: Any, scope: Scope) -> Kind:
        return _plain(b"y" + self._duration(operation, scope), "delay")

    def _duration(self, operation: Any, scope: Scope) -> bytes:
        duration = operation.duration
        if isinstance(duration, expr.Expr):
            return encode(operation.unit) + b"x" + scope.expression(duration)
        return encode(operation.unit) + b"v" + self.value(duration)

    def value(self, value: Any) -> bytes:
        """A parameter of an operation: plain values, expressions over free parameters, and nested circuits."""
        return encode(value, self._special)

    def _special(self, value: Any) -> bytes | None:
        if isinstance(value, ParameterExpression):
            if value.parameters:
                return b"P" + prefixed(self._encoder.parameters.expression(value))
            return encode(value.numeric())
        if isinstance(value, QuantumCircuit):
            return b"Q" + self._encoder.body(value).full
        return None

    def _defined(self, operation: Any, base: type) -> Kind:
        definition = getattr(operation, "definition", None)
        if isinstance(definition, QuantumCircuit):
            body = self._encoder.body(definition)
            return Kind(b"d" + body.full, b"d" + body.structure, operation.name if of_sdk(base) else CUSTOM)
        if base in BARE:
            if operation.name in _CHANNELS:
                return _plain(b"k" + encode(operation.name) + self.value(operation.params), operation.name)
            raise UnencodableError(operation)
        if not of_sdk(base):
            raise UnencodableError(operation)
        content = (base.__module__, base.__qualname__, operation.name, getattr(operation, "_subtype", None))
        return _plain(b"l" + encode(content) + self.value(list(operation.params)), operation.name)

    def _controlled(self, operation: Any, base: type) -> Kind:
        """Controlled gates of the SDK are their base gate and the state of the controls that it acts on."""
        head = b"c" + number(operation.num_ctrl_qubits) + encode(operation.ctrl_state)
        name = operation.base_gate.name if operation.base_gate is not None else None
        full, structure = head, head
        if operation.base_gate is not None:
            inner = self._gate(operation.base_gate)
            full, structure = full + prefixed(inner.full), structure + prefixed(inner.structure)
        if base is ControlledGate:  # made by hand or by `control()`: the definition is what it says it is
            body = self._encoder.body(operation.definition)
            full, structure = full + body.full, structure + body.structure
            return Kind(full, structure, CUSTOM if name is None else "controlled")
        return Kind(full, structure, "controlled")

    def _gate(self, gate: Any) -> Kind:
        """A gate inside another operation: as the only operation of a circuit, so that angles are masked alike."""
        qubits = gate.num_qubits
        circuit = QuantumCircuit(qubits, gate.num_clbits)
        circuit._append(gate, circuit.qubits, circuit.clbits)
        body = self._encoder.body(circuit)
        return Kind(body.full, body.structure, gate.name)

    def _preparation(self, operation: Any, _: Scope) -> Kind:
        inner = getattr(operation, "_stateprep", operation)
        content = (operation.name, bool(inner._inverse), bool(inner._from_label), bool(inner._from_int))
        params = list(operation.params)
        amplitudes = [complex(item) if isinstance(item, (int, float, complex)) else item for item in params]
        return _plain(b"i" + encode(content) + self.value(amplitudes), operation.name)

    def _evolution(self, operation: Any, _: Scope) -> Kind:
        operators = operation.operator if isinstance(operation.operator, list) else [operation.operator]
        head = b"e" + number(len(operators))
        head += b"".join(encode_operator(item, self._special) for item in operators)
        synthesis = operation.synthesis
        try:
            settings = encode((type(synthesis).__module__, type(synthesis).__qualname__, synthesis.settings))
        except (UnencodableError, NotImplementedError):
            settings = b"d" + self._encoder.body(operation.definition).full
        time = operation.time
        masked = b"M" if not isinstance(time, ParameterExpression) or not time.parameters else self.value(time)
        return Kind(head + settings + self.value(time), head + settings + masked, "PauliEvolution")

    def _annotated(self, operation: Any, _: Scope) -> Kind:
        inner = self._gate(operation.base_op)
        parts = []
        for modifier in operation.modifiers:
            if isinstance(modifier, InverseModifier):
                parts.append(b"i")
            elif isinstance(modifier, ControlModifier):
                parts.append(b"c" + number(modifier.num_ctrl_qubits) + encode(modifier.ctrl_state))
            elif isinstance(modifier, PowerModifier):
                power = modifier.power
                parts.append(b"p" + self.value(power if isinstance(power, ParameterExpression) else float(power)))
            else:
                raise UnencodableError(modifier)
        tail = number(len(parts)) + b"".join(parts)
        return Kind(b"a" + prefixed(inner.full) + tail, b"a" + prefixed(inner.structure) + tail, "annotated")

    def control_flow(self, operation: Any, scope: Scope, places: tuple[list[int], list[int]]) -> Kind:
        """Encode an operation with blocks, which stands on the bits at `places` of the outermost circuit.

        Raises:
            UnencodableError: one that this version does not know, or something within a block.
        """
        label = encode(self._encoder.label(operation.label))
        if isinstance(operation, (BreakLoopOp, ContinueLoopOp)):
            return _plain(label + b"s" + encode(operation.name), operation.name)
        blocks = [self._encoder.body(block, scope, places) for block in operation.blocks]
        if isinstance(operation, IfElseOp):
            head = b"?" + scope.condition(operation.condition)
        elif isinstance(operation, WhileLoopOp):
            head = b"w" + scope.condition(operation.condition)
        elif isinstance(operation, ForLoopOp):
            head = b"f" + self._iteration(operation)
        elif isinstance(operation, SwitchCaseOp):
            head = b"o" + scope.target(operation.target) + _cases(operation)
        elif isinstance(operation, BoxOp):
            head = b"b" + self._box(operation, scope)
        else:
            raise UnencodableError(operation)
        head = label + head + number(len(blocks))
        return Kind(
            head + b"".join(block.full for block in blocks),
            head + b"".join(block.structure for block in blocks),
            operation.name,
        )

    def _iteration(self, operation: Any) -> bytes:
        indexset, parameter, _ = operation.params
        # a range and the tuple of its members loop alike, but a range may be far too long to be spelled out
        spelled = (
            b"r" + encode((indexset.start, indexset.stop, indexset.step))
            if isinstance(indexset, range)
            else b"t" + self.value(tuple(indexset))
        )
        position = self._encoder.parameters.index.get(parameter)
        return spelled + encode(position)

    def _box(self, operation: Any, scope: Scope) -> bytes:
        notes = [
            (type(note).__module__, type(note).__qualname__, note.namespace, _attributes(note))
            for note in operation.annotations
        ]
        return self._duration(operation, scope) + self.value(notes)


def _plain(content: bytes, name: str) -> Kind:
    return Kind(content, content, name)


def _fixed(operation: Any) -> Kind:
    head = number(operation.num_qubits) + number(operation.num_clbits) + encode(None)
    return _plain(head + b"s" + encode(operation.name), operation.name)


# The SDK's immutable singletons have a class of their own, so that the class is the content.
FIXED: dict[type, Kind] = {type(operation): _fixed(operation) for operation in (Measure(), Reset())}


def of_sdk(cls: type) -> bool:
    """Whether a class of operations is one of the SDK's own, whose name says what it does."""
    return cls not in BARE and cls.__module__.startswith(_SDK)


def _cases(operation: Any) -> bytes:
    spelled = []
    for labels, _ in operation.cases_specifier():
        items = sorted(b"*" if label is CASE_DEFAULT else b"=" + encode(int(label)) for label in labels)
        spelled.append(number(len(items)) + b"".join(items))
    return number(len(spelled)) + b"".join(spelled)


def _attributes(note: object) -> dict[str, object]:
    """An annotation is what its attributes say; one that keeps its content elsewhere cannot be read."""
    try:
        return dict(vars(note))
    except TypeError:
        raise UnencodableError(note) from None
