"""Neutral names for places: registers, bits and variables, and the classical expressions that speak of them.

Enters: registers, bits, variables, expressions and names of circuits that leave. Leaves: their stand-ins, and `Names`,
which knows what each of them stood for.
Never: gives one name two stand-ins, or two names of one kind the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qiskit.circuit import Register
from qiskit.circuit.classical import expr

from qnb.errors import ExecutionError

KINDS = ("circuits", "registers", "parameters", "variables", "gates", "labels")
_PREFIX = {"variables": "v", "gates": "g", "labels": "l"}


@dataclass(slots=True)
class Names:
    """What neutral names stand for.

    Attributes:
        given: kind -> neutral name -> name as given; kinds are `KINDS`.
        metadata: neutral name of a circuit -> its metadata.
        order: neutral name of the circuit of each PUB.
    """

    given: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    metadata: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def restored(self, kind: str, name: str) -> str:
        """The name that stood where `name` now does; `name` itself where none did."""
        return self.given[kind].get(name, name)


class Places:
    """The stand-ins of one call's names.

    Args:
        names: the map back, filled here.
        labels: label as given -> its stand-in, filled here.
    """

    def __init__(self, names: Names, labels: dict[str, str]) -> None:
        self._names = names
        self._labels = labels
        self._taken: dict[tuple[str, str], str] = {}  # (kind, name as given) -> neutral
        self._registers: dict[Any, Any] = {}
        self._bits: dict[Any, Any] = {}
        self._variables: dict[Any, Any] = {}

    def name(self, kind: str, given: str, prefix: str | None = None) -> str:
        """The stand-in of a name of a kind; `prefix` is what it begins with where the kind alone does not say."""
        known = self._taken.get((kind, given))
        if known is None:
            known = f"{prefix or _PREFIX[kind]}{len(self._names.given[kind])}"
            self._taken[kind, given] = known
            self._names.given[kind][known] = given
        return known

    def label(self, given: str | None) -> str | None:
        """The stand-in of a label; None has none."""
        if given is None:
            return None
        self._labels[given] = self.name("labels", given)
        return self._labels[given]

    def register(self, register: Any) -> Any:
        """The stand-in of a register, of the same class and size."""
        new = self._registers.get(register)
        if new is None:
            cls = type(register)
            name = self.name("registers", register.name, cls.prefix[0])
            new = cls(len(register), name)
            owned = register == cls(len(register), register.name) and not any(bit in self._bits for bit in register)
            if owned:
                self._bits.update(zip(register, new, strict=True))
            else:  # one that groups bits of others
                new = cls(name=name, bits=[self.bit(bit) for bit in register])
            self._registers[register] = new
        return new

    def bit(self, bit: Any) -> Any:
        """The stand-in of a bit; nameless, unless its register came first."""
        new = self._bits.get(bit)
        if new is None:
            new = self._bits[bit] = type(bit)()
        return new

    def variable(self, variable: Any) -> Any:
        """The stand-in of a variable or stretch, of the same type."""
        new = self._variables.get(variable)
        if new is None:
            name = self.name("variables", variable.name)
            new = expr.Stretch.new(name) if isinstance(variable, expr.Stretch) else expr.Var.new(name, variable.type)
            self._variables[variable] = new
        return new

    def target(self, target: Any) -> Any:
        """A switch target, or the left side of an older condition."""
        if isinstance(target, expr.Expr):
            return self.expression(target)
        return self._bit_or_register(target)

    def _bit_or_register(self, value: Any) -> Any:
        return self.register(value) if isinstance(value, Register) else self.bit(value)

    def condition(self, condition: Any) -> Any:
        """What an `if` or a `while` asks."""
        if isinstance(condition, tuple):
            return (self.target(condition[0]), condition[1])
        return self.target(condition)

    def expression(self, node: Any) -> Any:
        """A classical expression over the stand-ins.

        Raises:
            ExecutionError: a node that this version does not know.
        """
        if isinstance(node, expr.Var):
            return self.variable(node) if node.standalone else expr.Var(self._bit_or_register(node.var), node.type)
        if isinstance(node, expr.Stretch):
            return self.variable(node)
        if isinstance(node, expr.Value):
            return node
        if isinstance(node, expr.Cast):
            return expr.Cast(self.expression(node.operand), node.type, implicit=node.implicit)
        if isinstance(node, expr.Unary):
            return expr.Unary(node.op, self.expression(node.operand), node.type)
        if isinstance(node, expr.Binary):
            return expr.Binary(node.op, self.expression(node.left), self.expression(node.right), node.type)
        if isinstance(node, expr.Index):
            return expr.Index(self.expression(node.target), self.expression(node.index), node.type)
        raise unreplaced()


def unreplaced() -> ExecutionError:
    """That something in a circuit is unknown here, and may hold names."""
    return ExecutionError(
        "names-not-replaced",
        "the circuit holds an operation whose names this version cannot replace",
        "transpile the circuit before you run it outside this machine",
    )
