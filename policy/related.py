"""
What a policy file says of others: `within` names ceilings, which it is narrowed to, and `defaults`
one whose limits, images, environment, clock and seed hold where it is silent.

A name is that of a file of the same directory, or of its folder `ceilings`; one that is neither,
or both, is an error, as is a circle: `ceilings/NAME` means the folder's. `builtin/NAME` are
defaults that come with this package. A ceiling's own ceilings hold too. Nothing that grants is
inherited.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources import files
from types import TracebackType
from typing import Self

from policy.audit_mode import with_leniency
from policy.digest import digest_of
from policy.document import Document, Path, read_document
from policy.errors import PolicyError, Problem, shown
from policy.narrow import narrow
from policy.policy_file import (
    case_names,
    open_policy_directory,
    policy_names,
    read_policy_file,
)
from policy.reading import Ground, in_order, read_policy, section_of
from policy.types import Mode, Policy
from policy.validation import problem_at

CEILINGS = "ceilings"
"""The folder beside the policies for those that no session asks for."""
BUILTIN = "builtin"
"""What stands before the names of the defaults that come with this package."""
_MAX_CHAIN = 16


def read_alone(document: Document, where: Ground) -> Policy:
    """
    The policy of a text that may name no file but those of this package. Raises PolicyError.
    """
    problems: list[Problem] = []
    inherited: Policy | None = None
    for path, name in _names_of(document):
        try:
            inherited = _alone(document, path, name, where)
        except PolicyError as error:
            problems += error.problems
    return _read(document, where, inherited, problems)


def _alone(document: Document, path: Path, name: str, where: Ground) -> Policy:
    if _is_builtin(name):
        return _shipped(document, path, name, where)
    message = "names another file, and this text lies in no directory"
    raise _refusal(document, path, message, _ALONE)


_ALONE = "load it as a file, beside the one that it names"


def _names_of(document: Document) -> list[tuple[Path, str]]:
    """
    The names of other files, each with its place; what is no name has been complained about.
    """
    ceilings, defaults = section_of(document, "within"), section_of(document, "defaults")
    named: list[tuple[Path, object]] = [
        (("within", index), name)
        for index, name in enumerate(ceilings if isinstance(ceilings, list) else [])
    ]
    if defaults is not None:
        named.append((("defaults",), defaults))
    return [(path, name) for path, name in named if isinstance(name, str) and _is_plain(name)]


def _is_plain(name: str) -> bool:
    folder, slash, stem = name.rpartition("/")
    known = folder in {CEILINGS, BUILTIN} if slash else True
    return known and stem.isascii() and stem.replace("-", "").isalnum()


def _is_builtin(name: str) -> bool:
    return name.startswith(f"{BUILTIN}/")


def _shipped(document: Document, path: Path, name: str, where: Ground) -> Policy:
    """
    The defaults of this package that `name` names. Raises PolicyError where there are none.
    """
    there = {f"{BUILTIN}/{one.name}": one for one in files("policy").joinpath("shipped").iterdir()}
    found = there.get(f"{name}.yaml")
    if found is None:
        known = ", ".join(sorted(one.removesuffix(".yaml") for one in there))
        raise _refusal(document, path, f"there is no `{name}`", f"there are {known}")
    return read_policy(read_document(found.read_text("utf-8"), f"{name}.yaml"), where, None)


def _read(
    document: Document, where: Ground, inherited: Policy | None, problems: list[Problem]
) -> Policy:
    """
    The policy by itself; `problems` are reported with its own.
    """
    try:
        policy = read_policy(document, where, inherited)
    except PolicyError as error:
        problems = [*error.problems, *problems]
    else:
        if not problems:
            return policy
    own = in_order([one for one in problems if one.file == document.file])
    raise PolicyError((*own, *(one for one in problems if one.file != document.file)))


class Library:
    """
    The policy files of a directory, each read at most once. Closes what it opened at the end of
    its `with` block.

    `opened` gives a descriptor of the directory when one is needed first, which is then the
    library's to close.
    """

    def __init__(self, opened: Callable[[], int], where: Ground) -> None:
        self._opened = opened
        self._where = where
        self._directories: dict[str, int] = {}
        self._known: dict[str, Policy | PolicyError] = {}
        self._chain: list[str] = []
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def names(self) -> list[str]:
        """
        The names of the directory's own policy files, sorted. Raises PolicyError for what looks
        like a policy and would be passed over in silence.
        """
        directory = self._directory("")
        for name in case_names(directory):
            document = read_document(read_policy_file(name, directory), shown(name))
            if isinstance(document.data, dict) and "name" in document.data:
                message = "this is a policy, and a file of this name is one of cases"
                raise _refusal(document, ("name",), message, "give the policy another name")
        return policy_names(directory)

    def member(self, file: str) -> Policy:
        """
        The policy in `NAME.yaml` or `ceilings/NAME.yaml`, whose name has to be NAME. Raises
        PolicyError.
        """
        known = self._known.get(file)
        if known is None:
            try:
                known = self._named_policy(file)
            except PolicyError as error:
                known = error
            self._known[file] = known
        if isinstance(known, PolicyError):
            raise known
        return known

    def policy_of(self, file: str, text: str) -> Policy:
        """
        The policy of a file that has been read already. Raises PolicyError.
        """
        document = read_document(text, file)
        self._chain.append(file)
        try:
            return self._narrowed(document)
        finally:
            self._chain.pop()

    def _named_policy(self, file: str) -> Policy:
        folder, _, name = file.rpartition("/")
        policy = self.policy_of(shown(file), read_policy_file(name, self._directory(folder)))
        if f"{policy.name}.yaml" != name:
            rule = policy.rule("name")
            message = f"name: `{policy.name}` is not the name of the file"
            stem = name.removesuffix(".yaml")
            hint = f"call the file {policy.name}.yaml, or write name: {stem}"
            place = (rule.file, rule.line, rule.column)
            raise PolicyError((Problem(*place, message, hint, rule.text),))
        return policy

    def _narrowed(self, document: Document) -> Policy:
        problems: list[Problem] = []
        found: dict[Path, Policy] = {}
        for path, name in _names_of(document):
            try:
                found[path] = self._related(document, path, name)
            except PolicyError as error:
                problems += error.problems
        inherited = found.pop(("defaults",), None)
        policy = _read(document, self._where, inherited, problems)
        for ceiling in found.values():
            policy = narrow(policy, ceiling)
        if policy.mode is Mode.AUDIT:
            policy = with_leniency(policy, tuple(found.values()))
        return replace(policy, digest=digest_of(policy))

    def _related(self, document: Document, path: Path, name: str) -> Policy:
        if _is_builtin(name):
            return _shipped(document, path, name, self._where)
        file = self._file_of(document, path, name)
        if file in self._chain:
            circle = " -> ".join([*self._chain[self._chain.index(file) :], file])
            raise _refusal(
                document, path, f"goes round in a circle: {circle}", "remove one of them"
            )
        if len(self._chain) >= _MAX_CHAIN:
            message = f"is more than {_MAX_CHAIN} files deep"
            raise _refusal(document, path, message, "name the last of them directly")
        return self.member(file)

    def _file_of(self, document: Document, path: Path, name: str) -> str:
        """
        Which file a name means. A circle leads to a file that is being read, so it is looked for
        by its name and not by its content.
        """
        stem = name.removeprefix(f"{CEILINGS}/")
        plain, ceiling = f"{stem}.yaml", f"{CEILINGS}/{stem}.yaml"
        there = [
            file
            for file in ((plain, ceiling) if stem == name else (ceiling,))
            if self._is_there(file)
        ]
        if not there:
            message = f"there is no policy `{name}`"
            hint = f"put {plain} beside this file, or into the folder {CEILINGS} there"
            raise _refusal(document, path, message, hint)
        if len(there) > 1:
            message = f"`{name}` is {plain} and {ceiling}"
            raise _refusal(document, path, message, f"write {CEILINGS}/{stem}, or rename one")
        return there[0]

    def _is_there(self, file: str) -> bool:
        folder, _, name = file.rpartition("/")
        if folder and not self._is_there(folder):
            return False
        try:
            os.stat(name, dir_fd=self._directory(folder), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _directory(self, folder: str) -> int:
        if folder not in self._directories:
            outer = self._directory("") if folder else None
            made = self._opened() if outer is None else open_policy_directory(folder, outer)
            self._closing.callback(os.close, made)
            self._directories[folder] = made
        return self._directories[folder]


def _refusal(document: Document, path: Path, message: str, hint: str) -> PolicyError:
    return PolicyError((problem_at(document, path, message, hint),))
