"""
Output is bounded and counted by the host, whatever the guest does to its streams (W38, W45).
"""

import pytest

from executor.kernel.worker_output import RUNS_MAX
from executor.wasm import output
from executor.wasm.gathering import Gathering
from executor.wasm.output import GuestOutput
from tests.executor.wasm.tiny_kernel import TinyMemory
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image


@pytest.mark.parametrize(
    ("size", "cut"), [(999, False), (1000, False), (1001, True), (10**6, True)]
)
def test_the_limit_is_exact_and_the_totals_are_whole(zygote, size, cut):
    with zygote.session(output_bytes=1000) as worker:
        cell = worker.run(f"import sys\nsys.stdout.write('x' * {size});").ok()
        assert cell.stdout == b"x" * min(size, 1000)
        assert (cell.done.stdout_bytes, cell.done.output_truncated) == (size, cut)


def test_both_streams_share_the_limit_and_each_has_its_total(zygote):
    with zygote.session(output_bytes=10) as worker:
        cell = worker.run(
            "import sys\nfor _ in range(4):\n    sys.stdout.write('abc')\n    sys.stdout.flush()\n"
            "    sys.stderr.write('de')\n    sys.stderr.flush()"
        ).ok()
        assert (cell.stdout, cell.stderr) == (b"abcabc", b"dede")
        assert (cell.done.stdout_bytes, cell.done.stderr_bytes) == (12, 8)


def test_each_cell_has_the_limit_anew(zygote):
    with zygote.session(output_bytes=5) as worker:
        assert worker.run("print('longer')").ok().done.output_truncated
        cell = worker.run("print('1234')").ok()
        assert (cell.stdout, cell.done.output_truncated) == (b"1234\n", False)


def test_w38_more_than_the_cap_in_one_write_costs_no_memory_of_the_host(zygote):
    with zygote.session() as worker:
        worker.run("import os\ndata = b'x' * (64 << 20)").ok()
        before = worker.process.memory_info().rss
        cell = worker.run(
            "total = 0\nwhile total < len(data): total += os.write(1, data[total:total + (1 << 20)])"
        ).ok()
        assert cell.done.stdout_bytes == 64 * MIB
        assert len(cell.stdout) == MIB
        assert worker.process.memory_info().rss - before < 16 * MIB


@pytest.mark.parametrize(
    "code",
    [
        "sys.stdout = open('/work/f', 'w')",
        "builtins.print = lambda *a, **k: os.write(1, b'mine\\n')",
        "sys.excepthook = sys.unraisablehook = lambda *_: os.write(2, b'hook\\n')",
        "sys.settrace(lambda *a: None)",
        "sys.setprofile(lambda *a: None)",
        "sys.stdout.close()",
        "sys.stdout = sys.stderr = sys.__stdout__ = None",
        "sys.addaudithook(lambda *_: None)",
        "os.dup2(os.open('/work/g', os.O_CREAT | os.O_WRONLY), 1)",
        "import codecs; sys.stdout.reconfigure(encoding='utf-16')",
        "sys.stdout.write = None" if False else "sys.stdout = type('W', (), {'write': print})()",
        "import gc; gc.disable(); gc.freeze()",
    ],
)
def test_w45_replacing_the_guests_tools_changes_nothing_in_the_hosts_counts(session, code):
    session.run(f"import os, sys, builtins\nkept = os.dup(1)\n{code}")
    cell = session.run("os.write(kept, b'12345');")
    assert (cell.stdout[-5:], cell.done.stdout_bytes) == (b"12345", len(cell.stdout))
    assert session.run("1 / 0").done.error_name == "ZeroDivisionError"
    assert session.run("40 + 2").ok().text == "42"


def test_w43_frames_that_a_guest_prints_stay_text(session):
    fakes = (
        b'\x08\x01\x12\x04done{"status": "ok"}\x00RESULT',
        b"\x1b]52;c;aGk=\x07\x1b]8;;http://evil\x1b\\",
        b'{"op": "cell"}\n' * 3,
    )
    for fake in fakes:
        cell = session.run(f"import os\nos.write(1, {fake!r});\nos.write(2, {fake!r});").ok()
        assert (cell.stdout, cell.stderr, cell.value) == (fake, fake, None)


def test_w42_what_a_deleted_object_prints_belongs_to_the_cell_that_deletes_it(session):
    session.run(
        "class Bomb:\n    def __del__(self): print('boom')\nb = Bomb()\n"
        "import weakref, atexit\natexit.register(print, 'at exit')"
    ).ok()
    assert session.run("1").ok().stdout == b""
    assert session.run("del b").ok().stdout == b"boom\n"


def test_a_fast_writer_waits_for_a_slow_reader_and_loses_nothing(session):
    cell = session.run(
        "import sys\nfor n in range(20_000):\n    print(n)\n    sys.stderr.write('.')"
    ).ok()
    assert cell.stdout.split() == [str(n).encode() for n in range(20_000)]
    assert cell.stderr == b"." * 20_000


def test_lines_behind_each_other_keep_their_order_over_both_streams(session):
    cell = session.run(
        "import os, sys\nfor n in range(3000):\n    print(n)\n    os.write(1, b'-')\n"
        "    if n % 7 == 0: print('!', n, file=sys.stderr)"
    ).ok()
    expected = [
        part
        for n in range(3000)
        for part in [(1, b"%d\n-" % n), *([(2, b"! %d\n" % n)] if n % 7 == 0 else [])]
    ]
    assert _joined(cell.order) == _joined(expected)


def test_lines_are_cut_at_the_limit_to_the_byte_and_all_are_counted(zygote):
    with zygote.session(output_bytes=10_007) as worker:
        cell = worker.run("for n in range(1000): print('x' * 99)").ok()
        assert cell.stdout == ((b"x" * 99 + b"\n") * 101)[:10_007]
        assert (cell.done.stdout_bytes, cell.done.output_truncated) == (100_000, True)


def test_lines_before_a_long_computation_are_seen_while_it_computes(session):
    cell = session.run(
        "for n in range(50): print(n)\nprint('begun')\nwhile True: pass",
        on=(b"begun", session.signal),
    )
    assert cell.done.status == cell.done.INTERRUPTED
    assert cell.stdout == b"".join(b"%d\n" % n for n in range(50)) + b"begun\n"


def test_lines_go_where_the_descriptor_leads_when_they_are_written(session):
    cell = session.run(
        "import os\nkept = os.dup(1)\nprint('one')\nprint('two')\n"
        "other = os.open('/work/other', os.O_CREAT | os.O_WRONLY)\n"
        "os.dup2(other, 1)\nprint('three')\nos.write(kept, b'four\\n')\n"
        "os.dup2(2, 1)\nprint('five')\nos.dup2(kept, 1)\nprint('six')\nprint('seven')\n"
        "os.close(2)\nos.write(1, b'eight\\n')\n"
        "try: os.write(2, b'nine')\nexcept OSError as error: print(error.errno)\n"
        "open('/work/other').read()"
    ).ok()
    assert _joined(cell.order) == [
        (1, b"one\ntwo\nfour\n"),
        (2, b"five\n"),
        (1, b"six\nseven\neight\n8\n"),
    ]
    assert cell.text == "'three\\n'"


def test_what_is_shown_stands_where_it_was_shown_among_the_lines(session):
    cell = session.run(
        "class Shown:\n    def _repr_html_(self): return '<b>'\n"
        "for n in range(3):\n    print(n)\n    print('-')\n    display(Shown())\nprint('end')"
    ).ok()
    assert [before for before, _ in cell.displays] == [
        b"0\n-\n",
        b"0\n-\n1\n-\n",
        b"0\n-\n1\n-\n2\n-\n",
    ]
    assert cell.stdout == b"0\n-\n1\n-\n2\n-\nend\n"


def test_lines_before_the_guests_end_are_not_lost(zygote):
    worker = zygote.spawn().begin()
    cell = worker.run("import os\nfor n in range(100): print(n)\nos._exit(3)").ended()
    assert cell.stdout.split() == [b"%d" % n for n in range(100)]
    worker.close()


def _joined(pieces):
    """
    The same with pieces of one stream that follow each other put together.
    """
    found = []
    for stream, data in pieces:
        if found and found[-1][0] == stream:
            found[-1] = (stream, found[-1][1] + data)
        else:
            found.append((stream, data))
    return found


# ---- the buffer by itself ------------------------------------------------------------------------


@pytest.fixture
def buffer(monkeypatch):
    """
    A buffer whose socket is never writable, and what it sent.
    """
    monkeypatch.setattr(output.signal, "setitimer", lambda *_: None)
    sent = []
    tiny = TinyMemory()
    gathering = Gathering(tiny.engine, tiny.store)
    made = GuestOutput(0, lambda stream, data: sent.append((stream, data)), gathering)
    monkeypatch.setattr(made, "_has_room", lambda: False)
    made.start(10 * MIB)
    return made, sent


def test_small_writes_gather_until_a_mebibyte_while_the_server_is_behind(buffer):
    made, sent = buffer
    for _ in range(MIB - 1):
        made.write(1, b"x")
    assert sent == []
    assert len(made._runs) == 1
    made.write(1, b"x")
    assert sent == [(1, b"x" * MIB)]


def test_streams_in_turn_never_gather_more_than_their_bytes_are_worth(buffer):
    made, sent = buffer
    for number in range(RUNS_MAX):
        assert sent == []
        made.write(1 + number % 2, b"x")
    assert len(sent) == RUNS_MAX
    assert made._runs == []


def test_a_frame_is_never_longer_than_a_mebibyte(buffer):
    made, sent = buffer
    made.write(2, b"y" * (3 * MIB + 5))
    assert [len(data) for _, data in sent] == [MIB, MIB, MIB, 5]
    assert made.totals == {1: 0, 2: 3 * MIB + 5}
