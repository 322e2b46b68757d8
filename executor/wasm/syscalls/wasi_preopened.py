"""
WASI preview 1's directories that are open from the start: where libc begins every path.
"""

from executor.kernel.errors import InternalError
from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.openfiles import DirectoryFile
from executor.wasm.process import Process
from executor.wasm.syscalls import open_files, paths
from executor.wasm.syscalls.wasi_abi import FIRST_PREOPENED, PRESTAT


class Preopened(DirectoryFile):
    """
    A directory that libc finds open, and takes for the paths that begin with its name.
    """

    def __init__(self, name: bytes, directory: DirectoryFile) -> None:
        super().__init__(directory.path, directory.entries)
        self.name = name


def preopen(process: Process, name: str, path: str) -> None:
    """
    Open the directory `path` under a name, with the next descriptor: libc asks for 3, 4 and so
    on until there is none.
    """
    directory = paths.open_path(process, FIRST_PREOPENED, path, Open.DIRECTORY)
    if not isinstance(directory, DirectoryFile):
        raise InternalError(f"the guest has no directory {path}")
    process.descriptors.add(Preopened(name.encode(), directory), FIRST_PREOPENED)


def fd_prestat_get(process: Process, descriptor: int, buffer: int) -> int:
    """
    The kind of a preopened descriptor and the length of its name.
    """
    found = _preopened(process, descriptor)
    process.memory.write(buffer, PRESTAT.pack(0, len(found.name)))
    return 0


def fd_prestat_dir_name(process: Process, descriptor: int, buffer: int, length: int) -> int:
    """
    The name of a preopened directory, without a terminator.
    """
    found = _preopened(process, descriptor)
    if length < len(found.name):
        raise GuestFault(Errno.ENAMETOOLONG)
    process.memory.write(buffer, found.name)
    return 0


def _preopened(process: Process, descriptor: int) -> Preopened:
    found = process.descriptors.get(descriptor)
    if not isinstance(found, Preopened):
        raise GuestFault(Errno.EBADF)
    return found


def fd_close(process: Process, descriptor: int) -> int:
    """
    Close: close(2). What was open from the start stays, or `os.closerange(3, 256)` would end all
    work on files.
    """
    if isinstance(process.descriptors.get(descriptor), Preopened):
        raise GuestFault(Errno.EBADF)
    return open_files.fd_close(process, descriptor)
