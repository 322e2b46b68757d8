"""
Every import says how its answer comes into a replay; one that does not say it is not linked.
"""

from dataclasses import replace

import pytest

from executor.kernel.errors import InternalError
from executor.wasm.calls import Faults
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.imports import Support
from executor.wasm.linkage import Linkage
from executor.wasm.marks import MARKS, Way, ways_of
from tests.executor.wasm.wasi_world import WASI_ROWS

ROWS = [row for abi in ABIS.values() for row in abi.rows] + [*WASI_ROWS.values()]


def test_every_import_is_marked():
    assert len(ROWS) > 500
    for row in ROWS:
        ways = ways_of(row)
        assert (ways is None) == (row.act is None), row.name


def test_every_mark_is_of_an_import():
    assert MARKS.keys() <= {row.name for row in ROWS if row.act is not None}


def test_a_constant_answers_without_a_handler():
    for row in ROWS:
        if row.support is Support.CONSTANT:
            assert ways_of(row) is None


def test_an_import_that_is_not_marked_does_not_link():
    row = replace(next(row for row in ROWS if row.act is not None), name="new_import")
    with pytest.raises(InternalError, match="new_import has no mark"):
        Linkage(None, [row], Faults())


def test_a_new_constant_links():
    row = replace(next(row for row in ROWS if row.act is None), name="new_import")
    linkage = Linkage(None, [row], Faults())
    with pytest.raises(InternalError, match="does not import .*new_import"):
        linkage.require_all_used()


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("clock_time_get", Way.TAPE),
        ("random_get", Way.SEED),
        ("path_open", Way.FRAME | Way.TAPE),
        ("_Py_CheckEmscriptenSignals_Helper", Way.LOST),
        ("_gmtime_js", Way(0)),
    ],
)
def test_some_marks_are_what_they_have_to_be(name, ways):
    assert MARKS[name] == ways
