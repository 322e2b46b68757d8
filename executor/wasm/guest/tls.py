"""
The guest's `ssl`: the standard library's module for a Python whose TLS is spoken outside.

Neither guest has OpenSSL, and a guest could not be trusted with certificates: the connection that
the policy grants is made, checked and encrypted by the network broker, and what comes to the
guest is plain. So a context here keeps what it is told and changes nothing by it, a wrapped
socket passes bytes through, and a handshake asks the worker whether the other end speaks TLS and
by which name it was checked. That check cannot be switched off, and no name but that one passes.
What only a TLS endpoint can do, such as serving, client certificates, or looking at the other
side's, is refused.

The last of three parts: `tls_names.py` and `tls_streams.py` are run before, in one namespace.
"""


class SSLSession:
    """Sessions of TLS are the broker's: none is ever seen here."""


class SSLContext:
    """
    Settings, kept for those who ask for them; see the top of this file for what they do.

    Only the rules between them that programs rely on are held: checking names needs checking.
    """

    sslsocket_class = None
    sslobject_class = None

    def __init__(self, protocol=None):
        self._protocol = _SSLMethod(PROTOCOL_TLS if protocol is None else protocol)
        client = self._protocol is PROTOCOL_TLS_CLIENT
        self._check_hostname = client
        self._verify_mode = CERT_REQUIRED if client else CERT_NONE
        self._options = OP_ALL | OP_NO_SSLv3 | OP_NO_COMPRESSION | OP_ENABLE_MIDDLEBOX_COMPAT
        self._verify_flags = VERIFY_X509_TRUSTED_FIRST
        self._minimum, self._maximum = TLSVersion.TLSv1_2, TLSVersion.MAXIMUM_SUPPORTED
        self._alpn = ()
        self.hostname_checks_common_name = False
        self.post_handshake_auth = False
        self.keylog_filename = None
        self.sni_callback = None
        self.num_tickets = 2
        self.security_level = 2
        self._msg_callback = None

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    protocol = property(lambda self: self._protocol)

    @property
    def check_hostname(self):
        return self._check_hostname

    @check_hostname.setter
    def check_hostname(self, on):
        self._check_hostname = bool(on)
        if on and self._verify_mode is CERT_NONE:
            self._verify_mode = CERT_REQUIRED

    @property
    def verify_mode(self):
        return self._verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        mode = VerifyMode(mode)
        if mode is CERT_NONE and self._check_hostname:
            raise ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.")
        self._verify_mode = mode

    @property
    def options(self):
        return self._options

    @options.setter
    def options(self, value):
        self._options = Options(value)

    @property
    def verify_flags(self):
        return self._verify_flags

    @verify_flags.setter
    def verify_flags(self, value):
        self._verify_flags = VerifyFlags(value)

    @property
    def minimum_version(self):
        return self._minimum

    @minimum_version.setter
    def minimum_version(self, value):
        self._minimum = TLSVersion(value)

    @property
    def maximum_version(self):
        return self._maximum

    @maximum_version.setter
    def maximum_version(self, value):
        self._maximum = TLSVersion(value)

    def load_verify_locations(self, cafile=None, capath=None, cadata=None):
        if cafile is None and capath is None and cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        for path in (cafile, capath):
            if path is not None:
                os.stat(path)

    def load_default_certs(self, purpose=Purpose.SERVER_AUTH):
        if not isinstance(purpose, _ASN1Object):
            raise TypeError(purpose)

    def set_default_verify_paths(self):
        pass

    def load_cert_chain(self, certfile, keyfile=None, password=None):
        raise _failure(
            "NO_CLIENT_CERTIFICATES",
            f"a certificate of this side cannot be used: {OUTSIDE}. A secret that a service wants "
            "is the policy's to add (network, credentials)",
        )

    def load_dh_params(self, path, /):
        os.stat(path)

    def set_alpn_protocols(self, alpn_protocols):
        names = tuple(bytes(name, "ascii") for name in alpn_protocols)
        if not all(0 < len(name) < 256 for name in names):
            raise SSLError("ALPN protocols must be 1 to 255 in length")
        self._alpn = tuple(name.decode() for name in names)

    def set_npn_protocols(self, npn_protocols):
        raise NotImplementedError("NPN is no part of this ssl module")

    def set_ciphers(self, ciphers, /):
        if not isinstance(ciphers, str):
            raise TypeError("the ciphers are a string")

    set_ciphersuites = set_groups = set_client_sigalgs = set_server_sigalgs = set_ciphers

    def set_ecdh_curve(self, name, /):
        pass

    def set_servername_callback(self, server_name_callback):
        self.sni_callback = server_name_callback

    def set_psk_client_callback(self, callback):
        raise NotImplementedError("TLS-PSK is no part of this ssl module")

    set_psk_server_callback = set_psk_client_callback

    def get_ciphers(self):
        return []

    def get_ca_certs(self, binary_form=False):
        return []

    def cert_store_stats(self):
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def session_stats(self):
        names = "number connect connect_good connect_renegotiate accept accept_good"
        more = "accept_renegotiate hits misses timeouts cache_full"
        return dict.fromkeys(f"{names} {more}".split(), 0)

    def wrap_socket(
        self,
        sock,
        server_side=False,
        do_handshake_on_connect=True,
        suppress_ragged_eofs=True,
        server_hostname=None,
        session=None,
    ):
        return (self.sslsocket_class or SSLSocket)._create(
            sock,
            server_side,
            do_handshake_on_connect,
            suppress_ragged_eofs,
            server_hostname,
            self,
            session,
        )

    def wrap_bio(self, incoming, outgoing, server_side=False, server_hostname=None, session=None):
        return (self.sslobject_class or SSLObject)._create(
            incoming, outgoing, server_side, server_hostname, session, self
        )

    def _name_of(self, server_hostname, server_side):
        """The name that a handshake is to find, after the checks that both wrappings make."""
        if server_side or self._protocol is PROTOCOL_TLS_SERVER:
            raise NotImplementedError(f"there are no servers here: {OUTSIDE}")
        return _named(server_hostname)


def create_default_context(purpose=Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None):
    """A context with the library's settings for clients."""
    if not isinstance(purpose, _ASN1Object):
        raise TypeError(purpose)
    server = purpose == Purpose.CLIENT_AUTH
    context = SSLContext(PROTOCOL_TLS_SERVER if server else PROTOCOL_TLS_CLIENT)
    context.verify_flags |= VERIFY_X509_PARTIAL_CHAIN | VERIFY_X509_STRICT
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    return context


def _create_unverified_context(
    protocol=None,
    *,
    cert_reqs=None,
    check_hostname=False,
    purpose=Purpose.SERVER_AUTH,
    certfile=None,
    keyfile=None,
    cafile=None,
    capath=None,
    cadata=None,
):
    """A context that says it checks nothing. The broker checks all the same."""
    if not isinstance(purpose, _ASN1Object):
        raise TypeError(purpose)
    server = purpose == Purpose.CLIENT_AUTH
    usual = PROTOCOL_TLS_SERVER if server else PROTOCOL_TLS_CLIENT
    context = SSLContext(usual if protocol is None else protocol)
    context.check_hostname = check_hostname
    if cert_reqs is not None:
        context.verify_mode = cert_reqs
    elif not check_hostname:
        context.verify_mode = CERT_NONE
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    if certfile or keyfile:
        context.load_cert_chain(certfile, keyfile)
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    return context


_create_default_https_context = create_default_context
_create_stdlib_context = _create_unverified_context
