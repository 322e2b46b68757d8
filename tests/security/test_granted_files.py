"""
F01-F10 on directories of the host, through the whole of it: guest, worker, broker, kernel.

Each attack is a program that would reach its target if the grants were wider: the twin under the
policy `friend`, or on a name that is granted, shows that the same call works. What green does not
prove: races (tests/executor/kernel has them) and file systems that fold case.
"""

import json

import pytest

from tests.security.granted import CANARY, field

pytestmark = pytest.mark.image

TRY = """
import json, os
def attempt(act):
    try:
        return ["done", repr(act())]
    except OSError as error:
        return [type(error).__name__, os.strerror(error.errno)]
"""


@pytest.fixture(scope="module")
def world():
    with field() as made:
        yield made


@pytest.fixture(autouse=True)
def outside_is_untouched(world):
    before = world.digest()
    yield
    assert world.digest() == before


def run(world, expression, policy="attacker"):
    value, decisions = world.attack(f"{TRY}\njson.dumps({expression})", policy)
    return json.loads(eval(value)), decisions


def read(path):
    return f"attempt(lambda: open({path!r}).read())"


@pytest.mark.parametrize(
    "path",
    [
        "/data/../outside/x.txt",
        "/data/" + "../" * 50 + "outside/x.txt",
        "/data/./../../outside/x.txt",
        "/data//../outside/x.txt",
        "/work/out/../../outside/x.txt",
        "/outside/x.txt",
    ],
)
def test_f01_dots_never_leave_a_grant(world, path):
    (kind, text), decisions = run(world, read(path))
    assert (kind, text) == ("FileNotFoundError", "No such file or directory")
    assert all(answer == "deny" for _, answer, _ in decisions)
    assert run(world, read("/data/./private/../readme.txt"))[0] == ["done", "'hello'"]


@pytest.mark.parametrize("name", ["to_outside", "to_parent"])
def test_f02_links_out_of_a_grant_lead_nowhere(world, name):
    assert run(world, read(f"/data/{name}"))[0][0] == "FileNotFoundError"
    assert run(world, read("/data/good"))[0] == ["done", "'hello'"]


def test_f02_a_loop_of_links_is_eloop(world):
    assert run(world, read("/data/loop"))[0][1] == "Symbolic link loop"


def test_f03_a_dangling_link_creates_nothing_outside(world):
    write = "attempt(lambda: open('/work/out/dangling', 'w').write('x'))"
    assert run(world, write)[0][0] == "FileNotFoundError"
    assert not (world.folder / "outside" / "new.txt").exists()
    fresh = "attempt(lambda: open('/work/out/fresh', 'w').write('x'))"
    assert run(world, fresh)[0] == ["done", "1"]
    assert (world.folder / "out" / "fresh").read_text() == "x"


@pytest.mark.parametrize("act", ["open(P)", "os.unlink(P)", "os.rename(P, '/work/out/n')"])
def test_f04_a_slash_behind_a_link_opens_no_door(world, act):
    for name in ("to_outside", "to_parent"):
        code = f"attempt(lambda: {act.replace('P', repr(f'/work/out/{name}/'))})"
        assert run(world, code)[0][0] in {"FileNotFoundError", "NotADirectoryError"}
    assert (world.folder / "out" / "to_outside").is_symlink()


@pytest.mark.parametrize(
    "path", ["/data-secret/x.txt", "/DATA/readme.txt", "/data\\readme.txt", "/data/readme.txt "]
)
def test_f05_names_are_compared_by_component_and_byte(world, path):
    assert run(world, read(path))[0][0] == "FileNotFoundError"


def test_f05_a_nul_in_a_name_is_refused(world):
    value, _ = world.attack(
        "try:\n    open('/data/readme.txt\\0.key')\n"
        "except ValueError as error:\n    caught = str(error)\ncaught"
    )
    assert "null" in value


@pytest.mark.parametrize(
    "act",
    [
        "open('/data/readme.txt', 'w')",
        "open('/data/readme.txt', 'a')",
        "os.open('/data/readme.txt', os.O_RDONLY | os.O_TRUNC)",
        "os.truncate('/data/readme.txt', 0)",
        "os.ftruncate(os.open('/data/readme.txt', os.O_RDONLY), 0)",
        "os.mkdir('/data/new')",
        "os.unlink('/data/readme.txt')",
    ],
)
def test_f06_a_read_grant_stays_as_it_is(world, act):
    (kind, text), decisions = run(world, f"attempt(lambda: {act})")
    assert kind in {"OSError", "PermissionError"}, (kind, text)
    assert (world.folder / "data" / "readme.txt").read_text() == "hello"
    if "ftruncate" not in act:
        assert decisions[-1][1] == "deny"


@pytest.mark.parametrize(
    "act",
    [
        "os.rename('/work/out/mine.txt', '/data/mine.txt')",
        "os.rename('/data/readme.txt', '/work/out/r.txt')",
        "os.symlink('/etc/passwd', '/work/out/s')",
    ],
)
def test_f07_nothing_moves_between_grants(world, act):
    assert run(world, f"attempt(lambda: {act})")[0][0] in {"OSError", "PermissionError"}
    assert (world.folder / "out" / "mine.txt").read_text() == "mine"
    assert not (world.folder / "out" / "l.txt").exists()
    assert not (world.folder / "out" / "s").is_symlink()


@pytest.mark.parametrize(
    "act",
    [
        "os.chmod('/data/readme.txt', 0o777)",
        "os.fchmod(os.open('/data/readme.txt', os.O_RDONLY), 0o777)",
        "os.utime('/data/readme.txt', (0, 0))",
        "os.chown('/data/readme.txt', 0, 0)",
        "os.write(os.open('/data/readme.txt', os.O_RDONLY), b'x')",
    ],
)
def test_f08_a_read_descriptor_carries_reading_alone(world, act):
    before = (world.folder / "data" / "readme.txt").stat()
    assert run(world, f"attempt(lambda: {act})")[0][0] in {"OSError", "PermissionError"}
    after = (world.folder / "data" / "readme.txt").stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_size,
    )


@pytest.mark.parametrize(
    "path", ["/proc/self/fd/3", "/dev/fd/3", "/proc/self/root/etc/passwd", "/proc/self/mem"]
)
def test_f09_descriptors_have_no_names(world, path):
    code = f"[os.open('/data/readme.txt', os.O_RDONLY), {read(path)}]"
    assert run(world, code)[0][1][0] == "FileNotFoundError"


def test_f10_duplicates_gain_no_rights(world):
    code = """[
        attempt(lambda: os.write(os.dup(os.open('/data/readme.txt', os.O_RDONLY)), b'x')),
        attempt(lambda: os.write(os.dup2(os.open('/data/readme.txt', os.O_RDONLY), 9), b'x')),
        attempt(lambda: os.read(os.open('/work/out/mine.txt', os.O_WRONLY), 1)),
        attempt(lambda: os.read(os.dup(os.open('/data/readme.txt', os.O_RDONLY)), 2)),
    ]"""
    *refused, allowed = run(world, code)[0]
    assert [text for _, text in refused] == ["Bad file descriptor"] * 3
    assert allowed == ["done", "b'he'"]


@pytest.mark.parametrize("name", ["a.key", "private/x.txt", "to_key", "to_private"])
def test_f11_denied_names_are_absent_by_every_way(world, name):
    """
    An alias is no way around a denial, and the same names open where nothing is denied.
    """
    assert run(world, read(f"/data/{name}"))[0][0] == "FileNotFoundError"
    assert run(world, read(f"/data/{name}"), "friend")[0] == ["done", repr(CANARY)]
    listed, _ = run(world, "os.listdir('/data')")
    assert "a.key" not in listed
    assert "private" not in listed


def test_f14_a_fifo_is_never_opened(world):
    kind, _ = run(world, read("/data/fifo"))[0]
    assert kind in {"OSError", "PermissionError"}
