"""
Real Python in a locked worker on a network: sockets, http.client, asyncio, and what ends waits.

The network is the test's (`internet.py`): real servers on loopback, reached through the streams
that a worker is passed. What a policy says and what TLS is belongs to the tests of the server.
"""

import errno
import threading

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import Errno
from tests.executor.wasm.internet import REASON, Host, serving
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image

SECRET_WAY = "[policy test, rule network[0].addresses] 10.0.0.1 is a private address"
# A server that answers nothing, until its test is over.
held = threading.Event()


def refusing_after_head(stream):
    while b"\r\n\r\n" not in stream.recv(65_536):
        pass
    stream.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
    return errno.EACCES, "POST /admin is not granted"


def silent(stream):
    held.wait(60)


@pytest.fixture
def net():
    held.clear()
    with serving(
        private_example=Host(fails=(errno.EACCES, SECRET_WAY)),
        closed_example=Host(fails=(errno.ECONNREFUSED, "nobody listens there")),
        slow_example=Host(hold=held, handler=silent),
        silent_example=Host(handler=silent),
        halfway_example=Host(handler=refusing_after_head),
        tls_example=Host(handler=silent, tls=True),
    ) as running:
        yield running
        held.set()


@pytest.fixture
def online(zygote, net):
    with zygote.session(max_connections=64, max_open_files=128) as worker:
        worker.gate = net
        yield worker
        held.set()


def shown(cell):
    return cell.ok().stdout.decode()


# ---- programs that use it -----------------------------------------------------------------------

PROGRAMS = {
    "a stream is sent and received": (
        """
        with socket.create_connection(("echo.example", 7)) as s:
            s.sendall(b"hello")
            print(s.recv(3), s.recv(3, socket.MSG_PEEK), s.recv(3))
            s.shutdown(socket.SHUT_WR)
            print(s.recv(1))
        """,
        "b'hel' b'lo' b'lo'\nb''\n",
    ),
    "a socket tells where it is": (
        """
        s = socket.create_connection(("echo.example", 7))
        print(s.getpeername(), s.getsockname(), socket.getnameinfo(s.getpeername(), 0))
        """,
        "('198.18.0.1', 7) ('198.19.255.254', 32771) ('echo.example', '7')\n",
    ),
    "names have one address": (
        """
        print(socket.getaddrinfo("echo.example", 443, type=socket.SOCK_STREAM))
        print(socket.gethostbyname("pages.example"), socket.gethostbyname_ex("echo.example"))
        print(socket.getaddrinfo("1.2.3.4", "http", flags=socket.AI_CANONNAME)[0][3:])
        """,
        "[(<AddressFamily.AF_INET: 2>, <SocketKind.SOCK_STREAM: 1>, 6, '', ('198.18.0.1', 443))]\n"
        "198.18.0.2 ('echo.example', ['echo.example'], ['198.18.0.1'])\n"
        "('1.2.3.4', ('1.2.3.4', 80))\n",
    ),
    "an address of IPv6 has one of IPv4, since the guest has no IPv6": (
        """
        s = socket.create_connection(("2001:DB8:0::7", 7))
        s.sendall(b"over")
        print(s.recv(4), s.getpeername(), socket.getnameinfo(s.getpeername(), 0)[0])
        """,
        "b'over' ('198.18.0.1', 7) 2001:db8::7\n",
    ),
    "files are made of sockets": (
        """
        s = socket.create_connection(("echo.example", 7))
        with s.makefile("rwb") as f:
            f.write(b"one\\ntwo\\n")
            f.flush()
            print(f.readline(), f.readline())
        """,
        "b'one\\n' b'two\\n'\n",
    ),
    "messages and buffers": (
        """
        s = socket.create_connection(("echo.example", 7))
        print(s.sendmsg([b"ab", b"cd"]))
        one, other = bytearray(1), bytearray(10)
        print(s.recv(4, socket.MSG_WAITALL | socket.MSG_PEEK), s.recvmsg_into([one, other])[0])
        print(one, other[:3], s.send(b"x"), s.recv_into(other), s.recvfrom)
        """.replace(", s.recvfrom", ""),
        "4\nb'abcd' 4\nbytearray(b'a') bytearray(b'bcd') 1 1\n",
    ),
    "http.client": (
        """
        import http.client
        c = http.client.HTTPConnection("pages.example", timeout=30)
        c.request("GET", "/a?b")
        print(c.getresponse().read())
        c.request("POST", "/", b"x" * 100_000)
        print(len(c.getresponse().read()))
        """,
        "b'you asked for /a?b'\n100000\n",
    ),
    "urllib": (
        """
        import urllib.request
        print(urllib.request.urlopen("http://pages.example/page").read())
        """,
        "b'you asked for /page'\n",
    ),
    "asyncio streams, many at once": (
        """
        import asyncio
        async def ask(number):
            reader, writer = await asyncio.open_connection("echo.example", 7)
            writer.write(b"%d\\n" % number)
            await writer.drain()
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return int(line)
        print(sum(await asyncio.gather(*map(ask, range(50)))))
        """,
        "1225\n",
    ),
    "asyncio's own socket calls, and a timeout": (
        """
        import asyncio
        loop = asyncio.get_running_loop()
        s = socket.socket()
        s.setblocking(False)
        await loop.sock_connect(s, ("echo.example", 7))
        await loop.sock_sendall(s, b"x" * 300_000)
        got = 0
        while got < 300_000:
            got += len(await loop.sock_recv(s, 100_000))
        print(got)
        try:
            async with asyncio.timeout(0.01):
                await loop.sock_recv(s, 1)
        except TimeoutError:
            print("over")
        """,
        "300000\nover\n",
    ),
    "fifty connections at once": (
        """
        held = [socket.create_connection(("echo.example", 7)) for _ in range(50)]
        for number, s in enumerate(held):
            s.sendall(b"%d" % number)
        print(sum(int(s.recv(9)) for s in held))
        """,
        "1225\n",
    ),
    "select and selectors": (
        """
        import select, selectors
        quiet = socket.create_connection(("silent.example", 7))
        s = socket.create_connection(("echo.example", 7))
        print(select.select([s, quiet], [], [], 0)[0], select.select([], [s], [])[1] == [s])
        s.send(b"x")
        print(select.select([s, quiet], [], [])[0] == [s])
        with selectors.DefaultSelector() as waiting:
            waiting.register(s, selectors.EVENT_READ, "echo")
            waiting.register(quiet, selectors.EVENT_READ, "quiet")
            print([key.data for key, _ in waiting.select()])
        """,
        "[] True\nTrue\n['echo']\n",
    ),
    "a connect that does not block": (
        """
        import errno, select
        s = socket.socket()
        s.setblocking(False)
        first = s.connect_ex(("echo.example", 7))
        select.select([], [s], [])
        print(errno.errorcode.get(first), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        """,
        None,
    ),
    "timeouts": (
        """
        s = socket.create_connection(("silent.example", 7))
        s.settimeout(0.01)
        try:
            s.recv(1)
        except TimeoutError as error:
            print(error)
        try:
            socket.create_connection(("slow.example", 7), timeout=0.01)
        except TimeoutError as error:
            print(error)
        """,
        "timed out\ntimed out\n",
    ),
}


def program(text):
    lines = text.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "import socket\n" + "\n".join(line[indent:] for line in lines)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_find_the_network_that_they_know(online, name):
    text, expected = PROGRAMS[name]
    said = shown(online.run(program(text)))
    if expected is not None:
        assert said == expected
    else:
        assert said in {"EINPROGRESS 0\n", "None 0\n"}


TRANSFER = """
import select, socket, time
size, block = {size}, bytes(range(256)) * 1024
s = socket.create_connection(("echo.example", 7))
s.setblocking(False)
sent = got = wrong = 0
while got < size:
    readable, writable, _ = select.select([s], [s] if sent < size else [], [])
    if writable:
        at = sent % 256
        sent += s.send(block[at : at + size - sent])
    if readable:
        data = s.recv(65536)
        wrong += data[:1] != bytes([got % 256]) or data[-1] != (got + len(data) - 1) % 256
        got += len(data)
print(sent, got, wrong)
"""


def test_ten_mebibytes_go_there_and_back(online):
    said = shown(online.run(TRANSFER.format(size=10 * MIB)))
    assert said == f"{10 * MIB} {10 * MIB} 0\n"


def test_a_blocking_send_of_more_than_the_stream_holds_goes_on_as_it_is_read(online, net):
    counted = []

    def count(stream):
        total = 0
        while data := stream.recv(2**18):
            total += len(data)
        counted.append(total)

    net.hosts["sink.example"] = Host(handler=count)
    online.run(
        program("""
        with socket.create_connection(("sink.example", 7)) as s:
            s.sendall(bytes(10 * 2**20))
        """)
    ).ok()
    net.close()
    assert counted == [10 * MIB]


# ---- what is refused, and why -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        ("socket.getaddrinfo('other.example', 80)", "PermissionError", "resolve"),
        ("socket.create_connection(('other.example', 80))", "PermissionError", "resolve"),
        ("socket.create_connection(('93.184.216.34', 80))", "PermissionError", "connect"),
        ("socket.create_connection(('::ffff:127.0.0.1', 80))", "PermissionError", "resolve"),
        ("socket.create_connection(('::1', 80))", "PermissionError", "resolve"),
        ("socket.socket(type=socket.SOCK_DGRAM)", "PermissionError", "network"),
        ("socket.socket(1)", "PermissionError", "network"),
        ("s = socket.socket(); s.bind(('', 0))", "PermissionError", "network"),
        ("s = socket.socket(); s.listen()", "PermissionError", "network"),
    ],
)
def test_what_the_gate_refuses_is_a_permission_error_with_its_reason(online, code, name, kind):
    cell = online.run(f"import socket\n{code}").raised(name)
    assert REASON in cell.error
    assert [str(ask.WhichOneof("ask")) for ask in cell.asks] == [kind]


def test_under_a_policy_without_network_there_is_no_socket(session, net):
    session.gate = net
    cell = session.run("import socket\nsocket.socket()").raised("PermissionError")
    assert REASON in cell.error
    assert [ask.network.socket for ask in cell.asks] == ["tcp"]


@pytest.mark.parametrize("timeout", ["None", "30"])
@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("private.example", f"PermissionError: [Errno {int(Errno.EACCES)}] {SECRET_WAY}"),
        (
            "closed.example",
            f"ConnectionRefusedError: [Errno {int(Errno.ECONNREFUSED)}] nobody listens there",
        ),
    ],
)
def test_a_connection_that_fails_raises_its_reason(online, host, error, timeout):
    """
    With a timeout Python does not block, polls, and reads SO_ERROR.
    """
    code = f"import socket\nsocket.create_connection(({host!r}, 80), timeout={timeout})"
    assert online.run(code).error == error


def test_a_connection_that_fails_raises_its_reason_in_asyncio(online):
    cell = online.run("import asyncio\nawait asyncio.open_connection('private.example', 80)")
    assert cell.raised("PermissionError").error.endswith(SECRET_WAY)


def test_a_connection_that_is_ended_raises_its_reason_after_what_had_come(online):
    code = program("""
        s = socket.create_connection(("halfway.example", 80))
        s.sendall(b"POST /admin HTTP/1.1\\r\\n\\r\\n")
        got = b""
        while not got.endswith(b"part"):
            got += s.recv(100)
        print(got.decode())
        s.recv(1)
        """)
    cell = online.run(code).raised("PermissionError")
    assert cell.error == "PermissionError: [Errno 2] POST /admin is not granted"
    assert cell.stdout.endswith(b"part\n")


def test_more_connections_than_the_limit_are_refused_and_the_rest_go_on(zygote, net):
    code = program("""
        held = [socket.create_connection(("echo.example", 7)) for _ in range(2)]
        try:
            socket.create_connection(("echo.example", 7))
        except OSError as error:
            print(error)
        held.pop().close()
        with socket.create_connection(("echo.example", 7)) as s:
            s.sendall(b"on")
            print(s.recv(2))
        """)
    with zygote.session(max_connections=2) as worker:
        worker.gate = net
        cell = worker.run(code)
    assert "2 connections open at once (`limits.connections`)" in shown(cell)
    assert cell.stdout.endswith(b"b'on'\n")
    assert sum(ask.WhichOneof("ask") == "connect" for ask in cell.asks) == 3


def test_a_stream_that_is_announced_and_not_sent_ends_the_session(online):
    online.gate = lambda _: wire.Answer(connected=wire.Connected(connection=1))
    cell = online.run("import socket\nsocket.create_connection(('echo.example', 7))").ended()
    assert cell.done.reason == "the cage failed: InternalError"


def test_tls_is_asked_for_by_ioctl_and_told_by_getsockopt(online):
    code = program("""
        import fcntl, struct
        def ask(s, level, name, value):
            fcntl.ioctl(s, 0x89E0, struct.pack("<iiI", level, name, len(value)) + value)
        one = socket.create_connection(("tls.example", 443))
        other = socket.create_connection(("silent.example", 80))
        ask(one, 6, 31, b"tls")
        ask(other, 282, 1, b"tls.example")
        print(one.getsockopt(6, 31, 8), one.getsockopt(282, 1, 100))
        for s, level, name, value in ((other, 6, 31, b"tls"), (one, 282, 1, b"silent.example")):
            try:
                ask(s, level, name, value)
            except OSError as error:
                print(error)
        """)
    lines = shown(online.run(code)).splitlines()
    assert lines[0] == r"b'tls\x00' b'tls.example'"
    assert "in the clear" in lines[1]
    assert "no connection to that name" in lines[2]


# ---- interrupts ---------------------------------------------------------------------------------

WAITS = {
    "connect": "socket.create_connection(('slow.example', 80))",
    "connect with a timeout": "socket.create_connection(('slow.example', 80), timeout=50)",
    "recv": "s.recv(1)",
    "recv with a timeout": "s.settimeout(50); s.recv(1)",
    "send": "while True: s.send(bytes(100_000))",
    "sendall": "s.sendall(bytes(10_000_000))",
    "select": "select.select([s], [], [])",
    "poll": "p = select.poll(); p.register(s, select.POLLIN); p.poll()",
    "asyncio": "await asyncio.get_running_loop().sock_recv(s, 1)",
}


@pytest.mark.parametrize("name", WAITS)
def test_an_interrupt_ends_the_wait_and_the_session_goes_on(online, name):
    code = program(f"""
        import asyncio, select
        s = socket.create_connection(("silent.example", 7))
        if {name == "asyncio"}: s.setblocking(False)
        print("now", flush=True)
        {WAITS[name]}
        """)
    cell = online.run(code, on=(b"now", online.signal))
    assert (cell.done.status, cell.done.error_name) == (
        wire.CellDone.INTERRUPTED,
        "KeyboardInterrupt",
    )
    again = program("""
        with socket.create_connection(("echo.example", 7)) as s:
            s.sendall(b"on")
            print(s.recv(2))
        """)
    assert shown(online.run(again)) == "b'on'\n"


# ---- what a worker holds ------------------------------------------------------------------------


def test_a_connection_is_one_descriptor_that_goes_with_its_socket(online):
    before = online.process.num_fds()
    online.run(
        "import socket\nheld = [socket.create_connection(('echo.example', 7)) for _ in 'abc']"
    )
    assert online.process.num_fds() == before + 3
    online.run("[s.close() for s in held]").ok()
    assert online.process.num_fds() == before


def test_getaddrinfo_gives_its_memory_back(online):
    """
    The structure is the guest's malloc's: freed as its libc frees it, in all of its forms.
    """
    code = program("""
        for _ in range(50_000):
            socket.getaddrinfo("1.2.3.4", 80, flags=socket.AI_CANONNAME)
        """)
    online.run(code).ok()
    before = online.run("0").ok().done.peak_memory_bytes
    assert online.run(code).ok().done.peak_memory_bytes == before


def test_on_a_virtual_clock_a_connection_is_waited_for_and_a_vain_wait_passes(zygote, net):
    code = program("""
        import time
        s = socket.create_connection(("echo.example", 7), timeout=20)
        s.sendall(b"there")
        print(s.recv(5))
        quiet = socket.create_connection(("silent.example", 7))
        quiet.settimeout(0.25)
        before = time.monotonic()
        try:
            quiet.recv(1)
        except TimeoutError:
            print(0.25 <= time.monotonic() - before < 0.26)
        """)
    with zygote.session(max_connections=4, virtual_clock_ns=10**18) as worker:
        worker.gate = net
        assert shown(worker.run(code)) == "b'there'\nTrue\n"
        held.set()
