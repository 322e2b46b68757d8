"""
Endpoints that speak OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama and many others.

The format is that of the API reference, "Create chat completion".
"""

from collections.abc import Mapping
from typing import Any

from agent_client.adapters.endpoint import Patience
from agent_client.adapters.key import Key
from agent_client.adapters.toolcalls import calls_of_openai, for_openai, offered_to_openai
from agent_client.adapters.way import through, to_endpoint
from agent_client.course import Messages
from agent_client.errors import InvalidRequest, ModelUnreadable
from agent_client.extraction import Reply

DEFAULT_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
_ALLOWED = "a chat completion with choices[0].message"


class OpenAIChat:
    """
    A model behind POST /chat/completions, as a callable from messages to a Reply.

    `key` is the environment's OPENAI_API_KEY where it is left out, and none where it is empty.
    `options` go into each request (`temperature`, `max_tokens`, `stop`). With `client`, an
    `openai.OpenAI()`, that one is called instead, with its own address, key and retries. With
    `calls` the model is offered a tool `python`, and its calls of that are its code.
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
        self._options = dict(options or {})
        if self._options.get("stream") or self._options.get("n", 1) != 1:
            raise InvalidRequest("one whole reply is read; leave out 'stream' and 'n'")
        if client is None:
            where = _under(url, "/chat/completions")
            self._way = to_endpoint(where, key, KEY_VARIABLE, _headers, patience)
        else:
            self._way = through(client, client.chat.completions.create, "OpenAIError")

    def __repr__(self) -> str:
        return f"<OpenAIChat {self._model!r} at {self._way.shown}>"

    def __call__(self, messages: Messages) -> Reply:
        """
        Ask for the next message. Raises ModelFailed.
        """
        body: dict[str, Any] = {**self._options, "model": self._model, "messages": messages}
        if self._calls:
            body |= {"messages": for_openai(messages), "tools": offered_to_openai()}
        return read_completion(self._way.post(body), self._way.key)


def read_completion(completion: Mapping[str, Any], key: Key) -> Reply:
    """
    The reply of a chat completion. Raises ModelUnreadable for what is none.
    """
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        content = message.get("content") or message.get("refusal") or ""
        called = calls_of_openai(message, key.hide_in_reply)
        cut = choice.get("finish_reason") == "length"
    except (LookupError, TypeError, AttributeError):
        raise ModelUnreadable(f"the endpoint's answer is not {_ALLOWED}") from None
    usage = completion.get("usage")
    used = usage.get("total_tokens") if isinstance(usage, dict) else None
    tokens = used if isinstance(used, int) and used >= 0 else None
    return Reply(key.hide_in_reply(_text(content)) + called, cut=cut, tokens=tokens)


def _text(content: object) -> str:
    """
    A message's text, which some endpoints give in parts.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    raise ModelUnreadable(f"the endpoint's message is {type(content).__name__}, not text")


def _under(url: str, path: str) -> str:
    base, mark, query = url.partition("?")
    whole = base.rstrip("/")
    return f"{whole if whole.endswith(path) else whole + path}{mark}{query}"


def _headers(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"} if key else {}
