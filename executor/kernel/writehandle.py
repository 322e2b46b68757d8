"""
A host file that is open for writing: it stays in the broker, and the worker has a number for it.

The descriptor itself is never sent, because a writable one carries far more than writing
(fchmod, utimes, locks) and could not be counted or taken back.
"""

import errno
import os
from enum import Flag, auto

from executor.kernel.descriptors import Closing, Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.limits import Quota
from executor.kernel.places import FileStat
from policy.types import FileGrant

MAX_TRANSFER = 2**20  # bytes in one read or write; a frame is not larger either
MAX_OFFSET = 2**62  # below off_t's limit also after adding a transfer


class Right(Flag):
    """
    What a handle may be used for, fixed when it is opened (open(2): the access mode, O_APPEND).
    """

    READ = auto()
    WRITE = auto()
    APPEND = auto()


class WriteHandle(Closing):
    """
    An open regular file below a grant, with the rights of its opening.

    Bytes that make the file longer are taken from `quota` first. One operation at a time: the
    session that owns the handle has one outstanding. Another session may write the same file;
    then a size seen here may be old, and growth is charged to either session or to both, but a
    file never grows beyond what it was at first plus what has been charged for it.
    """

    __slots__ = ("_descriptor", "_path", "_quota", "_written", "grant", "rights")

    def __init__(
        self, descriptor: Descriptor, path: str, grant: FileGrant, rights: Right, quota: Quota
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._quota = quota
        self._written = 0
        self.grant = grant
        self.rights = rights

    @property
    def written(self) -> int:
        """
        Bytes written through this handle so far.
        """
        return self._written

    def read_at(self, size: int, offset: int) -> bytes:
        """
        Up to `size` bytes (0 to 2**20) from `offset` (0 to 2**62); fewer at the end (pread(2)).

        Raises GuestError: EBADF without `Right.READ`, EINVAL out of range.
        """
        self._require(Right.READ)
        self._require_range(size, MAX_TRANSFER)
        self._require_range(offset, MAX_OFFSET)
        try:
            return os.pread(self._descriptor.number, size, offset)
        except OSError as error:
            raise GuestError.from_host(error, f"read {self._path}") from error

    def write_at(self, data: bytes, offset: int) -> int:
        """
        Write `data` (at most 2**20 bytes) at `offset` (0 to 2**62); how many were written
        (pwrite(2)).

        Raises GuestError: EBADF without `Right.WRITE` or on a handle that appends, EINVAL out of
        range, EDQUOT where the quota does not hold the growth, ENOSPC and the like of the host.
        """
        self._require(Right.WRITE)
        if Right.APPEND in self.rights:
            # pwrite(2), BUGS: with O_APPEND Linux ignores the offset. Nobody gets to rely on it.
            raise self._fails(errno.EBADF)
        self._require_range(len(data), MAX_TRANSFER)
        self._require_range(offset, MAX_OFFSET)
        growth = max(0, offset + len(data) - self._size()) if data else 0
        return self._charged_write(data, offset, growth)

    def append(self, data: bytes) -> int:
        """
        Write `data` (at most 2**20 bytes) at the end, wherever that is by then (O_APPEND).

        Raises GuestError as `write_at` does; EBADF on a handle that was not opened to append.
        """
        self._require(Right.WRITE | Right.APPEND)
        self._require_range(len(data), MAX_TRANSFER)
        return self._charged_write(data, None, len(data))

    def truncate(self, size: int) -> None:
        """
        Make the file `size` bytes long (0 to 2**62); zeros that this adds are charged like bytes.

        Raises GuestError: EBADF without `Right.WRITE`, EINVAL out of range, EDQUOT.
        """
        self._require(Right.WRITE)
        self._require_range(size, MAX_OFFSET)
        growth = max(0, size - self._size())
        self._quota.take_bytes(growth, self._path)
        try:
            os.ftruncate(self._descriptor.number, size)
        except OSError as error:
            self._quota.give_back_bytes(growth)
            raise GuestError.from_host(error, f"truncate {self._path}") from error

    def sync(self) -> None:
        """
        Wait until what was written is on the device (fsync(2)). Through a handle that only reads
        nothing was, and what others have written is not the reader's to have brought there.
        """
        if Right.WRITE not in self.rights:
            return
        try:
            os.fsync(self._descriptor.number)
        except OSError as error:
            raise GuestError.from_host(error, f"sync {self._path}") from error

    def stat(self) -> FileStat:
        """
        What the guest may learn of the file as it is now.
        """
        return FileStat.of(self._descriptor.status(), self.grant)

    def close(self) -> None:
        """
        Close the file. Closing twice is harmless; every other use after it raises InternalError.
        """
        self._descriptor.close()

    def _charged_write(self, data: bytes, offset: int | None, growth: int) -> int:
        self._quota.take_bytes(growth, self._path)
        count = 0
        try:
            number = self._descriptor.number
            count = os.write(number, data) if offset is None else os.pwrite(number, data, offset)
        except OSError as error:
            raise GuestError.from_host(error, f"write {self._path}") from error
        finally:
            # What a short write left out lies at the end, so it is the growth that it spares.
            self._quota.give_back_bytes(min(growth, len(data) - count) if count else growth)
        self._written += count
        return count

    def _size(self) -> int:
        return self._descriptor.status().st_size

    def _require(self, rights: Right) -> None:
        if rights not in self.rights:
            raise self._fails(errno.EBADF)

    def _require_range(self, number: int, largest: int) -> None:
        if not 0 <= number <= largest:
            raise self._fails(errno.EINVAL)

    def _fails(self, number: int) -> GuestError:
        return GuestError.of(number, f"use of the open file {self._path}")
