"""Attack: have a widget of a classified cell, or one that it touches, tell the front end its state.

docs/reference/widgets.md lists what works in a classified cell; each row names its case here.
"""

from __future__ import annotations

import json

import pytest

from qnb.core.seal.output import MIME

_VIEW = "application/vnd.jupyter.widget-view+json"

# what a user writes, and what its sealed text says in the end
_SHOWN = {
    "tqdm.notebook": ("from tqdm.notebook import tqdm\nfor i in tqdm(range(3), desc=CANARY): pass", "3/3"),
    "tqdm.notebook trange": (
        "from tqdm.notebook import trange\nwith trange(4) as bar:\n    for i in bar: bar.set_postfix(x=CANARY)",
        "4/4",
    ),
    "tqdm.auto": ("from tqdm.auto import tqdm\nfor i in tqdm(range(2), desc=CANARY): pass", "2/2"),
    "tqdm nested": (
        (
            "from tqdm.notebook import tqdm\nfor i in tqdm(range(2), desc=CANARY):\n"
            "    for j in tqdm(range(2), leave=False): pass"
        ),
        "2/2",
    ),
    "tqdm of pandas": (
        (
            "from tqdm.notebook import tqdm\nimport pandas as pd\ntqdm.pandas(desc=CANARY)\n"
            "pd.Series([1, 2]).progress_apply(str);"
        ),
        "2/2",
    ),
    "progress": ("import ipywidgets as w\np = w.FloatProgress(description=CANARY)\ndisplay(p)\np.value = 75.0", "75.0"),
    "text": ("import ipywidgets as w\nt = w.Text(value='before')\ndisplay(t)\nt.value = CANARY", "canary"),
    "html": ("import ipywidgets as w\nw.HTML(value='<b>' + CANARY + '</b>')", "<b>canary"),
    "containers": (
        "import ipywidgets as w\nw.Tab([w.VBox([w.Label(CANARY), w.IntSlider(3)])], titles=[CANARY])",
        "Label(value='canary",
    ),
    "link": (
        (
            "import ipywidgets as w\na, b = w.IntSlider(), w.IntSlider()\nw.jslink((a, 'value'), (b, 'value'))\n"
            "w.link((a, 'max'), (b, 'max'))\na.max = 55\nprint(CANARY)\nw.HBox([a, b])"
        ),
        "max=55",
    ),
    "observe": (
        (
            "import ipywidgets as w\ns = w.IntSlider()\ns.observe(lambda change: print(CANARY, change.new), 'value')\n"
            "display(s)\ns.value = 42"
        ),
        "canary-9f3e51 42",
    ),
    "interact": (
        "import ipywidgets as w\nprint('above')\n@w.interact(x=(0, 3))\ndef f(x=1): print(CANARY, x)\nprint('below')",
        "below",
    ),
    "interactive output": (
        (
            "import ipywidgets as w\ns = w.IntSlider(2)\n"
            "w.VBox([s, w.interactive_output(lambda x: print(CANARY, x), {'x': s})])"
        ),
        "canary-9f3e51 2",
    ),
    "button": (
        (
            "import ipywidgets as w\nb = w.Button(description=CANARY)\nb.on_click(lambda _: print(CANARY, 'clicked'))\n"
            "display(b)\nb.click()"
        ),
        "clicked",
    ),
    "output": ("import ipywidgets as w\no = w.Output()\ndisplay(o)\nwith o: print(CANARY); display(CANARY)", "canary"),
    "output capture": (
        "import ipywidgets as w\no = w.Output()\n@o.capture()\ndef f(): print(CANARY)\nf()\no",
        "canary",
    ),
    "output append": (
        "import ipywidgets as w\no = w.Output()\no.append_stdout(CANARY)\no.append_display_data(CANARY)\no",
        "canary",
    ),
    "output error": (
        "import ipywidgets as w\no = w.Output()\nwith o: raise ValueError(CANARY)\ndisplay(o)",
        "ValueError",
    ),
    "closed": ("import ipywidgets as w\nt = w.Text(value=CANARY)\ndisplay(t)\nt.close()", "canary"),
}


@pytest.mark.parametrize("case", _SHOWN)
def test_widget_becomes_sealed_text(wire, canary: str, case: str) -> None:
    """No error, no state in clear, and a text that says how the widget stands at the end."""
    code, said = _SHOWN[case]
    reply = wire.run(f"%%qsecure\n{code}")
    inside = wire.opened(reply.card)
    assert reply.ok, inside
    assert reply.shown <= {"display_data", "update_display_data"}
    assert said in inside
    assert canary in inside or "tqdm" in case
    assert _VIEW not in inside
    assert not wire.leaks()


def test_output_widget_keeps_its_place_and_clears_itself_alone(wire) -> None:
    """Frames of an animation replace each other; what the cell printed around them stays."""
    reply = wire.must(
        "%%qsecure\nimport ipywidgets as w\nfrom IPython.display import clear_output\no = w.Output()\nprint('above')\n"
        "display(o)\nprint('below')\nfor i in range(20):\n    with o:\n        clear_output(wait=True)\n"
        "        print('frame', i)\nprint('last')"
    )
    outputs = json.loads(wire.opened(reply.card))
    texts = [output.get("text") or output["data"]["text/plain"] for output in outputs]
    assert texts == ["above\n", "Output()", "frame 19\n", "below\nlast\n"]


def test_progress_bar_moves_while_the_cell_runs(wire) -> None:
    """Live versions follow the bar, sealed."""
    request = wire.client.execute(
        "%%qsecure\nimport threading\nfrom tqdm.notebook import tqdm\nfor i in tqdm(range(1_000_000)):\n"
        "    threading.Event().wait(0.05)"
    )
    wire.await_sealed("20/1000000", running=True)
    wire.manager.interrupt_kernel()
    assert wire._heard(wire.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] == request


def test_widget_whose_text_fails_is_shown_as_it_was(wire, canary: str) -> None:
    """Whatever a class of the user's raises."""
    reply = wire.must(
        "%%qsecure\nimport ipywidgets as w\nclass Odd(w.Text):\n    broken = False\n    def __repr__(self):\n"
        "        if self.broken: raise RuntimeError(CANARY)\n        return 'odd'\nodd = Odd()\ndisplay(odd)\n"
        "Odd.broken = True\nodd.value = CANARY\nprint(CANARY)"
    )
    assert "odd" in wire.opened(reply.card)
    assert not wire.leaks()


def test_widgets_of_public_cells_are_not_updated_by_a_classified_one(wire, canary: str) -> None:
    """A bar, a text and an Output widget that the front end already shows stay as they were."""
    shown = wire.must(
        "import ipywidgets as w\nbar, text, area = w.FloatProgress(), w.Text(), w.Output()\n"
        "display(w.VBox([bar, text, area]))"
    )
    assert "comm_open" in shown.shown
    reply = wire.must(
        "%%qsecure\nbar.description = CANARY\nbar.value = 9.0\ntext.value = CANARY\nwith area: print(CANARY)\n"
        "area.append_stdout(CANARY)\ntext.send_state()"
    )
    assert reply.shown == {"display_data"}
    assert canary in wire.opened(reply.card)
    assert not wire.leaks()
    assert "comm_msg" in wire.must("bar.max = 50.0").shown  # and goes on working for its public cell


def test_front_end_that_touches_a_widget_hears_nothing_back(wire) -> None:
    """An echo, and the callback's output, are of no cell: it could read what is classified."""
    made = wire.must("slider = w.IntSlider()\ndisplay(slider)\nslider.observe(lambda change: print(hidden), 'value')")
    wire.must("%%qsecure\nhidden = CANARY")
    model = next(
        content["comm_id"]
        for content in made.of("comm_open")
        if content["data"]["state"]["_model_name"] == "IntSliderModel"
    )
    message = wire.client.session.msg(
        "comm_msg", {"comm_id": model, "data": {"method": "update", "state": {"value": 7}, "buffer_paths": []}}
    )
    wire.client.shell_channel.send(message)
    heard = []
    wire.await_iopub(
        lambda each: (
            each["parent_header"].get("msg_id") == message["header"]["msg_id"]
            and (heard.append(each["header"]["msg_type"]) or each["content"].get("execution_state") == "idle")
        )
    )
    assert set(heard) == {"status"}
    wire.must("assert slider.value == 7")
    assert not wire.leaks()


def test_closed_widgets_are_forgotten(wire) -> None:
    """A cell with a bar, run again and again, leaves nothing in the guard."""
    for _ in range(3):
        wire.must("%%qsecure\nimport ipywidgets as w\nt = w.Text()\nt.close(); t.layout.close(); t.style.close()")
    wire.must("from qnb.kernel.magic import guard_of\nkept = guard_of(get_ipython()).outputs._comms\nn = len(kept)")
    wire.must("%%qsecure\nimport ipywidgets as w\nt = w.Text()\nt.close(); t.layout.close(); t.style.close()")
    wire.must("assert len(kept) == n")


def test_bundle_of_a_public_widget_is_as_without(wire) -> None:
    """Nothing is taken from cells that are not classified."""
    reply = wire.must("w.IntSlider()")
    assert _VIEW in reply.of("display_data")[0]["data"] if reply.of("display_data") else True
    contents = reply.of("execute_result") + reply.of("display_data")
    assert contents
    assert all(_VIEW in content["data"] and MIME not in content["data"] for content in contents)
