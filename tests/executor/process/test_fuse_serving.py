"""
Served mounts with a real kernel: every request that it makes, once allowed and once denied.

Green does not prove that a box has no other way to files; that is `test_attacks.py`'s.
"""

import asyncio
import errno
import os
import stat

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from tests.executor.process import fuse_world
from tests.executor.process.fuse_world import places, policy
from tests.executor.waiting import PATIENCE

QUOTA = 2**20


@pytest.fixture(scope="module")
def ring():
    with fuse_world.ring() as made:
        yield made


@pytest.fixture
def served(tmp_path, ring):
    """
    Runs a scenario with a session that has /data to read, with a denied name, and /out to write.
    """
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "private").mkdir(parents=True)
    (data / "open").mkdir()
    out.mkdir()
    (data / "a.csv").write_bytes(b"1,2\n")
    (data / "open" / "b.txt").write_bytes(b"deep")
    (data / "private" / "x.key").write_bytes(b"secret")
    (data / "readme").symlink_to("private/x.key")
    (data / "alias").symlink_to("a.csv")
    (data / "away").symlink_to("/etc/passwd")
    (data / "loop").symlink_to("loop")
    os.mkfifo(data / "fifo")
    rules = policy(
        "filesystem:\n"
        f"  - {{mount: /data, source: {data}, access: read, deny: ['private/**']}}\n"
        f"  - {{mount: /out, source: {out}, access: read-write, quota: 1Mi, max_files: 12,\n"
        "     deny: ['*.no']}\n"
        "limits: {requests: 5000}\n"
    )
    found = places("/data", "/out")

    def run(scenario):
        async def main(world):
            session = await world.session(rules, found, watched=True)
            try:
                await scenario(session, found["/data"], found["/out"], tmp_path)
            finally:
                await world.end(session)

        ring(main)

    return run


def test_reading_is_recorded_as_in_the_other_cage_and_a_denied_name_is_absent(served):
    async def scenario(session, data, _out, _host):
        assert await session.do("read", f"{data}/a.csv") == "1,2\n"
        assert await session.refused("read", f"{data}/private/x.key") == errno.ENOENT
        assert await session.rows() == [
            ("allow", "read /data/a.csv", "filesystem[0]"),
            ("came", "read /data/a.csv", "ok", "4"),
            ("deny", "stat /data/private", "filesystem[0].deny[0]"),
        ]

    served(scenario)


def test_looking_shows_what_the_grant_leaves_and_is_not_recorded(served):
    async def scenario(session, data, out, _host):
        shown = await session.do("status", f"{data}/a.csv")
        assert (shown["mode"], shown["size"], shown["uid"]) == (stat.S_IFREG | 0o400, 4, 1000)
        assert (await session.do("status", f"{data}/open"))["mode"] == stat.S_IFDIR | 0o500
        names = await session.do("listing", data)
        assert names == ["a.csv", "alias", "away", "fifo", "loop", "open", "readme"]
        assert await session.do("exists", f"{data}/nothing") is False
        assert await session.do("total_space", out) == [QUOTA, 12, 255]
        assert await session.rows() == []
        assert await session.refused("listing", f"{data}/private") == errno.ENOENT
        assert len(await session.rows()) == 1

    served(scenario)


def test_links_lead_where_the_gate_lets_them_and_nowhere_else(served):
    async def scenario(session, data, _out, _host):
        assert await session.do("read", f"{data}/alias") == "1,2\n"
        assert await session.do("call", "readlink", f"{data}/alias") == "a.csv"
        for name in ("readme", "away"):
            assert await session.refused("read", f"{data}/{name}") == errno.ENOENT
            assert await session.refused("call", "readlink", f"{data}/{name}") == errno.ENOENT
        assert await session.refused("read", f"{data}/loop") == errno.ELOOP

    served(scenario)


def test_fifos_are_seen_and_never_opened(served):
    async def scenario(session, data, _out, _host):
        assert stat.S_ISCHR((await session.do("status", f"{data}/fifo"))["mode"])
        assert await session.refused("read", f"{data}/fifo") == errno.EACCES

    served(scenario)


def test_a_grant_for_reading_takes_no_change_of_any_kind(served):
    async def scenario(session, data, _out, host):
        assert await session.refused("write", f"{data}/new", "x") == errno.EROFS
        assert await session.refused("write", f"{data}/a.csv", "x") == errno.EROFS
        assert await session.refused("write", f"{data}/a.csv", "x", "ab") == errno.EROFS
        assert await session.refused("call", "truncate", f"{data}/a.csv", 0) == errno.EROFS
        assert await session.refused("truncate_reader", f"{data}/a.csv") == errno.EINVAL
        assert await session.refused("write_on_reader", f"{data}/a.csv") == errno.EBADF
        assert await session.refused("call", "mkdir", f"{data}/d") == errno.EROFS
        assert await session.refused("call", "unlink", f"{data}/a.csv") == errno.EROFS
        assert await session.refused("call", "rmdir", f"{data}/open") == errno.EROFS
        assert await session.refused("call", "rename", f"{data}/a.csv", f"{data}/z") == errno.EROFS
        assert await session.refused("dated", f"{data}/a.csv", 1) == errno.EROFS
        assert await session.do("call", "access", f"{data}/a.csv", os.W_OK) == 0
        assert await session.do("call", "access", f"{data}/a.csv", os.R_OK) == 1
        assert sorted(one.name for one in (host / "data").iterdir()) == [
            *("a.csv", "alias", "away", "fifo", "loop", "open", "private", "readme"),
        ]
        assert (host / "data" / "a.csv").read_bytes() == b"1,2\n"

    served(scenario)


def test_writing_making_renaming_and_removing_reach_the_host_under_the_grant(served):
    async def scenario(session, _data, out, host):
        assert await session.do("write", f"{out}/f", "hello") == 5
        assert (host / "out" / "f").read_bytes() == b"hello"
        await session.do("call", "mkdir", f"{out}/d")
        await session.do("call", "rename", f"{out}/f", f"{out}/d/g")
        assert await session.do("read", f"{out}/d/g") == "hello"
        assert await session.do("append_twice", f"{out}/d/g") == "hello123"
        await session.do("call", "truncate", f"{out}/d/g", 3)
        assert await session.do("truncate_open", f"{out}/d/g", 4) == 4
        await session.do("dated", f"{out}/d/g", 5)
        assert (host / "out" / "d" / "g").stat().st_mtime == 5
        await session.do("synchronised", f"{out}/d/g")
        assert await session.refused("call", "rmdir", f"{out}/d") == errno.ENOTEMPTY
        await session.do("call", "unlink", f"{out}/d/g")
        await session.do("call", "rmdir", f"{out}/d")
        await session.do("call", "mknod", f"{out}/node", stat.S_IFREG | 0o600)
        assert [one.name for one in (host / "out").iterdir()] == ["node"]

    served(scenario)


def test_denied_names_of_a_writable_mount_can_be_neither_made_nor_reached_by_renaming(served):
    async def scenario(session, _data, out, host):
        (host / "out" / "host.no").write_bytes(b"hidden")
        assert await session.refused("read", f"{out}/host.no") == errno.ENOENT
        assert await session.refused("write", f"{out}/x.no", "x") == errno.ENOENT
        assert await session.refused("call", "mkdir", f"{out}/d.no") == errno.ENOENT
        assert await session.refused("call", "unlink", f"{out}/host.no") == errno.ENOENT
        await session.do("write", f"{out}/x", "x")
        assert await session.refused("call", "rename", f"{out}/x", f"{out}/x.no") == errno.ENOENT
        # ENOENT, and the host's file is as it was.
        assert await session.refused("call", "rename", f"{out}/x", f"{out}/host.no") == errno.ENOENT
        assert (host / "out" / "host.no").read_bytes() == b"hidden"
        assert sorted(one.name for one in (host / "out").iterdir()) == ["host.no", "x"]

    served(scenario)


def test_what_has_no_way_through_the_gate_is_refused(served):
    async def scenario(session, _data, out, host):
        await session.do("write", f"{out}/f", "x")
        for deed, expected in (
            (("call", "symlink", "f", f"{out}/s"), errno.EPERM),
            (("call", "link", f"{out}/f", f"{out}/l"), errno.EPERM),
            (("call", "mkfifo", f"{out}/p"), errno.EPERM),
            (("call", "mknod", f"{out}/n", stat.S_IFSOCK | 0o600), errno.EPERM),
            (("call", "chmod", f"{out}/f", 0o755), errno.EPERM),
            (("call", "chmod", f"{out}/f", 0o4644), errno.EPERM),
            (("call", "chown", f"{out}/f", 1000, 1000), errno.EPERM),
            (("libc", "setxattr", f"{out}/f", "user.a", "b", 1, 0), errno.EOPNOTSUPP),
            (("libc", "getxattr", f"{out}/f", "user.a", None, 0), errno.EOPNOTSUPP),
            (("libc", "listxattr", f"{out}/f", None, 0), errno.EOPNOTSUPP),
            (("libc", "removexattr", f"{out}/f", "user.a"), errno.EOPNOTSUPP),
            (("libc", "renameat2", -100, f"{out}/f", -100, f"{out}/g", 1), errno.EINVAL),
            (("call", "open", out, os.O_TMPFILE | os.O_RDWR), errno.EOPNOTSUPP),
            (("mapped_to_append", f"{out}/f"), errno.ENODEV),
        ):
            assert await session.refused(*deed) == expected, deed
        assert [one.name for one in (host / "out").iterdir()] == ["f"]
        assert (host / "out" / "f").stat().st_mode & 0o777 == 0o644

    served(scenario)


def test_what_the_kernel_does_by_itself_it_still_does(served):
    async def scenario(session, _data, out, _host):
        await session.do("write", f"{out}/f", "hello")
        assert await session.do("mapped", f"{out}/f") == "MMllo"
        assert await session.do("read", f"{out}/f") == "MMllo"
        assert await session.do("locked", f"{out}/f") == "locked"
        assert await session.do("holes", f"{out}/f") == 5
        assert await session.do("unlink_open", f"{out}/f") == ["xyzlo", 5, False]

    served(scenario)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"n" * 256, errno.ENAMETOOLONG),
        (b"\xff\xfe", errno.ENOENT),
        (b"a" * 255, None),
        (b"new\nline", None),
        (b"-rf *$(x)", None),
    ],
)
def test_strange_names_are_literal_or_refused(served, name, expected):
    async def scenario(session, _data, out, host):
        path = f"{out}/" + name.decode("latin-1")
        if expected is None:
            await session.do("bytes_call", "mkdir", path)
            assert os.listdir(os.fsencode(host / "out")) == [name]
        else:
            assert await session.refused("bytes_call", "mkdir", path) == expected
            assert os.listdir(host / "out") == []

    served(scenario)


def test_a_path_deeper_than_the_gate_walks_is_too_long(served):
    async def scenario(session, data, _out, host):
        deep = host / "data"
        for _ in range(70):
            deep /= "d"
            deep.mkdir()
        assert await session.do("exists", data + "/d" * 60) is True
        assert await session.refused("status", data + "/d" * 70) == errno.ENAMETOOLONG

    served(scenario)


def test_quotas_hold_for_bytes_and_files_also_when_many_write_at_once(served):
    async def scenario(session, _data, out, host):
        assert await session.do("fill", f"{out}/big", 2**18, 2**22) == [QUOTA, errno.EDQUOT]
        assert (host / "out" / "big").stat().st_size == QUOTA
        assert await session.do("threads_append", f"{out}/more", 16, 4096) == 0
        assert await session.do("make_many", out, 100) == 10
        assert len(os.listdir(host / "out")) == 12

    served(scenario)


def test_what_the_host_changes_is_seen_and_an_open_file_stays_what_it_was(served):
    async def scenario(session, data, _out, host):
        assert await session.do("read", f"{data}/a.csv") == "1,2\n"
        (host / "data" / "a.csv").write_bytes(b"3,4,5\n")
        assert await session.do("read", f"{data}/a.csv") == "3,4,5\n"
        (host / "data" / "a.csv").unlink()
        (host / "data" / "a.csv").mkdir()
        assert await session.do("listing", f"{data}/a.csv") == []
        (host / "data" / "a.csv").rmdir()
        (host / "data" / "a.csv").symlink_to("private/x.key")
        assert await session.refused("read", f"{data}/a.csv") == errno.ENOENT

    served(scenario)


def test_the_sentence_of_a_refusal_can_be_asked_for_once_by_path(served):
    async def scenario(session, data, out, _host):
        assert await session.refused("read", f"{data}/private/x.key") == errno.ENOENT
        assert await session.refused("write", f"{data}/new", "x") == errno.EROFS
        told = (await session.gate.answer(wire.Ask(denial="/data/private/x.key"))).answer
        assert told.errno == errno.ENOENT
        assert "filesystem[0].deny[0]" in told.reason
        again = (await session.gate.answer(wire.Ask(denial="/data/private/x.key"))).answer
        assert (again.errno, again.reason) == (0, "")
        last = (await session.gate.answer(wire.Ask(denial=""))).answer
        assert last.errno == errno.EROFS

    served(scenario)


def test_refused_calls_are_noted_by_name_as_the_supervisors_word_and_answered_eperm(served):
    async def scenario(session, _data, _out, _host):
        assert await session.do("refused_calls", 3) == [errno.EPERM]
        notes = []
        async with asyncio.timeout(PATIENCE):
            while not notes:  # the supervisor's word comes on a way of its own
                # A record may be written without a turn of the loop, which that way needs.
                await asyncio.sleep(0.02)
                notes = [one for one in await session.records() if one.event.value == "worker.note"]
        assert {one.origin.value for one in notes} == {"supervisor"}
        assert dict(notes[0].detail) == {"what": "sethostname", "errno": "EPERM", "count": 1}

    served(scenario)
