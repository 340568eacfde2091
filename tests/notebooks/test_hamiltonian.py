"""The published Hamiltonian in examples/data, checked against a calculation that shares nothing with it.

Two electrons in two orbitals: full CI of H2 in STO-6G from closed-form integrals over s-type Gaussians. Exponents and
contraction coefficients: Hehre, Stewart, Pople, J. Chem. Phys. 51, 2657 (1969), zeta(H) = 1.24. Integrals: Szabo and
Ostlund, Modern Quantum Chemistry, appendix A. In the sector of the ground state the two-qubit Hamiltonian is
[[g0-g3+(g1-g2), 2 g4], [2 g4, g0-g3-(g1-g2)]].
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

TABLE = np.loadtxt(Path(__file__).parents[2] / "examples" / "data" / "h2_sto6g.csv", delimiter=",")
BOHR = 0.529177210903  # angstrom, CODATA 2018
EXPONENTS = (35.52322122, 6.513143725, 1.822142904, 0.6259552659, 0.2430767471, 0.1001124280)
COEFFICIENTS = (0.009163596281, 0.04936149294, 0.1685383049, 0.3705627997, 0.4164915298, 0.1303340841)
ORBITAL = [(a, c * (2 * a / math.pi) ** 0.75) for a, c in zip(EXPONENTS, COEFFICIENTS, strict=True)]
ROUNDING = 0.5e-4  # of one printed coefficient


def _boys(t: float) -> float:
    return 1.0 if t < 1e-12 else 0.5 * math.sqrt(math.pi / t) * math.erf(math.sqrt(t))


def _pairs(x: float, y: float) -> list[tuple[float, float, float]]:
    """Products of two contracted s orbitals at x and y: (exponent, centre, prefactor) per pair of primitives."""
    return [
        (a + b, (a * x + b * y) / (a + b), c * d * math.exp(-a * b / (a + b) * (x - y) ** 2))
        for (a, c), (b, d) in product(ORBITAL, ORBITAL)
    ]


def _hamiltonian_of_the_singlet(r: float) -> npt.NDArray[np.float64]:
    """Full CI matrix in the configurations g^2 and u^2 at bond length `r` in angstrom; hartree, repulsion included."""
    at = (0.0, r / BOHR)
    one, overlap = np.zeros((2, 2)), np.zeros((2, 2))
    for i, j in product(range(2), repeat=2):
        for (a, c), (b, d) in product(ORBITAL, ORBITAL):
            p, m = a + b, a * b / (a + b)
            centre, distance = (a * at[i] + b * at[j]) / p, (at[i] - at[j]) ** 2
            value = c * d * math.exp(-m * distance)
            overlap[i, j] += value * (math.pi / p) ** 1.5
            one[i, j] += value * (math.pi / p) ** 1.5 * m * (3 - 2 * m * distance)
            one[i, j] -= sum(value * 2 * math.pi / p * _boys(p * (centre - x) ** 2) for x in at)
    two = np.zeros((2, 2, 2, 2))
    for i, j, k, n in product(range(2), repeat=4):
        if i == 1:  # the atoms are alike: only half has to be integrated
            two[i, j, k, n] = two[1 - i, 1 - j, 1 - k, 1 - n]
            continue
        for (p, x, c), (q, y, d) in product(_pairs(at[i], at[j]), _pairs(at[k], at[n])):
            two[i, j, k, n] += (
                c * d * 2 * math.pi**2.5 / (p * q * math.sqrt(p + q)) * _boys(p * q / (p + q) * (x - y) ** 2)
            )
    norms = 1 / np.sqrt(2 * (1 + np.array([1, -1]) * overlap[0, 1] / overlap[0, 0]) * overlap[0, 0])
    orbitals = np.array([[1.0, 1.0], [1.0, -1.0]]) * norms  # gerade, ungerade
    one = orbitals.T @ one @ orbitals
    two = np.einsum("pqrs,pi,qj,rk,sl->ijkl", two, orbitals, orbitals, orbitals, orbitals)
    matrix = np.diag([2 * one[0, 0] + two[0, 0, 0, 0], 2 * one[1, 1] + two[1, 1, 1, 1]])
    return matrix + two[0, 1, 0, 1] * np.array([[0, 1], [1, 0]]) + np.eye(2) / (r / BOHR)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]:.2f}")
def test_each_published_row_agrees_with_full_ci_within_its_printed_digits(row: npt.NDArray[np.float64]) -> None:
    """Mean, splitting and coupling of the ground state's sector follow from first principles to four digits."""
    r, g0, g1, g2, g3, g4, g5 = row
    expected = _hamiltonian_of_the_singlet(r)
    assert g4 == g5
    assert g0 - g3 == pytest.approx((expected[0, 0] + expected[1, 1]) / 2, abs=2 * ROUNDING)
    assert abs(g1 - g2) == pytest.approx(abs(expected[0, 0] - expected[1, 1]) / 2, abs=2 * ROUNDING)
    assert 2 * g4 == pytest.approx(expected[0, 1], abs=2 * ROUNDING)


def test_the_curve_has_its_minimum_and_its_limit_where_they_belong() -> None:
    """The minimum lies at 0.75 angstrom and the longest bond is within 1 mHa of two separate atoms."""
    _, g0, g1, g2, g3, g4, _ = TABLE.T
    energy = g0 - g3 - np.hypot(g1 - g2, 2 * g4)
    assert TABLE[energy.argmin(), 0] == 0.75
    # twice the STO-6G energy of a hydrogen atom
    assert energy[-1] == pytest.approx(-0.94208, abs=1e-3)


def test_every_column_is_smooth() -> None:
    """A mistyped digit would stand out in the fourth differences (from 0.65 angstrom; before it 1/r bends too much)."""
    fourth = np.diff(TABLE[9:, 1:], 4, axis=0)
    assert np.abs(fourth).max() < 30 * ROUNDING
