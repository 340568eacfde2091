"""Observing the versions of what takes part in an execution.

Enters: nothing. Leaves: package name -> version, of packages that are imported in this process. Never: a version of
something that is installed but took no part.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

_PACKAGES = {
    "qnb": "qnb",
    "qiskit": "qiskit",
    "qiskit_aer": "qiskit-aer",
    "qiskit_ibm_runtime": "qiskit-ibm-runtime",
    "cryptography": "cryptography",
}
_absent: set[str] = set()
_seen: dict[str, str] = {"python": platform.python_version()}


def observe_versions() -> Mapping[str, str]:
    """The versions seen so far; looks again only for what has been imported since."""
    for module, package in _PACKAGES.items():
        if package not in _seen and package not in _absent and module in sys.modules:
            try:
                _seen[package] = version(package)
            except PackageNotFoundError:  # imported from a folder that was never installed: the version is unknown
                _absent.add(package)  # looking again for every entry would cost as much as the entry
    return MappingProxyType(_seen)
