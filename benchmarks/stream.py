"""What sealing costs a cell that prints much: 10 MB, line by line and in large pieces, sealed against in clear.

Enters: nothing. Leaves: rows. One kernel with qnb loaded and one without, cells alternating; wall time from the request
to the kernel's idle, the final sealed output included. Never: more than one run of each at a time.
"""

from __future__ import annotations

from statistics import median

from cells import Kernel
from rows import Row, report, scratch

_LINES = "for i in range(100_000):\n    print(f'{i:06d} ' + 'x' * 93)"
_PIECES = "for i in range(160):\n    print('y' * 65_535)"
_ROUNDS = 7


def main() -> None:
    """Measure both ways of printing 10 MB."""
    rows = []
    with scratch() as folder, Kernel(folder, guarded=False) as bare, Kernel(folder, guarded=True) as guarded:
        # pieces: 10 MB that take the unsealed cell 50 ms, less than their encryption, two digests and base64 do
        for name, code, target in (("in lines", _LINES, 1.3), ("in large pieces", _PIECES, None)):
            bare.run(code)
            guarded.run(f"%%qsecure\n{code}")
            clear, sealed = [], []
            for _ in range(_ROUNDS):
                clear.append(bare.run(code))
                sealed.append(guarded.run(f"%%qsecure\n{code}"))
            rows.append(
                Row(
                    f"a cell that prints 10 MB {name}, sealed against in clear",
                    median(sealed) / median(clear),
                    "x",
                    target=target,
                    note=f"{median(sealed) * 1000:.0f} ms against {median(clear) * 1000:.0f} ms, {_ROUNDS} rounds",
                )
            )
    report(rows)


if __name__ == "__main__":
    main()
