"""
Do the tests of the policy language notice when a rule of it changes?

    python tests/mutation/mutate.py [--module NAME]... [--sample N] [--at-least 95]

The tests run once, and what they call in `policy/` is noted. Then, for each mutant (operators.py),
a copy of this process (fork(2), trial.py) exchanges the code of that one function and runs the
tests that called it, those first that caught its like, until one fails. A mutant under which all pass has survived; one under which a test takes far longer than it
should is caught by whoever waits for it. The score is the share that was caught. What a module does
when it is imported (tables, models' fields) is not mutated.

Mutants that change nothing which anybody could see are in equivalent.toml, each with its reason.
They are tried as well, and counted apart.

Exit status: 0, or 1 where the score is less than `--at-least`, a test fails without any change, or
a row of equivalent.toml names no mutant or one that a test catches.
"""

import argparse
import functools
import gc
import itertools
import json
import math
import os
import random
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from equivalent import TABLE, Equivalent, equivalents, row_of
from living import SOURCE, caches, code_of, exchange, forget, functions, lines_of
from operators import Mutant, mutant_count, mutants
from trial import failing

ROOT = SOURCE.parent
# Of the tests that call a function, so many seconds' worth are run: a mutant that only a later one
# would have caught counts as missed.
ENOUGH = 10.0
# Of the random examples of a test that draws them (hypothesis), so many are tried, the same in every
# run: fewer than where the tests are run, so this too can only lower the score.
EXAMPLES = 20
# A test that makes more calls takes too long to be tried on mutants, and is left out.
NOTED = 1_000_000
# Tests that take less (seconds) are run once more without a change, in a copy of this process.
CONTROL = 0.05


@dataclass(slots=True)
class Seen:
    """
    What one run of the tests showed: by function (file, first line) the tests that called it.
    """

    callers: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    took: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Missed:
    """
    A mutant that no test caught, and whether any calls what it changes.
    """

    module: str
    name: str
    line: int
    what: str
    before: str
    after: str
    called: bool

    def __str__(self) -> str:
        how = "survived" if self.called else "called by no test"
        return (
            f"{how}: policy/{self.module}.py:{self.line}: {self.name}: {self.what}\n"
            f"  - {self.before}\n  + {self.after}"
        )


@dataclass(slots=True)
class Tally:
    """
    What became of the mutants that were tried.
    """

    caught: int = 0
    missed: list[Missed] = field(default_factory=list)
    equivalent: int = 0
    not_equivalent: list[Equivalent] = field(default_factory=list)

    @property
    def counted(self) -> int:
        return self.caught + len(self.missed)

    @property
    def score(self) -> float:
        return 100 * self.caught / max(1, self.counted)


class Loop:
    """
    A pytest plugin that runs the tests once as they are, and then once for each mutant.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._seen = Seen()
        self._rows = equivalents(options.equivalents)
        # The tests that caught mutants of a function, the files that caught those of a module.
        self._catchers: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._files: dict[str, Counter[str]] = defaultdict(Counter)
        self.whole = 0
        self.tally = Tally()
        self.failed: list[str] = self._seen.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for item in items.values():
            _draw_few(item)
            self._observe(item)
        if self.failed or not self._is_quiet(items):
            return True
        chosen = self._chosen()
        for number, (path, mutant) in enumerate(self._drawn(chosen), 1):
            self._try(path, mutant, items)
            self._show(number, len(chosen))
        print(file=sys.stderr)
        return True

    def _observe(self, item: pytest.Item) -> None:
        started, calls = _spent(), itertools.count()
        callers, name, inside = self._seen.callers, item.nodeid, str(SOURCE)

        def note(frame: types.FrameType, _event: str, _: object) -> None:
            code = frame.f_code  # of a call: nothing is asked of its lines
            if next(calls) > NOTED:
                pytest.skip("too slow to be tried on mutants")
            if code.co_filename.startswith(inside):
                callers[code.co_filename, code.co_firstlineno].add(name)

        forget()  # else only the first who asks calls what remembers its answers
        sys.settrace(note)
        try:
            reports = runtestprotocol(item, nextitem=None, log=False)
        finally:
            sys.settrace(None)
        if any(report.failed for report in reports):
            self.failed.append(name)
        if any(report.skipped for report in reports):
            for known in callers.values():
                known.discard(name)
        else:
            self._seen.took[name] = _spent() - started

    def _is_quiet(self, items: dict[str, pytest.Item]) -> bool:
        """
        Whether a copy of this process in which nothing is changed passes the same tests: else each
        mutant would be caught.
        """
        caches.cache_clear()  # tests have imported more
        functions(), caches()
        gc.freeze()  # a child collects nothing of its parent's, whose pages it would copy
        quick = [items[name] for name, took in self._seen.took.items() if took < CONTROL]
        if quick and (name := failing([], quick, self._seen.took)):
            self.failed.append(f"{name}, in a copy of this process in which nothing is changed")
        return not self.failed

    def _chosen(self) -> set[tuple[Path, int]]:
        """
        The mutants to try: of which file, and which one of it.
        """
        wanted = self._options.module
        again = missed_in(self._options.again) if self._options.again else None
        found = [
            (path, number)
            for path in sorted(SOURCE.glob("*.py"))
            if not wanted or path.stem in wanted
            for number in numbers(path, again)
        ]
        self.whole = len(found)
        sample = self._options.sample or len(found)
        return set(random.Random(self._options.seed).sample(found, min(sample, len(found))))

    def _drawn(self, chosen: set[tuple[Path, int]]) -> Iterator[tuple[Path, Mutant]]:
        # Made anew, one at a time: thousands of trees would be copied with the process.
        for path in sorted({path for path, _ in chosen}):
            for mutant in mutants(source(path), {number for one, number in chosen if one == path}):
                yield path, mutant
            self._keep()

    def _try(self, path: Path, mutant: Mutant, items: dict[str, pytest.Item]) -> None:
        changed = code_of(path, mutant)
        exchanged = exchange(path, changed)
        tests = [items[name] for name in self._callers(path, mutant, lines_of(changed))]
        called = bool(exchanged and tests)
        catcher = failing(exchanged, tests, self._seen.took) if called else None
        row = row_of(self._rows, path.stem, mutant)
        if catcher:
            self._catchers[path.stem, mutant.name].append(catcher)
            self._files[path.stem][catcher.partition("::")[0]] += 1
        if row and catcher:
            self.tally.not_equivalent.append(row)
        elif row:
            self.tally.equivalent += 1
        elif catcher:
            self.tally.caught += 1
        else:
            self.tally.missed.append(
                Missed(
                    path.stem,
                    mutant.name,
                    mutant.line,
                    mutant.what,
                    mutant.before,
                    mutant.after,
                    called,
                )
            )

    def _callers(self, path: Path, mutant: Mutant, lines: set[int]) -> list[str]:
        """
        The tests that called a function, or one inside it, in the order in which they are tried:
        what caught its last mutants; then the files that caught others of its module, or that are
        named like it; and of a file the quick ones first.
        """
        took, spent, found = self._seen.took, 0.0, []
        names = set().union(*(self._seen.callers[str(path), line] for line in lines))
        catchers = [name for name in self._catchers[path.stem, mutant.name] if name in names]
        files = self._files[path.stem]

        def order(name: str) -> tuple[int, int, float]:
            file = name.partition("::")[0]
            alike = set(Path(file).stem.split("_")) & set(path.stem.split("_"))
            return -files[file], -len(alike), took[name]

        for name in dict.fromkeys([*reversed(catchers), *sorted(names, key=order)]):
            spent += took[name]
            if spent > ENOUGH and found:
                break
            found.append(name)
        return found

    def _show(self, number: int, chosen: int) -> None:
        tally = self.tally
        survived = sum(one.called for one in tally.missed)
        print(
            f"\r{number}/{chosen}: {tally.caught} caught, {survived} survived, "
            f"{len(tally.missed) - survived} called by no test, {tally.equivalent} equivalent",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def _keep(self) -> None:
        if self._options.json:
            self._options.json.write_text(json.dumps(asdict(self.tally), indent=2))


def _spent() -> float:
    """
    Seconds of the processor, those of children too: the clock's would say how busy others are.
    """
    return sum(os.times()[:4])


def _draw_few(item: pytest.Item) -> None:
    # Not before pytest, which warns of what it would have rewritten.
    from hypothesis import HealthCheck, Phase, settings

    test = getattr(item, "obj", None)
    if usual := getattr(test, "_hypothesis_internal_use_settings", None):
        few = min(EXAMPLES, usual.max_examples)
        test._hypothesis_internal_use_settings = settings(
            usual,
            max_examples=few,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),  # whoever fails need not say it shortly
            deadline=None,  # a slow machine catches no mutants
            suppress_health_check=tuple(HealthCheck),
        )


@functools.cache
def source(path: Path) -> str:
    """
    A module as it was when the run began.
    """
    return path.read_text()


def numbers(path: Path, again: set[tuple[str, str, str, str]] | None) -> Iterable[int]:
    """
    Which of a module's mutants there are to try: all, or those of a former run's.
    """
    if again is None:
        return range(mutant_count(source(path)))
    found = enumerate(mutants(source(path)))
    return [
        number for number, one in found if (path.stem, one.name, one.before, one.after) in again
    ]


def missed_in(path: Path) -> set[tuple[str, str, str, str]]:
    """
    The mutants that a former run missed.
    """
    keys = ("module", "name", "before", "after")
    return {tuple(one[key] for key in keys) for one in json.loads(path.read_text())["missed"]}


def interval(caught: int, counted: int) -> tuple[float, float]:
    """
    Between which shares (per cent) the whole's lies with 95 % confidence, by a sample's: the score
    interval of Wilson (1927), of which no normal approximation at the ends is asked.
    """
    if not counted:
        return 0.0, 100.0
    z, share = 1.959964, caught / counted
    middle = share + z * z / (2 * counted)
    half = z * math.sqrt(share * (1 - share) / counted + z * z / (4 * counted * counted))
    whole = 1 + z * z / counted
    return 100 * (middle - half) / whole, 100 * (middle + half) / whole


def unnamed(rows: set[Equivalent]) -> list[Equivalent]:
    """
    The rows that name no mutant of the source as it is, or more than one.
    """
    named: dict[Equivalent, int] = dict.fromkeys(rows, 0)
    for module in {row.module for row in rows}:
        for one in mutants(source(SOURCE / f"{module}.py")):
            if row := row_of(rows, module, one):
                named[row] += 1
    return [row for row, count in named.items() if count != 1]


def report(loop: Loop) -> str:
    tally = loop.tally
    tried = tally.counted + tally.equivalent + len(tally.not_equivalent)
    lines = [str(one) for one in tally.missed]
    lines += [f"no equivalent, as a test catches it: {row}" for row in tally.not_equivalent]
    lines.append(f"{tally.caught} of {tally.counted} mutants were caught: {tally.score:.1f} %")
    if tally.equivalent:
        lines.append(f"{tally.equivalent} more are equivalent, by name (equivalent.toml)")
    if tried < loop.whole:
        low, high = interval(tally.caught, tally.counted)
        lines.append(
            f"a sample of {tried} of {loop.whole}: "
            f"of all, {low:.1f} to {high:.1f} % with 95 % confidence"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0].strip())
    parser.add_argument("--module", action="append", default=[], help="of policy/, without .py")
    parser.add_argument("--tests", default="tests/policy", help="files or directories, by spaces")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-least", type=float, default=95.0, help="per cent")
    parser.add_argument("--json", type=Path, help="where the survivors are written")
    parser.add_argument("--equivalents", type=Path, default=TABLE, help="instead of the table")
    parser.add_argument("--again", type=Path, help="only the survivors that such a file has")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if rows := unnamed(equivalents(options.equivalents)):
        print("rows of equivalent.toml that do not name one mutant:", *rows, sep="\n  ")
        return 1
    loop = Loop(options)
    os.chdir(ROOT)
    plain = ["-q", "-p", "no:cacheprovider", "-p", "no:timeout"]
    status = pytest.main([*plain, *options.tests.split()], plugins=[loop])
    if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.INTERRUPTED}:
        return 1
    if loop.failed:
        print("this fails without any change:", *loop.failed, sep="\n  ")
        return 1
    print(report(loop))
    return int(loop.tally.score < options.at_least or bool(loop.tally.not_equivalent))


if __name__ == "__main__":
    raise SystemExit(main())
