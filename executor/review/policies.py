"""
The policies in a directory, found by the digest that a decision was recorded with.

A policy of the same name may have been changed since: only one whose digest is the recorded one
explains anything, and its text is shown with it.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from policy.errors import PolicyError
from policy.parse import load
from policy.policy_file import open_policy_directory, policy_names, read_policy_file
from policy.types import Policy, Rule

_MOST_FILES: Final = 1000
_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """
    A line of a policy file; `marked` where it is the rule's.
    """

    number: int
    text: str
    marked: bool


class Policies:
    """
    The directory's policies as its files are now; they are read again when one has changed.

    Used by several threads. `directory` None means that none was given.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._stamp: _Stamp = ()
        self._found: dict[str, Policy] = {}

    def of(self, digest: str | None) -> Policy | None:
        """
        The policy with this digest, None where the directory has none.
        """
        if self.directory is None or digest is None:
            return None
        with self._lock:
            stamp = _stamp(self.directory)
            if stamp != self._stamp:
                self._found = _read(self.directory)
                self._stamp = stamp
            return self._found.get(digest)

    def lines(self, rule: Rule) -> list[Line]:
        """
        The text of the rule's file with its line marked; nothing where the file no longer has it.
        """
        if self.directory is None or not rule.line:
            return []
        try:
            # A rule names its file relative to the directory, and `..` is no name of a policy.
            place = self.directory.joinpath(*Path(rule.file).parts[-2:])
            text = read_policy_file(str(place))
        except PolicyError:
            return []
        rows = text.splitlines()
        if rule.line > len(rows) or rows[rule.line - 1].strip() != rule.text.strip():
            return []
        return [Line(number, row, number == rule.line) for number, row in enumerate(rows, 1)]


def _read(directory: Path) -> dict[str, Policy]:
    """
    By digest; files that are no policies are left out: they decided nothing.
    """
    found = {}
    for name in _names(directory):
        try:
            policy = load(str(directory / name))
        except PolicyError:
            continue
        found[policy.digest] = policy
    return found


def _names(directory: Path) -> list[str]:
    try:
        descriptor = open_policy_directory(str(directory))
    except PolicyError:
        return []
    try:
        return policy_names(descriptor)[:_MOST_FILES]
    finally:
        os.close(descriptor)


def _stamp(directory: Path) -> _Stamp:
    """
    What changes when a file does. A ceiling is a file of the folder `ceilings`.
    """
    places = [*directory.glob("*.yaml"), *directory.glob("*/*.yaml")]
    stats = [(str(place), place.lstat()) for place in sorted(places)[:_MOST_FILES]]
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in stats)
