"""
Plain functions of this program as functions of the session: described when it opens, called here.

What arrives is the guest's: it is decoded within bounds into plain values and passed to a function
that was given for it, by the name that was given. Nothing else of this program can be reached from
there. What a function returns or raises goes back as a document, an exception as the builtin class
that it is or comes from, with its message and without its traceback.
"""

import asyncio
import builtins
import contextlib
import inspect
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from agent_client.errors import InvalidRequest
from agent_client.events import ToolCalled
from codecage import values
from codecage.v1 import codecage_pb2 as pb

Function = Callable[..., Any]
Send = Callable[[pb.ExecuteRequest], None]

_PART = 2**20
_LONGEST_TEXT = 1024
_LONGEST_DOC = 16_384
_LONGEST_MESSAGE = 8000
_ARGUMENTS_OF_ERRORS = values.Limits(2**16, depth=4, count=1000)
_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: pb.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: pb.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL: pb.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY: pb.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD: pb.Parameter.VAR_KEYWORD,
}


class Toolbox:
    """
    The functions of one session, by name. Raises InvalidRequest for what can be no tool.
    """

    def __init__(self, functions: Iterable[Function] = ()) -> None:
        self._functions: dict[str, Function] = {}
        for function in functions:
            name = _name(function)
            if name in self._functions:
                raise InvalidRequest(f"two tools are called {name!r}; rename one of them")
            self._functions[name] = function
        self._awaited = frozenset(name for name, one in self._functions.items() if _is_async(one))

    def __bool__(self) -> bool:
        return bool(self._functions)

    def described(self) -> list[pb.Tool]:
        """
        What the server and the guest are told of them.
        """
        return [_described(name, function) for name, function in self._functions.items()]

    def call(self, called: ToolCalled) -> Iterator[pb.ExecuteRequest]:
        """
        Perform a call here and now: the messages with its result.
        """
        return _messages(called.number, *self._result(called))

    async def call_async(self, called: ToolCalled) -> Iterator[pb.ExecuteRequest]:
        """
        The same where an event loop runs: a plain function has a thread, an async one a task.
        """
        if called.name not in self._awaited:
            return await asyncio.to_thread(self.call, called)
        return _messages(called.number, *await self._result_of_async(called))

    def is_async(self, name: str) -> bool:
        """
        Whether the tool is awaited.
        """
        return name in self._awaited

    def _result(self, called: ToolCalled) -> tuple[bytes, bool]:
        try:
            function, args, named = self._ready(called)
            return values.encode(function(*args, **named), values.RESULT), False
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the guest's to handle
            return _raised(error), True

    async def _result_of_async(self, called: ToolCalled) -> tuple[bytes, bool]:
        try:
            function, args, named = self._ready(called)
            return values.encode(await function(*args, **named), values.RESULT), False
        except (asyncio.CancelledError, SystemExit):
            # Of its own, or because nobody waits for it any more; its loop serves others, too.
            return _raised(RuntimeError(f"the tool {called.name} was cancelled")), True
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the guest's to handle
            return _raised(error), True

    def _ready(self, called: ToolCalled) -> tuple[Function, tuple[Any, ...], dict[str, Any]]:
        function = self._functions.get(called.name)
        if function is None:
            raise NameError(f"this client has no tool {called.name[:64]!r}")
        given = values.decode(called.arguments, values.ARGUMENTS)
        match given:
            case (tuple() as args, dict() as named) if all(type(key) is str for key in named):
                return function, *_with_records(function, args, named)
            case _:
                raise TypeError("the arguments of the call are malformed")


def variables_of(given: Mapping[str, object]) -> dict[str, bytes]:
    """
    Values by name, as documents. Raises InvalidRequest for one that cannot cross.
    """
    found = {}
    for name, value in given.items():
        try:
            found[name] = values.encode(value, values.RESULT)
        except (values.CannotCross, values.Refused) as error:
            raise InvalidRequest(f"the variable {name!r}: {error}") from None
    return found


class Background:
    """
    Calls of async tools for a client that has no event loop: one thread with a loop, for a session.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: dict[int, Any] = {}

    def begin(self, toolbox: Toolbox, called: ToolCalled, send: Send) -> None:
        """
        Perform a call beside others, and send what comes of it.
        """
        future = asyncio.run_coroutine_threadsafe(_perform(toolbox, called, send), self._running())
        self._calls[called.number] = future
        future.add_done_callback(lambda _: self._calls.pop(called.number, None))

    def cancel(self, number: int) -> None:
        """
        Nobody waits for a call any more.
        """
        if (future := self._calls.get(number)) is not None:
            future.cancel()

    def close(self) -> None:
        """
        End the calls that are under way, and the thread.
        """
        for future in [*self._calls.values()]:
            future.cancel()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_serve, args=(self._loop,), name="codecage-tools", daemon=True
            ).start()
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    finally:
        loop.close()


async def _perform(toolbox: Toolbox, called: ToolCalled, send: Send) -> None:
    for message in await toolbox.call_async(called):
        send(message)


# ---- what a function looks like ------------------------------------------------------------------


def _name(function: Function) -> str:
    name = getattr(function, "__name__", "")
    if not callable(function) or not isinstance(name, str) or not name.isidentifier():
        raise InvalidRequest(
            f"{function!r} was given as a tool; give a function with a name (for a lambda or an "
            "object, write `def name(...)` around it)"
        )
    return name


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function)


def _described(name: str, function: Function) -> pb.Tool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise InvalidRequest(
            f"the tool {name} has no signature to show; write a function around it"
        ) from None
    return pb.Tool(
        name=name,
        parameters=[_parameter(one) for one in signature.parameters.values()],
        returns=_annotation(signature.return_annotation),
        doc=_sound(inspect.getdoc(function) or "")[:_LONGEST_DOC],
        awaited=_is_async(function),
    )


def _parameter(one: inspect.Parameter) -> pb.Parameter:
    found = pb.Parameter(
        name=one.name, kind=_KINDS[one.kind], annotation=_annotation(one.annotation)
    )
    if one.default is not inspect.Parameter.empty:
        try:
            found.default_value = values.encode(one.default, values.DEFAULT)
        except (values.CannotCross, values.Refused):
            # Shown as its type: a repr may hold what nobody should read over there.
            found.default_text = f"<{type(one.default).__name__}>"
    return found


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _sound(shown)[:_LONGEST_TEXT]


def _sound(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# ---- values --------------------------------------------------------------------------------------


def _with_records(
    function: Function, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """
    Records as the dataclasses that the function's own annotations name, others as they came.
    """
    if not any(isinstance(one, values.Record) for one in (*args, *named.values())):
        return args, named
    try:
        hints, bound = typing.get_type_hints(function), inspect.signature(function).bind_partial
        places = {id(value): name for name, value in bound(*args, **named).arguments.items()}
    except (NameError, TypeError):
        return args, named

    def made(value: Any) -> Any:
        return _as_dataclass(value, hints.get(places.get(id(value), "")))

    return tuple(map(made, args)), {name: made(value) for name, value in named.items()}


def _as_dataclass(value: Any, kind: Any) -> Any:
    if not (isinstance(value, values.Record) and isinstance(kind, type) and is_dataclass(kind)):
        return value
    make: Callable[..., Any] = kind
    given = values.record_fields(value)
    known = {field.name for field in fields(kind) if field.init}
    same = kind.__name__ == values.record_name(value)
    return make(**given) if same and set(given) == known else value


# ---- results -------------------------------------------------------------------------------------


def _messages(number: int, data: bytes, failed: bool) -> Iterator[pb.ExecuteRequest]:
    for at in range(0, len(data), _PART):
        part = data[at : at + _PART]
        message = pb.ExecuteRequest()
        result = message.tool_result
        result.call, result.data, result.failed = number, part, failed
        result.more = at + _PART < len(data)
        yield message


def _raised(error: Exception) -> bytes:
    """
    The document of an exception: a builtin class, arguments that pass, and the message.
    """
    kind = next(one for one in type(error).__mro__ if one.__module__ == builtins.__name__)
    if issubclass(type(error), values.CannotCross):
        kind = TypeError
    try:
        message = _sound(str(error))[:_LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - a tool's own __str__ may do anything
        message = "<str() of the exception failed>"
    if kind is Exception and type(error) is not Exception:
        message = f"{type(error).__name__}: {message}"
    args: tuple[Any, ...] = (message,)
    if type(error) is kind or issubclass(kind, OSError):
        # Of an OSError the number and its words; a file name of this machine stays here.
        args = error.args[:2] if issubclass(kind, OSError) else error.args
    with contextlib.suppress(values.CannotCross, values.Refused):
        return values.encode((kind.__name__, args, message), _ARGUMENTS_OF_ERRORS)
    return values.encode((kind.__name__, (message,), message), _ARGUMENTS_OF_ERRORS)
