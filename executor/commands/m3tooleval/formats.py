"""
The paper's three formats of an action: what a model is told, and how its reply is read.

A reply is a stranger's text. It becomes a cell of a caged session or an answer, nothing else; what
is read of it here is read as literals.
"""

import ast
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from executor.commands.m3tooleval.kit import Tool
from executor.commands.m3tooleval.turns import call_cell

_LONGEST_CALL = 20_000
_EXECUTE = re.compile(r"<execute>(.*?)(?:</execute>|\Z)", re.DOTALL)
_ACTION = re.compile(r"^\s*Action:\s*(.+)", re.DOTALL | re.MULTILINE)
_ANSWER = re.compile(r"^\s*Answer:[ \t]*(.+)", re.MULTILINE)
# What reading a literal raises that is none, see ast.literal_eval.
_MALFORMED = (LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError)


class Format(StrEnum):
    """
    How a model writes its actions.
    """

    CODE = "code"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The model says that it is done.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """
    The model acts.
    """

    code: str


@dataclass(frozen=True, slots=True)
class Neither:
    """
    The reply cannot be used; `hint` is for the model.
    """

    hint: str


_HOW = {
    Format.CODE: (
        "To act, write Python between <execute> and </execute>. The tools are functions there, "
        "variables stay from one action to the next, and you see what the code prints."
    ),
    Format.JSON: (
        'To act, write one line: Action: {"tool": "NAME", "arguments": [VALUE, ...]}\n'
        "One call at a time; you see its result."
    ),
    Format.TEXT: (
        "To act, write one line: Action: NAME(VALUE, ...)\n"
        "Values are literals. One call at a time; you see its result."
    ),
}


def prompt(format_: Format, tools: Sequence[Tool], instruction: str, turns: int) -> str:
    """
    The first message to a model that has so many turns.
    """
    listed = "\n".join(f"- {tool.signature}: {tool.description}" for tool in tools)
    return (
        f"Solve a task with these tools:\n{listed}\n\n{_HOW[format_]}\n"
        "When you know the answer, write one line instead: Answer: VALUE\n"
        f"Each reply is one action or the answer; you have {turns} replies.\n\nTask: {instruction}"
    )


def read(format_: Format, reply: str, tools: Collection[str]) -> Answer | Cell | Neither:
    """
    What a reply means. An action counts before an answer: its result is not known yet.
    """
    if format_ is Format.CODE:
        acted = _EXECUTE.search(reply)
        if acted:
            return Cell(acted[1])
    elif acted := _ACTION.search(reply):
        return _called(format_, acted[1][:_LONGEST_CALL], tools)
    if answered := _ANSWER.search(reply):
        return Answer(answered[1].strip())
    return Neither(f"There is no action and no answer in this reply.\n{_HOW[format_]}")


def _called(format_: Format, text: str, tools: Collection[str]) -> Cell | Neither:
    try:
        name, args, named = (_json if format_ is Format.JSON else _text)(text)
    except _MALFORMED as error:
        return Neither(f"The action cannot be read ({type(error).__name__}).\n{_HOW[format_]}")
    if name not in tools:
        return Neither(f"There is no tool {name!r:.80}; there are {', '.join(tools)}.")
    return Cell(call_cell(name, args, named))


_Call = tuple[str, list[Any], dict[str, Any]]


def _json(text: str) -> _Call:
    call, _ = json.JSONDecoder().raw_decode(text.strip().removeprefix("```json").strip())
    if not isinstance(call, dict):
        raise TypeError("a call is an object")
    name, given = call["tool"], call.get("arguments", [])
    if not isinstance(name, str) or not isinstance(given, list | dict):
        raise TypeError("a call is a name and its arguments")
    return (name, given, {}) if isinstance(given, list) else (name, [], given)


def _text(text: str) -> _Call:
    call = ast.parse(text.strip().splitlines()[0], mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise TypeError("no call")
    if not all(one.arg for one in call.keywords):
        raise TypeError("** is no literal")
    named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    return call.func.id, [ast.literal_eval(one) for one in call.args], named
