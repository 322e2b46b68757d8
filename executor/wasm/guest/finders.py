"""
What is asked when something is imported: runs inside the cage, like the runtime that loads it.

`Absent` comes last and says why a module is not here; `After` comes first and acts on modules as
soon as they are imported, so that the runtime imports nothing early in order to change it.
"""

import builtins
import functools
import importlib.machinery
import os
import struct
import sys

_readlink = os.readlink


class Absent:
    """The last finder: modules that others have and this guest cannot have."""

    JAVASCRIPT = (
        "there is no JavaScript here. This is Python in WebAssembly without a browser; use the "
        "standard library."
    )
    REASONS = {
        "js": JAVASCRIPT,
        "pyodide_js": JAVASCRIPT,
        "_pyodide_core": JAVASCRIPT,
        "IPython": "there is no IPython here. display() is a builtin: call it without an import.",
    }
    # What the host knows of other images: their names by what they make importable.
    IMAGE = ""
    ELSEWHERE = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        reason = cls.REASONS.get(name.partition(".")[0])
        if reason is None and name in cls.ELSEWHERE:
            images = " or ".join(f'"{image}"' for image in cls.ELSEWHERE[name])
            reason = (
                f"it is not in the image {cls.IMAGE!r} of this session; a session opened with "
                f"image={images} has it"
            )
        if reason is not None:
            raise ModuleNotFoundError(f"No module named {name!r}: {reason}", name=name)
        return None


def authorize(given):
    """
    Have the cells' own import statements keep to the session's list, in smolagents' words.

    Manners, and no wall: what modules import, and `importlib`, is not asked.
    """
    allowed = given and given["imports"]
    if allowed is None:
        return
    plain, space = builtins.__import__, sys.modules["__main__"].__dict__

    def import_(name, globals=None, locals=None, fromlist=(), level=0):
        if globals is space and not level and not authorized(name.split("."), allowed):
            how = "from" if fromlist else "of"
            raise ImportError(
                f"Import {how} {name} is not allowed. Authorized imports are: {allowed}", name=name
            )
        return plain(name, globals, locals, fromlist, level)

    builtins.__import__ = import_


def authorized(parts, allowed):
    """Whether a list has a module: itself, one below it, or `*` for it and all below."""
    for one in allowed:
        listed = one.split(".")
        if listed[-1] == "*":
            listed.pop()
            if parts[: len(listed)] == listed:
                return True
        if listed[: len(parts)] == parts:
            return True
    return False


def without_proxies(request):
    """Connections go where they are made to: what the environment says of proxies is not heard."""
    request.getproxies = request.getproxies_environment = dict


# What Linux has for the family of a pair, and the guest's libc has not.
AF_UNIX = 1


def with_pairs():
    """socketpair(2), by a link that is read; what `socket` makes of it is the library's own."""
    if sys.platform != "emscripten":
        return
    import _socket

    def socketpair(family=AF_UNIX, type=_socket.SOCK_STREAM, proto=0, /):
        asked = f"/dev/socket/pair/{int(family)}/{int(type)}/{int(proto)}"
        try:
            numbers = _readlink(asked).split("/")
        except OSError as error:
            # Without the path, which is nobody's file.
            number, reason = error.errno, error.strerror
        else:
            return tuple(_socket.socket(family, type, proto, int(one)) for one in numbers)
        raise OSError(number, reason)

    _socket.AF_UNIX, _socket.socketpair = AF_UNIX, socketpair


def with_unnamed(sockets):
    """The ends of a pair have no names, and the interpreter's own calls do not know the family."""
    plain = sockets.socket.__mro__[1]

    def unnamed(name, answer):
        call = getattr(plain, name)

        def method(self, *arguments, **named):
            if self.family != AF_UNIX or self.fileno() < 0:
                return call(self, *arguments, **named)
            return answer(self, *arguments, **named)

        method.__name__, method.__doc__ = name, call.__doc__
        method.__qualname__ = f"socket.{name}"
        setattr(sockets.socket, name, method)

    unnamed("getsockname", lambda self: "")
    unnamed("getpeername", lambda self: "")
    unnamed("recvfrom", lambda self, *rest: (self.recv(*rest), None))
    unnamed("recvfrom_into", lambda self, *rest, **more: (self.recv_into(*rest, **more), None))


# Requests of ioctl(2) for what Emscripten's libc answers by itself, well or not.
SET_OPTION, SHUT_DOWN = 0x89E0, 0x89E1


def with_options(sockets):
    """Options of sockets, and shutdown(2), by ioctl(2): the worker is to hear of them."""
    if sys.platform != "emscripten":
        return

    def setsockopt(self, level, optname, value, optlen=None, /):
        if value is None:
            value = bytes(optlen)
        elif isinstance(value, int):
            value = value.to_bytes(4, sys.byteorder, signed=True)
        head = struct.pack("<iiI", level, optname, len(value))
        ioctl()(self.fileno(), SET_OPTION, head + value)

    def shutdown(self, how, /):
        ioctl()(self.fileno(), SHUT_DOWN, struct.pack("<i", how))

    sockets.socket.setsockopt, sockets.socket.shutdown = setsockopt, shutdown
    with_unnamed(sockets)


@functools.cache
def ioctl():
    """fcntl.ioctl; in the older guest, which has no fcntl, libc's by ctypes."""
    try:
        import fcntl
    except ImportError:
        pass
    else:
        return fcntl.ioctl
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).ioctl
    call.argtypes = [ctypes.c_int, ctypes.c_int]

    def by_libc(descriptor, request, data):
        if call(descriptor, request, ctypes.c_char_p(data)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return by_libc


def with_sockets(tls):
    """anyio speaks TLS over buffers: tell the object of `ssl` which socket is below its stream."""
    stream = tls.TLSStream
    plain = stream.__init__

    def init(self, *rest, **more):
        plain(self, *rest, **more)
        from anyio.abc import SocketAttribute

        self._ssl_object.carrier = self.transport_stream.extra(SocketAttribute.raw_socket, None)

    stream.__init__ = init


class After:
    """The first finder: it finds nothing itself, and acts on modules once they are imported."""

    BEFORE = {"socket": with_pairs}
    ACTS = {
        "anyio.streams.tls": with_sockets,
        "socket": with_options,
        "urllib.request": without_proxies,
    }

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.ACTS:
            return None
        if name in cls.BEFORE:
            cls.BEFORE[name]()
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = ThenAct(spec.loader, cls.ACTS[name])
        return spec


class ThenAct:
    """A loader that steps aside for the real one, and acts when that is done."""

    def __init__(self, loader, act):
        self._loader = loader
        self._act = act

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act(module)
