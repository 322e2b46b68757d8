"""
The benchmark's kit: tasks, tools and the code actions that solve them, read and checked.

The kit is no part of Codecage. It is a directory with `m3tooleval.json` (tasks, and the texts that
describe the tools), `actions.json` (for each task one block of code, and the same in several) and
`tools.py` (the tools as functions, and `check`, which compares answers). It is trusted: its
`tools.py` is imported into this program.
"""

import ast
import importlib.util
import inspect
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from agent_client.errors import InvalidRequest

Function = Callable[..., Any]
Kind = TypeVar("Kind")

_PARTS = ("m3tooleval.json", "actions.json", "tools.py")


@dataclass(frozen=True, slots=True)
class Tool:
    """
    What a model is told of a tool.
    """

    name: str
    description: str
    signature: str


@dataclass(frozen=True, slots=True)
class Task:
    """
    One task, the right answer, and the actions that find it.
    """

    name: str
    family: str
    instruction: str
    expected: object
    one_block: str
    several: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kit:
    """
    All tasks, and by their families the tools; `check` tells whether an answer is right.
    """

    tasks: tuple[Task, ...]
    tools: Mapping[str, tuple[Tool, ...]]
    families: Mapping[str, Callable[[], Mapping[str, Function]]]
    check: Callable[[object, str], bool]

    def functions(self, family: str) -> dict[str, Function]:
        """
        Fresh tools of a family, in their first state, each under the name that it is called by.
        """
        made = self.families[family]()
        return {tool.name: _named(tool, made[tool.name]) for tool in self.tools[family]}

    def tool_names(self) -> list[str]:
        """
        The names of all tools, each once.
        """
        return sorted({tool.name for tools in self.tools.values() for tool in tools})


def read(directory: Path) -> Kit:
    """
    Read a kit. Raises InvalidRequest for a directory that is none, naming what is amiss.
    """
    for part in _PARTS:
        if not (directory / part).is_file():
            needed = ", ".join(_PARTS)
            raise InvalidRequest(
                f"--kit {directory}: there is no {part}; give the directory that has {needed}"
            )
    told = _document(directory / "m3tooleval.json")
    actions = _document(directory / "actions.json")
    module = _imported(directory / "tools.py")
    try:
        return _kit(told, actions, module)
    except (AttributeError, KeyError, SyntaxError, TypeError) as error:
        raise InvalidRequest(
            f"--kit {directory} is a kit of another shape ({type(error).__name__}: {error}); its "
            "format is in docs/m3tooleval.md"
        ) from None


def _kit(told: dict[str, Any], actions: dict[str, Any], module: ModuleType) -> Kit:
    tasks = tuple(_task(one, actions) for one in _of(told["tasks"], list))
    tools = {
        family: tuple(Tool(one["name"], one["description"], one["signature"]) for one in ones)
        for family, ones in _of(told["tools"], dict).items()
    }
    kit = Kit(tasks, tools, module.FAMILIES, module.check)
    for family in sorted({task.family for task in tasks}):
        if not all(name.isidentifier() for name in kit.functions(family)):
            raise TypeError(f"a tool of {family} has a name that is none")
    if not tasks:
        raise TypeError("there is no task in it")
    return kit


def _task(one: dict[str, Any], actions: dict[str, Any]) -> Task:
    name = _of(one["name"], str)
    action = actions[name]
    return Task(
        name=name,
        family=_of(one["family"], str),
        instruction=_of(one["instruction"], str),
        expected=one["expected"],
        one_block=_of(action["one_block"], str),
        several=tuple(_of(block, str) for block in _of(action["many_blocks"], list)),
    )


def _of(value: object, kind: type[Kind]) -> Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.60} is no {kind.__name__}")
    return value


def _document(path: Path) -> dict[str, Any]:
    try:
        return _of(json.loads(path.read_text("utf-8")), dict)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{path} is not the JSON object that a kit has: {error}") from None


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("m3tooleval_kit_tools", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it is not our directory
    try:
        with warnings.catch_warnings():
            # Whether it closes the files that it reads is the kit's affair.
            warnings.simplefilter("ignore", ResourceWarning)
            spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError, ValueError, LookupError, NameError) as error:
        raise InvalidRequest(
            f"{path} cannot be imported: {type(error).__name__}: {error}; the kit is damaged"
        ) from None
    finally:
        sys.dont_write_bytecode = before
    return module


def _named(tool: Tool, function: Function) -> Function:
    """
    The function under the name, text and parameters that the kit tells models of.
    """
    signature = _signature(tool.signature, function)

    def call(*args: object, **named: object) -> object:
        try:
            given = signature.bind(*args, **named)
        except TypeError:
            return function(*args, **named)  # whose own refusal it is to be
        return function(*given.args, **given.kwargs)

    call.__name__ = tool.name
    call.__doc__ = tool.description
    call.__dict__["__signature__"] = signature
    return call


def _signature(text: str, function: Function) -> inspect.Signature:
    """
    The parameters of the text, or the function's own where it has more or fewer of them: one text
    of the paper's leaves a parameter out.
    """
    told = _told(text)
    try:
        own = inspect.signature(function)
    except ValueError:  # a builtin that does not say
        return told
    return told if len(told.parameters) == len(own.parameters) else own


def _told(text: str) -> inspect.Signature:
    """
    The parameters of `name(one: str, *more) -> type`, which the kit never gives defaults.
    """
    (made,) = ast.parse(f"def {text}: ...").body
    if not isinstance(made, ast.FunctionDef):
        raise TypeError(f"{text!r} is no signature")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [_parameter(one, kind) for one in made.args.args]
    if made.args.vararg:
        found.append(_parameter(made.args.vararg, inspect.Parameter.VAR_POSITIONAL))
    return inspect.Signature(found)


def _parameter(one: ast.arg, kind: "inspect._ParameterKind") -> inspect.Parameter:
    annotation = ast.unparse(one.annotation) if one.annotation else inspect.Parameter.empty
    return inspect.Parameter(one.arg, kind, annotation=annotation)
