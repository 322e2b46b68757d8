"""
What a guest's Python would answer to `packaging`: which wheels it takes, which markers hold.

pip asks the Python that it runs on, which here is the host's; a requirement such as
`tzdata; sys_platform == "emscripten"` must be decided for the guest. Sources: PEP 425 and PEP
508, by way of the library `packaging`, which pip itself uses.
"""

from collections.abc import Iterable
from functools import cache

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag

from executor.images.guests import GuestKind


@cache
def supported(kind: GuestKind) -> tuple[Tag, ...]:
    """
    Every tag of a wheel that the guest can use, the best first.
    """
    # An empty list would mean the host's platforms.
    platforms = list(kind.platforms) or ["any"]
    native = cpython_tags(kind.version, abis=[kind.abi], platforms=platforms)
    pure = compatible_tags(kind.version, interpreter=kind.abi, platforms=platforms)
    return (*(tag for tag in native if kind.platforms), *pure)


def tag_problem(kind: GuestKind, tags: Iterable[str]) -> str | None:
    """
    Say why a wheel with these tags (lines of its WHEEL file) is not for the guest, or None.

    One tag must fit, and none may be of another platform: a wheel with code for several
    machines is not reviewed here.
    """
    found = {tag for text in tags for tag in parse_tag(text)}
    allowed = {"any", *kind.platforms}
    foreign = sorted(tag.platform for tag in found if tag.platform not in allowed)
    takes = " or ".join((*(f"{kind.abi}-{kind.abi}-{name}" for name in kind.platforms), "none-any"))
    if foreign:
        return f"it is for {foreign[0]!r}; {kind.name} takes {takes}"
    if not found & set(supported(kind)):
        shown = ", ".join(sorted(map(str, found))) or "none"
        return f"its tags are {shown}; {kind.name} takes {takes}"
    return None


def preference(kind: GuestKind, tags: Iterable[Tag]) -> int | None:
    """
    How good the best of `tags` is, smaller is better; None where none fits.
    """
    wanted = set(tags)
    ranks = (rank for rank, tag in enumerate(supported(kind)) if tag in wanted)
    return next(ranks, None)


def holds(kind: GuestKind, marker: Marker, extras: Iterable[str]) -> bool:
    """
    Whether a requirement with this marker is needed in the guest when `extras` were asked for.
    """
    base = _environment(kind)
    return any(marker.evaluate(base | {"extra": extra}) for extra in ("", *extras))


def _environment(kind: GuestKind) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": kind.python,
        "os_name": "posix",
        "platform_machine": "wasm32",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": kind.system,
        "platform_version": "",
        "python_full_version": kind.python,
        "python_version": kind.layout.python,
        "sys_platform": kind.sys_platform,
    }
