"""
What the server orders of a native zygote: a box, as one policy wants it.

An order has what the policy decides and nothing of a session, so a box can be made, locked and
parked before anybody asks for it. Equal orders are equal boxes. What the image adds (its packages,
the standard library) the zygote knows by itself. Ranges are checked where the box is planned.

An order travels as JSON in the spawn datagram. It comes from the server and is read strictly all
the same: a field that is missing, unknown or of another kind makes it none. What it names (paths of
the host above all) is for the box alone: a zygote forks its memory into boxes of other policies, so
it reads the same order without its names.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

# The longest order, in bytes: a datagram holds it whole.
ORDER_MAX: Final = 2**16
# Below it stands what has no name.
_NAMELESS: Final = "/codecage"


@dataclass(frozen=True, slots=True)
class ShownTree:
    """
    A tree of the host, `source`, shown read-only at the guest's `mount`.

    `device` and `inode` are those of the source as the server's account found it: a box shows that
    object or does not come into being.
    """

    source: str
    mount: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class ScratchTree:
    """
    Memory of the session at the guest's `mount`, of `size` bytes and `files` files at most.
    """

    mount: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class BoxOrder:
    """
    One box. `served` are guest paths whose every open is asked of the server; `directory` is where
    the guest starts; sizes are bytes; `cpu_percent` is in hundredths of a
    processor. `minimum` is the name of the least level that must hold it.

    `ports` and `names` are how its network leaves it: TCP ports on which made-up addresses are
    listened for, and whether names are answered. `programs` are host paths of what it may execute.
    `watched` has refused system calls told to the server.
    """

    shown: tuple[ShownTree, ...] = ()
    served: tuple[str, ...] = ()
    scratch: tuple[ScratchTree, ...] = (ScratchTree("/work", 64 * 2**20, 4096),)
    directory: str = "/work"
    tmp_bytes: int = 64 * 2**20
    tmp_files: int = 4096
    memory: int = 512 * 2**20
    cpu_seconds: int = 3600
    cpu_percent: int = 100
    open_files: int = 256
    tasks: int = 64
    minimum: str = "P3"
    ports: tuple[int, ...] = ()
    names: bool = False
    fork: bool = False
    programs: tuple[str, ...] = ()
    new_code: bool = False
    watched: bool = False

    def pack(self) -> bytes:
        """
        The order as it travels. Raises ValueError where that is more than 64 KiB.
        """
        data = json.dumps(asdict(self), separators=(",", ":")).encode()
        if len(data) > ORDER_MAX:
            raise ValueError(
                f"the order of a box has {len(data)} bytes and {ORDER_MAX} are allowed; grant "
                "fewer or shorter mounts"
            )
        return data

    def without_names(self) -> Self:
        """
        The order with numbers in the place of all that it names: what a zygote has to know of it.
        """
        return replace(
            self,
            shown=(),
            served=tuple(f"{_NAMELESS}/served/{number}" for number in range(len(self.served))),
            scratch=tuple(
                replace(tree, mount=f"{_NAMELESS}/scratch/{number}")
                for number, tree in enumerate(self.scratch)
            ),
            directory="",
            programs=(f"{_NAMELESS}/programs",) if self.programs else (),
        )

    def hidden(self, sentence: str) -> str:
        """
        A sentence for the zygote to pass on, with numbers in the place of this order's names.
        """
        for name, number in self._numbered():
            sentence = sentence.replace(name, number)
        return sentence

    def named(self, sentence: str) -> str:
        """
        A sentence that was `hidden`, for whoever gave the order.
        """
        for name, number in reversed(self._numbered()):
            sentence = sentence.replace(number, name)
        return sentence

    def _numbered(self) -> list[tuple[str, str]]:
        trees = [name for tree in self.shown for name in (tree.source, tree.mount)]
        own = [tree.mount for tree in self.scratch]
        # The longest first: one may begin like another.
        names = sorted({*trees, *own, *self.served, *self.programs} - {""}, key=len, reverse=True)
        return [(name, f"<{number}>") for number, name in enumerate(names)]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The order in `data`; ValueError if it is anything else.
        """
        if len(data) > ORDER_MAX:
            raise ValueError(f"an order of {len(data)} bytes; {ORDER_MAX} are allowed")
        return cls(**_fields(cls, json.loads(data), _ORDER))


def _fields(
    kind: type[Any], found: object, table: Mapping[str, Callable[[object], Any]]
) -> dict[str, Any]:
    wanted = {field.name for field in fields(kind)}
    if not isinstance(found, dict) or found.keys() != wanted:
        raise ValueError(f"{kind.__name__} has the fields {sorted(wanted)}, and nothing else")
    return {name: table[name](value) for name, value in found.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 - a datagram is right or wrong
    return value


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number of 0 or more")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004
    return value


def _row(of: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def decode(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is no list")  # noqa: TRY004
        return tuple(of(one) for one in value)

    return decode


_SHOWN: Final = {"source": _text, "mount": _text, "device": _number, "inode": _number}
_SCRATCH: Final = {"mount": _text, "size": _number, "files": _number}


def _shown(value: object) -> ShownTree:
    return ShownTree(**_fields(ShownTree, value, _SHOWN))


def _scratch(value: object) -> ScratchTree:
    return ScratchTree(**_fields(ScratchTree, value, _SCRATCH))


_ORDER: Final[Mapping[str, Callable[[object], Any]]] = {
    "shown": _row(_shown),
    "served": _row(_text),
    "scratch": _row(_scratch),
    "directory": _text,
    "tmp_bytes": _number,
    "tmp_files": _number,
    "memory": _number,
    "cpu_seconds": _number,
    "cpu_percent": _number,
    "open_files": _number,
    "tasks": _number,
    "minimum": _text,
    "ports": _row(_number),
    "names": _truth,
    "fork": _truth,
    "programs": _row(_text),
    "new_code": _truth,
    "watched": _truth,
}
