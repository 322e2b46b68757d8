import argparse
import io
import json

import pytest
from crafted import small_image

from executor.images import cli, report
from executor.images.cache import default_cache
from executor.images.checks import Status, checks
from executor.images.progress import Progress, Step
from executor.process.images import declared_as, image_of, python_version


def run(capsys, *words: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser(prog="codecage")
    cli.register(parser.add_subparsers(required=True))
    try:
        arguments = parser.parse_args(["image", *words])
        status = arguments.run(arguments)
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out, err


CORE = image_of(declared_as("native-core"), default_cache())
# What every machine has: the interpreter itself.
NATIVE = ["native-core", CORE.key[:12], "0", "B", python_version(), "-", "-", "-"]


def test_an_empty_cache_says_what_to_do(cache, capsys):
    status, out, err = run(capsys, "list")
    assert (status, err) == (0, "")
    *table, last = out.splitlines()
    assert last == "No image is built. Build one: codecage image build"
    assert [line.split() for line in table][1:] == [NATIVE]


def test_images_are_listed_as_a_table(cache, capsys):
    image = small_image(cache)
    status, out, err = run(capsys, "list")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["NAME", "KEY", "SIZE", "PYTHON", "WASMTIME", "CREATED", "PACKAGES"],
        ["small", image.key[:12], "4.0", "kB", "3.14.2", "50.0.1", "2026-01-01T00:00:00Z", "-"],
        NATIVE,
    ]


def test_images_are_listed_as_json(cache, capsys):
    image = small_image(cache)
    status, out, _ = run(capsys, "list", "--json")
    assert status == 0
    wasm, native = json.loads(out)
    assert (native["name"], native["guest"], native["key"]) == ("native-core", "native", CORE.key)
    assert wasm == {
        "name": "small",
        "key": image.key,
        "path": str(image.path),
        "created": "2026-01-01T00:00:00",
        "size": 4000,
        "files": 1,
        "guest": "pyodide-3.14",
        "modules": 0,
        "versions": {"python": "3.14.2", "wasmtime": "50.0.1"},
        "packages": {},
    }


def test_verifying_a_sound_image_succeeds_and_a_changed_one_fails(cache, capsys):
    image = small_image(cache)
    assert run(capsys, "verify", "small")[0] == 0
    path = image.path / "python.cwasm"
    path.chmod(0o644)
    path.write_bytes(b"code" * 999 + b"evil")
    for words in (("verify", "small"), ("verify",)):
        status, out, err = run(capsys, *words)
        assert (status, "small" in out) == (1, False)
        assert "python.cwasm is refused" in err


def test_verifying_goes_on_after_a_refused_image(cache, capsys):
    bad = small_image(cache, name="bad")
    small_image(cache, name="good")
    (bad.path / "manifest.json").unlink()
    for command in ("verify", "list"):
        status, out, err = run(capsys, command)
        assert status == 1
        assert "good" in out
        assert "image bad" in err


def test_an_unknown_image_cannot_be_verified(cache, capsys):
    small_image(cache)
    status, _, err = run(capsys, "verify", "other")
    assert status == 1
    assert "There is no image 'other'; there is native-core, small." in err


def test_pruning_says_what_it_freed(cache, capsys):
    small_image(cache)
    assert run(capsys, "prune") == (0, "Freed 0 B.\n", "")
    status, out, _ = run(capsys, "prune", "--all", "--json")
    assert status == 0
    assert json.loads(out)["freed"] > 4000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--with", "numpy"), "'numpy' was asked for"),
        (("--with", "../x"), "not the name of a package"),
        (("--with", "sympy", "--name", "core"), "without added packages"),
        (("--name", "A B"), "cannot be the name"),
        (("--lock", "/nonexistent/lock.txt"), "cannot be read"),
    ],
)
def test_a_build_that_cannot_be_is_refused_before_anything_is_made(cache, capsys, words, said):
    status, out, err = run(capsys, "build", *words)
    assert (status, out) == (1, "")
    assert said in err
    assert list(cache.staging.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("nonsense",), ("build", "--nonsense"), ("prune", "x")])
def test_wrong_usage_is_exit_code_2(cache, capsys, words):
    assert run(capsys, *words)[0] == 2


def test_a_cache_that_cannot_be_trusted_is_exit_code_1(cache, capsys):
    cache.images.chmod(0o777)
    status, _, err = run(capsys, "prune")
    assert status == 1
    assert "chmod go-w" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STEPS = [
    Progress(Step.FETCH, 0.0, 0),
    Progress(Step.FETCH, 1.25, 26_000_000),
    Progress(Step.COMPILE, 0.0, 0),
]


def test_progress_on_a_terminal_is_one_line_a_step_that_is_rewritten():
    stream = Terminal()
    line = report.ProgressLine(stream)
    for progress in STEPS:
        line(progress)
    line.close()
    assert [part.rstrip(" ") for part in stream.getvalue().split("\r")] == [
        "",
        "[2/8] fetch the guest and its tools  0.0 s",
        "[2/8] fetch the guest and its tools  1.2 s  26.0 MB" + " " * 21 + "\n",
        "[4/8] compile to machine code  0.0 s" + " " * 36 + "\n",
    ]


def test_progress_in_a_log_is_a_plain_line_a_step():
    stream = io.StringIO()
    line = report.ProgressLine(stream)
    for progress in STEPS:
        line(progress)
    line.close()
    assert stream.getvalue() == (
        "[2/8] fetch the guest and its tools ...\n[4/8] compile to machine code ...\n"
    )


def test_waiting_for_another_build_is_no_step_of_the_work():
    assert report.describe(Progress(Step.WAIT, 0.0, 0)) == "[-] wait for another build  0.0 s"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (26_509_992, "26.5 MB")]
)
def test_sizes_are_written_for_a_person(size, text):
    assert report.size_text(size) == text


def test_the_doctor_finds_a_missing_image_and_says_how_to_build_it(cache):
    found = {check.name: check for check in checks(cache)}
    assert found["image"].status is Status.FAIL
    assert found["image"].mend == "codecage image build"
    assert found["platform"].status is Status.OK
    assert found["image cache"].status is Status.OK
    assert "disk space" in found


def test_the_doctor_accepts_an_image_that_verifies_and_fails_one_that_does_not(cache):
    image = small_image(cache, name="core")
    assert {c.name: c.status for c in checks(cache)}["image"] is Status.OK
    (image.path / "extra").write_bytes(b"")
    assert {c.name: c.status for c in checks(cache)}["image"] is Status.FAIL


def test_the_doctor_fails_a_cache_that_others_can_write(cache):
    cache.root.chmod(0o777)
    found = {check.name: check for check in checks(cache)}
    assert found["image cache"].status is Status.FAIL
    assert "chmod" in found["image cache"].found


def test_without_node_the_doctor_warns_where_an_image_is_built_and_fails_where_not(
    cache, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert {c.name: c.status for c in checks(cache)}["node"] is Status.FAIL
    small_image(cache, name="core")
    assert {c.name: c.status for c in checks(cache)}["node"] is Status.WARN
