"""
Reading policy files so that what is checked is what is read.

A file is opened once, without following a link in its last component and without waiting (a FIFO
has no effect), its descriptor is checked, and its bytes come from that descriptor. Whoever can
write the file makes the rules, so that must be root or the user the server runs as.

Sources: open(2) O_NOFOLLOW and O_NONBLOCK, inode(7).
"""

import os
import posixpath
import stat

from policy.document import MAX_BYTES
from policy.errors import PolicyError, Problem, shown

CASES = "cases"
"""What files of cases are called beside policies: `cases.yaml`, `analyst.cases.yaml`."""


def read_policy_file(path: str, directory: int | None = None) -> str:
    """
    The text of one policy file; `path` is relative to the descriptor `directory` where given.

    Raises PolicyError where the file is missing, a link, no regular file, another user's,
    writable by everybody, larger than 256 KiB or not UTF-8.
    """
    name = shown(posixpath.basename(path))
    descriptor = _open(path, os.O_NONBLOCK, directory, name)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refusal(name, "is not a regular file", "a policy is a regular file")
        _check_owner(status, name)
        return _text(_read(descriptor), name)
    finally:
        os.close(descriptor)


def open_policy_directory(path: str, directory: int | None = None) -> int:
    """
    A descriptor of the directory `path`, which the caller closes; `path` is relative to the
    descriptor `directory` where given.

    Raises PolicyError as `read_policy_file` does: whoever can add a file adds a policy.
    """
    name = shown(posixpath.basename(path))
    descriptor = _open(path, os.O_DIRECTORY, directory, name)
    try:
        _check_owner(os.fstat(descriptor), name)
    except PolicyError:
        os.close(descriptor)
        raise
    return descriptor


def policy_names(directory: int) -> list[str]:
    """
    The names of the policy files in the directory, sorted: all that end in `.yaml`, but for files
    of cases. A schema for editors (`policy.schema.json`) may lie beside them.

    Raises PolicyError for a file that looks like a policy and would be passed over in silence.
    """
    names = [one for one in sorted(os.listdir(directory)) if not _is_beside(one)]
    problems = tuple(
        _problem(shown(name), "would be ignored: a policy's name ends in .yaml", "rename it")
        for name in names
        if name.lower().endswith((".yml", ".yaml", ".json")) and not name.endswith(".yaml")
    )
    if problems:
        raise PolicyError(problems)
    return [name for name in names if name.endswith(".yaml")]


def case_names(directory: int) -> list[str]:
    """
    The names of the files of cases in the directory, sorted.
    """
    names = sorted(os.listdir(directory))
    return [one for one in names if _is_beside(one) and one.endswith(".yaml")]


def _is_beside(name: str) -> bool:
    """
    Whether a file is one of those that belong to policies and are none. No policy can have such a
    file's name: a name has no dot, and `cases` is refused.
    """
    return name == f"{CASES}.yaml" or name.endswith((f".{CASES}.yaml", ".schema.json"))


def _open(path: str, extra: int, directory: int | None, name: str) -> int:
    try:
        return os.open(path, _FLAGS | extra, dir_fd=directory)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot be opened: {reason}"
        raise _refusal(name, message, "name the file itself, not a link to it") from error


_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY


def _check_owner(status: os.stat_result, name: str) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise _refusal(
            name,
            f"belongs to user {status.st_uid}",
            "a policy belongs to root or to the user that the server runs as: chown it",
        )
    if status.st_mode & stat.S_IWOTH:
        raise _refusal(name, "can be written by everybody", "take the right away: chmod o-w")


def _read(descriptor: int) -> bytes:
    """
    At most one byte more than is allowed, so that a file that grows is found out, not followed.
    """
    content = b""
    while part := os.read(descriptor, MAX_BYTES + 1 - len(content)):
        content += part
    return content


def _text(content: bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1024} KiB"
        raise _refusal(name, message, "a policy is short; split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}"
        raise _refusal(name, message, "save it as UTF-8") from error


def _refusal(name: str, message: str, hint: str) -> PolicyError:
    return PolicyError((_problem(name, message, hint),))


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(name, 0, 0, message, hint)
