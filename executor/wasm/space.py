"""
One counter for what a session holds in memory: linear memory, files, nodes, pipes.

Spaces form a tree. Taking from a space takes from all above it, and nothing is taken unless
every one of them has room, so a quota can never be used to get past the session's memory.
"""

from executor.wasm.abi import Errno, GuestFault

# What a file system node costs the host besides its bytes.
NODE_BYTES = 1024


class Space:
    """
    A budget of bytes and files, perhaps within another.

    `limit` is in bytes, `files` in nodes (0 to 2**31). `peak` is the most that was ever taken.
    """

    __slots__ = ("above", "files", "files_used", "limit", "peak", "used")

    def __init__(self, limit: int, files: int, above: "Space | None" = None) -> None:
        self.limit = limit
        self.files = files
        self.used = 0
        self.files_used = 0
        self.peak = 0
        self.above = above

    def fits(self, amount: int) -> bool:
        """
        Whether `amount` more bytes would be allowed here and above.
        """
        space: Space | None = self
        while space is not None:
            if space.used + amount > space.limit:
                return False
            space = space.above
        return True

    def take(self, amount: int) -> None:
        """
        Take `amount` bytes. Raises GuestFault(ENOSPC), with nothing taken.
        """
        if not self.fits(amount):
            raise GuestFault(Errno.ENOSPC, f"the session may hold {self.limit:,} bytes here")
        self._change(amount)

    def give(self, amount: int) -> None:
        """
        Give back `amount` bytes.
        """
        self._change(-amount)

    def take_node(self, more: int = 0) -> None:
        """
        Take what one more file, directory or link costs, and `more` bytes for what it holds.

        Raises GuestFault(ENOSPC), with nothing taken.
        """
        if self.files_used >= self.files:
            raise GuestFault(Errno.ENOSPC, f"the session may hold {self.files:,} files here")
        self.take(NODE_BYTES + more)
        self.files_used += 1

    def give_node(self, more: int = 0) -> None:
        """
        Give back a node, and the `more` bytes that were taken with it.
        """
        self.files_used -= 1
        self.give(NODE_BYTES + more)

    def _change(self, amount: int) -> None:
        space: Space | None = self
        while space is not None:
            space.used += amount
            space.peak = max(space.peak, space.used)
            space = space.above
