"""
What a worker may ask about files: one row each in `PATH_ACTS`, decoded here from its frame.

A row turns an ask into an `Act`: the paths with everything that is wanted of them, how the record
goes with it, and what is done once all of that is allowed. Nothing here decides or records; that
is `gate.py`. An ask without a row is one that no correct worker sends.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.kernel import hostfiles
from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.hostfiles import Creation, Opening, Right, WriteHandle
from executor.kernel.limits import Quota
from executor.kernel.paths import HostTrees
from executor.kernel.places import FileStat, Kind, Place
from executor.kernel.ready import NotReady
from executor.kernel.walk import Decides
from policy.requests import FileAction, FileRequest
from policy.types import Decision, FileGrant


class Grade(Enum):
    """
    How an allowed act is recorded: not at all, before it is done, or on disk before it is done.

    Looking (stat, list, readlink) is recorded where it is denied. What it showed, an open shows
    again; and a listing of ten thousand files would be as many records that say nothing.
    """

    LOOK = "look"
    READ = "read"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Target:
    """
    A guest path and all that is wanted of it.
    """

    path: str
    actions: tuple[FileAction, ...]
    follow: bool = False

    @property
    def request(self) -> FileRequest:
        """
        What it is wanted for first and foremost.
        """
        return FileRequest(self.actions[0], self.path)


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of an act: the answer, and perhaps a file. `size` (bytes) is for the record.

    `descriptor` is read-only and for the worker; `handle` stays with the gate. Both together are
    one file, open for reading.
    """

    answer: frames_pb2.Answer
    descriptor: int | None = None
    handle: WriteHandle | None = None
    size: int | None = None

    def close(self) -> None:
        """
        Let go of the file.
        """
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self.handle is not None:
            self.handle.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """
    What acts need besides their frames: the held trees with their budgets, the policy's tables.
    """

    trees: HostTrees
    decides: Decides
    # What is read goes through the server, which captures it: no descriptor is passed.
    captures: bool = False

    def quota(self, grant: FileGrant) -> Quota:
        """
        The session's budget below a grant.
        """
        return self.trees.quotas[grant.mount]

    # Each of the three is tried `at_once` first and raises NotReady where it might have to wait.

    def locate(self, at_once: bool, act: "Act") -> tuple[Place, ...]:
        """
        Resolve all that an act names, every name on the way decided; the caller closes them.

        Raises GuestError with nothing left open.
        """
        if at_once and not act.tried:
            raise NotReady
        places: tuple[Place, ...] = ()
        try:
            for target in act.targets:
                places = (*places, self._place(target, at_once=at_once))
        except BaseException:
            close(places)
            raise
        return places

    def look(self, at_once: bool, act: "Act") -> Result:
        """
        Resolve and do an act that only looks.
        """
        places = self.locate(at_once, act)
        try:
            return act.perform(self, places)
        finally:
            close(places)

    def perform(self, at_once: bool, act: "Act", places: tuple[Place, ...]) -> Result:
        """
        Do what an act is about, at its `places`.
        """
        if at_once and not (act.tried and all(place.is_ready for place in places)):
            raise NotReady
        return act.perform(self, places)

    def _place(self, target: Target, *, at_once: bool) -> Place:
        return self.trees.locate(
            target.path,
            follow=target.follow,
            decides=self.decides,
            action=target.actions[0],
            also=target.actions[1:],
            at_once=at_once,
        )


@dataclass(frozen=True, slots=True)
class Act:
    """
    One decoded ask; `opens` says that it keeps a file open in the server, `lookup` that the kernel
    asks on its way to what the guest wants, `tried` that it may be quick enough to need no thread.
    """

    targets: tuple[Target, ...]
    grade: Grade
    perform: Callable[[Scene, tuple[Place, ...]], Result]
    opens: bool = False
    lookup: bool = False
    tried: bool = False

    @property
    def requests(self) -> tuple[FileRequest, ...]:
        """
        What has to be decided, in the order in which it is decided.
        """
        return tuple(
            [FileRequest(action, one.path) for one in self.targets for action in one.actions]
        )


def close(places: tuple[Place, ...]) -> None:
    """
    Let go of what an act was about.
    """
    for place in places:
        place.close()


def recorded(act: Act, places: tuple[Place, ...]) -> list[tuple[FileRequest, Decision]]:
    """
    What of an allowed act goes into the record: what each path is wanted for first and foremost
    (creating and emptying a file are part of writing it), and where links led, also that.
    """
    rows = []
    for target, place in zip(act.targets, places, strict=True):
        asked, count = target.request, len(target.actions)
        rows.append((asked, place.decisions[0]))
        if place.final != place.requested:
            rows.append((FileRequest(asked.action, place.final), place.decisions[count]))
    return rows


def unrecorded(act: Act, places: tuple[Place, ...]) -> Iterator[FileRequest]:
    """
    What else an allowed act is allowed, by the names that were asked and by those where links led.
    """
    for target, place in zip(act.targets, places, strict=True):
        for action in target.actions[1:]:
            for path in dict.fromkeys((target.path, place.final)):
                yield FileRequest(action, path)


def _stat(ask: frames_pb2.Ask) -> Act:
    target = Target(ask.stat.path, (FileAction.STAT,), ask.stat.follow)
    return Act((target,), Grade.LOOK, _status, tried=True)


def _lookup(ask: frames_pb2.Ask) -> Act:
    target = Target(ask.lookup, (FileAction.STAT,))
    return Act((target,), Grade.LOOK, _status, lookup=True, tried=True)


def _status(_: Scene, places: tuple[Place, ...]) -> Result:
    return Result(frames_pb2.Answer(status=file_status(hostfiles.stat(places[0]))))


def _list(ask: frames_pb2.Ask) -> Act:
    def perform(scene: Scene, places: tuple[Place, ...]) -> Result:
        found = hostfiles.list_directory(places[0], scene.decides)
        entries = [frames_pb2.Entry(name=one.name, kind=_KINDS[one.kind]) for one in found]
        return Result(frames_pb2.Answer(listing=frames_pb2.Listing(entries=entries)))

    target = Target(ask.list.path, (FileAction.LIST,), follow=True)
    return Act((target,), Grade.LOOK, perform)


def _read_link(ask: frames_pb2.Ask) -> Act:
    # Located by following: a link whose end the guest may not see is one it may not read.
    def perform(_: Scene, places: tuple[Place, ...]) -> Result:
        return Result(frames_pb2.Answer(link=hostfiles.read_link(places[0])))

    target = Target(ask.read_link.path, (FileAction.STAT,), follow=True)
    return Act((target,), Grade.LOOK, perform)


def _open(ask: frames_pb2.Ask) -> Act:
    return _open_to_write(ask.open) if _writes(ask.open) else _open_to_read(ask.open)


def _writes(ask: frames_pb2.OpenAsk) -> bool:
    return ask.write or ask.create or ask.exclusive or ask.truncate or ask.append


def _open_to_read(ask: frames_pb2.OpenAsk) -> Act:
    def perform(scene: Scene, places: tuple[Place, ...]) -> Result:
        descriptor = hostfiles.open_for_reading(places[0])
        if scene.captures:
            return _captured(places[0], descriptor, scene)
        handle = _kept(places[0], descriptor, scene) if ask.keep else None
        status = _status_of(places[0])
        opened = frames_pb2.Opened(passed=True, status=file_status(status))
        return Result(frames_pb2.Answer(opened=opened), descriptor, handle, status.size)

    target = Target(ask.path, (FileAction.READ,), not ask.no_follow)
    return Act((target,), Grade.READ, perform, opens=ask.keep, tried=True)


def _captured(place: Place, descriptor: int, scene: Scene) -> Result:
    """
    A file of which every byte that is read comes by a frame, so that it can be captured.
    """
    handle = _to_read(place, descriptor, scene)
    try:
        status = _status_of(place)
    except BaseException:
        handle.close()
        raise
    opened = frames_pb2.Opened(status=file_status(status))
    return Result(frames_pb2.Answer(opened=opened), handle=handle, size=status.size)


def _kept(place: Place, descriptor: int, scene: Scene) -> WriteHandle:
    """
    The same open file, for the server to read where who has the descriptor cannot wait.
    """
    try:
        held = os.dup(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise GuestError.from_host(error, f"read {place.requested}") from error
    return _to_read(place, held, scene)


def _to_read(place: Place, descriptor: int, scene: Scene) -> WriteHandle:
    quota = scene.quota(place.grant)
    return WriteHandle(Descriptor(descriptor), place.requested, place.grant, Right.READ, quota)


def _open_to_write(ask: frames_pb2.OpenAsk) -> Act:
    creation = Creation.IF_MISSING if ask.create else Creation.NEVER
    creation = Creation.EXCLUSIVE if ask.exclusive else creation
    opening = Opening(creation=creation, truncate=ask.truncate, append=ask.append, read=True)

    def perform(scene: Scene, places: tuple[Place, ...]) -> Result:
        handle = hostfiles.open_for_writing(places[0], opening, scene.quota(places[0].grant))
        opened = frames_pb2.Opened(status=file_status(handle.stat()))
        return Result(frames_pb2.Answer(opened=opened), handle=handle)

    target = Target(ask.path, opening.actions, opening.follow and not ask.no_follow)
    return Act((target,), Grade.CHANGE, perform, opens=True)


def _make_directory(ask: frames_pb2.Ask) -> Act:
    def perform(scene: Scene, places: tuple[Place, ...]) -> Result:
        hostfiles.make_directory(places[0], scene.quota(places[0].grant))
        return Result(frames_pb2.Answer())

    return _change(ask.make_directory, FileAction.MAKE_DIRECTORY, perform)


def _remove_file(ask: frames_pb2.Ask) -> Act:
    def perform(_: Scene, places: tuple[Place, ...]) -> Result:
        hostfiles.remove(places[0])
        return Result(frames_pb2.Answer())

    return _change(ask.remove_file, FileAction.REMOVE, perform)


def _remove_directory(ask: frames_pb2.Ask) -> Act:
    def perform(_: Scene, places: tuple[Place, ...]) -> Result:
        hostfiles.remove_directory(places[0])
        return Result(frames_pb2.Answer())

    return _change(ask.remove_directory, FileAction.REMOVE_DIRECTORY, perform)


def _rename(ask: frames_pb2.Ask) -> Act:
    def perform(scene: Scene, places: tuple[Place, ...]) -> Result:
        hostfiles.rename(places[0], places[1], scene.decides)
        return Result(frames_pb2.Answer())

    old = Target(ask.rename.old, (FileAction.RENAME,))
    new = Target(ask.rename.new, (FileAction.CREATE,))
    return Act((old, new), Grade.CHANGE, perform)


def _set_times(ask: frames_pb2.Ask) -> Act:
    def perform(_: Scene, places: tuple[Place, ...]) -> Result:
        hostfiles.set_times(places[0], time.time_ns(), ask.set_times.modified_ns)
        return Result(frames_pb2.Answer())

    target = Target(ask.set_times.path, (FileAction.SET_TIMES,), follow=True)
    return Act((target,), Grade.CHANGE, perform)


# ask                 decoded by          recorded
PATH_ACTS: Final[Mapping[str, Callable[[frames_pb2.Ask], Act]]] = MappingProxyType(
    {
        "stat": _stat,  # denials
        "lookup": _lookup,  # denials
        "list": _list,  # denials
        "read_link": _read_link,  # denials
        "open": _open,  # before reading; on disk before writing, its outcome at the close
        "make_directory": _make_directory,  # on disk
        "remove_file": _remove_file,  # on disk
        "remove_directory": _remove_directory,  # on disk
        "rename": _rename,  # on disk
        "set_times": _set_times,  # on disk
    }
)


def _change(
    path: str, action: FileAction, perform: Callable[[Scene, tuple[Place, ...]], Result]
) -> Act:
    return Act((Target(path, (action,)),), Grade.CHANGE, perform)


def file_status(status: FileStat) -> frames_pb2.FileStatus:
    """
    A status as the worker reads it.
    """
    return frames_pb2.FileStatus(
        kind=_KINDS[status.kind],
        size=status.size,
        modified_ns=max(0, status.mtime_ns),
        mode=status.mode,
    )


def _status_of(place: Place) -> FileStat:
    assert place.status is not None  # it has just been opened
    return FileStat.of(place.status, place.grant)


_KINDS: Final = {
    Kind.FILE: frames_pb2.KIND_FILE,
    Kind.DIRECTORY: frames_pb2.KIND_DIRECTORY,
    Kind.LINK: frames_pb2.KIND_LINK,
    Kind.FIFO: frames_pb2.KIND_OTHER,
    Kind.SOCKET: frames_pb2.KIND_OTHER,
    Kind.DEVICE: frames_pb2.KIND_OTHER,
}
