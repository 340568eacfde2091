"""Fuzz one target with atheris: `python tests/fuzz/run.py TARGET [FOLDER] [libFuzzer's flags]`; `--list` names them.

Enters: the name of a target, a folder for what is found to reach new code. Leaves: libFuzzer's report; a finding ends
it with an error and the input in a file, and `python tests/fuzz/run.py TARGET FILE` runs that input again.
Never: more memory or time for one input than the flags allow.
"""

from __future__ import annotations

import io
import sys
import warnings
from contextlib import redirect_stderr
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
warnings.simplefilter("ignore")  # of nbformat, on notebooks that are none


def main() -> None:
    """List or run."""
    if sys.argv[1:] == ["--list"]:
        from targets import TARGETS

        sys.stdout.write("".join(f"{target.name}\n" for target in TARGETS))
        return
    import atheris

    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["qnb"]):  # it tells of each module
        from targets import TARGETS
    named = {target.name: target for target in TARGETS}
    if len(sys.argv) < 2 or sys.argv[1] not in named:
        sys.exit(f"name one of {', '.join(named)}")
    target = named[sys.argv.pop(1)]
    folder = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if folder is not None and not folder.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target.seeds):
            (folder / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_len={target.largest}", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256"]
    atheris.Setup([sys.argv[0], *flags, *sys.argv[1:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
