"""
Where the server listens: a socket in a directory that nobody but its account may enter.

The directory is the authentication: until there is another, only a unix socket is served, and who
can reach it may use every policy. So its directory has to be closed to others before the socket is
made, and a socket that another server answers on is not taken away.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from executor.errors import CannotStart
from executor.identity import Account

if TYPE_CHECKING:
    import grpc

_SCHEME: Final = "unix:"
_LONGEST_PATH: Final = 107  # bytes; sun_path less its NUL, unix(7)
_PRIVATE: Final = 0o700
_PUBLIC: Final = 0o755


@dataclass(frozen=True, slots=True)
class Place:
    """
    The socket's path, absolute.
    """

    path: Path

    @property
    def address(self) -> str:
        """
        The address for gRPC.
        """
        return f"{_SCHEME}{self.path}"


def place(listen: str, option: str = "--listen") -> Place:
    """
    The socket that `unix:PATH` names, given as `option`. Raises CannotStart for anything else.
    """
    if not listen.startswith(_SCHEME):
        raise CannotStart(
            f"{option} {listen}: only unix:PATH can be listened on. A TCP port would be open to "
            "every user and program of the network, and there is no authentication yet; forward "
            "the socket (for example with ssh -L) to reach it from elsewhere"
        )
    path = Path(listen.removeprefix(_SCHEME)).absolute()
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise CannotStart(f"{option} {listen}: a socket's path has at most {_LONGEST_PATH} bytes")
    return Place(path)


def private_directory(directory: Path, who: Account) -> None:
    """
    Make `directory` for `who`, mode 0700, or check that it is like that.

    An empty one that root owns is handed over. Raises CannotStart for one that others may enter
    or own. Call it before becoming `who`.
    """
    try:
        directory.mkdir(_PRIVATE, parents=True)
    except FileExistsError:
        _require_private(directory, who)
    except OSError as error:
        raise CannotStart(f"cannot make the directory {directory}: {error.strerror}") from error
    if who.changes and directory.stat().st_uid != who.uid:
        _hand_over(directory, who)


def public_directory(directory: Path, who: Account) -> None:
    """
    Make `directory` for `who`, mode 0755, or check that nobody else can change what lies there: a
    socket that others connect to must be the server's.

    Raises CannotStart for one that others own or may write to. Call it before becoming `who`.
    """
    try:
        directory.mkdir(_PUBLIC, parents=True)
    except FileExistsError:
        _require_own(directory, who)
        return
    except OSError as error:
        raise CannotStart(f"cannot make the directory {directory}: {error.strerror}") from error
    directory.chmod(_PUBLIC)  # whatever the mask is
    if who.changes:
        _hand_over(directory, who)


def clear_stale(where: Place) -> None:
    """
    Remove a socket that nobody answers on. Raises CannotStart where somebody does, and for a
    file that is no socket.
    """
    try:
        status = where.path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise CannotStart(f"{where.path} is there and is no socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        refused = trying.connect_ex(str(where.path))
    if refused != errno.ECONNREFUSED:
        raise CannotStart(f"a server listens on {where.path} already; stop it or name another path")
    where.path.unlink()


def add_port(server: "grpc.aio.Server", where: Place) -> None:
    """
    Have `server` listen at `where`, on a socket of its account's alone. Raises CannotStart.
    """
    with masked(0o177):
        try:
            server.add_insecure_port(where.address)
        except RuntimeError as error:
            raise CannotStart(f"cannot listen on {where.path}: {error}") from error


@contextlib.contextmanager
def masked(bits: int) -> Iterator[None]:
    """
    What is made in the block has none of these bits in its mode; no other thread makes files then.
    """
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def _hand_over(directory: Path, who: Account) -> None:
    # By descriptor: the name may come to mean something else meanwhile.
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(number, who.uid, who.gid)
    finally:
        os.close(number)


def _require_own(directory: Path, who: Account) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise CannotStart(f"{directory} is no directory; name another path")
    if status.st_mode & 0o022 or status.st_uid != who.uid:
        raise CannotStart(
            f"others may put a socket of their own into {directory} "
            f"(mode {stat.S_IMODE(status.st_mode):o}, uid {status.st_uid}); name a directory of "
            f"{who.name}'s that nobody else may write to, or one that is not there yet"
        )


def _require_private(directory: Path, who: Account) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise CannotStart(f"{directory} is no directory; name another path")
    if status.st_mode & 0o077:
        raise CannotStart(
            f"others may enter {directory} (mode {stat.S_IMODE(status.st_mode):o}); "
            f"close it with chmod 700, or name a directory that is not there yet"
        )
    if status.st_uid == who.uid:
        return
    # Not whole trees of root's: its home is such a directory.
    if not (who.changes and status.st_uid == 0 and not any(directory.iterdir())):
        raise CannotStart(
            f"{directory} belongs to another account; give it to {who.name} with chown, "
            "or name a directory that is not there yet"
        )
