"""
What stands before the pages: which host was meant, where the request comes from, who asks.

The address is this machine's, but every page in the user's browser can send requests there, and a
name that leads to it today may have led elsewhere yesterday (DNS rebinding): so `Host` has to be
one of the names that were meant, and `Origin`, where there is one, too. Nothing is looked up for
anybody who has not shown the token. What is sent is complete and written down before its first
byte goes out.

Sources: Fetch (https://fetch.spec.whatwg.org), `Origin` and Cross-Origin-Resource-Policy; Content
Security Policy Level 3; RFC 6265bis for cookies; RFC 6750 for `Authorization: Bearer`.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, quote

from executor.audit.errors import AuditError
from executor.review.access import Readers
from executor.review.login import COOKIE, LIFETIME, Login, Reader, TooMany, WrongToken
from executor.review.places import place_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
LoginPage = Callable[[str, str], bytes]
"""Makes the login page of where to go on, and of what went wrong ("" for nothing)."""

SECURITY_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self'; style-src 'self'"
)
_ALWAYS: Final = {
    "content-security-policy": SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With `no-referrer` the browser would give `Origin: null` for our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_LONGEST_BODY: Final = 4096
_MOST_FIELDS: Final = 8
_PATIENCE: Final = 5.0
LOGIN, LOGOUT = "/login", "/logout"
OPEN_TO_ALL: Final = frozenset({"/style.css", "/icon.svg"})
"""What the login page is made of; nothing of the record is in it."""


@dataclass(slots=True)
class Seen:
    """
    What the pages tell the door about themselves: the session that one is about.
    """

    session: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """
    All of an answer.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Door:
    """
    An ASGI application around the pages, which sees to all of the above.

    `hosts` are the values of `Host` that are answered.
    """

    def __init__(
        self,
        pages: Application,
        login_page: LoginPage,
        *,
        hosts: frozenset[str],
        login: Login,
        readers: Readers,
    ) -> None:
        self._pages = pages
        self._login_page = login_page
        self._hosts = hosts
        self._login = login
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer one request; what is no request of HTTP is closed.
        """
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        reply = await self._reply(scope, receive)
        headers = {
            "content-type": "text/html; charset=utf-8",
            **_ALWAYS,
            **reply.headers,
            "content-length": str(len(reply.body)),
        }
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        asked = _Asked(scope)
        if refused := self._refused(asked):
            return refused
        try:
            return await self._answered(asked, receive)
        except AuditError:
            return _plain(503, "Nothing is shown, for it could not be recorded that it was read.")

    def _refused(self, asked: "_Asked") -> Reply | None:
        """
        What is refused whoever asks: another host, another site, another method.
        """
        host = asked.only("host")
        if host is None or host.lower() not in self._hosts:
            return _plain(421, f"This is not the host that was asked for; use {self._names()}.")
        if asked.method not in {"GET", "HEAD", "POST"}:
            return _plain(
                405, "Only GET, HEAD and POST are answered.", {"allow": "GET, HEAD, POST"}
            )
        origins = asked.all("origin")
        if any(origin not in self._origins() for origin in origins) or len(origins) > 1:
            return _plain(403, "This request comes from another site.")
        if asked.method == "POST" and not origins:
            return _plain(403, "A form is sent with its origin.")
        return None

    def _names(self) -> str:
        return " or ".join(sorted(self._hosts))

    def _origins(self) -> set[str]:
        return {f"http://{host}" for host in self._hosts}

    async def _answered(self, asked: "_Asked", receive: Receive) -> Reply:
        if asked.path in OPEN_TO_ALL and asked.method != "POST":
            return await self._page(asked, receive)
        if asked.path == LOGIN:
            return await self._log_in(asked, receive)
        if asked.path == LOGOUT and asked.method == "POST":
            for cookie in asked.cookies:
                self._login.leave(cookie)
            return _moved(LOGIN, {"set-cookie": _cookie("", 0)})
        if asked.method == "POST":
            return _plain(405, "Nothing is changed here.", {"allow": "GET, HEAD"})
        bearer = asked.only("authorization")
        if bearer is not None:
            return await self._with_token(asked, receive, bearer)
        known = (self._login.visitor(cookie) for cookie in asked.cookies)
        reader = next((one for one in known if one is not None), None)
        if reader is None:
            return _moved(f"{LOGIN}?next={quote(asked.target, safe='')}")
        return await self._recorded(asked, receive, reader)

    async def _with_token(self, asked: "_Asked", receive: Receive, shown: str) -> Reply:
        scheme, _, token = shown.partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise WrongToken
            reader = self._login.check(token.strip())
        except WrongToken:
            await self._readers.login(None, self._login.take_unseen())
            return _plain(401, "This is not the token.", {"www-authenticate": "Bearer"})
        except TooMany as error:
            return _too_many(error)
        return await self._recorded(asked, receive, reader)

    async def _recorded(self, asked: "_Asked", receive: Receive, reader: Reader) -> Reply:
        reply = await self._page(asked, receive)
        words = f"{asked.method} {asked.target}"
        session = asked.seen.session
        await self._readers.read(reader, words, reply.status, reply.body, session)
        return reply

    async def _page(self, asked: "_Asked", receive: Receive) -> Reply:
        """
        What the pages answer, all of it.
        """
        started: list[Message] = []
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            else:
                parts.append(message.get("body", b""))

        await self._pages(asked.scope, receive, keep)
        headers = {name.decode(): value.decode("latin-1") for name, value in started[0]["headers"]}
        return Reply(started[0]["status"], b"".join(parts), headers)

    async def _log_in(self, asked: "_Asked", receive: Receive) -> Reply:
        if asked.method != "POST":
            place = place_of(_fields(asked.query).get("next", ""))
            return Reply(200, self._login_page(place, ""))
        form = await _form(receive)
        if form is None:
            return _plain(413, "The form is too long, or took too long.")
        place = place_of(form.get("next", ""))
        try:
            value, reader = self._login.enter(form.get("token", "").strip())
        except WrongToken:
            await self._readers.login(None, self._login.take_unseen())
            return Reply(401, self._login_page(place, "This is not the token."))
        except TooMany as error:
            return _too_many(error)
        try:
            await self._readers.login(reader, self._login.take_unseen())
        except AuditError:
            self._login.leave(value)
            raise
        return _moved(place, {"set-cookie": _cookie(value, int(LIFETIME))})


class _Asked:
    """
    A request's head, as the door reads it.
    """

    def __init__(self, scope: Scope) -> None:
        self.seen = Seen()
        scope["codecage.seen"] = self.seen
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        raw = scope.get("raw_path") or quote(self.path).encode()
        path = raw.decode("latin-1").partition("?")[0]
        self.target = f"{path}?{self.query}" if self.query else path

    def all(self, name: str) -> list[str]:
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted]

    def only(self, name: str) -> str | None:
        """
        The field's value, None where it is not there once.
        """
        found = self.all(name)
        return found[0] if len(found) == 1 else None

    @property
    def cookies(self) -> list[str]:
        """
        The values of our cookie. Other programs of this host may set what they like beside it,
        also under its name, so that no other part of the field is read.
        """
        parts = [part.strip() for field in self.all("cookie") for part in field.split(";")]
        named = (part.partition("=") for part in parts)
        return [value for name, _, value in named if name == COOKIE]


async def _form(receive: Receive) -> dict[str, str] | None:
    """
    A short form's fields, None where it is longer or slower than the login's can be.
    """
    data = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                data += message.get("body", b"")
                if len(data) > _LONGEST_BODY:
                    return None
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return None
    return _fields(data.decode("ascii", "replace"))


def _fields(encoded: str) -> dict[str, str]:
    """
    The first value of each field; none at all where there are more than a form of ours has.
    """
    try:
        found = parse_qs(encoded, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _cookie(value: str, age: int) -> str:
    # Not `Secure`: it would not be sent to 127.0.0.1 by every browser, and nothing leaves here.
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"


def _moved(place: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(303, b"", {"location": place, **(headers or {})})


def _too_many(error: TooMany) -> Reply:
    said = f"Too many wrong tokens; wait {error.wait} seconds."
    return _plain(429, said, {"retry-after": str(error.wait)})


def _plain(status: int, words: str, headers: dict[str, str] | None = None) -> Reply:
    kind = {"content-type": "text/plain; charset=utf-8"}
    return Reply(status, f"{words}\n".encode(), {**kind, **(headers or {})})
