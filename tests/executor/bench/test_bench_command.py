"""
`codecage bench` from its plan to its files, in its shortest form; and its peers.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tarfile

import pytest

from executor import cli
from executor.bench import installing, peers, plan
from executor.bench.contest import SHORT, Failed, Missing, Role, Setting
from executor.bench.peers import Driven
from executor.bench.rows.programs import PROGRAMS
from executor.commands import bench
from tests.e2e.serving import environment, needs_image

TINY = dataclasses.replace(SHORT, rounds=2, seconds=0.01, points=2, amount=0.01)
# Of these nothing needs an image, or `core` alone.
QUICK = ("decision", "record", "rules-globs")
WITH_A_GUEST = ("cell", "tool", "open", "file", "mounts", "files")


def test_each_row_and_curve_has_a_name_of_its_own_and_is_listed(capsys):
    assert cli.main(["bench", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*(one.name for one in plan.ROWS), *(one.name for one in plan.CURVES)]
    assert len(set(listed)) == len(listed)


def test_a_row_that_there_is_not_is_refused_and_those_there_are_named(capsys, tmp_path):
    assert cli.main(["bench", "--only", "celll", "--out", str(tmp_path / "x")]) == 2
    assert "no row or curve is called 'celll'; there are create, memory," in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.image
@needs_image
def test_the_shortest_form_measures_writes_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SHORT", TINY)
    stem = tmp_path / "results" / "one"
    names = [word for name in (*QUICK, *WITH_A_GUEST) for word in ("--only", name)]
    assert cli.main(["bench", "--short", *names, "--out", str(stem)]) == 0
    told = capsys.readouterr()
    data = json.loads(stem.with_suffix(".json").read_text())
    assert data["complete"]
    assert {one["problem"] for one in data["curves"].values()} == {""}
    assert list(data["rows"]) == [one.name for one in plan.ROWS if one.name in names]
    for row in data["rows"].values():
        assert row["problem"] == ""
        ours = [one for one in row["series"].values() if one["role"] == Role.OURS]
        core = [one for one in ours if not one["missing"]]
        assert core
        for one in core:
            assert all(case["values"] for case in one["cases"].values()), (row["name"], one)
        assert all(one["floor"] in row["series"] for one in core)
    assert "; Pyodide on Node, snapshot: left out in this form of the benchmark." in told.out
    assert "pass 1 of 1: cell" in told.err
    assert (tmp_path / "results" / "one-cell.svg").is_file()
    assert stem.with_suffix(".md").read_text() == told.out
    assert (
        cli.main(
            ["bench", "compare", str(stem.with_suffix(".json")), str(stem.with_suffix(".json"))]
        )
        == 0
    )
    assert "too few samples" in capsys.readouterr().out


def test_compare_says_by_its_exit_code_that_something_is_worse(tmp_path, capsys):
    from executor.bench import results
    from tests.executor.bench.test_bench_results import NOISE, run_of, scaled

    paths = [tmp_path / f"{name}.json" for name in "ab"]
    results.write(run_of(NOISE, NOISE), paths[0])
    results.write(run_of(scaled(2.0), NOISE), paths[1])
    assert cli.main(["bench", "compare", "--json", *map(str, paths)]) == 1
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert change["verdict"] == "worse"
    assert cli.main(["bench", "compare", *map(str, reversed(paths))]) == 0
    assert cli.main(["bench", "compare", str(paths[0]), str(tmp_path / "c.json")]) == 2


def test_ctrl_c_leaves_a_valid_result_and_says_so(tmp_path):
    """
    The row never ends of itself: its signal comes from inside its first act.
    """
    program = (
        "import os, signal, sys\n"
        "from executor import cli\n"
        "from executor.bench import plan\n"
        "from executor.bench.contest import *\n"
        "def act(case):\n    os.kill(os.getpid(), signal.SIGINT)\n    return 1.0\n"
        "def made(setting, stack):\n"
        "    return [Contestant('a', Role.FLOOR, lambda _: lambda c: 1.0),"
        " Contestant('b', Role.OURS, lambda _: act)]\n"
        "plan.ROWS = (Row('slow', 'what', 'ms', Better.LOWER, made),)\n"
        "sys.exit(cli.main(['bench', '--only', 'slow', '--out', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cut")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "The run was ended early" in done.stdout
    data = json.loads((tmp_path / "cut.json").read_text())
    assert (data["complete"], list(data["rows"])) == (False, ["slow"])


def test_the_programs_agree_with_themselves_and_take_some_time():
    assert len(PROGRAMS) == 15
    for name, program in PROGRAMS.items():
        found = []
        for _ in range(2):
            names = {}
            exec(program, names)
            found.append(str(names["work"]()))
        assert found[0] == found[1] != "", name
    known = {"fib": "17711", "fannkuch": "16", "n queens": "40", "sieve": "13848"}
    for name, value in known.items():
        names = {}
        exec(PROGRAMS[name], names)
        assert str(names["work"]()) == value


PIPE = next(one for one in peers.PEERS if one.driver == "pipe")
WITH_PEERS = Setting(dataclasses.replace(TINY, peers=True), None, None)


def test_a_peer_is_driven_through_all_that_is_asked_and_leaves_nothing():
    import psutil

    before = {one.pid for one in psutil.Process().children(recursive=True)}
    with Driven([sys.executable, "-P", str(peers._GUEST / "driver.py"), "pipe"]) as driven:
        assert driven.ask("version").startswith("CPython 3.")
        assert driven.ask("create") > 0
        assert driven.ask("cell") > 0
        assert driven.ask("calls", count=5) > 0
        assert driven.ask("output", size=10_000) > 0
        assert driven.ask("work", program=PROGRAMS["fib"])[1] == "17711"
        assert driven.ask("hold", count=2) == 2
        assert len(psutil.Process(driven.pid).children()) == 3
        assert driven.ask("release") == 0
        with pytest.raises(Failed, match="ended"):
            driven.ask("work", program="def work(:")
        assert os.getpgid(driven.pid) == driven.pid
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before


def test_a_peer_whose_process_ends_is_told_of():
    with Driven([sys.executable, "-c", "pass"]) as driven, pytest.raises(Failed, match="ended"):
        driven.ask("version")


def test_a_peer_that_does_not_answer_is_killed_and_told_of(monkeypatch):
    monkeypatch.setattr(Driven, "patience", 0.1)
    program = [sys.executable, "-c", "import sys, time\nfor _ in sys.stdin: time.sleep(1000)"]
    with Driven(program) as driven:
        with pytest.raises(Failed, match=r"did not answer in 0.1 s, and was killed"):
            driven.ask("version")
        with pytest.raises(Failed, match="ended"):
            driven.ask("version")


def test_a_peer_that_says_nonsense_is_told_of():
    program = [sys.executable, "-uc", "import sys\nfor _ in sys.stdin: print('hello')"]
    with Driven(program) as driven, pytest.raises(Failed, match="'hello.n', which is no answer"):
        driven.ask("version")


def test_a_peer_that_is_not_installed_is_named_with_the_reason(tmp_path):
    from contextlib import ExitStack

    setting = dataclasses.replace(WITH_PEERS, peers=tmp_path)
    missing = {}
    with ExitStack() as stack:
        for one in peers.contestants(setting, "cell", 1.0, ["once: it keeps no state"]):
            if one.name in ("python -c", "ipykernel", "pysandbox-wasi", "Pyodide on Node"):
                with pytest.raises(Missing) as told:
                    one.begin(stack)
                missing[one.name] = str(told.value)
    assert missing["python -c"] == "it keeps no state"
    assert missing["ipykernel"] == "not installed: codecage bench peers"
    assert missing["pysandbox-wasi"].endswith("(with Python 3.12 or later)")
    assert "Pyodide" in missing["Pyodide on Node"]


def test_a_lock_file_that_is_not_there_fails_its_part_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "place", lambda: tmp_path / "peers")
    monkeypatch.setattr(installing.shutil, "which", lambda _name: None)
    told = []
    assert installing.install(told.append, tmp_path) == 3
    assert "bench-peers.txt is in the source tree only" in told[0]
    assert not (tmp_path / "peers" / "python").exists()


BACKEND = """
import pathlib
pathlib.Path({mark!r}).touch()
def build_wheel(*_):
    raise SystemExit(1)
"""


def test_what_builds_a_package_is_never_run(tmp_path, monkeypatch):
    """
    Its hash is of the source; what the build fetches and runs has none.
    """
    source, mark = tmp_path / "peer-1.0", tmp_path / "ran"
    source.mkdir()
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: peer\nVersion: 1.0\n")
    (source / "backend.py").write_text(BACKEND.format(mark=str(mark)))
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (source / "pyproject.toml").write_text(system)
    archive = tmp_path / "peer-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        made.add(source, source.name)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    lock = f"--no-index\n--find-links {tmp_path}\npeer==1.0 --hash=sha256:{digest}\n"
    (tmp_path / "lock.txt").write_text(lock)
    with pytest.raises(Missing, match="No matching distribution found for peer==1.0"):
        installing.install_packages(sys.executable, tmp_path / "lock.txt")
    assert not mark.exists()
