"""
Acts that are done on the loop's own thread: which are, and that nothing else about them differs.

What green does not prove: that an act never waits there. The kernel's word for names in memory is
taken, and that the file systems in the table open and look at a held file from memory alone.
"""

import os
import stat
import subprocess
import threading

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import paths, pool, ready
from executor.kernel.descriptors import open_root
from executor.kernel.pool import FilePool, Share
from executor.kernel.ready import Haste, NotReady, Ready, is_in_memory
from tests.executor.kernel.gate_world import on_gate

ASKS = {
    "a file": {"open": wire.OpenAsk(path="/data/a.csv")},
    "a file by a link": {"open": wire.OpenAsk(path="/data/alias.csv")},
    "a link itself": {"open": wire.OpenAsk(path="/data/alias.csv", no_follow=True)},
    "a link to what is denied": {"open": wire.OpenAsk(path="/data/readme.txt")},
    "a denied file": {"open": wire.OpenAsk(path="/data/private/x.key")},
    "a directory": {"open": wire.OpenAsk(path="/data")},
    "a missing file": {"open": wire.OpenAsk(path="/data/none")},
    "a file below a file": {"open": wire.OpenAsk(path="/data/a.csv/none")},
    "a path outside": {"open": wire.OpenAsk(path="/etc/passwd")},
    "a path with dots": {"open": wire.OpenAsk(path="/data/../etc")},
    "a new file": {"open": wire.OpenAsk(path="/out/new", write=True, create=True)},
    "the status of a file": {"stat": wire.PathAsk(path="/data/a.csv", follow=True)},
    "the status of a link": {"stat": wire.PathAsk(path="/data/alias.csv")},
    "the status of what is denied": {"stat": wire.PathAsk(path="/data/private/x.key")},
    "the status of nothing": {"stat": wire.PathAsk(path="/data/none")},
    "a path of many components": {"stat": wire.PathAsk(path="/data" + "/a" * 40)},
    "a listing": {"list": wire.PathAsk(path="/data", follow=True)},
    "a link's text": {"read_link": wire.PathAsk(path="/data/alias.csv")},
}
# No thread is used for these: names in memory, without a link.
AT_ONCE = ("a file", "a denied file", "the status of a file")


def asked(tmp_path, asks):
    """
    What each ask comes to: the answer, what a descriptor that came with it holds, and the rows.
    """
    told = []

    async def scenario(scene):
        for fields in asks:
            reply = await scene.reply(**fields)
            answer = wire.Answer.FromString(reply.answer.SerializeToString())
            if (result := answer.WhichOneof("result")) in ("opened", "status"):
                (answer.opened.status if result == "opened" else answer.status).modified_ns = 0
            held = None
            if reply.descriptor is not None:
                assert stat.S_ISREG(os.fstat(reply.descriptor).st_mode)
                held = os.pread(reply.descriptor, 100, 0)
            reply.close()
            told.append((answer, held))
        told.append(scene.rows())

    on_gate(tmp_path, scenario)
    return told


@pytest.fixture
def threads(monkeypatch):
    """
    The names of the acts that were handed to a thread.
    """
    handed = []
    run = Share.run

    async def noted(self, act, *args, **kwargs):
        handed.append(getattr(act, "__name__", str(act)))
        return await run(self, act, *args, **kwargs)

    monkeypatch.setattr(pool.Share, "run", noted)
    return handed


def test_answers_and_records_are_the_same_with_a_thread_and_without(tmp_path, monkeypatch, threads):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    without = asked(tmp_path / "one", ASKS.values())
    before = len(threads)
    monkeypatch.setattr(paths, "is_in_memory", lambda _: False)
    with_one = asked(tmp_path / "two", ASKS.values())
    assert without == with_one
    assert before < len(threads) - before


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_in_memory_needs_no_thread(tmp_path, threads, name):
    if not _tries(tmp_path):
        pytest.skip("this kernel or file system is not one where acts are tried at once")
    asked(tmp_path, [ASKS[name]])
    assert threads == []


@pytest.mark.parametrize("name", ["a file by a link", "a new file", "a listing", "a link's text"])
def test_what_may_be_on_the_disk_is_done_by_a_thread(tmp_path, threads, name):
    asked(tmp_path, [ASKS[name]])
    assert threads


def test_a_name_that_the_kernel_does_not_know_yet_is_not_ready():
    with open_root("/proc") as proc, subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        with Ready(os.dup(proc.number)) as names, pytest.raises(NotReady):
            names.step(str(child.pid).encode())
        with proc.step(str(child.pid).encode()) as held:
            assert stat.S_ISDIR(held.status().st_mode)


def test_file_systems_that_ask_others_are_not_tried():
    with open_root("/proc") as proc:
        assert not is_in_memory(proc)


def test_after_an_act_that_waited_none_is_tried_for_a_while(monkeypatch):
    monkeypatch.setattr(ready, "_SLOW", 0.0)
    monkeypatch.setattr(ready, "_SHY", 1e6)
    haste = Haste()
    assert haste.attempt(lambda: 1) == 1
    haste.attempt(threading.Event().wait, 0.01)
    with pytest.raises(NotReady):
        haste.attempt(lambda: 1)


def test_an_act_that_fails_fails_once(tmp_path):
    calls = []

    def act(at_once):
        calls.append(at_once)
        raise FileNotFoundError

    async def scenario(_):
        files = FilePool()
        with pytest.raises(FileNotFoundError):
            await files.share("x").attempt(act)
        files.close()

    on_gate(tmp_path, scenario)
    assert calls == [True]


def _tries(directory):
    with open_root(str(directory)) as root:
        return is_in_memory(root)
