"""
Reading the secrets that this broker injects: once, at its start, with the rights it starts with.

A secret is a file of one line in the directory that the server was started with. The server
knows names alone; this process reads the content, keeps it in its memory, and gives up the right
to read it again. Who may change or read a file is part of what the file says, so a secret that
others of the host can read or replace is an error and not a secret. Symbolic links are followed,
since secret stores of clusters are made of them: what counts is the file that was opened, and
that nobody else can put a name into the directory.
"""

import errno
import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from executor.network.http.hidden import MOST_PARTS, count_parts

SECRET_MAX: Final = 8192
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PRINTABLE: Final = re.compile(rb"[\x20-\x7e]{1,8192}")
_OF_OTHERS: Final = 0o077
_CHANGED_BY_OTHERS: Final = 0o022


class SecretUnusable(Exception):
    """
    A secret is not there or not as it must be; the message names it, never its content.
    """


def read_secrets(
    directory: Path | None, names: Collection[str], owners: Collection[int]
) -> Mapping[str, bytes]:
    """
    The content of each secret of `names` in `directory`, without one newline at its end.

    `owners` are the user ids that the files and the directory may belong to. Raises
    SecretUnusable for a name that is none, a file that is missing, not regular, over 8 KiB,
    empty or not printable ASCII, or that others may read or change.
    """
    if not names:
        return {}
    if directory is None:
        raise SecretUnusable(f"the policy uses {sorted(names)}; start the server with --secrets")
    held = _open_directory(directory, owners)
    try:
        return {name: _read(held, name, owners) for name in names}
    finally:
        os.close(held)


def _open_directory(directory: Path, owners: Collection[int]) -> int:
    try:
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SecretUnusable(
            f"the directory {directory} cannot be opened ({error.strerror}); see --secrets"
        ) from error
    status = os.fstat(held)
    # A sticky directory lets others add names, and a missing secret would be theirs.
    if status.st_uid not in owners or status.st_mode & _CHANGED_BY_OTHERS:
        os.close(held)
        raise SecretUnusable(
            f"the directory {directory} belongs to user {status.st_uid} with mode"
            f" {stat.S_IMODE(status.st_mode):o}; make it the server's own, writable by nobody else"
        )
    return held


def _read(directory: int, name: str, owners: Collection[int]) -> bytes:
    if not _NAME.fullmatch(name):
        raise SecretUnusable(f"{name!r} is no name of a secret; use a-z, 0-9, '.', '_' and '-'")
    try:
        # Non-blocking, or a FIFO would hold the start for ever.
        held = os.open(
            name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory
        )
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "an error")
        raise SecretUnusable(
            f"the secret {name} cannot be opened ({code}); put a file of that name into the"
            " directory of --secrets"
        ) from error
    try:
        _check(name, os.fstat(held), owners)
        data = os.read(held, SECRET_MAX + 2)
    finally:
        os.close(held)
    return _content(name, data)


def _check(name: str, status: os.stat_result, owners: Collection[int]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretUnusable(
            f"the secret {name} is {stat.filemode(status.st_mode)}; a secret is a regular file"
        )
    if status.st_uid not in owners:
        raise SecretUnusable(
            f"the secret {name} belongs to user {status.st_uid}; it must belong to root, to who"
            " starts the server or to its account"
        )
    if status.st_mode & _OF_OTHERS:
        raise SecretUnusable(
            f"the secret {name} has mode {stat.S_IMODE(status.st_mode):o}; take the rights of"
            " group and others away (chmod 600)"
        )


def _content(name: str, data: bytes) -> bytes:
    content = data.removesuffix(b"\n")
    if not _PRINTABLE.fullmatch(content):
        raise SecretUnusable(
            f"the secret {name} is not one line of 1 to {SECRET_MAX} printable ASCII characters"
        )
    if (parts := count_parts(content)) > MOST_PARTS:
        raise SecretUnusable(
            f"the secret {name} has {parts} parts between white space and colons, which have to be"
            f" looked for in answers; {MOST_PARTS} can be"
        )
    return content
