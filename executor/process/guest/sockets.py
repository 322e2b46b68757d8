"""
What a guest's sockets cannot know of themselves: why a connection was refused, or broke, and what
address a name has where libc has nobody to ask.

Runs beside the agent's code. Nothing is decided here; a guest that leaves this out is refused all
the same, and told less: an error number, or that a name is not known.
"""

import errno
import functools
import os

OF_TRANSFERS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ECONNABORTED})
# Where the call itself waits for the gate, it has the gate's number.
OF_CONNECTIONS = OF_TRANSFERS | {errno.EACCES, errno.EMFILE, errno.EDQUOT, errno.EIO}
OF_SOCKETS = frozenset({errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES, errno.EPROTONOSUPPORT})
TRANSFERS = ("recv", "recv_into", "recvfrom", "recvmsg", "send", "sendall", "sendmsg")

# Where each socket was last connected to, by its descriptor: a broken one does not know any more.
_peers = {}


def install(sockets):
    """Have the module `socket` say why, by its class and its look-up of names."""
    own = sockets.socket
    own.__init__ = opening(own.__init__, sockets)
    own.connect = connecting(own.connect, sockets)
    own.connect_ex = connecting_ex(own.connect_ex, sockets)
    for name in TRANSFERS:
        setattr(own, name, transferring(getattr(own, name)))
    sockets.getaddrinfo = resolving(sockets.getaddrinfo, sockets)
    sockets.gethostbyname = finding(sockets.gethostbyname, sockets, lambda _host, found: found)
    sockets.gethostbyname_ex = finding(
        sockets.gethostbyname_ex, sockets, lambda host, found: (host, [], [found])
    )


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


def connecting(connect, sockets):
    @functools.wraps(connect)
    def connected(self, address, /):
        try:
            connect(self, address)
        except sockets.gaierror as error:
            return connected(self, placed(address, error))
        except OSError as error:
            if error.errno in OF_CONNECTIONS:
                told(error, asked(self, address, own=False))
            raise
        number, reason = asked(self, address, own=True)
        if number:
            raise OSError(number, reason)
        return None

    return connected


def connecting_ex(connect, sockets):
    @functools.wraps(connect)
    def connected(self, address, /):
        try:
            number = connect(self, address)
        except sockets.gaierror as error:
            return connected(self, placed(address, error))
        return number or asked(self, address, own=True)[0]

    return connected


def placed(address, error):
    """A socket's address with the gate's address in the place of its name."""
    return (address_of(address[0], error), *address[1:])


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
            if error.errno in OF_TRANSFERS and self.family != 1:
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
            if (args[4] if args[4:] else options.get("flags", 0)) & sockets.AI_NUMERICHOST:
                raise
            address, unknown = address_of(host, error), error
        try:
            return getaddrinfo(address, *args, **options)
        except sockets.gaierror:
            raise unknown from None  # it has none of the kind that is asked for

    return resolved


def finding(find, sockets, answer):
    @functools.wraps(find)
    def found(host, /):
        try:
            return find(host)
        except sockets.gaierror as error:
            return answer(host, address_of(host, error))

    return found


def address_of(host, error):
    """
    The address that the gate gives a name which libc does not know; its refusal is raised, and
    where it says nothing, `error`.
    """
    if not host:
        raise error
    name = os.fsdecode(host)
    number, reason = door.refusal(name, 0, 0)
    if number:
        raise OSError(number, reason) from None
    number, address = door.address(name)
    if number:
        raise error
    return address


def told(error, answer):
    """Raise what the gate says in the place of `error`; come back where it says nothing."""
    number, reason = answer
    if number:
        raise OSError(number, reason or error.strerror) from None


door = None
