"""What the source of a cell, or a function's code, gives away."""

from __future__ import annotations

import pytest

from qnb.core.flow.cell import cell_facts
from qnb.core.flow.code import code_facts


@pytest.mark.parametrize(
    "source",
    [
        "exec(code)",
        "eval('x')",
        "globals()['x']",
        "vars()",
        "locals()",
        "__builtins__",
        "import __main__",
        "from __main__ import x",
        "import ctypes",
        "from sys import modules",
        "sys.last_value",
        "f.f_back.f_locals",
        "gc.get_objects()",
        "importlib.import_module(name)",
        "importlib.import_module('__main__')",
        "get_ipython().user_ns",
        "ip = get_ipython()",
        "get_ipython().run_line_magic('run', 'x.py')",
        "get_ipython().run_line_magic('store', 'x')",
        "get_ipython().run_line_magic('whos', '')",
        "get_ipython().run_cell_magic('time', '', 'exec(code)')",
        "df.query(made_up)",
        "operator.attrgetter(made_up)(x)",
        "getattr(x, '__globals__')",
    ],
)
def test_construct_that_can_read_every_variable_is_told(source: str) -> None:
    """Each is one that no name gives away."""
    assert cell_facts(source).opaque


@pytest.mark.parametrize(
    "source",
    [
        "x = network.modules",
        "seed = 7\nnp.random.seed(7)",
        "df.query('a > 1')",
        "getattr(x, 'y')",
        "vars(x)",
        "gc.collect()",
        "get_ipython().run_line_magic('matplotlib', 'inline')",
        "get_ipython().run_line_magic('qnb', 'why secret')",
        "with ThreadPoolExecutor() as pool: pool.submit(f)",
        "plt.rcParams['figure.dpi'] = 150",
        "process.run(1); engine.system = 2; label.register",
    ],
)
def test_ordinary_construct_is_not_told(source: str) -> None:
    """Or ordinary notebooks would be sealed for nothing."""
    facts = cell_facts(source)
    assert (facts.opaque, facts.hiding) == ((), ())


@pytest.mark.parametrize(
    "source",
    [
        "np.random.seed(x)",
        "os.environ['X'] = x",
        "asyncio.create_task(f(x))",
        "pool.submit(f, x)",
        "subprocess.run(['echo', x])",
        "get_ipython().system('echo {x}')",
        "atexit.register(f)",
        "class A:\n    def __del__(self): pass",
        "from os import system\nsystem(x)",
        "threading.Thread(target=os.system)",
        "multiprocessing.Process(target=f)",
        "codecs.register_error('n', f)",
    ],
)
def test_construct_that_hides_is_told(source: str) -> None:
    """Data can go on from there where no variable leads."""
    assert cell_facts(source).hiding


def test_words_of_magics_and_commands_count_as_names() -> None:
    """They are expanded or run."""
    assert "x" in cell_facts("get_ipython().system('echo {x}')").reads
    assert "x" in cell_facts("get_ipython().run_line_magic('pinfo', 'x')").reads
    assert "x" in cell_facts("df.query('a > @x')").reads
    timed = cell_facts("get_ipython().run_cell_magic('time', '', '# x\\ny = z\\n')")
    assert timed.reads >= {"z"}
    assert timed.binds == {"y"}
    assert "x" not in timed.reads


def test_plain_code_is_told_from_data() -> None:
    """Imports and definitions at the top level that take nothing in."""
    facts = cell_facts(
        "import a\nfrom b import c as d\ndef f(x, y=1): return x\ndef g(x=data): return x\n@deco\ndef h(): pass\n"
        "class K:\n    '''Doc.'''\n    n = 1\n    def m(self): pass\nclass L:\n    n = data\nif u:\n    import v"
    )
    assert facts.plain == {"a", "d", "f", "K"}
    assert cell_facts("import a\ndef f(): pass\ndef g():\n    global f\na = data").plain == {"g"}


def test_literal_store_is_told_from_one_of_data() -> None:
    """A setting that is spelled out carries nothing on."""
    assert cell_facts("p.a['b'] = (1, -2)").literal == {"p"}
    for source in ("p.a = x", "p.a[x] = 1", "if x: p.a = 1", "p.a = 1\np.b = x"):
        assert cell_facts(source).literal == frozenset()


def test_source_that_is_no_python_is_said_to_be() -> None:
    """Nothing of it runs either."""
    assert not cell_facts("a b").parsed
    assert cell_facts("await f()").parsed


def test_code_object_tells_the_same() -> None:
    """Of functions only the code is at hand; inner ones belong to it."""

    def function(a):
        global put  # noqa: PLW0603 - that is what is looked for
        put = a

        def inner():
            return outside + a  # noqa: F821

        library.place = inner  # noqa: F821
        return eval("1")

    facts = code_facts(function.__code__)
    assert {"outside", "library", "eval"} <= facts.reads
    assert facts.binds == {"put"}
    assert facts.stores == {"library"}
    assert facts.opaque == ("eval",)
    assert code_facts((lambda: np.random.seed(x)).__code__).hiding == ("seed",)  # noqa: F821
    assert code_facts((lambda: sys.modules["m"]).__code__).dynamic == {"sys"}  # noqa: F821


def test_table_of_modules_is_told_by_whose_it_is() -> None:
    """What the name stands for decides: the interpreter has such a table, and so has a neural network."""
    for source in (
        "import sys\nsys.modules",
        "vars(sys)",
        "sys.__dict__",
        "getattr(sys, made_up)",
        "getattr(sys, 'modules')",
    ):
        assert cell_facts(source).dynamic == {"sys"}
