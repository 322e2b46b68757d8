"""
The client's functions as functions of the guest: runs inside the cage, like the runtime that loads
it, in wasm and natively alike.

A function is told as data, its name, signature and document; here it becomes one that looks the
same, binds its arguments, and sends them out by `knock`, which gives what came back. Nothing is
decided here: the gate decides each call, and a guest that sends something else is told so.

    frame out   C name call, and wait      S name call, and go on     W which of those has ended
                F the value of final_answer
    reply       V value   E exception   R refusal: the name of an errno, and why
                P under way: its number    N none has ended    D number, then one of the first three

`values`, which the runtime sets, is codecage/values.py: what passes, and how it is written.
"""

import base64
import builtins
import errno
import os
import sys
import time

DEVICE = "/dev/tools"
NUMBER = 4
CHUNK = 2**16
# Seconds that a look for ended calls may take: alone, and where the loop has descriptors to see to.
LONG, SHORT = 1.0, 0.01
# An interrupt that ended a call is on its way: so many milliseconds it may take to strike.
STRIKES = 1000

values = None
_os_open, _os_read, _os_write, _os_close = os.open, os.read, os.write, os.close
_waiting = {}
_pumps = {}
# What could not be set when the session began: the first cell is told.
_trouble = None


class FinalAnswer(BaseException):
    """Ends a cell whose answer was given. No Exception, so that no handler of a cell's takes it."""


class Default:
    """A default that cannot pass: the client has it."""

    def __init__(self, text):
        self._text = text

    def __repr__(self):
        return self._text


def begin(given):
    """Put the session's functions and values into the namespace; forget those of a rehearsal."""
    global _trouble
    _waiting.clear()
    _pumps.clear()
    _trouble = None
    if not given:
        return
    space = sys.modules["__main__"].__dict__
    try:
        for told in _decoded(given.get("tools")) or ():
            space[told["name"]] = function(told)
        if given.get("final"):
            space["final_answer"] = final_answer
        # Each by itself: one that is missing a package is not the others' fault.
        for name, data in (_decoded(given.get("variables")) or {}).items():
            try:
                space[name] = values.decode(data, values.RESULT)
            except ValueError as error:
                _trouble = f"the variable {name!r} could not be set: {error}"
    except Exception as error:
        _trouble = f"the session's tools could not be set: {type(error).__name__}: {error}"


def _decoded(text):
    return values.decode(base64.b64decode(text), values.RESULT) if text else None


def check():
    """Tell, once, what went wrong when the session began."""
    global _trouble
    if _trouble is not None:
        told, _trouble = _trouble, None
        raise RuntimeError(told)


# ---- what a function looks like ------------------------------------------------------------------


def function(told):
    """A function that calls a tool, with the tool's name, signature and document."""
    name, signature = told["name"], signed(told)
    if told["awaited"]:

        async def tool(*args, **kwargs):
            sent = crossed(name, signature, args, kwargs)
            return await beside(sent) if sent is not None else built(name, args, kwargs)

    else:

        def tool(*args, **kwargs):
            sent = crossed(name, signature, args, kwargs)
            return outcome(knock(b"C" + sent)) if sent is not None else built(name, args, kwargs)

    tool.__name__ = tool.__qualname__ = name
    tool.__module__ = "__main__"
    tool.__doc__ = told["doc"] or None
    tool.__signature__ = signature
    tool.__annotations__ = {
        one["name"]: one["annotation"] for one in told["parameters"] if one["annotation"]
    } | ({"return": told["returns"]} if told["returns"] else {})
    return tool


def signed(told):
    import inspect

    made = []
    for one in told["parameters"]:
        default = inspect.Parameter.empty
        if one["default"] is not None:
            default = values.decode(one["default"], values.ARGUMENTS)
        elif one["text"] is not None:
            default = Default(one["text"])
        annotation = Text(one["annotation"]) if one["annotation"] else inspect.Parameter.empty
        kind = inspect._ParameterKind(one["kind"])
        made.append(inspect.Parameter(one["name"], kind, default=default, annotation=annotation))
    returns = Text(told["returns"]) if told["returns"] else inspect.Signature.empty
    return inspect.Signature(made, return_annotation=returns)


class Text(str):
    """An annotation that is shown as it was written, without the quotes of a str."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


# ---- a call --------------------------------------------------------------------------------------


def crossed(name, signature, args, kwargs):
    """The frame of a call, or None where a builtin of the same name is meant."""
    try:
        data = values.encode((args, kwargs), values.ARGUMENTS)
    except values.CannotCross as error:
        if callable(getattr(builtins, name, None)):
            return None
        raise TypeError(f"{name}(): {error}") from None
    except values.Refused as error:
        raise ValueError(f"{name}(): {error}") from None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}() {error}") from None
    label = name.encode()
    return len(label).to_bytes(NUMBER, "little") + label + data


def built(name, args, kwargs):
    return getattr(builtins, name)(*args, **kwargs)


def outcome(reply):
    """What a call returned; raises what it raised, or why it was refused."""
    kind, data = reply[:1], reply[1:]
    if kind == b"V":
        try:
            return values.decode(data, values.RESULT)
        except values.Refused as error:
            raise ValueError(f"what the tool returned cannot be taken: {error}") from None
    if kind == b"E":
        raise exception(*values.decode(data, values.RESULT))
    raise refusal(data)


def exception(name, args, message):
    """The exception that a tool raised, of the builtin class that it had or came from."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return RuntimeError(message)
    for given in (args, (message,)):
        try:
            return kind(*given)
        except Exception:
            continue
    return RuntimeError(f"{name}: {message}")


def refusal(data):
    name, _, reason = data.decode("utf-8", "replace").partition("\0")
    if name == "EINTR":
        interrupted(reason)
    number = getattr(errno, name, errno.EIO)
    return OSError(number, reason or os.strerror(number))


def interrupted(reason):
    """The interrupt that ended the call is on its way: it says itself why it came."""
    for _ in range(STRIKES):
        time.sleep(0.001)
    raise KeyboardInterrupt(*([reason] if reason else []))


def flush():
    """What was printed before is to be seen before."""
    try:
        sys.stdout.flush()
    except Exception:
        # The cell may have closed or replaced it.
        pass


def knock(frame):
    """Send a frame, and give the reply: by a device, in a guest whose host has one."""
    flush()
    descriptor = _os_open(DEVICE, os.O_RDWR)
    try:
        rest = memoryview(len(frame).to_bytes(NUMBER, "little") + frame)
        while rest:
            rest = rest[_os_write(descriptor, rest) :]
        pieces = [_os_read(descriptor, CHUNK)]
        while len(pieces[-1]) == CHUNK:
            pieces.append(_os_read(descriptor, CHUNK))
    finally:
        _os_close(descriptor)
    return b"".join(pieces)


# ---- calls beside each other ---------------------------------------------------------------------


async def beside(sent):
    """Begin a call, and await its end: others can be begun meanwhile."""
    import asyncio

    reply = knock(b"S" + sent)
    if reply[:1] != b"P":
        return outcome(reply)
    loop = asyncio.get_running_loop()
    future = _waiting[int.from_bytes(reply[1:], "little")] = loop.create_future()
    pump = _pumps.get(id(loop))
    if pump is None or pump.done():
        _pumps[id(loop)] = loop.create_task(collect(loop))
    return outcome(await future)


async def collect(loop):
    """Look for calls that have ended, while somebody on this loop awaits one."""
    import asyncio

    while any(future.get_loop() is loop for future in _waiting.values()):
        await asyncio.sleep(0)
        reply = knock(b"W" + int(patience(loop) * 1000).to_bytes(NUMBER, "little"))
        if reply[:1] == b"D":
            end(_waiting.pop(int.from_bytes(reply[1 : 1 + NUMBER], "little"), None), reply[5:])
        elif reply[:1] != b"N":
            if reply.startswith(b"REINTR"):
                interrupted("")
            # Nothing is under way any more, whatever was waited for.
            left = [*_waiting.values()]
            _waiting.clear()
            for future in left:
                end(future, reply)


def end(future, reply):
    if future is not None:
        future.get_loop().call_soon_threadsafe(settle, future, reply)


def settle(future, reply):
    if not future.done():
        future.set_result(reply)


def patience(loop):
    """How long the loop has nothing else to do."""
    if loop._ready:
        return 0
    long = SHORT if loop._selector is not None and loop._selector.get_map() else LONG
    if loop._scheduled:
        return max(0.0, min(long, loop._scheduled[0]._when - loop.time()))
    return long


# ---- the end -------------------------------------------------------------------------------------


def final_answer(answer=None):
    """Give the answer to the task, and end here: no code after this runs."""
    try:
        data = values.encode(answer, values.ARGUMENTS)
    except values.CannotCross as error:
        raise TypeError(f"final_answer(): {error}") from None
    except values.Refused as error:
        raise ValueError(f"final_answer(): {error}") from None
    reply = knock(b"F" + data)
    if reply[:1] == b"R":
        raise refusal(reply[1:])
    raise FinalAnswer


final_answer.__module__ = "__main__"
