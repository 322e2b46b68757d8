"""
Anthropic's messages API: POST /v1/messages, in the version that its reference calls 2023-06-01.
"""

from collections.abc import Mapping
from typing import Any

from agent_client.adapters.endpoint import Patience
from agent_client.adapters.key import Key
from agent_client.adapters.toolcalls import (
    calls_of_anthropic,
    for_anthropic,
    offered_to_anthropic,
)
from agent_client.adapters.way import through, to_endpoint
from agent_client.course import Messages
from agent_client.errors import InvalidRequest, ModelUnreadable
from agent_client.extraction import Reply

DEFAULT_URL = "https://api.anthropic.com"
KEY_VARIABLE = "ANTHROPIC_API_KEY"
VERSION = "2023-06-01"
# Answers are cut there, which the loop then tells the model.
DEFAULT_MAX_TOKENS = 4096
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


class AnthropicMessages:
    """
    A model behind POST /v1/messages, as a callable from messages to a Reply.

    `key` is the environment's ANTHROPIC_API_KEY where it is left out. `options` go into each
    request (`max_tokens`, 4096 where it is left out; `temperature`, `stop_sequences`). With
    `client`, an `anthropic.Anthropic()`, that one is called instead. With `calls` the model is
    offered a tool `python`, and its uses of that are its code.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str = DEFAULT_URL,
        key: str | None = None,
        options: Mapping[str, object] | None = None,
        patience: Patience | None = None,
        client: Any = None,
        calls: bool = False,
    ) -> None:
        self._model = model
        self._calls = calls
        self._options = {"max_tokens": DEFAULT_MAX_TOKENS, **(options or {})}
        if self._options.get("stream"):
            raise InvalidRequest("one whole reply is read; leave out 'stream'")
        if client is None:
            where = url.rstrip("/").removesuffix("/v1") + "/v1/messages"
            self._way = to_endpoint(where, key, KEY_VARIABLE, _headers, patience)
        else:
            self._way = through(client, client.messages.create, "AnthropicError")

    def __repr__(self) -> str:
        return f"<AnthropicMessages {self._model!r} at {self._way.shown}>"

    def __call__(self, messages: Messages) -> Reply:
        """
        Ask for the next message. Raises ModelFailed.
        """
        system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
        rest = [one for one in messages if one["role"] != "system"]
        body: dict[str, Any] = {**self._options, "model": self._model, "messages": rest}
        if self._calls:
            body |= {"messages": for_anthropic(rest), "tools": offered_to_anthropic()}
        return read_message(
            self._way.post({**body, "system": system} if system else body), self._way.key
        )


def read_message(message: Mapping[str, Any], key: Key) -> Reply:
    """
    The reply of a message. Raises ModelUnreadable for what is none.
    """
    content = message.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ModelUnreadable("the endpoint's answer is not a message with a list of content")
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    text = "".join(one for one in texts if isinstance(one, str))
    cut = message.get("stop_reason") == "max_tokens"
    called = calls_of_anthropic(content, key.hide_in_reply)
    return Reply(key.hide_in_reply(text) + called, cut=cut, tokens=_tokens(message.get("usage")))


def _tokens(usage: object) -> int | None:
    if not isinstance(usage, dict):
        return None
    counts = [count for name in _COUNTS if isinstance(count := usage.get(name), int)]
    return sum(counts) if counts else None


def _headers(key: Key) -> dict[str, str]:
    secret = {"x-api-key": key.reveal()} if key else {}
    return {"anthropic-version": VERSION, **secret}
