"""
An endpoint's own calls of tools as a way to send code: one tool, `python`, that takes `code`.

A conversation stays text, here and in transcripts: a call stands in the reply as `<tool_call>` with
its JSON, which is what `extraction.py` reads anyway. For the endpoint it is taken apart again, so
that a model finds its call, and the result that answers it, in the form that it was trained on.
In the JSON every `<` is an escape, so that no mark within code ends a call.

The forms are those of OpenAI's "Function calling" and Anthropic's "Tool use".
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agent_client.course import Messages
from agent_client.errors import ModelUnreadable

Hide: TypeAlias = Callable[[str], str]
Body: TypeAlias = dict[str, Any]

TOOL = "python"
DESCRIPTION = (
    "Runs Python in a session that keeps its variables and files from one call to the next. The "
    "result is what the code printed, the value of its last expression, and its errors."
)
_SCHEMA = {
    "type": "object",
    "properties": {"code": {"type": "string", "description": "The Python to run."}},
    "required": ["code"],
}
# One call's result answers all of a reply: its blocks are run as one cell.
_WITH_THE_FIRST = "[run together with the first call of this reply, whose result has it all]"
# What both take for a tool's name; a request with another, and so each that follows, they refuse.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WRITTEN = re.compile(r"\n?<tool_call>(\{[^<]*\})</tool_call>")


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call as the endpoint told it: arguments are an object, or what was to be the JSON of one.
    """

    name: str
    arguments: dict[str, Any] | str


def offered_to_openai() -> list[Body]:
    """
    The tool, for a chat completion's `tools`.
    """
    function = {"name": TOOL, "description": DESCRIPTION, "parameters": _SCHEMA}
    return [{"type": "function", "function": function}]


def offered_to_anthropic() -> list[Body]:
    """
    The tool, for a message's `tools`.
    """
    return [{"name": TOOL, "description": DESCRIPTION, "input_schema": _SCHEMA}]


def calls_of_openai(message: Mapping[str, Any], hide: Hide) -> str:
    """
    The calls of a completion's message, as text. Raises ModelUnreadable.
    """
    given = message.get("tool_calls") or []
    try:
        found = [(one["function"]["name"], one["function"]["arguments"]) for one in given]
    except (LookupError, TypeError):
        raise ModelUnreadable("the endpoint's tool_calls have no function with arguments") from None
    return "".join(_written(name, arguments, hide) for name, arguments in found)


def calls_of_anthropic(parts: list[Mapping[str, Any]], hide: Hide) -> str:
    """
    The calls among the parts of a message, as text.
    """
    found = [part for part in parts if part.get("type") == "tool_use"]
    return "".join(_written(part.get("name"), part.get("input"), hide) for part in found)


def for_openai(messages: Messages) -> list[Body]:
    """
    A conversation with its calls as OpenAI has them, each answered by a message of the role `tool`.
    """
    made: list[Body] = []
    for number, message, calls, asked in _paired(messages):
        if calls:
            made.append(
                {
                    "role": "assistant",
                    "content": _text_of(message) or None,
                    "tool_calls": [
                        {"id": _id(number, place), "type": "function", "function": _function(one)}
                        for place, one in enumerate(calls)
                    ],
                }
            )
        elif asked:
            made += [
                {"role": "tool", "tool_call_id": _id(number - 1, place), "content": said}
                for place, said in enumerate(_answers(message, asked))
            ]
        else:
            made.append(dict(message))
    return made


def for_anthropic(messages: Messages) -> list[Body]:
    """
    A conversation with its calls as Anthropic has them, each answered by a `tool_result`.
    """
    made: list[Body] = []
    for number, message, calls, asked in _paired(messages):
        content: Any = message["content"]
        if calls:
            said = _text_of(message)
            content = [{"type": "text", "text": said}] if said else []
            content += [_use(one, _id(number, place)) for place, one in enumerate(calls)]
        elif asked:
            content = [
                {"type": "tool_result", "tool_use_id": _id(number - 1, place), "content": answer}
                for place, answer in enumerate(_answers(message, asked))
            ]
        made.append({"role": message["role"], "content": content})
    return made


def _written(name: object, arguments: object, hide: Hide) -> str:
    if isinstance(arguments, str):
        arguments = _parsed(arguments, hide)
    if isinstance(arguments, dict):
        arguments = {
            key: hide(value) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
    # Hidden twice: as it stands in code, and wherever else it is.
    call = hide(json.dumps({"name": name, "arguments": arguments})).replace("<", "\\u003c")
    return f"\n<tool_call>{call}</tool_call>"


def _parsed(arguments: str, hide: Hide) -> object:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return hide(arguments)


def _paired(messages: Messages) -> Iterator[tuple[int, Mapping[str, str], list[Call], int]]:
    """
    Each message with its number, the calls in it, and how many calls of the one before it answers.
    """
    before = 0
    for number, message in enumerate(messages):
        calls = _calls(message["content"]) if message["role"] == "assistant" else []
        answered = number + 1 < len(messages) and messages[number + 1]["role"] == "user"
        # An API refuses a call that nobody answers: the last one stays text then.
        calls = calls if answered else []
        yield number, message, calls, before if message["role"] == "user" else 0
        before = len(calls)


def _calls(text: str) -> list[Call]:
    found = []
    for written in _WRITTEN.findall(text):
        try:
            call = json.loads(written)
        except (ValueError, RecursionError):
            continue
        name, arguments = call.get("name"), call.get("arguments")
        if isinstance(name, str) and isinstance(arguments, (dict, str)):
            found.append(Call(name, arguments))
    # A call that the model has written as text may have a name like `functions.python`.
    return found if all(_NAME.fullmatch(one.name) for one in found) else []


def _text_of(message: Mapping[str, str]) -> str:
    return _WRITTEN.sub("", message["content"]).strip()


def _answers(message: Mapping[str, str], count: int) -> list[str]:
    return [message["content"], *[_WITH_THE_FIRST] * (count - 1)]


def _function(call: Call) -> Body:
    told = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return {"name": call.name, "arguments": told}


def _use(call: Call, name: str) -> Body:
    told = call.arguments if isinstance(call.arguments, dict) else {"unreadable": call.arguments}
    return {"type": "tool_use", "id": name, "name": call.name, "input": told}


def _id(number: int, place: int) -> str:
    return f"call_{number}_{place}"
