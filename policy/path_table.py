"""
The paths of one HTTP rule, by their globs' shapes: most are whole paths, or a path and all below.

A whole path is one look into a set, all below a path one look for each length that such a path
has; what has other stars is matched by `path_globs.py`, one glob after another. A test compares
each answer with that of the globs themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from policy.http_paths import normal_path
from policy.path_globs import PathGlob, compile_glob


@dataclass(frozen=True, slots=True)
class PathTable:
    """
    The globs of a rule. Only `path_table` makes one.

    `whole` are paths, `below` beginnings that end in `/`, and `lengths` those of `below`.
    """

    whole: frozenset[str]
    below: frozenset[str]
    lengths: tuple[int, ...]
    globs: tuple[PathGlob, ...]

    def holds(self, path: str) -> bool:
        """
        Whether a glob grants `path`, which has no problem and is in its normal form.
        """
        if path in self.whole:
            return True
        for length in self.lengths:
            if path[:length] in self.below:
                return True
        return any(glob.matches(path) for glob in self.globs)


def path_table(globs: Iterable[str]) -> PathTable:
    """
    The table of globs that have no problem.
    """
    whole: set[str] = set()
    below: set[str] = set()
    others: list[PathGlob] = []
    for glob in map(normal_path, globs):
        start = glob.removesuffix("/**")
        if "*" in start:
            others.append(compile_glob(glob))
        elif start == glob:
            whole.add(glob)
        else:
            # All below a path is the path itself, too.
            below.add(f"{start}/")
            whole.add(start)
    lengths = tuple(sorted({len(one) for one in below}))
    return PathTable(frozenset(whole), frozenset(below), lengths, tuple(others))
