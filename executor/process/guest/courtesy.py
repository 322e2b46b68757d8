"""
Reasons for refusals that the kernel gives by number alone: the gate's sentence, asked for when an
OSError is already there.

Runs beside the agent's code. Nothing is decided here; a guest that leaves this out is refused all
the same, and told less. Files are asked about below the places that the server serves, and where
there are none Python's own functions stay as they are.
"""

import builtins
import errno
import functools
import io
import os

# What a refusal of a served file can look like to the guest.
OF_FILES = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT, errno.EIO, errno.ENOSPC}
)
OF_CONNECTIONS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ECONNABORTED})
OF_SOCKETS = frozenset({errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES, errno.EPROTONOSUPPORT})
# Those of os that name a file: the last two take the name second as well.
FILES = (
    "open", "stat", "lstat", "listdir", "scandir", "mkdir", "rmdir", "remove", "unlink",
    "readlink", "truncate", "utime", "chmod", "rename", "replace", "link", "symlink",
)  # fmt: skip
# What no policy grants there, in the words of the other cage.
NEVER = {
    "link": "hard links cannot be made in a granted directory",
    "symlink": "symbolic links cannot be made in a granted directory",
    "chmod": "permission bits of granted files cannot be changed",
}
TRANSFERS = ("recv", "recv_into", "recvfrom", "recvmsg", "send", "sendall", "sendmsg")

# Where each socket was last connected to, by its descriptor: a broken one does not know any more.
_peers = {}
_files = {name: getattr(os, name) for name in FILES}
_open = builtins.open


# ---- files ---------------------------------------------------------------------------------------


def serve(places):
    """Have errors below `places` say why; without any, leave Python's functions as they are."""
    if not places:
        return
    prefixes = tuple(f"{place.rstrip('/')}/" for place in places)
    builtins.open = io.open = telling(_open, prefixes)
    for name, call in _files.items():
        told = telling(call, prefixes)
        setattr(os, name, told)
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if call in able:
                able.add(told)


def telling(call, prefixes):
    """`call`, a function of a file's name, whose errors have the gate's sentence."""

    @functools.wraps(call)
    def told(*args, **options):
        try:
            return call(*args, **options)
        except OSError as error:
            explain(error, prefixes, NEVER.get(call.__name__))
            raise

    return told


def explain(error, prefixes, never):
    """Give an error about a served file the reason that the gate has for it, or `never`."""
    if error.errno not in OF_FILES:
        return
    for name in (error.filename, error.filename2):
        if isinstance(name, (str, bytes)):
            path = os.path.abspath(os.fsdecode(name))
            if f"{path}/".startswith(prefixes):
                number, reason = door.denial(path)
                # Another number is of another question about the path: the kernel asks several.
                if number == error.errno and reason:
                    error.strerror = reason
                    return
    if error.errno == errno.EPERM and never:
        error.strerror = never


# ---- sockets -------------------------------------------------------------------------------------


def install(sockets):
    """Have the module `socket` say why, by its class and its look-up of names."""
    own = sockets.socket
    own.__init__ = opening(own.__init__, sockets)
    own.connect, own.connect_ex = connecting(own.connect), connecting_ex(own.connect_ex)
    for name in TRANSFERS:
        setattr(own, name, transferring(getattr(own, name)))
    sockets.getaddrinfo = resolving(sockets.getaddrinfo, sockets)


def opening(init, sockets):
    @functools.wraps(init)
    def opened(self, family=-1, type=-1, proto=-1, fileno=None):
        try:
            init(self, family, type, proto, fileno)
        except OSError as error:
            if error.errno in OF_SOCKETS and fileno is None:
                told(error, door.socket(kind_of(family, type, sockets)))
            raise

    return opened


def kind_of(family, type, sockets):
    """The word by which the gate knows a kind of socket."""
    if family == sockets.AF_UNIX:
        return "unix"
    if family not in (-1, sockets.AF_INET, sockets.AF_INET6):
        return f"family-{int(family)}"
    return {-1: "tcp", 1: "tcp", 2: "udp", 3: "raw"}.get(int(type), f"type-{int(type)}")


def connecting(connect):
    @functools.wraps(connect)
    def connected(self, address, /):
        try:
            connect(self, address)
        except OSError as error:
            if error.errno in OF_CONNECTIONS:
                told(error, asked(self, address, own=False))
            raise
        number, reason = asked(self, address, own=True)
        if number:
            raise OSError(number, reason)

    return connected


def connecting_ex(connect):
    @functools.wraps(connect)
    def connected(self, address, /):
        return connect(self, address) or asked(self, address, own=True)[0]

    return connected


def asked(sock, address, own):
    """What the gate says of a connection to an internet address, made or refused; else nothing."""
    if not (isinstance(address, tuple) and len(address) >= 2 and sock.type == 1):
        return 0, ""
    host, port = str(address[0]), int(address[1])
    _peers[sock.fileno()] = host, port
    return door.refusal(host, port, port_of(sock) if own else 0)


def port_of(sock):
    try:
        return sock.getsockname()[1]
    except (OSError, IndexError):
        return 0


def transferring(call):
    @functools.wraps(call)
    def transferred(self, *args, **options):
        try:
            return call(self, *args, **options)
        except OSError as error:
            if error.errno in OF_CONNECTIONS and self.family != 1:
                told(error, ended(self))
            raise

    return transferred


def ended(sock):
    """What the gate says of a connection that broke."""
    host, port = _peers.get(sock.fileno(), ("", 0))
    return door.refusal(host, port, port_of(sock)) if port else (0, "")


def resolving(getaddrinfo, sockets):
    @functools.wraps(getaddrinfo)
    def resolved(host, *args, **options):
        try:
            return getaddrinfo(host, *args, **options)
        except sockets.gaierror as error:
            number, reason = door.refusal(os.fsdecode(host), 0, 0) if host else (0, "")
            if number:
                raise OSError(number, reason) from None
            raise

    return resolved


def told(error, answer):
    """Raise what the gate says in the place of `error`; come back where it says nothing."""
    number, reason = answer
    if number:
        raise OSError(number, reason or error.strerror) from None


door = None
