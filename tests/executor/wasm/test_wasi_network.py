"""
Sockets of the image `data` in its locked workers, on the test's own network.

Most programs are those of every guest; here are the calls that its `_socket` makes otherwise, and
what ends its waits.
"""

import errno
import threading
from textwrap import dedent

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from tests.executor.wasm.internet import REASON, Host, serving
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image

PRELUDE = "import asyncio, select, selectors, socket\n"
NOBODY = "nobody listens there"
# A server that answers nothing, until its test is over.
held = threading.Event()


def silent(stream):
    held.wait(60)


@pytest.fixture
def online(data_zygote):
    held.clear()
    hosts = {
        "slow_example": Host(hold=held, handler=silent),
        "silent_example": Host(handler=silent),
        "closed_example": Host(fails=(errno.ECONNREFUSED, NOBODY)),
    }
    with (
        serving(**hosts) as net,
        data_zygote.session(max_connections=8, memory_bytes=512 * MIB) as worker,
    ):
        worker.gate = net
        yield worker
        held.set()


def program(code):
    return PRELUDE + dedent(code)


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
    "a socket tells what and where it is": (
        """
        s = socket.create_connection(("echo.example", 7))
        print(s.getpeername(), s.getsockname()[0], socket.getnameinfo(s.getpeername(), 0))
        print(s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM, s.type.name)
        print(socket.socket().getsockname())
        """,
        "('198.18.0.1', 7) 198.19.255.254 ('echo.example', '7')\nTrue SOCK_STREAM\n('0.0.0.0', 0)\n",
    ),
    "names have one address": (
        """
        found = socket.getaddrinfo("Echo.example.", "https", type=socket.SOCK_STREAM)
        print([(family.name, kind.name, *rest) for family, kind, *rest in found])
        print(socket.gethostbyname("pages.example"), socket.gethostbyname_ex("echo.example"))
        print(socket.getaddrinfo("::1", 80)[0][4], socket.getservbyname("http"))
        print(socket.gethostbyaddr("198.18.0.1")[0])
        """,
        "[('AF_INET', 'SOCK_STREAM', 6, '', ('198.18.0.1', 443))]\n"
        "198.18.0.2 ('echo.example', [], ['198.18.0.1'])\n('::1', 80, 0, 0) 80\necho.example\n",
    ),
    "names that have none": (
        """
        for wrong in (("echo.example", 1, socket.AF_INET6), ("echo.example", "nothing"), (None, None)):
            try:
                socket.getaddrinfo(*wrong)
            except socket.gaierror as error:
                print(error.strerror)
        """,
        "Name or service not known\nServname not supported for ai_socktype\n"
        "Name or service not known\n",
    ),
    "timeouts": (
        """
        for act in (
            lambda: socket.create_connection(("slow.example", 7), timeout=0.05),
            lambda: socket.create_connection(("silent.example", 7), timeout=0.05).recv(1),
        ):
            try:
                act()
            except TimeoutError as error:
                print(error)
        """,
        "timed out\ntimed out\n",
    ),
    "what does not block is waited for": (
        """
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        print(s.getblocking(), s.connect_ex(("echo.example", 7)) in (0, 26))
        with selectors.DefaultSelector() as waiting:
            waiting.register(s, selectors.EVENT_WRITE)
            print(len(waiting.select(60)), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        print(select.select([s], [], [], 0.01), s.send(b"x"), select.select([s], [], [], 60)[0] == [s])
        print(s.recv(5))
        """,
        "False True\n1 0\n([], [], []) 1 True\nb'x'\n",
    ),
    "files are made of sockets": (
        """
        with socket.create_connection(("echo.example", 7)) as s, s.makefile("rwb") as f:
            f.write(b"one\\ntwo\\n")
            f.flush()
            print(f.readline(), f.readline())
        """,
        "b'one\\n' b'two\\n'\n",
    ),
    "defaults and options": (
        """
        socket.setdefaulttimeout(5)
        s = socket.socket()
        socket.setdefaulttimeout(None)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, None, 8)
        print(s.gettimeout(), s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        """,
        "5.0 b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\n",
    ),
    "asyncio": (
        """
        async def ask(word):
            reader, writer = await asyncio.open_connection("echo.example", 7)
            writer.write(word)
            writer.write_eof()
            return await reader.read()
        print(await asyncio.gather(ask(b"one"), ask(b"two")))
        """,
        "[b'one', b'two']\n",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_uses_sockets_runs(online, name):
    code, output = PROGRAMS[name]
    assert online.run(program(code)).ok().stdout.decode() == output


DENIED = f"PermissionError: [Errno 2] {REASON}"
REFUSED = {
    "a name": ("socket.getaddrinfo('other.example', 80)", DENIED),
    "an address": ("s = socket.socket(); s.connect(('192.0.2.1', 80))", DENIED),
    "datagrams": ("socket.socket(type=socket.SOCK_DGRAM)", DENIED),
    "to listen": ("s = socket.socket(); s.bind(('', 80))", DENIED),
    "nobody there": (
        "socket.create_connection(('closed.example', 80))",
        f"ConnectionRefusedError: [Errno 14] {NOBODY}",
    ),
    "nobody there, within a time": (
        "socket.create_connection(('closed.example', 80), timeout=50)",
        f"ConnectionRefusedError: [Errno 14] {NOBODY}",
    ),
    "no connection": ("s = socket.socket(); s.getpeername()", "OSError: [Errno 53] "),
    "a port that is none": (
        "socket.socket().connect(('echo.example', 65536))",
        "OverflowError: connect(): port must be 0-65535.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(online, name):
    code, told = REFUSED[name]
    assert online.run(program(code)).error.startswith(told)


def test_without_a_grant_there_is_no_socket(data_zygote):
    with data_zygote.session(memory_bytes=512 * MIB) as worker, serving() as net:
        worker.gate = net
        assert worker.run(program("socket.socket()")).error == DENIED
        assert [one.network.socket for one in net.asked] == ["tcp"]


WAITS = {
    "connect": "socket.create_connection(('slow.example', 80))",
    "connect with a timeout": "socket.create_connection(('slow.example', 80), timeout=50)",
    "recv": "s.recv(1)",
    "recv with a timeout": "s.settimeout(50); s.recv(1)",
    "sendall": "s.sendall(bytes(10_000_000))",
    "select": "select.select([s], [], [])",
    "poll": "p = select.poll(); p.register(s, select.POLLIN); p.poll()",
    "asyncio": "s.setblocking(False); await asyncio.get_running_loop().sock_recv(s, 1)",
}


@pytest.mark.parametrize("name", WAITS)
def test_an_interrupt_ends_the_wait_and_the_session_goes_on(online, name):
    code = f"""
        s = socket.create_connection(("silent.example", 7))
        print("now", flush=True)
        {WAITS[name]}
        """
    cell = online.run(program(code), on=(b"now", online.signal))
    assert (cell.done.status, cell.done.error_name) == (
        wire.CellDone.INTERRUPTED,
        "KeyboardInterrupt",
    )
    again = """
        with socket.create_connection(("echo.example", 7)) as s:
            s.sendall(b"on")
            print(s.recv(2))
        """
    assert online.run(program(again)).ok().stdout == b"b'on'\n"
