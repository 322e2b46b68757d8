"""
What a model's reply asks for: code to run, an answer, or neither in a form that can be read.

Marks are looked for from the left, and what one encloses is opaque: a fence within `<execute>` is
text of the code, and code within `<think>` is a thought. The code itself is never parsed here. It
is a stranger's, Python's own parser can be made to exhaust its stack, and the session says better
what is wrong with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from textwrap import dedent
from typing import TypeAlias

from agent_client.errors import InvalidRequest
from agent_client.textcalls import NotACall, code_of_function, code_of_json, looks_like_call


class BareText(StrEnum):
    """
    What a reply with neither code nor `<solution>` is: the answer, or something to be told.
    """

    ANSWER = "answer"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What a model said. `cut` says that its endpoint ended it at a limit of length; `tokens` is what
    the exchange cost, question and reply, None where that is unknown.
    """

    text: str
    cut: bool = False
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """
    Python to run as one cell; `note` is something the model should know besides its result.
    """

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The end of the work, in the model's words.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Nothing can be run, and the model is told why and what to write instead.
    """

    text: str


Action: TypeAlias = Code | Answer | Problem

HOW_TO_WRITE = (
    "Write Python between <execute> and </execute> to run it, "
    "or your answer between <solution> and </solution>."
)
_EMPTY = f"Your reply was empty. {HOW_TO_WRITE}"
_EMPTY_CODE = "The code block was empty, so nothing was run. Write the code between the marks."
_EMPTY_SOLUTION = "The <solution> was empty. Write the answer between <solution> and </solution>."
_NO_SHELL = (
    "Only Python is run here, and no shell, so nothing was run. "
    "Do it in Python, between <execute> and </execute>."
)
_NO_CODE = f"There was no code and no solution in your reply. {HOW_TO_WRITE}"
_CUT = (
    "Your reply was cut at its limit of length before it was complete, so nothing was run. "
    "Send it again, shorter or in several steps."
)
_SURROGATES = (
    "The code has characters that cannot be encoded (lone surrogates), so nothing was run. "
    "Write them as escapes, such as '\\ud800'."
)
_SOLUTION_WAITS = (
    "[the solution that stood beside the code was not taken: "
    "give it alone, now that you see the result]"
)


class _Kind(Enum):
    MARKED = auto()  # <execute> and its kin
    FENCED = auto()
    CALL = auto()
    FUNCTION = auto()
    SOLUTION = auto()
    SHELL = auto()
    THOUGHT = auto()


@dataclass(frozen=True, slots=True)
class _Block:
    kind: _Kind
    content: str
    closed: bool
    begin: int
    end: int


_TAGS = {
    "execute": _Kind.MARKED,
    "execute_ipython": _Kind.MARKED,
    "code": _Kind.MARKED,
    "tool_call": _Kind.CALL,
    "function": _Kind.FUNCTION,
    "solution": _Kind.SOLUTION,
    "execute_bash": _Kind.SHELL,
    "think": _Kind.THOUGHT,
    "thought": _Kind.THOUGHT,
}
_LANGUAGES = {"python", "py", "python3", "ipython", "ipython3", "tool_code"}
# `<code>` begins a line: within one it is how HTML shows a word. Quantifiers are possessive or
# bounded, since a reply may be anything, and is to be read in time that grows with its length.
_OPENER = re.compile(
    r"<(?P<tag>execute|execute_ipython|execute_bash|tool_call|solution|think|thought)>"
    r"|^[ \t]*<(?P<code>code)>"
    r"|<(?P<function>function)=[^\s<>]{0,100}>"
    r"|^[ \t]*+(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<language>[\w+-]*+)[^\n`]*+(?:\n|\Z)",
    re.MULTILINE,
)
_CODE = {_Kind.MARKED, _Kind.FENCED, _Kind.CALL, _Kind.FUNCTION}


def extract(reply: Reply, bare: BareText = BareText.ANSWER) -> Action:
    """
    What a reply asks for.

    Code stands between `<execute>` and `</execute>` (also `<execute_ipython>`, or `<code>` at the
    beginning of a line), in a fenced block of Python, or in a tool call written as text. Several
    blocks are one cell, in their order; where there are marked blocks or calls, fenced ones are
    text. A last block that is not closed ends with the reply, since endpoints take a stop sequence
    away, unless the reply was `cut`. Code goes before a `<solution>` in the same reply, which was
    written before its result was seen. What else there is beside code is text.
    """
    text = _after_thinking(reply.text)
    blocks = list(_blocks(text))
    if reply.cut and (not blocks or not blocks[-1].closed):
        return Problem(_CUT)
    code = [block for block in blocks if block.kind in _CODE]
    solutions = [block for block in blocks if block.kind is _Kind.SOLUTION]
    if code:
        return _code(_explicit(code), solutions)
    if any(block.kind is _Kind.SHELL for block in blocks):
        return Problem(_NO_SHELL)
    if looks_like_call(text):
        return _call(text)
    if solutions:
        answer = solutions[-1].content.strip()
        return Answer(answer) if answer else Problem(_EMPTY_SOLUTION)
    return _bare(_without_thoughts(text, blocks), bare)


def checked_reply(given: object) -> Reply:
    """
    What a model returned, text or a Reply. Raises InvalidRequest for anything else.
    """
    if isinstance(given, Reply):
        return given
    if isinstance(given, str):
        return Reply(given)
    raise InvalidRequest(
        f"the model returned {type(given).__name__}; it has to return its reply's text, or a Reply"
    )


def _bare(text: str, bare: BareText) -> Action:
    if not text:
        return Problem(_EMPTY)
    return Answer(text) if bare is BareText.ANSWER else Problem(_NO_CODE)


def _explicit(code: list[_Block]) -> list[_Block]:
    """
    The blocks that were meant to be run: fenced ones only where nothing says it more clearly.
    """
    return [block for block in code if block.kind is not _Kind.FENCED] or code


def _code(blocks: list[_Block], solutions: list[_Block]) -> Action:
    try:
        sources = [_source(block) for block in blocks]
    except NotACall as problem:
        return Problem(str(problem))
    text = "\n\n".join(filter(None, sources))
    if not text:
        return Problem(_EMPTY_CODE)
    if re.search("[\ud800-\udfff]", text):
        return Problem(_SURROGATES)
    return Code(text, _SOLUTION_WAITS if solutions else "")


def _call(text: str) -> Action:
    return _code([_Block(_Kind.CALL, text, closed=True, begin=0, end=len(text))], [])


def _source(block: _Block) -> str:
    match block.kind:
        case _Kind.CALL:
            return _clean(code_of_json(block.content))
        case _Kind.FUNCTION:
            return _clean(code_of_function(block.content))
        case _Kind.MARKED:
            return _clean(_unwrapped(block.content))
        case _:
            return _clean(block.content)


def _unwrapped(content: str) -> str:
    """
    Marked code without a fence that it stands in as well.
    """
    lines = content.strip().split("\n")
    fenced = len(lines) > 1 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else content


def _clean(code: str) -> str:
    """
    Code without blank lines around it, at the left margin.
    """
    lines = code.rstrip().split("\n")
    while len(lines) > 1 and not lines[0].strip():
        del lines[0]
    text = "\n".join(lines)
    # What is dedented loses spaces in its strings as well: only where it could not run otherwise.
    return dedent(text).strip() if text[:1].isspace() else text


def _blocks(text: str) -> Iterator[_Block]:
    place, endless = 0, set[str]()
    while opener := _OPENER.search(text, place):
        kind = _kind(opener)
        begin = opener.end()
        closer = None if opener["tag"] in endless else _closer(opener).search(text, begin)
        if closer is None and kind is _Kind.THOUGHT:
            endless.add(opener["tag"])
            place = begin  # a thought without an end hides nothing
            continue
        end = closer.start() if closer else len(text)
        place = closer.end() if closer else len(text)
        if kind is not None:
            content = text[opener.start() if kind is _Kind.FUNCTION else begin : end]
            yield _Block(kind, content, closer is not None, opener.start(), place)


def _kind(opener: re.Match[str]) -> _Kind | None:
    """
    What an opening mark opens; None for a fence that holds something else than Python.
    """
    tag = opener["tag"] or opener["code"] or opener["function"]
    if tag:
        return _TAGS[tag]
    return _Kind.FENCED if opener["language"].lower() in _LANGUAGES else None


def _closer(opener: re.Match[str]) -> re.Pattern[str]:
    tag = opener["tag"] or opener["code"] or opener["function"]
    if tag:
        return re.compile(f"</{tag}>")
    fence = opener["fence"]
    return re.compile(rf"^[ \t]*{fence}{fence[0]}*[ \t]*$", re.MULTILINE)


def _after_thinking(text: str) -> str:
    """
    The reply without a thought whose opening mark was in the prompt, as some models have it.
    """
    thought, mark, rest = text.partition("</think>")
    return rest if mark and _OPENER.search(thought) is None else text


def _without_thoughts(text: str, blocks: list[_Block]) -> str:
    kept, place = [], 0
    for block in blocks:
        kept.append(text[place : block.begin])
        if block.kind is not _Kind.THOUGHT:
            kept.append(text[block.begin : block.end])
        place = block.end
    return "".join([*kept, text[place:]]).strip()
