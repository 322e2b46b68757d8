"""
A live model behind an endpoint that speaks the chat completions of OpenAI's wire format.

Where it is and the key for it come from the environment, so that neither stands in a command line
or in a shell's history. Redirections are not followed: the key is for the host that was named.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agent_client.errors import InvalidRequest, NoAnswer

URL_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"

_SECONDS = 300.0  # a long answer of a slow model
_LONGEST_REPLY = 2**22
_SHOWN = 200
_TOO_MANY, _THEIR_FAULT = 429, 500


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A model of an endpoint: `url` ends where `/chat/completions` begins; `waits` are the seconds
    before each further try where the endpoint is busy or cannot be reached.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    waits: Sequence[float] = (2.0, 8.0, 30.0)

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """
        The model's next message.

        Raises InvalidRequest where the endpoint refuses, NoAnswer where it has no answer.
        """
        request = self._request({"model": self.model, "messages": list(messages), "temperature": 0})
        for wait in self.waits:
            try:
                return _content(_sent(request))
            except NoAnswer:
                time.sleep(wait)
        return _content(_sent(request))

    def _request(self, body: dict[str, Any]) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return urllib.request.Request(  # noqa: S310 - the scheme is checked where it is read
            f"{self.url}/chat/completions", json.dumps(body).encode(), headers
        )


def from_environment(model: str, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """
    The endpoint that OPENAI_BASE_URL names, with the key of OPENAI_API_KEY if there is one.

    Raises InvalidRequest where it is not given or no address of HTTP.
    """
    url = environment.get(URL_VARIABLE, "").rstrip("/")
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise InvalidRequest(
            f"--model needs an endpoint: set {URL_VARIABLE} to its address, such as "
            f"http://localhost:8000/v1, and {KEY_VARIABLE} to its key if it wants one"
        )
    return Endpoint(url, model, environment.get(KEY_VARIABLE, ""))


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """
        None is made, and the redirection becomes an HTTPError.
        """


def _sent(request: urllib.request.Request) -> bytes:
    opener = urllib.request.build_opener(_NoRedirection)
    try:
        with opener.open(request, timeout=_SECONDS) as reply:
            data: bytes = reply.read(_LONGEST_REPLY + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, error.read(_SHOWN)) from None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"the model's endpoint cannot be reached: {error}") from None
    if len(data) > _LONGEST_REPLY:
        raise InvalidRequest(f"the model's endpoint sent more than {_LONGEST_REPLY} bytes")
    return data


def _refusal(status: int, body: bytes) -> InvalidRequest | NoAnswer:
    said = body.decode("utf-8", "backslashreplace")
    text = f"the model's endpoint answered with status {status}: {said}"
    busy = status == _TOO_MANY or status >= _THEIR_FAULT
    return NoAnswer(text) if busy else InvalidRequest(text)


def _content(data: bytes) -> str:
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        shown = data[:_SHOWN].decode("utf-8", "backslashreplace")
        raise InvalidRequest(f"the endpoint's reply is no chat completion: {shown}") from None
    return content if isinstance(content, str) else ""
