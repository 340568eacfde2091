"""Labels: a level and a set of categories, ordered as a lattice.

Enters: the levels and categories that a policy declares, and label text as a person wrote it.
Leaves: a `Scheme` that parses, joins and compares labels.
Never: guesses a label. What does not parse, or names a level or category that the policy lacks, is a LabelError.
Spec: DESIGN.md "Labels"; the order is the product of the level order and set inclusion (Denning, A Lattice Model of
Secure Information Flow, CACM 1976, section 2).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from qnb.errors import LabelError
from qnb.model import Label


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, None if none is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return near[0] if near else None


def _shorten(text: str) -> str:
    """Input as it may stand in a one-line message: printable, bounded."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:41])
    return shown if len(text) <= 40 else f"{shown[:40]}…"


@dataclass(frozen=True, slots=True)
class Scheme:
    """The labels that a policy knows.

    Args:
        levels: lowest first; at least one.
        categories: name -> what it means, in words.
        session: label of a cell that declares nothing.
        cell: label of a bare `%%qsecure`.

    Raises:
        LabelError: `session` or `cell` is not in the scheme, or `levels` is empty or repeats a level.
    """

    levels: tuple[str, ...]
    categories: Mapping[str, str]
    session: Label
    cell: Label
    _ranks: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise LabelError("bad-levels", "the levels of a scheme are named once each, lowest first, at least one")
        object.__setattr__(self, "categories", MappingProxyType(dict(self.categories)))
        object.__setattr__(self, "_ranks", {level: rank for rank, level in enumerate(self.levels)})
        self.check(self.session)
        self.check(self.cell)

    def parse(self, text: str) -> Label:
        """Read `level` or `level//category,category`; spaces around the whole and around categories do not count.

        Raises:
            LabelError: the text is not of that form, or names a level or category that the scheme does not know.
        """
        level, slashes, rest = text.strip().partition("//")
        level = level.strip()
        if not level:
            raise LabelError(
                "bad-label",
                f"`{_shorten(text)}` is not a label: it names no level",
                f"write `LEVEL` or `LEVEL//category,category`; levels: {', '.join(self.levels)}",
            )
        names = [name.strip() for name in rest.split(",")] if slashes else []
        if not all(names):
            raise LabelError(
                "bad-label",
                f"`{_shorten(text)}` is not a label: a category is missing after `//` or a comma",
                f"write `{_shorten(level)}` alone or `{_shorten(level)}//category,category`",
            )
        label = Label(level, frozenset(names))
        self.check(label)
        return label

    def check(self, label: Label) -> None:
        """Hold a label against the scheme.

        Raises:
            LabelError: with the known levels or categories, and the likely one, as hint.
        """
        if label.level not in self._ranks:
            raise LabelError(
                "unknown-level",
                f"unknown level `{_shorten(label.level)}`",
                self._hint(label.level, "levels", self.levels),
            )
        for name in sorted(label.categories):
            if name not in self.categories:
                raise LabelError(
                    "unknown-category",
                    f"unknown category `{_shorten(name)}`",
                    self._hint(name, "categories", tuple(self.categories)),
                )

    def rank(self, level: str) -> int:
        """Place of a level, 0 lowest.

        Raises:
            LabelError: the level is unknown.
        """
        self.check(Label(level))
        return self._ranks[level]

    def join(self, *labels: Label) -> Label:
        """The least label that dominates all given: highest level, union of the categories. Of none: the lowest label.

        Raises:
            LabelError: one of them is not in the scheme.
        """
        rank = 0
        categories: frozenset[str] = frozenset()
        for label in labels:
            self.check(label)
            rank = max(rank, self._ranks[label.level])
            categories |= label.categories
        return Label(self.levels[rank], categories)

    def dominates(self, a: Label, b: Label) -> bool:
        """True if what is labelled `b` may flow into what is labelled `a`: level at least as high, categories included.

        Raises:
            LabelError: one of them is not in the scheme.
        """
        self.check(a)
        self.check(b)
        return self._ranks[a.level] >= self._ranks[b.level] and a.categories >= b.categories

    @staticmethod
    def _hint(word: str, kind: str, known: tuple[str, ...]) -> str:
        listed = f"{kind}: {', '.join(known)}" if known else f"the policy names no {kind}"
        near = suggest(word, known)
        return f"did you mean `{near}`? {listed}" if near else listed
