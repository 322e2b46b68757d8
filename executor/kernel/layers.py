"""
Where a session keeps what its transactions change: a directory of its own below the server's.

It is made with the session, a layer in it for each mount, and removed aside when the session is
over. What is left when the server ends is removed at its next start.
"""

from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from threading import Thread

from executor.kernel.descriptors import Descriptor, open_root
from executor.kernel.errors import SourceUnavailable
from executor.kernel.limits import Quota
from executor.transactions.layer import Layer
from executor.transactions.staging import settle
from policy.types import Access, FileGrant


def own_directory(
    grants: tuple[FileGrant, ...], state: str | None, opened: ExitStack
) -> str | None:
    """
    A directory for this session's changes below `state`, which `opened` removes with all that is
    in it; None without need, or without `state`. Raises SourceUnavailable.
    """
    grant = next((one for one in grants if one.access is Access.TRANSACTION), None)
    if state is None or grant is None:
        return None
    try:
        Path(state).mkdir(mode=0o700, exist_ok=True)
        directory = mkdtemp(prefix="session-", dir=state)
    except OSError as error:
        why = f"the server cannot make a directory for what changes: {error}"
        raise _unavailable(grant, why) from error
    opened.callback(_remove_aside, directory)
    return directory


def open_layer(
    grant: FileGrant, root: Descriptor, opened: ExitStack, directory: str | None, quota: Quota
) -> Layer:
    """
    The layer of a transaction whose source is `root`, in `directory`; `opened` closes it.

    Raises SourceUnavailable where there is none or it cannot be made, and Unrecoverable.
    """
    if directory is None:
        why = "this server has no directory of its own in which transactions keep what changes"
        raise _unavailable(grant, why)
    try:
        settle(root)  # the source may have come to this server after its start
        own = open_root(mkdtemp(prefix="layer-", dir=directory))
        opened.callback(own.close)
        layer = Layer(root, own, grant.mount, quota)
    except OSError as error:
        raise _unavailable(grant, f"no transaction can be begun there: {error}") from error
    opened.callback(layer.close)
    return layer


def _remove_aside(directory: str) -> None:
    """
    Remove what a session leaves, which may be many files, while the server goes on.
    """
    Thread(
        target=rmtree,
        name="changes",
        args=(directory,),
        kwargs={"ignore_errors": True},
        daemon=True,
    ).start()


def _unavailable(grant: FileGrant, why: str) -> SourceUnavailable:
    return SourceUnavailable(grant.mount, str(grant.rule), grant.source or "", why)
