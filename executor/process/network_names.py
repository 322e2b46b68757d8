"""
What a box's resolver is told: the name server of a session, without a server of names behind it.

The guest's libc asks on 127.0.0.1 in its own network namespace, by UDP; the socket there is read
here. A name that the session may connect to has one address of IPv4, made up for it; another is
no such name. Nothing of a query goes anywhere: there is no upstream, no recursion, no cache.

    question                            answer
    A of a granted name                 its made-up address
    AAAA, or another type, of one       none of that type (an empty answer)
    PTR of a made-up address            the name it was made for
    any type of another name            no such name (NXDOMAIN); the denial is recorded, but for
                                        AAAA, which every resolver asks beside A
    another class, another opcode       REFUSED, NOTIMP
    several questions, no message       FORMERR; what is no query at all is dropped

Sources: RFC 1035 4.1, RFC 2308 2 (no such name, no such data), RFC 6891 (EDNS).
"""

import ipaddress
from typing import Final, Protocol

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
from dns.name import Name

from executor.audit.errors import AuditError
from executor.kernel.errors import GuestError

# A question has a name of 255 bytes at most; with EDNS and room to spare.
QUERY_MAX: Final = 1024
_HEADER: Final = 12
_ANSWER_BIT: Final = 0x80
# Seconds; a name keeps its address as long as the session lives.
_TTL: Final = 60
_IPV4_ZONE: Final = dns.reversename.ipv4_reverse_domain


class Book(Protocol):
    """
    The names of one session; `executor.kernel.net.Net` is one.
    """

    async def address_of(self, name: str) -> str:
        """
        The address that is made up for a name. Raises GuestError, AuditError.
        """

    def grants(self, name: str) -> bool:
        """
        Whether a name may be connected to; nothing is recorded.
        """

    def name_at(self, address: str) -> str | None:
        """
        The name that an address was made up for.
        """


async def answer(data: bytes, book: Book) -> bytes | None:
    """
    The answer to one datagram of the guest; None where there is nothing to answer.
    """
    if len(data) < _HEADER or data[2] & _ANSWER_BIT:
        return None
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return _malformed(data)
    if query.opcode() is not dns.opcode.QUERY:
        return _plain(query, dns.rcode.NOTIMP)
    if len(query.question) != 1 or query.answer or query.authority:
        return _plain(query, dns.rcode.FORMERR)
    if query.question[0].rdclass is not dns.rdataclass.IN:
        return _plain(query, dns.rcode.REFUSED)
    return (await _answered(query, query.question[0].name, book)).to_wire()


async def _answered(query: dns.message.Message, name: Name, book: Book) -> dns.message.Message:
    kind = query.question[0].rdtype
    said = dns.message.make_response(query, recursion_available=True)
    said.flags |= dns.flags.AA
    if kind is dns.rdatatype.PTR and name.is_subdomain(_IPV4_ZONE):
        return _with(said, name, "PTR", _pointer(name, book))
    text = name.to_text(omit_final_dot=True)
    if kind is dns.rdatatype.AAAA:
        if not book.grants(text):
            said.set_rcode(dns.rcode.NXDOMAIN)
        return said
    try:
        address = await book.address_of(text)
    except GuestError:
        said.set_rcode(dns.rcode.NXDOMAIN)
    except AuditError:
        said.set_rcode(dns.rcode.SERVFAIL)
    else:
        if kind is dns.rdatatype.A:
            return _with(said, name, "A", address)
    return said


def _pointer(name: Name, book: Book) -> str | None:
    try:
        known = book.name_at(dns.reversename.to_address(name))
    except (dns.exception.DNSException, ValueError):
        return None
    return None if known is None or _is_address(known) else f"{known}."


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with(
    said: dns.message.Message, name: Name, kind: str, data: str | None
) -> dns.message.Message:
    if data is None:
        said.set_rcode(dns.rcode.NXDOMAIN)
    else:
        said.answer.append(dns.rrset.from_text(name, _TTL, "IN", kind, data))
    return said


def _plain(query: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    said = dns.message.make_response(query)
    said.set_rcode(code)
    return said.to_wire()


def _malformed(data: bytes) -> bytes:
    # Its number and its opcode, an answer, FORMERR, and nothing of what could not be read.
    flags = bytes((_ANSWER_BIT | data[2] & 0x79, dns.rcode.FORMERR))
    return data[:2] + flags + bytes(_HEADER - 4)
