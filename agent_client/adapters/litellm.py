"""
Every model that LiteLLM reaches, by its `completion`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from agent_client.adapters.foreign import called, failures_of, package_of
from agent_client.adapters.key import Key
from agent_client.adapters.openai import read_completion
from agent_client.adapters.toolcalls import for_openai, offered_to_openai
from agent_client.course import Messages
from agent_client.errors import InvalidRequest
from agent_client.extraction import Reply


class LiteLLM:
    """
    A model by LiteLLM's name, such as `ollama/llama3`, as a callable from messages to a Reply.

    `key` is left out where LiteLLM finds it in the environment; `options` go into each call.
    `completion` is LiteLLM's own function, which is imported where it is left out; raises
    InvalidRequest where the package is not installed. `calls` is as in `OpenAIChat`.
    """

    def __init__(
        self,
        model: str,
        *,
        key: str | None = None,
        options: Mapping[str, object] | None = None,
        completion: Callable[..., object] | None = None,
        calls: bool = False,
    ) -> None:
        self._model = model
        self._calls = calls
        self._key = Key(key or "")
        self._options = dict(options or {})
        if self._options.get("stream") or "api_key" in self._options:
            raise InvalidRequest("leave out 'stream', and give the key as key=, not in options")
        self._completion: Callable[..., object] = completion or _imported()
        package = package_of(self._completion)
        self._failures = failures_of(package, "LITELLM_EXCEPTION_TYPES")

    def __repr__(self) -> str:
        return f"<LiteLLM {self._model!r}>"

    def __call__(self, messages: Messages) -> Reply:
        """
        Ask for the next message. Raises ModelFailed.
        """
        secret = {"api_key": self._key.reveal()} if self._key else {}

        def ask() -> object:
            asked = {**self._options, "model": self._model, "messages": messages, **secret}
            if self._calls:
                asked |= {"messages": for_openai(messages), "tools": offered_to_openai()}
            return self._completion(**asked)

        return read_completion(called(ask, self._failures, self._key), self._key)


def _imported() -> Any:
    try:
        return import_module("litellm").completion
    except ImportError:
        raise InvalidRequest(
            "the package litellm is not installed; install it, or use OpenAIChat or "
            "AnthropicMessages, which need no package"
        ) from None
