"""
What stands for a handshake, and the sockets and buffers that pass bytes through: `ssl`, part two.

Run in the namespace of that module, after `tls_names.py`.
"""

# What the worker knows of a connection: tcp(7), and Linux's documentation of kernel TLS.
SOL_TCP, TCP_ULP, ULP_TLS = 6, 31, b"tls"
SOL_TLS, TLS_NAME, NAME_MAX = 282, 1, 256


def _shake_hands(carrier, name):
    """
    Have the worker say that the other end of the socket `carrier` speaks TLS, and by which name
    it was checked. Without a socket, that every open connection to `name` does.
    """
    if carrier is None:
        _check_by_name(name)
        return
    _ask(carrier, SOL_TCP, TCP_ULP, ULP_TLS)
    if name is None:
        return
    checked = carrier.getsockopt(SOL_TLS, TLS_NAME, NAME_MAX).rstrip(b"\0").decode()
    if _canonical(checked) != _canonical(name):
        raise _mismatch(checked, name)


def _check_by_name(name):
    if name is None:
        raise _failure(
            "NO_NAME",
            "give server_hostname: without a socket, a connection is known by its name alone",
        )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asked:
        _ask(asked, SOL_TLS, TLS_NAME, _canonical(name).encode())


def _ask(carrier, level, option, value):
    try:
        carrier.setsockopt(level, option, value)
    except OSError as error:
        if error.errno != errno.EPROTO:
            raise
        raise _failure("NOT_TLS", error.strerror) from None


def _mismatch(checked, name):
    message = (
        f"Hostname mismatch: the connection was made to {checked!r} and its certificate was "
        f"checked for that name, not for {name!r}. Connect by the name that is meant."
    )
    made = _failure(
        "CERTIFICATE_VERIFY_FAILED",
        f"certificate verify failed: {message}",
        SSLCertVerificationError,
    )
    made.verify_code, made.verify_message = 62, message
    return made


def _canonical(name):
    """A name in lower case without its last dot, an address as inet_ntop(3) writes it."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, name))
        except (OSError, ValueError):
            pass
    return name.lower().removesuffix(".")


def _named(name):
    """The server's name as text, as wrap_socket takes it."""
    if name is None:
        return None
    if isinstance(name, (bytes, bytearray)):
        text = bytes(name).decode("ascii")
    else:
        text = name.encode("idna").decode("ascii")
    if not text or text.startswith("."):
        raise ValueError("server_hostname cannot be an empty string or start with a leading dot.")
    if "\0" in text:
        raise TypeError("embedded null character")
    return text


# ---- bytes in memory ----------------------------------------------------------------------------


class MemoryBIO:
    """A buffer between a stream and who reads and writes it."""

    def __init__(self):
        self._data = bytearray()
        self._ended = False

    @property
    def pending(self):
        return len(self._data)

    @property
    def eof(self):
        return self._ended and not self._data

    def read(self, size=-1, /):
        if size < 0 or size >= len(self._data):
            taken, self._data = bytes(self._data), bytearray()
        else:
            taken = bytes(self._data[:size])
            del self._data[:size]
        return taken

    def write(self, b, /):
        if self._ended:
            raise SSLError("cannot write() after write_eof()")
        with memoryview(b) as view:
            self._data += view.cast("B") if view.contiguous else bytes(view)
            return view.nbytes

    def write_eof(self):
        self._ended = True


class _Wrapped:
    """What a socket and an object have to say of their TLS."""

    server_side = False
    session = None
    session_reused = False

    def _require_hands(self):
        if not self._shaken:
            raise ValueError("handshake not done yet")

    def getpeercert(self, binary_form=False):
        """Certificates do not come here: what is known of one that was checked is nothing."""
        self._require_hands()
        if binary_form:
            raise _no_certificates()
        return {}

    def get_verified_chain(self):
        return []

    get_unverified_chain = get_verified_chain

    def selected_alpn_protocol(self):
        return "http/1.1" if self._shaken and "http/1.1" in self.context._alpn else None

    def selected_npn_protocol(self):
        return None

    def cipher(self):
        return LEAST_CIPHER if self._shaken else None

    def shared_ciphers(self):
        return None

    def compression(self):
        return None

    def version(self):
        """The least that the broker agrees to."""
        return LEAST_VERSION if self._shaken else None

    def get_channel_binding(self, cb_type="tls-unique"):
        raise ValueError(f"{cb_type!r} channel binding type not implemented")

    def verify_client_post_handshake(self):
        raise NotImplementedError("there are no certificates of clients here")


def _refuse_session(session):
    if session is not None:
        raise ValueError("sessions of TLS are kept outside this Python: give none")


class SSLObject(_Wrapped):
    """Bytes passed between two buffers. `carrier` is the socket below, where somebody told it."""

    carrier = None

    def __init__(self, *args, **kwargs):
        raise TypeError(
            f"{type(self).__name__} does not have a public constructor. Instances are returned "
            "by SSLContext.wrap_bio()."
        )

    @classmethod
    def _create(
        cls, incoming, outgoing, server_side=False, server_hostname=None, session=None, context=None
    ):
        made = cls.__new__(cls)
        made.server_hostname = context._name_of(server_hostname, server_side)
        _refuse_session(session)
        made.context = context
        made._incoming, made._outgoing = incoming, outgoing
        made._shaken = False
        return made

    def do_handshake(self):
        try:
            _shake_hands(self.carrier, self.server_hostname)
        except SSLError:
            raise
        except OSError as error:
            raise SSLSyscallError(error.errno, error.strerror) from error
        self._shaken = True

    def read(self, len=1024, buffer=None):
        if not self._incoming.pending and not self._incoming.eof:
            raise _wait_to_read()
        if buffer is None:
            return self._incoming.read(len)
        with memoryview(buffer) as view, view.cast("B") as target:
            size = target.nbytes if len is None or len <= 0 else min(len, target.nbytes)
            data = self._incoming.read(size)
            target[: data.__len__()] = data
        return data.__len__()

    def write(self, data):
        return self._outgoing.write(data)

    def pending(self):
        return self._incoming.pending

    def unwrap(self):
        """Nothing is said at the end: that the connection ends is all that the broker needs."""


# ---- sockets -----------------------------------------------------------------------------------


class SSLSocket(_Wrapped, socket.socket):
    """A connected socket whose other end is known to speak TLS."""

    def __init__(self, *args, **kwargs):
        raise TypeError(
            f"{type(self).__name__} does not have a public constructor. Instances are returned "
            "by SSLContext.wrap_socket()."
        )

    @classmethod
    def _create(
        cls,
        sock,
        server_side=False,
        do_handshake_on_connect=True,
        suppress_ragged_eofs=True,
        server_hostname=None,
        context=None,
        session=None,
    ):
        if sock.getsockopt(SOL_SOCKET, SO_TYPE) != socket.SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        if context.check_hostname and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        name = context._name_of(server_hostname, server_side)
        _refuse_session(session)
        made = cls.__new__(cls)
        timeout, parts = sock.gettimeout(), (sock.family, sock.type, sock.proto, sock.fileno())
        socket.socket.__init__(made, *parts)
        sock.detach()
        made.settimeout(timeout)
        made.context, made.server_hostname = context, name
        made.do_handshake_on_connect = do_handshake_on_connect
        made.suppress_ragged_eofs = suppress_ragged_eofs
        made._shaken = False
        try:
            made._begin()
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self):
        if self.do_handshake_on_connect and self._is_connected():
            if self.gettimeout() == 0.0:
                raise ValueError(
                    "do_handshake_on_connect should not be specified for non-blocking sockets"
                )
            self.do_handshake()

    def _is_connected(self):
        try:
            self.getpeername()
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return False
            raise
        return True

    def do_handshake(self, block=False):
        _shake_hands(self, self.server_hostname)
        self._shaken = True

    def connect(self, addr):
        super().connect(addr)
        if self.do_handshake_on_connect:
            self.do_handshake()

    def connect_ex(self, addr):
        number = super().connect_ex(addr)
        if not number and self.do_handshake_on_connect:
            self.do_handshake()
        return number

    @property
    def _sslobj(self):
        """What httpcore asks about the TLS of a socket."""
        return self if self._shaken else None

    def read(self, len=1024, buffer=None):
        if buffer is None:
            return self.recv(1024 if len is None else len)
        return self.recv_into(buffer, len)

    def write(self, data):
        return self.send(data)

    def recv(self, buflen=1024, flags=0):
        _no_flags(flags, "recv")
        try:
            return super().recv(buflen)
        except BlockingIOError:
            raise _wait_to_read() from None

    def recv_into(self, buffer, nbytes=None, flags=0):
        _no_flags(flags, "recv_into")
        try:
            return super().recv_into(buffer, nbytes or 0)
        except BlockingIOError:
            raise _wait_to_read() from None

    def send(self, data, flags=0):
        _no_flags(flags, "send")
        try:
            return super().send(data)
        except BlockingIOError:
            raise _wait_to_write() from None

    def sendall(self, data, flags=0):
        _no_flags(flags, "sendall")
        try:
            return super().sendall(data)
        except BlockingIOError:
            raise _wait_to_write() from None

    def sendfile(self, file, offset=0, count=None):
        return self._sendfile_use_send(file, offset, count)

    def pending(self):
        return 0

    def unwrap(self):
        """TLS ends with the connection: it is ended for writing, and the rest may be read."""
        self.shutdown(socket.SHUT_WR)
        return self

    def dup(self):
        raise NotImplementedError("Can't dup() SSLSocket instances")

    def accept(self):
        raise NotImplementedError("there are no servers here")

    def _refuse(self, *args, **kwargs):
        raise ValueError("a message with an address, or with parts, is not a matter of TLS")

    sendto = recvfrom = recvfrom_into = sendmsg = recvmsg = recvmsg_into = _refuse


def _no_flags(flags, call):
    if flags:
        raise ValueError(f"non-zero flags not allowed in calls to {call}() on an SSLSocket")
