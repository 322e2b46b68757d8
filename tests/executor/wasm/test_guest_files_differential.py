"""
The memory file system against the kernel's: the same calls on /work and on a real directory.

Random sequences of calls on the same few names, with links, trailing slashes and dots, must give
the same error or the same result, and leave the same tree (F01 to F05 for the memory files).

Documented differences, which the sequences therefore leave out: permission bits are kept and do
not restrict (there is one owner), hard links and O_TMPFILE do not exist, and a directory has
size 0 and one link. What green does not prove: anything about granted directories, whose paths
the broker resolves.
"""

import contextlib
import errno
import os
import random
import stat
from pathlib import Path

import pytest

from executor.wasm.abi import AT_FDCWD, AT_REMOVEDIR, DIRENT, Errno
from executor.wasm.nodes import Directory, File, Link
from tests.executor.wasm.tiny_kernel import Kernel

NAMES = ("a", "b", "c", "d")
SEEDS = 40
CALLS = 150
# Deep enough that no sequence below climbs out of it; one that does, fails.
BASE = "/work/" + "/".join("z" * 12)
OPENS = (
    os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY,
    os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_RDONLY | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
)  # fmt: skip


class Ours:
    """
    The calls on the memory file system; an error is raised as Linux numbers it.
    """

    def __init__(self):
        self.kernel = Kernel()
        for depth in range(3, len(BASE.split("/")) + 1):
            self.mkdir("/".join(BASE.split("/")[:depth]), 0o755)
        self.kernel.call("__syscall_chdir", BASE)

    def _call(self, name, *arguments):
        answer = self.kernel.call(name, *arguments)
        if answer < 0:
            raise OSError(Errno(-answer).host, name)
        return answer

    def mkdir(self, path, mode):
        self._call("__syscall_mkdirat", AT_FDCWD, path, mode)

    def rmdir(self, path):
        self._call("__syscall_unlinkat", AT_FDCWD, path, AT_REMOVEDIR)

    def unlink(self, path):
        self._call("__syscall_unlinkat", AT_FDCWD, path, 0)

    def rename(self, old, new):
        self._call("__syscall_renameat", AT_FDCWD, old, AT_FDCWD, new)

    def symlink(self, target, path):
        self._call("__syscall_symlinkat", target, AT_FDCWD, path)

    def truncate(self, path, size):
        self._call("__syscall_truncate64", path, size)

    def chmod(self, path, mode):
        self._call("__syscall_chmod", path, mode)

    def access(self, path):
        self._call("__syscall_faccessat", AT_FDCWD, path, 0, 0)

    def readlink(self, path):
        found = self.kernel.readlink(path)
        if isinstance(found, int):
            raise OSError(Errno(-found).host, path)
        return os.fsdecode(found)

    def stat(self, path, *, follow):
        found = self.kernel.stat(path, follow=follow)
        if isinstance(found, int):
            raise OSError(Errno(-found).host, path)
        mode, size = found[1], found[6]
        return stat.S_IFMT(mode), size if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else None

    def list(self, path):
        with self.opened(path, os.O_RDONLY | os.O_DIRECTORY) as number:
            size = self._call("__syscall_getdents64", number, self.kernel.BUFFER, 20 * DIRENT.size)
            data = self.kernel.tiny.guest.read(self.kernel.BUFFER, size)
        names = [DIRENT.unpack_from(data, at)[4] for at in range(0, size, DIRENT.size)]
        return sorted(os.fsdecode(name.rstrip(b"\0")) for name in names)[2:]

    def use(self, path, flags, data):
        """
        Open, write if that is allowed, read back from the start.
        """
        with self.opened(path, flags) as number:
            if flags & 3:
                assert self.kernel.write(number, data) == len(data)
            if flags & 3 == os.O_WRONLY:
                return None
            self.kernel.seek(number, 0)
            found = self.kernel.read(number, 4096)
            if isinstance(found, int):
                raise OSError(Errno(-found).host, path)
            return found

    @contextlib.contextmanager
    def opened(self, path, flags):
        number = self.kernel.open(path, flags)
        if number < 0:
            raise OSError(Errno(-number).host, path)
        try:
            yield number
        finally:
            self._call("fd_close", number)

    def tree(self):
        directory = self.kernel.process.files.root
        for name in BASE.split("/")[1:]:
            directory = directory.entries[name]
        return dict(self._below(directory, ""))

    def _below(self, directory, path):
        for name, node in directory.entries.items():
            at, mode = f"{path}/{name}", stat.S_IMODE(node.mode)
            if isinstance(node, Directory):
                yield at, ("directory", mode)
                yield from self._below(node, at)
            elif isinstance(node, Link):
                yield at, ("link", node.target)
            else:
                assert isinstance(node, File)
                yield at, ("file", mode, bytes(node.data))


class Linux:
    """
    The same calls on the real kernel, below a directory.
    """

    def __init__(self, root):
        self.base = root / BASE.lstrip("/")
        self.base.mkdir(parents=True)

    mkdir, rmdir, unlink, rename = os.mkdir, os.rmdir, os.unlink, os.rename
    symlink, truncate, chmod, readlink = os.symlink, os.truncate, os.chmod, os.readlink

    def access(self, path):
        # access(2) with F_OK, which os.access answers without the error.
        os.stat(path)

    def stat(self, path, *, follow):
        found = os.stat(path, follow_symlinks=follow)
        kind = stat.S_IFMT(found.st_mode)
        return kind, found.st_size if kind in {stat.S_IFREG, stat.S_IFLNK} else None

    def list(self, path):
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(number))
        finally:
            os.close(number)

    def use(self, path, flags, data):
        number = os.open(path, flags, 0o644)
        try:
            if flags & 3:
                assert os.write(number, data) == len(data)
            if flags & 3 == os.O_WRONLY:
                return None
            os.lseek(number, 0, os.SEEK_SET)
            return os.read(number, 4096)
        finally:
            os.close(number)

    def tree(self):
        found = {}
        for directory, names, files in os.walk(self.base):
            for name in (*names, *files):
                path = Path(directory) / name
                at, status = "/" + str(path.relative_to(self.base)), path.lstat()
                mode = stat.S_IMODE(status.st_mode)
                if stat.S_ISLNK(status.st_mode):
                    found[at] = ("link", os.readlink(path))
                elif stat.S_ISDIR(status.st_mode):
                    found[at] = ("directory", mode)
                else:
                    found[at] = ("file", mode, path.read_bytes())
        return found


def random_path(dice):
    parts = [dice.choice((*NAMES, *NAMES, *NAMES, ".", "..")) for _ in range(dice.randint(1, 4))]
    path = dice.choice(("/", "/", "/", "//", "/./")).join(parts)
    return path + dice.choice(("", "", "", "", "/", "/.", "//"))


def random_call(dice):
    path = random_path(dice)
    return dice.choice(
        [
            ("mkdir", path, dice.choice((0o755, 0o700, 0o750))),
            ("mkdir", path, 0o755),
            ("rmdir", path),
            ("unlink", path),
            ("rename", path, random_path(dice)),
            ("rename", path, random_path(dice)),
            ("symlink", random_path(dice), path),
            ("symlink", dice.choice(NAMES), path),
            ("truncate", path, dice.randint(0, 9)),
            ("chmod", path, dice.choice((0o600, 0o644, 0o755))),
            ("access", path),
            ("readlink", path),
            ("list", path),
            ("use", path, dice.choice(OPENS), bytes([dice.randrange(256)]) * dice.randint(1, 9)),
            ("use", path, dice.choice(OPENS), b"more"),
        ]
    )


def outcome(side, call):
    name, *arguments = call
    try:
        return getattr(side, name)(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def looks(side, path):
    return [outcome(_Looking(side, follow), ("stat", path)) for follow in (False, True)]


class _Looking:
    def __init__(self, side, follow):
        self._side, self._follow = side, follow

    def stat(self, path):
        return self._side.stat(path, follow=self._follow)


@pytest.fixture
def linux(tmp_path, monkeypatch):
    made = Linux(tmp_path)
    monkeypatch.chdir(made.base)
    old = os.umask(0o022)
    yield made
    os.umask(old)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_f01_to_f05_random_calls_do_what_linux_does(linux, seed):
    dice, ours, history, done = random.Random(seed), Ours(), [], 0
    for side in (ours, linux):
        side.mkdir("a", 0o755)
        side.mkdir("a/b", 0o755)
        side.use("c", os.O_WRONLY | os.O_CREAT, b"first")
    for _ in range(CALLS):
        call = random_call(dice)
        history.append(call)
        expected = outcome(linux, call)
        assert outcome(ours, call) == expected, call
        assert looks(ours, call[1]) == looks(linux, call[1]), call
        done += not isinstance(expected, str)
    found, expected = ours.tree(), linux.tree()
    assert found == expected, (history, set(found.items()) ^ set(expected.items()))
    assert done > CALLS // 40, "the calls all failed: nothing was compared"


# What each of these gave wrongly in other sandboxes is in the CVE named.
EDGES = [
    ("rmdir", "empty/."), ("rmdir", "."), ("rmdir", "./"), ("rmdir", ".."), ("rmdir", "to_dir/"),
    ("rmdir", "to_dir"), ("unlink", "to_dir/"), ("unlink", "to_file/"), ("unlink", "."),
    ("unlink", "dir/"), ("unlink", "file/"), ("unlink", "dangling/"),
    ("mkdir", "dangling", 0o755), ("mkdir", "dangling/", 0o755), ("mkdir", "to_dir/", 0o755),
    ("mkdir", "new/.", 0o755), ("mkdir", "new/..", 0o755), ("mkdir", "file/x", 0o755),
    ("mkdir", "new/", 0o755), ("mkdir", "new//", 0o755), ("mkdir", ".", 0o755),
    ("rename", ".", "x"), ("rename", "..", "x"), ("rename", "dir", "."), ("rename", "dir", "dir"),
    ("rename", "dir", "dir/x"), ("rename", "dir/empty", "dir"), ("rename", "to_dir/", "x"),
    ("rename", "file", "to_dir/"), ("rename", "file", "dangling"), ("rename", "file", "dangling/"),
    ("rename", "file", "new/"), ("rename", "empty", "new/"), ("rename", "to_file", "to_file"),
    ("rename", "file", "file/"), ("rename", "file/", "x"), ("rename", "loop", "x"),
    ("rename", "empty", "to_dir"), ("rename", "empty", "to_dir/"), ("rename", "dir", "file"),
    ("rename", "file", "dir"), ("rename", "empty", "dir"), ("rename", "nothing", "x"),
    ("symlink", "x", "dangling"), ("symlink", "x", "dangling/"), ("symlink", "x", "new/"),
    ("symlink", "x", "to_dir/"), ("symlink", "", "new"), ("symlink", "x", "new/."),
    ("use", "dangling", os.O_WRONLY | os.O_CREAT, b"x"),
    ("use", "dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL, b"x"),
    ("use", "dangling/", os.O_WRONLY | os.O_CREAT, b"x"),
    ("use", "new/", os.O_WRONLY | os.O_CREAT, b"x"), ("use", "file/", os.O_RDONLY, b""),
    ("use", "new/.", os.O_WRONLY | os.O_CREAT, b"x"), ("use", "to_file/", os.O_RDONLY, b""),
    ("use", "to_dir", os.O_RDONLY | os.O_NOFOLLOW, b""), ("use", "loop", os.O_RDONLY, b""),
    ("use", "to_dir/", os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, b""),
    ("use", "to_dir", os.O_WRONLY | os.O_CREAT | os.O_EXCL, b"x"), ("use", "", os.O_RDONLY, b""),
    ("use", "dir/", os.O_WRONLY | os.O_CREAT, b"x"), ("use", "file", os.O_RDWR | os.O_TRUNC, b"x"),
    ("truncate", "dangling", 1), ("truncate", "dir", 1), ("truncate", "loop", 1),
    ("readlink", "to_dir/"), ("readlink", "file"), ("readlink", "dir"), ("readlink", "loop"),
    ("readlink", "dangling/"), ("list", "to_dir"), ("list", "file"), ("list", "loop"),
    ("access", "file/.."), ("access", "dir/.."), ("access", "nothing/.."), ("access", "to_file/."),
    ("access", "x" * 255), ("access", "x" * 256), ("access", "dir/" * 1000),
    ("access", "/".join(["."] * 2048)), ("access", "a\nb"), ("access", "DIR"), ("access", "-rf"),
    ("access", "*"), ("access", "dir\\empty"), ("chmod", "dangling", 0o600),
]  # fmt: skip


@pytest.mark.parametrize("call", EDGES, ids=repr)
def test_f03_and_f04_edges_of_links_dots_and_slashes_are_linuxs(linux, call):
    ours = Ours()
    for side in (ours, linux):
        side.mkdir("dir", 0o755)
        side.mkdir("dir/empty", 0o755)
        side.mkdir("empty", 0o755)
        side.use("file", os.O_WRONLY | os.O_CREAT, b"content")
        side.use("dir/kept", os.O_WRONLY | os.O_CREAT, b"kept")
        for name, target in (
            ("to_dir", "dir"), ("to_file", "file"), ("dangling", "absent"), ("loop", "loop"),
        ):  # fmt: skip
            side.symlink(target, name)
    assert ours.tree() == linux.tree()
    assert outcome(ours, call) == outcome(linux, call)
    assert ours.tree() == linux.tree()


@pytest.mark.parametrize(("links", "follows"), [(40, True), (41, False)])
def test_f02_forty_links_are_followed_and_not_one_more(linux, links, follows):
    ours = Ours()
    for side in (ours, linux):
        side.use("l0", os.O_WRONLY | os.O_CREAT, b"end")
        for number in range(links):
            side.symlink(f"l{number}", f"l{number + 1}")
    found = outcome(ours, ("use", f"l{links}", os.O_RDONLY, b""))
    assert found == outcome(linux, ("use", f"l{links}", os.O_RDONLY, b""))
    assert found == (b"end" if follows else "ELOOP")
