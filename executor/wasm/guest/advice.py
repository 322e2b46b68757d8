"""
What to write instead of a shell command: the Python that does the same. Runs inside the cage.
"""

PYTHON_ONLY = "Use Python and the packages of the session's image."


def instead(program, words):
    """The sentence for a command of this name with these words."""
    way = PROGRAMS.get(program)
    if way is None:
        return PYTHON_ONLY
    given = [word for word in words if not word.startswith("-")]
    options = "".join(word for word in words if word.startswith("-"))
    return f"Write instead: {way(given, options)}"


def one(given, default="."):
    """The first of what was given, or else what stands for it."""
    return given[0] if given else default


def listing(given, _options):
    name = one(given)
    if any(char in name for char in "*?["):
        return f"import glob; glob.glob({name!r})"
    return f"import os; sorted(os.listdir({name!r}))"


def reading(given, _options):
    return f"import pathlib; print(pathlib.Path({one(given, 'FILE')!r}).read_text())"


def heads(given, _options):
    return f"print(*open({given[-1] if given else 'FILE'!r}).read().splitlines()[:10], sep='\\n')"


def tails(given, _options):
    return f"print(*open({given[-1] if given else 'FILE'!r}).read().splitlines()[-10:], sep='\\n')"


def searching(given, _options):
    word, name = one(given, "WORD"), given[-1] if len(given) > 1 else "FILE"
    return f"print(*[line for line in open({name!r}) if {word!r} in line], sep='')"


def removing(given, options):
    name = one(given, "FILE")
    return (
        f"import shutil; shutil.rmtree({name!r})"
        if "r" in options.lower()
        else f"import os; os.remove({name!r})"
    )


def copying(given, options):
    name, to = one(given, "FILE"), given[-1] if len(given) > 1 else "TO"
    act = "copytree" if "r" in options.lower() else "copy"
    return f"import shutil; shutil.{act}({name!r}, {to!r})"


def moving(given, _options):
    return f"import shutil; shutil.move({one(given, 'FILE')!r}, {given[-1] if len(given) > 1 else 'TO'!r})"


def running(given, options):
    if "--version" in options or "-V" in options:
        return "import sys; print(sys.version)"
    if "c" in options:
        return "the code itself, as Python"
    return f"import runpy; runpy.run_path({one(given, 'FILE')!r}, run_name='__main__')"


def fixed(text):
    return lambda _given, _options: text


def with_path(pattern, default="."):
    return lambda given, _options: pattern.format(one(given, default))


NO_NETWORK = fixed("open() of a file that the policy grants; the network is the policy's to grant")
PROGRAMS = {
    "ls": listing, "ll": listing, "la": listing, "dir": listing, "cat": reading, "less": reading,
    "more": reading, "head": heads, "tail": tails, "grep": searching, "rm": removing,
    "cp": copying, "mv": moving, "python": running, "python3": running,
    "pwd": fixed("import os; os.getcwd()"),
    "cd": with_path("import os; os.chdir({0!r})", "/work"),
    "mkdir": with_path("import os; os.makedirs({0!r}, exist_ok=True)"),
    "rmdir": with_path("import os; os.rmdir({0!r})"),
    "touch": with_path("import pathlib; pathlib.Path({0!r}).touch()"),
    "find": with_path("import pathlib; sorted(pathlib.Path({0!r}).rglob('*'))"),
    "tree": with_path("import pathlib; sorted(pathlib.Path({0!r}).rglob('*'))"),
    "du": with_path("import pathlib; sum(p.stat().st_size for p in pathlib.Path({0!r}).rglob('*'))"),
    "stat": with_path("import os; os.stat({0!r})"),
    "wc": with_path("len(open({0!r}).read().splitlines())", "FILE"),
    "unzip": with_path("import shutil; shutil.unpack_archive({0!r})", "FILE"),
    "tar": with_path("import tarfile; tarfile.open({0!r}).extractall(filter='data')", "FILE"),
    "which": with_path("import importlib.util; importlib.util.find_spec({0!r})"),
    "echo": lambda given, _options: f"print({' '.join(given)!r})",
    "date": fixed("import datetime; datetime.datetime.now()"),
    "sleep": with_path("import time; time.sleep({0})", "1"),
    "env": fixed("import os; dict(os.environ)"),
    "printenv": fixed("import os; dict(os.environ)"),
    "export": fixed("import os; os.environ['NAME'] = 'value'"),
    "uname": fixed("import platform; platform.platform()"),
    "whoami": fixed("import os; os.environ['USER']"),
    "df": fixed("import shutil; shutil.disk_usage('/work')"),
    "curl": NO_NETWORK, "wget": NO_NETWORK, "git": NO_NETWORK,
}  # fmt: skip
