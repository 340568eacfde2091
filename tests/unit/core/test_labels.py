from __future__ import annotations

import pytest

from qnb.core.labels import Scheme
from qnb.errors import LabelError
from qnb.model import Label

SCHEME = Scheme(
    ("public", "internal", "confidential", "restricted"),
    {"phi": "health", "ip": "methods"},
    Label("internal"),
    Label("confidential"),
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("public", Label("public")),
        ("restricted//phi,ip", Label("restricted", frozenset({"ip", "phi"}))),
        ("  restricted // phi , phi ", Label("restricted", frozenset({"phi"}))),
    ],
)
def test_written_label_is_read(text: str, label: Label) -> None:
    """Levels and categories are read; spaces and repetition do not count."""
    assert SCHEME.parse(text) == label


@pytest.mark.parametrize("text", ["", "  ", "//phi", "restricted//", "restricted//phi,", "restricted//,phi"])
def test_incomplete_label_is_an_error_with_the_form(text: str) -> None:
    """A label without a level, or with an empty category, is not guessed."""
    with pytest.raises(LabelError) as caught:
        SCHEME.parse(text)
    assert caught.value.code == "bad-label"
    assert "category" in (caught.value.hint or "")


def test_misspelt_level_is_an_error_that_names_the_likely_one() -> None:
    """The hint suggests, and lists every level."""
    with pytest.raises(LabelError) as caught:
        SCHEME.parse("Restrcted")
    assert caught.value.code == "unknown-level"
    assert caught.value.hint == "did you mean `restricted`? levels: public, internal, confidential, restricted"


def test_unknown_category_is_an_error_that_lists_the_known() -> None:
    """A category is never passed over."""
    with pytest.raises(LabelError) as caught:
        SCHEME.parse("public//zzz")
    assert (caught.value.code, caught.value.hint) == ("unknown-category", "categories: phi, ip")


def test_long_and_unprintable_input_is_shortened_in_the_message() -> None:
    """A message stays one short line, whatever was given."""
    with pytest.raises(LabelError) as caught:
        SCHEME.parse("x\n\x1b" * 200)
    assert len(caught.value.message) < 80
    assert caught.value.message.isprintable()


def test_join_of_nothing_is_the_lowest_label() -> None:
    """What reads nothing is at the bottom of the lattice."""
    assert SCHEME.join() == Label("public")


def test_label_from_elsewhere_is_refused_by_join_and_order() -> None:
    """A label that did not come from this scheme is checked all the same."""
    for ask in (SCHEME.join, SCHEME.check):
        with pytest.raises(LabelError):
            ask(Label("secret"))
    with pytest.raises(LabelError):
        SCHEME.dominates(Label("public"), Label("public", frozenset({"nope"})))


def test_scheme_without_or_with_repeated_levels_is_refused() -> None:
    """The order of levels must be one."""
    for levels in ((), ("a", "a")):
        with pytest.raises(LabelError):
            Scheme(levels, {}, Label("a"), Label("a"))


def test_categories_of_a_scheme_cannot_be_changed() -> None:
    """A scheme is frozen to the bottom."""
    with pytest.raises(TypeError):
        SCHEME.categories["new"] = "x"  # type: ignore[index]
