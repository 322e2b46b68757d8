"""
The walk: one guest path, from the held root of its grant, one component at a time.

Its rules are told at the top of `paths.py`. It keeps a descriptor for every directory that it
came through, so `..` in a link goes back to where the walk has been, wherever that directory may
have been moved meanwhile, and never asks the kernel for a parent (which could be outside).
"""

import errno
from types import TracebackType
from typing import Protocol, Self

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.places import Kind, Place
from executor.transactions.places import STAGING
from policy.requests import FileAction, FileRequest
from policy.types import Access, Decision, FileGrant

MAX_PATH = 4096  # bytes; PATH_MAX of Linux
MAX_COMPONENT = 255  # bytes; NAME_MAX of Linux
MAX_DEPTH = 64  # components below the mount; each is a held descriptor
MAX_LINKS = 40  # as in path_resolution(7)
MAX_STEPS = 1024  # names looked at in one walk, so that links of links cannot keep us busy


class Decides(Protocol):
    """
    What the boundary needs of a compiled policy.
    """

    def decide(self, request: FileRequest, /) -> Decision:
        """
        The answer to one act on one guest path.
        """

    def may_hide(self, path: str, /) -> bool:
        """
        Whether any denial could match something beneath `path`.
        """


class Walk:
    """
    One resolution: the names from the mount down to where it stands, and what holds each.

    Leaving the `with` block closes whatever no place has taken.
    """

    __slots__ = (
        "_asked",
        "_decides",
        "_grant",
        "_held",
        "_link",
        "_links",
        "_names",
        "_pending",
        "_steps",
    )

    def __init__(
        self, grant: FileGrant, root: Descriptor, decides: Decides, asked: FileRequest
    ) -> None:
        self._grant = grant
        self._decides = decides
        self._asked = asked
        self._held = [root]
        self._names: list[str] = []
        self._pending: list[str] = []  # reversed: the next component is the last
        self._link: str | None = None
        self._links = 0
        self._steps = 0

    @property
    def final(self) -> str:
        """
        The guest path of where the walk stands.
        """
        return "/".join([self._grant.mount, *self._names])

    def run(self, path: str, *, follow: bool) -> bool:
        """
        Walk `path`, which lies below the mount; the answer is whether its last name is missing.
        """
        below = path[len(self._grant.mount) :]
        self._pending = [name for name in reversed(below.split("/")) if name]
        while self._pending:
            self._count_step()
            name = self._pending.pop()
            if name == ".":
                self._require_directory()
            elif name == "..":
                self._go_up()
            elif not self._go_down(name, follow=follow):
                return True
        return False

    def place(
        self, actions: tuple[FileAction, ...], decisions: tuple[Decision, ...], missing: bool
    ) -> Place:
        """
        The place where the walk has ended; it takes over the two descriptors that it needs.
        """
        target = None if missing else self._held[-1]
        status = None if target is None else target.status()
        if target is not None:
            self._held.pop()
        return Place(
            grant=self._grant,
            requested=self._asked.path,
            final=self.final,
            actions=actions,
            decisions=decisions,
            parent=self._held.pop() if self._names else None,
            name=self._names[-1].encode() if self._names else b"",
            target=target,
            status=status,
            link=self._link,
        )

    def _go_down(self, name: str, *, follow: bool) -> bool:
        self._names.append(name)
        path = self.final
        self._check_name(path)
        _decide(self._decides, FileRequest(FileAction.STAT, path), self._asked)
        if name == STAGING:  # where a commit keeps what it puts in place: nobody's business
            raise self._fails(errno.ENOENT)
        try:
            child = self._held[-1].step(name.encode())
        except FileNotFoundError as error:
            if self._pending:
                raise self._fails(errno.ENOENT) from error
            return False
        except OSError as error:
            if error.errno == errno.EXDEV:  # a mount point, of which the guest is not told
                raise self._fails(errno.ENOENT) from error
            raise GuestError.from_host(error, str(self._asked)) from error
        self._held.append(child)
        if (follow or self._pending) and Kind.of(child.status()) is Kind.LINK:
            self._expand()
        return True

    def _go_up(self) -> None:
        self._require_directory()
        if not self._names:
            raise self._fails(errno.ENOENT)
        self._names.pop()
        self._held.pop().close()

    def _expand(self) -> None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise self._fails(errno.ELOOP)
        text = self._read_link()
        if self._link is None and not self._pending:
            self._link = text
        self._names.pop()
        self._held.pop().close()
        if text.startswith("/"):
            self._go_to_root()
            text = self._below_mount(text)
        components = [name for name in text.split("/") if name]
        if text.endswith("/"):
            components.append(".")  # `link -> file/` is ENOTDIR
        self._pending.extend(reversed(components))

    def _read_link(self) -> str:
        try:
            return self._held[-1].link_text().decode()
        except UnicodeDecodeError as error:
            # No rule can speak of such a name, so none can allow it.
            raise self._fails(errno.ENOENT) from error

    def _go_to_root(self) -> None:
        self._names.clear()
        while len(self._held) > 1:
            self._held.pop().close()

    def _below_mount(self, target: str) -> str:
        pure = "/" + "/".join(name for name in target.split("/") if name not in {"", "."})
        if not covers(self._grant.mount, pure):
            raise self._fails(errno.ENOENT)
        tail = "/." if target.endswith(("/", "/.")) else ""
        return pure[len(self._grant.mount) :] + tail

    def _require_directory(self) -> None:
        if Kind.of(self._held[-1].status()) is not Kind.DIRECTORY:
            raise self._fails(errno.ENOTDIR)

    def _check_name(self, path: str) -> None:
        # Link targets are as long as the host made them.
        too_deep = len(self._names) > MAX_DEPTH or len(path.encode()) > MAX_PATH
        if too_deep or len(self._names[-1].encode()) > MAX_COMPONENT:
            raise self._fails(errno.ENAMETOOLONG)

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._fails(errno.ELOOP)

    def _fails(self, number: int) -> GuestError:
        return GuestError.of(number, str(self._asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._held:
            self._held.pop().close()


def decide_all(
    decides: Decides, actions: tuple[FileAction, ...], path: str, asked: FileRequest
) -> tuple[Decision, ...]:
    """
    The decisions on every act on `path`, all of which allow it.

    Raises GuestError for the first that does not. Its text names `asked`, the act and path as
    the guest put them, so that a name behind a link stays unknown.
    """
    return tuple(_decide(decides, FileRequest(action, path), asked) for action in actions)


def _decide(decides: Decides, request: FileRequest, asked: FileRequest) -> Decision:
    decision = decides.decide(request)
    if decision.allowed:
        return decision
    if decision.absent:
        raise GuestError.of(errno.ENOENT, str(asked), decision)
    read_only = decision.grant is not None and decision.grant.access is Access.READ
    raise GuestError(errno.EROFS if read_only else errno.EACCES, decision.reason, decision)


def covers(mount: str, path: str) -> bool:
    """
    Whether `path` is `mount` or lies below it, by whole components: /data has no /data-secret.
    """
    return path == mount or path.startswith(mount + "/")
