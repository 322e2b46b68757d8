"""
A server that has the heads of its record signed: A03, A04 and A20 against checkpoints alone.

What green does not prove: that the file of checkpoints is kept where an intruder of this host
cannot reach it; that is the administrator's.
"""

import os
import sqlite3

import psutil
import pytest
from serving import RUN_AS, needs_image, private_directory, refusal, serving

from executor.audit.checkpoint import make_key, read
from executor.audit.segments import closed_files
from executor.audit.verify import verify

pytestmark = [pytest.mark.image, needs_image]


@pytest.fixture
def key():
    with private_directory() as place:
        yield make_key(place / "key", "log.example"), place


def options(place):
    return ["--checkpoints", str(place / "heads"), "--checkpoint-key", str(place / "key")]


def test_a03_a20_a_servers_heads_are_signed_by_a_process_that_alone_has_the_key(key):
    public, place = key
    with private_directory() as directory:
        with serving(directory, options(place)) as server:
            (begun,) = read(place / "heads", public)
            session = server.create()
            events = server.run(session, "open('/etc/passwd')")
            assert events
            (signer,) = [
                p for p in server.descendants() if "executor.children.signer" in p.cmdline()
            ]
            if os.geteuid() == 0:
                # The server is another account, which may not read the key.
                assert signer.uids().real == 0
                assert psutil.Process(server.process.pid).uids().real != 0
            assert server.stop() == 0
            assert not signer.is_running()
        first, last = (one.head for one in read(place / "heads", public))
        assert first == begun.head
        assert verify(server.audit, heads=(first, last)).unanchored_since is None
        cut(server.audit)
        verdict = verify(server.audit, heads=(first, last))
        assert not verdict.whole
        assert verify(server.audit).whole, "without a head nobody can know"
        assert "was cut or changed since" in refusal(directory, *RUN_AS, *options(place))


def test_a_key_that_is_none_stops_the_start(key):
    _, place = key
    (place / "key").write_text("no key")
    with private_directory() as directory:
        said = refusal(directory, *RUN_AS, *options(place))
    assert "no signing key" in said


FLOOD = """
for number in range(200):
    try:
        open(f"/etc/{number}")
    except OSError:
        pass
"""


def test_a16_a_server_closes_a_large_file_and_its_heads_go_on(key):
    public, place = key
    with private_directory() as directory:
        for _ in range(2):
            with serving(directory, [*options(place), "--audit-rotate-size", "64Ki"]) as server:
                server.run(server.create(), FLOOD)
                assert server.stop() == 0
        (closed,) = closed_files(server.audit)
        heads = [one.head for one in read(place / "heads", public)]
        assert heads[0].sequence < closed.last < heads[-1].sequence
        verdict = verify(server.audit, heads=heads)
        assert (verdict.whole, verdict.unanchored_since) == (True, None)


def test_a_file_that_would_be_closed_at_once_stops_the_start():
    with private_directory() as directory:
        said = refusal(directory, *RUN_AS, "--audit-rotate-size", "1Ki")
    assert "65536 or more are possible" in said


def cut(path):
    with sqlite3.connect(path) as store:
        store.execute("DELETE FROM record WHERE sequence >= (SELECT max(sequence) FROM record)")
    store.close()
