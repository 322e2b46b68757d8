"""
Displays from the guest's `display` to the client's files, through a real server and real workers.
"""

import pytest

import agent_client
from agent_client import Display
from executor.images.catalog import find
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

needs_data = pytest.mark.skipif(find("data") is None, reason="the image `data` is not built")
SMALL = "version: 1\nname: small\ndescription: a test's policy\nlimits: {output: 2Ki}\n"
TABLE = (
    "class Table:\n"
    "    def __repr__(self): return 'a b'\n"
    "    def _repr_html_(self): return '<table>'\n"
)


@pytest.fixture(scope="module")
def cage():
    with private_directory() as directory:
        (directory / "small.yaml").write_text(SMALL)
        directory.chmod(0o755)
        with agent_client.connect(policies=directory, run_as=ACCOUNT) as cage:
            yield cage


@pytest.fixture
def session(cage):
    with cage.session() as session:
        yield session


def test_what_code_shows_arrives_between_what_it_prints(session):
    observation = session.run(f"{TABLE}print('one')\ndisplay(Table())\nprint('two')\nTable()")
    table = Display({"text/plain": b"a b", "text/html": b"<table>"})
    assert observation.displays == (table, table)
    assert observation.chunks == (("stdout", "one\n"), ("stdout", "two\n"))
    # The first has its place; what it says in plain text is what the value says already.
    assert observation.text == "one\ntwo\na b\n[text/html, 7 bytes]\n[text/html, 7 bytes]"


def test_bytes_arrive_as_they_were_whatever_they_are(session, tmp_path):
    data = bytes(range(256)) * 4096
    code = "data = bytes(range(256)) * 4096\ndisplay({'image/png': data[:900_000]}, raw=True)"
    observation = session.run(code)
    assert observation.displays[0].png == data[:900_000]
    observation.displays[0].save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == data[:900_000]
    assert not observation.truncated


def test_what_the_policys_limit_has_no_room_for_is_dropped_and_said(cage):
    with cage.session("small") as session:
        shown = session.run("print('hi')\ndisplay({'image/png': bytes(1000)}, raw=True)")
        assert (len(shown.displays), shown.truncated) == (1, False)
        dropped = session.run("print('hi')\ndisplay({'image/png': bytes(2000)}, raw=True)")
        assert (dropped.ok, dropped.displays, dropped.truncated) == (True, (), True)
        assert dropped.text.endswith("something to display had no room left in the policy's limit]")
        ends = [record.detail for record in session.audit() if record.event == "cell.end"]
    assert [counted(end) for end in ends] == [("1", "1521"), ("0", "0")]


def counted(detail):
    found = dict(pair.split("=") for pair in detail.split("; "))
    return found["displays"], found["displayed"]


def test_displays_are_read_again_by_who_comes_back(session):
    first = session.run("display(1)")
    events = list(session.follow(1))
    assert [event for event in events if isinstance(event, Display)] == list(first.displays)


# ---- the image data ------------------------------------------------------------------------------


@pytest.fixture
def data(cage):
    with cage.session(image="data") as session:
        yield session


PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [3, 1, 2])\n"


@needs_data
def test_a_plot_is_shown_as_a_picture_and_closed(data):
    observation = data.run(f"{PLOT}plt.show()\nplt.get_fignums()")
    (shown,) = observation.displays
    assert shown.png.startswith(b"\x89PNG")
    assert shown.text == "<Figure size 640x480 with 1 Axes>"
    assert observation.value == "[]"
    assert shown.mark().startswith("[image/png ")


@needs_data
def test_a_plot_that_was_left_open_is_shown_and_one_for_agg_is_not(data):
    assert len(data.run(PLOT).displays) == 1
    assert data.run(f"import matplotlib\nmatplotlib.use('Agg')\n{PLOT}").displays == ()


@needs_data
def test_a_figure_as_the_last_expression_is_shown_once(data):
    assert len(data.run(f"{PLOT}plt.gcf()").displays) == 1
    assert len(data.run(f"{PLOT}plt.gcf().show()").displays) == 1


@needs_data
def test_a_figure_is_a_picture_unless_another_form_is_asked_for(data):
    (shown,) = data.run(PLOT).displays
    assert set(shown.types) == {"text/plain", "image/png"}
    asked = data.run(f"{PLOT}display(plt.gcf(), include=['image/svg+xml'])\nplt.close()")
    assert [set(shown.types) for shown in asked.displays] == [{"image/svg+xml"}]
    assert asked.displays[0].text_of("image/svg+xml").startswith("<?xml")
    (chosen,) = data.run(f"%config InlineBackend.figure_formats = ['svg']\n{PLOT}").displays
    assert set(chosen.types) == {"text/plain", "image/svg+xml"}


@needs_data
def test_a_table_of_pandas_is_shown_as_text_and_html(data):
    observation = data.run("import pandas\npandas.DataFrame({'a': [1]})")
    (shown,) = observation.displays
    assert set(shown.types) == {"text/plain", "text/html"}
    assert shown.text == observation.value
    assert shown.html.count("<td>1</td>") == 1


@needs_data
def test_a_picture_and_a_formula_are_shown(data):
    observation = data.run("from PIL import Image\nImage.new('RGB', (64, 48))")
    assert observation.displays[0].mark().startswith("[image/png 64x48, ")
    observation = data.run("import sympy\nsympy.sqrt(sympy.Symbol('x'))")
    assert observation.displays[0].text_of("text/latex") == r"$\displaystyle \sqrt{x}$"
