"""
From a text, a file or a directory of files to policies, or to every reason why there are none.

`reading.py` reads one text, `related.py` what it names of others.
"""

import os
import posixpath
from functools import partial

from policy.document import read_document
from policy.errors import PolicyError, Problem, shown
from policy.policy_file import open_policy_directory, read_policy_file
from policy.reading import DEFAULT_MAX_FILES, DEFAULT_QUOTA, Ground, ground, normalised
from policy.related import CEILINGS, Library, read_alone
from policy.types import Policy

__all__ = ["DEFAULT_MAX_FILES", "DEFAULT_QUOTA", "load", "load_directory", "load_text", "parse"]


def parse(text: str, *, file: str, base: str, protected: tuple[str, ...] = ()) -> Policy:
    """
    The policy that `text` says. Nothing of the file system is touched, but for the defaults of this
    package (`builtin/NAME`) where the text names some.

    `file` is the name that messages show; `base` the absolute directory at which relative
    sources start; `protected` are absolute directories of the server, which no grant may hold
    or lie in. A text that names a policy file is refused: it lies in no directory. Raises
    PolicyError with every problem found, and ValueError where `base` or `protected` is not
    absolute.
    """
    return read_alone(read_document(text, file), ground(base, protected, str))


def load(path: str, protected: tuple[str, ...] = (), base: str | None = None) -> Policy:
    """
    The policy in the file `path`, which is opened once, as `read_policy_file` says, and so is
    each file that it names.

    Relative sources start at `base`, or at the file's directory where that is None. Sources and
    protected directories are compared with symbolic links followed, as they are now.
    Raises PolicyError.
    """
    return load_text(path, read_policy_file(path), protected, base)


def load_text(
    path: str, text: str, protected: tuple[str, ...] = (), base: str | None = None
) -> Policy:
    """
    The policy that `text` would be if it were the content of the file `path`. Raises PolicyError.
    """
    directory, name = posixpath.split(normalised(path))
    opened = partial(open_policy_directory, directory)
    with Library(opened, _ground(base or directory, directory, protected)) as library:
        return library.policy_of(shown(name), text)


def load_directory(
    path: str, protected: tuple[str, ...] = (), base: str | None = None
) -> dict[str, Policy]:
    """
    All policies of a directory by name: its files `NAME.yaml`, each with `name: NAME`. Those of
    its folder `ceilings` are read where one of these names them, and are none of the answer.

    Relative sources start at `base`, or at the directory itself where that is None. Raises
    PolicyError with the problems of all files; nothing is loaded then.
    """
    where = _ground(base or normalised(path), normalised(path), protected)
    policies: dict[str, Policy] = {}
    problems: list[Problem] = []
    with Library(partial(open_policy_directory, path), where) as library:
        for name in library.names():
            try:
                policy = library.member(name)
            except PolicyError as error:
                problems += error.problems
            else:
                policies[policy.name] = policy
    if problems:
        raise PolicyError(tuple(dict.fromkeys(problems)))
    return policies


def _ground(base: str, directory: str, protected: tuple[str, ...]) -> Ground:
    """
    Whoever can write a ceiling makes the rules: the folder is protected like the server's own.
    """
    protected = (*protected, posixpath.join(directory, CEILINGS))
    followed = tuple(dict.fromkeys([*protected, *map(os.path.realpath, protected)]))
    return ground(base, followed, os.path.realpath)
