"""
Globs over path components, matched in time that no pattern and no path can blow up.

The language: `*` is any run of characters of one component (also none, also a leading dot), `?`
is one character, `**` as a whole component is any number of components (also none). Nothing else
is special, upper and lower case differ, and a pattern that matches a directory matches all that
lies beneath it. There are no character classes, braces or escapes: each is refused by
`glob_problem`, so that nobody believes them to work.

All patterns of a set become one bit-parallel automaton: a state is a bit of an integer, a
character of the path moves all states with two masks. There is no backtracking: a path of n
characters costs n steps, each of a few operations on integers as long as the patterns. `fnmatch`
and `re` were rejected: `*a*a*a*b` makes them take time exponential or polynomial in its stars.

Source: Baeza-Yates and Gonnet, "A new approach to text searching", CACM 35(10), 1992.
"""

from dataclasses import dataclass, field

from policy.glob_sieve import sieve_of

MAX_GLOB = 1024


def glob_problem(pattern: str) -> str | None:
    """
    Why `pattern` (1 to 1024 characters) is not a glob of this language, or None where it is one.
    """
    if not pattern or len(pattern) > MAX_GLOB:
        return f"a glob has 1 to {MAX_GLOB} characters"
    if "\0" in pattern:
        return "a glob cannot contain NUL"
    if pattern.startswith("/"):
        return "a glob is relative to its mount: it cannot start with /"
    if pattern.endswith("/"):
        return "a glob cannot end in /: a directory's own name denies all beneath it"
    if pattern[0] in "~!":
        return f"`{pattern[0]}` has no meaning at the start of a glob"
    if special := next((char for char in pattern if char in "[]{}\\$"), None):
        return f"`{special}` has no meaning in a glob; `?` matches any one character"
    return next(filter(None, map(_component_problem, pattern.split("/"))), None)


def _component_problem(component: str) -> str | None:
    if component in {"", ".", ".."}:
        return "a glob cannot have empty, `.` or `..` components"
    if "**" in component and component != "**":
        return "`**` must be a whole component, as in **/*.key"
    return None


@dataclass(slots=True)
class _Automaton:
    """
    The masks. Bit i stands for "element i comes next"; an accepting bit follows each pattern.

    `takes` maps a character to the elements that consume it and move on; `other` is that for
    characters no pattern names. `loops` are elements that consume any character but / and stay.
    `**/` is two elements: `outer`, at the start of a component, and an inner one right after it.
    """

    size: int = 0
    starts: int = 0
    accepts: int = 0
    stars: int = 0
    outer: int = 0
    loops: int = 0
    slashes: int = 0
    other: int = 0
    takes: dict[str, int] = field(default_factory=dict)

    def next_bit(self) -> int:
        self.size += 1
        return 1 << (self.size - 1)

    def add(self, components: list[str]) -> int:
        """
        Add a pattern and return its accepting bit.
        """
        self.starts |= 1 << self.size
        for index, component in enumerate(components):
            if component == "**":
                self._add_crossing()
                continue
            self._add_component(component)
            if index + 1 < len(components):
                self.slashes |= self.next_bit()
        accept = self.next_bit()
        self.accepts |= accept
        return accept

    def _add_crossing(self) -> None:
        outer = self.next_bit()
        self.outer |= outer
        self.other |= outer
        self.loops |= self.next_bit()

    def _add_component(self, component: str) -> None:
        previous = ""
        for char in component:
            if char == "*" == previous:
                continue
            bit = self.next_bit()
            if char == "*":
                self.stars |= bit
                self.loops |= bit
            elif char == "?":
                self.other |= bit
            else:
                self.takes[char] = self.takes.get(char, 0) | bit
            previous = char

    def close(self) -> None:
        """
        Let the masks of named characters include what every character does.
        """
        for char in self.takes:
            self.takes[char] |= self.other

    def enter(self, states: int) -> int:
        """
        What else is possible at the start of a component: `**/` and `*` may match nothing.
        """
        states |= (states & self.outer) << 2
        return states | (states & self.stars) << 1


class GlobSet:
    """
    The globs of one mount. Paths are relative to it, normalised, and "" is the mount itself.
    """

    __slots__ = ("_automaton", "_ends", "_everything", "_inner", "_sieve", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self._automaton = _Automaton()
        self._everything: int | None = None
        self._ends: list[tuple[int, int]] = []
        cut = [components_of(pattern) for pattern in patterns]
        self._sieve = sieve_of([components for components in cut if components])
        for index, components in enumerate(cut):
            if components:
                self._ends.append((self._automaton.add(components), index))
            elif self._everything is None:
                self._everything = index
        self._automaton.close()
        self._inner = self._automaton.outer << 1

    def match(self, path: str) -> int | None:
        """
        The index of a pattern that matches `path` or a directory above it, or None.
        """
        if self._everything is not None:
            return self._everything
        if not path or not self._sieve.may_match(path):
            return None
        hit, _ = self._run(path)
        return next((index for end, index in self._ends if end & hit), None) if hit else None

    def may_match_below(self, path: str) -> bool:
        """
        Whether a pattern matches `path`, or could match a name beneath it.
        """
        if not path or self._everything is not None:
            return bool(self.patterns)
        hit, alive = self._run(path + "/")
        return bool(hit or alive)

    def _run(self, path: str) -> tuple[int, int]:
        """
        The accepting states first met at the end of a component, and the states at the end.
        """
        machine = self._automaton
        takes, other, loops, stars = machine.takes, machine.other, machine.loops, machine.stars
        accepts = machine.accepts
        states = machine.enter(machine.starts)
        for char in path:
            if char == "/":
                if states & accepts:
                    return states & accepts, states
                states = machine.enter(
                    (states & machine.slashes) << 1 | (states & self._inner) >> 1
                )
            else:
                states = (states & takes.get(char, other)) << 1 | states & loops
                states |= (states & stars) << 1
            if not states:
                return 0, 0
        return states & accepts, states


def components_of(pattern: str) -> list[str]:
    """
    The components without repeated `**`, and without one at the end, which adds nothing:
    a pattern that matches a directory matches all beneath it.
    """
    components: list[str] = []
    for component in pattern.split("/"):
        if component != "**" or components[-1:] != ["**"]:
            components.append(component)
    return components[:-1] if components[-1] == "**" else components
