"""
What a program needs of the file system before it does anything of its own.

A confined program may execute and read only what is named, so its file, the interpreters that
the kernel loads for it, the shared libraries and, for Python, its library have to be named.
Libraries are mapped and not executed (landlock(7) knows the right to execute for execve(2)
alone), so to read them is enough.
"""

import errno
import os
import shlex
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from executor.linux.errors import MechanismFailed, asking

MECHANISM = "program"

# The system's own software and what its libraries are configured with; nothing of any user's.
# The last three lines are for OpenSSL, which ends a program whose configuration it cannot read.
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/sys/devices/system/cpu",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/dev/urandom",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
)
_SHARED = frozenset({"site-packages", "dist-packages"})
# Of a script's first line the kernel reads this much (BINPRM_BUF_SIZE), and it follows scripts
# that are run by scripts this far (execve(2), "Interpreter scripts").
_FIRST_LINE = 256
_DEEPEST = 5
# Elf64_Ehdr up to e_phnum and Elf64_Phdr: see elf(5). 2 and 1: 64 bits, little endian.
_ELF = struct.Struct("<4s2B10x2HI3QI3H")
_SEGMENT = struct.Struct("<2I6Q")
_MAGIC = (b"\x7fELF", 2, 1)
_PT_INTERP = 3
_LONGEST_PATH = 4096


def started_by(program: Path, search: str) -> tuple[Path, ...]:
    """
    Every file that the kernel executes when `program` (absolute) is started, links resolved.

    That is the file, the interpreters of a script, what `env` in a script's first line finds in
    the directories `search` (as in PATH), and the dynamic loader of each. Raises MechanismFailed
    when one of them cannot be read, or scripts run scripts without end.
    """
    return tuple(dict.fromkeys(_real(path) for path in named_by(program, search)))


def named_by(program: Path, search: str) -> tuple[Path, ...]:
    """
    The same files by the names that the kernel looks them up by: links are not resolved.

    Raises as `started_by` does.
    """
    found: list[Path] = []
    waiting = [program]
    while waiting:
        if len(found) > 2 * _DEEPEST:
            raise MechanismFailed(MECHANISM, f"{program} starts {len(found)} files; name the last")
        path = waiting.pop()
        if path not in found:
            found.append(path)
            waiting += _interpreters(_real(path), search)
    return tuple(found)


def system_files() -> tuple[Path, ...]:
    """
    What every program may read: shared libraries, their cache and settings, as far as it is here.
    """
    return tuple(path for path in map(Path, _SYSTEM) if path.exists())


def library_path(value: str) -> tuple[Path, ...]:
    """
    The directories of a variable like LD_LIBRARY_PATH that exist, without relative ones.
    """
    named = map(Path, value.split(":"))
    return tuple(path for path in named if path.is_absolute() and path.is_dir())


def python_files(packages: Sequence[str]) -> tuple[Path, ...]:
    """
    What this Python reads to start and to import top-level `packages`: all of it installed code.

    Raises MechanismFailed for a package that is not installed.
    """
    return tuple(dict.fromkeys((*_own_library(), *_packages(packages))))


def python_directories(packages: Sequence[str]) -> tuple[Path, ...]:
    """
    The directories that are only listed to find `packages`: those that hold other things too.
    """
    return tuple(path for path in import_path(packages) if path.name not in _SHARED)


def import_path(packages: Sequence[str]) -> tuple[Path, ...]:
    """
    The directories from which this Python has top-level `packages`, for a PYTHONPATH.

    A confined Python needs them told: it may not read the list of users, by which the directory
    of a user's own packages is found. Raises MechanismFailed for a package that is absent.
    """
    return tuple(dict.fromkeys(place.parent for place in _places(packages)))


def _real(path: Path) -> Path:
    with asking(MECHANISM, f"looking for {path}", "name a program that is there"):
        return path.resolve(strict=True)


def _interpreters(path: Path, search: str) -> list[Path]:
    mend = "name a program that this user can read"
    with asking(MECHANISM, f"reading {path}", mend), path.open("rb") as file:
        head = file.read(_FIRST_LINE)
        return list(_of_script(head, search) if head.startswith(b"#!") else _of_elf(file))


def _of_script(head: bytes, search: str) -> Iterator[Path]:
    words = head.partition(b"\n")[0][2:].decode("utf-8", "surrogateescape").split(None, 1)
    if not words:
        return
    yield Path(words[0])
    if Path(words[0]).name == "env" and len(words) > 1:
        # "env node", or "env -S node --flag".
        names = [word for word in shlex.split(words[1]) if not word.startswith("-")]
        found = shutil.which(names[0], path=search) if names else None
        if found is not None:
            yield Path(found)


def _of_elf(file: BinaryIO) -> Iterator[Path]:
    file.seek(0)
    head = file.read(_ELF.size)
    if len(head) < _ELF.size:
        return
    magic, width, order, *rest = _ELF.unpack(head)
    if (magic, width, order) != _MAGIC:
        return
    start, size, count = rest[4], rest[8], rest[9]
    for number in range(count):
        file.seek(start + number * size)
        segment = file.read(_SEGMENT.size)
        if len(segment) < _SEGMENT.size:
            raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))
        kind, _, offset, _, _, length, _, _ = _SEGMENT.unpack(segment)
        if kind == _PT_INTERP and length <= _LONGEST_PATH:
            file.seek(offset)
            yield Path(os.fsdecode(file.read(length).rstrip(b"\0")))


def _own_library() -> Iterator[Path]:
    candidates = (
        Path(os.__file__).parent,
        Path(sys.base_prefix, "lib"),
        Path(sys.base_prefix, "lib64"),
        # What tells an interpreter that it is that of a virtual environment.
        Path(sys.prefix, "pyvenv.cfg"),
    )
    return (path for path in candidates if path.exists())


def _packages(packages: Sequence[str]) -> Iterator[Path]:
    # A directory of installed packages is code and nothing else, and its .pth files say where
    # further packages are; of any other directory only the package itself is needed.
    for place in _places(packages):
        yield place.parent if place.parent.name in _SHARED else place


def _places(packages: Iterable[str]) -> Iterator[Path]:
    for name in packages:
        spec = find_spec(name)
        found = map(Path, (spec.submodule_search_locations or ()) if spec else ())
        # Finders of editable installations put words among the directories that are none.
        directories = [place for place in found if place.is_dir()]
        if not directories:
            raise MechanismFailed(MECHANISM, f"the package {name} is not installed; install it")
        yield from directories
