"""
The sole file boundary: what a guest path means on the host, and whether it may mean that.

A path comes from a worker, which may be hostile. It is checked as text, decided as a name, and
then walked one component at a time from the held root of the grant. The walk never hands the
kernel more than one name, so there is nothing for the kernel to resolve on its own:

- Links are read from their own descriptor and expanded here. A target means what it would mean to
  the guest: an absolute one counts from the guest's root, so it resolves only when it stays below
  the mount, and `..` goes back along the descriptors that the walk holds, never above the root.
  Whatever leads out of the mount, also into another mount, is absent.
- Every name that the walk comes to is decided before it is touched, and the name that was asked
  and the name that was found must both allow every act. So no alias walks around a denial, and
  nothing that lies behind a denied name shows in an errno.
- A denied name, a name outside all grants and a name that is missing give the same error. The
  decision travels beside it, for the record.
- A file system mounted below a granted root is no part of the grant: the host may mount anything
  there later (a grant is one tree of one file system). It looks absent, too.

What comes back is a `Place` (`places.py`): the object itself, held, and the directory in which
its name stands. Acts (`hostfiles.py`) take places and look nothing up again but that last name.
The walk is `walk.py`, its single step `descriptors.py`.

Not promised here: what other processes of the host do. A directory that they move out of the
root while a place holds it stays reachable for the one act that was under way. A hard link to a
file elsewhere, made by someone who may write in the tree, is a file of the tree; `hostfiles.py`
reads such files and does not change them. Where the same directory is granted by two policies,
each session sees it as its own policy says.

A file system that takes two spellings for one name (ignoring case, or folding Unicode forms: FAT,
CIFS, a directory marked casefold, the shared folders of desktop virtual machines) makes aliases
that no rule about names can see. On those, grant a directory that holds nothing to deny.

Rejected: one openat2(2) for the whole path with RESOLVE_IN_ROOT. It is quicker, and it follows
`readme.txt -> private/x.key` without telling anyone (the tests compare the two).
"""

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock

from executor.kernel.descriptors import Closing, Descriptor, open_root
from executor.kernel.errors import GuestError, InternalError, SourceUnavailable
from executor.kernel.layers import open_layer, own_directory
from executor.kernel.limits import Quota
from executor.kernel.places import Kind, Place
from executor.kernel.ready import NotReady, Ready, is_in_memory, require_shallow
from executor.kernel.walk import (
    MAX_COMPONENT,
    MAX_DEPTH,
    MAX_PATH,
    Decides,
    Walk,
    covers,
    decide_all,
)
from executor.transactions.layer import Layer
from executor.transactions.merged import Merged
from policy.requests import FileAction, FileRequest
from policy.types import Access, FileGrant

__all__ = ["Decides", "HostTrees", "Kind", "Place", "check_path"]


@dataclass(frozen=True, slots=True)
class _Tree:
    grant: FileGrant
    root: Descriptor | None  # None: memory of the session, which the worker serves
    layer: Layer | None = None  # what the session has changed, where the mount is a transaction
    in_memory: bool = False  # what is there may be looked at without a thread


class HostTrees(Closing):
    """
    The granted host directories of one session, each opened once and held.

    A root that is renamed or replaced by a link afterwards is still the directory that it was.
    `grants` are all file grants of the policy, scratch included, because a scratch mount hides
    what is below it. `state` is an absolute path of the server's own, in which transactions
    keep what the session changes, made when it is needed; without it a policy that has one is
    refused. `quotas` are the budgets of the grants, by mount. Raises SourceUnavailable, with
    nothing left open, where a source cannot be held as a directory, or where a mount lies below a
    granted host directory: two rules for one object. Raises ExecutorError when the kernel lacks
    openat2(2).
    """

    def __init__(self, grants: tuple[FileGrant, ...], state: str | None = None) -> None:
        self._lock = Lock()
        self._closed = False
        _refuse_overlaps(grants)
        self.quotas = {grant.mount: Quota(grant) for grant in grants}
        with ExitStack() as opened:
            directory = own_directory(grants, state, opened)
            trees = [
                _open_tree(grant, opened, directory, self.quotas[grant.mount]) for grant in grants
            ]
            self._own = opened.pop_all()
        # The longest mount that covers a path is the first one here that does.
        self._trees = sorted(trees, key=lambda tree: len(tree.grant.mount), reverse=True)

    def locate(
        self,
        path: str,
        *,
        follow: bool,
        decides: Decides,
        action: FileAction,
        also: tuple[FileAction, ...] = (),
        at_once: bool = False,
    ) -> Place:
        """
        Resolve the absolute guest path `path` and hold what it names.

        `action` and every act in `also` must be allowed; `follow` says whether a link at the
        last component is followed. A last component that is missing gives a place without target:
        whether that is an error is for the act to say. `at_once` waits for no disk and no server,
        and raises NotReady where it would have to.

        Raises GuestError: EINVAL or ENAMETOOLONG for a path that no correct worker sends; ENOENT
        for what is denied, outside the grants or missing; EROFS or EACCES for an act that the
        grant does not allow; ELOOP, ENOTDIR, and what else path_resolution(7) names.
        """
        check_path(path)
        if at_once:
            require_shallow(path)
        actions, asked = (action, *also), FileRequest(action, path)
        decisions = decide_all(decides, actions, path, asked)
        tree, root = self._root_of(asked, at_once=at_once)
        with Walk(tree.grant, root, decides, asked) as walk:
            missing = walk.run(path, follow=follow)
            if walk.final != path:
                decisions += decide_all(decides, actions, walk.final, asked)
            return walk.place(actions, decisions, missing)

    def close(self) -> None:
        """
        Let go of all roots; places that were located before stay usable.
        """
        with self._lock:
            self._closed = True
            self._own.close()

    @property
    def sources(self) -> tuple[str, ...]:
        """
        Where the granted host directories lie now; no guest is told.
        """
        return tuple(tree.root.host_path for tree in self._trees if tree.root is not None)

    def layer(self, mount: str) -> Layer:
        """
        What the session has changed below the mount of a transaction. Raises InternalError where
        it is none.
        """
        layers = (tree.layer for tree in self._trees if tree.grant.mount == mount)
        if (layer := next(layers, None)) is None:
            raise InternalError(f"{mount} is no transaction")
        return layer

    def _root_of(self, asked: FileRequest, *, at_once: bool) -> tuple[_Tree, Descriptor]:
        # Duplicated under the lock: a walk never starts from a number that close() gave back
        # and that by now may be the root of another session.
        with self._lock:
            if self._closed:
                raise InternalError("a file was asked for after the session's trees were closed")
            for tree in self._trees:
                if covers(tree.grant.mount, asked.path):
                    if tree.root is None:
                        break
                    layer = tree.layer
                    if at_once and not tree.in_memory:
                        raise NotReady
                    if at_once:
                        return tree, Ready(os.dup(tree.root.number))
                    return tree, tree.root.duplicate() if layer is None else Merged.root(layer)
        raise GuestError.of(errno.ENOENT, str(asked))


def check_path(path: str) -> None:
    """
    Refuse a guest path that a correct worker would not have sent.

    Raises GuestError: EINVAL unless it is absolute, normalised (no empty component, `.`, `..`
    or `/` at the end), without NUL, and UTF-8; ENAMETOOLONG beyond the limits above.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise GuestError(errno.EINVAL, "a path is UTF-8; this one has lone surrogates") from error
    if len(encoded) > MAX_PATH:
        raise GuestError(
            errno.ENAMETOOLONG, f"a path of {len(encoded)} bytes; at most {MAX_PATH} are allowed"
        )
    components = encoded.split(b"/")[1:]
    if not encoded.startswith(b"/") or b"\0" in encoded or {b"", b".", b".."} & {*components}:
        raise GuestError(
            errno.EINVAL, f"{path!r} is not a normalised absolute path: send /name/name, no dots"
        )
    if len(components) > MAX_DEPTH or max(map(len, components)) > MAX_COMPONENT:
        raise GuestError(
            errno.ENAMETOOLONG,
            f"a path has at most {MAX_DEPTH} components of {MAX_COMPONENT} bytes each",
        )


def _refuse_overlaps(grants: tuple[FileGrant, ...]) -> None:
    for grant in grants:
        if grant.source is None:
            continue
        for other in grants:
            if other is not grant and covers(grant.mount, other.mount):
                raise SourceUnavailable(
                    grant.mount,
                    str(grant.rule),
                    grant.source,
                    f"{other.rule} mounts {other.mount} below it; only scratch may hold mounts",
                )


def _open_tree(grant: FileGrant, opened: ExitStack, directory: str | None, quota: Quota) -> _Tree:
    if grant.source is None:
        return _Tree(grant, None)
    try:
        root = open_root(grant.source)
    except (OSError, ValueError) as error:
        why = f"{error}; it must be a directory that the server's user may enter"
        raise SourceUnavailable(grant.mount, str(grant.rule), grant.source, why) from error
    opened.callback(root.close)
    if grant.access is not Access.TRANSACTION:
        return _Tree(grant, root, in_memory=is_in_memory(root))
    return _Tree(grant, root, open_layer(grant, root, opened, directory, quota))
