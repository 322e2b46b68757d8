"""
What every worker does once before its session, so that nobody waits for it: it leaves no trace.
"""

import ast

import pytest

from tests.executor.wasm.world import WorkerGoneError

pytestmark = pytest.mark.image

STATE = (
    "import os, random\n"
    "(sorted(name for name in globals() if not name.startswith('__')), os.getcwd(),"
    " dict(os.environ), random.getstate())"
)


def state(worker):
    cell = worker.run(STATE).ok()
    assert cell.text is not None
    return cell, ast.literal_eval(cell.text)


def test_the_first_cell_finds_nothing_of_the_rehearsal(zygote):
    with zygote.session(environment={"MINE": "1"}) as worker:
        cell, (names, directory, environment, _) = state(worker)
    assert names == ["os", "random"]
    assert directory == "/work"
    assert environment["MINE"] == "1"
    assert (cell.stdout, cell.stderr, cell.notes) == (b"", b"", [])


def test_the_rehearsal_decides_nothing_of_a_session_s_chance(zygote):
    drawn = []
    for seed in (b"a" * 32, b"a" * 32, b"b" * 32):
        with zygote.session(entropy=seed, deterministic=True) as worker:
            drawn.append(state(worker)[1][3])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_the_rehearsal_is_not_the_one_begin_that_a_worker_takes(zygote):
    with zygote.session() as worker:
        assert worker.run("1").ok().text == "1"
        worker.begin()
        with pytest.raises(WorkerGoneError):
            worker.receive()


def test_a_worker_that_was_told_nothing_runs_no_cell(zygote):
    worker = zygote.spawn()
    try:
        with pytest.raises(WorkerGoneError):
            worker.run("1")
    finally:
        worker.close()
