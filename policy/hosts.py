"""
The one form of a host's name, so that two spellings of a host are never two hosts.

A name is of A-labels (letters, digits, hyphens) in lower case, without the dot at the end that a
resolver may want. An address is as inet_ntop(3) writes it. Everything else is no host: what looks
like an address to one program and like a name to another (`127.1`, `0x7f000001`) must not be
compared as a name here and dialled as an address there.

Sources: RFC 1123 2.1 and RFC 1035 2.3.4 (names), RFC 5890 2.3.2 (A-labels), inet_aton(3) (the
legacy forms), RFC 4007 11 (zone ids), RFC 5952 (IPv6 text), the host parser of the URL Standard
(a last label that is a number makes an address).
"""

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from socket import AF_INET6, inet_aton, inet_ntop

from policy.paths import Refusal

MAX_NAME, MAX_LABEL = 253, 63
"""Characters of a name and of one of its labels (RFC 1035 2.3.4)."""


def canonical_host(text: str) -> str | None:
    """
    The one form of a name or literal address; None for what is neither.

    An IPv4-mapped IPv6 address is the IPv4 address that it stands for: that is where a connection
    to it goes.
    """
    if len(text) > MAX_NAME + 1 or not text.isascii():
        return None
    if ":" in text:
        return _ipv6(text)
    name = text.lower().removesuffix(".")
    if _is_number(name.rpartition(".")[2]):
        return _ipv4(text)
    return name if len(name) <= MAX_NAME and _has_labels(name) else None


def is_address(host: str) -> bool:
    """
    Whether a host in its one form is a literal address. No name has a colon or ends in a number.
    """
    return ":" in host or host.rpartition(".")[2].isdigit()


def covers(pattern: str, host: str) -> bool:
    """
    Whether every name of `host` (a name, wildcard or address) is one of `pattern`; both are in
    their one form.
    """
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _ipv6(text: str) -> str | None:
    if "%" in text:
        return None
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    mapped = address.ipv4_mapped
    # Not str(): Python writes addresses that hold an IPv4 one in two ways, by its version.
    return str(mapped) if mapped else inet_ntop(AF_INET6, address.packed)


def _ipv4(text: str) -> str | None:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        return None


def _is_number(label: str) -> bool:
    """
    Whether inet_aton(3) could read the label: decimal, octal with a leading 0, or hexadecimal.
    """
    return label.isdigit() or (label[:2] == "0x" and _HEXADECIMAL.issuperset(label[2:]))


def _has_labels(name: str) -> bool:
    """
    Whether a text of ASCII in lower case is labels and dots between them. Every host that a guest
    names comes here: this looks for what is wrong in the whole text, not label by label.
    """
    if not name.replace(".", "").replace("-", "").isalnum():
        return False
    around = f".{name}."
    if ".." in around or ".-" in around or "-." in around:
        return False
    return len(name) <= MAX_LABEL or max(map(len, name.split("."))) <= MAX_LABEL


_HEXADECIMAL = frozenset("0123456789abcdef")


def host_problem(text: str) -> Refusal | None:
    """
    What is wrong with the host of a grant and what to write instead; None where nothing is.

    A host is a name, a literal address, or `*.` and a name of two labels or more.
    """
    if text.startswith("*.") and "*" not in text[2:]:
        return _wildcard_problem(text[2:])
    if "*" in text:
        return "a `*` stands for whole labels, and first", "write *.example.com"
    if canonical_host(text) is not None:
        return None
    return _why_not(text)


def _wildcard_problem(base: str) -> Refusal | None:
    name = canonical_host(base)
    if name is None:
        return _why_not(base)
    if is_address(name):
        return "an address has no names below it", f"write {name}"
    if "." not in name:
        return f"this would grant all of .{name}", "name two labels or more: *.example.com"
    return None


def _why_not(text: str) -> Refusal:
    """
    The likeliest mistake in what is no host.
    """
    if "://" in text or "/" in text:
        return (
            "a host is neither a URL nor a range",
            "write one name or address alone: api.example.com",
        )
    if not text.isascii():
        return _foreign(text)
    if "%" in text:
        return "a zone id or percent-encoding has no meaning here", _FORMS
    if text.startswith("["):
        return "brackets are for URLs", f"write {text.strip('[]')!r}"
    if _is_number(text.lower().removesuffix(".").rpartition(".")[2]):
        return _legacy(text)
    if ":" in text and text.count(":") == 1:
        return "a port stands in `ports`", f"write host: {text.partition(':')[0]}, and the port"
    if "_" in text:
        return "`_` is in no name of a host", _FORMS
    return "this is no name of a host", _FORMS


_FORMS = "a host is a name such as api.example.com, *.example.com, or a literal address"


def _foreign(text: str) -> Refusal:
    """
    The A-label form is shown where the text has one; Python's codec is that of IDNA 2003.
    """
    problem = "a name is written in A-labels"
    try:
        labels = text.encode("idna").decode("ascii")
    except UnicodeError:
        return problem, "write its xn-- form"
    return problem, f"if it is this name, write {labels}"


def _legacy(text: str) -> Refusal:
    """
    What inet_aton(3) makes of a text with a number at its end, so that nobody has to compute it.
    """
    try:
        address = str(IPv4Address(inet_aton(text)))
    except (OSError, ValueError):
        return "a last label that is a number makes an address, and this is none", _FORMS
    return "programs read this form of an IPv4 address differently", f"write {address}"
