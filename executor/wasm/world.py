"""
The world that a guest is booted in: files, environment, and what it asks of the worker.

Until a session begins, everything the guest could see is a constant, so two boots of one image
leave the same bytes in memory (security: what a zygote hands on is known).
"""

import errno
from collections.abc import Callable, Mapping
from typing import Final

from executor.kernel.toolframes import refused
from executor.wasm.abi import Errno
from executor.wasm.layout import Layout
from executor.wasm.parts import Parts
from executor.wasm.process import HOME, WORK
from executor.wasm.space import Space
from executor.wasm.vfs import FileSystem

ENVIRONMENT: Final[Mapping[str, str]] = {
    # A constant of the image: a forked guest cannot have another one.
    "PYTHONHASHSEED": "0",
    "PYTHON_COLORS": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": HOME,
    "USER": "agent",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108 - the guest's own
    # Where matplotlib is there, what it draws is shown (guest/display.py).
    "MPLBACKEND": "module://codecage_figures",
    "TZ": "UTC",
}
_DEVICES: Final = (
    "null",
    "zero",
    "urandom",
    "random",
    "stdin",
    "stdout",
    "stderr",
    "denial",
    "display",
    "tools",
)
# What a guest without a session may write: the image's builder has it compile the library.
_BOOT_SCRATCH: Final = Space(2**28, 1024)


class Hooks:
    """
    What a booted guest asks of the worker around it. The worker sets the functions; until
    then, in the zygote, output vanishes, sleep ends at once, and no signal is pending.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """
        Nobody is around the guest.
        """
        self.on_output: Callable[[int, bytes], None] | None = None
        self.on_display: Callable[[Mapping[str, bytes]], None] | None = None
        self.on_tool: Callable[[bytes], bytes] | None = None
        self.on_wait: Callable[[float], bool] | None = None
        self.on_wait_for: Callable[[Mapping[int, int], float], bool] | None = None
        self.on_signal: Callable[[], int] | None = None
        self.on_note: Callable[[str, Errno], None] | None = None
        self.on_lost: Callable[[str], None] | None = None

    def output(self, stream: int, data: bytes) -> None:
        """
        The guest wrote on stream 1 or 2.
        """
        if self.on_output is not None:
            self.on_output(stream, data)

    def display(self, forms: Mapping[str, bytes]) -> None:
        """
        The guest wants something shown: its forms by media type.
        """
        if self.on_display is not None:
            self.on_display(forms)

    def tool(self, frame: bytes) -> bytes:
        """
        The guest calls one of the client's functions: the reply.
        """
        if self.on_tool is None:
            return refused(errno.EAGAIN, "no session has begun")
        return self.on_tool(frame)

    def wait(self, seconds: float) -> bool:
        """
        The guest sleeps; true when it was interrupted.
        """
        return self.on_wait(seconds) if self.on_wait is not None else False

    def wait_for(self, descriptors: Mapping[int, int], seconds: float) -> bool:
        """
        The guest waits for descriptors of the host; true when it was interrupted.
        """
        return self.on_wait_for(descriptors, seconds) if self.on_wait_for is not None else False

    def take_signal(self) -> int:
        """
        The pending signal, once.
        """
        return self.on_signal() if self.on_signal is not None else 0

    def note(self, name: str, errno: Errno) -> None:
        """
        Something was refused in the worker.
        """
        if self.on_note is not None:
            self.on_note(name, errno)

    def lost(self, what: str) -> None:
        """
        The host did something that no replay can do again.
        """
        if self.on_lost is not None:
            self.on_lost(what)


def build_tree(files: FileSystem, layout: Layout, parts: Parts) -> None:
    """
    The image's files, the devices, and the directories that a session will have.

    A native part is an empty file: its code was compiled when the image was built, and its
    name is all that the guest's importer looks at.
    """
    files.add_directory("/dev", None)
    for name in _DEVICES:
        files.add_device(f"/dev/{name}", "urandom" if name == "random" else name)
    files.add_directory(layout.site_packages, None)
    files.add_image_file(layout.stdlib, parts.stdlib)
    for path, data in parts.site_packages.items():
        files.add_image_file(f"{layout.site_packages}/{path}", data)
    for path, data in parts.extra.items():
        files.add_image_file(path, data)
    for path in ("/tmp", HOME, WORK):  # noqa: S108 - the guest's own
        files.add_directory(path, _BOOT_SCRATCH)
