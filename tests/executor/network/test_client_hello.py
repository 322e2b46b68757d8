"""
The one message that is read of TLS that a guest speaks itself.

Green does not prove that a server reads an accepted message as we do; it proves that OpenSSL does.
"""

import errno
import ssl
import struct

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from executor.network.errors import Ending
from executor.network.hello import HELLO_MAX, HelloReader

NAME = "api.example.com"


def hello_of(name: str | None, change=lambda _: None) -> bytes:
    """
    The first flight of a real client: one record.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    change(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def message_of(record: bytes) -> bytes:
    return record[5:]


def records(message: bytes, *sizes: int) -> bytes:
    """
    The message in records of these sizes, the rest in one.
    """
    out, at = b"", 0
    for size in (*sizes, len(message) - sum(sizes)):
        out += b"\x16\x03\x01" + struct.pack("!H", size) + message[at : at + size]
        at += size
    return out


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body


def server_name(*names: bytes, kind: int = 0) -> bytes:
    listed = b"".join(bytes((kind,)) + struct.pack("!H", len(one)) + one for one in names)
    return extension(0, struct.pack("!H", len(listed)) + listed)


def made(
    extensions: bytes | None,
    *,
    version: bytes = b"\x03\x03",
    session: bytes = b"",
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\0",
    tail: bytes = b"",
    kind: int = 1,
) -> bytes:
    """
    A ClientHello of these parts, with its head.
    """
    body = version + bytes(32) + bytes((len(session),)) + session
    body += struct.pack("!H", len(suites)) + suites + bytes((len(compression),)) + compression
    if extensions is not None:
        body += struct.pack("!H", len(extensions)) + extensions
    body += tail
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def read(data: bytes) -> str | None:
    return HelloReader().feed(data)


def refused(data: bytes) -> str:
    with pytest.raises(Ending) as caught:
        read(data)
    assert caught.value.errno == errno.EPROTO
    return caught.value.reason.partition("grants it here, and ")[2]


def _old(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _protocols(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["h2", "http/1.1"])


@pytest.mark.parametrize("change", [lambda _: None, _old, _protocols])
def test_the_name_of_a_real_client_is_read(change):
    assert read(hello_of(NAME, change)) == NAME
    assert read(hello_of(None, change)) == ""
    assert read(hello_of("127.0.0.1", change)) == ""


def test_it_may_come_byte_by_byte():
    data, reader = hello_of(NAME), HelloReader()
    assert [reader.feed(data[at : at + 1]) for at in range(len(data) - 1)] == [None] * (
        len(data) - 1
    )
    assert reader.feed(data[-1:]) == NAME
    assert reader.taken == data


def test_it_may_be_cut_into_records_anywhere():
    message = message_of(hello_of(NAME))
    for at in range(1, len(message)):
        assert read(records(message, at)) == NAME
    assert read(records(message, *([1] * (len(message) - 1)))) == NAME


def test_what_follows_in_a_record_of_its_own_is_taken_along():
    data, early = hello_of(NAME), b"\x17\x03\x03\0\x02ab"
    reader = HelloReader()
    assert reader.feed(data + early) == NAME
    assert reader.taken == data + early


def test_the_name_may_stand_anywhere_among_the_extensions():
    for before, after in ((b"", extension(16, b"x")), (extension(16, b"x"), b"")):
        assert read(records(made(before + server_name(b"a.test") + after))) == "a.test"
    assert read(records(made(None))) == ""
    assert read(records(made(b""))) == ""


LONG = extension(21, bytes(HELLO_MAX))
BROKEN = {
    "GET / HTTP/1.1": (b"GET / HTTP/1.1\r\n\r\n", "what came is no record of a TLS handshake"),
    "an alert": (b"\x15\x03\x01\0\x02\x02\x28", "what came is no record of a TLS handshake"),
    "SSL 2": (b"\x80\x2e\x01\x03\x01", "what came is no record of a TLS handshake"),
    "another major version": (b"\x16\x02", "what came is no record of a TLS handshake"),
    "an empty record": (b"\x16\x03\x01\0\0", "what came has a record of 0 bytes"),
    "a large record": (b"\x16\x03\x01\x40\x01", "what came has a record of 16385 bytes"),
    "a ServerHello": (records(made(b"", kind=2)), "what came is no ClientHello"),
    "a second message": (
        records(made(b"") + b"\x14\0\0\0"),
        "something follows its ClientHello in the same record",
    ),
    "bytes behind the extensions": (
        records(made(b"", tail=b"x")),
        "its ClientHello goes on behind the extensions",
    ),
    "an old version": (
        records(made(b"", version=b"\x02\0")),
        "its ClientHello is of no version of TLS",
    ),
    "a long session": (
        records(made(b"", session=bytes(33))),
        "its ClientHello has a session of more than 32 bytes",
    ),
    "no cipher suites": (
        records(made(b"", suites=b"")),
        "its ClientHello has no list of cipher suites",
    ),
    "half a cipher suite": (
        records(made(b"", suites=b"\x13")),
        "its ClientHello has no list of cipher suites",
    ),
    "no null compression": (
        records(made(b"", compression=b"\1")),
        "its ClientHello does without the null compression",
    ),
    "an extension twice": (
        records(made(server_name(b"a.test") + server_name(b"b.test"))),
        "its ClientHello has the extension 0 twice",
    ),
    "two names": (
        records(made(server_name(b"a.test", b"b.test"))),
        "its ClientHello names no server, or several",
    ),
    "no name in the list": (
        records(made(extension(0, b"\0\0"))),
        "its ClientHello ends in the middle of the server name",
    ),
    "an empty name": (
        records(made(server_name(b""))),
        "its ClientHello names no server, or several",
    ),
    "another kind of name": (
        records(made(server_name(b"a.test", kind=1))),
        "its ClientHello names a server by something else than a host name",
    ),
    "a foreign name": (
        records(made(server_name(b"a\xfctest"))),
        "its ClientHello names a server in other letters than ASCII",
    ),
    "a hidden name": (
        records(made(server_name(b"a.test") + extension(0xFE0D, b"\0"))),
        "its ClientHello hides the name of the server (ECH); switch that off",
    ),
    "a hidden name alone": (
        records(made(extension(0xFE0D, b"\0"))),
        "its ClientHello hides the name of the server (ECH); switch that off",
    ),
    "a long length": (
        records(b"\1" + (HELLO_MAX - 3).to_bytes(3, "big")),
        f"its ClientHello has more than {HELLO_MAX} bytes",
    ),
    "a long message": (
        records(made(LONG), 2**14),
        f"its ClientHello has more than {HELLO_MAX} bytes",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_plain_client_hello_is_refused(case):
    data, reason = BROKEN[case]
    assert refused(data) == reason


def test_a_message_that_is_cut_anywhere_is_not_whole_or_refused():
    """
    Each length that is too short by one, and each message that ends early.
    """
    whole = made(server_name(b"a.test"), session=bytes(8))
    for at in range(4, len(whole)):
        cut = whole[:1] + (at - 4).to_bytes(3, "big") + whole[4:at]
        if at == len(whole) - len(server_name(b"a.test")) - 2:
            assert read(records(cut)) == ""  # it ends before its extensions, as it may
        else:
            assert refused(records(cut)).startswith("its ClientHello ")
    for at in range(len(records(whole))):
        assert read(records(whole)[:at]) is None


@pytest.fixture(scope="module")
def judge():
    """
    What OpenSSL makes of a first flight: the name it would serve, None where it refuses.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(NAME).configure_cert(context)
    found: list[str | None] = []
    context.sni_callback = lambda _, name, __: found.append(name)

    def judged(data: bytes) -> tuple[bool, str | None]:
        found.clear()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(data)
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            return False, None
        return True, found[0] if found else None

    return judged


REAL = message_of(hello_of(NAME))
CHANGES = st.lists(
    st.tuples(st.integers(0, len(REAL) - 1), st.integers(0, 255)), min_size=0, max_size=3
)
CUTS = st.lists(st.integers(1, 40), max_size=4)


def test_the_judge_reads_what_is_right_and_refuses_what_is_not(judge):
    assert judge(records(REAL, 7)) == (True, NAME)
    assert judge(records(b"\2" + REAL[1:])) == (False, None)


@given(changes=CHANGES, cuts=CUTS)
def test_what_is_accepted_has_the_name_that_openssl_reads(judge, changes, cuts):
    message = bytearray(REAL)
    for at, value in changes:
        message[at] = value
    data = records(bytes(message), *cuts)
    try:
        name = read(data)
    except Ending:
        return
    accepted, served = judge(data)
    if name is not None and accepted:
        assert (name or None) == served


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data):
    for start in (b"", b"\x16\x03\x01", b"\x16\x03\x01\0\x40\1\0\0\x3c\x03\x03"):
        try:
            read(start + data)
        except Ending as ending:
            assert ending.errno == errno.EPROTO
