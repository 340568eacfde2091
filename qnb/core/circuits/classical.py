"""Classical expressions, conditions and targets, spelled with bit positions and variable indices.

Enters: `qiskit.circuit.classical.expr` trees and the older `(bit or register, value)` conditions.
Leaves: bytes without names: a bit is its position in the circuit at hand, a variable its index by declaration.
Spec: docs/spec/fingerprint.md, "Classical expressions".
"""
# ruff: noqa: SLF001 - the counts of the Rust data tell cheaply that a circuit has no variables

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qiskit.circuit import ClassicalRegister, Clbit, QuantumCircuit
from qiskit.circuit.classical import expr, types

from qnb.core.circuits.encoding import UnencodableError, encode, number


class Scope:
    """The classical names that mean something inside one circuit or block: its bits, and the variables in reach."""

    def __init__(self, circuit: QuantumCircuit, clbits: Mapping[Clbit, int], outer: Scope | None) -> None:
        self._clbits = clbits
        self._variables: dict[Any, int] = {} if outer is None else dict(outer._variables)
        data = circuit._data
        some = circuit.num_vars or data.num_captured_vars or data.num_declared_stretches or data.num_captured_stretches
        self.header = self._declare(circuit) if some else b""

    def _declare(self, circuit: QuantumCircuit) -> bytes:
        """Index the variables by declaration and give the bytes that say which there are."""
        parts = []
        captured = [*circuit.iter_captured_vars(), *circuit.iter_captured_stretches()]
        known = sorted(self._variables[item] for item in captured if item in self._variables)
        parts.append(number(len(known)) + b"".join(map(number, known)))
        groups = (
            (b"i", circuit.iter_input_vars()),
            (b"c", [item for item in captured if item not in self._variables]),
            (b"d", circuit.iter_declared_vars()),
            (b"t", circuit.iter_declared_stretches()),
        )
        for tag, items in groups:
            for item in items:
                self._variables[item] = len(self._variables)
                parts.append(tag + _type(item.type))
        return b"".join(parts)

    def bit(self, bit: Clbit) -> bytes:
        """A classical bit by its position."""
        return number(self._clbits[bit])

    def register(self, register: ClassicalRegister) -> bytes:
        """A register by the positions of its bits."""
        return number(len(register)) + b"".join(map(self.bit, register))

    def target(self, target: Any) -> bytes:
        """A switch target or the left side of an older condition."""
        if isinstance(target, Clbit):
            return b"b" + self.bit(target)
        if isinstance(target, ClassicalRegister):
            return b"r" + self.register(target)
        return b"x" + self.expression(target)

    def condition(self, condition: Any) -> bytes:
        """What an `if` or a `while` asks: an expression, or an older pair of target and value."""
        if isinstance(condition, tuple):
            return b"=" + self.target(condition[0]) + encode(int(condition[1]))
        return self.target(condition)

    def expression(self, node: Any) -> bytes:
        """One node and what is below it.

        Raises:
            UnencodableError: a node that this version does not know.
        """
        kind = _type(node.type)
        if isinstance(node, expr.Var):
            if node.standalone:
                return b"v" + kind + number(self._variables[node])
            return b"w" + kind + self.target(node.var)
        if isinstance(node, expr.Stretch):
            return b"t" + kind + number(self._variables[node])
        if isinstance(node, expr.Value):
            value = node.value
            if isinstance(value, (bool, int, float)):
                return b"n" + kind + encode(value)
            return b"d" + kind + encode(value.unit()) + encode(value.value())
        if isinstance(node, expr.Cast):
            return b"k" + kind + self.expression(node.operand)
        if isinstance(node, expr.Unary):
            return b"1" + kind + encode(node.op.name) + self.expression(node.operand)
        if isinstance(node, expr.Binary):
            return b"2" + kind + encode(node.op.name) + self.expression(node.left) + self.expression(node.right)
        if isinstance(node, expr.Index):
            return b"@" + kind + self.expression(node.target) + self.expression(node.index)
        raise UnencodableError(node)


def _type(kind: Any) -> bytes:
    return encode(type(kind).__name__) + (encode(kind.width) if isinstance(kind, types.Uint) else b"")
