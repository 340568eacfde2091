"""Names out of parameter expressions: a normal form, and an order of a circuit's parameters that no name decides.

Enters: the SDK's `ParameterExpression` objects, in the order in which a traversal of the circuit meets them.
Leaves: bytes in which each free parameter stands as its index.
Never: looks at a parameter's name. The SDK sorts sums and products by name, so the tree it shows changes when a
parameter is renamed: the normal form undoes that by sorting commutative operands by their own encoding.
Spec: docs/spec/fingerprint.md, "Parameters and expressions".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from qiskit.circuit import Parameter, ParameterExpression

from qnb.core.circuits.encoding import UnencodableError, encode, number, prefixed

Node = tuple[Any, ...]
"""("n", number) | ("p", Parameter) | ("+", terms) | ("*", sign, factors) | ("op", name, operands)."""

_UNARY = frozenset({"SIN", "COS", "TAN", "ASIN", "ACOS", "EXP", "LOG", "SIGN", "CONJ", "ABS", "ATAN"})
_REVERSED = frozenset({"RSUB", "RDIV", "RPOW"})


class AmbiguousOrderError(Exception):
    """An expression introduces several parameters at once, so first appearance does not order them. Internal."""


def normal_form(expression: ParameterExpression) -> Node:
    """The expression as sums and products without nesting and without order.

    Subtraction is a sum with negated terms; a sign moves from a number or a product to the product's sign and through
    sums. Numbers are not folded: folding would round differently for different orders.
    """
    if isinstance(expression, Parameter):
        return ("p", expression)
    replay = expression._qpy_replay  # noqa: SLF001 - the only way into the tree that is not a string
    if not replay:
        return _number(expression.numeric())
    stack: list[Node] = []
    for step in replay:
        name = str(step.op).rpartition(".")[2]
        # The right operand lies on top of the left one; functions have a left one only.
        right = None if name in _UNARY else _operand(step.rhs, stack)
        left = _operand(step.lhs, stack)
        if right is None:
            stack.append(("op", name, (left,)))
        elif name in _REVERSED:
            stack.append(_binary(name[1:], right, left))
        else:
            stack.append(_binary(name, left, right))
    return stack.pop()


def _operand(value: object, stack: list[Node]) -> Node:
    if value is None:
        return stack.pop()
    return normal_form(value) if isinstance(value, ParameterExpression) else _number(value)


def _binary(name: str, left: Node, right: Node) -> Node:
    if name == "ADD":
        return _sum(left, right)
    if name == "SUB":
        return _sum(left, _negated(right))
    if name == "MUL":
        return _product(left, right)
    if name == "DIV":
        return _product(left, ("op", "INV", (right,)))
    if name == "POW":
        return ("op", "POW", (left, right))
    raise UnencodableError(name)


def _number(value: object) -> Node:
    """Whole numbers and reals are one kind here: the SDK turns `2*a` into either."""
    if isinstance(value, complex) and value.imag:
        return ("n", value)
    return ("n", float(value.real if isinstance(value, complex) else value))  # type: ignore[arg-type]


def _sum(left: Node, right: Node) -> Node:
    terms = (left[1] if left[0] == "+" else (left,)) + (right[1] if right[0] == "+" else (right,))
    return ("+", terms)


def _negated(node: Node) -> Node:
    if node[0] == "n":
        return ("n", -node[1])
    if node[0] == "+":
        return ("+", tuple(map(_negated, node[1])))
    if node[0] == "*":
        return _simple(-node[1], node[2])
    return ("*", -1, (node,))


def _simple(sign: int, factors: tuple[Node, ...]) -> Node:
    return factors[0] if sign == 1 and len(factors) == 1 else ("*", sign, factors)


def _product(left: Node, right: Node) -> Node:
    if left == ("n", -1.0):
        return _negated(right)
    if right == ("n", -1.0):
        return _negated(left)
    sign = 1
    factors: tuple[Node, ...] = ()
    for node in (left, right):
        if node[0] == "*":
            sign, factors = sign * node[1], factors + node[2]
        elif node[0] == "n" and isinstance(node[1], float) and node[1] < 0:
            sign, factors = -sign, (*factors, ("n", -node[1]))
        else:
            factors = (*factors, node)
    return _simple(sign, factors)


def encode_node(node: Node, mark: Callable[[Parameter], bytes]) -> bytes:
    """The bytes of a normal form, each parameter spelled by `mark`."""
    return _Speller(mark).spell(node)


class _Speller:
    """Spells one normal form.

    The SDK writes `(b-a)*2` as `-(a-b)*2` if the names make it so. A sum within a product is therefore turned to the
    sign that is spelled lower, and the turns are counted in the sign of the product.
    """

    def __init__(self, mark: Callable[[Parameter], bytes]) -> None:
        self._mark = mark
        # by identity, as a turned sum shares its products' factors; each is held, so that its id stays its own
        self._products: dict[int, tuple[tuple[Node, ...], bytes, int]] = {}

    def spell(self, node: Node) -> bytes:
        """The bytes of one node."""
        kind = node[0]
        if kind == "p":
            return b"p" + self._mark(node[1])
        if kind == "n":
            return b"n" + encode(node[1])
        if kind == "op":
            return b"x" + encode(node[1]) + b"".join(map(self.spell, node[2]))
        if kind == "+":
            terms = sorted(map(self.spell, node[1]))
            return b"+" + number(len(terms)) + b"".join(terms)
        factors, sign = self._factors(node[2])
        return b"*" + encode(sign * node[1]) + factors

    def _factors(self, factors: tuple[Node, ...]) -> tuple[bytes, int]:
        """Factors in order, and the sign that turning their sums left over; 0 if it cannot be told."""
        known = self._products.get(id(factors))
        if known is None:
            turned = [self._turned(factor) for factor in factors]
            sign = 1
            for _, own in turned:
                sign *= own
            spelled = sorted(item for item, _ in turned)
            known = self._products[id(factors)] = (factors, number(len(spelled)) + b"".join(spelled), sign)
        return known[1], known[2]

    def _turned(self, factor: Node) -> tuple[bytes, int]:
        inverse = factor[0] == "op" and factor[1] == "INV"
        inner = factor[2][0] if inverse else factor
        if inner[0] != "+":
            return self.spell(factor), 1
        one, other = self.spell(inner), self.spell(_negated(inner))
        head = b"x" + encode("INV") if inverse else b""
        return head + min(one, other), int(one < other) - int(one > other)


class ParameterTable:
    """Gives each free parameter its index while a circuit is traversed.

    Indices follow first appearance. Where one expression introduces several parameters at once, `AmbiguousOrderError`
    asks the caller to traverse once more with a table made by `ordered`.
    """

    def __init__(self, index: dict[Parameter, int] | None = None) -> None:
        self.index: dict[Parameter, int] = {} if index is None else index
        self._alone: dict[Parameter, bytes] = {}

    def alone(self, parameter: Parameter) -> bytes:
        """Encode an expression that is nothing but a parameter, behind its length."""
        known = self._alone.get(parameter)
        if known is None:
            known = self._alone[parameter] = prefixed(self.expression(parameter))
        return known

    def expression(self, expression: ParameterExpression) -> bytes:
        """Encode one expression, giving indices to the parameters it introduces.

        Raises:
            AmbiguousOrderError: it introduces more than one.
            UnencodableError: it holds an operation that this version does not know.
        """
        index = self.index
        if isinstance(expression, Parameter):
            position = index.get(expression)
            if position is None:
                position = index[expression] = len(index)
            return b"p" + number(position)
        new = [parameter for parameter in expression.parameters if parameter not in index]
        if len(new) > 1:
            raise AmbiguousOrderError
        for parameter in new:
            index[parameter] = len(index)
        return encode_node(normal_form(expression), lambda parameter: number(index[parameter]))


class SiteCollector(ParameterTable):
    """Collects every expression of a traversal instead of encoding it, and orders the parameters afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._sites: list[tuple[Node, frozenset[Parameter]]] = []

    def expression(self, expression: ParameterExpression) -> bytes:
        """Remember the expression; the bytes returned are a placeholder that nobody may hash."""
        self._sites.append((normal_form(expression), frozenset(expression.parameters)))
        return b""

    def alone(self, parameter: Parameter) -> bytes:
        """Remember each of its places."""
        return self.expression(parameter)

    def ordered(self) -> ParameterTable:
        """A table with all indices given: by first site, then by the refined colour of the parameter.

        Colours start equal and are refined by where and how a parameter stands among the others (colour refinement).
        Parameters that stay equal are interchangeable; one of them is singled out and refinement goes on.
        """
        first: dict[Parameter, int] = {}
        places: dict[Parameter, list[int]] = {}
        for position, (_, parameters) in enumerate(self._sites):
            for parameter in parameters:
                first.setdefault(parameter, position)
                places.setdefault(parameter, []).append(position)
        colour = dict.fromkeys(first, b"")
        while len(set(colour.values())) < len(colour):
            before = len(set(colour.values()))
            colour = {parameter: self._refined(parameter, places[parameter], colour) for parameter in colour}
            if len(set(colour.values())) == before:
                shared = sorted(colour, key=lambda parameter: (first[parameter], colour[parameter]))
                chosen = next(a for a, b in pairwise(shared) if colour[a] == colour[b])
                colour[chosen] = hashlib.sha256(b"chosen" + colour[chosen]).digest()
        final = sorted(first, key=lambda parameter: (first[parameter], colour[parameter]))
        return ParameterTable({parameter: position for position, parameter in enumerate(final)})

    def _refined(self, parameter: Parameter, places: list[int], colour: dict[Parameter, bytes]) -> bytes:
        digest = hashlib.sha256(encode(colour[parameter]))
        for position in places:
            spelled = encode_node(
                self._sites[position][0],
                lambda other: b"*" if other == parameter else encode(colour[other]),
            )
            digest.update(number(position) + spelled)
        return digest.digest()
