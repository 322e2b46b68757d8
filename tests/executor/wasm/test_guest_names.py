"""
Names and addresses: getaddrinfo(3), getnameinfo(3), and the session's table behind them.
"""

import socket
import struct

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import names
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.names import canonical, literal
from executor.wasm.socket_abi import ADDRINFO, SOCKADDR_IN, SOCKADDR_IN6
from tests.executor.wasm.tiny_kernel import PAGE, Gate, Kernel

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
STREAM, DGRAM = 1, 2
PASSIVE, CANONNAME, NUMERICHOST, NUMERICSERV = 1, 2, 4, 0x400
BADFLAGS, NONAME, FAMILY, SOCKTYPE, SERVICE, MEMORY, SYSTEM, OVERFLOW = (
    -1, -2, -6, -7, -8, -10, -11, -12,
)  # fmt: skip
REASON = "[policy test, rule network] not granted"


class Libc:
    """
    Memory that is taken and never given back, and an errno.
    """

    def __init__(self) -> None:
        self.next = 0x4000
        self.left = 1024
        self.errno: Errno | None = None

    def allocate(self, size: int) -> int:
        if size > self.left:
            return 0
        self.left -= size
        self.next += size
        return self.next - size

    def set_errno(self, errno: Errno) -> None:
        self.errno = errno


class Resolver(Kernel):
    """
    The kernel under a policy that grants every name but those of `denied.example`.
    """

    RESULT, HINTS, TEXT = 0x1000, 0x1100, 0x1200

    def __init__(self) -> None:
        super().__init__(Gate(self._answer))
        self.libc = self.process.libc = Libc()
        self.memory = self.tiny.guest

    def _answer(self, request: wire.Ask) -> wire.Answer:
        if "denied.example" in request.resolve:
            raise GuestFault(Errno.EACCES, REASON)
        return wire.Answer()

    def resolve(self, host, service=None, *, flags=0, family=0, kind=0, protocol=0):
        """
        (family, type, protocol, address, port, canonical name), or the error.
        """
        hints = ADDRINFO.pack(flags, family, kind, protocol, 0, 0, 0, 0)
        self.memory.write(self.HINTS, hints)
        texts = [0 if text is None else text for text in (host, service)]
        code = self.call("getaddrinfo", *texts, self.HINTS, self.RESULT)
        return code or self._entry(self.memory.u32(self.RESULT))

    def _entry(self, pointer):
        fields = ADDRINFO.unpack(self.memory.read(pointer, ADDRINFO.size))
        _, family, kind, protocol, length, address, name, following = fields
        layout = SOCKADDR_IN if family == AF_INET else SOCKADDR_IN6
        assert (length, following) == (layout.size, 0)
        parts = layout.unpack(self.memory.read(address, length))
        raw = parts[2] if family == AF_INET else parts[3]
        assert parts[0] == family
        text = socket.inet_ntop(family, raw)
        told = self.memory.string(name).decode() if name else None
        return family, kind, protocol, text, int.from_bytes(parts[1], "big"), told

    def name_of(self, address, port=80, *, flags=0, host_room=64, service_room=32):
        """
        (host, service), or the error.
        """
        packed = socket.inet_pton(AF_INET, address)
        self.memory.write(self.TEXT, SOCKADDR_IN.pack(AF_INET, port.to_bytes(2, "big"), packed))
        host, service = self.TEXT + 64, self.TEXT + 256
        code = self.call(
            "getnameinfo", self.TEXT, 16, host, host_room, service, service_room, flags
        )
        return code or tuple(self.memory.string(where).decode() for where in (host, service))

    @property
    def resolved(self):
        return [ask.resolve for ask in self.gate.asked]


@pytest.fixture
def resolver():
    return Resolver()


# ---- the table ----------------------------------------------------------------------------------


def test_names_have_addresses_in_the_order_of_their_first_use(resolver):
    told = [resolver.resolve(name, "443")[3] for name in ("a.example", "b.example", "a.example")]
    assert told == ["198.18.0.1", "198.18.0.2", "198.18.0.1"]
    assert resolver.resolved == ["a.example", "b.example"]


def test_a_name_is_asked_for_in_its_one_form(resolver):
    for name in ("API.Example.COM", "api.example.com.", "api.example.com"):
        assert resolver.resolve(name)[3] == "198.18.0.1"
    assert resolver.resolved == ["api.example.com"]


def test_a_name_that_is_refused_has_no_address(resolver):
    for _ in range(2):
        assert resolver.resolve("denied.example", "443") == SYSTEM
        assert resolver.libc.errno is Errno.EACCES
        assert resolver.readlink("/dev/denial") == f"2 {REASON}".encode()
    assert resolver.resolved == ["denied.example"] * 2
    assert resolver.resolve("granted.example")[3] == "198.18.0.1"


@pytest.mark.parametrize(
    "name",
    ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "fe80::1%lo", "a@b", "a b", "1.2.3.4:80"],
)
def test_n05_what_is_no_plain_address_is_a_name_for_the_gate_to_judge(resolver, name):
    assert literal(name) is None
    resolver.resolve(name)
    assert resolver.resolved == [canonical(name)]


def test_n04_a_name_that_is_no_ascii_reaches_the_gate_escaped(resolver):
    resolver.resolve("denied.example/\u0430".encode())
    assert resolver.resolved == ["denied.example/\\xd0\\xb0"]


@pytest.mark.parametrize("name", ["", "a" * 254, "."])
def test_a_name_that_is_too_long_or_empty_is_not_asked_for(resolver, name):
    assert resolver.resolve(name) == SYSTEM
    assert resolver.libc.errno is Errno.EINVAL
    assert resolver.resolved == []


def test_a_session_has_addresses_of_so_many_names(resolver, monkeypatch):
    monkeypatch.setattr(names, "NAMES_MAX", 2)
    told = [resolver.resolve(f"{number}.example")[3] for number in (1, 2, 1)]
    assert told == ["198.18.0.1", "198.18.0.2", "198.18.0.1"]
    assert resolver.resolve("more.example") == SYSTEM
    assert resolver.libc.errno is Errno.ENOMEM


# ---- getaddrinfo --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "options", "told"),
    [
        ("93.184.216.34", {}, (AF_INET, "93.184.216.34")),
        ("93.184.216.34", {"flags": NUMERICHOST}, (AF_INET, "93.184.216.34")),
        ("::1", {"flags": NUMERICHOST}, (AF_INET6, "::1")),
        ("::1", {"family": AF_INET6}, (AF_INET6, "::1")),
    ],
)
def test_an_address_is_its_own_and_nobody_is_asked(resolver, host, options, told):
    family, _, _, address, _, _ = resolver.resolve(host, "80", **options)
    assert (family, address) == told
    assert resolver.resolved == []


def test_an_address_of_ipv6_that_is_asked_for_as_any_is_as_a_name(resolver):
    assert resolver.resolve("2001:DB8::0001", "80")[:4] == (AF_INET, STREAM, 6, "198.18.0.1")
    assert resolver.resolved == ["2001:db8::1"]
    assert resolver.name_of("198.18.0.1") == ("2001:db8::1", "80")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, (STREAM, 6)),
        ({"kind": STREAM}, (STREAM, 6)),
        ({"kind": DGRAM}, (DGRAM, 17)),
        ({"protocol": 17}, (DGRAM, 17)),
        ({"protocol": 6}, (STREAM, 6)),
    ],
)
def test_the_kind_of_socket_is_the_one_that_was_asked_for(resolver, asked, told):
    assert resolver.resolve("a.example", "80", **asked)[1:3] == told


@pytest.mark.parametrize(
    ("service", "port"), [("443", 443), ("http", 80), ("https", 443), (None, 0), ("65535", 65535)]
)
def test_services_have_numbers(resolver, service, port):
    assert resolver.resolve("a.example", service)[4] == port


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((None, None), {}, NONAME),
        (("a.example", "gopher"), {}, SERVICE),
        (("a.example", "65536"), {}, SERVICE),
        (("a.example", "-1"), {}, SERVICE),
        (("a.example", "443 "), {}, SERVICE),
        (("a.example", "http"), {"flags": NUMERICSERV}, NONAME),
        (("a.example", "80"), {"flags": NUMERICHOST}, NONAME),
        (("a.example", "80"), {"family": AF_INET6}, NONAME),
        (("1.2.3.4", "80"), {"family": AF_INET6}, NONAME),
        (("::1", "80"), {"family": AF_INET}, NONAME),
        (("a.example", "80"), {"family": 1}, FAMILY),
        (("a.example", "80"), {"kind": 5}, SOCKTYPE),
        (("a.example", "80"), {"flags": 0x8000}, BADFLAGS),
    ],
)
def test_what_cannot_be_answered_has_its_error_and_nobody_is_asked(
    resolver, arguments, options, error
):
    assert resolver.resolve(*arguments, **options) == error
    assert resolver.resolved == []
    assert resolver.libc.left == 1024


def test_without_a_host_it_is_this_one(resolver):
    assert resolver.resolve(None, "80")[:4] == (AF_INET, STREAM, 6, "127.0.0.1")
    assert resolver.resolve(None, "80", flags=PASSIVE)[3] == "0.0.0.0"
    assert resolver.resolve(None, "80", family=AF_INET6)[3] == "::1"
    assert resolver.resolve(None, "80", family=AF_INET6, flags=PASSIVE)[3] == "::"


def test_the_canonical_name_is_what_was_asked_for(resolver):
    assert resolver.resolve("a.example", "80", flags=CANONNAME)[5] == "a.example"
    assert resolver.resolve("a.example", "80")[5] is None


def test_hints_may_be_missing(resolver):
    assert resolver.call("getaddrinfo", "a.example", 0, 0, resolver.RESULT) == 0


def test_without_memory_it_is_eai_memory(resolver):
    resolver.libc.left = 40
    assert resolver.resolve("a.example", "80") == MEMORY


@pytest.mark.parametrize("pointer", [PAGE - 1, PAGE, 2**32 - 1])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("getaddrinfo", ("outside", 0, 0, "result")),
        ("getaddrinfo", ("address", "outside", 0, "result")),
        ("getaddrinfo", ("address", 0, "outside", "result")),
        ("getaddrinfo", ("address", 0, 0, "outside")),
        ("getnameinfo", ("outside", 16, "result", 64, 0, 0, 0)),
        ("getnameinfo", ("socket", 16, "outside", 64, 0, 0, 0)),
        ("getnameinfo", ("socket", 16, 0, 0, "outside", 64, 0)),
    ],
)
def test_w19_a_pointer_outside_memory_is_efault_and_nothing_moves(
    resolver, name, arguments, pointer
):
    address = resolver.text("1.2.3.4")
    resolver.memory.write(PAGE - 8, b"not over")
    resolver.memory.write(resolver.TEXT, SOCKADDR_IN.pack(AF_INET, b"\0P", b"\1\2\3\4"))
    named = {"outside": pointer, "result": resolver.RESULT}
    named |= {"address": address, "socket": resolver.TEXT}
    before = resolver.tiny.bytes()
    assert resolver.call(name, *(named.get(value, value) for value in arguments)) == SYSTEM
    assert resolver.libc.errno is Errno.EFAULT
    assert resolver.tiny.bytes() == before


# ---- getnameinfo --------------------------------------------------------------------------------


def test_an_address_that_was_made_up_has_its_name(resolver):
    address = resolver.resolve("a.example", "80")[3]
    assert resolver.name_of(address, 443) == ("a.example", "443")
    assert resolver.name_of(address, flags=1) == (address, "80")


def test_another_address_is_its_own_name(resolver):
    assert resolver.name_of("93.184.216.34") == ("93.184.216.34", "80")
    assert resolver.name_of("93.184.216.34", flags=8) == NONAME


def test_names_that_do_not_fit_or_are_none_have_their_errors(resolver):
    assert resolver.name_of("93.184.216.34", host_room=13) == OVERFLOW
    assert resolver.name_of("93.184.216.34", service_room=2) == OVERFLOW
    assert resolver.name_of("93.184.216.34", flags=0x1000) == BADFLAGS
    resolver.memory.write(resolver.TEXT, struct.pack("<H14x", 1))
    assert resolver.call("getnameinfo", resolver.TEXT, 16, 0, 0, 0, 0, 0) == FAMILY


def test_gethostbyname_has_the_same_address(resolver):
    raw = resolver.call("_emscripten_lookup_name", "a.example")
    assert socket.inet_ntoa(struct.pack("<i", raw)) == "198.18.0.1"
    assert resolver.call("_emscripten_lookup_name", "denied.example") == 0
    assert resolver.call("_emscripten_lookup_name", "::1") == 0
