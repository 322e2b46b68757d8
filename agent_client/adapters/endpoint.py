"""
One POST of JSON to a model's endpoint, with a bound on everything: time, size, and tries.

It is `http.client` and not `urllib`, which would follow redirects and take the key along. Errors
are raised outside the handlers that meet them, so that no exception of the library's, whose frames
hold the headers, hangs behind ours.
"""

import contextlib
import http.client
import ipaddress
import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from agent_client.adapters.key import Key
from agent_client.errors import (
    InvalidRequest,
    ModelBusy,
    ModelFailed,
    ModelRefused,
    ModelUnreachable,
    ModelUnreadable,
)

MAX_ANSWER = 16 * 1024 * 1024
_SAID_CHARS = 300
_FIRST_WAIT_SECONDS = 0.5
# What may be another answer the next time. A completion changes nothing at the other side, so that
# asking again is safe; whether it costs twice is the endpoint's to say.
_BUSY = {408, 425, 429, 500, 502, 503, 504, 529}
_ADVICE = {
    401: "; check the key",
    403: "; check what the key may do",
    404: "; check the address and the model's name",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long to wait for a reply and how often to ask again where the endpoint is busy.

    `timeout` are the seconds of one try, its answer included; `retries` (0 to 10) come after the
    first; `longest_wait` is the most seconds before one of them: where the endpoint asks for more,
    the error is raised at once.
    """

    timeout: float = 120.0
    retries: int = 2
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        """
        Raise InvalidRequest for what is no bound.
        """
        if not 0 < self.timeout < math.inf or not 0 <= self.retries <= 10:
            raise InvalidRequest(
                f"timeout={self.timeout} and retries={self.retries} were given; the timeout has to "
                "be a number of seconds over 0, and there are 0 to 10 retries"
            )


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    phrase: str
    retry_after: str | None
    body: bytes


class Endpoint:
    """
    An address that takes JSON and answers JSON. `headers` gives the key its header.
    """

    def __init__(
        self,
        url: str,
        key: Key,
        headers: Callable[[Key], Mapping[str, str]],
        patience: Patience,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._parts = _checked(url, key)
        self._key = key
        self._headers = headers
        self._patience = patience
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<Endpoint {self.shown} {self._key!r}>"

    @property
    def shown(self) -> str:
        """
        The address for messages: without a query, where some endpoints have secrets.
        """
        return f"{self._parts.scheme}://{self._parts.netloc}{self._parts.path}"

    def post(self, body: Mapping[str, object]) -> dict[str, Any]:
        """
        Send a request and give its answer's JSON object. Raises ModelFailed, see its kinds.
        """
        payload = json.dumps(body).encode()
        tried = 0
        while isinstance(outcome := self._try(payload), ModelFailed):
            wait = self._wait(outcome, tried)
            if wait is None:
                raise outcome
            self._sleep(wait)
            tried += 1
        return outcome

    def _wait(self, failed: ModelFailed, tried: int) -> float | None:
        """
        How long to wait before asking again; None for not at all.
        """
        if not isinstance(failed, ModelBusy) or tried == self._patience.retries:
            return None
        asked = failed.retry_after
        wait = _FIRST_WAIT_SECONDS * 2**tried if asked is None else asked
        return wait if wait <= self._patience.longest_wait else None

    def _try(self, payload: bytes) -> dict[str, Any] | ModelFailed:
        answer = self._exchange(payload)
        if isinstance(answer, ModelFailed):
            return answer
        if answer.status != http.HTTPStatus.OK:
            return self._failure(answer)
        return self._object(answer)

    def _exchange(self, payload: bytes) -> _Answer | ModelFailed:
        connection = self._connection()
        try:
            connection.connect()
            with _ending(connection.sock, self._patience.timeout) as over:
                try:
                    answer = self._converse(connection, payload)
                    # What ends with the connection would look whole.
                    return self._late() if over.is_set() else answer
                except (OSError, http.client.HTTPException, ValueError) as error:
                    return self._broken(error, late=over.is_set())
        except TimeoutError:
            return self._late()
        except (OSError, http.client.HTTPException) as error:
            return ModelUnreachable(f"{self.shown} cannot be reached: {self._said(str(error))}")
        finally:
            connection.close()

    def _converse(self, connection: http.client.HTTPConnection, payload: bytes) -> _Answer:
        path = f"{self._parts.path}?{self._parts.query}" if self._parts.query else self._parts.path
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", path, payload, {**headers, **self._headers(self._key)})
        reply = connection.getresponse()
        body = reply.read(MAX_ANSWER + 1)
        if reply.length and len(body) <= MAX_ANSWER:
            raise http.client.IncompleteRead(b"", reply.length)
        return _Answer(reply.status, reply.reason, reply.getheader("Retry-After"), body)

    def _broken(self, error: Exception, *, late: bool) -> ModelFailed:
        if late or isinstance(error, TimeoutError):
            return self._late()
        what = self._said(str(error)) or type(error).__name__
        return ModelUnreachable(f"the connection to {self.shown} broke before its answer: {what}")

    def _late(self) -> ModelFailed:
        seconds = f"{self._patience.timeout:g} s"
        return ModelUnreachable(f"{self.shown} did not answer within {seconds}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port, timeout = self._parts.hostname or "", self._parts.port, self._patience.timeout
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _failure(self, answer: _Answer) -> ModelFailed:
        said = self._complaint(answer.body)
        if 300 <= answer.status < 400:
            said = "it redirects, which is not followed, since the key would go along"
        text = f"{self.shown} answered {answer.status} {self._said(answer.phrase)}: {said}"
        if answer.status in _BUSY and b'"insufficient_quota"' not in answer.body:
            seconds = _seconds(answer.retry_after)
            return ModelBusy(text, status=answer.status, retry_after=seconds)
        return ModelRefused(text + _ADVICE.get(answer.status, ""), status=answer.status)

    def _object(self, answer: _Answer) -> dict[str, Any] | ModelFailed:
        if len(answer.body) > MAX_ANSWER:
            return ModelUnreadable(f"{self.shown} answered with more than {MAX_ANSWER:,} bytes")
        found = _parsed(answer.body)
        if isinstance(found, dict):
            return found
        # All of it, since a cut before the key is hidden could leave a part of one.
        said = self._said(answer.body.decode(errors="replace"))
        return ModelUnreadable(f"{self.shown} answered with no JSON object: {said or 'nothing'}")

    def _complaint(self, body: bytes) -> str:
        """
        What an endpoint says of its refusal, in the forms that are in use.
        """
        whole = _parsed(body[:MAX_ANSWER])
        error = whole.get("error", whole) if isinstance(whole, dict) else None
        found: list[object] = [error]
        if isinstance(error, dict):
            found = [error.get(name) for name in ("message", "detail", "msg")]
        said = next((text for text in found if isinstance(text, str) and text), None)
        return self._said(body.decode(errors="replace") if said is None else said)

    def _said(self, text: str) -> str:
        """
        A text of the other side: without the key, on one line, and short. The key goes first, so
        that no cut leaves a part of it.
        """
        line = " ".join(self._key.hide(text).split())
        printable = "".join(char if char.isprintable() else "?" for char in line)
        return printable if len(printable) <= _SAID_CHARS else f"{printable[:_SAID_CHARS]}..."


@contextlib.contextmanager
def _ending(connection: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """
    Shut a connection down when its time is over, however slowly it still answers; the event says
    that this was so.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            # Not the method of a TLS socket, which would take away what the reader is using.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _checked(url: str, key: Key) -> SplitResult:
    """
    The parts of an address. Raises InvalidRequest for one that is none, or that would show the key.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    good = url.isascii() and url.isprintable() and " " not in url
    if not (good and host and parts.scheme in {"http", "https"}) or "@" in parts.netloc:
        raise InvalidRequest(
            "the endpoint's address has to be 'https://HOST/PATH' or 'http://HOST/PATH', without "
            "a user or a password in it"
        )
    if key and parts.scheme == "http" and not _on_this_machine(host):
        raise InvalidRequest(
            f"a key would go to {host} without encryption; use https, or give key='' to an "
            "endpoint that needs none"
        )
    return parts


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _seconds(field: str | None) -> float | None:
    """
    The seconds of a Retry-After field, a number or a date (RFC 9110, 10.2.3).
    """
    if field is None:
        return None
    try:
        seconds = float(field)
    except ValueError:
        seconds = _seconds_until(field)
    return max(0.0, seconds) if not math.isnan(seconds) else None


def _seconds_until(field: str) -> float:
    try:
        date = parsedate_to_datetime(field)
    except ValueError:
        return math.nan
    known = date if date.tzinfo else date.replace(tzinfo=UTC)
    return (known - datetime.now(UTC)).total_seconds()
