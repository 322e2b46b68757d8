"""
The arguments of a call, bound to the signature that the client has told of the tool.

The guest's document is taken apart as far as the names and no further: what a policy may bound is
read, a number, a truth, a text or None, and everything else stays bytes for the client, so that
nothing of the guest's is built here. The guest binds as well, to raise its own TypeError; here it
is done again because a guest may send anything.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from codecage import values
from executor.kernel.approval import Argument
from executor.kernel.tooling import (
    BY_NAME,
    BY_PLACE,
    OPEN_ENDED,
    Parameter,
    ParameterKind,
    Tool,
)
from policy.requests import Composite

_MOST_PARTS: Final = 4096
# A text that is longer than this (bytes of its document) has no bound that it could keep.
_MOST_READ: Final = 2**18
_PLAIN: Final = frozenset("NTFifs")
_PLAIN_LIMITS: Final = values.Limits(_MOST_READ, depth=0, count=1)
_NAME: Final = values.Limits(1024, depth=0, count=1)
_KINDS: Final = {
    "b": "bytes",
    "l": "list",
    "t": "tuple",
    "d": "dict",
    "S": "set",
    "Z": "frozenset",
    "c": "complex",
    "a": "ndarray",
    "I": "Image",
    "D": "date",
    "m": "datetime",
    "e": "Decimal",
    "o": "record",
}


class Misfit(Exception):
    """
    Arguments that do not fit the signature, or bytes that are none; `str` says how.
    """


@dataclass(frozen=True, slots=True)
class Signature:
    """
    What a tool takes, as each of its calls is bound to it: the parameters that have names, those of
    them that are given by place and by name, and whether more of either is taken.
    """

    named: tuple[Parameter, ...]
    by_place: tuple[str, ...]
    by_name: frozenset[str]
    more_places: bool
    more_names: bool

    @property
    def open_ended(self) -> bool:
        """
        Whether it takes more than it names.
        """
        return self.more_places or self.more_names


def signature_of(tool: Tool) -> Signature:
    """
    The signature of a tool.
    """
    kinds = {one.kind for one in tool.parameters}
    return Signature(
        tuple(one for one in tool.parameters if one.kind not in OPEN_ENDED),
        tuple(one.name for one in tool.parameters if one.kind in BY_PLACE),
        frozenset(one.name for one in tool.parameters if one.kind in BY_NAME),
        ParameterKind.VAR_POSITIONAL in kinds,
        ParameterKind.VAR_KEYWORD in kinds,
    )


def bound(signature: Signature, data: bytes) -> dict[str, object]:
    """
    What each parameter would be, defaults applied: plain values, and Composite for what no bound is
    about. What `*args` and `**kwargs` take is left out. Raises Misfit.
    """
    try:
        places, named = _taken_apart(data)
        placed = _by_place(signature, places)
        found = placed | _by_name(signature, named, placed)
        return {one.name: _of(one, found) for one in signature.named}
    except values.Refused as error:
        raise Misfit(str(error)) from None


def shown(signature: Signature, data: bytes) -> tuple[Argument, ...]:
    """
    Every argument of a call that `bound` has taken, also what `*args` and `**kwargs` take, as a
    person is shown them. Raises Misfit.
    """
    places, named = _taken_apart(data)
    taking = signature.by_place
    found = dict(zip(taking, places, strict=False)) | named
    known = {one.name for one in signature.named}
    arguments = [
        Argument(one.name, found.get(one.name, one.default), one.default_text or "")
        for one in signature.named
    ]
    more = enumerate(places[len(taking) :], len(taking))
    arguments += [Argument(f"*{index}", value) for index, value in more]
    arguments += [Argument(name, value) for name, value in named.items() if name not in known]
    return tuple(arguments)


def _taken_apart(data: bytes) -> tuple[list[bytes], dict[str, bytes]]:
    both = values.parts(data, 2)
    if values.tag_of(data) != "t" or [values.tag_of(one) for one in both] != ["t", "d"]:
        raise Misfit("a call is a tuple of a tuple and a dict")
    pairs = values.parts(both[1], 2 * _MOST_PARTS)
    if len(pairs) % 2:
        raise Misfit("an argument has no value")
    named: dict[str, bytes] = {}
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        name = values.decode(key, _NAME) if values.tag_of(key) == "s" else None
        if not isinstance(name, str) or name in named:
            raise Misfit("an argument has no name, or the name of another")
        named[name] = value
    return values.parts(both[0], _MOST_PARTS), named


def _by_place(signature: Signature, places: list[bytes]) -> dict[str, bytes]:
    if len(places) > len(signature.by_place) and not signature.more_places:
        raise Misfit("too many positional arguments")
    return dict(zip(signature.by_place, places, strict=False))


def _by_name(
    signature: Signature, named: Mapping[str, bytes], placed: Collection[str]
) -> dict[str, bytes]:
    taking = signature.by_name
    for name in named:
        if name in taking and name in placed:
            raise Misfit("multiple values for an argument")
        if name not in taking and not signature.more_names:
            raise Misfit("an unexpected keyword argument")
    return {name: data for name, data in named.items() if name in taking}


def _of(parameter: Parameter, found: Mapping[str, bytes]) -> object:
    if parameter.name in found:
        return plain(found[parameter.name])
    if parameter.required:
        raise Misfit("a required argument is missing")
    return Composite("default") if parameter.default is None else plain(parameter.default)


def plain(data: bytes) -> object:
    """
    A number, truth, text or None; Composite for everything else. Raises values.Refused.
    """
    tag = values.tag_of(data)
    if tag in _PLAIN and len(data) <= _MOST_READ:
        return values.decode(data, _PLAIN_LIMITS)
    return Composite(_KINDS.get(tag, "value"))
