"""
What notebook commands in a cell do: those that need no shell are done, the others say what to write.

Cells run in each kind of guest. What is Python stays as it is: that is asked of the standard
library's own files, natively. What green does not prove: that every command of IPython's has
the best advice; one that is not known says which are.
"""

import ast
import os
import sysconfig
import types
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from executor.images import catalog
from executor.images.bootable import parts
from executor.wasm.boot import boot
from executor.wasm.process import HOME, WORK, Clock
from executor.wasm.space import Space
from tests.executor.wasm.tiny_kernel import Gate
from tests.executor.wasm.world import MIB

SOURCE = resources.files("executor.wasm") / "guest" / "magics.py"
IMAGES = ("core", "python313", "data")


class Notebook:
    """
    A guest in this process with a session begun; `run` gives what it printed and its answer.
    """

    def __init__(self, image):
        self.guest = boot(parts(image))
        self.gate = Gate()
        self._said = []
        self._cells = 0
        process = self.guest.process
        process.broker._channel = self.gate
        process.total = self.guest.budget(1024 * MIB)
        process.clock = Clock(None)
        for path in ("/tmp", HOME, WORK):
            process.files.add_directory(path, Space(MIB, 100, process.total))
        self.guest.hooks.on_output = lambda _stream, data: self._said.append(data)
        self.guest.call({"op": "begin", "environment": {}, "seed": "00", "directory": WORK})

    def run(self, code):
        self._said.clear()
        self._cells += 1
        answer = self.guest.call({"op": "cell", "cell": self._cells, "code": code})
        return b"".join(self._said).decode(), answer

    def ok(self, code):
        said, answer = self.run(code)
        assert answer["status"] == "ok", answer["traceback"]
        return said, answer["value"] and answer["value"]["text"]

    def error(self, code):
        _, answer = self.run(code)
        assert answer["status"] == "error", answer
        return answer["name"], answer["message"]


@cache
def notebook_of(name):
    image = catalog.find(name)
    if image is None:
        pytest.skip(f"the image {name} is not built: `codecage image build {name}`")
    return Notebook(image)


@pytest.fixture(params=IMAGES)
def notebook(request):
    return notebook_of(request.param)


@pytest.fixture
def core():
    return notebook_of("core")


# ---- done ---------------------------------------------------------------------------------------


@pytest.mark.image
@pytest.mark.parametrize(
    "line",
    ["%matplotlib inline", "%load_ext autoreload\n%autoreload 2", "%config X.y = 'z'", "%precision 3"],
)  # fmt: skip
def test_what_only_sets_a_notebook_up_is_taken_silently(notebook, line):
    assert notebook.ok(f"{line}\nx = 17\nx % 3") == ("", "2")


@pytest.mark.image
def test_a_timed_cell_and_a_timed_line_have_their_values(notebook):
    said, text = notebook.ok("%%time\ny = 20\ny + 1")
    assert (said.count("CPU times: total: "), said.count("Wall time: "), text) == (1, 1, "21")
    said, text = notebook.ok("%time y + 2")
    assert ("Wall time: " in said, text) == (True, "22")
    assert notebook.ok("%time z = y\nz")[1] == "20"
    assert notebook.ok("z = %time y + 3\nz")[1] == "23"


@pytest.mark.image
def test_a_timed_line_may_await(core):
    assert core.ok("import asyncio\n%time await asyncio.sleep(0, 'done')")[1] == "'done'"


@pytest.mark.image
def test_timing_in_a_function_sees_its_variables(notebook):
    assert notebook.ok("def f(n):\n    %time m = n * 2\n    return m\nf(21)")[1] == "42"


@pytest.mark.image
def test_timeit_tells_the_time_of_a_loop(core):
    assert core.ok("%timeit -n 3 -r 2 sum(range(10**6))")[0].endswith(
        "per loop (best of 2 runs, 3 loops each)\n"
    )
    assert "loops each" in core.ok("%%timeit -n 2 x = 5\ny = x\ny * 2")[0]


@pytest.mark.image
def test_timeit_says_so_where_the_clock_stands_still(core):
    process = core.guest.process
    process.clock = Clock(10**18)
    try:
        said, _ = core.ok("ran = 0\ndef act():\n    global ran; ran += 1\n%timeit act()")
    finally:
        process.clock = Clock(None)
    assert said == "Ran once. The clock of this session does not tell how long work takes.\n"
    assert core.ok("ran")[1] == "1"


@pytest.mark.image
def test_directories_and_variables_are_changed_as_in_a_notebook(notebook):
    assert notebook.ok("%cd /tmp") == ("/tmp\n", None)
    assert notebook.ok("here = %pwd\nhere")[1] == "'/tmp'"
    assert notebook.ok("%cd /work\n%pwd")[1] == "'/work'"
    assert notebook.ok("%env ANSWER=42\nimport os\nos.environ['ANSWER']") == (
        "env: ANSWER=42\n",
        "'42'",
    )
    assert notebook.error("%cd /nowhere")[0] == "FileNotFoundError"


@pytest.mark.image
def test_a_file_is_written_as_it_stands_also_where_it_is_no_python(notebook):
    body = "if x ==:\n\t'unfinished\n!ls\n"
    assert notebook.ok(f"%%writefile note.txt\n{body}")[0] == "Writing note.txt\n"
    assert ast.literal_eval(notebook.ok("open('note.txt').read()")[1]) == body
    assert notebook.ok("%%writefile -a note.txt\nmore")[0] == "Appending to note.txt\n"
    assert notebook.ok("import os\nopen('note.txt').read()[-5:], os.remove('note.txt')")[1] == (
        "('more\\n', None)"
    )
    assert notebook.error("%%writefile /nowhere/x\nmore")[0] == "FileNotFoundError"


@pytest.mark.image
def test_what_a_cell_prints_is_captured(notebook):
    assert notebook.ok("%%capture out\nprint('quiet')") == ("", None)
    assert notebook.ok("out.stdout")[1] == r"'quiet\n'"
    assert notebook.ok("print('loud')")[0] == "loud\n"


@pytest.mark.image
@pytest.mark.parametrize("asked", ["area?", "?area", "area??", "area ?;"])
def test_a_question_mark_tells_what_a_thing_is(notebook, asked):
    notebook.ok("def area(a, b=2):\n    'Of a rectangle.'\n    return a * b")
    said, _ = notebook.ok(asked)
    assert said.startswith("Signature:  area(a, b=2)\nType:       function\n")
    assert said.endswith("Docstring:\nOf a rectangle.\n")
    assert ("return a * b" in said) == ("??" in asked)


# ---- packages -----------------------------------------------------------------------------------

INSTALLATIONS = (
    "%pip install {}", "!pip install -q {}", "!pip3 install --upgrade {}>=1.0",
    "!python -m pip install '{}[all]==2.0' 2>&1 | tail -1", "pip install {}", "%conda install -y {}",
    "!pip install -q \\\n    {} \\\n    --no-deps", "!sudo pip install {} && echo done", "out = !pip install {}",
)  # fmt: skip


@pytest.mark.image
@pytest.mark.parametrize("line", INSTALLATIONS)
def test_an_installation_says_where_the_package_is(core, line):
    before = len(core.gate.asked)
    said, _ = core.ok(line.format("tzdata"))
    assert said == (
        "Nothing to install, already in the image of this session: tzdata (import tzdata).\n"
    )
    name, message = core.error(line.format("scikit-learn"))
    assert name == "ModuleNotFoundError"
    assert message == (
        "nothing can be installed, packages come with the session's image. scikit-learn: it is not "
        "in the image 'core' of this session; a session opened with image=\"data\" has it"
    )
    assert core.error(line.format("torch")) == (
        "ModuleNotFoundError",
        "nothing can be installed, packages come with the session's image. torch: no image that "
        "comes with Codecage has it; use what is here",
    )
    assert len(core.gate.asked) == before


@pytest.mark.image
def test_the_cell_goes_on_after_an_installation_of_what_is_there(core):
    assert core.ok("!pip install tzdata\nimport tzdata\ntzdata.__name__")[1] == "'tzdata'"


@pytest.mark.image
def test_an_installation_knows_the_packages_of_its_own_image():
    data = notebook_of("data")
    assert "scikit-learn (import sklearn)" in data.ok("!pip install scikit-learn pandas==1.5")[0]


# ---- refused ------------------------------------------------------------------------------------

COMMANDS = {
    "!ls": "import os; sorted(os.listdir('.'))",
    "!ls -la /data": "import os; sorted(os.listdir('/data'))",
    "files = !ls *.csv": "import glob; glob.glob('*.csv')",
    "!cat 'a b.txt' | head": "import pathlib; print(pathlib.Path('a b.txt').read_text())",
    "!pwd": "import os; os.getcwd()",
    "!mkdir -p out/x": "import os; os.makedirs('out/x', exist_ok=True)",
    "!rm -rf out": "import shutil; shutil.rmtree('out')",
    "!cp a b": "import shutil; shutil.copy('a', 'b')",
    "!wc -l a.csv": "len(open('a.csv').read().splitlines())",
    "!python run.py": "import runpy; runpy.run_path('run.py', run_name='__main__')",
    "!!ls": "import os; sorted(os.listdir('.'))",
    "%ls": "import os; sorted(os.listdir('.'))",
    "%%bash\n# first\nls /data": "import os; sorted(os.listdir('/data'))",
}


@pytest.mark.image
@pytest.mark.parametrize("line", COMMANDS)
def test_a_shell_command_is_refused_with_the_python_to_write(core, line):
    name, message = core.error(line)
    assert name == "PermissionError"
    assert "there is no shell here, and no program can be started. Write instead: " in message
    written = message.partition("Write instead: ")[2]
    assert written == COMMANDS[line]
    ast.parse(written)


@pytest.mark.image
def test_an_attempt_at_a_program_is_asked_of_the_gate_in_every_guest(notebook):
    before = len(notebook.gate.asked)
    assert notebook.error("!curl -s example.org > page")[0] == "PermissionError"
    assert notebook.gate.kinds[before:] == ["run"]
    assert notebook.ok("print('curl')")[0] == "curl\n"
    assert len(notebook.gate.asked) == before + 1


@pytest.mark.image
def test_what_is_not_known_says_what_is(core):
    assert core.error("%frobnicate x") == (
        "NotImplementedError",
        "%frobnicate is a command of IPython's, which is not here. These are: "
        "%cd, %env, %matplotlib, %pip, %pwd, %set_env, %time, %timeit",
    )
    assert core.error("%%sql\nselect 1")[0] == "NotImplementedError"
    assert core.error("a = 1\n%%time\na") == (
        "NotImplementedError",
        "%%time has to be the first line of a cell",
    )
    assert "runpy.run_path('x.py'" in core.error("%run x.py")[1]


# ---- what is Python stays -----------------------------------------------------------------------


@pytest.mark.image
def test_lines_and_errors_are_where_the_cell_has_them(notebook):
    _, answer = notebook.run("%matplotlib inline\n\nx = 1\nx / 0")
    assert answer["traceback"].splitlines()[1:3] == [
        f'  File "<cell {notebook._cells}>", line 4, in <module>',
        "    x / 0",
    ]
    _, answer = notebook.run("def f():\n    !ls\nf()")
    assert answer["traceback"].splitlines()[-3:-1] == [
        f'  File "<cell {notebook._cells}>", line 2, in f',
        "    !ls",
    ]


@pytest.mark.image
@pytest.mark.parametrize(
    ("code", "line"),
    [("%pwd\nx = = 3", 2), ("x = 1; !ls", 1), ("what is this?", 1), ("%time x = = 3", 1),
     ("print('a\n%d items' % 3)", 1), ("f(\n%pwd", 1), ("%pwd\nreturn 3", 2), ("if x:\n%pwd", 2),
     ("!", 1), ("x ? y", 1), ("  %pwd", 1), ("!= 3", 1)],
)  # fmt: skip
def test_what_is_wrong_besides_is_still_an_error_at_its_line(core, code, line):
    _, answer = core.run(code)
    assert answer["name"] in {"SyntaxError", "IndentationError"}
    assert f'File "<cell {core._cells}>", line {line}\n' in answer["traceback"]
    assert "ast.py" not in answer["traceback"]
    assert "__notebook" not in answer["traceback"]


@pytest.mark.image
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 17\n(x\n% 5)", "2"),
        ("x = 17 \\\n% 5\nx", "2"),
        ("x = '''\n%pwd\n!ls\na?\n'''\nx", repr("\n%pwd\n!ls\na?\n")),
        ("'%d' % 3", "'3'"),
        ("x = '''\n!ls\n'''\n%matplotlib inline\nx", repr("\n!ls\n")),
        ("x = (17\n% 5)\n%matplotlib inline\nx", "2"),
        ("x = 'a\\\n!b'\n%matplotlib inline\nx", "'a!b'"),
        ("x = [1, # ' ( \n2]\n%matplotlib inline\nx", "[1, 2]"),
    ],
)
def test_what_looks_like_a_command_in_python_is_python(core, code, text):
    assert core.ok(code) == ("", text)


@pytest.mark.image
def test_a_cell_of_python_never_looks_for_commands(core):
    core.ok("import builtins\nvars(builtins).pop('__notebook__', None)")
    assert core.ok("x = 1\n'__notebook__' in vars(builtins)")[1] == "False"
    assert core.ok("%pwd\n'__notebook__' in vars(builtins)")[1] == "True"


def native():
    """
    The part that finds commands, on this Python.
    """
    module = types.ModuleType("magics")
    exec(compile(SOURCE.read_text(encoding="utf-8"), "magics.py", "exec"), module.__dict__)
    return module


def test_no_line_of_the_standard_library_is_taken_for_a_command():
    magics, read = native(), 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py"))[::6]:
        if {"site-packages", "test", "tests", "lib2to3", "idlelib"} & set(path.parts):
            continue
        lines = magics.LINE_END.split(path.read_text(encoding="utf-8", errors="replace"))
        found = magics.extracted([*lines, "!ls"])
        assert [(one.number, one.rest) for one in found] == [(len(lines) + 1, "ls")], path
        read += 1
    assert read > 50, os.fspath(sysconfig.get_path("stdlib"))
