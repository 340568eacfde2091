"""Names out of circuits that leave: the same circuit under neutral names, and the map back.

Enters: circuits that nobody else holds, and the operation names that the backend understands.
Leaves: circuits that do the same, whose names of circuits, registers, parameters, variables, gates, labels and whose
metadata say nothing; `Names`, which knows what each of them stood for.
Never: changes what a circuit does (its fingerprint stays, see `describe` and its `labels`), the order of its parameters
(arrays of values are bound by it), or the circuits given; keeps a name of an operation of anybody's own.

Not names, so they stay: names of the SDK's operations and those of the backend's target, annotations of boxes (whoever
runs the circuit reads them), and everything that the fingerprint is made of.
"""
# ruff: noqa: SLF001 - bits are replaced in the Rust data, so that 100k gates need no pass in Python

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from qiskit.circuit import (
    AnnotatedOperation,
    CircuitInstruction,
    ControlledGate,
    Gate,
    Instruction,
    Parameter,
    ParameterExpression,
    ParameterVector,
    QuantumCircuit,
)
from qiskit.circuit.classical import expr
from qiskit.circuit.controlflow import (
    BoxOp,
    BreakLoopOp,
    ContinueLoopOp,
    ControlFlowOp,
    ForLoopOp,
    IfElseOp,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.transpiler.layout import Layout, TranspileLayout

from qnb.core.circuits.fingerprint import describe
from qnb.core.circuits.neutral import Names, Places, unreplaced
from qnb.core.circuits.operations import BARE, of_sdk
from qnb.errors import ExecutionError

# the SDK's own classes that keep the text they were made from; their definition is all that they do
_TEXTUAL = frozenset({"PhaseOracleGate", "BitFlipOracleGate"})
_TOO_DEEP = ExecutionError(
    "deep-circuit",
    "the circuit's blocks or definitions are nested too deeply for its names to be replaced",
    "decompose the circuit before you run it",
)


class Renamer:
    """Renames the circuits of one call, so that equal names stay equal and different ones different.

    Args:
        circuits: all circuits of the call.
        known: gives the operation names that the backend understands and that therefore stay; asked only if there is
            an operation of anybody's own.

    Attributes:
        names: the map back.
        parameters: parameter as given -> the one that stands for it.
        by_name: the same by name.
        labels: label as given -> the one that stands for it.
    """

    def __init__(self, circuits: Sequence[QuantumCircuit], known: Callable[[], Collection[str]] = tuple) -> None:
        self.names = Names()
        self.labels: dict[str, str] = {}
        self._at = Places(self.names, self.labels)
        self.parameters: dict[Parameter, Parameter] = {}
        self.by_name: dict[str, str] = {}
        self._ask_known = known
        self._circuits: dict[int, tuple[QuantumCircuit, QuantumCircuit]] = {}
        self._operations: dict[int, tuple[Any, Any]] = {}
        self._take_parameters(circuits)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._ask_known())

    # --- names --------------------------------------------------------------------------------------------------------

    def _take_parameters(self, circuits: Iterable[QuantumCircuit]) -> None:
        """Name parameters in the SDK's order, which is by name, so that it stays: values come in that order."""
        found = {parameter: None for circuit in circuits for parameter in circuit.parameters}
        stems = sorted({_stem(parameter) for parameter in found})
        width = len(str(len(stems)))
        neutral = {stem: f"p{position:0{width}}" for position, stem in enumerate(stems)}
        vectors: dict[int, tuple[Any, ParameterVector]] = {}
        for parameter in found:
            vector, stem = getattr(parameter, "vector", None), neutral[_stem(parameter)]
            if vector is None:
                new = Parameter(stem)
            else:
                if id(vector) not in vectors:
                    vectors[id(vector)] = (vector, ParameterVector(stem, len(vector)))
                new = vectors[id(vector)][1][parameter.index]
            self.parameters[parameter] = new
            self.by_name[parameter.name] = new.name
            self.names.given["parameters"][new.name] = parameter.name

    # --- circuits -----------------------------------------------------------------------------------------------------

    def circuit(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit under neutral names; the same one for the same circuit.

        Raises:
            ExecutionError: `deep-circuit`; `names-not-replaced`, when the order of its parameters would change.
        """
        known = self._circuits.get(id(circuit))
        if known is None:
            name = f"circuit{len(self.names.given['circuits'])}"
            self.names.given["circuits"][name] = circuit.name
            self.names.metadata[name] = circuit.metadata
            try:
                new = self._body(circuit, name)
            except RecursionError:
                raise _TOO_DEEP from None
            new._layout = self._layout(circuit._layout)
            if [self.parameters[parameter] for parameter in circuit.parameters] != list(new.parameters):
                raise ExecutionError(
                    "names-not-replaced",
                    "the circuit's parameters would be bound in another order under neutral names",
                    "bind the parameters before you run it",
                )
            known = self._circuits[id(circuit)] = (circuit, new)
        return known[1]

    def _body(self, circuit: QuantumCircuit, name: str) -> QuantumCircuit:
        """A circuit, block or definition."""
        own = {
            parameter: self.parameters[parameter] for parameter in circuit.parameters if parameter in self.parameters
        }
        renamed = circuit.assign_parameters(own, flat_input=True, strict=False) if own else circuit
        data = renamed._data
        registers = [*data.qregs, *data.cregs]
        for register in registers:
            self._at.register(register)
        qubits, clbits = [self._at.bit(bit) for bit in data.qubits], [self._at.bit(bit) for bit in data.clbits]
        some = data.num_input_vars or data.num_captured_vars or data.num_declared_vars
        some = some or data.num_declared_stretches or data.num_captured_stretches
        if some or any(instruction.label is not None for instruction in data):
            new = self._rebuilt(renamed, qubits, clbits)
        else:
            new = QuantumCircuit()
            copied = data.copy()
            copied.replace_bits(
                qubits=qubits,
                clbits=clbits,
                qregs=[self._at.register(register) for register in data.qregs],
                cregs=[self._at.register(register) for register in data.cregs],
            )
            copied.map_nonstandard_ops(self._operation)
            new._data = copied
        new.name, new.metadata = name, {}
        new._ancillas = [self._at.bit(bit) for bit in circuit._ancillas]
        new._duration, new._unit = circuit._duration, circuit._unit
        new._op_start_times = circuit._op_start_times
        return new

    def _rebuilt(self, circuit: QuantumCircuit, qubits: list[Any], clbits: list[Any]) -> QuantumCircuit:
        """Operation by operation: what holds variables or labelled standard gates cannot be renamed in place."""
        new = QuantumCircuit(global_phase=circuit.global_phase)
        new.add_bits(qubits)
        new.add_bits(clbits)
        new.add_register(*(self._at.register(register) for register in (*circuit.qregs, *circuit.cregs)))
        for variable in circuit.iter_input_vars():
            new.add_input(self._at.variable(variable))
        for variable in (*circuit.iter_captured_vars(), *circuit.iter_captured_stretches()):
            new.add_capture(self._at.variable(variable))
        for variable in circuit.iter_declared_vars():
            new.add_uninitialized_var(self._at.variable(variable))
        for stretch in circuit.iter_declared_stretches():
            new.add_stretch(self._at.variable(stretch))
        for instruction in circuit._data:
            operation = instruction.operation
            operation = self._relabelled(operation) if instruction.is_standard_gate() else self._operation(operation)
            new._append(
                CircuitInstruction(
                    operation,
                    [self._at.bit(bit) for bit in instruction.qubits],
                    [self._at.bit(bit) for bit in instruction.clbits],
                )
            )
        return new

    def _layout(self, layout: Any) -> Any:
        """Where the transpiler put the qubits, with registers and bits renamed."""
        if layout is None:
            return None

        def plain(given: Any) -> Any:
            if given is None:
                return None
            for register in given.get_registers():
                self._at.register(register)
            new = Layout({self._at.bit(bit): place for bit, place in given.get_virtual_bits().items()})
            for register in given.get_registers():
                new.add_register(self._at.register(register))
            return new

        output = layout._output_qubit_list
        return TranspileLayout(
            initial_layout=plain(layout.initial_layout),
            input_qubit_mapping={self._at.bit(bit): place for bit, place in layout.input_qubit_mapping.items()},
            final_layout=plain(layout.final_layout),
            _input_qubit_count=layout._input_qubit_count,
            _output_qubit_list=None if output is None else [self._at.bit(bit) for bit in output],
        )

    # --- operations ---------------------------------------------------------------------------------------------------

    def _operation(self, operation: Any) -> Any:
        """An operation that is no standard gate, under neutral names; the same object where it has none."""
        if isinstance(operation, ControlFlowOp):
            return self._control_flow(operation)
        known = self._operations.get(id(operation))
        if known is None:
            known = self._operations[id(operation)] = (operation, self._renamed(operation))
        return known[1]

    def _renamed(self, operation: Any) -> Any:
        base = getattr(operation, "base_class", type(operation))
        if isinstance(operation, AnnotatedOperation):
            return AnnotatedOperation(self._nested(operation.base_op), list(operation.modifiers))
        if base.__name__ == "Store" and of_sdk(base):
            return base(self._at.expression(operation.lvalue), self._at.expression(operation.rvalue))
        if base.__name__ == "Delay" and of_sdk(base) and isinstance(operation.duration, expr.Expr):
            return self._relabelled(base(self._at.expression(operation.duration), operation.unit), operation.label)
        stays = of_sdk(base) and base.__name__ not in _TEXTUAL
        if base is ControlledGate and operation.definition is not None:
            return self._controlled(operation)
        if stays or not isinstance(getattr(operation, "definition", None), QuantumCircuit):
            return self._relabelled(operation)
        if operation.name in self._known:
            return self._relabelled(operation)
        return self._generic(operation)

    def _nested(self, operation: Any) -> Any:
        """An operation inside another one, which can be a standard gate."""
        return self._relabelled(operation) if getattr(operation, "_standard_gate", None) else self._operation(operation)

    def _generic(self, operation: Any) -> Any:
        """What has a definition does what that says: its class, its name and its other parameters are not sent."""
        name = self._at.name("gates", operation.name)
        # the places of parameters stay theirs: the circuit's table knows them by it
        params = [value if isinstance(value, (int, float, ParameterExpression)) else 0 for value in operation.params]
        label = self._at.label(getattr(operation, "label", None))
        if isinstance(operation, Gate):
            new = Gate(name, operation.num_qubits, [], label=label)
        else:
            new = Instruction(name, operation.num_qubits, operation.num_clbits, [], label=label)
        new._params = params
        new._definition = self._body(operation.definition, "definition")
        return new

    def _controlled(self, operation: Any) -> Any:
        new = copy.copy(operation)
        name = operation.name
        new._name = name if name in self._known else self._at.name("gates", name)
        new._label = self._at.label(operation.label)
        new.base_gate = None if operation.base_gate is None else self._nested(operation.base_gate)
        new._definition = None if operation._definition is None else self._body(operation._definition, "definition")
        return new

    def _relabelled(self, operation: Any, label: str | None = None) -> Any:
        """An operation that keeps its name, with neutral labels on itself and on its base gate."""
        given = label or getattr(operation, "label", None)
        inner = getattr(operation, "base_gate", None)
        named = inner is not None and (inner.label is not None or type(inner) in BARE)
        if isinstance(operation, PauliEvolutionGate) or (given is None and not named):
            return operation
        new = operation.to_mutable() if hasattr(operation, "to_mutable") else copy.copy(operation)
        new._label = self._at.label(given)
        if named:
            new.base_gate = self._nested(inner)
        return new

    def _control_flow(self, operation: Any) -> Any:
        label = self._at.label(operation.label)
        if isinstance(operation, (BreakLoopOp, ContinueLoopOp)):
            return type(operation)(operation.num_qubits, operation.num_clbits, label=label)
        if isinstance(operation, ForLoopOp):
            indices, parameter, body = operation.params
            if parameter is not None and parameter not in self.parameters:
                neutral = self._at.name("variables", parameter.name)
                self.parameters[parameter] = Parameter(neutral)
            return ForLoopOp(indices, self.parameters.get(parameter), self._body(body, "block"), label=label)
        blocks = [self._body(block, "block") for block in operation.blocks]
        if isinstance(operation, IfElseOp):
            return IfElseOp(self._at.condition(operation.condition), *blocks, label=label)
        if isinstance(operation, WhileLoopOp):
            return WhileLoopOp(self._at.condition(operation.condition), *blocks, label=label)
        if isinstance(operation, SwitchCaseOp):
            cases = [(labels, block) for (labels, _), block in zip(operation.cases_specifier(), blocks, strict=True)]
            return SwitchCaseOp(self._at.target(operation.target), cases, label=label)
        if isinstance(operation, BoxOp):
            duration = operation.duration
            if isinstance(duration, expr.Expr):
                duration = self._at.expression(duration)
            return BoxOp(*blocks, duration, operation.unit, label=label, annotations=operation.annotations)
        raise unreplaced()


def fingerprint_sent(circuit: QuantumCircuit, labels: Mapping[str, str]) -> bytes:
    """The fingerprint of the circuit with other parameters put in for its own, in the same order.

    The SDK simplifies an expression when it substitutes in it (`1*a` becomes `a`), and so makes it another one by its
    fingerprint, of the same value.

    Args:
        circuit: as it was given.
        labels: label -> the one that stands for it.
    """
    own = {parameter: Parameter(f"{position:09}") for position, parameter in enumerate(circuit.parameters)}
    return describe(circuit.assign_parameters(own, flat_input=True) if own else circuit, labels).fingerprint


def _stem(parameter: Parameter) -> str:
    vector = getattr(parameter, "vector", None)
    return str(parameter.name if vector is None else vector.name)
