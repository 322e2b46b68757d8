"""
Attacks on files (F01 to F29), each first on a plain directory, where it works, then on a served
mount, where it must not.

Green does not prove what the box itself keeps away (other paths of the host, devices, mounts).
"""

import errno
import os
import signal
import subprocess
import sys

import pytest

from tests.executor.process import fuse_deeds, fuse_world
from tests.executor.process.fuse_world import places, policy

CANARY = "outside"


@pytest.fixture(scope="module")
def ring():
    with fuse_world.ring() as made:
        yield made


@pytest.fixture
def host(tmp_path):
    """
    A granted tree with traps in it, and canaries beside and below it.
    """
    for name in ("data/private", "data/sub", "data-secret", "out", "away"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/private/key", "data-secret/key", "away/key"):
        (tmp_path / name).write_text(CANARY)
    (tmp_path / "data" / "file").write_text("inside")
    (tmp_path / "out" / "own").write_text("own")
    os.link(tmp_path / "away" / "key", tmp_path / "out" / "hard")
    links = {
        "data/alias": "private/key",
        "data/absolute": str(tmp_path / "away" / "key"),
        "data/up": "../away/key",
        "data/chain": "alias",
        "data/door": "../away",
        "data/proc": "/proc/self/root/etc/passwd",
        "out/dangling": str(tmp_path / "away" / "new"),
        "out/away": str(tmp_path / "away"),
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


def rules(host):
    return policy(
        "filesystem:\n"
        f"  - {{mount: /data, source: {host}/data, access: read, deny: ['private/**']}}\n"
        f"  - {{mount: /out, source: {host}/out, access: read-write, quota: 1Mi}}\n"
    )


# What is done, where DATA and OUT are the mounts or the plain directories; what a mount says.
ATTACKS = {
    "F02 alias": (("read", "DATA/alias"), errno.ENOENT),
    "F02 absolute": (("read", "DATA/absolute"), errno.ENOENT),
    "F02 upward": (("read", "DATA/up"), errno.ENOENT),
    "F02 chain": (("read", "DATA/chain"), errno.ENOENT),
    "F02 through a directory": (("read", "DATA/door/key"), errno.ENOENT),
    "F02 text of a link": (("call", "readlink", "DATA/absolute"), errno.ENOENT),
    "F03 create at a dangling link": (("write", "OUT/dangling", "x"), errno.ENOENT),
    "F03 make a directory there": (("call", "mkdir", "OUT/away/d"), errno.ENOENT),
    "F03 truncate there": (("call", "truncate", "OUT/away/key", 0), errno.ENOENT),
    "F04 a slash after a link": (("listing", "OUT/away/"), errno.ENOENT),
    "F06 empty a file that is granted to read": (("write", "DATA/file", ""), errno.EROFS),
    "F06 truncate it": (("call", "truncate", "DATA/file", 0), errno.EROFS),
    "F07 move into the other mount": (("call", "rename", "OUT/own", "DATA/own"), errno.EXDEV),
    "F07 move out of it": (("call", "rename", "DATA/file", "OUT/file"), errno.EXDEV),
    "F07 link out of it": (("call", "link", "DATA/file", "OUT/l"), errno.EXDEV),
    "F08 rights": (("call", "chmod", "DATA/file", 0o666), errno.EPERM),
    "F08 times": (("dated", "DATA/file", 1), errno.EROFS),
    "F13 write a file with another name": (("write", "OUT/hard", "x"), errno.EACCES),
    "F13 date it": (("dated", "OUT/hard", 1), errno.EACCES),
    "denied name": (("read", "DATA/private/key"), errno.ENOENT),
    "denied listing": (("listing", "DATA/private"), errno.ENOENT),
}


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_on_files_works_on_a_plain_directory_and_not_on_a_served_mount(ring, host, name):
    (deed, *arguments), expected = ATTACKS[name]
    found = places("/data", "/out")

    def at(data, out):
        return [
            one.replace("DATA", data).replace("OUT", out) if isinstance(one, str) else one
            for one in arguments
        ]

    async def scenario(world):
        session = await world.session(rules(host), found)
        before = _tree(host)
        assert await session.refused(deed, *at(found["/data"], found["/out"])) == expected
        assert _tree(host) == before
        await world.end(session)

    ring(scenario)
    getattr(fuse_deeds, deed)(*at(f"{host}/data", f"{host}/out"))  # raises nothing


def _tree(host):
    found = {}
    for top in ("data", "out", "away", "data-secret"):
        for above, _, names in os.walk(host / top):
            for name in names:
                status = os.lstat(f"{above}/{name}")
                found[f"{above}/{name}"] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("ups", [1, 3, 60])
def test_dots_end_at_the_mount_where_the_guests_own_files_begin(ring, host, ups):
    """
    F01: the kernel takes dots before anybody is asked; above the mount is the box, not the host.
    """
    found = places("/data")

    async def scenario(world):
        session = await world.session(rules_of_data(host), found)
        seen = await session.do("call", "lstat", f"{found['/data']}/sub" + "/.." * ups)
        assert "st_mode" in seen
        assert {row[1] for row in await session.rows()} <= {"stat /data"}
        assert await session.refused("read", f"{found['/data']}/../data-secret/key") == errno.ENOENT
        await world.end(session)

    ring(scenario)


def rules_of_data(host):
    return policy(f"filesystem:\n  - {{mount: /data, source: {host}/data, access: read}}\n")


def test_a_root_that_is_replaced_by_a_link_is_still_the_directory_that_it_was(ring, host):
    """
    F17.
    """
    found = places("/data")

    async def scenario(world):
        session = await world.session(rules_of_data(host), found)
        (host / "data").rename(host / "moved")
        (host / "data").symlink_to(host / "away")
        assert await session.do("read", f"{found['/data']}/file") == "inside"
        assert await session.refused("read", f"{found['/data']}/key") == errno.ENOENT
        await world.end(session)

    ring(scenario)


# A process of its own, which ends with the tests: a thread here would keep the gate waiting at each
# step.
SWAP = """
import os
swaps, tests = 0, os.getppid()
try:
    while os.getppid() == tests:
        for name in ("real", "link"):
            os.rename(name, "place")
            os.rename("place", name)
            swaps += 1
except KeyboardInterrupt:
    print(swaps)
"""


def test_a_directory_that_is_swapped_for_a_link_never_leads_outside(ring, host):
    """
    F12: the host swaps a directory and a link to canaries as fast as it can.
    """
    found = places("/out")
    out = host / "out"
    (out / "real").mkdir()
    (out / "real" / "key").write_text("inside")
    (out / "link").symlink_to(host / "away")

    async def scenario(world):
        session = await world.session(rules(host), found)
        seen = await session.do("raced", f"{found['/out']}/place/key", 500)
        assert all(one == "inside" or one.isdigit() for one in seen), seen
        await world.end(session)

    with subprocess.Popen(
        [sys.executable, "-c", SWAP], cwd=out, stdout=subprocess.PIPE
    ) as swapping:
        try:
            ring(scenario)
        finally:
            swapping.send_signal(signal.SIGINT)
        swaps, _ = swapping.communicate()
    assert int(swaps) > 100
    assert (host / "away" / "key").read_text() == CANARY
    assert sorted(one.name for one in (host / "away").iterdir()) == ["key"]
