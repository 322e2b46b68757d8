"""
The language of `network` in a policy file: every key of a grant, its type, range and default.

What depends on several keys is in `lint_network.py`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.hosts import canonical_host, host_problem
from policy.http_paths import METHODS
from policy.path_globs import path_glob_problem
from policy.spelling import did_you_mean
from policy.types import AddressClass
from policy.units import MIB
from policy.values import (
    Section,
    at_most,
    count_in,
    one_of,
    present,
    refuse,
    said,
    size_in,
    some,
    text_like,
)

MAX_NETWORK_GRANTS, MAX_PORTS, MAX_RULES, MAX_PATHS = 64, 16, 32, 32
MAX_BYTES = 2**40
"""Largest `max_bytes`: 1 TiB."""
DEFAULT_MAX_BYTES = 64 * MIB
"""What a session may move under one grant, both ways, where the policy does not say."""


def network_grants(value: object) -> object:
    """
    `none` is an empty list of grants.
    """
    if value == "none":
        return []
    if not isinstance(value, list):
        refuse(f"cannot be {said(value)}", "write none, or a list: [{host: api.example.com}]")
    return value


def _host(value: str) -> str:
    if problem := host_problem(value):
        refuse(f"{said(value)}: {problem[0]}", problem[1])
    if value.startswith("*."):
        return f"*.{canonical_host(value[2:])}"
    return canonical_host(value) or value


def _method(value: str) -> str:
    if value in METHODS:
        return value
    meant = did_you_mean(value.upper(), sorted(METHODS))
    return refuse(f"{said(value)} is no method that can be granted{meant}", _METHOD_FORMS)


_METHOD_FORMS = f"methods are {', '.join(sorted(METHODS))}"


def _path(value: str) -> str:
    if problem := path_glob_problem(value):
        refuse(f"{said(value)} {problem}", _PATH_FORMS)
    return value


_PATH_FORMS = "`*` stays within a segment, `/**` crosses them: /v1/prices, /v1/prices/*, /v1/**"


def _header(value: str) -> str:
    # Gateways that hand fields on as variables take `_` for `-`.
    name = value.lower().replace("_", "-")
    if name in _STEERING or name.startswith(_STEERING_STARTS):
        refuse(f"{said(value)} steers the connection or the request", _HEADER_HINT)
    return value


_HEADER_HINT = "credentials stand in a field of their own: Authorization, Cookie, X-Api-Key"
_STEERING = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "trailers", "upgrade"),
        *("content-length", "content-type", "content-encoding", "transfer-encoding", "expect"),
        *(
            "accept-encoding",
            "range",
            "if-range",
            "destination",
            "date",
            "via",
            "forwarded",
            "max-forwards",
        ),
        *("http2-settings", "x-http-method", "x-http-method-override", "x-method-override"),
        *("x-original-url", "x-rewrite-url", "x-original-method"),
    }
)
_STEERING_STARTS = ("proxy-", "sec-", "x-forwarded-")


def _prefix(value: str) -> str:
    if not (len(value) <= 64 and all(" " <= char <= "~" for char in value)):
        refuse(f"{said(value)} is not allowed", "a prefix is up to 64 printable ASCII characters")
    if value.startswith(" "):
        refuse(f"{said(value)} begins with a space", "spaces at the start of a field are dropped")
    return value


def _address_class(value: object) -> object:
    if value == AddressClass.PUBLIC.value:
        refuse("cannot be `public`", f"public addresses are granted without a word; {_CLASSES}")
    if value == AddressClass.RESERVED.value:
        refuse("cannot be `reserved`", f"nothing grants reserved addresses; {_CLASSES}")
    if value not in _WORDS:
        meant = did_you_mean(value.lower(), _WORDS) if isinstance(value, str) else ""
        refuse(f"cannot be {said(value)}{meant}", _CLASSES)
    return value


_WORDS = [
    one.value for one in AddressClass if one not in {AddressClass.PUBLIC, AddressClass.RESERVED}
]
_CLASSES = f"write one of {', '.join(_WORDS)}"


class HttpSection(Section):
    """
    One entry of `http`: requests that are allowed.
    """

    methods: Annotated[
        list[Annotated[str, AfterValidator(_method)]], at_most(len(METHODS)), BeforeValidator(some)
    ] = Field(default=["GET", "HEAD"])
    paths: Annotated[
        list[Annotated[str, AfterValidator(_path)]], at_most(MAX_PATHS), BeforeValidator(some)
    ] = Field(default=["/**"])


class CredentialsSection(Section):
    """
    `credentials`: what the server's side adds to each request.
    """

    header: Annotated[
        str,
        text_like(
            "[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a field's name is 1 to 64 of A-Z, 0-9, - and _"
        ),
        AfterValidator(_header),
    ]
    secret: Annotated[
        str,
        text_like(
            "[a-z0-9][a-z0-9._-]{0,63}",
            "a secret is the name of a file: 1 to 64 of a-z, 0-9, `.`, `_` and - (the first a "
            "letter or digit)",
        ),
    ]
    prefix: Annotated[str, AfterValidator(_prefix)] = ""


class NetworkSection(Section):
    """
    One entry of `network`. Which keys go together is for `lint_network.py` to say, so each has a
    value here: whether it was given is in `model_fields_set`.
    """

    host: Annotated[str, AfterValidator(_host)]
    ports: Annotated[
        list[Annotated[int, count_in(1, 65535)]], at_most(MAX_PORTS), BeforeValidator(some)
    ] = Field(default_factory=list)
    scheme: Annotated[Literal["https", "http"], one_of("https", "http")] = "https"
    http: Annotated[list[HttpSection], at_most(MAX_RULES), BeforeValidator(some)] = Field(
        default_factory=list
    )
    raw: bool = False
    tls: bool = True
    max_bytes: Annotated[int, size_in(1, MAX_BYTES)] = DEFAULT_MAX_BYTES
    credentials: Annotated[CredentialsSection | None, BeforeValidator(present)] = None
    addresses: Annotated[
        list[Annotated[str, BeforeValidator(_address_class)]],
        at_most(len(_WORDS)),
        BeforeValidator(some),
    ] = Field(default_factory=list)
