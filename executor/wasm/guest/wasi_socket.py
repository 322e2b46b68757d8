"""
What `_socket` lacks where Python is a WASI program: sockets that can be made and connected, names.

Runs in the guest before anything imports `socket`, which takes its base class and its names from
here. WASI preview 1 receives, sends and polls on sockets that are there; the rest is asked of the
worker by reading links below /dev/socket, as `ask` does. Numbers go out as Linux has them.
"""

import _socket
import errno
import os
import select

EAI_NONAME, EAI_SERVICE, EAI_FAMILY = _socket.EAI_NONAME, _socket.EAI_SERVICE, _socket.EAI_FAMILY
FAMILIES = {_socket.AF_INET: 2, _socket.AF_INET6: 10}
# The family of a pair, which is Linux's 1 to the worker; libc's headers of WASI have the number.
AF_UNIX = 3
TYPES = {_socket.SOCK_STREAM: 1, _socket.SOCK_DGRAM: 2}
LINUX_FAMILIES = {**FAMILIES, AF_UNIX: 1}
TYPE_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
LINUX_SOL_SOCKET = 1
# Where a connection seems to come from, as in the other guests.
OWN, NOWHERE = "198.19.255.254", "0.0.0.0"
FIRST_PORT = 32768
PORT_MAX = 65535
SERVICES = {"http": 80, "https": 443, "ftp": 21, "ssh": 22, "smtp": 25, "domain": 53}
# What libc's headers of WASI leave out, with Linux's numbers: the worker remembers them.
OPTIONS = {
    "SO_REUSEADDR": 2,
    "SO_ERROR": 4,
    "SO_BROADCAST": 6,
    "SO_SNDBUF": 7,
    "SO_RCVBUF": 8,
    "SO_KEEPALIVE": 9,
    "SO_OOBINLINE": 10,
    "SO_LINGER": 13,
    "SO_REUSEPORT": 15,
}

Given = _socket.socket
_readlink = os.readlink


def ask(*words):
    """A call of the worker's. Raises what it is refused with."""
    try:
        return _readlink("/dev/socket/" + "/".join(map(str, words)))
    except OSError as error:
        # Without the path, which is nobody's file.
        number, reason = error.errno, error.strerror
    raise OSError(number, reason)


def coded(text):
    return text.encode("utf-8", "surrogateescape").hex()


class Socket(Given):
    """_socket.socket, whose descriptor the worker makes."""

    __module__ = "_socket"
    __slots__ = ()

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if family == -1:
            family = AF_UNIX if fileno is not None and is_paired(fileno) else _socket.AF_INET
        family = int(family)
        kind = _socket.SOCK_STREAM if type == -1 else int(type)
        flags = kind & TYPE_FLAGS
        kind &= ~TYPE_FLAGS
        protocol = 0 if proto == -1 else proto
        made = fileno is None
        if made:
            fileno = int(ask("open", LINUX_FAMILIES.get(family, 99), TYPES.get(kind, 99), protocol))
        Given.__init__(self, family, kind, protocol, fileno)
        if flags & _socket.SOCK_NONBLOCK:
            self.setblocking(False)
        elif made:
            self.settimeout(_socket.getdefaulttimeout())

    # ---- connecting ---------------------------------------------------------------------------

    def connect(self, address, /):
        host, port = self._address(address)
        while True:
            try:
                ask("connect", self.fileno(), coded(host), port)
                return
            except InterruptedError:
                continue
            except BlockingIOError as error:
                if not self.gettimeout() or error.errno != errno.EINPROGRESS:
                    raise
            self._await_connection()
            return

    def _address(self, address):
        if not isinstance(address, tuple):
            raise TypeError(f"{self.family!r} address must be tuple, not {type(address).__name__}")
        host, port = address[:2]
        if not 0 <= port <= PORT_MAX:
            raise OverflowError("connect(): port must be 0-65535.")
        return getaddrinfo(host, port, self.family, _socket.SOCK_STREAM)[0][4][:2]

    def _await_connection(self):
        poller = select.poll()
        poller.register(self.fileno(), select.POLLOUT)
        if not poller.poll(self.gettimeout() * 1000):
            raise TimeoutError("timed out")
        number = self.getsockopt(_socket.SOL_SOCKET, OPTIONS["SO_ERROR"])
        if number:
            raise OSError(number, os.strerror(number))

    def connect_ex(self, address, /):
        try:
            self.connect(address)
        except TimeoutError:
            return errno.EAGAIN
        except _socket.gaierror:
            raise
        except OSError as error:
            return error.errno
        return 0

    def getpeername(self):
        if self.family == AF_UNIX:
            return ""
        address, _, port = ask("peer", self.fileno()).rpartition("/")
        return located(self.family, address, int(port))

    def getsockname(self):
        if self.family == AF_UNIX:
            return ""
        try:
            self.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            return located(self.family, "::" if self._is_six() else NOWHERE, 0)
        own = "2001:2::1" if self._is_six() else OWN
        return located(self.family, own, FIRST_PORT + self.fileno())

    def _is_six(self):
        return self.family == _socket.AF_INET6

    # ---- options ------------------------------------------------------------------------------

    def getsockopt(self, level, optname, buflen=0, /):
        level = LINUX_SOL_SOCKET if level == _socket.SOL_SOCKET else level
        if (level, optname) == (LINUX_SOL_SOCKET, _socket.SO_TYPE):
            return int(self.type)
        value = bytes.fromhex(ask("get", self.fileno(), level, optname))
        return value[:buflen] if buflen else int.from_bytes(value, "little", signed=True)

    def setsockopt(self, level, optname, value, optlen=None, /):
        level = LINUX_SOL_SOCKET if level == _socket.SOL_SOCKET else level
        if value is None:
            value = bytes(optlen)
        elif isinstance(value, int):
            value = value.to_bytes(4, "little", signed=True)
        ask("set", self.fileno(), level, optname, bytes(value).hex())

    # ---- what a stream's client does not do ---------------------------------------------------

    def bind(self, address, /):
        ask("listen", self.fileno())

    def listen(self, backlog=0, /):
        ask("listen", self.fileno())

    def _accept(self):
        ask("listen", self.fileno())

    def sendto(self, data, *rest):
        raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))

    def recvfrom(self, bufsize, flags=0, /):
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        return self.recv_into(buffer, nbytes, flags), None


def is_paired(descriptor):
    """Whether a socket is one of a pair: by SO_DOMAIN."""
    return (
        int.from_bytes(bytes.fromhex(ask("get", descriptor, LINUX_SOL_SOCKET, 39)), "little") == 1
    )


def socketpair(family=AF_UNIX, type=_socket.SOCK_STREAM, proto=0, /):
    kind = int(type) & ~TYPE_FLAGS
    asked = ask("pair", LINUX_FAMILIES.get(int(family), 99), TYPES.get(kind, 99), int(proto))
    return tuple(Socket(family, type, proto, int(one)) for one in asked.split("/"))


def located(family, address, port):
    return (address, port, 0, 0) if family == _socket.AF_INET6 else (address, port)


# ---- names --------------------------------------------------------------------------------------


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """One address: the host's own where it is one, else what the worker makes up for the name."""
    number = numbered(port, flags)
    if family not in (0, *FAMILIES):
        raise _socket.gaierror(EAI_FAMILY, "ai_family not supported")
    if host is None and port is None:
        raise unknown()
    found, address = addressed(named(host), family, flags)
    kind = int(type) or _socket.SOCK_STREAM
    protocol = proto or (_socket.IPPROTO_UDP if kind == _socket.SOCK_DGRAM else 6)
    told = named(host) or "" if flags & _socket.AI_CANONNAME else ""
    return [(found, kind, protocol, told, located(found, address, number))]


def unknown():
    return _socket.gaierror(EAI_NONAME, "Name or service not known")


def numbered(port, flags):
    if port is None:
        return 0
    text = port.decode("ascii") if isinstance(port, bytes) else str(port)
    if text.isascii() and text.isdigit() and int(text[:6]) <= PORT_MAX:
        return int(text)
    if text in SERVICES and not flags & _socket.AI_NUMERICSERV:
        return SERVICES[text]
    raise _socket.gaierror(EAI_SERVICE, "Servname not supported for ai_socktype")


def named(host):
    """A host as text, None for none; what is not ASCII as a name server would have it."""
    if isinstance(host, (bytes, bytearray)):
        return bytes(host).decode("utf-8", "surrogateescape")
    if host is None or host.isascii():
        return host
    return host.encode("idna").decode("ascii")


def addressed(host, family, flags):
    """The family and the address of a host."""
    six = family == _socket.AF_INET6
    if not host:
        local = ("::", "0.0.0.0") if flags & _socket.AI_PASSIVE else ("::1", "127.0.0.1")
        return (family or _socket.AF_INET), local[0 if six else 1]
    own = literal(host)
    if own is None and (six or flags & _socket.AI_NUMERICHOST):
        raise unknown()
    address = ask("resolve", coded(host)) if own is None else own
    found = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    if family not in (0, found):
        raise unknown()
    return found, address


def literal(text):
    for family in FAMILIES:
        try:
            return _socket.inet_ntop(family, _socket.inet_pton(family, text))
        except (OSError, ValueError):
            pass
    return None


def gethostbyname(hostname, /):
    return getaddrinfo(hostname, None, _socket.AF_INET)[0][4][0]


def gethostbyname_ex(hostname, /):
    return hostname, [], [gethostbyname(hostname)]


def gethostbyaddr(ip_address, /):
    return ask("name", coded(ip_address)), [], [ip_address]


def getnameinfo(sockaddr, flags, /):
    host, port = sockaddr[:2]
    numeric = flags & _socket.NI_NUMERICHOST
    return (host if numeric else ask("name", coded(host))), str(port)


def getservbyname(servicename, protocolname="tcp", /):
    try:
        return SERVICES[servicename]
    except KeyError:
        raise OSError("service/proto not found") from None


_socket.socket = _socket.SocketType = Socket
_socket.AF_UNIX = AF_UNIX
Socket.__name__ = Socket.__qualname__ = "socket"
for function in (
    getaddrinfo,
    gethostbyname,
    gethostbyname_ex,
    gethostbyaddr,
    getnameinfo,
    getservbyname,
    socketpair,
):
    setattr(_socket, function.__name__, function)
for name, number in OPTIONS.items():
    setattr(_socket, name, number)
