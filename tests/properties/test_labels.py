from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.labels import Scheme
from qnb.errors import LabelError
from qnb.model import Label

LEVELS = ("public", "internal", "confidential", "restricted")
CATEGORIES = {"phi": "a", "pii": "b", "ip": "c", "export": "d"}
SCHEME = Scheme(LEVELS, CATEGORIES, Label("internal"), Label("confidential"))

labels = st.builds(Label, st.sampled_from(LEVELS), st.frozensets(st.sampled_from(sorted(CATEGORIES))))
fixed = settings(derandomize=True, max_examples=200)


@fixed
@given(labels)
def test_written_and_read_again_is_the_same_label(a: Label) -> None:
    """Parse after str is the identity."""
    assert SCHEME.parse(str(a)) == a


@fixed
@given(labels, labels, labels)
def test_join_is_a_semilattice(a: Label, b: Label, c: Label) -> None:
    """Idempotent, commutative, associative, with the lowest label as neutral element."""
    join = SCHEME.join
    assert join(a, a) == a == join(a, Label("public"))
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c)) == join(a, b, c)


@fixed
@given(labels, labels, labels)
def test_join_is_the_least_upper_bound(a: Label, b: Label, c: Label) -> None:
    """It dominates both, and everything that dominates both dominates it."""
    both = SCHEME.join(a, b)
    assert SCHEME.dominates(both, a)
    assert SCHEME.dominates(both, b)
    if SCHEME.dominates(c, a) and SCHEME.dominates(c, b):
        assert SCHEME.dominates(c, both)


@fixed
@given(labels, labels, labels)
def test_order_is_partial(a: Label, b: Label, c: Label) -> None:
    """Reflexive, antisymmetric, transitive; and it says the same as join."""
    over = SCHEME.dominates
    assert over(a, a)
    if over(a, b) and over(b, a):
        assert a == b
    if over(a, b) and over(b, c):
        assert over(a, c)
    assert over(a, b) == (SCHEME.join(a, b) == a)


@fixed
@given(st.text(max_size=60))
def test_any_text_is_a_label_or_a_label_error(text: str) -> None:
    """Nothing else comes out of the parser, and what it reads is in the scheme."""
    try:
        SCHEME.check(SCHEME.parse(text))
    except LabelError as error:
        message = error.message
        assert "\n" not in message
