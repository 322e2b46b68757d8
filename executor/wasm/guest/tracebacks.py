"""
What is told of an error: a plain traceback of the cell's own frames, and why a library failed.

Runs inside the cage. The frames of the guest's half are left out, and of a deep recursion each is
formatted once.
"""

import traceback

FILENAME = "<codecage>"
# Exceptions that are looked at for what led to one.
CHAIN_MAX = 100
# Frames of asyncio's that stand between a program's own and say nothing about it.
MACHINERY = ("/asyncio/runners.py", "/asyncio/base_events.py", "/asyncio/events.py")


def written(error):
    """The traceback, and the policy's sentences that are not in it."""
    text = "".join(formatted(error))
    return text + behind(error, text)


def formatted(error):
    told = traceback.TracebackException(
        type(error), error, error.__traceback__, limit=None, compact=True
    )
    clean(told, set())
    return told.format(colorize=False)


def clean(told, seen):
    """Drop the frames of the guest's half from an exception and from all that it came from."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = telling(told.stack)
    told.stack.format_frame_summary = once_each(told.stack.format_frame_summary)
    clean(told.__cause__, seen)
    clean(told.__context__, seen)
    for part in told.exceptions or ():
        clean(part, seen)


def once_each(plain):
    """
    Frames of a deep recursion are alike, and each is parsed to be underlined: a third of a
    millisecond.
    """
    known = {}

    def format_frame_summary(frame, **named):
        if frame.locals is not None:
            return plain(frame, **named)
        place = frame.filename, frame.name, frame.lineno, frame.end_lineno, frame.colno
        place += (frame.end_colno,)
        if place not in known:
            known[place] = plain(frame, **named)
        return known[place]

    return format_frame_summary


def telling(stack):
    """The frames that tell something: none of this runtime, and asyncio's where it raised."""
    kept, raising = [], True
    for frame in reversed(stack):
        machinery = frame.filename.endswith(MACHINERY)
        raising = raising and machinery
        if frame.filename != FILENAME and (raising or not machinery):
            kept.append(frame)
    return kept[::-1]


def behind(error, told):
    """
    The policy's sentences in what led to an error, where its library has left them out: a client
    that says no more than that it could not read helps nobody to do better.
    """
    found, seen, left = "", set(), [error]
    while left and len(seen) < CHAIN_MAX:
        one = left.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and str(one.strerror).startswith("[policy "):
            if one.strerror not in told + found:
                found += f"(behind it: {type(one).__name__}: {one})\n"
        left += (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))
    return found


def cut(text, most):
    """A text without its middle, where it is longer than `most`."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
