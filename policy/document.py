"""
From the text of a policy to plain data in which every key and value knows its place.

YAML is read as events, never as a composed document: nothing is expanded, no object is made by a
tag, nesting is counted as it opens, and this module alone decides what a plain word means. It
takes YAML 1.2's core schema and refuses what an editor, another tool or YAML 1.1 would read
differently: `no` is a country to one reader and a refusal to another, and a policy is no place
to find out. Anchors, aliases, merge keys, tags, directives and second documents are refused
because the text must say once, where it stands, what it means.

Sources: YAML 1.2.2, chapter 10.3 (core schema); YAML 1.1 types bool, int, float, timestamp.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from policy.errors import Problem, shown

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 20_000

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """
    A line and a column, both from 1.
    """

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """
    A policy's data with its places.

    `values` and `keys` give the place of the value, and of the key, at a path such as
    `("filesystem", 0, "mount")`. What stands at a path in `broken` has been complained about
    already and is None in `data`. `closed` is false when reading had to stop before the end.
    """

    file: str
    lines: tuple[str, ...]
    data: object = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    closed: bool = False

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """
        A problem at a place of this document, with the line's text.
        """
        text = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        return Problem(self.file, place.line, place.column, message, hint, text)

    def where(self, path: Path) -> Place:
        """
        The place of the value at `path`; the start of the file where there is none.
        """
        return self.values.get(path, Place(1, 1))

    def is_broken(self, path: Path) -> bool:
        """
        Whether the value at `path`, or one that holds it, has been complained about.
        """
        return any(path[:end] in self.broken for end in range(len(path) + 1))


def read_document(text: str, file: str) -> Document:
    """
    Read `text`, at most 256 KiB of YAML, nested at most 20 deep; never raises for what it says.

    What is wrong is in the `problems` of the answer; `file` is the name that they show.
    """
    text = text.removeprefix("\ufeff")
    document = Document(file, tuple(_LINE_END.split(text)))
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB"
        document.problems.append(Problem(file, 0, 0, message, "a policy is short; split it"))
        return document
    _refuse_hidden_characters(document)
    # A problem must not hide the next one: the character goes, its place stays.
    _Reader(document).read(_HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))
    return document


_LINE_END = re.compile("\r\n|\n|\r")
# Everything of the categories Cc, Cf, Cs, Co, Zl and Zp, but for tabs and line ends.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u180e"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)


def _refuse_hidden_characters(document: Document) -> None:
    """
    Controls and invisible formatting make a reviewer read something else than the parser does.

    Source: CVE-2021-42574 (bidirectional overrides in source text).
    """
    for number, line in enumerate(document.lines, 1):
        if found := _HIDDEN.search(line):
            document.problems.append(
                document.problem(
                    Place(number, found.start() + 1),
                    f"the invisible character U+{ord(found[0]):04X} is not allowed",
                    "remove it: who reviews the file cannot see it",
                )
            )
            if len(document.problems) >= _MAX_PROBLEMS:
                return


class _StopReadingError(Exception):
    """
    The rest of the text cannot be understood; what was found so far is in the document.
    """


@dataclass(slots=True)
class _Open:
    """
    A sequence or mapping whose end has not come yet.
    """

    path: Path
    holder: "list[object] | dict[str, object]"
    key: str | None = None


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._stack: list[_Open] = []
        self._last = Place(1, 1)
        self._values = 0

    def read(self, text: str) -> None:
        events = iter(YAML(typ="safe", pure=True).parse(text))
        try:
            while (event := self._next(events)) is not None:
                self._last = _place(event.start_mark)
                _HANDLERS.get(type(event).__name__, _Reader.ignore)(self, event)
        except _StopReadingError:
            return
        self._document.closed = True

    def _next(self, events: Iterator[Any]) -> Any:
        try:
            return next(events, None)
        except MarkedYAMLError as error:
            self._last = _place(error.problem_mark) if error.problem_mark else self._last
            self._stop(f"this is not YAML: {error.problem}", _SYNTAX_HINT)
        except (YAMLError, ValueError, OverflowError) as error:
            # ruamel.yaml lets a few of Python's own errors out, for instance for the escape
            # "\Uffffffff", which is no character.
            reason = shown(str(error).partition("\n")[0])
            self._stop(f"this is not YAML: {reason}", _SYNTAX_HINT)

    def ignore(self, event: Any) -> None:
        """
        Starts and ends of the stream say nothing.
        """

    def on_document(self, event: Any) -> None:
        if event.version is not None or event.tags:
            self._note(Place(1, 1), "directives (%YAML, %TAG) are not allowed", "remove the line")
        if () in self._document.values:
            self._stop("a second document starts here", "one file holds one policy: split it")

    def on_scalar(self, event: Any) -> None:
        self._refuse_decoration(event)
        if self._expects_key():
            self._take_key(event)
            return
        path = self._place_value()
        if event.style is None and not event.value:
            # Nothing stands nowhere; what lacks a value is the key.
            self._last = self._document.keys.get(path, self._last)
        if event.style is None:
            self._put(path, self._plain(path, event.value))
        else:
            self._put(path, event.value)

    def on_sequence(self, event: Any) -> None:
        self._open(event, [])

    def on_mapping(self, event: Any) -> None:
        self._open(event, {})

    def _open(self, event: Any, holder: "list[object] | dict[str, object]") -> None:
        self._refuse_decoration(event)
        if self._expects_key():
            self._stop("a key must be one word", "write `key: value`")
        if len(self._stack) >= MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH}", "a policy is at most four deep")
        path = self._place_value()
        self._put(path, holder)
        self._stack.append(_Open(path, holder))

    def on_end(self, event: Any) -> None:
        del event
        self._stack.pop()
        if self._stack:
            self._stack[-1].key = None

    def on_alias(self, event: Any) -> None:
        self._note(self._last, f"the alias `*{_short(event.anchor)}` is not allowed", _ONCE_HINT)
        if self._expects_key():
            raise _StopReadingError
        path = self._place_value()
        self._document.broken.add(path)
        self._put(path, None)

    def _refuse_decoration(self, event: Any) -> None:
        if event.anchor is not None:
            self._note(
                self._last, f"the anchor `&{_short(event.anchor)}` is not allowed", _ONCE_HINT
            )
        if event.tag is not None:
            hint = "remove the tag: every value's type follows from its key"
            self._note(self._last, f"the tag `{_short(event.tag)}` is not allowed", hint)

    def _expects_key(self) -> bool:
        top = self._stack[-1] if self._stack else None
        return top is not None and isinstance(top.holder, dict) and top.key is None

    def _take_key(self, event: Any) -> None:
        top, key = self._stack[-1], event.value
        path = (*top.path, key)
        top.key = key
        if key == "<<":
            self._note(self._last, "the merge key `<<` is not allowed", _ONCE_HINT)
        elif path in self._document.keys:
            first = self._document.keys[path].line
            message = f"the key `{_short(key)}` is given twice; the first is in line {first}"
            self._note(self._last, message, "remove one of them")
        else:
            self._document.keys[path] = self._last
            return
        # What follows is read, so that its own problems show, but under a name that no policy
        # has: a repeated key must not replace the first.
        top.key = f"{key} (line {self._last.line}, column {self._last.column})"
        self._document.keys[*top.path, top.key] = self._last
        self._document.broken.add((*top.path, top.key))

    def _place_value(self) -> Path:
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop(f"more than {MAX_VALUES} values", "a policy is short; split it")
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.holder, list):
            return (*top.path, len(top.holder))
        assert top.key is not None
        return (*top.path, top.key)

    def _put(self, path: Path, value: object) -> None:
        self._document.values[path] = self._last
        if not self._stack:
            self._document.data = value
            return
        top = self._stack[-1]
        if isinstance(top.holder, list):
            top.holder.append(value)
            return
        assert top.key is not None
        top.holder[top.key] = value
        if not isinstance(value, (list, dict)):
            top.key = None

    def _plain(self, path: Path, word: str) -> object:
        """
        The meaning of a word without quotes, if all readers agree on it.
        """
        if word in _NOTHING:
            return None
        if word in _TRUTH:
            return _TRUTH[word]
        if _INTEGER.fullmatch(word):
            return int(word)
        if _AMBIGUOUS.fullmatch(word):
            message = f"`{_short(word)}` means different things to different readers of YAML"
            self._note(self._last, message, _PLAIN_HINT)
            self._document.broken.add(path)
            return None
        if _FLOAT.fullmatch(word):
            return float(_DOT_WORD.sub(r"\1", word))
        return word

    def _note(self, place: Place, message: str, hint: str) -> None:
        if len(self._document.problems) < _MAX_PROBLEMS:
            self._document.problems.append(self._document.problem(place, message, hint))

    def _stop(self, message: str, hint: str) -> NoReturn:
        self._note(self._last, message, hint)
        raise _StopReadingError


_HANDLERS = {
    "DocumentStartEvent": _Reader.on_document,
    "ScalarEvent": _Reader.on_scalar,
    "SequenceStartEvent": _Reader.on_sequence,
    "MappingStartEvent": _Reader.on_mapping,
    "SequenceEndEvent": _Reader.on_end,
    "MappingEndEvent": _Reader.on_end,
    "AliasEvent": _Reader.on_alias,
}
_MAX_PROBLEMS = 200

_NOTHING = frozenset({"", "~", "null"})
_TRUTH = {"true": True, "false": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN)"
)
_DOT_WORD = re.compile(r"\.([iInN])")  # Python writes inf and nan without the dot
_AMBIGUOUS = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null)"  # 1.1's booleans; other spellings of 1.2's words
    r"|[-+]?0[0-9_]+|\+[0-9]+|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+"
    r"|[-+]?[0-9][0-9_]*_[0-9_]*|[0-9]{20,}"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9]*)?"  # 1.1 counts 1:30 in sixties
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?|="
)
_PLAIN_HINT = "write true or false, a plain decimal number, or put the text in quotes"
_ONCE_HINT = "write the value out where it is used"
_SYNTAX_HINT = "indent with spaces, close what is open, and quote texts with special characters"


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _short(word: str) -> str:
    return shown(word, 40)
