"""
What cells show: the guest's half of displays, run by real workers of the image `core`.

Figures are drawn here by a stand-in for matplotlib, written below; `data` has the real one.
"""

import base64
import hashlib
import json
import struct
import zlib

import pytest

from executor.kernel.bundles import BUNDLE_COST, BUNDLE_MAX
from executor.kernel.frames import MAX_OUTPUT
from tests.executor.wasm.tiny_kernel import PAGE
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image

RICH = """
class Rich:
    def __repr__(self): return 'rich'
    def _repr_html_(self): return '<b>\N{EURO SIGN}</b>'
    def _repr_markdown_(self): return '**b**', {'metadata': 1}
    def _repr_latex_(self): return '$b$'
    def _repr_svg_(self): return '<svg/>'
    def _repr_png_(self): return b'\\x89PNG'
    def _repr_jpeg_(self): raise RuntimeError('one picture is enough')
    def _repr_pdf_(self): return bytearray(b'%PDF')
    def _repr_json_(self): return {'b': [1, None]}
    def _repr_javascript_(self): return 'b()'
rich = Rich()
"""
FORMS = {
    "text/plain": b"rich",
    "text/html": "<b>\N{EURO SIGN}</b>".encode(),
    "text/markdown": b"**b**",
    "text/latex": b"$b$",
    "image/svg+xml": b"<svg/>",
    "image/png": b"\x89PNG",
    "application/pdf": b"%PDF",
    "application/json": b'{"b": [1, null]}',
    "application/javascript": b"b()",
}


def forms(cell):
    return [shown for _, shown in cell.displays]


def png(width: int, height: int) -> bytes:
    """
    A black picture (ISO 15948).
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# ---- objects -------------------------------------------------------------------------------------


def test_every_form_that_an_object_has_is_shown_as_bytes(session):
    cell = session.run(RICH + "display(rich)").ok()
    assert forms(cell) == [FORMS]
    assert cell.value is None


def test_a_last_expression_with_forms_is_shown_besides_its_value(session):
    cell = session.run(RICH + "rich").ok()
    assert forms(cell) == [FORMS]
    assert cell.text == "rich"


@pytest.mark.parametrize(
    "code", ["rich;", "rich\nNone", "x = rich", "[rich]", "Rich", "print(rich)"]
)
def test_what_is_no_last_expression_with_forms_is_not_shown(session, code):
    session.run(RICH).ok()
    assert session.run(code).ok().displays == []


@pytest.mark.parametrize(("code", "text"), [("40 + 2", "42"), ("'a'", "'a'"), ("[]", "[]")])
def test_plain_values_are_values_alone(session, code, text):
    cell = session.run(code).ok()
    assert (cell.text, cell.displays) == (text, [])


def test_display_of_plain_objects_shows_their_repr_each(session):
    cell = session.run("display(1, 'two', [3])").ok()
    assert forms(cell) == [{"text/plain": b"1"}, {"text/plain": b"'two'"}, {"text/plain": b"[3]"}]


def test_a_mime_bundle_counts_before_the_single_methods(session):
    code = """
class Bundle:
    def _repr_mimebundle_(self, include, exclude):
        return {'text/html': 'mine', 'application/vnd.x.v1+json': {'a': 1}, 'text/latex': None}, {}
    def _repr_html_(self): 1 / 0
    def _repr_latex_(self): return None
    def __repr__(self): return 'bundle'
display(Bundle())
"""
    shown = {
        "text/plain": b"bundle",
        "text/html": b"mine",
        "application/vnd.x.v1+json": b'{"a": 1}',
    }
    assert forms(session.run(code).ok()) == [shown]


def test_objects_that_answer_to_every_name_are_not_taken_for_rich_ones(session):
    session.run("class Any:\n    def __getattr__(self, name): return lambda *a, **k: 'x'").ok()
    assert session.run("Any()").ok().displays == []
    session.run("from unittest.mock import MagicMock").ok()
    assert session.run("MagicMock()").ok().displays == []


def test_raw_forms_are_shown_as_they_are_and_base64_is_undone(session):
    picture = png(64, 48)
    text = base64.encodebytes(picture).decode()
    code = f"display({{'image/png': {text!r}, 'text/plain': 'p'}}, raw=True)"
    assert forms(session.run(code).ok()) == [{"image/png": picture, "text/plain": b"p"}]
    cell = session.run(f"display({{'image/png': {picture!r}}}, raw=True)").ok()
    assert forms(cell) == [{"image/png": picture}]
    session.run("display({'image/png': 'no base64!'}, raw=True)").raised("ValueError")


def test_forms_can_be_chosen_and_what_jupyter_takes_besides_is_taken(session):
    session.run(RICH).ok()
    cell = session.run("display(rich, include={'text/html', 'text/plain'}, exclude=['text/plain'])")
    assert forms(cell.ok()) == [{"text/html": FORMS["text/html"]}]
    cell = session.run("display(1, metadata={}, transient={}, display_id='x', clear=True)").ok()
    assert forms(cell) == [{"text/plain": b"1"}]


def test_a_form_that_fails_ends_a_cell_that_asked_for_it_and_no_other(session):
    session.run("class Bad:\n    def _repr_html_(self): raise ValueError('no')\nbad = Bad()").ok()
    cell = session.run("display(bad)").raised("ValueError")
    assert "<codecage>" not in cell.done.traceback
    cell = session.run("bad").ok()
    assert cell.text.startswith("<__main__.Bad object")
    assert (cell.displays, cell.stderr) == ([], b"[not displayed: ValueError: no]\n")


def test_an_interrupt_in_a_form_ends_the_cell(session):
    code = "class Slow:\n    def _repr_html_(self):\n        print('on')\n        while True: pass\nSlow()"
    cell = session.run(code, on=(b"on", session.signal))
    assert cell.done.error_name == "KeyboardInterrupt"
    assert cell.displays == []
    assert session.run("40 + 2").ok().text == "42"


def test_texts_that_are_no_unicode_are_shown_as_escapes(session):
    assert forms(session.run("display({'text/html': '\\ud800'}, raw=True)").ok()) == [
        {"text/html": b"\\ud800"}
    ]


# ---- order and limits ----------------------------------------------------------------------------


def test_what_was_printed_before_a_display_is_seen_before_it(session):
    code = (
        "import sys\nfor n in range(3):\n    print(n, end='')\n    display(n)\nprint('end', end='')"
    )
    cell = session.run(code).ok()
    assert [(before, shown["text/plain"]) for before, shown in cell.displays] == [
        (b"0", b"0"),
        (b"01", b"1"),
        (b"012", b"2"),
    ]
    assert cell.stdout == b"012end"


def test_a_display_larger_than_a_frame_comes_whole(zygote):
    with zygote.session(output_bytes=8 * MIB) as worker:
        worker.run("import os; data = os.urandom(3 << 20)").ok()
        shown = "display({'image/png': data[:-9], 'text/plain': '123456789'}, raw=True)"
        cell = worker.run(shown).ok()
        assert [len(one["image/png"]) for one in forms(cell)] == [BUNDLE_MAX - 9]
        digest = "import hashlib; hashlib.sha256(data[:-9]).hexdigest()"
        assert worker.run(digest).text == repr(
            hashlib.sha256(forms(cell)[0]["image/png"]).hexdigest()
        )
        assert len(forms(cell)[0]["image/png"]) > MAX_OUTPUT


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_a_display_fits_into_what_the_limit_has_left_or_is_dropped_whole(zygote, spare, fits):
    limit = 4000
    size = limit - len("123\n") - BUNDLE_COST - len("a/b") - spare
    with zygote.session(output_bytes=limit) as worker:
        cell = worker.run(f"print(123)\ndisplay({{'a/b': bytes({size})}}, raw=True)").ok()
        assert len(cell.displays) == fits
        assert (cell.stdout, cell.done.stdout_bytes) == (b"123\n", 4)
        assert cell.done.output_truncated is not fits
        again = worker.run("display(1)").ok()
        assert (len(again.displays), again.done.output_truncated) == (1, False)


def test_what_is_printed_after_displays_shares_the_limit_with_them(zygote):
    with zygote.session(output_bytes=BUNDLE_COST + 20) as worker:
        cell = worker.run("display({'a/b': '1234567'}, raw=True)\nprint('x' * 100)").ok()
        assert (len(cell.displays), cell.stdout) == (1, b"x" * 10)
        assert cell.done.output_truncated


def test_a_flood_of_displays_is_cut_and_costs_the_host_no_memory(zygote):
    with zygote.session(output_bytes=MIB) as worker:
        worker.run("data = bytes(1 << 20)").ok()
        before = worker.process.memory_info().rss
        cell = worker.run("for _ in range(50): display({'image/png': data}, raw=True)").ok()
        assert (cell.displays, cell.done.output_truncated) == ([], True)
        cell = worker.run("for _ in range(5000): display({'a/b': b''}, raw=True)").ok()
        assert len(cell.displays) == MIB // (BUNDLE_COST + 3)
        assert worker.process.memory_info().rss - before < 16 * MIB


def test_more_than_a_display_may_hold_says_what_is_allowed(session):
    code = "display({'image/png': bytes((3 << 20) + 1)}, raw=True)"
    cell = session.run(code).raised("OSError")
    told = "the display has 3,145,729 bytes and 3,145,728 are allowed; make it smaller, or save it"
    assert told in cell.error
    assert cell.displays == []


def test_a_display_counts_as_memory_while_it_is_written(zygote):
    code = (
        "import os\n"
        "def open_one(size):\n"
        "    file = os.open('/dev/display', os.O_WRONLY)\n"
        "    os.write(file, b'[[\"image/png\", %d]]\\n' % size)\n"
        "    return file\n"
        "first = open_one(3 << 20)\n"
        "try: open_one(1)\n"
        "except OSError as error: print(error.errno)\n"
        "os.close(first)\n"
        "os.close(open_one(3 << 20))\n"
        "held = []\n"
        "try:\n"
        "    while True: held.append(bytearray(1 << 20))\n"
        "except MemoryError: pass\n"
        "try: open_one(3 << 20)\n"
        "except OSError as error: print(error.errno)\n"
        "del held\n"
    )
    with zygote.session(memory_bytes=96 * MIB, scratch_bytes=MIB) as worker:
        cell = worker.run(code).ok()
        # One at a time (EBUSY), and none where there is no memory for it (ENOSPC).
        assert cell.stdout == b"10\n51\n"
        assert cell.done.peak_memory_bytes <= 96 * MIB + PAGE


def test_frames_that_a_guest_forges_stay_one_bundle_with_its_bytes(session):
    fake = b'\x42\x08\n\x06\n\x01a\x12\x01b[["a/b", 1]]\nx'
    header = json.dumps([["text/plain", len(fake)]]).encode() + b"\n"
    code = (
        "import os\nfile = os.open('/dev/display', os.O_WRONLY)\n"
        f"os.write(file, {header + fake!r})\nos.close(file)"
    )
    assert forms(session.run(code).ok()) == [{"text/plain": fake}]


def test_a_cell_that_breaks_its_tools_harms_itself_alone(session):
    session.run("import builtins, os\ndel builtins.display\nos.close(1)").ok()
    session.run("display(1)").raised("NameError")
    session.run("import sys; sys.stdout = None; sys.stderr = None").ok()
    assert session.run(RICH + "rich").ok().text == "rich"


# ---- figures -------------------------------------------------------------------------------------

MATPLOTLIB = """
import os, sys, types
for name in ('matplotlib', 'matplotlib.figure', 'matplotlib._pylab_helpers', 'matplotlib.backends',
             'matplotlib.backend_bases', 'matplotlib.backends.backend_agg'):
    sys.modules[name] = types.ModuleType(name)
class Figure:
    def __init__(self): self.drawn = ['background']
    def __repr__(self): return f'<Figure {self.drawn[1:]}>'
    def get_children(self): return self.drawn
    def savefig(self, file, format, bbox_inches):
        file.write(f'{format} {bbox_inches} {self.drawn[1:]}'.encode())
class Gcf:
    figs = {}
    get_all_fig_managers = classmethod(lambda cls: list(cls.figs.values()))
    destroy = classmethod(lambda cls, manager: cls.figs.pop(manager.num))
class FigureManagerBase:
    def __init__(self, canvas, num): self.canvas, self.num = canvas, num
class FigureCanvasAgg:
    manager_class = FigureManagerBase
    def __init__(self, figure): self.figure = figure
sys.modules['matplotlib.figure'].Figure = Figure
sys.modules['matplotlib._pylab_helpers'].Gcf = Gcf
sys.modules['matplotlib.backend_bases'].FigureManagerBase = FigureManagerBase
sys.modules['matplotlib.backends.backend_agg'].FigureCanvasAgg = FigureCanvasAgg
def figure(*drawn):
    backend = __import__(os.environ['MPLBACKEND'].removeprefix('module://'))
    made = Figure()
    made.drawn += drawn
    canvas = backend.FigureCanvas(made)
    number = len(Gcf.figs) + 1
    Gcf.figs[number] = canvas.manager_class(canvas, number)
    return made
"""


def figure_forms(name):
    return {
        "image/png": f"png tight ['{name}']".encode(),
        "text/plain": f"<Figure ['{name}']>".encode(),
    }


@pytest.fixture
def plotting(session):
    session.run(MATPLOTLIB).ok()
    return session


def test_a_figure_is_shown_as_a_picture_that_it_draws_itself(plotting):
    cell = plotting.run("display(figure('a'))").ok()
    assert forms(cell) == [figure_forms("a")]


def test_show_displays_every_open_figure_and_closes_it(plotting):
    code = "a, b = figure('a'), figure('b')\nimport codecage_figures\ncodecage_figures.show()\nprint(1)"
    cell = plotting.run(code).ok()
    assert cell.displays == [(b"", figure_forms("a")), (b"", figure_forms("b"))]
    assert plotting.run("Gcf.figs").ok().text == "{}"


def test_figures_left_open_are_shown_at_the_end_of_the_cell_and_closed(plotting):
    cell = plotting.run("a = figure('a')\nprint(1)").ok()
    assert cell.displays == [(b"1\n", figure_forms("a"))]
    assert plotting.run("Gcf.figs").ok().displays == []


def test_a_figure_that_was_shown_is_not_shown_again_at_the_end(plotting):
    assert forms(plotting.run("figure('a')").ok()) == [figure_forms("a")]
    assert forms(plotting.run("a = figure('b')\ndisplay(a)").ok()) == [figure_forms("b")]
    cell = plotting.run("a = figure('c')\nGcf.figs[1].show()").ok()
    assert forms(cell) == [figure_forms("c")]
    assert forms(plotting.run("display(a)").ok()) == [figure_forms("c")]


def test_a_figure_without_anything_in_it_is_closed_and_not_shown(plotting):
    assert plotting.run("a = figure()").ok().displays == []
    assert plotting.run("Gcf.figs").ok().text == "{}"


def test_figures_of_a_cell_that_raised_are_shown_and_of_an_interrupted_one_are_not(plotting):
    cell = plotting.run("a = figure('a')\n1 / 0").raised("ZeroDivisionError")
    assert forms(cell) == [figure_forms("a")]
    code = "a = figure('b')\nprint('on')\nwhile True: pass"
    cell = plotting.run(code, on=(b"on", plotting.signal))
    assert cell.done.error_name == "KeyboardInterrupt"
    assert cell.displays == []
    assert plotting.run("Gcf.figs").ok().text == "{}"


def test_an_interrupt_while_figures_are_drawn_closes_them_all(plotting):
    code = (
        "def slow(*_, **__):\n    print('on')\n    while True: pass\n"
        "a, b = figure('a'), figure('b')\na.savefig = slow\nprint('no end of line', end='')"
    )
    cell = plotting.run(code, on=(b"on\n", plotting.signal))
    assert (cell.done.error_name, cell.stdout) == ("KeyboardInterrupt", b"no end of lineon\n")
    assert cell.displays == []
    assert plotting.run("Gcf.figs").ok().text == "{}"


def test_a_figure_that_cannot_be_drawn_is_told_and_the_others_are_shown(plotting):
    code = "def fail(*_, **__): raise ValueError('ink')\na, b = figure('a'), figure('b')\na.savefig = fail"
    cell = plotting.run(code).ok()
    assert forms(cell) == [figure_forms("b")]
    assert cell.stderr == b"[not displayed: ValueError: ink]\n"


def test_figures_of_another_backend_are_left_alone(plotting):
    code = "canvas = FigureCanvasAgg(Figure())\nGcf.figs[1] = canvas.manager_class(canvas, 1)\nfigure('a');"
    plotting.run(code).ok()
    assert plotting.run("len(Gcf.figs)").ok().text == "1"


def test_nothing_of_matplotlib_is_looked_for_where_a_cell_does_not(session):
    cell = session.run(
        "import sys\n[name for name in sys.modules if 'codecage_figures' in name or 'mpl' in name]"
    )
    assert cell.ok().text == "[]"
    session.run("import matplotlib").raised("ModuleNotFoundError")
