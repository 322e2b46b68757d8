"""
What a box's resolver is told, datagram by datagram: every question is answered here or not at all.
"""

import asyncio
import errno
import struct
from collections.abc import Callable

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.audit.errors import AuditUnavailable
from executor.kernel.errors import GuestError
from executor.process.network_names import QUERY_MAX, answer

ADDRESS, FULL, LOST = "198.18.0.1", "full.test", "lost.test"


class Book:
    """
    The names of a session that may connect to `api.test`; each question for an address is kept.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def address_of(self, name: str) -> str:
        self.asked.append(name)
        if name == LOST:
            raise AuditUnavailable("the record is gone")
        if name.lower() != "api.test":
            raise GuestError(errno.EACCES, f"resolve {name} is not granted")
        return ADDRESS

    def grants(self, name: str) -> bool:
        return name.lower() == "api.test"

    def name_at(self, address: str) -> str | None:
        return {ADDRESS: "api.test", "198.18.0.2": "10.0.0.1"}.get(address)


def answered(data: bytes, book: Book | None = None) -> dns.message.Message | None:
    said = asyncio.run(answer(data, book or Book()))
    return None if said is None else dns.message.from_wire(said)


def asked(name: str, kind: str = "A", **more: str) -> dns.message.Message:
    return dns.message.make_query(name, kind, **more)


def told(name: str, kind: str = "A", **more: str) -> tuple[str, list[str]]:
    said = answered(asked(name, kind, **more).to_wire())
    assert said is not None
    return dns.rcode.to_text(said.rcode()), [one.to_text() for one in said.answer]


@pytest.mark.parametrize(
    ("name", "kind", "code", "records"),
    [
        ("api.test", "A", "NOERROR", ["api.test. 60 IN A 198.18.0.1"]),
        ("API.Test", "A", "NOERROR", ["API.Test. 60 IN A 198.18.0.1"]),
        ("api.test", "AAAA", "NOERROR", []),
        ("api.test", "TXT", "NOERROR", []),
        ("api.test", "HTTPS", "NOERROR", []),
        ("api.test", "ANY", "NOERROR", []),
        ("evil.test", "A", "NXDOMAIN", []),
        ("evil.test", "AAAA", "NXDOMAIN", []),
        ("evil.test", "TXT", "NXDOMAIN", []),
        ("stolen-bytes." * 12 + "evil.test", "TXT", "NXDOMAIN", []),
        (".", "NS", "NXDOMAIN", []),
        ("api.test\\000.evil.test", "A", "NXDOMAIN", []),
        (LOST, "A", "SERVFAIL", []),
        (
            "1.0.18.198.in-addr.arpa",
            "PTR",
            "NOERROR",
            ["1.0.18.198.in-addr.arpa. 60 IN PTR api.test."],
        ),
        ("2.0.18.198.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("9.0.18.198.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("x.in-addr.arpa", "PTR", "NXDOMAIN", []),
        ("api.test", "PTR", "NOERROR", []),
    ],
)
def test_a_question_has_the_answer_of_its_row(name, kind, code, records):
    assert told(name, kind) == (code, records)


def test_a_question_for_both_families_asks_for_the_name_once():
    """
    So a denial has one record, though every resolver asks twice.
    """
    book = Book()
    for kind in ("A", "AAAA"):
        answered(asked("evil.test", kind).to_wire(), book)
    assert book.asked == ["evil.test"]


def test_an_answer_has_the_number_and_the_question_that_were_asked():
    query = asked("api.test", use_edns=True, payload=1232)
    said = answered(query.to_wire())
    assert said is not None
    assert (said.id, said.question) == (query.id, query.question)
    assert said.flags & dns.flags.QR
    assert said.flags & dns.flags.RA


def _opcode(query: dns.message.Message) -> None:
    query.set_opcode(dns.opcode.NOTIFY)


def _chaos(query: dns.message.Message) -> None:
    query.question = [dns.rrset.RRset(query.question[0].name, 3, dns.rdatatype.TXT)]


def _several(query: dns.message.Message) -> None:
    query.question += asked("evil.test").question


def _none(query: dns.message.Message) -> None:
    query.question = []


def _with_an_answer(query: dns.message.Message) -> None:
    query.answer = [dns.rrset.from_text("api.test.", 1, "IN", "A", "6.6.6.6")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_opcode, "NOTIMP"),
        (_chaos, "REFUSED"),
        (_several, "FORMERR"),
        (_none, "FORMERR"),
        (_with_an_answer, "FORMERR"),
    ],
)
def test_what_is_no_single_question_is_refused_and_nothing_is_asked_of_the_policy(
    change: Callable[[dns.message.Message], None], code
):
    book, query = Book(), asked("api.test")
    change(query)
    said = answered(query.to_wire(), book)
    assert said is not None
    assert (dns.rcode.to_text(said.rcode()), said.answer, book.asked) == (code, [], [])


@pytest.mark.parametrize("data", [b"", b"x" * 11, dns.message.make_response(asked("a")).to_wire()])
def test_what_is_no_query_is_not_answered(data):
    assert answered(data) is None


@pytest.mark.parametrize("tail", [b"\xc0", b"\xc0\x0c" * 3, b"\x3f" + b"a" * 20, b"\x80", b""])
def test_a_query_that_cannot_be_read_is_told_so_by_its_number(tail):
    said = answered(struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + tail)
    assert said is not None
    assert (said.id, dns.rcode.to_text(said.rcode())) == (4711, "FORMERR")
    assert not said.question


@given(st.binary(max_size=QUERY_MAX))
def test_no_datagram_breaks_it(data):
    said = asyncio.run(answer(data, Book()))
    assert said is None or len(said) <= 2 * QUERY_MAX


@given(st.binary(max_size=60), st.integers(0, 65535), st.integers(0, 65535))
def test_no_body_behind_a_right_head_breaks_it(body, flags, additional):
    head = struct.pack("!6H", 1, flags & 0x7FFF, 1, 0, 0, additional & 3)
    said = asyncio.run(answer(head + body, Book()))
    assert said is not None
    assert len(said) >= 12


@given(
    st.lists(st.binary(min_size=1, max_size=63), max_size=3), st.sampled_from([1, 12, 16, 28, 255])
)
def test_no_name_is_too_odd_to_be_refused(labels, kind):
    wire = b"".join(bytes((len(one),)) + one for one in labels) + b"\0"
    data = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + wire + struct.pack("!2H", kind, 1)
    said = answered(data)
    assert said is not None
    assert said.rcode() in {dns.rcode.NXDOMAIN, dns.rcode.NOERROR}
