"""
The guest's `ssl` in locked workers, on a network of the test's: `secure.example` speaks TLS with
the other end as the broker would, `pages.example` and `echo.example` do not.

What green does not prove: that a certificate is checked. That is the broker's, and tested there.
"""

from contextlib import ExitStack
from dataclasses import replace
from textwrap import dedent

import pytest

from tests.executor.wasm.internet import serving
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image

ZYGOTES = {"core": "zygote", "data": "data_zygote"}
PRELUDE = "import asyncio, http.client, select, socket, ssl, urllib.request\n"


@pytest.fixture(scope="module", params=ZYGOTES)
def running(request):
    return request.getfixturevalue(ZYGOTES[request.param])


@pytest.fixture
def online(running):
    with ExitStack() as stack:
        net = stack.enter_context(serving())
        net.hosts["secure.example"] = replace(net.hosts["pages.example"], tls=True)
        net.hosts["secure-echo.example"] = replace(net.hosts["echo.example"], tls=True)
        worker = stack.enter_context(
            running.session(max_connections=64, max_open_files=128, memory_bytes=512 * MIB)
        )
        worker.gate = net
        yield worker


def printed(worker, code):
    return worker.run(PRELUDE + dedent(code)).ok().stdout.decode()


# ---- what programs do ---------------------------------------------------------------------------

PROGRAMS = {
    "urllib reads a page": (
        "print(urllib.request.urlopen('https://secure.example/a').read())",
        "b'you asked for /a'\n",
    ),
    "one connection serves two requests": (
        """
        c = http.client.HTTPSConnection("secure.example")
        for path in ("/a", "/b"):
            c.request("GET", path)
            print(c.getresponse().read())
        print(type(c.sock).__name__, c.sock.version(), c.sock.getpeercert(), c.sock.session)
        """,
        "b'you asked for /a'\nb'you asked for /b'\nSSLSocket TLSv1.2 {} None\n",
    ),
    "a context that checks nothing changes nothing": (
        """
        c = ssl._create_unverified_context()
        print(urllib.request.urlopen("https://secure.example/a", context=c).read())
        """,
        "b'you asked for /a'\n",
    ),
    "a socket is wrapped before it is connected": (
        """
        s = ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="Secure-Echo.example.")
        print(s.version(), s.cipher())
        s.connect(("secure-echo.example", 443))
        s.sendall(b"hello")
        print(s.version(), s.read(5), s.pending())
        s.unwrap()
        print(s.recv(1))
        """,
        "None None\nTLSv1.2 b'hello' 0\nb''\n",
    ),
    "a socket that does not block says what it wants": (
        """
        s = socket.create_connection(("secure-echo.example", 443))
        s.setblocking(False)
        s = ssl.create_default_context().wrap_socket(
            s, server_hostname="secure-echo.example", do_handshake_on_connect=False
        )
        s.do_handshake()
        for act in (lambda: s.recv(1), lambda: s.recv_into(bytearray(1))):
            try:
                act()
            except ssl.SSLWantReadError:
                print("wants to read")
        try:
            while True:
                s.send(bytes(2**20))
        except ssl.SSLWantWriteError:
            print("wants to write")
        """,
        "wants to read\nwants to read\nwants to write\n",
    ),
    "streams of asyncio": (
        """
        async def ask(path):
            reader, writer = await asyncio.open_connection("secure.example", 443, ssl=True)
            writer.write(f"GET {path} HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n".encode())
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer.rpartition(b"\\r\\n")[2]
        print(await asyncio.gather(ask("/a"), ask("/b")))
        """,
        "[b'you asked for /a', b'you asked for /b']\n",
    ),
    "a connection that speaks TLS takes start_tls": (
        """
        reader, writer = await asyncio.open_connection("secure-echo.example", 443)
        await writer.start_tls(ssl.create_default_context(), server_hostname="secure-echo.example")
        writer.write(b"hello")
        print(await reader.readexactly(5), writer.get_extra_info("ssl_object").version())
        """,
        "b'hello' TLSv1.2\n",
    ),
    "buffers are known by their name": (
        """
        s = socket.create_connection(("secure-echo.example", 443))
        read, write = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = ssl.create_default_context().wrap_bio(read, write, server_hostname="secure-echo.example")
        o.do_handshake()
        print(o.write(b"hello"), write.read())
        try:
            o.read(1)
        except ssl.SSLWantReadError:
            read.write(b"answer")
        print(o.read(3), o.pending(), o.read())
        read.write_eof()
        print(o.read())
        """,
        "5 b'hello'\nb'ans' 3 b'wer'\nb''\n",
    ),
    "options are kept, and what a policy says of proxies is all that is heard": (
        """
        import os
        os.environ["https_proxy"] = os.environ["HTTP_PROXY"] = "http://elsewhere.example:3128"
        os.environ["SSLKEYLOGFILE"] = "/tmp/keys"
        print(urllib.request.urlopen("https://secure.example/a").read(), urllib.request.getproxies())
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, b"\\1\\0\\0\\0")
        print(s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), os.path.exists("/tmp/keys"))
        """,
        "b'you asked for /a' {}\n1 False\n",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_speaks_tls_runs(online, name):
    code, output = PROGRAMS[name]
    assert printed(online, code) == output


# ---- what is refused ----------------------------------------------------------------------------

CLEAR = "SSLError: [SSL: NOT_TLS] TLS was asked for on the connection to "
ANOTHER = "SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] "
REFUSED = {
    "a connection in the clear": (
        "http.client.HTTPSConnection('pages.example', 80).connect()",
        f"{CLEAR}pages.example",
    ),
    "a connection in the clear, for a context that checks nothing": (
        """
        c = ssl._create_unverified_context()
        http.client.HTTPSConnection("pages.example", 80, context=c).connect()
        """,
        f"{CLEAR}pages.example",
    ),
    "STARTTLS": (
        """
        reader, writer = await asyncio.open_connection("echo.example", 25)
        await writer.start_tls(ssl.create_default_context(), server_hostname="echo.example")
        """,
        f"{CLEAR}echo.example",
    ),
    "the name of another": (
        """
        s = socket.create_connection(("secure.example", 443))
        ssl.create_default_context().wrap_socket(s, server_hostname="other.example")
        """,
        f"{ANOTHER}certificate verify failed: Hostname mismatch: the connection was made to "
        "'secure.example'",
    ),
    "the name of another, for a context that checks nothing": (
        """
        s = socket.create_connection(("secure.example", 443))
        ssl._create_unverified_context().wrap_socket(s, server_hostname="other.example")
        """,
        ANOTHER,
    ),
    "the name of another in asyncio": (
        "await asyncio.open_connection('secure.example', 443, ssl=True, server_hostname='b.example')",
        ANOTHER,
    ),
    "buffers of nobody's": (
        """
        c = ssl.create_default_context()
        c.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="secure.example").do_handshake()
        """,
        "SSLError: [SSL: NOT_TLS] TLS was asked for with secure.example, and no connection",
    ),
    "buffers without a name": (
        """
        c = ssl._create_unverified_context()
        c.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()).do_handshake()
        """,
        "SSLError: [SSL: NO_NAME] give server_hostname",
    ),
    "a server": (
        "ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(socket.socket(), server_side=True)",
        "NotImplementedError: there are no servers here",
    ),
    "a certificate of this side": (
        "ssl.create_default_context().load_cert_chain('mine.pem')",
        "SSLError: [SSL: NO_CLIENT_CERTIFICATES] a certificate of this side cannot be used",
    ),
    "a look at the other side's certificate": (
        """
        c = http.client.HTTPSConnection("secure.example")
        c.connect()
        c.sock.getpeercert(binary_form=True)
        """,
        "SSLError: [SSL: NO_CERTIFICATES] the other side's certificate cannot be looked at",
    ),
    "a server's certificate": (
        "ssl.get_server_certificate(('secure.example', 443))",
        "SSLError: [SSL: NO_CERTIFICATES]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_said(online, name):
    code, told = REFUSED[name]
    cell = online.run(PRELUDE + dedent(code))
    assert cell.error.startswith(told)


def test_ssl_is_imported_when_it_is_asked_for(running):
    with running.session(memory_bytes=512 * MIB) as worker:
        before = worker.run("import sys; 'ssl' in sys.modules").ok().text
        assert before == "False"
        assert worker.run("import ssl; ssl.OPENSSL_VERSION").ok().text.startswith("'OpenSSL 3.0 ")
