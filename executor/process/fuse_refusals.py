"""
The kernel's requests that are refused on served mounts, whatever the policy says, and why.
"""

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from executor.process.fuse_protocol import Opcode

# opcode                     errno             why
REFUSED: Final[Mapping[int, tuple[int, str]]] = MappingProxyType(
    {
        Opcode.SYMLINK: (errno.EPERM, "symbolic links cannot be made in a granted directory"),
        Opcode.LINK: (errno.EPERM, "hard links cannot be made in a granted directory"),
        # The kernel remembers an ENOSYS and asks no more; what it then does is in the third column.
        Opcode.FLUSH: (errno.ENOSYS, "nothing waits for a close; close(2) succeeds"),
        Opcode.SETXATTR: (errno.ENOSYS, "attributes carry rights; EOPNOTSUPP"),
        Opcode.GETXATTR: (errno.ENOSYS, "the host's attributes are its own; EOPNOTSUPP"),
        Opcode.LISTXATTR: (errno.ENOSYS, "as above; EOPNOTSUPP"),
        Opcode.REMOVEXATTR: (errno.ENOSYS, "as above; EOPNOTSUPP"),
        Opcode.GETLK: (errno.ENOSYS, "locks are the kernel's own, within the box"),
        Opcode.SETLK: (errno.ENOSYS, "as above: the host's locks are not the guest's to hold"),
        Opcode.SETLKW: (errno.ENOSYS, "as above"),
        Opcode.BMAP: (errno.ENOSYS, "there is no block device"),
        Opcode.IOCTL: (errno.ENOSYS, "drivers are not for guests; ENOTTY"),
        Opcode.POLL: (errno.ENOSYS, "files are always ready"),
        Opcode.FALLOCATE: (errno.ENOSYS, "it would take room past the quota; EOPNOTSUPP"),
        Opcode.READDIRPLUS: (errno.ENOSYS, "not agreed on: every entry would be a question"),
        Opcode.LSEEK: (errno.ENOSYS, "holes are the host's; the kernel seeks by size"),
        Opcode.COPY_FILE_RANGE: (errno.ENOSYS, "the kernel copies by reading and writing"),
        Opcode.COPY_FILE_RANGE_64: (errno.ENOSYS, "as above"),
        Opcode.SETUPMAPPING: (errno.ENOSYS, "no memory is shared with the host"),
        Opcode.REMOVEMAPPING: (errno.ENOSYS, "as above"),
        Opcode.SYNCFS: (errno.ENOSYS, "each file is brought to disk by fsync"),
        Opcode.TMPFILE: (
            errno.ENOSYS,
            "a file without a name has no path to decide on; EOPNOTSUPP",
        ),
        Opcode.STATX: (errno.ENOSYS, "the kernel takes what GETATTR says"),
    }
)
