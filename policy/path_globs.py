"""
The globs that grant paths of HTTP requests.

The language: `*` is any run of characters within one segment, at least one where it is the whole
segment; `**` as a whole segment is any number of segments (also none). There is no `?`: in a path
it would be taken for the start of the query. Unlike the globs of `globs.py`, which hide what lies
beneath a match, one of these grants whole paths and nothing beneath them unless it says so:
`/v1/prices` is one path, `/v1/prices/**` that one and all below.

A glob becomes a row of segments, each cut at its stars. A set of places in the row moves along
the path's segments, and within a segment the first fit of each piece is the best one: there is no
backtracking, and the time is at most the length of the path times the segments of the glob.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from policy.http_paths import normal_path, path_problem

MAX_GLOB, MAX_SEGMENTS = 1024, 32
"""Longest glob, in characters and in segments."""


def path_glob_problem(glob: str) -> str | None:
    """
    Why `glob` is none that a grant can have, continuing "it ", or None where it is one.
    """
    if not 0 < len(glob) <= MAX_GLOB:
        return f"has to have 1 to {MAX_GLOB} characters"
    if problem := path_problem(glob):
        return problem
    if glob.count("/") > MAX_SEGMENTS:
        return f"has more than {MAX_SEGMENTS} segments"
    if any("**" in segment and segment != "**" for segment in glob.split("/")):
        return "holds `**` beside other characters of a segment"
    return None


@dataclass(frozen=True, slots=True)
class PathGlob:
    """
    One compiled glob. `segments` are pieces between stars, None for `**`.
    """

    segments: tuple[tuple[str, ...] | None, ...]

    def matches(self, path: str) -> bool:
        """
        Whether the glob grants `path`, which has no problem and is in its normal form.
        """
        places = self._entered({0})
        for segment in path[1:].split("/"):
            places = self._entered(
                place if pieces is None else place + 1
                for place in places
                if place < len(self.segments)
                and ((pieces := self.segments[place]) is None or _fits(pieces, segment))
            )
        return len(self.segments) in places

    def _entered(self, places: Iterable[int]) -> set[int]:
        """
        The places, and those that follow because `**` may be no segment at all.
        """
        entered: set[int] = set()
        for place in places:
            entered.add(place)
            if place < len(self.segments) and self.segments[place] is None:
                entered.add(place + 1)
        return entered


def compile_glob(glob: str) -> PathGlob:
    """
    The compiled form of a glob that has no problem.
    """
    segments: list[tuple[str, ...] | None] = []
    for segment in normal_path(glob)[1:].split("/"):
        if segment != "**":
            segments.append(tuple(segment.split("*")))
        elif segments[-1:] != [None]:
            # Two `**` in a row are one, so that a place never follows two of them.
            segments.append(None)
    return PathGlob(tuple(segments))


def _fits(pieces: tuple[str, ...], segment: str) -> bool:
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return segment == first
    if not segment.startswith(first) or not segment.endswith(last):
        return False
    start, end = len(first), len(segment) - len(last)
    for piece in pieces[1:-1]:
        found = segment.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return start <= end and bool(segment)
