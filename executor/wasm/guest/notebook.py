"""
What notebook commands do here, or why not and what to write instead: runs inside the cage.

The calls come from the trees that `magics.py` makes. What needs no shell and no notebook is done
as in Jupyter; for the rest there is one sentence with the Python that does the same. Where an
exception would surprise, Jupyter raises none: what only sets a notebook up is taken silently.
"""

import builtins
import contextlib
import importlib.util
import io
import os
import sys
import time

# What only sets a notebook up.
SILENT = set(
    "matplotlib autoreload aimport precision colors xmode pdb autosave autocall autoawait "
    "pprint automagic reload_ext".split()
)
PACKAGES = {
    "pip",
    "pip3",
    "conda",
    "mamba",
    "micromamba",
    "pipenv",
    "poetry",
    "pdm",
    "easy_install",
}
SYSTEM_PACKAGES = {"apt", "apt-get", "yum", "dnf", "apk", "brew"}
# Magics that are shell commands in Jupyter as well.
SHELL = set("ls ll la cat mkdir rmdir rm cp mv less more man head tail touch sx system".split())
# The body of these cells is another language's.
SHELLS = set("! bash sh script system sx cmd".split())
SHOWN = {
    "html": "text/html",
    "markdown": "text/markdown",
    "latex": "text/latex",
    "svg": "image/svg+xml",
    "javascript": "application/javascript",
    "js": "application/javascript",
}
# What to write instead, with the command's first word.
INSTEAD = {
    "run": "import runpy; globals().update(runpy.run_path({0!r}, run_name='__main__'))",
    "load": "print(open({0!r}).read())",
    "pylab": "import numpy as np; import matplotlib.pyplot as plt",
    "who": "print([name for name in globals() if name[0] != '_'])",
    "reset": "a new session, or del of the names",
    "debug": "print() of what you want to see",
    "prun": "%timeit, or time.process_time() before and after",
    "memit": "import tracemalloc; tracemalloc.start()",
    "history": "what you have written already: nothing is kept here",
    "load_ext": "the import of the package itself: there are no extensions of IPython's",
    "python": "the code itself, without the first line",
}
SAME = {
    "whos": "who",
    "who_ls": "who",
    "hist": "history",
    "python3": "python",
    "mprun": "memit",
    "lprun": "prun",
    "pinfo": "debug",
}
# Distributions whose module has another name; beyond these a dash becomes an underscore.
MODULES = {
    "attrs": "attr", "beautifulsoup4": "bs4", "fonttools": "fontTools", "msgpack-python": "msgpack",
    "opencv-python": "cv2", "opencv-python-headless": "cv2", "pillow": "PIL", "protobuf": "google",
    "pyjwt": "jwt", "python-dateutil": "dateutil", "python-docx": "docx", "python-dotenv": "dotenv",
    "pyyaml": "yaml", "scikit-image": "skimage", "scikit-learn": "sklearn", "sklearn": "sklearn",
    "torch": "torch",
}  # fmt: skip
SHELL_ENDS = ("|", "&", ";", ">", "<", "2>", "#")


# ---- the shell -----------------------------------------------------------------------------------


def shell(line, read=False):
    """
    `!line`: an installation is answered, everything else is a program; with `read` what it writes
    is its value.
    """
    words = split(line)
    if words[:1] == ["sudo"]:
        del words[0]
    if words[1:3] == ["-m", "pip"] or words[:2] == ["uv", "pip"]:
        words = ["pip", *words[3 if words[1] == "-m" else 2 :]]
    program = os.path.basename(words[0]) if words else ""
    if program in PACKAGES:
        return packages(program, words[1:])
    refusal = "there is no shell here, and no program can be started."
    try:
        if execute is not None:
            return execute(line, read)
        judge(line)
    except (PermissionError, FileNotFoundError) as error:
        # Where nothing can be granted the gate's word is for the record alone.
        refusal = refusal if execute is None else f"{error.strerror}."
    if program in SYSTEM_PACKAGES:
        raise PermissionError(
            f"!{program}: nothing can be installed here, and no program runs. {advice.PYTHON_ONLY}"
        )
    raise PermissionError(f"!{program or line}: {refusal} {advice.instead(program, words[1:])}")


def split(line):
    """A command line's words, up to where a second command begins."""
    import shlex

    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    for index, word in enumerate(words):
        if word.startswith(SHELL_ENDS):
            return words[:index]
        if word.endswith(";"):
            return [*words[:index], word.rstrip(";")]
    return words


# ---- packages ------------------------------------------------------------------------------------


def packages(program, words):
    """`pip install x`: whether x is in this image, in another, or nowhere."""
    wanted = [word for word in words if not word.startswith("-")]
    if wanted[:1] not in (["install"], ["add"]):
        raise NotImplementedError(
            f"%{program} {advice.one(wanted, '')}: packages come with the session's image and stay as they are. "
            "Write instead: import pkgutil; sorted(m.name for m in pkgutil.iter_modules())"
        )
    names = [name for name in map(distribution, wanted[1:]) if name]
    here, absent = [], []
    for name in names:
        module = MODULES.get(name.lower(), name.replace("-", "_"))
        reason = missing(module)
        if reason:
            absent.append((name, module, reason))
        else:
            here.append(f"{name} (import {module})")
    if here:
        print(f"Nothing to install, already in the image of this session: {', '.join(here)}.")
    if absent:
        told = "; ".join(f"{name}: {reason}" for name, _, reason in absent)
        raise ModuleNotFoundError(
            f"nothing can be installed, packages come with the session's image. {told}",
            name=absent[0][1],
        )
    if not names:
        raise NotImplementedError(
            f"%{program} install takes names of packages: {advice.PYTHON_ONLY}"
        )


def distribution(requirement):
    """The name in a requirement, without version, extras and marks (PEP 508)."""
    name = requirement.strip("\"'")
    for mark in "[<>=!~; @":
        name = name.partition(mark)[0]
    return "" if "/" in name or name.endswith((".txt", ".whl")) else name


NOWHERE = "no image that comes with Codecage has it; use what is here"


def missing(module):
    """Why a module cannot be imported, or nothing where it can."""
    try:
        found = module in sys.modules or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        return str(error).partition(": ")[2] or str(error)
    except (ImportError, ValueError) as error:
        return str(error)
    return "" if found else NOWHERE


# ---- magics of a line ----------------------------------------------------------------------------


def line(name, rest):
    """`%name rest`."""
    if name in SILENT or (name == "load_ext" and rest == "autoreload"):
        return None
    if name in PACKAGES:
        return packages(name, split(rest))
    if name in {"sx", "system"}:
        return shell(rest, read=True)
    if name in SHELL:
        return shell(f"{name} {rest}")
    act = ACTS.get(name)
    if act is not None:
        return act(rest)
    raise refused(name, rest)


def refused(name, rest):
    if name.startswith("%"):
        return NotImplementedError(f"%{name} has to be the first line of a cell")
    told = f"%{name} is a command of IPython's, which is not here."
    other = INSTEAD.get(SAME.get(name, name))
    if other is None:
        return NotImplementedError(
            f"{told} These are: {', '.join('%' + one for one in sorted(KNOWN))}"
        )
    return NotImplementedError(
        f"{told} Write instead: {other.format(advice.one(split(rest), 'FILE'))}"
    )


def configure(rest):
    """`%config InlineBackend.figure_formats = ['svg']`; everything else changes nothing."""
    name, _, value = (part.strip() for part in rest.partition("="))
    if name in {"InlineBackend.figure_format", "InlineBackend.figure_formats"} and draw_as:
        draw_as("".join(char if char.isalnum() else " " for char in value).split())


def change_directory(rest):
    os.chdir(os.path.expanduser(rest.strip("\"'") or "~"))
    print(os.getcwd())


def working_directory(_rest):
    return os.getcwd()


def environment(rest):
    name, mark, text = (
        part.strip() for part in rest.replace(" ", "=", "=" not in rest).partition("=")
    )
    if mark and text:
        os.environ[name] = text
        print(f"env: {name}={text}")
        return None
    return os.environ.get(name) if name else dict(os.environ)


# ---- time ----------------------------------------------------------------------------------------

_started = []


def start():
    _started.append((time.perf_counter(), time.process_time()))


def stop():
    wall, used = _started.pop()
    print(f"CPU times: total: {lasted(time.process_time() - used)}")
    print(f"Wall time: {lasted(time.perf_counter() - wall)}")


@contextlib.contextmanager
def timing():
    start()
    yield
    stop()


def lasted(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


TIMED = 0.1
LOOPS_MAX = 10**6


def timeit(rest, setup="pass"):
    """`%timeit [-n LOOPS] [-r RUNS] statement`, in the session's namespace."""
    from timeit import Timer

    options, statement = numbers(rest)
    timer = Timer(statement or "pass", setup or "pass", globals=sys.modules["__main__"].__dict__)
    if not clock_counts_work():
        timer.timeit(1)
        print("Ran once. The clock of this session does not tell how long work takes.")
        return
    loops, runs = options.get("n") or enough(timer), options.get("r") or 3
    best = min(timer.repeat(runs, loops)) / loops
    print(f"{lasted(best)} per loop (best of {runs} runs, {loops:,} loops each)")


def clock_counts_work():
    """Not if a policy has it stand still, or move by looks alone."""
    before = time.monotonic()
    sum(range(10**6))
    return time.monotonic() - before >= 1e-3


def numbers(rest):
    options = {}
    while rest[:2] in {"-n", "-r", "-p", "-t", "-c", "-q", "-o"}:
        flag, rest = rest[1], rest[2:].lstrip()
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if flag in "nrp":
            options[flag], rest = int(digits or 1), rest[len(digits) :].lstrip()
    return options, rest


def enough(timer):
    """How many loops take long enough to be measured."""
    loops = 1
    while loops < LOOPS_MAX and timer.timeit(loops) < TIMED:
        loops *= 10
    return loops


# ---- whole cells ---------------------------------------------------------------------------------


def cell(name, rest, body):
    """`%%name rest` over `body`, where that is not Python to be run as it stands."""
    name = name.lstrip("%")
    if name in {"writefile", "file"}:
        return write_file(rest, body)
    if name == "timeit":
        setup = numbers(rest)[1]
        return timeit(f"{rest.removesuffix(setup)} {body}", setup)
    if name in SHOWN:
        return builtins.display({SHOWN[name]: body}, raw=True)
    if name in SHELLS:
        if execute is not None:
            return shell(body)
        first = next(
            (text for text in map(str.strip, body.splitlines()) if text and text[0] != "#"), ""
        )
        return shell(first)
    raise refused(name, rest)


def write_file(rest, body):
    words = split(rest)
    name = os.path.expanduser(advice.one([word for word in words if word != "-a"], ""))
    if not name:
        raise NotImplementedError("%%writefile needs the name of a file: %%writefile report.txt")
    mode = "a" if "-a" in words else "w"
    word = {"a": "Appending to", "w": "Overwriting" if os.path.exists(name) else "Writing"}[mode]
    with open(name, mode, encoding="utf-8") as file:
        file.write(body if body.endswith("\n") else body + "\n")
    print(f"{word} {name}")


class Captured:
    """What a cell under %%capture printed."""

    def __init__(self):
        self._streams = io.StringIO(), io.StringIO()

    @property
    def stdout(self):
        return self._streams[0].getvalue()

    @property
    def stderr(self):
        return self._streams[1].getvalue()

    def show(self):
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)

    __str__ = stdout.fget


@contextlib.contextmanager
def capturing():
    captured = Captured()
    out, error = captured._streams
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        yield captured


# ---- what a thing is -----------------------------------------------------------------------------


def about(thing, name, more):
    """`thing?`: its signature, type, text and document; with `??` its source."""
    import inspect

    told = [f"Type:       {type(thing).__name__}"]
    if callable(thing):
        with contextlib.suppress(TypeError, ValueError):
            told.insert(0, f"Signature:  {name.rpartition('.')[2]}{inspect.signature(thing)}")
    else:
        told.append(f"String form: {str(thing)[:200]}")
    if more:
        with contextlib.suppress(TypeError, OSError):
            told.append(f"Source:\n{inspect.getsource(thing)}".rstrip())
    told.append(f"Docstring:\n{inspect.getdoc(thing) or '<no docstring>'}")
    print(*told, sep="\n")


ACTS = {
    "cd": change_directory, "config": configure, "pwd": working_directory, "env": environment,
    "set_env": environment, "timeit": timeit,
}  # fmt: skip
KNOWN = {*ACTS, "time", "pip", "matplotlib"} - {"config"}
# The runtime's: what to write instead of a shell command.
advice = None
# The runtime's: has the gate judge an attempt at a program, and comes back.
judge = None
# Where programs can be granted: runs one by its line, or raises what the gate says.
execute = None
# The display's: has figures drawn in other forms from now on.
draw_as = None
