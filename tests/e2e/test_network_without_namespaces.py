"""
The network of native sessions on a host that makes no namespaces: the same as elsewhere, kept by
seccomp's notifications alone, for a server that is root's and for one that is an ordinary user's.

Each attack first reaches somebody where nothing holds it. Green does not prove that the kernel has
no other way to give a packet a destination; a filter that names what passes is what stands for it.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import agent_client
from executor.audit.read import records
from tests.e2e import network_attacks
from tests.e2e.another_user import AS_USER, OPEN, READABLE, USER, cache_of_core, overlaid
from tests.e2e.native_network import (
    check_refused,
    check_sealed,
    reached,
    small_internet,
    value,
)
from tests.e2e.serving import ROOT, RUN_AS, needs_image, private_directory, serving
from tests.servers.sites import HttpServer

ROOTS = os.geteuid() == 0
BARE = (sys.executable, "-m", "tests.e2e.without_namespaces")
MORE = "isolation: {min: P2}\nlimits: {connections: 16}\n"
ATTACKS = Path(network_attacks.__file__).read_text()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(
        ROOTS and not OPEN and overlaid("true").returncode != 0,
        reason="only root may read Python here, and no overlay can be mounted",
    ),
]
# What answers each of them in the cage: the gate, the supervisor, or the filter alone, which the
# gate has words for where Python's own sockets are refused.
ANSWERS = {
    "by_python": "EACCES",
    "by_system_call": "EACCES",
    "mapped_into_six": "EACCES",
    "by_descriptor_of_a_copy": "ENOTSUP",
    "by_sendto": "EPERM",
    "by_sendmsg": "EPERM",
    "by_sendmmsg": "EPERM",
    "by_fast_open_of_connect": "EPERM",
    "by_mptcp": "EACCES",
    "parted_and_connected_anew": "EAFNOSUPPORT",
    "a_second_time": "EISCONN",
    "datagram": "EACCES",
    "named": "EACCES",
    "changed_while_it_is_judged": "reached",
    "listens": "EPERM",
    "bound": "EPERM",
    "raw": "EACCES",
    "netlink": "EACCES",
    "packets": "EACCES",
    "ring": "ENOSYS",
    "interfaces": "ENOTTY",
    "marked": "EPERM",
    "lingering": "EPERM",
}
# Without effect on another: what they have made is all that they are for.
HARMLESS = {"listens", "bound", "raw", "netlink", "packets", "ring", "interfaces"} | {
    "marked",
    "lingering",
}
# By a way that needs a connection to be there; without the cage the kernel itself refuses it.
NEVER = {"a_second_time"}


@contextlib.contextmanager
def _serving(user, policies, record, resolver):
    with private_directory() as own:
        place, under, run_as = own, (*READABLE, *BARE), RUN_AS
        if user is not None:
            place = own / "serving"
            place.mkdir(0o700)
            cache_of_core(own)
            home = ("env", f"HOME={own}", f"CODECAGE_CACHE={own}")
            under, run_as = (*AS_USER, *home, *BARE), ()
        options = ["--policies", str(policies), "--audit", str(record), "--resolver", resolver]
        with (
            serving(place, options, run_as=run_as, under=under),
            agent_client.connect(f"unix:{place}/sock") as cage,
        ):
            yield cage


@pytest.fixture(scope="module", params=["root", "a user"] if ROOTS else ["a user"])
def world(request):
    if not ROOTS:
        user = owner = None
    elif request.param == "root":
        user, owner = None, 65534
    else:
        user = owner = USER
    with small_internet(lambda *where: _serving(user, *where), owner, MORE) as made:
        yield made


@pytest.fixture(scope="module")
def forbidden():
    """
    Who listens on this host and is granted to nobody: by TCP, by UDP, and by a name.
    """
    heard, own = [], []
    folder = tempfile.TemporaryDirectory(prefix="codecage-forbidden-")
    Path(folder.name).chmod(0o755)
    named = f"{folder.name}/named"
    with (
        folder,
        HttpServer() as site,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        datagrams.bind(("127.0.0.1", 0))
        listener.bind(named)
        Path(named).chmod(0o777)
        listener.listen()
        for one in (datagrams, listener):
            one.setblocking(False)
        places = {"port": site.port, "datagrams": datagrams.getsockname()[1], "named": named}

        def touched():
            with contextlib.suppress(BlockingIOError):
                heard.append(datagrams.recv(64))
            with contextlib.suppress(BlockingIOError):
                heard.append(listener.accept()[0].close())
            # One of ours, which is taken after all that came before it, and says which it is.
            with socket.create_connection(("127.0.0.1", site.port), timeout=20) as last:
                last.sendall(b"GET /v1/own HTTP/1.1\r\nHost: own\r\n\r\n")
                last.shutdown(socket.SHUT_WR)
                said = last.makefile().read().partition("\n\n")[2]
            own.append(json.loads(said)["connection"])
            return own[-1] - len(own) + len(heard)

        yield places, touched


def test_the_record_says_that_the_session_has_no_namespaces(world):
    with world.session() as session:
        (first, *_) = records(world.audit, session=session.id, limit=10)
        detail = dict(first.detail)
    assert detail["isolation"].startswith("P2 (")
    assert "network=partial" in detail["isolation_parts"].split()


def test_libraries_reach_what_is_granted(world):
    with world.session() as session:
        assert reached(world, session) == ["/v1/a"] * 6
        assert world.denials(session) == []


def test_what_is_not_granted_is_an_exception_with_the_policys_words_and_one_record(world):
    port = world.plain.port
    cases = [
        (f"opened('http://evil.test:{port}/v1/a')", "resolve evil.test", "network"),
        ("socket.gethostbyname('evil.test')", "resolve evil.test", "network"),
        (f"socket.socket().connect(('evil.test', {port}))", "resolve evil.test", "network"),
        (f"received('10.0.0.1', {port})", f"connect 10.0.0.1:{port}", "network"),
        (f"received('127.0.0.1', {port})", f"connect 127.0.0.1:{port}", "network"),
        (f"received('::1', {port})", f"connect [::1]:{port}", "network"),
        (f"opened('http://api.test:{port}/')", f"connect api.test:{port}", "network[0]"),
        ("received('plain.test', 22)", "connect plain.test:22", "network[1]"),
    ]
    check_refused(world, cases)


def test_requests_and_names_in_tls_are_judged_as_elsewhere(world):
    with world.session() as session:
        url, seen = f"http://plain.test:{world.plain.port}", len(world.plain.seen)
        kind, text = value(session, f"attempt(lambda: opened('{url}/admin'))")
        assert (kind, len(world.plain.seen)) == ("PermissionError", seen), text
        assert f"GET {url}/admin is not granted: the path is not granted for GET" in text
        code = (
            f"TLS.wrap_socket(socket.create_connection(('api.test', {world.api.port})), "
            "server_hostname='evil.test').version()"
        )
        accepted = world.api.accepted
        assert value(session, f"attempt(lambda: {code})")[0] != "done"
        assert world.api.accepted == accepted
        assert [rule for _, rule in world.denials(session)] == ["network[1].http", "network[0]"]


def test_a_policy_without_network_has_none(world):
    check_sealed(world)


KEPT = """
import fcntl, os, select
made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
copy, ready = made.dup(), select.epoll()
ready.register(made, select.EPOLLOUT | select.EPOLLET)
before = attempt(made.getpeername)[0], ready.poll(0) != []
number = made.connect_ex(("plain.test", PORT))
flags = fcntl.fcntl(made, fcntl.F_GETFL), fcntl.fcntl(made, fcntl.F_GETFD)
options = [
    made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
    made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
]
copy.sendall(b"GET /v1/a HTTP/1.1\\r\\nHost: plain.test:%d\\r\\nConnection: close\\r\\n\\r\\n" % PORT)
polled = ready.poll(20)[0][1] & select.EPOLLOUT != 0
select.select([copy], [], [], 20)
said = made.recv(15).decode()
kept = [before, number, flags[0] & os.O_NONBLOCK != 0, flags[1], options, polled, said]
"""


def test_a_socket_is_one_and_the_same_from_its_beginning_to_its_end(world):
    """
    Its flags, its options, its copies and who waits for it are what they were before connecting.
    """
    with world.session() as session:
        # What waited before saw a socket that is not connected: it hangs up.
        code = f"PORT = {world.plain.port}\n{KEPT}".replace("\\\\", "\\")
        assert session.run(code).ok
        assert value(session, "kept") == [
            *(["OSError", True], 0, True, 1, [1, 1, 0], True, "HTTP/1.1 200 OK")
        ]


def test_ways_to_connect_that_programs_have(world):
    with world.session() as session:
        api, plain = world.api.port, world.plain.port
        made = "TLS.wrap_socket(socket.socket(), server_hostname='api.test')"
        wrapped = f"(lambda made: (made.connect(('api.test', {api})), made.version())[1])({made})"
        assert value(session, wrapped).startswith("TLSv1.")
        by_six = f"socket.socket(socket.AF_INET6).connect(('::ffff:198.18.0.2', {plain}))"
        assert value(session, "socket.gethostbyname_ex('plain.test')[2]") == ["198.18.0.2"]
        assert value(session, by_six) is None
        # A socket that was refused can be tried again, as it is.
        again = (
            "(lambda made: [made.connect_ex(('127.0.0.1', 9)),"
            f" made.connect_ex(('plain.test', {plain}))])(socket.socket())"
        )
        assert value(session, again) == [13, 0]


def test_threads_connect_at_the_same_time(world):
    with world.session() as session:
        url = f"http://plain.test:{world.plain.port}/v1/a"
        code = (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(12) as pool:\n"
            f"    found = list(pool.map(lambda _: opened({url!r}), range(36)))"
        )
        assert session.run(code).ok
        assert value(session, "found") == ["/v1/a"] * 36
        assert world.denials(session) == []


def test_more_connections_than_the_policy_allows_are_refused_with_its_words(world):
    with world.session() as session:
        made = f"held.append(socket.create_connection(('plain.test', {world.plain.port})))"
        assert session.run(f"held = []\nfor _ in range(16): {made}").ok
        kind, text = value(session, f"attempt(lambda: {made})")
        assert (kind, "16 connections are open" in text) == ("OSError", True), text
        assert session.run(f"for one in held: one.close()\n{made}").ok


def test_of_many_sockets_that_are_made_and_left_the_newest_can_be_connected(world):
    with world.session() as session:
        assert session.run("for _ in range(200): socket.socket().close()").ok
        many = "kept = [socket.socket() for _ in range(70)]"
        assert session.run(many).ok
        place = ("plain.test", world.plain.port)
        assert value(session, f"attempt(lambda: kept[0].connect({place}))")[0] == "OSError"
        assert value(session, f"attempt(lambda: kept[-1].connect({place}))")[0] == "done"


def test_addresses_that_are_none_get_the_kernels_answers(world):
    with world.session() as session:
        assert session.run(ATTACKS).ok
        code = (
            "def raw(pointer, length, number=None):\n"
            "    with socket.socket() as made:\n"
            "        number = made.fileno() if number is None else number\n"
            "        try: return call(CONNECT, number, pointer, length)\n"
            "        except OSError as error: return errno.errorcode[error.errno]\n"
            "whole = ctypes.create_string_buffer(packed(9), 16)\n"
            "port0 = ctypes.create_string_buffer(packed(0), 16)\n"
            "six = ctypes.create_string_buffer(struct.pack('=H', 10) + bytes(26), 28)\n"
            "where = at(whole)\n"
        )
        assert session.run(code).ok
        found = value(
            session,
            "[raw(0, 16), raw(1 << 46, 16), raw(-4096, 16), raw(where, 1), raw(where, 15),"
            " raw(where, 129), raw(where, 1 << 31), raw(at(six), 20), raw(at(port0), 16),"
            " raw(where, 16, 0), raw(where, 16, -1), raw(where, 16, 10**9)]",
        )
        assert found == [
            *("EFAULT", "EFAULT", "EFAULT", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL"),
            *("ECONNREFUSED", "ENOTSUP", "ENOTSUP", "ENOTSUP"),
        ]


def _outside(name, places, granted):
    wanted = [str(places["port"]), str(places["datagrams"]), str(granted), places["named"]]
    done = subprocess.run(
        [sys.executable, network_attacks.__file__, name, *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_every_attack_has_its_answer():
    assert set(ANSWERS) == set(network_attacks.ATTACKS)


@pytest.fixture(scope="module")
def attacked(world):
    with world.session() as session:
        assert session.run(ATTACKS).ok
        yield session


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_an_attack_reaches_nobody(name, world, attacked, forbidden):
    places, touched = forbidden
    before = touched()
    code = f"attempt_attack({name!r}, ('plain.test', {world.plain.port}), **{places!r})"
    found = value(attacked, code)
    assert found == ANSWERS[name]
    assert touched() == before


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_same_attack_reaches_somebody_where_nothing_holds_it(name, world, forbidden):
    places, touched = forbidden
    before = touched()
    found = _outside(name, places, world.plain.port)
    if name in NEVER:
        assert (found, touched()) == ("EISCONN", before)
        return
    if found in {"EPERM", "ENOSYS", "EPROTONOSUPPORT", "ENOPROTOOPT", "EOPNOTSUPP"}:
        pytest.skip(f"this host or this user has no such thing: {found}")
    assert found == "reached"
    assert name in HARMLESS or touched() > before
