"""
A quick look that most paths pass: whether any glob of a set could match at all.

A glob asks of a path that it has certain components: the name `.git`, one that ends in `.key`. For
each glob one such need is kept, the longest, in a table; a path that meets none of them is matched
by no glob, and the automaton of `globs.py` need not be run. What is said here is "no" or "perhaps",
never "yes": an error in this file could be a missed denial, so a test compares it with the whole
language, glob by glob.
"""

from dataclasses import dataclass

_FEW = 8
"""Up to so many beginnings or endings, one search for each in the path is the fastest."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """
    What the globs of a set need. Only `sieve_of` makes one.

    `always` says that a glob needs nothing in particular. `found` are texts to be looked for in
    `/path/`; `starts` and `ends` are tables by length where those would be too many.
    """

    always: bool
    names: frozenset[str]
    found: tuple[str, ...]
    starts: tuple[tuple[int, frozenset[str]], ...]
    ends: tuple[tuple[int, frozenset[str]], ...]

    def may_match(self, path: str) -> bool:
        """
        Whether a glob could match `path`, relative to the mount, or a directory above it.
        """
        if self.always:
            return True
        components = path.split("/")
        if not self.names.isdisjoint(components):
            return True
        if self.found:
            around = f"/{path}/"
            for text in self.found:
                if text in around:
                    return True
        return bool(self.starts or self.ends) and self._in_tables(components)

    def _in_tables(self, components: list[str]) -> bool:
        for component in components:
            for length, texts in self.starts:
                if component[:length] in texts:
                    return True
            for length, texts in self.ends:
                if component[-length:] in texts:
                    return True
        return False


def sieve_of(globs: list[list[str]]) -> Sieve:
    """
    The sieve of globs that are cut into their components.
    """
    needs = [_need(components) for components in globs]
    starts = {one[1:] for one in needs if one[:1] == "/" and one[-1:] != "/"}
    ends = {one[:-1] for one in needs if one[-1:] == "/" and one[:1] != "/"}
    few = len(starts) + len(ends) <= _FEW
    return Sieve(
        always="" in needs,
        names=frozenset(one[1:-1] for one in needs if one[:1] == "/" == one[-1:]),
        found=(*(f"/{one}" for one in starts), *(f"{one}/" for one in ends)) if few else (),
        starts=() if few else _by_length(starts),
        ends=() if few else _by_length(ends),
    )


def _by_length(texts: set[str]) -> tuple[tuple[int, frozenset[str]], ...]:
    lengths = sorted({len(one) for one in texts})
    return tuple((size, frozenset(one for one in texts if len(one) == size)) for size in lengths)


def _need(components: list[str]) -> str:
    """
    What a path must have for one glob: `/name/` a component, `/start` or `end/` a part of one; ""
    where there is no such thing. Whole names are preferred: they are one look for all globs.
    """
    plain = [one for one in components if "*" not in one and "?" not in one]
    if plain:
        return f"/{max(plain, key=len)}/"
    parts = [part for one in components for part in _ends_of(one)]
    return max(parts, key=len, default="")


def _ends_of(component: str) -> list[str]:
    """
    How a component with wildcards has to begin and to end.
    """
    pieces = component.replace("?", "*").split("*")
    start, end = pieces[0], pieces[-1]
    return [*([f"/{start}"] if start else []), *([f"{end}/"] if end else [])]
