"""
How two globs of `path_globs.py` lie to each other: whether one holds the other, and whether there
is a path that both match.

`holds` is careful: where it says yes it is so, and some yes it does not see. `meet` is exact.
"""

from collections.abc import Callable, Iterator, Sequence

Segments = tuple[str, ...]


def common(first: str, second: str) -> str | None:
    """
    A glob of the paths that both match, or None where no path is. Raises ValueError where it is
    neither of the two and there are such paths: one glob cannot say that.
    """
    if holds(first, second):
        return second
    if holds(second, first):
        return first
    if meet(first, second):
        raise ValueError(f"{first} and {second} overlap")
    return None


def holds(outer: str, inner: str) -> bool:
    """
    Whether every path that `inner` matches is matched by `outer`.

    The stars of `inner` are taken for characters and segments that only stars of `outer` match.
    """
    return _holds(_segments(outer), _segments(inner))


def meet(first: str, second: str) -> bool:
    """
    Whether there is a path that both globs match.
    """
    return _meet(_segments(first), _segments(second))


def _segments(glob: str) -> Segments:
    return tuple(glob[1:].split("/"))


def _holds(outer: Segments, inner: Segments) -> bool:
    places = _entered({0}, outer, "**")
    for segment in inner:
        places = _entered(
            {
                place if outer[place] == "**" else place + 1
                for place in places
                if place < len(outer) and _takes_segment(outer[place], segment)
            },
            outer,
            "**",
        )
    return len(outer) in places


def _takes_segment(outer: str, inner: str) -> bool:
    if outer == "**":
        return True
    return inner != "**" and _holds_segment(outer, inner)


def _holds_segment(outer: str, inner: str) -> bool:
    if "*" in outer and not inner:
        # A segment with a star is never empty.
        return False
    places = _entered({0}, outer, "*")
    for char in inner:
        places = _entered(
            {
                place if outer[place] == "*" else place + 1
                for place in places
                if place < len(outer) and (outer[place] == "*" or outer[place] == char != "*")
            },
            outer,
            "*",
        )
    return len(outer) in places


def _entered(places: set[int], row: Sequence[str], star: str) -> set[int]:
    """
    The places, and those that follow because a star may be nothing at all.
    """
    entered = set(places)
    for place in sorted(places):
        after = place
        while after < len(row) and row[after] == star:
            after += 1
            entered.add(after)
    return entered


def _meet(first: Segments, second: Segments) -> bool:
    return _walk(first, second, "**", _meet_segment)


def _meet_segment(first: str, second: str) -> bool:
    if not first or not second:
        return first == second
    return _walk(first, second, "*", str.__eq__)


def _walk(
    first: Sequence[str], second: Sequence[str], star: str, same: Callable[[str, str], bool]
) -> bool:
    """
    Whether both rows can be gone through together; a star takes anything, or nothing.
    """
    end = (len(first), len(second))
    seen, left = {(0, 0)}, [(0, 0)]
    while left and end not in seen:
        one, other = left.pop()
        for place in _next(first, second, (one, other), star, same):
            if place not in seen:
                seen.add(place)
                left.append(place)
    return end in seen


def _next(
    first: Sequence[str],
    second: Sequence[str],
    place: tuple[int, int],
    star: str,
    same: Callable[[str, str], bool],
) -> Iterator[tuple[int, int]]:
    one, other = place
    has_one, has_other = one < len(first), other < len(second)
    if (has_one and first[one] == star) or (has_other and second[other] == star):
        # Either row goes on by itself: its star is nothing, or its element is within the other's.
        if has_one and (first[one] == star or has_other):
            yield one + 1, other
        if has_other and (second[other] == star or has_one):
            yield one, other + 1
    elif has_one and has_other and same(first[one], second[other]):
        yield one + 1, other + 1
