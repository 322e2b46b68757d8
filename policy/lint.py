"""
What is wrong with a policy although each of its values is right: grants that together, or by
where they lie, give away more than anybody means. Each finding is an error; there is no warning
that a busy administrator could overlook.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

from policy.document import Path
from policy.errors import shown
from policy.globs import GlobSet
from policy.paths import dangerous_source, is_within
from policy.types import Access, Deny, FileGrant
from policy.units import show_size
from policy.values import said

Resolver = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that is wrong with the value at `path` of the document, or `on_key` with its key.
    """

    path: Path
    message: str
    hint: str
    on_key: bool = False


class PlacedApproval(Enum):
    """
    What an entry says at `approval`: nothing, something, or `none` where an approver commits.
    """

    UNSAID = "unsaid"
    SAID = "said"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Placed:
    """
    A grant with the index of its entry in `filesystem`, and what its file says of a quota;
    `denied` says that an entry of `deny` hides something below it, `commit_by` that the file says
    who commits; `gates` are the names that it gives.
    """

    index: int
    grant: FileGrant
    quota: int | None = None
    max_files: int | None = None
    denied: bool = False
    commit_by: bool = False
    approval: PlacedApproval = PlacedApproval.UNSAID
    gates: tuple[str, ...] = ()

    def at(self, key: str) -> Path:
        """
        The path of one of the entry's keys.
        """
        return ("filesystem", self.index, key)


def grant_findings(
    grants: list[Placed], protected: tuple[str, ...], scratch: int, resolve: Resolver
) -> Iterator[Finding]:
    """
    What is wrong with grants, alone and in pairs.

    `protected` are absolute paths of the server, `scratch` the limit of memory files in bytes;
    `resolve` follows symbolic links where the caller may touch the file system.
    """
    for placed in grants:
        yield from _own_source_findings(placed, protected, resolve)
        yield from _meaningless_findings(placed, scratch)
    for first, second in combinations(grants, 2):
        yield from _mount_findings(first, second)
        yield from _alias_findings(first, second, resolve)


def _own_source_findings(
    placed: Placed, protected: tuple[str, ...], resolve: Resolver
) -> Iterator[Finding]:
    source = placed.grant.source
    writable = placed.grant.access.writes
    if source is not None:
        yield from source_findings(placed.at("source"), source, protected, resolve, writable)


def source_findings(
    at: Path, source: str, protected: tuple[str, ...], resolve: Resolver, writable: bool
) -> Iterator[Finding]:
    """
    What is wrong with one host directory as a source, by its name and by where links lead.
    """
    for path in dict.fromkeys((source, resolve(source))):
        if problem := dangerous_source(path, protected, writable=writable):
            yield Finding(at, f"dangerous grant: {shown(problem[0])}", problem[1])
            return


def _meaningless_findings(placed: Placed, scratch: int) -> Iterator[Finding]:
    """
    A key without effect is a misunderstanding: its author believes in a bound or a right.
    """
    if placed.grant.access is Access.READ:
        if placed.grant.source is None:
            yield Finding(
                placed.at("access"),
                "scratch memory that nobody writes stays empty",
                "write read-write, or name a directory of the host as source",
            )
        for key, value in (("quota", placed.quota), ("max_files", placed.max_files)):
            if value is not None:
                hint = "remove it, or grant read-write"
                yield Finding(placed.at(key), "has no meaning for a read grant", hint)
    if placed.grant.source is None and placed.grant.access is Access.TRANSACTION:
        yield Finding(
            placed.at("access"),
            "memory of the session has no base that a commit could change",
            "write read-write, or name a directory of the host as source",
        )
    if placed.commit_by and placed.grant.access is not Access.TRANSACTION:
        yield Finding(
            placed.at("commit_by"),
            "has a meaning for transactions alone",
            "remove it, or write `access: transaction`",
        )
    yield from _approval_findings(placed)
    if placed.grant.source is None and placed.grant.deny:
        yield Finding(
            placed.at("deny"),
            "memory of the session begins empty and has nothing to hide: nothing would enforce it",
            "remove it, or name a directory of the host as source",
        )
    if _is_scratch(placed) and placed.grant.quota > scratch:
        yield Finding(
            placed.at("quota" if placed.quota is not None else "source"),
            f"{show_size(placed.grant.quota)} is more than limits.scratch, {show_size(scratch)}",
            "raise limits.scratch or lower the quota",
        )


def _approval_findings(placed: Placed) -> Iterator[Finding]:
    if placed.approval is PlacedApproval.CONTRADICTED:
        hint = "leave `approval` out, or write `commit_by: client`"
        message = "says none, and `commit_by: approver` wants one for each commit"
        yield Finding(placed.at("approval"), message, hint)
    if placed.approval is PlacedApproval.SAID and placed.grant.access is not Access.TRANSACTION:
        hint = "remove it, or write `access: transaction`"
        yield Finding(placed.at("approval"), "has a meaning for transactions alone", hint)


def _is_scratch(placed: Placed) -> bool:
    return placed.grant.source is None and placed.grant.access is Access.READ_WRITE


def _mount_findings(first: Placed, second: Placed) -> Iterator[Finding]:
    outer, inner = sorted((first, second), key=lambda placed: len(placed.grant.mount))
    if outer.grant.mount == inner.grant.mount:
        yield Finding(
            second.at("mount"),
            f"{shown(second.grant.mount)} is mounted twice",
            "give each grant a mount of its own",
        )
    elif is_within(inner.grant.mount, outer.grant.mount) and outer.grant.source is not None:
        yield Finding(
            inner.at("mount"),
            f"{shown(inner.grant.mount)} lies in {shown(outer.grant.mount)}, which is on the host",
            "mounts may lie in scratch mounts only: move one of them",
        )


def _alias_findings(first: Placed, second: Placed, resolve: Resolver) -> Iterator[Finding]:
    """
    Two names for one host file would let the looser grant undo the stricter one.
    """
    if first.grant.source is None or second.grant.source is None:
        return
    one, other = resolve(first.grant.source), resolve(second.grant.source)
    if not (is_within(one, other) or is_within(other, one)):
        return
    if all(_is_plain_read(placed) for placed in (first, second)):
        return
    yield Finding(
        second.at("source"),
        f"overlaps the source of {first.grant.rule.name}: one file under two sets of rights",
        "sources may overlap only where both are granted for reading, without `deny`",
    )


def _is_plain_read(placed: Placed) -> bool:
    return placed.grant.access is Access.READ and not placed.grant.deny and not placed.denied


def hides_below(deny: Deny, mount: str) -> bool:
    """
    Whether an entry of `deny` matches the mount, or could match a name below it.
    """
    return GlobSet((deny.path[1:],)).may_match_below(mount[1:])


def deny_findings(
    denies: Sequence[tuple[int, Deny]], grants: Sequence[Placed]
) -> Iterator[Finding]:
    """
    Entries of `deny`, with their indexes, that hide nothing, and entries that stand there twice.
    """
    seen: dict[str, int] = {}
    for index, deny in denies:
        path: Path = ("deny", index, "path")
        if deny.path in seen:
            message = f"{said(deny.path)} stands here twice; the first is deny[{seen[deny.path]}]"
            yield Finding(path, message, "remove one of them")
        seen.setdefault(deny.path, index)
        hosts = [one.grant.mount for one in grants if one.grant.source is not None]
        if not any(hides_below(deny, mount) for mount in hosts):
            yield Finding(
                path,
                f"{said(deny.path)} hides nothing: no directory of the host is mounted there",
                "correct the path, or remove the entry; memory of the session begins empty and "
                "has nothing to hide",
            )


def image_findings(images: Sequence[object]) -> Iterator[Finding]:
    """
    Images that stand in the list twice: which of the two was meant to be something else?
    """
    for index, image in enumerate(images):
        if isinstance(image, str) and (first := images.index(image)) < index:
            yield Finding(
                ("image", index),
                f"`{shown(image, 40)}` stands here twice; the first is image[{first}]",
                "remove one of them",
            )


def environment_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """
    Variables that steer the guest's interpreter or loader instead of its program, and bad names.

    Sources: environ(7), ld.so(8), the environment variables of CPython's `Doc/using/cmdline.rst`.
    """
    for name, value in environment.items():
        path: Path = ("environment", name)
        if not _VARIABLE.fullmatch(name):
            hint = "a name is 1 to 64 of A-Z, 0-9 and _, not starting with a digit"
            yield Finding(path, f"{shown(name, 40)!r} is no name of a variable", hint, on_key=True)
        elif name in _RESERVED or name.startswith(_RESERVED_STARTS):
            hint = "choose another name: this one steers the interpreter or the system"
            yield Finding(path, f"`{name}` is reserved", hint, on_key=True)
        if len(value) > 4096 or not all(char.isprintable() for char in value):
            hint = "a value has at most 4096 printable characters"
            yield Finding(path, "the value is too long or cannot be printed", hint)


_VARIABLE = re.compile("[A-Z_][A-Z0-9_]{0,63}", re.ASCII)
_RESERVED = frozenset(
    {
        *("HOME", "HOSTNAME", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "USER", "_"),
        *("BASH", "ENV", "IFS", "TEMP", "TERMINFO", "TMP", "TMPDIR"),
        *("GCONV_PATH", "LANG", "LANGUAGE", "LOCPATH", "NLSPATH"),
    }
)
_RESERVED_STARTS = (
    "BASH_",
    "CODECAGE",
    "GLIBC_",
    "LC_",
    "LD_",
    "MALLOC_",
    "PYODIDE",
    "PYTHON",
    "WASM",
)
