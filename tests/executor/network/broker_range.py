"""
Acts under the broker's lock: one forked, locked process for each, as `cage_range` does for workers.

What comes before an act's `yield` happens before the lock, what comes after it is done by a
broker that has been taken over, or by an honest one. Attacks that have nothing to do with what a
process is are those of `cage_acts`. Run by exec: pytest has threads, and forks badly.
"""

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent / "linux"), str(HERE)]

import cage_work  # noqa: E402
from cage_acts import ACTS, LIBC, PAGE, address, simple  # noqa: E402
from cage_range import NOBODY, Outcome, World, refuse  # noqa: E402

from codecage.network.v1 import network_pb2 as wire  # noqa: E402
from executor.kernel.frames import encode  # noqa: E402
from executor.linux import service_lock  # noqa: E402
from executor.linux.descriptors import send_stream  # noqa: E402
from executor.linux.filters import KILL_PROCESS, Refuse  # noqa: E402
from executor.linux.libc import call  # noqa: E402
from executor.network import broker  # noqa: E402
from executor.network.control import Control  # noqa: E402
from executor.network.lock import BROKER  # noqa: E402
from executor.network.owned import Routes  # noqa: E402
from executor.network.streams import Patience, SocketStream  # noqa: E402

Round = Generator[None, None, object]
# Another service's range has its own here.
SERVICE = BROKER
KINDS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def act(function: Callable[[World], Round]) -> None:
    ACTS[f"broker_{function.__name__}"] = function


simple("broker_socket_unix", "socket", socket.AF_UNIX, socket.SOCK_STREAM | KINDS, 0)
simple("broker_socket_blocking", "socket", socket.AF_INET, socket.SOCK_STREAM, 0)
simple("broker_socket_seqpacket", "socket", socket.AF_INET, socket.SOCK_SEQPACKET | KINDS, 132)
simple("broker_socket_mptcp", "socket", socket.AF_INET, socket.SOCK_STREAM | KINDS, 262)
simple("broker_socket_udplite", "socket", socket.AF_INET, socket.SOCK_DGRAM | KINDS, 136)
simple("broker_socket_raw", "socket", socket.AF_INET, socket.SOCK_RAW | KINDS, 1)
simple("broker_socket_packet", "socket", socket.AF_PACKET, socket.SOCK_RAW | KINDS, 0)
simple("broker_socket_netlink", "socket", socket.AF_NETLINK, socket.SOCK_RAW | KINDS, 0)
simple("broker_mprotect", "mprotect", 0, 0, 1)


def _stream() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | KINDS)


@act
def listen(world: World) -> Round:
    held = _stream()
    yield
    held.listen()
    return "listens"


@act
def bind_a_stream(world: World) -> Round:
    held = _stream()
    yield
    held.bind(("127.0.0.1", 0))
    return "bound"


@act
def bind_datagrams(world: World) -> Round:
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | KINDS)
    yield
    held.bind(("127.0.0.1", 0))
    return "bound"


@act
def accept(world: World) -> Round:
    held = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(held.getsockname()):
        yield
        return held.accept()[0].fileno() > 0


@act
def send_to_an_address(world: World) -> Round:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | KINDS)
    yield
    return datagrams.sendto(b"x", ("127.0.0.1", 9))


@act
def set_another_option(world: World) -> Round:
    held = _stream()
    yield
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return "set"


@act
def spoof_a_source(world: World) -> Round:
    held = _stream()
    yield
    held.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    return "set"


@act
def take_a_signal_for_input(world: World) -> Round:
    yield
    return call("fcntl", world.channel.fileno(), 8, os.getpid())  # F_SETOWN


@act
def dial(world: World) -> Round:
    """
    A connection as the broker makes it, to a listener whose queue takes it.
    """
    server = socket.create_server(("127.0.0.1", 0))
    place = server.getsockname()
    loop = asyncio.new_event_loop()
    yield

    async def connected() -> str:
        held = _stream()
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(held, place)
        stream = SocketStream(held, Patience(1, 1, "nobody"))
        await stream.write(b"hello")
        await stream.finish()
        await stream.close()
        return "dialled"

    return loop.run_until_complete(connected())


@act
def reset(world: World) -> Round:
    """
    A guest's own connection that ends badly.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    stream = SocketStream(ours, Patience(1, 1, "nobody"))
    yield
    stream.reset_now()
    try:
        return theirs.recv(1).decode()
    except ConnectionResetError:
        return "reset"


@act
def relay(world: World) -> Round:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    loop = asyncio.new_event_loop()
    yield

    async def moved() -> str:
        one, other = (SocketStream(end, Patience(9, 9, "nobody")) for end in (left, right))
        reading = asyncio.ensure_future(other.read(10))
        await asyncio.sleep(0)
        await one.write(b"hello")
        return f"{(await reading).decode()} {one.hung_up()}"

    return loop.run_until_complete(moved())


@act
def receive_an_open(world: World) -> Round:
    ours, theirs = socket.socketpair()
    left, _right = socket.socketpair()
    data = encode(wire.ToBroker(open=wire.Open(connection=7)).SerializeToString())
    send_stream(ours, data, left.fileno())
    control = Control(theirs)
    loop = asyncio.new_event_loop()
    yield

    async def received() -> wire.ToBroker:
        came: asyncio.Future[wire.ToBroker] = asyncio.get_running_loop().create_future()
        control.start(came.set_result, print)
        return await came

    frame = loop.run_until_complete(received())
    with control.stream(tcp=False) as stream:
        return [frame.open.connection, stream.gettimeout()]


@act
def ask_for_a_route(world: World) -> Round:
    routes = Routes()
    yield
    return routes.way("127.0.0.1").own


@act
def tls(world: World) -> Round:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    broker._import_all()
    yield
    client = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.pending > 100


@act
def do_once(world: World) -> Round:
    once = ctypes.c_int(0)
    routine = ctypes.cast(LIBC.pthread_self, ctypes.c_void_p)
    yield
    return LIBC.pthread_once(ctypes.byref(once), routine)


@act
def memory(world: World) -> Round:
    LIBC.malloc.restype = LIBC.realloc.restype = ctypes.c_void_p
    yield
    start = call("brk", 0)
    moved = call("brk", start + 2**20) - start
    held = bytearray(2**24)
    held += bytes(2**25)
    del held
    page = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    return [moved, call("mremap", page, PAGE, 2 * PAGE, 1) > 0]


@act
def clocks_and_entropy(world: World) -> Round:
    clock = address(bytes(16))
    yield
    return [call("clock_gettime", which, clock) for which in (0, 1)] + [len(os.urandom(8))]


@act
def standard_error(world: World) -> Round:
    yield
    return os.write(2, b"a fatal error\n")


@act
def standard_output(world: World) -> Round:
    yield
    return os.write(1, b"")


@act
def poll(world: World) -> Round:
    waiting = select.poll()
    waiting.register(world.channel, select.POLLIN)
    yield
    return len(waiting.poll(0))


@act
def abort(world: World) -> Round:
    yield
    os.abort()


@act
def hold_a_file(world: World) -> Round:
    world.kept.add(os.open("/etc/passwd", os.O_RDONLY))
    yield
    return "locked"


@act
def hold_a_directory(world: World) -> Round:
    world.kept.add(os.open("/", os.O_PATH))
    yield
    return "locked"


@act
def name_itself(world: World) -> Round:
    yield
    return os.getpid() > 1


def _child(job: dict[str, object], channel: socket.socket, parent: int) -> None:
    own, reached = os.getpid(), False
    world = World(channel, {channel.fileno()})
    rounds = ACTS[str(job["act"])](world)
    try:
        next(rounds)
        if job["caged"]:
            _lock(parent, job)
        channel.send(b"+")
        reached = True
        next(rounds)
    except StopIteration as stop:
        answer = {"value": stop.value}
    except OSError as error:
        answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
    except Exception as error:  # noqa: BLE001 - whatever it is goes to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    if own == os.getpid():
        channel.send(json.dumps({**answer, "reached": reached}).encode())
    os._exit(0)


def _lock(parent: int, job: dict[str, object]) -> None:
    if "refuse" in job:
        number = getattr(errno, str(job.get("errno", "")), 0)
        refuse(str(job["refuse"]), number, job.get("option"))  # type: ignore[arg-type]
    service = SERVICE
    if "remove" in job:
        # Under the lock no filter is loaded any more, so the table itself lacks the row.
        rows = tuple(row for row in service.filter.rows if row.name != job["remove"])
        killed = Refuse(str(job["remove"]), "the test says so", KILL_PROCESS)
        service = replace(service, filter=replace(service.filter, rows=(*rows, killed)))
    user = NOBODY if os.geteuid() == 0 and not job.get("stay_root") else 0
    parent += int(bool(job.get("other_parent")))
    service_lock.lock_down(service_lock.Confinement(service, parent, user, user))


def _judge(job: dict[str, object]) -> dict[str, object]:
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            _child(job, theirs, parent)
        finally:
            os._exit(1)
    theirs.close()
    received = b""
    with contextlib.suppress(ConnectionResetError):
        received += b"".join(iter(lambda: ours.recv(65536), b""))
    ours.close()
    _, status = os.waitpid(pid, 0)
    reached, _, answer = received.partition(b"{")
    if os.WIFSIGNALED(status):
        return {"signal": signal.Signals(os.WTERMSIG(status)).name, "reached": reached == b"+"}
    if not answer:
        return {"value": "another program", "reached": reached == b"+"}
    return dict(json.loads(b"{" + answer))


class BrokerRange:
    """
    The tests' side: starts the process, sends jobs, reads outcomes.
    """

    def __init__(self, program: str = __file__) -> None:
        paths = [str(ROOT), str(ROOT / "proto"), *sys.path[1:]]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(program).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ":".join(paths)},
            text=True,
        )

    def run(self, name: str, *, caged: bool, **options: object) -> Outcome:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"act": name, "caged": caged, **options}) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the range itself ended during {name}"
        return Outcome(**json.loads(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    assert cage_work.ACTS is ACTS
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_judge(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
