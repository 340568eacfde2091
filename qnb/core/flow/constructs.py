"""The constructs that nobody can follow, by name.

Enters: nothing. Leaves: sets of names. Never: takes a magic for harmless because it is unknown: those are listed the
other way round.
Spec: docs/explanation/label-flow.md says why each of these is here.
"""

from __future__ import annotations

# names and attributes through which code reaches any variable without spelling it
READ_ALL = frozenset({"exec", "eval", "globals", "__import__", "breakpoint", "__builtins__"})
READ_ALL_ATTRIBUTES = frozenset(
    {
        "exec", "globals", "f_globals", "f_locals", "f_back", "tb_frame", "gi_frame", "cr_frame", "_getframe",
        "currentframe", "__globals__", "func_globals", "get_objects", "get_referrers", "get_referents", "last_value",
        "last_exc", "last_traceback", "print_last", "_current_frames", "user_ns", "user_global_ns",
        "user_module", "history_manager", "run_path", "run_module",
        "__subclasses__", "string_at", "py_object", "from_address",
    }
)  # fmt: skip
READ_ALL_IMPORTS = frozenset({"__main__", "ctypes", "_ctypes", "builtins"})
DYNAMIC = frozenset({"getattr", "setattr", "delattr", "vars", "attrgetter", "methodcaller"})
# ways on which data of a labelled cell goes on where no later look at a variable finds it; what code still running can
# do, and files, are observed instead (qnb.kernel.flow)
HIDING = frozenset(
    {
        "apply_async", "map_async", "imap", "imap_unordered", "start_new_thread", "create_task", "ensure_future",
        "run_in_executor", "call_later", "call_at", "call_soon", "call_soon_threadsafe", "run_coroutine_threadsafe",
        "Process", "fork", "system", "popen", "finalize", "seed", "set_state", "setstate", "putenv", "setprofile",
        "settrace", "addHandler", "SharedMemory", "ShareableList", "create_subprocess_exec", "create_subprocess_shell",
        "Popen", "check_output", "check_call", "getoutput", "register", "register_error", "setcontext",
        "setrecursionlimit", "setswitchinterval", "setlocale", "pipe", "socketpair",
    }
)  # fmt: skip
HIDING_PLACES = frozenset({"environ", "environb"})
HIDING_MODULES = frozenset({"subprocess", "atexit", "socket", "multiprocessing", "sqlite3", "shelve", "dbm"})
SEEDS = frozenset({"seed", "setrecursionlimit", "setswitchinterval", "setlocale"})  # of a constant they tell nothing
PROCESSES = frozenset({"subprocess", "system", "popen", "create_subprocess_exec", "create_subprocess_shell"})
LIBRARIES = frozenset({"os", "sys", "asyncio", "threading", "random", "np", "numpy", "weakref", *HIDING_MODULES})
SHELL_CALLS = frozenset({"system", "getoutput"})
MAGIC_CALLS = frozenset({"run_line_magic", "run_cell_magic"})
HARMLESS_MAGICS = frozenset(
    {
        "alias_magic", "autoreload", "capture", "cd", "colors", "conda", "config", "dirs", "html", "javascript", "js",
        "latex", "load_ext", "ls", "lsmagic", "magic", "markdown", "matplotlib", "page", "pdoc", "pfile", "pinfo",
        "pinfo2", "pip", "popd", "precision", "prun", "psource", "pushd", "pwd", "qnb", "qsecure", "quickref",
        "reload_ext", "svg", "time", "timeit", "unload_ext", "writefile", "xmode",
    }
)  # fmt: skip
CODE_MAGICS = frozenset({"time", "timeit", "prun", "capture"})  # their text is Python, and nothing in it is expanded
QUERIES = frozenset({"query", "eval"})
