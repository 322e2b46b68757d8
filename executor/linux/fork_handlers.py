"""
What libraries have Python do around a fork, and a copy of this process without it.

A library that takes a lock before a fork and makes a new one in the child (os.register_at_fork)
does so for the threads that the child will not have. A process with one thread has none, and in
each child of it those functions write on a hundred pages that it would share with the others.
They are left out of one copy at a time; a fork of that copy's own has them all.

Python has no function that takes one back. Its lists are found where its garbage collector keeps
them; an interpreter that has none such loses memory and nothing else. Source: CPython
"Modules/posixmodule.c", register_at_fork.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Lists = tuple[list[Callable[[], Any]], ...]


def find() -> Lists:
    """
    The lists of what is called before a fork, after it in the child, and in the parent, in any
    order; or none.

    To be called once, while there are few objects: each is looked at.
    """

    def marker() -> None:
        pass

    os.register_at_fork(before=marker, after_in_child=marker, after_in_parent=marker)
    found = [one for one in gc.get_objects() if type(one) is list and one and one[-1] is marker]
    for one in found:
        one.pop()
    return tuple(found) if len(found) == 3 else ()


@contextmanager
def left_out(lists: Lists) -> Iterator[None]:
    """
    Have none of them called by a fork inside; they are there again behind it, in child and parent.

    Only for a process with one thread, whose child needs no new chance from them.
    """
    kept = [one.copy() for one in lists]
    for one in lists:
        one.clear()
    try:
        yield
    finally:
        for one, before in zip(lists, kept, strict=True):
            one[:] = before
