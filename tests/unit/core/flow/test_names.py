"""Which names a cell reads, binds and stores into, as Python would have it."""

from __future__ import annotations

import ast
import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnb.core.flow.names import names_of


def reads(source: str) -> set[str]:
    return names_of(ast.parse(source).body).reads - set(dir(builtins))


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("y = x", {"x"}),
        ("x = 1\ny = x", set()),
        ("x = x + 1", {"x"}),
        ("x += 1", {"x"}),
        ("del x\ny = 1", set()),
        ("if c:\n    x = 1\ny = x", {"c", "x"}),
        ("if c:\n    x = 1\nelse:\n    x = 2\ny = x", {"c"}),
        ("for x in a:\n    y = x\nz = x", {"a", "x"}),
        ("while c:\n    x = 1\nx", {"c", "x"}),
        ("with f() as x:\n    y = x\nx", {"f"}),
        ("with f():\n    x = 1\nx", {"f", "x"}),
        ("try:\n    x = 1\nexcept E as e:\n    y = e\nx", {"E", "x"}),
        ("try:\n    pass\nfinally:\n    x = 1\nx", set()),
        ("[x for x in x]", {"x"}),
        ("{k: v for k, v in a if k in b}", {"a", "b"}),
        ("(y := x)\ny", {"x", "y"}),  # more than is read, never less
        ("f = lambda x, y=z: x + w", {"z", "w"}),
        ("def f(x, *a, k=d, **o):\n    t = x\n    return t, a, k, o, g", {"d", "g"}),
        ("def f():\n    global g\n    g = 1\n    return g", {"g"}),
        ("def f():\n    def h():\n        return q\n    return h", {"q"}),
        ("@d\nclass A(B, metaclass=M):\n    x = y\n    def f(self): return z", {"d", "B", "M", "y", "z"}),
        ("x.y[i].z = v", {"x", "i", "v"}),
        ("match m:\n    case [a, *b]: a\n    case {'k': c, **d}: d", {"m", "a", "d"}),
        ("import a.b, c as d\na, d", set()),
        ("from m import a as b\nb", set()),
        ("async def f():\n    async for i in a:\n        await g(i)", {"a", "g"}),
        ("x: T = y\nx", {"T", "y"}),
        ("f'{x!r:{w}}'", {"x", "w"}),
    ],
)
def test_names_read_are_those_that_were_there_before(source: str, read: set[str]) -> None:
    """A name that the cell has bound on every path by then is its own."""
    assert reads(source) == read


def test_names_bound_and_stored_into() -> None:
    """Bound on any path; the root of what is stored into, also from inside a function."""
    names = names_of(
        ast.parse(
            "a, (b, *c) = t\nx.y = z[0] = 1\ndef f():\n    global g\n    g = 1\n    q.r = 1\n    l = []\n    l[0] = 1"
        ).body
    )
    assert names.binds == {"a", "b", "c", "f", "g"}
    assert names.stores == {"x", "z", "q"}


@given(st.lists(st.sampled_from(["a = b", "b = a", "c = a + b", "del a", "a += c", "print(c)"]), max_size=8))
def test_straight_line_code_fails_without_exactly_the_names_it_reads(lines: list[str]) -> None:
    """Run with those names alone it finds every name; with one of them gone it does not."""
    source = "\n".join(lines)
    needed = reads(source)
    space: dict[str, object] = dict.fromkeys(needed, 1)
    try:
        exec(source, {"print": lambda *_: None}, space)
    except NameError:
        # what it deleted itself, and nothing else, may be missing
        assert "del a" in source
