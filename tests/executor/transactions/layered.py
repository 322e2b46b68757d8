"""
A session's view of one directory, without a session: acts on the merged tree, and a commit.
"""

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from executor.kernel.descriptors import Descriptor, open_root
from executor.transactions.commits import Commit
from executor.transactions.layer import Layer
from executor.transactions.merged import Merged
from executor.transactions.places import parent_of, split

BOOKS = {"main": b"1 a\n", "old": b"gone soon\n", "2026/jan": b"x\n", "2026/feb": b"y\n"}
BEFORE = {**BOOKS, "2026": None}
AFTER = {"main": b"1 a\n2 b\n", "2027": None, "2027/jan": b"z\n", "moved": b"y\n"}
_DONE, _FAILED = 0, 3


class Unlimited:
    def take_bytes(self, count: int, path: str) -> None: ...
    def give_back_bytes(self, count: int) -> None: ...
    def take_file(self, path: str) -> None: ...
    def give_back_file(self) -> None: ...
    def mark(self) -> None: ...
    def refill(self) -> None: ...


class View:
    """
    What one session does below `base`, by plain paths; `state` is a new directory of its own.
    """

    def __init__(self, base: Path, state: Path, budget=None) -> None:
        state.mkdir()
        self.base = open_root(str(base))
        self._own = open_root(str(state))
        self.layer = Layer(self.base, self._own, "/ledger", budget or Unlimited())

    def close(self) -> None:
        self.layer.close()
        self._own.close()
        self.base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def at(self, path: str):
        held: Descriptor = Merged.root(self.layer)
        try:
            for name in split(path):
                below = held.step(name.encode())
                held.close()
                held = below
            yield held
        finally:
            held.close()

    @contextmanager
    def parent(self, path: str):
        directory, name = parent_of(path)
        with self.at(directory) as held:
            yield held, name.encode()

    def read(self, path: str) -> bytes:
        with self.at(path) as held, held.reopen(os.O_RDONLY) as opened:
            return os.pread(opened.number, 2**20, 0)

    def write(self, path: str, data: bytes) -> None:
        with self.parent(path) as (held, name):
            try:
                with held.step(name) as found:
                    found.to_change()
                    opened = found.reopen(os.O_WRONLY)
            except FileNotFoundError:
                opened = held.create(name, os.O_WRONLY, 0o644)
        with opened:
            os.ftruncate(opened.number, 0)
            os.write(opened.number, data)

    def mkdir(self, path: str) -> None:
        with self.parent(path) as (held, name):
            held.make_directory(name, 0o755)

    def rmdir(self, path: str) -> None:
        with self.parent(path) as (held, name):
            held.remove_directory(name)

    def remove(self, path: str) -> None:
        with self.parent(path) as (held, name):
            held.remove(name)

    def rename(self, old: str, new: str) -> None:
        with self.parent(old) as (source, name), self.parent(new) as (target, new_name):
            source.rename(name, target, new_name)

    def list(self, path: str = "") -> list[str]:
        with self.at(path) as held:
            return sorted(name.decode() for name in held.names())

    def tree(self) -> dict[str, bytes | None]:
        return dict(self._below(""))

    def commit(self, watch=None) -> Commit:
        commit = Commit(self.layer, watch) if watch else Commit(self.layer)
        commit.prepare()
        if commit.changes:
            commit.apply()
        return commit

    def _below(self, directory: str):
        for name in self.list(directory):
            path = f"{directory}/{name}".lstrip("/")
            with self.at(path) as held:
                is_directory = os.path.stat.S_ISDIR(held.status().st_mode)
            if is_directory:
                yield path, None
                yield from self._below(path)
            else:
                yield path, self.read(path)


def tree_of(base: Path) -> dict[str, bytes | None]:
    """
    A directory of the host as a mapping: contents by path, None for directories.
    """
    found = {}
    for path in sorted(base.rglob("*")):
        name = str(path.relative_to(base))
        found[name] = None if path.is_dir() else path.read_bytes()
    return found


def make(base: Path, tree: dict[str, bytes | None]) -> None:
    for path, data in sorted(tree.items()):
        place = base / path
        if data is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def rework(view: View) -> None:
    """
    What leads from BOOKS to AFTER.
    """
    view.write("main", b"1 a\n2 b\n")
    view.remove("old")
    view.mkdir("2027")
    view.write("2027/jan", b"z\n")
    view.remove("2026/jan")
    view.rename("2026/feb", "moved")
    view.rmdir("2026")


def in_child(act):
    """
    Run `act` in a process of its own; whether it was killed rather than ended.
    """
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - the child ends here whatever happens
            os._exit(_FAILED)
        os._exit(_DONE)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == _DONE
    return False
