"""
Budgets that the broker keeps: what one session may still add below a grant.

A budget is for the lifetime of the session: removing or truncating gives nothing back. Else a
session could earn bytes by truncating files it found there, and whoever counts would have to
know who had written what. So a quota bounds what a session can cost the host, and is no measure
of how much room there is.
"""

import errno
from threading import Lock

from executor.kernel.errors import GuestError, InternalError
from policy.types import FileGrant


class Quota:
    """
    The bytes and files that one session may still add below one grant.

    Take before the act, give back what the act did not use. Safe to use from several threads:
    taking compares and subtracts under a lock, so that parallel appends never pass the limit
    together. Two sessions have a quota each, also when they share the directory.
    """

    __slots__ = ("_bytes", "_files", "_grant", "_lock", "_marked_bytes", "_marked_files")

    def __init__(self, grant: FileGrant) -> None:
        self._grant = grant
        self._bytes = self._marked_bytes = grant.quota
        self._files = self._marked_files = grant.max_files
        self._lock = Lock()

    @property
    def bytes_left(self) -> int:
        """
        Bytes that may still be added (0 or more).
        """
        return self._bytes

    @property
    def files_left(self) -> int:
        """
        Files and directories that may still be made (0 or more).
        """
        return self._files

    def take_bytes(self, count: int, path: str) -> None:
        """
        Take `count` bytes (0 or more) for `path`.

        Raises GuestError (EDQUOT) with the budget unchanged when fewer are left.
        """
        with self._lock:
            _not_negative(count)
            if count > self._bytes:
                raise GuestError(
                    errno.EDQUOT,
                    f"adding {count} bytes to {path}: {self._bytes} of the {self._grant.quota} "
                    f"bytes that this session may add below {self._grant.mount} are left",
                )
            self._bytes -= count

    def give_back_bytes(self, count: int) -> None:
        """
        Return `count` bytes (0 or more) that were taken for an act which did not use them.
        """
        with self._lock:
            _not_negative(count)
            self._bytes += count
            _not_above(self._bytes, self._grant.quota)

    def take_file(self, path: str) -> None:
        """
        Take one file or directory, to be made at `path`.

        Raises GuestError (EDQUOT) when none is left.
        """
        with self._lock:
            if self._files < 1:
                raise GuestError(
                    errno.EDQUOT,
                    f"making {path}: this session has made the {self._grant.max_files} files "
                    f"that it may add below {self._grant.mount}",
                )
            self._files -= 1

    def give_back_file(self) -> None:
        """
        Return one file that was taken and then not made.
        """
        with self._lock:
            self._files += 1
            _not_above(self._files, self._grant.max_files)

    def mark(self) -> None:
        """
        What is left now is what `refill` comes back to: what was taken has been spent for good.
        """
        with self._lock:
            self._marked_bytes, self._marked_files = self._bytes, self._files

    def refill(self) -> None:
        """
        Come back to what was left at the last mark: what was taken since is on no disk any more.
        """
        with self._lock:
            self._bytes, self._files = self._marked_bytes, self._marked_files


def _not_negative(count: int) -> None:
    if count < 0:
        raise InternalError(f"a budget was asked for {count} bytes; counts are 0 or more")


def _not_above(left: int, limit: int) -> None:
    if left > limit:
        raise InternalError(f"a budget of {limit} has {left} left: more came back than was taken")
