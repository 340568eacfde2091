"""Trying a foreign parser where it can do no harm: in a process of its own, with limits on memory and time.

Enters: the bytes of a circuit file, its format, limits. Leaves: nothing, or the error that the trial ended with.
Never: hands bytes of the file to a parser in this process; lets the trial see this process's environment (which holds
credentials) or its output reach anybody. Without `resource` (Windows) the clock alone bounds it.

The parent believes nothing that the trial says but that it ended well: what it parses afterwards is what was tried, and
a parser that needed no more than the limits then needs no more now.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qnb.errors import InputError, QnbError

_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR")
_QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "QISKIT_PARALLEL": "FALSE",
    "RUST_BACKTRACE": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_START_SECONDS = 30  # to start Python and import the SDK, which the file has no part in
_STACK = 4 << 20  # half of what the main thread has here: what fits there fits here
_ANSWER = 1 << 16


def try_file(data: bytes, format_: str, limits: Mapping[str, int]) -> None:
    """Check, parse and measure a file in a process of its own.

    Args:
        data: the file.
        format_: `qpy`, `qasm2` or `qasm3`.
        limits: as `qnb.core.circuits.untrusted.describe_limits` gives them.

    Raises:
        InputError: it does not parse, is too large, takes too long, or ended the process.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    head = json.dumps({"format": format_, "limits": dict(limits), "recursion": sys.getrecursionlimit()}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "qnb.store.trial"],
            input=head + b"\n" + data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(sys.executable).anchor,
            env=environment | _QUIET,
            timeout=limits["seconds"] + _START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(limits["seconds"]) from None
    except OSError:
        raise InputError(
            "no-trial", "no process could be started to try the file in", "check the limits of this account"
        ) from None
    answer = _parse_answer(done.stdout)
    if done.returncode == 0 and answer == {"ok": True}:
        return
    if answer is not None and "code" in answer:
        raise InputError(answer["code"], answer["message"], answer["hint"])
    if -done.returncode in _signals("SIGXCPU", "SIGKILL"):
        raise _too_slow(limits["seconds"])
    raise InputError(
        "broke-parser",
        "the file ended the process in which it was tried, by memory or by a fault of the parser",
        "treat it as hostile; where it is trusted, raise the limit `memory`",
    )


def _parse_answer(said: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(said[:_ANSWER])
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    texts = [answer.get(name) for name in ("code", "message")]
    hint = answer.get("hint")
    if "code" in answer and not (all(isinstance(text, str) for text in texts) and isinstance(hint, str | None)):
        return None
    return answer


def _signals(*names: str) -> set[int]:
    import signal

    return {int(getattr(signal, name)) for name in names if hasattr(signal, name)}


def _too_slow(seconds: int) -> InputError:
    return InputError(
        "too-slow",
        f"the file takes more than {seconds} seconds to parse",
        "where the file is trusted, raise the limit: limits={'seconds': …}",
    )


# --- the other side ---------------------------------------------------------------------------------------------------


def main() -> int:
    """Read one request from standard input, answer it on standard output. Runs in the process of the trial."""
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # a parser's prints go nowhere
        os.dup2(null, descriptor)
    head = json.loads(source.readline())
    data = source.read()
    answer: dict[str, Any] = {}
    # in a thread, whose stack can be made smaller than the one that the file will be parsed on
    threading.stack_size(_STACK)
    worker = threading.Thread(target=_answer, args=(data, head, answer))
    worker.start()
    worker.join()
    json.dump(answer, out)
    out.close()
    return 0


def _answer(data: bytes, head: dict[str, Any], answer: dict[str, Any]) -> None:
    from qnb.core.circuits.untrusted import check_bytes, check_circuits, parse_circuits, parse_limits

    try:
        limits = parse_limits(head["limits"])
        sys.setrecursionlimit(min(head["recursion"], 3000))
        bind(limits.memory, limits.seconds)
        check_bytes(data, head["format"], limits)
        check_circuits(parse_circuits(data, head["format"]), limits)
        answer["ok"] = True
    except QnbError as error:
        answer |= {"code": error.code, "message": error.message, "hint": error.hint}
    except (MemoryError, RecursionError):
        pass  # an empty answer says that the trial broke


def bind(memory: int, seconds: int) -> None:
    """Bind this process: so much more memory, so many more seconds of a processor, no file, no core dump."""
    try:
        import resource
    except ImportError:
        return
    now = _virtual_memory()
    if now is not None:
        _limit(resource.RLIMIT_AS, now + memory)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(what: int, most: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _virtual_memory() -> int | None:
    """Bytes of address space that this process has, None where nothing tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
