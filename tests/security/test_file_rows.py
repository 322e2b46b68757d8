"""
F rows in which the host changes while a guest looks: through guest, worker, gate and kernel.

The test plays the host: it moves, swaps, links and truncates what is granted. Each attack has its
twin, in which the same program works where nothing was moved. What green does not prove: that
every interleaving of a race was met (tests/executor/kernel races the walk itself, with counts).
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

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
NOT_THERE = ["FileNotFoundError", "No such file or directory"]


@pytest.fixture(scope="module")
def world():
    with field() as made:
        yield made


@pytest.fixture
def session(world):
    with world.session() as one:
        one.run(TRY)
        yield one


@pytest.fixture(autouse=True)
def outside_is_untouched(world):
    before = world.digest()
    yield
    assert world.digest() == before


def asked(session, expression):
    observation = session.run(f"json.dumps({expression})")
    assert observation.ok, observation.text
    return json.loads(eval(observation.value))


def owned(world, path):
    """
    Give the server's account what the test made in the writable grant.
    """
    status = (world.folder / "out").stat()
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    return path


@pytest.mark.parametrize("name", ["../outside/x.txt", "../../outside/x.txt", "..", "../x.txt"])
def test_f11_a_directory_that_was_moved_out_leads_nowhere(world, session, name):
    """
    An open directory is a name to the guest's kernel, so its descriptor follows no directory out.
    """
    inside = world.folder / "out" / "d"
    inside.mkdir()
    owned(world, inside)
    (inside / "f").write_text("inside")
    session.run(
        "held = os.open('/work/out/d', os.O_RDONLY | os.O_DIRECTORY); os.chdir('/work/out/d')"
    )
    assert asked(session, "attempt(lambda: open('f').read())") == ["done", "'inside'"]
    moved = world.folder / "moved"
    inside.rename(moved)
    try:
        opening = "os.open({!r}, os.O_RDONLY, dir_fd=held)"
        assert asked(session, f"attempt(lambda: {opening.format('f')})") == NOT_THERE
        found = asked(session, f"attempt(lambda: os.read({opening.format(name)}, 99))")
        assert found[0] in {"FileNotFoundError", "IsADirectoryError", "OSError"}, found
        assert CANARY not in str(found)
        assert asked(session, f"attempt(lambda: open({name!r}).read())")[0] != "done"
    finally:
        moved.rename(inside)
    assert asked(session, f"attempt(lambda: os.read({opening.format('f')}, 99))") == [
        "done",
        "b'inside'",
    ]
    shutil.rmtree(inside)


SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
names = [os.fsencode(path) for path in sys.argv[1:]]
print("ready", flush=True)
while libc.renameat2(-100, names[0], -100, names[1], 2) == 0: pass
sys.exit(os.strerror(ctypes.get_errno()))
"""


@contextmanager
def swapping(one, other):
    """
    A process that exchanges two names (RENAME_EXCHANGE: neither is ever missing).
    """
    command = [sys.executable, "-c", SWAPPER, str(one), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as swapper:
        try:
            assert swapper.stdout.readline() == "ready\n"
            yield
            assert swapper.poll() is None, "the scenario did not run to its end"
        finally:
            swapper.kill()


RACE = """
seen = {{}}
while len(seen) < 2 or sum(seen.values()) < 300:
    try:
        {act}
        said = "done"
    except OSError as error:
        said = "refused"
    seen[said] = seen.get(said, 0) + 1
    if sum(seen.values()) == 4000: break
canary = [text for text in found if text != "inside"]
"""


@pytest.mark.parametrize(
    "act",
    [
        "found.add(open('/work/out/d/x.txt').read())",
        "open('/work/out/d/x.txt', 'r+').write('inside')",
        "found.update(name for name in os.listdir('/work/out/d') if name == 'only-outside')",
        "os.rename('/work/out/d/' + names[0], '/work/out/d/' + names[1]); names.reverse()",
    ],
    ids=["read", "write", "list", "rename"],
)
def test_f12_a_directory_that_turns_into_a_link_and_back_is_never_followed_out(world, act):
    (world.folder / "outside" / "only-outside").touch()
    out = world.folder / "out"
    inside, link = out / "d", out / "l"
    inside.mkdir()
    for name in ("x.txt", "n"):
        (inside / name).write_text("inside")
        owned(world, inside / name)
    owned(world, inside)
    link.symlink_to("../outside")
    before = world.digest()
    try:
        with world.session() as one:
            one.run("import os\nfound, names = set(), ['n', 'm']")
            with swapping(inside, link):
                raced = one.run(RACE.format(act=act))
            assert raced.ok, raced.text
            seen = eval(one.run("seen").value)
            assert one.run("canary").value == "[]"
        assert world.digest() == before
        assert set(seen) == {"done", "refused"}, f"the two sides never met: {seen}"
    finally:
        for path in (inside, link):
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
        (world.folder / "outside" / "only-outside").unlink()


def test_f13_a_hard_link_to_the_outside_is_read_and_never_written(world, session):
    """
    It is in the grant, so its content is granted; whoever placed it there could copy it as well.
    A write would change what has another name, which no grant covers.
    """
    linked = world.folder / "out" / "hard"
    os.link(world.folder / "outside" / "x.txt", linked)
    status = (world.folder / "outside" / "x.txt").stat()
    owned(world, linked)
    try:
        assert asked(session, "attempt(lambda: open('/work/out/hard').read())")[0] == "done"
        for act in (
            "open('/work/out/hard', 'w')",
            "open('/work/out/hard', 'a').write('x')",
            "os.truncate('/work/out/hard', 0)",
            "os.utime('/work/out/hard', (0, 0))",
        ):
            assert asked(session, f"attempt(lambda: {act})")[0] in {"PermissionError", "OSError"}
        single = "attempt(lambda: open('/work/out/single', 'w').write('x'))"
        assert asked(session, single) == ["done", "1"]
    finally:
        os.chown(linked, status.st_uid, status.st_gid)
        linked.unlink()


@pytest.mark.parametrize(
    "act",
    [
        "os.mknod('/work/out/node')",
        "os.mknod('/tmp/node', 0o60600, 0x800)",
        "os.mkfifo('/work/out/fifo')",
        "os.mkfifo('/tmp/fifo')",
        "os.link('/data/readme.txt', '/work/out/linked')",
        "os.chroot('/')",
        "os.lchown('/tmp', 0, 0)",
    ],
)
def test_f15_nothing_is_made_that_is_no_file_directory_or_link(world, session, act):
    listing = sorted(os.listdir(world.folder / "out"))
    name = act.partition("(")[0]
    if asked(session, f"hasattr(os, {name.removeprefix('os.')!r})"):
        kind, _ = asked(session, f"attempt(lambda: {act})")
        assert kind in {"OSError", "PermissionError", "FileNotFoundError", "NotImplementedError"}
    assert sorted(os.listdir(world.folder / "out")) == listing
    assert (
        asked(session, "attempt(lambda: [os.mkdir('/tmp/d'), os.symlink('x', '/tmp/l')])")[0]
        == "done"
    )


@pytest.mark.parametrize(
    "symbol", ["mount", "pivot_root", "name_to_handle_at", "open_by_handle_at"]
)
def test_f15_calls_that_mount_or_open_by_handle_have_no_name(session, symbol):
    observation = session.run(f"import ctypes\nctypes.CDLL(None).{symbol}")
    assert observation.error.name == "AttributeError"
    assert session.run("ctypes.CDLL(None).strlen(b'four')").value == "4"


def test_f16_a_file_that_is_cut_while_it_is_read_gives_fewer_bytes_and_no_signal(world, session):
    """
    Nothing of the host is mapped, so a page that is gone is a short read and not a SIGBUS.
    """
    path = world.folder / "data" / "large.bin"
    path.write_bytes(b"a" * 2**20)
    session.run("f = open('/data/large.bin', 'rb', 0)")
    assert session.run("len(f.read(2**16))").value == str(2**16)
    os.truncate(path, 10)
    assert session.run("f.read(2**16)").value == "b''"
    assert session.run("f.seek(0), f.read()").value == "(0, b'aaaaaaaaaa')"
    path.write_bytes(b"b" * 2**16)
    assert session.run("f.seek(0); set(f.read())").value == "{98}"
    path.unlink()


def test_f16_a_file_that_changes_all_the_time_is_read_to_its_end(world, session):
    path = world.folder / "data" / "busy.bin"
    path.write_bytes(b"a" * 2**18)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            os.truncate(path, 0)
            os.truncate(path, 2**18)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        read = session.run(
            "sizes = [len(open('/data/busy.bin', 'rb').read()) for _ in range(300)]\nmax(sizes)"
        )
    finally:
        stop.set()
        changing.join()
    assert read.ok, read.text
    assert 0 <= int(read.value) <= 2**18
    assert session.run("open('/data/readme.txt').read()").value == "'hello'"
    path.unlink()


def test_f17_a_root_that_is_replaced_by_a_link_is_still_the_directory_it_was(world, session):
    assert session.run("open('/data/readme.txt').read()").value == "'hello'"
    data, aside = world.folder / "data", world.folder / "data-aside"
    data.rename(aside)
    data.symlink_to("outside")
    try:
        assert session.run("open('/data/readme.txt').read()").value == "'hello'"
        assert asked(session, "attempt(lambda: open('/data/x.txt').read())") == NOT_THERE
        assert "x.txt" not in asked(session, "os.listdir('/data')")
    finally:
        data.unlink()
        aside.rename(data)


APPENDS = """
import os
files = [open(f'/work/out/append{n}', 'ab', 0) for n in range(100)]
written = 0
try:
    while written < 2**24:
        for f in files:
            written += f.write(b'x' * SIZE)
except OSError as error:
    said = error.errno
written
"""
QUOTA = 4 * 2**20


@pytest.mark.parametrize("size", [4001, 65_537])
def test_f19_a_hundred_files_that_are_appended_to_stay_within_one_quota(world, session, size):
    """
    Two sessions append at once, each with a quota of its own; what they left is on the host.
    """
    out = world.folder / "out"
    before = {path: path.lstat().st_size for path in out.iterdir()}
    code = APPENDS.replace("SIZE", str(size))
    results = []
    with world.session() as other:
        other.run(TRY)
        second = code.replace("append{n}", "other{n}")
        both = threading.Thread(target=lambda: results.append(other.run(second)))
        both.start()
        results.append(session.run(code))
        both.join()
    try:
        assert len(results) == 2
        for observation in results:
            assert observation.ok, observation.text
            assert size <= int(observation.value) <= QUOTA
        made = [path for path in out.iterdir() if path not in before]
        assert len(made) == 200
        for stem in ("append", "other"):
            total = sum(path.stat().st_size for path in made if path.name.startswith(stem))
            assert QUOTA - 100 * size <= total <= QUOTA
        full = "attempt(lambda: open('/work/out/append0', 'ab', 0).write(bytes(2**20)))"
        assert asked(session, full)[0] == "OSError"
    finally:
        for path in [path for path in out.iterdir() if path not in before]:
            path.unlink()
